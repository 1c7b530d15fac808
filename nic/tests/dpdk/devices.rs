//! The variants, each in a process of its own.

use crate::lease::{Lease, Stock};
use crate::remote::{self, Remote};
use crate::{MORE_PAGES, PLAIN_MIB, SKIPPED};
use drover_nic::alloc_gate::asked_during;
use drover_nic::dpdk::{DpdkConfig, DpdkPort, Eal, EalConfig, Listen, Memory, NextHops, RingPair, open};
use drover_nic::hugetlb::HugePages;
use drover_nic::netns::{self, Namespace};
use drover_nic::{BURST, Endpoint, FRAME, OpenErrorKind, Port, conformance};
use drover_wire::frame::Mac;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub const NAMES: [&str; 4] = ["net_ring", "net_null", "net_vhost", "net_af_xdp"];

/// The two ends of every pair.
const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 0xa]), Mac([2, 0, 0, 0, 0, 0xb])];
/// A veth's: what the largest frame needs.
const MTU: u32 = 1600;

/// Runs a variant: its device, `plain` or `huge`, and what else it needs.
pub fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["net_ring", memory] => net_ring(&eal(memory)),
        ["net_null", memory] => net_null(&eal_with(memory, &["net_null7,size=512"])),
        ["net_vhost", memory] => net_vhost(memory),
        ["net_vhost", memory, "remote", folder] => remote_end(&eal(memory), Path::new(folder)),
        ["net_af_xdp", memory] => net_af_xdp(memory),
        ["refused", memory] => refused(memory),
        ["killed", memory, folder] => wait_to_be_killed(memory, Path::new(folder)),
        _ => panic!("no variant: {arguments:?}"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::from(SKIPPED)
        }
    }
}

fn eal(memory: &str) -> Eal {
    eal_with(memory, &[])
}

/// EAL, with these devices from the beginning.
fn eal_with(memory: &str, devices: &[&str]) -> Eal {
    let memory = match memory {
        "huge" => Memory::Huge,
        _ => Memory::Plain { mib: PLAIN_MIB },
    };
    let eal = Eal::start(&EalConfig {
        memory,
        devices: devices.iter().map(ToString::to_string).collect(),
        ..EalConfig::default()
    })
    .unwrap_or_else(|error| panic!("{error}"));
    println!("{}", eal.line());
    eal
}

/// One end of a pair: its addresses, and all that it sends goes to the other.
struct End {
    which: usize,
    v6: bool,
    vlan: Option<u16>,
}

impl End {
    fn config(&self, device: String) -> DpdkConfig {
        DpdkConfig {
            device,
            mac: Some(MACS[self.which]),
            vlan: self.vlan,
            mtu: None,
            payload: FRAME,
            tx_ring: 256,
            next_hops: NextHops::Fixed(MACS[1 - self.which]),
            offload: true,
        }
    }

    fn worker(&self, queue: u16) -> Listen {
        let ip = if self.v6 { format!("[2001:db8::{}]", self.which + 1) } else { format!("10.9.0.{}", self.which + 1) };
        Listen { addr: format!("{ip}:{}", 4433 + queue).parse().expect("an address"), queue }
    }

    /// A port on `device`'s one queue, and its address.
    fn port(&self, eal: &Eal, device: &str) -> (DpdkPort, Endpoint) {
        let port = self.ports(eal, device, 1).remove(0);
        let at = port.local();
        (port, at)
    }

