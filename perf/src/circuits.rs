//! Circuit set-ups: how many a second one control core answers, against the bare primitives of the same work; and what a
//! flood of them does to the departures of a data plane on another core.

pub mod cli;
mod core;
mod flood;
mod floor;
mod report;

pub use self::core::Core;
pub use report::{Departures, Report, SetUps};

use flood::Flood;
use floor::Floor;
use std::time::{Duration, Instant};

/// Set-ups of one batch.
pub const BATCH: usize = 32;

/// Measures set-ups for `time`: batches of the control core's work and of the floor's, one after the other, so that what
/// slows the machine down slows down both.
///
/// # Errors
/// A set-up that fails: then no figure counts.
pub fn set_ups(time: Duration) -> Result<SetUps, String> {
    let (mut core, mut floor) = (Core::new()?, Floor::new()?);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first batches warm caches up.
    for _ in 0..2 {
        core.batch()?;
        floor.batch()?;
    }
    let begin = Instant::now();
    while begin.elapsed() < time || ours.len() < 3 {
        ours.push(core.batch()?.as_nanos() as f64 / BATCH as f64);
        bare.push(floor.batch()?.as_nanos() as f64 / BATCH as f64);
    }
    SetUps::new(&ours, &bare)
}

/// Measures departures for `time`: windows of `window` with a flood of set-ups on another core and without, in turns.
///
/// # Errors
/// The data plane does not start, or has too few departures.
pub fn departures(time: Duration, window: Duration, links: u32, seed: u64) -> Result<Departures, String> {
    let mut flood = Flood::start(links)?;
    let begin = Instant::now();
    let mut windows = [Vec::new(), Vec::new()];
    // A window of each kind warms up.
    for with in [false, true] {
        flood.window(with, window)?;
    }
    flood.forget();
    while begin.elapsed() < time || windows[1].len() < 3 {
        for with in [false, true] {
            windows[usize::from(with)].push(flood.window(with, window)?);
        }
    }
    Departures::new(&windows, &flood, seed)
}
