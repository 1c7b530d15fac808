//! A worker in real time with its world and its generator; trials of it.

use super::generator::{Delivered, Kept, Plan, deliver};
use crate::bed::{self, Wire};
use crate::hop::far::Far;
use crate::hop::shape::{self, Shape};
use crate::hop::{INTERVAL, RATCHET_BITS};
use crate::live::draw_keys;
use crate::pin;
use arrayvec::ArrayVec;
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::drops::DropReason;
use drover_dataplane::publish::{Publisher, segment};
use drover_dataplane::rig::{LinkSpec, Rig};
use drover_dataplane::run::{Rhythm, now, run};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::{Pace, Worker};
use drover_nic::any::AnyPort;
use drover_nic::memory::{MemoryPort, MemoryWire};
use drover_nic::{BURST, Port};
use drover_wire::control::Peer;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds whose order of cells is drawn anew for each trial; then they come again.
const ORDERS: usize = 8;
/// From the trial's begin to its first cell, ns.
const LEAD_NS: u64 = 10_000_000;
/// Rounds, and ns, that a cell may take after the last one was offered.
const REST_ROUNDS: u64 = 3;
const REST_NS: u64 = 3_000_000;
/// Between trials a round is so long: slots go by slowly while nobody turns.
const IDLE_ROUND_NS: u64 = 1_000_000_000;
/// Part of the cells that may be missing from what was to be offered.
const MISSING_MAX: f64 = 0.001;
/// Cells of each way that the generator alone delivers to find its ceiling.
const CEILING_CELLS: u64 = 10;
/// Every so many links, one is checked.
const CHECKED_EVERY: u32 = 64;

/// Where and with what.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The worker's core.
    pub core: usize,
    /// The generator's core.
    pub generator_core: usize,
    /// Frames of the rings to and from the worker.
    pub ring: usize,
}

/// Why a trial counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The generator offered too few cells.
    Slow,
    /// The generator was kept from its core: it offered too few for that, or a burst after a quarter of a round.
    Stalled,
    /// Frames of the worker found no room: the generator did not take them in time.
    Refused,
}

impl Invalid {
    fn text(self) -> &'static str {
        match self {
            Invalid::Slow => "the generator offered too few",
            Invalid::Stalled => "the generator was kept from its core",
            Invalid::Refused => "the generator did not take the worker's frames in time",
        }
    }
}

/// A trial.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Cells a second that were to be offered.
    pub load: f64,
    /// s.
    pub duration_s: f64,
    /// The generator's part.
    pub delivered: Delivered,
    /// Cells that did not come out: dropped, refused by the full ring to the worker, or still waiting at the end.
    pub lost: u64,
    /// Of these, refused by the full ring.
    pub unreceived: u64,
    /// Of these, still waiting; over a real port also what the kernel had no room for on its way to the worker.
    pub waiting: u64,
    /// Of these, dropped by the worker, by reason.
    pub drops: Vec<(&'static str, u64)>,
    /// Slots missed, with a cell or with chaff.
    pub missed: u64,
    /// Frames of some links that were opened and found right.
    pub checked: u64,
    /// Why it counts for nothing.
    pub invalid: Option<Invalid>,
}

impl Trial {
    /// Cells lost, as a part of those offered.
    pub fn loss_ratio(&self) -> f64 {
        match self.delivered.offered {
            0 => 1.0,
            offered => (self.lost as f64 / offered as f64).min(1.0),
        }
    }

    /// Where cells were lost, in words; empty where none was.
    pub fn places(&self) -> String {
        let mut places: Vec<String> = self.drops.iter().map(|(name, count)| format!("{name} {count}")).collect();
        for (count, name) in [(self.unreceived, "ring full"), (self.waiting, "not received, or still waiting")] {
            if count > 0 {
                places.push(format!("{name} {count}"));
            }
        }
        places.join(", ")
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (load, loss) = (self.load / 1e6, 100.0 * self.loss_ratio());
        write!(f, "{load:.3} million cells a second for {} s: ", self.duration_s)?;
        match self.invalid {
            Some(why) => write!(f, "invalid, {}", why.text()),
            None if self.lost == 0 => write!(f, "no loss"),
            None => write!(f, "{loss:.3} % lost ({}; {} slots missed)", self.places(), self.missed),
        }
    }
}

