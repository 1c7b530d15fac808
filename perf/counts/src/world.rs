//! What is counted: one world, drawn from one seed, turned for a fixed number of rounds.
//!
//! 128 links of 24 slots a round. Each carries 16 ways out of admitted circuits and 2 of best effort, half peeled and half
//! added to; every far end fills its other slots with chaff. A turn takes about 51 records in and gives as many out, so that
//! bursts and batches are as full as those of a busy worker.
//!
//! First the stages are called one by one, in the worker's order, each by a function of its own, so that callgrind tells
//! them apart; then the same world goes on in turns of the worker itself, the port's part included.

use crate::suite::Omitted;
use drover_crypto::reference::Reference;
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::handoff::Handoff;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{Far, LinkSpec, Rig};
use drover_dataplane::stages::receive::OpenedBurst;
use drover_dataplane::state::{Sizes, State};
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_nic::memory::MemoryPort;
use drover_nic::{BURST, Endpoint, Port, RxBurst};
use drover_wire::cell::{Command, Header, plaintext_len};
use drover_wire::control::{List, Peer};
use drover_wire::record::record_len;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hint::black_box;

/// Bytes of a cell.
const S: usize = 512;
/// Everything is drawn from it.
const SEED: u64 = 0x00d7_05e7;
const LINKS: u32 = 128;
/// Circuits that begin at each link: to the links at these distances.
const DISTANCES: [u32; 9] = [1, 2, 5, 11, 23, 31, 42, 53, 61];
/// The last of them are best effort.
const ADMITTED: usize = 8;
const SLOTS: u32 = 24;
const ROUND_NS: u64 = 20_000_000;
/// Turns of a round: a slot is longer than two.
const TURNS: u64 = 60;
/// Virtual time at which the grid begins, ns.
const EPOCH: u64 = 1_000_000_000;
/// Interval of mixing, ns: a quarter of a round.
const INTERVAL_NS: u64 = 5_000_000;
/// Rounds before anything is counted: by the third every circuit has a cell waiting at its slot.
pub const WARM_UP: u64 = 3;

type World = Rig<Omitted, NoTerminal, S>;
type Worker = drover_dataplane::worker::Worker<MemoryPort, Omitted, NoTerminal, S>;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// What is due leaves.
    Transmit,
    /// Parse, windows, jobs for opening.
    Receive,
    /// Circuits, their windows, jobs for layers, queues.
    Relay,
    /// Best effort, permuted.
    Mix,
    /// Slots that are due, jobs for sealing.
    Seal,
    /// What else a turn does: loops, hand-off, watching.
    Rest,
    /// The worker's turn, all of it.
    Turn,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 7] =
        [Stage::Transmit, Stage::Receive, Stage::Relay, Stage::Mix, Stage::Seal, Stage::Rest, Stage::Turn];

    /// Its name in the baseline and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Transmit => "transmit",
            Stage::Receive => "receive",
            Stage::Relay => "relay",
            Stage::Mix => "mix",
            Stage::Seal => "seal",
            Stage::Rest => "rest",
            Stage::Turn => "turn",
        }
    }

    /// What its instructions are divided by.
    pub const fn unit(self) -> &'static str {
        match self {
            Stage::Transmit => "record sent",
            Stage::Receive | Stage::Relay => "record received",
            Stage::Mix => "best-effort cell",
            Stage::Seal => "record sealed",
            Stage::Rest => "turn",
            Stage::Turn => "cell relayed",
        }
    }

    /// The function that callgrind counts.
    pub const fn function(self) -> &'static str {
        match self {
            Stage::Transmit => "drover_counts::world::measured_transmit",
            Stage::Receive => "drover_counts::world::measured_receive",
            Stage::Relay => "drover_counts::world::measured_relay",
            Stage::Mix => "drover_counts::world::measured_mix",
            Stage::Seal => "drover_counts::world::measured_seal",
            Stage::Rest => "drover_counts::world::measured_rest",
            Stage::Turn => "drover_counts::world::measured_turn",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = String;
    fn from_str(name: &str) -> Result<Stage, String> {
        let names = || Stage::ALL.map(Stage::name).join(", ");
        Stage::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| format!("{name:?} is no stage: {}", names()))
    }
}

