//! Two zones of two mixes each, whose links and circuits are in memory: mixes 0 and 1 of the north, 2 and 3 of the south.

use crate::channel::SendError;
use crate::link::{Neighbours, PeerInfo};
use crate::plane::{Now, Plane, PlaneError};
use crate::rendezvous::registration::{Register, Registration};
use crate::rendezvous::sealed::Prekeys;
use crate::rendezvous::{Circuits, Host, Rendezvous};
use crate::zone::{MixEntry, PeerZone, Slots, ZoneDocument, Zones};
use drover_dtls::certificate::{Certificate, Identity, NodeId, Role};
use drover_wire::control::{LinkEnd, Refusal, Request, Welcome};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

pub const NOW_S: u64 = 1_795_183_200;
pub const SECOND: u64 = 1_000_000_000;
/// The ends of every mix's loop.
pub const LOOP: (u32, u32) = (100, 101);

/// Identities are made once: they cost more than all the rest.
pub struct Cast {
    pub mixes: Vec<Arc<Identity>>,
    zones: Vec<ZoneDocument>,
    /// Of the north.
    pub alice: Identity,
    pub carol: Identity,
    /// Of the south.
    pub bob: Identity,
    pub prekeys: Prekeys,
}

pub static CAST: LazyLock<Cast> = LazyLock::new(|| {
    let authorities = ["north", "south"].map(|name| Identity::new_zone(name, NOW_S, 900).expect("made"));
    let mixes: Vec<_> = (0..4)
        .map(|at: usize| {
            let issued = authorities[at / 2].issue(&format!("m{at}"), Role::Mix, NOW_S, 900).expect("issued");
            Arc::new(issued)
        })
        .collect();
    let zones = (0..2)
        .map(|zone: usize| ZoneDocument {
            zone: authorities[zone].certificate().zone().to_owned(),
            serial: 1,
            validity: (NOW_S - 1, NOW_S + 1_000_000),
            cell: 256,
            rate: 50,
            ratchet_bits: 24,
            rekey_s: 600,
            epoch_s: 86_400,
            client: Slots { slots: 2 },
            within: Slots { slots: 8 },
            pair: Slots { slots: 8 },
            authority: authorities[zone].certificate().clone(),
            mixes: (2 * zone..2 * zone + 2)
                .map(|at| MixEntry {
                    name: format!("m{at}"),
                    address: ([127, 0, 0, 1], 4000 + at as u16).into(),
                    certificate: mixes[at].certificate().clone(),
                })
                .collect(),
            peers: vec![PeerZone {
                zone: authorities[1 - zone].certificate().zone().to_owned(),
                authority: authorities[1 - zone].certificate().clone(),
            }],
        })
        .collect();
    let client = |zone: usize, name| authorities[zone].issue(name, Role::Client, NOW_S, 900).expect("issued");
    let (alice, carol, bob) = (client(0, "alice"), client(0, "carol"), client(1, "bob"));
    Cast { mixes, zones, alice, carol, bob, prekeys: Prekeys::generate().expect("keys") }
});

pub fn id(mix: usize) -> NodeId {
    CAST.mixes[mix].certificate().id()
}

pub fn id_of(client: &Identity) -> NodeId {
    client.certificate().id()
}

/// What a zone signs with.
pub fn zone_authority(zone: usize) -> Certificate {
    CAST.zones[zone].authority.clone()
}

/// A client's registration at a mix, in an epoch, valid for an hour.
pub fn registration(client: &Identity, mix: usize, epoch: u32) -> Registration {
    Registration::make(client, id(mix), epoch, NOW_S + 3600, CAST.prekeys.public()).expect("made")
}

