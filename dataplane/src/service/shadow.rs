//! The mirror of the workers' tables, and the authority on what exists: a worker only ever gets a command that it can
//! carry out. Every check is made here, before anything is changed.
//!
//! Plain values, no key and no I/O: `check_*` says what a put would do, `commit_*` does it.

mod circuits;
mod classes;
mod indices;
mod links;
mod loops;
#[cfg(test)]
mod tests;

pub use circuits::{CircuitEntry, CircuitSpec, Extension, HopIds, LegSpec, Side};
pub use classes::{ClassEntry, ClassPlan};
pub use indices::Indices;
pub use links::{GenerationIds, LinkEntry, LinkPlan, LinkSpec, NO_KEY};
pub use loops::LoopPlan;

use crate::config::transmit_needed;
use crate::state::Sizes;
use drover_crypto::schedule::KeyId;
use drover_nic::Endpoint;
use drover_wire::control::{LinkEnd, Refusal};
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

/// What uses a circuit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Circuit(u32),
    End(u32),
    Tap,
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

    /// Records that may wait sealed on a worker, with `of` links and rate of each class.
    fn transmit_with(&self, worker: u8, of: impl Fn(usize, u64, &ClassEntry) -> (u64, crate::class::Rate)) -> u64 {
        let classes = self.classes.iter().enumerate();
        transmit_needed(self.window_ns, classes.map(|(at, class)| of(at, class.links[usize::from(worker)], class)))
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
