//! GHASH in the bit order of POLYVAL (RFC 8452, appendix A).
//!
//! There, a product of two blocks is 256 bits; reducing it takes two multiplications by the polynomial's upper half and
//! divides by x^128 on the way. The hash key is multiplied by x once, which makes up for GHASH's mirrored bits; each
//! product's division cancels against the powers' own, as in Montgomery's method.

use super::keys::{POWERS, RecordKey};
use super::level::Cpu;
use super::vector::{BLOCK, Block, Vector};

/// x^127 + x^126 + x^121 + 1: what of POLYVAL's polynomial lies below x^128 (RFC 8452, 3).
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;

/// The hash key of `E(0)`: its bytes reversed, times x (RFC 8452, appendix A).
#[inline(always)]
pub(super) fn key<L: Cpu>(cpu: L, of_zero: Block) -> Block {
    let h = u128::from_le_bytes(of_zero.reversed().bytes());
    let carry = 0u128.wrapping_sub(h >> 127);
    Block::of_number(cpu, (h << 1) ^ (carry & POLYNOMIAL))
}

/// The sum of products that have not been reduced.
#[derive(Clone, Copy)]
struct Products<V>([V; 3]);

impl<V: Vector> Products<V> {
    #[inline(always)]
    fn plus(self, [low, middle, high]: [V; 3]) -> Self {
        Products([self.0[0].xor(low), self.0[1].xor(middle), self.0[2].xor(high)])
    }

    /// One block.
    #[inline(always)]
    fn reduced<L: Cpu>(self, cpu: L) -> Block {
        // One by one: `map` is a function of its own, which the level's instructions do not reach.
        let [low, middle, high] = self.0;
        let (low, middle, high) = (low.fold(), middle.fold(), high.fold());
        let (low, high) = (low.xor(middle.up_two_words()), high.xor(middle.down()));
        let polynomial = Block::of_number(cpu, POLYNOMIAL >> 64);
        let once = low.crossed().xor(low.low_product(polynomial));
        once.crossed().xor(once.low_product(polynomial)).xor(high)
    }
}

/// The product of two blocks, reduced.
#[inline(always)]
pub(super) fn multiply<L: Cpu>(cpu: L, a: Block, b: Block) -> Block {
    Products(a.products(b)).reduced(cpu)
}

/// A hash under way, over whole words.
pub(super) struct Ghash<'k, V: Vector> {
    cpu: V::Cpu,
    powers: &'k [u8; POWERS * BLOCK],
    sum: Option<Products<V>>,
    /// The hash of all that is reduced.
    hash: Block,
    /// Words since the last reduction.
    words: usize,
}

impl<'k, V: Vector> Ghash<'k, V> {
    /// Words between two reductions.
    const CHUNK: usize = POWERS / V::BLOCKS;

    #[inline(always)]
    pub(super) fn new(cpu: V::Cpu, key: &'k RecordKey) -> Self {
        let powers = key.powers.as_flattened().first_chunk().expect("of this size");
        Ghash { cpu, powers, sum: None, hash: Block::zero(cpu), words: 0 }
    }

    /// Goes on with the blocks of a word.
    #[inline(always)]
    pub(super) fn word(&mut self, word: V) {
        let mut word = word.reversed();
        if self.words == 0 {
            word = word.xor_first(self.hash);
        }
        let products = word.products(V::load(self.cpu, &self.powers[V::BYTES * self.words..]));
        let sum = match self.sum {
            None => Products(products),
            Some(sum) => sum.plus(products),
        };
        self.words += 1;
        if self.words == Self::CHUNK {
            self.hash = sum.reduced(self.cpu);
            (self.sum, self.words) = (None, 0);
        } else {
            self.sum = Some(sum);
        }
    }

    /// Goes on with one block. Slow, for what is no whole number of words.
    #[inline(always)]
    pub(super) fn block(&mut self, block: Block) {
        debug_assert_eq!(self.words, 0);
        let h = self.powers.last_chunk().expect("of this size");
        self.hash = multiply(self.cpu, self.hash.xor(block.reversed()), Block::of(self.cpu, h));
    }

    /// The hash with the lengths (bytes) behind it, in the order of bytes of a tag. All words have been reduced: their
    /// number is a multiple of [`Ghash::CHUNK`].
    #[inline(always)]
    pub(super) fn finish(self, aad: usize, text: usize) -> Block {
        debug_assert_eq!(self.words, 0);
        let lengths = ((aad as u128 * 8) << 64) | (text as u128 * 8);
        let h = self.powers.last_chunk().expect("of this size");
        let sum = self.hash.xor(Block::of_number(self.cpu, lengths));
        multiply(self.cpu, sum, Block::of(self.cpu, h)).reversed()
    }
}
