//! What cannot be opened says what, why, and how to mend it.

use crate::cable::{Cable, Host, cable, small};
use drover_nic::af_xdp::{self, AfXdpConfig, HugePages, Listen, Mode, OtherQueues, ZeroCopy};
use drover_nic::netns::Namespace;
use drover_nic::{OpenError, OpenErrorKind};
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

fn listen(ip: IpAddr, queue: u32) -> Listen {
    Listen { addr: SocketAddr::new(ip, 4433), queue }
}

/// The error of opening one worker on queue 0 of host `a`, which must be the environment's.
fn refused(cable: &Cable, config: &AfXdpConfig) -> OpenError {
    let error = cable.a.open(&cable.b, config, &[listen(cable.a.v4, 0)]).expect_err("not opened");
    assert_eq!(error.kind, OpenErrorKind::Environment, "{error}");
    error
}

#[track_caller]
fn says(error: &OpenError, what: &str, why: &str, mend: &str) {
    assert!(error.what.contains(what) && error.why.contains(why) && error.mend.contains(mend), "{error}");
}

fn open_here(interface: &str, addr: &str) -> Result<(), OpenError> {
    let config = AfXdpConfig { interface: interface.into(), ..small() };
    af_xdp::open(&config, &[Listen { addr: addr.parse().expect("an address"), queue: 0 }]).map(drop)
}

#[test]
fn interfaces_that_are_not_there() {
    let error = open_here("nosuchif0", "192.0.2.1:1").expect_err("none");
    assert_eq!(error.kind, OpenErrorKind::Environment);
    says(&error, "nosuchif0", "there is none", "ip link");
    for name in ["", "a\0b", "eth0/../../x", "a-name-of-20-letters"] {
        let error = open_here(name, "192.0.2.1:1").expect_err("no name");
        assert_eq!(error.kind, OpenErrorKind::Configuration, "{error}");
    }
    let error = open_here("lo", "192.0.2.1:1").expect_err("loopback");
    assert_eq!(error.kind, OpenErrorKind::Environment, "{error}");
}

#[test]
fn interfaces_that_do_not_fit() {
    let Some(cable) = cable(2) else { return };
    let both = AfXdpConfig { other_queues: OtherQueues::Steered, ..small() };
    says(&refused(&cable, &small()), "a0", "2 receive queues and 1 of them", "ethtool -L a0 rx 1 tx 1");
    let beyond = cable.a.open(&cable.b, &both, &[listen(cable.a.v4, 2)]).expect_err("beyond");
    says(&beyond, "queue 2", "2 receive queues", "ethtool -L a0 rx 3 tx 3");

    let long = AfXdpConfig { payload: 1500, ..both.clone() };
    cable.a.network.set_mtu("a0", 1527).expect("set");
    says(&refused(&cable, &long), "a0", "MTU is 1527", "mtu 1528");
    cable.a.network.set_mtu("a0", 1551).expect("set");
    let vlan = AfXdpConfig { vlan: Some(7), ..long.clone() };
    let error = cable.a.open(&cable.b, &vlan, &[listen(cable.a.vlan_v6, 0)]).expect_err("IPv6 and a tag");
    says(&error, "a0", "MTU is 1551", "mtu 1552");
    cable.a.network.set_mtu("a0", 1528).expect("set");
    assert!(cable.a.open(&cable.b, &long, &[listen(cable.a.v4, 0)]).is_ok());

    for ip in [cable.b.v4, cable.a.vlan_v4] {
        let error = cable.a.open(&cable.b, &both, &[listen(ip, 0)]).expect_err("another's address");
        says(&error, &ip.to_string(), "a0 does not have it", "ip address add");
    }
    let error = cable.a.open(&cable.b, &AfXdpConfig { vlan: Some(7), ..both.clone() }, &[listen(cable.b.vlan_v4, 0)]);
    says(&error.expect_err("another's address"), "10.78.0.2", "does not have it", "ip address add");
    for (vlan_interface, why) in [("a0", "a0 does not have it"), ("nosuchif0", "there is none")] {
        let config = AfXdpConfig { vlan: Some(7), vlan_interface: Some(vlan_interface.into()), ..both.clone() };
        let error =
            cable.a.open(&cable.b, &config, &[listen(cable.a.vlan_v4, 0)]).expect_err("not the VLAN's interface");
        says(&error, "", why, "ip ");
    }
    let taken = cable.a.network.run(|| UdpSocket::bind((cable.a.v4, 4433))).expect("entered").expect("bound");
    says(&refused(&cable, &both), "10.77.0.1:4433", "another socket has it", "ss -lunp");
    drop(taken);

    cable.a.network.set_up("a0", false).expect("down");
    says(&refused(&cable, &both), "a0", "down", "ip link set dev a0 up");
}

