//! Two ports joined by rings, in this process: what the conformance suite cannot do, as it sends only what is right.

use super::*;
use crate::{BURST, Endpoint, FRAME, Port, PortCounters};
use drover_wire::frame::{Astray, Checksum, Local, Mac, write_headers};
use std::sync::Mutex;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

/// One at a time: they share a pool of memory.
static ONE: Mutex<()> = Mutex::new(());

fn eal() -> Eal {
    Eal::start(&EalConfig { memory: Memory::Plain { mib: 192 }, ..EalConfig::default() }).expect("EAL starts")
}

fn config(device: String, own: Mac, other: Mac) -> DpdkConfig {
    DpdkConfig {
        device,
        mac: Some(own),
        vlan: None,
        mtu: None,
        payload: FRAME,
        tx_ring: 128,
        next_hops: NextHops::Fixed(other),
        offload: true,
    }
}

fn workers(ip: &str, count: u16) -> Vec<Listen> {
    (0..count)
        .map(|queue| Listen { addr: format!("{ip}:{}", 4000 + queue).parse().expect("an address"), queue })
        .collect()
}

/// The workers of two devices of `queues` queues each, whose rings hold `slots` frames.
fn pair(name: &str, queues: u16, slots: u32) -> (Vec<DpdkPort>, Vec<DpdkPort>, RingPair) {
    let eal = eal();
    let rings = RingPair::new(&eal, name, queues, slots).expect("rings");
    let a = open(&eal, &config(rings.device(0), A, B), &workers("10.0.0.1", queues)).expect("ports of a");
    let b = open(&eal, &config(rings.device(1), B, A), &workers("10.0.0.2", queues)).expect("ports of b");
    (a, b, rings)
}

fn send(port: &mut DpdkPort, to: Endpoint, payload: &[u8]) -> usize {
    for frame in port.reserve(1, payload.len()) {
        *frame.to = to;
        frame.data.copy_from_slice(payload);
    }
    port.commit(1)
}

fn payloads(port: &mut DpdkPort) -> Vec<Vec<u8>> {
    port.receive(BURST).iter().map(|frame| frame.data.to_vec()).collect()
}

fn detail(port: &DpdkPort, name: &str) -> u64 {
    port.details().iter().find(|(detail, _)| *detail == name).expect("a detail of this name").1
}

/// A frame from A to B's first worker, then changed.
fn frame(payload: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let local = Local { mac: A, vlan: None, ip: Endpoint::from(workers("10.0.0.1", 1)[0].addr).ip };
    let to = Endpoint::from(workers("10.0.0.2", 1)[0].addr);
    let mut frame = vec![0; local.headers_len()];
    write_headers(&mut frame, &local, 4000, B, &to.ip, to.port, payload, Checksum::Software);
    frame.extend_from_slice(payload);
    change(&mut frame);
    frame
}

#[test]
fn a_short_transmit_loses_no_mbuf() {
    let _one = ONE.lock();
    let (mut a, mut b, _rings) = pair("short", 1, 8);
    let (a, b) = (&mut a[0], &mut b[0]);
    let to = b.local();
    for round in 1..=50u64 {
        for frame in a.reserve(20, 100) {
            *frame.to = to;
            frame.data.fill(round as u8);
        }
        assert_eq!(a.reserved(), 20);
        assert_eq!(a.mbufs_in_use(), 20);
        assert_eq!(a.commit(20), 8, "the ring holds 8");
        assert_eq!(a.mbufs_in_use(), 8, "what was refused is free");
        assert_eq!(a.counters(), PortCounters { sent: 8 * round, refused: 12 * round, ..PortCounters::default() });
        assert_eq!(payloads(b), vec![vec![round as u8; 100]; 8]);
        assert_eq!(a.mbufs_in_use(), 8, "lent");
        assert!(b.receive(BURST).is_empty());
        assert_eq!((a.mbufs_in_use(), b.mbufs_in_use()), (0, 0));
    }
}

