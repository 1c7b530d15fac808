//! Handshakes in datagrams: dialling, answering, peers that restart (`docs/wire.md`, W-LNK-1 to W-LNK-11).

use super::links::Links;
use super::trailer::{self, Hello, Trailer};
use crate::circuit::limits::Bucket;
use crate::plane::{Now, Plane};
use drover_dtls::certificate::{CertificateError, NodeId, Role};
use drover_dtls::handshake::{Handshake, HandshakeError, Progress, Side};
use drover_wire::control::{Address, Bytes, DATAGRAM_MAX, Raw, Request};
use rand::Rng;
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
/// A handshake that takes longer has failed, ns.
const HANDSHAKE_NS: u64 = 10 * SECOND;
/// When all places are taken, one of this age may be given to another, ns.
const EVICT_NS: u64 = 2 * SECOND;
/// The last flight is kept for repetition this long, ns (RFC 9147, 5.8.1: twice the longest segment lifetime there).
const LINGER_NS: u64 = 60 * SECOND;
/// Last flights kept.
const LINGER_MAX: usize = 512;
/// Between two repetitions of a last flight, ns.
const REPEAT_NS: u64 = SECOND / 10;
/// The mix with the larger id waits this long for the other's ClientHello, ns.
const POLITE_NS: u64 = 3 * SECOND;
/// Between two attempts to dial: doubled from the first to the second, ns.
const BACKOFF_NS: (u64, u64) = (SECOND / 2, 8 * SECOND);
/// Between two repetitions of a ClientHello because of cookies, ns.
const COOKIE_NS: u64 = SECOND / 10;
/// With a cookie an address may begin anew after this, ns: not with each datagram.
const ANEW_NS: u64 = SECOND / 2;
/// Handshakes with senders that showed a cookie: one each so many ns, and so many at once.
const SHOWN: (u64, u32) = (SECOND / 300, 64);

/// Handshakes under way, and last flights.
pub(super) struct Attempts {
    pub running: Vec<Attempt>,
    lingering: VecDeque<Lingering>,
    /// Workers take turns at dialling.
    turn: usize,
    /// What may begin with a cookie.
    shown: Bucket,
}

impl Default for Attempts {
    fn default() -> Self {
        let (running, lingering) = (Vec::new(), VecDeque::new());
        Attempts { running, lingering, turn: 0, shown: Bucket::new(SHOWN.0, SHOWN.1) }
    }
}

/// A handshake under way.
pub(super) struct Attempt {
    pub handshake: Handshake,
    pub side: Side,
    pub remote: Address,
    pub worker: u8,
    /// Who it must be: the one we dialled, or the one whose MAC came.
    pub known: Option<NodeId>,
    pub began: u64,
    /// The client's random of the ClientHello.
    pub random: [u8; 32],
    /// When the library wants its turn.
    due: u64,
    /// The ClientHello as it left, to be sent again with a cookie; empty once an answer came.
    hello: Vec<Vec<u8>>,
    cookie: Option<[u8; trailer::TAG]>,
    cookie_at: u64,
}

/// A last flight.
struct Lingering {
    remote: Address,
    worker: u8,
    flight: Vec<Vec<u8>>,
    until: u64,
    next: u64,
}

/// A peer that we want a link to.
pub(super) struct Dial {
    remote: Address,
    peer: NodeId,
    /// When to dial next; never while the link is there.
    next: u64,
    backoff: u64,
    /// The link was taken down: when to dial next is to be set.
    gone: bool,
}

impl Attempt {
    fn timer(&mut self, now: Now) {
        self.handshake.set_now(now.mono_ns);
        let wait = self.handshake.timeout().map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        self.due = wait.map_or(u64::MAX, |wait| now.mono_ns.saturating_add(wait));
    }
    fn until(&self) -> u64 {
        self.began.saturating_add(HANDSHAKE_NS)
    }
}

