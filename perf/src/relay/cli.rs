//! `drover-perf relay`.

use super::{About, Against, Bench, Report, Trial};
use crate::bed::{Bed, Mode, PEERS_MAX, PortKind, Room};
use crate::forward::cli::Program;
use crate::hop::Shape;
use crate::hop::cli::SECONDS_MAX;
use crate::output::{Error, Output, within};
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_dataplane::limits::RAW_WAITING_MAX;
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
The far ends are sockets of the kernel, one a link: on loopback, or over a cable between two networks without names. Their \
part is not timed; but what the kernel does on sending is, on both sides of the difference: it delivers to them at once. Over \
dpdk the port is a vhost socket's server; its client is a process of its own, on another core, that is joined to such a \
cable. --against testpmd then has two testpmd exchange frames over a vhost socket, with macswap on either side.

All three have the world's shape in common. With few links, more of the slots are a circuit's.";

/// Relaying over a real port, against forwarding over it and relaying over memory, in turns.
///
/// (ns a relayed cell − ns a forwarded packet) / ns a cell of hop: what a worker over the port costs beyond both.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// The port: udp, af_xdp, or dpdk on a vhost socket to another process
    #[arg(long, value_enum, default_value_t = PortKind::AfXdp)]
    pub port: PortKind,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Links, 2..=500, each a socket at its far end
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub links: usize,
    /// Circuits, at least half as many as links
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub circuits: usize,
    /// How long to measure all three together, 1..=60 s
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// Most cells of a batch, 1..=2048
    #[arg(long, value_name = "CELLS", default_value_t = 512)]
    pub batch: usize,
    /// With --port af_xdp: who runs the XDP program
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// The crypto back end: a name, or auto for the fastest that this processor runs
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// With --port dpdk: a program to measure beside, afterwards
    #[arg(long, value_enum)]
    pub against: Option<Program>,
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
    batch: usize,
    mode: Mode,
    backend: &'static str,
    against: Option<Program>,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range; a port that cannot be opened; anything lost or wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("links", args.links, 2..=PEERS_MAX)?;
    within("batch", args.batch, 1..=2048)?;
    if args.port == PortKind::Memory {
        return Err(Error::Usage("--port memory is what hop measures: give udp, af_xdp or dpdk".to_owned()));
    }
    if args.against.is_some() && args.port != PortKind::Dpdk {
        return Err(Error::Usage("--against goes with --port dpdk".to_owned()));
    }
    let shape = Shape::new(args.links, args.circuits, args.batch).map_err(Error::Usage)?;
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let Args { port, links, circuits, seconds, batch, mode, against, .. } = *args;
    let (cell, name) = (args.cell.bytes(), backend.name());
    let config = Config { port, cell, links, circuits, seconds, batch, mode, backend: name, against };
    let room = Room { peers: links, transmit: shape.transmit() + RAW_WAITING_MAX, wire: shape.wire(), mode };
    // What the machine lacks is told before there is a folder.
    let about = About { port: port.name(), backend: name, cell, links, circuits, ..About::default() };
    let measure = Open { cell: args.cell, shape, room, about, args };
    let mut run = None;
    let result = backend.dispatch(Measure { open: measure, config: &config, run: &mut run });
    match (result, run) {
        (Ok((trials, report)), Some(mut run)) => {
            trials.iter().try_for_each(|trial| run.trial(trial))?;
            Ok(args.output.text(&report, &run.finish(&report)?))
        }
        (Err(Error::Failed(error)), Some(run)) => Err(run.fail(error).into()),
        (Err(error), _) => Err(error),
        (Ok(_), None) => Err(Error::Failed("a run without a folder".to_owned())),
    }
}

struct Open<'a> {
    cell: CellSize,
    shape: Shape,
    room: Room,
    about: About,
    args: &'a Args,
}

/// A measurement with a back end that is known at run time only.
struct Measure<'a> {
    open: Open<'a>,
    config: &'a Config,
    run: &'a mut Option<Run>,
}

impl WithSuite for Measure<'_> {
    type Out = Result<(Vec<Trial>, Report), Error>;

    fn with<C: Suite>(self) -> Self::Out {
        match self.open.cell {
            CellSize::S256 => self.of::<C, 256>(),
            CellSize::S512 => self.of::<C, 512>(),
            CellSize::S1024 => self.of::<C, 1024>(),
        }
    }
}

impl Measure<'_> {
    fn of<C: Suite, const S: usize>(self) -> Result<(Vec<Trial>, Report), Error> {
        let Open { shape, room, about, args, .. } = self.open;
        let mut bound = String::new();
        let mut bench = Bench::<C, S>::new(&shape, args.batch, || {
            let bed = Bed::open(args.port, room)?;
            bound.clone_from(&bed.bound);
            Ok(bed)
        })?;
        let run = self.run.insert(Run::create("relay", args.output.out.as_deref(), self.config)?);
        let trials = bench.measure(Duration::from_secs(args.seconds), &mut run.probe)?;
        drop(bench);
        let against = args.against.map(|Program::Testpmd| beside(S)).transpose()?;
        let report = Report::new(&trials, About { bound, round_trip: run.round_trip(), against, ..about })?;
        Ok((trials, report))
    }
}

#[cfg(feature = "dpdk")]
fn beside(cell: usize) -> Result<Against, Error> {
    Ok(super::macswap::measure(cell)?)
}

#[cfg(not(feature = "dpdk"))]
fn beside(_: usize) -> Result<Against, Error> {
    Err(crate::bed::without_dpdk().into())
}
