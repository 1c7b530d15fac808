//! One DTLS 1.3 handshake (RFC 9147): TLS_AES_128_GCM_SHA256, X25519MLKEM768 with one key share, mutual certificates.

mod context;

use crate::certificate::{Certificate, CertificateError};
use crate::engine::{Engine, MAX_DATAGRAM, MAX_WAITING, system};
use crate::library::{self, Direction};
use boring::ssl::Error;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

pub use context::Context;
#[cfg(any(test, feature = "lab"))]
pub(crate) use context::base as base_context;

/// How long a handshake sends again what is unacknowledged: at 0.5, 1.5, 3.5, 7.5 and 15.5 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// The epoch of the first application data (RFC 9147, 6.1).
const EPOCH: u16 = 3;
/// Label of the binder (W-IDT-4).
const BINDER: &str = "EXPORTER-drover-binder";
/// First byte (W-REC-1) and lengths of a drover node's records.
const CELL_RECORD: (u8, [usize; 3]) = (0x2b, [259, 515, 1027]);

/// Key exchange groups that are offered and taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// X25519MLKEM768 alone.
    PostQuantum,
    /// X25519 too: for foreign peers of a lab.
    #[cfg(feature = "lab")]
    AlsoX25519,
}

/// Which side of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends the ClientHello.
    Client,
    /// Answers it.
    Server,
}

