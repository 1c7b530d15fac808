//! One node's work on a cell, receive to transmit on the memory port, against the bare crypto of the same work.
//!
//! A batch goes through four steps, of which two are timed:
//!
//! 1. [`far`]: the far ends seal fresh cells, and they are put on the memory port's wire.
//! 2. **worker, timed**: turns of the very worker that a mix runs, on a virtual clock, over the batch's share of a round.
//! 3. [`far`]: the far ends take every frame that was sent, check its tag, its circuit, its counter and its body.
//! 4. [`floor`], **timed**: the same kernel calls, over the same frames, keys, cells and order, and nothing else.

pub mod cli;
pub(crate) mod far;
pub(crate) mod floor;
pub(crate) mod frames;
mod memory;
mod report;
pub(crate) mod shape;

pub use memory::Memory;
pub use report::Report;
pub use shape::{BATCH_MAX, CIRCUITS_MAX, LINKS_MAX, Shape};

use crate::bed::{self, Wire};
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::drops::DropReason;
use drover_dataplane::handoff::Handoff;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{LinkSpec, Rig};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_nic::any::AnyPort;
use drover_nic::memory::{MemoryPort, MemoryWire};
use drover_nic::{BURST, Endpoint, Port};
use drover_wire::control::Peer;
use far::{Coming, Far};
use floor::{Floor, Work};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use serde::Serialize;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Virtual time at which the grid begins, ns. Any instant but 0 does.
pub(crate) const EPOCH: u64 = 1_000_000_000;
/// A ratchet step covers 2^this records.
pub(crate) const RATCHET_BITS: u8 = 24;
/// Mixing interval of best-effort cells, ns. There are none.
pub(crate) const INTERVAL: u64 = 5_000_000;
/// Rounds before anything is counted: by the third every circuit has a cell waiting at every slot.
pub const WARM_UP_ROUNDS: u64 = 3;

/// What one batch took: a line of `trials.csv`. The counts are of records that left the worker in this batch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Cells put on the wire to the worker.
    pub offered: u64,
    /// Records that carried a cell.
    pub relayed: u64,
    /// Records that carried chaff.
    pub chaff: u64,
    /// Turns of the worker.
    pub turns: u64,
    /// Time of the worker's turns, ns.
    pub worker_ns: u64,
    /// Time of the floor, ns.
    pub floor_ns: u64,
    /// Cells in the worker's pool at the batch's end.
    pub waiting: u64,
}

/// How long the port's frames may be on their way to the far ends where the kernel is between.
const PATIENCE: Duration = Duration::from_millis(200);

/// A worker with its world, the far ends of its links, and the floor.
pub struct Bench<C: Suite, const S: usize, W = MemoryWire> {
    rig: Rig<C, NoTerminal, S, AnyPort, W>,
    shape: Shape,
    far: Far<C, S>,
    floor: Floor<C, S>,
    /// The order in which ways may have a cell in this round.
    order: Vec<u32>,
    /// The links in the order in which their far ends' slots come.
    phases: Vec<u32>,
    /// What comes in this batch.
    arriving: Vec<Coming>,
    /// Batches done.
    batches: u64,
    rng: StdRng,
    /// Records sent in each turn of the batch.
    sent: Vec<u32>,
    /// Frames put on the wire to the worker, of these cells, and cells that came back.
    frames: u64,
    offered: u64,
    relayed: u64,
    /// Of the frames that the port has sent since it was made, those that were taken from the wire.
    taken: u64,
    refused_before: u64,
    /// Virtual time, ns.
    now: u64,
}

impl<C: Suite, const S: usize> Bench<C, S> {
    /// Makes a world of `shape` with keys of its own.
    pub fn new(shape: Shape) -> Self {
        let Ok(bench) = Bench::over::<Infallible>(shape, bed::memory);
        bench
    }
}

