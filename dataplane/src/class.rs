//! Classes of links and their grids: when every link owes a record.
//!
//! All links of a class have one rate at any instant (I7; Herd 3.4). A class is an array of its links ordered by phase
//! and a cursor. A link's n-th departure is at `epoch + (n + phase) · period`, `0 ≤ phase < 1` drawn by a CSPRNG.
//! The cost is per due link, never per link, and a stall of any length is passed over in constant time.

use drover_wire::control::ClassKind;

/// A slot that a link owes: its instant is the grid's, whatever there is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The link's index.
    pub link: u32,
    /// The class's index.
    pub class: u8,
    /// The class's slot number; it advances by one a period, also for lost slots.
    pub n: u64,
    /// When it is due, monotonic ns.
    pub due: u64,
    /// The time between two slots, ns: later than this and the slot is lost.
    pub period: u64,
    /// Slots of a round.
    pub slots: u32,
}

/// A rate: a round of 1/u and its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1/u, ns.
    pub round_ns: u64,
    /// Slots of a round: the rate is `slots`·u.
    pub slots: u32,
}

impl Rate {
    /// Time between two slots, ns, rounded down.
    pub fn period_ns(&self) -> u64 {
        self.round_ns / u64::from(self.slots)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    /// Phase as a fraction of 2^32.
    phase: u32,
    link: u32,
}

/// A class: one rate, its links by phase, and where the grid has got to.
pub struct Class {
    /// The class's id in control messages.
    pub id: u16,
    /// What its links join.
    pub kind: ClassKind,
    rate: Rate,
    /// Grid origin: slot `base` begins here.
    epoch: u64,
    base: u64,
    /// The slot number of the sweep under way, and when its period begins.
    n: u64,
    start: u64,
    cursor: usize,
    entries: Vec<Entry>,
    change: Option<(u64, Rate)>,
    /// Whole sweeps passed over: a slot of every link in each.
    sweeps_missed: u64,
    /// Slots of these sweeps not yet counted.
    missed: u64,
}

impl Class {
    /// A class whose grid begins at `epoch` (monotonic ns), with room for `capacity` links.
    pub fn new(id: u16, kind: ClassKind, rate: Rate, epoch: u64, capacity: usize) -> Self {
        let entries = Vec::with_capacity(capacity);
        Class {
            id,
            kind,
            rate,
            epoch,
            base: 0,
            n: 0,
            start: epoch,
            cursor: 0,
            entries,
            change: None,
            sweeps_missed: 0,
            missed: 0,
        }
    }

    /// The rate now.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Links of the class on this worker.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when it has no link on this worker.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The slot number of the sweep under way.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The slot number that `now` falls into, across a change of rate that has not been met yet. Of two instants, the
    /// difference is how many slots a link owes between them, whatever the rates were.
    pub fn slot_at(&self, now: u64) -> u64 {
        let change = self.change.filter(|(at, _)| *at < now);
        let old = change.map_or(now, |(at, _)| at);
        let n = match old.checked_sub(self.start) {
            Some(since) => self.n + since / self.rate.period_ns(),
            // Slots are given out ahead of their instants.
            None => self.n.saturating_sub((self.start - old).div_ceil(self.rate.period_ns())),
        };
        change.map_or(n, |(at, rate)| n + 1 + (now - at) / rate.period_ns())
    }

    /// Whole sweeps passed over so far: each link has lost a slot in each.
    pub fn sweeps_missed(&self) -> u64 {
        self.sweeps_missed
    }

    /// Slots of the sweeps passed over since this was last asked.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Replaces (epoch, period) at the instant `at`; slots already given out keep theirs.
    pub fn change_at(&mut self, at: u64, rate: Rate) {
        self.change = Some((at, rate));
    }

    /// Puts a link on the grid and returns the first slot number it will owe. The caller made sure of the room.
    pub fn join(&mut self, link: u32, phase: u32) -> u64 {
        let at = self.entries.partition_point(|e| e.phase <= phase);
        self.entries.insert(at, Entry { phase, link });
        if at < self.cursor {
            self.cursor += 1;
            self.n + 1
        } else {
            self.n
        }
    }

    /// Takes a link off the grid.
    pub fn leave(&mut self, link: u32) {
        if let Some(at) = self.entries.iter().position(|e| e.link == link) {
            self.entries.remove(at);
            if at < self.cursor {
                self.cursor -= 1;
            }
        }
    }

    /// The number of the next slot that `link` will owe.
    pub fn next_of(&self, link: u32) -> u64 {
        let given_out = self.entries[..self.cursor].iter().any(|e| e.link == link);
        self.n + u64::from(given_out)
    }

