//! Frames of a fixed number, each on cache lines of its own and placed in them as the memory port places its frames.

use drover_nic::{FRAME, huge};

/// Bytes before the payload: what the memory port keeps of address and length.
pub const LABEL: usize = 20;

#[repr(C, align(64))]
struct Frame {
    label: [u8; LABEL],
    data: [u8; FRAME],
}

/// Frames that all hold `len` bytes, on huge pages like the port's.
pub struct Frames {
    frames: Vec<Frame>,
    len: usize,
}

impl Frames {
    /// `count` frames of `len` bytes (at most [`FRAME`]), all memory touched.
    pub fn new(count: usize, len: usize) -> Frames {
        let mut frames = huge::vec(count);
        frames.resize_with(count, || Frame { label: [1; LABEL], data: [1; FRAME] });
        Frames { frames, len }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.frames.len()
    }

    /// One frame.
    pub fn get(&self, at: usize) -> &[u8] {
        &self.frames[at].data[..self.len]
    }

    /// One frame, to write.
    pub fn get_mut(&mut self, at: usize) -> &mut [u8] {
        &mut self.frames[at].data[..self.len]
    }

    /// All frames, from `first` on and round to it, to write.
    pub fn ring_mut(&mut self, first: usize) -> impl Iterator<Item = &mut [u8]> {
        let len = self.len;
        let (front, back) = self.frames.split_at_mut(first);
        back.iter_mut().chain(front).map(move |f| &mut f.data[..len])
    }

    /// All frames.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|f| &f.data[..self.len])
    }

    /// All frames, to write.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let len = self.len;
        self.frames.iter_mut().map(move |f| &mut f.data[..len])
    }
}
