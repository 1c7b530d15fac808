//! All links of a node: what comes in is sent to where it belongs, and what is due is done.

use super::gate::Gate;
use super::outer::{Attempts, Dial};
use super::table::{self, Link, SILENT_NS, Table, Talk};
use super::{LinkConfig, LinkCounters, LinkEvent, PeerInfo, class};
use crate::channel::{Channel, Delivery, SendError};
use crate::message::link as kind;
use crate::plane::{Now, Plane, PlaneError, dump};
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId, Role};
use drover_dtls::handshake::{Context, Groups};
use drover_wire::control::{Bytes, ClassKind, Dump, Inject, Punt, PutClass, Request};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// The links of one node.
pub struct Links {
    pub(super) config: LinkConfig,
    pub(super) identity: Arc<Identity>,
    pub(super) id: NodeId,
    pub(super) zones: Arc<Zones>,
    pub(super) context: Context,
    pub(super) gate: Gate,
    pub(super) table: Table,
    pub(super) outer: Attempts,
    pub(super) dials: Vec<Dial>,
    pub(super) events: VecDeque<LinkEvent>,
    pub(super) counters: LinkCounters,
    /// Jitter and session numbers; no key comes from it.
    pub(super) random: StdRng,
}

impl Links {
    /// No links yet.
    ///
    /// # Errors
    /// The handshake library refuses the identity.
    pub fn new(identity: Arc<Identity>, zones: Arc<Zones>, config: LinkConfig, now: Now) -> Result<Links, String> {
        let groups = groups(&config)?;
        let context =
            Context::new(&identity, &zones.authorities(), groups).map_err(|error| format!("handshakes: {error}"))?;
        let gate = Gate::new(Arc::clone(&identity), now)?;
        let id = identity.certificate().id();
        Ok(Links {
            config,
            identity,
            id,
            zones,
            context,
            gate,
            table: Table::new(),
            outer: Attempts::default(),
            dials: Vec::new(),
            events: VecDeque::new(),
            counters: LinkCounters::default(),
            random: StdRng::from_os_rng(),
        })
    }

    /// What this node is.
    pub(super) fn role(&self) -> Role {
        self.identity.certificate().role()
    }

    /// Takes the links that the data plane has: after a restart of this process. Puts the classes first.
    ///
    /// # Errors
    /// The data plane's.
    pub fn adopt(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        let boot = plane.welcome().boot;
        let zone = self.zones.own();
        let round_ns = table::round_ns(zone);
        let classes = [
            (class::CLIENT, ClassKind::Client, zone.client.slots),
            (class::ZONE, ClassKind::Zone, zone.within.slots),
            (class::PAIR, ClassKind::Pair, zone.pair.slots),
        ];
        // A client has links to its mix only.
        let classes = if self.role() == Role::Client { &classes[..1] } else { &classes[..] };
        for &(class, kind, slots) in classes {
            // Room to grow, so that a later document may raise the rate (W-CTL, PutClass).
            let slots_max = slots.saturating_mul(4);
            let put = PutClass { boot, class, kind, round_ns, slots, slots_max, at_ns: 0 };
            plane.ask(&Request::PutClass(put))?;
        }
        for object in dump(plane, Dump::Links)? {
            self.adopt_link(plane, now, &object);
        }
        Ok(())
    }

    /// Wants a link to this peer from now on: dialled until it is there, and again when it is lost. Between two mixes the
    /// smaller id dials at once, the other only when nothing comes.
    pub fn dial(&mut self, remote: SocketAddr, peer: NodeId, now: Now) {
        self.want(remote.into(), peer, now);
    }

