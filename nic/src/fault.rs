//! A port whose wire is bad: datagrams are lost, doubled, reordered, spoiled and delayed, by a seed.
//!
//! For tests and labs. The same seed, datagrams and ticks give the same faults. Nothing is allocated after a [`Fault`] is
//! made, and without any rate nothing is copied: the port below is used as it is.

mod side;

use crate::frames::FrameBox;
use crate::staging::{Staging, forward};
use crate::{BURST, Capabilities, Port, PortCounters, PortDetails, RxBurst, RxFrame, TxBurst};
use arrayvec::ArrayVec;
use side::{Fate, Side};
use std::fmt;
use std::ops::RangeInclusive;

/// The most datagrams that one direction may hold back (100 MiB).
pub const MAX_HOLD: usize = 1 << 16;

/// What is done to the datagrams of one direction. Rates are of all its datagrams, 0 to 1, each drawn by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Rate of those that vanish.
    pub loss: f64,
    /// Rate of those that come once more, at the next tick.
    pub duplicate: f64,
    /// Rate of those of which a byte is changed.
    pub corrupt: f64,
    /// Rate of those that let up to `reorder_by` later ones pass; `reorder_ticks` later they come in any case.
    pub reorder: f64,
    /// At least 1.
    pub reorder_by: u64,
    /// Ticks of the clock.
    pub reorder_ticks: u64,
    /// Rate of those that come later by `delay_ticks`.
    pub delay: f64,
    /// Drawn evenly from these: ticks of the clock.
    pub delay_ticks: RangeInclusive<u64>,
}

impl Faults {
    /// No faults.
    pub const NONE: Faults = Faults {
        loss: 0.0,
        duplicate: 0.0,
        corrupt: 0.0,
        reorder: 0.0,
        reorder_by: 3,
        reorder_ticks: 8,
        delay: 0.0,
        delay_ticks: 1..=8,
    };

    fn none(&self) -> bool {
        [self.loss, self.duplicate, self.corrupt, self.reorder, self.delay].iter().all(|rate| *rate == 0.0)
    }
}

/// What a bad wire does.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultConfig {
    /// All draws come from it.
    pub seed: u64,
    /// Of received datagrams.
    pub receive: Faults,
    /// Of committed frames.
    pub transmit: Faults,
    /// Datagrams that each direction holds back at once, at most; one more passes unharmed and is counted. At most
    /// [`MAX_HOLD`].
    pub hold: usize,
}

impl FaultConfig {
    /// No faults, room for 1024 datagrams.
    pub const NONE: FaultConfig = FaultConfig { seed: 0, receive: Faults::NONE, transmit: Faults::NONE, hold: 1024 };
}

/// A value that is not allowed: which, and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FaultError {}

/// What delays are measured by: asked once a `receive` and once a `commit`.
pub trait Clock: Send {
    /// The time, in ticks of any length; never less than before.
    fn now(&mut self) -> u64;
}

/// Any clock of the caller's.
impl<F: FnMut() -> u64 + Send> Clock for F {
    fn now(&mut self) -> u64 {
        self()
    }
}

/// Every `receive` and every `commit` is a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns(u64);

