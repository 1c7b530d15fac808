//! A mix's side of circuits.

use crate::link::{Neighbours, PeerInfo};
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::Identity;
use drover_wire::control::{LinkEnd, Punt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happened on circuits that end or pass here.
#[derive(Clone, Debug)]
pub enum HopEvent {
    /// A message of a client, of a kind that is not this module's own ([`crate::message::hop`]).
    Message {
        /// The circuit's number on the data plane.
        circuit: u32,
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A circuit is gone.
    Gone {
        /// The circuit.
        circuit: u32,
    },
}

/// What hops have done and refused: totals, no names (I10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HopCounters {
    /// Circuits made.
    pub created: u64,
    /// Circuits extended.
    pub extended: u64,
    /// Circuits ended.
    pub destroyed: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// All circuits of a mix.
pub struct Hops {}

impl Hops {
    /// No circuits yet; the first short-term key is made.
    pub fn new(_identity: Arc<Identity>, _zones: Arc<Zones>, _now: Now) -> Hops {
        todo!()
    }
    /// Takes the circuits that the data plane has: after a restart of this process. Makes the mix's loop.
    ///
    /// # Errors
    /// The data plane's.
    pub fn adopt(&mut self, _plane: &mut dyn Plane, _now: Now) -> Result<(), PlaneError> {
        todo!()
    }
    /// Takes a neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut dyn Neighbours,
        _now: Now,
        _from: (u32, PeerInfo),
        _kind: u8,
        _bytes: &[u8],
    ) -> bool {
        todo!()
    }
    /// Takes what the data plane handed over; false when it is not for circuits.
    pub fn on_punt(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut dyn Neighbours,
        _now: Now,
        _punt: &Punt<'_>,
    ) -> bool {
        todo!()
    }
    /// A link came up: neighbours of the zone exchange short-term keys.
    pub fn on_link_up(&mut self, _links: &mut dyn Neighbours, _now: Now, _link: u32, _peer: PeerInfo) {
        todo!()
    }
    /// A link went down, and the circuits over it.
    pub fn on_link_down(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now, _link: u32) {
        todo!()
    }
    /// Does what is due.
    pub fn on_tick(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now) {
        todo!()
    }
    /// When [`Hops::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// Sends a message to the client of a circuit; false when there is no such circuit or no room.
    pub fn send(&mut self, _now: Now, _circuit: u32, _kind: u8, _bytes: &[u8]) -> bool {
        todo!()
    }
    /// What happened.
    pub fn poll(&mut self) -> Option<HopEvent> {
        todo!()
    }
    /// A circuit id of our half that is free on a link.
    pub fn free_id(&mut self, _links: &dyn Neighbours, _link: u32) -> Option<u32> {
        todo!()
    }
    /// Gives a circuit that ends here its far side: the other half of a call.
    ///
    /// # Errors
    /// The data plane's: no room for an admitted circuit.
    pub fn splice(&mut self, _plane: &mut dyn Plane, _circuit: u32, _far: LinkEnd) -> Result<(), PlaneError> {
        todo!()
    }
    /// The two ends of the mix's loop.
    pub fn loop_ends(&self) -> (u32, u32) {
        todo!()
    }
    /// Ends a circuit: DESTROY to both sides.
    pub fn destroy(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now, _circuit: u32) {
        todo!()
    }
    /// The counts.
    pub fn counters(&self) -> &HopCounters {
        todo!()
    }
}

impl crate::rendezvous::Circuits for Hops {
    fn send(&mut self, now: Now, circuit: u32, kind: u8, bytes: &[u8]) -> bool {
        Hops::send(self, now, circuit, kind, bytes)
    }
    fn free_id(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32> {
        Hops::free_id(self, links, link)
    }
    fn splice(&mut self, plane: &mut dyn Plane, circuit: u32, far: LinkEnd) -> Result<(), PlaneError> {
        Hops::splice(self, plane, circuit, far)
    }
    fn loop_ends(&self) -> (u32, u32) {
        Hops::loop_ends(self)
    }
    fn destroy(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: u32) {
        Hops::destroy(self, plane, links, now, circuit);
    }
}
