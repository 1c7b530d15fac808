//! A small world for tests: clients and mixes with their circuits, data planes at the level of cells, links that lose and
//! reorder cells. Virtual time; one seed, one course of losses.

#[path = "world/plane.rs"]
pub mod plane;

use super::builder::{Builder, BuilderEvent};
use super::hops::{HopEvent, Hops};
use crate::channel::SendError;
use crate::link::{Neighbours, PeerInfo};
use crate::plane::Now;
use crate::zone::{MixEntry, Slots, ZoneDocument, Zones};
use drover_dtls::certificate::{Identity, NodeId, Role};
use plane::{FakePlane, Relay};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;
const STEP: u64 = 2 * MS;
const EPOCH: u64 = 1_800_000_000;

/// A neighbour message: link, kind, bytes.
type Said = (u32, u8, Vec<u8>);

/// A node's links.
#[derive(Default)]
pub struct FakeLinks {
    me: NodeId,
    pub peers: BTreeMap<u32, PeerInfo>,
    pub said: Vec<Said>,
    pub full: bool,
}

impl Neighbours for FakeLinks {
    fn send(&mut self, _now: Now, link: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        if !self.peers.contains_key(&link) {
            return Err(None);
        }
        if self.full {
            return Err(Some(SendError::Full));
        }
        self.said.push((link, kind, bytes.to_vec()));
        Ok(0)
    }
    fn link_of(&self, peer: NodeId) -> Option<u32> {
        self.peers.iter().find(|(_, info)| info.id == peer).map(|(link, _)| *link)
    }
    fn peer_of(&self, link: u32) -> Option<PeerInfo> {
        self.peers.get(&link).copied()
    }
    fn lower_ids_are_ours(&self, link: u32) -> bool {
        self.peers.get(&link).is_some_and(|peer| self.me < peer.id)
    }
}

pub enum Part {
    Client(Box<Builder>, Vec<BuilderEvent>),
    Mix(Box<Hops>, Vec<HopEvent>),
}

pub struct Node {
    pub identity: Arc<Identity>,
    pub plane: FakePlane,
    pub links: FakeLinks,
    pub part: Part,
}

enum Event {
    Cell(usize, Relay),
    Message(usize, Said),
}

pub struct World {
    pub zones: Arc<Zones>,
    pub nodes: Vec<Node>,
    pub now_ns: u64,
    /// Cells of 100 that are lost, and as many that come twice.
    pub loss: u32,
    /// Cells take up to this long, ns: more than a round reorders them.
    pub delay: u64,
    /// Kinds of messages that get lost, by who says them.
    pub lost: BTreeSet<(usize, u8)>,
    wires: BTreeMap<(usize, u32), (usize, u32)>,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    rng: StdRng,
}

impl World {
    /// `mixes` mixes, the first `clients` clients at the first of them, all mixes joined. Nodes are numbered mixes first.
    pub fn new(mixes: usize, clients: usize) -> World {
        let zone = Identity::new_zone("z", EPOCH, 30).expect("a zone");
        let issue = |name: String, role| Arc::new(zone.issue(&name, role, EPOCH, 30).expect("an identity"));
        let mix_ids: Vec<_> = (0..mixes).map(|n| issue(format!("m{n}"), Role::Mix)).collect();
        let entries = mix_ids.iter().enumerate().map(|(n, mix)| MixEntry {
            name: format!("m{n}"),
            address: ([127, 0, 0, 1], 5000 + n as u16).into(),
            certificate: mix.certificate().clone(),
        });
        let slots = Slots { slots: 2 };
        let document = ZoneDocument {
            zone: "z".to_owned(),
            serial: 1,
            validity: (EPOCH, EPOCH + 86_400),
            cell: plane::CELL,
            rate: 50,
            ratchet_bits: 24,
            rekey_s: 600,
            epoch_s: 3600,
            client: slots,
            within: slots,
            pair: slots,
            authority: zone.certificate().clone(),
            mixes: entries.collect(),
            peers: Vec::new(),
        };
        let zones = Arc::new(Zones::new(document, Vec::new()).expect("fits"));
        let mut world = World {
            zones: Arc::clone(&zones),
            nodes: Vec::new(),
            now_ns: S,
            loss: 0,
            delay: 30 * MS,
            lost: BTreeSet::new(),
            wires: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            rng: StdRng::seed_from_u64(7),
        };
        let now = world.now();
        for (n, identity) in mix_ids.iter().enumerate() {
            let hops = Hops::new(Arc::clone(identity), Arc::clone(&zones), now);
            world.node(n, identity, Part::Mix(Box::new(hops), Vec::new()));
            let Node { plane, part: Part::Mix(hops, _), .. } = &mut world.nodes[n] else { unreachable!() };
            hops.adopt(plane, now).expect("nothing to adopt");
        }
        for n in mixes..mixes + clients {
            let identity = issue(format!("c{n}"), Role::Client);
            let builder = Builder::new(identity.certificate().id(), Arc::clone(&zones), now);
            world.node(n, &identity, Part::Client(Box::new(builder), Vec::new()));
            world.join(n, 0);
        }
        for a in 0..mixes {
            (0..a).for_each(|b| world.join(a, b));
        }
        world.run(200 * MS);
        world
    }

