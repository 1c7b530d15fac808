//! What a port knows of its next hops: a hash index of fixed size, read once a frame.

use super::Ip;
use crate::ring::{self, Receiver, Sender};
use ahash::RandomState;
use drover_wire::frame::{Family, Mac};
use std::io;

/// Updates that one [`Table::poll`] takes at most: a receive must not last longer for a resolver that has much to say.
const UPDATES_A_POLL: usize = 8;
/// Updates that wait between two polls; a resolver keeps what is beyond.
const UPDATES: usize = 256;

/// What a resolver says to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// The next hop of a destination that the table holds; of others the table takes none.
    Set(Ip, Mac),
    /// Forget a destination.
    Remove(Ip),
    /// Want the destination again if a frame went there since the last time this was asked.
    Probe(Ip),
    /// Whether frames can leave at all.
    Link(bool),
}

/// What a table could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounters {
    /// Frames whose destination is not known yet, or cannot be reached.
    pub unknown: u64,
    /// Of these, frames whose destination could not even be remembered: the table was full.
    pub full: u64,
    /// Frames while the link was down.
    pub link_down: u64,
}

/// A port's next hops. [`mac`](Table::mac) and [`poll`](Table::poll) neither allocate, lock nor call the system.
pub struct Table {
    family: Family,
    hops: Hops,
    counters: TableCounters,
}

enum Hops {
    Fixed(Mac),
    Learned(Learned),
}

struct Learned {
    entries: Box<[Entry]>,
    /// Destinations held, and the most that may be.
    len: usize,
    capacity: usize,
    /// Keyed with a secret of its own: nobody who chooses addresses can make searches long.
    hasher: RandomState,
    up: bool,
    wants: Sender<Ip>,
    updates: Receiver<Update>,
}

#[derive(Clone, Copy)]
struct Entry {
    ip: Ip,
    mac: Mac,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    /// The resolver was told, and has not answered.
    Wanted,
    /// Resolved; no frame went there since the last probe.
    Known,
    /// Resolved, and used.
    Used,
}

/// A resolver's end of a table.
pub struct Feed {
    pub(super) wants: Receiver<Ip>,
    pub(super) updates: Sender<Update>,
    /// Destinations that the table holds at most.
    pub(super) capacity: usize,
}

impl Table {
    /// Every destination of `family` has this next hop: a peer on a cable, or the gateway.
    pub fn fixed(family: Family, mac: Mac) -> Table {
        Table { family, hops: Hops::Fixed(mac), counters: TableCounters::default() }
    }

    /// A table for up to `capacity` destinations of `family`, and the end from which a resolver feeds it. Until the
    /// resolver says that the link is up, no frame leaves.
    ///
    /// # Errors
    /// When the system has no randomness for the index's secret.
    pub fn learned(family: Family, capacity: usize) -> io::Result<(Table, Feed)> {
        let capacity = capacity.max(1);
        // A want and an answer to a probe of each destination: a resolver that is behind loses none.
        let (wants, wants_end) = ring::queue(2 * capacity);
        let (updates_end, updates) = ring::queue(UPDATES);
        let empty = Entry { ip: [0; 16], mac: Mac([0; 6]), state: State::Empty };
        let learned = Learned {
            // At most half full: searches are short, also for what is not there.
            entries: vec![empty; (2 * capacity).next_power_of_two()].into(),
            len: 0,
            capacity,
            hasher: keyed()?,
            up: false,
            wants,
            updates,
        };
        let table = Table { family, hops: Hops::Learned(learned), counters: TableCounters::default() };
        Ok((table, Feed { wants: wants_end, updates: updates_end, capacity }))
    }

    /// The address to which a frame for `ip` goes; none: the frame cannot be sent now, which is counted, and the
    /// resolver hears of it once.
    #[inline]
    pub fn mac(&mut self, ip: &Ip) -> Option<Mac> {
        // No resolver could find it, and what is written of it would go elsewhere.
        if Family::of(ip) != self.family {
            self.counters.unknown += 1;
            return None;
        }
        match &mut self.hops {
            Hops::Fixed(mac) => Some(*mac),
            Hops::Learned(learned) => learned.mac(ip, &mut self.counters),
        }
    }