    fn ports(&self, eal: &Eal, device: &str, queues: u16) -> Vec<DpdkPort> {
        let workers: Vec<Listen> = (0..queues).map(|queue| self.worker(queue)).collect();
        open(eal, &self.config(device.to_owned()), &workers).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn ends(v6: bool, vlan: Option<u16>) -> [End; 2] {
    [0, 1].map(|which| End { which, v6, vlan })
}

/// Waits until frames can pass.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

/// Rings of memory, opened anew for every check.
fn net_ring(eal: &Eal) -> Result<(), String> {
    for (v6, vlan) in [(false, None), (true, None), (false, Some(7)), (true, Some(4094))] {
        let [a, b] = ends(v6, vlan);
        // The rings of a check go when the next one begins, after their ports.
        let mut rings = None;
        conformance::run(&format!("dpdk/net_ring, IPv6 {v6}, VLAN {vlan:?}"), || {
            rings = None;
            let rings = rings.insert(RingPair::new(eal, "pair", 1, 1024).expect("rings"));
            let (port_a, a_at) = a.port(eal, &rings.device(0));
            let (port_b, b_at) = b.port(eal, &rings.device(1));
            (port_a, a_at, port_b, b_at)
        });
    }
    no_allocation(eal);
    Ok(())
}

/// Once they are open and have been used, ports ask the allocator for nothing, whatever arrives and whatever is refused.
fn no_allocation(eal: &Eal) {
    let [a, b] = ends(false, None);
    let rings = RingPair::new(eal, "pair", 2, 64).expect("rings");
    let (mut a, mut b) = (a.ports(eal, &rings.device(0), 2), b.ports(eal, &rings.device(1), 2));
    let to = [b[0].local(), b[1].local(), Endpoint { port: 9, ..b[0].local() }, Endpoint::NONE];
    let mut turn = || {
        for (number, frame) in a[0].reserve(BURST, 515).into_iter().enumerate() {
            *frame.to = to[number % to.len()];
            frame.data.fill(1);
        }
        a[0].discard(4);
        // More than the ring holds at a time.
        a[0].commit(usize::MAX);
        let received: usize = b.iter_mut().map(|port| port.receive(7).len()).sum();
        (0..4).for_each(|_| _ = b[0].receive(BURST).len());
        received
    };
    assert!(asked_during(|| drop(std::hint::black_box(Box::new(1)))) > 0, "nobody counts");
    assert!(turn() > 0);
    let asked = asked_during(|| (0..1000).for_each(|_| _ = turn()));
    assert_eq!(asked, 0, "a port allocates");
}

/// A device that has frames without end, none of them ours, and takes all.
fn net_null(eal: &Eal) -> Result<(), String> {
    const ROUNDS: u64 = 2000;
    let [end, _] = ends(false, None);
    let mut ports = end.ports(eal, "net_null7,size=512", 1);
    let port = &mut ports[0];
    let idle = port.mbufs_in_use();
    for _ in 0..ROUNDS {
        assert!(port.receive(BURST).is_empty(), "a frame of zeros is nobody's");
        for frame in port.reserve(BURST, 512) {
            *frame.to = Endpoint { ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 9, 0, 9], port: 9 };
            frame.data.fill(1);
        }
        assert_eq!(port.commit(BURST / 2), BURST / 2);
        port.discard(BURST / 4);
        assert_eq!(port.commit(usize::MAX), BURST / 4);
    }
    let counters = port.counters();
    assert_eq!((counters.sent, counters.discarded), (ROUNDS * 48, ROUNDS * 16), "{counters:?}");
    let details = port.details();
    let astray = details.iter().find(|(name, _)| *name == "other_mac").expect("a counter").1;
    assert_eq!(astray, ROUNDS * 64, "{details:?}");
    port.receive(0);
    assert_eq!(port.mbufs_in_use(), idle, "mbufs are lost");
    // From one to another, in the mbufs that came.
    let [_, end] = ends(false, None);
    let mut others = end.ports(eal, "net_null8,size=512", 1);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let forwarded = port.forward(&mut others[0], |frame| bytes += frame.len());
        assert_eq!((forwarded.received, forwarded.sent), (BURST, BURST));
    }
    assert_eq!(bytes, ROUNDS as usize * BURST * 512);
    assert_eq!((port.mbufs_in_use(), others[0].mbufs_in_use()), (idle, 0), "mbufs are lost");
    // It says that it spreads what arrives over its queues.
    let mut spread = end.ports(eal, "net_null9,size=512", 3);
    assert_eq!((spread[0].about().driver.as_str(), spread[0].about().spread), ("net_null", true));
    spread.iter_mut().for_each(|port| _ = port.receive(BURST).len());
    Ok(())
}

