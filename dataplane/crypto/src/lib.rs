//! Batch kernels for records, layers and masks, the DTLS 1.3 key schedule, and the clients' end-to-end seal.
//!
//! Keys live in slabs indexed by integers; a job names its key and its cell by index, so that a kernel can prefetch
//! the key state of the jobs ahead (`docs/architecture.md`, "Batches"). Frames are slices; cells are whole aligned
//! blocks of a pool. Records are opened and sealed out of place: from frame to cell and from cell to frame.

pub mod aws_lc;
pub mod backend;
pub mod conformance;
#[cfg(test)]
mod edges;
pub mod end;
#[cfg(test)]
mod every_backend;
#[cfg(any(test, feature = "lab"))]
pub mod fuzz;
pub mod hop;
#[cfg(target_arch = "x86_64")]
pub mod kernel;
pub mod prefetch;
pub mod reference;
pub mod schedule;
pub mod testing;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wiping;

use drover_wire::cell::{HEADER, TAG, body_len};
use drover_wire::record::Aad;

/// The most jobs that one call of a kernel takes.
pub const BATCH: usize = 64;

/// Bytes of a layer's check (`docs/wire.md`, W-HOP-*).
pub const CHECK: usize = 8;

/// Bytes before a cell's plaintext.
pub const SCRATCH: usize = TAG;

/// A cell's place in a pool: 16 bytes of scratch, then the plaintext, S − 16 bytes.
///
/// The scratch stands where a record has the block of its header, so that a kernel that works on four blocks at a time
/// (the header's and three of the text, then four of the text, and so on) finds each four in one cache line.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Cell<const S: usize> {
    /// All bytes of the block.
    pub bytes: [u8; S],
}

impl<const S: usize> Cell<S> {
    /// A cell of zeros.
    pub const ZERO: Cell<S> = {
        assert!(S.is_multiple_of(64) && S >= 64, "a cell is a whole number of cache lines");
        Cell { bytes: [0; S] }
    };

    /// The plaintext of the record, S − 16 bytes.
    #[inline]
    pub fn plaintext(&self) -> &[u8] {
        &self.bytes[SCRATCH..]
    }

    /// The plaintext of the record, S − 16 bytes.
    #[inline]
    pub fn plaintext_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[SCRATCH..]
    }

    /// The body, S − 32 bytes: what layers cover.
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.bytes[SCRATCH + HEADER..SCRATCH + HEADER + body_len(S)]
    }

    /// The body, S − 32 bytes: what layers cover.
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[SCRATCH + HEADER..SCRATCH + HEADER + body_len(S)]
    }

    /// Overwrites the whole block, so that no byte of an earlier cell stays.
    #[inline]
    pub fn copy_from(&mut self, other: &Cell<S>) {
        self.bytes = other.bytes;
    }
}

impl<const S: usize> Default for Cell<S> {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Allocates a pool of `n` cells of zeros. For start-up: it allocates.
pub fn cells<const S: usize>(n: usize) -> Box<[Cell<S>]> {
    vec![Cell::ZERO; n].into_boxed_slice()
}

/// One record to open: `body` (ciphertext, tag; S bytes) into the plaintext of `cells[cell]`.
pub struct OpenJob<'f> {
    /// Index of the record key.
    pub key: u32,
    /// Index of the cell that takes the plaintext.
    pub cell: u32,
    /// The whole record number.
    pub number: u64,
    /// The associated data.
    pub aad: Aad,
    /// Ciphertext and tag, S bytes.
    pub body: &'f [u8],
    /// Set by the kernel: the tag was right. When false the cell's bytes are zeroed.
    pub ok: bool,
}

/// One record to seal: the plaintext of `cells[cell]` into `frame`.
pub struct SealJob<'f> {
    /// Index of the record key.
    pub key: u32,
    /// Index of the cell to seal.
    pub cell: u32,
    /// The whole record number.
    pub number: u64,
    /// The header's first byte (`docs/wire.md`, W-REC-1, W-KEY-9).
    pub first: u8,
    /// The record, S + 3 bytes: the kernel writes the header (number in the clear), ciphertext and tag.
    pub frame: &'f mut [u8],
}

/// One mask of a record number (RFC 9147, 4.2.3).
#[derive(Clone, Copy)]
pub struct MaskJob {
    /// Index of the mask key.
    pub key: u32,
    /// The first 16 bytes of the ciphertext.
    pub sample: [u8; 16],
    /// Set by the kernel.
    pub mask: [u8; 2],
}

