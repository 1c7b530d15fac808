//! The mirror of the workers' tables, and the authority on what exists: a worker only ever gets a command that it can
//! carry out. Every check is made here, before anything is changed.
//!
//! Plain values, no key and no I/O: `check_*` says what a put would do, `commit_*` does it.

mod circuits;
mod classes;
mod indices;
mod loops;
#[cfg(test)]
mod tests;

pub use circuits::{CircuitEntry, CircuitSpec, Extension, HopIds, LegSpec, Side};
pub use classes::{ClassEntry, ClassPlan};
pub use indices::Indices;
pub use loops::LoopPlan;

use crate::config::transmit_needed;
use crate::limits::CONTROL_PER_LINK;
use crate::state::Sizes;
use drover_crypto::schedule::KeyId;
use drover_nic::Endpoint;
use drover_wire::control::{LinkEnd, Owner, Peer, Refusal};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

/// Why a request is refused: the code, and what, where and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Refusal, pub String);

/// `Err` with a formatted text.
macro_rules! refuse {
    ($code:ident, $($text:tt)*) => {
        return Err($crate::service::shadow::Refused(drover_wire::control::Refusal::$code, format!($($text)*)))
    };
}
pub(crate) use refuse;

/// What a put would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan<T> {
    /// It is so already.
    Same,
    /// This.
    Do(T),
}

/// An index on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The worker.
    pub worker: u8,
    /// The index there.
    pub index: u32,
}

/// A table of a worker whose indices are given out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Links.
    Link,
    /// Ways in.
    Ingress,
    /// Ways out.
    Egress,
    /// Ends.
    End,
}

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
    /// The generation of the newest keys under which something came; none before, and none while the link is silent.
    pub heard: Option<u32>,
    /// Nothing has come for a while.
    pub silent: bool,
    /// Circuit ids in use, and by what.
    ids: HashMap<u32, Holder>,
}

/// What uses a circuit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Circuit(u32),
    End(u32),
    Tap,
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

/// What a client's end is; `id` is a fingerprint of the whole put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndSpec {
    /// The generation of the keys.
    pub generation: u32,
    /// Where its cells leave and arrive.
    pub at: LinkEnd,
    /// A fingerprint of everything that was put.
    pub id: KeyId,
}

/// A client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndPlaces {
    /// The end itself.
    pub end: Place,
    /// Where its cells leave and arrive.
    pub side: Side,
}

/// Something to remove from a worker.
pub type Removal = (Table, Place);

/// The workers' tables as they will be when every command queued so far has been carried out.
pub struct Shadow {
    sizes: Sizes,
    /// How long a record waits sealed at most, ns.
    window_ns: u64,
    listens: Vec<SocketAddr>,
    tables: HashMap<(u8, Table), Indices>,
    classes: Vec<ClassEntry>,
    links: BTreeMap<u32, LinkEntry>,
    by_place: HashMap<Place, u32>,
    remotes: HashSet<(u8, Endpoint)>,
    circuits: BTreeMap<u32, CircuitEntry>,
    ends: BTreeMap<u32, (EndSpec, EndPlaces)>,
    taps: HashMap<LinkEnd, Place>,
    /// By where a circuit's near side comes in.
    near_sides: HashMap<Place, u32>,
    next_tag: u32,
}

impl Shadow {
    /// Empty tables of workers that listen on `listens`.
    pub fn new(sizes: Sizes, window_ns: u64, listens: Vec<SocketAddr>) -> Shadow {
        let mut tables = HashMap::new();
        for worker in 0..listens.len() as u8 {
            tables.insert((worker, Table::Link), Indices::new(sizes.links));
            for table in [Table::Ingress, Table::Egress, Table::End] {
                tables.insert((worker, table), Indices::new(2 * sizes.circuits));
            }
        }
        Shadow {
            sizes,
            window_ns,
            listens,
            tables,
            classes: Vec::new(),
            links: BTreeMap::new(),
            by_place: HashMap::new(),
            remotes: HashSet::new(),
            circuits: BTreeMap::new(),
            ends: BTreeMap::new(),
            taps: HashMap::new(),
            near_sides: HashMap::new(),
            next_tag: 1,
        }
    }

