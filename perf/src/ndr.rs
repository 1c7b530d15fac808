//! The rate that one worker carries: without loss (NDR), and with the loss that is allowed (PDR).
//!
//! [`Search`] says which load to try next; [`Bench`] tries it, in real time: the worker spins on a core of its own, and a
//! generator on another delivers fresh cells at a constant rate, as the links of a mix do. A load is a rate of the class:
//! each direction of each circuit has one cell and one slot in a round, and the round is as long as the load says.

mod bench;
mod classify;
pub mod cli;
mod generator;
mod report;
mod search;

pub use bench::{Bench, Setting, Trial};
pub use classify::{Class, Goal};
pub use report::{Report, Row};
pub use search::{Ask, Found, Search};

use crate::bed::Wire;
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::Suite;
use std::time::Duration;

/// What a run found.
pub struct Measured {
    /// Every trial with its verdict, in order.
    pub trials: Vec<(Trial, Verdict)>,
    /// Of each goal.
    pub found: Vec<Found>,
    /// The generator alone, cells a second.
    pub ceiling: f64,
    /// Wall-clock time, s.
    pub seconds: f64,
}

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every cell came out.
    NoLoss,
    /// Some did not, as few as the last goal allows.
    PartialLoss,
    /// More.
    HighLoss,
    /// The generator did not offer what it should: the trial counts for nothing.
    Invalid,
}

/// Searches for the rates of `goals` between two loads, for `time` at most.
///
/// # Errors
/// A core that cannot be had; what came out wrong.
pub fn measure<C: Suite, const S: usize, W: Wire>(
    bench: &mut Bench<C, S, W>,
    search: &mut Search,
    goals: &[Goal],
    ceiling: f64,
    time: Duration,
    probe: &mut Probe,
) -> Result<Measured, String> {
    let allowed = goals.iter().map(|goal| goal.loss_ratio).fold(0.0, f64::max);
    let progress = Progress::begin("searching");
    let mut trials = Vec::new();
    while let Some(ask) = search.ask() {
        // A trial that would end beyond the time is not begun.
        if progress.elapsed().as_secs_f64() + ask.duration_s > time.as_secs_f64() || bench.is_spent() {
            break;
        }
        let trial = bench.trial(ask.load, ask.duration_s)?;
        probe.now();
        let verdict = match trial.loss_ratio() {
            _ if trial.invalid.is_some() => Verdict::Invalid,
            0.0 => Verdict::NoLoss,
            loss if loss <= allowed => Verdict::PartialLoss,
            _ => Verdict::HighLoss,
        };
        eprintln!("{:.0} s, trial {}: {trial}", progress.elapsed().as_secs_f64(), trials.len() + 1);
        let goes_on = match trial.invalid {
            None => {
                search.told(ask.duration_s, trial.loss_ratio());
                true
            }
            // It is tried again, and after a few of these the search keeps below.
            Some(_) => search.told_invalid(),
        };
        trials.push((trial, verdict));
        if !goes_on {
            break;
        }
    }
    let found = (0..goals.len()).map(|goal| search.found(goal)).collect();
    Ok(Measured { trials, found, ceiling, seconds: progress.elapsed().as_secs_f64() })
}
