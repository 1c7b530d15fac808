//! Classes of links and their grids: when every link owes a record.
//!
//! All links of a class have one rate at any instant (I7; Herd 3.4). A class is an array of its links ordered by phase
//! and a cursor. A link's n-th departure is at `epoch + (n + phase) · period`, `0 ≤ phase < 1` drawn by a CSPRNG.
//! The cost is per due link, never per link, and a stall of any length is passed over in constant time.

use arrayvec::ArrayVec;
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

/// A link on the grid: its phase, a fraction of 2^32, above its index. Their order is the order of departure.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn new(phase: u32, link: u32) -> Entry {
        Entry(u64::from(phase) << 32 | u64::from(link))
    }

    fn key(self) -> u64 {
        #[cfg(test)]
        tests::LOOKED_AT.with(|looked| looked.set(looked.get() + 1));
        self.0
    }

    /// When it is due in a sweep that begins at `start`.
    fn due(self, start: u64, period: u64) -> u64 {
        // A period of 2^32 ns or more times a phase is more than 64 bits hold.
        start + ((u128::from(self.key() >> 32) * u128::from(period)) >> 32) as u64
    }

    fn link(self) -> u32 {
        self.0 as u32
    }
}

/// A class: one rate, its links by phase, and where the grid has got to.
pub struct Class {
    /// The class's id in control messages.
    pub id: u16,
    /// What its links join.
    pub kind: ClassKind,
    rate: Rate,
    /// Of `rate`.
    period: u64,
    /// Grid origin: slot `base` begins here.
    epoch: u64,
    base: u64,
    /// The slot number of the sweep under way, and when its period begins.
    n: u64,
    start: u64,
    /// The first entry of the sweep that has not been given out. There is one, when there is any.
    cursor: usize,
    /// When it is due; [`NEVER`] where there is none.
    next: u64,
    entries: Vec<Entry>,
    change: Option<(u64, Rate)>,
    /// Whole sweeps passed over: a slot of every link in each.
    sweeps_missed: u64,
    /// Slots of these sweeps not yet counted.
    missed: u64,
}

/// An instant that does not come.
pub const NEVER: u64 = u64::MAX;

