//! One link's state, and when it next has something to do.

use super::foreign::Foreign;
use super::renewal::Renewal;
use super::{PeerInfo, class};
use crate::channel::{Channel, Limits};
use crate::zone::ZoneDocument;
use drover_dtls::certificate::{NodeId, Role};
use drover_wire::control::Address;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zeroize::Zeroizing;

/// A link over which nothing comes for this long is removed, ns (W-LNK-11).
pub(super) const SILENT_NS: u64 = 120_000_000_000;
/// Link numbers of control are below this; a mix's loop has others.
const NUMBERS: u32 = 1 << 30;
/// Bytes of the longest message over a link.
const MESSAGE_MAX: usize = 12_000;

/// One link.
pub(super) struct Link {
    pub number: u32,
    pub peer: PeerInfo,
    pub remote: Address,
    pub local_port: u16,
    pub class: u16,
    pub ratchet_bits: u8,
    /// We began its handshake.
    pub dialler: bool,
    /// Of its first handshake: all later ones are bound to it.
    pub binder: Zeroizing<[u8; 32]>,
    /// The generation that is sent with, and the highest that was put.
    pub generation: u32,
    pub highest: u32,
    /// Nothing has come since then.
    pub silent: Option<u64>,
    pub talk: Talk,
    /// When it was last scheduled for.
    scheduled: Option<u64>,
}

/// What is said over a link besides cells.
#[allow(clippy::large_enum_variant, reason = "nearly all links are of the larger kind")]
pub(super) enum Talk {
    Drover {
        channel: Channel,
        renewal: Option<Renewal>,
        /// When keys are next renewed.
        renew_at: u64,
        /// When a renewal last began.
        began: Option<u64>,
    },
    Foreign(Foreign),
}

impl Link {
    pub(super) fn new(
        number: u32,
        peer: PeerInfo,
        (remote, local_port): (Address, u16),
        (class, ratchet_bits): (u16, u8),
        talk: Talk,
    ) -> Link {
        Link {
            number,
            peer,
            remote,
            local_port,
            class,
            ratchet_bits,
            dialler: false,
            binder: Zeroizing::new([0; 32]),
            generation: 1,
            highest: 1,
            silent: None,
            talk,
            scheduled: None,
        }
    }

    fn deadline(&self) -> Option<u64> {
        let silent = self.silent.map(|since| since.saturating_add(SILENT_NS));
        let talk = match &self.talk {
            Talk::Drover { channel, renewal, renew_at, .. } => {
                let renewal = renewal.as_ref().map_or(*renew_at, Renewal::deadline);
                [channel.deadline(), Some(renewal)].into_iter().flatten().min()
            }
            Talk::Foreign(foreign) => Some(foreign.deadline()),
        };
        [silent, talk].into_iter().flatten().min()
    }
}

/// How messages travel in control cells of a link (W-LNK-13): a frame a round on client links, up to half the slots on
/// others.
pub(super) fn limits(zone: &ZoneDocument, cell: u16, class: u16) -> Limits {
    let round = round_ns(zone);
    let (frames, outgoing, incoming) = match class {
        class::CLIENT => (1, 64, 4),
        class::ZONE => (zone.within.slots / 2, 512, 32),
        _ => (zone.pair.slots / 2, 512, 32),
    };
    Limits {
        frame: usize::from(cell).saturating_sub(32),
        pace_ns: round / u64::from(frames.max(1)),
        outgoing,
        incoming,
        message: MESSAGE_MAX,
        retransmit_ns: 400_000_000.max(8 * round),
        patience_ns: 30_000_000_000,
    }
}

/// A round: the time of one cell of a call, ns.
pub(super) fn round_ns(zone: &ZoneDocument) -> u64 {
    1_000_000_000 / u64::from(zone.rate.max(1))
}

/// From one slot of a link of this class to the next, ns.
pub(super) fn slot_ns(zone: &ZoneDocument, class: u16) -> f64 {
    let slots = match class {
        class::CLIENT => zone.client.slots,
        class::ZONE => zone.within.slots,
        _ => zone.pair.slots,
    };
    round_ns(zone) as f64 / f64::from(slots.max(1))
}

/// All links of a node.
pub(super) struct Table {
    links: BTreeMap<u32, Link>,
    peers: HashMap<NodeId, u32>,
    due: BTreeSet<(u64, u32)>,
    clients: usize,
    next: u32,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { links: BTreeMap::new(), peers: HashMap::new(), due: BTreeSet::new(), clients: 0, next: 1 }
    }

    /// A link number that was not used before.
    pub(super) fn number(&mut self) -> Option<u32> {
        let number = self.next;
        self.next = number.saturating_add(1);
        (number < NUMBERS).then_some(number)
    }
    /// This number is taken.
    pub(super) fn taken(&mut self, number: u32) {
        if number < NUMBERS {
            self.next = self.next.max(number + 1);
        }
    }

    pub(super) fn insert(&mut self, link: Link) {
        let number = link.number;
        self.taken(number);
        self.clients += usize::from(link.peer.role == Role::Client);
        self.peers.insert(link.peer.id, number);
        self.links.insert(number, link);
        self.schedule(number);
    }
    pub(super) fn remove(&mut self, number: u32) -> Option<Link> {
        let link = self.links.remove(&number)?;
        if let Some(at) = link.scheduled {
            self.due.remove(&(at, number));
        }
        self.clients -= usize::from(link.peer.role == Role::Client);
        if self.peers.get(&link.peer.id) == Some(&number) {
            self.peers.remove(&link.peer.id);
        }
        Some(link)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Link> {
        self.links.get(&number)
    }
    /// To change a link; [`Table::schedule`] afterwards.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Link> {
        self.links.get_mut(&number)
    }
    pub(super) fn of_peer(&self, peer: NodeId) -> Option<&Link> {
        self.peers.get(&peer).and_then(|number| self.links.get(number))
    }
    /// The link with this remote over this port of ours.
    pub(super) fn of_remote(&self, remote: Address, local_port: u16) -> Option<&Link> {
        self.links.values().find(|link| (link.remote, link.local_port) == (remote, local_port))
    }
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }
    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    /// Notes when the link next has something to do.
    pub(super) fn schedule(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let at = link.deadline();
        if link.scheduled == at {
            return;
        }
        if let Some(before) = std::mem::replace(&mut link.scheduled, at) {
            self.due.remove(&(before, number));
        }
        self.due.extend(at.map(|at| (at, number)));
    }
    /// The link whose time has come first.
    pub(super) fn due(&self, now: u64) -> Option<u32> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, number)| *number)
    }
    pub(super) fn deadline(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }
}
