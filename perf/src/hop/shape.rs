//! The world's shape: how circuits lie on links, and how a round is cut into batches and turns.

use drover_crypto::BATCH;
use drover_crypto::schedule::LayerSecret;
use drover_dataplane::limits::SPIN_HORIZON_NS;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore};
use std::ops::Range;

/// One round, 1/u, ns of virtual time.
pub const ROUND_NS: u64 = 20_000_000;
/// Most links: a link's two directions take about 5 kB here and as much again in the floor.
pub const LINKS_MAX: usize = 50_000;
/// Most circuits: at 1,024 bytes a cell the two pools then take 1.6 GB.
pub const CIRCUITS_MAX: usize = 200_000;
/// Most slots of a round in a world of chaff.
pub const SLOTS_MAX: u32 = 256;
/// Most cells, and most records, of a batch.
pub const BATCH_MAX: usize = 4096;

/// A world of `links` links of one class and `circuits` circuits between them.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Links.
    pub links: usize,
    /// Circuits, each with two ways.
    pub circuits: usize,
    /// Slots of a round of each link: the most ways that leave by one link, and the one slot that stays free.
    pub slots: u32,
    /// Share of the owned slots that find a cell waiting, %.
    pub share_real: u32,
    /// The far ends send chaff: a record on every link in each slot.
    pub duplex_chaff: bool,
    /// Batches that a round is cut into.
    pub parts: u64,
    /// Time between two slots of a link, ns.
    period: u64,
}

/// One direction of a circuit.
pub struct Way {
    /// The link that its cells come by.
    pub from: u32,
    /// The link that they leave by.
    pub to: u32,
    /// The layer is peeled; otherwise added.
    pub peel: bool,
    /// The first counter as it comes in.
    pub first: u64,
    /// Added to the counter as it goes out.
    pub offset: u64,
    /// The layer's key.
    pub secret: LayerSecret,
}

/// One batch's share of a round.
pub struct Part {
    /// A new round begins with it.
    pub first_of_round: bool,
    /// Places in the round's order: of these, the shape's share has a cell.
    pub cells: Range<usize>,
    /// Places in the order of the far ends' slots that carry chaff.
    pub chaff: Range<usize>,
    /// Virtual time, ns.
    pub start: u64,
    /// Virtual time, ns.
    pub end: u64,
    /// Turns of the worker.
    pub turns: u64,
    /// Slots of each link that have gone by at its start.
    pub slot: u64,
}

/// Circuit id with which cells of way `way` come in. Ways 2c and 2c + 1 are the two directions of circuit c; on each
/// of its two links the circuit has one id for both.
pub fn circuit_in(way: u32) -> u32 {
    way + 1
}

/// Circuit id with which cells of way `way` leave.
pub fn circuit_out(way: u32) -> u32 {
    (way ^ 1) + 1
}

/// The way whose cells leave with this circuit id.
pub fn way_out(circuit: u32) -> Option<u32> {
    Some(circuit.checked_sub(1)? ^ 1)
}

impl Shape {
    /// A world, its batches of at most `batch` cells and records; every owned slot finds a cell waiting. The error names
    /// the flag, its value and the range.
    pub fn new(links: usize, circuits: usize, batch: usize) -> Result<Shape, String> {
        let check = |flag: &str, value: usize, range: Range<usize>| {
            let (least, most) = (range.start, range.end - 1);
            if range.contains(&value) { Ok(()) } else { Err(format!("--{flag} {value} is not in {least}..={most}")) }
        };
        check("links", links, 2..LINKS_MAX + 1)?;
        check("circuits", circuits, 1..CIRCUITS_MAX + 1)?;
        check("batch", batch, 1..BATCH_MAX + 1)?;
        if 2 * circuits < links {
            return Err(format!(
                "--circuits {circuits} leaves links without a circuit: with --links {links} at least {} are needed",
                links.div_ceil(2)
            ));
        }
        let slots = (2 * circuits).div_ceil(links) as u32 + 1;
        let records = links * slots as usize;
        let parts = records.div_ceil(batch) as u64;
        let period = ROUND_NS / u64::from(slots);
        Ok(Shape { links, circuits, slots, share_real: 100, duplex_chaff: false, parts, period })
    }

