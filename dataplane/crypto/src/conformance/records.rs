//! Records and masks: equality with the bare crates, and failures that stay alone.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Nonce};
use drover_wire::cell::plaintext_len;
use drover_wire::record::{Aad, FIRST_BYTE, HEADER, HEADER_WITH_LENGTH, first_byte, record_len};

use super::{Draw, KEYS, same};
use crate::schedule::{MaskSecret, RecordSecret};
use crate::{BATCH, MaskJob, OpenJob, Records, SealJob};

/// What surrounds a frame, and what a kernel must not touch.
const GUARD: u8 = 0xa5;

/// Masks equal AES-ECB of the sample, for every batch size.
pub fn masks<R: Records>() {
    let mut draw = Draw(1);
    let secrets: [MaskSecret; KEYS] = std::array::from_fn(|_| MaskSecret(draw.array()));
    let keys = secrets.each_ref().map(R::mask_key);
    for n in 0..=BATCH {
        let mut jobs: Vec<MaskJob> =
            (0..n).map(|_| MaskJob { key: draw.key_index(), sample: draw.array(), mask: [0; 2] }).collect();
        R::masks(&keys, &mut jobs);
        for job in &jobs {
            let mut block = job.sample.into();
            Aes128::new((&secrets[job.key as usize].0).into()).encrypt_block(&mut block);
            assert_eq!(job.mask, block[..2], "mask in a batch of {n}");
        }
    }
}

/// The record that the bare crate makes: ciphertext and tag.
pub(crate) fn naive(secret: &RecordSecret, number: u64, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = secret.iv;
    for (at, byte) in number.to_be_bytes().into_iter().enumerate() {
        nonce[4 + at] ^= byte;
    }
    let mut body = plaintext.to_vec();
    let tag = Aes128Gcm::new((&secret.key).into())
        .encrypt_inout_detached(&Nonce::from(nonce), aad, body.as_mut_slice().into())
        .expect("short");
    body.extend_from_slice(&tag);
    body
}

/// Sealing and opening equal AES-128-GCM, for every batch size; damaged records fail alone and leave no plaintext.
pub fn records<R: Records>() {
    Fixture::<R>::new().sized::<256>();
    Fixture::<R>::new().sized::<512>();
    Fixture::<R>::new().sized::<1024>();
}

/// A slab of keys, and the same keys for the bare crate.
struct Fixture<R: Records> {
    draw: Draw,
    secrets: [RecordSecret; KEYS],
    keys: [R::Key; KEYS],
}

/// A record, and what it was made from.
#[derive(Clone)]
struct Sample {
    key: u32,
    number: u64,
    header: Vec<u8>,
    plaintext: Vec<u8>,
    body: Vec<u8>,
}

impl Sample {
    fn aad(&self) -> Aad {
        Aad::new(&self.header, self.number as u16)
    }
}

impl<R: Records> Fixture<R> {
    fn new() -> Self {
        let mut draw = Draw(2);
        let secrets = std::array::from_fn(|_| RecordSecret { key: draw.array(), iv: draw.array() });
        let keys = secrets.each_ref().map(R::key);
        Fixture { draw, secrets, keys }
    }

    fn sized<const S: usize>(&mut self) {
        for n in 0..=BATCH {
            self.seal::<S>(n);
            let samples = self.samples::<S>(n);
            self.open::<S>(&samples, &vec![true; n]);
        }
        self.every_damaged_byte::<S>();
        self.every_place_of_damage::<S>();
        self.other_damage::<S>();
        self.short_records::<S>();
    }

    /// The record that the bare crate makes.
    fn naive(&self, key: u32, number: u64, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        naive(&self.secrets[key as usize], number, aad, plaintext)
    }

    /// Records of the bare crate, of both header lengths.
    fn samples<const S: usize>(&mut self, n: usize) -> Vec<Sample> {
        (0..n).map(|_| self.sample::<S>()).collect()
    }

    fn sample<const S: usize>(&mut self) -> Sample {
        let header = if self.draw.below(4) == 0 { HEADER_WITH_LENGTH } else { HEADER };
        self.sample_with::<S>(header)
    }

