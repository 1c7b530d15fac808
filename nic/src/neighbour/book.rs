//! What a resolver knows of its tables: which destinations they hold, by which next hop, and for how long still.
//!
//! All of it is state on a clock from outside. What is to be told is kept as what is not told yet, so a table that does
//! not listen costs no memory beyond its own size.

use super::table::Update;
use super::{Feed, Ip};
use drover_wire::frame::Mac;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Tables of one book: the bits of a mask.
pub(super) const FEEDS_MAX: usize = 64;
/// How often a table is asked whether a destination is still used.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A destination that no table used for this long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// As [`IDLE`], when a table is nearly full: twice the time between probes, so that nothing in use is taken for idle.
const IDLE_WHEN_CROWDED: Duration = Duration::from_secs(10);
/// How long one next hop may take to answer: three requests a second apart (RFC 4861, 10), and some.
const UNANSWERED: Duration = Duration::from_secs(5);
/// A destination that cannot be reached is not tried again for this long: who makes us send to unreachable addresses
/// buys one attempt each.
const FAILED: Duration = Duration::from_secs(2);

/// The destinations of all tables that one resolver feeds.
pub(super) struct Book {
    feeds: Vec<Feed>,
    destinations: HashMap<Ip, Destination>,
    link: Told<bool>,
    /// Something may be untold.
    due: bool,
}

/// A state, and which tables have not heard of it.
struct Told<T> {
    state: T,
    untold: u64,
}

struct Destination {
    hop: Option<Ip>,
    mac: Option<Mac>,
    /// Without a MAC, when it is given up.
    give_up: Instant,
    leaving: bool,
    /// The tables that hold it; of these, who has not heard what is so now, and who is to be asked whether it is used.
    holders: u64,
    untold: u64,
    unprobed: u64,
    probed: Instant,
    used: Instant,
}

impl Book {
    /// A book of these tables, the link down. More than [`FEEDS_MAX`] are a caller's bug.
    pub(super) fn new(feeds: Vec<Feed>) -> Book {
        assert!(feeds.len() <= FEEDS_MAX, "a resolver has at most {FEEDS_MAX} tables");
        Book { feeds, destinations: HashMap::new(), link: Told { state: false, untold: 0 }, due: false }
    }

    /// Takes what tables want. Returns the destinations that have no next hop yet.
    pub(super) fn wanted(&mut self, now: Instant) -> Vec<Ip> {
        let mut new = Vec::new();
        for (number, feed) in self.feeds.iter_mut().enumerate() {
            // A table writes on while this reads: what comes later is for the next turn.
            for _ in 0..feed.wants.waiting() {
                let Some(ip) = feed.wants.recv() else { break };
                let destination = self.destinations.entry(ip).or_insert_with(|| {
                    new.push(ip);
                    Destination::wanted(now)
                });
                if destination.leaving {
                    new.push(ip);
                    *destination = Destination { holders: destination.holders, ..Destination::wanted(now) };
                }
                destination.holders |= 1 << number;
                destination.used = now;
                // What is known already may be news to this table.
                if destination.mac.is_some() {
                    destination.untold |= 1 << number;
                    self.due = true;
                }
            }
        }
        new
    }

    /// `ip` is reached by `hop`, whose MAC is this where it is known.
    pub(super) fn reach(&mut self, ip: &Ip, hop: Ip, mac: Option<Mac>, now: Instant) {
        if let Some(destination) = self.destinations.get_mut(ip) {
            destination.hop = Some(hop);
            self.due |= destination.set(mac, now + UNANSWERED);
        }
    }

    /// `ip` cannot be reached now.
    pub(super) fn fail(&mut self, ip: &Ip, now: Instant) {
        if let Some(destination) = self.destinations.get_mut(ip) {
            destination.hop = None;
            self.due |= destination.set(None, now + FAILED);
        }
    }

    /// What is reached by `hop` goes to `mac` from now on; none: it does not answer.
    pub(super) fn learn(&mut self, hop: &Ip, mac: Option<Mac>, now: Instant) {
        for destination in self.destinations.values_mut().filter(|destination| destination.hop == Some(*hop)) {
            self.due |= destination.set(mac, now + FAILED);
        }
    }

    /// Frames can leave, or not.
    pub(super) fn set_link(&mut self, up: bool) {
        if self.link.state != up {
            self.link = Told { state: up, untold: self.all() };
            self.due = true;
        }
    }

