//! Masks of record numbers (RFC 9147, 4.2.3): one block each, under a key each.

use super::keys::{MaskKey, encrypt};
use super::level::{Cpu, Task};
use super::vector::{Block, Vector};
use crate::MaskJob;
use crate::prefetch::prefetch_slice_element;

/// Blocks that are encrypted side by side.
const SIDE_BY_SIDE: usize = 8;

/// Makes the masks of a burst.
pub(super) struct Masks<'a> {
    pub(super) keys: &'a [MaskKey],
    pub(super) jobs: &'a mut [MaskJob],
}

impl Task for Masks<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) {
        let Masks { keys, jobs } = self;
        let ask = |job: &MaskJob| prefetch_slice_element(keys, job.key as usize);
        jobs.iter().take(SIDE_BY_SIDE).for_each(ask);
        for first in (0..jobs.len()).step_by(SIDE_BY_SIDE) {
            jobs.iter().skip(first + SIDE_BY_SIDE).take(SIDE_BY_SIDE).for_each(ask);
            match jobs[first..].first_chunk_mut() {
                Some(jobs) => side_by_side(cpu, keys, jobs),
                None => jobs[first..].iter_mut().for_each(|job| alone(cpu, keys, job)),
            }
        }
    }
}

#[inline(always)]
fn side_by_side<L: Cpu>(cpu: L, keys: &[MaskKey], jobs: &mut [MaskJob; SIDE_BY_SIDE]) {
    let mut rounds = [&keys[jobs[0].key as usize].0; SIDE_BY_SIDE];
    let mut blocks = [Block::zero(cpu); SIDE_BY_SIDE];
    for at in 0..SIDE_BY_SIDE {
        rounds[at] = &keys[jobs[at].key as usize].0;
        blocks[at] = Block::of(cpu, &jobs[at].sample).xor(Block::of(cpu, &rounds[at][0]));
    }
    for round in 1..10 {
        for (block, rounds) in blocks.iter_mut().zip(&rounds) {
            *block = block.round(Block::of(cpu, &rounds[round]));
        }
    }
    for ((job, block), rounds) in jobs.iter_mut().zip(blocks).zip(&rounds) {
        let [high, low, ..] = block.last_round(Block::of(cpu, &rounds[10])).bytes();
        job.mask = [high, low];
    }
}

#[inline(always)]
fn alone<L: Cpu>(cpu: L, keys: &[MaskKey], job: &mut MaskJob) {
    let [high, low, ..] = encrypt(cpu, &keys[job.key as usize].0, Block::of(cpu, &job.sample)).bytes();
    job.mask = [high, low];
}
