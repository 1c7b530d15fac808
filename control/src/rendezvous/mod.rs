//! A mix's side of calls: where clients can be reached, signals between them, and the joining of two halves.
//!
//! ```text
//! sealed.rs        boxes of one size, for one holder of a key
//! codec.rs         fields of messages
//! messages.rs      what clients, their rendezvous mixes and other mixes say
//! registration.rs  what a client signs
//! lookup.rs        what is inside a lookup
//! registry.rs      the registrations that a mix knows
//! limits.rs        how much of everything
//! service.rs       a mix's side: mailboxes and signals, lookups, gossip, joining
//! ```

mod codec;
mod limits;
pub mod lookup;
pub mod messages;
pub mod registration;
mod registry;
pub mod sealed;
mod service;
#[cfg(test)]
mod tests;

pub use service::Rendezvous;

use crate::link::Neighbours;
use crate::plane::{Now, Plane, PlaneError};
use drover_wire::control::LinkEnd;
use serde::Serialize;
use std::collections::BTreeMap;

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

/// What the service works with, for the time of one call: the mix's data plane, links and circuits, and the time.
pub struct Host<'h> {
    /// The data plane.
    pub plane: &'h mut dyn Plane,
    /// Neighbours.
    pub links: &'h mut dyn Neighbours,
    /// Circuits that end here.
    pub hops: &'h mut dyn Circuits,
    /// The time.
    pub now: Now,
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
