//! What a run of chaff found.

use super::Trial;
use crate::hop::Bench;
use crate::stats::quartiles;
use drover_crypto::Suite;
use serde::Serialize;
use std::fmt;

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing arrives; every slot of every link sends a record of chaff.
    pub seal_only: Figures,
    /// Every link receives a record of chaff and sends one in each slot.
    pub duplex: Figures,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links.
    pub links: usize,
    /// Slots of a round of each link.
    pub slots_per_round: u32,
    /// The processor's model.
    pub cpu: String,
}

/// The figures of one world.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// The worker's time for each slot of a link: a record sent and, in duplex, one received.
    pub ns_per_slot: f64,
    /// Quartiles of the batches' own.
    pub ns_per_slot_iqr: [f64; 2],
    /// The bare kernels' time for the same work, for each slot.
    pub floor_ns_per_slot: f64,
    /// Quartiles of the batches' own.
    pub floor_ns_per_slot_iqr: [f64; 2],
    /// `ns_per_slot` / `floor_ns_per_slot`.
    pub floor_ratio: f64,
    /// Quartiles of the batches' own ratios.
    pub floor_ratio_iqr: [f64; 2],
    /// Slots that one worker keeps up with: 10^9 / `ns_per_slot`.
    pub slots_per_second: f64,
    /// Bytes of distinct cache lines that the worker must touch for a slot.
    pub bytes_per_slot_memory: usize,
    /// Bytes of such lines that it touches in a second.
    pub memory_bytes_per_second: f64,
    /// Batches.
    pub batches: usize,
    /// Slots.
    pub slots: u64,
}

impl Report {
    /// The figures of trials in these two worlds: seal only, duplex.
    pub fn new<C: Suite, const S: usize>(benches: &[Bench<C, S>; 2], trials: &[Trial]) -> Report {
        let memory = benches[0].memory();
        let sent = memory.sent_unowned();
        let shape = benches[0].shape();
        Report {
            seal_only: Figures::new(trials, false, sent),
            duplex: Figures::new(trials, true, sent + memory.chaff_received()),
            backend: C::NAME,
            cell: S,
            links: shape.links,
            slots_per_round: shape.slots,
            cpu: crate::host::Cpu::read().model,
        }
    }
}

impl Figures {
    fn new(trials: &[Trial], duplex: bool, bytes_per_slot_memory: usize) -> Figures {
        let of: Vec<&Trial> = trials.iter().filter(|trial| trial.duplex == duplex && trial.records > 0).collect();
        let figure = |value: fn(&Trial) -> f64| quartiles(of.iter().map(|trial| value(trial)).collect());
        let worker = figure(|trial| trial.worker_ns as f64 / trial.records as f64);
        let floor = figure(|trial| trial.floor_ns as f64 / trial.records as f64);
        let ratio = figure(|trial| trial.worker_ns as f64 / trial.floor_ns as f64);
        Figures {
            ns_per_slot: worker[1],
            ns_per_slot_iqr: [worker[0], worker[2]],
            floor_ns_per_slot: floor[1],
            floor_ns_per_slot_iqr: [floor[0], floor[2]],
            floor_ratio: worker[1] / floor[1],
            floor_ratio_iqr: [ratio[0], ratio[2]],
            slots_per_second: 1e9 / worker[1],
            bytes_per_slot_memory,
            memory_bytes_per_second: bytes_per_slot_memory as f64 * 1e9 / worker[1],
            batches: of.len(),
            slots: of.iter().map(|trial| trial.records).sum(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { links, slots_per_round, cell, backend, .. } = self;
        writeln!(f, "What chaff costs: a worker whose links carry nothing else; one core")?;
        writeln!(
            f,
            "  world      {links} links, {slots_per_round} slots a round; cells of {cell} bytes, back end {backend}"
        )?;
        for (name, figures) in [("seal only", &self.seal_only), ("duplex", &self.duplex)] {
            let Figures { ns_per_slot, floor_ns_per_slot, floor_ratio, bytes_per_slot_memory, .. } = figures;
            let ([low, high], rate) = (figures.floor_ratio_iqr, figures.slots_per_second / 1e6);
            write!(
                f,
                "  {name:<10} {ns_per_slot:.0} ns a slot, {rate:.2} million a second; floor {floor_ns_per_slot:.0} ns; "
            )?;
            writeln!(
                f,
                "ratio {floor_ratio:.2}, half of the batches in {low:.2}..{high:.2}; {bytes_per_slot_memory} bytes"
            )?;
        }
        let Figures { slots, batches, .. } = self.duplex;
        writeln!(f, "  measured   {slots} slots in {batches} batches of each, in turns")?;
        write!(f, "  machine    {}", self.cpu)
    }
}
