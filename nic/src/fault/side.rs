//! One direction's faults: what becomes of each datagram, and those that are held back.

use super::{FaultConfig, FaultCounters, FaultError, Faults, MAX_HOLD};
use crate::frames::{FrameBox, frames};
use crate::{BURST, Endpoint, FRAME};
use rand::distr::{Bernoulli, Distribution, Uniform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// What becomes of a datagram now.
pub(super) enum Fate {
    /// It passes as it is.
    Pass,
    /// This passes in its place: to be given back with [`Side::give`].
    Instead(FrameBox),
    /// Nothing passes: it is lost, or held back.
    Nothing,
}

/// A datagram that is held back, until either comes.
struct Held {
    frame: FrameBox,
    /// This time.
    tick: u64,
    /// So many have passed.
    passed: u64,
}

/// One direction.
pub(super) struct Side {
    rng: ChaCha12Rng,
    loss: Bernoulli,
    duplicate: Bernoulli,
    corrupt: Bernoulli,
    reorder: Bernoulli,
    reorder_by: Uniform<u64>,
    reorder_ticks: u64,
    delay: Bernoulli,
    delay_ticks: Uniform<u64>,
    /// In the order in which they came. Never more than `hold`.
    held: Vec<Held>,
    hold: usize,
    /// None of them is ripe before: the least `tick` and `passed`.
    next: (u64, u64),
    free: Vec<FrameBox>,
    counters: FaultCounters,
}

impl Side {
    pub(super) fn new((name, stream): (&str, u64), config: &FaultConfig, faults: &Faults) -> Result<Side, FaultError> {
        let wrong = |what: String| FaultError(format!("{name}.{what}"));
        let rate = |key: &str, rate: f64| {
            Bernoulli::new(rate).map_err(|_| wrong(format!("{key} = {rate}: a rate is from 0 to 1")))
        };
        let reorder_by = Uniform::new_inclusive(1, faults.reorder_by)
            .map_err(|_| wrong(format!("reorder_by = {}: at least 1", faults.reorder_by)))?;
        let (first, last) = (*faults.delay_ticks.start(), *faults.delay_ticks.end());
        let delay_ticks = Uniform::new_inclusive(first, last)
            .map_err(|_| wrong(format!("delay_ticks = {first} to {last}: the first is above the last")))?;
        if config.hold > MAX_HOLD {
            return Err(FaultError(format!("hold = {}: at most {MAX_HOLD}", config.hold)));
        }
        // Two streams of one seed, so that one direction's traffic does not move the other's faults.
        let mut rng = ChaCha12Rng::seed_from_u64(config.seed);
        rng.set_stream(stream);
        // A burst of changed ones may be on loan beside those that are held back, one is in hand, one its double.
        let (hold, frames_needed) = if faults.none() { (0, 0) } else { (config.hold, config.hold + BURST + 2) };
        Ok(Side {
            rng,
            loss: rate("loss", faults.loss)?,
            duplicate: rate("duplicate", faults.duplicate)?,
            corrupt: rate("corrupt", faults.corrupt)?,
            reorder: rate("reorder", faults.reorder)?,
            reorder_by,
            reorder_ticks: faults.reorder_ticks,
            delay: rate("delay", faults.delay)?,
            delay_ticks,
            held: Vec::with_capacity(hold),
            hold,
            next: (u64::MAX, u64::MAX),
            free: frames(frames_needed),
            counters: FaultCounters::default(),
        })
    }

    pub(super) fn counters(&self) -> FaultCounters {
        FaultCounters { held: self.held.len() as u64, ..self.counters }
    }

    pub(super) fn refused_late(&mut self, frames: usize) {
        self.counters.refused_late += frames as u64;
    }

    /// Takes a frame back.
    pub(super) fn give(&mut self, frame: FrameBox) {
        self.free.push(frame);
    }

    /// Decides on a datagram.
    pub(super) fn fate(&mut self, now: u64, peer: Endpoint, data: &[u8]) -> Fate {
        self.counters.taken += 1;
        if self.loss.sample(&mut self.rng) {
            self.counters.lost += 1;
            return Fate::Nothing;
        }
        let mut changed = self.corrupted(peer, data);
        if self.duplicate.sample(&mut self.rng) {
            self.double(now, peer, changed.as_ref().map_or(data, |frame| frame.payload()));
        }
        if let Some((tick, passed)) = self.held_until(now) {
            let room = self.held.len() < self.hold;
            if let Some(frame) = changed.take_if(|_| room).or_else(|| self.copy(peer, data)) {
                let kind = if passed == u64::MAX { &mut self.counters.delayed } else { &mut self.counters.reordered };
                *kind += 1;
                self.hold(Held { frame, tick, passed });
                return Fate::Nothing;
            }
            self.counters.spared += 1;
        }
        self.counters.passed += 1;
        changed.map_or(Fate::Pass, Fate::Instead)
    }

    /// Takes out the one that was held back first of those that need not be any longer, to be passed.
    pub(super) fn ripe(&mut self, now: u64) -> Option<FrameBox> {
        let passed = self.counters.passed;
        if now < self.next.0 && passed < self.next.1 {
            return None;
        }
        let ripe = self.held.iter().position(|held| held.tick <= now || held.passed <= passed);
        let Some(at) = ripe else {
            let least = |next: (u64, u64), held: &Held| (next.0.min(held.tick), next.1.min(held.passed));
            self.next = self.held.iter().fold((u64::MAX, u64::MAX), least);
            return None;
        };
        self.counters.passed += 1;
        Some(self.held.remove(at).frame)
    }

    /// A changed copy, if it is drawn: one byte, anywhere.
    fn corrupted(&mut self, peer: Endpoint, data: &[u8]) -> Option<FrameBox> {
        if !self.corrupt.sample(&mut self.rng) || data.is_empty() || data.len() > FRAME {
            return None;
        }
        let (at, change) = (self.rng.random_range(0..data.len()), self.rng.random_range(1..=u8::MAX));
        let mut frame = self.free.pop()?;
        fill(&mut frame, peer, data)[at] ^= change;
        self.counters.corrupted += 1;
        Some(frame)
    }

    /// A second one comes with the next tick.
    fn double(&mut self, now: u64, peer: Endpoint, data: &[u8]) {
        match self.copy(peer, data) {
            Some(frame) => {
                self.counters.duplicated += 1;
                self.hold(Held { frame, tick: now.saturating_add(1), passed: u64::MAX });
            }
            None => self.counters.spared += 1,
        }
    }

    /// Until when a datagram is held back, if it is drawn: a time, and how many have passed then.
    fn held_until(&mut self, now: u64) -> Option<(u64, u64)> {
        if self.delay.sample(&mut self.rng) {
            let ticks = self.delay_ticks.sample(&mut self.rng);
            return Some((now.saturating_add(ticks), u64::MAX));
        }
        let reordered = self.reorder.sample(&mut self.rng);
        reordered.then(|| {
            let others = self.reorder_by.sample(&mut self.rng);
            (now.saturating_add(self.reorder_ticks), self.counters.passed.saturating_add(others))
        })
    }

    /// A copy to be held back; none when as many as may be are, or the datagram is longer than a frame.
    fn copy(&mut self, peer: Endpoint, data: &[u8]) -> Option<FrameBox> {
        if self.held.len() >= self.hold || data.len() > FRAME {
            return None;
        }
        let mut frame = self.free.pop()?;
        fill(&mut frame, peer, data);
        Some(frame)
    }

    fn hold(&mut self, held: Held) {
        self.next = (self.next.0.min(held.tick), self.next.1.min(held.passed));
        self.held.push(held);
    }
}

fn fill<'f>(frame: &'f mut FrameBox, peer: Endpoint, data: &[u8]) -> &'f mut [u8] {
    let frame = frame.begin(data.len());
    *frame.to = peer;
    frame.data.copy_from_slice(data);
    frame.data
}