    fn sample_with<const S: usize>(&mut self, header_len: usize) -> Sample {
        let (key, number) = (self.draw.key_index(), self.draw.number());
        let mut plaintext = vec![0; plaintext_len(S)];
        self.draw.fill(&mut plaintext);
        let [.., high, low] = number.to_be_bytes();
        let mut header = vec![FIRST_BYTE, high, low];
        if header_len == HEADER_WITH_LENGTH {
            header[0] |= 0x04;
            header.extend_from_slice(&(S as u16).to_be_bytes());
        }
        let body = self.naive(key, number, &header, &plaintext);
        Sample { key, number, header, plaintext, body }
    }

    /// Seals a batch into frames at any alignment, some of one cell, and compares.
    fn seal<const S: usize>(&mut self, n: usize) {
        let pool = self.draw.pool::<S>(BATCH + 3);
        let before = pool.clone();
        let mut room = vec![[GUARD; 1200]; n];
        let named: Vec<(u32, u32, u64, u8, usize)> = (0..n)
            .map(|_| {
                let draw = &mut self.draw;
                let first = first_byte(draw.below(4) as u32);
                (draw.key_index(), draw.below(pool.len()) as u32, draw.number(), first, draw.below(64))
            })
            .collect();
        let mut jobs: Vec<SealJob<'_>> = room
            .iter_mut()
            .zip(&named)
            .map(|(room, &(key, cell, number, first, at))| SealJob {
                key,
                cell,
                number,
                first,
                frame: &mut room[at..at + record_len(S)],
            })
            .collect();
        R::seal(&self.keys, &pool, &mut jobs);
        for (room, (key, cell, number, first, at)) in room.iter().zip(named) {
            let [.., high, low] = number.to_be_bytes();
            let mut frame = vec![first, high, low];
            frame.extend(self.naive(key, number, &[first, high, low], pool[cell as usize].plaintext()));
            assert!(room[at..at + record_len(S)] == frame[..], "record in a batch of {n}, S = {S}");
            let around = [&room[..at], &room[at + record_len(S)..]].concat();
            assert!(around.iter().all(|&byte| byte == GUARD), "bytes around a frame, S = {S}");
        }
        assert!(same(&pool, &before), "sealing changed a cell");
    }

    /// Opens a batch into a pool of old cells: the jobs of `good` give their plaintext, the others zeros; other cells
    /// stay.
    fn open<const S: usize>(&mut self, samples: &[Sample], good: &[bool]) {
        let n = samples.len();
        let mut pool = self.draw.pool::<S>(n + 3);
        let before = pool.clone();
        let order = self.draw.order(n + 3);
        let frames: Vec<(usize, Vec<u8>)> = samples
            .iter()
            .map(|sample| {
                let at = self.draw.below(64);
                (at, [&vec![GUARD; at], &sample.body[..]].concat())
            })
            .collect();
        let mut jobs: Vec<OpenJob<'_>> = samples
            .iter()
            .zip(&frames)
            .enumerate()
            .map(|(job, (sample, (at, frame)))| OpenJob {
                key: sample.key,
                cell: order[job],
                number: sample.number,
                aad: sample.aad(),
                body: &frame[*at..],
                ok: !good[job],
            })
            .collect();
        R::open(&self.keys, &mut pool, &mut jobs);
        for (job, (sample, good)) in jobs.iter().zip(samples.iter().zip(good)) {
            assert_eq!(job.ok, *good, "a batch of {n}, S = {S}");
            let cell = &pool[job.cell as usize];
            if *good {
                assert!(cell.plaintext() == sample.plaintext, "plaintext in a batch of {n}, S = {S}");
            } else {
                assert!(cell.bytes == [0; S], "a failed cell is zeroed, S = {S}");
            }
        }
        for &idle in &order[n..] {
            assert!(pool[idle as usize].bytes == before[idle as usize].bytes, "a cell of no job");
        }
    }

