//! Frames, the memory that they lie in, and the transmit FIFO that ports keep them in.

use crate::{BURST, Endpoint, FRAME, TxBurst, TxFrame, huge};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// A datagram and its peer, on cache lines of its own.
#[repr(C, align(64))]
pub(crate) struct Frame {
    /// Who sent it or where it goes.
    pub(crate) peer: Endpoint,
    /// At most [`FRAME`].
    len: u16,
    data: [u8; FRAME],
}

const _: () = assert!(FRAME <= u16::MAX as usize);

impl Frame {
    pub(crate) fn new() -> Frame {
        Frame { peer: Endpoint::NONE, len: 0, data: [0; FRAME] }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        // `min` is always a no-op; it lets the compiler see that this is in bounds.
        &self.data[..usize::from(self.len).min(FRAME)]
    }

    /// Makes this a frame of `len` bytes, at most [`FRAME`], to be overwritten by the caller: they are an older frame's.
    /// A debug build spoils them, so that what a caller leaves is no record.
    pub(crate) fn begin(&mut self, len: usize) -> TxFrame<'_> {
        let len = len.min(FRAME);
        self.len = len as u16;
        self.peer = Endpoint::NONE;
        if cfg!(debug_assertions) {
            self.data[..len].fill(0xa5);
        }
        TxFrame { to: &mut self.peer, data: &mut self.data[..len] }
    }

    /// Makes this a frame of `len` bytes, at most [`FRAME`], that keeps nothing of the old one.
    pub(crate) fn clear(&mut self, len: usize) -> TxFrame<'_> {
        let frame = self.begin(len);
        frame.data.fill(0);
        frame
    }

    /// Asks for the first cache line: address, length, and a record's header and first block.
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: PREFETCHT0 is in every x86-64, reads nothing architecturally and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(self).cast()) };
        }
    }
}

/// A frame of a [`frames`] region, owned by whoever has this: it changes hands without being copied.
pub(crate) struct FrameBox {
    frame: NonNull<Frame>,
    /// Keeps the memory, which goes with the last of its frames.
    _region: Arc<Region>,
}

/// Frames side by side, on huge pages where there are any. Only their [`FrameBox`]es reach them.
struct Region {
    frames: Box<[std::cell::UnsafeCell<Frame>]>,
}

// SAFETY: each cell is reached by its one FrameBox only, as a Box would reach what it owns; Frame is plain data.
unsafe impl Sync for Region {}
// SAFETY: it owns the frame that it points at, and Frame is Send and Sync.
unsafe impl Send for FrameBox {}
// SAFETY: as above.
unsafe impl Sync for FrameBox {}

/// `count` frames.
pub(crate) fn frames(count: usize) -> Vec<FrameBox> {
    let mut frames = huge::vec(count);
    frames.extend((0..count).map(|_| std::cell::UnsafeCell::new(Frame::new())));
    let region = Arc::new(Region { frames: frames.into_boxed_slice() });
    let own = |cell: &std::cell::UnsafeCell<Frame>| FrameBox {
        frame: NonNull::new(cell.get()).expect("a cell of a slice is somewhere"),
        _region: Arc::clone(&region),
    };
    region.frames.iter().map(own).collect()
}

impl Deref for FrameBox {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        // SAFETY: the region is alive, and this is the only way to the frame.
        unsafe { self.frame.as_ref() }
    }
}

impl DerefMut for FrameBox {
    fn deref_mut(&mut self) -> &mut Frame {
        // SAFETY: the region is alive, and this is the only way to the frame.
        unsafe { self.frame.as_mut() }
    }
}

/// Frames reserved at the tail, committed or discarded at the head, in one thread. A free frame is used again before others
/// that have lain longer: the fewer frames are under way, the fewer cache lines they fill.
pub(crate) struct TxRing {
    /// Oldest first. Never grows: there is room for every frame.
    reserved: VecDeque<FrameBox>,
    /// The last one freed last.
    free: Vec<FrameBox>,
    capacity: usize,
}