#[derive(Clone)]
pub struct Sent {
    pub from: usize,
    pub to: usize,
    pub kind: u8,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Net {
    /// Links that are there, both ways.
    links: BTreeSet<(usize, usize)>,
    queue: VecDeque<Sent>,
    /// Everything that ever went over a link.
    log: Vec<Sent>,
    full: bool,
}

struct FakeLinks {
    own: usize,
    net: Rc<RefCell<Net>>,
}

/// The number, at any mix, of the link to mix `to`.
pub fn link_to(to: usize) -> u32 {
    to as u32 + 1
}

impl Neighbours for FakeLinks {
    fn send(&mut self, _now: Now, link: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        let to = link as usize - 1;
        let mut net = self.net.borrow_mut();
        if !net.links.contains(&(self.own, to)) {
            return Err(None);
        }
        if net.full {
            return Err(Some(SendError::Full));
        }
        let sent = Sent { from: self.own, to, kind, bytes: bytes.to_vec() };
        net.log.push(sent.clone());
        net.queue.push_back(sent);
        Ok(1)
    }
    fn link_of(&self, peer: NodeId) -> Option<u32> {
        let to = (0..4).find(|mix| id(*mix) == peer)?;
        self.net.borrow().links.contains(&(self.own, to)).then_some(link_to(to))
    }
    fn peer_of(&self, link: u32) -> Option<PeerInfo> {
        (1..=4).contains(&link).then(|| peer(link as usize - 1))
    }
    fn lower_ids_are_ours(&self, link: u32) -> bool {
        id(self.own) < id(link as usize - 1)
    }
}

pub fn peer(mix: usize) -> PeerInfo {
    PeerInfo { id: id(mix), role: Role::Mix, foreign: false }
}

#[derive(Default)]
pub struct FakeHops {
    /// What clients were told: circuit, kind, bytes.
    pub told: Vec<(u32, u8, Vec<u8>)>,
    pub spliced: BTreeMap<u32, LinkEnd>,
    pub destroyed: Vec<u32>,
    /// Circuits that are not given a far side.
    pub refuse: BTreeSet<u32>,
    next_id: u32,
}

impl Circuits for FakeHops {
    fn send(&mut self, _now: Now, circuit: u32, kind: u8, bytes: &[u8]) -> bool {
        self.told.push((circuit, kind, bytes.to_vec()));
        true
    }
    fn free_id(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32> {
        self.next_id += 1;
        let lower = link >= LOOP.0 || links.lower_ids_are_ours(link);
        Some(self.next_id | if lower { 0 } else { 1 << 31 })
    }
    fn splice(&mut self, _plane: &mut dyn Plane, circuit: u32, far: LinkEnd) -> Result<(), PlaneError> {
        if self.refuse.contains(&circuit) || self.spliced.contains_key(&circuit) {
            return Err(PlaneError::Refused(Refusal::NoRoom, "full".to_owned()));
        }
        self.spliced.insert(circuit, far);
        Ok(())
    }
    fn loop_ends(&self) -> (u32, u32) {
        LOOP
    }
    fn destroy(&mut self, _plane: &mut dyn Plane, _links: &mut dyn Neighbours, _now: Now, circuit: u32) {
        self.destroyed.push(circuit);
    }
}

/// The service asks the data plane nothing itself.
struct NoPlane;

impl Plane for NoPlane {
    fn welcome(&self) -> &Welcome {
        unreachable!("not asked")
    }
    fn ask(&mut self, _request: &Request) -> Result<(), PlaneError> {
        unreachable!("not asked")
    }
    fn report(&mut self, _request: &Request) -> Result<String, PlaneError> {
        unreachable!("not asked")
    }
}

struct Mix {
    service: Rendezvous,
    hops: FakeHops,
}

pub struct World {
    mixes: Vec<Mix>,
    net: Rc<RefCell<Net>>,
    pub now: Now,
}

impl World {
    /// All four mixes have links with each other.
    pub fn new() -> World {
        let now = Now { mono_ns: 5 * SECOND, unix_s: NOW_S };
        let mixes = (0..4).map(|at| Mix { service: service(at, now), hops: FakeHops::default() }).collect();
        let mut world = World { mixes, net: Rc::default(), now };
        for a in 0..4 {
            for b in 0..a {
                world.connect(a, b);
            }
        }
        world.run(1);
        world
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        self.net.borrow_mut().links.extend([(a, b), (b, a)]);
        for (at, to) in [(a, b), (b, a)] {
            let links = &mut FakeLinks { own: at, net: Rc::clone(&self.net) };
            self.mixes[at].service.on_link_up(links, self.now, link_to(to), peer(to));
        }
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.net.borrow_mut().links.retain(|link| *link != (a, b) && *link != (b, a));
    }

    /// The control daemon of a mix begins anew: what it knew is gone, links and circuits are still there.
    pub fn restart(&mut self, at: usize) {
        self.mixes[at].service = service(at, self.now);
        for to in (0..4).filter(|to| *to != at) {
            let links = &mut FakeLinks { own: at, net: Rc::clone(&self.net) };
            self.mixes[at].service.on_link_up(links, self.now, link_to(to), peer(to));
        }
    }

