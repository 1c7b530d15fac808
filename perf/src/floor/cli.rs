//! `drover-perf floor`.

use super::{Bench, Report, measure};
use crate::hop::{Shape, cli::SECONDS_MAX};
use crate::output::{Error, Output, within};
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The bare crypto of a hop, back end against back end, in one run.
///
/// Opening and one layer when a cell comes, sealing a round later, with the masks of both record numbers: the same calls,
/// over keys of as many links and circuits, cells of a pool and frames as a mix has. Every back end does every batch, one
/// after the other, and seals the same bytes, which is checked.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Cell size in bytes: 256, 512 or 1024.
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links, 2..=50000.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub links: usize,
    /// Circuits, 1..=200000 and at least half as many as links.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub circuits: usize,
    /// How long to measure all of them together, 1..=60 s, with the sealing of what comes and the checks.
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// Back ends to measure beside the reference, by name, with commas. Without it: all that this processor runs.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub backend: Vec<Choice>,
    /// Most cells of a batch, 1..=4096.
    #[arg(long, value_name = "CELLS", default_value_t = 1024)]
    pub batch: usize,
    /// What is printed, and where the run's folder is.
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    cell: usize,
    links: usize,
    circuits: usize,
    seconds: u64,
    backends: Vec<&'static str>,
    batch: usize,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, a back end that this processor lacks; back ends that differ.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    let shape = Shape::new(args.links, args.circuits, args.batch).map_err(Error::Usage)?;
    let backends = backends(&args.backend)?;
    let Args { links, circuits, seconds, batch, .. } = *args;
    let names = backends.iter().map(|backend| backend.name()).collect();
    let config = Config { cell: args.cell.bytes(), links, circuits, seconds, backends: names, batch };
    let mut run = Run::create("floor", args.output.out.as_deref(), &config)?;
    let measure = Measure { cell: args.cell, shape, time: Duration::from_secs(seconds), backends, run: &mut run };
    match Backend::best().dispatch(measure) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

/// The reference and what was asked for, each once.
fn backends(asked: &[Choice]) -> Result<Vec<Backend>, Error> {
    let mut backends = vec![Backend::Reference];
    let runs = |backend: &&Backend| backend.missing().is_empty();
    let all = || Backend::ALL.iter().filter(runs).map(|backend| Choice::Forced(*backend)).collect();
    let choices: Vec<Choice> = if asked.is_empty() { all() } else { asked.to_vec() };
    for choice in choices {
        let backend = Backend::choose(choice).map_err(|error| Error::Usage(error.to_string()))?;
        if !backends.contains(&backend) {
            backends.push(backend);
        }
    }
    Ok(backends)
}

struct Measure<'r> {
    cell: CellSize,
    shape: Shape,
    time: Duration,
    backends: Vec<Backend>,
    run: &'r mut Run,
}

impl WithSuite for Measure<'_> {
    type Out = Result<Report, String>;

    /// With the fastest back end at the far ends.
    fn with<F: Suite>(self) -> Self::Out {
        match self.cell {
            CellSize::S256 => self.of::<F, 256>(),
            CellSize::S512 => self.of::<F, 512>(),
            CellSize::S1024 => self.of::<F, 1024>(),
        }
    }
}

impl Measure<'_> {
    fn of<F: Suite, const S: usize>(self) -> Result<Report, String> {
        let Shape { links, circuits, .. } = self.shape;
        let mut bench = Bench::<F, S>::new(&self.backends, self.shape);
        let samples = measure(&mut bench, self.time, &mut self.run.probe)?;
        samples.iter().try_for_each(|sample| self.run.trial(sample))?;
        Ok(Report::new::<S>(&self.backends, &samples, links, circuits))
    }
}
