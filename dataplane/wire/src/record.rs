//! The record: DTLS 1.3's unified header over one cell (RFC 9147, 4; `docs/wire.md`, clauses W-REC-* and W-NUM-*).
//!
//! ```text
//! | first byte 001CSLEE | 2 number, masked | 2 length, if L | S - 16 ciphertext | 16 tag |
//! ```

use core::fmt;

/// First byte of every record a drover node sends: 16-bit number, no connection id, no length, epoch bits 3.
pub const FIRST_BYTE: u8 = 0x2b;
/// First byte of a record sent to a foreign peer in this epoch: its low two bits are the epoch's (RFC 9147, 4; W-KEY-9).
pub const fn first_byte(epoch: u32) -> u8 {
    CIPHERTEXT | NUMBER_16 | (epoch as u8 & EPOCH)
}

/// Bytes of the header without a length, the only one we send.
pub const HEADER: usize = 3;
/// Bytes of the header with a length.
pub const HEADER_WITH_LENGTH: usize = 5;
/// How many numbers share the 16 bits that travel: a wrap.
pub const WRAP: u64 = 1 << 16;

/// Bytes of the ciphertext that the number's mask is made from (RFC 9147, 4.2.3).
const SAMPLE: usize = 16;
const FIXED_BITS: u8 = 0b1110_0000;
const CIPHERTEXT: u8 = 0b0010_0000;
const CONNECTION_ID: u8 = 0b0001_0000;
const NUMBER_16: u8 = 0b0000_1000;
const WITH_LENGTH: u8 = 0b0000_0100;
const EPOCH: u8 = 0b0000_0011;

/// Bytes of a record (a UDP payload) of cell size `s`, chaff or not.
pub const fn record_len(s: usize) -> usize {
    HEADER + s
}

/// The largest r for which 2^r records of cell size `s` stay within the 2^34.5 blocks that one AES-GCM key may seal
/// (RFC 9147, 4.5.3: 2^24.5 records of 2^10 blocks; W-KEY-5): 30, 29, 28.
pub const fn ratchet_bits_max(s: usize) -> u8 {
    // Blocks a record, rounded up to a power of two: the ciphertext's, the tag taking the place of the length block.
    let blocks = s.div_ceil(16).next_power_of_two();
    34u32.saturating_sub(blocks.trailing_zeros()) as u8
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

/// Tells ciphertext from plaintext records (W-REC-4).
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0x20..=0x3f) => Kind::Ciphertext,
        Some(20 | 21 | 22 | 26) => Kind::Plaintext,
        _ => Kind::Unknown,
    }
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

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::Short => "fewer bytes than a record of this cell size",
            RecordError::Length => "more bytes, or another length, than a record of this cell size",
            RecordError::Header => "not a ciphertext record with a 16-bit number and no connection id",
        })
    }
}

impl core::error::Error for RecordError {}

/// Parses a datagram that must hold one record of `cell` encrypted bytes, no more and no less (W-REC-2, W-REC-3).
///
/// A `cell` below 16 bytes, which no zone has, is refused as [`RecordError::Length`].
pub fn parse(datagram: &[u8], cell: usize) -> Result<Record<'_>, RecordError> {
    let &first = datagram.first().ok_or(RecordError::Short)?;
    if first & (FIXED_BITS | CONNECTION_ID | NUMBER_16) != CIPHERTEXT | NUMBER_16 {
        return Err(RecordError::Header);
    }
    let (header, body) = if first & WITH_LENGTH == 0 {
        datagram.split_at_checked(HEADER).ok_or(RecordError::Short)?
    } else {
        let (header, body) = datagram.split_at_checked(HEADER_WITH_LENGTH).ok_or(RecordError::Short)?;
        if usize::from(u16::from_be_bytes([header[3], header[4]])) != cell {
            return Err(RecordError::Length);
        }
        (header, body)
    };
    if cell < SAMPLE || body.len() > cell {
        return Err(RecordError::Length);
    }
    if body.len() < cell {
        return Err(RecordError::Short);
    }
    Ok(Record { header, body })
}

