//! The worker's stages under arbitrary input, with conservation as the oracle. Lab builds only.
//!
//! The same function runs bounded in `make test` and unbounded under cargo-fuzz (`make fuzz`): bytes are a script of
//! what arrives, what control does and how time passes, for a real worker on a bench.

use crate::class::Rate;
use crate::command::{Command, Direction, LayerStep, NewIngress, Next};
use crate::inject::{Form, Target};
use crate::keys::GenerationSecrets;
use crate::rig::{Far, LinkSpec, Rig};
use crate::state::Sizes;
use crate::terminal::NoTerminal;
use crate::worker::Pace;
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::testing::TestSuite;
use drover_crypto::{Layers, Suite};
use drover_nic::Endpoint;
use drover_wire::cell::{self, CONTENT_TYPE, Header, plaintext_len};
use drover_wire::control::{List, Peer};
use drover_wire::record::record_len;

const S: usize = 256;
const LINKS: u32 = 4;
/// Links, and the two ends of the mix's link to itself behind them.
const ENDS: u32 = LINKS + 2;
const ROUND: u64 = 20_000_000;
/// The first byte of control's datagrams: no record's.
const RAW: u8 = 22;
/// The link to a foreign peer.
const FOREIGN: u32 = 3;
/// Steps of one script, and turns without input after it.
const STEPS_MAX: usize = 400;

type Bench = Rig<TestSuite, NoTerminal, S>;
type End = Far<<TestSuite as Suite>::Records, S>;

/// A script's bytes, zero when it is over.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            *b = self.byte();
        }
    }
}

/// What a neighbour sends with.
#[derive(Clone, Copy)]
struct Neighbour {
    /// Its next record number, and the slot of its class at which it began.
    number: u64,
    since: u64,
    /// The generation it sends with, and the newest that the mix has.
    own: u32,
    newest: u32,
}

struct World {
    rig: Bench,
    far: Vec<End>,
    neighbours: Vec<Neighbour>,
    last: Vec<Vec<u8>>,
    now: u64,
    circuits: u32,
    ways_in: u32,
    /// The epoch that the mix sends to the foreign peer in.
    sending: u32,
}

fn endpoint(n: u32) -> Endpoint {
    Endpoint { ip: [n as u8 + 1; 16], port: 4000 }
}

fn secret(n: u32, generation: u32, ours: bool) -> TrafficSecret {
    TrafficSecret([(n * 32 + generation * 2) as u8 | u8::from(ours); 32])
}

/// Small steps, so that scripts cross many.
fn ratchet_bits(n: u32) -> u8 {
    5 + 2 * n as u8
}

fn keys(n: u32, generation: u32) -> GenerationSecrets {
    GenerationSecrets {
        generation,
        ratchet_bits: ratchet_bits(n),
        send: (secret(n, generation, true), 0),
        receive: (secret(n, generation, false), 0),
    }
}