impl Clock for Turns {
    fn now(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What happened to the datagrams of one direction: `taken + duplicated = passed + lost + held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Received by the port below, or committed by the worker.
    pub taken: u64,
    /// Handed to the worker, or to the port below.
    pub passed: u64,
    /// Gone.
    pub lost: u64,
    /// Copies that were made.
    pub duplicated: u64,
    /// Held back now.
    pub held: u64,
    /// Of which a byte was changed.
    pub corrupted: u64,
    /// Held back until others had passed.
    pub reordered: u64,
    /// Held back for a time.
    pub delayed: u64,
    /// Faults that were drawn and not done: as many as may be are held back.
    pub spared: u64,
    /// Of those passed to the port below: refused by it after the `commit` that brought them had ended.
    pub refused_late: u64,
}

/// A port with a bad wire. The port below must be fresh: without reserved frames.
///
/// To the worker a lost frame was sent: the wire loses it.
pub struct Fault<P, C = Turns> {
    port: P,
    clock: C,
    incoming: Option<Incoming>,
    outgoing: Option<Outgoing>,
}

impl<P: Port> Fault<P> {
    /// Makes `port`'s wire bad; delays are in [`Turns`].
    ///
    /// # Errors
    /// A rate that is none, a delay without ticks, a `hold` or `reorder_by` that is not allowed.
    pub fn new(port: P, config: &FaultConfig) -> Result<Fault<P>, FaultError> {
        Fault::with_clock(port, config, Turns::default())
    }
}

impl<P: Port, C: Clock> Fault<P, C> {
    /// As [`Fault::new`], with another clock.
    ///
    /// # Errors
    /// Likewise.
    pub fn with_clock(port: P, config: &FaultConfig, clock: C) -> Result<Fault<P, C>, FaultError> {
        let receive = Side::new(("receive", 1), config, &config.receive)?;
        let transmit = Side::new(("transmit", 2), config, &config.transmit)?;
        let incoming = (!config.receive.none()).then(|| Incoming::new(receive));
        let outgoing = (!config.transmit.none()).then(|| Outgoing::new(transmit, &port));
        Ok(Fault { port, clock, incoming, outgoing })
    }

    /// What happened to received datagrams.
    pub fn received(&self) -> FaultCounters {
        match &self.incoming {
            Some(incoming) => incoming.side.counters(),
            None => untouched(self.port.counters().received),
        }
    }

    /// What happened to committed frames.
    pub fn transmitted(&self) -> FaultCounters {
        let below = self.port.counters();
        match &self.outgoing {
            Some(outgoing) => outgoing.side.counters(),
            None => untouched(below.sent + below.refused),
        }
    }

    /// The port below.
    pub fn below(&self) -> &P {
        &self.port
    }

    /// The port below. What is held back is lost.
    pub fn into_inner(self) -> P {
        self.port
    }
}

fn untouched(frames: u64) -> FaultCounters {
    FaultCounters { taken: frames, passed: frames, ..FaultCounters::default() }
}

impl<P: Port, C: Clock> Port for Fault<P, C> {
    fn details(&self) -> PortDetails {
        self.port.details()
    }

    fn capabilities(&self) -> Capabilities {
        self.port.capabilities()
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let now = self.clock.now();
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.flush(&mut self.port, now);
        }
        match &mut self.incoming {
            Some(incoming) => incoming.receive(&mut self.port, now, limit.min(BURST)),
            None => self.port.receive(limit),
        }
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.staging.reserve(count, len),
            None => self.port.reserve(count, len),
        }
    }

    fn commit(&mut self, count: usize) -> usize {
        let now = self.clock.now();
        match &mut self.outgoing {
            Some(outgoing) => outgoing.commit(&mut self.port, now, count),
            None => self.port.commit(count),
        }
    }

    fn discard(&mut self, count: usize) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.staging.discard(count),
            None => self.port.discard(count),
        }
    }

    fn reserved(&self) -> usize {
        self.outgoing.as_ref().map_or_else(|| self.port.reserved(), |outgoing| outgoing.staging.ring.reserved())
    }

    fn counters(&self) -> PortCounters {
        let mut counters = self.port.counters();
        if let Some(incoming) = &self.incoming {
            counters.received = incoming.side.counters().passed;
        }
        self.outgoing.as_ref().map_or(counters, |outgoing| outgoing.staging.counters(counters))
    }
}

/// The receiving half.
struct Incoming {
    side: Side,
    /// Frames of the side's that the last `receive` handed out.
    lent: ArrayVec<FrameBox, BURST>,
}

/// Where a frame that is handed out lies: its place in the burst of the port below, or among the lent ones.
enum Place {
    Below(usize),
    Lent(usize),
}

impl Incoming {
    fn new(side: Side) -> Incoming {
        Incoming { side, lent: ArrayVec::new() }
    }

    fn receive<'p>(&'p mut self, port: &'p mut impl Port, now: u64, limit: usize) -> RxBurst<'p> {
        let Incoming { side, lent } = self;
        lent.drain(..).for_each(|frame| side.give(frame));
        let mut places = ArrayVec::<Place, BURST>::new();
        lend_ripe(side, now, limit, lent, &mut places);
        let below = port.receive(limit - places.len());
        for (at, frame) in below.iter().enumerate() {
            match side.fate(now, frame.from, frame.data) {
                Fate::Pass => places.push(Place::Below(at)),
                Fate::Instead(frame) => lend(frame, lent, &mut places),
                Fate::Nothing => {}
            }
            // What is still to come from below has its place.
            let room = limit - (below.len() - at - 1);
            lend_ripe(side, now, room, lent, &mut places);
        }
        let frame = |place: &Place| match *place {
            Place::Below(at) => below[at],
            Place::Lent(at) => RxFrame { from: lent[at].peer, data: lent[at].payload() },
        };
        places.iter().map(frame).collect()
    }
}

/// Hands out what has been held back long enough, while there are fewer than `limit`.
fn lend_ripe(
    side: &mut Side,
    now: u64,
    limit: usize,
    lent: &mut ArrayVec<FrameBox, BURST>,
    places: &mut ArrayVec<Place, BURST>,
) {
    while places.len() < limit
        && let Some(frame) = side.ripe(now)
    {
        lend(frame, lent, places);
    }
}

fn lend(frame: FrameBox, lent: &mut ArrayVec<FrameBox, BURST>, places: &mut ArrayVec<Place, BURST>) {
    places.push(Place::Lent(lent.len()));
    lent.push(frame);
}

/// The transmitting half: a port does not show again what was filled, so the worker's frames are ours.
struct Outgoing {
    side: Side,
    staging: Staging,
}

impl Outgoing {
    fn new(side: Side, port: &impl Port) -> Outgoing {
        Outgoing { side, staging: Staging::of(port) }
    }

    /// Sends what has been held back long enough.
    fn flush(&mut self, port: &mut impl Port, now: u64) {
        let mut sending = Sending::to(port);
        while let Some(mut frame) = self.side.ripe(now) {
            sending.send(&mut frame);
            self.side.give(frame);
        }
        self.side.refused_late(sending.end());
    }

    fn commit(&mut self, port: &mut impl Port, now: u64, count: usize) -> usize {
        self.flush(port, now);
        let Outgoing { side, staging } = self;
        let mut sending = Sending::to(port);
        let mut committed = 0;
        for frame in staging.ring.oldest(count) {
            committed += 1;
            match side.fate(now, frame.peer, frame.payload()) {
                Fate::Pass => sending.send(frame),
                Fate::Instead(mut frame) => {
                    sending.send(&mut frame);
                    side.give(frame);
                }
                Fate::Nothing => {}
            }
            while let Some(mut frame) = side.ripe(now) {
                sending.send(&mut frame);
                side.give(frame);
            }
        }
        let refused = sending.end();
        side.refused_late(refused.saturating_sub(committed));
        staging.committed(count, refused)
    }
}

/// Frames on their way into the port below.
struct Sending<'p, P> {
    port: &'p mut P,
    waiting: usize,
    refused: usize,
}

impl<P: Port> Sending<'_, P> {
    fn to(port: &mut P) -> Sending<'_, P> {
        Sending { port, waiting: 0, refused: 0 }
    }

    fn send(&mut self, frame: &mut FrameBox) {
        let mut taken = forward(self.port, &[&mut *frame]);
        if taken == 0 {
            // Its ring is full.
            self.commit();
            taken = forward(self.port, &[frame]);
        }
        self.waiting += taken;
        self.refused += 1 - taken;
    }

    fn commit(&mut self) {
        self.refused += self.waiting - self.port.commit(self.waiting);
        self.waiting = 0;
    }

    /// Returns how many the port refused.
    fn end(mut self) -> usize {
        self.commit();
        self.refused
    }
}

#[cfg(all(test, not(feature = "loom")))]
#[path = "fault/tests.rs"]
mod tests;
