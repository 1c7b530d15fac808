use super::*;
use crate::memory::{MemoryPort, MemoryWire, pair, port_and_wire};
use crate::{Endpoint, conformance};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LOCAL: Endpoint = Endpoint { ip: [1; 16], port: 1 };
const PEER: Endpoint = Endpoint { ip: [2; 16], port: 2 };

fn on_receive(faults: Faults) -> FaultConfig {
    FaultConfig { seed: 7, receive: faults, ..FaultConfig::NONE }
}

fn on_transmit(faults: Faults) -> FaultConfig {
    FaultConfig { seed: 7, transmit: faults, ..FaultConfig::NONE }
}

fn bad(config: &FaultConfig) -> (Fault<MemoryPort>, MemoryWire) {
    let (port, wire) = port_and_wire(LOCAL, 256);
    (Fault::new(port, config).expect("allowed"), wire)
}

/// Numbers `from..to` arrive; returns what one receive gives.
fn through(port: &mut Fault<MemoryPort>, wire: &mut MemoryWire, numbers: std::ops::Range<u32>) -> Vec<u32> {
    for number in numbers {
        assert!(wire.deliver(PEER, &number.to_le_bytes()));
    }
    received(port, BURST)
}

fn received<C: Clock>(port: &mut Fault<MemoryPort, C>, limit: usize) -> Vec<u32> {
    port.receive(limit).iter().map(|frame| number(frame.data)).collect()
}

fn number(data: &[u8]) -> u32 {
    u32::from_le_bytes(data.try_into().expect("four bytes"))
}

/// Sends numbers in one commit; returns what the commit says.
fn send<C: Clock>(port: &mut Fault<MemoryPort, C>, numbers: std::ops::Range<u32>) -> usize {
    let count = numbers.len();
    for (number, frame) in numbers.zip(port.reserve(count, 4)) {
        *frame.to = PEER;
        frame.data.copy_from_slice(&number.to_le_bytes());
    }
    port.commit(count)
}

fn taken(wire: &mut MemoryWire) -> Vec<u32> {
    let mut numbers = Vec::new();
    while wire.take(|to, data| {
        assert_eq!(to, PEER);
        numbers.push(number(data));
    }) {}
    numbers
}

#[track_caller]
fn assert_books(counters: FaultCounters) {
    let FaultCounters { taken, passed, lost, duplicated, held, .. } = counters;
    assert_eq!(taken + duplicated, passed + lost + held, "{counters:?}");
}

/// The whole way of a bad wire, with no fault drawn: the contract holds on it too, not only where it is stepped around.
#[test]
fn a_port_with_faults_that_do_not_come_conforms() {
    let rates = Faults { loss: f64::MIN_POSITIVE, ..Faults::NONE };
    let config = FaultConfig { receive: rates.clone(), transmit: rates, ..FaultConfig::NONE };
    for capacity in [1, 8, 256] {
        conformance::run(&format!("faults over memory of {capacity}"), || {
            let (a, b) = pair(LOCAL, PEER, capacity);
            let fault = |port| Fault::new(port, &config).expect("allowed");
            (fault(a), LOCAL, fault(b), PEER)
        });
    }
}

#[test]
fn the_suite_notices_every_fault() {
    let rate = 0.2;
    for faults in [
        Faults { loss: rate, ..Faults::NONE },
        Faults { duplicate: rate, ..Faults::NONE },
        Faults { corrupt: rate, ..Faults::NONE },
        Faults { reorder: rate, ..Faults::NONE },
        Faults { delay: rate, ..Faults::NONE },
    ] {
        for config in [on_receive(faults.clone()), on_transmit(faults.clone())] {
            let failures = conformance::failures(std::time::Duration::from_millis(20), || {
                let (a, b) = pair(LOCAL, PEER, 64);
                let fault = |port| Fault::new(port, &config).expect("allowed");
                (fault(a), LOCAL, fault(b), PEER)
            });
            assert!(!failures.is_empty(), "{config:?}");
        }
    }
}

#[test]
fn everything_is_lost_at_rate_one() {
    let (mut port, mut wire) = bad(&on_receive(Faults { loss: 1.0, ..Faults::NONE }));
    assert!(through(&mut port, &mut wire, 0..50).is_empty());
    assert_eq!(port.received(), FaultCounters { taken: 50, lost: 50, ..FaultCounters::default() });
    assert_eq!(port.counters().received, 0);
    let (mut port, mut wire) = bad(&on_transmit(Faults { loss: 1.0, ..Faults::NONE }));
    assert_eq!(send(&mut port, 0..50), 50, "the wire took them, then lost them");
    assert!(taken(&mut wire).is_empty());
    assert_eq!(port.transmitted(), FaultCounters { taken: 50, lost: 50, ..FaultCounters::default() });
    assert_eq!(port.counters(), PortCounters { sent: 50, ..PortCounters::default() });
}