/// What a failed handshake is counted as.
pub(super) fn reason(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::Certificate(CertificateError::Malformed(_)) => "certificate_malformed",
        HandshakeError::Certificate(CertificateError::Expired(_)) => "certificate_expired",
        HandshakeError::Certificate(_) => "certificate_untrusted",
        HandshakeError::Protocol(_) => "protocol",
        HandshakeError::Timeout => "timeout",
        HandshakeError::System(_) => "system",
    }
}

/// First bytes of plaintext alerts: anybody can forge them, so they end nothing.
fn is_alert(bytes: &[u8]) -> bool {
    bytes.first() == Some(&21)
}

/// A record of application data: epoch bits 3 and a cell's size, with or without a length (W-REC-1). A peer that is
/// ready before us sends them already.
fn is_cell(bytes: &[u8], cell: u16) -> bool {
    let size = usize::from(cell);
    bytes.first().is_some_and(|first| first & 0xe3 == 0x23) && (bytes.len() == size + 3 || bytes.len() == size + 5)
}

/// An encrypted record (W-REC-4).
fn is_ciphertext(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0xe0 == 0x20)
}

impl Links {
    /// Takes a datagram that is no link's record.
    pub(super) fn on_raw(&mut self, plane: &mut dyn Plane, now: Now, from: (Address, u8), bytes: &[u8]) {
        let (remote, worker) = from;
        if is_cell(bytes, plane.welcome().cell) {
            return;
        }
        if is_alert(bytes) {
            return self.counters.refuse("plaintext_alert");
        }
        if let Some(cookie) = trailer::asked(bytes) {
            return self.on_cookie(plane, now, remote, cookie);
        }
        let at = self.outer.running.iter().position(|attempt| attempt.remote == remote);
        if trailer::is_client_hello(bytes) {
            return self.on_client_hello(plane, now, (remote, worker), at, bytes);
        }
        match at {
            Some(at) => self.input(plane, now, at, bytes),
            None => self.repeat(plane, now, remote, bytes),
        }
    }

    fn on_cookie(&mut self, plane: &mut dyn Plane, now: Now, remote: Address, cookie: [u8; trailer::TAG]) {
        let waits = |attempt: &&mut Attempt| attempt.remote == remote && !attempt.hello.is_empty();
        let Some(attempt) = self.outer.running.iter_mut().find(waits) else {
            return self.counters.refuse("cookie");
        };
        if now.mono_ns < attempt.cookie_at {
            return self.counters.refuse("cookie");
        }
        attempt.cookie = Some(cookie);
        attempt.cookie_at = now.mono_ns.saturating_add(COOKIE_NS);
        let (worker, again) = (attempt.worker, attempt.hello.clone());
        for mut datagram in again {
            trailer::append(&mut datagram, Some(cookie));
            self.send_raw(plane, (remote, worker), &datagram);
        }
    }

    fn on_client_hello(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        from: (Address, u8),
        at: Option<usize>,
        bytes: &[u8],
    ) {
        let Some(hello) = Hello::read(bytes) else {
            // A later part of a ClientHello in several datagrams belongs to a handshake that its first part began.
            return match (at, trailer::split(bytes)) {
                (Some(at), Some((records, _))) if self.outer.running[at].side == Side::Server => {
                    self.input(plane, now, at, records);
                }
                _ => self.counters.refuse("malformed"),
            };
        };
        if let Some(at) = at.filter(|at| self.outer.running[*at].side == Side::Server)
            && self.outer.running[at].random == hello.random
        {
            return self.input(plane, now, at, hello.records);
        }
        match self.admit(plane, now, from, at, &hello) {
            Err(reason) => self.counters.refuse(reason),
            Ok(known) => self.answer(plane, now, from, known, &hello),
        }
    }

