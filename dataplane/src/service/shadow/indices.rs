//! Indices of one table of one worker.

use super::{Refused, refuse};

/// Indices that are given out densely, and used again only when their removal has been carried out: until then the
/// worker, or a cell under way in a hand-off ring, may still mean the old use.
pub struct Indices {
    limit: usize,
    next: u32,
    free: Vec<u32>,
    live: usize,
}

impl Indices {
    /// The indices below `limit`.
    pub fn new(limit: usize) -> Indices {
        Indices { limit, next: 0, free: Vec::new(), live: 0 }
    }

    /// Whether `count` more can be had now; `key` is what limits them in the configuration.
    ///
    /// # Errors
    /// `NoRoom` when too many are in use; `Busy` when some are about to be free.
    pub fn check(&self, count: usize, key: &str) -> Result<(), Refused> {
        if self.live + count > self.limit {
            refuse!(NoRoom, "the worker's table is full ({} in use): raise {key}, or remove some", self.live);
        }
        if self.free.len() + self.limit - (self.next as usize) < count {
            refuse!(Busy, "the worker is still removing what was there: try again");
        }
        Ok(())
    }

    /// Gives out an index. The caller has checked that there is one.
    pub fn take(&mut self) -> u32 {
        self.live += 1;
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// An index is no longer in use here; the worker may still have it.
    pub fn retire(&mut self) {
        self.live -= 1;
    }

    /// The worker no longer has it.
    pub fn reuse(&mut self, index: u32) {
        debug_assert!(!self.free.contains(&index));
        self.free.push(index);
    }

    /// How many are in use.
    pub fn live(&self) -> usize {
        self.live
    }
}
