//! A mix's side of circuits.
//!
//! ```text
//! hops/table.rs   which circuits there are
//! hops/setup.rs   CREATE and EXTEND
//! hops/end.rs     DESTROY, links that go down, time that runs out
//! hops/adopt.rs   circuits of an earlier life of this process
//! ```
//!
//! The data plane is the truth about circuits; what is here are the messages around them. Between the two ends of the
//! mix's loop the same messages pass as over a link, within this process.

mod adopt;
mod end;
mod setup;
mod table;

use super::ids::{Drains, Space};
use super::keys::{KeyStore, OwnKeys, PERIOD_S, Told};
use super::limits::*;
use super::messages::{FRAME, HopMessage, KEYS_MAX, LinkMessage, Reason, SetupRequest, SignedKey};
use super::outbox::Outbox;
use crate::channel::{Channel, Delivery};
use crate::link::{Neighbours, PeerInfo};
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId, Role};
use drover_wire::control::{Bytes, ExtendCircuit, ID_LIMIT, Inject, LinkEnd, List, Punt, Refusal, Request};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use table::{Far, Table};

/// The two ends of a mix's loop on its data plane: the highest link numbers, which links never reach.
const LOOP: (u32, u32) = (ID_LIMIT - 2, ID_LIMIT - 1);
/// Frames of one circuit that are given to the data plane in one turn.
const FRAMES_A_TURN: usize = 4;

/// What happened on circuits that end or pass here.
#[derive(Clone, Debug)]
pub enum HopEvent {
    /// A message of a client, of a kind that is not this module's own ([`crate::message::hop`]).
    Message {
        /// The circuit's number on the data plane.
        circuit: u32,
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A circuit is gone.
    Gone {
        /// The circuit.
        circuit: u32,
    },
}

/// What hops have done and refused: totals, no names (I10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HopCounters {
    /// Circuits made.
    pub created: u64,
    /// Circuits extended.
    pub extended: u64,
    /// Circuits ended.
    pub destroyed: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// A CREATE that waits for its turn.
struct Waiting {
    from: (u32, PeerInfo),
    id: u32,
    request: SetupRequest,
}

/// All circuits of a mix.
pub struct Hops {
    identity: Arc<Identity>,
    zones: Arc<Zones>,
    me: NodeId,
    own: OwnKeys,
    /// The own key is new and nobody was told.
    untold: bool,
    keys: KeyStore,
    space: Space,
    table: Table,
    creates: VecDeque<Waiting>,
    drains: Drains,
    /// Ids handed out by [`Hops::free_id`], each until when.
    reserved: BTreeMap<(u32, u32), u64>,
    outbox: Outbox,
    /// Messages between the ends of the loop: where they arrive.
    local: VecDeque<(u32, LinkMessage)>,
    extends: BTreeMap<u32, Bucket>,
    asks: BTreeMap<u32, Bucket>,
    /// Neighbours of the zone that are there.
    mixes: BTreeMap<u32, NodeId>,
    /// Circuits that a busy data plane has not removed yet.
    removals: Vec<u32>,
    events: VecDeque<HopEvent>,
    counters: HopCounters,
    now: Now,
}

impl Hops {
    /// No circuits yet; the first short-term key is made.
    ///
    /// # Panics
    /// When the cryptographic library makes no key: no mix can be had then.
    pub fn new(identity: Arc<Identity>, zones: Arc<Zones>, now: Now) -> Hops {
        let own = OwnKeys::new(&identity, now, PERIOD_S).expect("the cryptographic library makes keys");
        Hops {
            me: identity.certificate().id(),
            identity,
            zones,
            own,
            untold: false,
            keys: KeyStore::default(),
            space: Space::default(),
            table: Table::default(),
            creates: VecDeque::new(),
            drains: Drains::default(),
            reserved: BTreeMap::new(),
            outbox: Outbox::default(),
            local: VecDeque::new(),
            extends: BTreeMap::new(),
            asks: BTreeMap::new(),
            mixes: BTreeMap::new(),
            removals: Vec::new(),
            events: VecDeque::new(),
            counters: HopCounters::default(),
            now,
        }
    }

