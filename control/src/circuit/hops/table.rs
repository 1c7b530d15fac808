//! The circuits of a mix, by their number, by where their cells arrive, and by when they want something.

use crate::channel::Channel;
use crate::circuit::limits::{IDLE_NS, SHORT_NS};
use drover_dtls::certificate::NodeId;
use drover_wire::control::{ID_LIMIT, LinkEnd};
use std::collections::{BTreeMap, BTreeSet};

/// What lies beyond this mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// Nothing: the circuit ends here.
    None,
    /// The next mix was asked.
    Asked {
        /// The circuit's id on the link to it.
        at: LinkEnd,
        /// It has until then, monotonic ns.
        until_ns: u64,
        /// First counter of its own cells.
        first: u64,
    },
    /// The next mix, or the other half of a call.
    There(LinkEnd),
    /// Something was; its link is gone.
    Lost,
}

impl Far {
    /// Where it is.
    pub fn at(self) -> Option<LinkEnd> {
        match self {
            Far::Asked { at, .. } | Far::There(at) => Some(at),
            Far::None | Far::Lost => None,
        }
    }
}

/// The end of a circuit, told and not yet carried out.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// When it is, monotonic ns.
    pub at_ns: u64,
    /// The far side has said DESTROY and waits for DESTROYED.
    pub far_waits: bool,
}

/// A circuit through this mix.
pub struct Circuit {
    /// Towards the client.
    pub near: LinkEnd,
    /// Who is there.
    pub near_peer: NodeId,
    /// Whether that is the client itself.
    pub client: bool,
    /// The other way.
    pub far: Far,
    /// Messages with the client; made when the first frame comes or goes.
    pub channel: Option<Channel>,
    /// When the client last said something, monotonic ns.
    pub used_ns: u64,
    /// The circuit is about to end.
    pub closing: Option<Closing>,
    wake_ns: Option<u64>,
}

impl Circuit {
    /// One that ends here.
    pub fn new(near: LinkEnd, near_peer: NodeId, client: bool, now_ns: u64) -> Circuit {
        let (far, channel, closing) = (Far::None, None, None);
        Circuit { near, near_peer, client, far, channel, used_ns: now_ns, closing, wake_ns: None }
    }

    /// When it ends for want of use, monotonic ns. A circuit with a far side lives as long as its links.
    pub fn idle_at(&self) -> Option<u64> {
        let patience = if self.client { SHORT_NS } else { IDLE_NS };
        (self.far == Far::None).then(|| self.used_ns.saturating_add(patience))
    }

    fn wants(&self) -> Option<u64> {
        let asked = match self.far {
            Far::Asked { until_ns, .. } => Some(until_ns),
            _ => None,
        };
        let channel = self.channel.as_ref().and_then(Channel::deadline);
        [asked, channel, self.closing.map(|closing| closing.at_ns), self.idle_at()].into_iter().flatten().min()
    }
}

/// All circuits.
#[derive(Default)]
pub struct Table {
    circuits: BTreeMap<u32, Circuit>,
    at: BTreeMap<(u32, u32), u32>,
    timers: BTreeSet<(u64, u32)>,
    near_of: BTreeMap<u32, usize>,
    asked: BTreeSet<u32>,
    /// Circuits on the data plane that are not ours.
    strangers: BTreeSet<u32>,
    next: u32,
}

impl Table {
    /// A number that no circuit has.
    pub fn number(&mut self) -> u32 {
        loop {
            self.next = (self.next + 1) % ID_LIMIT;
            if !self.circuits.contains_key(&self.next) && !self.strangers.contains(&self.next) {
                return self.next;
            }
        }
    }
    /// Takes a circuit in.
    pub fn insert(&mut self, number: u32, circuit: Circuit) {
        self.at.insert(key(circuit.near), number);
        if let Some(far) = circuit.far.at() {
            self.at.insert(key(far), number);
        }
        *self.near_of.entry(circuit.near.link).or_default() += 1;
        self.circuits.insert(number, circuit);
        self.reset(number);
    }
    /// A circuit that others made: its number and its ids are not ours to use.
    pub fn stranger(&mut self, number: u32, ends: impl IntoIterator<Item = LinkEnd>) {
        self.strangers.insert(number);
        self.at.extend(ends.into_iter().map(|end| (key(end), number)));
    }
    /// Takes a circuit out.
    pub fn remove(&mut self, number: u32) -> Option<Circuit> {
        let circuit = self.circuits.remove(&number)?;
        self.at.remove(&key(circuit.near));
        if let Some(far) = circuit.far.at() {
            self.at.remove(&key(far));
        }
        if let Some(wake) = circuit.wake_ns {
            self.timers.remove(&(wake, number));
        }
        self.asked.remove(&number);
        if let Some(count) = self.near_of.get_mut(&circuit.near.link) {
            *count -= 1;
            if *count == 0 {
                self.near_of.remove(&circuit.near.link);
            }
        }
        Some(circuit)
    }
    /// A circuit.
    pub fn get(&self, number: u32) -> Option<&Circuit> {
        self.circuits.get(&number)
    }
    /// A circuit; [`Table::reset`] after a change.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Circuit> {
        self.circuits.get_mut(&number)
    }
    /// Gives a circuit another far side.
    pub fn set_far(&mut self, number: u32, far: Far) {
        let Some(circuit) = self.circuits.get_mut(&number) else { return };
        if let Some(before) = std::mem::replace(&mut circuit.far, far).at() {
            self.at.remove(&key(before));
        }
        if let Some(at) = far.at() {
            self.at.insert(key(at), number);
        }
        match far {
            Far::Asked { .. } => self.asked.insert(number),
            _ => self.asked.remove(&number),
        };
        self.reset(number);
    }
    /// Which circuit this id on this link is.
    pub fn find(&self, end: LinkEnd) -> Option<(u32, &Circuit)> {
        let number = *self.at.get(&key(end))?;
        self.circuits.get(&number).map(|circuit| (number, circuit))
    }
    /// Whether the id is in use on the link, be it by a stranger.
    pub fn uses(&self, end: LinkEnd) -> bool {
        self.at.contains_key(&key(end))
    }
    /// Circuits over a link.
    pub fn over(&self, link: u32) -> Vec<u32> {
        self.at.range((link, 0)..=(link, u32::MAX)).map(|(_, number)| *number).collect()
    }
    /// How many begin on a link.
    pub fn near_of(&self, link: u32) -> usize {
        self.near_of.get(&link).copied().unwrap_or(0)
    }
    /// Circuits whose next mix was asked and has not answered.
    pub fn asked(&self) -> impl Iterator<Item = (&Circuit, LinkEnd)> {
        let all = self.asked.iter().filter_map(|number| self.circuits.get(number));
        all.filter_map(|circuit| circuit.far.at().map(|at| (circuit, at)))
    }
    /// Looks again at when a circuit wants something.
    pub fn reset(&mut self, number: u32) {
        let Some(circuit) = self.circuits.get_mut(&number) else { return };
        let wants = circuit.wants();
        if wants != circuit.wake_ns {
            if let Some(before) = std::mem::replace(&mut circuit.wake_ns, wants) {
                self.timers.remove(&(before, number));
            }
            self.timers.extend(wants.map(|at| (at, number)));
        }
    }
    /// Circuits that want something at `now_ns`.
    pub fn due(&self, now_ns: u64) -> Vec<u32> {
        self.timers.range(..=(now_ns, u32::MAX)).map(|(_, number)| *number).collect()
    }
    /// When the next one wants something.
    pub fn deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.circuits.len()
    }
}

fn key(end: LinkEnd) -> (u32, u32) {
    (end.link, end.id)
}
