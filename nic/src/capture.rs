//! A port that writes what passes it to a pcapng file, for Wireshark and its kin.
//!
//! **A capture of a mix is dangerous**: see [`WARNING`]. Nothing makes one unless it is asked for, the file is its owner's
//! only, and it ends at a bound that must be given.
//!
//! The worker copies packets into a ring and reads the clock once a burst; it never waits, and asks for no memory. A thread
//! writes the file. What the ring has no room for is dropped from the capture, never from the wire, and counted, also in the
//! file's interface statistics. Packets are the datagrams with IP and UDP headers made for them (link type RAW), as the far
//! end would see them but for fields that the port below sets (hop limit and such).

mod ip;
mod pcapng;
mod writer;

use crate::frames::FrameBox;
use crate::ring::Producer;
use crate::staging::{Staging, forward};
use crate::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, PortDetails, RxBurst, TxBurst};
use arrayvec::ArrayVec;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use writer::Writing;

/// To be shown wherever a capture can be switched on; it stands in the file as well.
pub const WARNING: &str = "a capture of a mix is dangerous: it shows who sends to whom and when, all that an observer of \
the mix's lines sees (invariant I10), and with the links' keys what they carry; capture only traffic of your own, and delete the file";
/// The largest file, bytes (16 GiB).
pub const MAX_BYTES: u64 = 1 << 34;
/// The largest ring between worker and file, packets (100 MiB).
pub const MAX_RING: usize = 1 << 16;

/// How much is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole file, at most [`MAX_BYTES`].
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that may wait for the writer, rounded up to a power of two; at most [`MAX_RING`].
    pub ring: usize,
}

impl Default for Limits {
    /// 64 MiB, 100,000 packets; 4,096 may wait: some milliseconds of a busy worker.
    fn default() -> Limits {
        Limits { bytes: 64 << 20, packets: 100_000, ring: 4096 }
    }
}

/// What a capture has done, in packets: all that passed the port is in one of the first three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Given to the writer.
    pub captured: u64,
    /// Not captured: the writer was behind.
    pub dropped: u64,
    /// Not captured: a bound was reached before.
    pub beyond: u64,
    /// The file's length when it is finished, bytes.
    pub bytes: u64,
}

/// A port, captured. The port below must be fresh: without reserved frames.
pub struct Capture<P> {
    port: P,
    transmit: Staging,
    tap: Tap,
    writing: Writing,
}

impl<P: Port> Capture<P> {
    /// Captures `port`, whose own address is `local`, into a new file at `path`, readable by its owner only.
    ///
    /// The writer's thread runs where the calling thread may run: call this from one that is not pinned to a worker's core.
    ///
    /// # Errors
    /// `AlreadyExists` where there is a file: nothing is overwritten. `InvalidInput` for limits that are not allowed. Else
    /// what the system says.
    pub fn create(port: P, local: Endpoint, limits: Limits, path: &Path) -> io::Result<Capture<P>> {
        check(limits)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Capture::into_writer(port, local, limits, file)
    }

    /// As [`Capture::create`], into `out`.
    ///
    /// # Errors
    /// `InvalidInput` for limits that are not allowed; what the system says about a new thread.
    pub fn into_writer(
        port: P,
        local: Endpoint,
        limits: Limits,
        out: impl Write + Send + 'static,
    ) -> io::Result<Capture<P>> {
        check(limits)?;
        let (to_writer, writing) = Writing::start(local, limits.ring, out)?;
        let books = Books { bytes: pcapng::FRAMEWORK, ..Books::default() };
        let tap = Tap { local, to_writer, limits, full: false, books };
        Ok(Capture { transmit: Staging::of(&port), port, tap, writing })
    }

    /// The port below.
    pub fn below(&self) -> &P {
        &self.port
    }

    /// What has been captured.
    pub fn books(&self) -> Books {
        self.tap.books
    }

