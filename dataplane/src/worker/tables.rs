//! The tables' side of commands. Indices are the service thread's, checked there.

use crate::circuit::{Egress, Ingress, IngressRest, NO_OTHERS, Originators, idle_steps};
use crate::command::{Direction, DirectionKeys, Generation, NewEgress, NewIngress, NewLink, NewLoop, Next, StepKey};
use crate::drops::DropReason;
use crate::limits::WAITING_PER_CIRCUIT;
use crate::link::{LinkRx, LinkTx, NIL, NO_STEP, ONE_STEP_BITS, ReadKeys, Steps, Told, WriteKeys};
use crate::owners::Owners;
use crate::punt::Allowance;
use crate::state::{NO_CELLS, State, idle_write_keys};
use crate::window::{CounterWindow, RecordWindow};
use drover_crypto::{Records, Suite};
use drover_nic::Endpoint;
use drover_wire::control::Peer;
use drover_wire::record;
use rand::Rng;

/// Puts `value` at `index`, which is in use or the next one.
fn place<V>(slab: &mut Vec<V>, index: u32, value: V) {
    match slab.get_mut(index as usize) {
        Some(at) => *at = value,
        None => {
            debug_assert_eq!(index as usize, slab.len());
            slab.push(value);
        }
    }
}

impl<C: Suite, const S: usize> State<C, S> {
    /// Two ratchet steps' keys; of a foreign peer's epoch one, and never more: what comes after it is another epoch.
    fn steps(
        &mut self,
        keys: &mut [<C::Records as Records>::Key; 2],
        first: u64,
        ratchet_bits: u8,
        peer: Peer,
    ) -> Option<Steps> {
        let step = first >> ratchet_bits;
        let [a, b] = keys;
        let mut steps = Steps { keys: [0; 2], steps: [NO_STEP; 2], asked: NO_STEP, ratchet_bits };
        for (key, step) in [(a, step), (b, step + 1)] {
            let at = (step & 1) as usize;
            steps.keys[at] = self.record_keys.insert(key)?;
            steps.steps[at] = step;
        }
        if peer == Peer::Foreign {
            steps.steps[((step + 1) & 1) as usize] = NO_STEP;
            steps.asked = step + 1;
        }
        Some(steps)
    }

    fn read_keys(
        &mut self,
        generation: u32,
        keys: &mut DirectionKeys<C::Records>,
        bits: u8,
        peer: Peer,
    ) -> Option<ReadKeys> {
        // How long a foreign peer uses a key is its own business.
        let bits = if peer == Peer::Foreign { ONE_STEP_BITS } else { bits };
        let steps = self.steps(&mut keys.keys, keys.first, bits, peer)?;
        let mask = self.mask_keys.insert(&mut keys.mask)?;
        let window = RecordWindow::starting_at(keys.first);
        let counted = keys.first;
        Some(ReadKeys { steps, generation, mask, last_slot: 0, heard: false, hunted: 0, counted, window })
    }

    fn write_keys(
        &mut self,
        generation: u32,
        keys: &mut DirectionKeys<C::Records>,
        bits: u8,
        peer: Peer,
    ) -> Option<WriteKeys> {
        let steps = self.steps(&mut keys.keys, keys.first, bits, peer)?;
        let mask = self.mask_keys.insert(&mut keys.mask)?;
        let first_byte = match peer {
            Peer::Drover => record::FIRST_BYTE,
            Peer::Foreign => record::first_byte(generation),
        };
        Some(WriteKeys { generation, mask, steps, base: 0, first: keys.first, first_byte })
    }

    fn free_steps(&mut self, steps: &Steps, mask: u32) {
        for key in steps.keys {
            self.record_keys.remove(key);
        }
        self.mask_keys.remove(mask);
    }

    pub(crate) fn free_read_keys(&mut self, keys: &ReadKeys) {
        self.free_steps(&keys.steps, keys.mask);
    }

    pub(super) fn add_link(&mut self, new: &mut NewLink<C::Records>) {
        let (Some(owners), Some(keys)) = (new.owners.take(), new.keys.as_mut()) else { return };
        // The slabs hold the keys of all links that the service thread lets in.
        let (bits, peer) = (keys.ratchet_bits, new.peer);
        let Some(read) = self.read_keys(keys.generation, &mut keys.receive, bits, peer) else { return };
        let Some(mut write) = self.write_keys(keys.generation, &mut keys.send, bits, peer) else { return };
        let first_slot = self.classes[usize::from(new.class)].join(new.index, new.phase, self.now);
        write.base = write.first.wrapping_sub(first_slot);
        let keys = [Some(read), None];
        let rx = LinkRx {
            keys,
            active: 0,
            class: new.class,
            peer: new.peer,
            trials: (0, 0),
            last_at: self.now,
            told: Told::Nothing,
            retire_at: u64::MAX,
            punted: Allowance::default(),
        };
        let tx = LinkTx {
            remote: new.remote,
            class: new.class,
            phase: new.phase,
            keys: write,
            staged: None,
            owners,
            arriving: NO_CELLS,
            ready: NO_CELLS,
            loop_to: NIL,
            control: NO_CELLS,
            left: 0,
            id: new.id,
            live: true,
            controlled: false,
            #[cfg(feature = "lab")]
            lab: crate::counters::LinkCounters {
                sweeps_at_join: self.classes[usize::from(new.class)].sweeps_missed(),
                ..Default::default()
            },
        };
        place(&mut self.rx, new.index, rx);
        place(&mut self.tx, new.index, tx);
        self.endpoints.insert(new.remote, new.index);
    }

