//! On an interface that was named: what comes there for the port is sent back, and timed.

use super::{About, Forwarder, Report, Sample, places};
use crate::probe::Probe;
use crate::progress::Progress;
use drover_nic::Port;
use std::time::{Duration, Instant};

/// A trial, as short as the machine's slow moments.
const WINDOW: Duration = Duration::from_millis(50);

/// Sends back what comes for `time`. Time in which nothing comes is not counted.
///
/// # Errors
/// Nothing came.
pub fn measure(
    port: &mut impl Port,
    cell: usize,
    time: Duration,
    probe: &mut Probe,
    about: About,
) -> Result<(Vec<Sample>, Report), String> {
    let mut forwarder = Forwarder::new(cell);
    let before = (port.counters(), port.details());
    let mut progress = Progress::begin(format!("sending back what comes: {}", about.bound));
    let (mut samples, mut foreign): (Vec<Sample>, u64) = (Vec::new(), 0);
    while progress.elapsed() < time {
        let begin = Instant::now();
        let mut sample = Sample { offered: 0, forwarded: 0, lost: 0, turns: 0, ns: 0 };
        let mut last = begin;
        while last - begin < WINDOW {
            let moved = forwarder.turn(port);
            let now = Instant::now();
            if moved.received > 0 {
                sample.offered += moved.received as u64;
                sample.forwarded += moved.sent as u64;
                foreign += moved.foreign as u64;
                sample.turns += 1;
                sample.ns += (now - last).as_nanos() as u64;
            }
            last = now;
        }
        sample.lost = sample.offered - sample.forwarded;
        if sample.offered > 0 {
            samples.push(sample);
        }
        probe.now_and_then();
        progress.tell(|| {
            let packets: u64 = samples.iter().map(|sample| sample.offered).sum();
            format!("{packets} packets, {foreign} of them no records")
        });
    }
    let places = places((&before.0, &before.1), port);
    let report = Report::new(&samples, places, about)
        .map_err(|error| format!("{error}; send records to it (drover-perf generate) while it runs"))?;
    Ok((samples, report))
}
