//! The grid of one class's departures, as `docs/wire.md` has it and written apart from the data plane's: link l's n-th
//! slot is at epoch + start of slot n + phase of l.

/// A class's grid.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Where slot 0 begins, monotonic ns.
    epoch: u64,
    round_ns: u64,
    slots: u64,
    /// Each link's offset within its slot, ns, by link.
    offsets: Vec<u64>,
    /// Links by offset.
    order: Vec<u32>,
}

impl Grid {
    /// A grid of links with these phases, fractions of 2^32, rounds of `round_ns` with `slots` slots.
    pub fn new(epoch: u64, round_ns: u64, slots: u32, phases: &[u32]) -> Grid {
        let period = round_ns / u64::from(slots);
        let offsets: Vec<u64> = phases.iter().map(|phase| (u64::from(*phase) * period) >> 32).collect();
        let mut order: Vec<u32> = (0..phases.len() as u32).collect();
        order.sort_by_key(|link| phases[*link as usize]);
        Grid { epoch, round_ns, slots: u64::from(slots), offsets, order }
    }

    /// The same grid from another epoch on.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Where it begins, monotonic ns.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Time between two slots of a link, ns.
    pub fn period(&self) -> u64 {
        self.round_ns / self.slots
    }

    fn start(&self, n: u64) -> u64 {
        self.epoch + n / self.slots * self.round_ns + n % self.slots * self.round_ns / self.slots
    }

    /// How late `at` is for the slot of `link` that it is in or after: less than a slot, so that it is a departure's
    /// lateness wherever nothing later leaves. `None` before the link's first slot, and of no link.
    pub fn lateness(&self, link: u32, at: u64) -> Option<u64> {
        let offset = *self.offsets.get(link as usize)?;
        let since = at.checked_sub(self.epoch + offset)?;
        // The number of the slot is at most one off: slots are rounded down to the ns.
        let guess = (u128::from(since) * u128::from(self.slots) / u128::from(self.round_ns)) as u64 + 1;
        let last = (guess.saturating_sub(2)..=guess).rev().find(|n| self.start(*n) + offset <= at)?;
        Some(at - self.start(last) - offset)
    }

    /// The instants of all links' slots, in order.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { grid: self, n: 0, at: 0 }
    }

    /// Slots of all links in a time, on average.
    pub fn slots_in(&self, ns: u64) -> u64 {
        let links = self.offsets.len() as u128;
        (links * u128::from(ns) * u128::from(self.slots) / u128::from(self.round_ns)) as u64
    }
}

/// Instants of a grid, one after the other.
pub struct Cursor<'g> {
    grid: &'g Grid,
    n: u64,
    at: usize,
}

impl Cursor<'_> {
    /// The next slot's instant, monotonic ns; `None` of a grid without links.
    pub fn peek(&self) -> Option<u64> {
        let link = *self.grid.order.get(self.at)?;
        Some(self.grid.start(self.n) + self.grid.offsets[link as usize])
    }

    /// Goes on to the slot behind.
    pub fn step(&mut self) {
        self.at += 1;
        if self.at == self.grid.order.len() {
            (self.n, self.at) = (self.n + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_dataplane::class::{Class, Rate};
    use drover_wire::control::ClassKind;
    use proptest::prelude::*;

    proptest! {
        /// The data plane's own class says where every slot is, and lateness is told from that very instant.
        #[test]
        fn it_is_the_data_planes_grid(
            phases in prop::collection::vec(any::<u32>(), 1..12), slots in 1u32..40, round in 100_000u64..50_000_000,
            late in 0u64..1000,
        ) {
            let rate = Rate { round_ns: round, slots };
            let mut class = Class::new(1, ClassKind::Zone, rate, 5_000, phases.len());
            for (link, phase) in phases.iter().enumerate() {
                class.join(link as u32, *phase, 0);
            }
            let grid = Grid::new(5_000, round, slots, &phases);
            let mut cursor = grid.cursor();
            for _ in 0..phases.len() * 90 {
                prop_assert_eq!(cursor.peek(), class.peek(0));
                let slot = class.take(0).unwrap();
                cursor.step();
                let late = late.min(rate.period_ns().saturating_sub(2));
                prop_assert_eq!(grid.lateness(slot.link, slot.due + late), Some(late), "{:?}", slot);
            }
        }
    }

    #[test]
    fn before_the_grid_nothing_is_late() {
        let grid = Grid::new(1_000, 400, 4, &[1 << 31]);
        assert_eq!((grid.lateness(0, 1_049), grid.lateness(0, 1_050), grid.lateness(1, 2_000)), (None, Some(0), None));
        assert_eq!((grid.period(), grid.slots_in(4_000)), (100, 40));
    }
}
