//! Circuits, and taps: what passes a mix, what ends there, and what control does itself.

use super::{Holder, Place, Plan, Refused, Removal, Shadow, Table, refuse};
use drover_crypto::schedule::KeyId;
use drover_wire::control::{LinkEnd, List, OTHERS_MAX, Owner};

/// One direction's layer, by fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// The key.
    pub key: KeyId,
    /// The first counter, when it is given.
    pub first: Option<u64>,
    /// What is added.
    pub offset: u64,
    /// Owns a slot.
    pub admitted: bool,
}

/// What a hop needs for cells of its own, by fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopIds {
    /// MAC keys: of cells for it, of cells that it makes.
    pub macs: [KeyId; 2],
    /// Its first counter.
    pub first: u64,
}

/// What a circuit is, as it was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSpec {
    /// The generation of the keys.
    pub generation: u32,
    /// The side of the client that built it.
    pub near: LinkEnd,
    /// The other side, where it was put with one.
    pub far: Option<LinkEnd>,
    /// Near to far, far to near.
    pub legs: [LegSpec; 2],
    /// Cells of this hop's own.
    pub hop: Option<HopIds>,
    /// Control's note.
    pub owner: Owner,
}

/// A far side that a circuit was given later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The far side.
    pub far: LinkEnd,
    /// First counters of cells that hops beyond make themselves.
    pub others: List<u64, OTHERS_MAX>,
}

/// One side of a circuit on its link's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Where cells come in.
    pub ingress: Place,
    /// Where cells leave.
    pub egress: Place,
    /// Tells this use of the egress's index from earlier ones.
    pub tag: u32,
}

/// A circuit.
pub struct CircuitEntry {
    /// What it is.
    pub spec: CircuitSpec,
    /// What it was given later.
    pub extension: Option<Extension>,
    /// Its side towards the client.
    pub near: Side,
    /// Its other side.
    pub far: Option<Side>,
}

impl CircuitEntry {
    /// Where its far side is now.
    pub fn far_end(&self) -> Option<LinkEnd> {
        self.spec.far.or(self.extension.as_ref().map(|extension| extension.far))
    }
}

impl Shadow {
    /// The circuit with this id.
    pub fn circuit(&self, id: u32) -> Option<&CircuitEntry> {
        self.circuits.get(&id)
    }

    /// The circuit that has this id on a link.
    pub fn circuit_at(&self, at: LinkEnd) -> Option<u32> {
        match self.link(at.link)?.ids.get(&at.id)? {
            Holder::Circuit(circuit) => Some(*circuit),
            Holder::End(_) | Holder::Tap => None,
        }
    }

    /// The circuit whose near side comes in at `place` now.
    pub fn circuit_in(&self, place: Place) -> Option<u32> {
        self.near_sides.get(&place).copied()
    }