impl World {
    fn new() -> Self {
        let sizes = Sizes { links: ENDS as usize, circuits: 64, pool: 32, transmit: 64 };
        let mut rig = Bench::new(NoTerminal, sizes, Pace::SPIN, ROUND);
        let mut now = 1_000_000;
        rig.worker.turn(now);
        for slots in [4, 7] {
            now += 1;
            rig.class(Rate { round_ns: ROUND, slots }, 32, now);
        }
        let mut far = Vec::new();
        for n in 0..LINKS {
            let peer = if n == FOREIGN { Peer::Foreign } else { Peer::Drover };
            let keys = if n == FOREIGN { GenerationSecrets { generation: 3, ..keys(n, 1) } } else { keys(n, 1) };
            let phase = n.wrapping_mul(0x4321_4321);
            rig.link(LinkSpec { remote: endpoint(n), class: (n % 2) as u8, peer, phase, keys });
            let (ours, theirs) = (secret(n, 1, false), secret(n, 1, true));
            far.push(if n == FOREIGN {
                End::foreign(&ours, &theirs)
            } else {
                End::new(&ours, &theirs, ratchet_bits(n))
            });
        }
        rig.looped(0, [7, 0x8000_0000]);
        let mut neighbours = vec![Neighbour { number: 0, since: 0, own: 1, newest: 1 }; LINKS as usize];
        (neighbours[FOREIGN as usize].own, neighbours[FOREIGN as usize].newest) = (3, 3);
        let last = vec![Vec::new(); LINKS as usize];
        let mut world = World { rig, far, neighbours, last, now, circuits: 0, ways_in: 0, sending: 3 };
        for n in 0..LINKS {
            for circuit in 0..8u8 {
                // The last three of each link: other originators, an end, a tap.
                let kind = circuit.saturating_sub(4);
                world.circuit(n, &mut Script(&[circuit.wrapping_mul(0x4b) ^ n as u8, circuit, kind]));
            }
        }
        world
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let op = script.byte();
        let n = u32::from(script.byte()) % LINKS;
        match op % 12 {
            0 => {
                let mut datagram = vec![0; usize::from(script.u16()) % 1500];
                script.fill(&mut datagram);
                self.rig.wire.deliver(endpoint(u32::from(op >> 4) % (LINKS + 1)), &datagram);
            }
            1..=3 => self.record(n, script),
            4 => {
                for _ in 0..script.byte() % 32 {
                    self.record(n, script);
                }
            }
            5 => {
                let frame = self.last[n as usize].clone();
                self.rig.wire.deliver(endpoint(if op & 0x80 != 0 { LINKS } else { n }), &frame);
            }
            6 => {
                let mut frame = self.last[n as usize].clone();
                if !frame.is_empty() {
                    let at = usize::from(script.u16()) % frame.len();
                    frame[at] ^= 1 << (script.byte() % 8);
                }
                self.rig.wire.deliver(endpoint(n), &frame);
            }
            7 => {
                let jump = u64::from(script.u16());
                self.neighbours[n as usize].number += if jump.is_multiple_of(8) { jump } else { jump % 64 };
            }
            8 => self.circuit(n, script),
            9 => self.control(n, script),
            10 => {
                let time = u64::from(script.u16());
                self.now += if time.is_multiple_of(16) { time * 40_000 } else { time * 500 };
            }
            _ => self.now += u64::from(script.byte()) * 20_000,
        }
        self.turn();
    }

    /// A record of the neighbour's with arbitrary plaintext, more or less a cell.
    fn record(&mut self, n: u32, script: &mut Script<'_>) {
        let mut plaintext = vec![0; plaintext_len(S)];
        script.fill(&mut plaintext[..40]);
        plaintext[0..3].fill(0);
        if !script.byte().is_multiple_of(8) {
            plaintext[4] = [1, 1, 1, 0, 2, 1][usize::from(plaintext[4]) % 6];
            plaintext[3] %= 9;
            plaintext[5..14].fill(0);
            // Counters go on with time, replay and jump now and then.
            plaintext[13] = ((self.now / ROUND) >> 8) as u8;
            plaintext[14] = ((self.now / ROUND) as u8).wrapping_add(plaintext[14] % 80);
            plaintext[plaintext_len(S) - 1] = CONTENT_TYPE;
        }
        let mut frame = vec![0; record_len(S)];
        let slot = self.rig.worker.state.classes[(n % 2) as usize].n();
        let neighbour = &mut self.neighbours[n as usize];
        if n != FOREIGN {
            // A drover peer's numbers follow time, at the rate of the class.
            neighbour.number = neighbour.number.max(slot.saturating_sub(neighbour.since));
        }
        self.far[n as usize].seal(neighbour.number, &plaintext, &mut frame);
        neighbour.number += 1;
        self.rig.wire.deliver(endpoint(n), &frame);
        self.last[n as usize] = frame;
    }

