//! Links: what a put does, generations and epochs, and what of control waits for their slots.

use super::{ClassEntry, Holder, Place, Plan, Refused, Removal, Shadow, Table, refuse};
use crate::limits::CONTROL_PER_LINK;
use drover_crypto::schedule::KeyId;
use drover_nic::Endpoint;
use drover_wire::control::{LinkEnd, Owner, Peer};
use std::collections::HashMap;
use std::net::SocketAddr;

/// What a link is, keys apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// The UDP port of this end.
    pub local_port: u16,
    /// The other end.
    pub remote: Endpoint,
    /// The class's id.
    pub class: u16,
    /// Whose number rules hold.
    pub peer: Peer,
    /// A ratchet step covers 2^this records.
    pub ratchet_bits: u8,
}

/// A generation of a link's keys, by fingerprints and first numbers: sending, receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationIds {
    /// The generation.
    pub generation: u32,
    /// Fingerprints.
    pub keys: [KeyId; 2],
    /// First record numbers.
    pub first: [u64; 2],
}

/// The first epoch of application data (RFC 9147, 6.1).
const FIRST_EPOCH: u32 = 3;

/// In one direction there is no key of this generation: of foreign peers' links only.
pub const NO_KEY: KeyId = [0; 8];

/// A link.
pub struct LinkEntry {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub spec: LinkSpec,
    /// Control's note.
    pub owner: Owner,
    /// The class's index.
    pub class: u8,
    /// The generations that a worker may still use, oldest first.
    pub generations: Vec<GenerationIds>,
    /// The generation that is sent with.
    pub sending: u32,
    /// The newest generation that is received with; it differs from the newest put of a foreign peer's link only.
    pub receiving: u32,
    /// The other end of a link of this mix to itself. Such a link has no address, keys or generation.
    pub loop_to: Option<u32>,
    /// Circuits and ends that own a slot.
    pub admitted: u32,
    /// Control's cells that wait on the worker, or on their way to it.
    pub control: u32,
    /// The generation of the newest keys under which something came; none before.
    pub heard: Option<u32>,
    /// Nothing has come for a while.
    pub silent: bool,
    /// Circuit ids in use, and by what.
    pub(super) ids: HashMap<u32, Holder>,
}

/// What a put of a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPlan {
    /// A new link on this worker, in the class with this index.
    New {
        /// The worker.
        worker: u8,
        /// The class's index.
        class: u8,
    },
    /// A newer generation.
    Generation,
}

impl Shadow {
    /// Something came over the link under keys of this generation; or nothing for a while.
    pub fn heard(&mut self, id: u32, generation: Option<u32>) {
        if let Some(entry) = self.links.get_mut(&id) {
            (entry.silent, entry.heard) = (generation.is_none(), generation.or(entry.heard));
        }
    }

    /// Control's cells have left by the link at `place`.
    pub fn control_left(&mut self, place: Place, count: u32) {
        let id = self.by_place.get(&place);
        if let Some(entry) = id.and_then(|id| self.links.get_mut(id)) {
            entry.control = entry.control.saturating_sub(count);
        }
    }

    /// One more of control's cells is on its way to this link.
    ///
    /// # Errors
    /// There is no such link, or as many wait as may.
    pub fn add_control(&mut self, id: u32) -> Result<Place, Refused> {
        let waiting = self.known_link(id)?.control;
        if waiting >= CONTROL_PER_LINK {
            refuse!(Busy, "link {id}: {waiting} cells of control wait for a slot, as many as may: try again");
        }
        let entry = self.links.get_mut(&id).expect("known");
        entry.control += 1;
        Ok(entry.place)
    }

