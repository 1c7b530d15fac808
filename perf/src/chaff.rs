//! What chaff costs: a worker whose links carry nothing else, against the bare crypto of the same work.
//!
//! Two worlds of links without circuits, batch by batch in turns: in one nothing arrives and the worker only seals; in the
//! other every link receives a record of chaff and sends one in each slot. Batches, far ends, checks and floor are those
//! of [`crate::hop`].

pub mod cli;
mod report;

pub use report::{Figures, Report};

use crate::hop::{Bench, Sample, WARM_UP_ROUNDS};
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::Suite;
use serde::Serialize;
use std::time::Duration;

/// One batch: a line of `trials.csv`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trial {
    /// Links receive chaff as well.
    pub duplex: bool,
    /// Records sent.
    pub records: u64,
    /// Turns of the worker.
    pub turns: u64,
    /// Time of the worker's turns, ns.
    pub worker_ns: u64,
    /// Time of the floor, ns.
    pub floor_ns: u64,
}

impl Trial {
    fn new(duplex: bool, sample: &Sample) -> Trial {
        let Sample { relayed, chaff, turns, worker_ns, floor_ns, .. } = *sample;
        Trial { duplex, records: relayed + chaff, turns, worker_ns, floor_ns }
    }
}

/// Warms up and measures for `time`: batches of either world, in turns.
///
/// # Errors
/// What was lost or wrong, and where.
pub fn measure<C: Suite, const S: usize>(
    [seal_only, duplex]: &mut [Bench<C, S>; 2],
    time: Duration,
    probe: &mut Probe,
) -> Result<Vec<Trial>, String> {
    eprintln!("{} links are up, twice; {WARM_UP_ROUNDS} rounds to warm up", seal_only.shape().links);
    for _ in 0..WARM_UP_ROUNDS * seal_only.batches_per_round() {
        seal_only.batch()?;
        duplex.batch()?;
    }
    let mut progress = Progress::begin("measuring");
    let mut trials = Vec::new();
    while trials.len() < 2 || (progress.elapsed() < time && !seal_only.is_spent()) {
        trials.push(Trial::new(false, &seal_only.batch()?));
        trials.push(Trial::new(true, &duplex.batch()?));
        probe.now_and_then();
        progress.tell(|| format!("{} batches of each", trials.len() / 2));
    }
    Ok(trials)
}