    fn circuit(&mut self, n: u32, script: &mut Script<'_>) {
        if self.circuits >= 60 {
            return;
        }
        self.circuits += 1;
        let how = script.byte();
        let out = u32::from(how) % ENDS;
        let index = self.rig.egress(out, how & 0x40 != 0, None);
        let step = if how & 0x80 != 0 { LayerStep::Peel } else { LayerStep::Add };
        let key = <TestSuite as Suite>::Layers::key(&LayerSecret([how; 16]));
        let next = Next::Egress { worker: 0, index, tag: index + 1, circuit: 500 + index };
        let circuit = u32::from(script.byte()) % 8;
        let new = NewIngress {
            index: 0,
            link: n,
            circuit,
            step,
            key: Some(key),
            first: Some(0),
            offset: 77,
            next,
            others: List::default(),
        };
        let new = match script.byte() {
            1 => NewIngress { first: None, others: List::from_slice(&[0, 300]).unwrap_or_default(), ..new },
            2 => NewIngress { next: Next::Nowhere, ..new },
            3 => NewIngress { step: LayerStep::Tap, key: None, next: Next::Nowhere, ..new },
            _ => new,
        };
        self.rig.ingress(new);
        self.ways_in += 1;
        if out >= LINKS {
            self.beyond(out, 500 + index, how);
        }
    }

    /// What leaves by one end of the loop comes in at the other, and goes on by a link.
    fn beyond(&mut self, out: u32, circuit: u32, how: u8) {
        self.circuits += 1;
        let index = self.rig.egress(u32::from(how) % LINKS, how & 0x20 != 0, None);
        self.rig.ingress(NewIngress {
            index: 0,
            link: LINKS + LINKS + 1 - out,
            circuit,
            step: LayerStep::Add,
            key: Some(<TestSuite as Suite>::Layers::key(&LayerSecret([!how; 16]))),
            first: None,
            offset: 5,
            next: Next::Egress { worker: 0, index, tag: index + 1, circuit: 500 + index },
            others: List::default(),
        });
        self.ways_in += 1;
    }

    fn control(&mut self, n: u32, script: &mut Script<'_>) {
        match script.byte() % 9 {
            // A circuit that ended here goes on, or ends.
            8 => {
                let index = u32::from(script.byte()) % self.ways_in;
                let to = u32::from(script.byte()) % self.circuits;
                let on = Next::Egress { worker: 0, index: to, tag: to + 1, circuit: 500 + to };
                let next = if script.byte().is_multiple_of(2) { on } else { Next::Nowhere };
                self.rig.command(Command::SetNext { index, next });
            }
            // What control hands over.
            4 => {
                let target = match script.byte() % 3 {
                    0 => Target::Link { link: u32::from(script.byte()) % ENDS },
                    1 => Target::BestEffort { link: u32::from(script.byte()) % ENDS },
                    _ => {
                        let index = u32::from(script.byte()) % self.circuits.max(1);
                        Target::Egress { index, tag: index + u32::from(script.byte() % 8) }
                    }
                };
                let header = Header { circuit: n, command: cell::Command::Control, counter: 7 };
                let form = if script.byte().is_multiple_of(2) { Form::Cell(header) } else { Form::Record(22) };
                let len = usize::from(script.u16()) % plaintext_len(1024);
                for _ in 0..script.byte() % 8 {
                    self.rig.inject(target, form, &vec![n as u8; len]);
                }
            }
            5 => {
                for _ in 0..script.byte() {
                    self.rig.send_raw(endpoint(n), &vec![RAW; 300 + usize::from(script.u16()) % 1000]);
                }
            }
            6 => {
                let (remote, expected) = (endpoint(u32::from(script.byte()) % (LINKS + 1)), script.byte() & 1 == 0);
                self.rig.command(Command::Expect { remote, expected });
            }
            7 => {
                self.rig.command(Command::Listen(!script.byte().is_multiple_of(4)));
                for _ in 0..script.byte() % 32 {
                    self.rig.wire.deliver(endpoint(LINKS), &[22; 40]);
                }
            }
            0 => {
                let rate = Rate { round_ns: ROUND, slots: 1 + u32::from(script.byte()) % 32 };
                let at = self.now + u64::from(script.byte()) * 1_000_000;
                self.rig.command(Command::ChangeClass { index: (n % 2) as u8, at, rate });
            }
            1 if n == FOREIGN => {
                let neighbour = &mut self.neighbours[n as usize];
                neighbour.newest += 1;
                self.rig.advance(n, Direction::Receive, neighbour.newest);
            }
            2 if n == FOREIGN => {
                self.sending += 1;
                self.rig.advance(n, Direction::Send, self.sending);
            }
            3 if n == FOREIGN => {
                let neighbour = &mut self.neighbours[n as usize];
                if neighbour.own < neighbour.newest {
                    (neighbour.own, neighbour.number) = (neighbour.own + 1, 0);
                    self.far[n as usize].next_epoch();
                }
            }
            1 => {
                let neighbour = &mut self.neighbours[n as usize];
                if neighbour.newest < 14 {
                    neighbour.newest += 1;
                    let generation = neighbour.newest;
                    self.rig.generation(n, keys(n, generation));
                }
            }
            2 => {
                let generation = self.neighbours[n as usize].newest;
                self.rig.command(Command::Switch { link: n, generation });
            }
            _ => {
                let since = self.rig.worker.state.classes[(n % 2) as usize].n();
                let neighbour = &mut self.neighbours[n as usize];
                if neighbour.own != neighbour.newest {
                    let own = neighbour.newest;
                    *neighbour = Neighbour { number: 0, since, own, newest: own };
                    self.far[n as usize] = End::new(&secret(n, own, false), &secret(n, own, true), ratchet_bits(n));
                }
            }
        }
    }

