//! `drover-perf latency`.

use super::chain::{Chain, Layout};
use super::report::{About, Report, Row};
use super::{Measured, Setting, measure};
use crate::bed::{Bed, Mode, PEERS_MAX, PortKind, Room};
use crate::hop::Shape;
use crate::ndr::{self, Goal, Search};
use crate::output::{Error, Output, within};
use crate::pin;
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_dataplane::limits::RAW_WAITING_MAX;
use drover_wire::cell::CellSize;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
A mix delays a cell by up to a round by design: it waits for the slot that its circuit owns, which is drawn at random. At \
a part of the rate rounds are longer, because the class's rate is the load; compare with the round beside each line. \
Lateness is of the last mix's departures against their slots: what a mix adds against its design. Taken: from delivery to \
the turn that took the cell from the first mix's port.

Mixes turn in turn on the threads that the cores allow, all but the first core; the first one has the generator, the \
cables between mixes and what watches the last. A cable is a copy, made within a few us.

Over udp and af_xdp every mix has a bed of its own: sockets of the kernel at the far ends of its links. The whole way then \
ends where a socket behind the last mix has the cell, and every cable is two sockets. A look at all sockets takes about a \
us for each: keep links few.";

/// Longest measurement of one load, s.
const SECONDS_MAX: u64 = 60;
/// Most mixes of a chain.
const MIXES_MAX: usize = 16;
/// Links to either side unless given: over memory, and where each is a socket.
const LINKS: [usize; 2] = [200, 16];
/// Circuits of a link unless given.
const CIRCUITS_A_LINK: usize = 20;
/// Largest summary that is read, bytes.
const SUMMARY_MAX: u64 = 4 << 20;
/// Time for a search where no rate was given, s.
const SEARCH_S: u64 = 20;

/// How long a cell is on its way through one mix and through a chain, at 10, 50 and 90 % of a rate.
///
/// The rate is what ndr found: give its folder with --ndr, or a rate with --rate; without either a short and coarse search
/// comes first, over memory. Real time. For each load: the whole way, the lateness against slots, and the time until a
/// cell is taken, each as a histogram.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// The rate of which 10, 50 and 90 % are offered, cells a second
    #[arg(long, value_name = "CELLS", conflicts_with = "ndr")]
    pub rate: Option<f64>,
    /// The folder of an ndr run whose non-drop rate is taken
    #[arg(long, value_name = "DIR")]
    pub ndr: Option<PathBuf>,
    /// The port: memory; udp, to sockets on loopback; af_xdp, over cables between networks of its own
    #[arg(long, value_enum, default_value_t = PortKind::Memory)]
    pub port: PortKind,
    /// Mixes of the chain, 1..=16
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub mixes: usize,
    /// Links of each mix to either side, 2..=10000; 200 over memory unless given, else 16: each is a socket, and 250 are
    /// the most
    #[arg(long, value_name = "N")]
    pub links: Option<usize>,
    /// Circuits, no fewer than links, up to 100000; 20 a link unless given
    #[arg(long, value_name = "N")]
    pub circuits: Option<usize>,
    /// How long each load is measured, 1..=60 s
    #[arg(long, value_name = "S", default_value_t = 2)]
    pub seconds: u64,
    /// Frames of the rings to and from each worker, 512..=65536
    #[arg(long, value_name = "FRAMES", default_value_t = 4096)]
    pub ring: usize,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
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
    rate: Option<f64>,
    mixes: usize,
    links: usize,
    circuits: usize,
    seconds: u64,
    ring: usize,
    cell: usize,
    backend: &'static str,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, one core only, a folder without a rate; a cell that came out wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("mixes", args.mixes, 1..=MIXES_MAX)?;
    let is_memory = args.port == PortKind::Memory;
    let links = args.links.unwrap_or(LINKS[usize::from(!is_memory)]);
    within("links", links, 2..=if is_memory { 10_000 } else { PEERS_MAX / 2 })?;
    let circuits = args.circuits.unwrap_or(CIRCUITS_A_LINK * links);
    within("circuits", circuits, links..=100_000)?;
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("ring", args.ring, 512..=1 << 16)?;
    let given = match (&args.rate, &args.ndr) {
        (Some(rate), _) => Some((*rate, "as given".to_owned())),
        (None, Some(dir)) => Some((rate_of(dir).map_err(Error::Usage)?, format!("the NDR of {}", dir.display()))),
        (None, None) => None,
    };
    if let Some((rate, _)) = &given {
        within("rate", *rate, 100.0..=1e9)?;
    }
    let cores = pin::cores()?;
    let [other_core, ref worker_cores @ ..] = cores[..] else {
        return Err(Error::Failed("this process may use no core".to_owned()));
    };
    if worker_cores.is_empty() {
        let text = "latency needs two cores, one for mixes and one for everything else";
        return Err(Error::Usage(text.to_owned()));
    }
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let Args { port, mixes, seconds, ring, .. } = *args;
    let (cell, rate) = (args.cell.bytes(), given.as_ref().map(|given| given.0));
    let config = Config { port, rate, mixes, links, circuits, seconds, ring, cell, backend: backend.name() };
    let mut run = Run::create("latency", args.output.out.as_deref(), &config)?;
    let time = Duration::from_secs(seconds);
    let setting = Setting { worker_cores: worker_cores[..worker_cores.len().min(mixes)].to_vec(), other_core, time };
    let layout = Layout { links, circuits, ring };
    let measure = Measure { cell: args.cell, port, layout, mixes, given, setting, run: &mut run };
    match backend.dispatch(measure) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

