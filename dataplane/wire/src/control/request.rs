//! What control asks of the data plane.

mod fields;
mod passing;

use super::codec::{DecodeError, Full, Reader, Writer};
use super::kind;
use super::types::{Address, BootId, Bytes, List, Owner, Secret};
use fields::take_id;

pub use passing::{CELL_BYTES_MAX, DATAGRAM_MAX, Inject, OTHERS_MAX, Raw};

/// Ids of links, circuits and ends are below this, 2^31.
pub const ID_LIMIT: u32 = 1 << 31;
/// The shortest round, 1 ms.
pub const ROUND_NS_MIN: u64 = 1_000_000;
/// The longest round, 10 s.
pub const ROUND_NS_MAX: u64 = 10_000_000_000;
/// The most slots of a round.
pub const SLOTS_MAX: u32 = 1 << 20;
/// The least r: a link ratchets every 2^r records.
pub const RATCHET_BITS_MIN: u8 = 4;
/// The greatest r of the format; a cell size may allow less ([`crate::record::ratchet_bits_max`]).
pub const RATCHET_BITS_MAX: u8 = 34;
/// The most layers of a client's end: hops of its half of a call.
pub const LAYERS_MAX: usize = 4;

/// No encoded request is longer, in bytes: room for one, frame included.
pub const REQUEST_MAX: usize = 2048;

/// The layers of a client's end, nearest hop first.
pub type Layers = List<EndLayer, LAYERS_MAX>;

/// A message from control to the data plane.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a put is held once, on the stack: no allocation")]
pub enum Request {
    /// Who are you? Answered by `Welcome`.
    Hello,
    /// Makes a class of links, or changes its rate.
    PutClass(PutClass),
    /// Makes a link, or installs a newer generation's read keys.
    PutLink(PutLink),
    /// Sends with `generation` from the first slot not yet sealed (W-KEY-7).
    SwitchLink {
        /// The data plane meant.
        boot: BootId,
        /// The link.
        link: u32,
        /// A generation that was put.
        generation: u32,
    },
    /// Removes a link.
    RemoveLink {
        /// The data plane meant.
        boot: BootId,
        /// The link.
        link: u32,
    },
    /// Makes a circuit through this mix.
    PutCircuit(PutCircuit),
    /// Removes a circuit.
    RemoveCircuit {
        /// The data plane meant.
        boot: BootId,
        /// The circuit.
        circuit: u32,
    },
    /// Makes a client's end of a circuit.
    PutEnd(PutEnd),
    /// Removes a client's end.
    RemoveEnd {
        /// The data plane meant.
        boot: BootId,
        /// The end.
        end: u32,
    },
    /// Gives a circuit that ended here its far side (`docs/wire.md`, W-CIR-8).
    ExtendCircuit(ExtendCircuit),
    /// Makes a link of a mix to itself: two ends, both rounds, nothing on a wire (W-CIR-9).
    PutLoop(PutLoop),
    /// Cells of this circuit id go to control, layers on: a client's own circuit that has no end yet.
    PutTap {
        /// The data plane meant.
        boot: BootId,
        /// Where they arrive.
        at: LinkEnd,
    },
    /// No more.
    RemoveTap {
        /// The data plane meant.
        boot: BootId,
        /// Where they arrived.
        at: LinkEnd,
    },
    /// Next epoch's keys of one direction of a foreign peer's link: "traffic upd", numbers from 0 (RFC 9147, 8).
    AdvanceEpoch {
        /// The data plane meant.
        boot: BootId,
        /// The link.
        link: u32,
        /// Ours (true) or the peer's.
        send: bool,
    },
    /// Objects and their owner blobs, a page from id `from` on, answered by `Report`; key ids, never keys.
    Dump {
        /// Which.
        what: Dump,
        /// The least id of the page.
        from: u32,
    },
    /// From now on this connection takes what the data plane hands to control ([`super::Punt`]); an earlier one no more.
    Subscribe {
        /// The data plane meant.
        boot: BootId,
    },
    /// A cell that control hands to the data plane.
    Inject(Inject),
    /// A handshake datagram, outside every slot.
    Raw(Raw),
    /// Every datagram of this sender that opens as no link's record goes to control; or no more.
    Expect {
        /// The data plane meant.
        boot: BootId,
        /// The sender.
        remote: Address,
        /// Begin or end.
        expected: bool,
    },
    /// Totals and state, answered by `Report`.
    QueryStatus,
    /// Links one by one, a page from link id `from` on; builds without the feature `lab` refuse it (invariant I10).
    QueryLinks {
        /// The least link id of the page.
        from: u32,
    },
}

