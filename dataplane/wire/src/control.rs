//! Messages between control and data plane over the Unix `SOCK_SEQPACKET` socket (`docs/wire.md`, clauses W-CTL-*).
//!
//! One message a packet, all integers big-endian:
//!
//! ```text
//! | 1 version | 1 kind | 2 zero | 4 request id | payload |
//! ```
//!
//! A request is an idempotent put or remove, or a question; its reply echoes the request id. Decoders take hostile
//! bytes. Encodings are canonical: what decodes encodes to the same bytes again.
//!
//! Requests carry keys: zeroize the buffer that held one. They also name both sides of circuits, so a request is
//! never logged (invariant I10), `Debug` or not.

mod codec;
mod punt;
mod reply;
mod request;
mod types;

pub use codec::{DecodeError, Full};
pub use punt::{PUNT_MAX, Punt};
pub use reply::{Refusal, Reply, TEXT_MAX, WORKERS_MAX, Welcome, WorkerInfo, Workers};
pub use request::{
    CELL_BYTES_MAX, ClassKind, DATAGRAM_MAX, Direction, Dump, EndLayer, EndSecret, ExtendCircuit, HopKeys, ID_LIMIT,
    Inject, LAYERS_MAX, Layers, Leg, LinkEnd, OTHERS_MAX, Peer, PutCircuit, PutClass, PutEnd, PutLink, PutLoop,
    RATCHET_BITS_MAX, RATCHET_BITS_MIN, REQUEST_MAX, ROUND_NS_MAX, ROUND_NS_MIN, Raw, Request, SLOTS_MAX,
};
pub use types::{Address, BootId, Bytes, List, OWNER_MAX, Owner, Secret};

/// The version of this format, a message's first byte.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const FRAME: usize = 8;
/// Bytes of the longest message, frame included.
pub const MAX_MESSAGE: usize = 65_536;

/// The kinds of messages: a message's second byte.
pub mod kind {
    /// [`Request::Hello`](super::Request::Hello)
    pub const HELLO: u8 = 1;
    /// [`Request::PutClass`](super::Request::PutClass)
    pub const PUT_CLASS: u8 = 2;
    /// [`Request::PutLink`](super::Request::PutLink)
    pub const PUT_LINK: u8 = 3;
    /// [`Request::SwitchLink`](super::Request::SwitchLink)
    pub const SWITCH_LINK: u8 = 4;
    /// [`Request::RemoveLink`](super::Request::RemoveLink)
    pub const REMOVE_LINK: u8 = 5;
    /// [`Request::PutCircuit`](super::Request::PutCircuit)
    pub const PUT_CIRCUIT: u8 = 6;
    /// [`Request::RemoveCircuit`](super::Request::RemoveCircuit)
    pub const REMOVE_CIRCUIT: u8 = 7;
    /// [`Request::PutEnd`](super::Request::PutEnd)
    pub const PUT_END: u8 = 8;
    /// [`Request::RemoveEnd`](super::Request::RemoveEnd)
    pub const REMOVE_END: u8 = 9;
    /// [`Request::QueryStatus`](super::Request::QueryStatus)
    pub const QUERY_STATUS: u8 = 10;
    /// [`Request::QueryLinks`](super::Request::QueryLinks)
    pub const QUERY_LINKS: u8 = 11;
    /// [`Request::ExtendCircuit`](super::Request::ExtendCircuit)
    pub const EXTEND_CIRCUIT: u8 = 12;
    /// [`Request::PutLoop`](super::Request::PutLoop)
    pub const PUT_LOOP: u8 = 13;
    /// [`Request::PutTap`](super::Request::PutTap)
    pub const PUT_TAP: u8 = 14;
    /// [`Request::RemoveTap`](super::Request::RemoveTap)
    pub const REMOVE_TAP: u8 = 15;
    /// [`Request::AdvanceEpoch`](super::Request::AdvanceEpoch)
    pub const ADVANCE_EPOCH: u8 = 16;
    /// [`Request::Dump`](super::Request::Dump)
    pub const DUMP: u8 = 32;
    /// [`Request::Subscribe`](super::Request::Subscribe)
    pub const SUBSCRIBE: u8 = 33;
    /// [`Request::Inject`](super::Request::Inject)
    pub const INJECT: u8 = 34;
    /// [`Request::Raw`](super::Request::Raw)
    pub const RAW: u8 = 35;
    /// [`Request::Expect`](super::Request::Expect)
    pub const EXPECT: u8 = 36;
    /// [`Reply::Done`](super::Reply::Done)
    pub const DONE: u8 = 128;
    /// [`Reply::Refused`](super::Reply::Refused)
    pub const REFUSED: u8 = 129;
    /// [`Reply::Welcome`](super::Reply::Welcome)
    pub const WELCOME: u8 = 130;
    /// [`Reply::Report`](super::Reply::Report)
    pub const REPORT: u8 = 131;
    /// [`Punt::Raw`](super::Punt::Raw)
    pub const PUNT_RAW: u8 = 160;
    /// [`Punt::Link`](super::Punt::Link)
    pub const PUNT_LINK: u8 = 161;
    /// [`Punt::Hop`](super::Punt::Hop)
    pub const PUNT_HOP: u8 = 162;
    /// [`Punt::Relay`](super::Punt::Relay)
    pub const PUNT_RELAY: u8 = 163;
    /// [`Punt::Record`](super::Punt::Record)
    pub const PUNT_RECORD: u8 = 164;
    /// [`Punt::Heard`](super::Punt::Heard)
    pub const PUNT_HEARD: u8 = 165;
    /// [`Punt::Silent`](super::Punt::Silent)
    pub const PUNT_SILENT: u8 = 166;
}

/// The request id of a message, whatever else is wrong with it; 0 when it is too short to have one.
pub fn request_id_of(message: &[u8]) -> u32 {
    match *message {
        [_, _, _, _, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