    pub(super) fn add_loop(&mut self, new: &mut NewLoop) {
        let [a, b] = &new.ends;
        let others = [b.index, a.index];
        for (end, loop_to) in new.ends.iter_mut().zip(others) {
            let Some(owners) = end.owners.take() else { continue };
            self.classes[usize::from(new.class)].join(end.index, end.phase, self.now);
            let peer = Peer::Drover;
            // No record is ever opened or sealed here: there are no keys, and no address leads to it.
            let keys = [None, None];
            let (class, trials, last_at) = (new.class, (0, 0), self.now);
            let (told, retire_at, punted) = (Told::Nothing, u64::MAX, Allowance::default());
            let rx = LinkRx { keys, active: 0, class, peer, trials, last_at, told, retire_at, punted };
            let tx = LinkTx {
                remote: Endpoint::NONE,
                class: new.class,
                phase: end.phase,
                keys: idle_write_keys(),
                staged: None,
                owners,
                arriving: NO_CELLS,
                ready: NO_CELLS,
                control: NO_CELLS,
                left: 0,
                loop_to,
                id: end.id,
                live: true,
                controlled: false,
                #[cfg(feature = "lab")]
                lab: crate::counters::LinkCounters {
                    sweeps_at_join: self.classes[usize::from(new.class)].sweeps_missed(),
                    ..Default::default()
                },
            };
            place(&mut self.rx, end.index, rx);
            place(&mut self.tx, end.index, tx);
        }
    }

    pub(super) fn add_generation(&mut self, link: u32, keys: Option<&mut Generation<C::Records>>) {
        let Some(keys) = keys else { return };
        // What is not tried first makes room: an older generation, or one that never came into use.
        self.retire(link);
        let peer = self.rx[link as usize].peer;
        let read = self.read_keys(keys.generation, &mut keys.receive, keys.ratchet_bits, peer);
        let rx = &mut self.rx[link as usize];
        rx.keys[usize::from(1 - rx.active)] = read;
        rx.retire_at = u64::MAX;
        if let Some(unused) = self.tx[link as usize].staged.take() {
            self.free_steps(&unused.steps, unused.mask);
        }
        self.tx[link as usize].staged = self.write_keys(keys.generation, &mut keys.send, keys.ratchet_bits, peer);
    }

    /// A foreign peer's next epoch begins, one way.
    pub(super) fn advance(
        &mut self,
        link: u32,
        direction: Direction,
        epoch: u32,
        bits: u8,
        keys: &mut DirectionKeys<C::Records>,
    ) {
        match direction {
            Direction::Receive => {
                self.retire(link);
                let read = self.read_keys(epoch, keys, bits, Peer::Foreign);
                let rx = &mut self.rx[link as usize];
                rx.keys[usize::from(1 - rx.active)] = read;
                rx.retire_at = u64::MAX;
            }
            Direction::Send => {
                if let Some(keys) = self.write_keys(epoch, keys, bits, Peer::Foreign) {
                    self.seal_with(link, keys);
                }
            }
        }
    }

    /// The first slot not yet sealed is the class's next one for this link.
    pub(super) fn switch(&mut self, link: u32, generation: u32) {
        let tx = &mut self.tx[link as usize];
        if let Some(keys) = tx.staged.take_if(|staged| staged.generation == generation) {
            self.seal_with(link, keys);
        }
    }

    /// Seals with these keys from the first slot not yet sealed.
    fn seal_with(&mut self, link: u32, mut keys: WriteKeys) {
        let tx = &mut self.tx[link as usize];
        let next_slot = self.classes[usize::from(tx.class)].next_of(link, tx.phase);
        keys.base = keys.first.wrapping_sub(next_slot);
        let old = std::mem::replace(&mut tx.keys, keys);
        self.free_steps(&old.steps, old.mask);
    }

