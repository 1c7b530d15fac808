//! For tests: a BoringSSL endpoint that keeps its own records, as a foreign implementation would.

use crate::certificate::Identity;
use crate::engine::{Engine, MAX_DATAGRAM, system};
use crate::handshake::{Context, HandshakeError, Side, base_context};
use crate::library;
use boring::error::ErrorStack;
use boring::ssl::{Error, SslContextBuilder, SslVerifyMode};
use std::collections::VecDeque;
use std::time::Duration;

/// Application records that wait for the test at most; more are counted and lost.
const MAX_RECEIVED: usize = 4096;

/// What a peer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullPeerCounters {
    /// Datagrams that came in, whatever they were.
    pub datagrams: u64,
    /// Application records that opened.
    pub received: u64,
    /// Application records that were opened and lost for want of room.
    pub overflowed: u64,
    /// Application records that were written.
    pub sent: u64,
}

/// A foreign peer: handshake, records and KeyUpdates are all the library's.
pub struct FullPeer {
    engine: Engine,
    established: bool,
    output: VecDeque<Vec<u8>>,
    received: VecDeque<Vec<u8>>,
    counters: FullPeerCounters,
}

impl FullPeer {
    /// A peer by our rules: the versions, groups and checks of `context`.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn new(context: &Context, side: Side, mtu: usize) -> Result<FullPeer, HandshakeError> {
        let mut engine = Engine::new(context.ssl(), side, mtu)?;
        context.prepare(engine.ssl_mut(), side).map_err(system)?;
        FullPeer::begin(engine, side)
    }

    /// A peer that breaks our rules: it takes any certificate and shows one or none, and `bend` may change versions,
    /// groups and so on.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn bent(
        identity: Option<&Identity>,
        side: Side,
        mtu: usize,
        bend: impl FnOnce(&mut SslContextBuilder) -> Result<(), ErrorStack>,
    ) -> Result<FullPeer, HandshakeError> {
        let mut builder = base_context(identity).map_err(system)?;
        builder.set_custom_verify_callback(SslVerifyMode::PEER, |_| Ok(()));
        bend(&mut builder).map_err(system)?;
        FullPeer::begin(Engine::new(&builder.build(), side, mtu)?, side)
    }

    fn begin(engine: Engine, side: Side) -> Result<FullPeer, HandshakeError> {
        let (output, received) = (VecDeque::new(), VecDeque::new());
        let counters = FullPeerCounters::default();
        let mut peer = FullPeer { engine, established: false, output, received, counters };
        if side == Side::Client {
            peer.go_on()?;
        }
        Ok(peer)
    }

    /// Sets the time of the timers, ns: see [`crate::handshake::Handshake::set_now`].
    pub fn set_now(&mut self, mono_ns: u64) {
        self.engine.set_now(mono_ns);
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// The association has failed; an alert may be ready as output.
    pub fn input(&mut self, datagram: &[u8]) -> Result<(), HandshakeError> {
        self.counters.datagrams += 1;
        self.engine.put(datagram);
        self.go_on()
    }

    /// The next datagram to send.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        self.output.pop_front()
    }

    /// The next application record that was opened.
    pub fn received(&mut self) -> Option<Vec<u8>> {
        self.received.pop_front()
    }

    /// Seals application data as one record, which becomes output.
    ///
    /// # Errors
    /// There is no association.
    pub fn send(&mut self, data: &[u8]) -> Result<(), HandshakeError> {
        let sent = self.engine.write(data).map_err(failed);
        self.collect();
        self.counters.sent += u64::from(sent.is_ok());
        sent
    }

    /// Moves the own direction to the next epoch, and asks the peer to move its if `ask_peer`. The new keys are used
    /// once the KeyUpdate is acknowledged (RFC 9147, 8).
    ///
    /// # Errors
    /// There is no association.
    pub fn key_update(&mut self, ask_peer: bool) -> Result<(), HandshakeError> {
        library::key_update(self.engine.ssl_mut(), ask_peer).map_err(system)?;
        // The library sends it with the next operation.
        self.go_on()
    }

    /// How long until [`FullPeer::on_timeout`] is due.
    pub fn timeout(&self) -> Option<Duration> {
        self.engine.timeout()
    }

    /// Does what the next timer says.
    ///
    /// # Errors
    /// [`HandshakeError::Timeout`].
    pub fn on_timeout(&mut self) -> Result<(), HandshakeError> {
        let done = self.engine.on_timeout();
        self.collect();
        done.map_err(|_| HandshakeError::Timeout)
    }

    /// Whether the handshake is over on this side.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the peer has acknowledged everything.
    pub fn is_idle(&self) -> bool {
        self.established && library::is_idle(self.engine.ssl())
    }

    /// The newest epochs: read, write.
    pub fn epochs(&self) -> (u16, u16) {
        library::epochs(self.engine.ssl())
    }

    /// The group of the key exchange (IANA number); none before it is known.
    pub fn group(&self) -> Option<u16> {
        self.engine.ssl().curve()
    }

    /// What it has done.
    pub fn counters(&self) -> FullPeerCounters {
        self.counters
    }

    fn go_on(&mut self) -> Result<(), HandshakeError> {
        let result = self.run();
        self.collect();
        result.map_err(failed)
    }

    fn run(&mut self) -> Result<(), Error> {
        if !self.established {
            self.established = self.engine.handshake()?;
        }
        let mut buffer = [0; MAX_DATAGRAM];
        while self.established {
            let Some(length) = self.engine.read(&mut buffer)? else { break };
            self.counters.received += 1;
            if self.received.len() < MAX_RECEIVED {
                self.received.push_back(buffer[..length].to_vec());
            } else {
                self.counters.overflowed += 1;
            }
        }
        Ok(())
    }

    fn collect(&mut self) {
        self.output.extend(self.engine.take_written());
    }
}

fn failed(error: Error) -> HandshakeError {
    HandshakeError::Protocol(format!("the peer has failed: {error}"))
}
