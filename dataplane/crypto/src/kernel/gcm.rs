//! Records: AES-128-GCM over whole cells (NIST SP 800-38D), in the layout that [`super`] explains.

use super::AHEAD;
use super::ghash::Ghash;
use super::keys::{RecordKey, Rounds, encrypt};
use super::level::{Cpu, Task};
use super::vector::{BLOCK, Block, Vector};
use crate::prefetch::{prefetch_bytes, prefetch_slice_element};
use crate::{Cell, OpenJob, SCRATCH, SealJob};
use drover_wire::cell::{TAG, plaintext_len};
use drover_wire::record::{HEADER, record_len};

/// Counters of records' blocks: 1 for the tag's mask, then the text.
static COUNTERS: Counters = Counters::from(1);
/// Most blocks of a cell, and what the last group of words may take beyond.
const COUNTED: usize = 64 + 16;

/// Block counters in memory: a word's are loaded at once.
#[repr(align(64))]
pub(super) struct Counters([[u8; BLOCK]; COUNTED]);

impl Counters {
    /// `first`, `first` + 1, … in a block's last bytes, big-endian. All are below 256.
    pub(super) const fn from(first: u8) -> Self {
        let mut counters = [[0; BLOCK]; COUNTED];
        let mut at = 0;
        while at < COUNTED {
            counters[at][BLOCK - 1] = first + at as u8;
            at += 1;
        }
        Counters(counters)
    }

    /// From block `block` on.
    #[inline(always)]
    fn at(&self, block: usize) -> &[u8] {
        &self.0.as_flattened()[BLOCK * block..]
    }
}

/// The keystream of `N` words from block `block` on, of counter blocks that begin with `start`. Side by side, round by
/// round: the chains of a word's rounds are independent.
#[inline(always)]
pub(super) fn keystream<V: Vector, const N: usize>(
    cpu: V::Cpu,
    rounds: &Rounds,
    start: &[u8; BLOCK],
    counters: &Counters,
    block: usize,
) -> [V; N] {
    let start = V::splat(cpu, start).xor(V::splat(cpu, &rounds[0]));
    let mut words = [start; N];
    for (at, word) in words.iter_mut().enumerate() {
        *word = word.xor(V::load(cpu, counters.at(block + at * V::BLOCKS)));
    }
    for round in &rounds[1..10] {
        let key = V::splat(cpu, round);
        for word in &mut words {
            *word = word.round(key);
        }
    }
    let key = V::splat(cpu, &rounds[10]);
    for word in &mut words {
        *word = word.last_round(key);
    }
    words
}

/// Associated data as a block of the hash.
#[inline(always)]
fn aad_block<L: Cpu>(cpu: L, aad: &[u8]) -> Block {
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(aad) {
        *to = *from;
    }
    Block::of(cpu, &block)
}

/// Words that are encrypted side by side.
const SIDE_BY_SIDE: usize = 8;

/// Whether a cell of `S` bytes is fewer words than that.
const fn is_small<V: Vector, const S: usize>() -> bool {
    S / V::BYTES < SIDE_BY_SIDE
}

/// Opens a burst.
pub(super) struct Open<'a, 'f, const S: usize> {
    pub(super) keys: &'a [RecordKey],
    pub(super) cells: &'a mut [Cell<S>],
    pub(super) jobs: &'a mut [OpenJob<'f>],
}

impl<const S: usize> Task for Open<'_, '_, S> {
    type Out = ();

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) {
        let Open { keys, cells, jobs } = self;
        let ask = |cells: &[Cell<S>], job: &OpenJob<'_>| {
            prefetch_slice_element(keys, job.key as usize);
            prefetch_bytes(job.body);
            prefetch_slice_element(cells, job.cell as usize);
        };
        jobs.iter().take(AHEAD).for_each(|job| ask(cells, job));
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                ask(cells, ahead);
            }
            let job = &mut jobs[at];
            let (key, cell) = (&keys[job.key as usize], &mut cells[job.cell as usize]);
            job.ok = match <&[u8; S]>::try_from(job.body) {
                Ok(body) if is_small::<L::Vector, S>() => open::<L::Vector, 4, S>(cpu, key, cell, body, job),
                Ok(body) => open::<L::Vector, SIDE_BY_SIDE, S>(cpu, key, cell, body, job),
                Err(_) => false,
            };
            if !job.ok {
                cell.bytes.fill(0);
            }
        }
    }
}

/// Opens one body, `N` words at a time. The plaintext lies in the cell whether or not the tag is right.
#[inline(always)]
fn open<V: Vector, const N: usize, const S: usize>(
    cpu: V::Cpu,
    key: &RecordKey,
    cell: &mut Cell<S>,
    body: &[u8; S],
    job: &OpenJob<'_>,
) -> bool {
    let start = key.start(job.number);
    let aad = job.aad.as_bytes();
    let mut hash = Ghash::<V>::new(cpu, key);
    let mut mask = Block::zero(cpu);
    for group in (0..S).step_by(N * V::BYTES) {
        let stream = keystream::<V, N>(cpu, &key.rounds, &start, &COUNTERS, group / BLOCK);
        for (at, stream) in stream.into_iter().enumerate() {
            let byte = group + at * V::BYTES;
            if byte == 0 {
                let text = V::load_rest(cpu, body);
                hash.word(text.xor_first(aad_block(cpu, aad)));
                mask = stream.first();
                text.xor(stream).store_rest(&mut cell.bytes[SCRATCH..]);
            } else {
                let text = V::load(cpu, &body[byte - BLOCK..]);
                hash.word(text);
                text.xor(stream).store(&mut cell.bytes[byte..]);
            }
        }
    }
    let tag = hash.finish(aad.len(), plaintext_len(S)).xor(mask);
    let sent = body.last_chunk::<TAG>().expect("a body ends with its tag");
    tag.xor(Block::of(cpu, sent)).is_zero()
}

