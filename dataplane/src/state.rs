//! A worker's state: everything that the stages read and write, and nothing that does I/O.

use crate::circuit::{Egress, Ingress, IngressRest, Originators};
use crate::class::Class;
use crate::command::Direction;
use crate::counters::Counters;
use crate::drops::DropReason;
use crate::limits::{
    CLASSES_MAX, EXPECTED_MAX, EXPECTED_RING, PUNT_RING, RAW_WAITING_MAX, REDRAW_ROUNDS, STRANGERS_RING,
};
use crate::link::{LinkRx, LinkTx, List, NO_STEP, Steps, WriteKeys};
use crate::mixing::{Mixer, Mixing};
use crate::pool::Pool;
use crate::punt::{Punted, Punts};
use crate::table::Index;
use drover_crypto::schedule::{LayerSecret, MaskSecret, RecordSecret};
use drover_crypto::{Layers, Records, Suite};
use drover_nic::slab::Slab;
use drover_nic::{Endpoint, huge};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// How large a worker's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Links.
    pub links: usize,
    /// Circuits that pass or end here, both directions counted as one.
    pub circuits: usize,
    /// Cells of the pool.
    pub pool: usize,
    /// Records sealed and not yet due.
    pub transmit: usize,
}

/// A sealed record that waits in the port for its instant, in the order of the port's frames.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// When it is due, monotonic ns.
    pub due: u64,
    /// From `due` + this it is too late.
    pub period: u64,
    /// Its class's index.
    pub class: u8,
    /// Its link's index.
    pub link: u32,
    /// It carries a cell.
    pub real: bool,
}

/// What leaves by one end of a link of this mix to itself, on its way to the other end's slot instant.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// The slot's instant, monotonic ns.
    pub due: u64,
    /// From `due` + this it is too late.
    pub period: u64,
    /// The class's index.
    pub class: u8,
    /// The end that it leaves by.
    pub from: u32,
    /// The end that it arrives at.
    pub to: u32,
    /// The cell; [`crate::pool::CHAFF`] where there is none.
    pub cell: u32,
}

/// A ratchet step's key that the service thread shall make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The link's index.
    pub link: u32,
    /// The generation.
    pub generation: u32,
    /// Which direction.
    pub direction: Direction,
    /// The step.
    pub step: u64,
}

/// The state of one worker, for cells of size `S`.
pub struct State<C: Suite, const S: usize> {
    /// The turn's instant, monotonic ns: read once a turn.
    pub now: u64,
    /// Time between two turns where they come on a grid, ns.
    pub grain: u64,
    /// The number of the slot that each class is in now, for what a burst of records is expected to be.
    pub slots_now: [u64; CLASSES_MAX],
    /// This worker's number.
    pub worker: u8,
    /// Cells.
    pub pool: Pool<S>,
    /// For each cell that waits in a list: the next one, and its egress.
    pub next: Box<[u32]>,
    /// The egress of each best-effort cell.
    pub egress_of: Box<[u32]>,
    /// Record keys.
    pub record_keys: Slab<<C::Records as Records>::Key>,
    /// Mask keys.
    pub mask_keys: Slab<<C::Records as Records>::MaskKey>,
    /// Layer keys.
    pub layer_keys: Slab<<C::Layers as Layers>::Key>,
    /// Receiving halves of links, by index.
    pub rx: Vec<LinkRx>,
    /// Sending halves of links, by index.
    pub tx: Vec<LinkTx>,
    /// From the sender's address to the link.
    pub endpoints: Index<Endpoint>,
    /// From (link index, circuit id) to the ingress.
    pub circuits: Index<(u32, u32)>,
    /// Ways in.
    pub ingress: Vec<Ingress>,
    /// What few cells need of them.
    pub ingress_rest: Vec<IngressRest>,
    /// Windows of cells that hops beyond make themselves.
    pub originators: Slab<Originators>,
    /// Ways out.
    pub egress: Vec<Egress>,
    /// Classes, by index.
    pub classes: Vec<Box<Class>>,
    /// The links with best-effort cells that are not mixed yet.
    pub mixer: Mixer,
    /// What is sealed and not yet due.
    pub departures: VecDeque<Departure>,
    /// Most that may be sealed and not yet due.
    pub departures_max: usize,
    /// What crosses links of this mix to itself and is not yet due.
    pub crossings: VecDeque<Crossing>,
    /// How many of these are datagrams of control, outside slots.
    pub raw_waiting: usize,
    /// Links whose control cells have left, untold.
    pub left: VecDeque<u32>,
    /// Senders whose datagrams are control's.
    pub expected: Index<Endpoint>,
    /// What is handed to the service thread.
    pub punts: Punts,
    /// Keys to ask the service thread for.
    pub wants: Vec<Want>,
    /// Second openings left in this turn.
    pub trials: u32,
    /// The link whose silence is looked at next.
    pub watched: usize,
    /// Draws slots and permutations.
    pub rng: StdRng,
    /// What was done.
    pub counters: Counters,
    /// Broken properties.
    #[cfg(feature = "lab")]
    pub broken: Option<crate::lab::Break>,
}

/// Wants that a worker keeps until the service thread's ring has room; more are asked for again later.
const WANTS_MAX: usize = 256;

impl<C: Suite, const S: usize> State<C, S> {
    /// A worker's state with all its memory, touched.
    pub fn new(worker: u8, sizes: Sizes, mixing: Mixing, punts: Punts) -> Self {
        Self::with_rng(worker, sizes, mixing, punts, StdRng::from_os_rng())
    }

