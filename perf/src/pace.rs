//! How punctual departures are: a worker under its real loop and clock sends chaff, and a stamp beside it says when.
//!
//! Windows of the worker and of a bare loop take turns on one core. Both are asked the same question at the same kind of
//! instants, those of the links' grid: how long after it was something done?

pub mod cli;
mod machine;
mod report;
mod window;

pub use report::Report;
pub use window::{Bench, Kind, Setting, Window};

use crate::live::histogram;
use crate::probe::Probe;
use crate::progress::Progress;
use hdrhistogram::Histogram;
use std::time::Duration;

/// When a measurement ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many windows of either kind.
    Windows(usize),
}

/// What was measured.
pub struct Measured {
    /// Windows in order, of either kind in turn.
    pub windows: Vec<Window>,
    /// Lateness of all departures, ns.
    pub worker: Histogram<u64>,
    /// The same of a loop that does nothing else, ns.
    pub machine: Histogram<u64>,
}

/// Measures windows of either kind in turn; the first two warm up.
///
/// # Errors
/// A thread cannot have its core, or the worker sent nothing.
pub fn measure<C: drover_crypto::Suite, const S: usize>(
    bench: &mut Bench<C, S>,
    length: Length,
    probe: &mut Probe,
) -> Result<Measured, String> {
    for kind in [Kind::Worker, Kind::Machine] {
        bench.window(kind, 0.0)?;
    }
    let mut progress = Progress::begin("measuring");
    let mut measured = Measured { windows: Vec::new(), worker: histogram(), machine: histogram() };
    loop {
        for kind in [Kind::Worker, Kind::Machine] {
            let window = bench.window(kind, progress.elapsed().as_secs_f64())?;
            let all = if kind == Kind::Worker { &mut measured.worker } else { &mut measured.machine };
            all.add(&window.lateness).map_err(|error| format!("histograms do not add up: {error}"))?;
            measured.windows.push(window);
        }
        probe.now();
        progress.tell(|| format!("{} departures", measured.worker.len()));
        let done = match length {
            Length::Time(time) => progress.elapsed() >= time,
            Length::Windows(count) => measured.windows.len() >= 2 * count,
        };
        if done {
            break;
        }
    }
    match measured.worker.is_empty() {
        true => Err("the worker sent nothing: give more links or longer windows".to_owned()),
        false => Ok(measured),
    }
}