    /// One turn, after which every frame is accounted for and everything that left is a record.
    fn turn(&mut self) {
        self.now += 10_000;
        self.rig.turn(self.now);
        self.rig.worker.state.assert_conserved();
        while self.rig.wire.take(|to, data| {
            assert!((0..LINKS).any(|n| endpoint(n) == to), "a record to nobody's address");
            if data[0] == RAW {
                assert!(data.len() >= 300, "a datagram of control's, cut short");
                return;
            }
            assert_eq!(data.len(), record_len(S), "a record of another size");
            let foreign = to == endpoint(FOREIGN) && data[0] & !3 == 0x28;
            assert!(foreign || data[0] == drover_wire::record::FIRST_BYTE);
        }) {}
    }
}

/// Runs a script and returns what the worker counted. Panics when a frame is not accounted for, when anything but a record leaves, or when anything else
/// in the worker panics.
pub fn fuzz_stages(bytes: &[u8]) -> crate::counters::Counters {
    let mut world = World::new();
    let mut script = Script(bytes);
    for _ in 0..STEPS_MAX {
        if script.0.is_empty() {
            break;
        }
        world.step(&mut script);
    }
    // Whatever came: every link goes on at its rate. A last change of rate lies at most 255 ms ahead.
    for _ in 0..26 {
        world.now += 10_000_000;
        world.turn();
    }
    let before = given_out(&world);
    for _ in 0..200 {
        world.now += ROUND / 100 - 10_000;
        world.turn();
    }
    let owed: u64 = world.rig.worker.state.classes.iter().map(|c| 2 * c.len() as u64 * u64::from(c.rate().slots)).sum();
    let given = given_out(&world) - before;
    assert!(given.abs_diff(owed) <= 2 * u64::from(ENDS), "{given} slots given out of {owed}");
    world.rig.worker.state.counters.clone()
}

/// Slots that were used or counted as lost, the loop's too.
fn given_out(world: &World) -> u64 {
    let counters = &world.rig.worker.state.counters;
    counters.class_sent.iter().chain(&counters.class_missed).sum::<u64>()
}
