//! One DTLS 1.3 handshake (RFC 9147): TLS_AES_128_GCM_SHA256, X25519MLKEM768 with one key share, mutual certificates.

use crate::certificate::{Certificate, CertificateError, Identity};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

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

/// What handshakes of one node share: its identity and the zones that it trusts.
pub struct Context {}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More datagrams are needed.
    More,
    /// Both sides have finished and nothing is unacknowledged: take over now.
    Done,
}

/// One handshake. Dropping it frees and zeroizes what the library holds.
pub struct Handshake {}

/// What the data plane takes over. Secrets are zeroized when dropped.
pub struct TakeOver {
    /// Our side.
    pub side: Side,
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
}

impl Context {
    /// A context that takes peers with certificates of `zones` and shows `identity`'s.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn new(_identity: &Identity, _zones: &[Certificate], _groups: Groups) -> Result<Context, HandshakeError> {
        todo!()
    }
}

impl Handshake {
    /// Begins a handshake whose datagrams have at most `mtu` bytes. A client's first flight is ready at once.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn new(_context: &Context, _side: Side, _mtu: usize) -> Result<Handshake, HandshakeError> {
        todo!()
    }
    /// Takes a datagram of the peer and goes on.
    ///
    /// # Errors
    /// The handshake has failed and is of no more use; an alert may be ready as output.
    pub fn input(&mut self, _datagram: &[u8]) -> Result<Progress, HandshakeError> {
        todo!()
    }
    /// The next datagram to send.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        todo!()
    }
    /// How long until [`Handshake::on_timeout`] is due; none when nothing is.
    pub fn timeout(&self) -> Option<Duration> {
        todo!()
    }
    /// Sends again what is unacknowledged.
    ///
    /// # Errors
    /// [`HandshakeError::Timeout`] when it was sent often enough.
    pub fn on_timeout(&mut self) -> Result<(), HandshakeError> {
        todo!()
    }
    /// The peer's certificate once it was received and checked.
    pub fn peer(&self) -> Option<Certificate> {
        todo!()
    }
    /// Gives out the secrets of epoch 3 and frees the library's object. Call it when [`Progress::Done`] was returned and
    /// all output was taken.
    ///
    /// # Errors
    /// [`HandshakeError::System`] when the handshake is not over.
    pub fn take_over(self) -> Result<TakeOver, HandshakeError> {
        todo!()
    }
}
