//! What a port group is opened with, and what of it can be opened nowhere.

use super::umem::{HugePages, RECEIVE_HEADROOM};
use crate::{FRAME, OpenError};
use drover_wire::frame::{Checksum, HEADERS_MAX, Mac};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// The largest transmit ring, frames.
pub const MAX_TX_RING: usize = 1 << 16;
/// The smallest and the largest of the kernel's rings, entries: less than a burst stalls at once, more than this only
/// makes a stall last longer.
pub const WIRE: std::ops::RangeInclusive<u32> = 64..=1 << 14;
/// The most workers of a group: each pair has a ring.
pub const MAX_WORKERS: usize = 64;
/// The most destinations a worker (3 MiB).
pub const MAX_NEIGHBOURS: usize = 1 << 16;
/// The largest hand-over ring, frames (6.4 MiB a pair of workers).
pub const MAX_HAND_OVER: usize = 1 << 12;

/// Who runs the XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The interface's driver (native XDP) where it can, else the kernel's generic receive path.
    #[default]
    Auto,
    /// The driver, or the group is not opened.
    Driver,
    /// The kernel's generic receive path: every driver, slower.
    Generic,
}

/// Whether the device reads and writes the port's frames itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// It does, or the group is not opened.
    Require,
    /// It does where its driver can, else the kernel copies.
    #[default]
    Prefer,
    /// The kernel copies.
    Off,
}

/// How a destination's Ethernet address is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextHop {
    /// The kernel is asked for the route and the neighbour (`drover_nic::neighbour::netlink`).
    #[default]
    Resolve,
    /// All goes to this one.
    Fixed(Mac),
}

/// What becomes of the interface's receive queues that no worker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherQueues {
    /// There must be none: what arrived there for a worker would be lost.
    #[default]
    Refuse,
    /// The workers' datagrams are steered to the workers' queues (`ethtool -N`).
    Steered,
}

/// What a group of ports on one interface is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfXdpConfig {
    /// The interface's name, in the network of the thread that opens the group.
    pub interface: String,
    /// The VLAN, 1 to 4094, of all frames; `None`: they have no tag. The tag must be in the frame: a device that strips it
    /// on arrival must be told not to (`ethtool -K eth0 rxvlan off`).
    pub vlan: Option<u16>,
    /// The kernel's interface for the VLAN (`eth0.7`), on which the address is and next hops are resolved. Needed in a VLAN,
    /// unless the next hop is fixed.
    pub vlan_interface: Option<String>,
    /// Who runs the program.
    pub mode: Mode,
    /// Who copies.
    pub zero_copy: ZeroCopy,
    /// The pages that frames lie on.
    pub huge_pages: HugePages,
    /// Bytes of a chunk: 2048 or 4096, all that the kernel takes. It puts 256 aside of what it receives into.
    pub chunk: usize,
    /// Frames that can be reserved and not yet committed, a worker: 1 to [`MAX_TX_RING`].
    pub tx_ring: usize,
    /// Entries of each of the kernel's four rings, a power of two in [`WIRE`]: the most frames that wait to be received, and
    /// the most that are sent and not yet gone.
    pub wire: u32,
    /// The largest datagram that must fit, bytes of UDP payload, at most [`FRAME`].
    pub payload: usize,
    /// Frames that wait, from each worker to each other one, when they arrive on another's queue: 1 to [`MAX_HAND_OVER`].
    /// 1,600 bytes each: 64 workers of 128 take 0.8 GB.
    pub hand_over: usize,
    /// Receive queues without a worker.
    pub other_queues: OtherQueues,
    /// Next hops.
    pub next_hop: NextHop,
    /// Destinations whose next hops a worker remembers, at most [`MAX_NEIGHBOURS`].
    pub neighbours: usize,
    /// Whether sums of what arrives are checked. `Offload` is for devices that drop wrong ones, and for virtual interfaces
    /// whose other end leaves them out.
    pub checksum: Checksum,
    /// Whether frames carry a launch time where kernel and device offer it.
    pub launch_time: bool,
}