    fn start_of(&self, n: u64) -> u64 {
        let (slots, from_base) = (u64::from(self.rate.slots), n - self.base);
        // Whole rounds are exact; within a round, slots are rounded down to the ns.
        self.epoch + from_base / slots * self.rate.round_ns + from_base % slots * self.rate.round_ns / slots
    }

    fn next_sweep(&mut self) {
        self.n += 1;
        self.cursor = 0;
        self.start = self.start_of(self.n);
    }

    fn due(&self) -> Option<u64> {
        let entry = self.entries.get(self.cursor)?;
        Some(self.start + ((u64::from(entry.phase) * self.rate.period_ns()) >> 32))
    }

    /// When the next slot is due. Applies a rate change whose instant comes first. Of what a stall has made late, at
    /// most a few sweeps are given out, for the caller to count as lost; the rest is passed over in constant time.
    pub fn peek(&mut self, now: u64) -> Option<u64> {
        if self.entries.is_empty() {
            self.follow(now);
            return None;
        }
        loop {
            match (self.due(), self.change) {
                (None, _) => {
                    self.next_sweep();
                    self.pass_over(now);
                }
                (Some(due), Some((at, rate))) if due >= at => self.apply(at, rate, now),
                (Some(due), _) => return Some(due),
            }
        }
    }

    /// The slot that `peek` saw.
    pub fn take(&mut self, class: u8) -> Option<Slot> {
        let due = self.due()?;
        let link = self.entries[self.cursor].link;
        self.cursor += 1;
        Some(Slot { link, class, n: self.n, due, period: self.rate.period_ns(), slots: self.rate.slots })
    }

    /// An empty class follows the clock, so that its first link starts now and not with a heap of missed slots.
    fn follow(&mut self, now: u64) {
        if let Some((at, rate)) = self.change.filter(|(at, _)| *at <= now) {
            self.apply(at, rate, now);
        }
        self.skip_to(now);
    }

    fn skip_to(&mut self, now: u64) {
        if let Some(behind) = now.checked_sub(self.start) {
            let sweeps = behind / self.rate.period_ns();
            // `start_of` rounds down within a round, never by a whole period.
            self.n += sweeps.saturating_sub(1);
            self.start = self.start_of(self.n);
            while self.start_of(self.n + 1) <= now {
                self.next_sweep();
            }
        }
    }

    /// Passes over whole sweeps. What is left is at most two sweeps, looked at link by link.
    fn pass_over(&mut self, now: u64) {
        let limit = self.change.map_or(now, |(at, _)| at.min(now));
        let sweeps = limit.saturating_sub(self.start) / self.rate.period_ns();
        if sweeps < 3 {
            return;
        }
        let skipped = sweeps - 2;
        self.sweeps_missed += skipped;
        self.missed += skipped * self.entries.len() as u64;
        self.n += skipped;
        self.start = self.start_of(self.n);
    }

    fn apply(&mut self, at: u64, rate: Rate, now: u64) {
        self.change = None;
        self.rate = rate;
        self.epoch = at;
        // Slot numbers go on; what is left of the old sweep is burned, not missed: it had no instant any more.
        self.base = self.n + 1;
        self.n = self.base;
        self.start = at;
        self.cursor = 0;
        self.pass_over(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUND: u64 = 20_000_000;

    fn class(slots: u32, phases: &[u32]) -> Class {
        let mut c = Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots }, 1_000, phases.len());
        for (i, p) in phases.iter().enumerate() {
            c.join(i as u32, *p);
        }
        c
    }

    /// The slots due by `until` that are not lost at `now`, and how many are.
    fn run(c: &mut Class, now: u64, until: u64) -> (Vec<Slot>, u64) {
        let mut out = Vec::new();
        while c.peek(now).is_some_and(|due| due <= until) {
            out.extend(c.take(0));
        }
        let all = out.len();
        out.retain(|s| s.due + s.period > now);
        let lost = (all - out.len()) as u64 + c.take_missed();
        (out, lost)
    }

    #[test]
    fn departures_are_on_the_grid() {
        let phases = [0, 1 << 30, 3 << 30];
        let mut c = class(3, &phases);
        let (out, _) = run(&mut c, 0, 1_000 + 10 * ROUND - 1);
        assert_eq!(out.len(), 90);
        for s in &out {
            let exact = 1_000.0 + (s.n as f64 + phases[s.link as usize] as f64 / 2f64.powi(32)) * ROUND as f64 / 3.0;
            assert!((s.due as f64 - exact).abs() < 3.0, "{s:?} {exact}");
        }
        assert!(out.windows(2).all(|w| w[0].due <= w[1].due));
    }

