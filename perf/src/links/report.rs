//! What a run over numbers of links found.

use super::{Measured, Plan, Trial};
use crate::stats::{median, quartiles};
use serde::Serialize;
use std::fmt;

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worker's time for a cell in the last world / in the first.
    pub hop_ratio: f64,
    /// The floor's likewise.
    pub floor_ratio: f64,
    /// `hop_ratio` / `floor_ratio`: by how much more the worker's cost grew than that of the bare crypto.
    pub relative: f64,
    /// Quartiles of the passes' own `relative`.
    pub relative_iqr: [f64; 2],
    /// Every world, fewest links first.
    pub points: Vec<Point>,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// The worlds were in memory together and took turns; else each was made anew in each pass.
    pub together: bool,
    /// Passes over all worlds.
    pub passes: u32,
    /// The processor's model.
    pub cpu: String,
}

/// One world's figures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Links.
    pub links: usize,
    /// Circuits.
    pub circuits: usize,
    /// The worker's time for each cell relayed.
    pub ns_per_cell: f64,
    /// Quartiles of the batches' own.
    pub ns_per_cell_iqr: [f64; 2],
    /// The bare kernels' time for the same work.
    pub floor_ns_per_cell: f64,
    /// Quartiles of the batches' own.
    pub floor_ns_per_cell_iqr: [f64; 2],
    /// `ns_per_cell` / `floor_ns_per_cell`.
    pub worker_over_floor: f64,
    /// `ns_per_cell` / the first world's.
    pub hop_times_first: f64,
    /// `floor_ns_per_cell` / the first world's.
    pub floor_times_first: f64,
    /// Bytes of distinct cache lines that the worker must touch for a cell.
    pub bytes_per_cell_memory: usize,
    /// Bytes of such lines that it touches in a second.
    pub memory_bytes_per_second: f64,
    /// Memory of the worker's pool.
    pub pool_bytes: usize,
    /// Memory of the worker's tables.
    pub table_bytes: usize,
    /// Batches.
    pub batches: usize,
    /// Cells relayed in them.
    pub cells: u64,
}

impl Report {
    /// The figures of what was measured with this back end and cells of `cell` bytes.
    pub fn new(plan: &Plan, measured: &Measured, backend: &'static str, cell: usize) -> Report {
        let trials = &measured.trials;
        let of = |links: usize| trials.iter().filter(move |trial| trial.links == links);
        let worker = |trial: &Trial| trial.worker_ns as f64 / trial.cells as f64;
        let floor = |trial: &Trial| trial.floor_ns as f64 / trial.cells as f64;
        let mut points: Vec<Point> = Vec::new();
        for (shape, [bytes_per_cell_memory, pool_bytes, table_bytes]) in plan.shapes.iter().zip(&measured.memory) {
            let hop = quartiles(of(shape.links).map(worker).collect());
            let bare = quartiles(of(shape.links).map(floor).collect());
            let first = points.first().map_or([hop[1], bare[1]], |first| [first.ns_per_cell, first.floor_ns_per_cell]);
            points.push(Point {
                links: shape.links,
                circuits: shape.circuits,
                ns_per_cell: hop[1],
                ns_per_cell_iqr: [hop[0], hop[2]],
                floor_ns_per_cell: bare[1],
                floor_ns_per_cell_iqr: [bare[0], bare[2]],
                worker_over_floor: hop[1] / bare[1],
                hop_times_first: hop[1] / first[0],
                floor_times_first: bare[1] / first[1],
                bytes_per_cell_memory: *bytes_per_cell_memory,
                memory_bytes_per_second: *bytes_per_cell_memory as f64 * 1e9 / hop[1],
                pool_bytes: *pool_bytes,
                table_bytes: *table_bytes,
                batches: of(shape.links).count(),
                cells: of(shape.links).map(|trial| trial.cells).sum(),
            });
        }
        let [few, many] = [points[0], points[points.len() - 1]];
        let passes = trials.iter().map(|trial| trial.pass + 1).max().unwrap_or(0);
        let relative_of = |pass: u32| {
            let ratio = |links: usize, value: fn(&Trial) -> f64| {
                median(of(links).filter(|trial| trial.pass == pass).map(value).collect())
            };
            ratio(many.links, worker) / ratio(few.links, worker) * ratio(few.links, floor) / ratio(many.links, floor)
        };
        let [low, _, high] = quartiles((0..passes).map(relative_of).collect());
        let (hop_ratio, floor_ratio) = (many.hop_times_first, many.floor_times_first);
        let (relative, cpu) = (hop_ratio / floor_ratio, crate::host::Cpu::read().model);
        let together = plan.together;
        let relative_iqr = [low, high];
        Report { hop_ratio, floor_ratio, relative, relative_iqr, points, backend, cell, together, passes, cpu }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "What a cell costs against the number of links; one core")?;
        writeln!(f, "  cell       {} bytes, back end {}", self.cell, self.backend)?;
        writeln!(
            f,
            "  {:>7} {:>9} {:>8} {:>9} {:>7} {:>9} {:>11}  bytes a cell, tables",
            "links", "circuits", "hop ns", "floor ns", "ratio", "hop x 1st", "floor x 1st"
        )?;
        for point in &self.points {
            let Point { links, circuits, ns_per_cell, floor_ns_per_cell, worker_over_floor, .. } = point;
            let Point { hop_times_first, floor_times_first, bytes_per_cell_memory, table_bytes, .. } = point;
            write!(
                f,
                "  {links:>7} {circuits:>9} {ns_per_cell:>8.0} {floor_ns_per_cell:>9.0} {worker_over_floor:>7.2}"
            )?;
            let tables = *table_bytes as f64 / f64::from(1 << 20);
            writeln!(f, " {hop_times_first:>9.2} {floor_times_first:>11.2}  {bytes_per_cell_memory}, {tables:.0} MiB")?;
        }
        let Report { hop_ratio, floor_ratio, relative, relative_iqr: [low, high], .. } = self;
        writeln!(f, "  last/first worker {hop_ratio:.2} times, floor {floor_ratio:.2} times")?;
        writeln!(f, "  relative   {relative:.3}, half of the passes in {low:.3}..{high:.3}")?;
        let how = if self.together { "worlds in turns" } else { "worlds made anew in each" };
        writeln!(f, "  measured   {} passes, {how}", self.passes)?;
        write!(f, "  machine    {}", self.cpu)
    }
}
