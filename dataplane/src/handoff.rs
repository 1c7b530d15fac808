//! Cells on their way to a link of another worker: whole aligned cells, copied into bounded rings.

use crate::limits::HANDED_PER_TURN;
use drover_crypto::Cell;
use drover_nic::ring::{Consumer, Producer, ring};

/// A cell and the egress it is for.
struct Handed<const S: usize> {
    index: u32,
    tag: u32,
    cell: Cell<S>,
}

/// One worker's ends of the rings to and from all others.
pub struct Handoff<const S: usize> {
    to: Vec<Option<Producer<Handed<S>>>>,
    from: Vec<Consumer<Handed<S>>>,
}

impl<const S: usize> Handoff<S> {
    /// The ends for each of `workers` workers, rings of `capacity` cells between any two.
    pub fn mesh(workers: usize, capacity: usize) -> Vec<Handoff<S>> {
        let mut ends: Vec<Handoff<S>> =
            (0..workers).map(|_| Handoff { to: (0..workers).map(|_| None).collect(), from: Vec::new() }).collect();
        for from in 0..workers {
            for to in (0..workers).filter(|to| *to != from) {
                let (producer, consumer) = ring(capacity, || Handed { index: 0, tag: 0, cell: Cell { bytes: [0; S] } });
                ends[from].to[to] = Some(producer);
                ends[to].from.push(consumer);
            }
        }
        ends
    }

    /// Copies a cell towards `worker`; false when that ring is full or there is none.
    pub fn give(&mut self, worker: u8, index: u32, tag: u32, cell: &Cell<S>) -> bool {
        let Some(Some(ring)) = self.to.get_mut(usize::from(worker)) else { return false };
        ring.push_with(|slot| {
            slot.index = index;
            slot.tag = tag;
            slot.cell.bytes = cell.bytes;
        })
    }

    /// Takes a bounded number of cells from every other worker.
    pub fn take(&mut self, mut each: impl FnMut(u32, u32, &Cell<S>)) {
        let share = HANDED_PER_TURN.div_ceil(self.from.len().max(1));
        for ring in &mut self.from {
            for _ in 0..share {
                if ring.pop_with(|h| each(h.index, h.tag, &h.cell)).is_none() {
                    break;
                }
            }
        }
    }

    /// Cells on their way to this worker.
    pub fn waiting(&mut self) -> usize {
        self.from.iter_mut().map(Consumer::waiting).sum()
    }
}
