//! Several nodes' links over fake data planes, on a clock of their own.

mod flood;
#[cfg(feature = "lab")]
mod foreign;
mod handshake;
mod renewal;
mod restart;

use super::{LinkConfig, LinkEvent, Links, PeerInfo};
use crate::plane::Plane;
use crate::plane::fake::{FakeNet, FakePlane};
use crate::zone::{MixEntry, Slots, ZoneDocument, Zones};
use drover_dtls::certificate::{Identity, NodeId, Role};
use drover_wire::control::{Address, Punt};
use std::net::SocketAddr;
use std::sync::Arc;

/// One node.
pub(super) struct Node {
    pub identity: Arc<Identity>,
    pub address: SocketAddr,
    pub links: Links,
    pub events: Vec<LinkEvent>,
    pub config: LinkConfig,
}

/// A zone with mixes and clients.
pub(super) struct World {
    pub authority: Identity,
    pub zones: Arc<Zones>,
    pub net: FakeNet,
    pub nodes: Vec<Node>,
}

pub(super) fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8 + 1], 4000))
}

fn id(identity: &Identity) -> NodeId {
    identity.certificate().id()
}

fn document(authority: &Identity, mixes: &[&Arc<Identity>], unix_s: u64) -> ZoneDocument {
    let entry = |(n, mix): (usize, &&Arc<Identity>)| MixEntry {
        name: mix.certificate().name().to_owned(),
        address: address(n),
        certificate: mix.certificate().clone(),
    };
    ZoneDocument {
        zone: authority.certificate().zone().to_owned(),
        serial: 1,
        validity: (unix_s - 10, unix_s + 86_400),
        cell: 256,
        rate: 50,
        ratchet_bits: 24,
        rekey_s: 600,
        epoch_s: 3600,
        client: Slots { slots: 2 },
        within: Slots { slots: 8 },
        pair: Slots { slots: 8 },
        authority: authority.certificate().clone(),
        mixes: mixes.iter().enumerate().map(entry).collect(),
        peers: vec![],
    }
}

impl World {
    /// A zone with this many mixes, then this many clients. Mixes come in the order of their ids.
    pub fn new(mixes: usize, clients: usize) -> World {
        World::with(mixes, clients, LinkConfig::default())
    }

    pub fn with(mixes: usize, clients: usize, config: LinkConfig) -> World {
        let unix_s = FakeNet::unix_s();
        let authority = Identity::new_zone("north", unix_s, 30).expect("a zone");
        let issue = |role, n| Arc::new(authority.issue(&format!("node{n}"), role, unix_s, 20).expect("issued"));
        let mut identities: Vec<_> = (0..mixes).map(|n| issue(Role::Mix, n)).collect();
        identities.sort_by_key(|identity| id(identity));
        let document = document(&authority, &identities.iter().collect::<Vec<_>>(), unix_s);
        let zones = Arc::new(Zones::new(document, vec![]).expect("fit"));
        identities.extend((0..clients).map(|n| issue(Role::Client, mixes + n)));
        let planes = (0..identities.len()).map(|n| FakePlane::new(address(n), n as u8 + 1)).collect();
        let net = FakeNet::new(planes, 1);
        let mut world = World { authority, zones, net, nodes: vec![] };
        for (n, identity) in identities.into_iter().enumerate() {
            let links = world.links(&identity, config.clone());
            let (events, config) = (vec![], config.clone());
            world.nodes.push(Node { identity, address: address(n), links, events, config });
            world.adopt(n);
        }
        world
    }

    fn links(&self, identity: &Arc<Identity>, config: LinkConfig) -> Links {
        Links::new(Arc::clone(identity), Arc::clone(&self.zones), config, self.net.now).expect("links")
    }

    fn adopt(&mut self, n: usize) {
        let now = self.net.now;
        self.nodes[n].links.adopt(&mut self.net.planes[n], now).expect("adopts");
    }