    /// As [`State::new`], everything that is drawn coming from `rng`. For measurements that must repeat themselves.
    pub fn with_rng(worker: u8, sizes: Sizes, mixing: Mixing, punts: Punts, mut rng: StdRng) -> Self {
        State {
            now: 0,
            grain: 0,
            slots_now: [0; CLASSES_MAX],
            worker,
            pool: Pool::new(sizes.pool),
            next: vec![crate::link::NIL; sizes.pool + 1].into_boxed_slice(),
            egress_of: vec![0; sizes.pool + 1].into_boxed_slice(),
            // A link has two directions, up to two generations of each, and two steps of each generation.
            record_keys: Slab::new(8 * sizes.links, || C::Records::key(&RecordSecret { key: [0; 16], iv: [0; 12] })),
            mask_keys: Slab::new(4 * sizes.links, || C::Records::mask_key(&MaskSecret([0; 16]))),
            layer_keys: Slab::new(2 * sizes.circuits, || C::Layers::key(&LayerSecret([0; 16]))),
            rx: huge::vec(sizes.links),
            tx: huge::vec(sizes.links),
            endpoints: Index::with_secret(sizes.links, Endpoint::NONE, &mut rng),
            circuits: Index::with_secret(2 * sizes.circuits, (0, 0), &mut rng),
            ingress: huge::vec(2 * sizes.circuits),
            ingress_rest: huge::vec(2 * sizes.circuits),
            originators: Slab::new(2 * sizes.circuits, || Originators::new(&[], 0)),
            egress: huge::vec(2 * sizes.circuits),
            classes: Vec::with_capacity(CLASSES_MAX),
            mixer: Mixer::new(mixing, sizes.links),
            departures: VecDeque::with_capacity(sizes.transmit + RAW_WAITING_MAX),
            departures_max: sizes.transmit,
            crossings: VecDeque::with_capacity(sizes.transmit),
            raw_waiting: 0,
            left: VecDeque::with_capacity(sizes.links),
            expected: Index::with_secret(EXPECTED_MAX, Endpoint::NONE, &mut rng),
            punts,
            wants: Vec::with_capacity(WANTS_MAX),
            trials: 0,
            watched: 0,
            rng,
            counters: Counters::default(),
            #[cfg(feature = "lab")]
            broken: None,
        }
    }

    /// Whether a property is broken on purpose. Always false, and gone from the code, in release builds.
    #[cfg(feature = "lab")]
    pub(crate) fn broken(&self, property: crate::lab::Break) -> bool {
        self.broken == Some(property)
    }

    /// Asks for the key of a ratchet step; false when it must be asked for again.
    pub(crate) fn want(&mut self, want: Want) -> bool {
        let room = self.wants.len() < WANTS_MAX;
        if room {
            self.wants.push(want);
        }
        room
    }

    /// Gives a cell back and counts why.
    pub(crate) fn drop_cell(&mut self, cell: u32, reason: DropReason) {
        self.pool.give(cell);
        self.counters.drop(reason);
    }

    /// Cells that wait: in queues, in lists, or sealed and not yet due; and datagrams behind them.
    pub fn waiting(&self) -> u64 {
        (self.pool.used() + self.departures.iter().filter(|d| d.real).count()) as u64
    }

    /// Slot number from which a circuit's slot is drawn anew.
    pub(crate) fn next_redraw(&mut self, n: u64, slots: u32) -> u64 {
        n + self.rng.random_range(REDRAW_ROUNDS) * u64::from(slots)
    }

    /// Memory by what it is for, bytes: the pool, and the tables.
    pub fn bytes(&self) -> (usize, usize) {
        let tables = self.record_keys.bytes()
            + self.mask_keys.bytes()
            + self.layer_keys.bytes()
            + self.originators.bytes()
            + self.endpoints.bytes()
            + self.circuits.bytes()
            + self.rx.capacity() * size_of::<LinkRx>()
            + self.tx.capacity() * size_of::<LinkTx>()
            + self.ingress.capacity() * size_of::<Ingress>()
            + self.ingress_rest.capacity() * size_of::<IngressRest>()
            + self.egress.capacity() * size_of::<Egress>()
            + self.expected.bytes()
            + self.mixer.bytes()
            + (PUNT_RING + EXPECTED_RING + STRANGERS_RING) * size_of::<Punted>();
        (self.pool.bytes() + (self.next.len() + self.egress_of.len()) * size_of::<u32>(), tables)
    }

    /// `received = sent + dropped + waiting`, with every term named (I8). Panics when a frame is not accounted for.
    #[cfg(feature = "lab")]
    pub fn assert_conserved(&self) {
        let (c, lab) = (&self.counters, &self.counters.lab);
        let came = c.received + lab.handed_in + lab.filled + lab.injected;
        let left = lab.cells_out + lab.chaff_in + lab.handed_out + lab.delivered;
        let went = left + lab.punted + lab.raw_out + c.dropped_in_all();
        assert_eq!(came, went + self.waiting(), "frames unaccounted for: {c:?}, waiting {}", self.waiting());
    }
}

/// A link half's place before its first use.
pub(crate) fn idle_steps() -> Steps {
    Steps { steps: [NO_STEP; 2], asked: NO_STEP, keys: [0; 2], ratchet_bits: 4 }
}

/// Write keys of a place that is not in use.
pub(crate) fn idle_write_keys() -> WriteKeys {
    WriteKeys { steps: idle_steps(), base: 0, generation: 0, mask: 0, first_byte: 0, first: 0 }
}

/// Lists of a place that is not in use.
pub(crate) const NO_CELLS: List = List::EMPTY;