    /// Ends the capture: waits until all of it is in the file. Gives the port back, as it was before but for its counters.
    ///
    /// # Errors
    /// The first failure of a write: the file is cut there.
    pub fn finish(mut self) -> (P, io::Result<Books>) {
        let books = self.tap.books;
        let written = self.writing.finish(books);
        (self.port, written.map(|()| books))
    }
}

fn check(limits: Limits) -> io::Result<()> {
    let least = pcapng::FRAMEWORK;
    let wrong = |what: String| Err(io::Error::new(ErrorKind::InvalidInput, what));
    if !(least..=MAX_BYTES).contains(&limits.bytes) {
        return wrong(format!("a capture of {} bytes: allowed are {least} to {MAX_BYTES}", limits.bytes));
    }
    if !(1..=MAX_RING).contains(&limits.ring) {
        return wrong(format!("a capture's ring of {} packets: allowed are 1 to {MAX_RING}", limits.ring));
    }
    Ok(())
}

impl<P: Port> Port for Capture<P> {
    fn details(&self) -> PortDetails {
        self.port.details()
    }

    fn capabilities(&self) -> Capabilities {
        self.port.capabilities()
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let burst = self.port.receive(limit);
        if !burst.is_empty() {
            let at_ns = now_ns();
            burst.iter().for_each(|frame| self.tap.take(at_ns, Way::In, frame.from, frame.data));
            self.writing.note(self.tap.books);
        }
        burst
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.transmit.reserve(count, len)
    }

    /// Frames that the wire refuses are captured too: which they are a port does not say.
    fn commit(&mut self, count: usize) -> usize {
        let at_ns = now_ns();
        let (mut asked, mut forwarded) = (0, 0);
        let mut frames = self.transmit.ring.oldest(count);
        loop {
            let burst: ArrayVec<_, BURST> = frames.by_ref().take(BURST).collect();
            if burst.is_empty() {
                break;
            }
            burst.iter().for_each(|frame| self.tap.take(at_ns, Way::Out, frame.peer, frame.payload()));
            asked += burst.len();
            forwarded += forward(&mut self.port, &burst);
        }
        drop(frames);
        self.writing.note(self.tap.books);
        let sent = self.port.commit(forwarded);
        self.transmit.committed(count, asked - sent)
    }

    fn discard(&mut self, count: usize) {
        self.transmit.discard(count);
    }

    fn reserved(&self) -> usize {
        self.transmit.ring.reserved()
    }

    fn counters(&self) -> PortCounters {
        self.transmit.counters(self.port.counters())
    }
}

/// Nanoseconds since 1970; a clock before that says 0.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A packet on its way to the writer.
struct Packet {
    at_ns: u64,
    way: Way,
    /// The datagram and its peer.
    frame: FrameBox,
}

/// The worker's end of the ring.
struct Tap {
    local: Endpoint,
    to_writer: Producer<Packet>,
    limits: Limits,
    /// A bound was reached: it stays so, lest short packets slip in behind long ones that found no room.
    full: bool,
    books: Books,
}

impl Tap {
    fn take(&mut self, at_ns: u64, way: Way, peer: Endpoint, data: &[u8]) {
        let packet_len = ip::headers_len(self.local, peer) + data.len();
        let bytes = self.books.bytes + pcapng::packet_len(packet_len) as u64;
        self.full |= bytes > self.limits.bytes || self.books.captured >= self.limits.packets || data.len() > FRAME;
        if self.full {
            self.books.beyond += 1;
            return;
        }
        let taken = self.to_writer.push_with(|packet| {
            (packet.at_ns, packet.way) = (at_ns, way);
            let frame = packet.frame.begin(data.len());
            *frame.to = peer;
            frame.data.copy_from_slice(data);
        });
        if taken {
            self.books.captured += 1;
            self.books.bytes = bytes;
        } else {
            self.books.dropped += 1;
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
#[path = "capture/tests.rs"]
mod tests;