/// How much of each stage's unit went by while it was counted.
pub type Units = BTreeMap<Stage, u64>;

/// A burden to be carried by one stage on each call: so many instructions at least. To show that it is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// The stage.
    pub stage: Option<Stage>,
    /// Rounds of a loop.
    pub loops: u32,
}

impl Burden {
    #[inline(always)]
    fn bear(self, stage: Stage) {
        if self.stage == Some(stage) {
            for turn in 0..self.loops {
                black_box(turn);
            }
        }
    }
}

/// Turns the world for `rounds` rounds stage by stage, and as many by turns of the worker.
///
/// # Errors
/// What was dropped, missed or not taken: then nothing that was counted means anything.
pub fn run(rounds: u64, burden: Burden) -> Result<Units, String> {
    let mut world = Bench::new();
    let mut units = Units::new();
    for round in 0..WARM_UP {
        world.round(round, |worker, _, now| measured_warm_up(worker, now))?;
    }
    let before = world.done();
    for round in WARM_UP..WARM_UP + rounds {
        world.round(round, |worker, handoff, now| staged(worker, handoff, now, burden))?;
    }
    let staged = world.done().since(&before);
    let before = world.done();
    for round in WARM_UP + rounds..WARM_UP + 2 * rounds {
        world.round(round, |worker, _, now| measured_turn(worker, now, burden))?;
    }
    let turned = world.done().since(&before);
    let best_effort = rounds * u64::from(LINKS) * 2 * (DISTANCES.len() - ADMITTED) as u64;
    for stage in Stage::ALL {
        let unit = match stage {
            Stage::Transmit | Stage::Seal => staged.sent,
            Stage::Receive | Stage::Relay => staged.received,
            Stage::Mix => best_effort,
            Stage::Rest => rounds * TURNS,
            Stage::Turn => turned.relayed,
        };
        units.insert(stage, unit);
    }
    Ok(units)
}

/// One turn, stage by stage, as [`drover_dataplane::worker::Worker::turn`] has it.
fn staged(worker: &mut Worker, handoff: &mut Handoff<S>, now: u64, burden: Burden) {
    let Worker { port, state, terminal, .. } = worker;
    state.now = now;
    measured_transmit(state, port, burden);
    let burst = port.receive(BURST);
    let opened = measured_receive(state, &burst, burden);
    drop(burst);
    measured_relay(state, opened, handoff, terminal, burden);
    measured_rest(state, handoff, terminal, burden);
    measured_mix(state, burden);
    measured_seal(state, port, terminal, burden);
}

#[inline(never)]
fn measured_transmit(state: &mut State<Omitted, S>, port: &mut MemoryPort, burden: Burden) {
    burden.bear(Stage::Transmit);
    state.transmit(port);
}

#[inline(never)]
fn measured_receive(state: &mut State<Omitted, S>, burst: &RxBurst<'_>, burden: Burden) -> OpenedBurst {
    burden.bear(Stage::Receive);
    state.receive(burst)
}

#[inline(never)]
fn measured_relay(
    state: &mut State<Omitted, S>,
    opened: OpenedBurst,
    handoff: &mut Handoff<S>,
    terminal: &mut NoTerminal,
    burden: Burden,
) {
    burden.bear(Stage::Relay);
    state.relay(opened, handoff, terminal);
}

#[inline(never)]
fn measured_mix(state: &mut State<Omitted, S>, burden: Burden) {
    burden.bear(Stage::Mix);
    state.mix();
}

#[inline(never)]
fn measured_rest(state: &mut State<Omitted, S>, handoff: &mut Handoff<S>, terminal: &mut NoTerminal, burden: Burden) {
    burden.bear(Stage::Rest);
    state.cross(handoff, terminal);
    state.take_handed(handoff);
    state.watch();
}

#[inline(never)]
fn measured_seal(state: &mut State<Omitted, S>, port: &mut MemoryPort, terminal: &mut NoTerminal, burden: Burden) {
    burden.bear(Stage::Seal);
    let until = state.now + Pace::SPIN.horizon;
    state.seal(until, port, terminal);
}