impl TxRing {
    /// A ring of `capacity` frames, at least one.
    pub(crate) fn new(capacity: usize) -> TxRing {
        let capacity = capacity.max(1);
        TxRing { reserved: VecDeque::with_capacity(capacity), free: frames(capacity), capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn reserved(&self) -> usize {
        self.reserved.len()
    }

    /// As [`crate::Port::reserve`].
    pub(crate) fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        if len > FRAME {
            return TxBurst::new();
        }
        let count = count.min(BURST).min(self.free.len());
        let first = self.reserved.len();
        self.reserved.extend(self.free.drain(self.free.len() - count..).rev());
        // The next burst's, whose addresses are written before anything asks for the frames.
        self.free.iter().rev().take(BURST).for_each(|frame| frame.prefetch());
        self.reserved.range_mut(first..).map(|frame| frame.begin(len)).collect()
    }

    /// The `count` oldest reserved frames, or all of them if they are fewer. What is put in a frame's place is free.
    pub(crate) fn oldest(&mut self, count: usize) -> impl Iterator<Item = &mut FrameBox> {
        self.reserved.iter_mut().take(count)
    }

    /// Lets the `count` oldest reserved frames go, or all of them if they are fewer. Returns how many.
    pub(crate) fn release(&mut self, count: usize) -> usize {
        let count = count.min(self.reserved.len());
        self.free.extend(self.reserved.drain(..count));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn a_frame_is_whole_cache_lines() {
        assert_eq!(align_of::<Frame>(), 64);
        assert_eq!(size_of::<Frame>(), 1600);
    }

    #[test]
    fn a_cleared_frame_keeps_nothing_of_the_old_one() {
        let mut frame = Frame::new();
        let old = frame.begin(FRAME);
        *old.to = Endpoint { ip: [1; 16], port: 1 };
        old.data.fill(0xff);
        assert_eq!(frame.payload(), [0xff; FRAME]);
        let cleared = frame.clear(5);
        assert_eq!((*cleared.to, &*cleared.data), (Endpoint::NONE, &[0; 5][..]));
        assert_eq!(frame.payload(), [0; 5]);
        assert_eq!(frame.begin(FRAME + 1).data.len(), FRAME, "never longer than the buffer");
    }

    #[test]
    fn frames_are_apart_and_outlive_each_other() {
        let mut frames = frames(3);
        for (number, frame) in frames.iter_mut().enumerate() {
            frame.begin(8).data.fill(number as u8);
        }
        let last = frames.pop().expect("three");
        frames.swap(0, 1);
        assert_eq!((frames[0].payload(), frames[1].payload()), (&[1; 8][..], &[0; 8][..]));
        drop(frames);
        assert_eq!(last.payload(), [2; 8]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_transmit_ring_is_a_bounded_deque(
            capacity in 1usize..100,
            steps in prop::collection::vec((any::<bool>(), 0usize..80, 0usize..FRAME + 2), 0..100),
        ) {
            let mut ring = TxRing::new(capacity);
            let mut model: VecDeque<(u16, usize)> = VecDeque::new();
            let mut number = 0;
            for (reserve, count, len) in steps {
                if reserve {
                    let burst = ring.reserve(count, len);
                    let room = if len > FRAME { 0 } else { count.min(BURST).min(capacity - model.len()) };
                    prop_assert_eq!(burst.len(), room);
                    for frame in burst {
                        prop_assert_eq!(frame.data.len(), len);
                        prop_assert_eq!(*frame.to, Endpoint::NONE);
                        prop_assert!(!cfg!(debug_assertions) || frame.data.iter().all(|byte| *byte == 0xa5));
                        frame.data.fill(0xff);
                        frame.to.port = number;
                        model.push_back((number, len));
                        number += 1;
                    }
                } else {
                    let count_oldest = count.min(model.len());
                    let oldest: Vec<_> =
                        ring.oldest(count).map(|frame| (frame.peer.port, frame.payload().len())).collect();
                    prop_assert_eq!(oldest, model.drain(..count_oldest).collect::<Vec<_>>());
                    prop_assert_eq!(ring.release(count), count_oldest);
                }
                prop_assert_eq!(ring.reserved(), model.len());
            }
        }
    }
}
