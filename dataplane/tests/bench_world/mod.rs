//! A mix on a bench between two neighbours: virtual clock, real worker, real keys.
#![allow(dead_code, reason = "each test binary uses its part")]

use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::drops::DropReason;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{Far, LinkSpec, Rig};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_nic::Endpoint;
use drover_wire::cell::{Command, Header, body_len, plaintext_len};
use drover_wire::control::Peer;
use drover_wire::record::record_len;

pub const MS: u64 = 1_000_000;
pub const ROUND: u64 = 20 * MS;
pub const SLOTS: u32 = 4;
pub const PERIOD: u64 = ROUND / SLOTS as u64;
/// The virtual clock's start: no special instant.
pub const START: u64 = 1_000_000_007;
/// The grid's origin.
pub const ORIGIN: u64 = START + MS;

pub const SIZES: Sizes = Sizes { links: 16, circuits: 32, pool: 512, transmit: 1024 };

/// A record that a neighbour got: when, what number, the cell's header and body.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: u64,
    pub neighbour: usize,
    pub len: usize,
    pub number: u64,
    pub header: Header,
    pub body: Vec<u8>,
}

impl Got {
    pub fn is_chaff(&self) -> bool {
        self.header.command == Command::Chaff
    }
}

pub fn endpoint(n: usize) -> Endpoint {
    Endpoint::from(std::net::SocketAddr::from(([10, 0, 0, 1 + n as u8], 4000)))
}

/// A neighbour's two secrets: what it sends with, and what the mix sends to it with.
pub fn secrets(n: usize, generation: u32) -> (TrafficSecret, TrafficSecret) {
    let tag = n as u8 * 16 + generation as u8;
    (TrafficSecret([tag; 32]), TrafficSecret([tag ^ 0x80; 32]))
}

pub struct World<C: Suite, const S: usize> {
    pub rig: Rig<C, NoTerminal, S>,
    pub far: Vec<Far<C::Records, S>>,
    pub now: u64,
    pub got: Vec<Got>,
    /// Record numbers that neighbours send with.
    pub numbers: Vec<u64>,
    pub unopened: usize,
    pub step: u64,
    pub ratchet_bits: u8,
}

impl<C: Suite, const S: usize> World<C, S> {
    /// A mix with `neighbours` links of one class.
    pub fn new(neighbours: usize, ratchet_bits: u8) -> Self {
        Self::with(neighbours, ratchet_bits, Peer::Drover, Pace::SPIN)
    }

    pub fn with(neighbours: usize, ratchet_bits: u8, peer: Peer, pace: Pace) -> Self {
        let mut rig = Rig::new(NoTerminal, SIZES, pace, 20 * MS);
        rig.worker.turn(START);
        let class = rig.class(Rate { round_ns: ROUND, slots: SLOTS }, 4 * SLOTS, ORIGIN);
        let mut far = Vec::new();
        for n in 0..neighbours {
            let (theirs, ours) = secrets(n, 1);
            let keys = GenerationSecrets {
                generation: if peer == Peer::Foreign { 3 } else { 1 },
                ratchet_bits,
                send: (ours.clone(), 0),
                receive: (theirs.clone(), 0),
            };
            let phase = (n as u32).wrapping_mul(0x3777_7777);
            rig.link(LinkSpec { remote: endpoint(n), class, peer, phase, keys });
            far.push(match peer {
                Peer::Drover => Far::new(&theirs, &ours, ratchet_bits),
                Peer::Foreign => Far::foreign(&theirs, &ours),
            });
        }
        let numbers = vec![0; neighbours];
        World { rig, far, now: START, got: Vec::new(), numbers, unopened: 0, step: 100_000, ratchet_bits }
    }

    /// Key of a circuit's layer in one direction.
    pub fn layer_key(circuit: u32, forward: bool) -> LayerSecret {
        LayerSecret([circuit as u8 ^ if forward { 0x11 } else { 0x99 }; 16])
    }

    /// A circuit from `near` (id `circuit`) to `far` (id `circuit + 100`), peeled one way and added the other.
    pub fn circuit(&mut self, near: u32, far: u32, circuit: u32, admitted: bool, offset: u64) -> (u32, u32) {
        let out = self.rig.egress(far, admitted, None);
        let back = self.rig.egress(near, admitted, None);
        let way = |link, circuit, step, forward, index, out_circuit| NewIngress {
            index: 0,
            link,
            circuit,
            step,
            key: Some(C::Layers::key(&Self::layer_key(circuit % 100, forward))),
            first: Some(0),
            offset,
            next: Next::Egress { worker: 0, index, tag: index + 1, circuit: out_circuit },
            others: drover_wire::control::List::default(),
        };
        self.rig.ingress(way(near, circuit, LayerStep::Peel, true, out, circuit + 100));
        self.rig.ingress(way(far, circuit + 100, LayerStep::Add, false, back, circuit));
        (out, back)
    }

    /// A neighbour sends a RELAY cell with its next record number.
    pub fn send(&mut self, neighbour: usize, circuit: u32, counter: u64, body: &[u8]) {
        let frame = self.seal(neighbour, Header { circuit, command: Command::Relay, counter }, body);
        self.deliver(neighbour, &frame);
    }

    pub fn send_chaff(&mut self, neighbour: usize) {
        let frame = self.seal(neighbour, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
        self.deliver(neighbour, &frame);
    }

    pub fn seal(&mut self, neighbour: usize, header: Header, body: &[u8]) -> Vec<u8> {
        let number = self.numbers[neighbour];
        self.numbers[neighbour] += 1;
        let mut plaintext = vec![0; plaintext_len(S)];
        plaintext[drover_wire::cell::HEADER..][..body.len()].copy_from_slice(body);
        header.write(&mut plaintext);
        let mut frame = vec![0; record_len(S)];
        self.far[neighbour].seal(number, &plaintext, &mut frame);
        frame
    }

    pub fn deliver(&mut self, neighbour: usize, frame: &[u8]) {
        assert!(self.rig.wire.deliver(endpoint(neighbour), frame));
    }

    /// One turn at the present instant; what leaves is opened by its neighbour.
    pub fn turn(&mut self) {
        self.rig.turn(self.now);
        #[cfg(feature = "lab")]
        self.rig.worker.state.assert_conserved();
        let (now, far, got, unopened) = (self.now, &mut self.far, &mut self.got, &mut self.unopened);
        while self.rig.wire.take(|to, data| {
            let neighbour = (0..far.len()).find(|n| endpoint(*n) == to).expect("a neighbour's address");
            match far[neighbour].open(data) {
                Some((number, plaintext)) => got.push(Got {
                    at: now,
                    neighbour,
                    len: data.len(),
                    number,
                    header: Header::read(plaintext).expect("a cell"),
                    body: plaintext[drover_wire::cell::HEADER..][..body_len(S)].to_vec(),
                }),
                None => {
                    got.push(Got {
                        at: now,
                        neighbour,
                        len: data.len(),
                        number: u64::MAX,
                        header: Header { circuit: 0, command: Command::Chaff, counter: 0 },
                        body: Vec::new(),
                    });
                    *unopened += 1;
                }
            }
        }) {}
    }

    /// Turns through `ns` of virtual time.
    pub fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            self.now += self.step;
            self.turn();
        }
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.rig.worker.state.counters.dropped(reason)
    }

    pub fn relayed(&self) -> Vec<&Got> {
        self.got.iter().filter(|g| g.header.command == Command::Relay).collect()
    }
}
