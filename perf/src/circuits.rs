//! Circuit set-ups: how many a second one control core answers, against the bare primitives of the same work; and what a
//! flood of them does to the departures of a worker on another core.

pub mod cli;
mod core;
mod flood;
mod floor;
mod report;

pub use self::core::Core;
pub use report::{Departures, Report, Row, SetUps};

use crate::live::histogram;
use crate::pace::{Setting, Window};
use crate::pin;
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::backend::{Backend, WithSuite};
use drover_dataplane::run::Rhythm;
use flood::Flood;
use floor::Floor;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Set-ups of one batch.
pub const BATCH: usize = 32;
/// Slots of each link's round of 20 ms: 200 records a second, as mix links have.
const SLOTS: u32 = 4;
/// Cell size of the worker's links, bytes.
const CELL: usize = 512;

/// One batch of set-ups and the batch of the floor after it, ns a set-up.
pub type Pair = [f64; 2];

/// Measures set-ups for `time`: batches of the control core's work and of the floor's, one after the other, so that what
/// slows the machine down slows down both.
///
/// # Errors
/// A set-up that fails: then no figure counts.
pub fn set_ups(time: Duration, probe: &mut Probe) -> Result<Vec<Pair>, String> {
    let (mut core, mut floor) = (Core::new()?, Floor::new()?);
    let mut pairs = Vec::new();
    // The first batches warm caches up.
    for _ in 0..2 {
        core.batch()?;
        floor.batch()?;
    }
    let begin = Instant::now();
    while begin.elapsed() < time || pairs.len() < 3 {
        let each = |taken: Duration| taken.as_nanos() as f64 / BATCH as f64;
        pairs.push([each(core.batch()?), each(floor.batch()?)]);
        probe.now_and_then();
    }
    Ok(pairs)
}

/// How departures are measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long.
    pub time: Duration,
    /// Length of a window.
    pub window: Duration,
    /// Links, 200 records a second each.
    pub links: u32,
    /// The worker's loop.
    pub rhythm: Rhythm,
    /// Over UDP to loopback, not over memory.
    pub udp: bool,
}

/// What was measured of departures.
pub struct Windows {
    /// Windows without and with the flood, in turns.
    pub windows: [Vec<Window>; 2],
    /// Lateness in all of them, ns.
    pub lateness: [Histogram<u64>; 2],
    /// Set-ups a second in the flood.
    pub flood_per_second: f64,
}

/// Measures departures: windows with a flood of set-ups on another core and without, in turns.
///
/// # Errors
/// There is one core only; the worker does not start, or has too few departures.
pub fn departures(plan: Plan, probe: &mut Probe) -> Result<Windows, String> {
    let cores = pin::cores()?;
    let [flood, .., worker] = cores[..] else {
        return Err("departures are measured with a flood on another core, and there is one only".to_owned());
    };
    Backend::best().dispatch(Measure { plan, cores: [worker, flood], probe })
}

/// With the fastest back end.
struct Measure<'p> {
    plan: Plan,
    cores: [usize; 2],
    probe: &'p mut Probe,
}

impl WithSuite for Measure<'_> {
    type Out = Result<Windows, String>;

    fn with<C: drover_crypto::Suite>(self) -> Self::Out {
        let Measure { plan: Plan { time, window, links, rhythm, udp }, cores: [core, other], probe } = self;
        let setting = Setting { links, slots: SLOTS, rhythm, udp, window, core, other: Some(other) };
        let mut flood = Flood::<C, CELL>::start(setting, other)?;
        // A window of each kind warms up.
        for with in [false, true] {
            flood.window(with, 0.0)?;
        }
        flood.forget();
        let mut found =
            Windows { windows: Default::default(), lateness: [histogram(), histogram()], flood_per_second: 0.0 };
        let mut progress = Progress::begin("measuring departures");
        while progress.elapsed() < time || found.windows[1].len() < 3 {
            for with in [false, true] {
                let window = flood.window(with, progress.elapsed().as_secs_f64())?;
                let at = usize::from(with);
                found.lateness[at]
                    .add(&window.lateness)
                    .map_err(|error| format!("histograms do not add up: {error}"))?;
                found.windows[at].push(window);
            }
            probe.now_and_then();
            progress.tell(|| format!("{} windows of either kind", found.windows[0].len()));
        }
        found.flood_per_second = flood.rate();
        Ok(found)
    }
}
