//! A client's side of circuits.
//!
//! ```text
//! builder/path.rs   one circuit: its hops' layers, cells there and back
//! builder/setup.rs  CREATE, EXTEND, and their answers
//! ```

mod path;
mod setup;

use super::ids::{Drains, Space};
use super::keys::{KeyStore, Told};
use super::limits::*;
use super::messages::{HopMessage, LinkMessage, Reason};
use super::outbox::Outbox;
use crate::channel::{Delivery, SendError};
use crate::link::Neighbours;
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::Zones;
use drover_dtls::certificate::NodeId;
use drover_wire::control::{EndSecret, LinkEnd, List, Punt, PutEnd, Refusal, Request};
use path::{Path, State};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A circuit of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitHandle(pub u32);

/// What happened on this client's circuits.
#[derive(Clone, Debug)]
pub enum BuilderEvent {
    /// The whole path is there.
    Ready {
        /// The circuit.
        circuit: CircuitHandle,
        /// From [`Builder::open`] to now, ms.
        took_ms: f64,
    },
    /// A message of a hop (0 is the nearest), of a kind that is not this module's own.
    Message {
        /// The circuit.
        circuit: CircuitHandle,
        /// Which hop.
        hop: usize,
        /// Its kind ([`crate::message::hop`]).
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// It could not be built, or is gone; why, for people.
    Gone {
        /// The circuit.
        circuit: CircuitHandle,
        /// Why.
        why: String,
    },
}

/// What a builder has done and refused: totals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BuilderCounters {
    /// Circuits that became ready.
    pub ready: u64,
    /// Circuits that did not, or ended otherwise than by [`Builder::close`].
    pub gone: u64,
    /// Cells and messages refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The circuits of a client.
pub struct Builder {
    me: NodeId,
    zones: Arc<Zones>,
    keys: KeyStore,
    /// When keys were last asked for on a link, monotonic ns.
    asked: BTreeMap<u32, u64>,
    space: Space,
    /// Circuits begun: as many as the mix will make longer.
    begun: Bucket,
    paths: BTreeMap<CircuitHandle, Path>,
    at: BTreeMap<(u32, u32), CircuitHandle>,
    drains: Drains,
    outbox: Outbox,
    events: VecDeque<BuilderEvent>,
    counters: BuilderCounters,
    next: u32,
    now: Now,
}

impl Builder {
    /// No circuits yet. `me` is this client: the first hop's handshake is bound to it.
    pub fn new(me: NodeId, zones: Arc<Zones>, now: Now) -> Builder {
        Builder {
            me,
            zones,
            keys: KeyStore::default(),
            asked: BTreeMap::new(),
            space: Space::default(),
            begun: Bucket::new(1_000_000_000 / u64::from(EXTENDS.0), EXTENDS.1 - 1),
            paths: BTreeMap::new(),
            at: BTreeMap::new(),
            drains: Drains::default(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            counters: BuilderCounters::default(),
            next: 0,
            now,
        }
    }

    /// Begins a circuit over `link` along `path`, the link's own mix first; `admitted` ones own slots all along. Work is
    /// done at the next [`Builder::on_tick`]. Beyond [`CIRCUITS_BUILT`] circuits it is gone at once.
    pub fn open(&mut self, now: Now, link: u32, path: [NodeId; super::PATH], admitted: bool) -> CircuitHandle {
        self.now = now;
        self.next = self.next.wrapping_add(1);
        let handle = CircuitHandle(self.next);
        if self.paths.len() >= CIRCUITS_BUILT {
            self.event_gone(handle, "too many circuits".to_owned());
        } else {
            self.paths.insert(handle, Path::new(link, path, admitted, now));
        }
        handle
    }

    /// Takes the neighbour's message; false when its kind is not this module's.
    pub fn on_link_message(
        &mut self,
        plane: &mut dyn Plane,
        links: &mut dyn Neighbours,
        now: Now,
        link: u32,
        kind: u8,
        bytes: &[u8],
    ) -> bool {
        self.now = now;
        let message = match LinkMessage::decode(kind, bytes) {
            None => return false,
            Some(Err(_)) => {
                self.refused(Reason::Malformed.name());
                return true;
            }
            Some(Ok(message)) => message,
        };
        match message {
            LinkMessage::Created(id, reply) => self.on_created(plane, links, now, LinkEnd { link, id }, &reply),
            LinkMessage::CreateFailed(id, reason) => self.on_create_failed(plane, now, LinkEnd { link, id }, reason),
            LinkMessage::Destroy(id) => {
                let (kind, bytes) = LinkMessage::Destroyed(id).encode();
                self.outbox.send(links, now, link, kind, bytes);
                if let Some(handle) = self.at.get(&(link, id)).copied() {
                    self.gone(plane, handle, Reason::Ended.name().to_owned());
                }
            }
            LinkMessage::Destroyed(id) => self.drains.destroyed(link, id),
            LinkMessage::Keys(keys) => {
                for key in &keys {
                    if self.keys.tell(&self.zones, now, key) == Told::Refused {
                        self.refused("keys");
                    }
                }
                let waiting = self.paths.values_mut().filter(|path| matches!(path.state, State::Waiting));
                waiting.for_each(|path| path.look_ns = now.mono_ns);
            }
            LinkMessage::Create(..) | LinkMessage::KeysWanted => self.refused(Reason::Forbidden.name()),
        }
        true
    }

    /// Takes what the data plane handed over; false when it is not for circuits.
    pub fn on_punt(&mut self, plane: &mut dyn Plane, now: Now, punt: &Punt<'_>) -> bool {
        let Punt::Relay { link, id, counter, body } = *punt else { return false };
        let Some(handle) = self.at.get(&(link, id)).copied() else { return false };
        self.now = now;
        if let Some(path) = self.paths.get_mut(&handle)
            && let Err(reason) = path.on_cell(now.mono_ns, counter, body)
        {
            self.refused(reason);
        }
        self.deliver(plane, now, handle);
        true
    }

    /// The link is gone, and all circuits over it.
    pub fn on_link_down(&mut self, plane: &mut dyn Plane, now: Now, link: u32) {
        self.now = now;
        self.drains.link_down(link);
        self.outbox.link_down(link);
        self.asked.remove(&link);
        let over: Vec<_> = self.paths.iter().filter(|(_, path)| path.link == link).map(|(at, _)| *at).collect();
        for handle in over {
            self.gone(plane, handle, Reason::Down.name().to_owned());
        }
        self.drains.link_down(link);
    }

    /// Does what is due.
    pub fn on_tick(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now) {
        self.now = now;
        self.outbox.on_tick(links, now);
        let handles: Vec<_> = self.paths.keys().copied().collect();
        for handle in handles {
            self.advance(plane, links, now, handle);
            self.deliver(plane, now, handle);
            if let Some(path) = self.paths.get_mut(&handle) {
                path.send_due(plane, now.mono_ns);
            }
        }
        while let Some((link, id)) = self.drains.due(now.mono_ns) {
            let (kind, bytes) = LinkMessage::Destroy(id).encode();
            match links.send(now, link, kind, &bytes) {
                Ok(_) => {}
                Err(Some(_)) => self.drains.again(link, id, now.mono_ns.saturating_add(AGAIN_NS)),
                Err(None) => self.drains.link_down(link),
            }
        }
    }

    /// When [`Builder::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let paths = self.paths.values().filter_map(|path| path.deadline());
        paths.chain(self.drains.deadline()).chain(self.outbox.deadline()).min()
    }

