//! What a worker has done. Plain integers, written by the worker alone, published to shared memory by the loop.
//!
//! Counts that tell cells from chaff exist in lab builds only (I10).

use crate::drops::DropReason;
use crate::limits::CLASSES_MAX;

/// Buckets of the lateness histogram: bucket b counts departures less than 2^b ns after their instant.
pub const LATENESS_BUCKETS: usize = 32;

/// Counters of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Frames taken from the port.
    pub received: u64,
    /// Records given to the port at their slots.
    pub sent: u64,
    /// Second openings tried.
    pub trials: u64,
    /// Frames and cells dropped, by reason.
    pub drops: [u64; DropReason::COUNT],
    /// Records given to the port, by class.
    pub class_sent: [u64; CLASSES_MAX],
    /// Slots lost, by class: sealed too late, transmitted too late, no key or no transmit frame.
    pub class_missed: [u64; CLASSES_MAX],
    /// Records of the peers that did not come, by class (`stages/watch.rs`).
    pub class_lost: [u64; CLASSES_MAX],
    /// Departures by lateness.
    pub lateness: [u64; LATENESS_BUCKETS],
    /// Cells against chaff.
    #[cfg(feature = "lab")]
    pub lab: LabCounters,
}

/// Counts that I10 forbids in release builds: the terms of the conservation equation.
#[cfg(feature = "lab")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabCounters {
    /// Chaff that came in.
    pub chaff_in: u64,
    /// Cells that left in a record.
    pub cells_out: u64,
    /// Chaff that left.
    pub chaff_out: u64,
    /// Cells taken from other workers.
    pub handed_in: u64,
    /// Cells given to other workers.
    pub handed_out: u64,
    /// Cells made by the terminal.
    pub filled: u64,
    /// Cells taken by the terminal.
    pub delivered: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            turns: 0,
            received: 0,
            sent: 0,
            trials: 0,
            drops: [0; DropReason::COUNT],
            class_sent: [0; CLASSES_MAX],
            class_missed: [0; CLASSES_MAX],
            class_lost: [0; CLASSES_MAX],
            lateness: [0; LATENESS_BUCKETS],
            #[cfg(feature = "lab")]
            lab: LabCounters::default(),
        }
    }
}

impl Counters {
    /// Counts a drop.
    pub fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// How many were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Counts a departure `late` ns after its instant.
    pub fn late(&mut self, late: u64) {
        let bucket = (u64::BITS - late.leading_zeros()) as usize;
        self.lateness[bucket.min(LATENESS_BUCKETS - 1)] += 1;
    }

    /// All drops.
    pub fn dropped_in_all(&self) -> u64 {
        self.drops.iter().sum()
    }
}

/// Counts of one link, lab builds only.
#[cfg(feature = "lab")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Records that opened.
    pub received: u64,
    /// Of these, cells that were not chaff.
    pub received_real: u64,
    /// Records given to the port.
    pub sent: u64,
    /// Of these, cells that were not chaff.
    pub sent_real: u64,
    /// Slots lost one by one; whole sweeps are counted by the class.
    pub missed: u64,
    /// The class's count of whole sweeps lost when the link joined.
    pub sweeps_at_join: u64,
}
