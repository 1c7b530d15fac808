//! What every back end must pass, for all cell sizes.
//!
//! Batches of every size and mixed keys are compared bit for bit with the bare `aes-gcm`, `aes` and `ctr` crates, used
//! one call at a time; damaged records must fail alone; `add` must undo `peel`. A back end's tests call [`suite`], and
//! [`ctr_layers`] or [`non_involutive_layers`] by its layer cipher. Each function panics at the first difference.

#[cfg(test)]
mod faults;
mod layers;
mod records;

pub use layers::{ctr_layers, layers, non_involutive_layers};
#[cfg(any(test, feature = "lab"))]
pub(crate) use records::naive;
pub use records::{masks, records};

use crate::{Cell, Suite, cells};

/// Keys of a slab: more than one, and no divisor of a batch.
const KEYS: usize = 11;

/// Numbers and counters at the edges of their fields; others are drawn.
const EDGES: [u64; 8] = [0, 1, 0xff, 0xffff, 0x1_0000, 0xffff_ffff, 1 << 63, u64::MAX];

/// Everything that holds whatever the ciphers are.
pub fn suite<S: Suite>() {
    masks::<S::Records>();
    records::<S::Records>();
    layers::<S::Layers>();
}

/// A small generator of test data (SplitMix64): every run draws the same. Not for secrets.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number or counter, an edge one time in four.
    pub(crate) fn number(&mut self) -> u64 {
        if self.below(4) == 0 { EDGES[self.below(EDGES.len())] } else { self.next() }
    }

    fn key_index(&mut self) -> u32 {
        self.below(KEYS) as u32
    }

    /// `0..n` in a drawn order.
    pub(crate) fn order(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for at in (1..n).rev() {
            order.swap(at, self.below(at + 1));
        }
        order
    }

    /// A pool of cells of drawn bytes.
    pub(crate) fn pool<const S: usize>(&mut self, n: usize) -> Box<[Cell<S>]> {
        let mut pool = cells(n);
        for cell in &mut pool {
            self.fill(&mut cell.bytes);
        }
        pool
    }
}

pub(crate) fn same<const S: usize>(a: &[Cell<S>], b: &[Cell<S>]) -> bool {
    a.iter().map(|cell| &cell.bytes).eq(b.iter().map(|cell| &cell.bytes))
}
