//! A wire that does not take frames: they are refused and counted, not kept for later.

use crate::cable::{Cable, at, cable, collect, detail, send, small};
use drover_nic::af_xdp::{AfXdpConfig, AfXdpPort};
use drover_nic::{BURST, Endpoint, Port};

fn burst(port: &mut AfXdpPort, to: Endpoint, number: u8) -> usize {
    for frame in port.reserve(BURST, 515) {
        *frame.to = to;
        frame.data.fill(number);
    }
    port.commit(BURST)
}

fn ports(cable: &Cable) -> (AfXdpPort, AfXdpPort) {
    (cable.a.open_one(&cable.b, &small(), cable.a.v4), cable.b.open_one(&cable.a, &small(), cable.b.v4))
}

/// Every frame is sent or refused; none is in both, none in neither.
fn balanced(port: &AfXdpPort, committed: usize) {
    let counters = port.counters();
    assert_eq!(counters.sent + counters.refused, committed as u64, "{counters:?}");
    let reasons = ["unroutable", "no_neighbour", "wire_full", "device_dropped"].map(|name| detail(port, name));
    assert_eq!(counters.refused, reasons.iter().sum::<u64>(), "{reasons:?}");
    assert_eq!(port.reserved(), 0);
}

#[test]
fn without_a_carrier_frames_are_refused_and_none_is_sent_later() {
    let Some(cable) = cable(1) else { return };
    let (mut a, mut b) = ports(&cable);
    let b_at = at(&b);
    assert_eq!(burst(&mut a, b_at, 1), BURST);
    assert_eq!(collect(&mut b, BURST).len(), BURST);
    cable.b.network.set_up("b0", false).expect("down");
    let mut sent = BURST;
    for _ in 0..20 {
        sent += burst(&mut a, b_at, 2);
        assert!(a.receive(BURST).is_empty());
    }
    balanced(&a, 21 * BURST);
    assert_eq!(sent, BURST, "the device drops them, and says so");
    cable.b.network.set_up("b0", true).expect("up");
    assert_eq!(burst(&mut a, b_at, 3), BURST);
    let got = collect(&mut b, BURST);
    assert!(got.iter().all(|(_, data)| data[0] == 3), "a frame of the time without a carrier came late");
    assert_eq!(got.len(), BURST);
    balanced(&a, 22 * BURST);
}

#[test]
fn while_the_interface_is_down_no_more_than_a_burst_waits() {
    let Some(cable) = cable(1) else { return };
    let (mut a, mut b) = ports(&cable);
    let b_at = at(&b);
    cable.a.network.set_up("a0", false).expect("down");
    let mut sent = 0;
    for _ in 0..20 {
        sent += burst(&mut a, b_at, 2);
        assert!(a.receive(BURST).is_empty());
    }
    balanced(&a, 20 * BURST);
    assert!(sent <= BURST, "{sent} frames wait for the interface");
    cable.a.network.set_up("a0", true).expect("up");
    // What waited goes with the next call, whatever it is for.
    a.receive(BURST);
    assert_eq!(burst(&mut a, b_at, 3), BURST);
    let got = collect(&mut b, sent + BURST);
    assert_eq!(got.len(), sent + BURST);
    assert!(got[sent..].iter().all(|(_, data)| data[0] == 3));
    balanced(&a, 21 * BURST);
}

/// One call sends a part of a long commit (256 frames, or 32 before Linux 6.17): the rest goes with further ones.
#[test]
fn a_long_commit_goes_whole() {
    const FRAMES: usize = 640;
    let Some(cable) = cable(1) else { return };
    let config = AfXdpConfig { tx_ring: 1024, wire: 1024, ..small() };
    let mut a = cable.a.open_one(&cable.b, &config, cable.a.v4);
    let mut b = cable.b.open_one(&cable.a, &config, cable.b.v4);
    let b_at = at(&b);
    while a.reserved() < FRAMES {
        for frame in a.reserve(BURST, 515) {
            *frame.to = b_at;
            frame.data.fill(1);
        }
    }
    assert_eq!(a.commit(FRAMES), FRAMES);
    assert!(detail(&a, "transmit_wakeups") > 1, "one call sent all: this shows nothing");
    assert_eq!(collect(&mut b, FRAMES).len(), FRAMES);
    balanced(&a, FRAMES);
}

/// A receiver that takes nothing costs its own frames: the sender goes on, and so does the receiver when it wakes.
#[test]
fn a_receiver_that_sleeps_stops_nobody() {
    let Some(cable) = cable(1) else { return };
    let (mut a, mut b) = ports(&cable);
    let b_at = at(&b);
    let rounds = 40;
    for number in 0..rounds {
        assert_eq!(burst(&mut a, b_at, number), BURST);
    }
    balanced(&a, usize::from(rounds) * BURST);
    let mut got = 0;
    loop {
        let count = b.receive(BURST).len();
        if count == 0 {
            break;
        }
        got += count;
    }
    // As many as its ring has places (256); the rest is lost, and the kernel says so.
    assert_eq!(got as u64 + detail(&b, "kernel_fill_empty").max(detail(&b, "kernel_ring_full")), 40 * BURST as u64);
    assert!((200..=256).contains(&got), "{got}");
    assert!(send(&mut a, b_at, b"awake"));
    assert_eq!(collect(&mut b, 1), [(at(&a), b"awake".to_vec())]);
}