/// The function of the warm-up's turns: counted, since a kernel's end would begin to count outside of it, and then left out.
pub const WARM_UP_FUNCTION: &str = "drover_counts::world::measured_warm_up";

#[inline(never)]
fn measured_warm_up(worker: &mut Worker, now: u64) {
    worker.turn(now);
    // Not the same code as the function below, or there would be one of both.
    black_box(now);
}

#[inline(never)]
fn measured_turn(worker: &mut Worker, now: u64, burden: Burden) {
    burden.bear(Stage::Turn);
    worker.turn(now);
}

/// One direction of a circuit, or the chaff of a link.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    /// The circuit's id as it comes in; 0 is chaff.
    circuit: u32,
}

/// What has been done so far.
#[derive(Clone, Copy, Default)]
struct Done {
    received: u64,
    sent: u64,
    relayed: u64,
}

impl Done {
    fn since(&self, before: &Done) -> Done {
        Done {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            relayed: self.relayed - before.relayed,
        }
    }
}

struct Bench {
    rig: World,
    handoff: Handoff<S>,
    far: Vec<Far<<Reference as Suite>::Records, S>>,
    /// What comes in a round, in its order.
    order: Vec<Way>,
    /// The next record number of each link.
    numbers: Vec<u64>,
    offered: u64,
    cells: u64,
    plaintext: Vec<u8>,
    frame: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let mut rng = StdRng::seed_from_u64(SEED);
        let circuits = LINKS as usize * DISTANCES.len();
        let sizes = Sizes { links: LINKS as usize, circuits, pool: 8 * circuits, transmit: 2048 };
        let mut rig = World::seeded(NoTerminal, sizes, Pace::SPIN, INTERVAL_NS, StdRng::seed_from_u64(rng.random()));
        let class = rig.class(Rate { round_ns: ROUND_NS, slots: SLOTS }, SLOTS, EPOCH);
        let mut far = Vec::new();
        for link in 0..LINKS {
            let mut secret = || {
                let mut secret = TrafficSecret([0; 32]);
                rng.fill_bytes(&mut secret.0);
                secret
            };
            let (theirs, ours) = (secret(), secret());
            far.push(Far::new(&theirs, &ours, 24));
            let keys = GenerationSecrets { generation: 1, ratchet_bits: 24, send: (ours, 0), receive: (theirs, 0) };
            rig.link(LinkSpec { remote: endpoint(link), class, peer: Peer::Drover, phase: rng.random(), keys });
        }
        let mut order = Vec::new();
        for link in 0..LINKS {
            for (at, distance) in DISTANCES.into_iter().enumerate() {
                let id = order.len() as u32 + 1;
                let to = (link + distance) % LINKS;
                for (from, to, step) in [(link, to, LayerStep::Peel), (to, link, LayerStep::Add)] {
                    add_way(&mut rig, from, to, id, step, at < ADMITTED, &mut rng);
                    order.push(Way { from, circuit: id });
                }
            }
        }
        // Chaff fills the far ends' slots.
        let free = SLOTS as usize - 2 * DISTANCES.len();
        order.extend((0..LINKS).flat_map(|from| (0..free).map(move |_| Way { from, circuit: 0 })));
        order.shuffle(&mut rng);
        let handoff = Handoff::mesh(1, 1).remove(0);
        let numbers = vec![0; LINKS as usize];
        let (plaintext, frame) = (vec![0; plaintext_len(S)], vec![0; record_len(S)]);
        Bench { rig, handoff, far, order, numbers, offered: 0, cells: 0, plaintext, frame }
    }

    /// One round of virtual time: in each turn its share of records comes, then `turn` is called.
    fn round(&mut self, round: u64, turn: impl Fn(&mut Worker, &mut Handoff<S>, u64)) -> Result<(), String> {
        let share = |turn: u64| self.order.len() * turn as usize / TURNS as usize;
        let shares: Vec<_> = (0..TURNS).map(|at| share(at)..share(at + 1)).collect();
        for (at, share) in (1..).zip(shares) {
            let now = EPOCH + round * ROUND_NS + ROUND_NS * at / TURNS;
            for place in share {
                self.send(self.order[place], round, now);
            }
            turn(&mut self.rig.worker, &mut self.handoff, now);
            self.rig.serve();
            while self.rig.wire.take(|_, _| ()) {}
        }
        self.sound()
    }

    /// The far end's next record: a cell of its way with the round's counter, or chaff.
    fn send(&mut self, way: Way, round: u64, now: u64) {
        let Way { from, circuit } = way;
        let command = if circuit == 0 { Command::Chaff } else { Command::Relay };
        Header { circuit, command, counter: if circuit == 0 { 0 } else { round } }.write(&mut self.plaintext);
        // Numbers follow time, as a peer's do.
        let slot = (now - EPOCH) * u64::from(SLOTS) / ROUND_NS;
        let next = &mut self.numbers[from as usize];
        let number = slot.max(*next);
        *next = number + 1;
        self.far[from as usize].seal(number, &self.plaintext, &mut self.frame);
        self.rig.wire.deliver(endpoint(from), &self.frame);
        self.offered += 1;
        self.cells += u64::from(circuit != 0);
    }

    fn done(&self) -> Done {
        let state = &self.rig.worker.state;
        let counters = &state.counters;
        Done { received: counters.received, sent: counters.sent, relayed: self.cells - state.waiting() }
    }

    /// Nothing was lost, and nothing waits that should have left.
    fn sound(&self) -> Result<(), String> {
        let state = &self.rig.worker.state;
        let (counters, waiting) = (&state.counters, state.waiting());
        let missed: u64 = counters.class_missed.iter().sum();
        let (dropped, received, offered) = (counters.dropped_in_all(), counters.received, self.offered);
        let most = 2 * self.order.len() as u64;
        if dropped + missed > 0 || received != offered || waiting > most {
            return Err(format!(
                "the world is not sound: {dropped} cells dropped, {missed} slots missed, {received} of {offered} records \
                 taken, {waiting} cells wait"
            ));
        }
        Ok(())
    }
}

