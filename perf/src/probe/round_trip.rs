//! How long a cache line takes from one core to another and back.

use crate::pin;
use crate::stats::quartiles;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Round trips timed together: reading the clock takes as long as a short one.
const TRIPS: u64 = 64;
/// Timings.
const TIMINGS: usize = 256;
/// No more timings after this: on a busy machine a turn takes a time slice.
const PATIENCE: Duration = Duration::from_millis(200);
/// Tells the other end to stop.
const STOP: u64 = u64::MAX;

/// Round trips of one cache line between two threads on two cores, spinning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RoundTrip {
    /// The cores.
    pub cores: [usize; 2],
    /// Median of timings of 64 round trips each, ns a round trip.
    pub p50_ns: f64,
    /// The shortest, likewise.
    pub min_ns: f64,
    /// The longest, likewise.
    pub max_ns: f64,
}

#[repr(align(128))]
struct Line(AtomicU64);

/// Measures it between the first two cores that this process may use, in a few ms; `None` where there is one only.
pub fn round_trip() -> Option<RoundTrip> {
    match *pin::cores().ok()? {
        [first, second, ..] => round_trip_of([first, second]),
        _ => None,
    }
}

/// Measures it between these two; `None` when one of them may not be used.
pub fn round_trip_of(cores: [usize; 2]) -> Option<RoundTrip> {
    let line = Line(AtomicU64::new(0));
    let timings = std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let pinned = pin::to(cores[1]);
            answer(&line.0);
            pinned
        });
        let here = scope.spawn(|| {
            let pinned = pin::to(cores[0]);
            let timings = ask(&line.0);
            line.0.store(STOP, Ordering::Release);
            pinned.map(|()| timings)
        });
        let (timings, pinned) = (here.join().ok()?, there.join().ok()?);
        pinned.and(timings).ok()
    })?;
    let max_ns = timings.iter().copied().fold(0.0, f64::max);
    let min_ns = timings.iter().copied().fold(f64::INFINITY, f64::min);
    Some(RoundTrip { cores, p50_ns: quartiles(timings)[1], min_ns, max_ns })
}

/// Turns every odd number into the next even one.
fn answer(line: &AtomicU64) {
    loop {
        let seen = line.load(Ordering::Acquire);
        if seen == STOP {
            return;
        }
        if seen % 2 == 1 {
            line.store(seen + 1, Ordering::Release);
        }
    }
}

/// Times round trips, after as many that are not counted.
fn ask(line: &AtomicU64) -> Vec<f64> {
    let mut timings = Vec::with_capacity(TIMINGS);
    let (mut next, begin) = (1, Instant::now());
    let mut trips = |count: u64| {
        let start = Instant::now();
        for _ in 0..count {
            line.store(next, Ordering::Release);
            next += 2;
            while line.load(Ordering::Acquire) != next - 1 {}
        }
        start.elapsed().as_nanos() as f64 / count as f64
    };
    trips(TRIPS);
    while timings.is_empty() || (timings.len() < TIMINGS && begin.elapsed() < PATIENCE) {
        timings.push(trips(TRIPS));
    }
    timings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_have_a_round_trip_and_one_has_none() {
        let cores = pin::cores().unwrap();
        let found = round_trip();
        assert_eq!(found.is_some(), cores.len() > 1);
        let Some(RoundTrip { cores, p50_ns, min_ns, max_ns }) = found else { return };
        assert!(cores[0] != cores[1] && 0.0 < min_ns && min_ns <= p50_ns && p50_ns <= max_ns);
    }

    #[test]
    fn a_core_that_may_not_be_used_has_none() {
        assert_eq!(round_trip_of([0, 1023]), None);
    }
}
