//! No port and no ring allocates once it is made.
#![cfg(not(feature = "loom"))]

use drover_nic::alloc_gate::{Counting, asked_during};
use drover_nic::capture::{Capture, Limits};
use drover_nic::fault::{Fault, FaultConfig, Faults};
use drover_nic::udp::UdpPort;
use drover_nic::{BURST, Endpoint, Port, memory, ring};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn traffic(a: &mut impl Port, b: &mut impl Port, b_at: Endpoint) {
    for round in 0..100 {
        for frame in a.reserve(1 + round % BURST, 515) {
            *frame.to = b_at;
            frame.data.fill(round as u8);
        }
        a.discard(1);
        a.commit(BURST);
        for frame in a.reserve(1, 100) {
            *frame.to = Endpoint::NONE;
        }
        a.commit(1);
        assert!(b.receive(BURST).iter().all(|frame| frame.data.len() == 515));
    }
}

#[test]
fn the_count_sees_an_allocation() {
    assert_eq!(asked_during(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

#[test]
fn memory_ports_do_not_allocate() {
    let (at_a, at_b) = (Endpoint { ip: [1; 16], port: 1 }, Endpoint { ip: [2; 16], port: 2 });
    let (mut a, mut b) = memory::pair(at_a, at_b, 128);
    assert_eq!(asked_during(|| traffic(&mut a, &mut b, at_b)), 0);
    assert!(b.counters().received > 0 && a.counters().refused > 0);
}

#[test]
fn the_far_end_of_the_wire_does_not_allocate() {
    let at = Endpoint { ip: [1; 16], port: 1 };
    let (mut port, mut wire) = memory::port_and_wire(at, 8);
    let asked = asked_during(|| {
        for _ in 0..100 {
            wire.deliver(at, &[1; 515]);
            assert_eq!(port.receive(BURST).len(), 1);
            port.reserve(1, 259);
            port.commit(1);
            assert!(wire.take(|_, data| assert_eq!(data.len(), 259)));
        }
    });
    assert_eq!(asked, 0);
}

#[test]
fn udp_ports_do_not_allocate() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut a = UdpPort::bind(listen, 128).expect("port a");
    let mut b = UdpPort::bind(listen, 128).expect("port b");
    let at_b = Endpoint::from(b.local_addr());
    assert_eq!(asked_during(|| traffic(&mut a, &mut b, at_b)), 0);
    assert!(b.counters().received > 0 && a.counters().refused > 0);
}

#[test]
fn captured_ports_do_not_allocate() {
    let (at_a, at_b) = (Endpoint { ip: [1; 16], port: 1 }, Endpoint { ip: [2; 16], port: 2 });
    let (a, b) = memory::pair(at_a, at_b, 128);
    // So few that the ring is full and the bound is reached on the way.
    let limits = Limits { packets: 1000, ring: 16, ..Limits::default() };
    let mut a = Capture::into_writer(a, at_a, limits, std::io::sink()).expect("a capture");
    let mut b = Capture::into_writer(b, at_b, limits, std::io::sink()).expect("a capture");
    assert_eq!(asked_during(|| traffic(&mut a, &mut b, at_b)), 0);
    assert!(a.books().captured > 0 && b.books().captured > 0);
}

#[test]
fn ports_with_faults_do_not_allocate() {
    let (at_a, at_b) = (Endpoint { ip: [1; 16], port: 1 }, Endpoint { ip: [2; 16], port: 2 });
    let (a, b) = memory::pair(at_a, at_b, 128);
    let faults = Faults { loss: 0.1, duplicate: 0.3, corrupt: 0.1, reorder: 0.3, delay: 0.3, ..Faults::NONE };
    let config = FaultConfig { receive: faults.clone(), transmit: faults, hold: 50, seed: 1 };
    let mut a = Fault::new(a, &config).expect("a bad wire");
    let mut b = Fault::new(b, &config).expect("a bad wire");
    assert_eq!(asked_during(|| traffic(&mut a, &mut b, at_b)), 0);
    let (there, back) = (a.transmitted(), b.received());
    assert!(there.spared > 0 && there.passed > 0 && back.corrupted > 0 && back.reordered > 0, "{there:?} {back:?}");
}

#[test]
fn rings_do_not_allocate() {
    let (mut sender, mut receiver) = ring::queue(8);
    let asked = asked_during(|| {
        for number in 0..100 {
            assert_eq!(sender.send(number), Ok(()));
            assert_eq!(receiver.recv(), Some(number));
        }
    });
    assert_eq!(asked, 0);
}
