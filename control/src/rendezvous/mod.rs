//! A mix's side of calls: where clients can be reached, signals between them, and the joining of two halves.

use crate::circuit::hops::Hops;
use crate::link::{Links, PeerInfo};
use crate::plane::{Now, Plane};
use crate::zone::Zones;
use drover_dtls::certificate::Identity;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What it has done and refused: totals, no names (I10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RendezvousCounters {
    /// Registrations known now.
    pub registrations: u64,
    /// Lookups answered.
    pub lookups: u64,
    /// Signals passed on.
    pub signals: u64,
    /// Halves joined.
    pub joined: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The rendezvous service of a mix.
pub struct Rendezvous {}

impl Rendezvous {
    /// Nothing registered yet.
    pub fn new(_identity: Arc<Identity>, _zones: Arc<Zones>, _now: Now) -> Rendezvous {
        todo!()
    }
    /// Takes a client's message from a circuit that ends here; false when its kind is not this module's.
    pub fn on_hop_message(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut Links,
        _hops: &mut Hops,
        _now: Now,
        _circuit: u32,
        _kind: u8,
        _bytes: &[u8],
    ) -> bool {
        todo!()
    }
    /// Takes a neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut Links,
        _hops: &mut Hops,
        _now: Now,
        _from: (u32, PeerInfo),
        _kind: u8,
        _bytes: &[u8],
    ) -> bool {
        todo!()
    }
    /// A link came up.
    pub fn on_link_up(&mut self, _links: &mut Links, _now: Now, _link: u32, _peer: PeerInfo) {
        todo!()
    }
    /// A circuit is gone.
    pub fn on_circuit_gone(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut Links,
        _hops: &mut Hops,
        _now: Now,
        _circuit: u32,
    ) {
        todo!()
    }
    /// Does what is due.
    pub fn on_tick(&mut self, _plane: &mut dyn Plane, _links: &mut Links, _hops: &mut Hops, _now: Now) {
        todo!()
    }
    /// When [`Rendezvous::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// The counts.
    pub fn counters(&self) -> &RendezvousCounters {
        todo!()
    }
}
