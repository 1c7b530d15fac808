//! `drover-perf ndr`.

use super::report::{About, Report, Row};
use super::{Bench, Goal, Search, Setting, measure};
use crate::bed::{Bed, Mode, PEERS_MAX, PortKind, Room, Wire};
use crate::hop::Shape;
use crate::output::{Error, Output, within};
use crate::pin;
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_dataplane::limits::RAW_WAITING_MAX;
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
The search is Multiple Loss Ratio search (RFC 9971), with the goals that FD.io CSIT uses: NDR loses nothing, PDR at most \
0.5 %; trials of 1 s, 21 s of them settle a load, half of them may lose more; bounds within 0.5 %. The figure is the \
conditional throughput at the relevant lower bound.

A load is the rate of the links' class: each direction of each circuit has one cell and one slot in a round, and the round \
is as long as the load says. Loss is what did not come out: dropped by the worker, refused by the full ring to it, lost in \
the kernel on the way to it, or still waiting three rounds after the last cell was offered.

A trial in which the generator could not keep up is invalid and says so. Measure on an idle machine: a stall of a few ms \
on either core is loss, or an invalid trial.";

/// Longest search, s.
const SECONDS_MAX: u64 = 7200;
/// Longest trial and sum of trials, s.
const DURATION_MAX: f64 = 600.0;
/// Largest ring, frames.
const RING_MAX: usize = 1 << 16;

/// The no-drop and the partial-drop rate of one worker in real time, by multiple loss ratio search.
///
/// The worker spins on a core of its own. A generator on another core seals fresh cells a little ahead
/// and delivers them at a constant rate; its own ceiling is measured first and shown. The search is bounded by --seconds:
/// when the time is up, what is known is told.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// The port: memory; udp, to sockets on loopback; af_xdp, over a cable between networks of its own
    #[arg(long, value_enum, default_value_t = PortKind::Memory)]
    pub port: PortKind,
    /// Links; 1000 over memory unless given, else 64: each is a socket, and 500 are the most
    #[arg(long, value_name = "N")]
    pub links: Option<usize>,
    /// Circuits
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub circuits: usize,
    /// The whole search takes no longer, 1..=7200 s
    #[arg(long, value_name = "S", default_value_t = 180)]
    pub seconds: u64,
    /// Loss that the partial drop rate allows, as a part of 1
    #[arg(long, value_name = "RATIO", default_value_t = 0.005)]
    pub pdr_loss: f64,
    /// The part of trials at a load that may lose more than the goal
    #[arg(long, value_name = "RATIO", default_value_t = 0.5)]
    pub exceed: f64,
    /// Relative width of the interval between the bounds
    #[arg(long, value_name = "RATIO", default_value_t = 0.005)]
    pub width: f64,
    /// Duration of the first trials, s
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub initial_trial: f64,
    /// Duration of the last trials, s
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub final_trial: f64,
    /// Trials of this duration in all settle a load, s
    #[arg(long, value_name = "S", default_value_t = 21.0)]
    pub duration_sum: f64,
    /// Least load, cells a second
    #[arg(long, value_name = "CELLS", default_value_t = 50_000.0)]
    pub min_rate: f64,
    /// Most load, cells a second; nine tenths of the generator's ceiling unless given
    #[arg(long, value_name = "CELLS")]
    pub max_rate: Option<f64>,
    /// Frames of the rings to and from the worker, 512..=65536, as a NIC's
    #[arg(long, value_name = "FRAMES", default_value_t = 4096)]
    pub ring: usize,
    /// The crypto back end: a name, or auto for the fastest that this processor runs
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    port: PortKind,
    cell: usize,
    links: usize,
    circuits: usize,
    seconds: u64,
    pdr_loss: f64,
    exceed: f64,
    width: f64,
    initial_trial: f64,
    final_trial: f64,
    duration_sum: f64,
    min_rate: f64,
    max_rate: Option<f64>,
    ring: usize,
    backend: &'static str,
    worker_core: usize,
    generator_core: usize,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, one core only, a back end that cannot be had; a frame that came out wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("ring", args.ring, 512..=RING_MAX)?;
    for (flag, value) in [("initial-trial", args.initial_trial), ("final-trial", args.final_trial)] {
        within(flag, value, 0.01..=DURATION_MAX)?;
    }
    within("duration-sum", args.duration_sum, args.final_trial..=DURATION_MAX)?;
    let goals = [0.0, args.pdr_loss].map(|loss_ratio| Goal {
        loss_ratio,
        exceed_ratio: args.exceed,
        width: args.width,
        initial_trial_s: args.initial_trial,
        final_trial_s: args.final_trial,
        duration_sum_s: args.duration_sum,
    });
    // Whatever is wrong with the goals or the least load is told before anything is measured.
    let most = args.max_rate.unwrap_or(f64::MAX / 4.0);
    Search::new(args.min_rate, most.max(args.min_rate * 2.0), &goals).map_err(Error::Usage)?;
    let cores = pin::cores()?;
    let [generator_core, .., core] = cores[..] else {
        return Err(Error::Usage("ndr needs two cores, one for the worker and one for the generator".to_owned()));
    };
    let links = match args.port {
        PortKind::Memory => args.links.unwrap_or(1000),
        _ => within("links", args.links.unwrap_or(64), 2..=PEERS_MAX)?,
    };
    let shape = Shape::new(links, args.circuits, 1024).map_err(Error::Usage)?;
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let bed = match args.port {
        PortKind::Memory => None,
        kind => {
            let transmit = args.ring + RAW_WAITING_MAX;
            Some(Bed::open(kind, Room { peers: links, transmit, wire: args.ring, mode: Mode::Auto })?)
        }
    };
    let Args { circuits, seconds, pdr_loss, exceed, width, initial_trial, final_trial, .. } = *args;
    let Args { duration_sum, min_rate, max_rate, ring, .. } = *args;
    let config = Config {
        port: args.port,
        cell: args.cell.bytes(),
        links,
        circuits,
        seconds,
        pdr_loss,
        exceed,
        width,
        initial_trial,
        final_trial,
        duration_sum,
        min_rate,
        max_rate,
        ring,
        backend: backend.name(),
        worker_core: core,
        generator_core,
    };
    let mut run = Run::create("ndr", args.output.out.as_deref(), &config)?;
    let setting = Setting { core, generator_core, ring };
    let time = Duration::from_secs(seconds);
    let port = (args.port, bed);
    let measure =
        Measure { cell: args.cell, shape, setting, port, goals, loads: (min_rate, max_rate), time, run: &mut run };
    match backend.dispatch(measure) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