#[test]
fn what_is_dropped_with_a_port_is_free() {
    let _one = ONE.lock();
    for round in 0..20u8 {
        let (mut a, mut b, rings) = pair("drop", 1, 64);
        let to = b[0].local();
        (0..10).for_each(|_| assert_eq!(send(&mut a[0], to, &[round; 300]), 1));
        assert_eq!(b[0].receive(4).len(), 4);
        assert_eq!(a[0].reserve(30, 1000).len(), 30);
        assert_eq!(b[0].mbufs_in_use(), 0);
        assert_eq!(a[0].mbufs_in_use(), 40);
        // Either order: mbufs that are still in the other's ring keep their pool.
        if round % 2 == 0 {
            drop((a, b))
        } else {
            drop((b, a))
        }
        drop(rings);
    }
    assert_eq!(pool::given_up(), 0, "a pool is left over");
}

#[test]
fn what_is_no_datagram_of_ours_is_counted() {
    let _one = ONE.lock();
    let (mut a, mut b, _rings) = pair("astray", 1, 64);
    let (a, b) = (&mut a[0], &mut b[0]);
    let good = frame(b"good", |_| ());
    let port = good.len() - 4 - 8 + 2;
    let cases: [(&str, Vec<u8>); 8] = [
        ("runt", vec![0; 13]),
        ("other_mac", frame(b"", |frame| frame[5] ^= 1)),
        ("other_vlan", frame(b"", |frame| drop(frame.splice(12..12, [0x81, 0, 0, 7])))),
        ("ethertype", frame(b"", |frame| frame[12..14].copy_from_slice(&[8, 6]))),
        (
            "fragment",
            frame(b"", |frame| {
                frame[20] |= 0x20;
                let sum = u16::from_be_bytes([frame[24], frame[25]]) - 0x2000;
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }),
        ),
        ("checksum", frame(b"bytes", |frame| *frame.last_mut().expect("some") ^= 1)),
        ("bad_ip", frame(b"bytes", |frame| frame.truncate(43))),
        (
            "foreign_port",
            frame(&[0, 0], |frame| {
                // The sum stays right: what the port gains the payload loses.
                frame[port + 1] += 1;
                let at = frame.len() - 2;
                frame[at..].copy_from_slice(&[0xff, 0xfe]);
            }),
        ),
    ];
    for (reason, bytes) in &cases {
        assert_eq!(detail(b, reason), 0, "{reason}");
        a.send_raw(&[bytes]);
        a.send_raw(&[&good]);
        assert_eq!(payloads(b), [b"good"], "{reason}");
        assert_eq!(detail(b, reason), 1, "{reason}: {:?}", b.details());
    }
    let counted: u64 = Astray::ALL.iter().map(|reason| detail(b, reason.name())).sum();
    assert_eq!(counted + detail(b, "foreign_port"), cases.len() as u64, "{:?}", b.details());
    b.receive(0);
    assert_eq!(a.mbufs_in_use(), 0);
}

#[test]
fn frames_too_long_or_in_parts_are_counted() {
    let _one = ONE.lock();
    let (mut a, mut b, _rings) = pair("jumbo", 1, 64);
    let (a, b) = (&mut a[0], &mut b[0]);
    a.send_raw(&[&frame(&[1; FRAME + 1], |_| ())]);
    let whole = frame(&[2; 600], |_| ());
    a.send_raw(&[&whole[..300], &whole[300..]]);
    let jumbo = frame(&[3; 3000], |_| ());
    a.send_raw(&[&jumbo[..1500], &jumbo[1500..]]);
    a.send_raw(&[&frame(&[4; FRAME], |_| ())]);
    assert_eq!(payloads(b), [[4; FRAME]]);
    assert_eq!(b.counters(), PortCounters { received: 1, oversized: 1, ..PortCounters::default() });
    assert_eq!(detail(b, "segments"), 2);
    b.receive(0);
    assert_eq!(a.mbufs_in_use(), 0, "all segments are free");
}

