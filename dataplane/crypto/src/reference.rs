//! The portable back end: RustCrypto's AES-128-GCM and AES-128-CTR, one job after the other.
//!
//! It runs on every processor, is what every faster back end must equal bit for bit, and is plain on purpose. Its one
//! liberty is to prefetch the key state and the cells of the jobs ahead.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AesGcm, Nonce, Tag};
use ctr::CtrCore;
use ctr::flavors::Ctr64BE;
use drover_wire::cell::{TAG, plaintext_len};
use drover_wire::record::{HEADER, record_len};
use zeroize::ZeroizeOnDrop;

use crate::prefetch::{AHEAD, prefetch_bytes, prefetch_slice_element};
use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{CHECK, Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};

/// AES-128-GCM with the encrypting half of the key schedule: GCM never deciphers a block.
pub(crate) type Gcm = AesGcm<Aes128Enc, U12>;

/// The portable back end.
pub struct Reference;

impl Suite for Reference {
    const NAME: &'static str = "reference";
    type Records = ReferenceRecords;
    type Layers = CtrLayers;
}

/// AES-128-GCM records through the `aes-gcm` crate.
pub struct ReferenceRecords;

/// An expanded record key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct RecordKey {
    gcm: Gcm,
    iv: [u8; 12],
}

/// An expanded mask key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct MaskKey(Aes128Enc);

impl RecordKey {
    /// The nonce: the IV, the number XORed into its last 8 bytes (RFC 8446, 5.3).
    fn nonce(&self, number: u64) -> Nonce<U12> {
        nonce(&self.iv, number)
    }

    /// Opens one body into `cell`; on failure the cell's content is undefined.
    fn open<const S: usize>(&self, cell: &mut Cell<S>, job: &OpenJob<'_>) -> Option<()> {
        self.open_len::<S>(cell, job, plaintext_len(S))
    }

    /// As `open`, of a plaintext of `len` bytes.
    fn open_len<const S: usize>(&self, cell: &mut Cell<S>, job: &OpenJob<'_>, len: usize) -> Option<()> {
        let (ciphertext, tag) = job.body.split_at_checked(len)?;
        let tag: &Tag = tag.try_into().ok()?;
        let buffer = InOutBuf::new(ciphertext, cell.plaintext_mut().get_mut(..len)?).ok()?;
        self.gcm.decrypt_inout_detached(&self.nonce(job.number), job.aad.as_bytes(), buffer, tag).ok()
    }
}

/// `iv` with `number`, big-endian, XORed into its last 8 bytes (RFC 8446, 5.3).
pub(crate) fn nonce(iv: &[u8; 12], number: u64) -> Nonce<U12> {
    let mut nonce = Nonce::from(*iv);
    for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

impl Records for ReferenceRecords {
    type Key = RecordKey;
    type MaskKey = MaskKey;

    fn key(secret: &RecordSecret) -> RecordKey {
        RecordKey { gcm: Gcm::new((&secret.key).into()), iv: secret.iv }
    }

    fn mask_key(secret: &MaskSecret) -> MaskKey {
        MaskKey(Aes128Enc::new((&secret.0).into()))
    }

    fn masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                prefetch_slice_element(keys, ahead.key as usize);
            }
            let job = &mut jobs[at];
            let mut block = job.sample.into();
            keys[job.key as usize].0.encrypt_block(&mut block);
            job.mask = [block[0], block[1]];
        }
    }

    fn open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                prefetch_slice_element(keys, ahead.key as usize);
                prefetch_slice_element(cells, ahead.cell as usize);
                prefetch_bytes(ahead.body);
            }
            let job = &mut jobs[at];
            let cell = &mut cells[job.cell as usize];
            job.ok = keys[job.key as usize].open(cell, job).is_some();
            if !job.ok {
                cell.bytes.fill(0);
            }
        }
    }

    fn open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
        cell.bytes.fill(0);
        let len = job.body.len().checked_sub(TAG);
        let opened = len.and_then(|len| key.open_len(cell, job, len)).is_some();
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
            let (ciphertext, tag) = body.split_at_mut(plaintext_len(S));
            let [.., high, low] = job.number.to_be_bytes();
            header.copy_from_slice(&[job.first, high, low]);
            let buffer = InOutBuf::new(cells[job.cell as usize].plaintext(), ciphertext);
            let sealed = buffer
                .ok()
                .and_then(|buffer| key.gcm.encrypt_inout_detached(&key.nonce(job.number), header, buffer).ok())
                .expect("both are one plaintext long, far below the cipher's limit");
            tag.copy_from_slice(&sealed);
        }
    }
}

const _: () = assert!(size_of::<Tag>() == TAG);

/// AES-128-CTR layers: the first block is the counter, 8 bytes, then a block index from 0, 8 bytes, both big-endian.
/// The check is the beginning of the keystream block after the body. An involution: `peel` and `add` are one function.
pub struct CtrLayers;

/// An expanded layer key, inline. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct LayerKey(Aes128Enc);

/// The keystream of one cell.
pub(crate) type Keystream<'k> = CtrCore<&'k Aes128Enc, Ctr64BE>;

impl LayerKey {
    /// The keystream of the cell that came in with `counter`.
    pub(crate) fn keystream(&self, counter: u64) -> Keystream<'_> {
        let mut first = [0; 16];
        first[..8].copy_from_slice(&counter.to_be_bytes());
        CtrCore::inner_iv_init(&self.0, &first.into())
    }
}

/// The first bytes of the next keystream block.
pub(crate) fn next_check(keystream: &mut Keystream<'_>) -> [u8; CHECK] {
    let mut block = aes::Block::default();
    keystream.write_keystream_block(&mut block);
    let mut check = [0; CHECK];
    check.copy_from_slice(&block[..CHECK]);
    check
}

/// Calls `work` for each job with its key and its cell, those of the jobs ahead prefetched.
pub(crate) fn each_layer<const S: usize, K>(
    keys: &[K],
    cells: &mut [Cell<S>],
    jobs: &mut [LayerJob],
    mut work: impl FnMut(&K, &mut Cell<S>, &mut LayerJob),
) {
    for at in 0..jobs.len() {
        if let Some(ahead) = jobs.get(at + AHEAD) {
            prefetch_slice_element(keys, ahead.key as usize);
            prefetch_slice_element(cells, ahead.cell as usize);
        }
        let job = &mut jobs[at];
        work(&keys[job.key as usize], &mut cells[job.cell as usize], job);
    }
}

impl Layers for CtrLayers {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        LayerKey(Aes128Enc::new((&secret.0).into()))
    }

    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            let mut keystream = key.keystream(job.counter);
            // The body is a whole number of blocks, so what follows is the next block.
            let (blocks, _) = aes::Block::slice_as_chunks_mut(cell.body_mut());
            keystream.apply_keystream_blocks(blocks);
            job.check = next_check(&mut keystream);
        });
    }

    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            let (blocks, _) = aes::Block::slice_as_chunks_mut(cell.body_mut());
            key.keystream(job.counter).apply_keystream_blocks(blocks);
        });
    }
}

#[cfg(test)]
mod tests;