    /// Makes short-term keys every `period_s` seconds from now on, the first at once.
    ///
    /// # Panics
    /// As [`Hops::new`].
    pub fn rotate_every(&mut self, period_s: u64, now: Now) {
        self.own = OwnKeys::new(&self.identity, now, period_s).expect("the cryptographic library makes keys");
        self.untold = true;
    }

    /// Takes the circuits that the data plane has: after a restart of this process. Makes the mix's loop.
    ///
    /// # Errors
    /// The data plane's.
    pub fn adopt(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        self.now = now;
        self.adopt_all(plane, now)
    }

    /// Takes a neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        from: (u32, PeerInfo),
        kind: u8,
        bytes: &[u8],
    ) -> bool {
        self.now = now;
        match LinkMessage::decode(kind, bytes) {
            None => return false,
            Some(Err(_)) => self.refused(Reason::Malformed.name()),
            Some(Ok(message)) => self.handle(plane, links, now, from, message),
        }
        self.settle(plane, links, now);
        true
    }

    /// Takes what the data plane handed over; false when it is not for circuits.
    pub fn on_punt(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, punt: &Punt<'_>) -> bool {
        let Punt::Hop { circuit, kind, data } = *punt else { return false };
        self.now = now;
        let size = self.zones.own().cell;
        let round_ns = round_ns(self.zones.own().rate);
        let Some(found) = self.table.get_mut(circuit) else {
            self.refused("unknown circuit");
            return true;
        };
        found.used_ns = now.mono_ns;
        let channel = found.channel.get_or_insert_with(|| Channel::new(hop_channel(size, round_ns), random() as u32));
        if kind != FRAME || channel.on_frame(now.mono_ns, data).is_err() {
            self.refused("bad frame");
        }
        self.work(plane, links, now, circuit);
        self.settle(plane, links, now);
        true
    }

    /// A link came up: neighbours of the zone exchange short-term keys.
    pub fn on_link_up(&mut self, links: &mut dyn Neighbours, now: Now, link: u32, peer: PeerInfo) {
        self.now = now;
        if self.is_zone_mix(peer) {
            self.mixes.insert(link, peer.id);
            self.tell_all_keys(links, now, link);
            // A link that was taken over is new to us alone: that neighbour has seen nothing and tells nothing by itself.
            let (kind, bytes) = LinkMessage::KeysWanted.encode();
            // Links that go down again take their messages with them.
            let _ = links.send(now, link, kind, &bytes);
        }
    }

    /// A link went down, and the circuits over it.
    pub fn on_link_down(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, link: u32) {
        self.now = now;
        self.link_down(plane, links, now, link);
        self.settle(plane, links, now);
    }

    /// Does what is due.
    pub fn on_tick(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now) {
        self.now = now;
        if self.own.on_tick(&self.identity, now) || std::mem::take(&mut self.untold) {
            let (kind, bytes) = LinkMessage::Keys(vec![self.own.announced().clone()]).encode();
            for link in self.mixes.keys() {
                self.outbox.send(links, now, *link, kind, bytes.clone());
            }
        }
        for _ in 0..SETUPS_A_TURN {
            let Some(waiting) = self.creates.pop_front() else { break };
            self.create(plane, links, now, waiting);
        }
        for circuit in self.table.due(now.mono_ns) {
            self.work(plane, links, now, circuit);
        }
        while let Some((link, id)) = self.drains.due(now.mono_ns) {
            self.say_destroy(links, now, link, id);
        }
        self.outbox.on_tick(links, now);
        self.removals.retain(|circuit| remove_circuit(plane, *circuit));
        self.reserved.retain(|_, until| *until > now.mono_ns);
        self.settle(plane, links, now);
    }

