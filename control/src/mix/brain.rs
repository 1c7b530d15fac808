//! Links, circuits and rendezvous of a mix, wired together. No I/O of its own: punts and time come in, requests go to a
//! [`Plane`].

use crate::circuit::hops::{HopCounters, HopEvent, Hops};
use crate::link::{LinkConfig, LinkCounters, LinkEvent, Links, PeerInfo};
use crate::plane::{Now, Plane, PlaneError};
use crate::rendezvous::{Host, Rendezvous, RendezvousCounters};
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId};
use drover_wire::control::Punt;
use serde::Serialize;
use std::sync::Arc;

/// Times of handshakes kept for the status.
const TIMES_MAX: usize = 64;

/// What a mix's control daemon knows of one life of its data plane.
pub struct Brain {
    own: NodeId,
    zones: Arc<Zones>,
    links: Links,
    hops: Hops,
    rendezvous: Rendezvous,
    up: usize,
    adopted: usize,
    handshakes_ms: Vec<f64>,
}

/// Totals for status: no names, no single link (I10).
#[derive(Debug, Serialize)]
pub struct BrainStatus<'b> {
    /// Links that are there.
    pub links_up: usize,
    /// Of these, taken from the data plane at start.
    pub adopted_links: usize,
    /// The last handshakes' times, ms.
    pub handshakes_ms: &'b [f64],
    /// What links did.
    pub links: &'b LinkCounters,
    /// What circuits did.
    pub circuits: &'b HopCounters,
    /// What the rendezvous did.
    pub rendezvous: &'b RendezvousCounters,
}

impl Brain {
    /// Takes what the data plane already has, and wants links to the mixes of this zone and of those it is paired with.
    ///
    /// # Errors
    /// The handshake library refuses the identity, or the data plane what must be put.
    pub fn begin(
        identity: &Arc<Identity>,
        zones: &Arc<Zones>,
        config: LinkConfig,
        plane: &mut dyn Plane,
        now: Now,
    ) -> Result<Brain, String> {
        let links = Links::new(Arc::clone(identity), Arc::clone(zones), config, now)?;
        let hops = Hops::new(Arc::clone(identity), Arc::clone(zones), now);
        let rendezvous = Rendezvous::new(Arc::clone(identity), Arc::clone(zones), now);
        let own = identity.certificate().id();
        let zones = Arc::clone(zones);
        let mut brain = Brain { own, zones, links, hops, rendezvous, up: 0, adopted: 0, handshakes_ms: Vec::new() };
        let adopted = brain.adopt(plane, now);
        adopted.map_err(|error| format!("taking over what the data plane has: {error}"))?;
        brain.adopted = brain.up;
        for zone in brain.zones.all() {
            for mix in zone.mixes.iter().filter(|mix| mix.certificate.id() != own) {
                brain.links.dial(mix.address, mix.certificate.id(), now);
            }
        }
        Ok(brain)
    }

    fn adopt(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        self.links.adopt(plane, now)?;
        self.hops.adopt(plane, now)?;
        self.settle(plane, now);
        Ok(())
    }

    /// Takes what the data plane handed over.
    pub fn on_punt(&mut self, plane: &mut dyn Plane, now: Now, punt: &Punt<'_>) {
        if !self.links.on_punt(plane, now, punt) {
            self.hops.on_punt(plane, &mut self.links, now, punt);
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
        self.hops.on_tick(plane, &mut self.links, now);
        self.rendezvous.on_tick(&mut Host { plane, links: &mut self.links, hops: &mut self.hops, now });
        self.settle(plane, now);
    }

    /// When [`Brain::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        [self.links.deadline(), self.hops.deadline(), self.rendezvous.deadline()].into_iter().flatten().min()
    }

    /// Brings events from where they happen to where they matter, until there are none.
    fn settle(&mut self, plane: &mut dyn Plane, now: Now) {
        loop {
            if let Some(event) = self.links.poll() {
                self.on_link(plane, now, event);
            } else if let Some(event) = self.hops.poll() {
                self.on_hop(plane, now, event);
            } else {
                return;
            }
        }
    }

    fn on_link(&mut self, plane: &mut dyn Plane, now: Now, event: LinkEvent) {
        let Brain { links, hops, rendezvous, .. } = self;
        match event {
            LinkEvent::Up { link, peer, took_ms } => {
                self.up += 1;
                if took_ms > 0.0 {
                    self.handshakes_ms.truncate(TIMES_MAX - 1);
                    self.handshakes_ms.insert(0, took_ms);
                }
                if !peer.foreign {
                    hops.on_link_up(links, now, link, peer);
                    rendezvous.on_link_up(links, now, link, peer);
                }
            }
            LinkEvent::Down { link, .. } => {
                self.up = self.up.saturating_sub(1);
                hops.on_link_down(plane, links, now, link);
            }
            LinkEvent::Message { link, peer, kind, bytes } => self.on_message(plane, now, (link, peer), kind, &bytes),
            LinkEvent::Rekeyed { .. } | LinkEvent::Acknowledged { .. } | LinkEvent::GivenUp { .. } => {}
        }
    }

    fn on_message(&mut self, plane: &mut dyn Plane, now: Now, from: (u32, PeerInfo), kind: u8, bytes: &[u8]) {
        let Brain { links, hops, rendezvous, .. } = self;
        if !hops.on_link_message(plane, links, now, from, kind, bytes) {
            rendezvous.on_link_message(&mut Host { plane, links, hops, now }, from, kind, bytes);
        }
    }

    fn on_hop(&mut self, plane: &mut dyn Plane, now: Now, event: HopEvent) {
        let Brain { links, hops, rendezvous, .. } = self;
        let host = &mut Host { plane, links, hops, now };
        match event {
            HopEvent::Message { circuit, kind, bytes } => {
                rendezvous.on_hop_message(host, circuit, kind, &bytes);
            }
            HopEvent::Gone { circuit } => rendezvous.on_circuit_gone(host, circuit),
        }
    }

    /// Totals.
    pub fn status(&self) -> BrainStatus<'_> {
        BrainStatus {
            links_up: self.up,
            adopted_links: self.adopted,
            handshakes_ms: &self.handshakes_ms,
            links: self.links.counters(),
            circuits: self.hops.counters(),
            rendezvous: self.rendezvous.counters(),
        }
    }

    /// The neighbours by name, for the operator at the local socket (I10 exempts it).
    pub fn neighbours(&self) -> Vec<(String, bool)> {
        let mixes = self.zones.all().flat_map(|zone| &zone.mixes);
        let others = mixes.filter(|mix| mix.certificate.id() != self.own);
        others.map(|mix| (mix.name.clone(), self.links.link_of(mix.certificate.id()).is_some())).collect()
    }
}
