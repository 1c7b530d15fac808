//! Transmit frames that a middleware keeps until they are committed: a [`Port`] never shows again what was filled.

use crate::Port;
use crate::frames::{FrameBox, TxRing};
use crate::{PortCounters, TxBurst};

/// The transmit side of a middleware: the worker's frames, and what became of them.
pub(crate) struct Staging {
    pub(crate) ring: TxRing,
    max_payload: usize,
    sent: u64,
    refused: u64,
    discarded: u64,
}

impl Staging {
    /// As many frames as `port` has, of the lengths that it takes.
    pub(crate) fn of(port: &impl Port) -> Staging {
        let is = port.capabilities();
        Staging { ring: TxRing::new(is.tx_ring), max_payload: is.max_payload, sent: 0, refused: 0, discarded: 0 }
    }

    /// As [`Port::reserve`].
    pub(crate) fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.ring.reserve(if len > self.max_payload { 0 } else { count }, len)
    }

    /// As [`Port::discard`].
    pub(crate) fn discard(&mut self, count: usize) {
        self.discarded += self.ring.release(count) as u64;
    }

    /// Lets the `count` oldest frames go as committed, of which `refused` at most were refused. Returns how many were sent.
    pub(crate) fn committed(&mut self, count: usize, refused: usize) -> usize {
        let committed = self.ring.release(count);
        let sent = committed.saturating_sub(refused);
        self.sent += sent as u64;
        self.refused += (committed - sent) as u64;
        sent
    }

    /// The counters of `port`, with what the worker did in place of what the middleware did.
    pub(crate) fn counters(&self, port: PortCounters) -> PortCounters {
        PortCounters { sent: self.sent, refused: self.refused, discarded: self.discarded, ..port }
    }
}

/// Reserves frames of `port` and copies these into them, in order. Returns how many it had room for.
pub(crate) fn forward(port: &mut impl Port, frames: &[&mut FrameBox]) -> usize {
    let mut forwarded = 0;
    // A reservation is of one length.
    for run in frames.chunk_by(|one, next| one.payload().len() == next.payload().len()) {
        let len = run.first().map_or(0, |frame| frame.payload().len());
        for (to, from) in port.reserve(run.len(), len).into_iter().zip(run) {
            *to.to = from.peer;
            to.data.copy_from_slice(from.payload());
            forwarded += 1;
        }
    }
    forwarded
}
