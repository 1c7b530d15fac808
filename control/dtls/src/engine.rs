//! One SSL object of BoringSSL between queues of datagrams, with a clock of its own.

use crate::handshake::{HandshakeError, Side};
use crate::library;
use boring::error::ErrorStack;
use boring::ssl::{Error, ErrorCode, Ssl, SslContextRef, SslRef, SslStream};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Bytes of a datagram at most, either way: what fits an Ethernet frame, and some more.
pub(crate) const MAX_DATAGRAM: usize = 2048;
/// Bytes of the smallest datagrams that a handshake is asked to keep to.
const MIN_MTU: usize = 256;
/// Datagrams that wait for the caller at most; more are lost, as on a wire. A flight of our certificates is 12 at 256
/// bytes.
pub(crate) const MAX_WAITING: usize = 64;
/// The first interval of retransmission (RFC 9147, 5.8.2, lets it be shorter than a second); it doubles.
const FIRST_TIMEOUT_MS: u32 = 500;
/// Where the library's clock begins, so that no difference reaches below zero.
const CLOCK_BEGIN_US: u64 = 1_000_000;

/// The wire as the library sees it: one datagram a read, one a write.
#[derive(Default)]
struct Datagrams {
    incoming: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < MAX_WAITING {
            self.outgoing.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The object. Dropping it frees it; BoringSSL zeroizes what it frees.
pub(crate) struct Engine {
    stream: SslStream<Datagrams>,
    clock: Clock,
}

/// The time of the timers, µs: the system's monotonic clock until [`Clock::set`] is called, then what is set. A timer
/// that the caller says is due moves the clock there, so that both agree whatever small differences there are.
struct Clock {
    begin_us: u64,
    source: Source,
}

enum Source {
    System(Instant),
    Caller { first_ns: u64, last_ns: u64 },
}

impl Clock {
    fn now_us(&self) -> u64 {
        let since = match &self.source {
            Source::System(begin) => begin.elapsed().as_micros() as u64,
            Source::Caller { first_ns, last_ns } => (last_ns - first_ns) / 1000,
        };
        self.begin_us.saturating_add(since)
    }

    fn set(&mut self, mono_ns: u64) {
        match &mut self.source {
            Source::Caller { last_ns, .. } => *last_ns = mono_ns.max(*last_ns),
            Source::System(_) => {
                self.begin_us = self.now_us();
                self.source = Source::Caller { first_ns: mono_ns, last_ns: mono_ns };
            }
        }
    }
}

impl Engine {
    pub fn new(context: &SslContextRef, side: Side, mtu: usize) -> Result<Engine, HandshakeError> {
        if !(MIN_MTU..=MAX_DATAGRAM).contains(&mtu) {
            return Err(HandshakeError::System(format!(
                "datagrams of {mtu} bytes; it must be {MIN_MTU} to {MAX_DATAGRAM}"
            )));
        }
        let mut ssl = Ssl::new(context).map_err(system)?;
        ssl.set_mtu(mtu as u32).map_err(system)?;
        library::set_side(&mut ssl, side);
        library::set_first_timeout(&mut ssl, FIRST_TIMEOUT_MS);
        let stream = SslStream::new(ssl, Datagrams::default()).map_err(system)?;
        let clock = Clock { begin_us: CLOCK_BEGIN_US, source: Source::System(Instant::now()) };
        Ok(Engine { stream, clock })
    }

    /// The object, with its clock set.
    pub fn ssl(&self) -> &SslRef {
        library::set_clock(self.clock.now_us());
        self.stream.ssl()
    }

    pub fn ssl_mut(&mut self) -> &mut SslRef {
        library::set_clock(self.clock.now_us());
        self.stream.ssl_mut()
    }

    /// Sets the time, for callers with a clock of their own.
    pub fn set_now(&mut self, mono_ns: u64) {
        self.clock.set(mono_ns);
    }

    /// The time since the object was made.
    pub fn age(&self) -> Duration {
        Duration::from_micros(self.clock.now_us() - CLOCK_BEGIN_US)
    }

    /// A datagram for the library to read next. One that was not read yet is lost.
    pub fn put(&mut self, datagram: &[u8]) {
        self.stream.get_mut().incoming = Some(datagram.to_vec());
    }

    /// The datagrams that the library has written.
    pub fn take_written(&mut self) -> Vec<Vec<u8>> {
        self.stream.get_mut().outgoing.drain(..).collect()
    }

    /// Goes on with the handshake; whether it is over, as far as this side is concerned.
    pub fn handshake(&mut self) -> Result<bool, Error> {
        library::set_clock(self.clock.now_us());
        done_or_waiting(self.stream.do_handshake()).map(|done| done.is_some())
    }

    /// Reads application data of a record; none when there is no more.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        library::set_clock(self.clock.now_us());
        done_or_waiting(self.stream.ssl_read(buffer))
    }

    /// Writes application data as one record.
    #[cfg(any(test, feature = "lab"))]
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        library::set_clock(self.clock.now_us());
        self.stream.ssl_write(data).map(|_| ())
    }

    /// How long until a timer is due.
    pub fn timeout(&self) -> Option<Duration> {
        library::timeout(self.ssl())
    }

    /// Does what the next timer says, which the caller says is due.
    pub fn on_timeout(&mut self) -> Result<(), ErrorStack> {
        let Some(left) = self.timeout() else { return Ok(()) };
        self.clock.begin_us = self.clock.begin_us.saturating_add(left.as_micros() as u64);
        library::handle_timeout(self.ssl_mut())
    }
}

fn done_or_waiting<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ErrorCode::WANT_READ => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn system(error: ErrorStack) -> HandshakeError {
    HandshakeError::System(format!("BoringSSL refuses: {error}"))
}