/// A socket between two processes: vhost is its server and reads the other's memory. Both are once this end, once the other.
fn net_vhost(memory: &str) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("drover-vhost-").tempdir().expect("a folder");
    let eal = eal(memory);
    let mut remote = Remote::start(crate::again().expect("this program"), memory, folder.path());
    for server_here in [true, false] {
        // IPv6 one way round, IPv4 the other. To open a socket anew for each check takes a second.
        let [here, there] = ends(server_here, None);
        let (port, at);
        if server_here {
            (port, at) = here.port(&eal, &vhost(folder.path()));
            remote.open("client", there.v6);
        } else {
            remote.open("server", there.v6);
            (port, at) = here.port(&eal, &virtio_user(folder.path()));
        }
        until("the link", || port.link_up() && remote.link_up());
        // Both drivers offer to make sums, so this is what they make of ours.
        assert!(port.about().transmit_checksums, "{:?}", port.about());
        let stock = Stock::new(port);
        let far_at = Endpoint::from(there.worker(0).addr);
        conformance::run(&format!("dpdk/net_vhost, the server on this side: {server_here}"), || {
            (stock.lend(), at, remote.lend(), far_at)
        });
        // The client first: it says good-bye to its server.
        if server_here {
            remote.close();
        }
        drop(stock);
        if !server_here {
            remote.close();
        }
    }
    remote.kill();
    // Nothing of a killed process is in the way of the next.
    let [here, _] = ends(false, None);
    drop(here.port(&eal, &vhost(folder.path())));
    Ok(())
}

fn vhost(folder: &Path) -> String {
    format!("net_vhost0,iface={}", folder.join("vhost").display())
}

fn virtio_user(folder: &Path) -> String {
    format!("net_virtio_user0,path={},queue_size=1024", folder.join("vhost").display())
}

/// The other process.
fn remote_end(eal: &Eal, folder: &Path) -> Result<(), String> {
    remote::serve(folder, |side, v6| {
        let [_, end] = ends(v6, None);
        let device = if side == "server" { vhost(folder) } else { virtio_user(folder) };
        end.port(eal, &device).0
    });
    Ok(())
}

/// The kernel's AF_XDP by DPDK's driver, on a cable in a namespace. Its driver never gives back the mbufs that it has filled
/// a socket with, so that ports are opened once and lent to each check.
fn net_af_xdp(memory: &str) -> Result<(), String> {
    let inside = Namespace::new().map_err(|error| error.to_string())?;
    netns::veth(&inside, "dpdk_a", &inside, "dpdk_b", 1, MTU).map_err(|error| error.to_string())?;
    for name in ["dpdk_a", "dpdk_b"] {
        inside.up(name).map_err(|error| error.to_string())?;
    }
    inside.enter().map_err(|error| error.to_string())?;
    let eal = eal(memory);
    let [a, b] = ends(true, None);
    let lent = [(a, "net_af_xdp0,iface=dpdk_a"), (b, "net_af_xdp1,iface=dpdk_b")].map(|(end, device)| {
        let config = DpdkConfig { mtu: Some(MTU), ..end.config(device.to_owned()) };
        let port = open(&eal, &config, &[end.worker(0)]).map(|mut ports| ports.remove(0));
        port.map(Stock::new).map_err(|error| error.to_string())
    });
    let [a, b] = lent;
    let (a, b) = (a?, b?);
    until("the link", || a.with(|port| port.link_up()) && b.with(|port| port.link_up()));
    conformance::run("dpdk/net_af_xdp", || {
        let (port_a, port_b): (Lease, Lease) = (a.lend(), b.lend());
        let (a_at, b_at) = (port_a.local(), port_b.local());
        (port_a, a_at, port_b, b_at)
    });
    drop((a, b));
    beside_a_kernel(&eal, false)?;
    beside_a_kernel(&eal, true)?;
    Ok(())
}

