//! The generator: delivers sealed cells at a constant rate, and takes what the worker sends.

use crate::bed::Wire;
use crate::hop::far::{Coming, Far};
use drover_crypto::Suite;
use drover_dataplane::run::now;
use drover_wire::record::record_len;

/// Cells that are sealed at once, ahead of their instants.
const CHUNK: usize = 128;
/// Cells delivered, and frames taken, before the other is looked at.
const BURST: usize = 32;
/// A longer step between two readings of the clock, ns, is no sealing: the generator was off its core.
const STALL_NS: u64 = 200_000;
/// Frames that are kept to be checked after the trial.
pub const KEPT_MAX: usize = 1 << 15;

/// Frames of some links, kept to be checked.
pub struct Kept {
    links: Vec<u32>,
    bytes: Vec<u8>,
    len: usize,
    /// Every so many links, one is kept.
    every: u32,
}

impl Kept {
    /// Room for frames of `cell`-byte cells of every `every`-th link.
    pub fn new(cell: usize, every: u32) -> Kept {
        let len = record_len(cell);
        Kept { links: Vec::with_capacity(KEPT_MAX), bytes: Vec::with_capacity(KEPT_MAX * len), len, every }
    }

    fn keep(&mut self, link: u32, data: &[u8]) {
        if link.is_multiple_of(self.every) && self.links.len() < KEPT_MAX && data.len() == self.len {
            self.links.push(link);
            self.bytes.extend_from_slice(data);
        }
    }

    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.links.iter().copied().zip(self.bytes.chunks_exact(self.len))
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.links.clear();
        self.bytes.clear();
    }
}

/// What is to be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cells a second.
    pub load: f64,
    /// When it begins, monotonic ns.
    pub begin: u64,
    /// When it ends.
    pub end: u64,
    /// Until when frames are taken.
    pub rest: u64,
    /// Cells at most.
    pub most: u64,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    /// Cells offered: delivered, or refused by the full ring to the worker.
    pub offered: u64,
    /// Cells that should have been offered.
    pub intended: u64,
    /// The longest that a cell was offered after its instant, ns.
    pub lag_ns: u64,
    /// Time in which the generator stood still, ns: steps between two readings of the clock longer than 200 µs.
    pub stalled_ns: u64,
    /// Frames that the worker sent.
    pub taken: u64,
}

/// Delivers what the plan says. `orders` are the ways in the order of their places in a round, drawn for some rounds.
pub fn deliver<C: Suite, const S: usize>(
    far: &mut Far<C, S>,
    wire: &mut impl Wire,
    orders: &[Vec<u32>],
    kept: &mut Kept,
    plan: Plan,
) -> Delivered {
    let mut done = Delivered::default();
    let places = orders.iter().cycle().flatten();
    let mut coming = places.map(|way| Coming::Cell(*way));
    let mut chunk = Vec::with_capacity(CHUNK);
    let instant = |cells: u64| (cells as f64 * 1e9 / plan.load) as u64;
    while now() < plan.begin {
        done.taken += take(wire, kept);
    }
    let mut last = now();
    'trial: while done.offered < plan.most {
        chunk.clear();
        chunk.extend(coming.by_ref().take(CHUNK));
        far.seal(&chunk, 0);
        for (arrival, frame) in far.arrivals.iter().zip(far.sealed()) {
            if done.offered.is_multiple_of(BURST as u64) {
                done.taken += take(wire, kept);
            }
            let due = plan.begin + instant(done.offered);
            let at = loop {
                let at = now();
                if at - last > STALL_NS {
                    done.stalled_ns += at - last;
                }
                last = at;
                if at >= plan.end {
                    break 'trial;
                }
                if at >= due {
                    break at;
                }
                wire.push();
                done.taken += take(wire, kept);
            };
            done.lag_ns = done.lag_ns.max(at - due);
            wire.offer(arrival.link, frame);
            done.offered += 1;
        }
        wire.push();
    }
    wire.push();
    done.intended = (((plan.end - plan.begin) as f64 / 1e9 * plan.load) as u64).min(plan.most);
    while now() < plan.rest {
        done.taken += take(wire, kept);
    }
    done
}

/// Takes some of what the worker has sent.
fn take(wire: &mut impl Wire, kept: &mut Kept) -> u64 {
    wire.collect(BURST, |link, data| kept.keep(link, data)) as u64
}
