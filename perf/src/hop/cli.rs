//! `drover-perf hop`.

use super::{Bench, Report, Sample, Shape, WARM_UP_ROUNDS};
use crate::output::{Error, Output, within};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The end of `--help`, a line a paragraph: clap wraps it.
const WORLD: &str = "\
Links: all of one class, peers of kind drover, ratchet 24, rounds of 20 ms, one slot more in a round than the most \
circuits of a link. The far ends send no chaff.

Circuits: each over two links drawn at random, evenly. Both directions are admitted and have one cell a round, in a \
place of the round drawn at random, with a jitter of a quarter of a round. With --share-real P, each has one in P % of \
the rounds; in the others its slot carries chaff.

Measure on an idle machine, with a release build: cargo run --release -p drover-perf -- hop";

/// Longest measurement, s.
pub const SECONDS_MAX: u64 = 60;

/// One node's work on a cell, receive to transmit on the memory port, against the bare crypto of the same work.
///
/// A worker, the very one that a mix runs, is turned on a virtual clock. The far ends of all its links seal fresh cells
/// for it; none is ever replayed. Each batch of cells is timed twice: through the worker (receive, open, relay, mix,
/// seal, transmit), and as the floor: the same calls of the same kernels, with the same keys, frames and cells in the
/// same order, and nothing else. The ratio of the two says what all that is not crypto costs.
///
/// Every frame that the worker sends is opened at its far end: tag, circuit, counter and body must be right. A dropped
/// cell, a missed slot or a wrong byte ends the run with an error that says where, and without a figure.
#[derive(clap::Args, Debug)]
#[command(after_help = WORLD)]
pub struct Args {
    /// Cell size in bytes: 256, 512 or 1024.
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links, 2..=50000.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub links: usize,
    /// Circuits, 1..=200000 and at least half as many as links.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub circuits: usize,
    /// How long to measure, 1..=60 s of wall-clock time, the sealing and checking at the far ends included. Small worlds
    /// may end before, when a link has used up its first ratchet step; the report says the time taken.
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// The crypto back end: a name, or auto for the fastest that this processor runs.
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// Share of the circuits' slots that find a cell waiting, 0..=100 %. The others leave as chaff; with 0 every record
    /// is chaff, nothing arrives, and figures are for each record sent.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    pub share_real: u32,
    /// Most cells, and most records, of a batch, 1..=4096. Larger batches need larger rings, which leave the cache.
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
    backend: &'static str,
    share_real: u32,
    batch: usize,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, a back end that this processor lacks; a trial that lost something.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    let share_real = within("share-real", args.share_real, 0..=100)?;
    let shape = Shape::new(args.links, args.circuits, args.batch).map_err(Error::Usage)?.with_share(share_real);
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let Args { links, circuits, seconds, batch, .. } = *args;
    let (cell, name) = (args.cell.bytes(), backend.name());
    let config = Config { cell, links, circuits, seconds, backend: name, share_real, batch };
    let mut run = Run::create("hop", args.output.out.as_deref(), &config)?;
    let length = Length::Time(Duration::from_secs(seconds));
    match backend.dispatch(Measure { cell: args.cell, shape, length, run: &mut run }) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}
/// When a measurement ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many batches.
    Batches(u64),
}

/// A measurement with a back end that is known at run time only.
struct Measure<'r> {
    cell: CellSize,
    shape: Shape,
    length: Length,
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
        let mut bench = Bench::<C, S>::new(self.shape);
        let (samples, seconds) = measure(&mut bench, self.length, &mut self.run.probe)?;
        samples.iter().try_for_each(|sample| self.run.trial(sample))?;
        Ok(Report::new(&bench, &samples, seconds))
    }
}

/// Warms up and measures: the batches, and the seconds that they took. Says on standard error what it is doing.
///
/// # Errors
/// What was lost or wrong, and where.
pub fn measure<C: Suite, const S: usize>(
    bench: &mut Bench<C, S>,
    length: Length,
    probe: &mut Probe,
) -> Result<(Vec<Sample>, f64), String> {
    let shape = bench.shape();
    let (links, circuits) = (shape.links, shape.circuits);
    eprintln!("{links} links and {circuits} circuits are up; {WARM_UP_ROUNDS} rounds to warm up");
    for _ in 0..WARM_UP_ROUNDS * bench.batches_per_round() {
        bench.batch()?;
    }
    let mut progress = Progress::begin("measuring");
    let mut samples = Vec::new();
    loop {
        samples.push(bench.batch()?);
        let done = match length {
            Length::Time(time) => progress.elapsed() >= time,
            Length::Batches(count) => samples.len() as u64 >= count,
        };
        if done || bench.is_spent() {
            return Ok((samples, progress.elapsed().as_secs_f64()));
        }
        probe.now_and_then();
        progress.tell(|| {
            let cells: u64 = samples.iter().map(|s| s.relayed).sum();
            format!("{cells} cells in {} batches", samples.len())
        });
    }
}