/// Parses a datagram that is one record shorter than a cell's: a foreign peer's that is no application data (W-REC-3).
/// With a length in its header the record fills the datagram all the same.
pub fn parse_short(datagram: &[u8], cell: usize) -> Result<Record<'_>, RecordError> {
    let with_length = datagram.first().is_some_and(|first| first & WITH_LENGTH != 0);
    let header = if with_length { HEADER_WITH_LENGTH } else { HEADER };
    let len = datagram.len().saturating_sub(header);
    // A tag and a content type: less than that is no record (RFC 9147, 4; RFC 8446, 5.2).
    if len <= SAMPLE {
        return Err(RecordError::Short);
    }
    if len >= cell {
        return Err(RecordError::Length);
    }
    parse(datagram, len)
}

impl<'a> Record<'a> {
    /// The low two bits of the epoch.
    pub fn epoch_bits(&self) -> u8 {
        self.header.first().map_or(0, |first| first & EPOCH)
    }
    /// The 16 bytes that the number's mask is made from (RFC 9147, 4.2.3). A body from [`parse`] has them.
    pub fn sample(&self) -> &'a [u8; SAMPLE] {
        self.body.first_chunk().unwrap_or(&[0; SAMPLE])
    }
    /// The 16 bits of the number that travel, unmasked by `mask`.
    pub fn number(&self, mask: [u8; 2]) -> u16 {
        let masked = match *self.header {
            [_, high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        masked ^ u16::from_be_bytes(mask)
    }
}

/// A header with its number in the clear: the AEAD's associated data (RFC 9147, 4 and 4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad {
    bytes: [u8; HEADER_WITH_LENGTH],
    len: u8,
}

impl Aad {
    /// The associated data of a record that came with `header` (3 or 5 bytes) and the unmasked `number`.
    pub fn new(header: &[u8], number: u16) -> Aad {
        let [high, low] = number.to_be_bytes();
        match *header {
            [first, _, _, l0, l1, ..] => Aad { bytes: [first, high, low, l0, l1], len: 5 },
            [first, ..] => Aad { bytes: [first, high, low, 0, 0], len: 3 },
            [] => Aad { bytes: [0, high, low, 0, 0], len: 3 },
        }
    }
    /// The associated data of a record that a drover node sends with `number` (W-REC-1).
    pub const fn sent(number: u64) -> Aad {
        let [.., high, low] = number.to_be_bytes();
        Aad { bytes: [FIRST_BYTE, high, low, 0, 0], len: 3 }
    }
    /// Any associated data of at most 5 bytes, for published vectors, whose data are no headers; `None` of more.
    #[cfg(feature = "testing")]
    pub fn of_vector(data: &[u8]) -> Option<Aad> {
        let mut bytes = [0; HEADER_WITH_LENGTH];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Aad { bytes, len: data.len() as u8 })
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
    /// The bytes as a number, the first lowest, with zeros behind.
    pub const fn bits(&self) -> u64 {
        let [a, b, c, d, e] = self.bytes;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

/// The number nearest to `expected` whose low 16 bits are `low`; never below zero (RFC 9147, 4.2.2; W-NUM-2).
///
/// Of two equally near the higher is taken. At either end of the range, where the nearer would not be a `u64`, the other.
pub fn reconstruct(low: u16, expected: u64) -> u64 {
    // The distance upwards, 0..65535; downwards it is what lacks to a wrap.
    let up = (u64::from(low)).wrapping_sub(expected) & (WRAP - 1);
    let above = expected.checked_add(up);
    let below = expected.checked_sub(WRAP - up);
    let (near, far) = if up <= WRAP / 2 { (above, below) } else { (below, above) };
    // Not both are out of range: that would take a range of less than one wrap.
    near.or(far).unwrap_or(u64::from(low))
}

/// The number to expect from a peer whose numbers advance one a slot: `last` accepted and the slots since (W-NUM-3).
pub const fn expected(last: u64, records_elapsed: u64) -> u64 {
    last.saturating_add(records_elapsed)
}

/// The numbers one wrap below and above: what else the 16 bits may have meant after an outage (W-NUM-4).
pub const fn neighbours(number: u64) -> [Option<u64>; 2] {
    [number.checked_sub(WRAP), number.checked_add(WRAP)]
}

/// The inner content type of an opened record and the length of the content before it: the last byte that is not zero
/// (RFC 8446, 5.4). `None` when all are zero. Our own cells end with their type; foreign records may be padded.
pub fn inner_content_type(plaintext: &[u8]) -> Option<(u8, usize)> {
    let at = plaintext.iter().rposition(|byte| *byte != 0)?;
    Some((*plaintext.get(at)?, at))
}

#[cfg(test)]
mod tests;
