//! The cell: the plaintext of a record (`docs/wire.md`, clauses W-CELL-*).
//!
//! ```text
//! | 4 circuit id | 1 command | 2 reserved, zero | 8 counter | body | 1 content type |   S - 16 bytes
//! ```
//!
//! All integers are big-endian. What a body holds is told in [`hop`] and [`end_body`].

pub mod end_body;
pub mod hop;
mod size;

pub use size::{CellSize, CellSizeError};

use core::fmt;

/// Bytes of an AES-128-GCM tag, and of any other MAC that travels.
pub const TAG: usize = 16;
/// Bytes of a cell before its body: circuit id, command, reserved, counter.
pub const HEADER: usize = 15;
/// DTLS inner content type of every cell (RFC 8446, 5.2: application data), a cell's last byte.
pub const CONTENT_TYPE: u8 = 23;
/// Bytes of the explicit number of an end-to-end body.
pub const END_NUMBER: usize = 8;

const COMMAND_AT: usize = 4;
const RESERVED_AT: usize = 5;
const COUNTER_AT: usize = 7;

/// Plaintext bytes of a cell of size `s`.
pub const fn plaintext_len(s: usize) -> usize {
    s - TAG
}
/// Body bytes of a cell of size `s`: plaintext without header and content type.
pub const fn body_len(s: usize) -> usize {
    s - TAG - HEADER - 1
}
/// Bytes of the largest RTP packet that an end-to-end body of a cell of size `s` carries.
pub const fn rtp_max(s: usize) -> usize {
    body_len(s) - END_NUMBER - TAG - 2
}

/// What a cell is for (W-CELL-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Discarded on receipt.
    Chaff = 0,
    /// A circuit's cell.
    Relay = 1,
    /// The link's own control.
    Control = 2,
}

impl Command {
    /// The command that `byte` stands for.
    pub const fn from_byte(byte: u8) -> Option<Command> {
        match byte {
            0 => Some(Command::Chaff),
            1 => Some(Command::Relay),
            2 => Some(Command::Control),
            _ => None,
        }
    }
}

/// The fields of a cell before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The circuit on this link; 0 for chaff and link control.
    pub circuit: u32,
    /// What the cell is for.
    pub command: Command,
    /// The circuit's counter on this link: the layer's IV.
    pub counter: u64,
}

/// Why bytes are not a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellError {
    /// Fewer bytes than a header and a content type.
    Short,
    /// No such command.
    Command,
    /// Reserved bytes are not zero.
    Reserved,
    /// The last byte is not [`CONTENT_TYPE`].
    ContentType,
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CellError::Short => "fewer bytes than a cell's header and content type",
            CellError::Command => "no such cell command",
            CellError::Reserved => "reserved bytes of the cell are not zero",
            CellError::ContentType => "the cell's last byte is not content type 23",
        })
    }
}

impl core::error::Error for CellError {}

impl Header {
    /// Reads the header of a whole `plaintext` and checks command, reserved bytes and content type (W-CELL-2).
    pub fn read(plaintext: &[u8]) -> Result<Header, CellError> {
        let (head, rest) = plaintext.split_first_chunk::<HEADER>().ok_or(CellError::Short)?;
        let &[i0, i1, i2, i3, command, r0, r1, c0, c1, c2, c3, c4, c5, c6, c7] = head;
        match rest.last() {
            None => return Err(CellError::Short),
            Some(&CONTENT_TYPE) => {}
            Some(_) => return Err(CellError::ContentType),
        }
        if r0 | r1 != 0 {
            return Err(CellError::Reserved);
        }
        Ok(Header {
            circuit: u32::from_be_bytes([i0, i1, i2, i3]),
            command: Command::from_byte(command).ok_or(CellError::Command)?,
            counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        })
    }

    /// Writes every header byte and the content type into a whole `plaintext`; the body is left alone.
    ///
    /// # Panics
    ///
    /// When `plaintext` has no room for header and content type: a cell that kept another's header would leak it
    /// (W-CELL-4). Where the length is a constant the check costs nothing.
    pub fn write(&self, plaintext: &mut [u8]) {
        let (head, rest) = plaintext.split_first_chunk_mut::<HEADER>().expect("a cell has room for its header");
        head[..COMMAND_AT].copy_from_slice(&self.circuit.to_be_bytes());
        head[COMMAND_AT] = self.command as u8;
        head[RESERVED_AT..COUNTER_AT].fill(0);
        head[COUNTER_AT..].copy_from_slice(&self.counter.to_be_bytes());
        *rest.last_mut().expect("a cell has room for its content type") = CONTENT_TYPE;
    }
}

/// The body of a whole `plaintext`: what lies between header and content type. `None` when it is too short.
pub fn body(plaintext: &[u8]) -> Option<&[u8]> {
    plaintext.get(HEADER..plaintext.len().checked_sub(1)?)
}

/// The body of a whole `plaintext`, to write into. `None` when it is too short.
pub fn body_mut(plaintext: &mut [u8]) -> Option<&mut [u8]> {
    let end = plaintext.len().checked_sub(1)?;
    plaintext.get_mut(HEADER..end)
}

/// A payload that does not fit into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes of the payload.
    pub len: usize,
    /// The most bytes that fit.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes do not fit into a cell that carries at most {}", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

/// Why a body does not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Fewer bytes than the fixed fields.
    Short,
    /// The length says more than the body holds.
    Length,
    /// Bytes after the payload are not zero.
    Padding,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::Short => "fewer bytes than the body's fixed fields",
            BodyError::Length => "the length says more than the body holds",
            BodyError::Padding => "bytes after the payload are not zero",
        })
    }
}

