//! Foreign peers on a UDP socket: libraries that keep their own records.

use super::opener::{APPLICATION_DATA, Epochs};
use super::world::PATIENCE;
use dimpl::{Dtls, DtlsCertificate, Output};
use drover_dtls::certificate::{Certificate, Identity};
use drover_dtls::handshake::{Context, Groups, Side};
use drover_dtls::testing::FullPeer;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a record's application data: a cell of 256 bytes without the content type.
pub const DATA: usize = 239;
/// Records that may be made up for at once after the thread had no core.
const CATCH_UP: u64 = 64;

/// A DTLS 1.3 implementation without I/O.
pub trait Library {
    /// Takes a datagram.
    fn input(&mut self, datagram: &[u8]);
    /// The next datagram to send.
    fn output(&mut self) -> Option<Vec<u8>>;
    /// Seals application data as one record.
    fn send(&mut self, data: &[u8]);
    /// Does what is due.
    fn tick(&mut self);
    fn established(&self) -> bool;
    /// Application records that opened.
    fn opened(&self) -> u64;
    /// Why it is of no more use.
    fn failure(&self) -> Option<&str>;
}

/// BoringSSL.
pub struct Boring {
    pub peer: FullPeer,
    failure: Option<String>,
}

impl Boring {
    pub fn new(identity: &Identity, zone: &Certificate) -> Boring {
        let zones = std::slice::from_ref(zone);
        let context = Context::new(identity, zones, Groups::PostQuantum).expect("a context");
        // One datagram for the ClientHello with its key share of 1,216 bytes.
        Boring { peer: FullPeer::new(&context, Side::Client, 1400).expect("a peer"), failure: None }
    }
    fn note<E: std::fmt::Display>(&mut self, done: Result<(), E>) {
        if let Err(error) = done {
            self.failure.get_or_insert(error.to_string());
        }
    }
}

impl Library for Boring {
    fn input(&mut self, datagram: &[u8]) {
        let done = self.peer.input(datagram);
        self.note(done);
        while let Some(data) = self.peer.received() {
            assert_eq!(data.len(), DATA, "a record of another size");
        }
    }
    fn output(&mut self) -> Option<Vec<u8>> {
        self.peer.output()
    }
    fn send(&mut self, data: &[u8]) {
        let done = self.peer.send(data);
        self.note(done);
    }
    fn tick(&mut self) {
        if self.peer.timeout().is_some_and(|wait| wait.is_zero()) {
            let done = self.peer.on_timeout();
            self.note(done);
        }
    }
    fn established(&self) -> bool {
        self.peer.is_established()
    }
    fn opened(&self) -> u64 {
        self.peer.counters().received
    }
    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// dimpl: pure Rust, classical groups only.
pub struct Dimpl {
    dtls: Dtls,
    buffer: Vec<u8>,
    queue: VecDeque<Vec<u8>>,
    due: Instant,
    established: bool,
    opened: u64,
    pub peer_certificate: Option<Vec<u8>>,
    failure: Option<String>,
}

impl Dimpl {
    /// A client that renews its keys after `limit` records, up to a quarter fewer.
    pub fn new(identity: &Identity, limit: u64) -> Dimpl {
        let config = dimpl::Config::builder().aead_encryption_limit(limit).build().expect("a configuration");
        let certificate = DtlsCertificate {
            certificate: identity.certificate().der().to_vec(),
            private_key: identity.private_key_pkcs8().expect("a key").to_vec(),
        };
        let now = Instant::now();
        let mut dtls = Dtls::new_13(Arc::new(config), certificate, now);
        dtls.set_active(true);
        let mut peer = Dimpl {
            dtls,
            buffer: vec![0; 4096],
            queue: VecDeque::new(),
            due: now,
            established: false,
            opened: 0,
            peer_certificate: None,
            failure: None,
        };
        peer.turn(|_| Ok(()));
        peer
    }

    /// Moves the clock on, does something, and takes what comes of it: so a KeyUpdate does not share a datagram with what
    /// is sent next (W-REC-3).
    fn turn(&mut self, then: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>) {
        let clock = self.dtls.handle_timeout(Instant::now());
        self.drain();
        let done = clock.and_then(|()| then(&mut self.dtls));
        self.drain();
        if let Err(error) = done {
            self.failure.get_or_insert(error.to_string());
        }
    }

    fn drain(&mut self) {
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(packet) => self.queue.push_back(packet.to_vec()),
                Output::Connected => self.established = true,
                Output::PeerCert(der) => self.peer_certificate = Some(der.to_vec()),
                Output::ApplicationData(data) => {
                    assert_eq!(data.len(), DATA, "a record of another size");
                    self.opened += 1;
                }
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                Output::CloseNotify => {
                    self.failure.get_or_insert("closed by the mix".to_owned());
                    return;
                }
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                _ => {}
            }
        }
    }
}