    pub(super) fn remove_link(&mut self, link: u32) -> Option<Owners> {
        let at = link as usize;
        let LinkTx { class, phase, .. } = self.tx[at];
        self.classes[usize::from(class)].leave(link, phase);
        // Whoever has this index next must not be given steps of these keys.
        self.wants.retain(|want| want.link != link);
        self.drop_injected(link);
        self.mixer.forget(link);
        self.forget_crossings(link);
        self.endpoints.remove(&self.tx[at].remote);
        for set in 0..2 {
            if let Some(keys) = self.rx[at].keys[set].take() {
                self.free_read_keys(&keys);
            }
        }
        if self.tx[at].loop_to == NIL {
            let keys = std::mem::replace(&mut self.tx[at].keys, idle_write_keys());
            self.free_steps(&keys.steps, keys.mask);
        }
        if let Some(staged) = self.tx[at].staged.take() {
            self.free_steps(&staged.steps, staged.mask);
        }
        let tx = &mut self.tx[at];
        tx.live = false;
        tx.remote = Endpoint::NONE;
        Some(std::mem::replace(&mut tx.owners, Owners::none()))
    }

    /// A step's key arrives. It takes the place of the step two before, which nobody needs any more.
    pub(super) fn add_step(&mut self, new: &mut StepKey<C::Records>) {
        let (rx, tx) = (&mut self.rx[new.link as usize], &mut self.tx[new.link as usize]);
        let steps = match new.direction {
            Direction::Receive => {
                rx.keys.iter_mut().flatten().find(|k| k.generation == new.generation).map(|k| &mut k.steps)
            }
            Direction::Send => [Some(&mut tx.keys), tx.staged.as_mut()]
                .into_iter()
                .flatten()
                .find(|k| k.generation == new.generation)
                .map(|k| &mut k.steps),
        };
        let (Some(steps), Some(key)) = (steps, new.key.as_mut()) else { return };
        let at = (new.step & 1) as usize;
        if steps.steps[at] == NO_STEP || steps.steps[at] < new.step {
            steps.steps[at] = new.step;
            self.record_keys.exchange(steps.keys[at], key);
        }
    }

    pub(super) fn add_ingress(&mut self, new: &mut NewIngress<C::Layers>) {
        let key = match new.key.as_mut() {
            Some(key) => match self.layer_keys.insert(key) {
                Some(at) => at,
                None => return,
            },
            None => u32::MAX,
        };
        let others = match &new.others[..] {
            [] => NO_OTHERS,
            // As many as there are ways in.
            firsts => self.originators.insert(&mut Originators::new(firsts, self.now)).unwrap_or(NO_OTHERS),
        };
        let ingress = Ingress {
            window: CounterWindow::starting_at(new.first.unwrap_or(0)),
            offset: new.offset,
            next: new.next,
            key,
            last_at: idle_steps(self.now),
            step: new.step,
            begun: new.first.is_some(),
            unproven: new.first.is_none(),
            has_others: others != NO_OTHERS,
        };
        place(&mut self.ingress_rest, new.index, IngressRest { link: new.link, circuit: new.circuit, others });
        place(&mut self.ingress, new.index, ingress);
        self.circuits.insert((new.link, new.circuit), new.index);
    }

    pub(super) fn remove_ingress(&mut self, index: u32) {
        let IngressRest { link, circuit, others } = self.ingress_rest[index as usize];
        let key = self.ingress[index as usize].key;
        // A circuit id may have been put again on another index meanwhile.
        if self.circuits.get(&(link, circuit)) == Some(index) {
            self.circuits.remove(&(link, circuit));
        }
        if key != u32::MAX {
            self.layer_keys.remove(key);
        }
        if others != NO_OTHERS {
            self.originators.remove(others);
        }
        // No cell finds a removed ingress; its fields are overwritten when the place is used again.
        self.ingress[index as usize].key = u32::MAX;
        self.ingress[index as usize].has_others = false;
        self.ingress_rest[index as usize].others = NO_OTHERS;
        self.ingress[index as usize].next = Next::End { end: u32::MAX };
    }

    pub(super) fn add_egress(&mut self, new: &NewEgress) {
        let tx = &mut self.tx[new.link as usize];
        let admitted = new.admitted && tx.owners.admit(new.index, &mut self.rng);
        let class = &self.classes[usize::from(tx.class)];
        let (n, slots) = (class.n(), class.rate().slots);
        let redraw_at = n + self.rng.random_range(crate::limits::REDRAW_ROUNDS) * u64::from(slots);
        let egress = Egress {
            tag: new.tag,
            link: new.link,
            queue: [(0, 0); WAITING_PER_CIRCUIT],
            head: 0,
            len: 0,
            live: true,
            admitted,
            end: new.end,
            redraw_at,
            counted: 0,
        };
        place(&mut self.egress, new.index, egress);
    }

    pub(super) fn remove_egress(&mut self, index: u32) {
        let egress = &mut self.egress[index as usize];
        egress.live = false;
        let (link, admitted) = (egress.link, egress.admitted);
        while let Some((cell, _)) = self.egress[index as usize].pop(self.now) {
            self.drop_cell(cell, DropReason::CircuitGone);
        }
        if admitted {
            self.tx[link as usize].owners.release(index);
        } else {
            self.drop_best_effort(link, index);
        }
    }
}
