//! `drover-perf hop`.

use super::{Bench, Report, Shape, WARM_UP_ROUNDS};
use clap::ValueEnum;
use drover_crypto::Suite;
use drover_crypto::reference::Reference;
use drover_wire::cell::CellSize;
use std::time::{Duration, Instant};

/// The end of `--help`, a line a paragraph: clap wraps it.
const WORLD: &str = "\
Links: all of one class, peers of kind drover, ratchet 24, rounds of 20 ms, one slot more in a round than the most \
circuits of a link. The far ends send no chaff.

Circuits: each over two links drawn at random, evenly. Both directions are admitted and have one cell a round, in a \
place of the round drawn at random, with a jitter of a quarter of a round.

Measure on an idle machine, with a release build: cargo run --release -p drover-perf -- hop";

/// Longest measurement.
const SECONDS_MAX: u64 = 60;

/// One node's work on a cell, receive to transmit on the memory port, against the bare crypto of the same work.
///
/// A worker, the very one that a mix runs, is turned on a virtual clock. The far ends of all its links seal fresh cells
/// for it; none is ever replayed. Each batch of cells is timed twice: through the worker (receive, open, relay, mix,
/// seal, transmit), and as the floor: the same calls of the same kernels, with the same keys, frames and cells in the
/// same order, and nothing else. The ratio of the two says what all that is not crypto costs.
///
/// Every frame that the worker sends is opened at its far end: tag, circuit, counter and body must be right. A dropped
/// cell, a missed slot or a wrong byte ends the run with an error and without a figure.
#[derive(clap::Args, Debug)]
#[command(after_help = WORLD)]
pub struct Args {
    /// Cell size in bytes: 256, 512 or 1024.
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links, 2..=10000.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub links: usize,
    /// Circuits, 1..=100000 and at least half as many as links.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub circuits: usize,
    /// How long to measure, 1..=60 s of wall-clock time, the sealing and checking at the far ends included. Small worlds
    /// may end before, when a link has used up its first ratchet step; the report says the time taken.
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// The crypto back end.
    #[arg(long, value_enum, default_value_t = Backend::Reference)]
    pub backend: Backend,
    /// Most cells, and most records, of a batch, 1..=4096. Larger batches need larger rings, which leave the cache.
    #[arg(long, value_name = "CELLS", default_value_t = 1024)]
    pub batch: usize,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Crypto back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// RustCrypto's AES-128-GCM and AES-128-CTR: portable, what every faster one must equal.
    Reference,
}

/// Measures, and returns the report as text or JSON.
pub fn run(args: &Args) -> Result<String, String> {
    if !(1..=SECONDS_MAX).contains(&args.seconds) {
        return Err(format!("--seconds {} is not in 1..={SECONDS_MAX}", args.seconds));
    }
    let shape = Shape::new(args.links, args.circuits, args.batch)?;
    let length = Length::Time(Duration::from_secs(args.seconds));
    let report = match args.backend {
        Backend::Reference => with_backend::<Reference>(args.cell, shape, length)?,
    };
    if args.json {
        serde_json::to_string_pretty(&report).map_err(|e| format!("the report is no JSON: {e}"))
    } else {
        Ok(report.to_string())
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

fn with_backend<C: Suite>(cell: CellSize, shape: Shape, length: Length) -> Result<Report, String> {
    match cell {
        CellSize::S256 => measure(&mut Bench::<C, 256>::new(shape), length),
        CellSize::S512 => measure(&mut Bench::<C, 512>::new(shape), length),
        CellSize::S1024 => measure(&mut Bench::<C, 1024>::new(shape), length),
    }
}

/// Warms up and measures. Says on standard error what it is doing.
pub fn measure<C: Suite, const S: usize>(bench: &mut Bench<C, S>, length: Length) -> Result<Report, String> {
    let shape = bench.shape();
    let (links, circuits) = (shape.links, shape.circuits);
    eprintln!("{links} links and {circuits} circuits are up; {WARM_UP_ROUNDS} rounds to warm up");
    for _ in 0..WARM_UP_ROUNDS * bench.batches_per_round() {
        bench.batch()?;
    }
    eprintln!("measuring");
    let mut samples = Vec::new();
    let start = Instant::now();
    let mut told = 0;
    loop {
        samples.push(bench.batch()?);
        let done = match length {
            Length::Time(time) => start.elapsed() >= time,
            Length::Batches(count) => samples.len() as u64 >= count,
        };
        if done || bench.is_spent() {
            return Ok(Report::new(bench, &samples, start.elapsed().as_secs_f64()));
        }
        if start.elapsed().as_secs() > told {
            told = start.elapsed().as_secs();
            let cells: u64 = samples.iter().map(|s| s.relayed).sum();
            eprintln!("{told} s: {cells} cells in {} batches", samples.len());
        }
    }
}
