//! What control gives the data plane to send: cells into slots, and handshake datagrams outside them.

use super::super::codec::{DecodeError, Full, Reader, Writer, check};
use super::*;

/// The most originators beyond a hop that have windows of their own.
pub const OTHERS_MAX: usize = 2;
/// Bytes of the longest part of a cell that passes the socket: a body of the largest size.
pub const CELL_BYTES_MAX: usize = crate::cell::plaintext_len(1024);
/// Bytes of the longest handshake datagram: Ethernet's MTU less IPv4 and UDP.
pub const DATAGRAM_MAX: usize = 1472;

/// A cell from control. It takes a slot that no circuit owns, or its own circuit's; it never adds one (I6).
#[derive(Clone, Debug)]
pub enum Inject {
    /// A cell of the link's own control: the whole body.
    Link {
        /// The data plane meant.
        boot: BootId,
        /// The link.
        link: u32,
        /// S − 32 bytes.
        body: Bytes<CELL_BYTES_MAX>,
    },
    /// A cell that this hop makes for the client of a circuit; the data plane writes check, MAC and layer.
    Hop {
        /// The data plane meant.
        boot: BootId,
        /// The circuit.
        circuit: u32,
        /// What the data is.
        kind: u8,
        /// At most what fits ([`crate::cell::hop::data_max`]).
        data: Bytes<CELL_BYTES_MAX>,
    },
    /// A circuit's cell as control made it, layers on: a client's own circuit that has no end yet.
    Relay {
        /// The data plane meant.
        boot: BootId,
        /// Where it leaves.
        at: LinkEnd,
        /// Its counter.
        counter: u64,
        /// S − 32 bytes.
        body: Bytes<CELL_BYTES_MAX>,
    },
    /// A record for a foreign peer that is no application data (RFC 9147, 4): padded to a cell's size.
    Record {
        /// The data plane meant.
        boot: BootId,
        /// The link.
        link: u32,
        /// The inner content type: 21 alert, 22 handshake, 26 ACK.
        content_type: u8,
        /// At most S − 17 bytes.
        data: Bytes<CELL_BYTES_MAX>,
    },
}

/// A datagram outside every slot.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The data plane meant.
    pub boot: BootId,
    /// The worker that sends it: from that one's port.
    pub worker: u8,
    /// Where it goes: neither port 0 nor an unspecified address.
    pub to: Address,
    /// The datagram.
    pub bytes: Bytes<DATAGRAM_MAX>,
}

const LINK: u8 = 0;
const HOP: u8 = 1;
const RELAY: u8 = 2;
const RECORD: u8 = 3;

impl Inject {
    /// The data plane meant.
    pub const fn boot(&self) -> BootId {
        match self {
            Inject::Link { boot, .. }
            | Inject::Hop { boot, .. }
            | Inject::Relay { boot, .. }
            | Inject::Record { boot, .. } => *boot,
        }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot().put(writer)?;
        match self {
            Inject::Link { link, body, .. } => {
                writer.u8(LINK)?;
                writer.u32(*link)?;
                body.put(writer)
            }
            Inject::Hop { circuit, kind, data, .. } => {
                writer.u8(HOP)?;
                writer.u32(*circuit)?;
                writer.u8(*kind)?;
                data.put(writer)
            }
            Inject::Relay { at, counter, body, .. } => {
                writer.u8(RELAY)?;
                at.put(writer)?;
                writer.u64(*counter)?;
                body.put(writer)
            }
            Inject::Record { link, content_type, data, .. } => {
                writer.u8(RECORD)?;
                writer.u32(*link)?;
                writer.u8(*content_type)?;
                data.put(writer)
            }
        }
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<Inject, DecodeError> {
        let boot = BootId::take(r)?;
        const FITS: &str = "at most 1008 bytes";
        Ok(match r.u8()? {
            LINK => Inject::Link { boot, link: take_id(r, "link")?, body: Bytes::take(r, "body", FITS)? },
            HOP => Inject::Hop {
                boot,
                circuit: take_id(r, "circuit")?,
                kind: r.u8()?,
                data: Bytes::take(r, "data", FITS)?,
            },
            RELAY => Inject::Relay {
                boot,
                at: LinkEnd::take(r, "at.link", "at.id")?,
                counter: r.u64()?,
                body: Bytes::take(r, "body", FITS)?,
            },
            RECORD => {
                let (link, content_type) = (take_id(r, "link")?, r.u8()?);
                check(matches!(content_type, 21 | 22 | 26), "content_type", "21, 22 or 26")?;
                Inject::Record { boot, link, content_type, data: Bytes::take(r, "data", FITS)? }
            }
            _ => return Err(DecodeError::Field { name: "inject", allowed: "0 (link) to 3 (record)" }),
        })
    }
}

impl Raw {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u8(self.worker)?;
        self.to.put(writer)?;
        self.bytes.put(writer)
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<Raw, DecodeError> {
        let (boot, worker, to) = (BootId::take(r)?, r.u8()?, Address::take(r)?);
        check(to.port != 0, "to.port", "not 0")?;
        check(!to.is_unspecified(), "to.ip", "neither :: nor 0.0.0.0")?;
        Ok(Raw { boot, worker, to, bytes: Bytes::take(r, "bytes", "at most 1472 bytes")? })
    }
}
