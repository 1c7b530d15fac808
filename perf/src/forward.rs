//! What it takes to receive a packet and send it, with its header read and without any crypto, over any port: what other
//! figures are compared to.
//!
//! A batch goes through three steps, of which one is timed:
//!
//! 1. the peers send datagrams of a record's size, each of them different;
//! 2. **the port, timed**: bursts are received, each datagram's record header is read, and it is sent back to where it came
//!    from. It is copied once out of the port and once into it, as opening and sealing move a cell;
//! 3. the peers take what comes back and compare every byte. What does not come is lost, and counted by place.
//!
//! On an interface that was named there is no tester: [`interface`] counts and times what comes by itself. DPDK's devices
//! have a loop of their own ([`dpdk`]), whose frames are never copied.

mod bench;
pub mod cli;
#[cfg(feature = "dpdk")]
mod dpdk;
mod forwarder;
pub mod interface;
mod report;
#[cfg(feature = "dpdk")]
pub mod testpmd;

pub use bench::{Bench, Sample};
pub use forwarder::{Forwarder, Moved};
pub use report::{About, Place, Report, places};

use crate::bed::Wire;
use crate::probe::Probe;
use crate::progress::Progress;
use drover_nic::Port;
use std::time::Duration;

/// Batches before anything is counted.
pub const WARM_UP: u64 = 8;
/// Least batches of a measurement, however short.
const LEAST: usize = 8;

/// Warms up and measures for `time`.
///
/// # Errors
/// A datagram that came back wrong.
pub fn measure<P: Port, W: Wire>(
    bench: &mut Bench<P, W>,
    time: Duration,
    probe: &mut Probe,
) -> Result<Vec<Sample>, String> {
    for _ in 0..WARM_UP {
        bench.batch()?;
    }
    bench.begin();
    let mut progress = Progress::begin("measuring");
    let mut samples = Vec::new();
    while samples.len() < LEAST || progress.elapsed() < time {
        samples.push(bench.batch()?);
        probe.now_and_then();
        progress.tell(|| {
            let (forwarded, lost) = samples.iter().fold((0, 0), |sum, s| (sum.0 + s.forwarded, sum.1 + s.lost));
            format!("{forwarded} packets forwarded, {lost} lost")
        });
    }
    Ok(samples)
}