    pub fn fill(&mut self, full: bool) {
        self.net.borrow_mut().full = full;
    }

    fn with<T>(&mut self, at: usize, act: impl FnOnce(&mut Rendezvous, &mut Host<'_>) -> T) -> T {
        let Mix { service, hops } = &mut self.mixes[at];
        let links = &mut FakeLinks { own: at, net: Rc::clone(&self.net) };
        act(service, &mut Host { plane: &mut NoPlane, links, hops, now: self.now })
    }

    /// A client says something on a circuit that ends at a mix; everything that follows at once happens.
    pub fn say(&mut self, at: usize, circuit: u32, kind: u8, bytes: &[u8]) {
        assert!(self.with(at, |service, host| service.on_hop_message(host, circuit, kind, bytes)));
        self.settle();
    }

    /// A neighbour says something, forged or not.
    pub fn link_say(&mut self, at: usize, from: (u32, PeerInfo), kind: u8, bytes: &[u8]) -> bool {
        let taken = self.with(at, |service, host| service.on_link_message(host, from, kind, bytes));
        self.settle();
        taken
    }

    pub fn gone(&mut self, at: usize, circuit: u32) {
        self.with(at, |service, host| service.on_circuit_gone(host, circuit));
        self.settle();
    }

    /// Says REGISTER, and whether it was noted.
    pub fn register(&mut self, client: &Identity, at: usize, circuit: u32) -> bool {
        let said = Register::make(client, &registration(client, at, 1), self.now.unix_s).encode();
        self.say(at, circuit, Register::KIND, &said);
        self.take_told(at, circuit).last().is_some_and(|(kind, _)| *kind == crate::message::hop::REGISTERED)
    }

    /// Delivers what is on links until nothing is.
    pub fn settle(&mut self) {
        loop {
            let Some(Sent { from, to, kind, bytes }) = self.net.borrow_mut().queue.pop_front() else { return };
            let from = (link_to(from), peer(from));
            assert!(self.with(to, |service, host| service.on_link_message(host, from, kind, &bytes)));
        }
    }

    /// Lets time pass: every mix does what is due when it is due.
    pub fn run(&mut self, seconds: u64) {
        self.run_for(seconds * SECOND);
    }

    pub fn run_for(&mut self, ns: u64) {
        let begin = self.now;
        let end = begin.mono_ns + ns;
        loop {
            let due = (0..4).filter_map(|at| self.mixes[at].service.deadline()).min().expect("always something");
            if due > end {
                break;
            }
            assert!(due >= self.now.mono_ns || due == 0 || self.now.mono_ns - due < SECOND, "nothing stays due");
            self.now.mono_ns = due.max(self.now.mono_ns + 1);
            self.now.unix_s = begin.unix_s + (self.now.mono_ns - begin.mono_ns) / SECOND;
            for at in 0..4 {
                self.with(at, |service, host| service.on_tick(host));
            }
            self.settle();
        }
        self.now = Now { mono_ns: end.max(self.now.mono_ns), unix_s: begin.unix_s + ns / SECOND };
    }

    pub fn service(&self, at: usize) -> &Rendezvous {
        &self.mixes[at].service
    }

    pub fn hops(&mut self, at: usize) -> &mut FakeHops {
        &mut self.mixes[at].hops
    }

    pub fn refused(&self, at: usize, reason: &str) -> u64 {
        self.mixes[at].service.counters().refused.get(reason).copied().unwrap_or(0)
    }

    /// What a circuit's client was told since the last time.
    pub fn take_told(&mut self, at: usize, circuit: u32) -> Vec<(u8, Vec<u8>)> {
        let told = &mut self.mixes[at].hops.told;
        let (taken, left) = std::mem::take(told).into_iter().partition(|(to, ..)| *to == circuit);
        *told = left;
        let taken: Vec<(u32, u8, Vec<u8>)> = taken;
        taken.into_iter().map(|(_, kind, bytes)| (kind, bytes)).collect()
    }

    /// What went over links since the last time.
    pub fn take_log(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.net.borrow_mut().log)
    }
}

fn service(at: usize, now: Now) -> Rendezvous {
    let own = CAST.zones[at / 2].clone();
    let zones = Zones::new(own, vec![CAST.zones[1 - at / 2].clone()]).expect("fit");
    Rendezvous::new(Arc::clone(&CAST.mixes[at]), Arc::new(zones), now)
}
