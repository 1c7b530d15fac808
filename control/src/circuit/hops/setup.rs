//! CREATE and EXTEND (`docs/wire.md`, W-CRT-2, W-CRT-3): agreed keys go to the data plane, a circuit gets longer.

use super::table::{Circuit, Far};
use super::{Hops, LOOP, Waiting, other_end};
use crate::circuit::ids::is_lower;
use crate::circuit::limits::*;
use crate::circuit::messages::{HopMessage, LinkMessage, Reason, SetupReply, SetupRequest};
use crate::circuit::ntor::{self, HopSecrets, Parties, SetupError};
use crate::link::Neighbours;
use crate::plane::{Now, Plane, PlaneError};
use drover_dtls::certificate::{NodeId, Role};
use drover_wire::control::{ExtendCircuit, HopKeys, Leg, LinkEnd, List, PutCircuit, Request};

impl Hops {
    /// Keeps a CREATE for its turn: handshakes cost more than messages, and their number in a turn is bounded.
    pub(super) fn on_create(&mut self, links: &mut dyn Neighbours, now: Now, create: Waiting) {
        let (link, peer) = create.from;
        let client = peer.role == Role::Client;
        let of_link = self.creates.iter().filter(|waiting| waiting.from.0 == link).count();
        let (waiting, circuits) = if client { (CREATES_CLIENT, CIRCUITS_CLIENT) } else { (CREATES_MIX, CIRCUITS_MIX) };
        let reason = if peer.foreign || !(client || self.is_zone_mix(peer)) {
            Some(Reason::Forbidden)
        } else if of_link >= waiting || self.creates.len() >= CREATES_ALL || self.table.near_of(link) >= circuits {
            Some(Reason::Limit)
        } else {
            None
        };
        match reason {
            None => self.creates.push_back(create),
            Some(reason) => self.create_failed(links, now, LinkEnd { link, id: create.id }, reason),
        }
    }

    /// Answers a CREATE: keys, a circuit that ends here, CREATED.
    pub(super) fn create(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, create: Waiting) {
        let (link, id) = (create.from.0, create.id);
        match self.try_create(plane, links, now, &create) {
            Ok(reply) => {
                self.counters.created += 1;
                self.say(links, now, link, LinkMessage::Created(id, reply));
            }
            Err(reason) => self.create_failed(links, now, LinkEnd { link, id }, reason),
        }
    }

    fn try_create(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        create: &Waiting,
    ) -> Result<SetupReply, Reason> {
        let ((link, peer), id, request) = (create.from, create.id, &create.request);
        let near = LinkEnd { link, id };
        let of_their_half = other_end(link).is_some() || is_lower(id) != links.lower_ids_are_ours(link);
        if !of_their_half || self.table.uses(near) || self.drains.contains(link, id) {
            return Err(Reason::Id);
        }
        let short_term = self.own.get(request.key).ok_or(Reason::WrongKey)?;
        let parties = Parties { previous: peer.id, hop: self.me };
        let (secrets, reply) = ntor::respond(parties, short_term, request).map_err(|error| match error {
            SetupError::BadKey | SetupError::Confirmation => Reason::BadKey,
            SetupError::Library => Reason::NoRoom,
        })?;
        let circuit = self.table.number();
        let made = Circuit::new(near, peer.id, peer.role == Role::Client, now.mono_ns);
        let owner = super::adopt::owner(&made);
        let HopSecrets { layer, forward_mac, backward_mac, .. } = secrets;
        let leg = |key, offset| Leg { key, first: None, offset, admitted: request.admitted };
        plane
            .ask(&Request::PutCircuit(PutCircuit {
                boot: plane.welcome().boot,
                circuit,
                generation: 1,
                near,
                far: None,
                forward: leg(layer.forward, layer.forward_offset),
                backward: leg(layer.backward, layer.backward_offset),
                hop: Some(HopKeys { forward_mac, backward_mac, first: request.first }),
                owner,
            }))
            .map_err(|_| Reason::NoRoom)?;
        self.table.insert(circuit, made);
        Ok(reply)
    }

    fn create_failed(&mut self, links: &mut dyn Neighbours, now: Now, at: LinkEnd, reason: Reason) {
        self.refused(reason.name());
        self.say(links, now, at.link, LinkMessage::CreateFailed(at.id, reason));
    }

