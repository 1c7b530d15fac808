//! The conformance suite.

use crate::cable::{Cable, Host, VLAN, at, cable, small};
use drover_nic::af_xdp::{AfXdpConfig, AfXdpPort, HugePages, Listen, Mode, Pages, ZeroCopy};
use drover_nic::hugetlb;
use drover_nic::skip::{port_verdict, skipped};
use drover_nic::{BURST, Capabilities, Port, PortCounters, RxBurst, TxBurst, conformance};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

/// A group of two, of which one is looked at: the other one works too, so that what arrives on its queue is handed over.
struct OfTwo {
    looked_at: AfXdpPort,
    other: AfXdpPort,
}

impl Port for OfTwo {
    fn capabilities(&self) -> Capabilities {
        self.looked_at.capabilities()
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        assert!(self.other.receive(BURST).is_empty(), "a frame for the other worker");
        self.looked_at.receive(limit)
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.looked_at.reserve(count, len)
    }

    fn commit(&mut self, count: usize) -> usize {
        self.looked_at.commit(count)
    }

    fn discard(&mut self, count: usize) {
        self.looked_at.discard(count);
    }

    fn reserved(&self) -> usize {
        self.looked_at.reserved()
    }

    fn counters(&self) -> PortCounters {
        self.looked_at.counters()
    }
}

#[derive(Clone, Copy, Debug)]
enum Address {
    V4,
    V6,
    VlanV4,
    VlanV6,
}

impl Address {
    fn of(self, host: &Host) -> IpAddr {
        match self {
            Address::V4 => host.v4,
            Address::V6 => host.v6,
            Address::VlanV4 => host.vlan_v4,
            Address::VlanV6 => host.vlan_v6,
        }
    }

    fn vlan(self) -> Option<u16> {
        matches!(self, Address::VlanV4 | Address::VlanV6).then_some(VLAN)
    }
}

fn config(mode: Mode, address: Address) -> AfXdpConfig {
    AfXdpConfig { mode, vlan: address.vlan(), ..small() }
}

fn check_bound(port: &AfXdpPort, config: &AfXdpConfig) {
    let bound = port.bound();
    assert_eq!(bound.native, config.mode == Mode::Driver, "{bound}");
    assert!(!bound.zero_copy, "veth has no zero-copy: {bound}");
    match config.huge_pages {
        HugePages::Require => assert!(matches!(bound.pages, Pages::Huge(1..)), "{bound}"),
        HugePages::Off => assert_eq!(bound.pages, Pages::Small, "{bound}"),
        HugePages::Prefer => {}
    }
}

/// One queue, one worker at each end.
fn one_queue(cable: &Cable, config: &AfXdpConfig, address: Address) {
    conformance::run(&format!("af_xdp, one queue, {address:?}, {config:?}"), || {
        let a = cable.a.open_one(&cable.b, config, address.of(&cable.a));
        let b = cable.b.open_one(&cable.a, config, address.of(&cable.b));
        check_bound(&a, config);
        let (a_at, b_at) = (at(&a), at(&b));
        (a, a_at, b, b_at)
    });
}

/// Two queues, two workers at each end. What worker `from` sends arrives on its own queue, whoever it is for.
fn two_queues(cable: &Cable, config: &AfXdpConfig, address: Address, from: usize, to: usize) {
    let open = |near: &Host, far: &Host, looked_at: usize| {
        let listen = |queue| Listen { addr: SocketAddr::new(address.of(near), 0), queue };
        let mut ports = near.open(far, config, &[listen(0), listen(1)]).expect("opened");
        let looked_at = ports.remove(looked_at);
        check_bound(&looked_at, config);
        OfTwo { looked_at, other: ports.remove(0) }
    };
    conformance::run(&format!("af_xdp, queue {from} to {to} of two, {address:?}, {config:?}"), || {
        let (a, b) = (open(&cable.a, &cable.b, from), open(&cable.b, &cable.a, to));
        let (a_at, b_at) = (at(&a.looked_at), at(&b.looked_at));
        (a, a_at, b, b_at)
    });
}

/// On reserved huge pages, which are given back.
fn huge_pages(cable: &Cable) {
    // A port needs one; the kernel keeps those of ports that are gone a little longer.
    let reserved = match hugetlb::HugePages::reserve(32) {
        Err(error) if !hugetlb::HugePages::allowed() || error.kind() == ErrorKind::OutOfMemory => {
            return skipped(format_args!("af_xdp on huge pages: {error}"));
        }
        reserved => reserved.expect("huge pages"),
    };
    let config = AfXdpConfig { huge_pages: HugePages::Require, ..config(Mode::Driver, Address::V4) };
    one_queue(cable, &config, Address::V4);
    drop(reserved);
}

#[test]
fn af_xdp_ports_conform() {
    let Some(line) = cable(1) else {
        return port_verdict("af_xdp", Err("network namespaces need CAP_SYS_ADMIN"));
    };
    one_queue(&line, &AfXdpConfig { huge_pages: HugePages::Off, ..config(Mode::Driver, Address::V4) }, Address::V4);
    one_queue(&line, &AfXdpConfig { zero_copy: ZeroCopy::Off, ..config(Mode::Generic, Address::V6) }, Address::V6);
    // The cable has the VLAN's addresses on loopback.
    let vlan = AfXdpConfig { vlan_interface: Some("lo".into()), ..config(Mode::Generic, Address::VlanV4) };
    one_queue(&line, &vlan, Address::VlanV4);
    one_queue(&line, &AfXdpConfig { chunk: 4096, ..config(Mode::Driver, Address::VlanV6) }, Address::VlanV6);
    huge_pages(&line);
    let lines = cable(2).expect("a cable of two queues");
    two_queues(&lines, &config(Mode::Driver, Address::V4), Address::V4, 1, 1);
    two_queues(&lines, &config(Mode::Driver, Address::V6), Address::V6, 0, 1);
    two_queues(&lines, &config(Mode::Generic, Address::V4), Address::V4, 1, 0);
    port_verdict("af_xdp", Ok::<(), Infallible>(()));
}
