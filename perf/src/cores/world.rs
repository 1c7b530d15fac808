//! Workers side by side, their links, circuits and far ends.

use crate::bed;
use crate::hop::far::{Coming, Far};
use crate::hop::shape::{self, Shape, Way};
use crate::hop::{EPOCH, INTERVAL, RATCHET_BITS, WARM_UP_ROUNDS, endpoint, link_of};
use crate::pin;
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::drops::DropReason;
use drover_dataplane::handoff::Handoff;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::limits::HANDOFF_RING;
use drover_dataplane::rig::{LinkSpec, Rig};
use drover_dataplane::run::now;
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_nic::Port;
use drover_nic::any::AnyPort;
use drover_wire::control::Peer;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one batch of all workers took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch {
    /// Cells that left, of all workers.
    pub relayed: u64,
    /// From the first worker's begin to the last one's end, ns.
    pub wall_ns: u64,
    /// Sum of the workers' own times, ns.
    pub busy_ns: u64,
}

impl Batch {
    /// Cells a second of all workers together.
    pub fn rate(&self) -> f64 {
        self.relayed as f64 * 1e9 / self.wall_ns as f64
    }
}

/// One worker and the far ends of its links.
struct Node<C: Suite, const S: usize> {
    rig: Rig<C, NoTerminal, S, AnyPort>,
    far: Far<C, S>,
    core: usize,
    /// The ways whose cells come in here, in the order of their places in the round.
    order: Vec<u32>,
    coming: Vec<Coming>,
    rng: StdRng,
    offered: u64,
    relayed: u64,
}

/// Workers on cores of their own.
pub struct World<C: Suite, const S: usize> {
    shape: Shape,
    nodes: Vec<Node<C, S>>,
    batches: u64,
    handed_share: f64,
}

/// A direction of a circuit over the links of all workers.
struct Placed {
    /// With links numbered through all workers.
    way: Way,
    from: usize,
    to: usize,
}

impl<C: Suite, const S: usize> World<C, S> {
    /// A worker of `shape` on each of `cores`. With `handed`, every other circuit leaves by a link of the next worker, as
    /// many as before on every link.
    pub fn new(shape: &Shape, cores: &[usize], handed: bool) -> Self {
        let mut rng = StdRng::from_os_rng();
        let workers = cores.len();
        let ways = place(shape, workers, handed, &mut rng);
        let handed_share = ways.iter().filter(|way| way.from != way.to).count() as f64 / ways.len() as f64;
        let secret = |rng: &mut StdRng| {
            let mut secret = TrafficSecret([0; 32]);
            rng.fill_bytes(&mut secret.0);
            secret
        };
        let secrets: Vec<_> = (0..workers * shape.links).map(|_| (secret(&mut rng), secret(&mut rng))).collect();
        let mut rigs = rigs::<C, S>(shape, workers, &secrets, &mut rng);
        program(&mut rigs, shape, &ways);

        let seed = rng.random();
        let all: Vec<Way> = ways.iter().map(|placed| copy(&placed.way)).collect();
        let node = |(at, (rig, core)): (usize, (Rig<C, NoTerminal, S, AnyPort>, &usize))| {
            let mine = ways.iter().enumerate().filter(|(_, way)| way.from == at).map(|(index, _)| index as u32);
            let mut rng = StdRng::from_os_rng();
            let mut order: Vec<u32> = mine.collect();
            order.shuffle(&mut rng);
            let far = Far::new(&secrets, &all, shape, seed);
            Node { rig, far, core: *core, order, coming: Vec::new(), rng, offered: 0, relayed: 0 }
        };
        let nodes = rigs.into_iter().zip(cores).enumerate().map(node).collect();
        World { shape: shape.clone(), nodes, batches: 0, handed_share }
    }

    /// Share of the ways that leave by another worker's link.
    pub fn handed_share(&self) -> f64 {
        self.handed_share
    }

    /// Batches that one round is cut into.
    pub fn batches_per_round(&self) -> u64 {
        self.shape.parts
    }

    /// Rounds that are not counted.
    ///
    /// # Errors
    /// As [`World::batch`].
    pub fn warm_up(&mut self) -> Result<(), String> {
        (0..WARM_UP_ROUNDS * self.shape.parts).try_for_each(|_| self.batch().map(drop))
    }

    /// True when the links' first ratchet step is nearly used up.
    pub fn is_spent(&self) -> bool {
        self.shape.part(self.batches).slot + 2 * u64::from(self.shape.slots) >= 1 << RATCHET_BITS
    }