#[test]
fn drivers_that_cannot() {
    let Some(cable) = cable(1) else { return };
    let zero_copy = AfXdpConfig { zero_copy: ZeroCopy::Require, ..small() };
    says(&refused(&cable, &zero_copy), "queue 0 of interface a0", "refuses zero-copy", "zero_copy = \"prefer\"");

    // A bridge runs no programs itself.
    let bridge = Host { network: Namespace::new().expect("a namespace"), interface: "bridge", ..cable.a };
    bridge.network.bridge("bridge", &[]).expect("a bridge");
    bridge.network.address("bridge", "10.77.0.1/24").expect("an address");
    let open = |mode| bridge.open(&cable.b, &AfXdpConfig { mode, ..small() }, &[listen(bridge.v4, 0)]);
    says(&open(Mode::Driver).expect_err("no driver"), "program on bridge", "no native XDP", "mode = \"generic\"");
    let port = open(Mode::Auto).expect("generic").remove(0);
    assert!(!port.bound().native && port.bound().fallback.is_some(), "{}", port.bound());
    assert!(port.bound().to_string().contains("generic mode, copy"), "{}", port.bound());

    // Its other end may send frames that native XDP has no room for.
    let Some(cable) = self::cable(1) else { return };
    cable.b.network.set_mtu("b0", 9000).expect("set");
    let driver = AfXdpConfig { mode: Mode::Driver, ..small() };
    says(&refused(&cable, &driver), "program on a0", "MTU", "mtu 1500");
}

/// A socket on queue 0 of host `a` without a program, as a sender of somebody else's.
fn squatter(cable: &Cable) -> OwnedFd {
    let index = cable.a.network.interface("a0").expect("there").index;
    cable
        .a
        .network
        .run(|| {
            let socket =
                rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).expect("one");
            let memory = Box::leak(vec![0u8; 2 * 2048 + 4096].into_boxed_slice());
            let addr = (memory.as_ptr().addr() as u64).next_multiple_of(4096);
            let flags = rustix::net::xdp::XdpUmemRegFlags::empty();
            let umem = rustix::net::xdp::XdpUmemReg {
                addr,
                len: 4096,
                chunk_size: 2048,
                headroom: 0,
                flags,
                tx_metadata_len: 0,
            };
            sockopt::set_xdp_umem_reg(&socket, umem).expect("registered");
            sockopt::set_xdp_umem_fill_ring_size(&socket, 64).expect("set");
            sockopt::set_xdp_umem_completion_ring_size(&socket, 64).expect("set");
            sockopt::set_xdp_rx_ring_size(&socket, 64).expect("set");
            rustix::net::bind(&socket, &SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, index, 0)).expect("bound");
            socket
        })
        .expect("entered")
}

#[test]
fn places_that_are_taken() {
    let Some(cable) = cable(1) else { return };
    let squatter = squatter(&cable);
    says(&refused(&cable, &small()), "queue 0 of interface a0", "another AF_XDP socket", "another queue");
    drop(squatter);
    let port = cable.a.open(&cable.b, &small(), &[listen(cable.a.v4, 0)]).expect("free again, and nothing was left");
    for mode in [Mode::Auto, Mode::Driver, Mode::Generic] {
        let other = Listen { addr: SocketAddr::new(cable.a.v4, 4434), queue: 0 };
        let error = cable.a.open(&cable.b, &AfXdpConfig { mode, ..small() }, &[other]).expect_err("taken");
        says(&error, "program on a0", "another XDP program", "xdp off");
    }
    drop(port);
    assert!(cable.a.open(&cable.b, &small(), &[listen(cable.a.v4, 0)]).is_ok());
}

/// On a thread of its own, which has these capabilities no more.
fn without<T: Send>(lost: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).expect("ours");
            sets.effective.remove(lost);
            set_capabilities(None, sets).expect("fewer");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn privileges_that_are_lacking() {
    let Some(cable) = cable(1) else { return };
    let config = AfXdpConfig { interface: "a0".into(), ..small() };
    let workers = [listen(cable.a.v4, 0)];
    let open = |lost: CapabilitySet, config: &AfXdpConfig| {
        let opened = cable.a.network.run(|| without(lost, || af_xdp::open(config, &workers).map(drop)));
        opened.expect("entered")
    };
    let admin = CapabilitySet::SYS_ADMIN;
    for (lost, what) in [
        (CapabilitySet::NET_RAW, "an AF_XDP socket"),
        (admin | CapabilitySet::NET_ADMIN | CapabilitySet::BPF, "the map of sockets"),
        (admin | CapabilitySet::BPF, "the "),
        (admin | CapabilitySet::NET_ADMIN, "the "),
    ] {
        says(&open(lost, &config).expect_err("not permitted"), what, "no permission", "CAP_BPF");
    }
    assert_eq!(open(admin, &config), Ok(()), "these three are enough");
    // 384 MiB are more than any usual limit.
    let large = AfXdpConfig { tx_ring: 1 << 16, wire: 1 << 14, chunk: 4096, huge_pages: HugePages::Off, ..config };
    match open(CapabilitySet::IPC_LOCK, &large) {
        Err(error) => says(&error, "bytes for frames", "RLIMIT_MEMLOCK", "LimitMEMLOCK=infinity"),
        Ok(()) => drover_nic::skip::skipped("no limit on locked memory here"),
    }
}

#[test]
fn huge_pages_that_are_lacking() {
    let Some(cable) = cable(1) else { return };
    // 192 of them: whatever other tests reserve is less.
    let large = AfXdpConfig { tx_ring: 1 << 16, wire: 1 << 14, chunk: 4096, huge_pages: HugePages::Require, ..small() };
    let free = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        text.lines().find_map(|line| line.strip_prefix("HugePages_Free:")?.trim().parse().ok())
    };
    if free().is_some_and(|free| free >= 192) {
        return drover_nic::skip::skipped("a lack of huge pages: there are enough");
    }
    says(&refused(&cable, &large), "192 huge pages of 2 MiB", "", "vm.nr_hugepages");
}
