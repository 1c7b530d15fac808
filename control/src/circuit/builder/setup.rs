//! How a client's circuit grows hop by hop (`docs/wire.md`, W-CRT-2, W-CRT-3).

use super::path::{Path, State};
use super::{Builder, BuilderEvent, CircuitHandle};
use crate::circuit::PATH;
use crate::circuit::limits::{AGAIN_NS, EXTENDS_CLIENT, KEYS_AGAIN_NS, WRONG_KEYS, round_ns};
use crate::circuit::messages::{HopMessage, LinkMessage, Reason, SetupReply};
use crate::circuit::ntor::{Client, Parties};
use crate::link::Neighbours;
use crate::plane::{Now, Plane};
use drover_wire::control::{LinkEnd, Request};

impl Builder {
    /// Asks the next hop, when there is one and its key is known.
    pub(super) fn advance(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        handle: CircuitHandle,
    ) {
        let Some(path) = self.paths.get(&handle) else { return };
        let (link, hop, opened) = (path.link, path.hop(), path.opened);
        match path.state {
            State::Waiting | State::Asked(_) if path.too_late_ns() <= now.mono_ns => {
                let after_s = (now.mono_ns - opened.mono_ns) / 1_000_000_000;
                return self.give_up(plane, now, handle, format!("hop {}: no answer after {after_s} s", hop + 1));
            }
            State::Waiting if hop == 0 && links.peer_of(link).map(|peer| peer.id) != Some(path.path[0]) => {
                return self.give_up(plane, now, handle, "no link to the path's first mix".to_owned());
            }
            State::Waiting => {}
            _ => return,
        }
        let mix = path.path[hop];
        if self.zones.mix(mix).is_none() {
            return self.give_up(plane, now, handle, format!("hop {}: no zone document lists this mix", hop + 1));
        }
        let key = self.keys.get(mix, now.unix_s).map(|key| (key.key, key.public));
        let Some(key) = key else { return self.ask_for_keys(links, now, handle) };
        if hop == 0 && !self.may_begin(now) {
            let Some(path) = self.paths.get_mut(&handle) else { return };
            path.look_ns = now.mono_ns.saturating_add(AGAIN_NS);
            return;
        }
        let Some(path) = self.paths.get(&handle) else { return };
        let previous = if hop == 0 { self.me } else { path.path[hop - 1] };
        match Client::begin(Parties { previous, hop: mix }, key, path.admitted, path.draw_first()) {
            Err(error) => self.give_up(plane, now, handle, error.to_string()),
            Ok(client) if hop == 0 => self.say_create(plane, links, now, handle, client),
            Ok(client) => self.say_extend(plane, now, handle, client),
        }
    }

    /// No more at once, and no faster, than the mix allows (W-CRT-12).
    fn may_begin(&mut self, now: Now) -> bool {
        let building = |path: &&Path| match path.state {
            State::Waiting => path.hop() > 0,
            State::Asked(_) => true,
            State::Ready | State::Handed { .. } => false,
        };
        self.paths.values().filter(building).count() < EXTENDS_CLIENT && self.begun.take(now.mono_ns)
    }

    fn ask_for_keys(&mut self, links: &mut dyn Neighbours, now: Now, handle: CircuitHandle) {
        let Some(path) = self.paths.get_mut(&handle) else { return };
        let asked = self.asked.get(&path.link).copied().filter(|at| at.saturating_add(KEYS_AGAIN_NS) > now.mono_ns);
        let asked = asked.unwrap_or_else(|| {
            let (kind, bytes) = LinkMessage::KeysWanted.encode();
            // No room: asked again next time.
            let _ = links.send(now, path.link, kind, &bytes);
            self.asked.insert(path.link, now.mono_ns);
            now.mono_ns
        });
        path.look_ns = asked.saturating_add(KEYS_AGAIN_NS);
    }

    fn say_create(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        handle: CircuitHandle,
        client: Client,
    ) {
        let Some(path) = self.paths.get_mut(&handle) else { return };
        let link = path.link;
        let free = |id| !self.at.contains_key(&(link, id)) && !self.drains.contains(link, id);
        let Some(id) = self.space.draw(links.lower_ids_are_ours(link), free) else {
            return self.give_up(plane, now, handle, "the link's circuit ids are used up".to_owned());
        };
        let (kind, bytes) = LinkMessage::Create(id, client.request().clone()).encode();
        match links.send(now, link, kind, &bytes) {
            Err(None) => return self.give_up(plane, now, handle, "the link is gone".to_owned()),
            Err(Some(_)) => {
                path.look_ns = now.mono_ns.saturating_add(AGAIN_NS);
                return;
            }
            Ok(_) => {}
        }
        path.state = State::Asked(Box::new(client));
        path.at = Some(LinkEnd { link, id });
        self.at.insert((link, id), handle);
    }

