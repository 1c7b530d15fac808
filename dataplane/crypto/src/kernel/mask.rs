//! Masks of record numbers (RFC 9147, 4.2.3): one block each, under a key each.
//!
//! The keys are expanded here, round by round beside the encryption, as many as a register has blocks at once. That is
//! less work than to wait for the two more cache lines that an expanded key fills.

use super::keys::{CONSTANTS, MaskKey, next_round, wipe};
use super::level::{Cpu, Task};
use super::vector::{BLOCK, Block, Vector};
use crate::prefetch::prefetch_slice_element;
use crate::{BATCH, MaskJob};

/// Registers of keys, and as many of blocks, at work at once.
const SIDE_BY_SIDE: usize = 4;

/// Makes the masks of a burst.
pub(super) struct Masks<'a> {
    pub(super) keys: &'a [MaskKey],
    pub(super) jobs: &'a mut [MaskJob],
}

impl Task for Masks<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) {
        for jobs in self.jobs.chunks_mut(BATCH) {
            masks::<L::Vector>(cpu, self.keys, jobs);
        }
    }
}

#[inline(always)]
fn masks<V: Vector>(cpu: V::Cpu, all: &[MaskKey], jobs: &mut [MaskJob]) {
    jobs.iter().for_each(|job| prefetch_slice_element(all, job.key as usize));
    let mut keys = [[0; BLOCK]; BATCH];
    let mut blocks = [[0; BLOCK]; BATCH];
    for (job, (key, block)) in jobs.iter().zip(keys.iter_mut().zip(&mut blocks)) {
        *key = all[job.key as usize].0;
        *block = job.sample;
    }
    let step = SIDE_BY_SIDE * V::BLOCKS;
    for first in (0..jobs.len()).step_by(step) {
        let (keys, blocks) = (keys[first..][..step].as_flattened(), blocks[first..][..step].as_flattened_mut());
        side_by_side::<V>(cpu, keys, blocks);
    }
    for (job, block) in jobs.iter_mut().zip(&blocks) {
        job.mask = [block[0], block[1]];
    }
    wipe(keys.as_flattened_mut());
}

/// Encrypts every block under its own key.
#[inline(always)]
fn side_by_side<V: Vector>(cpu: V::Cpu, keys: &[u8], blocks: &mut [u8]) {
    let mut rounds = [V::splat(cpu, Block::zero(cpu)); SIDE_BY_SIDE];
    let mut words = rounds;
    for at in 0..SIDE_BY_SIDE {
        rounds[at] = V::load(cpu, &keys[at * V::BYTES..]);
        words[at] = V::load(cpu, &blocks[at * V::BYTES..]).xor(rounds[at]);
    }
    for constant in &CONSTANTS[..9] {
        for at in 0..SIDE_BY_SIDE {
            rounds[at] = next_round(cpu, rounds[at], *constant);
            words[at] = words[at].round(rounds[at]);
        }
    }
    for at in 0..SIDE_BY_SIDE {
        rounds[at] = next_round(cpu, rounds[at], CONSTANTS[9]);
        words[at].last_round(rounds[at]).store(&mut blocks[at * V::BYTES..]);
    }
}