/// What a class of links joins (Herd 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClassKind {
    /// Client and mix.
    Client = 0,
    /// Superpeer and mix of a zone.
    Superpeer = 1,
    /// Mixes within a zone.
    Zone = 2,
    /// Mixes of a pair of zones.
    Pair = 3,
}

/// A class of links: all have one rate at any instant (invariant I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutClass {
    /// The data plane meant.
    pub boot: BootId,
    /// The class.
    pub class: u16,
    /// What its links join.
    pub kind: ClassKind,
    /// A round, in ns: [`ROUND_NS_MIN`] to [`ROUND_NS_MAX`].
    pub round_ns: u64,
    /// Slots of a round: 1 to `slots_max`.
    pub slots: u32,
    /// The most slots that `slots` may later become, for memory: at most [`SLOTS_MAX`].
    pub slots_max: u32,
    /// The instant of the change on the monotonic clock, in ns; 0 is now.
    pub at_ns: u64,
}

/// What the other end of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Peer {
    /// A drover node: its numbers advance one a slot, and it ratchets.
    Drover = 0,
    /// Any DTLS 1.3 peer.
    Foreign = 1,
}

/// One direction's keys of a link at one generation.
#[derive(Clone, Debug)]
pub struct Direction {
    /// The traffic secret of the ratchet step that holds `first` (W-KEY-3).
    pub secret: Secret<32>,
    /// The first record number.
    pub first: u64,
}

/// A link, or a newer generation of its keys.
#[derive(Clone, Debug)]
pub struct PutLink {
    /// The data plane meant.
    pub boot: BootId,
    /// The link: below [`ID_LIMIT`].
    pub link: u32,
    /// The generation of the keys.
    pub generation: u32,
    /// The UDP port of this end, in host order.
    pub local_port: u16,
    /// The other end: neither port 0 nor an unspecified address.
    pub remote: Address,
    /// The class that paces it.
    pub class: u16,
    /// What the other end is.
    pub peer: Peer,
    /// r: keys ratchet every 2^r records; [`RATCHET_BITS_MIN`] to [`RATCHET_BITS_MAX`].
    pub ratchet_bits: u8,
    /// Keys of records sent.
    pub send: Direction,
    /// Keys of records received.
    pub receive: Direction,
    /// Control's own note.
    pub owner: Owner,
}

/// One side of a circuit: a link and the circuit's id on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkEnd {
    /// The link: below [`ID_LIMIT`].
    pub link: u32,
    /// The circuit id on the link: not zero.
    pub id: u32,
}

/// One direction of a circuit through a mix.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The layer's key.
    pub key: Secret<16>,
    /// The first counter as it comes in; `None`: the first cell says it.
    pub first: Option<u64>,
    /// Added, wrapping, to the counter as it goes out.
    pub offset: u64,
    /// Owns a slot of the round on the link that it leaves by.
    pub admitted: bool,
}

/// A circuit through a mix.
#[derive(Clone, Debug)]
pub struct PutCircuit {
    /// The data plane meant.
    pub boot: BootId,
    /// The circuit: below [`ID_LIMIT`].
    pub circuit: u32,
    /// The generation of the keys.
    pub generation: u32,
    /// The side of the client that built it.
    pub near: LinkEnd,
    /// The other side; `None` where the circuit ends.
    pub far: Option<LinkEnd>,
    /// Near to far: peels.
    pub forward: Leg,
    /// Far to near: adds.
    pub backward: Leg,
    /// This hop's own cells; `None`: it takes and makes none.
    pub hop: Option<HopKeys>,
    /// Control's own note.
    pub owner: Owner,
}

/// What a hop needs for cells of its own (W-HOP).
#[derive(Clone, Debug)]
pub struct HopKeys {
    /// MAC key of cells for this hop: HMAC-SHA-256, its first 16 bytes.
    pub forward_mac: Secret<32>,
    /// MAC key of cells that this hop makes.
    pub backward_mac: Secret<32>,
    /// The counter, as it leaves by the near side, of the first cell that this hop makes.
    pub first: u64,
}