#[test]
fn a_double_comes_a_turn_later() {
    let faults = Faults { duplicate: 1.0, ..Faults::NONE };
    let (mut port, mut wire) = bad(&on_receive(faults.clone()));
    assert_eq!(through(&mut port, &mut wire, 0..3), [0, 1, 2]);
    assert_eq!(port.received().held, 3);
    assert_eq!(received(&mut port, 2), [0, 1], "the limit holds for doubles");
    assert_eq!(received(&mut port, 2), [2]);
    assert_eq!(port.received(), FaultCounters { taken: 3, duplicated: 3, passed: 6, ..FaultCounters::default() });
    let (mut port, mut wire) = bad(&on_transmit(faults));
    assert_eq!(send(&mut port, 0..2), 2);
    assert_eq!(taken(&mut wire), [0, 1]);
    port.receive(0);
    assert_eq!(taken(&mut wire), [0, 1]);
    assert_books(port.transmitted());
}

#[test]
fn one_byte_is_changed() {
    let (mut port, mut wire) = bad(&on_receive(Faults { corrupt: 1.0, ..Faults::NONE }));
    for _ in 0..100 {
        assert!(wire.deliver(PEER, &[0x55; 515]));
        let burst = port.receive(BURST);
        assert_eq!(burst[0].from, PEER);
        let changed = burst[0].data.iter().filter(|byte| **byte != 0x55).count();
        assert_eq!((changed, burst[0].data.len()), (1, 515));
    }
    assert!(wire.deliver(PEER, b""));
    assert_eq!(port.receive(BURST).len(), 1, "nothing is in it that could be changed");
    assert_eq!(port.received().corrupted, 100);
}

#[test]
fn a_reordered_one_lets_others_pass() {
    let faults = Faults { reorder: 0.3, reorder_by: 2, reorder_ticks: 3, ..Faults::NONE };
    let (mut port, mut wire) = bad(&on_receive(faults));
    let mut order = Vec::new();
    for first in 0..100 {
        order.extend(through(&mut port, &mut wire, first * 10..first * 10 + 10));
    }
    for _ in 0..4 {
        order.extend(received(&mut port, BURST));
    }
    assert_eq!((port.received().held, port.received().reordered > 200), (0, true), "{:?}", port.received());
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    let moved = order.iter().enumerate().filter(|(at, number)| *at != **number as usize).count();
    assert!(moved > 200, "{moved}");
    // Held ones let two pass; those passed over may be held themselves.
    assert!(order.iter().enumerate().all(|(at, number)| at.abs_diff(*number as usize) <= 30), "{order:?}");
}

#[test]
fn a_reordered_one_comes_though_nothing_follows() {
    let (mut port, mut wire) = bad(&on_receive(Faults { reorder: 1.0, reorder_ticks: 3, ..Faults::NONE }));
    assert!(through(&mut port, &mut wire, 0..1).is_empty());
    let got: Vec<Vec<u32>> = (0..3).map(|_| received(&mut port, BURST)).collect();
    assert_eq!(got, [vec![], vec![], vec![0]]);
}

#[test]
fn delays_are_by_the_clock_that_is_given() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = {
        let time = Arc::clone(&time);
        move || time.load(Ordering::Relaxed)
    };
    let faults = Faults { delay: 1.0, delay_ticks: 500..=500, ..Faults::NONE };
    let config = FaultConfig { receive: faults.clone(), transmit: faults, ..FaultConfig::NONE };
    let (port, mut wire) = port_and_wire(LOCAL, 256);
    let mut port = Fault::with_clock(port, &config, clock).expect("allowed");
    assert!(wire.deliver(PEER, &7u32.to_le_bytes()));
    assert!(received(&mut port, BURST).is_empty());
    assert_eq!(send(&mut port, 8..9), 1);
    time.store(499, Ordering::Relaxed);
    assert!(received(&mut port, BURST).is_empty() && taken(&mut wire).is_empty());
    time.store(500, Ordering::Relaxed);
    assert_eq!((received(&mut port, BURST), taken(&mut wire)), (vec![7], vec![8]));
    assert_eq!((port.received().delayed, port.transmitted().delayed), (1, 1));
}

#[test]
fn what_finds_no_room_passes_and_is_counted() {
    let faults = Faults { delay: 1.0, delay_ticks: 9..=9, duplicate: 1.0, ..Faults::NONE };
    let (mut port, mut wire) = bad(&FaultConfig { hold: 3, ..on_receive(faults) });
    // The first and its double are held, and the second's double.
    assert_eq!(through(&mut port, &mut wire, 0..10), (1..10).collect::<Vec<_>>());
    let counters = port.received();
    assert_eq!((counters.held, counters.duplicated, counters.delayed, counters.spared), (3, 2, 1, 17));
    assert_books(counters);
}

#[test]
fn a_refusal_is_told_at_once_or_counted_as_late() {
    let (a, _b) = pair(LOCAL, PEER, 8);
    let delay = Faults { delay: 0.5, delay_ticks: 1..=1, ..Faults::NONE };
    let mut port = Fault::new(a, &on_transmit(delay)).expect("allowed");
    // To nobody: whatever reaches the port below is refused.
    let count = port.reserve(8, 4).len();
    let sent = port.commit(count);
    port.receive(0);
    let counters = port.transmitted();
    assert!(sent > 0 && sent < 8 && counters.delayed == sent as u64, "{counters:?}");
    assert_eq!(counters.refused_late, sent as u64);
    assert_eq!(port.counters().refused, 8 - sent as u64);
    assert_books(counters);
}

