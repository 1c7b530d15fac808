//! What a worker hands to the service thread, for control: cells, datagrams that are no link's, and events.
//!
//! Fixed slots, written in place: a worker neither allocates nor waits. Three rings: what strangers send has one of its
//! own, and so has what expected senders send, for anybody is expected who begins a handshake. So a flood of either takes
//! no room from links and circuits. A link has no more than its rate.

use crate::drops::DropReason;
use crate::limits::{EXPECTED_RING, PUNT_RING, PUNTED_ROUNDS, STRANGERS_PER_TURN, STRANGERS_RING};
use crate::state::State;
use drover_crypto::Suite;
use drover_nic::ring::{Consumer, Producer, ring};
use drover_nic::{Endpoint, FRAME};
use drover_wire::cell::{HEADER, body_len};

/// What a slot holds. Links and ways in are named by their index on the worker: the service thread knows their ids, and
/// gives an index out again only after it has taken all that the worker said of its earlier use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A datagram that is no link's record.
    Raw {
        /// Who sent it.
        from: Endpoint,
    },
    /// The body of a link's own control cell.
    Link {
        /// The link's index.
        link: u32,
    },
    /// The body of a cell that begins with this hop's check, the layer peeled.
    Hop {
        /// The index of the way in.
        ingress: u32,
    },
    /// The body of a tapped circuit's cell, layers on.
    Relay {
        /// The link's index.
        link: u32,
        /// The circuit's id on it.
        id: u32,
        /// Its counter.
        counter: u64,
    },
    /// The content of a foreign peer's record that is no application data.
    Record {
        /// The link's index.
        link: u32,
        /// The epoch.
        epoch: u32,
        /// The record number.
        number: u64,
        /// The inner content type.
        content_type: u8,
    },
    /// The first record under these keys has come.
    Heard {
        /// The link's index.
        link: u32,
        /// The generation.
        generation: u32,
    },
    /// Nothing has come over the link for a while.
    Silent {
        /// The link's index.
        link: u32,
    },
}

/// A slot of a punt ring.
pub struct Punted {
    /// What it holds.
    pub what: What,
    len: u16,
    bytes: [u8; FRAME],
}

impl Default for Punted {
    fn default() -> Self {
        Punted { what: What::Silent { link: u32::MAX }, len: 0, bytes: [0; FRAME] }
    }
}

impl Punted {
    /// The body, the content or the datagram.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Bytes beyond a slot's are cut off: no port takes a longer datagram.
    fn write(&mut self, what: What, parts: [&[u8]; 2]) {
        self.what = what;
        let mut at = 0;
        for part in parts {
            let len = part.len().min(FRAME - at);
            self.bytes[at..at + len].copy_from_slice(&part[..len]);
            at += len;
        }
        self.len = at as u16;
    }
}

/// So many at once, and then at a rate: when all of it would be there again, monotonic ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance(u64);

impl Allowance {
    /// Takes one of `most`, of which one comes every `each` ns; false when there is none.
    pub fn take(&mut self, now: u64, each: u64, most: u64) -> bool {
        let full_at = self.0.max(now).saturating_add(each);
        let there = full_at - now <= each.saturating_mul(most);
        if there {
            self.0 = full_at;
        }
        there
    }
}

/// A worker's ends of its punt rings.
pub struct Punts {
    /// Cells and events.
    known: Producer<Punted>,
    /// Datagrams of expected senders.
    expected: Producer<Punted>,
    /// Datagrams of anybody else.
    strangers: Producer<Punted>,
    /// There is somebody to hand things to; without, only events are told.
    pub listening: bool,
    /// Strangers' datagrams that this turn may still hand over.
    left: u32,
}

/// The service thread's ends of one worker's punt rings.
pub struct PuntRings {
    /// Cells and events.
    pub known: Consumer<Punted>,
    /// Datagrams of expected senders.
    pub expected: Consumer<Punted>,
    /// Datagrams of anybody else.
    pub strangers: Consumer<Punted>,
}

impl PuntRings {
    /// Calls `each` with everything that waits now.
    pub fn drain(&mut self, mut each: impl FnMut(&mut Punted)) {
        for ring in [&mut self.known, &mut self.expected, &mut self.strangers] {
            for _ in 0..ring.waiting() {
                _ = ring.pop_with(&mut each);
            }
        }
    }
}

/// The punt rings of one worker.
pub fn rings() -> (Punts, PuntRings) {
    let (known, known_end) = ring(PUNT_RING, Punted::default);
    let (expected, expected_end) = ring(EXPECTED_RING, Punted::default);
    let (strangers, strangers_end) = ring(STRANGERS_RING, Punted::default);
    let ends = PuntRings { known: known_end, expected: expected_end, strangers: strangers_end };
    (Punts { known, expected, strangers, listening: false, left: 0 }, ends)
}

