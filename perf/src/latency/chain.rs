//! Mixes in a row: each a worker with links to the left and to the right, and circuits that go from left to right.

use crate::bed::{Bed, Cable, Peers, Wire};
use crate::hop::far::Far;
use crate::hop::shape::{Shape, Way, circuit_in};
use crate::hop::{INTERVAL, RATCHET_BITS};
use crate::live::{Grid, Stamp, Stamped, Taken};
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::{Cell, LayerJob, Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{self, LinkSpec, Rig};
use drover_dataplane::run::now;
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::{Pace, Worker};
use drover_nic::OpenError;
use drover_nic::any::AnyPort;
use drover_nic::memory::{MemoryPort, MemoryWire};
use drover_nic::ring::Consumer;
use drover_wire::cell::{Command, Header};
use drover_wire::control::Peer;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};

/// A round of links that have nothing to send, ns: their slots cost nothing, as those of `ndr` do not.
const IDLE_ROUND_NS: u64 = 4_000_000_000;
/// Slots of such a round.
const IDLE_SLOTS: u32 = 2;
/// Cells of a mix's pool for each circuit: as many as may wait, and those on their way.
const POOL_PER_CIRCUIT: usize = 4;

/// Sizes of every mix of a chain.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Links to either side.
    pub links: usize,
    /// Circuits, each with one cell a round from left to right.
    pub circuits: usize,
    /// Frames of the rings to and from each worker.
    pub ring: usize,
}

impl Layout {
    /// Slots of a round of each link: one stays free.
    pub fn slots(&self) -> u32 {
        self.circuits.div_ceil(self.links) as u32 + 1
    }
}

/// A worker over a port that stamps.
pub type Mix<C, const S: usize> = Worker<Stamped<AnyPort>, C, NoTerminal, S>;

/// Everything of a chain but the workers: what the other thread holds.
pub struct Outside<C: Suite, const S: usize, W = MemoryWire> {
    /// The wire of every mix: its peers to the left first, then those to the right.
    pub wires: Vec<W>,
    /// Seals the cells that come from the left.
    pub far: Far<C, S>,
    /// What the last mix sent.
    pub stamps: Consumer<Stamp>,
    /// What the first mix took.
    pub taken: Consumer<Taken>,
    /// Stamps of the mixes between, which nobody reads.
    pub unread: Vec<Consumer<Stamp>>,
    /// Links to either side.
    pub links: u32,
}

/// A chain of mixes.
pub struct Chain<C: Suite, const S: usize, W = MemoryWire> {
    /// The workers, from left to right.
    pub workers: Vec<Mix<C, S>>,
    /// All the rest.
    pub outside: Outside<C, S, W>,
    /// The last mix's grid of links to the right.
    pub grid: Grid,
    /// The ways in the order of their places in the round.
    pub order: Vec<u32>,
    /// The link to the right by which each way leaves the last mix.
    pub last: Vec<u32>,
    ends: Vec<rig::Far<C::Records, S>>,
    ways: Vec<Way>,
    /// Layer keys of each mix, by way.
    layers: Vec<Vec<<C::Layers as Layers>::Key>>,
    phases: Vec<u32>,
    slots: u32,
    seed: u64,
    cells: Box<[Cell<S>]>,
    /// Outlive the ports.
    _cables: Vec<Option<Cable>>,
}

impl<C: Suite, const S: usize> Chain<C, S> {
    /// Makes a chain of `mixes` over memory, with keys of its own.
    ///
    /// # Errors
    /// The layout has links without a circuit.
    pub fn new(layout: &Layout, mixes: usize) -> Result<Self, String> {
        Chain::of(layout, mixes, |port, wire| Ok((AnyPort::Memory(port), wire, None)))
    }
}

impl<C: Suite, const S: usize> Chain<C, S, Peers> {
    /// Makes a chain of `mixes`, each over a bed of `bed` with a peer for each of its links.
    ///
    /// # Errors
    /// The layout has links without a circuit; what a bed could not have.
    pub fn over(
        layout: &Layout,
        mixes: usize,
        mut bed: impl FnMut() -> Result<Bed, OpenError>,
    ) -> Result<Self, String> {
        Chain::of(layout, mixes, |_, _| {
            let Bed { port, peers, cable, .. } = bed().map_err(|error| error.to_string())?;
            Ok((port, peers, cable))
        })
    }
}

