//! Next hops that the kernel resolves.

use crate::cable::{Host, at, cable, collect, detail, send, small};
use drover_nic::Port;
use drover_nic::af_xdp::{AfXdpConfig, AfXdpPort, Listen};
use drover_nic::{BURST, Endpoint};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

fn open(host: &Host, ip: IpAddr) -> AfXdpPort {
    let config = AfXdpConfig { neighbours: 8, ..small() };
    let workers = [Listen { addr: SocketAddr::new(ip, 0), queue: 0 }];
    host.open_resolving(&config, &workers).expect("opened").remove(0)
}

/// Tries until `done`, for some seconds at most.
fn patiently(port: &mut AfXdpPort, mut done: impl FnMut(&mut AfXdpPort) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done(port) {
        assert!(Instant::now() < deadline, "{:?}", port.details());
        assert!(port.receive(BURST).is_empty());
        std::thread::yield_now();
    }
}

#[test]
fn next_hops_are_resolved_by_the_kernel() {
    let Some(cable) = cable(1) else { return };
    for (near, far) in [(cable.a.v4, cable.b.v4), (cable.a.v6, cable.b.v6)] {
        let (mut a, mut b) = (open(&cable.a, near), open(&cable.b, far));
        let (a_at, b_at) = (at(&a), at(&b));
        assert!(!send(&mut a, b_at, b"to nobody known"));
        assert_eq!(a.counters().refused, 1);
        patiently(&mut a, |a| send(a, b_at, b"there"));
        assert_eq!(collect(&mut b, 1), [(a_at, b"there".to_vec())]);
        patiently(&mut b, |b| send(b, a_at, b"back"));
        assert_eq!(collect(&mut a, 1), [(b_at, b"back".to_vec())]);
        assert_eq!(a.counters().refused, detail(&a, "no_neighbour"));
        // Nobody is there, and no way leads there.
        let (nobody, nowhere) = match near {
            IpAddr::V4(_) => ("10.77.0.9:1", "203.0.113.1:1"),
            IpAddr::V6(_) => ("[2001:db8:77::9]:1", "[2001:db8:ffff::1]:1"),
        };
        for addr in [nobody, nowhere] {
            let to = Endpoint::from(addr.parse::<SocketAddr>().expect("an address"));
            assert!(!send(&mut a, to, b"lost"));
        }
        // And those who are go on.
        assert!(send(&mut a, b_at, b"again"));
        assert_eq!(collect(&mut b, 1), [(a_at, b"again".to_vec())]);
    }
}

#[test]
fn while_the_link_is_down_frames_are_refused_at_once() {
    let Some(cable) = cable(1) else { return };
    let (mut a, mut b) = (open(&cable.a, cable.a.v4), open(&cable.b, cable.b.v4));
    let b_at = at(&b);
    patiently(&mut a, |a| send(a, b_at, b"one"));
    assert_eq!(collect(&mut b, 1).len(), 1);
    cable.b.network.set_up("b0", false).expect("down");
    patiently(&mut a, |a| !a.link_up());
    let before = detail(&a, "link_down");
    assert!(!send(&mut a, b_at, b"two"));
    assert_eq!(detail(&a, "link_down"), before + 1);
    cable.b.network.set_up("b0", true).expect("up");
    patiently(&mut a, |a| send(a, b_at, b"three"));
    assert_eq!(collect(&mut b, 1)[0].1, b"three");
}
