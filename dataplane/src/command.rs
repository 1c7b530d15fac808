//! What the service thread tells a worker, and what a worker tells the service thread.
//!
//! Everything that needs memory, expansion of keys or a decision is made by the service thread; a command carries it
//! ready to use, and goes back as an event when it is spent, so that a worker neither allocates nor frees.

use crate::class::Rate;
use crate::inject::{Injected, RawDatagram};
use crate::owners::Owners;
use drover_crypto::{Layers, Records, Suite};
use drover_nic::Endpoint;
use drover_wire::control::{ClassKind, List, OTHERS_MAX, Peer};

/// Direction of a link, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What we seal.
    Send,
    /// What we open.
    Receive,
}

/// Expanded keys of one direction of a link at the start of a generation: ratchet steps `step` and `step + 1`.
pub struct DirectionKeys<R: Records> {
    /// Masks record numbers for the whole generation.
    pub mask: R::MaskKey,
    /// Keys of the two steps.
    pub keys: [R::Key; 2],
    /// The first record number: the steps are `first >> ratchet_bits` and the next.
    pub first: u64,
}

/// A generation of a link's keys.
pub struct Generation<R: Records> {
    /// Its number: larger is newer.
    pub generation: u32,
    /// A ratchet step covers 2^this records; a foreign peer's key seals no more than as many.
    pub ratchet_bits: u8,
    /// Our records.
    pub send: DirectionKeys<R>,
    /// The peer's.
    pub receive: DirectionKeys<R>,
}

/// A new link. Its index is the service thread's choice: free, and at most one beyond the highest in use.
pub struct NewLink<R: Records> {
    /// Index on the worker.
    pub index: u32,
    /// The link's id in control messages.
    pub id: u32,
    /// The peer's address.
    pub remote: Endpoint,
    /// The class's index on the worker.
    pub class: u8,
    /// Whose number rules hold.
    pub peer: Peer,
    /// Phase on the class's grid, drawn by a CSPRNG, as a fraction of 2^32.
    pub phase: u32,
    /// The link's round.
    pub owners: Option<Owners>,
    /// The first generation of keys.
    pub keys: Option<Generation<R>>,
}

/// One end of a new link of this mix to itself.
pub struct NewLoopEnd {
    /// Index on the worker, chosen as for [`NewLink`].
    pub index: u32,
    /// The end's link id in control messages.
    pub id: u32,
    /// Phase on the class's grid, as for [`NewLink`].
    pub phase: u32,
    /// The round of what leaves by this end.
    pub owners: Option<Owners>,
}

/// A new link of this mix to itself: what leaves by one end arrives at the other (`docs/wire.md`, W-CIR-9).
pub struct NewLoop {
    /// The class's index on the worker.
    pub class: u8,
    /// Its ends.
    pub ends: [NewLoopEnd; 2],
}

/// What happens to the layer of a cell that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// Away from the client: peel.
    Peel,
    /// Towards the client: add.
    Add,
    /// The circuit ends at this process's own client: the terminal does its layers.
    End,
    /// Control takes the cells, layers on.
    Tap,
}

/// Where cells of one direction of a circuit come in.
pub struct NewIngress<L: Layers> {
    /// Index on the worker of the link that they come by.
    pub index: u32,
    /// That link's index.
    pub link: u32,
    /// The circuit's id on it.
    pub circuit: u32,
    /// What happens to the layer.
    pub step: LayerStep,
    /// The layer's key; none for `End` and `Tap`.
    pub key: Option<L::Key>,
    /// The first counter as it comes in; `None`: the first cell says it.
    pub first: Option<u64>,
    /// Added, wrapping, to the counter as it goes out.
    pub offset: u64,
    /// Where they go.
    pub next: Next,
    /// First counters, as they come in, of cells that hops beyond make themselves.
    pub others: List<u64, OTHERS_MAX>,
}

/// Where a relayed cell goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A direction of a circuit that leaves by a link of `worker`.
    Egress {
        /// The worker.
        worker: u8,
        /// The egress's index there.
        index: u32,
        /// Tells this use of the index from earlier ones.
        tag: u32,
        /// The circuit's id on the link that it leaves by.
        circuit: u32,
    },
    /// This process's own client.
    End {
        /// The end's index.
        end: u32,
    },
    /// The circuit has no far side: what is not for this hop is dropped.
    Nowhere,
}