    /// A new life of the control daemon of node `n`.
    pub fn restart_control(&mut self, n: usize) {
        let links = self.links(&self.nodes[n].identity.clone(), self.nodes[n].config.clone());
        self.nodes[n].links = links;
        self.adopt(n);
    }

    /// A new life of the data plane of node `n`, and with it of control.
    pub fn restart(&mut self, n: usize) {
        let boot = self.net.planes[n].welcome().boot.0[0] + 100;
        self.net.planes[n] = FakePlane::new(self.nodes[n].address, boot);
        self.restart_control(n);
    }

    pub fn id(&self, n: usize) -> NodeId {
        id(&self.nodes[n].identity)
    }

    pub fn dial(&mut self, from: usize, to: usize) {
        let (remote, peer, now) = (self.nodes[to].address, self.id(to), self.net.now);
        self.nodes[from].links.dial(remote, peer, now);
    }

    pub fn step(&mut self) {
        let punts = self.net.step();
        let now = self.net.now;
        for (n, message) in punts {
            let (_, punt) = Punt::decode(&message).expect("a punt");
            assert!(self.nodes[n].links.on_punt(&mut self.net.planes[n], now, &punt));
        }
        for (node, plane) in self.nodes.iter_mut().zip(&mut self.net.planes) {
            if node.links.deadline().is_some_and(|due| due <= now.mono_ns) {
                node.links.on_tick(plane, now);
                let next = node.links.deadline();
                assert!(next.is_none_or(|next| next > now.mono_ns), "a tick does all that is due: {next:?} {now:?}");
            }
            node.events.extend(std::iter::from_fn(|| node.links.poll()));
        }
    }

    /// Steps of a millisecond each.
    pub fn run(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// Until this is so; panics when it takes longer than this many ms.
    pub fn until(&mut self, ms: u64, so: impl Fn(&World) -> bool) -> u64 {
        for n in 0..ms {
            if so(self) {
                return n;
            }
            self.step();
        }
        panic!("not within {ms} ms: {}", self.tell());
    }

    fn tell(&self) -> String {
        let node = |node: &Node| format!("{:?} {:?}", node.links.counters(), node.events);
        self.nodes.iter().map(node).collect::<Vec<_>>().join("\n")
    }

    pub fn linked(&self, a: usize, b: usize) -> bool {
        let link = |a: usize, b: usize| self.nodes[a].links.link_of(self.id(b));
        link(a, b).is_some() && link(b, a).is_some()
    }

    /// The links of both ends carry messages both ways.
    pub fn talk(&mut self, a: usize, b: usize) {
        self.nodes.iter_mut().for_each(|node| node.events.clear());
        let now = self.net.now;
        for (from, to) in [(a, b), (b, a)] {
            let link = self.nodes[from].links.link_of(self.id(to)).expect("a link");
            self.nodes[from].links.send(now, link, 20, &[from as u8; 700]).expect("room");
        }
        let heard = |world: &World, at: usize, from: usize| {
            world.nodes[at].events.iter().any(|event| {
                matches!(event, LinkEvent::Message { kind: 20, bytes, peer, .. }
                    if *bytes == [from as u8; 700] && peer.id == world.id(from))
            })
        };
        self.until(20_000, |world| heard(world, a, b) && heard(world, b, a));
    }

    pub fn refused(&self, n: usize, reason: &str) -> u64 {
        self.nodes[n].links.counters().refused.get(reason).copied().unwrap_or(0)
    }

    pub fn ups(&self, n: usize) -> Vec<PeerInfo> {
        let up = |event: &LinkEvent| if let LinkEvent::Up { peer, .. } = event { Some(*peer) } else { None };
        self.nodes[n].events.iter().filter_map(up).collect()
    }

    pub fn downs(&self, n: usize) -> usize {
        self.nodes[n].events.iter().filter(|event| matches!(event, LinkEvent::Down { .. })).count()
    }
}

pub(super) fn spoofed(n: usize) -> Address {
    SocketAddr::from(([172, 16, (n >> 8) as u8, n as u8], 5000)).into()
}
