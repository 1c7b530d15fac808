//! Registrations among the mixes of a zone (`docs/wire.md`, W-RDV-6). Only the mix that a client is registered at speaks of
//! it: a new registration is told whole, and twice a minute the digests of all that are good; who lacks one asks for it.

use super::super::Host;
use super::super::limits::{OUTBOX, OUTBOX_BATCH, OUTBOX_NS, SECOND};
use super::super::messages::{DIGESTS_MAX, Digest, News, Wanted};
use super::super::registration::{REFRESH_S, Registration};
use super::super::registry::Noted;
use super::{Gossip, Rendezvous};
use crate::plane::Now;
use drover_dtls::certificate::NodeId;

impl Rendezvous {
    /// Queues something for a neighbour. Where it finds no room it is left out: the next round of digests mends that.
    pub(super) fn tell(&mut self, now: Now, peer: NodeId, gossip: Gossip) {
        if self.outbox.is_empty() {
            self.outbox_at = now.mono_ns;
        }
        let queue = self.outbox.entry(peer).or_default();
        match queue.len() < OUTBOX {
            true => queue.push_back(gossip),
            false => self.refused("outbox_full"),
        }
    }

    /// Tells all of the zone's other mixes of a registration.
    pub(super) fn spread(&mut self, now: Now, digest: Digest) {
        for peer in self.neighbours() {
            self.tell(now, peer, Gossip::Registration(digest));
        }
    }

    fn neighbours(&self) -> Vec<NodeId> {
        let ids = self.zones.own().mixes.iter().map(|mix| mix.certificate.id());
        ids.filter(|id| *id != self.own).collect()
    }

    /// Tells all of the zone's other mixes which registrations here are good.
    pub(super) fn say_alive(&mut self, now: Now) {
        self.alive_at = now.mono_ns.saturating_add(REFRESH_S * SECOND);
        let digests = self.registry.at(self.own);
        for peer in self.neighbours() {
            self.tell_alive(now, peer, &digests);
        }
    }

    fn tell_alive(&mut self, now: Now, peer: NodeId, digests: &[Digest]) {
        for some in digests.chunks(DIGESTS_MAX) {
            self.tell(now, peer, Gossip::Alive(some.to_vec()));
        }
    }

    /// Sends some of what waits, while the links take it.
    pub(super) fn send_gossip(&mut self, host: &mut Host<'_>) {
        let Rendezvous { outbox, registry, .. } = self;
        outbox.retain(|peer, queue| {
            let Some(link) = host.links.link_of(*peer) else { return false };
            for _ in 0..OUTBOX_BATCH {
                let Some(gossip) = queue.front() else { break };
                let (kind, bytes) = match gossip {
                    Gossip::Registration(digest) => match registry.by_digest(digest) {
                        Some(registration) => (News::KIND, News::Registration(registration.bytes().to_vec()).encode()),
                        // It was replaced meanwhile.
                        None => {
                            queue.pop_front();
                            continue;
                        }
                    },
                    Gossip::Alive(digests) => (News::KIND, News::Alive(digests.clone()).encode()),
                    Gossip::Wanted(digests) => (Wanted::KIND, Wanted(digests.clone()).encode()),
                };
                if host.links.send(host.now, link, kind, &bytes).is_err() {
                    break;
                }
                queue.pop_front();
            }
            !queue.is_empty()
        });
        self.outbox_at = host.now.mono_ns.saturating_add(OUTBOX_NS);
    }

    /// A neighbour speaks of what is registered there.
    pub(super) fn on_news(&mut self, host: &mut Host<'_>, peer: NodeId, bytes: &[u8]) {
        let now = host.now;
        if !self.is_of_zone(peer) {
            return self.refused("gossip_of_another_zone");
        }
        match News::decode(bytes) {
            Err(_) => self.refused("malformed"),
            Ok(News::Registration(bytes)) => {
                if !self.peer(peer).registration.take(now.mono_ns) {
                    return self.refused("gossip_limit");
                }
                if let Err(reason) = self.note_gossip(now, peer, &bytes) {
                    self.refused(reason);
                }
            }
            Ok(News::Alive(digests)) => {
                if !self.peer(peer).alive.take(now.mono_ns) {
                    return self.refused("gossip_limit");
                }
                let registry = &mut self.registry;
                let unknown: Vec<_> =
                    digests.into_iter().filter(|digest| !registry.alive(digest, peer, now.mono_ns)).collect();
                if !unknown.is_empty() {
                    self.tell(now, peer, Gossip::Wanted(unknown));
                }
            }
        }
    }

    fn note_gossip(&mut self, now: Now, peer: NodeId, bytes: &[u8]) -> Result<(), &'static str> {
        let registration = Registration::decode(bytes).map_err(|_| "malformed")?;
        if registration.rendezvous() != peer {
            return Err("gossip_of_another_mix");
        }
        if !self.registry.knows(&registration) {
            registration.check(&self.zones.own().authority, now.unix_s).map_err(|_| "untrusted")?;
        }
        let noted = self.registry.note(registration, now.mono_ns, 0);
        self.counters.registrations = self.registry.len() as u64;
        match noted {
            Noted::New | Noted::Same => Ok(()),
            Noted::Stale => Err("stale"),
            Noted::Full => Err("no_room"),
        }
    }

    /// A neighbour lacks some, or all.
    pub(super) fn on_wanted(&mut self, host: &mut Host<'_>, peer: NodeId, bytes: &[u8]) {
        let now = host.now;
        if !self.is_of_zone(peer) {
            return self.refused("gossip_of_another_zone");
        }
        if !self.peer(peer).wanted.take(now.mono_ns) {
            return self.refused("gossip_limit");
        }
        let Ok(Wanted(digests)) = Wanted::decode(bytes) else { return self.refused("malformed") };
        if digests.is_empty() {
            let under_way = |gossip: &Gossip| matches!(gossip, Gossip::Alive(_));
            if self.outbox.get(&peer).is_some_and(|queue| queue.iter().any(under_way)) {
                return;
            }
            let all = self.registry.at(self.own);
            return self.tell_alive(now, peer, &all);
        }
        for digest in digests {
            // Only what is registered here: others speak of theirs.
            if self.registry.by_digest(&digest).is_some_and(|known| known.rendezvous() == self.own) {
                self.tell(now, peer, Gossip::Registration(digest));
            }
        }
    }
}
