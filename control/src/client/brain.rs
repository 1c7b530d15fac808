//! A client's link, circuits and calls, wired together. No I/O of its own: punts and time come in, requests go to a
//! [`Plane`].

use super::counters::EndCounters;
use super::line::ControlSide;
use crate::call::calls::{CallCounters, CallEvent, CallView, Calls};
use crate::call::halves::Halves;
use crate::circuit::builder::{Builder, BuilderEvent, CircuitHandle};
use crate::link::{LinkCounters, LinkEvent, Links};
use crate::plane::{Now, Plane, PlaneError};
use crate::zone::MixEntry;
use drover_dtls::certificate::NodeId;
use drover_wire::control::{EndSecret, Punt};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;

/// Times of handshakes kept for the status.
const TIMES_MAX: usize = 64;
/// Which hop of a circuit the rendezvous mix is.
const RENDEZVOUS: usize = 1;

/// The end that carries calls, as the agent has it.
pub struct CallEnd {
    /// Its words.
    pub control: ControlSide,
    /// Its counts.
    pub counters: Arc<EndCounters>,
}

/// What the agent knows of its data plane.
pub struct Brain {
    links: Links,
    builder: Builder,
    calls: Calls,
    end: CallEnd,
    mix: (NodeId, String),
    /// The link to our mix while there is one.
    link: Option<u32>,
    handshakes_ms: Vec<f64>,
    events: VecDeque<CallEvent>,
    /// The end's counts when the call began.
    before: Packets,
}

/// A call's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// RTP packets sent in cells.
    pub sent: u64,
    /// RTP packets received.
    pub received: u64,
    /// Cells received, filler and call control among them.
    pub cells: u64,
    /// Cells of the peer that did not arrive.
    pub lost: u64,
}

/// How the client is: for its user alone (I10).
#[derive(Serialize)]
pub struct BrainStatus<'b> {
    /// The mix that it has a link to.
    pub mix: &'b str,
    /// That link is up.
    pub link: bool,
    /// The call.
    pub call: CallView,
    /// The call's packets so far.
    pub packets: Packets,
    /// The last handshakes' times, ms.
    pub handshakes_ms: &'b [f64],
    /// What links did.
    pub links: &'b LinkCounters,
    /// What calls did.
    pub calls: &'b CallCounters,
}

/// A client's circuits and its call's end, as [`Calls`] sees them.
struct Port<'p> {
    plane: &'p mut dyn Plane,
    links: &'p mut Links,
    builder: &'p mut Builder,
    end: &'p mut CallEnd,
    mix: NodeId,
    link: Option<u32>,
}

impl Halves for Port<'_> {
    fn open(&mut self, now: Now, rendezvous: NodeId, admitted: bool) -> Option<CircuitHandle> {
        Some(self.builder.open(now, self.link?, [self.mix, rendezvous], admitted))
    }
    fn send(&mut self, now: Now, circuit: CircuitHandle, kind: u8, bytes: &[u8]) -> bool {
        self.builder.send(now, circuit, RENDEZVOUS, kind, bytes).is_ok()
    }
    fn hand_over(&mut self, circuit: CircuitHandle, seal: EndSecret, open: EndSecret) -> Result<(), String> {
        // What the last call said has nothing to do with this one.
        while self.end.control.hear(|_| ()).is_some() {}
        let end = self.end.control.id();
        self.builder.hand_over(self.plane, circuit, end, seal, open).map_err(|error| error.to_string())
    }
    fn close(&mut self, now: Now, circuit: CircuitHandle) {
        self.builder.close(self.plane, self.links, now, circuit);
    }
    fn say(&mut self, word: &[u8]) -> bool {
        self.end.control.say(word)
    }
    fn hear(&mut self) -> Option<Vec<u8>> {
        self.end.control.hear(<[u8]>::to_vec)
    }
    fn heard(&self) -> u64 {
        Packets::of(&self.end.counters).cells
    }
}

impl Packets {
    fn of(counters: &EndCounters) -> Packets {
        let cells = [&counters.rtp_received, &counters.fillers_received, &counters.control_received];
        Packets {
            sent: counters.rtp_sent.get(),
            received: counters.rtp_received.get(),
            cells: cells.iter().map(|count| count.get()).sum(),
            lost: counters.cells_lost.get(),
        }
    }

    fn since(&self, before: &Packets) -> Packets {
        Packets {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            cells: self.cells.saturating_sub(before.cells),
            lost: self.lost.saturating_sub(before.lost),
        }
    }
}

