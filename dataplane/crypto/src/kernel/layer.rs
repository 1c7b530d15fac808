//! Layers: AES-128-CTR over a cell's body. The first block is the counter, 8 bytes, then a block index from 0, 8 bytes,
//! both big-endian. The block after the body begins with the check.

use super::AHEAD;
use super::gcm::{Counters, Nothing, keystream};
use super::keys::LayerKey;
use super::level::{Cpu, Task};
use super::vector::{BLOCK, Block, Vector};
use crate::prefetch::prefetch_slice_element;
use crate::{CHECK, Cell, LayerJob};
use drover_wire::cell::body_len;

/// Indices of a layer's blocks.
static INDICES: Counters = Counters::from(0);

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
        let Layer { keys, cells, jobs } = self;
        let ask = |cells: &[Cell<S>], job: &LayerJob| {
            prefetch_slice_element(keys, job.key as usize);
            prefetch_slice_element(cells, job.cell as usize);
        };
        jobs.iter().take(AHEAD).for_each(|job| ask(cells, job));
        for at in 0..jobs.len() {
            if let Some(ahead) = jobs.get(at + AHEAD) {
                ask(cells, ahead);
            }
            let job = &mut jobs[at];
            let (key, cell) = (&keys[job.key as usize], &mut cells[job.cell as usize]);
            let check = if S / <L::Vector>::BYTES < 8 {
                layer::<L::Vector, 4, S>(cpu, key, cell, job.counter)
            } else {
                layer::<L::Vector, 8, S>(cpu, key, cell, job.counter)
            };
            if CHECKS {
                job.check = check;
            }
        }
    }
}

/// XORs the keystream into a body, `N` words at a time; the check. A body and its check are one block less than a cell.
#[inline(always)]
fn layer<V: Vector, const N: usize, const S: usize>(
    cpu: V::Cpu,
    key: &LayerKey,
    cell: &mut Cell<S>,
    counter: u64,
) -> [u8; CHECK] {
    let start = Block::of_number(cpu, u128::from(counter.swap_bytes()));
    let body = cell.body_mut();
    let mut check = [0; CHECK];
    for group in (0..S).step_by(N * V::BYTES) {
        let stream = keystream::<V, N>(cpu, &key.0, start, &INDICES, group / BLOCK, &mut Nothing);
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