    /// Takes a few of the resolver's updates. To be called once a receive.
    #[inline]
    pub fn poll(&mut self) {
        if let Hops::Learned(learned) = &mut self.hops {
            for _ in 0..UPDATES_A_POLL {
                let Some(update) = learned.updates.recv() else { return };
                learned.take(update);
            }
        }
    }

    /// Whether frames can leave, as far as the resolver knows; always with a fixed next hop.
    pub fn link_up(&self) -> bool {
        match &self.hops {
            Hops::Fixed(_) => true,
            Hops::Learned(learned) => learned.up,
        }
    }

    /// Destinations held.
    pub fn len(&self) -> usize {
        match &self.hops {
            Hops::Fixed(_) => 0,
            Hops::Learned(learned) => learned.len,
        }
    }

    /// Whether no destination is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What could not be done.
    pub fn counters(&self) -> TableCounters {
        self.counters
    }
}

impl Learned {
    #[inline]
    fn mac(&mut self, ip: &Ip, counters: &mut TableCounters) -> Option<Mac> {
        if !self.up {
            counters.link_down += 1;
            return None;
        }
        let at = self.find(ip);
        let entry = &mut self.entries[at];
        match entry.state {
            State::Used => return Some(entry.mac),
            State::Known => {
                entry.state = State::Used;
                return Some(entry.mac);
            }
            State::Wanted => {}
            State::Empty if self.len < self.capacity && self.wants.send(*ip).is_ok() => {
                *entry = Entry { ip: *ip, mac: entry.mac, state: State::Wanted };
                self.len += 1;
            }
            State::Empty => counters.full += 1,
        }
        counters.unknown += 1;
        None
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::Link(up) => self.up = up,
            Update::Set(ip, mac) => {
                let at = self.find(&ip);
                let entry = &mut self.entries[at];
                match entry.state {
                    State::Empty => {}
                    State::Wanted => *entry = Entry { ip, mac, state: State::Known },
                    State::Known | State::Used => entry.mac = mac,
                }
            }
            Update::Remove(ip) => {
                let at = self.find(&ip);
                if self.entries[at].state != State::Empty {
                    self.remove(at);
                }
            }
            Update::Probe(ip) => {
                let at = self.find(&ip);
                // If the answer does not fit, it is given to the next probe.
                if self.entries[at].state == State::Used && self.wants.send(ip).is_ok() {
                    self.entries[at].state = State::Known;
                }
            }
        }
    }

    fn home(&self, ip: &Ip) -> usize {
        self.hasher.hash_one(u128::from_ne_bytes(*ip)) as usize & (self.entries.len() - 1)
    }

    /// Where `ip` is, or the empty place where it would go. The table is never more than half full, so this ends.
    #[inline]
    fn find(&self, ip: &Ip) -> usize {
        let mut at = self.home(ip);
        while self.entries[at].state != State::Empty && self.entries[at].ip != *ip {
            at = (at + 1) & (self.entries.len() - 1);
        }
        at
    }

    /// Empties a place and moves what is behind it back, so that no search ends too early.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.entries.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.entries[at].state == State::Empty {
                break;
            }
            // An entry may fill the hole when its home is not between the hole (exclusive) and itself.
            let from_home = at.wrapping_sub(self.home(&self.entries[at].ip)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.entries[hole] = self.entries[at];
                hole = at;
            }
        }
        self.entries[hole].state = State::Empty;
        self.len -= 1;
    }
}

fn keyed() -> io::Result<RandomState> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(format!("randomness of the system: {error}")))?;
    let (words, _) = secret.as_chunks::<8>();
    let [a, b, c, d] = std::array::from_fn(|word| u64::from_ne_bytes(words[word]));
    Ok(RandomState::with_seeds(a, b, c, d))
}

#[cfg(test)]
mod tests;