#[test]
fn what_is_not_allowed_is_refused_by_name() {
    let wrong = |config: FaultConfig| Fault::new(pair(LOCAL, PEER, 8).0, &config).err().expect("refused").to_string();
    for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(wrong(on_receive(Faults { loss: rate, ..Faults::NONE })).starts_with("receive.loss = "));
    }
    assert!(wrong(on_transmit(Faults { reorder_by: 0, ..Faults::NONE })).contains("transmit.reorder_by = 0"));
    #[expect(clippy::reversed_empty_ranges, reason = "it is what must be refused")]
    let reversed = Faults { delay_ticks: 2..=1, ..Faults::NONE };
    assert!(wrong(on_transmit(reversed)).contains("delay_ticks = 2 to 1"));
    assert!(wrong(FaultConfig { hold: MAX_HOLD + 1, ..FaultConfig::NONE }).starts_with("hold = "));
}

/// What a script of datagrams becomes.
fn story(seed: u64) -> Vec<Vec<u32>> {
    let faults = Faults {
        loss: 0.1,
        duplicate: 0.1,
        corrupt: 0.1,
        reorder: 0.2,
        delay: 0.1,
        delay_ticks: 0..=5,
        ..Faults::NONE
    };
    let (mut port, mut wire) = bad(&FaultConfig { seed, ..on_receive(faults) });
    (0..50).map(|turn| through(&mut port, &mut wire, turn * 9..turn * 9 + 9)).collect()
}

#[test]
fn a_seed_is_a_story() {
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

fn faults() -> impl Strategy<Value = Faults> {
    let rate = || prop_oneof![Just(0.0), 0.0..=1.0];
    (rate(), rate(), rate(), rate(), rate(), 1..5u64, 0..5u64, 0..4u64, 0..6u64).prop_map(
        |(loss, duplicate, corrupt, reorder, delay, reorder_by, reorder_ticks, first, more)| Faults {
            loss: loss * 0.7,
            duplicate,
            corrupt,
            reorder,
            reorder_by,
            reorder_ticks,
            delay,
            delay_ticks: first..=first + more,
        },
    )
}

proptest! {
    /// Both directions, under any traffic: counts equal what is seen on both sides of the bad wire after every call, and
    /// every datagram that passes is one that was sent, but for one byte.
    #[test]
    fn the_books_balance(
        seed: u64, receive in faults(), transmit in faults(), hold in 0..40usize,
        turns in proptest::collection::vec((0..20u32, 0..BURST + 9, 0..20usize), 1..40),
    ) {
        let (mut port, mut wire) = bad(&FaultConfig { seed, receive, transmit, hold });
        let (mut delivered, mut seen, mut committed, mut left) = (0u32, 0, 0, 0);
        for (arriving, limit, sending) in turns {
            for _ in 0..arriving {
                // Every byte of a datagram tells its number: a majority does after a change.
                if wire.deliver(PEER, &[delivered as u8; 5]) {
                    delivered += 1;
                }
            }
            let burst = port.receive(limit);
            prop_assert!(burst.len() <= limit);
            for frame in &burst {
                let mut bytes: Vec<u8> = frame.data.to_vec();
                bytes.sort_unstable();
                prop_assert_eq!(bytes.len(), 5);
                prop_assert!(bytes.iter().filter(|byte| **byte == bytes[2]).count() >= 4 && frame.from == PEER);
                prop_assert!(u32::from(bytes[2]) < delivered);
            }
            seen += burst.len() as u64;
            drop(burst);
            let count = port.reserve(sending, 5).into_iter().map(|frame| {
                *frame.to = PEER;
                frame.data.fill(9);
            }).count();
            prop_assert_eq!(port.commit(count), count, "the wire has room for all");
            committed += count as u64;
            while wire.take(|_, _| left += 1) {}

            let (there, back) = (port.received(), port.transmitted());
            assert_books(there);
            assert_books(back);
            prop_assert_eq!((there.passed, port.counters().received), (seen, seen));
            prop_assert!(there.held <= hold as u64 && back.held <= hold as u64);
            prop_assert_eq!((back.taken, back.passed, port.counters().sent), (committed, left, committed));
            prop_assert!(there.taken <= u64::from(delivered));
        }
        // All that was taken and not lost is seen, as often as copies were made.
        let mut quiet = 0;
        while quiet < 20 {
            let burst = port.receive(BURST);
            quiet = if burst.is_empty() { quiet + 1 } else { 0 };
            seen += burst.len() as u64;
        }
        let there = port.received();
        prop_assert_eq!((there.held, there.taken, there.passed), (0, u64::from(delivered), seen));
        prop_assert_eq!(u64::from(delivered) + there.duplicated - there.lost, seen);
    }
}
