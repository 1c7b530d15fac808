//! Where the demo's nodes are: all on this machine's loopback, or each in a network of its own, joined by a bridge.
//!
//! ```text
//!  a1   a2   b1   b2   caller   callee     unnamed namespaces, an interface `d0` in each
//!   └────┴────┴──┬─┴──────┴────────┘
//!             bridge `br0`                 in a namespace of its own: who captures there sees what is on the wires
//! ```
//!
//! Nothing of it has a name outside, so nothing has to be cleaned up: with the last process and descriptor inside, the kernel
//! takes each namespace and its interfaces away, however these ended.

use super::Failure;
use drover_nic::af_xdp::{self, AfXdpConfig, Listen};
use drover_nic::netns::{Namespace, veth};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Every node's interface.
const INTERFACE: &str = "d0";
/// The bridge.
pub const BRIDGE: &str = "br0";
/// Bytes; a record with all its headers has half of it at most.
const MTU: u32 = 1_500;
/// Every mix's UDP port in a network of its own, and every client's port for RTP.
const MIX_PORT: u16 = 4_433;
const RTP_PORT: u16 = 5_004;
/// MiB of each mix's DPDK: pools of frames and EAL's own tables.
const PLAIN_MIB: u32 = 128;

/// What mixes send and receive by. Clients have UDP sockets, as users do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum PortChoice {
    /// AF_XDP in networks of their own where this process may make them, else UDP sockets on loopback
    #[default]
    Auto,
    /// UDP sockets on loopback: needs no privilege
    Udp,
    /// AF_XDP in networks of their own, joined by a bridge: needs root
    AfXdp,
    /// DPDK in such networks, over virtual devices: needs root and a build with the feature `dpdk`
    Dpdk,
}

impl PortChoice {
    /// As in a configuration.
    fn name(self) -> &'static str {
        match self {
            PortChoice::Auto | PortChoice::AfXdp => "af_xdp",
            PortChoice::Udp => "udp",
            PortChoice::Dpdk => "dpdk",
        }
    }
}

/// Where the nodes are: mixes first, then clients.
pub struct Network {
    port: PortChoice,
    ipv6: bool,
    /// Empty on loopback.
    hosts: Vec<Arc<Namespace>>,
    /// Where the bridge is.
    switch: Option<Namespace>,
    /// Why it is not what would have been better.
    pub fallen_back: Option<String>,
}

impl Network {
    /// All on loopback.
    pub fn loopback(ipv6: bool) -> Network {
        Network { port: PortChoice::Udp, ipv6, hosts: Vec::new(), switch: None, fallen_back: None }
    }

    /// For `mixes` mixes and then `clients` clients.
    ///
    /// # Errors
    /// What this process may not do or the machine cannot, and the mend; status 3. Status 2 for DPDK in a build without it.
    pub fn make(port: PortChoice, ipv6: bool, mixes: usize, clients: usize) -> Result<Network, Failure> {
        match port {
            PortChoice::Udp => Ok(Network::loopback(ipv6)),
            PortChoice::Dpdk if !cfg!(feature = "dpdk") => Err(Failure {
                text: "--port dpdk: this build is without DPDK; install libdpdk-dev, then: make demo".to_owned(),
                status: 2,
            }),
            PortChoice::AfXdp | PortChoice::Dpdk => Network::bridged(port, ipv6, mixes, clients),
            PortChoice::Auto => Ok(Network::bridged(port, ipv6, mixes, clients).unwrap_or_else(|failure| Network {
                fallen_back: Some(format!("UDP sockets on loopback, not AF_XDP: {}", failure.text)),
                ..Network::loopback(ipv6)
            })),
        }
    }

    fn bridged(port: PortChoice, ipv6: bool, mixes: usize, clients: usize) -> Result<Network, Failure> {
        let network = Network::wire(port, ipv6, mixes, clients).map_err(|error| {
            let mend = "run it as root, or use --port udp";
            Failure { text: format!("--port {}: {error}; {mend}", port.name()), status: 3 }
        })?;
        if port != PortChoice::Dpdk {
            network.try_af_xdp()?;
        }
        Ok(network)
    }

    fn wire(port: PortChoice, ipv6: bool, mixes: usize, clients: usize) -> io::Result<Network> {
        let switch = Namespace::new()?;
        let mut hosts = Vec::new();
        let names: Vec<String> = (0..mixes + clients).map(|node| format!("p{node}")).collect();
        for (node, name) in names.iter().enumerate() {
            let host = Namespace::new()?;
            veth(&host, INTERFACE, &switch, name, 1, MTU)?;
            // Else sockets leave the sums to a device that is not there, and who reads frames sees wrong ones.
            host.set_checksum_offload(INTERFACE, false)?;
            // With DPDK the kernel has no part in it: an address would have it answer beside the port.
            if node >= mixes || port != PortChoice::Dpdk {
                host.address(INTERFACE, &format!("{}/{}", address(ipv6, node), if ipv6 { 64 } else { 24 }))?;
            }
            host.up(INTERFACE)?;
            hosts.push(Arc::new(host));
        }
        switch.bridge(BRIDGE, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Network { port, ipv6, hosts, switch: Some(switch), fallen_back: None })
    }

