//! Pace and seal: which links owe a record within the horizon, and the record for each.
//!
//! A waiting cell and chaff take the same path and the same work, into a transmit frame, ahead of the slot: neither
//! load nor content moves a departure (I6). A number belongs to its slot and is used here, never at arrival; a sealed
//! number is burned.

use crate::circuit::longest_wait;
use crate::class::{NEVER, Slot};
use crate::command::Direction;
use crate::drops::DropReason;
use crate::limits::SLOTS_PER_TURN;
use crate::link::{HOT_LINES, NIL};
use crate::pool::CHAFF;
use crate::state::{Crossing, Departure, State, Want};
use crate::terminal::Terminal;
use arrayvec::ArrayVec;
use drover_crypto::{BATCH, MaskJob, Records, SealJob, Suite, prefetch};
use drover_nic::Port;
use drover_wire::cell::{Command, HEADER, Header, body_len};
use drover_wire::record::{self, record_len};

/// A slot with what it needs to be sealed.
struct Owed {
    slot: Slot,
    /// The way out that owns the slot.
    owner: Option<u32>,
    cell: u32,
    key: u32,
    mask: u32,
    number: u64,
    first_byte: u8,
}

/// The place of a slot in its round. Neighbours mostly have the same slot number, and a division is long.
#[derive(Default)]
struct Places {
    n: u64,
    slots: u32,
    place: u32,
}

impl Places {
    fn of(&mut self, slot: &Slot) -> u32 {
        if (self.n, self.slots) != (slot.n, slot.slots) {
            *self = Places { n: slot.n, slots: slot.slots, place: (slot.n % u64::from(slot.slots)) as u32 };
        }
        self.place
    }
}

impl<C: Suite, const S: usize> State<C, S> {
    /// Seals what is due by `until`, in order of departure.
    pub fn seal<T: Terminal>(&mut self, until: u64, port: &mut impl Port, terminal: &mut T) {
        let mut left = SLOTS_PER_TURN;
        while left > 0 {
            // Datagrams of control have frames of their own.
            let waiting = port.reserved().saturating_sub(self.raw_waiting) + self.crossings.len();
            let room = self.departures_max.saturating_sub(waiting).min(self.batch()).min(left);
            let slots = self.due(until, room);
            if slots.is_empty() {
                break;
            }
            left -= slots.len();
            self.seal_batch(slots, port, terminal);
        }
        for (class, missed) in self.classes.iter_mut().zip(&mut self.counters.class_missed) {
            *missed += class.take_missed();
        }
    }

    /// The next slots due by `until`, of all classes in order, at most `room`.
    fn due(&mut self, until: u64, room: usize) -> ArrayVec<Slot, BATCH> {
        let mut slots: ArrayVec<Slot, BATCH> = ArrayVec::new();
        // What is a slot late is lost, unless that is broken.
        let now = if self.makes_up() { 0 } else { self.now };
        while slots.len() < room {
            // The class whose slot comes first gives out its slots up to the first one of any other.
            let mut first = (NEVER, 0);
            let mut second = NEVER;
            for (index, class) in self.classes.iter().enumerate() {
                let due = class.next_due();
                if due < first.0 {
                    (second, first) = (first.0, (due, index));
                } else {
                    second = second.min(due);
                }
            }
            let (due, index) = first;
            if due > until {
                break;
            }
            let (from, room) = (slots.len(), room - slots.len());
            self.classes[index].take_until(now, until.min(second), room, index as u8, &mut slots);
            let lost = slots[from..].iter().take_while(|slot| slot.due + slot.period.max(self.grain) <= now).count();
            for slot in slots.drain(from..from + lost) {
                self.lose(&slot);
            }
        }
        for slot in &slots {
            prefetch::prefetch_lines(&self.tx, slot.link as usize, HOT_LINES);
        }
        slots
    }