impl<C: Suite, const S: usize, W: Wire> Chain<C, S, W> {
    /// A chain over the ports and wires that `ends` makes of memory's.
    fn of(
        layout: &Layout,
        mixes: usize,
        mut ends: impl FnMut(MemoryPort, MemoryWire) -> Result<(AnyPort, W, Option<Cable>), String>,
    ) -> Result<Self, String> {
        let mut rng = StdRng::from_os_rng();
        let (links, circuits) = (layout.links, layout.circuits);
        if circuits < links || links == 0 || mixes == 0 {
            return Err(format!("{circuits} circuits leave some of {links} links without one"));
        }
        // Secrets from left to right and back, of the links before each mix and behind the last one.
        let secrets: Vec<Vec<[TrafficSecret; 2]>> =
            (0..=mixes).map(|_| (0..links).map(|_| [secret(&mut rng), secret(&mut rng)]).collect()).collect();
        // The link to the right by which each way leaves each mix, and by which it comes to the first one.
        let legs: Vec<Vec<u32>> = (0..=mixes)
            .map(|_| {
                let mut legs: Vec<u32> = (0..circuits).map(|way| (way % links) as u32).collect();
                legs.shuffle(&mut rng);
                legs
            })
            .collect();
        let mut layer_secrets = Vec::with_capacity(mixes);
        let (mut workers, mut wires, mut stamps, mut takens) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut phases, mut cables) = (Vec::new(), Vec::new());
        for mix in 0..mixes {
            let drawn: Vec<LayerSecret> = (0..circuits)
                .map(|_| {
                    let mut secret = LayerSecret([0; 16]);
                    rng.fill_bytes(&mut secret.0);
                    secret
                })
                .collect();
            phases = (0..links).map(|_| rng.random()).collect();
            let ends = |port, wire| {
                let (port, wire, cable) = ends(port, wire)?;
                cables.push(cable);
                Ok((port, wire))
            };
            let mut rig = make::<C, S, W>(layout, [&secrets[mix], &secrets[mix + 1]], &phases, &mut rng, ends)?;
            for leg in &legs[mix + 1] {
                rig.egress(links as u32 + leg, true, None);
            }
            for way in 0..circuits {
                let index = way as u32;
                rig.ingress(NewIngress {
                    index,
                    link: legs[mix][way],
                    circuit: circuit_in(index),
                    step: LayerStep::Peel,
                    key: Some(C::Layers::key(&drawn[way])),
                    first: Some(0),
                    offset: 0,
                    next: Next::Egress { worker: 0, index, tag: index + 1, circuit: circuit_in(index) },
                    others: drover_wire::control::List::default(),
                });
            }
            layer_secrets.push(drawn);
            let Rig { worker, wire, .. } = rig;
            let worker = worker.with_port(|port| {
                let (port, ends, taken) = Stamped::with_taken(port, now);
                stamps.push(ends);
                takens.push(taken);
                port
            });
            workers.push(worker);
            wires.push(wire);
        }
        // The far end to the left seals; its ways come by the first mix's links. What it would open never comes.
        let ways: Vec<Way> = (0..circuits)
            .map(|way| Way {
                from: legs[0][way],
                to: legs[mixes][way],
                peel: true,
                first: 0,
                offset: 0,
                secret: layer_secrets[0][way].clone(),
            })
            .collect();
        let pairs: Vec<_> = secrets[0].iter().map(|[right, left]| (right.clone(), left.clone())).collect();
        let shape = Shape::new(links.max(2), circuits, 1024)?;
        let seed = rng.random();
        let far = Far::new(&pairs, &ways, &shape, seed);
        let far_ends = secrets[mixes].iter().map(|[right, left]| rig::Far::new(left, right, RATCHET_BITS)).collect();
        let key = |secrets: &Vec<LayerSecret>| secrets.iter().map(C::Layers::key).collect();
        let mut order: Vec<u32> = (0..circuits as u32).collect();
        order.shuffle(&mut rng);
        let last = stamps.pop().ok_or("a chain has a mix")?;
        let outside =
            Outside { wires, far, stamps: last, taken: takens.remove(0), unread: stamps, links: links as u32 };
        Ok(Chain {
            workers,
            outside,
            grid: Grid::new(0, 1_000_000_000, layout.slots(), &phases),
            order,
            last: legs[mixes].clone(),
            ends: far_ends,
            ways,
            layers: layer_secrets.iter().map(key).collect(),
            phases,
            slots: layout.slots(),
            seed,
            cells: drover_crypto::cells(2),
            _cables: cables,
        })
    }

    /// Slots of a round of each link: one stays free.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// All links to the right have rounds of this length from `begin` on.
    pub fn set_round(&mut self, begin: u64, round_ns: u64) {
        let rate = Rate { round_ns, slots: self.slots };
        for worker in &mut self.workers {
            worker.state.classes[1].change_at(begin, rate);
        }
        self.grid = Grid::new(begin, round_ns, self.slots, &self.phases);
    }

    /// Opens a frame that left by `link` to the right: its way and its cell's place among the way's cells; `None` is chaff.
    ///
    /// # Errors
    /// It does not open, or holds what nobody sealed.
    pub fn open(&mut self, link: u32, frame: &[u8]) -> Result<Option<(u32, u64)>, String> {
        let end = &mut self.ends[link as usize];
        let (_, plaintext) = end.open(frame).ok_or_else(|| format!("a record on link {link} does not open"))?;
        let header = Header::read(plaintext).map_err(|error| format!("a record holds no cell: {error}"))?;
        if header.command == Command::Chaff {
            return Ok(None);
        }
        let way = header.circuit.wrapping_sub(1);
        if header.command != Command::Relay || self.last.get(way as usize) != Some(&link) {
            return Err(format!("a cell left link {link} with command or circuit of no way: {header:?}"));
        }
        self.cells[0].plaintext_mut().copy_from_slice(plaintext);
        for keys in self.layers.iter().rev() {
            let mut job = [LayerJob { key: way, cell: 0, counter: header.counter, check: [0; 8] }];
            C::Layers::add(keys, &mut self.cells, &mut job);
        }
        crate::hop::far::draw_body(self.seed, way, header.counter, self.cells[1].body_mut());
        match self.cells[0].body() == self.cells[1].body() {
            true => Ok(Some((way, header.counter.wrapping_sub(self.ways[way as usize].first)))),
            false => Err(format!("the body of a cell of way {way} is not what was sealed")),
        }
    }

    /// Gives the last mix's far end of `link` a wrong key. For tests: what it opens fails.
    pub fn break_end(&mut self, link: u32) {
        let wrong = TrafficSecret([1; 32]);
        self.ends[link as usize] = rig::Far::new(&wrong, &wrong, RATCHET_BITS);
    }
}