    /// Whether a new ClientHello is answered; the mix that it is from, where that is known.
    fn admit(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        from: (Address, u8),
        at: Option<usize>,
        hello: &Hello<'_>,
    ) -> Result<Option<NodeId>, &'static str> {
        if self.role() != Role::Mix {
            return Err("not_served");
        }
        let mut shown = false;
        match hello.trailer {
            Trailer::Mac { sender, timestamp, mac } => {
                return self.admit_mix(plane, now, hello, (sender, timestamp, mac)).map(Some);
            }
            Trailer::Cookie(cookie) => {
                shown = self.gate.takes_cookie(now, from.0, cookie);
                if !shown {
                    // Somebody else may have given it: with a right one the sender goes on.
                    self.ask_cookie(plane, now, from, hello);
                    return Err("cookie");
                }
            }
            Trailer::None if !self.config.foreign => return Err("foreign"),
            Trailer::Plain | Trailer::None => {}
        }
        if let Some(at) = at {
            // Anybody can send a ClientHello in another's name: without a cookie it ends no handshake under way.
            let attempt = &self.outer.running[at];
            let soon = now.mono_ns.saturating_sub(attempt.began) < ANEW_NS;
            if !shown || soon || attempt.known.is_some() {
                return Err("busy");
            }
            self.end(plane, at);
        }
        if self.table.clients() >= self.config.clients {
            return Err("clients");
        }
        let strangers = self.outer.running.iter().filter(|attempt| attempt.known.is_none()).count();
        if !shown {
            if strangers >= self.config.handshakes.div_ceil(2) {
                self.ask_cookie(plane, now, from, hello);
                return Err("load");
            }
            if !self.gate.may_start(now) {
                return Err("pace");
            }
        } else if !self.outer.shown.take(now.mono_ns) {
            return Err("pace");
        } else if strangers >= self.config.handshakes {
            self.evict(plane, now)?;
        }
        Ok(None)
    }

    fn ask_cookie(&mut self, plane: &mut dyn Plane, now: Now, from: (Address, u8), hello: &Hello<'_>) {
        // A foreign peer does not know cookies.
        if hello.trailer != Trailer::None && self.gate.may_ask(now) {
            let cookie = self.gate.cookie(now, from.0);
            self.send_raw(plane, from, &trailer::ask(cookie));
        }
    }

    /// Makes room by ending the oldest handshake with a stranger.
    fn evict(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), &'static str> {
        let old = |attempt: &(usize, &Attempt)| {
            attempt.1.known.is_none() && now.mono_ns.saturating_sub(attempt.1.began) >= EVICT_NS
        };
        let oldest = self.outer.running.iter().enumerate().filter(old).min_by_key(|(_, attempt)| attempt.began);
        let at = oldest.map(|(at, _)| at).ok_or("load")?;
        self.end(plane, at);
        self.counters.refuse("evicted");
        Ok(())
    }

    fn admit_mix(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        hello: &Hello<'_>,
        (sender, timestamp, mac): (NodeId, u64, [u8; trailer::TAG]),
    ) -> Result<NodeId, &'static str> {
        let (_, mix) = self.zones.mix(sender).filter(|_| sender != self.id).ok_or("unlisted")?;
        self.gate.open(now, &mix.certificate, hello, timestamp, mac)?;
        // Both dial: the smaller id's handshake goes on (W-LNK-2). Of two of the same side the later one does.
        while let Some(at) = self.outer.running.iter().position(|attempt| attempt.known == Some(sender)) {
            if self.outer.running[at].side == Side::Client && self.id < sender {
                return Err("crossing");
            }
            self.end(plane, at);
        }
        Ok(sender)
    }

    /// Begins to answer.
    fn answer(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        (remote, worker): (Address, u8),
        known: Option<NodeId>,
        hello: &Hello<'_>,
    ) {
        // The same address in another handshake: it was somebody else's, or the MAC says that it is over.
        if let Some(at) = self.outer.running.iter().position(|attempt| attempt.remote == remote) {
            self.end(plane, at);
        }
        let handshake = match Handshake::new(&self.context, Side::Server, self.mtu()) {
            Ok(handshake) => handshake,
            Err(error) => return self.counters.refuse(reason(&error)),
        };
        self.begin(
            plane,
            Attempt {
                handshake,
                side: Side::Server,
                remote,
                worker,
                known,
                began: now.mono_ns,
                random: hello.random,
                due: u64::MAX,
                hello: Vec::new(),
                cookie: None,
                cookie_at: 0,
            },
        );
        self.input(plane, now, self.outer.running.len() - 1, hello.records);
    }

    /// Bytes of the largest datagram of a handshake: behind it there is room for a trailer.
    pub(super) fn mtu(&self) -> usize {
        self.config.mtu.min(DATAGRAM_MAX - trailer::TRAILER_MAX)
    }

    fn begin(&mut self, plane: &mut dyn Plane, attempt: Attempt) {
        self.expect(plane, attempt.remote, true);
        self.outer.running.push(attempt);
    }

    /// Ends a handshake that came to nothing, or makes way.
    fn end(&mut self, plane: &mut dyn Plane, at: usize) -> Attempt {
        let attempt = self.outer.running.remove(at);
        self.unexpect(plane, attempt.remote);
        attempt
    }

    fn expect(&mut self, plane: &mut dyn Plane, remote: Address, expected: bool) {
        let boot = plane.welcome().boot;
        if plane.ask(&Request::Expect { boot, remote, expected }).is_err() {
            self.counters.refuse("plane");
        }
    }
    /// Nothing is expected of this sender any more, unless something else is under way with it.
    fn unexpect(&mut self, plane: &mut dyn Plane, remote: Address) {
        let running = self.outer.running.iter().any(|attempt| attempt.remote == remote);
        if !running && !self.outer.lingering.iter().any(|lingering| lingering.remote == remote) {
            self.expect(plane, remote, false);
        }
    }

    fn send_raw(&mut self, plane: &mut dyn Plane, (to, worker): (Address, u8), datagram: &[u8]) {
        let boot = plane.welcome().boot;
        let sent =
            Bytes::new(datagram).is_some_and(|bytes| plane.ask(&Request::Raw(Raw { boot, worker, to, bytes })).is_ok());
        if !sent {
            self.counters.refuse("unsent");
        }
    }

    /// Gives a datagram to a handshake and goes on with it.
    fn input(&mut self, plane: &mut dyn Plane, now: Now, at: usize, bytes: &[u8]) {
        let attempt = &mut self.outer.running[at];
        attempt.hello.clear();
        attempt.handshake.set_now(now.mono_ns);
        let progress = attempt.handshake.input(bytes);
        self.go_on(plane, now, at, progress);
    }

    fn go_on(&mut self, plane: &mut dyn Plane, now: Now, at: usize, progress: Result<Progress, HandshakeError>) {
        self.flush(plane, now, at);
        match progress {
            Ok(Progress::More) => self.outer.running[at].timer(now),
            Ok(Progress::Done) => self.finish(plane, now, at),
            Err(error) => self.fail(plane, now, at, reason(&error)),
        }
    }

    /// Sends what a handshake has ready; a ClientHello with its trailer.
    fn flush(&mut self, plane: &mut dyn Plane, now: Now, at: usize) {
        while let Some(mut datagram) = self.outer.running[at].handshake.output() {
            let attempt = &mut self.outer.running[at];
            let to = (attempt.remote, attempt.worker);
            if attempt.side == Side::Client && trailer::is_client_hello(&datagram) {
                if let Some(random) = trailer::client_random(&datagram) {
                    attempt.random = random;
                    attempt.hello.clear();
                }
                let mix = attempt.known.and_then(|peer| self.zones.mix(peer));
                match mix.filter(|_| self.identity.certificate().role() == Role::Mix) {
                    Some((_, mix)) => {
                        if !self.gate.seal(now, &mix.certificate, &mut datagram) {
                            self.counters.refuse("mac");
                        }
                    }
                    None => {
                        attempt.hello.push(datagram.clone());
                        trailer::append(&mut datagram, attempt.cookie);
                    }
                }
            }
            self.send_raw(plane, to, &datagram);
        }
    }

    /// A handshake has failed.
    fn fail(&mut self, plane: &mut dyn Plane, now: Now, at: usize, reason: &'static str) {
        self.counters.refuse(reason);
        let attempt = self.end(plane, at);
        self.again(now, attempt.known);
    }

    /// Dials again after a while that grows.
    fn again(&mut self, now: Now, peer: Option<NodeId>) {
        let Some(at) = self.dials.iter().position(|dial| Some(dial.peer) == peer) else { return };
        let wait = self.jittered(self.dials[at].backoff as f64);
        let dial = &mut self.dials[at];
        dial.next = now.mono_ns.saturating_add(wait);
        dial.backoff = (dial.backoff * 2).min(BACKOFF_NS.1);
    }

    /// A handshake is over: its keys become a link.
    fn finish(&mut self, plane: &mut dyn Plane, now: Now, at: usize) {
        // It stays expected: the peer may ask for the last flight again.
        let attempt = self.outer.running.remove(at);
        let (remote, worker, known) = (attempt.remote, attempt.worker, attempt.known);
        match self.install(plane, now, attempt) {
            Err(reason) => {
                self.counters.refuse(reason);
                self.unexpect(plane, remote);
                self.again(now, known);
            }
            Ok(flight) => {
                if self.outer.lingering.len() >= LINGER_MAX {
                    self.forget_flight(plane);
                }
                self.outer.lingering.retain(|lingering| lingering.remote != remote);
                let until = now.mono_ns.saturating_add(LINGER_NS);
                self.outer.lingering.push_back(Lingering { remote, worker, flight, until, next: 0 });
            }
        }
    }

    fn forget_flight(&mut self, plane: &mut dyn Plane) {
        if let Some(lingering) = self.outer.lingering.pop_front() {
            self.unexpect(plane, lingering.remote);
        }
    }

    /// What comes after a handshake and is no cell: the peer's last flight again, for ours was lost.
    fn repeat(&mut self, plane: &mut dyn Plane, now: Now, remote: Address, bytes: &[u8]) {
        let found = self.outer.lingering.iter_mut().find(|lingering| lingering.remote == remote);
        let Some(lingering) = found.filter(|_| is_ciphertext(bytes)) else { return self.counters.refuse("stray") };
        if now.mono_ns >= lingering.next {
            lingering.next = now.mono_ns.saturating_add(REPEAT_NS);
            let (to, flight) = ((remote, lingering.worker), lingering.flight.clone());
            flight.iter().for_each(|datagram| self.send_raw(plane, to, datagram));
        }
    }

    /// Wants a link to this peer.
    pub(super) fn want(&mut self, remote: Address, peer: NodeId, now: Now) {
        if peer == self.id {
            return;
        }
        let next = if self.table.of_peer(peer).is_some() { u64::MAX } else { self.first_dial(now, peer) };
        match self.dials.iter_mut().find(|dial| dial.peer == peer) {
            Some(dial) => dial.remote = remote,
            None => self.dials.push(Dial { remote, peer, next, backoff: BACKOFF_NS.0, gone: false }),
        }
    }

    /// When to dial a peer that there is no link to, or a silent one.
    fn first_dial(&self, now: Now, peer: NodeId) -> u64 {
        let polite = self.role() == Role::Mix && self.id > peer;
        now.mono_ns.saturating_add(if polite { POLITE_NS } else { 0 })
    }

    /// The link to this peer is silent.
    pub(super) fn lost(&mut self, now: Now, peer: NodeId) {
        let next = self.first_dial(now, peer);
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.peer == peer) {
            dial.next = dial.next.min(next);
        }
    }
    /// The link to this peer is gone: dialled again soon.
    pub(super) fn gone(&mut self, peer: NodeId) {
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.peer == peer) {
            dial.gone = true;
        }
    }
    /// The link is there, or heard again.
    pub(super) fn there(&mut self, peer: NodeId) {
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.peer == peer) {
            (dial.next, dial.backoff, dial.gone) = (u64::MAX, BACKOFF_NS.0, false);
        }
    }

    /// Timers of handshakes, last flights and dials.
    pub(super) fn outer_tick(&mut self, plane: &mut dyn Plane, now: Now) {
        self.note_gone(now);
        while self.outer.lingering.front().is_some_and(|lingering| lingering.until <= now.mono_ns) {
            self.forget_flight(plane);
        }
        let mut at = 0;
        while let Some(attempt) = self.outer.running.get_mut(at) {
            let (remote, due, until) = (attempt.remote, attempt.due, attempt.until());
            if until <= now.mono_ns {
                self.fail(plane, now, at, "timeout");
            } else if due <= now.mono_ns {
                attempt.handshake.set_now(now.mono_ns);
                let progress = attempt.handshake.on_timeout().map(|()| Progress::More);
                self.go_on(plane, now, at, progress);
            }
            // What failed is gone, and the next one has its place.
            at += usize::from(self.outer.running.get(at).is_some_and(|attempt| attempt.remote == remote));
        }
        for at in 0..self.dials.len() {
            if self.dials[at].next <= now.mono_ns {
                self.dial_now(plane, now, at);
            }
        }
    }

    /// Says when to dial the peers whose links are gone.
    pub(super) fn note_gone(&mut self, now: Now) {
        for at in 0..self.dials.len() {
            if std::mem::take(&mut self.dials[at].gone) {
                let peer = self.dials[at].peer;
                self.again(now, Some(peer));
                self.dials[at].next = self.dials[at].next.max(self.first_dial(now, peer));
            }
        }
    }

    fn dial_now(&mut self, plane: &mut dyn Plane, now: Now, at: usize) {
        let Dial { remote, peer, .. } = self.dials[at];
        let link = self.table.of_peer(peer).map(|link| (link.local_port, link.silent));
        if link.is_some_and(|(_, silent)| silent.is_none()) {
            self.dials[at].next = u64::MAX;
            return;
        }
        self.again(now, Some(peer));
        let busy = |attempt: &Attempt| attempt.known == Some(peer) || attempt.remote == remote;
        if self.outer.running.iter().any(busy) {
            return;
        }
        // A link that is dialled anew stays with its worker: its peer knows that port.
        let ports = plane.welcome().workers.iter().map(|worker| worker.listen.port);
        let worker = match link.and_then(|(local_port, _)| ports.into_iter().position(|port| port == local_port)) {
            Some(worker) => worker,
            None => {
                self.outer.turn = self.outer.turn.wrapping_add(1);
                self.outer.turn % plane.welcome().workers.len().max(1)
            }
        };
        let handshake = match Handshake::new(&self.context, Side::Client, self.mtu()) {
            Ok(handshake) => handshake,
            Err(error) => return self.counters.refuse(reason(&error)),
        };
        let mut random = [0; 32];
        self.random.fill(&mut random);
        self.begin(
            plane,
            Attempt {
                handshake,
                side: Side::Client,
                remote,
                worker: worker as u8,
                known: Some(peer),
                began: now.mono_ns,
                random,
                due: u64::MAX,
                hello: Vec::new(),
                cookie: None,
                cookie_at: 0,
            },
        );
        self.go_on(plane, now, self.outer.running.len() - 1, Ok(Progress::More));
    }

    pub(super) fn outer_deadline(&self) -> Option<u64> {
        let running = self.outer.running.iter().map(|attempt| attempt.due.min(attempt.until()));
        let lingering = self.outer.lingering.front().map(|lingering| lingering.until);
        let dials =
            self.dials.iter().map(|dial| if dial.gone { 0 } else { dial.next }).filter(|next| *next != u64::MAX);
        running.chain(lingering).chain(dials).min()
    }
}
