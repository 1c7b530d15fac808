//! Expanded keys, whole cache lines, and their expansion.

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

/// An expanded mask key, 3 cache lines. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct MaskKey(pub(super) Rounds);

/// An expanded layer key, 3 cache lines. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
#[repr(align(64))]
pub struct LayerKey(pub(super) Rounds);

const _: () = assert!(size_of::<RecordKey>() == 7 * 64);
const _: () = assert!(size_of::<MaskKey>() == 3 * 64 && size_of::<LayerKey>() == 3 * 64);

impl RecordKey {
    /// The first block of record `number`, its block counter zero: the IV with the number XORed into its last 8 bytes
    /// (RFC 8446, 5.3).
    #[inline(always)]
    pub(super) fn start<L: Cpu>(&self, cpu: L, number: u64) -> Block {
        let number = u128::from(number.swap_bytes()) << 32;
        Block::of(cpu, &self.start).xor(Block::of_number(cpu, number))
    }
}

/// The key schedule (FIPS 197, 5.2).
#[inline(always)]
fn expand<L: Cpu>(cpu: L, key: &[u8; BLOCK]) -> Rounds {
    #[inline(always)]
    fn next<const RCON: i32>(rounds: &mut Rounds, at: usize, last: Block) -> Block {
        let next = last.running_xor().xor(last.key_word::<RCON>());
        next.store_block(&mut rounds[at]);
        next
    }
    let mut rounds = [*key; 11];
    let last = next::<0x01>(&mut rounds, 1, Block::of(cpu, key));
    let last = next::<0x02>(&mut rounds, 2, last);
    let last = next::<0x04>(&mut rounds, 3, last);
    let last = next::<0x08>(&mut rounds, 4, last);
    let last = next::<0x10>(&mut rounds, 5, last);
    let last = next::<0x20>(&mut rounds, 6, last);
    let last = next::<0x40>(&mut rounds, 7, last);
    let last = next::<0x80>(&mut rounds, 8, last);
    let last = next::<0x1b>(&mut rounds, 9, last);
    next::<0x36>(&mut rounds, 10, last);
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

/// Expands an AES key.
pub(super) struct Expand<'k>(pub(super) &'k [u8; BLOCK]);

impl Task for Expand<'_> {
    type Out = Rounds;

    #[inline(always)]
    fn run<L: Cpu>(self, cpu: L) -> Rounds {
        expand(cpu, self.0)
    }
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
