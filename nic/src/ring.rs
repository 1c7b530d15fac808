//! A bounded single-producer single-consumer ring of slots made once.
//!
//! Each end owns its index and keeps a copy of the other's, which it reads anew only when the copy says full or empty:
//! in the steady state an operation touches no cache line that the other end is writing. Slots lie side by side; a `T`
//! whose neighbours are used by both threads at once gains from `#[repr(align(64))]`.
//!
//! A slot always holds a valid `T`, so a closure that panics publishes or takes nothing and the ring stays usable.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use crossbeam::utils::CachePadded;

/// Makes a ring of `capacity` (rounded up to a power of two, at least one) slots, each made by `slot`.
pub fn ring<T: Send>(capacity: usize, mut slot: impl FnMut() -> T) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(1).next_power_of_two();
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| UnsafeCell::new(slot())).collect(),
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
    });
    let producer = Producer { shared: Arc::clone(&shared), tail: 0, head: 0 };
    (producer, Consumer { shared, head: 0, tail: 0 })
}

/// Makes a ring of values that move: of `capacity` rounded up as in [`ring`].
pub fn queue<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = ring(capacity, || None);
    (Sender(producer), Receiver(consumer))
}

/// What both ends see. Indices count slots since the ring was made and wrap with `usize`.
struct Shared<T> {
    slots: Box<[UnsafeCell<T>]>,
    /// The next slot to read; written by the consumer.
    head: CachePadded<AtomicUsize>,
    /// The next slot to publish; written by the producer.
    tail: CachePadded<AtomicUsize>,
}

// SAFETY: slots from `head` to `tail` are reached by the consumer only, the others by the producer only; a slot changes
// hands by the release store of an index and its acquire load. So a T is used by one thread at a time: Send is enough.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, index: usize) -> &UnsafeCell<T> {
        // The length is a power of two, so this is always in bounds.
        &self.slots[index & (self.slots.len() - 1)]
    }
}

/// The writing end.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// The next slot to write. Ahead of the shared tail while a [`PushBurst`] is being written.
    tail: usize,
    /// The consumer's head when last looked at.
    head: usize,
}

impl<T: Send> Producer<T> {
    /// Writes the next slot in place and publishes it; false, and `fill` not called, when the ring is full.
    ///
    /// The slot holds what an earlier turn of the ring left in it. If `fill` panics nothing is published.
    #[inline]
    pub fn push_with(&mut self, fill: impl FnOnce(&mut T)) -> bool {
        let written = self.write(fill);
        if written {
            self.publish();
        }
        written
    }

    /// Starts a burst of pushes that the consumer sees together, when the burst is dropped.
    #[inline]
    pub fn burst(&mut self) -> PushBurst<'_, T> {
        PushBurst { producer: self }
    }

    /// Slots free now, at least.
    #[inline]
    pub fn free(&mut self) -> usize {
        self.head = self.shared.head.load(Ordering::Acquire);
        self.vacant()
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    fn vacant(&self) -> usize {
        self.capacity() - self.tail.wrapping_sub(self.head)
    }

    #[inline]
    fn write(&mut self, fill: impl FnOnce(&mut T)) -> bool {
        if self.vacant() == 0 && self.free() == 0 {
            return false;
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: the slot is outside head..tail, so the consumer does not touch it until it is published, and
            // `&mut self` keeps other writers away. It was initialised when the ring was made.
            let slot = unsafe { &mut *slot };
            fill(slot);
        });
        self.tail = self.tail.wrapping_add(1);
        true
    }

    #[inline]
    fn publish(&mut self) {
        self.shared.tail.store(self.tail, Ordering::Release);
    }
}

/// Pushes that are published together when this is dropped.
pub struct PushBurst<'a, T: Send> {
    producer: &'a mut Producer<T>,
}

impl<T: Send> PushBurst<'_, T> {
    /// As [`Producer::push_with`], but the consumer does not see the slot yet.
    #[inline]
    pub fn push_with(&mut self, fill: impl FnOnce(&mut T)) -> bool {
        self.producer.write(fill)
    }
}

impl<T: Send> Drop for PushBurst<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.producer.publish();
    }
}

/// The reading end.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The next slot to read.
    head: usize,
    /// The producer's tail when last looked at.
    tail: usize,
}

impl<T: Send> Consumer<T> {
    /// Reads the oldest slot in place and gives it back; `None` when the ring is empty.
    ///
    /// If `read` panics the slot stays the oldest.
    #[inline]
    pub fn pop_with<R>(&mut self, read: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.known() == 0 && self.waiting() == 0 {
            return None;
        }
        let result = self.shared.slot(self.head).with_mut(|slot| {
            // SAFETY: the slot is inside head..tail: published by the producer, which does not touch it until it is
            // given back. `&mut self` keeps other readers away.
            let slot = unsafe { &mut *slot };
            read(slot)
        });
        self.release(1);
        Some(result)
    }

    /// Slots waiting now, at least.
    #[inline]
    pub fn waiting(&mut self) -> usize {
        self.tail = self.shared.tail.load(Ordering::Acquire);
        self.known()
    }

    /// Gives back the `count` oldest slots unread, or all that [`Consumer::waiting`] last counted if they are fewer.
    #[inline]
    pub fn release(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count.min(self.known()));
        self.shared.head.store(self.head, Ordering::Release);
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Slots waiting when the producer's tail was last looked at.
    fn known(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }
}

impl<T: Send + Sync> Consumer<T> {
    /// The oldest slots, at most `count`, of those that [`Consumer::waiting`] last counted.
    pub fn oldest(&self, count: usize) -> impl Iterator<Item = &T> {
        let count = count.min(self.known());
        let first = self.head & (self.capacity() - 1);
        let (front, back) = self.shared.slots.split_at(first);
        // SAFETY: these slots are inside head..tail as in `pop_with`; giving one back or writing it takes `&mut self`, which
        // the returned borrow rules out. T is Sync, so that borrows from several threads are sound.
        back.iter().chain(front).take(count).map(|slot| slot.with(|slot| unsafe { &*slot }))
    }
}

/// The sending end of a [`queue`].
pub struct Sender<T>(Producer<Option<T>>);

impl<T: Send> Sender<T> {
    /// Moves `value` into the queue.
    ///
    /// # Errors
    /// The value itself, when the queue is full.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        // The slot is None: the receiver took what was there, so nothing is dropped on this thread.
        self.0.push_with(|slot| std::mem::swap(slot, &mut value));
        value.map_or(Ok(()), Err)
    }

    /// Values that can be sent now, at least.
    pub fn free(&mut self) -> usize {
        self.0.free()
    }

    /// Values that the queue can hold.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// The receiving end of a [`queue`]. Values left over are dropped with the later of the two ends.
pub struct Receiver<T>(Consumer<Option<T>>);

impl<T: Send> Receiver<T> {
    /// Takes the oldest value; `None` when the queue is empty.
    #[inline]
    pub fn recv(&mut self) -> Option<T> {
        self.0.pop_with(Option::take).flatten()
    }

    /// Values waiting now, at least.
    pub fn waiting(&mut self) -> usize {
        self.0.waiting()
    }

    /// Values that the queue can hold.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(all(test, not(feature = "loom")))]
#[path = "ring/tests.rs"]
mod tests;
