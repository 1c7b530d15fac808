//! The thread that writes a capture.

use super::{Books, Packet, Way, ip, now_ns, pcapng};
use crate::Endpoint;
use crate::frames::frames;
use crate::ring::{Consumer, Producer, ring};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the writer sleeps when there is nothing to write: waking it would be a system call of the worker.
const NAP: Duration = Duration::from_millis(1);

/// What the worker tells the writer beside packets.
#[derive(Default)]
struct Shared {
    captured: AtomicU64,
    dropped: AtomicU64,
    beyond: AtomicU64,
    finished: AtomicBool,
}

impl Shared {
    fn books(&self) -> Books {
        Books {
            captured: self.captured.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            beyond: self.beyond.load(Ordering::Relaxed),
            bytes: 0,
        }
    }
}

/// A capture that is being written. When it is dropped the file is completed.
pub(super) struct Writing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writing {
    /// Starts the thread. Returns the worker's end of a ring of `capacity` packets.
    pub(super) fn start(
        local: Endpoint,
        capacity: usize,
        out: impl Write + Send + 'static,
    ) -> io::Result<(Producer<Packet>, Writing)> {
        let capacity = capacity.max(1).next_power_of_two();
        let mut frames = frames(capacity).into_iter();
        let (to_writer, packets) = ring(capacity, || Packet {
            at_ns: 0,
            way: Way::In,
            frame: frames.next().expect("a ring has as many slots as was asked for, a power of two"),
        });
        let shared = Arc::new(Shared::default());
        let writer =
            Writer { local, packets, shared: Arc::clone(&shared), block: Vec::new(), out: BufWriter::new(out) };
        let thread = thread::Builder::new().name("capture".to_owned()).spawn(move || writer.run())?;
        Ok((to_writer, Writing { shared, thread: Some(thread) }))
    }

    /// Tells the writer the books, for the file's end.
    pub(super) fn note(&self, books: Books) {
        self.shared.captured.store(books.captured, Ordering::Relaxed);
        self.shared.dropped.store(books.dropped, Ordering::Relaxed);
        self.shared.beyond.store(books.beyond, Ordering::Relaxed);
    }

    /// Waits until everything is written. A second call does nothing.
    pub(super) fn finish(&mut self, books: Books) -> io::Result<()> {
        self.note(books);
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.finished.store(true, Ordering::Release);
        thread.thread().unpark();
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the capture's writer panicked")))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Who wants to know calls `finish`.
        let _ = self.end();
    }
}

struct Writer<W: Write> {
    local: Endpoint,
    packets: Consumer<Packet>,
    shared: Arc<Shared>,
    /// The block at hand.
    block: Vec<u8>,
    out: BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Writes until the capture is finished, or a write fails: what comes then finds the ring full, and is counted.
    fn run(mut self) -> io::Result<()> {
        let start_ns = now_ns();
        pcapng::begin(&mut self.block);
        self.write()?;
        loop {
            // Asked before the ring is emptied: nothing that came earlier is left in it.
            let finished = self.shared.finished.load(Ordering::Acquire);
            while self.next() {
                self.write()?;
            }
            if finished {
                break;
            }
            self.out.flush()?;
            thread::park_timeout(NAP);
        }
        pcapng::statistics(&mut self.block, start_ns, now_ns(), &self.shared.books());
        self.write()?;
        self.out.flush()
    }

    /// Makes the oldest packet's block; false when none waits.
    fn next(&mut self) -> bool {
        let (block, local) = (&mut self.block, self.local);
        let made = self.packets.pop_with(|packet| {
            let (peer, payload) = (packet.frame.peer, packet.frame.payload());
            let outbound = packet.way == Way::Out;
            let (from, to) = if outbound { (local, peer) } else { (peer, local) };
            pcapng::packet(block, packet.at_ns, outbound, &ip::headers(from, to, payload), payload);
        });
        made.is_some()
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}