    fn say_extend(&mut self, plane: &mut dyn Plane, now: Now, handle: CircuitHandle, client: Client) {
        let Some(path) = self.paths.get_mut(&handle) else { return };
        let hop = path.hop();
        let (kind, bytes) = HopMessage::Extend(path.path[hop], client.request().clone()).encode();
        match path.send(now.mono_ns, hop - 1, kind, &bytes) {
            Ok(_) => path.state = State::Asked(Box::new(client)),
            Err(_) => self.give_up(plane, now, handle, "the channel takes no message".to_owned()),
        }
    }

    /// The first hop has answered.
    pub(super) fn on_created(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        at: LinkEnd,
        reply: &SetupReply,
    ) {
        let handle = self.at.get(&(at.link, at.id)).copied();
        let asked = |handle: &CircuitHandle| {
            self.paths.get(handle).is_some_and(|path| path.hop() == 0 && matches!(path.state, State::Asked(_)))
        };
        let Some(handle) = handle.filter(asked) else {
            self.refused("created unasked");
            if handle.is_none() && !self.drains.contains(at.link, at.id) {
                let (kind, bytes) = LinkMessage::Destroy(at.id).encode();
                self.outbox.send(links, now, at.link, kind, bytes);
            }
            return;
        };
        let boot = plane.welcome().boot;
        if let Err(error) = plane.ask(&Request::PutTap { boot, at }) {
            return self.give_up(plane, now, handle, error.to_string());
        }
        self.take_reply(plane, now, handle, reply);
        self.advance(plane, links, now, handle);
    }

    /// A hop says that the next one has answered.
    pub(super) fn on_extended(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        handle: CircuitHandle,
        hop: usize,
        reply: &SetupReply,
    ) {
        if self.asked_of(handle, hop) {
            self.take_reply(plane, now, handle, reply);
        } else {
            self.refused("extended unasked");
        }
    }

    /// Whether an EXTEND waits for this hop's answer.
    fn asked_of(&self, handle: CircuitHandle, hop: usize) -> bool {
        self.paths.get(&handle).is_some_and(|path| path.hop() == hop + 1 && matches!(path.state, State::Asked(_)))
    }

    fn take_reply(&mut self, plane: &mut dyn Plane, now: Now, handle: CircuitHandle, reply: &SetupReply) {
        let Some(path) = self.paths.get_mut(&handle) else { return };
        let State::Asked(client) = std::mem::replace(&mut path.state, State::Waiting) else { return };
        let hop = path.hop();
        let secrets = match client.finish(reply) {
            Ok(secrets) => secrets,
            Err(error) => return self.give_up(plane, now, handle, format!("hop {}: {error}", hop + 1)),
        };
        let round_ns = round_ns(self.zones.own().rate);
        path.add_hop(&secrets, client.request().first, plane.welcome().cell, round_ns, now.mono_ns);
        path.look_ns = now.mono_ns;
        if path.hop() == PATH {
            path.state = State::Ready;
            let took_ms = now.mono_ns.saturating_sub(path.opened.mono_ns) as f64 / 1e6;
            self.counters.ready += 1;
            self.events.push_back(BuilderEvent::Ready { circuit: handle, took_ms });
        }
    }

    /// The first hop refuses: its id is free.
    pub(super) fn on_create_failed(&mut self, plane: &mut dyn Plane, now: Now, at: LinkEnd, reason: Reason) {
        let handle = self.at.get(&(at.link, at.id)).copied();
        let Some(handle) = handle.filter(|handle| self.paths.get(handle).is_some_and(|path| path.hop() == 0)) else {
            return self.refused("created unasked");
        };
        self.at.remove(&(at.link, at.id));
        if let Some(path) = self.paths.get_mut(&handle) {
            path.at = None;
        }
        self.hop_failed(plane, now, handle, 0, reason);
    }

    /// A hop says that the next one cannot be had.
    pub(super) fn on_extend_failed(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        handle: CircuitHandle,
        hop: usize,
        reason: Reason,
    ) {
        if self.asked_of(handle, hop) {
            self.hop_failed(plane, now, handle, hop + 1, reason);
        } else {
            self.refused("extended unasked");
        }
    }

    /// Keys are asked for again when they were old; anything else is the end.
    fn hop_failed(&mut self, plane: &mut dyn Plane, now: Now, handle: CircuitHandle, hop: usize, reason: Reason) {
        let Some(path) = self.paths.get_mut(&handle) else { return };
        path.wrong_keys += 1;
        if reason != Reason::WrongKey || path.wrong_keys > WRONG_KEYS {
            return self.give_up(plane, now, handle, format!("hop {}: refused ({})", hop + 1, reason.name()));
        }
        path.state = State::Waiting;
        path.look_ns = now.mono_ns;
        self.keys.forget(path.path[hop]);
        self.asked.remove(&path.link);
    }
}
