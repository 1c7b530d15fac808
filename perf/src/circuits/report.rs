//! What a run found, for machines and for people.

use super::flood::Flood;
use drover_control::report::stats::{Interval, median, quantile, ratio_of_medians};
use serde::Serialize;
use std::fmt;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Set-ups of one control core.
    pub set_ups: SetUps,
    /// Departures beside a flood of them; null when not asked for.
    pub departures: Option<Departures>,
    /// Cores that this process may use.
    pub cores: usize,
    /// `release` or `debug`.
    pub profile: &'static str,
}

/// Set-ups that one control core answers. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct SetUps {
    /// A second: 10^9 / `ns_each`.
    pub per_second: f64,
    /// From the client's message to the answer, ns.
    pub ns_each: f64,
    /// The bare primitives of one, ns.
    pub floor_ns_each: f64,
    /// `ns_each` / `floor_ns_each`.
    pub floor_ratio: f64,
    /// Quartiles of the batches' own ratios.
    pub floor_ratio_iqr: [f64; 2],
    /// Batches measured, of either kind.
    pub batches: usize,
}

/// Lateness of a data plane's departures without and with a flood of set-ups on another core: medians of windows' 99th
/// percentiles.
#[derive(Clone, Debug, Serialize)]
pub struct Departures {
    /// Without, µs.
    pub p99_us_calm: f64,
    /// With, µs.
    pub p99_us_flood: f64,
    /// With / without, and its 95 % bootstrap interval.
    pub p99_ratio: Interval,
    /// Slots missed without.
    pub missed_calm: u64,
    /// Slots missed with.
    pub missed_flood: u64,
    /// Set-ups a second in the flood.
    pub flood_per_second: f64,
    /// Windows of either kind.
    pub windows: usize,
}

impl SetUps {
    /// The figures of batches: ns a set-up, and of the floor's batch beside it.
    pub(super) fn new(ours: &[f64], floor: &[f64]) -> Result<SetUps, String> {
        let nothing = || "nothing was measured".to_owned();
        let (ns_each, floor_ns_each) = median(ours).zip(median(floor)).ok_or_else(nothing)?;
        let ratios: Vec<_> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        let quartiles = quantile(&ratios, 0.25).zip(quantile(&ratios, 0.75)).ok_or_else(nothing)?;
        Ok(SetUps {
            per_second: 1e9 / ns_each,
            ns_each,
            floor_ns_each,
            floor_ratio: ns_each / floor_ns_each,
            floor_ratio_iqr: [quartiles.0, quartiles.1],
            batches: ours.len(),
        })
    }
}

impl Departures {
    /// The figures of windows without and with the flood.
    pub(super) fn new([calm, with]: &[Vec<f64>; 2], flood: &Flood, seed: u64) -> Result<Departures, String> {
        let nothing = || "nothing was measured".to_owned();
        let (p99_us_calm, p99_us_flood) = median(calm).zip(median(with)).ok_or_else(nothing)?;
        let [missed_calm, missed_flood] = flood.missed();
        Ok(Departures {
            p99_us_calm,
            p99_us_flood,
            p99_ratio: ratio_of_medians(calm, with, seed).ok_or_else(nothing)?,
            missed_calm,
            missed_flood,
            flood_per_second: flood.rate(),
            windows: calm.len(),
        })
    }
}

impl Report {
    /// The report of this machine and build.
    pub fn new(set_ups: SetUps, departures: Option<Departures>) -> Report {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Report { set_ups, departures, cores, profile }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SetUps { per_second, ns_each, floor_ns_each, floor_ratio, floor_ratio_iqr, batches } = &self.set_ups;
        let [low, high] = floor_ratio_iqr;
        writeln!(f, "Circuits' hybrid set-ups (X25519 and ML-KEM-768), answered by one control core")?;
        writeln!(f, "  set-ups    {per_second:.0} a second, {:.1} us each", ns_each / 1e3)?;
        writeln!(f, "  floor      {:.1} us each: the bare primitives", floor_ns_each / 1e3)?;
        writeln!(f, "  ratio      {floor_ratio:.2}, half of the batches in {low:.2}..{high:.2}")?;
        writeln!(f, "  measured   {batches} batches of {} of either kind, in turns", super::BATCH)?;
        if let Some(departures) = &self.departures {
            let Departures { p99_us_calm, p99_us_flood, p99_ratio, windows, .. } = departures;
            let Departures { missed_calm, missed_flood, flood_per_second, .. } = departures;
            let Interval { mean, low, high } = p99_ratio;
            writeln!(f, "A data plane's departures beside a flood of set-ups on another core")?;
            writeln!(f, "  flood      {flood_per_second:.0} set-ups a second")?;
            writeln!(f, "  lateness   99 % within {p99_us_flood:.0} us, without the flood {p99_us_calm:.0} us")?;
            writeln!(f, "  ratio      {mean:.3}, 95 % interval {low:.3}..{high:.3}")?;
            writeln!(f, "  missed     {missed_flood} slots, without the flood {missed_calm}")?;
            writeln!(f, "  measured   {windows} windows of either kind, in turns")?;
        }
        write!(f, "  machine    {} cores, {} build", self.cores, self.profile)
    }
}
