//! How circuits end (`docs/wire.md`, W-CRT-9): DESTROY, links that go down, time that runs out.

use super::table::{Closing, Far};
use super::{HopEvent, Hops, remove_circuit};
use crate::circuit::limits::{AGAIN_NS, DESTROY_DELAY_NS, random};
use crate::circuit::messages::{HopMessage, LinkMessage, Reason};
use crate::link::Neighbours;
use crate::plane::{Now, Plane};
use drover_wire::control::LinkEnd;

/// What a neighbour is told of a circuit's end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Nothing: its link is gone.
    Nothing,
    /// DESTROYED: it has said DESTROY itself.
    Answer,
    /// DESTROY, at this instant.
    Destroy(u64),
}

impl Side {
    /// DESTROY after a random time, so that a circuit's end on one link does not tell its end on another (Herd 3.4).
    pub fn later(now: Now) -> Side {
        Side::Destroy(soon(now))
    }
}

fn soon(now: Now) -> u64 {
    now.mono_ns.saturating_add(random() % DESTROY_DELAY_NS)
}

impl Hops {
    /// Ends a circuit here and now.
    pub(super) fn end(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        circuit: u32,
        near: Side,
        far: Side,
    ) {
        let Some(gone) = self.table.remove(circuit) else { return };
        if remove_circuit(plane, circuit) {
            self.removals.push(circuit);
        }
        self.side_ends(links, now, Some(gone.near), near);
        let far_waits = gone.closing.is_some_and(|closing| closing.far_waits);
        self.side_ends(links, now, gone.far.at(), if far_waits { Side::Answer } else { far });
        self.counters.destroyed += 1;
        self.events.push_back(HopEvent::Gone { circuit });
    }

    fn side_ends(&mut self, links: &mut dyn Neighbours, now: Now, at: Option<LinkEnd>, side: Side) {
        match (at, side) {
            (None, _) | (_, Side::Nothing) => {}
            (Some(at), Side::Answer) => drop(self.say(links, now, at.link, LinkMessage::Destroyed(at.id))),
            (Some(at), Side::Destroy(at_ns)) => self.drains.begin(at.link, at.id, at_ns),
        }
    }

    /// A neighbour ends a circuit.
    pub(super) fn on_destroy(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, at: LinkEnd) {
        // One that waits for its turn never was.
        self.creates.retain(|waiting| (waiting.from.0, waiting.id) != (at.link, at.id));
        let found = self.table.find(at).map(|(circuit, found)| (circuit, found.near == at, found.far));
        match found {
            None => drop(self.say(links, now, at.link, LinkMessage::Destroyed(at.id))),
            Some((circuit, true, _)) => self.end(plane, links, now, circuit, Side::Answer, Side::later(now)),
            Some((circuit, false, Far::Asked { .. })) => {
                self.table.set_far(circuit, Far::None);
                self.extend_failed(circuit, Reason::Ended);
                self.say(links, now, at.link, LinkMessage::Destroyed(at.id));
            }
            Some((circuit, false, _)) => self.truncate(now, circuit, Reason::Ended, true),
        }
    }

    /// What lies beyond is gone: the circuit ends soon, and the client is told at once where it still listens.
    fn truncate(&mut self, now: Now, circuit: u32, reason: Reason, far_waits: bool) {
        let Some(found) = self.table.get_mut(circuit) else { return };
        let client = found.client;
        if let Some(closing) = &mut found.closing {
            closing.far_waits |= far_waits;
            return;
        }
        found.closing = Some(Closing { at_ns: soon(now), far_waits });
        if client {
            self.tell_client(circuit, &HopMessage::Truncated(reason));
        }
        self.table.reset(circuit);
    }

    /// A link is gone, and all that went over it.
    pub(super) fn link_down(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, link: u32) {
        self.mixes.remove(&link);
        self.extends.remove(&link);
        self.asks.remove(&link);
        self.creates.retain(|waiting| waiting.from.0 != link);
        self.reserved.retain(|at, _| at.0 != link);
        self.drains.link_down(link);
        self.outbox.link_down(link);
        for circuit in self.table.over(link) {
            let Some(found) = self.table.get(circuit) else { continue };
            match found.far {
                _ if found.near.link == link => {
                    let far = if found.far.at().is_some_and(|far| far.link == link) {
                        Side::Nothing
                    } else {
                        Side::later(now)
                    };
                    self.end(plane, links, now, circuit, Side::Nothing, far);
                }
                Far::Asked { .. } => {
                    self.table.set_far(circuit, Far::None);
                    self.refused(Reason::Down.name());
                    self.extend_failed(circuit, Reason::Down);
                }
                _ => {
                    self.table.set_far(circuit, Far::Lost);
                    self.truncate(now, circuit, Reason::Down, false);
                }
            }
        }
    }

    /// What is due on a circuit by time; true when it has ended.
    pub(super) fn on_time(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        circuit: u32,
    ) -> bool {
        let Some(found) = self.table.get(circuit) else { return true };
        if let Some(closing) = found.closing {
            if closing.at_ns <= now.mono_ns {
                self.end(plane, links, now, circuit, Side::Destroy(now.mono_ns), Side::later(now));
                return true;
            }
            return false;
        }
        if found.idle_at().is_some_and(|at| at <= now.mono_ns) {
            self.refused("idle");
            self.end(plane, links, now, circuit, Side::Destroy(now.mono_ns), Side::Nothing);
            return true;
        }
        if matches!(found.far, Far::Asked { until_ns, .. } if until_ns <= now.mono_ns) {
            self.give_up(circuit, now, Reason::Timeout);
        }
        false
    }

    /// DESTROY for an id that is being given back.
    pub(super) fn say_destroy(&mut self, links: &mut dyn Neighbours, now: Now, link: u32, id: u32) {
        let message = LinkMessage::Destroy(id);
        if let Some(other) = super::other_end(link) {
            self.local.push_back((other, message));
            return;
        }
        let (kind, bytes) = message.encode();
        match links.send(now, link, kind, &bytes) {
            Ok(_) => {}
            // Not by way of the outbox: it may not be said again while an earlier one waits.
            Err(Some(_)) => self.drains.again(link, id, now.mono_ns.saturating_add(AGAIN_NS)),
            Err(None) => self.drains.link_down(link),
        }
    }
}