/// A measurement with a back end that is known at run time only.
struct Measure<'r> {
    cell: CellSize,
    shape: Shape,
    setting: Setting,
    port: (PortKind, Option<Bed>),
    goals: [Goal; 2],
    loads: (f64, Option<f64>),
    time: Duration,
    run: &'r mut Run,
}

/// Part of the generator's ceiling that is offered at most: it also takes frames while it delivers.
const OF_CEILING: f64 = 0.9;
/// Cells a second of each link at most: a record's number has 16 bits on the wire, and a stall of a second must not lose it.
const OF_LINK: f64 = 20_000.0;

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
        let Measure { shape, setting, goals, loads, time, port: (kind, bed), run, .. } = self;
        eprintln!("making {} links and {} circuits", shape.links, shape.circuits);
        let search = Loads { goals, loads, time, about: (kind.name(), String::new()) };
        match bed {
            None => search.run(Bench::<C, S>::new(&shape, setting)?, &shape, setting, run),
            Some(Bed { port, peers, bound, cable }) => {
                let bench = Bench::<C, S, _>::over(&shape, setting, |_, _| Ok((port, peers)))?;
                let found = Loads { about: (kind.name(), bound), ..search }.run(bench, &shape, setting, run);
                // It outlives the port.
                drop(cable);
                found
            }
        }
    }
}

/// What is searched for, over whichever port.
struct Loads {
    goals: [Goal; 2],
    loads: (f64, Option<f64>),
    time: Duration,
    /// The kind of port, and what was bound.
    about: (&'static str, String),
}

impl Loads {
    fn run<C: Suite, const S: usize, W: Wire>(
        self,
        mut bench: Bench<C, S, W>,
        shape: &Shape,
        setting: Setting,
        run: &mut Run,
    ) -> Result<Report, String> {
        let Loads { goals, loads: (least, most), time, about: (port, bound) } = self;
        let ceiling = bench.ceiling()?;
        eprintln!("the generator alone delivers {:.3} million cells a second", ceiling / 1e6);
        let most = most.unwrap_or(OF_CEILING * ceiling).min(OF_LINK * shape.links as f64);
        let mut search = Search::new(least, most, &goals)
            .map_err(|error| format!("{error}: the generator's ceiling is {ceiling:.0}; give a lower --min-rate"))?;
        let measured = measure(&mut bench, &mut search, &goals, ceiling, time, &mut run.probe)?;
        for (trial, verdict) in &measured.trials {
            run.trial(&Row::of(trial, *verdict))?;
        }
        let about = About {
            port,
            bound,
            backend: C::NAME,
            cell: S,
            links: shape.links,
            circuits: shape.circuits,
            ring: setting.ring,
            records_per_cell: shape.records() as f64 / bench.ways() as f64,
            cores: [setting.core, setting.generator_core],
            loads: [least, most],
        };
        Ok(Report::new(&measured, &goals, about))
    }
}
