//! Layers: AES-128-CTR over a cell's body. The first block is the counter, 8 bytes, then a block index from 0, 8 bytes,
//! both big-endian. The block after the body begins with the check.

use super::AHEAD;
use super::gcm::{Counters, Nothing, RoundKeys, is_cell, keystream};
use super::keys::{CONSTANTS, LayerKey, next_round, wipe};
use super::level::{Cpu, Task};
use super::vector::{BLOCK, Block, Vector};
use crate::prefetch::prefetch_slice_element;
use crate::{CHECK, Cell, LayerJob};
use drover_wire::cell::body_len;

/// Indices of a layer's blocks.
static INDICES: Counters = Counters::from(0);

/// Jobs whose keys are expanded together.
const TOGETHER: usize = 16;
/// Registers of keys that are at work at once.
const SIDE_BY_SIDE: usize = 4;

/// Peels or adds a burst of layers, which in counter mode is the same but for the check.
pub(super) struct Layer<'a, const S: usize, const CHECKS: bool> {
    pub(super) keys: &'a [LayerKey],
    pub(super) cells: &'a mut [Cell<S>],
    pub(super) jobs: &'a mut [LayerJob],
}

impl<const S: usize, const CHECKS: bool> Task for Layer<'_, S, CHECKS> {
    type Out = ();

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) {
        const { assert!(is_cell(S)) };
        let Layer { keys, cells, jobs } = self;
        let ask = |cells: &[Cell<S>], job: &LayerJob| prefetch_slice_element(cells, job.cell as usize);
        jobs.iter().for_each(|job| prefetch_slice_element(keys, job.key as usize));
        jobs.iter().take(AHEAD).for_each(|job| ask(cells, job));
        let mut expanded = Expanded([[[0; BLOCK]; TOGETHER]; 11]);
        for at in 0..jobs.len() {
            if at % TOGETHER == 0 {
                expanded.fill::<L::Vector>(cpu, keys, &jobs[at..]);
            }
            if let Some(ahead) = jobs.get(at + AHEAD) {
                ask(cells, ahead);
            }
            let (job, key) = (&mut jobs[at], OfJob { expanded: &expanded, at: at % TOGETHER });
            let cell = &mut cells[job.cell as usize];
            let check = if S / <L::Vector>::BYTES < 8 {
                layer::<L::Vector, 4, S>(cpu, &key, cell, job.counter)
            } else {
                layer::<L::Vector, 8, S>(cpu, &key, cell, job.counter)
            };
            if CHECKS {
                job.check = check;
            }
        }
        wipe(expanded.0.as_flattened_mut().as_flattened_mut());
    }
}

/// The round keys of the jobs at work: of each round, those of all jobs.
#[repr(align(64))]
struct Expanded([[[u8; BLOCK]; TOGETHER]; 11]);

impl Expanded {
    /// Expands the keys of the next [`TOGETHER`] jobs, or of as many as there are.
    #[inline(always)]
    fn fill<V: Vector>(&mut self, cpu: V::Cpu, keys: &[LayerKey], jobs: &[LayerJob]) {
        let rounds = &mut self.0;
        for (job, key) in jobs.iter().zip(&mut rounds[0]) {
            *key = keys[job.key as usize].0;
        }
        for first in (0..TOGETHER * BLOCK).step_by(SIDE_BY_SIDE * V::BYTES) {
            let mut last = [V::splat(cpu, Block::zero(cpu)); SIDE_BY_SIDE];
            for (at, last) in last.iter_mut().enumerate() {
                *last = V::load(cpu, &rounds[0].as_flattened()[first + at * V::BYTES..]);
            }
            for (round, constant) in rounds[1..].iter_mut().zip(CONSTANTS) {
                for (at, last) in last.iter_mut().enumerate() {
                    *last = next_round(cpu, *last, constant);
                    last.store(&mut round.as_flattened_mut()[first + at * V::BYTES..]);
                }
            }
        }
    }
}

/// The round keys of one job.
struct OfJob<'e> {
    expanded: &'e Expanded,
    at: usize,
}

impl RoundKeys for OfJob<'_> {
    #[inline(always)]
    fn of(&self, round: usize) -> &[u8; BLOCK] {
        &self.expanded.0[round][self.at]
    }
}

/// XORs the keystream into a body, `N` words at a time; the check. A body and its check are one block less than a cell.
#[inline(always)]
fn layer<V: Vector, const N: usize, const S: usize>(
    cpu: V::Cpu,
    key: &OfJob<'_>,
    cell: &mut Cell<S>,
    counter: u64,
) -> [u8; CHECK] {
    let start = Block::of_number(cpu, u128::from(counter.swap_bytes()));
    let body = cell.body_mut();
    let mut check = [0; CHECK];
    for group in (0..S).step_by(N * V::BYTES) {
        let stream = keystream::<V, N>(cpu, key, start, &INDICES, group / BLOCK, &mut Nothing);
        for (at, stream) in stream.into_iter().enumerate() {
            let byte = group + at * V::BYTES;
            let end = body_len(S).min(byte + V::BYTES);
            if byte < end {
                stream.xor_into(&mut body[byte..end]);
            }
            // Where the body ends within a register of 4, it fills half of it.
            if byte <= body_len(S) && body_len(S) < byte + V::BYTES {
                let block = if byte < body_len(S) { stream.half() } else { stream.first() };
                check = *block.bytes().first_chunk().expect("a block is longer");
            }
        }
    }
    check
}
