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

/// Whether the kernels are made for cells of `s` bytes: whole chunks of the hash, which would leave out others, whole groups
/// of words, and no more blocks than counted.
pub(super) const fn is_cell(s: usize) -> bool {
    matches!(s, 256 | 512 | 1024)
}

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

/// Work that is done beside the rounds of a keystream, a step after each, so that other units than those for AES have
/// something to do. Steps are inlined one by one.
pub(super) trait Beside {
    /// Step `at` of [`STEPS`].
    fn step(&mut self, at: usize);
}

/// Steps beside a keystream.
const STEPS: usize = 9;

/// Nothing.
pub(super) struct Nothing;

impl Beside for Nothing {
    #[inline(always)]
    fn step(&mut self, _: usize) {}
}

/// Round keys, wherever they are.
pub(super) trait RoundKeys {
    /// Of a round, 0 to 10.
    fn of(&self, round: usize) -> &[u8; BLOCK];
}

impl RoundKeys for Rounds {
    #[inline(always)]
    fn of(&self, round: usize) -> &[u8; BLOCK] {
        &self[round]
    }
}

/// The keystream of `N` words from block `block` on, of counter blocks that begin with `start`. Side by side, round by
/// round: the chains of a word's rounds are independent.
#[inline(always)]
pub(super) fn keystream<V: Vector, const N: usize>(
    cpu: V::Cpu,
    rounds: &impl RoundKeys,
    start: Block,
    counters: &Counters,
    block: usize,
    beside: &mut impl Beside,
) -> [V; N] {
    let start = V::splat(cpu, start.xor(Block::of(cpu, rounds.of(0))));
    let mut words = [start; N];
    for (at, word) in words.iter_mut().enumerate() {
        *word = word.xor(V::load(cpu, counters.at(block + at * V::BLOCKS)));
    }
    // Not a loop: each step beside has its own place in the code, whatever the compiler thinks of unrolling.
    round(cpu, &mut words, rounds.of(1), beside, 0);
    round(cpu, &mut words, rounds.of(2), beside, 1);
    round(cpu, &mut words, rounds.of(3), beside, 2);
    round(cpu, &mut words, rounds.of(4), beside, 3);
    round(cpu, &mut words, rounds.of(5), beside, 4);
    round(cpu, &mut words, rounds.of(6), beside, 5);
    round(cpu, &mut words, rounds.of(7), beside, 6);
    round(cpu, &mut words, rounds.of(8), beside, 7);
    round(cpu, &mut words, rounds.of(9), beside, 8);
    let key = V::splat(cpu, Block::of(cpu, rounds.of(10)));
    for word in &mut words {
        *word = word.last_round(key);
    }
    words
}

/// One round of AES for all words, and a step of what is beside.
#[inline(always)]
fn round<V: Vector, const N: usize>(
    cpu: V::Cpu,
    words: &mut [V; N],
    key: &[u8; BLOCK],
    beside: &mut impl Beside,
    at: usize,
) {
    let key = V::splat(cpu, Block::of(cpu, key));
    for word in words {
        *word = word.round(key);
    }
    beside.step(at);
}

/// The hash of `N` words.
struct Hashing<'h, 'k, V: Vector, const N: usize> {
    hash: &'h mut Ghash<'k, V>,
    words: [V; N],
}

impl<V: Vector, const N: usize> Beside for Hashing<'_, '_, V, N> {
    #[inline(always)]
    fn step(&mut self, at: usize) {
        const { assert!(N <= STEPS) };
        if at < N {
            self.hash.word(self.words[at]);
        }
    }
}

/// Associated data, at most 8 bytes, as a block of the hash: `bits` has the first byte lowest.
#[inline(always)]
fn aad_block<L: Cpu>(cpu: L, bits: u64) -> Block {
    Block::of_number(cpu, u128::from(bits))
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
        const { assert!(is_cell(S)) };
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
    let start = key.start(cpu, job.number);
    let aad = aad_block(cpu, job.aad.bits());
    let mut hash = Ghash::<V>::new(cpu, key);
    let mut mask = Block::zero(cpu);
    for group in (0..S).step_by(N * V::BYTES) {
        let mut text = [V::load_rest(cpu, body).xor_first(aad); N];
        for (at, text) in text.iter_mut().enumerate() {
            let byte = group + at * V::BYTES;
            if byte > 0 {
                *text = V::load(cpu, &body[byte - BLOCK..]);
            }
        }
        let mut beside = Hashing { hash: &mut hash, words: text };
        let stream = keystream::<V, N>(cpu, &key.rounds, start, &COUNTERS, group / BLOCK, &mut beside);
        for (at, (text, stream)) in text.into_iter().zip(stream).enumerate() {
            let byte = group + at * V::BYTES;
            if byte == 0 {
                mask = stream.first();
                text.xor(stream).store_rest(&mut cell.bytes[SCRATCH..]);
            } else {
                text.xor(stream).store(&mut cell.bytes[byte..]);
            }
        }
    }
    let tag = hash.finish(job.aad.as_bytes().len(), plaintext_len(S)).xor(mask);
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
        const { assert!(is_cell(S)) };
        if is_small::<L::Vector, S>() {
            seal_burst::<L::Vector, 4, S>(cpu, self);
        } else {
            seal_burst::<L::Vector, SIDE_BY_SIDE, S>(cpu, self);
        }
    }
}