impl Library for Dimpl {
    fn input(&mut self, datagram: &[u8]) {
        self.turn(|dtls| dtls.handle_packet(datagram));
    }
    fn output(&mut self) -> Option<Vec<u8>> {
        self.queue.pop_front()
    }
    fn send(&mut self, data: &[u8]) {
        self.turn(|dtls| dtls.send_application_data(data).map(|_| ()));
    }
    fn tick(&mut self) {
        if self.due <= Instant::now() {
            self.turn(|_| Ok(()));
        }
    }
    fn established(&self) -> bool {
        self.established
    }
    fn opened(&self) -> u64 {
        self.opened
    }
    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// How many records went by in each epoch, told by the epoch bits of their first bytes.
#[derive(Debug, Default)]
pub struct Runs(pub Vec<(u8, u64)>);

impl Runs {
    fn see(&mut self, datagram: &[u8]) {
        if !matches!(datagram, [0x28..=0x2f, ..]) || datagram.len() < 256 {
            return;
        }
        let bits = datagram[0] & 3;
        let count = self.0.len();
        // What comes late of the epoch before belongs there.
        match self.0.iter_mut().skip(count.saturating_sub(2)).rev().find(|(of, _)| *of == bits) {
            Some((_, count)) => *count += 1,
            // The handshake's own epoch comes before all.
            None if count == 0 && bits != 3 => {}
            None => self.0.push((bits, 1)),
        }
    }
    /// Records of the current epoch.
    pub fn current(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }
    /// Epochs so far.
    pub fn epochs(&self) -> usize {
        self.0.len()
    }
    /// An epoch had more records than 16 bits count.
    pub fn wrapped(&self) -> bool {
        self.0.iter().any(|(_, count)| *count > 1 << 16)
    }
}

/// A library behind a socket, its records counted.
pub struct Drive<L> {
    pub foreign: L,
    socket: UdpSocket,
    pub out: Runs,
    pub back: Runs,
    /// Application records sent.
    pub sent: u64,
    /// Ours to open what comes as well; from the key log.
    opener: Option<Epochs>,
    /// What came while there was no opener yet.
    unopened: Vec<Vec<u8>>,
    /// What came, by its inner type: application data, and all else.
    pub came: (u64, u64),
    /// What came and did not open under the logged secret.
    pub odd: u64,
}

impl<L: Library> Drive<L> {
    pub fn new(foreign: L, mix: SocketAddr) -> Drive<L> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(mix).expect("connects");
        // Less than asked for is what the system allows; what it then loses is counted.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20);
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
        let (out, back, unopened) = (Runs::default(), Runs::default(), Vec::new());
        Drive { foreign, socket, out, back, sent: 0, opener: None, unopened, came: (0, 0), odd: 0 }
    }

    /// From now on all that comes is opened here too.
    pub fn watch(&mut self, secret: [u8; 32]) {
        self.opener = Some(Epochs::new(secret));
        std::mem::take(&mut self.unopened).iter().for_each(|datagram| self.look(datagram));
    }

    fn look(&mut self, datagram: &[u8]) {
        if self.back.0.is_empty() || datagram.len() != 259 {
            return;
        }
        let Some(opener) = &mut self.opener else { return self.unopened.push(datagram.to_vec()) };
        match opener.open(datagram) {
            Some(opened) if opened.content_type == APPLICATION_DATA => self.came.0 += 1,
            Some(_) => self.came.1 += 1,
            None => self.odd += 1,
        }
    }

    /// Sends what is ready, takes what comes for at most `most` datagrams or a millisecond.
    pub fn turn(&mut self, most: usize) {
        let mut buffer = [0; 2048];
        self.foreign.tick();
        self.flush();
        for _ in 0..most {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    self.back.see(&buffer[..length]);
                    self.look(&buffer[..length]);
                    self.foreign.input(&buffer[..length]);
                    self.flush();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.foreign.output() {
            self.out.see(&datagram);
            self.socket.send(&datagram).expect("loopback takes it");
        }
    }

    /// Turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Drive<L>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert_eq!(self.foreign.failure(), None, "{what}");
            assert!(Instant::now() < deadline, "{what} did not come about: out {:?}, back {:?}", self.out, self.back);
            self.turn(16);
        }
    }

    /// Sends `rate` cells of chaff a second until `done`.
    pub fn flow(&mut self, rate: u64, mut done: impl FnMut(&mut Drive<L>) -> bool) {
        let (mut begin, mut sent) = (Instant::now(), 0);
        self.until("the exchange", |drive| {
            let due = (begin.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
            for _ in 0..(due - sent).min(CATCH_UP) {
                // Chaff: circuit 0, command 0, any body (W-CELL-1).
                drive.foreign.send(&[0; DATA]);
                drive.flush();
                (sent, drive.sent) = (sent + 1, drive.sent + 1);
            }
            if due - sent > 4 * CATCH_UP {
                (begin, sent) = (Instant::now(), 0);
            }
            done(drive)
        });
    }
}
