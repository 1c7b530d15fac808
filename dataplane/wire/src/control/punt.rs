//! What the data plane hands to control, unasked, on the connection that subscribed (`docs/wire.md`, W-CTL-10).
//!
//! One message each; the request id counts them, so that control sees when some were lost for want of room.

use super::codec::{DecodeError, Full, Reader, Writer};
use super::kind;
use super::types::Address;

/// No encoded punt is longer, in bytes.
pub const PUNT_MAX: usize = 2048;

/// A cell, a datagram or a turn of events for the control daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punt<'a> {
    /// A datagram that is no link's record: a plaintext record, or anything from an expected sender.
    Raw {
        /// The worker whose port took it.
        worker: u8,
        /// Who sent it.
        from: Address,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// A cell of a link's own control.
    Link {
        /// The link.
        link: u32,
        /// S − 32 bytes.
        body: &'a [u8],
    },
    /// A cell for this hop: recognised, its MAC right.
    Hop {
        /// The circuit.
        circuit: u32,
        /// What the data is.
        kind: u8,
        /// The data.
        data: &'a [u8],
    },
    /// A cell of a tapped circuit, layers on.
    Relay {
        /// The link.
        link: u32,
        /// The circuit's id on it.
        id: u32,
        /// Its counter.
        counter: u64,
        /// S − 32 bytes.
        body: &'a [u8],
    },
    /// A foreign peer's record that is no application data, opened.
    Record {
        /// The link.
        link: u32,
        /// Its epoch.
        epoch: u32,
        /// Its number.
        number: u64,
        /// The inner content type.
        content_type: u8,
        /// The content, padding removed.
        data: &'a [u8],
    },
    /// The first record under these keys has come.
    Heard {
        /// The link.
        link: u32,
        /// The generation.
        generation: u32,
    },
    /// Nothing has come over the link for a while.
    Silent {
        /// The link.
        link: u32,
    },
}

impl<'a> Punt<'a> {
    /// The kind, a message's second byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Punt::Raw { .. } => kind::PUNT_RAW,
            Punt::Link { .. } => kind::PUNT_LINK,
            Punt::Hop { .. } => kind::PUNT_HOP,
            Punt::Relay { .. } => kind::PUNT_RELAY,
            Punt::Record { .. } => kind::PUNT_RECORD,
            Punt::Heard { .. } => kind::PUNT_HEARD,
            Punt::Silent { .. } => kind::PUNT_SILENT,
        }
    }

    /// Writes the message, the `count`-th of its connection, into `out` and returns its length.
    ///
    /// # Errors
    ///
    /// [`Full`] when `out` is too short; [`PUNT_MAX`] bytes are enough for whatever a port receives.
    pub fn encode(&self, count: u32, out: &mut [u8]) -> Result<usize, Full> {
        let writer = &mut Writer::frame(out, self.kind(), count)?;
        match self {
            Punt::Raw { worker, from, bytes } => {
                writer.u8(*worker)?;
                from.put(writer)?;
                put_bytes(bytes, writer)?;
            }
            Punt::Link { link, body } => {
                writer.u32(*link)?;
                put_bytes(body, writer)?;
            }
            Punt::Hop { circuit, kind, data } => {
                writer.u32(*circuit)?;
                writer.u8(*kind)?;
                put_bytes(data, writer)?;
            }
            Punt::Relay { link, id, counter, body } => {
                writer.u32(*link)?;
                writer.u32(*id)?;
                writer.u64(*counter)?;
                put_bytes(body, writer)?;
            }
            Punt::Record { link, epoch, number, content_type, data } => {
                writer.u32(*link)?;
                writer.u32(*epoch)?;
                writer.u64(*number)?;
                writer.u8(*content_type)?;
                put_bytes(data, writer)?;
            }
            Punt::Heard { link, generation } => {
                writer.u32(*link)?;
                writer.u32(*generation)?;
            }
            Punt::Silent { link } => writer.u32(*link)?,
        }
        Ok(writer.len())
    }

    /// Reads a whole message: its count and what was handed over.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong; [`DecodeError::Kind`] for a reply.
    pub fn decode(message: &'a [u8]) -> Result<(u32, Punt<'a>), DecodeError> {
        let (kind, count, mut reader) = Reader::frame(message)?;
        let r = &mut reader;
        let punt = match kind {
            kind::PUNT_RAW => Punt::Raw { worker: r.u8()?, from: Address::take(r)?, bytes: take_bytes(r)? },
            kind::PUNT_LINK => Punt::Link { link: r.u32()?, body: take_bytes(r)? },
            kind::PUNT_HOP => Punt::Hop { circuit: r.u32()?, kind: r.u8()?, data: take_bytes(r)? },
            kind::PUNT_RELAY => Punt::Relay { link: r.u32()?, id: r.u32()?, counter: r.u64()?, body: take_bytes(r)? },
            kind::PUNT_RECORD => Punt::Record {
                link: r.u32()?,
                epoch: r.u32()?,
                number: r.u64()?,
                content_type: r.u8()?,
                data: take_bytes(r)?,
            },
            kind::PUNT_HEARD => Punt::Heard { link: r.u32()?, generation: r.u32()? },
            kind::PUNT_SILENT => Punt::Silent { link: r.u32()? },
            other => return Err(DecodeError::Kind(other)),
        };
        reader.end()?;
        Ok((count, punt))
    }
}

fn put_bytes(bytes: &[u8], writer: &mut Writer<'_>) -> Result<(), Full> {
    writer.u16(u16::try_from(bytes.len()).map_err(|_| Full)?)?;
    writer.bytes(bytes)
}

fn take_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = usize::from(reader.u16()?);
    reader.bytes(len)
}
