//! What a run found, for machines and for people.

use super::{Pair, Windows};
use crate::live::Percentiles;
use crate::pace::Window;
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
    /// Set-ups a second, by what the bare primitives would allow: 1 / `floor_ratio`.
    pub rate_of_primitives: f64,
    /// Quartiles of the batches' own.
    pub rate_of_primitives_iqr: [f64; 2],
    /// Batches measured, of either kind.
    pub batches: usize,
}

/// Lateness of a worker's departures without and with a flood of set-ups on another core: medians of windows' 99th
/// percentiles.
#[derive(Clone, Debug, Serialize)]
pub struct Departures {
    /// Without, µs.
    pub p99_us_calm: f64,
    /// With, µs.
    pub p99_us_flood: f64,
    /// With / without, and its 95 % bootstrap interval over windows.
    pub p99_ratio: Interval,
    /// The same of the windows in which the scheduler left the worker on its core; null where there are fewer than three
    /// of either kind.
    pub p99_ratio_undisturbed: Option<Interval>,
    /// Windows without and with the flood in which the scheduler did so.
    pub undisturbed: [usize; 2],
    /// Slots missed without.
    pub missed_calm: u64,
    /// Slots missed with.
    pub missed_flood: u64,
    /// Set-ups a second in the flood.
    pub flood_per_second: f64,
    /// Windows of either kind.
    pub windows: usize,
}

/// Windows of either kind below which there is no interval.
const WINDOWS_LEAST: usize = 3;

/// A batch or a window as `trials.csv` has it.
#[derive(Default, Serialize)]
pub struct Row {
    kind: &'static str,
    at_s: Option<f64>,
    ns_each: Option<f64>,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
    departures: Option<u64>,
    missed: Option<u64>,
    switches: Option<u64>,
}

impl Row {
    /// Of a batch of set-ups and the floor's after it.
    pub fn of_pair([ours, floor]: &Pair) -> [Row; 2] {
        let row = |kind, ns: &f64| Row { kind, ns_each: Some(*ns), ..Row::default() };
        [row("set-ups", ours), row("primitives", floor)]
    }

    /// Of a window, with or without the flood.
    pub fn of_window(window: &Window, with: bool) -> Row {
        let Percentiles { p50_ns, p99_ns, max_ns, .. } = Percentiles::of(&window.lateness);
        Row {
            kind: if with { "with the flood" } else { "without" },
            at_s: Some(window.at_s),
            ns_each: None,
            p50_ns: Some(p50_ns),
            p99_ns: Some(p99_ns),
            max_ns: Some(max_ns),
            departures: Some(window.departures),
            missed: Some(window.missed),
            switches: window.switches,
        }
    }
}

impl SetUps {
    /// The figures of batches.
    ///
    /// # Errors
    /// There is none.
    pub fn new(pairs: &[Pair]) -> Result<SetUps, String> {
        let [ours, floor] = &[0, 1].map(|at| pairs.iter().map(|pair| pair[at]).collect::<Vec<_>>());
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
            rate_of_primitives: floor_ns_each / ns_each,
            rate_of_primitives_iqr: [1.0 / quartiles.1, 1.0 / quartiles.0],
            batches: ours.len(),
        })
    }
}

impl Departures {
    /// The figures of windows without and with the flood.
    ///
    /// # Errors
    /// There are none.
    pub fn new(found: &Windows, seed: u64) -> Result<Departures, String> {
        let p99 = |window: &Window| Percentiles::of(&window.lateness).p99_ns as f64 / 1e3;
        let all = |at: usize| -> Vec<f64> { found.windows[at].iter().map(p99).collect() };
        let calm = |at: usize| -> Vec<f64> {
            found.windows[at].iter().filter(|window| window.switches == Some(0)).map(p99).collect()
        };
        let ([without, with], undisturbed) = ([all(0), all(1)], [calm(0), calm(1)]);
        let nothing = || "nothing was measured".to_owned();
        let (p99_us_calm, p99_us_flood) = median(&without).zip(median(&with)).ok_or_else(nothing)?;
        let enough = undisturbed.iter().all(|windows| windows.len() >= WINDOWS_LEAST);
        let missed = |at: usize| found.windows[at].iter().map(|window| window.missed).sum();
        Ok(Departures {
            p99_us_calm,
            p99_us_flood,
            p99_ratio: ratio_of_medians(&without, &with, seed).ok_or_else(nothing)?,
            p99_ratio_undisturbed: ratio_of_medians(&undisturbed[0], &undisturbed[1], seed).filter(|_| enough),
            undisturbed: [undisturbed[0].len(), undisturbed[1].len()],
            missed_calm: missed(0),
            missed_flood: missed(1),
            flood_per_second: found.flood_per_second,
            windows: without.len(),
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
        let SetUps { per_second, ns_each, floor_ns_each, floor_ratio, floor_ratio_iqr, batches, .. } = &self.set_ups;
        let [low, high] = floor_ratio_iqr;
        writeln!(f, "Circuits' hybrid set-ups (X25519 and ML-KEM-768), answered by one control core")?;
        writeln!(f, "  set-ups    {per_second:.0} a second, {:.1} us each", ns_each / 1e3)?;
        writeln!(f, "  floor      {:.1} us each: the bare primitives", floor_ns_each / 1e3)?;
        writeln!(f, "  ratio      {floor_ratio:.2}, half of the batches in {low:.2}..{high:.2}")?;
        writeln!(f, "             so {:.2} of the primitives' rate", self.set_ups.rate_of_primitives)?;
        writeln!(f, "  measured   {batches} batches of {} of either kind, in turns", super::BATCH)?;
        if let Some(departures) = &self.departures {
            let Departures { p99_us_calm, p99_us_flood, p99_ratio, windows, .. } = departures;
            let Departures { missed_calm, missed_flood, flood_per_second, .. } = departures;
            let Interval { mean, low, high } = p99_ratio;
            writeln!(f, "A worker's departures beside a flood of set-ups on another core")?;
            writeln!(f, "  flood      {flood_per_second:.0} set-ups a second")?;
            writeln!(f, "  lateness   99 % within {p99_us_flood:.2} us, without the flood {p99_us_calm:.2} us")?;
            writeln!(f, "  ratio      {mean:.3}, 95 % interval {low:.3}..{high:.3}")?;
            let [calm, flood] = departures.undisturbed;
            let of = format!("{flood} windows with it and {calm} without");
            match &departures.p99_ratio_undisturbed {
                Some(Interval { mean, low, high }) => {
                    writeln!(f, "             {mean:.3}, {low:.3}..{high:.3} where the worker kept its core: {of}")?;
                }
                None => writeln!(f, "             the worker kept its core in {of}: too few for an interval")?,
            }
            writeln!(f, "  missed     {missed_flood} slots, without the flood {missed_calm}")?;
            writeln!(f, "  measured   {windows} windows of either kind, in turns")?;
        }
        write!(f, "  machine    {} cores, {} build", self.cores, self.profile)
    }
}