fn add_way(rig: &mut World, from: u32, to: u32, circuit: u32, step: LayerStep, admitted: bool, rng: &mut StdRng) {
    let index = rig.egress(to, admitted, None);
    let mut secret = LayerSecret([0; 16]);
    rng.fill_bytes(&mut secret.0);
    rig.ingress(NewIngress {
        index: 0,
        link: from,
        circuit,
        step,
        key: Some(<Omitted as Suite>::Layers::key(&secret)),
        first: Some(0),
        offset: rng.random(),
        next: Next::Egress { worker: 0, index, tag: index + 1, circuit },
        others: List::default(),
    });
}

/// The address of a link's far end, in the benchmarking range (RFC 5180).
fn endpoint(link: u32) -> Endpoint {
    let mut ip = [0x20, 0x01, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..].copy_from_slice(&link.to_be_bytes());
    Endpoint { ip, port: 443 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_is_sound_and_the_same_each_time() {
        let units = run(2, Burden::default()).expect("is sound");
        assert_eq!(units.len(), Stage::ALL.len());
        assert_eq!(units[&Stage::Transmit], 2 * u64::from(LINKS * SLOTS), "every slot");
        assert_eq!(units[&Stage::Receive], 2 * u64::from(LINKS * SLOTS));
        assert_eq!(units[&Stage::Mix], 2 * 2 * u64::from(LINKS));
        // A cell is relayed a round later: as many as come, but for those that wait at both ends of the count.
        let cells = 2 * 18 * u64::from(LINKS);
        assert!(units[&Stage::Turn].abs_diff(cells) < cells / 20, "{units:?}");
        assert_eq!(run(2, Burden::default()).expect("is sound"), units);
    }

    #[test]
    fn stages_have_names() {
        for stage in Stage::ALL {
            assert_eq!(stage.name().parse(), Ok(stage));
            assert!(stage.function().ends_with(stage.name()));
        }
        assert!("frob".parse::<Stage>().expect_err("none").contains("transmit, receive"));
    }
}