    /// Takes what the data plane handed over; false when it is not for links.
    pub fn on_punt(&mut self, plane: &mut dyn Plane, now: Now, punt: &Punt<'_>) -> bool {
        self.context.set_unix_time(now.unix_s);
        match *punt {
            Punt::Raw { worker, from, bytes } => self.on_raw(plane, now, (from, worker), bytes),
            Punt::Link { link, body } => self.on_cell(plane, now, link, body),
            Punt::Record { link, epoch, number, content_type, data } => {
                self.on_record(plane, now, link, (epoch, number), content_type, data);
            }
            Punt::Heard { link, generation } => self.on_heard(plane, now, link, generation),
            Punt::Silent { link } => self.on_silent(now, link),
            Punt::Hop { .. } | Punt::Relay { .. } => return false,
        }
        self.note_gone(now);
        true
    }

    fn on_cell(&mut self, plane: &mut dyn Plane, now: Now, number: u32, body: &[u8]) {
        let Some(Link { talk: Talk::Drover { channel, .. }, .. }) = self.table.get_mut(number) else { return };
        if channel.on_frame(now.mono_ns, body).is_err() {
            self.counters.refuse("frame");
        }
        self.deliver(plane, now, number);
        self.table.schedule(number);
    }

    /// Brings what a link's channel has to where it belongs.
    fn deliver(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        while let Some(Link { peer, talk: Talk::Drover { channel, .. }, .. }) = self.table.get_mut(number) {
            let (link, peer) = (number, *peer);
            match channel.poll(now.mono_ns) {
                None => return,
                Some(Delivery::Message { kind: kind::REKEY, bytes }) => self.on_rekey(plane, now, link, &bytes),
                Some(Delivery::Message { kind: kind::INSTALLED, bytes }) => self.on_installed(plane, now, link, &bytes),
                Some(Delivery::Message { kind: kind::REKEY_WANTED, bytes }) => self.on_rekey_wanted(now, link, &bytes),
                Some(Delivery::Message { kind, bytes }) => {
                    self.events.push_back(LinkEvent::Message { link, peer, kind, bytes });
                }
                Some(Delivery::Acknowledged(message)) => {
                    self.events.push_back(LinkEvent::Acknowledged { link, message });
                }
                Some(Delivery::GivenUp(message)) => self.events.push_back(LinkEvent::GivenUp { link, message }),
            }
        }
    }

    fn on_heard(&mut self, plane: &mut dyn Plane, now: Now, number: u32, generation: u32) {
        if let Some(link) = self.table.get_mut(number) {
            link.silent = None;
            let peer = link.peer.id;
            self.there(peer);
            self.on_generation_heard(plane, now, number, generation);
            self.table.schedule(number);
        }
    }

    /// Asks the data plane who is heard and who is silent: some of what it handed over was lost, and it says neither twice.
    ///
    /// # Errors
    /// The data plane's.
    pub fn look_again(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        for object in dump(plane, Dump::Links)? {
            let number = |of: &str| object[of].as_u64().and_then(|number| u32::try_from(number).ok());
            let Some(link) = number("link") else { continue };
            let was = self.table.get(link).map(|link| link.silent.is_some());
            match (was, object["silent"].as_bool(), number("heard")) {
                (Some(false), Some(true), _) => self.on_silent(now, link),
                (Some(_), Some(false), Some(heard)) => self.on_heard(plane, now, link, heard),
                _ => {}
            }
        }
        self.note_gone(now);
        Ok(())
    }

    fn on_silent(&mut self, now: Now, number: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        link.silent.get_or_insert(now.mono_ns);
        let peer = link.peer.id;
        self.table.schedule(number);
        self.lost(now, peer);
    }

    /// Does what is due: timers, renewals, frames of channels.
    pub fn on_tick(&mut self, plane: &mut dyn Plane, now: Now) {
        self.context.set_unix_time(now.unix_s);
        self.outer_tick(plane, now);
        // Each link once, however fast its time comes again.
        let mut turns = self.table.len();
        while let Some(number) = self.table.due(now.mono_ns) {
            self.serve(plane, now, number);
            self.table.schedule(number);
            turns = turns.saturating_sub(1);
            if turns == 0 {
                break;
            }
        }
        self.note_gone(now);
    }

