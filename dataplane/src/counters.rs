//! What a worker has done. Plain integers, written by the worker alone, published to shared memory by the loop.
//!
//! Counts that tell cells from chaff exist in lab builds only (I10).

use crate::drops::DropReason;
use crate::limits::CLASSES_MAX;

/// Bits of a lateness, below its highest one, that the histogram tells apart: a bucket is an eighth of its octave wide.
const LATENESS_BITS: u32 = 3;
/// Octaves of the lateness histogram that are told apart; what is later than 2^32 ns counts with the last.
const LATENESS_OCTAVES: usize = 32;
/// Buckets of the lateness histogram ([`lateness_bucket`]).
pub const LATENESS_BUCKETS: usize = (LATENESS_OCTAVES - LATENESS_BITS as usize + 1) << LATENESS_BITS;

/// The bucket of a departure `late` ns after its instant: exact below 8 ns, then eight buckets an octave.
pub const fn lateness_bucket(late: u64) -> usize {
    let Some(above) = late.checked_ilog2() else { return 0 };
    let Some(shift) = above.checked_sub(LATENESS_BITS) else { return late as usize };
    let bucket = ((shift as usize) << LATENESS_BITS) + (late >> shift) as usize;
    if bucket < LATENESS_BUCKETS { bucket } else { LATENESS_BUCKETS - 1 }
}

/// The least lateness beyond a bucket, ns.
pub const fn lateness_bound(bucket: usize) -> u64 {
    let shift = (bucket >> LATENESS_BITS).saturating_sub(1);
    (bucket as u64 - ((shift as u64) << LATENESS_BITS) + 1) << shift
}

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
    /// Cells and datagrams handed to the service thread.
    pub punted: u64,
    /// Cells and datagrams of the control daemon.
    pub injected: u64,
    /// Of these, datagrams that left.
    pub raw_out: u64,
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
        self.lateness[lateness_bucket(late)] += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_lateness_cover_everything_and_are_an_eighth_of_an_octave() {
        let mut before = 0;
        for bucket in 0..LATENESS_BUCKETS {
            let bound = lateness_bound(bucket);
            assert_eq!(lateness_bucket(before), bucket, "from {before}");
            assert_eq!(lateness_bucket(bound - 1), bucket, "below {bound}");
            assert!(bound - before <= (before / 8).max(1), "{before} to {bound}");
            before = bound;
        }
        assert_eq!(before, 1 << LATENESS_OCTAVES);
        assert_eq!(lateness_bucket(u64::MAX), LATENESS_BUCKETS - 1);
    }
}