impl Brain {
    /// Puts the classes, and wants a link to `mix` from now on.
    ///
    /// # Errors
    /// The data plane's.
    pub fn begin(
        mut links: Links,
        builder: Builder,
        calls: Calls,
        end: CallEnd,
        mix: &MixEntry,
        plane: &mut dyn Plane,
        now: Now,
    ) -> Result<Brain, PlaneError> {
        links.adopt(plane, now)?;
        let id = mix.certificate.id();
        links.dial(mix.address, id, now);
        let (handshakes_ms, events) = (Vec::new(), VecDeque::new());
        let before = Packets::of(&end.counters);
        let mix = (id, format!("{}/{}", mix.certificate.zone(), mix.name));
        Ok(Brain { links, builder, calls, end, mix, link: None, handshakes_ms, events, before })
    }

    /// Takes what the data plane handed over.
    pub fn on_punt(&mut self, plane: &mut dyn Plane, now: Now, punt: &Punt<'_>) {
        if !self.links.on_punt(plane, now, punt) {
            self.builder.on_punt(plane, now, punt);
        }
        self.settle(plane, now);
    }

    /// Some of what the data plane handed over was lost: asks for what it says only once.
    ///
    /// # Errors
    /// The data plane's.
    pub fn on_loss(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        self.links.look_again(plane, now)?;
        self.settle(plane, now);
        Ok(())
    }

    /// Does what is due.
    pub fn on_tick(&mut self, plane: &mut dyn Plane, now: Now) {
        self.links.on_tick(plane, now);
        self.settle(plane, now);
        self.builder.on_tick(plane, &mut self.links, now);
        self.with(plane, |calls, port| calls.on_tick(port, now));
        self.settle(plane, now);
    }

    /// When [`Brain::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        [self.links.deadline(), self.builder.deadline(), self.calls.deadline()].into_iter().flatten().min()
    }

    /// Does something with the calls: a command of the user.
    pub fn with<T>(&mut self, plane: &mut dyn Plane, what: impl FnOnce(&mut Calls, &mut dyn Halves) -> T) -> T {
        let Brain { links, builder, calls, end, mix, link, .. } = self;
        what(calls, &mut Port { plane, links, builder, end, mix: mix.0, link: *link })
    }

    /// Brings events from where they happen to where they matter, until there are none.
    pub fn settle(&mut self, plane: &mut dyn Plane, now: Now) {
        loop {
            if let Some(event) = self.links.poll() {
                self.on_link(plane, now, event);
            } else if let Some(event) = self.builder.poll() {
                // What is of calls is the rendezvous mix's to say; the mix before it only makes the circuit longer.
                if matches!(event, BuilderEvent::Message { hop, .. } if hop != RENDEZVOUS) {
                    continue;
                }
                self.with(plane, |calls, port| calls.on_circuit(port, now, &event));
            } else if let Some(event) = self.calls.poll() {
                self.on_call(event);
            } else {
                return;
            }
        }
    }

    fn on_link(&mut self, plane: &mut dyn Plane, now: Now, event: LinkEvent) {
        match event {
            LinkEvent::Up { link, peer, took_ms } if peer.id == self.mix.0 => {
                self.link = Some(link);
                self.handshakes_ms.truncate(TIMES_MAX - 1);
                self.handshakes_ms.insert(0, took_ms);
            }
            LinkEvent::Down { link, .. } => {
                self.builder.on_link_down(plane, now, link);
                self.link = self.link.filter(|up| *up != link);
            }
            LinkEvent::Message { link, kind, bytes, .. } => {
                self.builder.on_link_message(plane, &mut self.links, now, link, kind, &bytes);
            }
            LinkEvent::Up { .. }
            | LinkEvent::Rekeyed { .. }
            | LinkEvent::Acknowledged { .. }
            | LinkEvent::GivenUp { .. } => {}
        }
    }

    fn on_call(&mut self, event: CallEvent) {
        if let CallEvent::State(view) = &event
            && view.up_s.is_none()
        {
            self.before = Packets::of(&self.end.counters);
        }
        self.events.push_back(event);
    }

    /// What happened.
    pub fn poll(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    /// How it is.
    pub fn status(&self, now: Now) -> BrainStatus<'_> {
        BrainStatus {
            mix: &self.mix.1,
            link: self.link.is_some(),
            call: self.calls.view(now),
            packets: Packets::of(&self.end.counters).since(&self.before),
            handshakes_ms: &self.handshakes_ms,
            links: self.links.counters(),
            calls: self.calls.counters(),
        }
    }
}