    /// Sends a message to a hop of a ready circuit; its number.
    ///
    /// # Errors
    /// [`SendError`]; `None` when there is no such circuit.
    pub fn send(
        &mut self,
        now: Now,
        circuit: CircuitHandle,
        hop: usize,
        kind: u8,
        bytes: &[u8],
    ) -> Result<u32, Option<SendError>> {
        let path = self.paths.get_mut(&circuit).filter(|path| matches!(path.state, State::Ready)).ok_or(None)?;
        path.send(now.mono_ns, hop, kind, bytes)
    }

    /// What happened.
    pub fn poll(&mut self) -> Option<BuilderEvent> {
        self.events.pop_front()
    }

    /// Hands a ready circuit over to the data plane as end number `end`: from now on it carries exactly its rate, and no
    /// message of this module any more.
    ///
    /// # Errors
    /// The data plane's; the circuit is as before then. [`Refusal::Unknown`] for one that is not ready.
    pub fn hand_over(
        &mut self,
        plane: &mut dyn Plane,
        circuit: CircuitHandle,
        end: u32,
        seal: EndSecret,
        open: EndSecret,
    ) -> Result<(), PlaneError> {
        let ready = self.paths.get_mut(&circuit).filter(|path| matches!(path.state, State::Ready));
        let Some((path, at)) = ready.and_then(|path| path.at.map(|at| (path, at))) else {
            return Err(PlaneError::Refused(Refusal::Unknown, "the circuit is not ready".to_owned()));
        };
        let boot = plane.welcome().boot;
        let layers: Vec<_> = path.layers().collect();
        let put = PutEnd {
            boot,
            end,
            generation: 1,
            at,
            send_first: path.counter,
            receive_first: None,
            layers: List::from_slice(&layers).unwrap_or_default(),
            seal,
            open,
        };
        plane.ask(&Request::RemoveTap { boot, at })?;
        if let Err(error) = plane.ask(&Request::PutEnd(put)) {
            plane.ask(&Request::PutTap { boot, at })?;
            return Err(error);
        }
        path.hand_over(end);
        Ok(())
    }

