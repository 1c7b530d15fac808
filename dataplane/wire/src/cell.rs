//! The cell: the plaintext of a record (`docs/wire.md`, clauses W-CELL-*).

/// Bytes of an AES-128-GCM tag, and of any other MAC that travels.
pub const TAG: usize = 16;
/// Bytes of a cell before its body: circuit id, command, reserved, counter.
pub const HEADER: usize = 15;
/// DTLS inner content type of every cell (RFC 8446, 5.2: application data), a cell's last byte.
pub const CONTENT_TYPE: u8 = 23;
/// Bytes of the explicit number of an end-to-end body.
pub const END_NUMBER: usize = 8;

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

/// A zone's cell size: the length of a record's encrypted part, tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellSize {
    /// Voice, the default.
    S256,
    /// The benchmark size.
    S512,
    /// The CloudProxy size.
    S1024,
}

impl CellSize {
    /// All sizes, smallest first.
    pub const ALL: [CellSize; 3] = [CellSize::S256, CellSize::S512, CellSize::S1024];
    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            CellSize::S256 => 256,
            CellSize::S512 => 512,
            CellSize::S1024 => 1024,
        }
    }
}

/// What a cell is for.
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

impl Header {
    /// Reads the header of a whole `plaintext` and checks command, reserved bytes and content type.
    pub fn read(plaintext: &[u8]) -> Result<Header, CellError> {
        let _ = plaintext;
        todo!()
    }
    /// Writes every header byte and the content type into a whole `plaintext`; the body is left alone.
    pub fn write(&self, plaintext: &mut [u8]) {
        let _ = plaintext;
        todo!()
    }
}
