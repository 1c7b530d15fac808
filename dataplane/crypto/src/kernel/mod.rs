//! Our own kernels for x86-64: AES-128-GCM records, number masks and AES-128-CTR layers, a burst at a time.
//!
//! One source, three instances. The code is generic over a register of 4, 2 or 1 blocks of 16 bytes ([`Vector`]):
//! `vaes512` (VAES, VPCLMULQDQ, AVX-512), `vaes256` (the same on AVX2's registers) and `aesni` (AES-NI, PCLMULQDQ).
//! What one instance is shown to do, all do; the narrowest also runs under tools that know no wider instructions.
//!
//! # A record
//!
//! GCM numbers a record's blocks alike for its two halves, and so does the kernel. A cell of S bytes is S / 16 blocks:
//!
//! ```text
//! block         0              1      2      3     …   S/16 − 1
//! counter mode  tag's mask     text 1 text 2 text 3    the last text       keystream of counters 1, 2, 3, 4 …
//! GHASH         header (AAD)   ciphertext …                                then the lengths' block
//! cell          scratch        plaintext …                                 (`Cell`: 16 bytes before the plaintext)
//! ```
//!
//! so that a register of 4 blocks takes the same four for encryption, hash and memory, and every word but the first is a
//! whole cache line of the cell.
//!
//! - **Counter mode**: up to 8 words are encrypted side by side, round by round: 8 independent chains keep the AES units
//!   busy, and each round key is loaded once for all of them.
//! - **GHASH** works in the bit order of POLYVAL (RFC 8452, appendix A), where a product is reduced by two further
//!   multiplications. 16 blocks at a time are multiplied by H^16 … H^1, the products added up and reduced once. A key keeps
//!   these 16 powers and the round keys: 7 cache lines in all.
//! - Of a record that is opened the hash does not wait for the keystream; of one that is sealed it follows the words as they
//!   are made. What waits in one record overlaps with the next one: the processor looks further ahead than a record is long.
//! - **Memory**: past a few hundred links every key is a miss. Key, cell and frame of the jobs [`AHEAD`] are asked for while
//!   a job is at work.
//!
//! A layer is counter mode alone, over the body; the block after the body is the check. Masks are single blocks under a
//! key each. Both kinds of keys stay unexpanded, 16 bytes each: a burst's are expanded together, a register's worth at
//! once, which takes less time than to wait for the cache lines that expanded keys would fill.
//!
//! # Safety
//!
//! Everything here but [`vector`] and [`level`] is safe code over slices. A value of a [`Cpu`] type is proof that this
//! processor has the level's instructions: it is made in [`Cpu::enter`] only, after they were detected, and no vector can
//! be made without one.
//!
//! No branch and no index depends on a secret: secrets are only ever operands of instructions whose time does not depend
//! on them. Whether a tag is right is public.

mod gcm;
mod ghash;
mod keys;
mod layer;
mod level;
mod mask;
mod vector;

use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
pub use keys::{LayerKey, MaskKey, RecordKey};
use level::Cpu;
pub use level::{Aesni, Avx2, Avx512};
use std::marker::PhantomData;

/// How many jobs ahead of the one at work a kernel asks for key, cell and frame.
const AHEAD: usize = 6;

/// A kernel on the instructions of `L`.
pub struct Kernel<L>(PhantomData<L>);

/// VAES, VPCLMULQDQ and AVX-512: 4 blocks a register.
pub type Vaes512 = Kernel<Avx512>;
/// VAES, VPCLMULQDQ and AVX2: 2 blocks a register.
pub type Vaes256 = Kernel<Avx2>;
/// AES-NI and PCLMULQDQ: a block a register.
pub type AesNi = Kernel<Aesni>;

impl<L: Cpu> Suite for Kernel<L> {
    const NAME: &'static str = L::NAME;
    type Records = Kernel<L>;
    type Layers = Kernel<L>;

    fn missing() -> Vec<&'static str> {
        L::missing()
    }
}

impl<L: Cpu> Records for Kernel<L> {
    type Key = RecordKey;
    type MaskKey = MaskKey;

    fn key(secret: &RecordSecret) -> RecordKey {
        L::enter(keys::ExpandRecord(secret))
    }

    fn mask_key(secret: &MaskSecret) -> MaskKey {
        MaskKey(secret.0)
    }

    fn masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
        L::enter(mask::Masks { keys, jobs });
    }

    fn open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
        L::enter(gcm::Open { keys, cells, jobs });
    }

    fn open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
        L::enter(gcm::OpenShort { key, cell, job })
    }

    fn seal<const S: usize>(keys: &[RecordKey], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]) {
        L::enter(gcm::Seal { keys, cells, jobs });
    }
}

impl<L: Cpu> Layers for Kernel<L> {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        LayerKey(secret.0)
    }

    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        L::enter(layer::Layer::<S, true> { keys, cells, jobs });
    }

    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        L::enter(layer::Layer::<S, false> { keys, cells, jobs });
    }
}
