//! The `reference` back end with its kernels apart: callgrind stops counting where a function `omitted_*` begins, and goes
//! on where it ends.
//!
//! What a stage does to make a kernel's jobs, and to read them, is counted. Each function is kept from being inlined, and has
//! no closure that would have its name in its own.

use drover_crypto::reference::Reference;
use drover_crypto::schedule::{LayerSecret, MaskSecret, RecordSecret};
use drover_crypto::{Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};

type R = <Reference as Suite>::Records;
type L = <Reference as Suite>::Layers;
type RecordKey = <R as Records>::Key;
type MaskKey = <R as Records>::MaskKey;
type LayerKey = <L as Layers>::Key;

/// The back end.
pub struct Omitted;

/// Its records.
pub struct OmittedRecords;

/// Its layers.
pub struct OmittedLayers;

impl Suite for Omitted {
    const NAME: &'static str = "reference, not counted";
    type Records = OmittedRecords;
    type Layers = OmittedLayers;
}

impl Records for OmittedRecords {
    type Key = RecordKey;
    type MaskKey = MaskKey;

    fn key(secret: &RecordSecret) -> RecordKey {
        R::key(secret)
    }
    fn mask_key(secret: &MaskSecret) -> MaskKey {
        R::mask_key(secret)
    }
    fn masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
        omitted_masks(keys, jobs);
    }
    fn open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
        omitted_open(keys, cells, jobs);
    }
    fn open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
        omitted_open_short(key, cell, job)
    }
    fn seal<const S: usize>(keys: &[RecordKey], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]) {
        omitted_seal(keys, cells, jobs);
    }
}

impl Layers for OmittedLayers {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        L::key(secret)
    }
    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        omitted_peel(keys, cells, jobs);
    }
    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        omitted_add(keys, cells, jobs);
    }
}

#[inline(never)]
fn omitted_masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
    R::masks(keys, jobs);
}

#[inline(never)]
fn omitted_open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
    R::open(keys, cells, jobs);
}

#[inline(never)]
fn omitted_open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
    R::open_short(key, cell, job)
}

#[inline(never)]
fn omitted_seal<const S: usize>(keys: &[RecordKey], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]) {
    R::seal(keys, cells, jobs);
}

#[inline(never)]
fn omitted_peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
    L::peel(keys, cells, jobs);
}

#[inline(never)]
fn omitted_add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
    L::add(keys, cells, jobs);
}
