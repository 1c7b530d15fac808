use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::thread;

#[test]
fn capacity_is_rounded_up() {
    for (asked, made) in [(0, 1), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128)] {
        let (producer, consumer) = ring(asked, || 0u8);
        assert_eq!((producer.capacity(), consumer.capacity()), (made, made));
    }
}

#[test]
fn a_full_ring_refuses_and_an_empty_one_gives_nothing() {
    let (mut producer, mut consumer) = ring(2, || 0);
    assert_eq!(consumer.pop_with(|_| ()), None);
    assert!(producer.push_with(|slot| *slot = 1));
    assert!(producer.push_with(|slot| *slot = 2));
    assert!(!producer.push_with(|_| panic!("called on a full ring")));
    assert_eq!((producer.free(), consumer.waiting()), (0, 2));
    assert_eq!(consumer.pop_with(|slot| *slot), Some(1));
    assert_eq!((producer.free(), consumer.waiting()), (1, 1));
    assert!(producer.push_with(|slot| *slot = 3));
    assert_eq!(consumer.pop_with(|slot| *slot), Some(2));
    assert_eq!(consumer.pop_with(|slot| *slot), Some(3));
    assert_eq!(consumer.pop_with(|slot| *slot), None);
}

#[test]
fn a_burst_is_seen_as_a_whole() {
    let (mut producer, mut consumer) = ring(4, || 0);
    let mut burst = producer.burst();
    for value in 1..=4 {
        assert!(burst.push_with(|slot| *slot = value));
    }
    assert!(!burst.push_with(|_| panic!("called on a full ring")));
    assert_eq!(consumer.waiting(), 0);
    drop(burst);
    assert_eq!(consumer.waiting(), 4);
    assert_eq!(
        [0, 1, 2, 3, 4].map(|at| consumer.oldest(usize::MAX).nth(at).copied()),
        [Some(1), Some(2), Some(3), Some(4), None]
    );
    consumer.release(2);
    assert_eq!(consumer.oldest(usize::MAX).next(), Some(&3));
    consumer.release(usize::MAX);
    assert_eq!((consumer.waiting(), producer.free()), (0, 4));
}

#[test]
fn slots_are_not_seen_before_waiting_counts_them() {
    let (mut producer, mut consumer) = ring(4, || 7);
    assert_eq!(consumer.oldest(usize::MAX).next(), None);
    assert!(producer.push_with(|_| ()));
    assert_eq!(consumer.oldest(usize::MAX).next(), None);
    consumer.release(1);
    assert_eq!(consumer.waiting(), 1);
    assert_eq!(consumer.oldest(usize::MAX).next(), Some(&7));
}

#[test]
fn a_panicking_closure_moves_nothing() {
    let (mut producer, mut consumer) = ring(2, || String::from("old"));
    let pushed = catch_unwind(AssertUnwindSafe(|| {
        producer.push_with(|slot| {
            slot.push('!');
            panic!("while filling");
        })
    }));
    assert!(pushed.is_err());
    assert_eq!((producer.free(), consumer.waiting()), (2, 0));

    assert!(producer.push_with(|slot| *slot = String::from("first")));
    let burst = catch_unwind(AssertUnwindSafe(|| {
        let mut burst = producer.burst();
        burst.push_with(|slot| *slot = String::from("second"));
        burst.push_with(|_| panic!("the ring is full"));
        panic!("between pushes");
    }));
    assert!(burst.is_err());
    assert_eq!(consumer.waiting(), 2, "what a burst wrote before the panic is published");

    let popped = catch_unwind(AssertUnwindSafe(|| consumer.pop_with(|_| panic!("while reading"))));
    assert!(popped.is_err());
    assert_eq!(consumer.pop_with(|slot| slot.clone()).as_deref(), Some("first"));
    assert_eq!(consumer.pop_with(|slot| slot.clone()).as_deref(), Some("second"));
    assert_eq!(consumer.pop_with(|slot| slot.clone()), None);
}

