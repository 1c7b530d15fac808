//! The record: DTLS 1.3's unified header over one cell (RFC 9147, 4; `docs/wire.md`, clauses W-REC-*).

/// First byte of every record a drover node sends: 16-bit number, no connection id, no length, epoch bits 3.
pub const FIRST_BYTE: u8 = 0x2b;
/// Bytes of the header without a length, the only one we send.
pub const HEADER: usize = 3;
/// Bytes of the header with a length.
pub const HEADER_WITH_LENGTH: usize = 5;

/// Bytes of a record (a UDP payload) of cell size `s`, chaff or not.
pub const fn record_len(s: usize) -> usize {
    HEADER + s
}

/// What a datagram's first byte says it is (RFC 9147, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0x20–0x3f: to the fast path.
    Ciphertext,
    /// 20, 21, 22 or 26: a plaintext record, for control.
    Plaintext,
    /// Anything else, and an empty datagram.
    Unknown,
}

/// Tells ciphertext from plaintext records.
pub fn classify(datagram: &[u8]) -> Kind {
    let _ = datagram;
    todo!()
}

/// A ciphertext record, its number still masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// 3 or 5 header bytes as they came.
    pub header: &'a [u8],
    /// Ciphertext and tag: as many bytes as the cell size.
    pub body: &'a [u8],
}

/// Why a datagram is not one of our records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Fewer bytes than the header and a cell.
    Short,
    /// More bytes than the header and a cell, or a length that is not the cell size.
    Length,
    /// Not a ciphertext record, a connection id, or an 8-bit number.
    Header,
}

/// Parses a datagram that must hold one record of `cell` encrypted bytes, no more and no less.
pub fn parse(datagram: &[u8], cell: usize) -> Result<Record<'_>, RecordError> {
    let _ = (datagram, cell);
    todo!()
}

impl<'a> Record<'a> {
    /// The low two bits of the epoch.
    pub fn epoch_bits(&self) -> u8 {
        self.header[0] & 3
    }
    /// The 16 bytes that the number's mask is made from.
    pub fn sample(&self) -> &'a [u8; 16] {
        todo!()
    }
    /// The 16 bits of the number that travel, unmasked by `mask`.
    pub fn number(&self, mask: [u8; 2]) -> u16 {
        let _ = mask;
        todo!()
    }
}

/// A header with its number in the clear: the AEAD's associated data (RFC 9147, 4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad {
    bytes: [u8; HEADER_WITH_LENGTH],
    len: u8,
}

impl Aad {
    /// The associated data of a record that came with `header` (3 or 5 bytes) and the unmasked `number`.
    pub fn new(header: &[u8], number: u16) -> Aad {
        let _ = (header, number);
        todo!()
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The number nearest to `expected` whose low 16 bits are `low`; never below zero.
pub fn reconstruct(low: u16, expected: u64) -> u64 {
    let _ = (low, expected);
    todo!()
}
