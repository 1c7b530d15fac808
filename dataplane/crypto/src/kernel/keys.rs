//! Keys as slabs hold them, and their expansion.

use super::ghash;
use super::level::{Cpu, Task};
use super::vector::{BLOCK, Block, Vector};
use crate::schedule::RecordSecret;
use zeroize::ZeroizeOnDrop;

/// Powers of the hash key that a record key keeps: blocks that are multiplied before one reduction.
pub(super) const POWERS: usize = 16;

/// The round keys of AES-128.
pub(super) type Rounds = [[u8; BLOCK]; 11];

/// An expanded record key, 7 cache lines. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct RecordKey {
    /// H^16, …, H^2, H, in POLYVAL's order of bits.
    pub(super) powers: [[u8; BLOCK]; POWERS],
    pub(super) rounds: Rounds,
    /// The IV, and zeros where the block counter stands.
    pub(super) start: [u8; BLOCK],
}

/// A mask key, unexpanded. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(16))]
pub struct MaskKey(pub(super) [u8; BLOCK]);

/// A layer key, unexpanded. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(16))]
pub struct LayerKey(pub(super) [u8; BLOCK]);

const _: () = assert!(size_of::<RecordKey>() == 7 * 64);
const _: () = assert!(size_of::<MaskKey>() == BLOCK && size_of::<LayerKey>() == BLOCK);

impl RecordKey {
    /// The first block of record `number`, its block counter zero: the IV with the number XORed into its last 8 bytes
    /// (RFC 8446, 5.3).
    #[inline(always)]
    pub(super) fn start<L: Cpu>(&self, cpu: L, number: u64) -> Block {
        let number = u128::from(number.swap_bytes()) << 32;
        Block::of(cpu, &self.start).xor(Block::of_number(cpu, number))
    }
}

/// The next round key of each block's AES-128 key (FIPS 197, 5.2). The last round's instruction does SubWord: of a block
/// of four equal words its rotation of rows makes the same block.
#[inline(always)]
pub(super) fn next_round<V: Vector>(cpu: V::Cpu, last: V, constant: u8) -> V {
    let constants = Block::of_number(cpu, u128::from(constant) * 0x0000_0001_0000_0001_0000_0001_0000_0001);
    let word = last.rotated_last_word().last_round(V::splat(cpu, constants));
    let running = last.xor(last.up_a_word());
    running.xor(running.up_two_words()).xor(word)
}

/// Zeroizes a burst's keys, whole lines at a time.
#[inline(always)]
pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// The constants of rounds 1 to 10 (FIPS 197, 5.2).
pub(super) const CONSTANTS: [u8; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36];

/// The key schedule.
#[inline(always)]
fn expand<L: Cpu>(cpu: L, key: &[u8; BLOCK]) -> Rounds {
    let mut rounds = [*key; 11];
    let mut last = L::Vector::splat(cpu, Block::of(cpu, key));
    for (round, constant) in rounds[1..].iter_mut().zip(CONSTANTS) {
        last = next_round(cpu, last, constant);
        last.first().store_block(round);
    }
    rounds
}

/// Encrypts one block.
#[inline(always)]
pub(super) fn encrypt<L: Cpu>(cpu: L, rounds: &Rounds, block: Block) -> Block {
    let mut block = block.xor(Block::of(cpu, &rounds[0]));
    for round in &rounds[1..10] {
        block = block.round(Block::of(cpu, round));
    }
    block.last_round(Block::of(cpu, &rounds[10]))
}

/// Expands a record key.
pub(super) struct ExpandRecord<'k>(pub(super) &'k RecordSecret);

impl Task for ExpandRecord<'_> {
    type Out = RecordKey;

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) -> RecordKey {
        let rounds = expand(cpu, &self.0.key);
        let h = ghash::key(cpu, encrypt(cpu, &rounds, Block::zero(cpu)));
        let mut start = [0; BLOCK];
        start[..12].copy_from_slice(&self.0.iv);
        let mut key = RecordKey { powers: [[0; BLOCK]; POWERS], rounds, start };
        let mut power = h;
        for place in key.powers.iter_mut().rev() {
            power.store_block(place);
            power = ghash::multiply(cpu, power, h);
        }
        key
    }
}