    /// Takes one batch through every worker.
    ///
    /// # Errors
    /// What was lost or wrong, and where; a core that cannot be had.
    pub fn batch(&mut self) -> Result<Batch, String> {
        let part = self.shape.part(self.batches);
        self.batches += 1;
        each(&mut self.nodes, |node| {
            node.seal(&part);
            Ok(())
        })?;
        let (workers, ready) = (self.nodes.len(), AtomicUsize::new(0));
        let times = each(&mut self.nodes, |node| {
            // All begin at once.
            ready.fetch_add(1, Ordering::AcqRel);
            while ready.load(Ordering::Acquire) < workers {
                std::hint::spin_loop();
            }
            Ok(node.turns(&part))
        })?;
        let relayed: u64 = each(&mut self.nodes, Node::check)?.iter().sum();
        self.conserved()?;
        let begin = times.iter().map(|time| time.0).min().unwrap_or(0);
        let end = times.iter().map(|time| time.1).max().unwrap_or(0);
        let busy_ns = times.iter().map(|time| time.1 - time.0).sum();
        Ok(Batch { relayed, wall_ns: end - begin, busy_ns })
    }

    /// Every cell that was offered came out, waits in a pool, or is on its way between workers.
    fn conserved(&mut self) -> Result<(), String> {
        let of = |value: fn(&mut Node<C, S>) -> u64, nodes: &mut [Node<C, S>]| nodes.iter_mut().map(value).sum::<u64>();
        let (offered, relayed) = (of(|n| n.offered, &mut self.nodes), of(|n| n.relayed, &mut self.nodes));
        let waiting = of(|n| n.rig.worker.state.waiting() + n.rig.worker.handed_waiting() as u64, &mut self.nodes);
        match offered == relayed + waiting {
            true => Ok(()),
            false => Err(format!("{offered} cells were offered, {relayed} relayed and {waiting} wait: some are lost")),
        }
    }

    /// Gives the far end of `link` a wrong key to open with. For tests: the next batch must fail.
    pub fn break_far_open(&mut self, link: u32) {
        self.nodes.iter_mut().for_each(|node| node.far.break_open(link));
    }
}

impl<C: Suite, const S: usize> Node<C, S> {
    fn seal(&mut self, part: &shape::Part) {
        if part.first_of_round {
            Shape::jitter(&mut self.order, &mut self.rng);
        }
        self.coming.clear();
        self.coming.extend(self.order[part.cells.clone()].iter().map(|way| Coming::Cell(*way)));
        self.far.seal(&self.coming, part.slot);
        for (arrival, frame) in self.far.arrivals.iter().zip(self.far.sealed()) {
            self.rig.wire.deliver(endpoint(arrival.link), frame);
        }
        self.offered += self.coming.len() as u64;
    }

    /// Turns through the batch's share of the round. This alone is timed: begin and end, monotonic ns.
    fn turns(&mut self, part: &shape::Part) -> (u64, u64) {
        let begin = now();
        for turn in 1..=part.turns {
            self.rig.worker.turn(part.start + (part.end - part.start) * turn / part.turns);
        }
        (begin, now())
    }

    /// Takes what was sent and checks all of it; the cells among it.
    fn check(&mut self) -> Result<u64, String> {
        self.rig.serve();
        self.nothing_lost()?;
        let (far, wire) = (&mut self.far, &mut self.rig.wire);
        far.begin_take();
        while wire.take(|to, data| far.take(link_of(to), data)) {}
        far.open()?;
        let relayed = far.departures.iter().filter(|departure| departure.way.is_some()).count() as u64;
        self.relayed += relayed;
        Ok(relayed)
    }

    fn nothing_lost(&self) -> Result<(), String> {
        let (worker, core) = (&self.rig.worker, self.core);
        let counters = &worker.state.counters;
        if let Some(reason) = DropReason::ALL.iter().find(|reason| counters.dropped(**reason) > 0) {
            let (count, name, text) = (counters.dropped(*reason), reason.name(), reason.text());
            return Err(format!("the worker on core {core} dropped {count} cells ({name}): {text}"));
        }
        let missed: u64 = counters.class_missed.iter().sum();
        let refused = worker.port.counters().refused + self.rig.wire.lost();
        if missed + refused > 0 {
            return Err(format!(
                "core {core}: {missed} slots were missed and {refused} frames did not fit into the port"
            ));
        }
        if counters.received != self.offered {
            let (received, offered) = (counters.received, self.offered);
            return Err(format!("core {core}: the worker took {received} of {offered} frames: too few turns"));
        }
        Ok(())
    }
}

