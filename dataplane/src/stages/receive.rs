//! Receive: frames to records, records to opened cells.
//!
//! Passes over a burst: parse, look up and collect, one batch call, then walk the failures. Frames never outlive this
//! stage: records are opened out of place, from frames into the cell pool.

use crate::drops::DropReason;
use crate::limits::{OLD_KEYS_NS, RECORD_WINDOW};
use crate::link::{ReadKeys, Told};
use crate::punt::What;
use crate::state::{State, Want};
use crate::table::Home;
use crate::{command::Direction, limits};
use arrayvec::ArrayVec;
use drover_crypto::{BATCH, MaskJob, OpenJob, Records, Suite, prefetch};
use drover_nic::{Endpoint, RxBurst, RxFrame};
use drover_wire::control::Peer;
use drover_wire::record::{self, Aad, Kind, Record, RecordError};

/// A cell that opened, and the link that it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its place in the pool.
    pub cell: u32,
    /// The link's index.
    pub link: u32,
}

/// Cells of one burst.
pub type OpenedBurst = ArrayVec<Opened, BATCH>;

/// A parsed record: its link, and which of the link's two sets of keys is tried.
pub(super) struct Parsed<'f> {
    pub(super) link: u32,
    pub(super) set: u8,
    pub(super) record: Record<'f>,
    pub(super) number: u64,
}

/// Why a record cannot be opened with a set of keys, before any tag is computed.
type Verdict<T> = Result<T, DropReason>;

impl<C: Suite, const S: usize> State<C, S> {
    /// Opens a burst. Everything that does not open is counted.
    pub fn receive(&mut self, burst: &RxBurst<'_>) -> OpenedBurst {
        self.counters.received += burst.len() as u64;
        for (slot, class) in self.slots_now.iter_mut().zip(&self.classes) {
            *slot = class.slot_at(self.now);
        }
        let mut records: ArrayVec<(Record<'_>, &RxFrame<'_>, Home), BATCH> = ArrayVec::new();
        for frame in burst {
            match Self::parse(frame) {
                Ok(record) => records.push((record, frame, self.endpoints.begin(&frame.from))),
                Err(DropReason::RecordLength) if self.open_short(frame) => {}
                Err(reason) => self.astray(frame, reason),
            }
        }
        let mut parsed: ArrayVec<Parsed<'_>, BATCH> = ArrayVec::new();
        for (record, frame, home) in records {
            match self.endpoints.get_from(home, &frame.from) {
                Some(link) => {
                    prefetch::prefetch_line(&self.rx, link as usize);
                    parsed.push(Parsed { link, set: 0, record, number: 0 });
                }
                None => self.astray(frame, DropReason::UnknownLink),
            }
        }
        self.open_batch(parsed)
    }

    /// A datagram that is no link's record: a plaintext record is control's, and anything of a sender that it expects.
    fn astray(&mut self, frame: &RxFrame<'_>, reason: DropReason) {
        let expected = self.expects(&frame.from);
        if expected || reason == DropReason::Plaintext {
            self.punt_datagram(frame.from, [frame.data, &[]], expected, reason);
        } else {
            self.counters.drop(reason);
        }
    }

    fn expects(&self, from: &Endpoint) -> bool {
        !self.expected.is_empty() && self.expected.get(from).is_some()
    }

