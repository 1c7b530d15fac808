//! Data planes that exist only as state, and the network between them, on a clock of its own: for tests of control.
//!
//! A fake plane does what control sees of a real one: it keeps classes, links and generations, sends datagrams and a record
//! for each link's slot, opens what the right keys sealed, and hands over what is control's. Keys are compared, not used.

use super::{Now, Plane, PlaneError};
use drover_crypto::schedule::TrafficSecret;
use drover_wire::control::{
    Address, BootId, Dump, Inject, PUNT_MAX, Peer, Punt, PutClass, PutLink, Refusal, Request, Welcome, WorkerInfo,
    Workers,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;

/// Cell size, bytes.
pub const CELL: u16 = 256;
/// Seconds since 1970 when a network's monotonic clock is at 0.
const EPOCH_S: u64 = 1_800_000_000;
const MS: u64 = 1_000_000;
/// From one slot of a link to the next, ns.
const SLOT_NS: u64 = 10 * MS;
/// A link over which nothing has come for this long is silent, ns.
const SILENT_NS: u64 = 3_000 * MS;
/// Control cells that wait on a link.
const CONTROL_PER_LINK: usize = 32;
/// Requests kept.
const REQUESTS_MAX: usize = 100_000;
/// Senders expected.
const EXPECTED_MAX: usize = 1024;

/// A data plane in one life of it.
pub struct FakePlane {
    welcome: Welcome,
    /// What it was asked, the newest last.
    pub requests: Vec<Request>,
    /// It answers no more.
    pub gone: bool,
    classes: BTreeMap<u16, PutClass>,
    links: BTreeMap<u32, FakeLink>,
    expected: HashSet<Address>,
    /// Secrets that were installed: never again (W-CTL-9).
    used: HashSet<[u8; 32]>,
    outbox: Vec<(Address, Address, Datagram)>,
}

struct FakeLink {
    put: PutLink,
    /// Oldest first.
    generations: Vec<PutLink>,
    sending: u32,
    /// A foreign peer's epoch.
    receiving: u32,
    heard: Option<u32>,
    silent: bool,
    last: u64,
    next_slot: u64,
    control: VecDeque<Content>,
}

/// What is under way.
#[derive(Clone, Debug)]
pub enum Datagram {
    /// A datagram of control.
    Raw(Vec<u8>),
    /// A link's record, by the secret that sealed it.
    Record {
        /// Who can open it.
        secret: [u8; 32],
        /// What it holds.
        content: Content,
    },
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Chaff,
    /// A cell of control.
    Control(Vec<u8>),
    /// A foreign peer's record: inner content type and data.
    Record(u8, Vec<u8>),
}

fn refused<T>(code: Refusal, text: &str) -> Result<T, PlaneError> {
    Err(PlaneError::Refused(code, text.to_owned()))
}

impl FakePlane {
    /// A data plane with one worker that listens there.
    pub fn new(listen: SocketAddr, boot: u8) -> FakePlane {
        let worker = WorkerInfo { listen: listen.into(), ..WorkerInfo::default() };
        let workers = Workers::from_slice(&[worker]).unwrap_or_default();
        FakePlane {
            welcome: Welcome { boot: BootId([boot; 16]), cell: CELL, now_ns: 0, lab: true, ends: true, workers },
            requests: Vec::new(),
            gone: false,
            classes: BTreeMap::new(),
            links: BTreeMap::new(),
            expected: HashSet::new(),
            used: HashSet::new(),
            outbox: Vec::new(),
        }
    }

    /// The links that it has, with the generation that each sends with.
    pub fn links(&self) -> Vec<(u32, u32)> {
        self.links.iter().map(|(number, link)| (*number, link.sending)).collect()
    }
    /// Senders that are expected.
    pub fn expected(&self) -> usize {
        self.expected.len()
    }
    /// The classes, by number: round in ns, slots, most slots.
    pub fn classes(&self) -> Vec<(u16, u64, u32, u32)> {
        self.classes.values().map(|put| (put.class, put.round_ns, put.slots, put.slots_max)).collect()
    }

    fn address(&self) -> Address {
        self.welcome.workers.first().map_or_else(Address::default, |worker| worker.listen)
    }

    fn carry_out(&mut self, request: &Request) -> Result<(), PlaneError> {
        match request {
            Request::PutClass(put) => {
                self.classes.insert(put.class, *put);
            }
            Request::PutLink(put) => return self.put_link(put),
            Request::SwitchLink { link, generation, .. } => {
                let Some(link) = self.links.get_mut(link) else { return refused(Refusal::Unknown, "no such link") };
                let last = link.generations.last().map(|put| put.generation);
                if *generation != link.sending && last != Some(*generation) {
                    return refused(Refusal::Unknown, "not the last generation that was put");
                }
                link.sending = *generation;
            }
            Request::RemoveLink { link, .. } => {
                self.links.remove(link);
            }
            Request::AdvanceEpoch { link, .. } if !self.is_foreign(*link) => {
                return refused(Refusal::Unknown, "no such foreign peer");
            }
            Request::AdvanceEpoch { link, send, .. } => self.advance(*link, *send),
            Request::Expect { remote, expected: true, .. } => {
                if self.expected.len() >= EXPECTED_MAX {
                    return refused(Refusal::Limit, "too many are expected");
                }
                self.expected.insert(*remote);
            }
            Request::Expect { remote, .. } => {
                self.expected.remove(remote);
            }
            Request::Raw(raw) => {
                let datagram = Datagram::Raw(raw.bytes.as_bytes().to_vec());
                self.outbox.push((self.address(), raw.to, datagram));
            }
            Request::Inject(inject) => return self.inject(inject),
            _ => {}
        }
        Ok(())
    }

    /// The next epoch of one direction: "traffic upd".
    fn advance(&mut self, number: u32, send: bool) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let epoch = if send { &mut link.sending } else { &mut link.receiving };
        let before = link.generations.iter().find(|put| put.generation == *epoch).cloned();
        *epoch += 1;
        let Some(mut next) = before else { return };
        next.generation = *epoch;
        if !link.generations.iter().any(|put| put.generation == *epoch) {
            link.generations.push(next.clone());
        }
        let Some(put) = link.generations.iter_mut().find(|put| put.generation == next.generation) else { return };
        let (direction, from) = if send { (&mut put.send, &next.send) } else { (&mut put.receive, &next.receive) };
        direction.secret.0 = TrafficSecret(from.secret.0).next().0;
        direction.first = 0;
    }

    fn is_foreign(&self, link: u32) -> bool {
        self.links.get(&link).is_some_and(|link| link.put.peer == Peer::Foreign)
    }

    fn put_link(&mut self, put: &PutLink) -> Result<(), PlaneError> {
        if !self.classes.contains_key(&put.class) {
            return refused(Refusal::Unknown, "no such class");
        }
        let port = self.address().port;
        if put.local_port != port {
            return refused(Refusal::Unknown, "no worker listens there");
        }
        let new = [put.send.secret.0, put.receive.secret.0];
        if new[0] == new[1] || new.iter().any(|secret| self.used.contains(secret)) {
            return refused(Refusal::Forbidden, "a key was used before");
        }
        match self.links.get_mut(&put.link) {
            None => {
                if self.links.values().any(|link| link.put.remote == put.remote) {
                    return refused(Refusal::Exists, "another link has this remote");
                }
                let link = FakeLink {
                    put: put.clone(),
                    generations: vec![put.clone()],
                    sending: put.generation,
                    receiving: put.generation,
                    heard: None,
                    silent: false,
                    last: u64::MAX,
                    next_slot: 0,
                    control: VecDeque::new(),
                };
                self.links.insert(put.link, link);
            }
            Some(link) => {
                let last = link.generations.last().map_or(0, |put| put.generation);
                let same = (link.put.remote, link.put.class, link.put.ratchet_bits, link.put.peer);
                if put.generation <= last || same != (put.remote, put.class, put.ratchet_bits, put.peer) {
                    return refused(Refusal::Exists, "it is another");
                }
                let sending = link.sending;
                link.generations.retain(|put| put.generation == sending || put.generation == last);
                link.generations.push(put.clone());
            }
        }
        self.used.extend(new);
        Ok(())
    }

    fn inject(&mut self, inject: &Inject) -> Result<(), PlaneError> {
        let (link, content) = match inject {
            Inject::Link { link, body, .. } => (link, Content::Control(body.as_bytes().to_vec())),
            Inject::Record { link, content_type, data, .. } => {
                (link, Content::Record(*content_type, data.as_bytes().to_vec()))
            }
            Inject::Hop { .. } | Inject::Relay { .. } => return Ok(()),
        };
        let Some(link) = self.links.get_mut(link) else { return refused(Refusal::Unknown, "no such link") };
        if link.control.len() >= CONTROL_PER_LINK {
            return refused(Refusal::NoRoom, "many cells wait already");
        }
        link.control.push_back(content);
        Ok(())
    }

    /// Sends what is due in each link's slot, and finds out who is silent.
    fn run(&mut self, now: u64, punts: &mut Vec<Vec<u8>>) {
        let from = self.address();
        for (number, link) in &mut self.links {
            if link.last == u64::MAX {
                (link.last, link.next_slot) = (now, now);
            }
            while link.next_slot <= now {
                link.next_slot += SLOT_NS;
                let content = link.control.pop_front().unwrap_or(Content::Chaff);
                let put = link.generations.iter().find(|put| put.generation == link.sending);
                let secret = put.map_or([0; 32], |put| put.send.secret.0);
                self.outbox.push((from, link.put.remote, Datagram::Record { secret, content }));
            }
            if !link.silent && now - link.last >= SILENT_NS {
                link.silent = true;
                punts.push(encode(&Punt::Silent { link: *number }));
            }
        }
    }

    /// Takes a datagram.
    fn take(&mut self, now: u64, from: Address, datagram: &Datagram, punts: &mut Vec<Vec<u8>>) {
        let (bytes, wanted) = match datagram {
            Datagram::Raw(bytes) => {
                (bytes.clone(), bytes.first().is_some_and(|first| matches!(first, 20 | 21 | 22 | 26)))
            }
            Datagram::Record { secret, content } => {
                let of_remote = self.links.iter_mut().find(|(_, link)| link.put.remote == from);
                if let Some((number, link)) = of_remote
                    && let Some(put) = link.generations.iter().find(|put| put.receive.secret.0 == *secret)
                {
                    link.last = now;
                    let generation = put.generation;
                    if link.silent || link.heard.is_none_or(|heard| heard < generation) {
                        link.silent = false;
                        link.heard = Some(generation);
                        punts.push(encode(&Punt::Heard { link: *number, generation }));
                    }
                    let link = *number;
                    match content {
                        Content::Chaff => {}
                        Content::Control(body) => punts.push(encode(&Punt::Link { link, body })),
                        Content::Record(content_type, data) => {
                            let (epoch, content_type) = (generation, *content_type);
                            punts.push(encode(&Punt::Record { link, epoch, number: 0, content_type, data }));
                        }
                    }
                    return;
                }
                (vec![0x2b; usize::from(CELL) + 3], false)
            }
        };
        if wanted || self.expected.contains(&from) {
            punts.push(encode(&Punt::Raw { worker: 0, from, bytes: &bytes }));
        }
    }
}