    #[test]
    fn a_stall_is_counted_and_never_made_up() {
        let mut c = class(4, &[5, 1 << 31, u32::MAX]);
        let before = run(&mut c, 0, 1_000 + ROUND).0.len() as u64;
        let late = 1_000 + 51 * ROUND;
        let (after, missed) = run(&mut c, late, late);
        // At most what is less than one slot late.
        assert!(after.len() <= 3, "{after:?}");
        assert!(after.iter().all(|s| s.due + s.period > late));
        let owed = (51 * 4) * 3;
        assert!(c.sweeps_missed() > 190);
        let total = before + after.len() as u64 + missed;
        assert!((owed..=owed + 3).contains(&total), "{total} of {owed}");
    }

    #[test]
    fn an_empty_class_misses_nothing() {
        let mut c = class(4, &[]);
        assert_eq!(c.peek(1_000 + 1_000 * ROUND), None);
        c.join(7, 0);
        let now = 1_000 + 1_000 * ROUND;
        let (out, missed) = run(&mut c, now, now + ROUND);
        assert_eq!(missed, 0);
        assert!((4..=5).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn a_rate_change_keeps_slots_already_given_out_and_numbers_go_on() {
        let mut c = class(2, &[1 << 31, 1 << 30]);
        let at = 1_000 + 10 * ROUND + 7;
        c.change_at(at, Rate { round_ns: ROUND, slots: 8 });
        let (out, _) = run(&mut c, 0, at + 10 * ROUND);
        let (old, new): (Vec<Slot>, Vec<Slot>) = out.iter().copied().partition(|s| s.due < at);
        assert!((39..=41).contains(&old.len()) && (158..=161).contains(&new.len()), "{} {}", old.len(), new.len());
        for link in 0..2 {
            let numbers: Vec<_> = out.iter().filter(|s| s.link == link).map(|s| s.n).collect();
            assert!(numbers.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] <= 2), "a number is used once");
        }
    }

    #[test]
    fn time_is_told_in_slots_across_changes_of_rate() {
        let rates =
            [(2u32, 3u64), (8, 40), (1, 500), (50, 7)].map(|(slots, rounds)| (Rate { round_ns: ROUND, slots }, rounds));
        let mut c = class(2, &[1 << 30]);
        let (mut now, mut owed) = (1_000, 0);
        let begin = c.slot_at(now);
        for (rate, rounds) in rates {
            c.change_at(now, rate);
            now += rounds * ROUND;
            owed += rounds * u64::from(rate.slots);
            // Also before the class has met the change.
            for met in [false, true] {
                if met {
                    run(&mut c, now, now + 1_000_000);
                }
                let told = c.slot_at(now) - begin;
                assert!(told.abs_diff(owed) <= 8, "{told} of {owed}, {rate:?}, {met}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_slot_is_given_out_once_or_missed(
            phases in proptest::collection::vec(any::<u32>(), 1..20), slots in 1u32..50,
            steps in proptest::collection::vec(0u64..100_000_000, 1..40))
        {
            let mut c = class(slots, &phases);
            let (mut now, mut seen) = (1_000, std::collections::HashSet::new());
            let (mut last, mut lost) = (0, 0);
            for step in steps {
                now += step;
                let (slots, missed) = run(&mut c, now, now + 1_000_000);
                lost += missed;
                for s in slots {
                    prop_assert!(seen.insert((s.link, s.n)));
                    prop_assert!(s.due + s.period > now && s.due <= now + 1_000_000);
                    prop_assert!(s.due >= last);
                    last = s.due;
                }
            }
            let owed: u64 = (0..=c.n()).map(|n| {
                let start = c.start_of(n);
                phases.iter().filter(|p| start + ((u64::from(**p) * c.rate.period_ns()) >> 32) <= now + 1_000_000).count() as u64
            }).sum();
            prop_assert_eq!(seen.len() as u64 + lost, owed);
        }

        #[test]
        fn joining_and_leaving_moves_nobody_else(
            first in any::<u32>(), others in proptest::collection::vec((any::<u32>(), any::<bool>()), 0..30), slots in 1u32..9)
        {
            let mut c = Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots }, 0, 64);
            c.join(0, first);
            let (mut now, mut dues) = (0, Vec::new());
            for (i, (phase, leaves)) in others.iter().enumerate() {
                now += 3_333_333;
                dues.extend(run(&mut c, now, now).0.into_iter().filter(|s| s.link == 0).map(|s| s.due));
                c.join(1 + i as u32, *phase);
                if *leaves { c.leave(1 + i as u32 / 2); }
            }
            let mut alone = Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots }, 0, 1);
            alone.join(0, first);
            let mut expected = Vec::new();
            let mut now = 0;
            for _ in &others {
                now += 3_333_333;
                expected.extend(run(&mut alone, now, now).0.into_iter().map(|s| s.due));
            }
            prop_assert_eq!(dues, expected);
        }
    }
}
