//! Several workers of one interface.

use crate::cable::{at, cable, collect, detail, send, small};
use drover_nic::af_xdp::{AfXdpConfig, Listen};
use drover_nic::{BURST, Endpoint, Port};
use std::net::SocketAddr;

/// What arrives on another worker's queue reaches the worker of its UDP port, and both count it; beyond what waits there
/// it is lost, and counted.
#[test]
fn frames_of_another_queue_are_handed_over_and_counted() {
    const WAIT: usize = 8;
    let Some(cable) = cable(2) else { return };
    let config = AfXdpConfig { hand_over: WAIT, ..small() };
    let listen = |queue| Listen { addr: SocketAddr::new(cable.b.v4, 0), queue };
    let mut near = cable.b.open(&cable.a, &config, &[listen(0), listen(1)]).expect("a group");
    let listen = |queue| Listen { addr: SocketAddr::new(cable.a.v4, 0), queue };
    let mut far = cable.a.open(&cable.b, &config, &[listen(0), listen(1)]).expect("a group");
    let [first, second] = &mut near[..] else { panic!("two ports") };
    assert_ne!(first.local_addr(), second.local_addr(), "any free port each");

    // Worker 1 of the other host sends on its queue 1.
    let from = at(&far[1]);
    assert!(send(&mut far[1], at(first), b"to the first") && send(&mut far[1], at(second), b"to the second"));
    assert_eq!(collect(second, 1), [(from, b"to the second".to_vec())]);
    assert_eq!(detail(second, "handed_over"), 1);
    assert_eq!(collect(first, 1), [(from, b"to the first".to_vec())]);
    assert_eq!((detail(first, "taken_over"), detail(first, "handed_over")), (1, 0));

    // Ends the loan of the one above, which keeps its place until then.
    assert!(first.receive(0).is_empty());
    for number in 0..WAIT as u8 + 3 {
        assert!(send(&mut far[1], at(first), &[number]));
    }
    assert!(send(&mut far[1], at(second), b"marker"));
    assert_eq!(collect(second, 1).len(), 1);
    assert_eq!((detail(second, "handed_over"), detail(second, "hand_over_full")), (1 + WAIT as u64, 3));
    let got: Vec<u8> = collect(first, WAIT).iter().map(|(_, data)| data[0]).collect();
    assert_eq!(got, (0..WAIT as u8).collect::<Vec<_>>());
    assert!(first.receive(BURST).is_empty());
    assert_eq!(first.counters().received, 1 + WAIT as u64);
}

/// Workers of one UDP port each receive what comes on their own queue.
#[test]
fn workers_may_share_a_port() {
    let Some(cable) = cable(2) else { return };
    let shared = SocketAddr::new(cable.b.v6, 4433);
    let workers = [Listen { addr: shared, queue: 0 }, Listen { addr: shared, queue: 1 }];
    let mut near = cable.b.open(&cable.a, &small(), &workers).expect("a group");
    let listen = |queue| Listen { addr: SocketAddr::new(cable.a.v6, 0), queue };
    let mut far = cable.a.open(&cable.b, &small(), &[listen(0), listen(1)]).expect("a group");
    for queue in [1, 0] {
        assert!(send(&mut far[queue], Endpoint::from(shared), &[queue as u8]));
        assert_eq!(collect(&mut near[queue], 1), [(at(&far[queue]), vec![queue as u8])]);
    }
    assert!(near.iter().all(|port| detail(port, "handed_over") == 0));
}
