//! `drover-perf circuits`.

use super::{Report, departures, set_ups};
use std::time::Duration;

/// Longest measurement of either part, s.
const SECONDS_MAX: u64 = 600;

/// How many circuits a second one control core sets up, and what a flood of set-ups does to departures.
///
/// First the hop's side of a mix's control daemon answers CREATE messages, batch by batch; between the batches run the
/// bare primitives of the same work: an X25519 key, two agreements, an ML-KEM-768 encapsulation. Then a data plane sends
/// chaff over its links on one core, while another core answers set-ups without a pause, in every other window. The ratio
/// of the windows' lateness says what that does to departures.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long to measure set-ups, 1..=600 s
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// How long to measure departures, 0..=600 s; 0 leaves them out
    #[arg(long, value_name = "S", default_value_t = 20)]
    pub departures: u64,
    /// Length of one window of departures, 50..=10000 ms
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub window_ms: u64,
    /// Links of the data plane, 200 records a second each, 1..=4096
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub links: u32,
    /// Seed of the bootstrap interval
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Measures, and returns the report as text or JSON.
pub fn run(args: &Args) -> Result<String, String> {
    let within = |flag: &str, value: u64, range: std::ops::RangeInclusive<u64>| match range.contains(&value) {
        true => Ok(()),
        false => Err(format!("--{flag} {value} is not in {}..={}", range.start(), range.end())),
    };
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("departures", args.departures, 0..=SECONDS_MAX)?;
    within("window-ms", args.window_ms, 50..=10_000)?;
    within("links", u64::from(args.links), 1..=4096)?;
    eprintln!("measuring set-ups, {} s", args.seconds);
    let set_ups = set_ups(Duration::from_secs(args.seconds))?;
    let departures = match args.departures {
        0 => None,
        seconds => {
            eprintln!("measuring departures, {seconds} s");
            let window = Duration::from_millis(args.window_ms);
            Some(departures(Duration::from_secs(seconds), window, args.links, args.seed)?)
        }
    };
    let report = Report::new(set_ups, departures);
    if args.json {
        serde_json::to_string_pretty(&report).map_err(|error| format!("the report is no JSON: {error}"))
    } else {
        Ok(report.to_string())
    }
}
