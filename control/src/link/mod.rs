//! Links: handshakes, keys installed and renewed, peers that restart, floods; and the channel in a link's control cells.
//!
//! All state and no I/O: datagrams and cells come as punts, what is to be done goes to a [`Plane`].

use crate::channel::SendError;
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId, Role};
use drover_wire::control::Punt;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;

/// Class numbers that control uses on its data plane.
pub mod class {
    /// Client links.
    pub const CLIENT: u16 = 1;
    /// Links within the zone, a mix's loop among them.
    pub const ZONE: u16 = 2;
    /// Links to mixes of other zones.
    pub const PAIR: u16 = 3;
}

/// How links behave. Times are seconds of the monotonic clock.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// UDP payload of the largest handshake datagram, bytes.
    pub mtu: usize,
    /// Handshakes with unknown peers at once; beyond half of it "load" begins and cookies are asked for.
    pub handshakes: usize,
    /// Client links at most.
    pub clients: usize,
    /// Keys are renewed after this, with a quarter of jitter either way; the zone document's when `None`.
    pub rekey_s: Option<f64>,
    /// Take foreign DTLS 1.3 peers with certificates of our zones.
    pub foreign: bool,
    /// Lab: X25519 without ML-KEM too.
    pub also_x25519: bool,
    /// Lab: a file that takes traffic secrets (`docs/wire.md`, W-LAB).
    pub key_log: Option<std::path::PathBuf>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        let (mtu, handshakes, clients) = (1400, 64, 4096);
        LinkConfig { mtu, handshakes, clients, rekey_s: None, foreign: true, also_x25519: false, key_log: None }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// It speaks DTLS 1.3 and none of our channels.
    pub foreign: bool,
}

/// What happened on links.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// A link is there: by a handshake that took `took_ms`, or adopted from the data plane (0).
    Up {
        /// Its number on the data plane.
        link: u32,
        /// The other end.
        peer: PeerInfo,
        /// From first datagram to installed keys, ms.
        took_ms: f64,
    },
    /// Its keys were renewed.
    Rekeyed {
        /// The link.
        link: u32,
    },
    /// It is gone; what went over it is gone too.
    Down {
        /// The link.
        link: u32,
        /// The other end.
        peer: PeerInfo,
    },
    /// A message of the neighbour, of a kind that is not this module's own.
    Message {
        /// The link.
        link: u32,
        /// The other end.
        peer: PeerInfo,
        /// Its kind ([`crate::message::link`]).
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The neighbour has the whole message.
    Acknowledged {
        /// The link.
        link: u32,
        /// What [`Links::send`] returned.
        message: u32,
    },
    /// The neighbour did not acknowledge in time.
    GivenUp {
        /// The link.
        link: u32,
        /// What [`Links::send`] returned.
        message: u32,
    },
}

/// What links have done and refused: totals, no names (I10).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkCounters {
    /// Handshakes that ended with a link.
    pub handshakes: u64,
    /// Key renewals.
    pub rekeys: u64,
    /// Refusals by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
}

/// What circuits, rendezvous and calls need of the node's links: messages to neighbours, and who they are. [`Links`] is one;
/// tests bring their own.
pub trait Neighbours {
    /// As [`Links::send`].
    ///
    /// # Errors
    /// [`SendError`]; `None` when there is no such link.
    fn send(&mut self, now: Now, link: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>>;
    /// As [`Links::link_of`].
    fn link_of(&self, peer: NodeId) -> Option<u32>;
    /// As [`Links::peer_of`].
    fn peer_of(&self, link: u32) -> Option<PeerInfo>;
    /// As [`Links::lower_ids_are_ours`].
    fn lower_ids_are_ours(&self, link: u32) -> bool;
}

impl Neighbours for Links {
    fn send(&mut self, now: Now, link: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        Links::send(self, now, link, kind, bytes)
    }
    fn link_of(&self, peer: NodeId) -> Option<u32> {
        Links::link_of(self, peer)
    }
    fn peer_of(&self, link: u32) -> Option<PeerInfo> {
        Links::peer_of(self, link)
    }
    fn lower_ids_are_ours(&self, link: u32) -> bool {
        Links::lower_ids_are_ours(self, link)
    }
}

/// The links of one node.
pub struct Links {
    _config: LinkConfig,
}

impl Links {
    /// No links yet.
    ///
    /// # Errors
    /// The handshake library refuses the identity.
    pub fn new(_identity: Arc<Identity>, _zones: Arc<Zones>, config: LinkConfig, _now: Now) -> Result<Links, String> {
        Ok(Links { _config: config })
    }
    /// Takes the links that the data plane has: after a restart of this process. Puts the classes first.
    ///
    /// # Errors
    /// The data plane's.
    pub fn adopt(&mut self, _plane: &mut dyn Plane, _now: Now) -> Result<(), PlaneError> {
        todo!()
    }
    /// Wants a link to this peer from now on: dialled until it is there, and again when it is lost. Between two mixes the
    /// smaller id dials at once, the other only when nothing comes.
    pub fn dial(&mut self, _remote: SocketAddr, _peer: NodeId, _now: Now) {
        todo!()
    }
    /// Takes what the data plane handed over; false when it is not for links.
    pub fn on_punt(&mut self, _plane: &mut dyn Plane, _now: Now, _punt: &Punt<'_>) -> bool {
        todo!()
    }
    /// Does what is due: timers, renewals, frames of channels.
    pub fn on_tick(&mut self, _plane: &mut dyn Plane, _now: Now) {
        todo!()
    }
    /// When [`Links::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// Sends a message to a neighbour; its number.
    ///
    /// # Errors
    /// [`SendError`]; `None` when there is no such link.
    pub fn send(&mut self, _now: Now, _link: u32, _kind: u8, _bytes: &[u8]) -> Result<u32, Option<SendError>> {
        todo!()
    }
    /// What happened.
    pub fn poll(&mut self) -> Option<LinkEvent> {
        todo!()
    }
    /// The link to this peer.
    pub fn link_of(&self, _peer: NodeId) -> Option<u32> {
        todo!()
    }
    /// Who is at the other end of a link.
    pub fn peer_of(&self, _link: u32) -> Option<PeerInfo> {
        todo!()
    }
    /// Takes a link down: removed on the data plane, [`LinkEvent::Down`] follows.
    pub fn drop_link(&mut self, _plane: &mut dyn Plane, _link: u32) {
        todo!()
    }
    /// Whether, on this link, the smaller half of the circuit ids is ours (`docs/wire.md`, W-CELL-5).
    pub fn lower_ids_are_ours(&self, _link: u32) -> bool {
        todo!()
    }
    /// The counts.
    pub fn counters(&self) -> &LinkCounters {
        todo!()
    }
}