    /// How many links, circuits and ends there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.links.len(), self.circuits.len(), self.ends.len())
    }

    /// The links from id `from` on, in order.
    pub fn links_from(&self, from: u32) -> impl Iterator<Item = (u32, &LinkEntry)> {
        self.links.range(from..).map(|(id, entry)| (*id, entry))
    }

    /// The circuits from id `from` on, in order.
    pub fn circuits_from(&self, from: u32) -> impl Iterator<Item = (u32, &CircuitEntry)> {
        self.circuits.range(from..).map(|(id, entry)| (*id, entry))
    }

    /// The ends from id `from` on, in order.
    pub fn ends_from(&self, from: u32) -> impl Iterator<Item = (u32, &(EndSpec, EndPlaces))> {
        self.ends.range(from..).map(|(id, entry)| (*id, entry))
    }

    /// The link with this id.
    pub fn link(&self, id: u32) -> Option<&LinkEntry> {
        self.links.get(&id)
    }

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

    /// The id of the link that is at `place` now.
    pub fn link_at(&self, place: Place) -> Option<u32> {
        self.by_place.get(&place).copied()
    }

    /// The classes, by index.
    pub fn classes(&self) -> &[ClassEntry] {
        &self.classes
    }

    /// A removal has been carried out: its index may be used again.
    pub fn spent(&mut self, table: Table, place: Place) {
        self.table(place.worker, table).reuse(place.index);
    }

    fn table(&mut self, worker: u8, table: Table) -> &mut Indices {
        self.tables.get_mut(&(worker, table)).expect("made with the workers, which never change")
    }

    fn known_link(&self, id: u32) -> Result<&LinkEntry, Refused> {
        match self.links.get(&id) {
            Some(entry) => Ok(entry),
            None => refuse!(Unknown, "there is no link {id}: put it first"),
        }
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

    /// Records that may wait sealed on a worker, with `of` links and rate of each class.
    fn transmit_with(&self, worker: u8, of: impl Fn(usize, u64, &ClassEntry) -> (u64, crate::class::Rate)) -> u64 {
        let classes = self.classes.iter().enumerate();
        transmit_needed(self.window_ns, classes.map(|(at, class)| of(at, class.links[usize::from(worker)], class)))
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

    /// The circuits that use a link, or its other end where it is a loop.
    pub fn circuits_on(&self, id: u32) -> Vec<u32> {
        let ends = [Some(id), self.links.get(&id).and_then(|entry| entry.loop_to)];
        let ids =
            ends.into_iter().flatten().filter_map(|link| self.links.get(&link)).flat_map(|entry| entry.ids.values());
        let circuit = |holder: &Holder| if let Holder::Circuit(circuit) = holder { Some(*circuit) } else { None };
        ids.filter_map(circuit).collect()
    }

    /// What a put of an end does.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_end(&mut self, id: u32, spec: &EndSpec, now: u64) -> Result<Plan<()>, Refused> {
        if let Some((existing, _)) = self.ends.get(&id) {
            if existing == spec {
                return Ok(Plan::Same);
            }
            refuse!(Exists, "end {id} exists with other keys or parameters: remove it first");
        }
        let what = format!("end {id}");
        self.check_free_id(&what, spec.at)?;
        self.check_slots(&what, spec.at.link, 1, now)?;
        let worker = self.known_link(spec.at.link)?.place.worker;
        for table in [Table::Ingress, Table::Egress, Table::End] {
            self.table(worker, table).check(1, "limits.circuits")?;
        }
        Ok(Plan::Do(()))
    }

    /// Puts an end that [`Self::check_end`] found possible.
    pub fn commit_end(&mut self, id: u32, spec: EndSpec) -> Option<EndPlaces> {
        let worker = self.link(spec.at.link)?.place.worker;
        let places = EndPlaces { end: self.take(worker, Table::End), side: self.take_side(worker) };
        self.hold(spec.at, Holder::End(id), true);
        self.ends.insert(id, (spec, places));
        Some(places)
    }

    /// Removes an end; what to remove from its worker, in order.
    pub fn remove_end(&mut self, id: u32) -> Vec<Removal> {
        let Some((spec, EndPlaces { end, side })) = self.ends.remove(&id) else { return Vec::new() };
        self.release(spec.at, true);
        let removals = [(Table::Ingress, side.ingress), (Table::Egress, side.egress), (Table::End, end)];
        removals.into_iter().map(|(table, place)| self.retire(table, place)).collect()
    }

    fn check_free_id(&self, what: &str, end: LinkEnd) -> Result<(), Refused> {
        let LinkEnd { link, id } = end;
        match self.known_link(link)?.ids.get(&id) {
            None => Ok(()),
            Some(Holder::Circuit(other)) => {
                refuse!(Exists, "{what}: circuit {other} has id {id} on link {link}: remove it, or take another id")
            }
            Some(Holder::End(other)) => {
                refuse!(Exists, "{what}: end {other} has id {id} on link {link}: remove it, or take another id")
            }
            Some(Holder::Tap) => {
                refuse!(Exists, "{what}: a tap has id {id} on link {link}: remove it, or take another id")
            }
        }
    }

    /// Whether `more` circuits can own a slot on the link; one slot stays free.
    fn check_slots(&self, what: &str, link: u32, more: u32, now: u64) -> Result<(), Refused> {
        let entry = self.known_link(link)?;
        let slots = self.classes[usize::from(entry.class)].room_at(now);
        if more > 0 && entry.admitted + more > slots - 1 {
            refuse!(
                NoRoom,
                "{what}: link {link} has {slots} slots a round, {} of them owned, one stays free: raise the class's \
                 rate, or take another link",
                entry.admitted
            );
        }
        Ok(())
    }

    fn take(&mut self, worker: u8, table: Table) -> Place {
        Place { worker, index: self.table(worker, table).take() }
    }

    fn retire(&mut self, table: Table, place: Place) -> Removal {
        self.table(place.worker, table).retire();
        (table, place)
    }

    fn take_side(&mut self, worker: u8) -> Side {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        Side { ingress: self.take(worker, Table::Ingress), egress: self.take(worker, Table::Egress), tag }
    }

    fn hold(&mut self, end: LinkEnd, holder: Holder, admitted: bool) {
        if let Some(entry) = self.links.get_mut(&end.link) {
            entry.ids.insert(end.id, holder);
            entry.admitted += u32::from(admitted);
        }
    }

    fn release(&mut self, end: LinkEnd, admitted: bool) {
        if let Some(entry) = self.links.get_mut(&end.link) {
            entry.ids.remove(&end.id);
            entry.admitted -= u32::from(admitted);
        }
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
