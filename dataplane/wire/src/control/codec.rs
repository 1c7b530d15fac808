//! Cursors over a message's bytes, the frame, and what can go wrong.

use super::{FRAME, MAX_MESSAGE, VERSION};
use core::fmt;

/// A message does not fit into the buffer, or not into [`MAX_MESSAGE`]. What the buffer holds then is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for the whole")
    }
}

impl core::error::Error for Full {}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The message ends before its last field.
    Short,
    /// Bytes follow the last field.
    Trailing,
    /// More than [`MAX_MESSAGE`] bytes.
    Long,
    /// Not [`VERSION`].
    Version(u8),
    /// No such kind of message, or not one in this direction.
    Kind(u8),
    /// A field is out of range.
    Field {
        /// The field.
        name: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Short => f.write_str("the message ends before its last field"),
            DecodeError::Trailing => f.write_str("bytes follow the message's last field"),
            DecodeError::Long => write!(f, "the message is longer than {MAX_MESSAGE} bytes"),
            DecodeError::Version(version) => {
                write!(f, "message version {version}; this is version {VERSION}")
            }
            DecodeError::Kind(kind) => write!(f, "no message of kind {kind} goes this way"),
            DecodeError::Field { name, allowed } => {
                write!(f, "field {name} is out of range: {allowed}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// `Ok` when `ok`, else the error that names the field.
pub(super) fn check(ok: bool, name: &'static str, allowed: &'static str) -> Result<(), DecodeError> {
    if ok { Ok(()) } else { Err(DecodeError::Field { name, allowed }) }
}

/// Writes fields one after another.
pub(super) struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> Writer<'o> {
    /// Begins a message: writes the frame.
    pub(super) fn frame(out: &'o mut [u8], kind: u8, request_id: u32) -> Result<Writer<'o>, Full> {
        let most = out.len().min(MAX_MESSAGE);
        let mut writer = Writer { out: &mut out[..most], at: 0 };
        writer.bytes(&[VERSION, kind, 0, 0])?;
        writer.u32(request_id)?;
        Ok(writer)
    }
    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.at
    }
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let room = self.out.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len()));
        room.ok_or(Full)?.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }
    pub(super) fn u8(&mut self, value: u8) -> Result<(), Full> {
        self.bytes(&[value])
    }
    pub(super) fn u16(&mut self, value: u16) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }
    pub(super) fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }
    pub(super) fn u64(&mut self, value: u64) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }
    pub(super) fn bool(&mut self, value: bool) -> Result<(), Full> {
        self.u8(value.into())
    }
}

/// Reads fields one after another.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Takes the frame off a message: kind, request id, and a reader of the payload.
    pub(super) fn frame(message: &'a [u8]) -> Result<(u8, u32, Reader<'a>), DecodeError> {
        if message.len() > MAX_MESSAGE {
            return Err(DecodeError::Long);
        }
        let (frame, rest) = message.split_first_chunk::<FRAME>().ok_or(DecodeError::Short)?;
        let &[version, kind, z0, z1, a, b, c, d] = frame;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        check(z0 | z1 == 0, "reserved", "must be zero")?;
        Ok((kind, u32::from_be_bytes([a, b, c, d]), Reader { rest }))
    }
    /// Succeeds when every byte was read.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|&[byte]| byte)
    }
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }
    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }
    pub(super) fn bool(&mut self, name: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field { name, allowed: "0 or 1" }),
        }
    }
}
