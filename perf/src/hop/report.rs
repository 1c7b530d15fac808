//! What a run found, for machines and for people.

use super::{Bench, Sample};
use drover_crypto::Suite;
use serde::Serialize;
use std::fmt;

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Cells that one worker relays in a second: 10^9 / `ns_per_cell`.
    pub cells_per_second: f64,
    /// The worker's time, receive to transmit, for each cell relayed.
    pub ns_per_cell: f64,
    /// The bare kernels' time for the same work, for each cell relayed.
    pub floor_ns_per_cell: f64,
    /// `ns_per_cell` / `floor_ns_per_cell`.
    pub floor_ratio: f64,
    /// Quartiles of the batches' own ratios.
    pub floor_ratio_iqr: [f64; 2],
    /// The crypto back end.
    pub backend: &'static str,
    /// Memory of the worker's pool.
    pub pool_bytes: usize,
    /// Memory of the pool's cells in use, at most.
    pub pool_used_bytes: usize,
    /// Memory of the worker's tables.
    pub table_bytes: usize,
    /// Cells dropped, for whatever reason. A run that drops one fails.
    pub dropped: u64,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links.
    pub links: usize,
    /// Circuits.
    pub circuits: usize,
    /// Slots of a round of each link.
    pub slots_per_round: u32,
    /// Slots that went by on all links: records sent.
    pub slots_offered: u64,
    /// Share of these that carried a cell.
    pub occupancy: f64,
    /// Batches measured.
    pub batches: u64,
    /// Cells of a batch, on average.
    pub cells_per_batch: f64,
    /// Cells of a turn, on average.
    pub cells_per_turn: f64,
    /// Cells relayed in these batches.
    pub cells: u64,
    /// Wall-clock time of the measurement, all that is not timed included.
    pub seconds: f64,
    /// The processor's model.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Built with the feature `lab`, which release binaries lack.
    pub lab: bool,
    /// `release` or `debug`.
    pub profile: &'static str,
}

impl Report {
    /// The figures of `samples`, which took `seconds`.
    pub fn new<C: Suite, const S: usize>(bench: &Bench<C, S>, samples: &[Sample], seconds: f64) -> Report {
        let of = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
        let per_cell = |value: fn(&Sample) -> u64| {
            quartiles(samples.iter().filter(|s| s.relayed > 0).map(|s| value(s) as f64 / s.relayed as f64).collect())[1]
        };
        let ratios = quartiles(
            samples.iter().filter(|s| s.floor_ns > 0).map(|s| s.worker_ns as f64 / s.floor_ns as f64).collect(),
        );
        let (cells, slots_offered) = (of(|s| s.relayed), of(|s| s.relayed + s.chaff));
        let (ns_per_cell, floor_ns_per_cell) = (per_cell(|s| s.worker_ns), per_cell(|s| s.floor_ns));
        let (pool_bytes, table_bytes) = bench.bytes();
        Report {
            cells_per_second: 1e9 / ns_per_cell,
            ns_per_cell,
            floor_ns_per_cell,
            floor_ratio: ns_per_cell / floor_ns_per_cell,
            floor_ratio_iqr: [ratios[0], ratios[2]],
            backend: C::NAME,
            pool_bytes,
            pool_used_bytes: samples.iter().map(|s| s.waiting).max().unwrap_or(0) as usize * S,
            table_bytes,
            dropped: bench.dropped(),
            cell: S,
            links: bench.shape().links,
            circuits: bench.shape().circuits,
            slots_per_round: bench.shape().slots,
            slots_offered,
            occupancy: cells as f64 / slots_offered as f64,
            batches: samples.len() as u64,
            cells_per_batch: cells as f64 / samples.len() as f64,
            cells_per_turn: cells as f64 / of(|s| s.turns) as f64,
            cells,
            seconds,
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            lab: drover_dataplane::LAB,
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let [low, high] = self.floor_ratio_iqr;
        let lab = if self.lab { ", feature lab" } else { "" };
        writeln!(f, "One node's work on a cell: received, opened, relayed, mixed, sealed, transmitted; one core")?;
        writeln!(f, "  cell       {} bytes, back end {}", self.cell, self.backend)?;
        writeln!(f, "  world      {} links, {} circuits, both directions", self.links, self.circuits)?;
        let (slots, occupied) = (self.slots_per_round, 100.0 * self.occupancy);
        writeln!(f, "  slots      {slots} a round of each link, {occupied:.1} % with a cell, the others with chaff")?;
        let (pool, used, tables) = (mib(self.pool_bytes), mib(self.pool_used_bytes), mib(self.table_bytes));
        writeln!(f, "  memory     pool {pool:.1} MiB, of it {used:.1} in use; tables {tables:.1} MiB")?;
        let (ns, rate) = (self.ns_per_cell, self.cells_per_second / 1e6);
        writeln!(f, "  worker     {ns:.0} ns a cell, {rate:.2} million cells a second")?;
        writeln!(f, "  floor      {:.0} ns a cell: the bare crypto of the same work", self.floor_ns_per_cell)?;
        writeln!(f, "  ratio      {:.2}, half of the batches in {low:.2}..{high:.2}", self.floor_ratio)?;
        let Report { cells, batches, dropped, seconds, .. } = self;
        writeln!(f, "  measured   {cells} cells in {batches} batches, {dropped} dropped, in {seconds:.1} s")?;
        write!(f, "  machine    {}, {} cores, {} build{lab}", self.cpu, self.cores, self.profile)
    }
}

/// First quartile, median and third quartile, interpolated. NaN of nothing.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|q| {
        let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
        let at = q * last as f64;
        let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
        below + (above - below) * at.fract()
    })
}

/// The processor's model, as Linux names it.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or("unknown", |(_, name)| name).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(quartiles(vec![5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(vec![2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(vec![7.0]), [7.0; 3]);
        assert!(quartiles(Vec::new())[1].is_nan());
    }
}
