//! Every interleaving of the ring's two ends, by loom: `cargo test -p drover-nic --features loom --test loom`.
#![cfg(feature = "loom")]

use drover_nic::ring::{queue, ring};
use loom::thread;
use std::sync::Arc;

/// Nothing is lost, doubled or reordered when more values pass than there are slots.
#[test]
fn three_values_through_two_slots() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2, || 0);
        let pushing = thread::spawn(move || {
            for value in 1..=3 {
                while !producer.push_with(|slot| *slot = value) {
                    thread::yield_now();
                }
            }
        });
        for value in 1..=3 {
            loop {
                match consumer.pop_with(|slot| *slot) {
                    Some(popped) => break assert_eq!(popped, value),
                    None => thread::yield_now(),
                }
            }
        }
        assert_eq!(consumer.pop_with(|slot| *slot), None);
        pushing.join().expect("the pushing thread");
    });
}

/// `free` and `waiting` never promise too much, and a push or pop that they promise succeeds.
#[test]
fn what_is_promised_is_kept() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2, || 0);
        let pushing = thread::spawn(move || {
            let mut pushed = 0;
            for _ in 0..3 {
                let free = producer.free();
                assert!(free <= 2);
                if free > 0 || pushed < 2 {
                    pushed += 1;
                    assert!(producer.push_with(|slot| *slot = pushed));
                }
            }
            pushed
        });
        let mut popped = 0;
        for _ in 0..2 {
            let waiting = consumer.waiting();
            assert!(waiting <= 2);
            for _ in 0..waiting {
                popped += 1;
                assert_eq!(consumer.pop_with(|slot| *slot), Some(popped));
            }
        }
        let pushed = pushing.join().expect("the pushing thread");
        while let Some(value) = consumer.pop_with(|slot| *slot) {
            popped += 1;
            assert_eq!(value, popped);
        }
        assert!(pushed >= 2);
        assert_eq!(popped, pushed);
    });
}

/// A burst is seen as a whole, and slots that were peeked at are not overwritten before they are given back.
#[test]
fn bursts_and_peeks() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2, || 0);
        let pushing = thread::spawn(move || {
            let mut burst = producer.burst();
            assert!(burst.push_with(|slot| *slot = 1));
            assert!(burst.push_with(|slot| *slot = 2));
            drop(burst);
            producer.push_with(|slot| *slot = 3)
        });
        let mut waiting = consumer.waiting();
        while waiting == 0 {
            thread::yield_now();
            waiting = consumer.waiting();
        }
        assert_eq!(waiting, 2, "half a burst was seen");
        assert_eq!([consumer.oldest(usize::MAX).nth(0), consumer.oldest(usize::MAX).nth(1)], [Some(&1), Some(&2)]);
        consumer.release(2);
        let third = pushing.join().expect("the pushing thread");
        assert_eq!(consumer.pop_with(|slot| *slot), third.then_some(3));
    });
}

/// Values that move are dropped once, whichever end goes first.
#[test]
fn queued_values_are_dropped_once() {
    loom::model(|| {
        let value = Arc::new(());
        let (mut sender, mut receiver) = queue(2);
        let sent = value.clone();
        let sending = thread::spawn(move || {
            for _ in 0..2 {
                assert!(sender.send(sent.clone()).is_ok());
            }
        });
        let received = receiver.recv();
        drop(receiver);
        sending.join().expect("the sending thread");
        assert_eq!(Arc::strong_count(&value), 1 + usize::from(received.is_some()));
    });
}