/// Where cells of one direction of a circuit leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEgress {
    /// Index on the worker of the link that they leave by.
    pub index: u32,
    /// Tells this use of the index from earlier ones.
    pub tag: u32,
    /// That link's index.
    pub link: u32,
    /// Owns a slot of the round; otherwise shares free slots.
    pub admitted: bool,
    /// Filled by this process's own client: the end's index and the circuit's id on the link.
    pub end: Option<(u32, u32)>,
}

/// A key for one ratchet step.
pub struct StepKey<R: Records> {
    /// The link's index.
    pub link: u32,
    /// The generation it belongs to.
    pub generation: u32,
    /// Which direction.
    pub direction: Direction,
    /// The step.
    pub step: u64,
    /// The expanded key.
    pub key: Option<R::Key>,
}

/// From the service thread to a worker.
pub enum Command<C: Suite, K> {
    /// A new class at this index (the next free one), its grid origin and room for links.
    AddClass {
        /// Index on the worker.
        index: u8,
        /// The class, allocated by the service thread.
        class: Option<Box<crate::class::Class>>,
    },
    /// A change of a class's rate.
    ChangeClass {
        /// Index on the worker.
        index: u8,
        /// When, monotonic ns.
        at: u64,
        /// The new rate.
        rate: Rate,
    },
    /// A new link.
    AddLink(Box<NewLink<C::Records>>),
    /// A new link of this mix to itself.
    AddLoop(Box<NewLoop>),
    /// A newer generation of a link's keys: reading begins now, sending at `Switch`.
    AddGeneration {
        /// The link's index.
        link: u32,
        /// The keys.
        keys: Box<Option<Generation<C::Records>>>,
    },
    /// A foreign peer's next epoch, one direction: sending begins at the first slot not yet sealed, reading now.
    Advance {
        /// The link's index.
        link: u32,
        /// Which direction.
        direction: Direction,
        /// The epoch.
        epoch: u32,
        /// A key seals this many records, as a power of two; then slots are lost.
        limit_bits: u8,
        /// The keys.
        keys: Box<DirectionKeys<C::Records>>,
    },
    /// Send with this generation from the first slot not yet sealed.
    Switch {
        /// The link's index.
        link: u32,
        /// The generation.
        generation: u32,
    },
    /// The link goes; the service thread has removed its circuits.
    RemoveLink {
        /// The link's index.
        link: u32,
        /// Filled by the worker: the round's memory goes back.
        spent: Option<Owners>,
    },
    /// A key that the worker asked for.
    AddStep(Box<StepKey<C::Records>>),
    /// One direction's way in.
    AddIngress(Box<NewIngress<C::Layers>>),
    /// A circuit that ended here goes on.
    SetNext {
        /// Index of the way in.
        index: u32,
        /// Where its cells go from now on.
        next: Next,
    },
    /// It goes.
    RemoveIngress {
        /// Its index.
        index: u32,
    },
    /// One direction's way out.
    AddEgress(NewEgress),
    /// It goes, and the cells that wait in it.
    RemoveEgress {
        /// Its index.
        index: u32,
    },
    /// A client's end.
    AddEnd {
        /// Its index.
        end: u32,
        /// What the terminal made of the put.
        keys: Option<Box<K>>,
    },
    /// It goes.
    RemoveEnd {
        /// Its index.
        end: u32,
        /// Filled by the worker: what the terminal gives back.
        spent: Option<Box<K>>,
    },
    /// A cell that control made.
    Inject(Box<Injected>),
    /// A datagram that control made.
    SendRaw(Box<RawDatagram>),
    /// Datagrams of this sender are control's, whatever they are; or no more.
    Expect {
        /// The sender.
        remote: Endpoint,
        /// Begin or end.
        expected: bool,
    },
    /// Somebody takes what is handed over from now on; or nobody does, and nobody is expected any more.
    Listen(bool),
}

/// From a worker to the service thread.
pub enum Event<C: Suite, K> {
    /// A command that has been carried out; whatever memory it holds is dropped by the receiver.
    Spent(Command<C, K>),
    /// A ratchet step's key is needed.
    WantStep {
        /// The link's index.
        link: u32,
        /// The generation.
        generation: u32,
        /// The direction.
        direction: Direction,
        /// The step.
        step: u64,
    },
    /// Control cells of a link have left: as many more may be injected.
    Left {
        /// The link's index.
        link: u32,
        /// How many.
        count: u32,
    },
}

/// A class as the service thread makes it.
pub fn boxed_class(id: u16, kind: ClassKind, rate: Rate, epoch: u64, capacity: usize) -> Box<crate::class::Class> {
    Box::new(crate::class::Class::new(id, kind, rate, epoch, capacity))
}