/// What is counted before and after a trial.
struct Totals {
    drops: Vec<u64>,
    /// Refused by the ring to the worker.
    unreceived: u64,
    /// In the ring or the pool.
    waiting: u64,
    /// Frames that the worker's port could not send.
    refused: u64,
}

/// A worker, its links and circuits, and its generator's far ends.
pub struct Bench<C: Suite, const S: usize, W = MemoryWire> {
    rig: Rig<C, NoTerminal, S, AnyPort, W>,
    far: Far<C, S>,
    shape: Shape,
    setting: Setting,
    publisher: Publisher,
    order: Vec<u32>,
    kept: Kept,
    rng: StdRng,
    delivered: u64,
    slots: u64,
}

impl<C: Suite, const S: usize> Bench<C, S> {
    /// Makes a world of `shape` with keys of its own.
    ///
    /// # Errors
    /// The system gives no shared memory.
    pub fn new(shape: &Shape, setting: Setting) -> Result<Self, String> {
        Bench::over(shape, setting, bed::memory)
    }
}

impl<C: Suite, const S: usize, W: Wire> Bench<C, S, W> {
    /// As [`Bench::new`], over the port and the wire that `ends` makes of the memory's.
    ///
    /// # Errors
    /// Those of `ends`; the system gives no shared memory.
    pub fn over(
        shape: &Shape,
        setting: Setting,
        ends: impl FnOnce(MemoryPort, MemoryWire) -> Result<(AnyPort, W), String>,
    ) -> Result<Self, String> {
        let mut rng = StdRng::from_os_rng();
        let sizes = Sizes { links: shape.links, circuits: shape.circuits, pool: shape.pool(), transmit: setting.ring };
        let rig: Rig<C, NoTerminal, S> = Rig::new(NoTerminal, sizes, Pace::SPIN, INTERVAL);
        let mut rig = rig.with_ends(ends)?;
        let idle = Rate { round_ns: IDLE_ROUND_NS, slots: shape.slots };
        let class = rig.class(idle, shape.slots, now());
        let mut secrets = Vec::with_capacity(shape.links);
        for link in 0..shape.links as u32 {
            let keys = draw_keys(&mut rng, RATCHET_BITS);
            secrets.push((keys.receive.0.clone(), keys.send.0.clone()));
            let remote = rig.wire.endpoint(link);
            rig.link(LinkSpec { remote, class, peer: Peer::Drover, phase: rng.random(), keys });
        }
        let ways = shape.ways(&mut rng);
        for way in &ways {
            rig.egress(way.to, true, None);
        }
        for (index, way) in ways.iter().enumerate() {
            let index = index as u32;
            rig.ingress(NewIngress {
                index,
                link: way.from,
                circuit: shape::circuit_in(index),
                step: if way.peel { LayerStep::Peel } else { LayerStep::Add },
                key: Some(C::Layers::key(&way.secret)),
                first: Some(way.first),
                offset: way.offset,
                next: Next::Egress { worker: 0, index, tag: index + 1, circuit: shape::circuit_out(index) },
                others: drover_wire::control::List::default(),
            });
        }
        let mut far = Far::new(&secrets, &ways, shape, rng.random());
        far.gaps = true;
        let mut order: Vec<u32> = (0..ways.len() as u32).collect();
        order.shuffle(&mut rng);
        let segment = segment(1, shape.links).map_err(|error| format!("shared memory for counters: {error}"))?;
        let publisher = Publisher::new(Arc::new(segment), 0, 1, shape.links);
        let kept = Kept::new(S, CHECKED_EVERY.min(shape.links as u32 / 2).max(1));
        Ok(Bench { rig, far, shape: shape.clone(), setting, publisher, order, kept, rng, delivered: 0, slots: 0 })
    }

    /// Ways that have a cell in each round.
    pub fn ways(&self) -> u64 {
        self.order.len() as u64
    }

    /// True when the links' first ratchet step is nearly used up.
    pub fn is_spent(&self) -> bool {
        // As many slots again would fit, and cells are no more than slots.
        2 * self.slots >= 1 << RATCHET_BITS
    }

