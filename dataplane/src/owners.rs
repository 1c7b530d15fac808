//! Who owns which slot of a link's round.
//!
//! An admitted circuit owns one slot, drawn by a CSPRNG at admission and redrawn now and then: the order of departure
//! has nothing to do with the order of arrival, and nobody's delay depends on whether others talk (I1, I6).

use drover_crypto::prefetch;
use rand::Rng;

const FREE: u32 = u32::MAX;

/// The slots of one link's round. One slot at least stays free for link control.
pub struct Owners {
    table: Box<[u32]>,
    slots: u32,
    owned: u32,
}

impl Owners {
    /// A round of `slots` slots that may grow to `slots_max`. Allocates: made off the worker.
    pub fn new(slots: u32, slots_max: u32) -> Self {
        Owners { table: vec![FREE; slots_max.max(slots) as usize].into_boxed_slice(), slots, owned: 0 }
    }

    /// The round of no link.
    pub fn none() -> Self {
        Owners { table: Box::default(), slots: 0, owned: 0 }
    }

    /// Slots owned now.
    pub fn owned(&self) -> u32 {
        self.owned
    }

    /// The owner of slot number `n` of a link whose rounds have `slots` slots. A change of rate is met here, at the
    /// link's own first slot after it, so that no instant pays for all links.
    pub fn at(&mut self, n: u64, slots: u32, rng: &mut impl Rng) -> Option<u32> {
        self.at_place((n % u64::from(slots)) as u32, slots, rng)
    }

    /// As [`Owners::at`], of a place of the round (slot number modulo slots).
    #[inline]
    pub fn at_place(&mut self, place: u32, slots: u32, rng: &mut impl Rng) -> Option<u32> {
        if slots != self.slots {
            self.resize(slots, rng);
        }
        let owner = *self.table.get(place as usize)?;
        (owner != FREE).then_some(owner)
    }

    /// Asks for the memory that [`Owners::at_place`] reads.
    pub fn prefetch(&self, place: u32) {
        prefetch::prefetch_slice_element(&self.table, place as usize);
    }

    /// Draws a slot for `circuit`; false when only the slot that stays free is left.
    pub fn admit(&mut self, circuit: u32, rng: &mut impl Rng) -> bool {
        if self.owned + 1 >= self.slots {
            return false;
        }
        let draw = rng.random_range(0..self.slots - self.owned);
        let free = self.table[..self.slots as usize].iter_mut().filter(|o| **o == FREE).nth(draw as usize);
        if let Some(place) = free {
            *place = circuit;
            self.owned += 1;
        }
        true
    }

    /// Takes the circuit's slot back.
    pub fn release(&mut self, circuit: u32) {
        if let Some(place) = self.table[..self.slots as usize].iter_mut().find(|o| **o == circuit) {
            *place = FREE;
            self.owned -= 1;
        }
    }

    /// Draws the circuit's slot anew, its own included.
    pub fn redraw(&mut self, circuit: u32, rng: &mut impl Rng) {
        self.release(circuit);
        self.admit(circuit, rng);
    }

