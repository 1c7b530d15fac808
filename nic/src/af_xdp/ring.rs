//! The rings that a socket and the kernel share (Documentation/networking/af_xdp.rst): fill and transmit to the kernel,
//! completion and receive from it.
//!
//! Each side writes one index and reads the other's. Indices count entries since the socket was made, and wrap.

use super::mapping::Mapping;
use rustix::net::xdp::{XdpDesc, XdpRingOffset};
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The kernel wants to be woken (linux/if_xdp.h, XDP_RING_NEED_WAKEUP).
const NEED_WAKEUP: u32 = 1;

/// What a ring may hold: plain data, any bytes of which are a value.
pub(super) trait Entry: Copy + sealed::Sealed {}
impl Entry for u64 {}
impl Entry for XdpDesc {}
mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for super::XdpDesc {}
}

/// What both sides see.
struct Shared<T> {
    _memory: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    /// `None` before Linux 5.4.
    flags: Option<NonNull<AtomicU32>>,
    entries: NonNull<T>,
    mask: u32,
    _entries: PhantomData<T>,
}

// SAFETY: the pointers are into the mapping, which this owns; entries are plain data.
unsafe impl<T: Entry> Send for Shared<T> {}

impl<T: Entry> Shared<T> {
    /// The ring of `size` entries (a power of two) that `socket` shows at `page_offset`.
    fn map(socket: BorrowedFd<'_>, page_offset: u64, offsets: &XdpRingOffset, size: u32) -> io::Result<Shared<T>> {
        let len = usize::try_from(offsets.desc).map_err(io::Error::other)? + size as usize * size_of::<T>();
        Shared::over(Mapping::of(socket, page_offset, len)?, offsets, size)
    }

    /// The ring in `memory`.
    fn over(memory: Mapping, offsets: &XdpRingOffset, size: u32) -> io::Result<Shared<T>> {
        assert!(size.is_power_of_two());
        let entries = place(&memory, offsets.desc, size as usize)?;
        let (producer, consumer) = (place(&memory, offsets.producer, 1)?, place(&memory, offsets.consumer, 1)?);
        let flags = offsets.flags.map(|flags| place(&memory, flags, 1)).transpose()?;
        Ok(Shared { producer, consumer, flags, entries, mask: size - 1, _memory: memory, _entries: PhantomData })
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `place` saw that it is aligned and within the mapping, which lives as long as `self`; both sides use
        // atomics.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        self.flags.is_none_or(|flags| {
            // SAFETY: as above.
            let flags = unsafe { flags.as_ref() };
            flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
        })
    }

    #[inline]
    fn entry(&self, index: u32) -> *mut T {
        // SAFETY: the mask is the size less one, and `place` saw that so many entries are within the mapping.
        unsafe { self.entries.as_ptr().add((index & self.mask) as usize) }
    }
}

/// Where `count` values lie, if they lie within `memory`.
fn place<T>(memory: &Mapping, offset: u64, count: usize) -> io::Result<NonNull<T>> {
    let offset = usize::try_from(offset).map_err(io::Error::other)?;
    let end = size_of::<T>().checked_mul(count).and_then(|len| len.checked_add(offset));
    if end.is_none_or(|end| end > memory.len()) || !offset.is_multiple_of(align_of::<T>()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's offsets lead out of its ring"));
    }
    // SAFETY: the offset is within the mapping.
    Ok(unsafe { memory.start().add(offset) }.cast())
}

/// A ring that we write: fill, transmit.
pub(super) struct ToKernel<T> {
    shared: Shared<T>,
    /// The next entry to write; published by `publish`.
    next: u32,
    /// The kernel's index when last looked at.
    seen: u32,
}

impl<T: Entry> ToKernel<T> {
    /// The ring of `size` entries that `socket` shows at `page_offset`.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        size: u32,
    ) -> io::Result<ToKernel<T>> {
        Shared::map(socket, page_offset, offsets, size).map(ToKernel::from)
    }

    /// Writes the next entry, for `publish` to show; false when the ring is full.
    #[inline]
    pub(super) fn push(&mut self, value: T) -> bool {
        let size = self.shared.mask + 1;
        if self.next.wrapping_sub(self.seen) == size {
            self.seen = self.shared.consumer().load(Ordering::Acquire);
            if self.next.wrapping_sub(self.seen) == size {
                return false;
            }
        }
        let entry = self.shared.entry(self.next);
        // SAFETY: the entry is within the ring, aligned, and the kernel does not read it until it is published: it has
        // consumed what was there.
        unsafe { entry.write(value) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows the kernel all that was pushed.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.shared.producer().store(self.next, Ordering::Release);
    }

    /// Entries pushed that the kernel has not said to have taken.
    #[inline]
    pub(super) fn waiting(&mut self) -> u32 {
        self.seen = self.shared.consumer().load(Ordering::Acquire);
        self.next.wrapping_sub(self.seen)
    }

    /// Whether the kernel looks at the ring only when it is asked to.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.shared.needs_wakeup()
    }
}

impl<T> From<Shared<T>> for ToKernel<T> {
    fn from(shared: Shared<T>) -> ToKernel<T> {
        ToKernel { shared, next: 0, seen: 0 }
    }
}

/// A ring that we read: completion, receive.
pub(super) struct FromKernel<T> {
    shared: Shared<T>,
    /// The next entry to read.
    next: u32,
}

impl<T: Entry> FromKernel<T> {
    /// The ring of `size` entries that `socket` shows at `page_offset`.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        size: u32,
    ) -> io::Result<FromKernel<T>> {
        Shared::map(socket, page_offset, offsets, size).map(FromKernel::from)
    }

    /// Takes up to `limit` entries, oldest first, and gives their places back together. Returns how many.
    #[inline]
    pub(super) fn take(&mut self, limit: usize, mut each: impl FnMut(T)) -> usize {
        let published = self.shared.producer().load(Ordering::Acquire);
        let count = (published.wrapping_sub(self.next) as usize).min(limit);
        for _ in 0..count {
            let entry = self.shared.entry(self.next);
            // SAFETY: the entry is within the ring, aligned, and was published: the kernel does not write it until its
            // place is given back. Any bytes are a value.
            each(unsafe { entry.read() });
            self.next = self.next.wrapping_add(1);
        }
        if count > 0 {
            self.shared.consumer().store(self.next, Ordering::Release);
        }
        count
    }
}

impl<T> From<Shared<T>> for FromKernel<T> {
    fn from(shared: Shared<T>) -> FromKernel<T> {
        FromKernel { shared, next: 0 }
    }
}

#[cfg(test)]
#[path = "ring/tests.rs"]
mod tests;
