//! The back end of a well-kept library: AES-128-GCM and AES-128-CTR by AWS-LC, one job after the other.
//!
//! Records go through AWS-LC's C interface and not through `aws-lc-rs`, whose keys are on the heap: here they are inline,
//! whole cache lines, and those of the jobs ahead are prefetched; and records are opened and sealed out of place, without a
//! copy. AWS-LC picks its code for the processor by itself; all of it takes the same time whatever the key and the data,
//! also where the processor has no AES instructions.
//!
//! Of the well-kept libraries this is the faster: with keys inline and prefetched alike, `ring` 0.17, which works in place
//! and so needs a copy, takes 0.99 to 1.06 times as long for a 512-byte record where VAES is absent (10,000 to 64 links).

mod context;

use drover_wire::cell::{TAG, plaintext_len};
use drover_wire::record::{HEADER, record_len};
use zeroize::ZeroizeOnDrop;

use crate::prefetch::{AHEAD, prefetch_bytes, prefetch_slice_element};
use crate::reference::{each_layer, nonce};
use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{CHECK, Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
use context::{Aes, Gcm, NONCE, make_room_for_errors};

/// The back end.
pub struct AwsLc;

impl Suite for AwsLc {
    const NAME: &'static str = "aws-lc";
    type Records = AwsLcRecords;
    type Layers = AwsLcLayers;
}

/// AES-128-GCM records through AWS-LC.
pub struct AwsLcRecords;

/// An expanded record key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct RecordKey {
    gcm: Gcm,
    iv: [u8; NONCE],
}

/// An expanded mask key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct MaskKey(Aes);

impl RecordKey {
    /// The nonce: the IV, the number XORed into its last 8 bytes (RFC 8446, 5.3).
    fn nonce(&self, number: u64) -> [u8; NONCE] {
        nonce(&self.iv, number).into()
    }

    /// Opens a body into the first bytes of `cell`'s plaintext; on failure the cell's content is undefined.
    fn open<const S: usize>(&self, cell: &mut Cell<S>, job: &OpenJob<'_>, len: usize) -> Option<()> {
        let (ciphertext, tag) = job.body.split_at_checked(len)?;
        let tag: &[u8; TAG] = tag.try_into().ok()?;
        let plaintext = cell.plaintext_mut().get_mut(..len)?;
        let opened = self.gcm.open(&self.nonce(job.number), job.aad.as_bytes(), ciphertext, tag, plaintext);
        opened.then_some(())
    }
}

impl Records for AwsLcRecords {
    type Key = RecordKey;
    type MaskKey = MaskKey;

    fn key(secret: &RecordSecret) -> RecordKey {
        RecordKey { gcm: Gcm::new(&secret.key), iv: secret.iv }
    }

    fn mask_key(secret: &MaskSecret) -> MaskKey {
        MaskKey(Aes::new(&secret.0))
    }

    fn masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                prefetch_slice_element(keys, ahead.key as usize);
            }
            let job = &mut jobs[at];
            let [first, second, ..] = keys[job.key as usize].0.encrypt(&job.sample);
            job.mask = [first, second];
        }
    }

    fn open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
        make_room_for_errors();
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                prefetch_slice_element(keys, ahead.key as usize);
                prefetch_slice_element(cells, ahead.cell as usize);
                prefetch_bytes(ahead.body);
            }
            let job = &mut jobs[at];
            let cell = &mut cells[job.cell as usize];
            job.ok = keys[job.key as usize].open(cell, job, plaintext_len(S)).is_some();
            if !job.ok {
                cell.bytes.fill(0);
            }
        }
    }

    fn open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
        cell.bytes.fill(0);
        let len = job.body.len().checked_sub(TAG);
        let opened = len.and_then(|len| key.open(cell, job, len)).is_some();
        if !opened {
            cell.bytes.fill(0);
        }
        opened
    }

    fn seal<const S: usize>(keys: &[RecordKey], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]) {
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                prefetch_slice_element(keys, ahead.key as usize);
                prefetch_slice_element(cells, ahead.cell as usize);
                prefetch_bytes(ahead.frame);
            }
            let job = &mut jobs[at];
            assert_eq!(job.frame.len(), record_len(S), "a frame holds one record");
            let key = &keys[job.key as usize];
            let (header, body) = job.frame.split_at_mut(HEADER);
            let (ciphertext, tag) = body.split_last_chunk_mut::<TAG>().expect("a cell is longer than a tag");
            let [.., high, low] = job.number.to_be_bytes();
            header.copy_from_slice(&[job.first, high, low]);
            key.gcm.seal(&key.nonce(job.number), header, cells[job.cell as usize].plaintext(), ciphertext, tag);
        }
    }
}

/// AES-128-CTR layers through AWS-LC, as those of [`crate::reference::CtrLayers`].
pub struct AwsLcLayers;

/// An expanded layer key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct LayerKey(Aes);

impl LayerKey {
    /// XORs the keystream of the cell that came in with `counter` into `body`, and returns the counter block after it.
    fn apply(&self, counter: u64, body: &mut [u8]) -> [u8; 16] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&counter.to_be_bytes());
        // The index of a cell's last block is far below 2^32: AWS-LC's counter of 128 bits leaves the other half alone.
        self.0.apply_ctr(&mut block, body);
        block
    }
}

impl Layers for AwsLcLayers {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        LayerKey(Aes::new(&secret.0))
    }

    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            let next = key.apply(job.counter, cell.body_mut());
            job.check.copy_from_slice(&key.0.encrypt(&next)[..CHECK]);
        });
    }

    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            key.apply(job.counter, cell.body_mut());
        });
    }
}

#[cfg(test)]
mod tests;