    /// Keeps every owner's place in the round where the new round has it, else the next free one. Owners beyond the
    /// new round lose their slot; the service thread refuses such a change (`service/shadow.rs`).
    fn resize(&mut self, slots: u32, rng: &mut impl Rng) {
        let new = slots.min(self.table.len() as u32);
        let mut displaced = 0u32;
        if new > self.slots {
            // From the end, so that nothing is overwritten before it has moved.
            for at in (0..self.slots).rev() {
                let to = (u64::from(at) * u64::from(new) / u64::from(self.slots)) as usize;
                self.table.swap(at as usize, to);
            }
        } else {
            // Every place before this one is owned, so that the search for a free one goes over the round once.
            let mut owned_before = 0;
            for at in 0..self.slots as usize {
                let owner = std::mem::replace(&mut self.table[at], FREE);
                let to = (at as u64 * u64::from(new) / u64::from(self.slots)) as usize;
                match owner {
                    FREE => {}
                    _ if self.table[to] == FREE => self.table[to] = owner,
                    _ => {
                        let places = owned_before..(at + 1).min(new as usize);
                        owned_before = places.end;
                        match places.into_iter().find(|free| self.table[*free] == FREE && new > 1) {
                            Some(free) => (self.table[free], owned_before) = (owner, free),
                            None => {
                                self.table[at] = owner;
                                displaced += 1;
                            }
                        }
                    }
                }
            }
        }
        self.slots = new;
        // Whoever is still behind the new end draws a slot like a newcomer.
        if displaced > 0 {
            for at in 0..self.table.len() {
                let behind = at >= new as usize && self.table[at] != FREE;
                if behind {
                    let owner = std::mem::replace(&mut self.table[at], FREE);
                    self.owned -= 1;
                    self.admit(owner, rng);
                }
            }
        }
        self.owned = self.table[..new as usize].iter().filter(|o| **o != FREE).count() as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    fn owners_of(o: &mut Owners, slots: u32, rng: &mut StdRng) -> Vec<u32> {
        (0..u64::from(slots)).filter_map(|n| o.at(n, slots, rng)).collect()
    }

    #[test]
    fn one_slot_stays_free() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut o = Owners::new(4, 8);
        assert!((0..3).all(|c| o.admit(c, &mut rng)));
        assert!(!o.admit(3, &mut rng));
        o.release(1);
        assert!(o.admit(3, &mut rng));
        let mut all = owners_of(&mut o, 4, &mut rng);
        all.sort_unstable();
        assert_eq!(all, [0, 2, 3]);
    }

    #[test]
    fn draws_are_uniform() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut hits = [0u32; 8];
        for _ in 0..8_000 {
            let mut o = Owners::new(8, 8);
            o.admit(9, &mut rng);
            o.redraw(9, &mut rng);
            hits[(0..8).position(|n| o.at(n, 8, &mut rng) == Some(9)).unwrap()] += 1;
        }
        // Chi-squared, 7 degrees of freedom: 29.9 is the 1e-4 quantile.
        let chi: f64 = hits.iter().map(|h| (f64::from(*h) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 29.9, "{hits:?}");
    }

    /// A round as long as one may be, and as full: one worker pays for this at one link's slot.
    #[test]
    fn a_full_round_shrinks_in_one_pass() {
        let mut rng = StdRng::seed_from_u64(3);
        let (old, new) = (1u32 << 20, 1_000_000);
        let mut o = Owners::new(old, old);
        // The low end is full: what goes by the search for a free place meets owned ones first.
        for circuit in 0..new - 1 {
            o.table[circuit as usize] = circuit;
        }
        o.owned = new - 1;
        let begin = std::time::Instant::now();
        o.at(0, new, &mut rng);
        assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
        let mut found = owners_of(&mut o, new, &mut rng);
        found.sort_unstable();
        assert_eq!(found, (0..new - 1).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_owner_has_one_slot(seed in any::<u64>(), ops in proptest::collection::vec((0u8..4, 0u32..40), 1..200)) {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut o, mut slots, mut model) = (Owners::new(8, 64), 8u32, HashSet::new());
            for (op, x) in ops {
                match op {
                    0 if !model.contains(&x) => {
                        let fits = model.len() as u32 + 1 < slots;
                        prop_assert_eq!(o.admit(x, &mut rng), fits);
                        if fits { model.insert(x); }
                    }
                    1 => { o.release(x); model.remove(&x); }
                    2 if model.contains(&x) => o.redraw(x, &mut rng),
                    3 if x as usize > model.len() => { slots = x + 1; o.at(0, slots, &mut rng); }
                    _ => {}
                }
                let found = owners_of(&mut o, slots, &mut rng);
                prop_assert_eq!(found.len(), model.len());
                prop_assert_eq!(found.into_iter().collect::<HashSet<_>>(), model.clone());
                prop_assert_eq!(o.owned() as usize, model.len());
            }
        }
    }
}