    /// A client wants its circuit longer: the next mix is asked.
    pub(super) fn on_extend(
        &mut self,
        links: &mut dyn Neighbours,
        now: Now,
        circuit: u32,
        next: NodeId,
        request: SetupRequest,
    ) {
        match self.try_extend(links, now, circuit, next, request) {
            Ok(far) => self.table.set_far(circuit, far),
            Err(reason) => {
                self.refused(reason.name());
                self.extend_failed(circuit, reason);
            }
        }
    }

    fn try_extend(
        &mut self,
        links: &mut dyn Neighbours,
        now: Now,
        circuit: u32,
        next: NodeId,
        request: SetupRequest,
    ) -> Result<Far, Reason> {
        let found = self.table.get(circuit).ok_or(Reason::Ended)?;
        // A path has two hops: only a client's own mix makes it longer, and once.
        if !found.client || found.far != Far::None || found.closing.is_some() {
            return Err(Reason::Forbidden);
        }
        let near = found.near.link;
        let under_way = self.table.asked().filter(|(asking, _)| asking.near.link == near).count();
        let every_ns = 1_000_000_000 / u64::from(EXTENDS.0);
        let bucket = self.extends.entry(near).or_insert_with(|| Bucket::new(every_ns, EXTENDS.1));
        if !bucket.take(now.mono_ns) || under_way >= EXTENDS_CLIENT {
            return Err(Reason::Limit);
        }
        // Clients have links here too; a path goes over mixes of the zone only.
        if !self.in_zone(next) {
            return Err(Reason::Unreachable);
        }
        let link = if next == self.me { Some(LOOP.0) } else { links.link_of(next) }.ok_or(Reason::Unreachable)?;
        if self.table.asked().filter(|(_, at)| at.link == link).count() >= CREATES_MIX {
            return Err(Reason::Limit);
        }
        let first = request.first;
        let id = self.draw(links, link).ok_or(Reason::Id)?;
        if !self.say(links, now, link, LinkMessage::Create(id, request)) {
            return Err(Reason::Unreachable);
        }
        let until_ns = now.mono_ns.saturating_add(CREATE_NS);
        Ok(Far::Asked { at: LinkEnd { link, id }, until_ns, first })
    }

    /// The next mix has answered: the circuit passes through here now.
    pub(super) fn on_created(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        at: LinkEnd,
        reply: SetupReply,
    ) {
        let asked = self.table.find(at).map(|(circuit, found)| (circuit, found.far));
        let Some((circuit, Far::Asked { at: far, first, .. })) = asked else {
            self.refused("created unasked");
            // Too late, most likely: nobody here knows of it, so nobody there should. While its id is being given back, or
            // is another circuit's, that one's DESTROY will do or must not come.
            if asked.is_none() && !self.drains.contains(at.link, at.id) {
                self.say(links, now, at.link, LinkMessage::Destroy(at.id));
            }
            return;
        };
        let others = List::from_slice(&[first]).unwrap_or_default();
        let boot = plane.welcome().boot;
        match plane.ask(&Request::ExtendCircuit(ExtendCircuit { boot, circuit, far, others })) {
            Ok(()) => {
                self.counters.extended += 1;
                self.table.set_far(circuit, Far::There(far));
                self.tell_client(circuit, &HopMessage::Extended(reply));
            }
            Err(PlaneError::Refused(..) | PlaneError::Gone(_)) => self.give_up(circuit, now, Reason::NoRoom),
        }
    }

    /// The next mix refuses: its id is free, nothing was made there.
    pub(super) fn on_create_failed(&mut self, at: LinkEnd, reason: Reason) {
        let asked = self.table.find(at).filter(|(_, found)| matches!(found.far, Far::Asked { .. }));
        let Some((circuit, _)) = asked else { return self.refused("created unasked") };
        self.table.set_far(circuit, Far::None);
        self.extend_failed(circuit, reason);
    }

    /// No longer than this after all; what the next mix has made ends.
    pub(super) fn give_up(&mut self, circuit: u32, now: Now, reason: Reason) {
        if let Some(at) = self.table.get(circuit).and_then(|found| found.far.at()) {
            self.table.set_far(circuit, Far::None);
            self.drains.begin(at.link, at.id, now.mono_ns);
        }
        self.refused(reason.name());
        self.extend_failed(circuit, reason);
    }

    pub(super) fn extend_failed(&mut self, circuit: u32, reason: Reason) {
        self.tell_client(circuit, &HopMessage::ExtendFailed(reason));
    }
}