/// What is still to be done for a record whose text is encrypted.
struct Owed<'k, 'f, V: Vector, const N: usize> {
    hash: Ghash<'k, V>,
    /// The last words, not hashed yet.
    words: [V; N],
    mask: Block,
    tag: &'f mut [u8; TAG],
}

impl<V: Vector, const N: usize> Owed<'_, '_, V, N> {
    /// The tag, when all words are hashed.
    #[inline(always)]
    fn settle<const S: usize>(self) {
        self.hash.finish(HEADER, plaintext_len(S)).xor(self.mask).store_block(self.tag);
    }
}

/// The last words' hash of the record before is done beside the keystream of the next one.
#[inline(always)]
fn seal_burst<V: Vector, const N: usize, const S: usize>(cpu: V::Cpu, burst: Seal<'_, '_, S>) {
    let Seal { keys, cells, jobs } = burst;
    let ask = |job: &SealJob<'_>| {
        prefetch_slice_element(keys, job.key as usize);
        prefetch_slice_element(cells, job.cell as usize);
        prefetch_bytes(job.frame);
    };
    jobs.iter().take(AHEAD).for_each(ask);
    let mut owed: Option<Owed<'_, '_, V, N>> = None;
    let mut rest = jobs;
    while let Some((job, behind)) = rest.split_first_mut() {
        if let Some(ahead) = behind.get(AHEAD - 1) {
            ask(ahead);
        }
        let (key, cell) = (&keys[job.key as usize], &cells[job.cell as usize]);
        owed = Some(seal(cpu, key, cell, job, owed));
        rest = behind;
    }
    if let Some(mut owed) = owed {
        for word in owed.words {
            owed.hash.word(word);
        }
        owed.settle::<S>();
    }
}

/// Seals one cell, `N` words at a time, but for what is owed then.
#[inline(always)]
fn seal<'k, 'f, V: Vector, const N: usize, const S: usize>(
    cpu: V::Cpu,
    key: &'k RecordKey,
    cell: &Cell<S>,
    job: &'f mut SealJob<'_>,
    mut owed: Option<Owed<'_, '_, V, N>>,
) -> Owed<'k, 'f, V, N> {
    assert_eq!(job.frame.len(), record_len(S), "a frame holds one record");
    let (header, body) = job.frame.split_first_chunk_mut::<HEADER>().expect("of this size");
    let [.., high, low] = job.number.to_be_bytes();
    *header = [job.first, high, low];
    let aad = aad_block(cpu, u64::from(u32::from_le_bytes([job.first, high, low, 0])));
    let (body, tag) = body.split_last_chunk_mut::<TAG>().expect("of this size");
    let start = key.start(cpu, job.number);
    let mut hash = Ghash::<V>::new(cpu, key);
    let mut mask = Block::zero(cpu);
    let mut words = [V::splat(cpu, mask); N];
    for group in (0..S).step_by(N * V::BYTES) {
        let block = group / BLOCK;
        let stream = if group > 0 {
            let mut beside = Hashing { hash: &mut hash, words };
            keystream::<V, N>(cpu, &key.rounds, start, &COUNTERS, block, &mut beside)
        } else if let Some(mut before) = owed.take() {
            let mut beside = Hashing { hash: &mut before.hash, words: before.words };
            let stream = keystream::<V, N>(cpu, &key.rounds, start, &COUNTERS, block, &mut beside);
            before.settle::<S>();
            stream
        } else {
            keystream::<V, N>(cpu, &key.rounds, start, &COUNTERS, block, &mut Nothing)
        };
        for (at, (word, stream)) in words.iter_mut().zip(stream).enumerate() {
            let byte = group + at * V::BYTES;
            if byte == 0 {
                mask = stream.first();
                let text = V::load_rest(cpu, &cell.bytes[SCRATCH..]).xor(stream);
                text.store_rest(body);
                *word = text.xor_first(mask.xor(aad));
            } else {
                *word = V::load(cpu, &cell.bytes[byte..]).xor(stream);
                word.store(&mut body[byte - BLOCK..]);
            }
        }
    }
    Owed { hash, words, mask, tag }
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
        let start = key.start(cpu, job.number);
        let cipher = |counter: usize| {
            let counter = Block::of(cpu, COUNTERS.at(counter - 1).first_chunk().expect("counters of every block"));
            encrypt(cpu, &key.rounds, counter.xor(start))
        };
        let mut hash = Ghash::<L::Vector>::new(cpu, key);
        hash.block(aad_block(cpu, job.aad.bits()));
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