fn encode(punt: &Punt<'_>) -> Vec<u8> {
    let mut out = vec![0; PUNT_MAX];
    let length = punt.encode(0, &mut out).unwrap_or(0);
    out.truncate(length);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Plane for FakePlane {
    fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    fn ask(&mut self, request: &Request) -> Result<(), PlaneError> {
        if self.gone {
            return Err(PlaneError::Gone("it is gone".to_owned()));
        }
        let done = self.carry_out(request);
        if self.requests.len() < REQUESTS_MAX {
            self.requests.push(request.clone());
        }
        done
    }

    fn report(&mut self, request: &Request) -> Result<String, PlaneError> {
        let Request::Dump { what: Dump::Links, from } = request else {
            let name = match request {
                Request::Dump { what: Dump::Circuits, .. } => "circuits",
                Request::Dump { what: Dump::Ends, .. } => "ends",
                _ => "classes",
            };
            return Ok(serde_json::json!({ "next": null, name: [] }).to_string());
        };
        // One link a page, so that pages are tried.
        let mut rest = self.links.range(from..);
        let rows: Vec<_> = rest.by_ref().take(1).map(|(number, link)| row(*number, link)).collect();
        let next = rest.next().map(|(number, _)| number);
        Ok(serde_json::json!({ "next": next, "links": rows }).to_string())
    }
}

fn row(number: u32, link: &FakeLink) -> serde_json::Value {
    let put = &link.put;
    let foreign = put.peer == Peer::Foreign;
    // Key ids are not compared here; that there is one is.
    let id = |there: bool| there.then_some("00");
    let generation = |put: &PutLink| {
        let (send, receive) = (put.generation <= link.sending, put.generation <= link.receiving);
        serde_json::json!({
            "generation": put.generation,
            "send_id": id(!foreign || send),
            "receive_id": id(!foreign || receive),
        })
    };
    let generations: Vec<_> = link.generations.iter().map(generation).collect();
    let owner = link.generations.last().map_or(put.owner, |put| put.owner);
    serde_json::json!({
        "link": number,
        "local_port": put.local_port,
        "remote": put.remote.to_string(),
        "class": put.class,
        "peer": if put.peer == Peer::Foreign { "foreign" } else { "drover" },
        "ratchet_bits": put.ratchet_bits,
        "loop_to": null,
        "sending": link.sending,
        "generations": generations,
        "heard": link.heard,
        "silent": link.silent,
        "owner": hex(owner.as_bytes()),
    })
}

/// Whether a datagram passes: from, to, what.
pub type Passes = Box<dyn FnMut(SocketAddr, SocketAddr, &Datagram) -> bool>;

/// Data planes and the network between them.
pub struct FakeNet {
    /// The time everywhere.
    pub now: Now,
    /// The data planes; a test may put another life in a place.
    pub planes: Vec<FakePlane>,
    /// Chances of each datagram to be lost, doubled and delayed, of 100.
    pub trouble: [u32; 3],
    /// Decides on each datagram before the network's own troubles: false loses it.
    pub passes: Passes,
    /// Datagrams of control that left so far: who sent them, and the bytes.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    wire: Vec<(u64, Address, Address, Datagram)>,
    random: StdRng,
}

impl FakeNet {
    /// A network without trouble, whose delay is 5 ms.
    pub fn new(planes: Vec<FakePlane>, seed: u64) -> FakeNet {
        FakeNet {
            now: Now { mono_ns: 10_000 * MS, unix_s: EPOCH_S + 10 },
            planes,
            trouble: [0; 3],
            passes: Box::new(|_, _, _| true),
            sent: Vec::new(),
            wire: Vec::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Seconds since 1970 when a network begins.
    pub const fn unix_s() -> u64 {
        EPOCH_S + 10
    }

    /// A datagram from anywhere, arriving at once.
    pub fn throw(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.wire.push((0, from.into(), to.into(), Datagram::Raw(bytes.to_vec())));
    }

    /// A record from anywhere, arriving at once.
    pub fn throw_record(&mut self, from: SocketAddr, to: SocketAddr, secret: [u8; 32], content: Content) {
        self.wire.push((0, from.into(), to.into(), Datagram::Record { secret, content }));
    }

    /// Goes on by a millisecond. Returns what each data plane hands over: its index, and a message for [`Punt::decode`].
    pub fn step(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.now.mono_ns += MS;
        self.now.unix_s = EPOCH_S + self.now.mono_ns / (1000 * MS);
        let now = self.now.mono_ns;
        let mut all = Vec::new();
        for (at, plane) in self.planes.iter_mut().enumerate().filter(|(_, plane)| !plane.gone) {
            let mut punts = Vec::new();
            plane.run(now, &mut punts);
            all.extend(punts.into_iter().map(|punt| (at, punt)));
        }
        self.post();
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= now);
        self.wire = later;
        let due: Vec<(u64, Address, Address, Datagram)> = due;
        for (_, from, to, datagram) in due {
            let place = self.planes.iter_mut().enumerate().find(|(_, plane)| !plane.gone && plane.address() == to);
            let Some((at, plane)) = place else { continue };
            let mut punts = Vec::new();
            plane.take(now, from, &datagram, &mut punts);
            all.extend(punts.into_iter().map(|punt| (at, punt)));
        }
        all
    }

    /// Gives what the data planes have sent to the network.
    fn post(&mut self) {
        let FakeNet { now, planes, trouble: [loss, twice, late], passes, sent, wire, random } = self;
        for (from, to, datagram) in planes.iter_mut().flat_map(|plane| plane.outbox.drain(..)) {
            if let Datagram::Raw(bytes) = &datagram {
                sent.push((from.into(), bytes.clone()));
            }
            if !passes(from.into(), to.into(), &datagram) {
                continue;
            }
            let mut chance = |of_hundred: u32| random.random_range(0..100) < of_hundred;
            let copies = 1 + usize::from(chance(*twice));
            for _ in 0..copies {
                if !chance(*loss) {
                    let delay = if chance(*late) { 40 } else { 5 };
                    wire.push((now.mono_ns + delay * MS, from, to, datagram.clone()));
                }
            }
        }
    }
}
