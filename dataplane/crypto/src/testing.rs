//! A back end for tests only, with a layer cipher that is no involution. Not a cipher to use.
//!
//! Under CTR `peel` and `add` are the same function and layers commute, so that a relay that mixes up directions or
//! the order of layers still passes its tests. Under this cipher it fails them.

use aes::cipher::StreamCipherCore;

use crate::reference::{CtrLayers, LayerKey, ReferenceRecords, each_layer, next_check};
use crate::schedule::LayerSecret;
use crate::{Cell, LayerJob, Layers, Suite};

/// The back end for tests: reference records, [`NonInvolutive`] layers.
pub struct TestSuite;

impl Suite for TestSuite {
    const NAME: &'static str = "test";
    type Records = ReferenceRecords;
    type Layers = NonInvolutive;
}

/// A layer cipher for tests only, not a cipher to use: byte by byte, `peel` subtracts the keystream and rotates left
/// by 3 bits; `add` undoes it. Key, keystream and check are those of [`CtrLayers`].
pub struct NonInvolutive;

const ROTATE: u32 = 3;

impl Layers for NonInvolutive {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        CtrLayers::key(secret)
    }

    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            let mut keystream = key.keystream(job.counter);
            for chunk in cell.body_mut().chunks_mut(16) {
                let mut block = aes::Block::default();
                keystream.write_keystream_block(&mut block);
                for (byte, key) in chunk.iter_mut().zip(block) {
                    *byte = byte.wrapping_sub(key).rotate_left(ROTATE);
                }
            }
            job.check = next_check(&mut keystream);
        });
    }

    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        each_layer(keys, cells, jobs, |key, cell, job| {
            let mut keystream = key.keystream(job.counter);
            for chunk in cell.body_mut().chunks_mut(16) {
                let mut block = aes::Block::default();
                keystream.write_keystream_block(&mut block);
                for (byte, key) in chunk.iter_mut().zip(block) {
                    *byte = byte.rotate_right(ROTATE).wrapping_add(key);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn conforms() {
        conformance::suite::<TestSuite>();
    }

    #[test]
    fn has_directions_and_an_order() {
        conformance::non_involutive_layers::<NonInvolutive>();
    }

    #[test]
    #[should_panic(expected = "peel is CTR")]
    fn is_not_ctr() {
        conformance::ctr_layers::<NonInvolutive>();
    }
}
