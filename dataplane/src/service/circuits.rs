//! Circuits through this mix, those that end here, and links of a mix to itself: from puts to commands.

use crate::command::{Command, LayerStep, NewEgress, NewIngress, NewLoop, NewLoopEnd, Next};
use crate::owners::Owners;
use crate::service::hops::{Hop, OwnCells};
use crate::service::installed::{Installation, Use};
use crate::service::requests::Service;
use crate::service::shadow::{CircuitSpec, Extension, HopIds, LegSpec, Plan, Refused, Side, refuse};
use crate::terminal::Terminal;
use drover_crypto::schedule::LayerSecret;
use drover_crypto::{Layers, Suite};
use drover_wire::control::{BootId, ExtendCircuit, Leg, LinkEnd, List, PutCircuit, PutLoop};
use rand::Rng;

impl<C: Suite, T: Terminal> Service<C, T> {
    pub(super) fn put_circuit(&mut self, put: &PutCircuit) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        let [forward, backward] = [&put.forward, &put.backward].map(|leg| LayerSecret(leg.key.0));
        let own = put.hop.as_ref().map(OwnCells::new);
        let hop =
            own.as_ref().map(|own| HopIds { macs: [own.forward.key_id(), own.backward.key_id()], first: own.next });
        let spec = CircuitSpec {
            generation: put.generation,
            near: put.near,
            far: put.far,
            legs: [leg_spec(&put.forward, &forward), leg_spec(&put.backward, &backward)],
            hop,
            owner: put.owner,
        };
        let Plan::Do(()) = self.shadow.check_circuit(put.circuit, &spec, crate::run::now())? else { return Ok(()) };
        self.check_backlog()?;
        let layers = spec.legs.iter().map(|leg| (Use::Layer, leg.key));
        let macs = hop.iter().flat_map(|hop| hop.macs).map(|mac| (Use::HopMac, mac));
        let installations: Vec<Installation> = layers.chain(macs).collect();
        self.installed.check(&format!("circuit {}", put.circuit), &installations)?;
        self.installed.add(&installations);
        let Some((near, far)) = self.shadow.commit_circuit(put.circuit, spec) else { return Ok(()) };
        // Where cells leave first, so that none comes in with nowhere to go.
        self.add_egress(&near, put.near.link, put.backward.admitted, None);
        if let (Some(side), Some(end)) = (far, put.far) {
            self.add_egress(&side, end.link, put.forward.admitted, None);
        }
        let next = far.zip(put.far).map_or(Next::Nowhere, |(side, end)| next_of(&side, end));
        let new = way_in::<C>(&near, put.near, LayerStep::Peel, &forward, &put.forward, next);
        self.add_ingress(near.ingress.worker, put.near.link, new);
        if let (Some(side), Some(end)) = (far, put.far) {
            let next = next_of(&near, put.near);
            let new = way_in::<C>(&side, end, LayerStep::Add, &backward, &put.backward, next);
            self.add_ingress(side.ingress.worker, end.link, new);
        }
        if own.is_some() || far.is_none() {
            let layer = Box::new([C::Layers::key(&backward)]);
            self.hops.insert(put.circuit, Hop { backward, layer, offset: put.backward.offset, own });
        }
        Ok(())
    }

    pub(super) fn extend_circuit(&mut self, put: &ExtendCircuit) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        let extension = Extension { far: put.far, others: put.others.clone() };
        let plan = self.shadow.check_extension(put.circuit, &extension, crate::run::now())?;
        let Plan::Do(()) = plan else { return Ok(()) };
        self.check_backlog()?;
        let Some(hop) = self.hops.get(&put.circuit) else {
            refuse!(Unknown, "circuit {}: it was not put without a far side", put.circuit);
        };
        let key = C::Layers::key(&hop.backward);
        let makes_cells = hop.own.is_some();
        let Some(entry) = self.shadow.commit_extension(put.circuit, extension) else { return Ok(()) };
        let (near, spec) = (entry.near, entry.spec);
        let Some(far) = entry.far else { return Ok(()) };
        self.add_egress(&far, put.far.link, spec.legs[0].admitted, None);
        let new = NewIngress {
            index: far.ingress.index,
            link: 0,
            circuit: put.far.id,
            step: LayerStep::Add,
            key: Some(key),
            first: spec.legs[1].first,
            offset: spec.legs[1].offset,
            next: next_of(&near, spec.near),
            others: put.others.clone(),
        };
        self.add_ingress(far.ingress.worker, put.far.link, new);
        let next = next_of(&far, put.far);
        self.push(near.ingress.worker, Command::SetNext { index: near.ingress.index, next });
        if !makes_cells {
            self.hops.remove(&put.circuit);
        }
        Ok(())
    }

    pub(super) fn put_tap(&mut self, boot: BootId, at: LinkEnd) -> Result<(), Refused> {
        self.check_boot(boot)?;
        let Plan::Do(()) = self.shadow.check_tap(at)? else { return Ok(()) };
        self.check_backlog()?;
        let Some(place) = self.shadow.commit_tap(at) else { return Ok(()) };
        let new = NewIngress {
            index: place.index,
            link: 0,
            circuit: at.id,
            step: LayerStep::Tap,
            key: None,
            first: None,
            offset: 0,
            next: Next::Nowhere,
            others: List::default(),
        };
        self.add_ingress(place.worker, at.link, new);
        Ok(())
    }

    pub(super) fn put_loop(&mut self, put: &PutLoop) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        let now = crate::run::now();
        let Plan::Do(plan) = self.shadow.check_loop(put, now)? else { return Ok(()) };
        self.check_backlog()?;
        let places = self.shadow.commit_loop(put, plan);
        let class = &self.shadow.classes()[usize::from(plan.class)];
        let (slots, slots_max) = (class.room_at(now), class.slots_max);
        let ends = [(put.a, places[0]), (put.b, places[1])].map(|(id, place)| NewLoopEnd {
            index: place.index,
            id,
            phase: self.rng.random(),
            owners: Some(Owners::new(slots, slots_max)),
        });
        self.push(plan.worker, Command::AddLoop(Box::new(NewLoop { class: plan.class, ends })));
        Ok(())
    }

    pub(super) fn add_egress(&mut self, side: &Side, link: u32, admitted: bool, end: Option<(u32, u32)>) {
        let Some(link) = self.shadow.link(link).map(|entry| entry.place.index) else { return };
        let new = NewEgress { index: side.egress.index, tag: side.tag, link, admitted, end };
        self.push(side.egress.worker, Command::AddEgress(new));
    }

    pub(super) fn add_ingress(&mut self, worker: u8, link: u32, new: NewIngress<C::Layers>) {
        let Some(link) = self.shadow.link(link).map(|entry| entry.place.index) else { return };
        self.push(worker, Command::AddIngress(Box::new(NewIngress { link, ..new })));
    }
}

/// A way in of a circuit; its link's index is filled in later.
fn way_in<C: Suite>(
    side: &Side,
    at: LinkEnd,
    step: LayerStep,
    key: &LayerSecret,
    leg: &Leg,
    next: Next,
) -> NewIngress<C::Layers> {
    NewIngress {
        index: side.ingress.index,
        link: 0,
        circuit: at.id,
        step,
        key: Some(C::Layers::key(key)),
        first: leg.first,
        offset: leg.offset,
        next,
        others: List::default(),
    }
}

/// Out by this side.
fn next_of(side: &Side, end: LinkEnd) -> Next {
    Next::Egress { worker: side.egress.worker, index: side.egress.index, tag: side.tag, circuit: end.id }
}

fn leg_spec(leg: &Leg, key: &LayerSecret) -> LegSpec {
    LegSpec { key: key.key_id(), first: leg.first, offset: leg.offset, admitted: leg.admitted }
}