#[test]
fn frames_for_another_worker_are_handed_over_in_order() {
    let _one = ONE.lock();
    let (mut a, mut b, _rings) = pair("hand", 2, 1024);
    let to = [b[0].local(), b[1].local()];
    for number in 0..40u8 {
        assert_eq!(send(&mut a[0], to[usize::from(number % 2)], &[number; 50]), 1);
    }
    let first = payloads(&mut b[0]);
    let second = payloads(&mut b[1]);
    let numbers = |payloads: &[Vec<u8>]| payloads.iter().map(|payload| payload[0]).collect::<Vec<_>>();
    assert_eq!(numbers(&first), (0..40).step_by(2).collect::<Vec<_>>());
    assert_eq!(numbers(&second), (1..40).step_by(2).collect::<Vec<_>>());
    assert_eq!((b[0].counters().received, b[1].counters().received), (20, 20));
    assert_eq!((detail(&b[0], "handed_over"), detail(&b[1], "taken_over")), (20, 20));
    // A worker that does not receive loses what is beyond the ring, and keeps nobody up.
    for _ in 0..10 {
        (0..BURST).for_each(|_| assert_eq!(send(&mut a[0], to[1], b"more"), 1));
        assert!(b[0].receive(BURST).is_empty());
    }
    let (handed, full) = (detail(&b[0], "handed_over") - 20, detail(&b[0], "handed_over_full"));
    assert!(handed > 0 && full > 0 && handed + full == 640, "{handed} {full}");
    // A limit holds for what is taken over too.
    assert_eq!(b[1].receive(3).len(), 3);
    let mut rest = 3;
    while let got @ 1.. = b[1].receive(BURST).len() {
        rest += got as u64;
    }
    assert_eq!(rest, handed);
    b[0].receive(0);
    assert_eq!(a[0].mbufs_in_use(), 0);
}

/// Receives at both until `done`, or for ten seconds.
fn exchange_until(a: &mut DpdkPort, b: &mut DpdkPort, mut done: impl FnMut(&mut DpdkPort, &mut DpdkPort) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done(a, b) {
        assert!(std::time::Instant::now() < deadline, "{:?}\n{:?}", a.details(), b.details());
        std::thread::yield_now();
    }
}

#[test]
fn ports_without_a_kernel_find_each_other() {
    let _one = ONE.lock();
    for (prefix, ip) in [("10.0.0.", ["10.0.0.1", "10.0.0.2"]), ("2001:db8::", ["[2001:db8::1]", "[2001:db8::2]"])] {
        let eal = eal();
        let rings = RingPair::new(&eal, "find", 2, 1024).expect("rings");
        let [mut a, mut b] = [(0, A), (1, B)].map(|(end, mac)| {
            let next_hops = NextHops::Resolved { prefix_len: if end == 0 { 24 } else { 30 }, gateway: None };
            let vlan = prefix.contains(':').then_some(7);
            let config = DpdkConfig { next_hops, vlan, ..config(rings.device(end), mac, mac) };
            open(&eal, &config, &workers(ip[end], 2)).expect("ports")
        });
        let (a, b) = (&mut a[..], &mut b[..]);
        let to = b[0].local();
        // The second worker sends; the questions leave by the first one's queue.
        let (first, second) = a.split_at_mut(1);
        let (first, second) = (&mut first[0], &mut second[0]);
        let mut tries = 0;
        exchange_until(first, &mut b[0], |first, peer| {
            tries += 1;
            assert!(
                first.receive(BURST).is_empty() && second.receive(BURST).is_empty() && peer.receive(BURST).is_empty()
            );
            send(second, to, b"hello") == 1
        });
        assert!(tries > 1, "{prefix}: nobody was asked");
        let refused = second.counters().refused;
        assert_eq!((refused, detail(second, "no_neighbour") + detail(second, "link_was_down")), (tries - 1, tries - 1));
        assert_eq!((detail(first, "asked") > 0, detail(first, "learned")), (true, 1), "{:?}", first.details());
        assert_eq!((detail(&b[0], "answered") > 0, detail(&b[0], "learned")), (true, 0));
        // It came on the second queue, whose worker hands it over.
        let (zero, one) = b.split_at_mut(1);
        exchange_until(&mut one[0], &mut zero[0], |one, zero| {
            assert!(one.receive(BURST).is_empty());
            payloads(zero).contains(&b"hello".to_vec())
        });
    }
}

