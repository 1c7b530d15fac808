//! `drover-perf chaff`.

use super::{Report, measure};
use crate::hop::cli::SECONDS_MAX;
use crate::hop::{Bench, Shape};
use crate::output::{Error, Output, within};
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// What chaff costs: a worker whose links carry nothing else, against its bare crypto.
///
/// Two worlds, batch by batch in turns. Seal only: nothing arrives, and every slot of every link sends a record of chaff;
/// the floor is the bare seals and masks. Duplex: every link receives a record of chaff and sends one in each slot; the
/// floor is the bare openings, seals and masks. No link has a circuit: `hop --share-real 0` is for slots that circuits
/// own. Every frame that the worker sends is opened at its far end and must be chaff.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Cell size in bytes: 256, 512 or 1024.
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links, 1..=50000.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub links: usize,
    /// Slots of a round of each link, 1..=256.
    #[arg(long, value_name = "N", default_value_t = 21)]
    pub slots: u32,
    /// How long to measure both together, 1..=60 s, the far ends' work included.
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// The crypto back end: a name, or auto for the fastest that this processor runs.
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// Most records of a batch, 1..=4096.
    #[arg(long, value_name = "RECORDS", default_value_t = 1024)]
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
    slots: u32,
    seconds: u64,
    backend: &'static str,
    batch: usize,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, a back end that this processor lacks; a trial that lost something.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    let Args { links, slots, seconds, batch, .. } = *args;
    let shape = |duplex| Shape::chaff(links, slots, batch, duplex).map_err(Error::Usage);
    let shapes = [shape(false)?, shape(true)?];
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let config = Config { cell: args.cell.bytes(), links, slots, seconds, backend: backend.name(), batch };
    let mut run = Run::create("chaff", args.output.out.as_deref(), &config)?;
    let time = Duration::from_secs(seconds);
    match backend.dispatch(Measure { cell: args.cell, shapes, time, run: &mut run }) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

struct Measure<'r> {
    cell: CellSize,
    shapes: [Shape; 2],
    time: Duration,
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
        let mut benches = self.shapes.map(Bench::<C, S>::new);
        let trials = measure(&mut benches, self.time, &mut self.run.probe)?;
        trials.iter().try_for_each(|trial| self.run.trial(trial))?;
        Ok(Report::new(&benches, &trials))
    }
}