impl<C: Suite, const S: usize, W: Wire> Bench<C, S, W> {
    /// As [`Bench::new`], over the port and the wire that `ends` makes of the memory's.
    ///
    /// # Errors
    /// Those of `ends`.
    pub fn over<E>(
        shape: Shape,
        ends: impl FnOnce(MemoryPort, MemoryWire) -> Result<(AnyPort, W), E>,
    ) -> Result<Self, E> {
        let mut rng = StdRng::from_os_rng();
        let sizes = Sizes {
            links: shape.links,
            circuits: shape.circuits.max(1),
            pool: shape.pool(),
            transmit: shape.transmit(),
        };
        let handoff = Handoff::mesh(1, 1).remove(0);
        let rig: Rig<C, NoTerminal, S> =
            Rig::with_wire(0, handoff, NoTerminal, sizes, Pace::SPIN, INTERVAL, shape.wire());
        let mut rig = rig.with_ends(ends)?;
        let class = rig.class(Rate { round_ns: shape::ROUND_NS, slots: shape.slots }, shape.slots, EPOCH);
        let mut secrets = Vec::with_capacity(shape.links);
        for link in 0..shape.links as u32 {
            let mut draw = || {
                let mut secret = TrafficSecret([0; 32]);
                rng.fill_bytes(&mut secret.0);
                secret
            };
            let (to, from) = (draw(), draw());
            let keys = GenerationSecrets {
                generation: 1,
                ratchet_bits: RATCHET_BITS,
                send: (from.clone(), 0),
                receive: (to.clone(), 0),
            };
            let remote = rig.wire.endpoint(link);
            rig.link(LinkSpec { remote, class, peer: Peer::Drover, phase: rng.random(), keys });
            secrets.push((to, from));
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
        let admitted = rig.worker.state.egress.iter().all(|e| e.admitted);
        assert!(admitted && rig.worker.state.ingress.len() == ways.len(), "every way is admitted");
        let far = Far::new(&secrets, &ways, &shape, rng.random());
        let floor = Floor::new(&secrets, &ways, &shape);
        let mut order: Vec<u32> = (0..ways.len() as u32).collect();
        order.shuffle(&mut rng);
        let mut phases: Vec<u32> = (0..shape.links as u32).collect();
        phases.shuffle(&mut rng);
        let sent = Vec::with_capacity(shape.turns_max());
        let arriving = Vec::with_capacity(BATCH_MAX);
        // What was sent to make the port's peers known is no record.
        let (sent_before, refused_before) = (rig.worker.port.counters().sent, rig.worker.port.counters().refused);
        Ok(Bench {
            rig,
            shape,
            far,
            floor,
            order,
            phases,
            arriving,
            batches: 0,
            rng,
            sent,
            frames: 0,
            offered: 0,
            relayed: 0,
            taken: sent_before,
            refused_before,
            now: EPOCH,
        })
    }

    /// Takes one batch through the worker and the floor. An error says what was lost or wrong: then no figure counts.
    pub fn batch(&mut self) -> Result<Sample, String> {
        let part = self.shape.part(self.batches);
        if part.first_of_round {
            Shape::jitter(&mut self.order, &mut self.rng);
        }
        self.batches += 1;

        self.draw_arriving(&part);
        self.far.seal(&self.arriving, part.slot);
        for (arrival, frame) in self.far.arrivals.iter().zip(self.far.sealed()) {
            self.rig.wire.offer(arrival.link, frame);
        }
        self.rig.wire.push();
        let offered = self.far.arrivals.iter().filter(|arrival| arrival.way.is_some()).count() as u64;
        self.frames += self.far.arrivals.len() as u64;
        self.offered += offered;

        let worker_ns = self.turns(part.start, part.end, part.turns);
        self.rig.serve();
        self.nothing_lost()?;

        self.take_sent()?;
        self.far.open()?;
        let relayed = self.far.departures.iter().filter(|d| d.way.is_some()).count() as u64;
        self.relayed += relayed;
        let waiting = self.rig.worker.state.waiting() + self.on_the_way();
        if self.offered != self.relayed + waiting {
            let Self { offered, relayed, .. } = *self;
            let lost = offered.abs_diff(relayed + waiting);
            return Err(format!(
                "{offered} cells were offered, {relayed} relayed and {waiting} wait in the worker; nothing was dropped, \
                 missed or refused: {lost} are lost between mix and wire"
            ));
        }

        // The floor seals in the order in which records left.
        let floor_ns = if W::IN_ORDER { self.floor_ns()? } else { 0 };

        Ok(Sample {
            offered,
            relayed,
            chaff: self.far.departures.len() as u64 - relayed,
            turns: part.turns,
            worker_ns,
            floor_ns,
            waiting: self.rig.worker.state.pool.used() as u64,
        })
    }

    /// Takes from the wire what the worker sent in this batch. The kernel, where it is between, has it a little later.
    fn take_sent(&mut self) -> Result<(), String> {
        let sent = self.rig.worker.port.counters().sent;
        let (far, wire, taken) = (&mut self.far, &mut self.rig.wire, &mut self.taken);
        far.begin_take();
        let begin = Instant::now();
        loop {
            while wire.collect(BURST, |link, data| far.take(link, data)) > 0 {}
            let all = *taken + far.departures.len() as u64;
            if all >= sent {
                *taken = all;
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let missing = sent - all;
                return Err(format!("{missing} frames that the port sent did not come to the far ends"));
            }
        }
    }

    /// Does the floor's work, timed, and checks that it was the worker's.
    fn floor_ns(&mut self) -> Result<u64, String> {
        let Far { arrivals, departures, .. } = &self.far;
        self.floor.prepare(&Work { arrivals, departures, sent: &self.sent }, self.far.sealed());
        let start = Instant::now();
        self.floor.run();
        let floor_ns = start.elapsed().as_nanos() as u64;
        self.floor.check(&self.far.departures, self.far.taken())?;
        Ok(floor_ns)
    }

    /// Frames that were put on the wire and that the worker has not taken yet: none, where it is memory.
    pub fn on_the_way(&self) -> u64 {
        if W::IN_ORDER { 0 } else { self.frames.saturating_sub(self.rig.worker.state.counters.received) }
    }

    /// Lets the worker take what is on its way to it, after the last batch; how many frames do not come.
    pub fn settle(&mut self) -> u64 {
        let begin = Instant::now();
        while self.on_the_way() > 0 && begin.elapsed() < PATIENCE {
            self.rig.turn(self.now);
        }
        self.on_the_way()
    }

    /// Turns the worker from `start` to `end` of virtual time, in equal steps. This alone is timed.
    fn turns(&mut self, start: u64, end: u64, turns: u64) -> u64 {
        self.sent.clear();
        self.now = end;
        let worker = &mut self.rig.worker;
        let mut before = worker.state.counters.sent;
        let clock = Instant::now();
        for turn in 1..=turns {
            worker.turn(start + (end - start) * turn / turns);
            let sent = worker.state.counters.sent;
            self.sent.push((sent - before) as u32);
            before = sent;
        }
        clock.elapsed().as_nanos() as u64
    }

    /// Draws what comes in a batch: cells, in the order of their ways' places; or chaff, one a link and slot.
    fn draw_arriving(&mut self, part: &shape::Part) {
        self.arriving.clear();
        let places = &self.order[part.cells.clone()];
        let (rng, share) = (&mut self.rng, self.shape.share_real);
        let arrives = |_: &&u32| share == 100 || rng.random_range(0..100) < share;
        self.arriving.extend(places.iter().filter(arrives).map(|way| Coming::Cell(*way)));
        let chaff = part.chaff.clone().map(|place| Coming::Chaff(self.phases[place % self.phases.len()]));
        self.arriving.extend(chaff);
    }

    /// An error that says where cells were lost: at the port, by the worker and for which reasons, or at their slots.
    fn nothing_lost(&self) -> Result<(), String> {
        let counters = &self.rig.worker.state.counters;
        let mut lost = Vec::new();
        for reason in DropReason::ALL.iter().filter(|reason| counters.dropped(**reason) > 0) {
            let (count, text) = (counters.dropped(*reason), reason.text());
            lost.push(format!("the worker dropped {count} cells ({}): {text}", reason.name()));
        }
        let missed: u64 = counters.class_missed.iter().sum();
        if missed > 0 {
            lost.push(format!("{missed} slots were missed"));
        }
        let refused = self.rig.worker.port.counters().refused - self.refused_before;
        let undelivered = self.rig.wire.refused();
        if refused > 0 {
            lost.push(format!("{refused} frames did not fit into the port's ring to the wire"));
        }
        if undelivered > 0 {
            lost.push(format!("{undelivered} frames did not fit into the port's ring to the worker"));
        }
        let (received, offered) = (counters.received, self.frames);
        // The kernel may hand over the last ones of a batch with the next.
        let late = if W::IN_ORDER { 0 } else { self.far.arrivals.len() as u64 };
        if offered - received.min(offered) > late && undelivered == 0 {
            lost.push(format!("the worker took {received} of {offered} frames: the batch has too few turns"));
        }
        if lost.is_empty() { Ok(()) } else { Err(lost.join("; ")) }
    }

    /// All cells that the worker has dropped.
    pub fn dropped(&self) -> u64 {
        self.rig.worker.state.counters.dropped_in_all()
    }

    /// Memory of the worker's pool and of its tables, bytes.
    pub fn bytes(&self) -> (usize, usize) {
        self.rig.worker.state.bytes()
    }

    /// Memory that a cell's way through the worker touches.
    pub fn memory(&self) -> Memory {
        Memory::of(&self.rig.worker.state)
    }

    /// True when the links' first ratchet step is nearly used up: the far ends know no further one.
    pub fn is_spent(&self) -> bool {
        // A jitter of a quarter of a round may put numbers ahead of slots.
        self.shape.part(self.batches).slot + 2 * u64::from(self.shape.slots) >= 1 << RATCHET_BITS
    }

    /// The world's shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Batches that one round is cut into.
    pub fn batches_per_round(&self) -> u64 {
        self.shape.parts
    }

    /// Gives the far end of `link` a wrong key to open with. For tests: the next batch must fail.
    pub fn break_far_open(&mut self, link: u32) {
        self.far.break_open(link);
    }

    /// Gives the far end of `link` a wrong key to seal with. For tests: the next batch must fail.
    pub fn break_far_seal(&mut self, link: u32) {
        self.far.break_seal(link);
    }

    /// Gives the floor a wrong layer key for way `way`. For tests: the next batches must fail.
    pub fn break_floor_layer(&mut self, way: u32) {
        self.floor.break_layer(way);
    }
}

/// The address of a link's far end: the link's index in an address of the benchmarking range (RFC 5180).
pub(crate) fn endpoint(link: u32) -> Endpoint {
    let mut ip = [0x20, 0x01, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..].copy_from_slice(&link.to_be_bytes());
    Endpoint { ip, port: 443 }
}

pub(crate) fn link_of(endpoint: Endpoint) -> u32 {
    let [.., a, b, c, d] = endpoint.ip;
    u32::from_be_bytes([a, b, c, d])
}
