//! The rendezvous service: what clients ask of the mix that their circuit ends at, and mixes of each other.
//!
//! ```text
//! service/gossip.rs   registrations among the zone's mixes
//! service/lookups.rs  who wants to know where somebody is registered
//! service/signals.rs  mailboxes
//! service/joins.rs    two halves become a call
//! ```

mod gossip;
mod joins;
mod lookups;
mod signals;

use super::limits::{CircuitLimits, MAILBOXES, PeerLimits, SWEEP_NS};
use super::messages::{Digest, Failed, Mailbox, Reason, Registered};
use super::registration::Register;
use super::registry::{Noted, Registry};
use super::{Host, RendezvousCounters};
use crate::link::{Neighbours, PeerInfo};
use crate::message::{hop, link};
use crate::plane::Now;
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId, Role};
use joins::Joins;
use lookups::Waiting;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is known of a circuit on which a client has asked for something.
struct Circuit {
    limits: CircuitLimits,
    /// The client that it is registered for.
    client: Option<NodeId>,
    /// Mailboxes opened by its signals, oldest first.
    mailboxes: VecDeque<Mailbox>,
    /// Lookups that wait.
    lookups: usize,
    /// It has asked to be joined, which it may once.
    joined: bool,
}

impl Circuit {
    fn new() -> Circuit {
        Circuit { limits: CircuitLimits::new(), client: None, mailboxes: VecDeque::new(), lookups: 0, joined: false }
    }
}

/// Something to be told to a neighbour of the zone when there is room.
enum Gossip {
    Registration(Digest),
    Alive(Vec<Digest>),
    Wanted(Vec<Digest>),
}

/// The rendezvous service of a mix.
pub struct Rendezvous {
    identity: Arc<Identity>,
    own: NodeId,
    zones: Arc<Zones>,
    registry: Registry,
    circuits: BTreeMap<u32, Circuit>,
    mailboxes: BTreeMap<Mailbox, u32>,
    waiting: BTreeMap<u64, Waiting>,
    next_lookup: u64,
    joins: Joins,
    peers: BTreeMap<NodeId, PeerLimits>,
    outbox: BTreeMap<NodeId, VecDeque<Gossip>>,
    outbox_at: u64,
    alive_at: u64,
    sweep_at: u64,
    counters: RendezvousCounters,
}

impl Rendezvous {
    /// Nothing registered yet.
    pub fn new(identity: Arc<Identity>, zones: Arc<Zones>, now: Now) -> Rendezvous {
        let own = identity.certificate().id();
        Rendezvous {
            identity,
            own,
            zones,
            registry: Registry::default(),
            circuits: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            // Numbers say nothing to a neighbour about how many lookups there were before.
            next_lookup: crate::circuit::limits::random() >> 1,
            joins: Joins::default(),
            peers: BTreeMap::new(),
            outbox: BTreeMap::new(),
            outbox_at: now.mono_ns,
            alive_at: now.mono_ns,
            sweep_at: now.mono_ns.saturating_add(SWEEP_NS),
            counters: RendezvousCounters::default(),
        }
    }

    /// Takes a client's message from a circuit that ends here; false when its kind is not this module's.
    pub fn on_hop_message(&mut self, host: &mut Host<'_>, circuit: u32, kind: u8, bytes: &[u8]) -> bool {
        match kind {
            hop::REGISTER => self.register(host, circuit, bytes),
            hop::LOOKUP => self.lookup(host, circuit, bytes),
            hop::SIGNAL => self.signal(host, circuit, bytes),
            hop::JOIN => self.join(host, circuit, bytes),
            _ => return false,
        }
        true
    }