/// A circuit's far side.
#[derive(Clone, Debug)]
pub struct ExtendCircuit {
    /// The data plane meant.
    pub boot: BootId,
    /// A circuit without a far side.
    pub circuit: u32,
    /// The far side.
    pub far: LinkEnd,
    /// First counters, as they come in from the far side, of cells that hops beyond make themselves: each has a window
    /// of its own. Any other counter is the stream's.
    pub others: List<u64, OTHERS_MAX>,
}

/// A link of a mix to itself.
#[derive(Clone, Debug)]
pub struct PutLoop {
    /// The data plane meant.
    pub boot: BootId,
    /// One end: below [`ID_LIMIT`].
    pub a: u32,
    /// The other end: what leaves by one arrives at the other.
    pub b: u32,
    /// The class that paces it.
    pub class: u16,
    /// Control's own note.
    pub owner: Owner,
}

/// What a dump lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dump {
    /// Classes.
    Classes = 0,
    /// Links, loops among them.
    Links = 1,
    /// Circuits.
    Circuits = 2,
    /// Clients' ends.
    Ends = 3,
}

/// One hop's layer as the client holds it.
#[derive(Clone, Debug, Default)]
pub struct EndLayer {
    /// Key of the layer that the hop peels.
    pub forward: Secret<16>,
    /// What the hop adds to the forward counter.
    pub forward_offset: u64,
    /// Key of the layer that the hop adds.
    pub backward: Secret<16>,
    /// What the hop adds to the backward counter.
    pub backward_offset: u64,
}

/// End-to-end key of one direction (W-END-2).
#[derive(Clone, Debug)]
pub struct EndSecret {
    /// AES-128-GCM key.
    pub key: Secret<16>,
    /// The IV that the number is XORed into.
    pub iv: Secret<12>,
}

/// A client's end of a circuit.
#[derive(Clone, Debug)]
pub struct PutEnd {
    /// The data plane meant.
    pub boot: BootId,
    /// The end: below [`ID_LIMIT`].
    pub end: u32,
    /// The generation of the keys.
    pub generation: u32,
    /// Where its cells leave and arrive.
    pub at: LinkEnd,
    /// The counter of the first cell sent.
    pub send_first: u64,
    /// The counter, as it arrives, of the first cell received; `None`: the first cell says it.
    pub receive_first: Option<u64>,
    /// The layers, nearest hop first.
    pub layers: Layers,
    /// Seals what is sent end to end.
    pub seal: EndSecret,
    /// Opens what is received end to end.
    pub open: EndSecret,
}

