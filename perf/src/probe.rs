//! A probe of the core: how much of it is this program's while a tool measures.
//!
//! A fixed piece of work is timed around and during a run. Two loops with known instruction mixes: a chain of dependent
//! operations, whose time says the frequency; and independent ones, whose number a cycle falls when a sibling thread on
//! the same core takes issue slots, even where a guest cannot see that there is one. Beside it: time that the hypervisor
//! took (`/proc/stat`), and how often the thread was put off its core against its will.

mod loops;
mod noise;
mod round_trip;

pub use round_trip::{RoundTrip, round_trip, round_trip_of};

use crate::stats::{median, quartiles};
pub(crate) use noise::Noise;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Probes of a quiet run take, by their third quartile, at most this many times the best one's time.
pub const QUIET_SPREAD: f64 = 1.05;
/// A core with no busy sibling does at least so many operations a cycle: cores of the last decade alone do 3.5 or more,
/// and about half of it beside a busy sibling.
pub const QUIET_OPS_PER_CYCLE: f64 = 2.5;
/// In a quiet run the hypervisor takes at most this share of the machine's time.
pub const QUIET_STOLEN: f64 = 0.01;
/// In a quiet run the thread is put off its core at most so many times a second.
pub const QUIET_SWITCHES: f64 = 20.0;
/// Probes that [`Probe::now_and_then`] takes are at least so far apart.
const PAUSE: Duration = Duration::from_millis(100);

/// One probe.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Independent operations, ns for all.
    wide_ns: f64,
    /// The chain, ns for all.
    chain_ns: f64,
}

/// Probes of a run. Made where it begins, on the thread that measures.
pub struct Probe {
    samples: Vec<Sample>,
    last: Instant,
    start: Instant,
    noise: Noise,
}

/// What the probes found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Three quarters of the probes within 5 % of the best, at least 2.5 operations a cycle, at most 1 % of the time
    /// stolen, at most 20 involuntary switches a second. Null, for unknown, below 4 probes.
    pub quiet: Option<bool>,
    /// Which of these does not hold, in words; empty when all do.
    pub noise: Vec<String>,
    /// Third quartile of the probes' times / the best one: 1 is a run in which nothing changed.
    pub spread: f64,
    /// Independent operations a cycle, median. A busy sibling about halves it.
    pub ops_per_cycle: f64,
    /// The core's frequency, GHz, median, taking the chain's step for 4 cycles (a XOR and a 64-bit multiplication).
    pub ghz: f64,
    /// The independent loop's time, ns: best, median.
    pub wide_ns: [f64; 2],
    /// Share of the machine's time that the hypervisor took; null where the kernel does not say.
    pub stolen: Option<f64>,
    /// Involuntary context switches of the measuring thread a second; null where the kernel does not say.
    pub switches_per_second: Option<f64>,
    /// Probes.
    pub probes: usize,
    /// The round trip of a cache line between two cores at the run's start; null on one core.
    pub core_round_trip: Option<RoundTrip>,
}

impl Probe {
    /// Warms up and takes the first probe.
    pub fn start() -> Probe {
        loops::warm_up();
        let now = Instant::now();
        let mut probe = Probe { samples: Vec::new(), last: now, start: now, noise: Noise::now() };
        probe.now();
        probe
    }

    /// Takes one probe, about 0.2 ms.
    pub fn now(&mut self) {
        self.samples.push(Sample { wide_ns: loops::wide(), chain_ns: loops::chain() });
        self.last = Instant::now();
    }

    /// Takes a probe when the last one is 100 ms ago. For between two batches: it costs the run 0.2 %.
    pub fn now_and_then(&mut self) {
        if self.last.elapsed() >= PAUSE {
            self.now();
        }
    }

    /// What was found so far.
    pub fn report(&self, core_round_trip: Option<RoundTrip>) -> Report {
        let seconds = self.start.elapsed().as_secs_f64();
        let (stolen, switches) = self.noise.until(&Noise::now());
        judge(&self.samples, stolen, switches.map(|switches| switches / seconds), core_round_trip)
    }
}

