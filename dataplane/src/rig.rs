//! A worker on a bench: memory port, virtual clock, tables programmed without a service thread.
//!
//! Tests, fuzz targets and benchmarks turn the very worker that a mix runs. [`Far`] is the other end of a link, written
//! apart from the worker: it seals and opens records one by one.

use crate::class::Rate;
use crate::command::{
    Command, Direction, Event, NewEgress, NewIngress, NewLink, NewLoop, NewLoopEnd, StepKey, boxed_class,
};
use crate::handoff::Handoff;
use crate::inject::{Form, Injected, RawDatagram, Target};
use crate::keys::{GenerationSecrets, Ratchets, expand};
use crate::limits::{COMMAND_RING, RAW_WAITING_MAX};
use crate::mixing::Mixing;
use crate::owners::Owners;
use crate::punt::{self, PuntRings, What};
use crate::state::{Sizes, State};
use crate::terminal::Terminal;
use crate::worker::{Pace, ServiceEnds, Worker};
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{Cell, MaskJob, OpenJob, Records, SealJob, Suite};
use drover_nic::memory::{MemoryPort, MemoryWire, port_and_wire_of};
use drover_nic::ring::{Receiver, Sender, queue};
use drover_nic::{Endpoint, Port};
use drover_wire::control::{Bytes, ClassKind, Peer};
use drover_wire::record::{self, Aad};
use rand::rngs::StdRng;

/// A worker over a memory port, or over the one that [`Rig::with_ends`] puts in its place, and the bench's ends of
/// everything that leads to it.
pub struct Rig<C: Suite, T: Terminal, const S: usize, P: Port = MemoryPort, W = MemoryWire> {
    /// The worker.
    pub worker: Worker<P, C, T, S>,
    /// The other end of its wire.
    pub wire: W,
    /// What the worker said of injected control cells that left: link, how many.
    pub left: Vec<(u32, u32)>,
    commands: Sender<Command<C, T::End>>,
    events: Receiver<Event<C, T::End>>,
    punts: PuntRings,
    ratchets: Vec<Vec<Ratchets>>,
    peers: Vec<Peer>,
    links: u32,
    classes: Vec<(Rate, u32)>,
    ways: (u32, u32),
}

/// How a bench link is made.
pub struct LinkSpec {
    /// Where the far end is.
    pub remote: Endpoint,
    /// The class's index.
    pub class: u8,
    /// Whose number rules hold.
    pub peer: Peer,
    /// Phase on the class's grid, as a fraction of 2^32.
    pub phase: u32,
    /// The first generation.
    pub keys: GenerationSecrets,
}

/// The worker's address.
const ADDRESS: Endpoint = Endpoint { ip: [1; 16], port: 1 };

/// Frames of the worker's port.
fn frames(sizes: Sizes) -> usize {
    sizes.transmit + RAW_WAITING_MAX
}

impl<C: Suite, T: Terminal, const S: usize> Rig<C, T, S> {
    /// A lone worker.
    pub fn new(terminal: T, sizes: Sizes, pace: Pace, interval: u64) -> Self {
        let handoff = Handoff::mesh(1, 1).remove(0);
        Rig::with_handoff(0, handoff, terminal, sizes, pace, interval)
    }

    /// A lone worker that draws everything from `rng`: for measurements that must repeat themselves.
    pub fn seeded(terminal: T, sizes: Sizes, pace: Pace, interval: u64, rng: StdRng) -> Self {
        let (port, wire) = port_and_wire_of(ADDRESS, frames(sizes), frames(sizes));
        let state = |punts| State::with_rng(0, sizes, Mixing::Interval { ns: interval }, punts, rng);
        Rig::of(port, wire, Handoff::mesh(1, 1).remove(0), terminal, pace, state)
    }

    /// One of several workers. Its wire holds as many frames each way as its port.
    pub fn with_handoff(worker: u8, handoff: Handoff<S>, terminal: T, sizes: Sizes, pace: Pace, interval: u64) -> Self {
        Rig::with_wire(worker, handoff, terminal, sizes, pace, interval, frames(sizes))
    }

