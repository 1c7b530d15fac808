//! What a second worker brings: workers on cores of their own, each turning on its own virtual clock over its own memory
//! port, as in [`crate::hop`], without hand-off and with half of the circuits handed over.
//!
//! A batch has three phases, and all workers are in one phase at a time: the far ends seal; **the workers turn, timed**;
//! the far ends check. So what is timed has the cores for itself, and nothing but the other workers beside it.

pub mod cli;
mod report;
mod world;

pub use report::{Arranged, Report, Row};
pub use world::{Batch, World};

use crate::hop::Shape;
use crate::probe::{Probe, RoundTrip, round_trip_of};
use crate::progress::Progress;
use drover_crypto::Suite;
use std::time::Duration;

/// Batches that a round is cut into at least. A cell that is handed over waits for up to a batch of the other worker's
/// clock, beside the jitter of a quarter of a round; a quarter more and mixes drop it as late.
pub const PARTS_LEAST: u64 = 12;

/// How workers are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One worker, on the first core, everything else at rest.
    One,
    /// All workers, each circuit on links of one worker.
    Apart,
    /// All workers, half of the circuits on links of two.
    Handed,
}

impl Arrangement {
    /// All of them, in the order of their turns.
    pub const ALL: [Arrangement; 3] = [Arrangement::One, Arrangement::Apart, Arrangement::Handed];

    /// Its name in `trials.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Arrangement::One => "one worker",
            Arrangement::Apart => "no hand-off",
            Arrangement::Handed => "50 % handed over",
        }
    }
}

/// When a measurement ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many batches of each arrangement.
    Batches(usize),
}

/// What was measured: batches of the three arrangements, in turns.
pub struct Measured {
    /// In rounds of turns, one of each arrangement, in the order of [`Arrangement::ALL`].
    pub rounds: Vec<[Batch; 3]>,
    /// Round trips between the first two cores, one a second.
    pub trips: Vec<RoundTrip>,
    /// Share of the ways that leave by a link of another worker, where half of the circuits are handed over.
    pub handed_share: f64,
    /// Wall-clock time, s.
    pub seconds: f64,
}

/// Warms up and measures. Says on standard error what it is doing.
///
/// # Errors
/// What was lost or wrong, and where; a core that cannot be had.
pub fn measure<C: Suite, const S: usize>(
    shape: &Shape,
    cores: &[usize],
    length: Length,
    probe: &mut Probe,
) -> Result<Measured, String> {
    eprintln!("making worlds for {} workers", cores.len());
    let mut worlds = [
        World::<C, S>::new(shape, &cores[..1], false),
        World::<C, S>::new(shape, cores, false),
        World::<C, S>::new(shape, cores, true),
    ];
    for world in &mut worlds {
        world.warm_up()?;
    }
    let mut trips = Vec::new();
    let trip = |trips: &mut Vec<RoundTrip>| {
        if let [first, second, ..] = *cores {
            trips.extend(round_trip_of([first, second]));
        }
    };
    trip(&mut trips);
    let mut progress = Progress::begin("measuring");
    let mut rounds: Vec<[Batch; 3]> = Vec::new();
    loop {
        let mut round = [Batch::default(); 3];
        for (batch, world) in round.iter_mut().zip(&mut worlds) {
            *batch = world.batch()?;
        }
        rounds.push(round);
        let done = match length {
            Length::Time(time) => progress.elapsed() >= time,
            Length::Batches(count) => rounds.len() >= count,
        };
        if done || worlds.iter().any(World::is_spent) {
            trip(&mut trips);
            let seconds = progress.elapsed().as_secs_f64();
            return Ok(Measured { rounds, trips, handed_share: worlds[2].handed_share(), seconds });
        }
        probe.now_and_then();
        if progress.elapsed().as_secs() as usize >= trips.len() {
            trip(&mut trips);
        }
        progress.tell(|| format!("{} batches of each arrangement", rounds.len()));
    }
}
