//! `drover-perf links`.

use super::{Plan, Report, measure};
use crate::hop::cli::SECONDS_MAX;
use crate::hop::{CIRCUITS_MAX, LINKS_MAX, Shape};
use crate::host::available_memory;
use crate::output::{Error, Output, within};
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// Most points of a series.
const POINTS_MAX: usize = 12;
/// Worlds may take this share of the memory that is available.
const SHARE_OF_MEMORY: f64 = 0.7;

/// What a cell costs against the number of links: worker and bare crypto, from few links to many.
///
/// Worlds of a geometric series of numbers of links, circuits in proportion, are measured in turns, a few batches at a
/// time, as `hop` measures one. hop_ratio and floor_ratio are what a cell costs in the last world against the first, for
/// the worker and for the bare crypto; relative is the one by the other: above 1, the worker's own cost grew.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Fewest links, 2..=50000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub from: usize,
    /// Most links, above --from, ..=50000.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub to: usize,
    /// Worlds, 2..=12, each with as many times the links of the one before.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub points: usize,
    /// Circuits for each link, 1..=100; no world has more than 200000.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub circuits_per_link: usize,
    /// Cell size in bytes: 256, 512 or 1024.
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// How long to measure each world, 1..=60 s, the far ends' work included.
    #[arg(long, value_name = "S", default_value_t = 6)]
    pub seconds: u64,
    /// The crypto back end: a name, or auto for the fastest that this processor runs.
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// Most cells, and most records, of a batch, 1..=4096.
    #[arg(long, value_name = "CELLS", default_value_t = 1024)]
    pub batch: usize,
    /// What is printed, and where the run's folder is.
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    links: Vec<usize>,
    circuits_per_link: usize,
    cell: usize,
    seconds: u64,
    backend: &'static str,
    batch: usize,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, a back end that this processor lacks; a trial that lost something.
pub fn run(args: &Args) -> Result<String, Error> {
    within("from", args.from, 2..=LINKS_MAX)?;
    within("to", args.to, args.from + 1..=LINKS_MAX)?;
    within("points", args.points, 2..=POINTS_MAX)?;
    within("circuits-per-link", args.circuits_per_link, 1..=100)?;
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    let Args { circuits_per_link, seconds, batch, .. } = *args;
    let links = series(args.from, args.to, args.points);
    // Fewer for each link where the most would be too many, so that all worlds have the same slots in a round.
    let each = circuits_per_link.min(CIRCUITS_MAX / args.to);
    let shapes = links.iter().map(|links| Shape::new(*links, links * each, batch).map_err(Error::Usage));
    let shapes = shapes.collect::<Result<Vec<_>, _>>()?;
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let cell = args.cell.bytes();
    let config = Config { links, circuits_per_link: each, cell, seconds, backend: backend.name(), batch };
    let mut run = Run::create("links", args.output.out.as_deref(), &config)?;
    let needed: f64 = shapes.iter().map(|shape| bytes(shape, cell)).sum();
    let together = available_memory().is_none_or(|available| needed < SHARE_OF_MEMORY * available as f64);
    let plan = Plan { shapes, time: Duration::from_secs(seconds), together };
    match backend.dispatch(Measure { cell: args.cell, plan: &plan, run: &mut run }) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

/// Memory that a world takes at most, bytes: two pools of 4 cells a circuit each, and about 8 kB of keys and state a link
/// and 2 kB a circuit for worker, floor and far ends together.
fn bytes(shape: &Shape, cell: usize) -> f64 {
    (shape.circuits * (8 * cell + 2048) + shape.links * 8192) as f64
}

/// `points` numbers from `from` to `to`, each about as many times the one before; without repeats.
fn series(from: usize, to: usize, points: usize) -> Vec<usize> {
    let factor = (to as f64 / from as f64).powf(1.0 / (points - 1) as f64);
    let mut series: Vec<usize> =
        (0..points).map(|at| (from as f64 * factor.powi(at as i32)).round() as usize).collect();
    series[points - 1] = to;
    series.dedup();
    series
}

struct Measure<'r> {
    cell: CellSize,
    plan: &'r Plan,
    run: &'r mut Run,
}

impl WithSuite for Measure<'_> {
    type Out = Result<Report, String>;

    fn with<C: Suite>(self) -> Self::Out {
        match self.cell {
            CellSize::S256 => self.of::<C, 256>(),
            CellSize::S512 => self.of::<C, 512>(),
            CellSize::S1024 => self.of::<C, 1024>(),
        }
    }
}

impl Measure<'_> {
    fn of<C: Suite, const S: usize>(self) -> Result<Report, String> {
        let measured = measure::<C, S>(self.plan, &mut self.run.probe)?;
        measured.trials.iter().try_for_each(|trial| self.run.trial(trial))?;
        Ok(Report::new(self.plan, &measured, C::NAME, S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_geometric_and_end_where_told() {
        assert_eq!(series(500, 50_000, 5), [500, 1581, 5000, 15_811, 50_000]);
        assert_eq!(series(500, 50_000, 2), [500, 50_000]);
        assert_eq!(series(2, 3, 4), [2, 3]);
    }
}