    /// As [`Rig::with_handoff`], with a wire that holds up to `wire` frames each way.
    pub fn with_wire(
        worker: u8,
        handoff: Handoff<S>,
        terminal: T,
        sizes: Sizes,
        pace: Pace,
        interval: u64,
        wire: usize,
    ) -> Self {
        let (port, wire) = port_and_wire_of(ADDRESS, frames(sizes), wire);
        let state = |punts| State::new(worker, sizes, Mixing::Interval { ns: interval }, punts);
        Rig::of(port, wire, handoff, terminal, pace, state)
    }

    fn of(
        port: MemoryPort,
        wire: MemoryWire,
        handoff: Handoff<S>,
        terminal: T,
        pace: Pace,
        state: impl FnOnce(punt::Punts) -> State<C, S>,
    ) -> Self {
        let (commands, for_worker) = queue(COMMAND_RING);
        let (from_worker, events) = queue(COMMAND_RING);
        let ends = ServiceEnds { commands: for_worker, events: from_worker };
        let (punts_of_worker, punts) = punt::rings();
        let worker = Worker::new(port, state(punts_of_worker), terminal, handoff, ends, pace);
        let (ratchets, peers, classes, left) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Rig { worker, wire, left, commands, events, punts, ratchets, peers, links: 0, classes, ways: (0, 0) }
    }

    /// The same bench over the port and the other end of a wire that `wrap` makes of these.
    ///
    /// # Errors
    /// Those of `wrap`.
    pub fn with_ends<Q: Port, V, E>(
        self,
        wrap: impl FnOnce(MemoryPort, MemoryWire) -> Result<(Q, V), E>,
    ) -> Result<Rig<C, T, S, Q, V>, E> {
        let Rig { worker, wire, left, commands, events, punts, ratchets, peers, links, classes, ways } = self;
        let mut far = None;
        let worker = worker.try_with_port(|port| {
            let (port, wire) = wrap(port, wire)?;
            far = Some(wire);
            Ok(port)
        })?;
        let wire = far.expect("whoever made the port made the wire");
        Ok(Rig { worker, wire, left, commands, events, punts, ratchets, peers, links, classes, ways })
    }
}

impl<C: Suite, T: Terminal, const S: usize, P: Port, W> Rig<C, T, S, P, W> {
    /// Gives the worker a command and lets it carry it out now, outside any turn.
    pub fn command(&mut self, command: Command<C, T::End>) {
        self.order(command);
        self.worker.commands();
        self.serve();
    }

    /// Gives the worker a command for its next turn.
    pub fn order(&mut self, command: Command<C, T::End>) {
        let sent = self.commands.send(command);
        assert!(sent.is_ok(), "the command ring is full");
    }

    /// Frees what is spent and makes the keys that were asked for, as the service thread does.
    pub fn serve(&mut self) {
        while let Some(event) = self.events.recv() {
            let (link, generation, direction, step) = match event {
                Event::WantStep { link, generation, direction, step } => (link, generation, direction, step),
                Event::Left { link, count } => {
                    self.left.push((link, count));
                    continue;
                }
                Event::Spent(_) => continue,
            };
            let ratchets = self.ratchets[link as usize].iter_mut().find(|r| r.generation == generation);
            let key = ratchets.and_then(|r| match direction {
                Direction::Send => r.send.key_at::<C::Records>(step),
                Direction::Receive => r.receive.key_at::<C::Records>(step),
            });
            let step = Box::new(StepKey { link, generation, direction, step, key });
            let sent = self.commands.send(Command::AddStep(step));
            assert!(sent.is_ok(), "the command ring is full");
        }
    }

    /// Begins to listen to what the worker hands over.
    pub fn listen(&mut self) {
        self.command(Command::Listen(true));
    }

    /// Everything that the worker has handed over since the last time: what it is, and its bytes. Before
    /// [`Rig::listen`] that is events only.
    pub fn punted(&mut self) -> Vec<(What, Vec<u8>)> {
        let mut punted = Vec::new();
        self.punts.drain(|slot| punted.push((slot.what, slot.bytes().to_vec())));
        punted
    }

    /// Injects a cell.
    pub fn inject(&mut self, target: Target, form: Form, bytes: &[u8]) {
        let bytes = Bytes::new(bytes).expect("no longer than a cell");
        self.command(Command::Inject(Box::new(Injected { target, form, bytes })));
    }