    /// The generator alone against a port that answers every frame with a frame: cells a second.
    ///
    /// # Errors
    /// A core that cannot be had.
    pub fn ceiling(&mut self) -> Result<f64, String> {
        let orders = self.orders();
        let Setting { core, generator_core, .. } = self.setting;
        let most = CEILING_CELLS * self.ways();
        let Bench { rig, far, kept, .. } = self;
        let Rig { worker, wire, .. } = rig;
        let stop = AtomicBool::new(false);
        let seconds = std::thread::scope(|scope| {
            let stop = &stop;
            let answering = scope.spawn(move || {
                let pinned = pin::to(core);
                answer(&mut worker.port, stop);
                pinned
            });
            let generating = scope.spawn(move || {
                let pinned = pin::to(generator_core);
                let begin = now();
                // All are due at once.
                let plan = Plan { load: 1e15, begin, end: u64::MAX, rest: 0, most };
                deliver(far, wire, &orders, kept, plan);
                let seconds = (now() - begin) as f64 / 1e9;
                stop.store(true, Ordering::Relaxed);
                pinned.map(|()| seconds)
            });
            let panicked = |_| Err("a thread panicked".to_owned());
            let seconds = generating.join().unwrap_or_else(|_| Err("the generator panicked".to_owned()));
            answering.join().unwrap_or_else(panicked)?;
            seconds
        })?;
        while !self.rig.worker.port.receive(BURST).is_empty() {}
        self.drain();
        self.kept.clear();
        // What the answering port took, the worker never saw.
        self.delivered = self.rig.worker.state.counters.received + self.rig.wire.refused();
        Ok(most as f64 / seconds)
    }

    /// Takes what is on the wire from the worker; how many.
    fn drain(&mut self) -> u64 {
        std::iter::repeat_with(|| self.rig.wire.collect(BURST, |_, _| {})).take_while(|taken| *taken > 0).sum::<usize>()
            as u64
    }

    /// Orders of a few rounds.
    fn orders(&mut self) -> Vec<Vec<u32>> {
        let (order, rng) = (&mut self.order, &mut self.rng);
        let mut draw = || {
            Shape::jitter(order, rng);
            order.clone()
        };
        (0..ORDERS).map(|_| draw()).collect()
    }

