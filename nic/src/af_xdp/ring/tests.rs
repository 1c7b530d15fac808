//! Rings in ordinary memory, with the other side played by the test.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const OFFSETS: XdpRingOffset = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };

fn shared<T: Entry>(size: u32) -> Shared<T> {
    let memory = Mapping::anonymous(192 + size as usize * size_of::<T>()).expect("memory");
    Shared::over(memory, &OFFSETS, size).expect("a ring")
}

/// The kernel's end of a ring.
struct Kernel<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
}

impl<T: Entry> Kernel<T> {
    fn of(ring: &Shared<T>) -> Kernel<T> {
        let Shared { producer, consumer, flags, entries, mask, .. } = *ring;
        Kernel { producer, consumer, flags: flags.expect("flags"), entries, mask }
    }

    fn word(&self, word: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: every test keeps the ring as long as this.
        unsafe { word.as_ref() }
    }

    fn entry(&self, index: u32) -> *mut T {
        // SAFETY: within the ring, as `Shared::entry`.
        unsafe { self.entries.as_ptr().add((index & self.mask) as usize) }
    }

    /// Takes the oldest published entry.
    fn take(&self) -> Option<T> {
        let consumer = self.word(self.consumer);
        let next = consumer.load(Ordering::Relaxed);
        if self.word(self.producer).load(Ordering::Acquire) == next {
            return None;
        }
        // SAFETY: published, so initialised.
        let value = unsafe { self.entry(next).read() };
        consumer.store(next.wrapping_add(1), Ordering::Release);
        Some(value)
    }

    /// Publishes an entry where there is room.
    fn put(&self, value: T) -> bool {
        let producer = self.word(self.producer);
        let next = producer.load(Ordering::Relaxed);
        if next.wrapping_sub(self.word(self.consumer).load(Ordering::Acquire)) > self.mask {
            return false;
        }
        // SAFETY: within the ring, and the other side has given the place back.
        unsafe { self.entry(next).write(value) };
        producer.store(next.wrapping_add(1), Ordering::Release);
        true
    }
}

/// Sets both indices as after `count` entries.
fn age<T: Entry>(ring: &Shared<T>, count: u32) {
    ring.producer().store(count, Ordering::Relaxed);
    ring.consumer().store(count, Ordering::Relaxed);
}

#[test]
fn offsets_that_lead_out_of_the_ring_are_refused() {
    let over = |offsets| Shared::<u64>::over(Mapping::anonymous(4096).expect("memory"), &offsets, 256);
    let good = XdpRingOffset { desc: 2048, ..OFFSETS };
    assert!(over(good).is_ok());
    for bad in [
        XdpRingOffset { desc: 2056, ..OFFSETS },
        XdpRingOffset { desc: 1500, ..OFFSETS },
        XdpRingOffset { producer: 4096, ..good },
        XdpRingOffset { consumer: u64::MAX, ..good },
        XdpRingOffset { flags: Some(4094), ..good },
    ] {
        assert!(over(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_kernel_says_whether_it_wants_to_be_woken() {
    let ring = ToKernel::from(shared::<u64>(4));
    let kernel = Kernel::of(&ring.shared);
    assert!(!ring.needs_wakeup());
    kernel.word(kernel.flags).store(NEED_WAKEUP, Ordering::Relaxed);
    assert!(ring.needs_wakeup());
    let memory = Mapping::anonymous(4096).expect("memory");
    let old = XdpRingOffset { flags: None, ..OFFSETS };
    assert!(ToKernel::from(Shared::<u64>::over(memory, &old, 4).expect("a ring")).needs_wakeup());
}

proptest! {
    /// Also over the wrap of the indices.
    #[test]
    fn what_is_pushed_and_published_arrives_in_order(
        steps in prop::collection::vec((0..6u8, 0..3u8), 1..80), power in 0..4u32, before in prop_oneof![Just(0u32), Just(u32::MAX - 5)],
    ) {
        let size = 1 << power;
        let mut ring = ToKernel::from(shared::<u64>(size));
        age(&ring.shared, before);
        (ring.next, ring.seen) = (before, before);
        let kernel = Kernel::of(&ring.shared);
        let (mut hidden, mut shown, mut number) = (VecDeque::new(), VecDeque::new(), 0);
        for (pushes, takes) in steps {
            for _ in 0..pushes {
                let room = hidden.len() + shown.len() < size as usize;
                prop_assert_eq!(ring.push(number), room);
                if room {
                    hidden.push_back(number);
                }
                number += 1;
            }
            if pushes % 2 == 0 {
                ring.publish();
                shown.append(&mut hidden);
            }
            for _ in 0..takes {
                prop_assert_eq!(kernel.take(), shown.pop_front());
            }
            prop_assert_eq!(ring.waiting() as usize, hidden.len() + shown.len());
        }
    }

    #[test]
    fn what_the_kernel_publishes_is_taken_in_order(
        steps in prop::collection::vec((0..6u8, 0..6usize), 1..80), power in 0..4u32, before in prop_oneof![Just(0u32), Just(u32::MAX - 5)],
    ) {
        let size = 1 << power;
        let mut ring = FromKernel::from(shared::<u64>(size));
        age(&ring.shared, before);
        ring.next = before;
        let kernel = Kernel::of(&ring.shared);
        let (mut waiting, mut number) = (VecDeque::new(), 0);
        for (puts, limit) in steps {
            for _ in 0..puts {
                prop_assert_eq!(kernel.put(number), waiting.len() < size as usize);
                if waiting.len() < size as usize {
                    waiting.push_back(number);
                }
                number += 1;
            }
            let mut taken = Vec::new();
            prop_assert_eq!(ring.take(limit, |value| taken.push(value)), limit.min(waiting.len()));
            prop_assert_eq!(taken, waiting.drain(..limit.min(waiting.len())).collect::<Vec<_>>());
        }
    }
}