    /// What a put of a link does.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_link(
        &mut self,
        id: u32,
        spec: &LinkSpec,
        owner: &Owner,
        keys: &GenerationIds,
        now: u64,
    ) -> Result<Plan<LinkPlan>, Refused> {
        if spec.peer == Peer::Foreign && keys.generation < FIRST_EPOCH {
            refuse!(
                Malformed,
                "link {id}: generation {}: a foreign peer's is its epoch, {FIRST_EPOCH} or above",
                keys.generation
            );
        }
        if keys.first.iter().any(|first| *first >= 1 << 63) {
            refuse!(Malformed, "link {id}: a first record number is out of range: below 2^63");
        }
        match self.links.get(&id) {
            Some(entry) => check_generation(id, entry, spec, owner, keys),
            None => self.check_new_link(id, spec, now).map(Plan::Do),
        }
    }

    fn check_new_link(&mut self, id: u32, spec: &LinkSpec, now: u64) -> Result<LinkPlan, Refused> {
        let port = spec.local_port;
        let Some(worker) = self.listens.iter().position(|listen| listen.port() == port) else {
            let ports: Vec<_> = self.listens.iter().map(|listen| listen.port().to_string()).collect();
            refuse!(Unknown, "link {id}: no worker listens on local_port {port}: there are {}", ports.join(", "));
        };
        let (listen, v4) = (self.listens[worker], spec.remote.ipv4().is_some());
        let reachable = match listen {
            SocketAddr::V4(_) => v4,
            SocketAddr::V6(listen) => !v4 || listen.ip().is_unspecified(),
        };
        if !reachable {
            refuse!(
                Unsupported,
                "link {id}: {} cannot be reached from {listen}: take a worker of its family",
                spec.remote
            );
        }
        let worker = worker as u8;
        if self.remotes.contains(&(worker, spec.remote)) {
            let other = self.links.iter().find(|(_, l)| l.place.worker == worker && l.spec.remote == spec.remote);
            let other = other.map_or(0, |(id, _)| *id);
            refuse!(Exists, "link {id}: link {other} of port {port} has this remote: remove it first");
        }
        let Some(class) = self.classes.iter().position(|class| class.id == spec.class) else {
            refuse!(Unknown, "link {id}: there is no class {}: put it first", spec.class);
        };
        self.table(worker, Table::Link).check(1, "limits.links")?;
        let one_more = |at: usize, links, entry: &ClassEntry| (links + u64::from(at == class), entry.fastest_at(now));
        let needed = self.transmit_with(worker, one_more);
        if needed > self.sizes.transmit as u64 {
            refuse!(
                Limit,
                "link {id}: worker {worker} would seal up to {needed} records ahead and has room for {}: raise \
                 limits.transmit, or add a worker",
                self.sizes.transmit
            );
        }
        Ok(LinkPlan::New { worker, class: class as u8 })
    }

    /// Puts a link that [`Self::check_link`] found to be new. Returns its place.
    pub fn commit_link(
        &mut self,
        id: u32,
        (worker, class): (u8, u8),
        spec: LinkSpec,
        owner: Owner,
        keys: GenerationIds,
    ) -> Place {
        let place = self.take(worker, Table::Link);
        self.classes[usize::from(class)].links[usize::from(worker)] += 1;
        self.remotes.insert((worker, spec.remote));
        self.by_place.insert(place, id);
        let (generations, sending, receiving) = (vec![keys], keys.generation, keys.generation);
        let ids = HashMap::new();
        let (admitted, control, heard, silent, loop_to) = (0, 0, None, false, None);
        let entry = LinkEntry {
            place,
            spec,
            owner,
            class,
            generations,
            sending,
            receiving,
            loop_to,
            admitted,
            control,
            heard,
            silent,
            ids,
        };
        self.links.insert(id, entry);
        place
    }

    /// Puts a newer generation that [`Self::check_link`] found possible. Returns the link's place and the generations
    /// that a worker may still use.
    pub fn commit_generation(&mut self, id: u32, owner: Owner, keys: GenerationIds) -> Option<(Place, Vec<u32>)> {
        let entry = self.links.get_mut(&id)?;
        (entry.owner, entry.receiving) = (owner, keys.generation);
        // What is sent with, what was put last, and this.
        let (sending, last) = (entry.sending, entry.generations.last().map(|g| g.generation));
        entry.generations.retain(|g| g.generation == sending || Some(g.generation) == last);
        entry.generations.push(keys);
        Some((entry.place, entry.generations.iter().map(|g| g.generation).collect()))
    }

    /// Whether a link's epochs can go on, and its ratchet_bits.
    ///
    /// # Errors
    /// There is no such link, or its peer is not foreign.
    pub fn check_advance(&self, id: u32) -> Result<u8, Refused> {
        let entry = self.known_link(id)?;
        if entry.spec.peer != Peer::Foreign || entry.loop_to.is_some() {
            refuse!(Unsupported, "link {id}: a drover peer's keys ratchet by themselves: put a newer generation");
        }
        if entry.sending.max(entry.receiving) == u32::MAX {
            refuse!(Limit, "link {id}: there is no epoch beyond {}: shake hands anew", u32::MAX);
        }
        Ok(entry.spec.ratchet_bits)
    }

    /// Goes on to the next epoch in one direction, whose key has this id. Returns the link's place and the epoch.
    pub fn commit_advance(&mut self, id: u32, send: bool, key: KeyId) -> Option<(Place, u32)> {
        let entry = self.links.get_mut(&id)?;
        let direction = if send { &mut entry.sending } else { &mut entry.receiving };
        *direction += 1;
        let epoch = *direction;
        let at = match entry.generations.iter().position(|keys| keys.generation == epoch) {
            Some(at) => at,
            None => {
                entry.generations.push(GenerationIds { generation: epoch, keys: [NO_KEY; 2], first: [0; 2] });
                entry.generations.len() - 1
            }
        };
        entry.generations[at].keys[usize::from(!send)] = key;
        // What is sent with, what is received with, and what may still come late.
        let (sending, receiving) = (entry.sending, entry.receiving);
        let used = |epoch: u32| epoch == sending || epoch == receiving || epoch.checked_add(1) == Some(receiving);
        entry.generations.retain(|keys| used(keys.generation));
        entry.generations.sort_by_key(|keys| keys.generation);
        Some((entry.place, epoch))
    }

    /// Sends with another generation.
    ///
    /// # Errors
    /// The link or the generation was never put.
    pub fn switch(&mut self, id: u32, generation: u32) -> Result<Plan<Place>, Refused> {
        let entry = self.known_link(id)?;
        if entry.spec.peer == Peer::Foreign && generation != entry.sending {
            refuse!(Unsupported, "link {id}: a foreign peer's epochs go on one by one: advance them");
        }
        let (sending, last) = (entry.sending, entry.generations.last().map(|g| g.generation));
        if generation == sending {
            return Ok(Plan::Same);
        }
        // The worker keeps what was put last, for sending.
        if last != Some(generation) {
            refuse!(Unknown, "link {id}: generation {generation} is not the last that was put: put a newer one first");
        }
        let place = entry.place;
        if let Some(entry) = self.links.get_mut(&id) {
            entry.sending = generation;
        }
        Ok(Plan::Do(place))
    }

    /// Removes a link and all that uses it, of a link of this mix to itself both ends; what to remove from workers, in
    /// order. Empty when there is none.
    pub fn remove_link(&mut self, id: u32) -> Vec<Removal> {
        let Some(entry) = self.links.get(&id) else { return Vec::new() };
        let ends: Vec<u32> = [Some(id), entry.loop_to].into_iter().flatten().collect();
        let mut removals = Vec::new();
        for link in &ends {
            let ids = self.links.get(link).map_or_else(Vec::new, |e| e.ids.iter().map(|(id, h)| (*id, *h)).collect());
            for (id, holder) in ids {
                removals.extend(match holder {
                    Holder::Circuit(circuit) => self.remove_circuit(circuit),
                    Holder::End(end) => self.remove_end(end),
                    Holder::Tap => self.remove_tap(LinkEnd { link: *link, id }),
                });
            }
        }
        for link in ends {
            let Some(entry) = self.links.remove(&link) else { continue };
            let place = entry.place;
            self.by_place.remove(&place);
            self.remotes.remove(&(place.worker, entry.spec.remote));
            self.classes[usize::from(entry.class)].links[usize::from(place.worker)] -= 1;
            removals.push(self.retire(Table::Link, place));
        }
        removals
    }
}