    /// Sends a datagram outside slots.
    pub fn send_raw(&mut self, to: Endpoint, bytes: &[u8]) {
        let bytes = Bytes::new(bytes).expect("no longer than a datagram");
        self.command(Command::SendRaw(Box::new(RawDatagram { to, bytes })));
    }

    /// One turn, then the service thread's part.
    pub fn turn(&mut self, now: u64) -> bool {
        let busy = self.worker.turn(now);
        self.serve();
        busy
    }

    /// Adds a class with its grid's origin.
    pub fn class(&mut self, rate: Rate, slots_max: u32, epoch: u64) -> u8 {
        let index = self.classes.len() as u8;
        let capacity = self.worker.state.rx.capacity();
        let class = Some(boxed_class(u16::from(index), ClassKind::Zone, rate, epoch, capacity));
        self.classes.push((rate, slots_max));
        self.command(Command::AddClass { index, class });
        index
    }

    /// Adds a link and returns its index.
    pub fn link(&mut self, spec: LinkSpec) -> u32 {
        let index = self.links;
        self.links += 1;
        let (keys, ratchets) = expand::<C::Records>(spec.keys, spec.peer);
        self.peers.push(spec.peer);
        self.ratchets.push(vec![ratchets]);
        let (rate, slots_max) = self.classes[usize::from(spec.class)];
        let LinkSpec { remote, class, peer, phase, .. } = spec;
        let owners = Some(Owners::new(rate.slots, slots_max));
        let new = NewLink { index, id: index + 1, remote, class, peer, phase, owners, keys: Some(keys) };
        self.command(Command::AddLink(Box::new(new)));
        index
    }

    /// Adds a link of this mix to itself and returns its ends' indices.
    pub fn looped(&mut self, class: u8, phases: [u32; 2]) -> [u32; 2] {
        let (rate, slots_max) = self.classes[usize::from(class)];
        let ends = phases.map(|phase| {
            let index = self.links;
            self.links += 1;
            self.ratchets.push(Vec::new());
            NewLoopEnd { index, id: index + 1, phase, owners: Some(Owners::new(rate.slots, slots_max)) }
        });
        let indices = [ends[0].index, ends[1].index];
        self.command(Command::AddLoop(Box::new(NewLoop { class, ends })));
        indices
    }

    /// Installs a newer generation beside the one in use.
    pub fn generation(&mut self, link: u32, keys: GenerationSecrets) {
        let (keys, ratchets) = expand::<C::Records>(keys, self.peers[link as usize]);
        self.ratchets[link as usize].push(ratchets);
        self.command(Command::AddGeneration { link, keys: Box::new(Some(keys)) });
    }

    /// Begins a foreign peer's next epoch, one way.
    pub fn advance(&mut self, link: u32, direction: Direction, epoch: u32) {
        let command = self.next_epoch(link, direction, epoch);
        self.command(command);
    }

    /// The command that does it.
    pub fn next_epoch(&mut self, link: u32, direction: Direction, epoch: u32) -> Command<C, T::End> {
        let ratchets = &mut self.ratchets[link as usize][0];
        let ratchet = match direction {
            Direction::Send => &mut ratchets.send,
            Direction::Receive => &mut ratchets.receive,
        };
        let keys = Box::new(ratchet.next_epoch::<C::Records>());
        Command::Advance { link, direction, epoch, limit_bits: 24, keys }
    }

    /// Adds a way out and returns its index; its tag is the index + 1.
    pub fn egress(&mut self, link: u32, admitted: bool, end: Option<(u32, u32)>) -> u32 {
        let index = self.ways.1;
        self.ways.1 += 1;
        self.command(Command::AddEgress(NewEgress { index, tag: index + 1, link, admitted, end }));
        index
    }

    /// Adds a way in; `new.index` is set here and returned.
    pub fn ingress(&mut self, mut new: NewIngress<C::Layers>) -> u32 {
        new.index = self.ways.0;
        self.ways.0 += 1;
        let index = new.index;
        self.command(Command::AddIngress(Box::new(new)));
        index
    }
}

/// The far end of a link.
pub struct Far<R: Records, const S: usize> {
    keys: [R::Key; 1],
    mask: [R::MaskKey; 1],
    peer_keys: [R::Key; 1],
    peer_mask: [R::MaskKey; 1],
    cells: Box<[Cell<S>]>,
    send: TrafficSecret,
    receive: TrafficSecret,
    ratchet_bits: u8,
    steps: (u64, u64),
    next: u64,
    first_byte: u8,
    /// The epochs of a foreign end, sending and receiving.
    epochs: Option<(u32, u32)>,
}