    fn seal_batch<T: Terminal>(&mut self, slots: ArrayVec<Slot, BATCH>, port: &mut impl Port, terminal: &mut T) {
        // Each pass asks for the memory that the next one reads.
        let mut places = Places::default();
        for slot in &slots {
            self.tx[slot.link as usize].owners.prefetch(places.of(slot));
        }
        let mut batch: ArrayVec<Owed, BATCH> = ArrayVec::new();
        for slot in slots {
            let to = self.tx[slot.link as usize].loop_to;
            if to != NIL {
                self.cross_at(&slot, to, terminal);
                continue;
            }
            match self.keys_at(&slot) {
                Some((key, mask, number, first_byte)) => {
                    let owners = &mut self.tx[slot.link as usize].owners;
                    let owner = owners.at_place(places.of(&slot), slot.slots, &mut self.rng);
                    if let Some(owner) = owner {
                        prefetch::prefetch_slice_element(&self.egress, owner as usize);
                    }
                    batch.push(Owed { slot, owner, cell: CHAFF, key, mask, number, first_byte });
                }
                None => self.lose(&slot),
            }
        }
        for owed in &mut batch {
            owed.cell = self.cell_for(&owed.slot, owed.owner, terminal);
        }
        let len = self.len_of(&batch);
        let mut frames = port.reserve(batch.len(), len);
        // `due` asked for no more than there is room for; a port that gives fewer loses slots, and they are counted.
        for owed in batch.drain(frames.len()..) {
            self.lose(&owed.slot);
            if owed.cell != CHAFF {
                self.drop_cell(owed.cell, DropReason::LateSlot);
            }
        }
        let mut jobs: ArrayVec<SealJob<'_>, BATCH> = ArrayVec::new();
        for (frame, owed) in frames.drain(..).zip(&batch) {
            *frame.to = self.tx[owed.slot.link as usize].remote;
            jobs.push(SealJob {
                key: owed.key,
                cell: owed.cell,
                number: owed.number,
                first: owed.first_byte,
                frame: &mut frame.data[..record_len(S)],
            });
        }
        C::Records::seal(self.record_keys.items(), &self.pool.cells, &mut jobs);
        mask_numbers::<C>(self.mask_keys.items(), &mut jobs, &batch);
        drop(jobs);
        for owed in &batch {
            let real = owed.cell != CHAFF;
            if real {
                self.pool.give(owed.cell);
            }
            let Slot { link, class, period, .. } = owed.slot;
            let period = period.max(self.grain);
            let due = self.departure_of(&owed.slot, real);
            self.departures.push_back(Departure { due, period, class, link, real });
        }
    }

    /// What leaves at a slot of a link of this mix to itself: it waits for its instant as a record does, cell or none.
    fn cross_at<T: Terminal>(&mut self, slot: &Slot, to: u32, terminal: &mut T) {
        let &Slot { link: from, class, due, period, .. } = slot;
        let owner = self.tx[from as usize].owners.at(slot.n, slot.slots, &mut self.rng);
        let cell = self.cell_for(slot, owner, terminal);
        let period = period.max(self.grain);
        self.crossings.push_back(Crossing { due, period, class, from, to, cell });
    }

    /// The keys, the record number and the first byte of a slot; `None` when the ratchet step's key is not here.
    #[inline]
    fn keys_at(&mut self, slot: &Slot) -> Option<(u32, u32, u64, u8)> {
        let link = slot.link as usize;
        let keys = &self.tx[link].keys;
        let number = slot.n.wrapping_add(keys.base);
        let key = keys.steps.key_for(number);
        let wanted = match key {
            Some(_) => keys.steps.next_missing(number),
            None => Some(keys.steps.step_of(number)).filter(|step| keys.steps.asked != *step),
        };
        let (mask, first_byte) = (keys.mask, keys.first_byte);
        if let Some(step) = wanted {
            let want = Want { link: slot.link, generation: keys.generation, direction: Direction::Send, step };
            if self.want(want) {
                self.tx[link].keys.steps.asked = step;
            }
        }
        key.map(|key| (key, mask, number, first_byte))
    }

    /// What leaves at a slot: its owner's oldest waiting cell; in a free slot, control, then mixed best effort; else chaff.
    #[inline]
    fn cell_for<T: Terminal>(&mut self, slot: &Slot, owner: Option<u32>, terminal: &mut T) -> u32 {
        match owner {
            Some(owner) => self.cell_of_owner(slot, owner, terminal),
            None => {
                let control = self.next_control(slot.link);
                control.or_else(|| self.tx[slot.link as usize].ready.pop(&self.next)).unwrap_or(CHAFF)
            }
        }
    }

