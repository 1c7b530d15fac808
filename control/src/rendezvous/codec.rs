//! Reading and writing of messages: big-endian fields, one encoding a value, nothing left over.

use std::fmt;

/// A message that is none: too short, too long, or a field out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage;

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is malformed")
    }
}

impl std::error::Error for BadMessage {}

/// Reads fields from the front of a message.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], BadMessage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadMessage)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadMessage)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, BadMessage> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, BadMessage> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, BadMessage> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, BadMessage> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// What is left must be exactly `length` bytes.
    pub fn rest(self, length: usize) -> Result<&'a [u8], BadMessage> {
        (self.0.len() == length).then_some(self.0).ok_or(BadMessage)
    }

    pub fn end(self) -> Result<(), BadMessage> {
        self.rest(0).map(|_| ())
    }
}
