//! Mix: best-effort cells, of circuits that own no slot, leave in an order that is not that of their arrival.
//!
//! What came on a link within an interval, or until there were enough circuits to hide among (`mixing.rs`), is permuted,
//! each circuit's own order kept, and then shares the slots that no circuit owns. Admitted circuits need no mixing: their
//! slots are drawn at random (`owners.rs`).

use crate::drops::DropReason;
use crate::limits::{BEST_EFFORT_PER_LINK, MIXED_PER_TURN};
use crate::link::List;
use crate::state::State;
use arrayvec::ArrayVec;
use drover_crypto::Suite;
use rand::seq::SliceRandom;

impl<C: Suite, const S: usize> State<C, S> {
    /// A best-effort cell arrives for `link`.
    pub(crate) fn arrive_best_effort(&mut self, link: u32, cell: u32, egress: u32) {
        let tx = &mut self.tx[link as usize];
        if (tx.arriving.len + tx.ready.len) as usize >= BEST_EFFORT_PER_LINK {
            return self.drop_cell(cell, DropReason::LinkFull);
        }
        self.egress_of[cell as usize] = egress;
        tx.arriving.push(&mut self.next, cell);
        let mut each_cell = 0;
        let by_cells = self.counts_cells();
        // Control's own cells have no egress.
        let counted = match self.egress.get_mut(egress as usize) {
            _ if by_cells => Some(&mut each_cell),
            egress => egress.map(|egress| &mut egress.counted),
        };
        self.mixer.arrive(link, counted, self.now);
    }

    /// Makes ready what has been gathered: a few links a turn, so that much best effort cannot make a turn long. A link's
    /// batch is over when its turn has come.
    pub fn mix(&mut self) {
        self.mixer.pass(self.now);
        for _ in 0..MIXED_PER_TURN {
            let Some(link) = self.mixer.next_due(self.now) else { break };
            self.permute(link);
        }
    }

    fn counts_cells(&self) -> bool {
        #[cfg(feature = "lab")]
        return self.broken(crate::lab::Break::ThresholdByCells);
        #[cfg(not(feature = "lab"))]
        false
    }

    fn permute(&mut self, link: u32) {
        let tx = &mut self.tx[link as usize];
        let mut cells: ArrayVec<(u32, u32), BEST_EFFORT_PER_LINK> = ArrayVec::new();
        while let Some(cell) = tx.arriving.pop(&self.next) {
            cells.push((self.egress_of[cell as usize], cell));
        }
        permute_keeping_order(&mut cells, &mut self.rng);
        for (_, cell) in cells {
            tx.ready.push(&mut self.next, cell);
        }
    }

    /// Drops the best-effort cells of a circuit that goes; `NIL`: control's own.
    pub(crate) fn drop_best_effort(&mut self, link: u32, egress: u32) {
        for arriving in [true, false] {
            let tx = &mut self.tx[link as usize];
            let mut old = std::mem::replace(if arriving { &mut tx.arriving } else { &mut tx.ready }, List::EMPTY);
            let mut kept = List::EMPTY;
            while let Some(cell) = old.pop(&self.next) {
                if self.egress_of[cell as usize] == egress {
                    self.drop_cell(cell, DropReason::CircuitGone);
                } else {
                    kept.push(&mut self.next, cell);
                }
            }
            let tx = &mut self.tx[link as usize];
            *(if arriving { &mut tx.arriving } else { &mut tx.ready }) = kept;
        }
        let left = self.tx[link as usize].arriving.len > 0;
        let counted = self.egress.get_mut(egress as usize).map(|egress| &mut egress.counted);
        self.mixer.withdraw(link, counted, left);
    }
}

/// Permutes (circuit, cell) pairs that stand in order of arrival: which circuit's cell stands where is a uniform draw,
/// and each circuit's cells keep their order.
fn permute_keeping_order(cells: &mut ArrayVec<(u32, u32), BEST_EFFORT_PER_LINK>, rng: &mut (impl rand::Rng + ?Sized)) {
    let mut drawn: ArrayVec<(u32, u8), BEST_EFFORT_PER_LINK> = cells.iter().map(|(circuit, _)| (*circuit, 0)).collect();
    drawn.shuffle(rng);
    for (place, entry) in drawn.iter_mut().enumerate() {
        entry.1 = place as u8;
    }
    // The k-th cell of a circuit goes to the k-th place that the draw gave the circuit.
    drawn.sort_unstable();
    let mut arrived: ArrayVec<(u32, u8, u32), BEST_EFFORT_PER_LINK> =
        cells.iter().enumerate().map(|(i, (circuit, cell))| (*circuit, i as u8, *cell)).collect();
    arrived.sort_unstable();
    for ((circuit, place), (_, _, cell)) in drawn.into_iter().zip(arrived) {
        cells[usize::from(place)] = (circuit, cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn keeps_each_circuits_order(seed in any::<u64>(), circuits in proptest::collection::vec(0u32..5, 0..BEST_EFFORT_PER_LINK)) {
            let mut cells: ArrayVec<(u32, u32), BEST_EFFORT_PER_LINK> =
                circuits.iter().enumerate().map(|(i, c)| (*c, i as u32)).collect();
            permute_keeping_order(&mut cells, &mut StdRng::seed_from_u64(seed));
            let mut last: HashMap<u32, u32> = HashMap::new();
            for (circuit, cell) in &cells {
                prop_assert_eq!(circuits[*cell as usize], *circuit);
                prop_assert!(last.insert(*circuit, *cell).is_none_or(|before| before < *cell));
            }
            prop_assert_eq!(cells.len(), circuits.len());
        }
    }

    #[test]
    fn the_order_of_circuits_is_uniform() {
        // Three circuits with two cells each: 6!/(2!·2!·2!) = 90 orders, equally likely.
        let mut rng = StdRng::seed_from_u64(7);
        let mut seen: HashMap<Vec<u32>, u32> = HashMap::new();
        for _ in 0..90_000 {
            let mut cells: ArrayVec<(u32, u32), BEST_EFFORT_PER_LINK> =
                [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4), (2, 5)].into_iter().collect();
            permute_keeping_order(&mut cells, &mut rng);
            *seen.entry(cells.iter().map(|c| c.0).collect()).or_default() += 1;
        }
        assert_eq!(seen.len(), 90);
        // Chi-squared with 89 degrees of freedom: 145.6 is about the 1e-4 quantile.
        let chi: f64 = seen.values().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 145.6, "{chi}");
    }
}