/// The non-drop rate that a folder's summary tells.
fn rate_of(dir: &Path) -> Result<f64, String> {
    let path = dir.join("summary.json");
    let about = |error: &dyn std::fmt::Display| format!("--ndr {}: {error}", path.display());
    if path.metadata().map_err(|error| about(&error))?.len() > SUMMARY_MAX {
        return Err(about(&"it is too large for a summary"));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| about(&error))?;
    let summary: Value = serde_json::from_str(&text).map_err(|error| about(&error))?;
    let rate = summary.get("ndr").and_then(|ndr| ndr.get("conditional_throughput")).and_then(Value::as_f64);
    rate.filter(|rate| *rate > 0.0).ok_or_else(|| about(&"it tells no non-drop rate; give --rate"))
}

/// A measurement with a back end that is known at run time only.
struct Measure<'r> {
    cell: CellSize,
    port: PortKind,
    layout: Layout,
    mixes: usize,
    given: Option<(f64, String)>,
    setting: Setting,
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
        let Measure { port, layout, mixes, given, setting, run, .. } = self;
        let (rate, rate_from) = match given {
            Some(given) => given,
            None => (search::<C, S>(&layout, &setting, run)?, "a short, coarse search before".to_owned()),
        };
        let mut bound = "rings of memory".to_owned();
        let measured = match port {
            PortKind::Memory => {
                measure(mixes, rate, &setting, &mut run.probe, |mixes| Chain::<C, S>::new(&layout, mixes))?
            }
            kind => {
                let transmit = layout.ring + RAW_WAITING_MAX;
                let room = Room { peers: 2 * layout.links, transmit, wire: layout.ring, mode: Mode::Auto };
                let chain_of = |mixes| {
                    Chain::<C, S, _>::over(&layout, mixes, || {
                        Bed::open(kind, room).inspect(|bed| bound.clone_from(&bed.bound))
                    })
                };
                measure(mixes, rate, &setting, &mut run.probe, chain_of)?
            }
        };
        measured.iter().try_for_each(|one| keep(one, run))?;
        let Layout { links, circuits, .. } = layout;
        let Setting { worker_cores, other_core, .. } = setting;
        let (port, backend) = (port.name(), C::NAME);
        let about =
            About { rate, rate_from, port, bound, mixes, links, circuits, backend, cell: S, worker_cores, other_core };
        Report::new(&measured, about)
    }
}

/// Writes a measurement's row and histograms.
fn keep(one: &Measured, run: &mut Run) -> Result<(), String> {
    run.trial(&Row::of(one))?;
    let name = if one.mixes == 1 { "1" } else { "chain" };
    let found = &one.found;
    for (what, histogram) in
        [("total", Some(&found.total)), ("late", Some(&found.late)), ("taken", found.taken.as_ref())]
    {
        if let Some(histogram) = histogram {
            run.histogram(&format!("{what}-{name}-{}-percent", one.percent), histogram)?;
        }
    }
    Ok(())
}

/// A non-drop rate, roughly.
fn search<C: Suite, const S: usize>(layout: &Layout, setting: &Setting, run: &mut Run) -> Result<f64, String> {
    eprintln!("no rate was given: searching for {SEARCH_S} s");
    // As many ways as the chain has: a circuit there is a direction here.
    let shape = Shape::new(layout.links, layout.circuits.div_ceil(2).max(layout.links), 1024)?;
    let core = setting.worker_cores[0];
    let setting = ndr::Setting { core, generator_core: setting.other_core, ring: layout.ring };
    let mut bench = ndr::Bench::<C, S>::new(&shape, setting)?;
    let ceiling = bench.ceiling()?;
    let goals = [Goal {
        loss_ratio: 0.0,
        exceed_ratio: 0.5,
        width: 0.05,
        initial_trial_s: 0.2,
        final_trial_s: 0.2,
        duration_sum_s: 0.6,
    }];
    let mut search = Search::new(ceiling / 1000.0, 0.9 * ceiling, &goals)?;
    let time = Duration::from_secs(SEARCH_S);
    let measured = ndr::measure(&mut bench, &mut search, &goals, ceiling, time, &mut run.probe)?;
    let rate = measured.found[0].conditional_throughput.filter(|rate| *rate > 0.0);
    rate.ok_or_else(|| "the search found no rate without loss; measure on a quieter machine, or give --rate".to_owned())
}
