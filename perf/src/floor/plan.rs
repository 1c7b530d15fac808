//! What comes and what leaves, batch by batch: in each round one cell of every way, in two orders drawn at random.

use crate::hop::far::Sent;
use crate::hop::shape::{Shape, Way};
use drover_crypto::BATCH;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::ops::Range;

/// Rounds before anything is counted: from the second on, a cell waits wherever one is to leave.
pub const WARM_UP_ROUNDS: u64 = 2;

/// The plan of a run.
pub struct Plan {
    /// The orders in which ways' cells come and leave.
    coming: Vec<u32>,
    leaving: Vec<u32>,
    /// Of each way: the link that its cells leave by, and whether one waits.
    link: Vec<u32>,
    waits: Vec<bool>,
    /// Of each link: the next record number.
    next: Vec<u64>,
    parts: u64,
}

impl Plan {
    /// A plan for these ways.
    pub fn new(ways: &[Way], shape: &Shape, rng: &mut StdRng) -> Plan {
        let mut coming: Vec<u32> = (0..ways.len() as u32).collect();
        coming.shuffle(rng);
        let mut leaving = coming.clone();
        leaving.shuffle(rng);
        let link = ways.iter().map(|way| way.to).collect();
        let (waits, next) = (vec![false; ways.len()], vec![0; shape.links]);
        Plan { coming, leaving, link, waits, next, parts: shape.parts }
    }

    /// Batches of a round.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    fn places(&self, batch: u64) -> Range<usize> {
        let (part, ways) = (batch % self.parts, self.coming.len() as u64);
        let place = |part: u64| (ways * part / self.parts) as usize;
        place(part)..place(part + 1)
    }

    /// The ways whose cells come in a batch, in their order.
    pub fn coming(&self, batch: u64) -> &[u32] {
        &self.coming[self.places(batch)]
    }

    /// What leaves in a batch, a burst after each burst that comes, and how much in each turn. To be asked once of every
    /// batch, in order: what waits and the links' numbers move on.
    pub fn leaving(&mut self, batch: u64) -> (Vec<Sent>, Vec<u32>) {
        let places = self.places(batch);
        let (mut departures, mut sent) = (Vec::with_capacity(places.len()), Vec::new());
        for from in places.clone().step_by(BATCH) {
            let turn = from..places.end.min(from + BATCH);
            self.coming[turn.clone()].iter().for_each(|way| self.waits[*way as usize] = true);
            let before = departures.len();
            for way in &self.leaving[turn] {
                if !std::mem::take(&mut self.waits[*way as usize]) {
                    continue;
                }
                let link = self.link[*way as usize];
                let next = &mut self.next[link as usize];
                departures.push(Sent { link, number: *next, way: Some(*way) });
                *next += 1;
            }
            sent.push((departures.len() - before) as u32);
        }
        (departures, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn after_the_first_round_every_way_has_one_cell_in_and_one_out() {
        let shape = Shape::new(7, 100, 48).unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let ways = shape.ways(&mut rng);
        let mut plan = Plan::new(&ways, &shape, &mut rng);
        let mut waiting = vec![0i32; ways.len()];
        for batch in 0..4 * plan.parts() {
            let coming = plan.coming(batch).to_vec();
            coming.iter().for_each(|way| waiting[*way as usize] += 1);
            let (departures, sent) = plan.leaving(batch);
            assert_eq!(sent.iter().sum::<u32>() as usize, departures.len());
            assert_eq!(sent.len(), coming.len().div_ceil(BATCH));
            if batch >= plan.parts() {
                assert_eq!(departures.len(), coming.len());
            }
            for sent in departures {
                let way = sent.way.unwrap() as usize;
                waiting[way] -= 1;
                assert!(sent.link == ways[way].to && waiting[way] >= 0, "none leaves that has not come");
            }
            assert!(waiting.iter().all(|count| *count <= 1), "the second comes after the first has left");
        }
    }
}
