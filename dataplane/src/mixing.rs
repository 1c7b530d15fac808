//! Which links' best-effort cells are mixed now: the rules, and the links in the order of their turn.
//!
//! Two rules. `interval`: what came on a link within Δ leaves together, a timed pool. `threshold`: what came on a link
//! leaves together once n distinct circuits have a cell there, or when the oldest has waited for a cap: the threshold-or-
//! timed mix of Serjantov, Dingledine and Syverson ("From a Trickle to a Flood", 2002, section 2), with circuits counted
//! in place of messages. Messages will not do here: a circuit's owner may send as many as he likes, and n cells of one
//! circuit hide nobody.
//!
//! Everything costs the same however many links and cells wait.

use std::fmt;

/// How best-effort cells are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    /// All that came in an interval, on a fixed grid.
    Interval {
        /// Its length, ns; at least 1.
        ns: u64,
    },
    /// All that came, once there is enough to hide among.
    Threshold {
        /// Distinct circuits of a link with a waiting cell.
        circuits: u8,
        /// The longest that a cell waits for them, ns.
        cap_ns: u64,
    },
}

impl fmt::Display for Mixing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mixing::Interval { ns } => write!(f, "interval of {} ms", ns / 1_000_000),
            Mixing::Threshold { circuits, cap_ns } => {
                write!(f, "threshold of {circuits} circuits, {} ms at most", cap_ns / 1_000_000)
            }
        }
    }
}

/// End of a queue.
const NIL: u32 = u32::MAX;

/// Which queue a link stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// No cell waits to be mixed.
    Nowhere,
    /// Among those that wait, by when their oldest cell came.
    Waiting,
    /// Among those that have reached the threshold.
    Full,
}

/// A link's cells that are not mixed yet: the batch that is being gathered.
#[derive(Clone, Copy)]
struct Batch {
    /// When the first of them came, ns.
    since: u64,
    /// Tells this batch from the link's earlier ones; 0 is none.
    number: u32,
    /// Neighbours in the queue.
    before: u32,
    after: u32,
    /// Distinct circuits that have a cell in it.
    circuits: u8,
    place: Place,
}

/// Links in a row, chained through their batches.
#[derive(Clone, Copy)]
struct Queue {
    head: u32,
    tail: u32,
}

/// The links that have cells to be mixed.
pub struct Mixer {
    mixing: Mixing,
    /// Of `interval`: when the present one began and when it ends, ns.
    began: u64,
    ends: u64,
    batches: Box<[Batch]>,
    waiting: Queue,
    full: Queue,
}

impl Mixer {
    /// For links of indices below `links`.
    pub fn new(mixing: Mixing, links: usize) -> Mixer {
        let idle = Batch { since: 0, number: 0, before: NIL, after: NIL, circuits: 0, place: Place::Nowhere };
        let empty = Queue { head: NIL, tail: NIL };
        let batches = vec![idle; links].into_boxed_slice();
        Mixer { mixing, began: 0, ends: 0, batches, waiting: empty, full: empty }
    }

    /// The rule.
    pub fn mixing(&self) -> Mixing {
        self.mixing
    }

    /// Memory, bytes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.batches)
    }

    /// Of `interval`: when the present one ends, ns.
    pub fn interval_ends(&self) -> u64 {
        self.ends
    }

    /// A cell comes to wait on `link` at `now`, which never goes back. `counted` is kept with its circuit: the last batch
    /// that it was counted in, 0 before the first. A cell of no circuit waits with the others and hides nobody.
    pub fn arrive(&mut self, link: u32, counted: Option<&mut u32>, now: u64) {
        let batch = &mut self.batches[link as usize];
        let first = batch.place == Place::Nowhere;
        if first {
            batch.since = now;
            batch.circuits = 0;
            // 0 is for circuits that were never counted. A circuit that was silent for 2^32 batches is missed once.
            batch.number = batch.number.wrapping_add(1).max(1);
        }
        if let Some(counted) = counted.filter(|counted| **counted != batch.number) {
            *counted = batch.number;
            batch.circuits = batch.circuits.saturating_add(1);
        }
        let circuits = batch.circuits;
        if first {
            self.push(link, Place::Waiting);
        }
        if let Mixing::Threshold { circuits: enough, .. } = self.mixing
            && circuits >= enough
            && self.batches[link as usize].place == Place::Waiting
        {
            self.unlink(link);
            self.push(link, Place::Full);
        }
    }

    /// The cells of a circuit, or of none, are taken away from `link`; `left` says whether any other still waits to be
    /// mixed there.
    pub fn withdraw(&mut self, link: u32, counted: Option<&mut u32>, left: bool) {
        let batch = &mut self.batches[link as usize];
        let waits = batch.place != Place::Nowhere;
        if let Some(counted) = counted.filter(|counted| waits && **counted == batch.number) {
            batch.circuits -= 1;
            *counted = 0;
        }
        if !left {
            self.unlink(link);
        }
    }

    /// A link goes, or has nothing to be mixed any more.
    pub fn forget(&mut self, link: u32) {
        self.unlink(link);
    }

    /// Lets time pass. The grid of intervals is fixed: a stall skips intervals, it does not shift them.
    pub fn pass(&mut self, now: u64) {
        if let Mixing::Interval { ns } = self.mixing
            && now >= self.ends
        {
            self.ends += ((now - self.ends) / ns + 1) * ns;
            self.began = self.ends - ns;
        }
    }

    /// The next link that is to be mixed at `now`; it leaves its queue.
    pub fn next_due(&mut self, now: u64) -> Option<u32> {
        let link = match self.full.head {
            NIL => Some(self.waiting.head).filter(|link| *link != NIL && self.is_due(*link, now))?,
            full => full,
        };
        self.unlink(link);
        Some(link)
    }

    fn is_due(&self, link: u32, now: u64) -> bool {
        let since = self.batches[link as usize].since;
        match self.mixing {
            // Its first cell came in an interval that is over.
            Mixing::Interval { .. } => since < self.began,
            Mixing::Threshold { cap_ns, .. } => now.saturating_sub(since) >= cap_ns,
        }
    }

    fn queue(&mut self, place: Place) -> Option<&mut Queue> {
        match place {
            Place::Nowhere => None,
            Place::Waiting => Some(&mut self.waiting),
            Place::Full => Some(&mut self.full),
        }
    }

    fn push(&mut self, link: u32, place: Place) {
        let Some(queue) = self.queue(place) else { return };
        let before = std::mem::replace(&mut queue.tail, link);
        match before {
            NIL => queue.head = link,
            before => self.batches[before as usize].after = link,
        }
        let batch = &mut self.batches[link as usize];
        (batch.place, batch.before, batch.after) = (place, before, NIL);
    }

    fn unlink(&mut self, link: u32) {
        let batch = &mut self.batches[link as usize];
        let (before, after, place) = (batch.before, batch.after, batch.place);
        batch.place = Place::Nowhere;
        if place == Place::Nowhere {
            return;
        }
        match before {
            NIL => self.queue(place).into_iter().for_each(|queue| queue.head = after),
            before => self.batches[before as usize].after = after,
        }
        match after {
            NIL => self.queue(place).into_iter().for_each(|queue| queue.tail = before),
            after => self.batches[after as usize].before = before,
        }
    }
}

#[cfg(test)]
mod tests;