/// Why a handshake failed. Each is counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The peer's certificate: malformed, expired or issued by no trusted zone.
    Certificate(CertificateError),
    /// Version, suite, group or message that is not ours; an alert of the peer.
    Protocol(String),
    /// No answer in time.
    Timeout,
    /// The library or the system fails.
    System(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Certificate(error) => write!(f, "the peer's certificate: {error}"),
            HandshakeError::Protocol(text) | HandshakeError::System(text) => f.write_str(text),
            HandshakeError::Timeout => f.write_str("the peer did not answer in time"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More datagrams are needed.
    More,
    /// Both sides have finished and nothing is unacknowledged: take over now.
    Done,
}

/// One handshake. Dropping it frees and zeroizes what the library holds.
pub struct Handshake {
    engine: Engine,
    side: Side,
    /// The library has nothing more to do; the peer may not know yet.
    finished: bool,
    failed: bool,
    /// What the caller has not taken yet.
    output: VecDeque<Vec<u8>>,
    last_flight: Vec<Vec<u8>>,
}

/// What the data plane takes over. Secrets are zeroized when dropped.
pub struct TakeOver {
    /// Our side.
    pub side: Side,
    /// The peer says that it is a drover node (ALPN "drover/1"), and the handshake authenticates it.
    pub drover: bool,
    /// The peer's certificate, checked.
    pub peer: Certificate,
    /// Traffic secret of epoch 3, the peer's records.
    pub read: Zeroizing<[u8; 32]>,
    /// Traffic secret of epoch 3, our records.
    pub write: Zeroizing<[u8; 32]>,
    /// The next record number of each direction: read, write.
    pub first: (u64, u64),
    /// The next handshake message numbers: read, write (for KeyUpdate with foreign peers).
    pub messages: (u16, u16),
    /// From the exporter (RFC 8446, 7.5), label "EXPORTER-drover-binder": the same at both ends, of this handshake only.
    pub binder: Zeroizing<[u8; 32]>,
    /// The last datagrams that we sent: sent again, bit for bit, when the peer repeats its last flight.
    pub last_flight: Vec<Vec<u8>>,
    #[cfg(feature = "lab")]
    key_log: Zeroizing<String>,
}

impl Handshake {
    /// Begins a handshake whose datagrams have at most `mtu` bytes, 256 to 2,048. A client's first flight is ready at
    /// once.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn new(context: &Context, side: Side, mtu: usize) -> Result<Handshake, HandshakeError> {
        let mut engine = Engine::new(context.ssl(), side, mtu)?;
        context.prepare(engine.ssl_mut(), side).map_err(system)?;
        if side == Side::Client {
            engine.ssl_mut().set_alpn_protos(context::OFFER).map_err(system)?;
        }
        let (output, last_flight) = (VecDeque::new(), Vec::new());
        let mut handshake = Handshake { engine, side, finished: false, failed: false, output, last_flight };
        if side == Side::Client {
            handshake.go_on()?;
        }
        Ok(handshake)
    }

    /// Sets the time of the timers, for callers with a clock of their own (ns, never backwards): call it before the
    /// others. Without it they run by the system's monotonic clock.
    pub fn set_now(&mut self, mono_ns: u64) {
        self.engine.set_now(mono_ns);
    }

    /// Takes a datagram of the peer and goes on. What is no part of the handshake is ignored: datagrams of more than
    /// 2,048 bytes, garbage, repetitions, and cells that the peer may be sending already.
    ///
    /// # Errors
    /// The handshake has failed and is of no more use; an alert may be ready as output.
    pub fn input(&mut self, datagram: &[u8]) -> Result<Progress, HandshakeError> {
        if self.failed {
            return Err(HandshakeError::Protocol("the handshake has failed before".to_owned()));
        }
        if datagram.is_empty() || datagram.len() > MAX_DATAGRAM || is_cell(datagram) {
            return self.progress();
        }
        self.engine.put(datagram);
        self.go_on()
    }

    /// The next datagram to send.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        self.output.pop_front()
    }

    /// How long until [`Handshake::on_timeout`] is due; none when nothing is: a server that has no ClientHello yet.
    pub fn timeout(&self) -> Option<Duration> {
        if self.failed { None } else { self.engine.timeout() }
    }

    /// Sends again what is unacknowledged, or acknowledges what has come in part.
    ///
    /// # Errors
    /// [`HandshakeError::Timeout`] when it was sent often enough, for 30 s.
    pub fn on_timeout(&mut self) -> Result<(), HandshakeError> {
        if self.failed {
            return Ok(());
        }
        let done = self.engine.on_timeout();
        self.collect();
        if self.engine.age() > PATIENCE || done.is_err() {
            self.failed = true;
            self.output.clear();
            return Err(HandshakeError::Timeout);
        }
        Ok(())
    }

    /// The peer's certificate once it was received and checked.
    pub fn peer(&self) -> Option<Certificate> {
        context::verdict(self.engine.ssl())?.ok()
    }

    /// Gives out the secrets of epoch 3 and frees the library's object. Call it when [`Progress::Done`] was returned and
    /// all output was taken.
    ///
    /// # Errors
    /// [`HandshakeError::System`] when the handshake is not over.
    pub fn take_over(self) -> Result<TakeOver, HandshakeError> {
        let not_over = |text: &str| HandshakeError::System(text.to_owned());
        if self.failed || self.progress()? != Progress::Done {
            return Err(not_over("take-over before the handshake is over"));
        }
        if !self.output.is_empty() {
            return Err(not_over("take-over before all output was taken"));
        }
        let ssl = self.engine.ssl();
        let secret = |direction| {
            library::traffic_secret(ssl, direction, EPOCH)
                .ok_or_else(|| not_over("there is no traffic secret of epoch 3"))
        };
        let messages = library::message_numbers(ssl);
        let number = |number: u32| u16::try_from(number).map_err(|_| not_over("there are no more message numbers"));
        let mut binder = Zeroizing::new([0; 32]);
        ssl.export_keying_material(&mut binder[..], BINDER, None).map_err(system)?;
        Ok(TakeOver {
            side: self.side,
            drover: ssl.selected_alpn_protocol() == Some(context::PROTOCOL),
            peer: self.peer().ok_or_else(|| not_over("the peer has shown no certificate"))?,
            read: secret(Direction::Read)?,
            write: secret(Direction::Write)?,
            first: library::record_numbers(ssl, EPOCH),
            messages: (number(messages.0)?, number(messages.1)?),
            binder,
            #[cfg(feature = "lab")]
            key_log: context::key_log(ssl),
            last_flight: self.last_flight,
        })
    }

    fn go_on(&mut self) -> Result<Progress, HandshakeError> {
        let progress = self.run();
        self.collect();
        self.failed = progress.is_err();
        progress
    }

    fn run(&mut self) -> Result<Progress, HandshakeError> {
        if !self.finished {
            self.finished = self.engine.handshake().map_err(|error| self.reason(error))?;
        }
        if self.finished {
            // What the peer sends behind its last flight is the data plane's, which is not there yet: lost, as on a wire.
            let mut lost = Zeroizing::new([0; MAX_DATAGRAM]);
            while self.engine.read(&mut lost[..]).map_err(|error| self.reason(error))?.is_some() {}
        }
        self.progress()
    }

    fn progress(&self) -> Result<Progress, HandshakeError> {
        let ssl = self.engine.ssl();
        if !self.finished || !library::is_idle(ssl) {
            return Ok(Progress::More);
        }
        // A foreign peer could have sent a KeyUpdate already.
        match library::epochs(ssl) {
            (EPOCH, EPOCH) => Ok(Progress::Done),
            (read, write) => Err(HandshakeError::Protocol(format!(
                "epochs {read} and {write}: a KeyUpdate before the handshake was over"
            ))),
        }
    }

    fn reason(&self, error: Error) -> HandshakeError {
        match context::verdict(self.engine.ssl()) {
            Some(Err(error)) => HandshakeError::Certificate(error),
            _ => HandshakeError::Protocol(format!("the handshake failed: {error}")),
        }
    }

    /// Takes what the library has written. Of what the caller does not take, the oldest is lost.
    fn collect(&mut self) {
        let written = self.engine.take_written();
        if !written.is_empty() {
            self.last_flight.clone_from(&written);
            self.output.extend(written);
            self.output.drain(..self.output.len().saturating_sub(MAX_WAITING));
        }
    }
}

impl TakeOver {
    /// The handshake's secrets in the format of `SSLKEYLOGFILE` (RFC 9850), a line each, for tests that open a capture.
    #[cfg(feature = "lab")]
    pub fn key_log_lines(&self) -> impl Iterator<Item = &str> {
        self.key_log.lines()
    }
}

/// Whether it has the shape of a drover node's record. No ACK has: with a header of 3 bytes it has 22 + 16n. The library
/// must not open cells: its replay window is narrow, and the repeated ACK that a client waits for is older than they are.
fn is_cell(datagram: &[u8]) -> bool {
    datagram.first() == Some(&CELL_RECORD.0) && CELL_RECORD.1.contains(&datagram.len())
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handshake({:?}, ..)", self.side)
    }
}

impl fmt::Debug for TakeOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TakeOver({:?}, {}, ..)", self.side, self.peer.id())
    }
}