    fn serve(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let Some(link) = self.table.get(number) else { return };
        if link.silent.is_some_and(|since| now.mono_ns.saturating_sub(since) >= SILENT_NS) {
            self.counters.refuse("silent");
            self.drop_link(plane, number);
            return;
        }
        match link.talk {
            Talk::Drover { .. } => {
                self.renewal_tick(plane, now, number);
                self.deliver(plane, now, number);
                self.send_frames(plane, now, number);
            }
            Talk::Foreign(_) => self.foreign_tick(plane, now, number),
        }
    }

    fn send_frames(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let (boot, cell) = (plane.welcome().boot, plane.welcome().cell);
        let Some(Link { talk: Talk::Drover { channel, .. }, .. }) = self.table.get_mut(number) else { return };
        let mut body = vec![0; usize::from(cell).saturating_sub(32)];
        while channel.take_frame(now.mono_ns, &mut body) {
            let Some(body) = Bytes::new(&body) else { return };
            // A cell that finds no room is as one lost on the way: it comes again.
            if let Err(PlaneError::Gone(_)) = plane.ask(&Request::Inject(Inject::Link { boot, link: number, body })) {
                return;
            }
        }
    }

    /// When [`Links::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        [self.table.deadline(), self.outer_deadline()].into_iter().flatten().min()
    }

    /// Sends a message to a neighbour; its number.
    ///
    /// # Errors
    /// [`SendError`]; `None` when there is no such link.
    pub fn send(&mut self, now: Now, link: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        let Some(Link { talk: Talk::Drover { channel, .. }, .. }) = self.table.get_mut(link) else { return Err(None) };
        let sent = channel.send(now.mono_ns, kind, bytes).map_err(Some);
        self.table.schedule(link);
        sent
    }

    /// What happened.
    pub fn poll(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }
    /// The link to this peer.
    pub fn link_of(&self, peer: NodeId) -> Option<u32> {
        self.table.of_peer(peer).map(|link| link.number)
    }
    /// Who is at the other end of a link.
    pub fn peer_of(&self, link: u32) -> Option<PeerInfo> {
        self.table.get(link).map(|link| link.peer)
    }
    /// Takes a link down: removed on the data plane, [`LinkEvent::Down`] follows.
    pub fn drop_link(&mut self, plane: &mut dyn Plane, link: u32) {
        let boot = plane.welcome().boot;
        let Some(removed) = self.table.remove(link) else { return };
        if plane.ask(&Request::RemoveLink { boot, link }).is_err() {
            self.counters.refuse("plane");
        }
        self.events.push_back(LinkEvent::Down { link, peer: removed.peer });
        self.gone(removed.peer.id);
    }
    /// Whether, on this link, the smaller half of the circuit ids is ours (`docs/wire.md`, W-CELL-5).
    pub fn lower_ids_are_ours(&self, link: u32) -> bool {
        self.peer_of(link).is_some_and(|peer| self.id < peer.id)
    }
    /// The counts.
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// A channel for a link of this class.
    pub(super) fn channel(&mut self, plane: &dyn Plane, class: u16) -> Channel {
        Channel::new(table::limits(self.zones.own(), plane.welcome().cell, class), self.random.random())
    }
    /// Time between two renewals of keys, ns, without jitter.
    pub(super) fn rekey_ns(&self) -> f64 {
        self.config.rekey_s.unwrap_or(f64::from(self.zones.own().rekey_s)).max(0.01) * 1e9
    }
    /// `time` in ns, a quarter more or less.
    pub(super) fn jittered(&mut self, time: f64) -> u64 {
        (time * self.random.random_range(0.75..1.25)) as u64
    }
}

#[cfg(feature = "lab")]
fn groups(config: &LinkConfig) -> Result<Groups, String> {
    Ok(if config.also_x25519 { Groups::AlsoX25519 } else { Groups::PostQuantum })
}

#[cfg(not(feature = "lab"))]
fn groups(config: &LinkConfig) -> Result<Groups, String> {
    match config.also_x25519 || config.key_log.is_some() {
        true => Err("X25519 alone and key logs are for lab builds: build with --features lab".to_owned()),
        false => Ok(Groups::PostQuantum),
    }
}