impl<R: Records, const S: usize> Far<R, S> {
    /// The far end of a link whose worker sends with `theirs` and receives with `ours`, numbers from zero.
    pub fn new(ours: &TrafficSecret, theirs: &TrafficSecret, ratchet_bits: u8) -> Self {
        Far {
            keys: [R::key(&ours.record())],
            mask: [R::mask_key(&ours.mask())],
            peer_keys: [R::key(&theirs.record())],
            peer_mask: [R::mask_key(&theirs.mask())],
            cells: drover_crypto::cells(1),
            send: ours.clone(),
            receive: theirs.clone(),
            ratchet_bits,
            steps: (0, 0),
            next: 0,
            first_byte: record::FIRST_BYTE,
            epochs: None,
        }
    }

    /// The far end of a link to a foreign peer, both ways in epoch 3, numbers from zero.
    pub fn foreign(ours: &TrafficSecret, theirs: &TrafficSecret) -> Self {
        Far { epochs: Some((3, 3)), ..Far::new(ours, theirs, crate::link::ONE_STEP_BITS) }
    }

    /// A foreign end begins to send in its next epoch.
    pub fn next_epoch(&mut self) {
        self.send = self.send.next();
        self.keys = [R::key(&self.send.record())];
        self.mask = [R::mask_key(&self.send.mask())];
        if let Some((sending, _)) = &mut self.epochs {
            *sending += 1;
            self.first_byte = record::first_byte(*sending);
        }
    }

    /// A foreign end opens the next epoch's records from now on, and no others.
    pub fn next_peer_epoch(&mut self) {
        self.receive = self.receive.next();
        self.peer_keys = [R::key(&self.receive.record())];
        self.peer_mask = [R::mask_key(&self.receive.mask())];
        self.next = 0;
        if let Some((_, receiving)) = &mut self.epochs {
            *receiving += 1;
        }
    }

    /// Seals `plaintext` (S − 16 bytes) as record `number` into `frame` (S + 3 bytes).
    pub fn seal(&mut self, number: u64, plaintext: &[u8], frame: &mut [u8]) {
        let step = number >> self.ratchet_bits;
        if step != self.steps.0 {
            self.keys = [R::key(&self.send.advance(step).record())];
            self.steps.0 = step;
        }
        self.cells[0].plaintext_mut().copy_from_slice(plaintext);
        let first = self.first_byte;
        R::seal(&self.keys, &self.cells, &mut [SealJob { key: 0, cell: 0, number, first, frame }]);
        let mut sample = [0; 16];
        sample.copy_from_slice(&frame[record::HEADER..record::HEADER + 16]);
        let mut mask = [MaskJob { key: 0, sample, mask: [0; 2] }];
        R::masks(&self.mask, &mut mask);
        frame[1] ^= mask[0].mask[0];
        frame[2] ^= mask[0].mask[1];
    }

    /// Opens a record; its number and plaintext, `None` when it does not open.
    pub fn open(&mut self, datagram: &[u8]) -> Option<(u64, &[u8])> {
        let record = record::parse(datagram, S).ok()?;
        if self.epochs.is_some_and(|(_, receiving)| record.epoch_bits() != (receiving & 3) as u8) {
            return None;
        }
        let mut mask = [MaskJob { key: 0, sample: *record.sample(), mask: [0; 2] }];
        R::masks(&self.peer_mask, &mut mask);
        let low = record.number(mask[0].mask);
        let number = record::reconstruct(low, self.next);
        let step = number >> self.ratchet_bits;
        if step != self.steps.1 {
            self.peer_keys = [R::key(&self.receive.advance(step).record())];
            self.steps.1 = step;
        }
        let aad = Aad::new(record.header, low);
        let mut job = [OpenJob { key: 0, cell: 0, number, aad, body: record.body, ok: false }];
        R::open(&self.peer_keys, &mut self.cells, &mut job);
        if !job[0].ok {
            return None;
        }
        self.next = self.next.max(number + 1);
        Some((number, self.cells[0].plaintext()))
    }
}