    /// A world of links without circuits, `slots` slots a round, all of them chaff; with `duplex` the far ends send chaff
    /// as well. The error names the flag, its value and the range.
    pub fn chaff(links: usize, slots: u32, batch: usize, duplex: bool) -> Result<Shape, String> {
        let check = |flag: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) { Ok(()) } else { Err(format!("--{flag} {value} is not in 1..={most}")) }
        };
        check("links", links, LINKS_MAX)?;
        check("slots", slots as usize, SLOTS_MAX as usize)?;
        check("batch", batch, BATCH_MAX)?;
        let parts = (links as u64 * u64::from(slots)).div_ceil(batch as u64);
        let period = ROUND_NS / u64::from(slots);
        Ok(Shape { links, circuits: 0, slots, share_real: 0, duplex_chaff: duplex, parts, period })
    }

    /// The same world in which so many per cent of the owned slots, at most 100, find a cell waiting: which, is drawn
    /// anew in each round. The others leave as chaff.
    pub fn with_share(self, per_cent: u32) -> Shape {
        Shape { share_real: per_cent.min(100), ..self }
    }

    /// Slots of all links in a round.
    pub fn records(&self) -> u64 {
        self.links as u64 * u64::from(self.slots)
    }

    fn records_of_part(&self) -> u64 {
        self.records().div_ceil(self.parts) + self.clump()
    }

    /// How many more than on average may fall into any stretch of time: a link's slots are evenly spaced and its phase is
    /// drawn, so that each link has at most one more, each for itself. Eight standard deviations of that, at most
    /// √links / 2 each, do not happen.
    fn clump(&self) -> u64 {
        let links = self.links as u64;
        links.min(4 * links.isqrt() + 8)
    }

    /// Cells of the pool: a way has at most two cells waiting, and a burst of each turn is on its way.
    pub fn pool(&self) -> usize {
        4 * self.circuits + 2 * BATCH
    }

    /// Frames of the port's transmit ring: what is sealed within the horizon and a turn.
    pub fn transmit(&self) -> usize {
        (self.records() * SPIN_HORIZON_NS / ROUND_NS + self.clump()) as usize + 4 * BATCH
    }

    /// Frames of the port's wire, each way: a batch's.
    pub fn wire(&self) -> usize {
        (self.records_of_part() as usize + 4 * BATCH).next_power_of_two()
    }

    /// Most turns of a batch.
    pub fn turns_max(&self) -> usize {
        (0..self.parts).map(|at| self.part(at).turns).max().unwrap_or(0) as usize
    }

    /// The `at`-th batch. Every round is cut alike, so that a slot always meets the same turn of its round.
    pub fn part(&self, at: u64) -> Part {
        let (round, at) = (at / self.parts, at % self.parts);
        let ways = 2 * self.circuits as u64;
        let cell = |at: u64| (ways * at / self.parts) as usize;
        let time = |at: u64| super::EPOCH + round * ROUND_NS + ROUND_NS * at / self.parts;
        let (cells, start, end) = (cell(at)..cell(at + 1), time(at), time(at + 1));
        let slots = |at: u64| if self.duplex_chaff { (self.records() * at / self.parts) as usize } else { 0 };
        let chaff = slots(at)..slots(at + 1);
        // As a busy worker turns: a burst in and a burst out.
        let records = self.records().div_ceil(self.parts);
        let turns = (cells.len().max(records as usize)).div_ceil(BATCH) as u64;
        let turns = turns.max((end - start).div_ceil(self.longest_turn()));
        let slot = round * u64::from(self.slots) + u64::from(self.slots) * at / self.parts;
        Part { first_of_round: at == 0, cells, chaff, start, end, turns, slot }
    }

    /// Virtual time of a turn at most: a slot may be sealed one turn late and sent one more, and is not missed.
    fn longest_turn(&self) -> u64 {
        ((self.period - 1) / 2).max(1)
    }

    /// Draws the order in which ways have a cell in the next round. A way keeps its place in the round, as behind a
    /// mix that owns it a slot, but for a jitter of up to a quarter of a round.
    pub fn jitter(order: &mut [u32], rng: &mut StdRng) {
        let quarter = order.len().div_ceil(4).max(1);
        order.chunks_mut(quarter).for_each(|ways| ways.shuffle(rng));
    }

    /// Lays every circuit over two distinct links drawn at random, each link as often as any other.
    pub fn ways(&self, rng: &mut StdRng) -> Vec<Way> {
        let mut ends: Vec<u32> = (0..2 * self.circuits).map(|i| (i % self.links) as u32).collect();
        ends.shuffle(rng);
        let count = ends.len();
        for a in (0..count).step_by(2) {
            // A circuit from a link to itself swaps an end with a circuit that has neither end there.
            while ends[a] == ends[a + 1] {
                let b = rng.random_range(0..count);
                if ends[b] != ends[a] && ends[b ^ 1] != ends[a] {
                    ends.swap(a, b);
                }
            }
        }
        let mut ways = Vec::with_capacity(count);
        for pair in ends.as_chunks::<2>().0 {
            for (from, to, peel) in [(pair[0], pair[1], true), (pair[1], pair[0], false)] {
                let mut secret = LayerSecret([0; 16]);
                rng.fill_bytes(&mut secret.0);
                ways.push(Way { from, to, peel, first: rng.random(), offset: rng.random(), secret });
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn circuits_are_spread_evenly_over_distinct_links() {
        for (links, circuits) in [(2, 1), (2, 64), (3, 2), (7, 100), (100, 50), (1000, 2000)] {
            let shape = Shape::new(links, circuits, BATCH_MAX).unwrap();
            let ways = shape.ways(&mut StdRng::seed_from_u64(links as u64));
            let mut legs = vec![0; links];
            for way in &ways {
                assert_ne!(way.from, way.to);
                legs[way.to as usize] += 1;
            }
            assert_eq!(ways.len(), 2 * circuits);
            assert_eq!(*legs.iter().max().unwrap() + 1, shape.slots, "one slot stays free on every link");
            assert!(legs.iter().all(|l| l + 2 >= shape.slots));
        }
    }

    #[test]
    fn parts_cover_a_round() {
        for (links, circuits, batch) in [(2, 1, 1), (2, 64, 32), (1000, 20_000, 4096), (10_000, 5_000, 100)] {
            let shape = Shape::new(links, circuits, batch).unwrap();
            let (mut cell, mut time) = (0, super::super::EPOCH + ROUND_NS);
            for at in shape.parts..2 * shape.parts {
                let part = shape.part(at);
                assert_eq!((part.cells.start, part.start), (cell, time));
                assert!(part.cells.len() <= batch && part.turns > 0);
                assert!(2 * (part.end - part.start).div_ceil(part.turns) < shape.period + 2);
                (cell, time) = (part.cells.end, part.end);
            }
            assert_eq!((cell, time), (2 * circuits, super::super::EPOCH + 2 * ROUND_NS));
        }
    }

    #[test]
    fn errors_name_flag_value_and_range() {
        let error = |links, circuits, batch| Shape::new(links, circuits, batch).unwrap_err();
        assert_eq!(error(1, 5, 64), "--links 1 is not in 2..=50000");
        assert_eq!(error(2, 0, 64), "--circuits 0 is not in 1..=200000");
        assert_eq!(error(2, 5, 4097), "--batch 4097 is not in 1..=4096");
        assert!(error(100, 49, 64).contains("--links 100 at least 50"));
    }

    #[test]
    fn circuit_ids_name_their_way() {
        for way in 0..6 {
            assert_eq!(way_out(circuit_out(way)), Some(way));
            assert_eq!(circuit_out(way), circuit_in(way ^ 1));
        }
        assert_eq!(way_out(0), None);
    }
}
