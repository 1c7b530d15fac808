//! Batch kernels for records, layers and masks, the DTLS 1.3 key schedule, and the clients' end-to-end seal.
//!
//! Keys live in slabs indexed by integers; a job names its key and its cell by index, so that a kernel can prefetch
//! the key state of the jobs ahead (`docs/architecture.md`, "Batches"). Frames are slices; cells are whole aligned
//! blocks of a pool. Records are opened and sealed out of place: from frame to cell and from cell to frame.

pub mod end;
pub mod prefetch;
pub mod reference;
pub mod schedule;
pub mod testing;

use drover_wire::record::Aad;

/// The most jobs that one call of a kernel takes.
pub const BATCH: usize = 64;

/// A cell's place in a pool: the plaintext in the first S − 16 bytes; the last 16 are scratch for kernels.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Cell<const S: usize> {
    /// All bytes of the block.
    pub bytes: [u8; S],
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
    pub check: [u8; 8],
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
    /// Computes the masks of a batch.
    fn masks(keys: &[Self::MaskKey], jobs: &mut [MaskJob]);
    /// Opens a batch. Job, key or cell out of range is a caller's bug and panics.
    fn open<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]);
    /// Seals a batch.
    fn seal<const S: usize>(keys: &[Self::Key], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]);
}

/// The layer cipher of circuits, with distinct directions.
pub trait Layers: 'static {
    /// The expanded key of one direction. Zeroized when dropped.
    type Key: Send + 'static;
    /// Expands a layer key.
    fn key(secret: &schedule::LayerSecret) -> Self::Key;
    /// Peels a batch (away from the client) and returns each job's expected check.
    fn peel<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [LayerJob]);
    /// Adds a batch of layers (towards the client).
    fn add<const S: usize>(keys: &[Self::Key], cells: &mut [Cell<S>], jobs: &mut [LayerJob]);
}

/// A back end: what a worker is built with, chosen once at start.
pub trait Suite: 'static {
    /// The name that reports and benchmarks state.
    const NAME: &'static str;
    /// The record cipher.
    type Records: Records;
    /// The layer cipher.
    type Layers: Layers;
}