/// A kernel on the same cable finds the port, as it finds the kernel; and tries whether it is there.
fn beside_a_kernel(eal: &Eal, v6: bool) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let (ours, theirs) = if v6 { ("[2001:db8::1]", "2001:db8::2") } else { ("10.9.0.1", "10.9.0.2") };
    let prefix_len = if v6 { 64 } else { 24 };
    let (here, there) = (Namespace::new().map_err(told)?, Namespace::new().map_err(told)?);
    netns::veth(&here, "dpdk_c", &there, "kernel", 1, MTU).map_err(told)?;
    here.up("dpdk_c").map_err(told)?;
    there.up("kernel").map_err(told)?;
    there.set_checksum_offload("kernel", false).map_err(told)?;
    there.address("kernel", &format!("{theirs}/{prefix_len}")).map_err(told)?;
    here.enter().map_err(told)?;
    let config = DpdkConfig {
        device: String::from("net_af_xdp2,iface=dpdk_c"),
        mac: None,
        vlan: None,
        mtu: Some(MTU),
        payload: 1024,
        tx_ring: 256,
        next_hops: NextHops::Resolved { prefix_len, gateway: None },
        offload: true,
    };
    let worker = Listen { addr: format!("{ours}:4433").parse().expect("an address"), queue: 0 };
    let mut ports = open(eal, &config, &[worker]).unwrap_or_else(|error| panic!("{error}"));
    let port = &mut ports[0];
    let socket = there.run(|| UdpSocket::bind((theirs, 9000)).expect("bound")).map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    let peer = Endpoint::from(socket.local_addr().map_err(told)?);
    // We ask first.
    let mut buffer = [0; 2048];
    until("the kernel gets a datagram", || {
        let _ = port.receive(BURST).len();
        for frame in port.reserve(1, 515) {
            *frame.to = peer;
            frame.data.fill(7);
        }
        port.commit(1);
        socket.recv_from(&mut buffer).is_ok_and(|(len, from)| buffer[..len] == [7; 515] && from == worker.addr)
    });
    until("the port gets the answer", || {
        let _ = socket.send_to(&[8; 515], worker.addr);
        port.receive(BURST).iter().any(|frame| frame.data == [8; 515] && frame.from == peer)
    });
    let echo = there.run(|| Echo::to(worker.addr.ip())).map_err(told)?;
    until("the port gives an echo back", || {
        echo.ask();
        let _ = port.receive(BURST).len();
        echo.came_back()
    });
    // The thread beside the device tells what it did a moment later.
    until("what was done is counted", || {
        let details = port.details();
        let of = |name: &str| details.iter().find(|(detail, _)| *detail == name).map_or(0, |(_, count)| *count);
        of("asked") > 0 && of("learned") == 1 && of("echoed") > 0 && of("checksum") == 0
    });
    Ok(())
}

/// EAL does not start, and says why: with `plain` pages for an argument that it does not know, with `huge` ones for more
/// memory than there is.
fn refused(memory: &str) -> Result<(), String> {
    let (memory, raw, kind, word) = match memory {
        "huge" => (Memory::Huge, ["-m", "65536"], OpenErrorKind::Environment, "memory"),
        _ => (Memory::Plain { mib: PLAIN_MIB }, ["--nonsense", "1"], OpenErrorKind::Configuration, "command line"),
    };
    let config = EalConfig { memory, raw: raw.map(String::from).into(), ..EalConfig::default() };
    let error = Eal::start(&config).expect_err("EAL cannot start like this");
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains("DPDK said: ") && error.why.contains(word), "{error}");
    println!("{error}");
    Ok(())
}

/// Has ports of all kinds open, until it is killed.
fn wait_to_be_killed(memory: &str, folder: &Path) -> Result<(), String> {
    // As a data plane does, before it opens its ports.
    drover_nic::net::lock_memory().map_err(|error| error.to_string())?;
    drover_nic::net::harden_process().map_err(|error| error.to_string())?;
    let eal = &eal(memory);
    let [a, b] = ends(false, None);
    let rings = RingPair::new(eal, "pair", 1, 1024).expect("rings");
    let _ports = [a.port(eal, &rings.device(0)), b.port(eal, &rings.device(1)), a.port(eal, &vhost(folder))];
    let _more = HugePages::reserve(MORE_PAGES).map_err(|error| error.to_string())?;
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// A socket that tries whether a host is there (icmp(7)).
struct Echo(OwnedFd, SocketAddr);

impl Echo {
    fn to(ip: IpAddr) -> Echo {
        let (family, protocol) = match ip {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::RAW, flags, Some(protocol)).expect("root may");
        Echo(socket, SocketAddr::new(ip, 0))
    }

    fn ask(&self) {
        // Echo request, its sum, a number, a sequence, and something to give back. The kernel makes ICMPv6's sum itself.
        let request: &[u8] = match self.1 {
            SocketAddr::V4(_) => &[8, 0, 0xb6, 0xbc, 0, 0, 0, 1, 0x41, 0x42, 0, 0],
            SocketAddr::V6(_) => &[128, 0, 0, 0, 0, 0, 0, 1, 0x41, 0x42, 0, 0],
        };
        // What finds no room is tried again.
        let _ = net::sendto(&self.0, request, SendFlags::empty(), &self.1);
    }

    fn came_back(&self) -> bool {
        let mut packet = [0; 256];
        let Ok((_, len)) = net::recv(&self.0, &mut packet[..], RecvFlags::empty()) else { return false };
        // A raw socket of IPv4 gets the IP header too.
        let (header, reply) = if self.1.is_ipv4() { (20, 0) } else { (0, 129) };
        len >= header + 12 && packet[header] == reply && packet[header + 8..header + 10] == [0x41, 0x42]
    }
}