    /// When [`Hops::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let now = self.now.mono_ns;
        let creates = (self.untold || !self.creates.is_empty()).then_some(now);
        let removals = (!self.removals.is_empty()).then(|| now.saturating_add(AGAIN_NS));
        let own = Some(self.own.deadline());
        [creates, removals, own, self.table.deadline(), self.drains.deadline(), self.outbox.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sends a message to the client of a circuit; false when there is no such circuit or no room.
    pub fn send(&mut self, now: Now, circuit: u32, kind: u8, bytes: &[u8]) -> bool {
        let limits = hop_channel(self.zones.own().cell, round_ns(self.zones.own().rate));
        let Some(found) = self.table.get_mut(circuit) else { return false };
        let channel = found.channel.get_or_insert_with(|| Channel::new(limits, random() as u32));
        let sent = channel.send(now.mono_ns, kind, bytes).is_ok();
        self.table.reset(circuit);
        sent
    }

    /// What happened.
    pub fn poll(&mut self) -> Option<HopEvent> {
        self.events.pop_front()
    }

    /// A circuit id of our half that is free on a link. It is kept for whoever asked for a minute.
    pub fn free_id(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32> {
        if self.reserved.len() >= RESERVED {
            self.refused("ids kept");
            return None;
        }
        let id = self.draw(links, link)?;
        self.reserved.insert((link, id), self.now.mono_ns.saturating_add(RESERVED_NS));
        Some(id)
    }

    /// Gives a circuit that ends here its far side: the other half of a call.
    ///
    /// # Errors
    /// The data plane's: no room for an admitted circuit. No such circuit, or not one that ends at its rendezvous mix; the id
    /// is in use.
    pub fn splice(&mut self, plane: &mut dyn Plane, circuit: u32, far: LinkEnd) -> Result<(), PlaneError> {
        let refused = |code, text: &str| Err(PlaneError::Refused(code, text.to_owned()));
        match self.table.get(circuit) {
            None => return refused(Refusal::Unknown, "no such circuit"),
            // Two mixes in each zone (I4): a client's first hop joins nothing.
            Some(found) if found.client || found.far != Far::None || found.closing.is_some() => {
                return refused(Refusal::Forbidden, "the circuit does not end at a rendezvous mix");
            }
            Some(_) if self.table.uses(far) || self.drains.contains(far.link, far.id) => {
                return refused(Refusal::Exists, "the circuit id is in use");
            }
            Some(_) => {}
        }
        self.reserved.remove(&(far.link, far.id));
        let boot = plane.welcome().boot;
        plane.ask(&Request::ExtendCircuit(ExtendCircuit { boot, circuit, far, others: List::new() }))?;
        self.table.set_far(circuit, Far::There(far));
        Ok(())
    }

    /// The two ends of the mix's loop.
    pub fn loop_ends(&self) -> (u32, u32) {
        LOOP
    }

    /// Ends a circuit: DESTROY to both sides.
    pub fn destroy(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: u32) {
        self.now = now;
        let (near, far) = (end::Side::later(now), end::Side::later(now));
        self.end(plane, links, now, circuit, near, far);
        self.settle(plane, links, now);
    }

    /// The counts.
    pub fn counters(&self) -> &HopCounters {
        &self.counters
    }

    /// Circuits there are now.
    pub fn circuits(&self) -> usize {
        self.table.len()
    }

    /// The short-term key that this mix announces.
    pub fn announced(&self) -> &SignedKey {
        self.own.announced()
    }

    /// What is known of another mix's.
    pub fn key_of(&self, mix: NodeId, unix_s: u64) -> Option<&SignedKey> {
        self.keys.get(mix, unix_s)
    }

    /// Whether ids of ended circuits are still being given back.
    #[cfg(test)]
    pub fn gives_back(&self) -> bool {
        self.drains.deadline().is_some()
    }

    /// A smaller space of ids.
    #[cfg(test)]
    pub fn set_space(&mut self, space: Space) {
        self.space = space;
    }

    /// An EXTEND as if the client had sent it.
    #[cfg(test)]
    pub fn extend_for_test(
        &mut self,
        links: &mut dyn Neighbours,
        now: Now,
        circuit: u32,
        next: NodeId,
        request: SetupRequest,
    ) {
        self.table.set_far(circuit, Far::None);
        self.on_extend(links, now, circuit, next, request);
    }

    /// One message of a neighbour.
    fn handle(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        from: (u32, PeerInfo),
        message: LinkMessage,
    ) {
        let (link, peer) = from;
        match message {
            LinkMessage::Create(id, request) => self.on_create(links, now, Waiting { from, id, request }),
            LinkMessage::Created(id, reply) => self.on_created(plane, links, now, LinkEnd { link, id }, reply),
            LinkMessage::CreateFailed(id, reason) => self.on_create_failed(LinkEnd { link, id }, reason),
            LinkMessage::Destroy(id) => self.on_destroy(plane, links, now, LinkEnd { link, id }),
            LinkMessage::Destroyed(id) => self.drains.destroyed(link, id),
            LinkMessage::KeysWanted => self.on_keys_wanted(links, now, link),
            LinkMessage::Keys(keys) if self.is_zone_mix(peer) => self.on_keys(links, now, link, &keys),
            LinkMessage::Keys(_) => self.refused(Reason::Forbidden.name()),
        }
    }

    /// Messages between the ends of the loop, until there are none.
    fn settle(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now) {
        let peer = PeerInfo { id: self.me, role: Role::Mix, foreign: false };
        while let Some((link, message)) = self.local.pop_front() {
            self.handle(plane, links, now, (link, peer), message);
        }
    }

    /// Says something to a neighbour, or to the other end of the loop; false when it is lost.
    fn say(&mut self, links: &mut dyn Neighbours, now: Now, link: u32, message: LinkMessage) -> bool {
        if let Some(other) = other_end(link) {
            self.local.push_back((other, message));
            return true;
        }
        let (kind, bytes) = message.encode();
        let said = self.outbox.send(links, now, link, kind, bytes);
        if !said {
            self.refused("no room on a link");
        }
        said
    }

    /// What is due on one circuit: its end, an answer that did not come, messages there and back.
    fn work(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: u32) {
        if self.on_time(plane, links, now, circuit) {
            return;
        }
        while let Some(delivery) =
            self.table.get_mut(circuit).and_then(|found| found.channel.as_mut()?.poll(now.mono_ns))
        {
            if let Delivery::Message { kind, bytes } = delivery {
                self.on_message(links, now, circuit, kind, bytes);
            }
        }
        let boot = plane.welcome().boot;
        if let Some(channel) = self.table.get_mut(circuit).and_then(|found| found.channel.as_mut()) {
            let mut frame = vec![0; hop_channel(self.zones.own().cell, 0).frame];
            for _ in 0..FRAMES_A_TURN {
                if !channel.take_frame(now.mono_ns, &mut frame) {
                    break;
                }
                let Some(data) = Bytes::new(&frame) else { break };
                // A frame that the data plane does not take is lost as on a wire: the channel sends it again.
                let _ = plane.ask(&Request::Inject(Inject::Hop { boot, circuit, kind: FRAME, data }));
            }
        }
        self.table.reset(circuit);
    }

    /// One message of a client.
    fn on_message(&mut self, links: &mut dyn Neighbours, now: Now, circuit: u32, kind: u8, bytes: Vec<u8>) {
        match HopMessage::decode(kind, &bytes) {
            None => self.events.push_back(HopEvent::Message { circuit, kind, bytes }),
            Some(Ok(HopMessage::Extend(next, request))) => self.on_extend(links, now, circuit, next, request),
            Some(Ok(_)) => self.refused(Reason::Forbidden.name()),
            Some(Err(_)) => {
                self.refused(Reason::Malformed.name());
                if kind == crate::message::hop::EXTEND {
                    self.extend_failed(circuit, Reason::Malformed);
                }
            }
        }
    }

    fn tell_client(&mut self, circuit: u32, message: &HopMessage) -> bool {
        let (kind, bytes) = message.encode();
        self.send(self.now, circuit, kind, &bytes)
    }

    /// A mix of the own zone, this one among them, that speaks as we do.
    fn is_zone_mix(&self, peer: PeerInfo) -> bool {
        peer.role == Role::Mix && !peer.foreign && self.in_zone(peer.id)
    }

    fn in_zone(&self, id: NodeId) -> bool {
        id == self.me || self.zones.own().mixes.iter().any(|mix| mix.certificate.id() == id)
    }

    /// Takes keys that a neighbour tells, and passes on what is new: the zone's mixes need not all be neighbours.
    fn on_keys(&mut self, links: &mut dyn Neighbours, now: Now, from: u32, keys: &[SignedKey]) {
        let mut new = Vec::new();
        let me = self.me;
        for key in keys.iter().filter(|key| key.mix != me) {
            match self.keys.tell(&self.zones, now, key) {
                Told::New => new.push(key.clone()),
                Told::Known => {}
                Told::Refused => self.refused("keys"),
            }
        }
        if new.is_empty() {
            return;
        }
        let others: Vec<_> = self.mixes.keys().copied().filter(|link| *link != from).collect();
        for link in others {
            self.say(links, now, link, LinkMessage::Keys(new.clone()));
        }
    }

    fn on_keys_wanted(&mut self, links: &mut dyn Neighbours, now: Now, link: u32) {
        let bucket = self.asks.entry(link).or_insert_with(|| Bucket::new(10_000_000_000 / u64::from(ASKS.0), ASKS.1));
        if bucket.take(now.mono_ns) {
            self.tell_all_keys(links, now, link);
        } else {
            self.refused(Reason::Limit.name());
        }
    }

    fn tell_all_keys(&mut self, links: &mut dyn Neighbours, now: Now, link: u32) {
        let mut all = vec![self.own.announced().clone()];
        all.extend(self.keys.all(now.unix_s).cloned());
        for keys in all.chunks(KEYS_MAX) {
            self.say(links, now, link, LinkMessage::Keys(keys.to_vec()));
        }
    }

    fn refused(&mut self, reason: &'static str) {
        *self.counters.refused.entry(reason).or_default() += 1;
    }

    /// An id of our half that nothing uses.
    fn draw(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32> {
        let other = other_end(link);
        if other.is_none() && links.peer_of(link).is_none() {
            return None;
        }
        let lower = other.is_some() || links.lower_ids_are_ours(link);
        let drawn =
            self.space.draw(lower, |id| self.is_free(link, id) && other.is_none_or(|other| self.is_free(other, id)));
        if drawn.is_none() {
            self.refused("ids used up");
        }
        drawn
    }

    fn is_free(&self, link: u32, id: u32) -> bool {
        !self.table.uses(LinkEnd { link, id })
            && !self.drains.contains(link, id)
            && !self.reserved.contains_key(&(link, id))
    }
}

/// The other end of the loop.
fn other_end(link: u32) -> Option<u32> {
    match link {
        _ if link == LOOP.0 => Some(LOOP.1),
        _ if link == LOOP.1 => Some(LOOP.0),
        _ => None,
    }
}

/// Has the data plane remove a circuit; true when it must be asked again.
fn remove_circuit(plane: &mut dyn Plane, circuit: u32) -> bool {
    let boot = plane.welcome().boot;
    matches!(plane.ask(&Request::RemoveCircuit { boot, circuit }), Err(PlaneError::Refused(Refusal::Busy, _)))
}

impl crate::rendezvous::Circuits for Hops {
    fn send(&mut self, now: Now, circuit: u32, kind: u8, bytes: &[u8]) -> bool {
        Hops::send(self, now, circuit, kind, bytes)
    }
    fn free_id(&mut self, links: &dyn Neighbours, link: u32) -> Option<u32> {
        Hops::free_id(self, links, link)
    }
    fn splice(&mut self, plane: &mut dyn Plane, circuit: u32, far: LinkEnd) -> Result<(), PlaneError> {
        Hops::splice(self, plane, circuit, far)
    }
    fn loop_ends(&self) -> (u32, u32) {
        Hops::loop_ends(self)
    }
    fn destroy(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: u32) {
        Hops::destroy(self, plane, links, now, circuit);
    }
}