impl core::error::Error for BodyError {}

/// Writes `2 length | payload | zeros` over all of `room`.
fn write_counted(room: &mut [u8], payload: &[u8]) -> Result<(), TooLong> {
    let max = room.len().saturating_sub(2).min(usize::from(u16::MAX));
    let too_long = TooLong { len: payload.len(), max };
    let len = u16::try_from(payload.len()).map_err(|_| too_long)?;
    let (length, rest) = room.split_first_chunk_mut::<2>().ok_or(too_long)?;
    let (data, zeros) = rest.split_at_mut_checked(payload.len()).ok_or(too_long)?;
    *length = len.to_be_bytes();
    data.copy_from_slice(payload);
    zeros.fill(0);
    Ok(())
}

/// The payload of `2 length | payload | zeros`.
fn read_counted(room: &[u8]) -> Result<&[u8], BodyError> {
    let (length, rest) = room.split_first_chunk::<2>().ok_or(BodyError::Short)?;
    let (data, zeros) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BodyError::Length)?;
    // All of it, always: where the first odd byte lies is nobody's business.
    if zeros.iter().fold(0, |odd, byte| odd | byte) != 0 {
        return Err(BodyError::Padding);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_command() -> impl Strategy<Value = Command> {
        prop_oneof![Just(Command::Chaff), Just(Command::Relay), Just(Command::Control)]
    }

    #[test]
    fn known_answer() {
        let header = Header { circuit: 0x8102_0304, command: Command::Relay, counter: 0x1112_1314_1516_1718 };
        let mut cell = [0xaa; plaintext_len(256)];
        header.write(&mut cell);
        assert_eq!(cell[..HEADER], [0x81, 2, 3, 4, 1, 0, 0, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert!(cell[HEADER..239].iter().all(|byte| *byte == 0xaa), "the body is left alone");
        assert_eq!(cell[239], 23);
        assert_eq!(Header::read(&cell), Ok(header));
        assert_eq!(body(&cell).map(<[u8]>::len), Some(224));
        assert_eq!(body_mut(&mut cell).map(|body| body.len()), Some(224));
    }

    #[test]
    fn each_error_has_its_cause() {
        let mut cell = [0; plaintext_len(256)];
        Header { circuit: 1, command: Command::Chaff, counter: 9 }.write(&mut cell);
        assert_eq!(Header::read(&[]), Err(CellError::Short));
        let mut least = [0; HEADER + 1];
        assert_eq!(Header::read(&least[..HEADER]), Err(CellError::Short));
        assert_eq!(Header::read(&least), Err(CellError::ContentType));
        least[HEADER] = CONTENT_TYPE;
        assert!(Header::read(&least).is_ok());

        for at in [RESERVED_AT, RESERVED_AT + 1] {
            let mut odd = cell;
            odd[at] = 0x80;
            assert_eq!(Header::read(&odd), Err(CellError::Reserved));
        }
        for command in 3..=255 {
            let mut odd = cell;
            odd[COMMAND_AT] = command;
            assert_eq!(Header::read(&odd), Err(CellError::Command));
        }
        for last in (0..=255).filter(|byte| *byte != CONTENT_TYPE) {
            let mut odd = cell;
            odd[239] = last;
            assert_eq!(Header::read(&odd), Err(CellError::ContentType));
        }
    }

    #[test]
    #[should_panic(expected = "content type")]
    fn a_header_without_room_is_a_bug() {
        Header { circuit: 1, command: Command::Chaff, counter: 9 }.write(&mut [0; HEADER]);
    }

    #[test]
    fn a_body_needs_room() {
        assert_eq!(body(&[0; HEADER]), None);
        assert_eq!(body(&[]), None);
        assert_eq!(body(&[0; HEADER + 1]), Some(&[][..]));
        assert_eq!(body_mut(&mut [0; HEADER]), None);
        assert_eq!(body_mut(&mut []), None);
    }

    proptest! {
        #[test]
        fn header_round_trip(
            circuit: u32, command in any_command(), counter: u64,
            mut bytes in proptest::collection::vec(any::<u8>(), HEADER + 1..1100),
        ) {
            let before = bytes.clone();
            let header = Header { circuit, command, counter };
            header.write(&mut bytes);
            prop_assert_eq!(Header::read(&bytes), Ok(header));
            prop_assert_eq!(body(&bytes), body(&before), "the body is left alone");
        }

        #[test]
        fn what_reads_is_what_would_be_written(bytes in proptest::collection::vec(0u8..4, 0..40), typed: bool) {
            let mut bytes = bytes;
            if let (true, Some(last)) = (typed, bytes.last_mut()) {
                *last = CONTENT_TYPE;
            }
            if let Ok(header) = Header::read(&bytes) {
                let mut again = bytes.clone();
                header.write(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn counted_round_trip(room in 0usize..300, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = vec![0xaa; room];
            let fits = payload.len() + 2 <= room;
            match write_counted(&mut bytes, &payload) {
                Ok(()) => {
                    prop_assert!(fits);
                    prop_assert_eq!(read_counted(&bytes), Ok(&payload[..]));
                    for at in 2 + payload.len()..room {
                        let mut odd = bytes.clone();
                        odd[at] = 1;
                        prop_assert_eq!(read_counted(&odd), Err(BodyError::Padding));
                    }
                }
                Err(error) => {
                    prop_assert!(!fits);
                    prop_assert_eq!(error, TooLong { len: payload.len(), max: room.saturating_sub(2) });
                    prop_assert!(bytes.iter().all(|byte| *byte == 0xaa), "a refusal writes nothing");
                }
            }
        }
    }
}