impl AfXdpConfig {
    /// Defaults for an interface.
    pub fn new(interface: impl Into<String>) -> AfXdpConfig {
        AfXdpConfig {
            interface: interface.into(),
            vlan: None,
            vlan_interface: None,
            mode: Mode::default(),
            zero_copy: ZeroCopy::default(),
            huge_pages: HugePages::default(),
            chunk: 2048,
            tx_ring: 4096,
            wire: 2048,
            payload: 1200,
            hand_over: 128,
            other_queues: OtherQueues::default(),
            next_hop: NextHop::default(),
            neighbours: 1 << 14,
            checksum: Checksum::Software,
            launch_time: false,
        }
    }
}

/// A worker of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its address: the same IP address for all workers of a group. UDP port 0: any that is free.
    pub addr: SocketAddr,
    /// The interface's queue that is its own.
    pub queue: u32,
}

/// What can be opened nowhere.
pub(super) fn check(config: &AfXdpConfig, workers: &[Listen]) -> Result<(), OpenError> {
    let wrong = |what: String, why: &str, mend: String| Err(OpenError::configuration(what, why, mend));
    if let Some(vlan) = config.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
        return wrong(format!("VLAN {vlan}"), "there is none of this number", "give one of 1 to 4094, or none".into());
    }
    if !matches!(config.chunk, 2048 | 4096) {
        let why = "the kernel takes chunks of 2048 and 4096 bytes only";
        return wrong(format!("chunks of {} bytes", config.chunk), why, "set 2048".into());
    }
    if !(1..=MAX_TX_RING).contains(&config.tx_ring) {
        let mend = format!("set 1 to {MAX_TX_RING}");
        return wrong(format!("a transmit ring of {} frames", config.tx_ring), "it cannot be made", mend);
    }
    if !WIRE.contains(&config.wire) || !config.wire.is_power_of_two() {
        let mend = format!("set a power of two of {} to {}", WIRE.start(), WIRE.end());
        return wrong(format!("kernel rings of {} entries", config.wire), "they cannot be made", mend);
    }
    if !(1..=MAX_HAND_OVER).contains(&config.hand_over) {
        let mend = format!("set 1 to {MAX_HAND_OVER}");
        return wrong(format!("hand-over rings of {} frames", config.hand_over), "they cannot be made", mend);
    }
    if !(1..=MAX_NEIGHBOURS).contains(&config.neighbours) {
        let mend = format!("set 1 to {MAX_NEIGHBOURS}");
        return wrong(format!("{} neighbours", config.neighbours), "so many cannot be remembered", mend);
    }
    if let (Some(vlan), None, NextHop::Resolve) = (config.vlan, &config.vlan_interface, config.next_hop) {
        let what = format!("next hops in VLAN {vlan}");
        let why = "the kernel knows them by an interface of the VLAN, and none is named";
        let mend = format!(
            "`ip link add link {0} name {0}.{vlan} type vlan id {vlan}` and name it, or fix the next hop",
            config.interface
        );
        return wrong(what, why, mend);
    }
    if config.vlan.is_none() && config.vlan_interface.is_some() {
        let why = "there is no VLAN";
        return wrong("an interface for the VLAN".into(), why, "give the VLAN's number, or no interface for it".into());
    }
    let room = FRAME.min(config.chunk - RECEIVE_HEADROOM - HEADERS_MAX);
    if config.payload > room {
        let why = "a frame has not so much room";
        return wrong(format!("datagrams of {} bytes", config.payload), why, format!("set {room} at most"));
    }
    if config.mode == Mode::Generic && config.zero_copy == ZeroCopy::Require {
        let why = "the kernel's generic receive path always copies";
        return wrong("zero-copy in generic mode".into(), why, "set mode = \"driver\", or zero_copy = \"off\"".into());
    }
    check_workers(workers)
}