    fn parse<'f>(frame: &RxFrame<'f>) -> Verdict<Record<'f>> {
        match record::classify(frame.data) {
            Kind::Ciphertext => {}
            Kind::Plaintext => return Err(DropReason::Plaintext),
            Kind::Unknown => return Err(DropReason::NotARecord),
        }
        record::parse(frame.data, S).map_err(|e| match e {
            RecordError::Header => DropReason::BadRecord,
            RecordError::Short | RecordError::Length => DropReason::RecordLength,
        })
    }

    fn open_batch(&mut self, mut parsed: ArrayVec<Parsed<'_>, BATCH>) -> OpenedBurst {
        for p in &parsed {
            let rx = &self.rx[p.link as usize];
            prefetch::prefetch_slice_element(&rx.keys, usize::from(rx.active));
        }
        let mut masks: ArrayVec<MaskJob, BATCH> = ArrayVec::new();
        let mut keyless: ArrayVec<(u32, Record<'_>, DropReason), BATCH> = ArrayVec::new();
        parsed.retain(|p| {
            let rx = &self.rx[p.link as usize];
            // A foreign peer's record says its epoch; a drover peer's never says its generation.
            let set = match rx.peer {
                Peer::Drover => Some(rx.active),
                Peer::Foreign => rx.of_epoch(p.record.epoch_bits()),
            };
            let keys = set.and_then(|set| rx.keys[usize::from(set)].as_ref());
            let Some((set, keys)) = set.zip(keys) else {
                let reason = if set.is_none() { DropReason::RecordKey } else { DropReason::UnknownLink };
                keyless.push((p.link, p.record, reason));
                return false;
            };
            p.set = set;
            masks.push(MaskJob { key: keys.mask, sample: *p.record.sample(), mask: [0; 2] });
            true
        });
        for (link, record, reason) in keyless {
            self.closed(link, &record, reason);
        }
        C::Records::masks(self.mask_keys.items(), &mut masks);

        let mut opened = OpenedBurst::new();
        let mut jobs: ArrayVec<OpenJob<'_>, BATCH> = ArrayVec::new();
        let mut of_job: ArrayVec<Parsed<'_>, BATCH> = ArrayVec::new();
        for (mut p, mask) in parsed.into_iter().zip(&masks) {
            let low = p.record.number(mask.mask);
            let key = self.number_and_key(&mut p, low);
            let Some(cell) = self.pool.take() else {
                self.counters.drop(DropReason::PoolFull);
                continue;
            };
            match key {
                Some(key) => {
                    let aad = Aad::new(p.record.header, low);
                    jobs.push(OpenJob { key, cell, number: p.number, aad, body: p.record.body, ok: false });
                    of_job.push(p);
                }
                // The number may be wrong because the mask was another generation's.
                None => {
                    let reason = self.admit_record(p.link, p.set, p.number).err();
                    self.finish(&p, cell, Err(reason.unwrap_or(DropReason::RecordKey)), &mut opened);
                }
            }
        }
        C::Records::open(self.record_keys.items(), &mut self.pool.cells, &mut jobs);
        for (job, p) in jobs.iter().zip(&of_job) {
            let verdict = if job.ok { self.commit(p.link, p.set, p.number) } else { Err(DropReason::RecordTag) };
            self.finish(p, job.cell, verdict, &mut opened);
        }
        opened
    }

    /// Walks one record's outcome: what failed gets a second opening, what is then still closed is dropped.
    #[inline]
    fn finish(&mut self, p: &Parsed<'_>, cell: u32, verdict: Verdict<()>, opened: &mut OpenedBurst) {
        let foreign = self.rx[p.link as usize].peer == Peer::Foreign;
        match verdict.or_else(|reason| if foreign { Err(reason) } else { self.second_opening(p, cell, reason) }) {
            Ok(()) if foreign && self.take_content(p, cell) => {}
            Ok(()) => opened.push(Opened { cell, link: p.link }),
            Err(reason) => {
                self.pool.give(cell);
                self.closed(p.link, &p.record, reason);
            }
        }
    }

    /// A record of a link's peer that does not open. A handshake beside the link has records that may look like a cell's.
    fn closed(&mut self, link: u32, record: &Record<'_>, reason: DropReason) {
        let from = self.tx[link as usize].remote;
        if self.expects(&from) {
            self.punt_datagram(from, [record.header, record.body], true, reason);
        } else {
            self.counters.drop(reason);
        }
    }

    pub(super) fn keys(&self, link: u32, set: u8) -> Option<&ReadKeys> {
        self.rx[link as usize].keys[usize::from(set)].as_ref()
    }

    /// The number to expect (`docs/wire.md`, W-NUM).
    pub(super) fn expected(&self, link: u32, set: u8) -> u64 {
        let rx = &self.rx[link as usize];
        let slot = self.slots_now[usize::from(rx.class)];
        self.keys(link, set).map_or(0, |k| k.expected(rx.peer, slot))
    }

    /// Finds a record's whole number; and its key, where the number is new and its step's key is here.
    #[inline]
    fn number_and_key(&self, p: &mut Parsed<'_>, low: u16) -> Option<u32> {
        let rx = &self.rx[p.link as usize];
        let keys = rx.keys[usize::from(p.set)].as_ref()?;
        p.number = record::reconstruct(low, keys.expected(rx.peer, self.slots_now[usize::from(rx.class)]));
        keys.steps.key_for(p.number).filter(|_| keys.window.is_new(p.number))
    }

    /// Checks the window and finds the key: what can be known before the tag.
    fn admit_record(&mut self, link: u32, set: u8, number: u64) -> Verdict<u32> {
        let keys = self.keys(link, set).ok_or(DropReason::UnknownLink)?;
        if !keys.window.is_new(number) {
            return Err(DropReason::RecordReplay);
        }
        match keys.steps.key_for(number) {
            Some(key) => Ok(key),
            None => {
                self.want_expected(link, set);
                Err(DropReason::RecordKey)
            }
        }
    }

    /// After an outage the peer may be steps ahead: ask for the step that time says, never for one that a record says.
    fn want_expected(&mut self, link: u32, set: u8) {
        let expected = self.expected(link, set);
        let Some(keys) = self.keys(link, set) else { return };
        let step = keys.steps.step_of(expected);
        let newest = keys.steps.steps.iter().filter(|s| **s != crate::link::NO_STEP).max().copied().unwrap_or(0);
        if step > newest && keys.steps.asked != step {
            let want = Want { link, generation: keys.generation, direction: Direction::Receive, step };
            if self.want(want)
                && let Some(keys) = &mut self.rx[link as usize].keys[usize::from(set)]
            {
                keys.steps.asked = step;
            }
        }
    }

    /// The other generation, then one wrap away, within the turn's budget: a forged record must not buy work.
    fn second_opening(&mut self, p: &Parsed<'_>, cell: u32, first: DropReason) -> Verdict<()> {
        let other = 1 - p.set;
        if let Some(keys) = self.keys(p.link, other) {
            let mut mask = [MaskJob { key: keys.mask, sample: *p.record.sample(), mask: [0; 2] }];
            C::Records::masks(self.mask_keys.items(), &mut mask);
            let low = p.record.number(mask[0].mask);
            let number = record::reconstruct(low, self.expected(p.link, other));
            if self.try_open(p, other, number, low, cell)? || self.hunt(p, other, number, cell)? {
                return Ok(());
            }
        }
        if self.hunt(p, p.set, p.number, cell)? {
            return Ok(());
        }
        if first == DropReason::RecordTag && self.silent_for_long(p.link, p.set) {
            for number in record::neighbours(p.number).into_iter().flatten() {
                if self.try_open(p, p.set, number, number as u16, cell)? {
                    return Ok(());
                }
            }
        }
        Err(first)
    }

    /// Where nothing has come under a set of keys, the peer may have sent under them for any time: a few wraps of the
    /// number that was tried, others for each record (`docs/wire.md`, W-NUM-4).
    fn hunt(&mut self, p: &Parsed<'_>, set: u8, tried: u64, cell: u32) -> Verdict<bool> {
        for _ in 0..limits::HUNTED_PER_RECORD {
            let keys = self.rx[p.link as usize].keys[usize::from(set)].as_mut();
            let Some(keys) = keys.filter(|keys| !keys.heard) else { return Ok(false) };
            let (first, wraps) = (keys.window.next(), u64::from(keys.hunted));
            keys.hunted = keys.hunted.wrapping_add(1);
            let low = tried as u16;
            // First numbers are below 2^63.
            let number = first + u64::from(low.wrapping_sub(first as u16)) + wraps * record::WRAP;
            if number != tried && self.try_open(p, set, number, low, cell)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A wrap can only have been miscounted when a quarter of one may have gone by unseen.
    fn silent_for_long(&self, link: u32, set: u8) -> bool {
        self.keys(link, set).is_some_and(|k| self.expected(link, set).abs_diff(k.window.next()) > 1 << 14)
    }

    /// One opening on the budget. `Ok(false)`: it does not open so; an error when the budget is spent.
    pub(super) fn try_open(&mut self, p: &Parsed<'_>, set: u8, number: u64, low: u16, cell: u32) -> Verdict<bool> {
        let Ok(key) = self.admit_record(p.link, set, number) else { return Ok(false) };
        let spent = &mut self.rx[p.link as usize].trials;
        if spent.0 != self.counters.turns {
            *spent = (self.counters.turns, 0);
        }
        if self.trials == 0 || spent.1 == limits::TRIALS_PER_LINK {
            return Err(DropReason::RecordTag);
        }
        spent.1 += 1;
        self.trials -= 1;
        self.counters.trials += 1;
        let aad = Aad::new(p.record.header, low);
        let mut job = [OpenJob { key, cell, number, aad, body: p.record.body, ok: false }];
        if p.record.body.len() == S {
            C::Records::open(self.record_keys.items(), &mut self.pool.cells, &mut job);
        } else {
            let key = &self.record_keys.items()[key as usize];
            job[0].ok = C::Records::open_short(key, &mut self.pool.cells[cell as usize], &job[0]);
        }
        Ok(job[0].ok && self.commit(p.link, set, number).is_ok())
    }

    /// Commits an opened record's number, and keeps the link's keys up to date.
    #[inline]
    fn commit(&mut self, link: u32, set: u8, number: u64) -> Verdict<()> {
        let now = self.now;
        let rx = &mut self.rx[link as usize];
        let slot = self.slots_now[usize::from(rx.class)];
        let Some(keys) = &mut rx.keys[usize::from(set)] else { return Err(DropReason::UnknownLink) };
        let highest = number >= keys.window.next();
        // Also the second of two equal records in one burst stops here.
        if !keys.window.commit(number) {
            return Err(DropReason::RecordReplay);
        }
        #[cfg(feature = "lab")]
        {
            self.tx[link as usize].lab.received += 1;
        }
        if !keys.heard {
            // What was sent before this end was there to hear it is not lost.
            keys.counted = number;
        }
        if highest {
            (keys.last_slot, keys.heard) = (slot, true);
        }
        let lost = &mut self.counters.class_lost[usize::from(rx.class)];
        match number.checked_sub(keys.counted) {
            Some(gap) => (*lost, keys.counted) = (*lost + gap, number + 1),
            // It had been counted as lost, and was only late.
            None => *lost = lost.saturating_sub(1),
        }
        let generation = keys.generation;
        let step_wanted = highest && keys.steps.next_missing(number).is_some();
        rx.last_at = now;
        if rx.told != Told::Heard(generation) || set != rx.active || now >= rx.retire_at {
            self.commit_news(link, set, generation);
        }
        if step_wanted {
            self.ratchet_reading(link, set, number);
        }
        Ok(())
    }

    /// What an opened record changes beyond its number: few do.
    #[cold]
    fn commit_news(&mut self, link: u32, set: u8, generation: u32) {
        let now = self.now;
        let rx = &mut self.rx[link as usize];
        let news = match rx.told {
            Told::Heard(told) => told < generation,
            Told::Nothing | Told::Silent => true,
        };
        let newer = rx.keys[usize::from(1 - rx.active)].as_ref().is_some_and(|other| {
            set != rx.active && rx.active().is_some_and(|active| other.generation > active.generation)
        });
        if newer {
            rx.active = set;
            rx.retire_at = now + OLD_KEYS_NS;
        } else if now >= rx.retire_at {
            self.retire(link);
        }
        // Where there is no room to tell it now, the next record tells it.
        if news && self.punt_event(What::Heard { link, generation }) {
            self.rx[link as usize].told = Told::Heard(generation);
        }
    }

    /// Drops the older generation's keys.
    pub(crate) fn retire(&mut self, link: u32) {
        let rx = &mut self.rx[link as usize];
        rx.retire_at = u64::MAX;
        let other = usize::from(1 - rx.active);
        if let Some(keys) = rx.keys[other].take() {
            self.free_read_keys(&keys);
        }
    }

    /// Asks for the next step's key once the window has left the step before, whose place it takes.
    fn ratchet_reading(&mut self, link: u32, set: u8, number: u64) {
        let Some(keys) = self.keys(link, set) else { return };
        let span = 1u64 << keys.steps.ratchet_bits;
        let into_step = number & (span - 1);
        if into_step < RECORD_WINDOW.min(span / 2) {
            return;
        }
        let Some(step) = keys.steps.next_missing(number) else { return };
        let want = Want { link, generation: keys.generation, direction: Direction::Receive, step };
        if self.want(want)
            && let Some(keys) = &mut self.rx[link as usize].keys[usize::from(set)]
        {
            keys.steps.asked = step;
        }
    }

    /// Refills the turn's budget of second openings.
    pub fn refill_trials(&mut self) {
        self.trials = limits::TRIALS_PER_TURN;
    }
}