/// What a put of a link that exists does.
fn check_generation(
    id: u32,
    entry: &LinkEntry,
    spec: &LinkSpec,
    owner: &Owner,
    keys: &GenerationIds,
) -> Result<Plan<LinkPlan>, Refused> {
    let generation = keys.generation;
    if let Some(other) = entry.loop_to {
        refuse!(Exists, "link {id} is a link of this mix to itself, with link {other}: remove it first");
    }
    if entry.spec != *spec {
        let what = differs(&entry.spec, spec);
        refuse!(Exists, "link {id} exists with another {what}: remove it first, or put it as it is");
    }
    let newest = entry.generations.last().map_or(0, |g| g.generation);
    match entry.generations.iter().find(|g| g.generation == generation) {
        // An owner blob may tell of the handshake, so that of an older generation is no longer known.
        Some(same) if same == keys && (generation != newest || entry.owner == *owner) => Ok(Plan::Same),
        Some(_) => {
            refuse!(
                Exists,
                "link {id}, generation {generation} exists with other keys or owner: put a newer generation"
            )
        }
        None if spec.peer == Peer::Foreign => {
            refuse!(
                Unsupported,
                "link {id}: a foreign peer's epochs go on one by one: advance them, or remove it first"
            )
        }
        None if generation > newest => Ok(Plan::Do(LinkPlan::Generation)),
        None => refuse!(Exists, "link {id}: generation {generation} is older than {newest}: put a newer one"),
    }
}

fn differs(is: &LinkSpec, put: &LinkSpec) -> &'static str {
    match () {
        () if is.local_port != put.local_port => "local_port",
        () if is.remote != put.remote => "remote",
        () if is.class != put.class => "class",
        () if is.peer != put.peer => "peer",
        () => "ratchet_bits",
    }
}
