//! What a run of floors found.

use super::Sample;
use crate::hop::Memory;
use crate::stats::{median, quartiles};
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, WithSuite};
use serde::Serialize;
use std::fmt;

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The fastest back end of this run.
    pub backend: &'static str,
    /// Its `ns_per_cell`.
    pub ns_per_cell: f64,
    /// Its `cells_per_second`.
    pub cells_per_second: f64,
    /// Its `times_reference`.
    pub times_reference: f64,
    /// Its `bytes_per_cell_memory`.
    pub bytes_per_cell_memory: usize,
    /// Every back end measured, the fastest first.
    pub rows: Vec<Row>,
    /// Back ends that this processor cannot run.
    pub lacking: Vec<Lacking>,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links.
    pub links: usize,
    /// Circuits.
    pub circuits: usize,
    /// Batches of each back end.
    pub batches: u64,
    /// Cells of each back end.
    pub cells: u64,
    /// The processor's model.
    pub cpu: String,
}

/// One back end's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The back end.
    pub backend: &'static str,
    /// Opening, one layer and sealing, with both masks, for each cell.
    pub ns_per_cell: f64,
    /// Quartiles of the batches' own.
    pub ns_per_cell_iqr: [f64; 2],
    /// 10^9 / `ns_per_cell`.
    pub cells_per_second: f64,
    /// Of these: mask and opening; from the batches that were timed part by part.
    pub open_ns: f64,
    /// A layer, peeled or added.
    pub layer_ns: f64,
    /// Sealing and mask.
    pub seal_ns: f64,
    /// The reference's `ns_per_cell` / this one's.
    pub times_reference: f64,
    /// Quartiles of the batches' own quotients.
    pub times_reference_iqr: [f64; 2],
    /// Bytes of distinct cache lines that it must touch for a cell: keys, cell, both frames.
    pub bytes_per_cell_memory: usize,
    /// Bytes of such lines that it touches in a second.
    pub memory_bytes_per_second: f64,
}

/// A back end that was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Lacking {
    /// The back end.
    pub backend: &'static str,
    /// The processor features that it needs and this processor lacks.
    pub missing: Vec<&'static str>,
}

impl Report {
    /// The figures of `samples` of `backends`, cells of `S` bytes in a world of so many links and circuits.
    pub fn new<const S: usize>(backends: &[Backend], samples: &[Sample], links: usize, circuits: usize) -> Report {
        let reference = whole(samples, Backend::Reference.name());
        let mut rows: Vec<Row> = backends.iter().map(|backend| row::<S>(*backend, samples, &reference)).collect();
        rows.sort_by(|a, b| a.ns_per_cell.total_cmp(&b.ns_per_cell));
        let lacking =
            Backend::ALL.iter().map(|backend| Lacking { backend: backend.name(), missing: backend.missing() });
        let fastest = rows[0].clone();
        let of_one = || samples.iter().filter(|sample| sample.backend == fastest.backend);
        Report {
            backend: fastest.backend,
            ns_per_cell: fastest.ns_per_cell,
            cells_per_second: fastest.cells_per_second,
            times_reference: fastest.times_reference,
            bytes_per_cell_memory: fastest.bytes_per_cell_memory,
            lacking: lacking.filter(|backend| !backend.missing.is_empty()).collect(),
            cell: S,
            links,
            circuits,
            batches: of_one().count() as u64,
            cells: of_one().map(|sample| sample.cells).sum(),
            cpu: crate::host::Cpu::read().model,
            rows,
        }
    }
}

/// Batches timed as a whole, ns a cell, by batch.
fn whole(samples: &[Sample], backend: &str) -> Vec<(u64, f64)> {
    let of = samples.iter().filter(|sample| sample.backend == backend && sample.cells > 0);
    of.filter_map(|sample| Some((sample.batch, sample.ns? as f64 / sample.cells as f64))).collect()
}

fn row<const S: usize>(backend: Backend, samples: &[Sample], reference: &[(u64, f64)]) -> Row {
    let own = whole(samples, backend.name());
    let [low, ns_per_cell, high] = quartiles(own.iter().map(|(_, ns)| *ns).collect());
    // Both are in the order of batches, and a batch is timed as a whole for all or for none.
    let pairs = own.iter().zip(reference).filter(|(own, reference)| own.0 == reference.0);
    let [times_low, _, times_high] = quartiles(pairs.map(|(own, reference)| reference.1 / own.1).collect());
    let part = |value: fn(&Sample) -> Option<u64>| {
        let of = samples.iter().filter(|sample| sample.backend == backend.name() && sample.cells > 0);
        median(of.filter_map(|sample| Some(value(sample)? as f64 / sample.cells as f64)).collect())
    };
    let bytes_per_cell_memory = backend.dispatch(Bytes::<S>);
    Row {
        backend: backend.name(),
        ns_per_cell,
        ns_per_cell_iqr: [low, high],
        cells_per_second: 1e9 / ns_per_cell,
        open_ns: part(|sample| sample.open_ns),
        layer_ns: part(|sample| sample.layer_ns),
        seal_ns: part(|sample| sample.seal_ns),
        times_reference: median(reference.iter().map(|(_, ns)| *ns).collect()) / ns_per_cell,
        times_reference_iqr: [times_low, times_high],
        bytes_per_cell_memory,
        memory_bytes_per_second: bytes_per_cell_memory as f64 * 1e9 / ns_per_cell,
    }
}

struct Bytes<const S: usize>;

impl<const S: usize> WithSuite for Bytes<S> {
    type Out = usize;

    fn with<C: Suite>(self) -> usize {
        Memory::of_floor::<C, S>()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { cell, links, circuits, .. } = self;
        writeln!(f, "The bare crypto of a hop: open and a layer when a cell comes, seal a round later; one core")?;
        writeln!(f, "  world      {links} links, {circuits} circuits, both directions, cells of {cell} bytes")?;
        writeln!(
            f,
            "  back end        ns a cell  (half in)    open  layer  seal   million/s  x reference  (half in)  bytes"
        )?;
        for row in &self.rows {
            let Row { backend, ns_per_cell, open_ns, layer_ns, seal_ns, times_reference, .. } = row;
            let ([low, high], [less, more]) = (row.ns_per_cell_iqr, row.times_reference_iqr);
            let (iqr, times) = (format!("{low:.0}..{high:.0}"), format!("{less:.1}..{more:.1}"));
            let (rate, bytes) = (row.cells_per_second / 1e6, row.bytes_per_cell_memory);
            write!(f, "  {backend:<14} {ns_per_cell:>9.1}  {iqr:<11} {open_ns:>5.1} {layer_ns:>6.1} {seal_ns:>5.1}")?;
            writeln!(f, " {rate:>10.2}  {times_reference:>11.2}  {times:<10} {bytes:>5}")?;
        }
        for Lacking { backend, missing } in &self.lacking {
            writeln!(f, "  {backend:<14} not here: this processor lacks {}", missing.join(", "))?;
        }
        writeln!(f, "  measured   {} cells in {} batches of each back end, in turns", self.cells, self.batches)?;
        write!(f, "  machine    {}", self.cpu)
    }
}
