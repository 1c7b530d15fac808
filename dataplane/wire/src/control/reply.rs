//! What the data plane answers.

use super::codec::{DecodeError, Full, Reader, Writer, check};
use super::kind;
use super::types::{Address, BootId, List};
use crate::cell::CellSize;

/// Bytes of the longest text of a refusal.
pub const TEXT_MAX: usize = 512;
/// The most workers of a data plane.
pub const WORKERS_MAX: usize = 64;

/// The workers of a data plane.
pub type Workers = List<WorkerInfo, WORKERS_MAX>;

/// A message from the data plane to control: the answer to the request whose id it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a welcome is held once, on the stack: no allocation")]
pub enum Reply<'a> {
    /// It is so, whether by this request or already.
    Done,
    /// It is not so; nothing was changed.
    Refused {
        /// Why, for programs.
        code: Refusal,
        /// Why and the mend, for people: at most [`TEXT_MAX`] bytes.
        text: &'a str,
    },
    /// Answers `Hello`.
    Welcome(Welcome),
    /// Answers a query: UTF-8 JSON. Not checked here.
    Report(&'a [u8]),
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Refusal {
    /// The message does not decode.
    Malformed = 1,
    /// Meant for another life of the data plane.
    WrongBoot = 2,
    /// Names an object that does not exist.
    Unknown = 3,
    /// Contradicts an object that exists.
    Exists = 4,
    /// Over a limit of this data plane.
    Limit = 5,
    /// No free slot, or no room in a table.
    NoRoom = 6,
    /// Not in this build or with this port.
    Unsupported = 7,
    /// Not for this peer.
    Forbidden = 8,
    /// Try again.
    Busy = 9,
}

/// What a data plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// This life of it.
    pub boot: BootId,
    /// The cell size: 256, 512 or 1024.
    pub cell: u16,
    /// The monotonic clock, in ns.
    pub now_ns: u64,
    /// Built with the feature `lab`.
    pub lab: bool,
    /// Serves `PutEnd`.
    pub ends: bool,
    /// Its workers.
    pub workers: Workers,
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Where it receives.
    pub listen: Address,
    /// The core that it is pinned to; [`WorkerInfo::NOT_PINNED`] for none.
    pub core: u16,
}

impl WorkerInfo {
    /// `core` of a worker without a core of its own.
    pub const NOT_PINNED: u16 = 0xffff;
}

/// Listens nowhere, not pinned.
impl Default for WorkerInfo {
    fn default() -> Self {
        WorkerInfo { listen: Address::default(), core: WorkerInfo::NOT_PINNED }
    }
}

impl<'a> Reply<'a> {
    /// The kind, a message's second byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Reply::Done => kind::DONE,
            Reply::Refused { .. } => kind::REFUSED,
            Reply::Welcome(_) => kind::WELCOME,
            Reply::Report(_) => kind::REPORT,
        }
    }

    /// Writes the message into `out` and returns its length. A refusal's text is cut to [`TEXT_MAX`] bytes, at a
    /// character's boundary: a refusal always gets out.
    ///
    /// # Errors
    ///
    /// [`Full`] when `out` is too short, or the message longer than [`super::MAX_MESSAGE`].
    pub fn encode(&self, request_id: u32, out: &mut [u8]) -> Result<usize, Full> {
        let writer = &mut Writer::frame(out, self.kind(), request_id)?;
        match self {
            Reply::Done => {}
            Reply::Refused { code, text } => {
                let text = cut(text).as_bytes();
                writer.u16(*code as u16)?;
                writer.u16(u16::try_from(text.len()).map_err(|_| Full)?)?;
                writer.bytes(text)?;
            }
            Reply::Welcome(welcome) => welcome.put(writer)?,
            Reply::Report(json) => {
                writer.u32(u32::try_from(json.len()).map_err(|_| Full)?)?;
                writer.bytes(json)?;
            }
        }
        Ok(writer.len())
    }

    /// Reads a whole message: its request id and the reply.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong.
    pub fn decode(message: &'a [u8]) -> Result<(u32, Reply<'a>), DecodeError> {
        let (kind, request_id, mut reader) = Reader::frame(message)?;
        let r = &mut reader;
        let reply = match kind {
            kind::DONE => Reply::Done,
            kind::REFUSED => {
                let (code, len) = (Refusal::take(r)?, usize::from(r.u16()?));
                check(len <= TEXT_MAX, "text", "at most 512 bytes")?;
                let text = core::str::from_utf8(r.bytes(len)?);
                let text = text.map_err(|_| DecodeError::Field { name: "text", allowed: "UTF-8" })?;
                Reply::Refused { code, text }
            }
            kind::WELCOME => Reply::Welcome(Welcome::take(r)?),
            kind::REPORT => {
                // Longer than the address space is longer than the message.
                let len = usize::try_from(r.u32()?).map_err(|_| DecodeError::Short)?;
                Reply::Report(r.bytes(len)?)
            }
            other => return Err(DecodeError::Kind(other)),
        };
        reader.end()?;
        Ok((request_id, reply))
    }
}

/// The longest start of `text` that has at most [`TEXT_MAX`] bytes and ends with a whole character.
fn cut(text: &str) -> &str {
    let ends = (0..=TEXT_MAX).rev();
    ends.filter_map(|end| text.get(..end)).next().unwrap_or(text)
}

impl Refusal {
    /// All codes.
    pub const ALL: [Refusal; 9] = [
        Refusal::Malformed,
        Refusal::WrongBoot,
        Refusal::Unknown,
        Refusal::Exists,
        Refusal::Limit,
        Refusal::NoRoom,
        Refusal::Unsupported,
        Refusal::Forbidden,
        Refusal::Busy,
    ];

    fn take(reader: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
        let code = reader.u16()?;
        let known = Refusal::ALL.into_iter().find(|refusal| *refusal as u16 == code);
        known.ok_or(DecodeError::Field { name: "code", allowed: "1 (malformed) to 9 (busy)" })
    }
}

impl WorkerInfo {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.listen.put(writer)?;
        writer.u16(self.core)
    }
    fn take(r: &mut Reader<'_>) -> Result<WorkerInfo, DecodeError> {
        Ok(WorkerInfo { listen: Address::take(r)?, core: r.u16()? })
    }
}

impl Welcome {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u16(self.cell)?;
        writer.u64(self.now_ns)?;
        writer.bool(self.lab)?;
        writer.bool(self.ends)?;
        self.workers.put(writer, WorkerInfo::put)
    }

    fn take(r: &mut Reader<'_>) -> Result<Welcome, DecodeError> {
        let too_many = DecodeError::Field { name: "workers", allowed: "at most 64" };
        let welcome = Welcome {
            boot: BootId::take(r)?,
            cell: r.u16()?,
            now_ns: r.u64()?,
            lab: r.bool("lab")?,
            ends: r.bool("ends")?,
            workers: Workers::take(r, too_many, WorkerInfo::take)?,
        };
        check(CellSize::try_from(welcome.cell).is_ok(), "cell", "256, 512 or 1024")?;
        Ok(welcome)
    }
}
