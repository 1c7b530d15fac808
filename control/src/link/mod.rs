//! Links: handshakes, keys installed and renewed, peers that restart, floods; and the channel in a link's control cells
//! (`docs/wire.md`, W-LNK).
//!
//! All state and no I/O: datagrams and cells come as punts, what is to be done goes to a [`Plane`](crate::plane::Plane).
//!
//! ```text
//! links.rs    all links of a node: what comes in is sent to where it belongs
//! table.rs    one link's state, and when it next has something to do
//! outer.rs    handshakes in datagrams: dialling, answering, peers that restart
//! install.rs  what a finished handshake becomes: a link on the data plane
//! gate.rs     who may begin a handshake: MACs, cookies, pace
//! trailer.rs  what first datagrams carry behind their records
//! renewal.rs  handshakes in control cells: new keys for a link
//! foreign.rs  records after the handshake with foreign peers: KeyUpdate, ACK, alerts
//! owner.rs    the note left with the data plane, and taking links up again
//! ```

mod foreign;
mod gate;
mod install;
mod links;
mod outer;
mod owner;
mod renewal;
mod table;
mod trailer;

#[cfg(test)]
mod tests;

pub use links::Links;

use crate::channel::SendError;
use crate::plane::Now;
use drover_dtls::certificate::{NodeId, Role};
use serde::Serialize;

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

impl LinkCounters {
    fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }
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