    fn node(&mut self, n: usize, identity: &Arc<Identity>, part: Part) {
        let links = FakeLinks { me: identity.certificate().id(), ..FakeLinks::default() };
        self.nodes.push(Node { identity: Arc::clone(identity), plane: FakePlane::new(n as u8), links, part });
    }

    pub fn now(&self) -> Now {
        Now { mono_ns: self.now_ns, unix_s: EPOCH + self.now_ns / S }
    }

    pub fn id(&self, node: usize) -> NodeId {
        self.nodes[node].identity.certificate().id()
    }

    /// The number of the link from one node to another.
    pub fn link(from: usize, to: usize) -> u32 {
        (from * 100 + to + 1) as u32
    }

    /// A link between two nodes comes up.
    pub fn join(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let role = self.nodes[to].identity.certificate().role();
            let peer = PeerInfo { id: self.id(to), role, foreign: false };
            let (link, now) = (World::link(from, to), self.now());
            self.nodes[from].links.peers.insert(link, peer);
            self.wires.insert((from, link), (to, World::link(to, from)));
            let Node { links, part, .. } = &mut self.nodes[from];
            if let Part::Mix(hops, _) = part {
                hops.on_link_up(links, now, link, peer);
            }
        }
    }

    /// A link goes down at both ends.
    pub fn part(&mut self, a: usize, b: usize) {
        let now = self.now();
        for (from, to) in [(a, b), (b, a)] {
            let link = World::link(from, to);
            self.wires.remove(&(from, link));
            let Node { links, part, plane, .. } = &mut self.nodes[from];
            links.peers.remove(&link);
            match part {
                Part::Mix(hops, _) => hops.on_link_down(plane, links, now, link),
                Part::Client(builder, _) => builder.on_link_down(plane, now, link),
            }
        }
    }

    /// The control daemon of a mix begins a new life.
    pub fn restart(&mut self, mix: usize) {
        let (now, zones) = (self.now(), Arc::clone(&self.zones));
        let Node { identity, plane, links, part, .. } = &mut self.nodes[mix];
        let mut hops = Hops::new(Arc::clone(identity), zones, now);
        hops.adopt(plane, now).expect("adopts");
        for (link, peer) in links.peers.clone() {
            hops.on_link_up(links, now, link, peer);
        }
        *part = Part::Mix(Box::new(hops), Vec::new());
    }

    pub fn hops(&mut self, mix: usize) -> (&mut Hops, &mut FakePlane, &mut FakeLinks) {
        match &mut self.nodes[mix] {
            Node { part: Part::Mix(hops, _), plane, links, .. } => (hops, plane, links),
            _ => panic!("node {mix} is no mix"),
        }
    }

    pub fn builder(&mut self, client: usize) -> (&mut Builder, &mut FakePlane, &mut FakeLinks) {
        match &mut self.nodes[client] {
            Node { part: Part::Client(builder, _), plane, links, .. } => (builder, plane, links),
            _ => panic!("node {client} is no client"),
        }
    }

    pub fn client_events(&mut self, client: usize) -> &mut Vec<BuilderEvent> {
        match &mut self.nodes[client].part {
            Part::Client(_, events) => events,
            Part::Mix(..) => panic!("node {client} is no client"),
        }
    }

    pub fn mix_events(&mut self, mix: usize) -> &mut Vec<HopEvent> {
        match &mut self.nodes[mix].part {
            Part::Mix(_, events) => events,
            Part::Client(..) => panic!("node {mix} is no mix"),
        }
    }

    /// Lets time go by.
    pub fn run(&mut self, ns: u64) {
        let until = self.now_ns + ns;
        while self.now_ns < until {
            self.step();
        }
    }

    /// Lets time go by until something is so, or `ns` are over; whether it is.
    pub fn until(&mut self, ns: u64, mut so: impl FnMut(&mut World) -> bool) -> bool {
        let until = self.now_ns + ns;
        while self.now_ns < until {
            if so(self) {
                return true;
            }
            self.step();
        }
        so(self)
    }

    /// A cell goes on its way by hand.
    pub fn send_cell(&mut self, from: usize, cell: Relay) {
        let Some(&(to, link)) = self.wires.get(&(from, cell.at.link)) else {
            return self.nodes[from].plane.spliced.push(cell);
        };
        for _ in 0..self.copies() {
            let mut cell = cell.clone();
            cell.at.link = link;
            self.later(Event::Cell(to, cell));
        }
    }

    fn copies(&mut self) -> usize {
        match self.rng.random_range(0..100) {
            drawn if drawn < self.loss => 0,
            drawn if drawn < 2 * self.loss => 2,
            _ => 1,
        }
    }

    fn later(&mut self, event: Event) {
        self.count += 1;
        let at = self.now_ns + self.rng.random_range(5 * MS..5 * MS + self.delay);
        self.events.insert((at, self.count), event);
    }

    fn step(&mut self) {
        self.now_ns += STEP;
        let now = self.now();
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now.mono_ns) {
            match entry.remove() {
                Event::Cell(to, cell) => self.nodes[to].plane.arrive(cell),
                Event::Message(to, (link, kind, bytes)) => self.hear(to, link, kind, &bytes),
            }
        }
        for n in 0..self.nodes.len() {
            self.turn(n, now);
        }
    }

    fn hear(&mut self, to: usize, link: u32, kind: u8, bytes: &[u8]) {
        let now = self.now();
        let Node { links, part, plane, .. } = &mut self.nodes[to];
        let Some(peer) = links.peer_of(link) else { return };
        let taken = match part {
            Part::Mix(hops, _) => hops.on_link_message(plane, links, now, (link, peer), kind, bytes),
            Part::Client(builder, _) => builder.on_link_message(plane, links, now, link, kind, bytes),
        };
        assert!(taken, "kind {kind} is of circuits");
    }

    fn turn(&mut self, n: usize, now: Now) {
        let Node { links, part, plane, .. } = &mut self.nodes[n];
        while let Some(handed) = plane.handed.pop_front() {
            let punt = handed.punt();
            match part {
                Part::Mix(hops, _) => hops.on_punt(plane, links, now, &punt),
                Part::Client(builder, _) => builder.on_punt(plane, now, &punt),
            };
        }
        match part {
            Part::Mix(hops, events) => {
                if hops.deadline().is_some_and(|at| at <= now.mono_ns) {
                    hops.on_tick(plane, links, now);
                }
                events.extend(std::iter::from_fn(|| hops.poll()));
            }
            Part::Client(builder, events) => {
                if builder.deadline().is_some_and(|at| at <= now.mono_ns) {
                    builder.on_tick(plane, links, now);
                }
                events.extend(std::iter::from_fn(|| builder.poll()));
            }
        }
        let leaving = std::mem::take(&mut plane.leaving);
        let (said, loops) = (std::mem::take(&mut links.said), plane.loops.clone());
        for mut cell in leaving {
            let around = loops.iter().find_map(|(a, b)| match cell.at.link {
                link if link == *a => Some(*b),
                link if link == *b => Some(*a),
                _ => None,
            });
            match around {
                Some(other) => {
                    cell.at.link = other;
                    self.later(Event::Cell(n, cell));
                }
                None => self.send_cell(n, cell),
            }
        }
        for (link, kind, bytes) in said {
            if let Some(&(to, link)) = self.wires.get(&(n, link))
                && !self.lost.contains(&(n, kind))
            {
                self.later(Event::Message(to, (link, kind, bytes)));
            }
        }
    }
}