fn secret(rng: &mut StdRng) -> TrafficSecret {
    let mut secret = TrafficSecret([0; 32]);
    rng.fill_bytes(&mut secret.0);
    secret
}

/// A worker with its links: those to the left first, which send next to nothing, then those to the right.
fn make<C: Suite, const S: usize, W: Wire>(
    layout: &Layout,
    [left, right]: [&[[TrafficSecret; 2]]; 2],
    phases: &[u32],
    rng: &mut StdRng,
    ends: impl FnOnce(MemoryPort, MemoryWire) -> Result<(AnyPort, W), String>,
) -> Result<Rig<C, NoTerminal, S, AnyPort, W>, String> {
    let Layout { links, circuits, ring } = *layout;
    let pool = POOL_PER_CIRCUIT * circuits + 4 * drover_crypto::BATCH;
    let sizes = Sizes { links: 2 * links, circuits, pool, transmit: ring };
    let mut rig = Rig::new(NoTerminal, sizes, Pace::SPIN, INTERVAL).with_ends(ends)?;
    let idle = rig.class(Rate { round_ns: IDLE_ROUND_NS, slots: IDLE_SLOTS }, IDLE_SLOTS, now());
    let slots = layout.slots();
    let sending = rig.class(Rate { round_ns: IDLE_ROUND_NS, slots }, slots, now());
    let mut add = |index: usize, class, phase, send: &TrafficSecret, receive: &TrafficSecret| {
        let keys = GenerationSecrets {
            generation: 1,
            ratchet_bits: RATCHET_BITS,
            send: (send.clone(), 0),
            receive: (receive.clone(), 0),
        };
        let remote = rig.wire.endpoint(index as u32);
        rig.link(LinkSpec { remote, class, peer: Peer::Drover, phase, keys });
    };
    for (index, [rightward, leftward]) in left.iter().enumerate() {
        add(index, idle, rng.random(), leftward, rightward);
    }
    for (index, [rightward, leftward]) in right.iter().enumerate() {
        add(links + index, sending, phases[index], rightward, leftward);
    }
    Ok(rig)
}
