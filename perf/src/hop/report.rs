//! What a run found, for machines and for people.

use super::{Bench, Memory, Sample};
use crate::host::{Build, Cpu};
use crate::stats::quartiles;
use drover_crypto::Suite;
use serde::Serialize;
use std::fmt;

/// The figures of a run. Times are medians over batches. A figure for each cell is null where no cell was relayed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Cells that one worker relays in a second: 10^9 / `ns_per_cell`.
    pub cells_per_second: Option<f64>,
    /// The worker's time, receive to transmit and its chaff included, for each cell relayed.
    pub ns_per_cell: Option<f64>,
    /// The bare kernels' time for the same work, for each cell relayed.
    pub floor_ns_per_cell: Option<f64>,
    /// `ns_per_cell` / `floor_ns_per_cell`; with no cells, `ns_per_record` / `floor_ns_per_record`.
    pub floor_ratio: f64,
    /// Quartiles of the batches' own ratios.
    pub floor_ratio_iqr: [f64; 2],
    /// Quartiles of the batches' `ns_per_cell`.
    pub ns_per_cell_iqr: Option<[f64; 2]>,
    /// Quartiles of the batches' `floor_ns_per_cell`.
    pub floor_ns_per_cell_iqr: Option<[f64; 2]>,
    /// Records that one worker sends in a second, cells and chaff: 10^9 / `ns_per_record`.
    pub records_per_second: f64,
    /// The worker's time for each record sent, cell or chaff, what it opened and relayed for them included.
    pub ns_per_record: f64,
    /// Quartiles of the batches' `ns_per_record`.
    pub ns_per_record_iqr: [f64; 2],
    /// The bare kernels' time for the same work, for each record sent.
    pub floor_ns_per_record: f64,
    /// Bytes of distinct cache lines that the worker must touch for a cell relayed.
    pub bytes_per_cell_memory: usize,
    /// The same for a record of chaff in an owned slot.
    pub bytes_per_chaff_memory: usize,
    /// What `bytes_per_cell_memory` consists of.
    pub memory_of_cell: Memory,
    /// Bytes of such lines that the worker touches in a second.
    pub memory_bytes_per_second: f64,
    /// The crypto back end.
    pub backend: &'static str,
    /// Share of the owned slots that find a cell waiting, %.
    pub share_real: u32,
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
        let per_cell = |value: fn(&Sample) -> u64| per(samples, value, |s| s.relayed);
        let per_record = |value: fn(&Sample) -> u64| per(samples, value, |s| s.relayed + s.chaff);
        let ratios = quartiles(
            samples.iter().filter(|s| s.floor_ns > 0).map(|s| s.worker_ns as f64 / s.floor_ns as f64).collect(),
        );
        let (cells, slots_offered) = (of(|s| s.relayed), of(|s| s.relayed + s.chaff));
        let (worker, floor) = (per_cell(|s| s.worker_ns), per_cell(|s| s.floor_ns));
        let (of_record, floor_of_record) = (per_record(|s| s.worker_ns), per_record(|s| s.floor_ns));
        let measured = |figure: [f64; 3]| (cells > 0).then_some(figure);
        let median = |figure: [f64; 3]| measured(figure).map(|figure| figure[1]);
        let iqr = |figure: [f64; 3]| measured(figure).map(|figure| [figure[0], figure[2]]);
        let memory = bench.memory();
        let touched = cells as f64 * memory.relayed() as f64 + of(|s| s.chaff) as f64 * memory.sent() as f64;
        let (pool_bytes, table_bytes) = bench.bytes();
        let cpu = Cpu::read();
        Report {
            cells_per_second: median(worker).map(|ns| 1e9 / ns),
            ns_per_cell: median(worker),
            floor_ns_per_cell: median(floor),
            floor_ratio: if cells > 0 { worker[1] / floor[1] } else { of_record[1] / floor_of_record[1] },
            floor_ratio_iqr: [ratios[0], ratios[2]],
            ns_per_cell_iqr: iqr(worker),
            floor_ns_per_cell_iqr: iqr(floor),
            records_per_second: 1e9 / of_record[1],
            ns_per_record: of_record[1],
            ns_per_record_iqr: [of_record[0], of_record[2]],
            floor_ns_per_record: floor_of_record[1],
            bytes_per_cell_memory: memory.relayed(),
            bytes_per_chaff_memory: memory.sent(),
            memory_of_cell: memory,
            memory_bytes_per_second: touched / slots_offered as f64 * 1e9 / of_record[1],
            backend: C::NAME,
            share_real: bench.shape().share_real,
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
            cpu: cpu.model,
            cores: cpu.cores_allowed,
            lab: Build::THIS.lab,
            profile: Build::THIS.profile,
        }
    }
}

/// Quartiles over batches of one value for each of another.
fn per(samples: &[Sample], value: fn(&Sample) -> u64, each: fn(&Sample) -> u64) -> [f64; 3] {
    quartiles(samples.iter().filter(|s| each(s) > 0).map(|s| value(s) as f64 / each(s) as f64).collect())
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
        let (cell, chaff) = (self.bytes_per_cell_memory, self.bytes_per_chaff_memory);
        let rate = self.memory_bytes_per_second / 1e9;
        writeln!(f, "  traffic    {cell} bytes of cache lines a cell, {chaff} a chaff; {rate:.1} GB a second")?;
        if let Some((ns, floor)) = self.ns_per_cell.zip(self.floor_ns_per_cell) {
            writeln!(f, "  worker     {ns:.0} ns a cell, {:.2} million cells a second", 1e3 / ns)?;
            writeln!(f, "  floor      {floor:.0} ns a cell: the bare crypto of the same work")?;
        }
        let (ns, floor) = (self.ns_per_record, self.floor_ns_per_record);
        writeln!(
            f,
            "  records    {ns:.0} ns a record sent, cell or chaff, {:.2} million a second; floor {floor:.0} ns",
            1e3 / ns
        )?;
        writeln!(f, "  ratio      {:.2}, half of the batches in {low:.2}..{high:.2}", self.floor_ratio)?;
        let Report { cells, batches, dropped, seconds, .. } = self;
        writeln!(f, "  measured   {cells} cells in {batches} batches, {dropped} dropped, in {seconds:.1} s")?;
        write!(f, "  machine    {}, {} cores, {} build{lab}", self.cpu, self.cores, self.profile)
    }
}