#[test]
fn a_short_frame_is_filled_up_with_zeros() {
    let _one = ONE.lock();
    let (mut a, mut b, _rings) = pair("zeros", 1, 64);
    let to = b[0].local();
    // What lies behind was secret once.
    (0..BURST).for_each(|_| assert_eq!(send(&mut a[0], to, &[0xff; 700]), 1));
    (0..2).for_each(|_| drop(b[0].receive(BURST)));
    send(&mut a[0], to, b"x");
    let mut seen = Vec::new();
    let forwarded = b[0].forward(&mut a[0], |frame| seen.push(frame.to_vec()));
    assert_eq!((forwarded.received, seen.len()), (1, 1));
    assert_eq!((seen[0].len(), &seen[0][42..]), (60, &[b"x".to_vec(), vec![0; 17]].concat()[..]));
}

#[test]
fn wrong_configurations_say_what_is_wrong() {
    let _one = ONE.lock();
    let eal = eal();
    let rings = RingPair::new(&eal, "wrong", 1, 64).expect("rings");
    let good = config(rings.device(0), A, B);
    let one = workers("10.0.0.1", 1);
    let cases = [
        (good.clone(), workers("10.0.0.1", 2), "needs"),
        (good.clone(), vec![], "0 workers"),
        (good.clone(), workers("0.0.0.0", 1), "0.0.0.0"),
        (good.clone(), vec![Listen { queue: 1, ..one[0] }], "[1]"),
        (good.clone(), vec![one[0], Listen { queue: 1, ..one[0] }], "10.0.0.1:4000"),
        (DpdkConfig { mtu: Some(1000), ..good.clone() }, one.clone(), "1000"),
        (DpdkConfig { vlan: Some(4095), ..good.clone() }, one.clone(), "4095"),
        (DpdkConfig { mac: Some(Mac::BROADCAST), ..good.clone() }, one.clone(), "ff:ff"),
        (DpdkConfig { tx_ring: 0, ..good.clone() }, one.clone(), "0 frames"),
        (DpdkConfig { payload: FRAME + 1, ..good.clone() }, one.clone(), "1537"),
    ];
    for (config, workers, names) in cases {
        let error = open(&eal, &config, &workers).expect_err(names);
        assert_eq!(error.kind, crate::OpenErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains(names) || names == "needs" && error.to_string().contains("need"), "{error}");
    }
    for device in ["0000:ff:1f.7", "net_nonsense0", "net_af_xdp0,iface=nowhere"] {
        let error = open(&eal, &DpdkConfig { device: device.to_owned(), ..good.clone() }, &one).expect_err(device);
        assert_eq!(error.kind, crate::OpenErrorKind::Environment, "{error}");
        assert!(error.to_string().contains(device), "{error}");
    }
    let mut first = open(&eal, &good, &one).expect("right");
    let error = open(&eal, &good, &one).expect_err("open already");
    assert_eq!(error.kind, crate::OpenErrorKind::Configuration, "{error}");
    assert!(first[0].receive(BURST).is_empty(), "the first one is as it was");
    drop(first);
    let error = Eal::start(&EalConfig::default()).expect_err("a second one");
    assert_eq!(error.kind, crate::OpenErrorKind::Configuration, "{error}");
}
