//! Frames, and the transmit FIFO that ports keep them in.

use crate::{BURST, Endpoint, FRAME, TxBurst, TxFrame};

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

    /// Makes this a frame of `len` bytes, at most [`FRAME`], that keeps nothing of the old one.
    pub(crate) fn clear(&mut self, len: usize) -> TxFrame<'_> {
        let len = len.min(FRAME);
        self.len = len as u16;
        self.peer = Endpoint::NONE;
        self.data[..len].fill(0);
        TxFrame { to: &mut self.peer, data: &mut self.data[..len] }
    }

    /// Makes this a frame of `data`; false, and nothing changed, if that is too long.
    pub(crate) fn copy_from(&mut self, peer: Endpoint, data: &[u8]) -> bool {
        let Some(target) = self.data.get_mut(..data.len()) else {
            return false;
        };
        target.copy_from_slice(data);
        self.len = data.len() as u16;
        self.peer = peer;
        true
    }
}

/// Frames reserved at the tail, committed or discarded at the head, in one thread.
pub(crate) struct TxRing {
    frames: Box<[Frame]>,
    /// The oldest reserved frame.
    head: usize,
    reserved: usize,
}

impl TxRing {
    /// A ring of `capacity` frames, at least one.
    pub(crate) fn new(capacity: usize) -> TxRing {
        let frames = (0..capacity.max(1)).map(|_| Frame::new()).collect();
        TxRing { frames, head: 0, reserved: 0 }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    /// As [`crate::Port::reserve`].
    pub(crate) fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        if len > FRAME {
            return TxBurst::new();
        }
        let count = count.min(BURST).min(self.capacity() - self.reserved);
        let tail = self.wrapped(self.head + self.reserved);
        self.reserved += count;
        let (front, back) = self.frames.split_at_mut(tail);
        back.iter_mut().chain(front).take(count).map(|frame| frame.clear(len)).collect()
    }

    /// The `count` oldest reserved frames, or all of them if they are fewer.
    pub(crate) fn oldest(&self, count: usize) -> impl Iterator<Item = &Frame> {
        let (front, back) = self.frames.split_at(self.head);
        back.iter().chain(front).take(count.min(self.reserved))
    }

    /// Lets the `count` oldest reserved frames go, or all of them if they are fewer. Returns how many.
    pub(crate) fn release(&mut self, count: usize) -> usize {
        let count = count.min(self.reserved);
        self.head = self.wrapped(self.head + count);
        self.reserved -= count;
        count
    }

    /// An index below twice the capacity, into the ring.
    fn wrapped(&self, index: usize) -> usize {
        if index < self.capacity() { index } else { index - self.capacity() }
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
    fn a_frame_keeps_nothing_of_the_old_one() {
        let mut frame = Frame::new();
        assert!(frame.copy_from(Endpoint { ip: [1; 16], port: 1 }, &[0xff; FRAME]));
        assert_eq!(frame.payload(), [0xff; FRAME]);
        let cleared = frame.clear(5);
        assert_eq!((*cleared.to, &*cleared.data), (Endpoint::NONE, &[0; 5][..]));
        assert_eq!(frame.payload(), [0; 5]);
    }

    #[test]
    fn a_frame_is_never_cut() {
        let mut frame = Frame::new();
        assert!(frame.copy_from(Endpoint::NONE, b"whole"));
        assert!(!frame.copy_from(Endpoint::NONE, &[0; FRAME + 1]));
        assert_eq!(frame.payload(), b"whole");
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
                        prop_assert!(frame.data.iter().all(|byte| *byte == 0));
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