/// Does something with every node, each on its own core at once; alone, on the calling thread's.
fn each<C: Suite, const S: usize, T: Send>(
    nodes: &mut [Node<C, S>],
    act: impl Fn(&mut Node<C, S>) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let act = &act;
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter_mut()
            .map(|node| {
                scope.spawn(move || {
                    // A worker without its core still meets the others: they wait for it.
                    let pinned = pin::to(node.core);
                    let done = act(node);
                    pinned.and(done)
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a worker panicked".into())));
        done.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Lays circuits over the links of all workers, those of each as [`Shape::ways`] does; with `handed`, every other one
/// leaves by the next worker's link.
fn place(shape: &Shape, workers: usize, handed: bool, rng: &mut StdRng) -> Vec<Placed> {
    let all: Vec<Vec<Way>> = (0..workers).map(|_| shape.ways(rng)).collect();
    let count = all[0].len();
    let mut placed = Vec::with_capacity(workers * count);
    for worker in 0..workers {
        for circuit in (0..count).step_by(2) {
            let over = handed && circuit % 4 == 0;
            let other = if over { (worker + 1) % workers } else { worker };
            let far_end = all[other][circuit].to + (other * shape.links) as u32;
            let near_end = all[worker][circuit].from + (worker * shape.links) as u32;
            let ends = [(near_end, far_end, worker, other), (far_end, near_end, other, worker)];
            for (direction, (from, to, at, leaves)) in ends.into_iter().enumerate() {
                let way = copy(&all[worker][circuit + direction]);
                placed.push(Placed { way: Way { from, to, ..way }, from: at, to: leaves });
            }
        }
    }
    placed
}

fn copy(way: &Way) -> Way {
    let Way { from, to, peel, first, offset, .. } = *way;
    Way { from, to, peel, first, offset, secret: way.secret.clone() }
}

/// The workers, with their links.
fn rigs<C: Suite, const S: usize>(
    shape: &Shape,
    workers: usize,
    secrets: &[(TrafficSecret, TrafficSecret)],
    rng: &mut StdRng,
) -> Vec<Rig<C, NoTerminal, S, AnyPort>> {
    let sizes = Sizes { links: shape.links, circuits: shape.circuits, pool: shape.pool(), transmit: shape.transmit() };
    let make = |(worker, handoff): (usize, Handoff<S>)| {
        let rig = Rig::with_handoff(worker as u8, handoff, NoTerminal, sizes, Pace::SPIN, INTERVAL);
        let Ok(mut rig) = rig.with_ends::<_, _, Infallible>(bed::memory);
        let class = rig.class(Rate { round_ns: shape::ROUND_NS, slots: shape.slots }, shape.slots, EPOCH);
        for (at, (to, from)) in secrets[worker * shape.links..][..shape.links].iter().enumerate() {
            let (send, receive) = ((from.clone(), 0), (to.clone(), 0));
            let keys = GenerationSecrets { generation: 1, ratchet_bits: RATCHET_BITS, send, receive };
            let remote = endpoint((worker * shape.links + at) as u32);
            rig.link(LinkSpec { remote, class, peer: Peer::Drover, phase: rng.random(), keys });
        }
        rig
    };
    Handoff::mesh(workers, HANDOFF_RING).into_iter().enumerate().map(make).collect()
}

/// Programs every way into the workers that it comes to and leaves from.
fn program<C: Suite, const S: usize>(rigs: &mut [Rig<C, NoTerminal, S, AnyPort>], shape: &Shape, ways: &[Placed]) {
    let local = |link: u32| link % shape.links as u32;
    for (index, Placed { way, from, to }) in ways.iter().enumerate() {
        let (number, egress) = (index as u32, rigs[*to].egress(local(way.to), true, None));
        let circuit = shape::circuit_out(number);
        rigs[*from].ingress(NewIngress {
            index: 0,
            link: local(way.from),
            circuit: shape::circuit_in(number),
            step: if way.peel { LayerStep::Peel } else { LayerStep::Add },
            key: Some(C::Layers::key(&way.secret)),
            first: Some(way.first),
            offset: way.offset,
            next: Next::Egress { worker: *to as u8, index: egress, tag: egress + 1, circuit },
            others: drover_wire::control::List::default(),
        });
    }
    let admitted = rigs.iter().all(|rig| rig.worker.state.egress.iter().all(|egress| egress.admitted));
    assert!(admitted, "every way is admitted");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_circuits_are_handed_over_and_links_stay_as_full() {
        let shape = Shape::new(6, 40, 64).unwrap();
        for (workers, handed) in [(1, false), (2, false), (2, true), (3, true)] {
            let ways = place(&shape, workers, handed, &mut StdRng::seed_from_u64(7));
            assert_eq!(ways.len(), workers * 80);
            let over = ways.iter().filter(|way| way.from != way.to).count();
            assert_eq!(over, if handed { ways.len() / 2 } else { 0 });
            let mut legs = vec![0; workers * 6];
            for Placed { way, from, to } in &ways {
                assert_eq!((way.from as usize / 6, way.to as usize / 6), (*from, *to));
                assert_ne!(way.from, way.to);
                legs[way.to as usize] += 1;
            }
            assert!(legs.iter().all(|legs| *legs < shape.slots), "one slot stays free on every link");
            for pair in ways.as_chunks::<2>().0 {
                assert_eq!((pair[0].way.from, pair[0].way.to), (pair[1].way.to, pair[1].way.from));
                assert!(pair[0].way.peel && !pair[1].way.peel);
            }
        }
    }
}