impl Request {
    /// The kind, a message's second byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Request::Hello => kind::HELLO,
            Request::PutClass(_) => kind::PUT_CLASS,
            Request::PutLink(_) => kind::PUT_LINK,
            Request::SwitchLink { .. } => kind::SWITCH_LINK,
            Request::RemoveLink { .. } => kind::REMOVE_LINK,
            Request::PutCircuit(_) => kind::PUT_CIRCUIT,
            Request::RemoveCircuit { .. } => kind::REMOVE_CIRCUIT,
            Request::PutEnd(_) => kind::PUT_END,
            Request::RemoveEnd { .. } => kind::REMOVE_END,
            Request::ExtendCircuit(_) => kind::EXTEND_CIRCUIT,
            Request::PutLoop(_) => kind::PUT_LOOP,
            Request::PutTap { .. } => kind::PUT_TAP,
            Request::RemoveTap { .. } => kind::REMOVE_TAP,
            Request::AdvanceEpoch { .. } => kind::ADVANCE_EPOCH,
            Request::Dump { .. } => kind::DUMP,
            Request::Subscribe { .. } => kind::SUBSCRIBE,
            Request::Inject(_) => kind::INJECT,
            Request::Raw(_) => kind::RAW,
            Request::Expect { .. } => kind::EXPECT,
            Request::QueryStatus => kind::QUERY_STATUS,
            Request::QueryLinks { .. } => kind::QUERY_LINKS,
        }
    }

    /// Writes the message into `out` and returns its length. `out` then holds keys: zeroize it once it was sent.
    ///
    /// Ranges are checked by the one who decodes.
    ///
    /// # Errors
    ///
    /// [`Full`] when `out` is too short; [`REQUEST_MAX`] bytes are enough.
    pub fn encode(&self, request_id: u32, out: &mut [u8]) -> Result<usize, Full> {
        let writer = &mut Writer::frame(out, self.kind(), request_id)?;
        match self {
            Request::Hello | Request::QueryStatus => {}
            Request::PutClass(put) => put.put(writer)?,
            Request::PutLink(put) => put.put(writer)?,
            Request::PutCircuit(put) => put.put(writer)?,
            Request::PutEnd(put) => put.put(writer)?,
            Request::SwitchLink { boot, link, generation } => {
                boot.put(writer)?;
                writer.u32(*link)?;
                writer.u32(*generation)?;
            }
            Request::RemoveLink { boot, link: id }
            | Request::RemoveCircuit { boot, circuit: id }
            | Request::RemoveEnd { boot, end: id } => {
                boot.put(writer)?;
                writer.u32(*id)?;
            }
            Request::QueryLinks { from } => writer.u32(*from)?,
            Request::ExtendCircuit(put) => put.put(writer)?,
            Request::PutLoop(put) => put.put(writer)?,
            Request::PutTap { boot, at } | Request::RemoveTap { boot, at } => {
                boot.put(writer)?;
                at.put(writer)?;
            }
            Request::AdvanceEpoch { boot, link, send } => {
                boot.put(writer)?;
                writer.u32(*link)?;
                writer.bool(*send)?;
            }
            Request::Dump { what, from } => {
                writer.u8(*what as u8)?;
                writer.u32(*from)?;
            }
            Request::Subscribe { boot } => boot.put(writer)?,
            Request::Inject(inject) => inject.put(writer)?,
            Request::Raw(raw) => raw.put(writer)?,
            Request::Expect { boot, remote, expected } => {
                boot.put(writer)?;
                remote.put(writer)?;
                writer.bool(*expected)?;
            }
        }
        Ok(writer.len())
    }

    /// Reads a whole message: its request id and the request.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong; the request id may still be had from [`super::request_id_of`].
    pub fn decode(message: &[u8]) -> Result<(u32, Request), DecodeError> {
        let (kind, request_id, mut reader) = Reader::frame(message)?;
        let r = &mut reader;
        let request = match kind {
            kind::HELLO => Request::Hello,
            kind::PUT_CLASS => Request::PutClass(PutClass::take(r)?),
            kind::PUT_LINK => Request::PutLink(PutLink::take(r)?),
            kind::SWITCH_LINK => {
                let (boot, link) = (BootId::take(r)?, take_id(r, "link")?);
                Request::SwitchLink { boot, link, generation: r.u32()? }
            }
            kind::REMOVE_LINK => Request::RemoveLink { boot: BootId::take(r)?, link: take_id(r, "link")? },
            kind::PUT_CIRCUIT => Request::PutCircuit(PutCircuit::take(r)?),
            kind::REMOVE_CIRCUIT => Request::RemoveCircuit { boot: BootId::take(r)?, circuit: take_id(r, "circuit")? },
            kind::PUT_END => Request::PutEnd(PutEnd::take(r)?),
            kind::REMOVE_END => Request::RemoveEnd { boot: BootId::take(r)?, end: take_id(r, "end")? },
            kind::QUERY_STATUS => Request::QueryStatus,
            kind::QUERY_LINKS => Request::QueryLinks { from: take_id(r, "from")? },
            kind::EXTEND_CIRCUIT => Request::ExtendCircuit(ExtendCircuit::take(r)?),
            kind::PUT_LOOP => Request::PutLoop(PutLoop::take(r)?),
            kind::PUT_TAP => Request::PutTap { boot: BootId::take(r)?, at: LinkEnd::take(r, "at.link", "at.id")? },
            kind::REMOVE_TAP => {
                Request::RemoveTap { boot: BootId::take(r)?, at: LinkEnd::take(r, "at.link", "at.id")? }
            }
            kind::ADVANCE_EPOCH => {
                Request::AdvanceEpoch { boot: BootId::take(r)?, link: take_id(r, "link")?, send: r.bool("send")? }
            }
            kind::DUMP => Request::Dump { what: Dump::take(r)?, from: take_id(r, "from")? },
            kind::SUBSCRIBE => Request::Subscribe { boot: BootId::take(r)? },
            kind::INJECT => Request::Inject(Inject::take(r)?),
            kind::RAW => Request::Raw(Raw::take(r)?),
            kind::EXPECT => {
                let (boot, remote) = (BootId::take(r)?, Address::take(r)?);
                Request::Expect { boot, remote, expected: r.bool("expected")? }
            }
            other => return Err(DecodeError::Kind(other)),
        };
        reader.end()?;
        Ok((request_id, request))
    }
}