impl Class {
    /// A class whose grid begins at `epoch` (monotonic ns), with room for `capacity` links.
    pub fn new(id: u16, kind: ClassKind, rate: Rate, epoch: u64, capacity: usize) -> Self {
        let entries = Vec::with_capacity(capacity);
        Class {
            id,
            kind,
            rate,
            period: rate.period_ns(),
            epoch,
            base: 0,
            n: 0,
            start: epoch,
            cursor: 0,
            next: NEVER,
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

    /// The slot number of the sweep under way: of the next slot that is given out.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The slot number that `now` falls into, across a change of rate that has not been met yet. Of two instants, the
    /// difference is how many slots a link owes between them, whatever the rates were.
    pub fn slot_at(&self, now: u64) -> u64 {
        let change = self.change.filter(|(at, _)| *at < now);
        let old = change.map_or(now, |(at, _)| at);
        let n = match old.checked_sub(self.start) {
            Some(since) => self.n + since / self.period,
            // Slots are given out ahead of their instants.
            None => self.n.saturating_sub((self.start - old).div_ceil(self.period)),
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

    /// Replaces (epoch, period) at the instant `at`; slots already given out keep theirs. The cost does not depend on
    /// how many links there are.
    pub fn change_at(&mut self, at: u64, rate: Rate) {
        self.change = Some((at, rate));
        self.settle();
    }

    /// Puts a link on the grid at `now` and returns the first slot number it will owe. The caller made sure of the
    /// room; `link` is not on the grid yet.
    pub fn join(&mut self, link: u32, phase: u32, now: u64) -> u64 {
        if self.entries.is_empty() {
            self.follow(now);
        }
        let entry = Entry::new(phase, link);
        let at = self.entries.partition_point(|e| e.key() < entry.0);
        self.entries.insert(at, entry);
        if at < self.cursor {
            self.cursor += 1;
            return self.n + 1;
        }
        let n = self.n;
        self.settle();
        n
    }

    /// Takes a link, which joined with `phase`, off the grid.
    pub fn leave(&mut self, link: u32, phase: u32) {
        if let Ok(at) = self.find(link, phase) {
            self.entries.remove(at);
            if at < self.cursor {
                self.cursor -= 1;
            }
            self.settle();
        }
    }

    /// The number of the next slot that `link`, which joined with `phase`, will owe.
    pub fn next_of(&self, link: u32, phase: u32) -> u64 {
        let given_out = self.find(link, phase).is_ok_and(|at| at < self.cursor);
        self.n + u64::from(given_out)
    }

    /// Where a link is; a search by halves.
    fn find(&self, link: u32, phase: u32) -> Result<usize, usize> {
        let entry = Entry::new(phase, link);
        self.entries.binary_search_by(|e| e.key().cmp(&entry.0))
    }

    /// When the next slot is due, monotonic ns; [`NEVER`] where there is no link. After a stall, too early by what
    /// [`Self::take_until`] will pass over.
    pub fn next_due(&self) -> u64 {
        self.next
    }

    /// Gives out the slots due by `until`, in their order, at most `room` and what `out` has room for. Applies a rate
    /// change whose instant comes first. Of what a stall has made late by `now`, at most a few sweeps are given out,
    /// for the caller to count as lost; the rest is passed over in constant time. `class` is what the slots say.
    pub fn take_until<const N: usize>(
        &mut self,
        now: u64,
        until: u64,
        room: usize,
        class: u8,
        out: &mut ArrayVec<Slot, N>,
    ) {
        let mut room = room.min(out.remaining_capacity());
        self.pass_over(now);
        while room > 0 && self.next <= until {
            let Class { rate: Rate { slots, .. }, period, n, start, .. } = *self;
            // What comes before the end of the sweep, and before the change: at least the next one.
            let limit = self.change.map_or(until, |(at, _)| until.min(at - 1));
            let owed = self.entries[self.cursor..].iter().take(room).map(|e| (e.link(), e.due(start, period)));
            let before = out.len();
            out.extend(owed.take_while(|(_, due)| *due <= limit).map(|(link, due)| Slot {
                link,
                class,
                n,
                due,
                period,
                slots,
            }));
            let taken = out.len() - before;
            (self.cursor, room) = (self.cursor + taken, room - taken);
            self.settle();
            self.pass_over(now);
        }
    }

    /// When the next slot is due, behind what a stall has made late. An empty class follows the clock.
    pub fn peek(&mut self, now: u64) -> Option<u64> {
        match self.entries.is_empty() {
            true => self.follow(now),
            false => self.pass_over(now),
        }
        (self.next != NEVER).then_some(self.next)
    }

    /// The slot that `peek` saw.
    pub fn take(&mut self, class: u8) -> Option<Slot> {
        let link = self.entries.get(self.cursor)?.link();
        let Class { rate: Rate { slots, .. }, period, n, next: due, .. } = *self;
        self.cursor += 1;
        self.settle();
        Some(Slot { link, class, n, due, period, slots })
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

    /// Makes `cursor` and `next` true again after a change to what they follow from.
    fn settle(&mut self) {
        if self.entries.is_empty() {
            (self.cursor, self.next) = (0, NEVER);
            return;
        }
        if self.cursor == self.entries.len() {
            self.next_sweep();
        }
        let due = self.entries[self.cursor].due(self.start, self.period);
        self.next = match self.change {
            Some((at, rate)) if due >= at => {
                self.apply(at, rate);
                self.entries[0].due(self.start, self.period)
            }
            _ => due,
        };
    }

    /// An empty class follows the clock, so that its first link starts now and not with a heap of missed slots.
    fn follow(&mut self, now: u64) {
        if let Some((at, rate)) = self.change.filter(|(at, _)| *at <= now) {
            self.apply(at, rate);
        }
        if let Some(behind) = now.checked_sub(self.start) {
            let sweeps = behind / self.period;
            // `start_of` rounds down within a round, never by a whole period.
            self.n += sweeps.saturating_sub(1);
            self.start = self.start_of(self.n);
            while self.start_of(self.n + 1) <= now {
                self.next_sweep();
            }
        }
    }

    /// Where a sweep begins, passes over whole sweeps that `now` has left behind. What is left before it, or before a
    /// change of rate, is at most two sweeps, looked at link by link.
    fn pass_over(&mut self, now: u64) {
        let limit = self.change.map_or(now, |(at, _)| at.min(now));
        if self.cursor > 0 || limit < self.start.saturating_add(3 * self.period) || self.entries.is_empty() {
            return;
        }
        let skipped = (limit - self.start) / self.period - 2;
        self.sweeps_missed += skipped;
        self.missed += skipped * self.entries.len() as u64;
        self.n += skipped;
        self.start = self.start_of(self.n);
        self.settle();
    }

    fn apply(&mut self, at: u64, rate: Rate) {
        self.change = None;
        self.rate = rate;
        self.period = rate.period_ns();
        self.epoch = at;
        // Slot numbers go on; what is left of the old sweep is burned, not missed: it had no instant any more.
        self.base = self.n + 1;
        self.n = self.base;
        self.start = at;
        self.cursor = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const ROUND: u64 = 20_000_000;

    thread_local! {
        /// Entries whose phase was looked at: what an operation costs, told without a clock.
        pub(super) static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    /// How many entries `body` looks at.
    fn looked_at(body: impl FnOnce()) -> u64 {
        let before = LOOKED_AT.get();
        body();
        LOOKED_AT.get() - before
    }

    /// The slowest class there may be: one slot in ten seconds.
    #[test]
    fn a_period_beyond_32_bits_has_its_phases() {
        const SLOWEST: u64 = drover_wire::control::ROUND_NS_MAX;
        let mut class = Class::new(1, ClassKind::Zone, Rate { round_ns: SLOWEST, slots: 1 }, 1_000, 3);
        let phases = [0, 1 << 31, u32::MAX];
        phases.iter().zip(0..).for_each(|(phase, link)| _ = class.join(link, *phase, 0));
        let dues: Vec<u64> = std::iter::from_fn(|| class.take(0)).take(3).map(|slot| slot.due).collect();
        assert_eq!(dues, [1_000, 1_000 + SLOWEST / 2, 1_000 + SLOWEST - 3]);
    }

    fn class(slots: u32, phases: &[u32]) -> Class {
        let mut c = Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots }, 1_000, phases.len());
        for (i, p) in phases.iter().enumerate() {
            c.join(i as u32, *p, 0);
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
        let now = 1_000 + 1_000 * ROUND;
        c.join(7, 0, now);
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

    /// A class's whole cost is in the slots that are due, the search by halves, and moving entries up at a join.
    #[test]
    fn costs_do_not_depend_on_how_many_links_there_are() {
        let few: Vec<u32> = (0..10).map(|i| i << 28).collect();
        let many: Vec<u32> = (0..50_000).map(|i| i * 85_899).collect();
        let costs = [few, many].map(|phases| {
            let mut c = class(4, &phases);
            let mut out = ArrayVec::<Slot, 64>::new();
            c.take_until(1_000, NEVER, 5, 0, &mut out);
            let at = out[4].due + 1;
            let change = looked_at(|| c.change_at(at, Rate { round_ns: ROUND, slots: 8 }));
            let met = looked_at(|| c.take_until(1_000, NEVER, 5, 0, &mut out));
            assert_eq!((out[9].period, c.rate().slots), (ROUND / 8, 8));
            let stall = looked_at(|| c.take_until(1_000 + 1_000 * ROUND, 0, 5, 0, &mut out));
            let next = looked_at(|| _ = c.next_due());
            let (link, phase) = (phases.len() as u32 / 2, phases[phases.len() / 2]);
            let found = looked_at(|| _ = c.next_of(link, phase));
            let left = looked_at(|| c.leave(link, phase));
            let joined = looked_at(|| _ = c.join(link, phase, 0));
            assert_eq!(c.len(), phases.len());
            ([change, met, stall, next], [found, left, joined])
        });
        let [(few, _), (many, by_halves)] = costs;
        assert_eq!(few, many);
        assert_eq!(many[3], 0, "when the next slot is due is kept");
        assert!(many.iter().all(|cost| *cost <= 20), "{many:?}");
        // log2 of 50,000 is 15.6.
        assert!(by_halves.iter().all(|cost| *cost <= 20), "{by_halves:?}");
    }

    /// What happens to a class.
    #[derive(Clone, Debug)]
    enum Event {
        Wait(u64),
        Join(u32),
        Leave(usize),
        Change(u64, u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        let edges = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
        prop_oneof![
            6 => (0u64..10_000_000).prop_map(Event::Wait),
            1 => (0u64..3_000_000_000).prop_map(Event::Wait),
            4 => edges.prop_map(Event::Join),
            2 => any::<usize>().prop_map(Event::Leave),
            1 => (0u64..100_000_000, 1u32..50).prop_map(|(after, slots)| Event::Change(after, slots)),
        ]
    }

    proptest! {
        #[test]
        fn a_run_is_what_one_after_the_other_gives(events in proptest::collection::vec(event(), 1..60), room in 1usize..9) {
            let [mut runs, mut singles] = [(); 2].map(|()| Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots: 4 }, 1_000, 64));
            let (mut now, mut links, mut changed) = (1_000, Vec::new(), 0);
            for (link, event) in (0..).zip(events) {
                match event {
                    Event::Wait(ns) => now += ns,
                    Event::Join(phase) => {
                        let first = runs.join(link, phase, now);
                        prop_assert_eq!(first, singles.join(link, phase, now));
                        links.push((link, phase));
                    }
                    Event::Leave(_) if links.is_empty() => {}
                    Event::Leave(which) => {
                        let (link, phase) = links.swap_remove(which % links.len());
                        runs.leave(link, phase);
                        singles.leave(link, phase);
                    }
                    Event::Change(after, slots) => {
                        // A change is for an instant that has not been sealed.
                        changed = changed.max(now + 1_000_000 + after);
                        for class in [&mut runs, &mut singles] {
                            class.change_at(changed, Rate { round_ns: ROUND, slots });
                        }
                    }
                }
                if links.is_empty() {
                    // An empty class follows the clock when it is asked: both are.
                    prop_assert_eq!(runs.peek(now), None);
                }
                let until = now + 1_000_000;
                let expected: HashMap<_, _> = links.iter().map(|(link, phase)| (*link, runs.next_of(*link, *phase))).collect();
                let before = (runs.base, runs.sweeps_missed());
                let mut all = Vec::new();
                while runs.next_due() <= until {
                    let mut out = ArrayVec::<Slot, 7>::new();
                    runs.take_until(now, until, room, 3, &mut out);
                    prop_assert!(out.len() <= room);
                    all.extend(out);
                }
                let mut one_by_one = Vec::new();
                while singles.peek(now).is_some_and(|due| due <= until) {
                    one_by_one.extend(singles.take(3));
                }
                prop_assert_eq!(&all, &one_by_one);
                prop_assert_eq!(runs.next_due(), singles.peek(now).unwrap_or(NEVER));
                prop_assert_eq!(runs.sweeps_missed(), singles.sweeps_missed());
                prop_assert_eq!(runs.take_missed(), singles.take_missed());
                prop_assert_eq!(runs.n(), singles.n());
                prop_assert!(all.windows(2).all(|w| w[0].due <= w[1].due));
                prop_assert!(all.last().is_none_or(|last| last.due <= until && last.due <= runs.next_due()));
                // The first slot that a link is given is the one that was foretold, when no rate changed and no sweep
                // was passed over meanwhile.
                if before == (runs.base, runs.sweeps_missed()) {
                    let mut seen = HashSet::new();
                    for slot in all.iter().filter(|slot| seen.insert(slot.link)) {
                        prop_assert_eq!(slot.n, expected[&slot.link]);
                    }
                }
            }
        }

        #[test]
        fn every_slot_is_given_out_once_or_missed(
            phases in proptest::collection::vec(any::<u32>(), 1..20), slots in 1u32..50,
            steps in proptest::collection::vec(0u64..100_000_000, 1..40))
        {
            let mut c = class(slots, &phases);
            let (mut now, mut seen) = (1_000, HashSet::new());
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
            c.join(0, first, 0);
            let (mut now, mut dues) = (0, Vec::new());
            for (i, (phase, leaves)) in others.iter().enumerate() {
                now += 3_333_333;
                dues.extend(run(&mut c, now, now).0.into_iter().filter(|s| s.link == 0).map(|s| s.due));
                c.join(1 + i as u32, *phase, now);
                let leaver = i / 2;
                if *leaves { c.leave(1 + leaver as u32, others[leaver].0); }
            }
            let mut alone = Class::new(1, ClassKind::Zone, Rate { round_ns: ROUND, slots }, 0, 1);
            alone.join(0, first, 0);
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