/// One layer to peel from, or to add to, the body of `cells[cell]`, in place.
#[derive(Clone, Copy)]
pub struct LayerJob {
    /// Index of the layer key.
    pub key: u32,
    /// Index of the cell.
    pub cell: u32,
    /// The counter that the cell came in with: the layer's IV.
    pub counter: u64,
    /// Set by `peel`: what a body for this hop begins with (`docs/wire.md`, W-HOP-*). Untouched by `add`.
    pub check: [u8; CHECK],
}

/// The record cipher: AES-128-GCM of DTLS 1.3, in batches.
pub trait Records: 'static {
    /// The expanded key of one direction at one ratchet step. Zeroized when dropped.
    type Key: Send + 'static;
    /// The expanded key that masks record numbers. Zeroized when dropped.
    type MaskKey: Send + 'static;
    /// Expands a record key.
    fn key(secret: &schedule::RecordSecret) -> Self::Key;
    /// Expands a mask key.
    fn mask_key(secret: &schedule::MaskSecret) -> Self::MaskKey;
    /// Computes the masks of a batch of at most [`BATCH`].
    ///
    /// # Panics
    /// When a key is out of range: the caller's bug.
    fn masks(keys: &[Self::MaskKey], jobs: &mut [MaskJob]);
    /// Opens a batch of at most [`BATCH`]. Jobs name distinct cells. A wrong tag, or a body that is not S bytes,
    /// clears `ok` and zeroes the whole cell; it does nothing to the other jobs.
    ///
    /// # Panics
    /// When a key or a cell is out of range: the caller's bug.
    fn open<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]);
    /// Opens one record whose body is shorter than S bytes: a foreign peer's (`docs/wire.md`, W-REC-3). The plaintext that
    /// lacks is zeros, as if the record had been padded (RFC 8446, 5.4). Returns whether the tag was right, as `ok` does
    /// of [`Records::open`]; else the whole cell is zeroed. Rare, and one at a time: a kernel needs no speed here.
    fn open_short<const S: usize>(key: &Self::Key, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool;
    /// Seals a batch of at most [`BATCH`]. Cells stay as they are, and several jobs may name one. The number's upper
    /// 48 bits are in the nonce only; its mask is the caller's to apply, from the first 16 ciphertext bytes.
    ///
    /// # Panics
    /// When a key or a cell is out of range, or a frame is not S + 3 bytes: the caller's bug.
    fn seal<const S: usize>(keys: &[Self::Key], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]);
}

/// The layer cipher of circuits, with distinct directions.
pub trait Layers: 'static {
    /// The expanded key of one direction. Zeroized when dropped.
    type Key: Send + 'static;
    /// Expands a layer key.
    fn key(secret: &schedule::LayerSecret) -> Self::Key;
    /// Peels a batch of at most [`BATCH`] (away from the client) and returns each job's expected check, which depends
    /// on key and counter only. Jobs name distinct cells. Bytes outside the bodies stay as they are.
    ///
    /// # Panics
    /// When a key or a cell is out of range: the caller's bug.
    fn peel<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [LayerJob]);
    /// Adds a batch of layers (towards the client): the inverse of `peel` under the same key and counter, in either
    /// order. Panics as `peel` does.
    fn add<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [LayerJob]);
}

/// A back end: what a worker is built with, chosen once at start.
pub trait Suite: 'static {
    /// The name that reports and benchmarks state.
    const NAME: &'static str;
    /// Processor features that it needs and this processor lacks, by the names of the Rust reference.
    fn missing() -> Vec<&'static str> {
        Vec::new()
    }
    /// The record cipher.
    type Records: Records;
    /// The layer cipher.
    type Layers: Layers;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape<const S: usize>() {
        let mut cell = Cell::<S>::default();
        assert_eq!(size_of::<Cell<S>>(), S);
        assert_eq!(align_of::<Cell<S>>(), 64);
        cell.plaintext_mut().fill(1);
        cell.body_mut().fill(2);
        assert_eq!(cell.plaintext().len(), S - 16);
        assert_eq!(cell.body(), vec![2; S - 32]);
        // Header before, content type after; the scratch is no part of either.
        assert_eq!(cell.bytes[..16], [0; 16]);
        assert_eq!(cell.bytes[16..31], [1; 15]);
        assert_eq!(cell.bytes[S - 1], 1);

        let mut pool = cells::<S>(3);
        assert!(pool.iter().all(|cell| cell.bytes == [0; S]));
        cell.bytes[S - 1] = 3;
        pool[1].copy_from(&cell);
        assert_eq!(pool[1].bytes, cell.bytes);
        assert_eq!(pool[0].bytes, [0; S]);
    }

    #[test]
    fn cells_have_the_shape_of_the_wire() {
        shape::<256>();
        shape::<512>();
        shape::<1024>();
        assert!(cells::<256>(0).is_empty());
    }
}
