//! What a run found, for machines and for people.

use super::{Arrangement, Batch, Measured};
use crate::stats::{Spread, quartiles};
use serde::Serialize;
use std::fmt;

/// The figures of a run. Rates are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One worker alone.
    pub one: Arranged,
    /// All workers, no cell handed over.
    pub apart: Arranged,
    /// All workers, half of the circuits handed over.
    pub handed: Arranged,
    /// Share of the ways that leave by another worker's link, of `handed`.
    pub handed_share: f64,
    /// Round trip of a cache line between the first two of the workers' cores, one a second, ns; null on one core.
    pub round_trip_ns: Option<f64>,
    /// Shortest and longest of these.
    pub round_trip_range_ns: Option<[f64; 2]>,
    /// Workers.
    pub workers: usize,
    /// Their cores.
    pub worker_cores: Vec<usize>,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links of each worker.
    pub links: usize,
    /// Circuits of each worker.
    pub circuits: usize,
    /// Batches of each arrangement.
    pub batches: usize,
    /// Wall-clock time of the measurement, all that is not timed included.
    pub seconds: f64,
    /// Built with the feature `lab`, which release binaries lack.
    pub lab: bool,
}

/// The figures of one arrangement.
#[derive(Clone, Debug, Serialize)]
pub struct Arranged {
    /// Cells a second of all workers together.
    pub cells_per_second: f64,
    /// Quartiles of the batches' rates.
    pub cells_per_second_iqr: [f64; 2],
    /// A worker's own time a cell, ns.
    pub ns_per_cell: f64,
    /// All workers' rate by that of the one worker in the same round of turns, median.
    pub scaling: f64,
    /// Quartiles of the rounds' own.
    pub scaling_iqr: [f64; 2],
}

/// What is the same in all batches.
pub struct About {
    /// Cores of the workers.
    pub worker_cores: Vec<usize>,
    /// The crypto back end.
    pub backend: &'static str,
    /// Bytes.
    pub cell: usize,
    /// Of each worker.
    pub links: usize,
    /// Of each worker.
    pub circuits: usize,
}

/// A batch as `trials.csv` has it.
#[derive(Serialize)]
pub struct Row {
    arrangement: &'static str,
    relayed: u64,
    wall_ns: u64,
    busy_ns: u64,
    cells_per_second: f64,
}

impl Row {
    /// A batch's row.
    pub fn of(arrangement: Arrangement, batch: &Batch) -> Row {
        let Batch { relayed, wall_ns, busy_ns } = *batch;
        Row { arrangement: arrangement.name(), relayed, wall_ns, busy_ns, cells_per_second: batch.rate() }
    }
}

impl Report {
    /// The figures of a measurement.
    pub fn new(measured: &Measured, about: About) -> Report {
        let arranged = |at: usize| {
            let of = |value: &dyn Fn(&[Batch; 3]) -> f64| {
                let whole = measured.rounds.iter().filter(|round| round.iter().all(|batch| batch.relayed > 0));
                quartiles(whole.map(value).collect())
            };
            let rates = of(&|round| round[at].rate());
            let scaling = of(&|round| round[at].rate() / round[0].rate());
            Arranged {
                cells_per_second: rates[1],
                cells_per_second_iqr: [rates[0], rates[2]],
                ns_per_cell: of(&|round| round[at].busy_ns as f64 / round[at].relayed as f64)[1],
                scaling: scaling[1],
                scaling_iqr: [scaling[0], scaling[2]],
            }
        };
        let trips = Spread::of(measured.trips.iter().map(|trip| trip.p50_ns).collect());
        let ends = |fold: fn(f64, f64) -> f64, from| measured.trips.iter().map(|trip| trip.p50_ns).fold(from, fold);
        let has_trips = !measured.trips.is_empty();
        let About { worker_cores, backend, cell, links, circuits } = about;
        Report {
            one: arranged(0),
            apart: arranged(1),
            handed: arranged(2),
            handed_share: measured.handed_share,
            round_trip_ns: has_trips.then_some(trips.median),
            round_trip_range_ns: has_trips.then(|| [ends(f64::min, f64::INFINITY), ends(f64::max, 0.0)]),
            workers: worker_cores.len(),
            worker_cores,
            backend,
            cell,
            links,
            circuits,
            batches: measured.rounds.len(),
            seconds: measured.seconds,
            lab: drover_dataplane::LAB,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { workers, worker_cores, cell, links, circuits, backend, batches, seconds, .. } = self;
        let line = |of: &Arranged| {
            let (rate, ns, [low, high]) = (of.cells_per_second / 1e6, of.ns_per_cell, of.scaling_iqr);
            format!(
                "{rate:.2} million cells a second, {ns:.0} ns a cell of a worker; {:.2} times one, half in {low:.2}..{high:.2}",
                of.scaling
            )
        };
        writeln!(f, "What {workers} workers do on {workers} cores, against one")?;
        writeln!(f, "  workers    on cores {worker_cores:?}, back end {backend}, {cell}-byte cells")?;
        writeln!(f, "  world      {links} links and {circuits} circuits of each worker")?;
        writeln!(
            f,
            "  one        {:.2} million cells a second, {:.0} ns a cell",
            self.one.cells_per_second / 1e6,
            self.one.ns_per_cell
        )?;
        writeln!(f, "  apart      {}", line(&self.apart))?;
        writeln!(f, "  handed     {}", line(&self.handed))?;
        let share = 100.0 * self.handed_share;
        writeln!(f, "             ({share:.0} % of the cells are handed to another worker)")?;
        if let (Some(trip), Some([low, high])) = (self.round_trip_ns, self.round_trip_range_ns) {
            writeln!(
                f,
                "  round trip {trip:.0} ns of a cache line between the first two, {low:.0}..{high:.0} in this run"
            )?;
        }
        write!(f, "  measured   {batches} batches of each, in turns, in {seconds:.1} s")
    }
}