    /// Records of every length below a cell's: the content, then zeros; and damaged ones.
    fn short_records<const S: usize>(&mut self) {
        for len in 0..=plaintext_len(S) {
            let mut sample = self.sample::<S>();
            sample.plaintext.truncate(len);
            sample.body = self.naive(sample.key, sample.number, &sample.header, &sample.plaintext);
            let mut cell = self.draw.pool::<S>(1)[0].clone();
            let (key, number, aad) = (sample.key, sample.number, sample.aad());
            let of_key = &self.keys[key as usize];
            let job = OpenJob { key, cell: 0, number, aad, body: &sample.body, ok: false };
            assert!(R::open_short(of_key, &mut cell, &job), "a record of {len} bytes, S = {S}");
            assert!(cell.plaintext()[..len] == sample.plaintext[..], "content of a short record, S = {S}");
            assert!(cell.plaintext()[len..].iter().all(|byte| *byte == 0), "zeros behind a short record, S = {S}");
            let mut odd = sample.body.clone();
            odd[len / 2] ^= 4;
            for body in [&odd[..], &sample.body[1..], &sample.body[..15]] {
                let job = OpenJob { key, cell: 0, number, aad, body, ok: false };
                assert!(!R::open_short(of_key, &mut cell, &job), "a damaged record of {len} bytes, S = {S}");
                assert!(cell.bytes == [0; S], "a failed cell is zeroed, S = {S}");
            }
        }
    }

    /// One flipped bit in each byte of header, ciphertext and tag.
    fn every_damaged_byte<const S: usize>(&mut self) {
        let clean = self.samples::<S>(3);
        for byte in 0..record_len(S) {
            let victim = self.draw.below(3);
            let bit = 1 << self.draw.below(8);
            let mut samples = clean.clone();
            // The number in the header is the job's number: damage to it is a wrong associated datum and nonce.
            match byte {
                0 => samples[victim].header[0] ^= bit,
                1 => samples[victim].number ^= u64::from(bit) << 8,
                2 => samples[victim].number ^= u64::from(bit),
                _ => samples[victim].body[byte - HEADER] ^= bit,
            }
            let good = [0, 1, 2].map(|job| job != victim);
            self.open::<S>(&samples, &good);
        }
    }

    /// Every bit of a tag; and each job of a batch as the damaged one, then several.
    fn every_place_of_damage<const S: usize>(&mut self) {
        for bit in 0..128 {
            let mut samples = self.samples::<S>(1);
            samples[0].body[plaintext_len(S) + bit / 8] ^= 1 << (bit % 8);
            self.open::<S>(&samples, &[false]);
        }
        for n in [2, 7, 8, 9, 16, BATCH] {
            for victim in 0..n {
                let mut samples = self.samples::<S>(n);
                samples[victim].body[self.draw.below(S)] ^= 1 << self.draw.below(8);
                let good: Vec<bool> = (0..n).map(|job| job != victim).collect();
                self.open::<S>(&samples, &good);
            }
            let mut samples = self.samples::<S>(n);
            let good: Vec<bool> = (0..n).map(|_| self.draw.below(2) == 0).collect();
            for (sample, _) in samples.iter_mut().zip(&good).filter(|(_, good)| !**good) {
                sample.body[self.draw.below(S)] ^= 0x80;
            }
            self.open::<S>(&samples, &good);
        }
    }

    /// The right bytes under a wrong key, number, header or length.
    fn other_damage<const S: usize>(&mut self) {
        let damages: [fn(&mut Sample); 7] = [
            |sample| sample.key = (sample.key + 1) % KEYS as u32,
            |sample| sample.number ^= 1 << 16,
            |sample| sample.number ^= 1 << 63,
            |sample| sample.header.resize(HEADER_WITH_LENGTH, 7),
            |sample| sample.body.truncate(sample.body.len() - 1),
            |sample| sample.body.push(0),
            |sample| sample.body.clear(),
        ];
        for damage in damages {
            for victim in 0..5 {
                let mut samples = self.samples::<S>(5);
                samples[victim] = self.sample_with::<S>(HEADER);
                damage(&mut samples[victim]);
                let good: [bool; 5] = std::array::from_fn(|job| job != victim);
                self.open::<S>(&samples, &good);
            }
        }
    }
}