/// Seals a burst.
pub(super) struct Seal<'a, 'f, const S: usize> {
    pub(super) keys: &'a [RecordKey],
    pub(super) cells: &'a [Cell<S>],
    pub(super) jobs: &'a mut [SealJob<'f>],
}

impl<const S: usize> Task for Seal<'_, '_, S> {
    type Out = ();

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) {
        let Seal { keys, cells, jobs } = self;
        let ask = |job: &SealJob<'_>| {
            prefetch_slice_element(keys, job.key as usize);
            prefetch_slice_element(cells, job.cell as usize);
            prefetch_bytes(job.frame);
        };
        jobs.iter().take(AHEAD).for_each(ask);
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                ask(ahead);
            }
            let SealJob { key, cell, number, first, frame } = &mut jobs[at];
            assert_eq!(frame.len(), record_len(S), "a frame holds one record");
            let (header, body) = frame.split_first_chunk_mut::<HEADER>().expect("of this size");
            let body = <&mut [u8; S]>::try_from(body).expect("of this size");
            let [.., high, low] = number.to_be_bytes();
            *header = [*first, high, low];
            let (key, cell) = (&keys[*key as usize], &cells[*cell as usize]);
            if is_small::<L::Vector, S>() {
                seal::<L::Vector, 4, S>(cpu, key, cell, *number, header, body);
            } else {
                seal::<L::Vector, SIDE_BY_SIDE, S>(cpu, key, cell, *number, header, body);
            }
        }
    }
}

/// Seals one cell, `N` words at a time.
#[inline(always)]
fn seal<V: Vector, const N: usize, const S: usize>(
    cpu: V::Cpu,
    key: &RecordKey,
    cell: &Cell<S>,
    number: u64,
    header: &[u8; HEADER],
    body: &mut [u8; S],
) {
    let start = key.start(number);
    let mut hash = Ghash::<V>::new(cpu, key);
    let mut mask = Block::zero(cpu);
    for group in (0..S).step_by(N * V::BYTES) {
        let stream = keystream::<V, N>(cpu, &key.rounds, &start, &COUNTERS, group / BLOCK);
        for (at, stream) in stream.into_iter().enumerate() {
            let byte = group + at * V::BYTES;
            if byte == 0 {
                mask = stream.first();
                let text = V::load_rest(cpu, &cell.bytes[SCRATCH..]).xor(stream);
                text.store_rest(body);
                hash.word(text.xor_first(mask.xor(aad_block(cpu, header))));
            } else {
                let text = V::load(cpu, &cell.bytes[byte..]).xor(stream);
                text.store(&mut body[byte - BLOCK..]);
                hash.word(text);
            }
        }
    }
    let tag = hash.finish(HEADER, plaintext_len(S)).xor(mask);
    tag.store_block(body.last_chunk_mut::<TAG>().expect("a body ends with its tag"));
}

/// Opens a record that is shorter than a cell's, block by block.
pub(super) struct OpenShort<'a, 'f, const S: usize> {
    pub(super) key: &'a RecordKey,
    pub(super) cell: &'a mut Cell<S>,
    pub(super) job: &'a OpenJob<'f>,
}

impl<const S: usize> Task for OpenShort<'_, '_, S> {
    type Out = bool;

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) -> bool {
        let OpenShort { key, cell, job } = self;
        cell.bytes.fill(0);
        let text = job.body.split_last_chunk::<TAG>();
        let Some((text, tag)) = text.filter(|(text, _)| text.len() <= plaintext_len(S)) else { return false };
        let start = key.start(job.number);
        let cipher = |counter: usize| {
            let counter = Block::of(cpu, COUNTERS.at(counter - 1).first_chunk().expect("counters of every block"));
            encrypt(cpu, &key.rounds, counter.xor(Block::of(cpu, &start)))
        };
        let mut hash = Ghash::<L::Vector>::new(cpu, key);
        hash.block(aad_block(cpu, job.aad.as_bytes()));
        for (at, (from, to)) in text.chunks(BLOCK).zip(cell.plaintext_mut().chunks_mut(BLOCK)).enumerate() {
            let mut block = [0; BLOCK];
            block[..from.len()].copy_from_slice(from);
            let block = Block::of(cpu, &block);
            hash.block(block);
            let plain = block.xor(cipher(at + 2)).bytes();
            to[..from.len()].copy_from_slice(&plain[..from.len()]);
        }
        let sum = hash.finish(job.aad.as_bytes().len(), text.len()).xor(cipher(1));
        let ok = sum.xor(Block::of(cpu, tag)).is_zero();
        if !ok {
            cell.bytes.fill(0);
        }
        ok
    }
}