    #[inline]
    fn cell_of_owner<T: Terminal>(&mut self, slot: &Slot, owner: u32, terminal: &mut T) -> u32 {
        let egress = &self.egress[owner as usize];
        let cell = match egress.end {
            None => self.oldest_punctual(slot, owner),
            Some((end, circuit)) => self.fill(end, circuit, terminal),
        };
        let egress = &self.egress[owner as usize];
        if slot.n >= egress.redraw_at {
            let next = self.next_redraw(slot.n, slot.slots);
            self.egress[owner as usize].redraw_at = next;
            self.tx[slot.link as usize].owners.redraw(owner, &mut self.rng);
        }
        cell.unwrap_or(CHAFF)
    }

    /// The owner's oldest waiting cell, behind those that have waited too long.
    #[inline]
    fn oldest_punctual(&mut self, slot: &Slot, owner: u32) -> Option<u32> {
        let longest = longest_wait(slot.period * u64::from(slot.slots));
        while let Some((cell, waited)) = self.egress[owner as usize].pop(self.now) {
            if waited <= longest {
                return Some(cell);
            }
            self.drop_cell(cell, DropReason::CircuitLate);
        }
        None
    }

    /// A cell of this process's own client.
    fn fill<T: Terminal>(&mut self, end: u32, circuit: u32, terminal: &mut T) -> Option<u32> {
        let cell = self.pool.take()?;
        let now = self.now;
        let plaintext = self.pool.plaintext_mut(cell);
        let counter = terminal.fill(end, now, &mut plaintext[HEADER..HEADER + body_len(S)]);
        Header { circuit, command: Command::Relay, counter }.write(plaintext);
        #[cfg(feature = "lab")]
        {
            self.counters.lab.filled += 1;
        }
        Some(cell)
    }

    /// A slot that cannot be sealed: its number is burned all the same.
    fn lose(&mut self, slot: &Slot) {
        self.counters.class_missed[usize::from(slot.class)] += 1;
        #[cfg(feature = "lab")]
        {
            self.tx[slot.link as usize].lab.missed += 1;
        }
    }

    /// Slots sealed at once.
    fn batch(&self) -> usize {
        #[cfg(feature = "lab")]
        if self.broken(crate::lab::Break::ChaffSize) {
            return 1;
        }
        BATCH
    }

    /// Bytes of every record of a batch: one length for all, cells and chaff.
    fn len_of(&self, batch: &[Owed]) -> usize {
        #[cfg(feature = "lab")]
        if self.broken(crate::lab::Break::ChaffSize) && batch.iter().any(|o| o.cell == CHAFF) {
            return record_len(S) + 1;
        }
        let _ = batch;
        record_len(S)
    }

    fn departure_of(&self, slot: &Slot, real: bool) -> u64 {
        #[cfg(feature = "lab")]
        if real && self.broken(crate::lab::Break::DepartureByArrival) {
            return slot.due + slot.period / 8;
        }
        let _ = real;
        slot.due
    }

    fn makes_up(&self) -> bool {
        #[cfg(feature = "lab")]
        return self.broken(crate::lab::Break::CatchUp);
        #[cfg(not(feature = "lab"))]
        false
    }
}

/// Masks the numbers of sealed records (RFC 9147, 4.2.3), in one batch.
fn mask_numbers<C: Suite>(keys: &[<C::Records as Records>::MaskKey], jobs: &mut [SealJob<'_>], batch: &[Owed]) {
    let mut masks: ArrayVec<MaskJob, BATCH> = ArrayVec::new();
    for (job, owed) in jobs.iter().zip(batch) {
        let mut sample = [0; 16];
        sample.copy_from_slice(&job.frame[record::HEADER..record::HEADER + 16]);
        masks.push(MaskJob { key: owed.mask, sample, mask: [0; 2] });
    }
    C::Records::masks(keys, &mut masks);
    for (job, mask) in jobs.iter_mut().zip(&masks) {
        job.frame[1] ^= mask.mask[0];
        job.frame[2] ^= mask.mask[1];
    }
}
