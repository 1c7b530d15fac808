//! `drover-perf circuits`.

use super::{Departures, Plan, Report, Row, SetUps, departures, set_ups};
use crate::output::{Error, Output, within};
use crate::pace::cli::{LINKS_MAX, PortKind};
use crate::pin;
use crate::run::Run;
use drover_dataplane::run::Rhythm;
use serde::Serialize;
use std::time::Duration;

/// Longest measurement of either part, s.
const SECONDS_MAX: u64 = 600;

/// How many circuits a second one control core sets up, and what a flood of set-ups does to departures.
///
/// First the hop's side of a mix's control daemon answers CREATE messages, batch by batch; between the batches run the
/// bare primitives of the same work: an X25519 key, two agreements, an ML-KEM-768 encapsulation. Then a worker sends
/// chaff over its links on one core, stamped as in pace, while another core answers set-ups without a pause in every other
/// window. The ratio of the windows' lateness says what that does to departures; windows in which the scheduler put the
/// worker off its core are tagged, and the ratio is told without them too.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long to measure set-ups, 1..=600 s
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// How long to measure departures, 0..=600 s; 0 leaves them out
    #[arg(long, value_name = "S", default_value_t = 20)]
    pub departures: u64,
    /// Length of one window of departures, 50..=10000 ms
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub window_ms: u64,
    /// Links of the worker, 200 records a second each, 1..=50000
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub links: u32,
    /// The worker's port: memory, or udp over loopback
    #[arg(long, value_enum, default_value_t = PortKind::Udp)]
    pub port: PortKind,
    /// The worker's loop sleeps to ticks of so many us, 100..=5000; without it the worker spins
    #[arg(long, value_name = "US")]
    pub tick_us: Option<u64>,
    /// Seed of the bootstrap interval
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    seconds: u64,
    departures: u64,
    window_ms: u64,
    links: u32,
    port: &'static str,
    tick_us: Option<u64>,
    seed: u64,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range; a set-up that failed, one core only, too few departures.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("departures", args.departures, 0..=SECONDS_MAX)?;
    within("window-ms", args.window_ms, 50..=10_000)?;
    within("links", args.links, 1..=LINKS_MAX)?;
    if let Some(tick) = args.tick_us {
        within("tick-us", tick, 100..=5000)?;
    }
    if args.departures > 0 && pin::cores()?.len() < 2 {
        let text = "departures beside a flood need two cores, and this process may use one: give --departures 0";
        return Err(Error::Usage(text.to_owned()));
    }
    let Args { seconds, departures, window_ms, links, tick_us, seed, .. } = *args;
    let udp = args.port == PortKind::Udp;
    let port = if udp { "udp" } else { "memory" };
    let config = Config { seconds, departures, window_ms, links, port, tick_us, seed };
    let mut run = Run::create("circuits", args.output.out.as_deref(), &config)?;
    let plan = Plan {
        time: Duration::from_secs(departures),
        window: Duration::from_millis(window_ms),
        links,
        rhythm: tick_us.map_or(Rhythm::Spin, |tick| Rhythm::Tick(tick * 1000)),
        udp,
    };
    match measure(&mut run, Duration::from_secs(seconds), plan, seed) {
        Ok(report) => Ok(args.output.text(&report, &run.finish(&report)?)),
        Err(error) => Err(run.fail(error).into()),
    }
}

fn measure(run: &mut Run, seconds: Duration, plan: Plan, seed: u64) -> Result<Report, String> {
    eprintln!("measuring set-ups, {} s", seconds.as_secs());
    let pairs = set_ups(seconds, &mut run.probe)?;
    for row in pairs.iter().flat_map(Row::of_pair) {
        run.trial(&row)?;
    }
    let set_ups = SetUps::new(&pairs)?;
    if plan.time.is_zero() {
        return Ok(Report::new(set_ups, None));
    }
    let found = departures(plan, &mut run.probe)?;
    for (without, with) in found.windows[0].iter().zip(&found.windows[1]) {
        run.trial(&Row::of_window(without, false))?;
        run.trial(&Row::of_window(with, true))?;
    }
    run.histogram("lateness-without", &found.lateness[0])?;
    run.histogram("lateness-with-flood", &found.lateness[1])?;
    Ok(Report::new(set_ups, Some(Departures::new(&found, seed)?)))
}