fn judge(samples: &[Sample], stolen: Option<f64>, switches: Option<f64>, trip: Option<RoundTrip>) -> Report {
    let best = samples.iter().map(|sample| sample.wide_ns).fold(f64::INFINITY, f64::min);
    let [_, wide, third] = quartiles(samples.iter().map(|sample| sample.wide_ns).collect());
    let cycles = median(samples.iter().map(|sample| sample.chain_ns).collect()) / loops::CHAIN_CYCLES;
    let (spread, ops_per_cycle) = (third / best, loops::WIDE_OPS * cycles / wide);
    let mut noise = Vec::new();
    let mut ask = |noisy: bool, text: String| {
        if noisy {
            noise.push(text);
        }
    };
    ask(spread > QUIET_SPREAD, format!("a quarter of the probes took {spread:.2} times the best one's time or more"));
    let half = format!("{ops_per_cycle:.1} operations a cycle: a sibling is busy, or the core is a narrow one");
    ask(ops_per_cycle < QUIET_OPS_PER_CYCLE, half);
    let share = stolen.unwrap_or(0.0);
    ask(share > QUIET_STOLEN, format!("the hypervisor took {:.1} % of the time", 100.0 * share));
    let often = switches.unwrap_or(0.0);
    ask(often > QUIET_SWITCHES, format!("{often:.0} involuntary context switches a second"));
    Report {
        quiet: (samples.len() >= 4).then_some(noise.is_empty()),
        noise,
        spread,
        ops_per_cycle,
        ghz: 1.0 / cycles,
        wide_ns: [best, wide],
        stolen,
        switches_per_second: switches,
        probes: samples.len(),
        core_round_trip: trip,
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = match self.quiet {
            Some(true) => "quiet".to_owned(),
            Some(false) => format!("not quiet: {}", self.noise.join("; ")),
            None => "too few probes to say whether it was quiet".to_owned(),
        };
        write!(f, "{said} ({:.1} operations a cycle, about {:.1} GHz)", self.ops_per_cycle, self.ghz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(wide_ns: &[f64]) -> Vec<Sample> {
        wide_ns.iter().map(|wide_ns| Sample { wide_ns: *wide_ns, chain_ns: loops::CHAIN_CYCLES / 4.0 }).collect()
    }

    /// At 4 GHz, the time of the independent loop at so many operations a cycle.
    fn at(ops_per_cycle: f64) -> f64 {
        loops::WIDE_OPS / ops_per_cycle / 4.0
    }

    #[test]
    fn what_is_noisy_is_named() {
        let calm = vec![at(4.0); 8];
        let report = judge(&samples(&calm), Some(0.0), Some(1.0), None);
        assert_eq!((report.quiet, report.spread), (Some(true), 1.0));
        assert!((report.ghz - 4.0).abs() < 1e-9 && (report.ops_per_cycle - 4.0).abs() < 1e-9);
        // A sibling that is busy all the time, and one that comes.
        let busy = judge(&samples(&[at(2.0); 8]), None, None, None);
        assert!(busy.quiet == Some(false) && busy.noise.len() == 1 && busy.noise[0].contains("sibling"), "{busy:?}");
        let coming = [vec![at(4.0); 5], vec![at(2.6); 3]].concat();
        let coming = judge(&samples(&coming), None, None, None);
        assert!(coming.quiet == Some(false) && coming.noise[0].contains("1.54 times"), "{coming:?}");
        for (stolen, switches, word) in [(0.02, 0.0, "hypervisor took 2.0 %"), (0.0, 21.0, "21 involuntary")] {
            let report = judge(&samples(&calm), Some(stolen), Some(switches), None);
            assert!(report.quiet == Some(false) && report.noise[0].contains(word), "{report:?}");
        }
        assert_eq!(judge(&samples(&calm[..3]), None, None, None).quiet, None);
        // Few disturbed probes are what medians bear.
        let few = [vec![at(4.0); 7], vec![at(1.0); 1]].concat();
        assert_eq!(judge(&samples(&few), None, None, None).quiet, Some(true));
    }

    #[test]
    fn a_probe_has_figures() {
        let mut probe = Probe::start();
        for _ in 0..4 {
            probe.now();
        }
        probe.now_and_then();
        let report = probe.report(None);
        assert!(report.probes == 5 && report.quiet.is_some());
        assert!(report.spread >= 1.0 && report.ghz > 0.0 && report.ops_per_cycle > 0.0);
    }
}