    /// What a put of a circuit does.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_circuit(&mut self, id: u32, spec: &CircuitSpec, now: u64) -> Result<Plan<()>, Refused> {
        if let Some(entry) = self.circuits.get(&id) {
            if entry.spec == *spec {
                return Ok(Plan::Same);
            }
            refuse!(Exists, "circuit {id} exists with other keys or parameters: remove it first");
        }
        // A leg leaves by the side that it does not come from.
        let sides = [(Some(spec.near), spec.legs[1].admitted), (spec.far, spec.legs[0].admitted)];
        let sides: Vec<_> = sides.into_iter().filter_map(|(end, admitted)| Some((end?, admitted))).collect();
        self.check_sides(&format!("circuit {id}"), &sides, now).map(Plan::Do)
    }

    /// Whether there is room for sides of a circuit: a free id, a slot where what leaves there owns one, indices.
    fn check_sides(&mut self, what: &str, sides: &[(LinkEnd, bool)], now: u64) -> Result<(), Refused> {
        let mut workers = Vec::new();
        for (end, _) in sides {
            self.check_free_id(what, *end)?;
            let more = sides.iter().filter(|(other, admitted)| other.link == end.link && *admitted).count() as u32;
            self.check_slots(what, end.link, more, now)?;
            workers.push(self.known_link(end.link)?.place.worker);
        }
        for worker in &workers {
            let more = workers.iter().filter(|w| *w == worker).count();
            for table in [Table::Ingress, Table::Egress] {
                self.table(*worker, table).check(more, "limits.circuits")?;
            }
        }
        Ok(())
    }

    /// Puts a circuit that [`Self::check_circuit`] found possible. Returns its sides, near and far.
    pub fn commit_circuit(&mut self, id: u32, spec: CircuitSpec) -> Option<(Side, Option<Side>)> {
        let near = self.put_side(id, spec.near, spec.legs[1].admitted)?;
        let far = match spec.far {
            Some(far) => Some(self.put_side(id, far, spec.legs[0].admitted)?),
            None => None,
        };
        self.near_sides.insert(near.ingress, id);
        self.circuits.insert(id, CircuitEntry { spec, extension: None, near, far });
        Some((near, far))
    }

    fn put_side(&mut self, circuit: u32, end: LinkEnd, admitted: bool) -> Option<Side> {
        let worker = self.link(end.link)?.place.worker;
        let side = self.take_side(worker);
        self.hold(end, Holder::Circuit(circuit), admitted);
        Some(side)
    }

    /// What giving a circuit a far side does.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_extension(&mut self, id: u32, extension: &Extension, now: u64) -> Result<Plan<()>, Refused> {
        let Some(entry) = self.circuits.get(&id) else { refuse!(Unknown, "there is no circuit {id}: put it first") };
        if entry.extension.as_ref() == Some(extension) {
            return Ok(Plan::Same);
        }
        if let Some(far) = entry.far_end() {
            refuse!(Exists, "circuit {id} has a far side, id {} on link {}: remove it first", far.id, far.link);
        }
        if let [a, b] = extension.others[..]
            && a == b
        {
            refuse!(Malformed, "circuit {id}: others: one first counter for two hops");
        }
        let side = [(extension.far, entry.spec.legs[0].admitted)];
        self.check_sides(&format!("circuit {id}"), &side, now).map(Plan::Do)
    }

    /// Gives a circuit the far side that [`Self::check_extension`] found possible. Returns the circuit.
    pub fn commit_extension(&mut self, id: u32, extension: Extension) -> Option<&CircuitEntry> {
        let admitted = self.circuits.get(&id)?.spec.legs[0].admitted;
        let side = self.put_side(id, extension.far, admitted)?;
        let entry = self.circuits.get_mut(&id)?;
        (entry.far, entry.extension) = (Some(side), Some(extension));
        Some(entry)
    }

    /// Removes a circuit; what to remove from workers, in order.
    pub fn remove_circuit(&mut self, id: u32) -> Vec<Removal> {
        let Some(entry) = self.circuits.remove(&id) else { return Vec::new() };
        self.near_sides.remove(&entry.near.ingress);
        self.release(entry.spec.near, entry.spec.legs[1].admitted);
        if let Some(far) = entry.far_end() {
            self.release(far, entry.spec.legs[0].admitted);
        }
        // Nothing may come in before there is nowhere to go.
        let sides = || [Some(entry.near), entry.far].into_iter().flatten();
        let ingresses = sides().map(|side| (Table::Ingress, side.ingress));
        let egresses = sides().map(|side| (Table::Egress, side.egress));
        ingresses.chain(egresses).map(|(table, place)| self.retire(table, place)).collect()
    }

    /// What a put of a tap does.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_tap(&mut self, at: LinkEnd) -> Result<Plan<()>, Refused> {
        if self.taps.contains_key(&at) {
            return Ok(Plan::Same);
        }
        self.check_free_id("a tap", at)?;
        let worker = self.known_link(at.link)?.place.worker;
        self.table(worker, Table::Ingress).check(1, "limits.circuits")?;
        Ok(Plan::Do(()))
    }

    /// Puts a tap that [`Self::check_tap`] found possible. Returns where its cells come in.
    pub fn commit_tap(&mut self, at: LinkEnd) -> Option<Place> {
        let worker = self.link(at.link)?.place.worker;
        let place = self.take(worker, Table::Ingress);
        self.hold(at, Holder::Tap, false);
        self.taps.insert(at, place);
        Some(place)
    }

    /// Whether control takes this circuit id's cells.
    pub fn is_tapped(&self, at: LinkEnd) -> bool {
        self.taps.contains_key(&at)
    }

    /// Removes a tap; what to remove from its worker.
    pub fn remove_tap(&mut self, at: LinkEnd) -> Vec<Removal> {
        let Some(place) = self.taps.remove(&at) else { return Vec::new() };
        self.release(at, false);
        vec![self.retire(Table::Ingress, place)]
    }
}