    /// What mixes will do, done once: what stands against it is told before anything starts.
    fn try_af_xdp(&self) -> Result<(), Failure> {
        let Some(host) = self.hosts.first() else { return Ok(()) };
        let listen = Listen { addr: SocketAddr::new(address(self.ipv6, 0), MIX_PORT), queue: 0 };
        let opened = host.run(|| af_xdp::open(&AfXdpConfig::new(INTERFACE), &[listen]).map(drop));
        let failed = |text: String, status| Failure { text: format!("--port af_xdp: {text}"), status };
        match opened {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string(), error.kind.exit_status())),
            Err(error) => Err(failed(error.to_string(), 3)),
        }
    }

    /// What mixes send and receive by.
    pub fn port(&self) -> &'static str {
        self.port.name()
    }

    /// The namespace of a node that is in one.
    pub fn host(&self, node: usize) -> Option<Arc<Namespace>> {
        self.hosts.get(node).map(Arc::clone)
    }

    /// A mix's address, free to listen on.
    ///
    /// # Errors
    /// No port is free.
    pub fn listen(&self, node: usize) -> Result<SocketAddr, String> {
        match self.hosts.get(node) {
            None => free_port(loopback(self.ipv6)),
            Some(_) => Ok(SocketAddr::new(address(self.ipv6, node), MIX_PORT)),
        }
    }

    /// Where a client's link leaves from.
    pub fn client(&self, node: usize) -> SocketAddr {
        let ip = if self.hosts.is_empty() { loopback(self.ipv6) } else { address(self.ipv6, node) };
        SocketAddr::new(ip, 0)
    }

    /// A client's address for RTP.
    ///
    /// # Errors
    /// No port is free.
    pub fn rtp(&self, node: usize) -> Result<SocketAddr, String> {
        let ip = loopback(self.ipv6);
        if self.hosts.get(node).is_none() { free_port(ip) } else { Ok(SocketAddr::new(ip, RTP_PORT)) }
    }

    /// Does `work` where a node is: sockets that it makes are there, and threads too.
    ///
    /// # Errors
    /// Its own, and when the node's network cannot be entered.
    pub fn at<T: Send>(&self, node: usize, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        match self.hosts.get(node) {
            None => work(),
            Some(host) => host.run(work).map_err(|error| error.to_string())?,
        }
    }

    /// What a mix's configuration says about its port.
    pub fn port_section(&self) -> String {
        match self.port {
            PortChoice::Udp => String::new(),
            PortChoice::Auto | PortChoice::AfXdp => {
                format!("[port]\nkind = \"af_xdp\"\ninterface = \"{INTERFACE}\"\n")
            }
            PortChoice::Dpdk => format!(
                "[port]\nkind = \"dpdk\"\ndevice = \"net_af_xdp0,iface={INTERFACE}\"\nprefix_len = {}\n\
                 plain_memory_mib = {PLAIN_MIB}\n",
                if self.ipv6 { 64 } else { 24 }
            ),
        }
    }

    /// How somebody else sees the wires: a line for people.
    pub fn outside(&self) -> Option<String> {
        let switch = self.switch.as_ref()?;
        let (pid, fd) = (std::process::id(), switch.as_fd().as_raw_fd());
        Some(format!("the wires, as others see them: nsenter --net=/proc/{pid}/fd/{fd} tcpdump -n -i {BRIDGE}"))
    }
}

/// Node n's address on the bridge.
fn address(ipv6: bool, node: usize) -> IpAddr {
    let host = node as u16 + 1;
    if ipv6 {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host).into()
    } else {
        Ipv4Addr::new(10, 77, 0, host as u8).into()
    }
}

fn loopback(ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// A UDP port that is free now. Clients are told their RTP ports by configuration; that another program takes it meanwhile
/// is unlikely, and the client then says so.
pub(crate) fn free_port(ip: IpAddr) -> Result<SocketAddr, String> {
    let socket = UdpSocket::bind((ip, 0)).map_err(|error| format!("no UDP port on {ip}: {error}"))?;
    socket.local_addr().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_nothing() {
        let network = Network::make(PortChoice::Udp, false, 4, 2).unwrap_or_else(|failure| panic!("{}", failure.text));
        assert!(network.host(0).is_none() && network.outside().is_none() && network.port_section().is_empty());
        assert!(network.listen(0).expect("free").ip().is_loopback());
        assert_eq!(network.at(5, || Ok(7)), Ok(7));
    }

    #[test]
    fn nodes_reach_each_other_over_the_bridge_and_nobody_else() {
        for ipv6 in [false, true] {
            let network = match Network::make(PortChoice::AfXdp, ipv6, 2, 1) {
                Ok(network) => network,
                Err(Failure { text, status }) => {
                    assert_eq!(status, 3);
                    return drover_nic::skip::skipped(format_args!("the demo's own networks: {text}"));
                }
            };
            let network = &network;
            let socket = |node| std::net::UdpSocket::bind(network.client(node)).map_err(|error| error.to_string());
            let bind = |node| network.at(node, || socket(node));
            let (a, b) = (bind(0).expect("inside"), bind(2).expect("inside"));
            b.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("set");
            a.send_to(b"over the bridge", b.local_addr().expect("its address")).expect("sent");
            let mut bytes = [0; 32];
            assert_eq!(b.recv(&mut bytes).expect("received"), 15, "ipv6: {ipv6}");
            let outside = network.outside().expect("a bridge");
            assert!(outside.contains("nsenter --net=/proc/"), "{outside}");
        }
    }

    #[test]
    fn without_dpdk_it_is_the_command_line_that_is_wrong() {
        if !cfg!(feature = "dpdk") {
            let failure = Network::make(PortChoice::Dpdk, false, 1, 1).err().expect("refused");
            assert_eq!(failure.status, 2);
        }
    }
}