    /// Takes a neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(&mut self, host: &mut Host<'_>, from: (u32, PeerInfo), kind: u8, bytes: &[u8]) -> bool {
        let ours = matches!(
            kind,
            link::REGISTRATION
                | link::REGISTRATIONS_WANTED
                | link::LOOKUP
                | link::LOOKUP_ANSWER
                | link::SIGNAL
                | link::SPLICE
                | link::SPLICED
        );
        let (link, peer) = from;
        if !ours {
            return false;
        }
        // Clients say nothing of this on their link: they have circuits for it.
        if peer.role != Role::Mix || peer.foreign || self.zones.mix(peer.id).is_none() {
            self.refused("not_a_mix");
            return true;
        }
        match kind {
            link::REGISTRATION => self.on_news(host, peer.id, bytes),
            link::REGISTRATIONS_WANTED => self.on_wanted(host, peer.id, bytes),
            link::LOOKUP => self.on_lookup(host, (link, peer.id), bytes),
            link::LOOKUP_ANSWER => self.on_answer(host, link, bytes),
            link::SIGNAL => self.on_signal(host, peer.id, bytes),
            link::SPLICE => self.on_splice(host, (link, peer.id), bytes),
            _ => self.on_spliced(host, (link, peer.id), bytes),
        }
        true
    }

    /// A link came up: mixes of the zone tell each other who is registered where.
    pub fn on_link_up(&mut self, _links: &mut dyn Neighbours, now: Now, _link: u32, peer: PeerInfo) {
        if peer.role == Role::Mix && !peer.foreign && self.is_of_zone(peer.id) {
            self.tell(now, peer.id, Gossip::Wanted(Vec::new()));
        }
    }

    /// A circuit is gone.
    pub fn on_circuit_gone(&mut self, host: &mut Host<'_>, circuit: u32) {
        self.joins_circuit_gone(host, circuit);
        let Some(gone) = self.circuits.remove(&circuit) else { return };
        for mailbox in gone.mailboxes.iter().chain(gone.client.as_ref().map(|client| &client.0)) {
            self.close_mailbox(*mailbox, circuit);
        }
    }

    /// Does what is due.
    pub fn on_tick(&mut self, host: &mut Host<'_>) {
        let now = host.now;
        if now.mono_ns >= self.alive_at {
            self.say_alive(now);
        }
        if now.mono_ns >= self.sweep_at {
            self.sweep_at = now.mono_ns.saturating_add(SWEEP_NS);
            self.registry.sweep(now.mono_ns, now.unix_s);
            self.counters.registrations = self.registry.len() as u64;
            self.sweep_lookups(host);
            self.sweep_joins(host);
        }
        if now.mono_ns >= self.outbox_at {
            self.send_gossip(host);
        }
    }

    /// When [`Rendezvous::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let outbox = (!self.outbox.is_empty()).then_some(self.outbox_at);
        [Some(self.alive_at), Some(self.sweep_at), outbox].into_iter().flatten().min()
    }

    /// The counts.
    pub fn counters(&self) -> &RendezvousCounters {
        &self.counters
    }

    fn refused(&mut self, reason: &'static str) {
        *self.counters.refused.entry(reason).or_default() += 1;
    }

    /// Counts, and tells the client.
    fn fail(&mut self, host: &mut Host<'_>, circuit: u32, asked: u8, request: u32, reason: Reason) {
        self.refused(reason.name());
        host.hops.send(host.now, circuit, Failed::KIND, &Failed { asked, request, reason }.encode());
    }

    fn is_of_zone(&self, mix: NodeId) -> bool {
        mix != self.own && self.zones.own().mixes.iter().any(|entry| entry.certificate.id() == mix)
    }

    fn circuit(&mut self, circuit: u32) -> &mut Circuit {
        self.circuits.entry(circuit).or_insert_with(Circuit::new)
    }

    fn peer(&mut self, peer: NodeId) -> &mut PeerLimits {
        // One entry for each mix of the zones at most.
        self.peers.entry(peer).or_insert_with(PeerLimits::new)
    }

    fn register(&mut self, host: &mut Host<'_>, circuit: u32, bytes: &[u8]) {
        let now = host.now;
        let result = match self.circuit(circuit).limits.register.take(now.mono_ns) {
            true => self.registered(now, circuit, bytes),
            false => Err(Reason::Limit),
        };
        match result {
            Ok(digest) => {
                host.hops.send(now, circuit, Registered::KIND, &Registered { digest }.encode());
            }
            Err(reason) => self.fail(host, circuit, Register::KIND, 0, reason),
        }
    }

    fn registered(&mut self, now: Now, circuit: u32, bytes: &[u8]) -> Result<Digest, Reason> {
        let register = Register::decode(bytes).map_err(|_| Reason::Malformed)?;
        let registration = &register.registration;
        let client = registration.client();
        if registration.rendezvous() != self.own {
            return Err(Reason::Malformed);
        }
        // One who has seen a registration, or heard it said before, does not take the client's place.
        if register.unix_s <= self.registry.said_s(client) {
            return Err(Reason::Stale);
        }
        let authority = &self.zones.own().authority;
        match self.registry.knows(registration) {
            true => registration.check_time(now.unix_s),
            false => registration.check(authority, now.unix_s),
        }
        .and_then(|()| register.check(now.unix_s))
        .map_err(|_| Reason::Untrusted)?;
        let digest = registration.digest();
        match self.registry.note(register.registration, now.mono_ns, register.unix_s) {
            Noted::New => self.spread(now, digest),
            Noted::Same => {}
            Noted::Stale => return Err(Reason::Stale),
            Noted::Full => return Err(Reason::NoRoom),
        }
        self.counters.registrations = self.registry.len() as u64;
        // A circuit is one client's; and a client is reached by the circuit on which it said so last.
        if let Some(before) = self.circuit(circuit).client.replace(client).filter(|before| *before != client) {
            self.close_mailbox(before.0, circuit);
        }
        self.mailboxes.insert(client.0, circuit);
        Ok(digest)
    }

    /// Opens a mailbox for answers on a circuit; false when it is another's.
    fn open_mailbox(&mut self, mailbox: Mailbox, circuit: u32) -> bool {
        match self.mailboxes.get(&mailbox) {
            Some(holder) => return *holder == circuit,
            // A client that is known here has its own, even while it cannot be reached.
            None if self.registry.get(NodeId(mailbox)).is_some() => return false,
            None => {}
        }
        let open = &mut self.circuit(circuit).mailboxes;
        open.push_back(mailbox);
        let oldest = if open.len() > MAILBOXES { open.pop_front() } else { None };
        self.mailboxes.insert(mailbox, circuit);
        if let Some(oldest) = oldest {
            self.close_mailbox(oldest, circuit);
        }
        true
    }

    fn close_mailbox(&mut self, mailbox: Mailbox, circuit: u32) {
        if self.mailboxes.get(&mailbox) == Some(&circuit) {
            self.mailboxes.remove(&mailbox);
        }
    }

    /// The link that leads to a mix, and how many mixes may pass on what goes there: a link of our own, or any to another
    /// mix of its zone.
    fn route(&self, links: &dyn Neighbours, mix: NodeId) -> Option<(u32, u8)> {
        let (zone, _) = self.zones.mix(mix)?;
        if let Some(link) = links.link_of(mix) {
            return Some((link, 0));
        }
        let others = zone.mixes.iter().map(|entry| entry.certificate.id()).filter(|id| *id != mix && *id != self.own);
        let ways: Vec<u32> = others.filter_map(|id| links.link_of(id)).collect();
        // One way is as good as another; chance keeps a broken one from being taken always.
        let drawn = crate::circuit::limits::random() % ways.len().max(1) as u64;
        ways.get(drawn as usize).map(|link| (*link, super::messages::RELAYS_MAX))
    }
}