    /// Every destination held, whether or not it has a next hop.
    pub(super) fn destinations(&self) -> Vec<Ip> {
        let staying = self.destinations.iter().filter(|(_, destination)| !destination.leaving);
        staying.map(|(ip, _)| *ip).collect()
    }

    /// Whether anything is reached by `hop`.
    pub(super) fn uses(&self, hop: &Ip) -> bool {
        self.destinations.values().any(|destination| destination.hop == Some(*hop) && !destination.leaving)
    }

    /// Gives up what is unanswered or idle, and asks after the rest.
    pub(super) fn age(&mut self, now: Instant) {
        let idle = if self.is_crowded() { IDLE_WHEN_CROWDED } else { IDLE };
        for destination in self.destinations.values_mut().filter(|destination| !destination.leaving) {
            let unanswered = destination.mac.is_none() && now >= destination.give_up;
            if unanswered || now.saturating_duration_since(destination.used) > idle {
                destination.leave();
            } else if destination.mac.is_some() && now.saturating_duration_since(destination.probed) >= PROBE_EVERY {
                destination.probed = now;
                destination.unprobed = destination.holders;
            } else {
                continue;
            }
            self.due = true;
        }
    }

    /// Whether some table is more than seven eighths full.
    fn is_crowded(&self) -> bool {
        let held = |number: usize| self.destinations.values().filter(|one| one.holders & (1 << number) != 0).count();
        let enough = |feed: &Feed| feed.capacity - feed.capacity / 8;
        // Fewer destinations in all than the smallest table bears: the common case.
        let smallest = self.feeds.iter().map(enough).min().unwrap_or(usize::MAX);
        self.destinations.len() >= smallest
            && self.feeds.iter().enumerate().any(|(number, feed)| held(number) >= enough(feed))
    }

    /// Tells tables what they have not heard, as far as there is room; the rest is for the next time.
    pub(super) fn flush(&mut self) {
        if !std::mem::take(&mut self.due) {
            return;
        }
        for (number, feed) in self.feeds.iter_mut().enumerate() {
            let mut room = tell(feed, number, &mut self.link.untold, Update::Link(self.link.state));
            for (ip, destination) in &mut self.destinations {
                if !room {
                    break;
                }
                room = destination.tell(feed, number, ip);
            }
            self.due |= !room;
        }
        self.destinations.retain(|_, destination| destination.holders != 0);
    }

    fn all(&self) -> u64 {
        (0..self.feeds.len()).fold(0, |mask, number| mask | 1 << number)
    }
}

impl Destination {
    fn wanted(now: Instant) -> Destination {
        Destination {
            hop: None,
            mac: None,
            give_up: now + UNANSWERED,
            leaving: false,
            holders: 0,
            untold: 0,
            unprobed: 0,
            probed: now,
            used: now,
        }
    }

    /// Returns whether there is something to tell. A table is not told of a MAC that is no more: the destination leaves
    /// it when it is given up, and until then what was known may still be right.
    fn set(&mut self, mac: Option<Mac>, give_up: Instant) -> bool {
        if mac.is_none() && (self.mac.is_some() || self.give_up > give_up) {
            self.give_up = give_up;
        }
        let news = mac.is_some() && mac != self.mac && !self.leaving;
        self.mac = mac;
        if news {
            self.untold = self.holders;
        }
        news
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.untold = self.holders;
        self.unprobed = 0;
    }

    /// Whether there was room for all that table `number` is to hear.
    fn tell(&mut self, feed: &mut Feed, number: usize, ip: &Ip) -> bool {
        if self.leaving {
            let told = tell(feed, number, &mut self.untold, Update::Remove(*ip));
            if told {
                self.holders &= !(1 << number);
            }
            return told;
        }
        let Some(mac) = self.mac else { return true };
        tell(feed, number, &mut self.untold, Update::Set(*ip, mac))
            && tell(feed, number, &mut self.unprobed, Update::Probe(*ip))
    }
}

/// Sends `update` if table `number` is among `due`; false when there was no room.
fn tell(feed: &mut Feed, number: usize, due: &mut u64, update: Update) -> bool {
    if *due & (1 << number) == 0 {
        return true;
    }
    let sent = feed.updates.send(update).is_ok();
    if sent {
        *due &= !(1 << number);
    }
    sent
}

#[cfg(test)]
mod tests;
