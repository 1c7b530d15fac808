//! The two loops. Compilers neither fold, reorder nor vectorise them.

use std::hint::black_box;
use std::time::Instant;

/// Steps of the chain.
const CHAIN_STEPS: u64 = 20_000;
/// Cycles of the whole chain: a XOR (1) and a 64-bit multiplication (3) a step, each waiting for the one before.
pub const CHAIN_CYCLES: f64 = 4.0 * CHAIN_STEPS as f64;
/// Rounds of the independent operations.
const ROUNDS: u64 = 30_000;
/// Independent strands, each of four operations a round: add, store, load, XOR.
const STRANDS: usize = 12;
/// Operations of all rounds.
pub const WIDE_OPS: f64 = (4 * STRANDS) as f64 * ROUNDS as f64;

/// Lets the frequency rise.
pub fn warm_up() {
    let start = Instant::now();
    while start.elapsed().as_millis() < 10 {
        wide();
        chain();
    }
}

/// Time of the chain, ns: the frequency's inverse.
pub fn chain() -> f64 {
    let start = Instant::now();
    let mut x = black_box(1u64);
    for _ in 0..black_box(CHAIN_STEPS) {
        // A XOR between two multiplications cannot be folded into one step.
        x = (x ^ 0x1405_7b7e_f767_814f).wrapping_mul(0x5851_f42d_4c95_7f2d);
    }
    black_box(x);
    start.elapsed().as_nanos() as f64
}

/// Time of the independent operations, ns: as many a cycle as the core issues.
pub fn wide() -> f64 {
    let start = Instant::now();
    let mut strands = [black_box(1u64); STRANDS];
    for _ in 0..black_box(ROUNDS) {
        for (strand, x) in (0u64..).zip(&mut strands) {
            // Through memory, so that strands are not packed into vectors.
            *x = black_box(x.wrapping_add(0x9e37 + strand)) ^ 0x1357;
        }
    }
    black_box(strands);
    start.elapsed().as_nanos() as f64
}