#[test]
fn a_queue_gives_back_what_does_not_fit_and_drops_each_value_once() {
    let value = std::sync::Arc::new(());
    let (mut sender, mut receiver) = queue(2);
    assert_eq!((sender.capacity(), receiver.capacity()), (2, 2));
    for _ in 0..2 {
        assert!(sender.send(value.clone()).is_ok());
    }
    assert!(sender.send(value.clone()).is_err());
    assert_eq!((sender.free(), receiver.waiting()), (0, 2));
    assert_eq!(std::sync::Arc::strong_count(&value), 3);
    drop(receiver.recv().expect("two were sent"));
    assert_eq!(std::sync::Arc::strong_count(&value), 2, "the ring keeps no copy of what was taken");
    drop(sender);
    assert_eq!(std::sync::Arc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
}

#[test]
fn indices_may_wrap() {
    let (mut producer, mut consumer) = ring(4, || 0);
    let start = usize::MAX - 2;
    producer.shared.head.store(start, Ordering::Relaxed);
    producer.shared.tail.store(start, Ordering::Relaxed);
    (producer.head, producer.tail, consumer.head, consumer.tail) = (start, start, start, start);
    for round in 0..4 {
        for value in 0..4 {
            assert!(producer.push_with(|slot| *slot = round * 4 + value));
        }
        assert_eq!((producer.free(), consumer.waiting()), (0, 4));
        for value in 0..4 {
            assert_eq!(consumer.pop_with(|slot| *slot), Some(round * 4 + value));
        }
    }
}

/// A million values between two threads, each with a check word, by every kind of call.
#[test]
fn two_threads_lose_and_reorder_nothing() {
    const VALUES: u64 = 1_000_000;
    let stop = AtomicBool::new(false);
    let (mut producer, mut consumer) = ring(64, || [0u64; 2]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 0;
            while next < VALUES && !stop.load(Ordering::Relaxed) {
                let before = next;
                let mut burst = producer.burst();
                while next < VALUES && next < before + 7 && burst.push_with(|slot| *slot = [next, !next]) {
                    next += 1;
                }
                drop(burst);
                if next < VALUES && producer.push_with(|slot| *slot = [next, !next]) {
                    next += 1;
                }
                if next == before {
                    thread::yield_now();
                }
            }
        });
        // A failed check must not leave the producer spinning.
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut expected = 0;
            while expected < VALUES {
                let waiting = consumer.waiting();
                if waiting == 0 {
                    thread::yield_now();
                }
                for index in 0..waiting / 2 {
                    assert_eq!(consumer.oldest(usize::MAX).nth(index), Some(&[expected, !expected]));
                    expected += 1;
                }
                consumer.release(waiting / 2);
                while let Some(value) = consumer.pop_with(|slot| *slot) {
                    assert_eq!(value, [expected, !expected]);
                    expected += 1;
                }
            }
            assert_eq!(consumer.pop_with(|slot| *slot), None);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(failure) = checked {
            std::panic::resume_unwind(failure);
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Burst(usize),
    Pop,
    Release(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Push),
        (0usize..9).prop_map(Step::Burst),
        Just(Step::Pop),
        (0usize..9).prop_map(Step::Release),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_ring_is_a_bounded_deque(capacity in 1usize..9, steps in steps()) {
        let (mut producer, mut consumer) = ring(capacity, || 0u64);
        let capacity = capacity.next_power_of_two();
        let mut model = VecDeque::new();
        let mut next = 0u64;
        for step in steps {
            match step {
                Step::Push => {
                    let pushed = producer.push_with(|slot| *slot = next);
                    prop_assert_eq!(pushed, model.len() < capacity);
                    if pushed {
                        model.push_back(next);
                        next += 1;
                    }
                }
                Step::Burst(count) => {
                    let mut burst = producer.burst();
                    for _ in 0..count {
                        let pushed = burst.push_with(|slot| *slot = next);
                        prop_assert_eq!(pushed, model.len() < capacity);
                        if pushed {
                            model.push_back(next);
                            next += 1;
                        }
                    }
                }
                Step::Pop => prop_assert_eq!(consumer.pop_with(|slot| *slot), model.pop_front()),
                Step::Release(count) => {
                    prop_assert_eq!(consumer.waiting(), model.len());
                    for index in 0..=model.len() {
                        prop_assert_eq!(consumer.oldest(usize::MAX).nth(index), model.get(index));
                    }
                    consumer.release(count);
                    model.drain(..count.min(model.len()));
                }
            }
            prop_assert_eq!(producer.free(), capacity - model.len());
            prop_assert_eq!(consumer.waiting(), model.len());
        }
    }

    #[test]
    fn a_queue_is_a_bounded_deque(capacity in 1usize..9, sends in prop::collection::vec(any::<bool>(), 0..200)) {
        let (mut sender, mut receiver) = queue(capacity);
        let mut model = VecDeque::new();
        for (number, send) in sends.into_iter().enumerate() {
            if send {
                let full = model.len() == capacity.next_power_of_two();
                let sent = sender.send(Box::new(number));
                prop_assert_eq!(sent, if full { Err(Box::new(number)) } else { Ok(()) });
                if !full {
                    model.push_back(Box::new(number));
                }
            } else {
                prop_assert_eq!(receiver.recv(), model.pop_front());
            }
        }
    }
}
