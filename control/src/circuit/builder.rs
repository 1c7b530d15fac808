//! A client's side of circuits.

use crate::channel::SendError;
use crate::link::Neighbours;
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::NodeId;
use drover_wire::control::{EndSecret, Punt};
use std::sync::Arc;

/// A circuit of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitHandle(pub u32);

/// What happened on this client's circuits.
#[derive(Clone, Debug)]
pub enum BuilderEvent {
    /// The whole path is there.
    Ready {
        /// The circuit.
        circuit: CircuitHandle,
        /// From [`Builder::open`] to now, ms.
        took_ms: f64,
    },
    /// A message of a hop (0 is the nearest), of a kind that is not this module's own.
    Message {
        /// The circuit.
        circuit: CircuitHandle,
        /// Which hop.
        hop: usize,
        /// Its kind ([`crate::message::hop`]).
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// It could not be built, or is gone; why, for people.
    Gone {
        /// The circuit.
        circuit: CircuitHandle,
        /// Why.
        why: String,
    },
}

/// The circuits of a client.
pub struct Builder {}

impl Builder {
    /// No circuits yet. `me` is this client: the first hop's handshake is bound to it.
    pub fn new(_me: NodeId, _zones: Arc<Zones>, _now: Now) -> Builder {
        todo!()
    }
    /// Begins a circuit over `link` along `path`, the link's own mix first; `admitted` ones own slots all along.
    pub fn open(&mut self, _now: Now, _link: u32, _path: [NodeId; super::PATH], _admitted: bool) -> CircuitHandle {
        todo!()
    }
    /// Takes the neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(
        &mut self,
        _plane: &mut dyn Plane,
        _links: &mut dyn Neighbours,
        _now: Now,
        _link: u32,
        _kind: u8,
        _bytes: &[u8],
    ) -> bool {
        todo!()
    }
    /// Takes what the data plane handed over; false when it is not for circuits.
    pub fn on_punt(&mut self, _plane: &mut dyn Plane, _now: Now, _punt: &Punt<'_>) -> bool {
        todo!()
    }
    /// The link is gone, and all circuits over it.
    pub fn on_link_down(&mut self, _plane: &mut dyn Plane, _now: Now, _link: u32) {
        todo!()
    }
    /// Does what is due.
    pub fn on_tick(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now) {
        todo!()
    }
    /// When [`Builder::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// Sends a message to a hop of a ready circuit; its number.
    ///
    /// # Errors
    /// [`SendError`]; `None` when there is no such circuit.
    pub fn send(
        &mut self,
        _now: Now,
        _circuit: CircuitHandle,
        _hop: usize,
        _kind: u8,
        _bytes: &[u8],
    ) -> Result<u32, Option<SendError>> {
        todo!()
    }
    /// What happened.
    pub fn poll(&mut self) -> Option<BuilderEvent> {
        todo!()
    }
    /// Hands a ready circuit over to the data plane as end number `end`: from now on it carries exactly its rate, and no
    /// message of this module any more.
    ///
    /// # Errors
    /// The data plane's.
    pub fn hand_over(
        &mut self,
        _plane: &mut dyn Plane,
        _circuit: CircuitHandle,
        _end: u32,
        _seal: EndSecret,
        _open: EndSecret,
    ) -> Result<(), PlaneError> {
        todo!()
    }
    /// Ends a circuit, handed over or not: removed here, DESTROY along the path.
    pub fn close(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now, _circuit: CircuitHandle) {
        todo!()
    }
}
