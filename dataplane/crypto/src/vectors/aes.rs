//! AES-128's known answers on masks and layers, the two places where a back end enciphers single blocks.

use super::{array, lines};
use crate::schedule::{LayerSecret, MaskSecret};
use crate::{BATCH, LayerJob, Layers, MaskJob, Records, cells};
use drover_wire::cell::body_len;

/// A block under a key.
struct Vector {
    key: [u8; 16],
    plaintext: [u8; 16],
    ciphertext: [u8; 16],
}

fn all() -> Vec<Vector> {
    let vectors = lines(include_str!("aes_nessie.txt"));
    vectors.map(|[k, p, c]| Vector { key: array(k), plaintext: array(p), ciphertext: array(c) }).collect()
}

/// Every vector as a mask: the first two bytes of its ciphertext. How many there were.
pub(crate) fn masks<R: Records>() -> usize {
    let vectors = all();
    let keys: Vec<R::MaskKey> = vectors.iter().map(|vector| R::mask_key(&MaskSecret(vector.key))).collect();
    let job = |(at, vector): (usize, &Vector)| MaskJob { key: at as u32, sample: vector.plaintext, mask: [0; 2] };
    let mut jobs: Vec<MaskJob> = vectors.iter().enumerate().map(job).collect();
    jobs.chunks_mut(BATCH).for_each(|jobs| R::masks(&keys, jobs));
    for (job, vector) in jobs.iter().zip(&vectors) {
        assert_eq!(job.mask, vector.ciphertext[..2], "AES of {:02x?} as a mask", vector.plaintext);
    }
    vectors.len()
}

/// Every vector as a block of keystream: its plaintext is a cell's counter and a block's index. How many there were.
pub(crate) fn layers<L: Layers>() -> usize {
    let vectors = all();
    for vector in &vectors {
        layer::<L, 256>(vector);
        layer::<L, 512>(vector);
        layer::<L, 1024>(vector);
    }
    vectors.len()
}

fn layer<L: Layers, const S: usize>(vector: &Vector) {
    let (counter, index) = vector.plaintext.split_first_chunk().expect("16 bytes");
    let counter = u64::from_be_bytes(*counter);
    let index = u64::from_be_bytes(index.try_into().expect("8 bytes")) as usize;
    assert!(index < body_len(S) / 16, "the file holds what lies in every body");
    let keys = [L::key(&LayerSecret(vector.key))];
    for run in [L::peel::<S>, L::add::<S>] {
        let mut pool = cells::<S>(1);
        run(&keys, &mut pool, &mut [LayerJob { key: 0, cell: 0, counter, check: [0; 8] }]);
        let block = &pool[0].body()[16 * index..][..16];
        assert_eq!(block, vector.ciphertext, "AES of {:02x?} as keystream, S = {S}", vector.plaintext);
    }
}
