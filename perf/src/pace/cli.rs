//! `drover-perf pace`.

use super::report::{About, Row};
use super::window::{Bench, ROUND_NS, Setting};
use super::{Length, Report, measure};
use crate::output::{Error, Output, within};
use crate::pin;
use crate::run::Run;
use clap::ValueEnum;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_dataplane::run::Rhythm;
use drover_wire::cell::CellSize;
use serde::Serialize;
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
A departure's lateness is from its slot's instant to the commit that gave it to the port, stamped by a port around the \
real one: one clock read a commit, and each frame copied once more. Under tick a departure waits for the next tick by \
design, so half a tick is the middle.

The bare loop has the worker's rhythm and core and does nothing but read the clock; windows of both take turns. What \
stands in its line, the machine did. Measure on an idle machine.";

/// Longest measurement, s.
const SECONDS_MAX: u64 = 600;
/// Most links: each has an address of its own on loopback.
pub const LINKS_MAX: u32 = 50_000;
/// Most slots of a round.
const SLOTS_MAX: u32 = 64;

/// How punctual departures are: p50, p99, p99.9 and the latest, as a histogram.
///
/// A worker, the very one that a mix runs, under its real loop and clock sends chaff over its links. A port around its own
/// stamps every departure, and the stamps are compared with the grid that the links should be on. In every other window a
/// bare loop on the same core shows what of the lateness is the machine's.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// Links, 1..=50000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub links: u32,
    /// Slots of each link's round of 20 ms, 1..=64: 4 are 200 records a second
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub slots: u32,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// The worker's loop: spin, tick, or auto for spin where a second core does everything else
    #[arg(long, value_enum, default_value_t = Policy::Auto)]
    pub policy: Policy,
    /// Length of a tick, 100..=5000 us, no longer than a slot
    #[arg(long, value_name = "US", default_value_t = 1000)]
    pub tick_us: u64,
    /// The port: memory, or udp over loopback
    #[arg(long, value_enum, default_value_t = PortKind::Memory)]
    pub port: PortKind,
    /// How long to measure, windows of both kinds together, 1..=600 s
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u64,
    /// Length of one window, 20..=10000 ms
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub window_ms: u64,
    /// The worker's core; the last one that this process may use unless given
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// The crypto back end: a name, or auto for the fastest that this processor runs
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// A worker's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Spin where two cores may be used, else tick.
    Auto,
    /// A core of its own.
    Spin,
    /// Sleep to a grid.
    Tick,
}

/// A port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PortKind {
    /// Rings of memory.
    Memory,
    /// A UDP socket, to addresses on loopback.
    Udp,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    links: u32,
    slots: u32,
    round_ns: u64,
    cell: usize,
    policy: &'static str,
    tick_us: Option<u64>,
    port: &'static str,
    seconds: u64,
    window_ms: u64,
    core: usize,
    backend: &'static str,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, a core or a back end that cannot be had; what went wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("links", args.links, 1..=LINKS_MAX)?;
    within("slots", args.slots, 1..=SLOTS_MAX)?;
    within("window-ms", args.window_ms, 20..=10_000)?;
    let period_us = ROUND_NS / u64::from(args.slots) / 1000;
    within("tick-us", args.tick_us, 100..=5000.min(period_us))?;
    let cores = pin::cores()?;
    let last = cores.last().copied().ok_or_else(|| "this process may use no core".to_owned())?;
    let core = args.core.unwrap_or(last);
    if !cores.contains(&core) {
        return Err(Error::Usage(format!("--core {core}: this process may use cores {cores:?}")));
    }
    let other = cores.iter().copied().find(|other| *other != core);
    let spin = match args.policy {
        Policy::Auto => other.is_some(),
        Policy::Tick => false,
        Policy::Spin if other.is_none() => {
            let text =
                "--policy spin needs a core of its own and another for everything else: this process may use one core";
            return Err(Error::Usage(format!("{text}; use --policy tick")));
        }
        Policy::Spin => true,
    };
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let (policy, tick_us) = if spin { ("spin", None) } else { ("tick", Some(args.tick_us)) };
    let rhythm = tick_us.map_or(Rhythm::Spin, |tick| Rhythm::Tick(tick * 1000));
    let udp = args.port == PortKind::Udp;
    let Args { links, slots, seconds, window_ms, .. } = *args;
    let setting = Setting { links, slots, rhythm, udp, window: Duration::from_millis(window_ms), core, other };
    let (cell, port) = (args.cell.bytes(), if udp { "udp" } else { "memory" });
    let name = backend.name();
    let config = Config {
        links,
        slots,
        round_ns: ROUND_NS,
        cell,
        policy,
        tick_us,
        port,
        seconds,
        window_ms,
        core,
        backend: name,
    };
    let mut run = Run::create("pace", args.output.out.as_deref(), &config)?;
    let length = Length::Time(Duration::from_secs(seconds));
    let about = About {
        policy,
        tick_us,
        horizon_ns: 0,
        port,
        backend: name,
        cell,
        links,
        records_per_second: f64::from(links) * f64::from(slots) * 1e9 / ROUND_NS as f64,
        core,
        apart: other.is_some(),
    };
    let report = backend.dispatch(Measure { cell: args.cell, setting, length, about, run: &mut run })?;
    Ok(args.output.text(&report, &run.finish(&report)?))
}

/// A measurement with a back end that is known at run time only.
struct Measure<'r> {
    cell: CellSize,
    setting: Setting,
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
        let mut bench = Bench::<C, S>::new(self.setting)?;
        let measured = measure(&mut bench, self.length, &mut self.run.probe)?;
        measured.windows.iter().try_for_each(|window| self.run.trial(&Row::of(window)))?;
        self.run.histogram("lateness", &measured.worker)?;
        self.run.histogram("bare-loop", &measured.machine)?;
        Ok(Report::new(&measured, About { horizon_ns: bench.horizon(), ..self.about }))
    }
}
