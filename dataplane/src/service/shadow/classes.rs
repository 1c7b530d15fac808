//! Classes: their rates, and how many slots a round has for certain.

use super::{Plan, Refused, Shadow, refuse};
use crate::class::Rate;
use crate::limits::CLASSES_MAX;
use drover_wire::control::{ClassKind, PutClass};

/// The shortest time between two slots of a link, ns.
pub const PERIOD_NS_MIN: u64 = 1_000;
/// A command is with its worker this long after it was asked for, ns: a change takes effect behind what is sealed then.
const REACH_NS: u64 = 10_000_000;
/// Beyond two rounds of either rate: how long after the instant of a change a link may still be on the old rate.
const SETTLE_NS: u64 = 1_000_000_000;

/// How far ahead the instant of a change may be, ns: 31 days. Until it has come, a class has room for the fewest slots of
/// both rates only, so that a wrong clock must not put it off for ever.
pub const AHEAD_NS_MAX: u64 = 31 * 24 * 3600 * 1_000_000_000;

/// A class.
pub struct ClassEntry {
    /// Its id.
    pub id: u16,
    /// What its links join.
    pub kind: ClassKind,
    /// The most slots it may have.
    pub slots_max: u32,
    /// The rate that was put last.
    pub rate: Rate,
    /// Its links, by worker.
    pub links: Vec<u64>,
    /// The rate before, and until when a link may still have it.
    old: Option<(Rate, u64)>,
    /// The fewest slots of any rate that may be in force until then.
    fewest: u32,
}

/// What a put of a class does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassPlan {
    /// A new one, at the next index.
    New,
    /// Another rate for the one at this index, at this instant.
    Change {
        /// The class's index.
        index: u8,
        /// When, monotonic ns.
        at: u64,
    },
}

impl ClassEntry {
    /// Slots that a round has at `now` whatever change is under way.
    pub fn room_at(&self, now: u64) -> u32 {
        match self.old {
            Some((_, until)) if now < until => self.fewest,
            _ => self.rate.slots,
        }
    }

    /// The rate with the shortest period of those that may be in force at `now` or later.
    pub fn fastest_at(&self, now: u64) -> Rate {
        match self.old {
            Some((old, until)) if now < until && old.period_ns() < self.rate.period_ns() => old,
            _ => self.rate,
        }
    }
}

impl Shadow {
    /// What a put of a class does. `horizon_ns` is how far ahead slots are already sealed.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_class(&self, put: &PutClass, now: u64, horizon_ns: u64) -> Result<Plan<ClassPlan>, Refused> {
        let id = put.class;
        let rate = Rate { round_ns: put.round_ns, slots: put.slots };
        if put.round_ns / u64::from(put.slots_max) < PERIOD_NS_MIN {
            let most = put.round_ns / PERIOD_NS_MIN;
            refuse!(Limit, "class {id}: slots_max {} in a round of {} ns: at most {most}", put.slots_max, put.round_ns);
        }
        if put.at_ns > now.saturating_add(AHEAD_NS_MAX) {
            refuse!(
                Malformed,
                "class {id}: at_ns {} is more than 31 days ahead of {now}: take Welcome's clock",
                put.at_ns
            );
        }
        let Some(index) = self.classes.iter().position(|class| class.id == id) else {
            if self.classes.len() == CLASSES_MAX {
                refuse!(Limit, "class {id}: there are {CLASSES_MAX} classes, the most there may be: use one of them");
            }
            return Ok(Plan::Do(ClassPlan::New));
        };
        let class = &self.classes[index];
        if (class.kind, class.slots_max) != (put.kind, put.slots_max) {
            let (kind, slots_max) = (class.kind as u8, class.slots_max);
            refuse!(Exists, "class {id} exists with kind {kind} and slots_max {slots_max}: these stay as they are");
        }
        if class.rate == rate {
            return Ok(Plan::Same);
        }
        let most = self.links.iter().filter(|(_, l)| usize::from(l.class) == index).max_by_key(|(_, l)| l.admitted);
        if let Some((link, entry)) = most.filter(|(_, l)| l.admitted > put.slots - 1) {
            let (owned, slots) = (entry.admitted, put.slots);
            refuse!(
                NoRoom,
                "class {id}: {slots} slots a round, but {owned} of link {link} are owned and one stays free: remove circuits first"
            );
        }
        for worker in 0..self.listens.len() as u8 {
            let new = |at: usize, links, entry: &super::ClassEntry| {
                let old = entry.fastest_at(now);
                (links, if at == index && rate.period_ns() < old.period_ns() { rate } else { old })
            };
            let needed = self.transmit_with(worker, new);
            if needed > self.sizes.transmit as u64 {
                let room = self.sizes.transmit;
                refuse!(
                    Limit,
                    "class {id}: worker {worker} would seal up to {needed} records ahead and has room for {room}: raise limits.transmit, or move links to another worker"
                );
            }
        }
        Ok(Plan::Do(ClassPlan::Change {
            index: index as u8,
            at: put.at_ns.max(now.saturating_add(horizon_ns).saturating_add(REACH_NS)),
        }))
    }

    /// Carries out what [`Self::check_class`] found. Returns the class's index.
    pub fn commit_class(&mut self, put: &PutClass, plan: ClassPlan, now: u64) -> u8 {
        let rate = Rate { round_ns: put.round_ns, slots: put.slots };
        match plan {
            ClassPlan::New => {
                let links = vec![0; self.listens.len()];
                let (id, kind, slots_max) = (put.class, put.kind, put.slots_max);
                let class = ClassEntry { id, kind, slots_max, rate, links, old: None, fewest: rate.slots };
                self.classes.push(class);
                self.classes.len() as u8 - 1
            }
            ClassPlan::Change { index, at } => {
                let class = &mut self.classes[usize::from(index)];
                let (room, fastest) = (class.room_at(now), class.fastest_at(now));
                let slowest = class.rate.round_ns.max(rate.round_ns);
                let until = at.saturating_add(2 * slowest).saturating_add(SETTLE_NS);
                class.fewest = room.min(rate.slots);
                class.old = Some((fastest, until.max(class.old.map_or(0, |(_, until)| until))));
                class.rate = rate;
                index
            }
        }
    }
}
