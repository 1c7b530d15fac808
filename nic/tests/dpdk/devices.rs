//! The variants, each in a process of its own.

use crate::lease::{Lease, Stock};
use crate::remote::{self, Remote};
use crate::{PLAIN_MIB, SKIPPED};
use drover_nic::dpdk::{DpdkConfig, DpdkPort, Eal, EalConfig, Listen, Memory, NextHops, RingPair, open};
use drover_nic::netns::{self, Namespace};
use drover_nic::{BURST, Endpoint, FRAME, Port, conformance};
use drover_wire::frame::Mac;
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
        ["net_null", memory] => net_null(&eal(memory)),
        ["net_vhost", memory] => net_vhost(memory),
        ["net_vhost", memory, "remote", folder] => remote_end(&eal(memory), Path::new(folder)),
        ["net_af_xdp", memory] => net_af_xdp(memory),
        ["killed", memory, folder] => wait_to_be_killed(&eal(memory), Path::new(folder)),
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
    let memory = match memory {
        "huge" => Memory::Huge,
        _ => Memory::Plain { mib: PLAIN_MIB },
    };
    let eal = Eal::start(&EalConfig { memory, ..EalConfig::default() }).unwrap_or_else(|error| panic!("{error}"));
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
    Ok(())
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
    Ok(())
}

/// A socket between two processes: vhost is its server and reads the other's memory. Both are once this end, once the other.
fn net_vhost(memory: &str) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("drover-vhost-").tempdir().expect("a folder");
    let eal = eal(memory);
    let mut remote = Remote::start(crate::again().expect("this program"), memory, folder.path());
    for server_here in [true, false] {
        conformance::run(&format!("dpdk/net_vhost, the server on this side: {server_here}"), || {
            // IPv6 one way round, IPv4 the other.
            let [here, there] = ends(server_here, None);
            let (port, at, far);
            if server_here {
                (port, at) = here.port(&eal, &vhost(folder.path()));
                far = remote.open("client", there.v6);
            } else {
                far = remote.open("server", there.v6);
                (port, at) = here.port(&eal, &virtio_user(folder.path()));
            }
            until("the link", || port.link_up() && far.link_up());
            let far_at = Endpoint::from(there.worker(0).addr);
            (port, at, far, far_at)
        });
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
    Ok(())
}

/// Has ports of all kinds open, until it is killed.
fn wait_to_be_killed(eal: &Eal, folder: &Path) -> Result<(), String> {
    let [a, b] = ends(false, None);
    let rings = RingPair::new(eal, "pair", 1, 1024).expect("rings");
    let _ports = [a.port(eal, &rings.device(0)), b.port(eal, &rings.device(1)), a.port(eal, &vhost(folder))];
    println!("ready");
    loop {
        std::thread::park();
    }
}
