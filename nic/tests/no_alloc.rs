//! No port and no ring allocates once it is made.
#![cfg(not(feature = "loom"))]

use drover_nic::alloc_gate::{Counting, asked_during};
use drover_nic::capture::{Capture, Limits};
use drover_nic::fault::{Fault, FaultConfig, Faults};
use drover_nic::neighbour::Table;
use drover_nic::neighbour::responder::{self, Responder};
use drover_nic::udp::UdpPort;
use drover_nic::{BURST, Endpoint, Port, memory, ring};
use drover_wire::frame::{Checksum, Family, Local, Mac, Template, mapped, parse};
use std::time::{Duration, Instant};

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

/// Misses, wants, answers, probes and removals, more than there is room for.
#[test]
fn tables_of_next_hops_do_not_allocate() {
    let mac = |last| Mac([2, 0, 0, 0, 0, last]);
    let (gateway, now) = (mapped([10, 1, 0, 254]), Instant::now());
    let local = Local { mac: mac(1), vlan: None, ip: mapped([10, 1, 0, 1]) };
    let config = responder::Config { local, prefix_len: 24, gateway: Some(gateway) };
    let there =
        responder::Config { local: Local { mac: mac(2), vlan: None, ip: gateway }, prefix_len: 24, gateway: None };
    let (mut table, feed) = Table::learned(Family::V4, 16).expect("randomness");
    let mut resolver = Responder::new(config, vec![feed], now).expect("a good configuration");
    let mut router = Responder::new(there, Vec::new(), now).expect("a good configuration");
    resolver.set_link(true, now);
    let (mut asked, mut known) = (0, 0);
    for second in 0..200 {
        let now = now + Duration::from_secs(second);
        let mut answers = Vec::new();
        resolver.turn(now, |frame| router.hear(frame, now, |answer| answers.push(answer.to_vec())));
        answers.iter().for_each(|answer| resolver.hear(answer, now, |_| {}));
        asked += asked_during(|| {
            table.poll();
            known += (0..20).filter(|host| table.mac(&mapped([192, 0, 2, host + second as u8 / 4])).is_some()).count();
        });
    }
    assert_eq!(asked, 0);
    let counters = table.counters();
    assert!(known > 500 && counters.full > 100, "{known} known, {counters:?}");
}

#[test]
fn frames_do_not_allocate() {
    let local = Local { mac: Mac([2; 6]), vlan: Some(7), ip: [0x20; 16] };
    let asked = asked_during(|| {
        let mut frame = [0; 66 + 515];
        let (headers, payload) = frame.split_at_mut(66);
        for checksum in [Checksum::Software, Checksum::Offload] {
            Template::new(&local, 1).write(headers, local.mac, &local.ip, 2, payload, checksum);
        }
        assert!(parse(&frame, &local, Checksum::Offload).is_ok());
        assert!(parse(&frame, &local, Checksum::Software).is_err());
    });
    assert_eq!(asked, 0);
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