/// Rings that hold next to nothing and that nobody reads, for a state whose memory is only counted.
pub fn no_rings() -> Punts {
    let [known, expected, strangers] = std::array::from_fn(|_| ring(1, Punted::default).0);
    Punts { known, expected, strangers, listening: false, left: 0 }
}

impl<C: Suite, const S: usize> State<C, S> {
    /// Refills the turn's allowance of strangers' datagrams.
    pub(crate) fn refill_punts(&mut self) {
        self.punts.left = STRANGERS_PER_TURN;
    }

    /// Tells the service thread something without bytes; false when the ring is full, and it must be told again.
    pub(crate) fn punt_event(&mut self, what: What) -> bool {
        self.punts.known.push_with(|slot| slot.write(what, [&[], &[]]))
    }

    /// Hands the body of an opened cell over and gives the cell back; where nobody listens it is dropped for `reason`.
    pub(crate) fn punt_cell(&mut self, what: What, cell: u32, reason: DropReason) {
        self.punt_range(what, cell, HEADER..HEADER + body_len(S), reason);
    }

    /// As [`State::punt_cell`], of a part of the plaintext.
    pub(crate) fn punt_range(&mut self, what: What, cell: u32, range: std::ops::Range<usize>, reason: DropReason) {
        if !self.punts.listening {
            return self.drop_cell(cell, reason);
        }
        if !self.may_punt(what) {
            return self.drop_cell(cell, DropReason::PuntFull);
        }
        let bytes = &self.pool.plaintext(cell)[range];
        if self.punts.known.push_with(|slot| slot.write(what, [bytes, &[]])) {
            self.punted();
            self.pool.give(cell);
        } else {
            self.drop_cell(cell, DropReason::PuntFull);
        }
    }

    /// Whether the link that this came by has not used up what it may hand over: an honest peer's records come at its rate,
    /// and no other must use up what control can take.
    fn may_punt(&mut self, what: What) -> bool {
        let link = match what {
            What::Link { link } | What::Relay { link, .. } | What::Record { link, .. } => link,
            What::Hop { ingress } => self.ingress_rest[ingress as usize].link,
            What::Raw { .. } | What::Heard { .. } | What::Silent { .. } => return true,
        };
        let rx = &mut self.rx[link as usize];
        let rate = self.classes[usize::from(rx.class)].rate();
        let slots = u64::from(rate.slots.max(1));
        rx.punted.take(self.now, rate.round_ns / slots, PUNTED_ROUNDS * slots)
    }

    /// Hands over a datagram, in two parts, that is no link's record; else it is dropped, for `reason` where nobody
    /// listens. It is expected when control said so of its sender.
    pub(crate) fn punt_datagram(&mut self, from: Endpoint, parts: [&[u8]; 2], expected: bool, reason: DropReason) {
        let punts = &mut self.punts;
        if !punts.listening {
            return self.counters.drop(reason);
        }
        let what = What::Raw { from };
        let taken = if expected {
            punts.expected.push_with(|slot| slot.write(what, parts))
        } else {
            let allowed = punts.left > 0;
            punts.left = punts.left.saturating_sub(1);
            allowed && punts.strangers.push_with(|slot| slot.write(what, parts))
        };
        if taken { self.punted() } else { self.counters.drop(DropReason::PuntFull) }
    }

    /// Begins or ends to expect a sender. The service thread keeps their number within bounds.
    pub(crate) fn expect(&mut self, remote: Endpoint, expected: bool) {
        if expected {
            let fits = self.expected.insert(remote, 0);
            debug_assert!(fits);
        } else {
            self.expected.remove(&remote);
        }
    }

    /// Begins to hand things over, or ends: then nobody is expected any more.
    pub(crate) fn listen(&mut self, yes: bool) {
        self.punts.listening = yes;
        self.expected.clear();
    }

    /// A frame has left the worker by a punt ring.
    pub(crate) fn punted(&mut self) {
        #[cfg(feature = "lab")]
        {
            self.counters.lab.punted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_gives_its_burst_and_then_its_rate() {
        let mut allowance = Allowance::default();
        let mut taken = |at| (0..10).filter(|_| allowance.take(at, 1000, 4)).count();
        assert_eq!([taken(5), taken(1004), taken(1005), taken(3500), taken(1_000_000)], [4, 0, 1, 2, 4]);
        assert!(!Allowance(u64::MAX).take(0, 1, u64::MAX - 1) && Allowance(0).take(u64::MAX, 1, 1));
    }
}
