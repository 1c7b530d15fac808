//! Sends what is sealed, at a rate or as fast as it can.

use super::Sealer;
use crate::progress::Progress;
use drover_crypto::{BATCH, Suite};
use drover_dataplane::run::now;
use drover_nic::memory::port_and_wire;
use drover_nic::{Endpoint, Port};
use serde::Serialize;
use std::time::Duration;

/// Ports, and which of them each link leaves by, and to where.
pub struct Out<P> {
    /// The ports.
    pub ports: Vec<P>,
    /// Of each link: its port, and where its far end is.
    pub links: Vec<(usize, Endpoint)>,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cells a second; none: as many as can be.
    pub rate: Option<f64>,
    /// For so long.
    pub time: Duration,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sent {
    /// Cells sealed.
    pub sealed: u64,
    /// Of these, taken by the ports.
    pub sent: u64,
    /// Of these, not.
    pub refused: u64,
    /// The longest that a batch was sent after its last cell's instant, ns; 0 without a rate.
    pub lag_ns: u64,
    /// Time taken, ns.
    pub ns: u64,
}

/// Parts of a run that are told apart.
const SLICES: u32 = 10;

impl Sent {
    /// Of slices one after the other.
    pub fn sum(slices: &[Sent]) -> Sent {
        slices.iter().fold(Sent::default(), |sum, slice| Sent {
            sealed: sum.sealed + slice.sealed,
            sent: sum.sent + slice.sent,
            refused: sum.refused + slice.refused,
            lag_ns: sum.lag_ns.max(slice.lag_ns),
            ns: sum.ns + slice.ns,
        })
    }
}

impl<P: Port> Out<P> {
    /// Seals and sends by the plan, in slices of its time.
    pub fn run<C: Suite, const S: usize>(&mut self, sealer: &mut Sealer<C, S>, plan: Plan) -> Vec<Sent> {
        let mut progress = Progress::begin("sending");
        let slice = Plan { time: plan.time / SLICES, ..plan };
        (0..SLICES).map(|_| self.slice(sealer, slice, &mut progress)).collect()
    }

    fn slice<C: Suite, const S: usize>(
        &mut self,
        sealer: &mut Sealer<C, S>,
        plan: Plan,
        progress: &mut Progress,
    ) -> Sent {
        let mut done = Sent::default();
        let begin = now();
        let end = begin + plan.time.as_nanos() as u64;
        loop {
            let mut at = now();
            if at >= end {
                break;
            }
            let mut count = BATCH as u64;
            if let Some(rate) = plan.rate {
                // What is due by now, and one at least: sealed before its instant.
                let due = ((at - begin) as f64 * rate / 1e9) as u64;
                count = due.saturating_sub(done.sealed).clamp(1, BATCH as u64);
            }
            sealer.seal(count as usize);
            if let Some(rate) = plan.rate {
                let last = sealer.sealed().len() as u64 + done.sealed;
                let instant = begin + ((last - 1) as f64 * 1e9 / rate) as u64;
                while at < instant.min(end) {
                    std::hint::spin_loop();
                    at = now();
                }
                // Sealed, and due beyond the end: it stays unsent, and its numbers unused.
                if instant >= end {
                    break;
                }
                done.lag_ns = done.lag_ns.max(now() - instant);
            }
            self.send(sealer, &mut done);
            progress.tell(|| format!("{} cells sent, {} refused in this tenth", done.sent, done.refused));
        }
        done.ns = now() - begin;
        done
    }

    fn send<C: Suite, const S: usize>(&mut self, sealer: &Sealer<C, S>, done: &mut Sent) {
        let mut committed = 0;
        // Most have one port: a burst of it is one call.
        let alone = self.ports.len() == 1;
        for (link, record) in sealer.sealed() {
            done.sealed += 1;
            let (port, to) = self.links[link as usize];
            let port = &mut self.ports[port];
            let Some(frame) = port.reserve(1, record.len()).pop() else {
                done.refused += 1;
                continue;
            };
            *frame.to = to;
            frame.data.copy_from_slice(record);
            match alone {
                true => committed += 1,
                false => {
                    let sent = port.commit(1);
                    (done.sent, done.refused) = (done.sent + sent as u64, done.refused + 1 - sent as u64);
                }
            }
        }
        if alone {
            let sent = self.ports[0].commit(committed);
            (done.sent, done.refused) = (done.sent + sent as u64, done.refused + (committed - sent) as u64);
        }
    }
}

/// Sealing alone: cells a second into memory that nobody reads, with keys of nobody's.
pub fn ceiling<C: Suite, const S: usize>(mut sealer: Sealer<C, S>, links: usize, time: Duration) -> f64 {
    let (port, mut wire) = port_and_wire(Endpoint { ip: [1; 16], port: 1 }, 2 * BATCH);
    let mut out = Out { ports: vec![port], links: vec![(0, Endpoint { ip: [2; 16], port: 2 }); links] };
    let (mut done, begin) = (Sent::default(), now());
    let end = begin + time.as_nanos() as u64;
    while now() < end {
        sealer.seal(BATCH);
        out.send(&sealer, &mut done);
        while wire.take(|_, _| {}) {}
    }
    done.sent as f64 * 1e9 / (now() - begin) as f64
}
