//! `drover-perf cores`.

use super::report::{About, Row};
use super::{Arrangement, Length, PARTS_LEAST, Report, measure};
use crate::hop::Shape;
use crate::output::{Error, Output, within};
use crate::pin;
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_dataplane::limits::{HANDOFF_RING, WORKERS_MAX};
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
The far ends seal before all workers turn and check after them, each on its worker's core: nothing else runs beside what \
is timed. A batch's rate is all workers' cells by the time from the first one's begin to the last one's end.

Two cores of one machine share caches, memory and often more: two logical cores of one physical core scale by far less \
than 2. The round trip between the cores is measured beside, because hand-off depends on it and it wanders.";

/// Longest measurement, s.
const SECONDS_MAX: u64 = 60;

/// What a second worker brings: one worker against all, without hand-off and with half of the circuits handed over.
///
/// Workers on cores of their own, each turning on its own virtual clock over its own memory port, as in hop. One worker
/// alone, all workers without hand-off, and all workers with half of the circuits leaving by a link of another take turns,
/// batch by batch. Every frame is opened and checked; a lost cell ends the run without a figure.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// Workers, 2..=32 and no more than cores that this process may use
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub workers: usize,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links of each worker
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub links: usize,
    /// Circuits of each worker
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub circuits: usize,
    /// How long to measure, 1..=60 s, sealing and checking included
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// Most cells, and most records, of a worker's batch, 1..=1024: what one batch hands over fits into the ring
    #[arg(long, value_name = "CELLS", default_value_t = 1024)]
    pub batch: usize,
    /// The crypto back end: a name, or auto for the fastest that this processor runs
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config<'a> {
    workers: usize,
    worker_cores: &'a [usize],
    cell: usize,
    links: usize,
    circuits: usize,
    seconds: u64,
    batch: usize,
    backend: &'static str,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, too few cores, a back end that cannot be had; a trial that lost something.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("workers", args.workers, 2..=WORKERS_MAX)?;
    within("batch", args.batch, 1..=HANDOFF_RING)?;
    let cores = pin::cores()?;
    if args.workers > cores.len() {
        return Err(Error::Usage(too_few(args.workers, &cores)));
    }
    let shape = Shape::new(args.links, args.circuits, args.batch).map_err(Error::Usage)?;
    if shape.parts < PARTS_LEAST {
        let (records, batch) = (shape.records(), args.batch);
        let text = format!("--batch {batch} is more than a twelfth of a round, which has {records} records");
        return Err(Error::Usage(format!("{text}: use at most {}, or more circuits", (records / PARTS_LEAST).max(1))));
    }
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let Args { workers, links, circuits, seconds, batch, .. } = *args;
    let (cell, name, worker_cores) = (args.cell.bytes(), backend.name(), &cores[..workers]);
    let config = Config { workers, worker_cores, cell, links, circuits, seconds, batch, backend: name };
    let mut run = Run::create("cores", args.output.out.as_deref(), &config)?;
    let length = Length::Time(Duration::from_secs(seconds));
    let about = About { worker_cores: worker_cores.to_vec(), backend: name, cell, links, circuits };
    let measure = Measure { cell: args.cell, shape, cores: worker_cores, length, about, run: &mut run };
    match backend.dispatch(measure) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

fn too_few(workers: usize, cores: &[usize]) -> String {
    match cores.len() {
        1 => "two workers need two cores, and this process may use one: give it more (taskset, cgroups), or use hop"
            .to_owned(),
        count => format!("--workers {workers} are more than the {count} cores that this process may use"),
    }
}

/// A measurement with a back end that is known at run time only.
struct Measure<'r> {
    cell: CellSize,
    shape: Shape,
    cores: &'r [usize],
    length: Length,
    about: About,
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
        let measured = measure::<C, S>(&self.shape, self.cores, self.length, &mut self.run.probe)?;
        for round in &measured.rounds {
            for (arrangement, batch) in Arrangement::ALL.into_iter().zip(round) {
                self.run.trial(&Row::of(arrangement, batch))?;
            }
        }
        Ok(Report::new(&measured, self.about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_cores_are_told() {
        assert!(too_few(2, &[0]).contains("this process may use one"));
        assert!(too_few(3, &[0, 1]).contains("--workers 3 are more than the 2 cores"));
    }
}
