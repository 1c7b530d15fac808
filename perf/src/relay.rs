//! What relaying over a real port costs beyond the port and the crypto: three benches in turns, batch by batch.
//!
//! | bench | what |
//! |---|---|
//! | forward | [`crate::forward`] over the port: receive, header read, transmit |
//! | hop | [`crate::hop`] over memory: the worker's whole work on a cell |
//! | relay | the same worker, in a world of the same shape, over the port |
//!
//! (relay − forward) / hop would be 1 if a port cost a worker just what it costs a loop that does nothing else.

pub mod cli;
#[cfg(feature = "dpdk")]
mod macswap;
mod report;

pub use report::{About, Against, Report};

use crate::bed::{Bed, Peers};
use crate::forward;
use crate::hop::{self, Shape, WARM_UP_ROUNDS};
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::Suite;
use drover_nic::OpenError;
use drover_nic::any::AnyPort;
use serde::Serialize;
use std::time::Duration;

/// Least batches of each, however short the measurement.
const LEAST: usize = 8;

/// A batch of each: a line of `trials.csv`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trial {
    /// Packets forwarded.
    pub forward_packets: u64,
    /// Time for these, ns.
    pub forward_ns: u64,
    /// Cells relayed over memory.
    pub hop_cells: u64,
    /// Time of the worker for these and for its chaff, ns.
    pub hop_ns: u64,
    /// Cells relayed over the port.
    pub relay_cells: u64,
    /// Time of the worker for these and for its chaff, ns.
    pub relay_ns: u64,
}

/// The three.
pub struct Bench<C: Suite, const S: usize> {
    forward: forward::Bench<AnyPort, Peers>,
    hop: hop::Bench<C, S>,
    relay: hop::Bench<C, S, Peers>,
    /// Outlive the ports.
    _cables: [Option<crate::bed::Cable>; 2],
}

impl<C: Suite, const S: usize> Bench<C, S> {
    /// Over two beds of `shape.links` peers each: one is forwarded over, one relayed.
    ///
    /// # Errors
    /// What `bed` could not have.
    pub fn new(
        shape: &Shape,
        batch: usize,
        mut bed: impl FnMut() -> Result<Bed, OpenError>,
    ) -> Result<Self, OpenError> {
        let Bed { port, peers, cable: first, .. } = bed()?;
        let forward = forward::Bench::new(port, peers, shape.links as u32, S, batch);
        let mut second = None;
        let relay = hop::Bench::over(shape.clone(), |_, _| {
            let Bed { port, peers, cable, .. } = bed()?;
            second = cable;
            Ok::<_, OpenError>((port, peers))
        })?;
        Ok(Bench { forward, hop: hop::Bench::new(shape.clone()), relay, _cables: [first, second] })
    }

    /// A batch of each.
    ///
    /// # Errors
    /// What was lost or wrong, and where: then no figure counts.
    pub fn trial(&mut self) -> Result<Trial, String> {
        let forward = self.forward.batch().map_err(|error| format!("forward: {error}"))?;
        if forward.lost > 0 {
            let (drops, _) = self.forward.places();
            let places: Vec<_> = drops.iter().map(ToString::to_string).collect();
            return Err(format!(
                "forward: {} of {} packets are lost: {}",
                forward.lost,
                forward.offered,
                places.join(", ")
            ));
        }
        let hop = self.hop.batch().map_err(|error| format!("hop: {error}"))?;
        let relay = self.relay.batch().map_err(|error| format!("relay: {error}"))?;
        Ok(Trial {
            forward_packets: forward.forwarded,
            forward_ns: forward.ns,
            hop_cells: hop.relayed,
            hop_ns: hop.worker_ns,
            relay_cells: relay.relayed,
            relay_ns: relay.worker_ns,
        })
    }

    /// Warms up and measures for `time`.
    ///
    /// # Errors
    /// What was lost or wrong, and where.
    pub fn measure(&mut self, time: Duration, probe: &mut Probe) -> Result<Vec<Trial>, String> {
        for _ in 0..WARM_UP_ROUNDS * self.hop.batches_per_round() {
            self.trial()?;
        }
        self.forward.begin();
        let mut progress = Progress::begin("measuring");
        let mut trials = Vec::new();
        while trials.len() < LEAST || (progress.elapsed() < time && !self.relay.is_spent()) {
            trials.push(self.trial()?);
            probe.now_and_then();
            progress.tell(|| format!("{} batches of each", trials.len()));
        }
        match self.relay.settle() {
            0 => Ok(trials),
            lost => Err(format!("relay: {lost} frames were sent to the worker and did not come")),
        }
    }

    /// Gives the far end of `link` a wrong key to open with. For tests: the next trial must fail.
    pub fn break_far_open(&mut self, link: u32) {
        self.relay.break_far_open(link);
    }
}
