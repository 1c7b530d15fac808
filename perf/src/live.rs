//! What the tools that measure in real time share: a port that stamps departures, the grid that they should be on, and
//! histograms of ns.

mod grid;
mod stamped;

pub use grid::{Cursor, Grid};
pub use stamped::{LOG, Stamp, Stamped};

use drover_dataplane::keys::GenerationSecrets;
use hdrhistogram::Histogram;
use rand::RngCore;
use serde::Serialize;

/// Significant digits of histograms.
const DIGITS: u8 = 3;
/// Largest value that a histogram holds, ns; what is later counts with it.
pub const LONGEST_NS: u64 = 100_000_000_000;

/// An empty histogram of ns.
///
/// # Panics
/// Never: the bounds are constants that HdrHistogram takes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("bounds within HdrHistogram's")
}

/// Percentiles of a histogram, ns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the values are at most this.
    pub p50_ns: u64,
    /// 99 % of the values are at most this.
    pub p99_ns: u64,
    /// 99.9 % of the values are at most this.
    pub p999_ns: u64,
    /// The largest value.
    pub max_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// Values.
    pub count: u64,
}

impl Percentiles {
    /// Of a histogram; all 0 of nothing.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Percentiles {
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
            mean_ns: histogram.mean(),
            count: histogram.len(),
        }
    }
}

/// Records a time, at most [`LONGEST_NS`].
pub fn record(histogram: &mut Histogram<u64>, ns: u64) {
    histogram.saturating_record(ns);
}

/// Keys of a link, both ways, drawn anew; a ratchet step covers 2^`ratchet_bits` records.
pub fn draw_keys(rng: &mut impl RngCore, ratchet_bits: u8) -> GenerationSecrets {
    let mut draw = || {
        let mut secret = drover_crypto::schedule::TrafficSecret([0; 32]);
        rng.fill_bytes(&mut secret.0);
        secret
    };
    GenerationSecrets { generation: 1, ratchet_bits, send: (draw(), 0), receive: (draw(), 0) }
}