fn check_workers(workers: &[Listen]) -> Result<(), OpenError> {
    let wrong = |what: String, why: &str, mend: &str| Err(OpenError::configuration(what, why, mend));
    let [first, ..] = workers else {
        return wrong("a group without workers".into(), "nobody would receive", "give at least one address");
    };
    if workers.len() > MAX_WORKERS {
        let why = format!("a group has at most {MAX_WORKERS}");
        return wrong(format!("{} workers", workers.len()), &why, "use fewer");
    }
    let mut queues = HashSet::new();
    for Listen { addr, queue } in workers {
        if !is_one_hosts(addr.ip()) {
            let why = "an AF_XDP port writes its own address into every frame";
            return wrong(format!("address {addr}"), why, "give one of the interface's own addresses");
        }
        if addr.ip() != first.addr.ip() {
            let why = format!("other workers of the interface have {}", first.addr.ip());
            return wrong(format!("address {addr}"), &why, "give all workers of an interface one address");
        }
        if matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.ip().is_unicast_link_local()) {
            let why = "peers' addresses have no scope";
            return wrong(format!("address {addr}"), why, "give an address that is not link-local");
        }
        if !queues.insert(queue) {
            let why = "two workers have it";
            return wrong(format!("queue {queue}"), why, "give each worker a queue of its own");
        }
    }
    Ok(())
}

/// What a host may write as its source, as `drover_wire::frame::parse` has it.
fn is_one_hosts(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !matches!(v4.octets(), [0 | 127 | 224..=239, ..] | [255, 255, 255, 255]),
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.to_ipv4_mapped().is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenErrorKind;

    fn listen(addr: &str, queue: u32) -> Listen {
        Listen { addr: addr.parse().expect("an address"), queue }
    }

    fn good() -> (AfXdpConfig, Vec<Listen>) {
        (AfXdpConfig::new("eth0"), vec![listen("192.0.2.1:4433", 0), listen("192.0.2.1:4434", 1)])
    }

    #[test]
    fn defaults_are_good() {
        let (config, workers) = good();
        assert_eq!(check(&config, &workers), Ok(()));
        assert_eq!(check(&config, &[listen("[2001:db8::1]:0", 3)]), Ok(()));
    }

    #[test]
    fn what_can_be_opened_nowhere_is_the_configurations_fault() {
        type Change = fn(&mut AfXdpConfig, &mut Vec<Listen>);
        let changes: [(&str, Change); 21] = [
            ("VLAN 0", |config, _| config.vlan = Some(0)),
            ("VLAN 4095", |config, _| config.vlan = Some(4095)),
            ("chunks of 1024", |config, _| config.chunk = 1024),
            ("ring of 0 frames", |config, _| config.tx_ring = 0),
            ("ring of 65537 frames", |config, _| config.tx_ring = MAX_TX_RING + 1),
            ("rings of 32 entries", |config, _| config.wire = 32),
            ("rings of 1000 entries", |config, _| config.wire = 1000),
            ("hand-over rings of 0", |config, _| config.hand_over = 0),
            ("0 neighbours", |config, _| config.neighbours = 0),
            ("next hops in VLAN 7", |config, _| config.vlan = Some(7)),
            ("interface for the VLAN: there is no VLAN", |config, _| config.vlan_interface = Some("eth0.7".into())),
            ("datagrams of 1537", |config, _| config.payload = FRAME + 1),
            ("zero-copy in generic", |config, _| {
                (config.mode, config.zero_copy) = (Mode::Generic, ZeroCopy::Require);
            }),
            ("without workers", |_, workers| workers.clear()),
            ("65 workers", |_, workers| workers.resize(65, listen("192.0.2.1:1", 0))),
            ("queue 0: two workers", |_, workers| workers[1].queue = 0),
            ("192.0.2.2:4434: other workers", |_, workers| workers[1] = listen("192.0.2.2:4434", 1)),
            ("0.0.0.0:1", |_, workers| workers[0] = listen("0.0.0.0:1", 0)),
            ("127.0.0.1:1", |_, workers| workers[0] = listen("127.0.0.1:1", 0)),
            ("[::ffff:192.0.2.1]:1", |_, workers| workers[0] = listen("[::ffff:192.0.2.1]:1", 0)),
            ("[fe80::1]:1: peers' addresses", |_, workers| *workers = vec![listen("[fe80::1]:1", 0)]),
        ];
        for (what, change) in changes {
            let (mut config, mut workers) = good();
            change(&mut config, &mut workers);
            let error = check(&config, &workers).expect_err(what);
            assert_eq!(error.kind, OpenErrorKind::Configuration);
            assert!(error.to_string().contains(what) && !error.mend.is_empty(), "{what}: {error}");
        }
    }
}