    /// Ends a circuit, handed over or not: removed here, DESTROY along the path. No event follows.
    pub fn close(&mut self, plane: &mut dyn Plane, links: &mut dyn Neighbours, now: Now, circuit: CircuitHandle) {
        self.now = now;
        if let Some(at) = self.remove(plane, circuit) {
            self.drains.begin(at.link, at.id, now.mono_ns);
        }
        self.on_tick(plane, links, now);
    }

    /// The counts.
    pub fn counters(&self) -> &BuilderCounters {
        &self.counters
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

    /// Messages of hops.
    fn deliver(&mut self, plane: &mut dyn Plane, now: Now, handle: CircuitHandle) {
        while let Some((hop, delivery)) = self.paths.get_mut(&handle).and_then(|path| path.poll(now.mono_ns)) {
            let Delivery::Message { kind, bytes } = delivery else { continue };
            match HopMessage::decode(kind, &bytes) {
                None => self.events.push_back(BuilderEvent::Message { circuit: handle, hop, kind, bytes }),
                Some(Ok(HopMessage::Extended(reply))) => self.on_extended(plane, now, handle, hop, &reply),
                Some(Ok(HopMessage::ExtendFailed(reason))) => self.on_extend_failed(plane, now, handle, hop, reason),
                Some(Ok(HopMessage::Truncated(reason))) => {
                    self.give_up(
                        plane,
                        now,
                        handle,
                        format!("hop {}: what lies beyond is gone ({})", hop + 1, reason.name()),
                    );
                }
                Some(Ok(HopMessage::Extend(..)) | Err(_)) => self.refused(Reason::Malformed.name()),
            }
        }
    }

    /// The circuit will not be, or is over: DESTROY, and an event.
    fn give_up(&mut self, plane: &mut dyn Plane, now: Now, handle: CircuitHandle, why: String) {
        if let Some(at) = self.paths.get(&handle).and_then(|path| path.at) {
            self.drains.begin(at.link, at.id, now.mono_ns);
        }
        self.gone(plane, handle, why);
    }

    /// It is gone, and the other side knows.
    fn gone(&mut self, plane: &mut dyn Plane, handle: CircuitHandle, why: String) {
        if self.paths.contains_key(&handle) {
            self.remove(plane, handle);
            self.event_gone(handle, why);
        }
    }

    fn event_gone(&mut self, circuit: CircuitHandle, why: String) {
        self.counters.gone += 1;
        self.events.push_back(BuilderEvent::Gone { circuit, why });
    }

    /// Takes a circuit off the data plane; where it was.
    fn remove(&mut self, plane: &mut dyn Plane, handle: CircuitHandle) -> Option<LinkEnd> {
        let path = self.paths.remove(&handle)?;
        let boot = plane.welcome().boot;
        let at = path.at?;
        // Errors: with its link, or its data plane, it is gone already.
        let _ = match path.state {
            State::Handed { end } => plane.ask(&Request::RemoveEnd { boot, end }),
            _ => plane.ask(&Request::RemoveTap { boot, at }),
        };
        self.at.remove(&(at.link, at.id));
        Some(at)
    }

    fn refused(&mut self, reason: &'static str) {
        *self.counters.refused.entry(reason).or_default() += 1;
    }
}
