//! A mix's side of calls: where clients can be reached, signals between them, and the joining of two halves.
//!
//! ```text
//! sealed.rs        boxes of one size, for one holder of a key
//! codec.rs         fields of messages
//! messages.rs      what clients, their rendezvous mixes and other mixes say
//! registration.rs  what a client signs
//! lookup.rs        what is inside a lookup
//! ```

mod codec;
pub mod lookup;
pub mod messages;
pub mod registration;
pub mod sealed;

use crate::link::{Neighbours, PeerInfo};
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::Identity;
use drover_wire::control::LinkEnd;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the rendezvous service needs of the mix's circuits. [`Hops`](crate::circuit::hops::Hops) is one; tests bring their own.
pub trait Circuits {
    /// Sends a message to the client of a circuit; false when there is no such circuit or no room.
    fn send(&mut self, now: Now, circuit: u32, kind: u8, bytes: &[u8]) -> bool;
    /// A circuit id of our half that is free on a link.
    fn free_id(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32>;
    /// Gives a circuit that ends here its far side: the other half of a call.
    ///
    /// # Errors
    /// The data plane's: no room for an admitted circuit.
    fn splice(&mut self, plane: &mut dyn Plane, circuit: u32, far: LinkEnd) -> Result<(), PlaneError>;
    /// The two ends of the mix's loop.
    fn loop_ends(&self) -> (u32, u32);
    /// Ends a circuit: DESTROY to both sides.
    fn destroy(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: u32);
}

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
        _links: &mut dyn Neighbours,
        _hops: &mut dyn Circuits,
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
        _links: &mut dyn Neighbours,
        _hops: &mut dyn Circuits,
        _now: Now,
        _from: (u32, PeerInfo),
        _kind: u8,
        _bytes: &[u8],
    ) -> bool {
        todo!()
    }
    /// A link came up.
    pub fn on_link_up(&mut self, _links: &mut dyn Neighbours, _now: Now, _link: u32, _peer: PeerInfo) {
        todo!()
    }
    /// A circuit is gone.
    pub fn on_circuit_gone(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut dyn Neighbours,
        _hops: &mut dyn Circuits,
        _now: Now,
        _circuit: u32,
    ) {
        todo!()
    }
    /// Does what is due.
    pub fn on_tick(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut dyn Neighbours,
        _hops: &mut dyn Circuits,
        _now: Now,
    ) {
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
