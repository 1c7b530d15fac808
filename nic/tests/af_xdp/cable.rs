//! Two hosts on a cable: namespaces that the test makes and that vanish with it.

use drover_nic::af_xdp::{self, AfXdpConfig, AfXdpPort, Listen, NextHop};
use drover_nic::netns::{Namespace, veth};
use drover_nic::skip::skipped;
use drover_nic::{BURST, Endpoint, OpenError, Port};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Room for a frame's largest payload (1,536 bytes) behind all headers.
pub const MTU: u32 = 1600;
pub const VLAN: u16 = 7;

/// A host, and its interface on the cable.
pub struct Host {
    pub network: Namespace,
    pub interface: &'static str,
    pub v4: IpAddr,
    pub v6: IpAddr,
    /// In the VLAN.
    pub vlan_v4: IpAddr,
    pub vlan_v6: IpAddr,
}

/// Two hosts.
pub struct Cable {
    pub a: Host,
    pub b: Host,
}

/// A cable of so many queues each way; none, said as a skip, where we may not make one.
pub fn cable(queues: u32) -> Option<Cable> {
    match Cable::new(queues) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            skipped(format_args!("AF_XDP on a cable: {error}"));
            None
        }
        made => Some(made.expect("a cable")),
    }
}

impl Cable {
    /// Both ends up, of so many queues each way, with addresses of both families, without and in a VLAN.
    fn new(queues: u32) -> io::Result<Cable> {
        let cable = Cable { a: Host::new("a0", 1)?, b: Host::new("b0", 2)? };
        veth(&cable.a.network, "a0", &cable.b.network, "b0", queues, MTU)?;
        cable.a.set_up(1)?;
        cable.b.set_up(2)?;
        Ok(cable)
    }
}

impl Host {
    fn new(interface: &'static str, number: u8) -> io::Result<Host> {
        let ip = |text: String| text.parse().expect("an address");
        Ok(Host {
            network: Namespace::new()?,
            interface,
            v4: ip(format!("10.77.0.{number}")),
            v6: ip(format!("2001:db8:77::{number}")),
            vlan_v4: ip(format!("10.78.0.{number}")),
            vlan_v6: ip(format!("2001:db8:78::{number}")),
        })
    }

    fn set_up(&self, number: u8) -> io::Result<()> {
        let network = &self.network;
        // What the kernel's sockets send shall have sums.
        network.set_checksum_offload(self.interface, false)?;
        for address in [format!("10.77.0.{number}/24"), format!("2001:db8:77::{number}/64")] {
            network.address(self.interface, &address)?;
        }
        // The VLAN's addresses are anywhere on the host: not every kernel has interfaces for VLANs.
        for address in [format!("10.78.0.{number}/32"), format!("2001:db8:78::{number}/128")] {
            network.address("lo", &address)?;
        }
        network.up(self.interface)?;
        Ok(())
    }

    /// Opens a group here, whose frames all go to `far`.
    pub fn open(&self, far: &Host, config: &AfXdpConfig, workers: &[Listen]) -> Result<Vec<AfXdpPort>, OpenError> {
        let mac = far.network.interface(far.interface).expect("the far end").mac.expect("Ethernet");
        self.open_resolving(&AfXdpConfig { next_hop: NextHop::Fixed(mac), ..config.clone() }, workers)
    }

    /// Opens a group here, with next hops as `config` says.
    pub fn open_resolving(&self, config: &AfXdpConfig, workers: &[Listen]) -> Result<Vec<AfXdpPort>, OpenError> {
        let config = AfXdpConfig { interface: self.interface.into(), ..config.clone() };
        self.network.run(|| af_xdp::open(&config, workers)).expect("entered")
    }

    /// Opens a group of one worker on queue 0.
    pub fn open_one(&self, far: &Host, config: &AfXdpConfig, ip: IpAddr) -> AfXdpPort {
        let workers = [Listen { addr: SocketAddr::new(ip, 0), queue: 0 }];
        self.open(far, config, &workers).expect("opened").pop().expect("a port")
    }
}

/// A config for tests: small, so that rings wrap.
pub fn small() -> AfXdpConfig {
    AfXdpConfig { tx_ring: 128, wire: 256, hand_over: 512, ..AfXdpConfig::new("") }
}

/// Where a port is.
pub fn at(port: &AfXdpPort) -> Endpoint {
    Endpoint::from(port.local_addr())
}

/// Sends a datagram; whether the wire took it.
pub fn send(port: &mut AfXdpPort, to: Endpoint, data: &[u8]) -> bool {
    for frame in port.reserve(1, data.len()) {
        *frame.to = to;
        frame.data.copy_from_slice(data);
    }
    port.commit(1) == 1
}

/// Receives until there are `count` datagrams, for some seconds at most.
pub fn collect(port: &mut AfXdpPort, count: usize) -> Vec<(Endpoint, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut got = Vec::new();
    while got.len() < count && Instant::now() < deadline {
        got.extend(port.receive(BURST).iter().map(|frame| (frame.from, frame.data.to_vec())));
        std::thread::yield_now();
    }
    got
}

/// One of a port's details.
pub fn detail(port: &AfXdpPort, name: &str) -> u64 {
    port.details().iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("a detail {name}")).1
}