    /// Offers `load` cells a second for a time, and counts what comes out.
    ///
    /// # Errors
    /// A core that cannot be had; a frame that is wrong: then no figure counts.
    pub fn trial(&mut self, load: f64, duration_s: f64) -> Result<Trial, String> {
        let orders = self.orders();
        let round_ns = (self.ways() as f64 * 1e9 / load) as u64;
        let rate = Rate { round_ns, slots: self.shape.slots };
        self.rig.worker.turn(now());
        // What the trial before left on the wire has numbers from before the slots that went by since.
        self.drain();
        let sent = self.rig.worker.port.counters().sent;
        let begin = now() + LEAD_NS;
        self.rig.worker.state.classes[0].change_at(begin, rate);
        self.rig.serve();
        self.tell_numbers(begin);
        let before = self.totals();
        let end = begin + (duration_s * 1e9) as u64;
        let rest = end + REST_ROUNDS * round_ns + REST_NS;
        let plan = Plan { load, begin, end, rest, most: u64::MAX };
        let (delivered, missed) = self.run(&orders, plan)?;
        // Where the kernel is between, what it had no room for is the tester's loss.
        let untaken = (self.rig.worker.port.counters().sent - sent).saturating_sub(delivered.taken + self.drain());
        self.delivered += delivered.offered;
        self.slots += u64::from(self.shape.slots) * (rest - begin) / round_ns;
        let after = self.totals();
        let idle = Rate { round_ns: IDLE_ROUND_NS, slots: self.shape.slots };
        self.rig.worker.state.classes[0].change_at(now(), idle);
        let checked = self.check()?;

        let drops: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), after.drops[*reason as usize] - before.drops[*reason as usize]))
            .filter(|(_, count)| *count > 0)
            .collect();
        let unreceived = after.unreceived - before.unreceived;
        let waiting = after.waiting.saturating_sub(before.waiting);
        // What waited from the trial before and came out now, or was dropped now, is not this trial's.
        let old = before.waiting.saturating_sub(after.waiting);
        let dropped: u64 = drops.iter().map(|drop| drop.1).sum();
        let lost = (unreceived + waiting + dropped).saturating_sub(old);
        let missing = delivered.intended.saturating_sub(delivered.offered);
        // What it could have offered while it stood still.
        let stalled = (delivered.stalled_ns as f64 / 1e9 * load * 1.5) as u64;
        let invalid = if missing as f64 > MISSING_MAX * delivered.intended as f64 {
            Some(if missing <= stalled { Invalid::Stalled } else { Invalid::Slow })
        } else if delivered.lag_ns > round_ns / 4 {
            Some(Invalid::Stalled)
        } else if after.refused > before.refused || untaken > 0 {
            Some(Invalid::Refused)
        } else {
            None
        };
        Ok(Trial { load, duration_s, delivered, lost, unreceived, waiting, drops, missed, checked, invalid })
    }

    /// Tells the far ends which numbers come next: those of the slots that have gone by meanwhile.
    fn tell_numbers(&mut self, begin: u64) {
        let state = &self.rig.worker.state;
        let slot = state.classes[0].slot_at(begin);
        for (link, tx) in state.tx.iter().enumerate() {
            self.far.expect(link as u32, slot.wrapping_add(tx.keys.base));
        }
    }

    /// The worker on its core and the generator on its own, through a trial; what was delivered, and slots missed.
    fn run(&mut self, orders: &[Vec<u32>], plan: Plan) -> Result<(Delivered, u64), String> {
        let Setting { core, generator_core, .. } = self.setting;
        let Bench { rig, far, kept, publisher, .. } = self;
        let Rig { worker, wire, .. } = rig;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop = &stop;
            let turning = scope.spawn(move || {
                pin::to(core)?;
                let mut missed = slots_missed(worker);
                loop {
                    let read = now();
                    if read >= plan.begin {
                        break;
                    }
                    worker.turn(read);
                    missed = slots_missed(worker);
                }
                run(worker, Rhythm::Spin, stop, publisher);
                Ok::<u64, String>(slots_missed(worker) - missed)
            });
            let generating = scope.spawn(move || {
                let pinned = pin::to(generator_core);
                let delivered = deliver(far, wire, orders, kept, plan);
                stop.store(true, Ordering::Relaxed);
                pinned.map(|()| delivered)
            });
            let delivered = generating.join();
            // A generator that panicked has stopped nobody.
            stop.store(true, Ordering::Relaxed);
            let missed = turning.join().unwrap_or_else(|_| Err("the worker panicked".to_owned()))?;
            let delivered = delivered.unwrap_or_else(|_| Err("the generator panicked".to_owned()))?;
            Ok((delivered, missed))
        })
    }

    fn totals(&self) -> Totals {
        let Rig { worker, wire, .. } = &self.rig;
        let counters = &worker.state.counters;
        // In the ring: delivered, neither refused by it nor received.
        let in_ring = (self.delivered - wire.refused()).saturating_sub(counters.received);
        Totals {
            drops: counters.drops.to_vec(),
            unreceived: wire.refused(),
            waiting: worker.state.waiting() + in_ring,
            refused: worker.port.counters().refused,
        }
    }

    /// Opens the frames that were kept: tag, circuit, order of counters, body.
    fn check(&mut self) -> Result<u64, String> {
        let mut checked = 0;
        self.far.begin_take();
        for (link, frame) in self.kept.frames() {
            self.far.take(link, frame);
            checked += 1;
            if checked % BURST as u64 == 0 {
                self.far.open()?;
                self.far.begin_take();
            }
        }
        self.far.open()?;
        self.kept.clear();
        Ok(checked)
    }

    /// Gives the far end of `link` a wrong key to open with. For tests: the next trial must fail.
    pub fn break_far_open(&mut self, link: u32) {
        self.far.break_open(link);
    }

    /// Gives the far end of `link` a wrong key to seal with. For tests: its cells are lost.
    pub fn break_far_seal(&mut self, link: u32) {
        self.far.break_seal(link);
    }
}

fn slots_missed<C: Suite, const S: usize>(worker: &Worker<AnyPort, C, NoTerminal, S>) -> u64 {
    worker.state.counters.class_missed.iter().sum()
}

/// Answers every frame with a frame, until `stop`.
fn answer(port: &mut impl Port, stop: &AtomicBool) {
    let mut froms = ArrayVec::<_, BURST>::new();
    while !stop.load(Ordering::Relaxed) {
        froms.clear();
        let burst = port.receive(BURST);
        let len = burst.first().map_or(0, |frame| frame.data.len());
        froms.extend(burst.iter().map(|frame| frame.from));
        drop(burst);
        let mut reserved = 0;
        for (frame, from) in port.reserve(froms.len(), len).into_iter().zip(&froms) {
            *frame.to = *from;
            frame.data.fill(0);
            reserved += 1;
        }
        port.commit(reserved);
    }
}
