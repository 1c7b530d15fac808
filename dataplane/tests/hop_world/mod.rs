//! Mixes on a bench, each with its service thread's part, programmed by requests as control does it; and a client that
//! holds a circuit's keys. Virtual clock, real workers, a layer cipher that is no involution.
#![allow(dead_code, reason = "each test binary uses its part")]

use drover_crypto::hop::HopMac;
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::testing::TestSuite;
use drover_crypto::{Cell, LayerJob, Layers, Suite};
use drover_dataplane::config::Config;
use drover_dataplane::drops::DropReason;
use drover_dataplane::handoff::Handoff;
use drover_dataplane::limits::{COMMAND_RING, RAW_WAITING_MAX};
use drover_dataplane::mixing::Mixing;
use drover_dataplane::publish;
use drover_dataplane::punt;
use drover_dataplane::rig::Far;
use drover_dataplane::service::requests::{Service, WorkerEnds};
use drover_dataplane::service::shadow::Shadow;
use drover_dataplane::state::State;
use drover_dataplane::status::{Bound, Status};
use drover_dataplane::terminal::{NoTerminal, Terminal};
use drover_dataplane::worker::{Pace, ServiceEnds, Worker};
use drover_nic::Endpoint;
use drover_nic::memory::{MemoryPort, MemoryWire, port_and_wire};
use drover_nic::ring::queue;
use drover_wire::cell::{self, Command, Header, body_len, plaintext_len};
use drover_wire::control::{
    Address, BootId, ClassKind, Direction, HopKeys, Leg, LinkEnd, Owner, Peer, Punt, PutCircuit, PutClass, PutLink,
    REQUEST_MAX, Refusal, Reply, Request, Secret,
};
use drover_wire::record::record_len;
use std::net::SocketAddr;
use std::sync::Arc;

pub const S: usize = 256;
pub const MS: u64 = 1_000_000;
pub const ROUND: u64 = 20 * MS;
pub const SLOTS: u32 = 8;
pub const BODY: usize = body_len(S);

type L = <TestSuite as Suite>::Layers;
pub type End = Far<<TestSuite as Suite>::Records, S>;

/// What a mix handed to control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed {
    Hop { circuit: u32, kind: u8, data: Vec<u8> },
    Relay { link: u32, id: u32, counter: u64, body: Vec<u8> },
    Link { link: u32, body: Vec<u8> },
    Other,
}

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A mix: a worker, and what its service thread does.
pub struct Node<T: Terminal = NoTerminal> {
    pub service: Service<TestSuite, T>,
    pub worker: Worker<MemoryPort, TestSuite, T, S>,
    pub wire: MemoryWire,
    pub boot: BootId,
    pub port: u16,
    pub handed: Vec<Handed>,
}

impl Node {
    /// A mix that listens on `port`, with one class and a subscriber.
    pub fn new(port: u16) -> Node {
        Node::with(port, NoTerminal)
    }
}

impl<T: Terminal> Node<T> {
    /// A data plane that listens on `port`, with one class and a subscriber.
    pub fn with(port: u16, terminal: T) -> Node<T> {
        let text =
            "[control]\nsocket = \"s\"\n[[worker]]\nlisten = \"127.0.0.1:1\"\n[limits]\nlinks = 16\ncircuits = 32\n";
        let config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems}"));
        let (boot, listens) = (BootId([port as u8; 16]), vec![address(port)]);
        let segment = Arc::new(publish::segment(1, config.sizes.links).expect("shared memory"));
        let (port_end, wire) = port_and_wire(Endpoint::from(address(port)), config.sizes.transmit + RAW_WAITING_MAX);
        let (commands, for_worker) = queue(COMMAND_RING);
        let (from_worker, events) = queue(COMMAND_RING);
        let (punts, rings) = punt::rings();
        let state = State::new(0, config.sizes, Mixing::Interval { ns: ROUND }, punts);
        let ends = ServiceEnds { commands: for_worker, events: from_worker };
        let handoff = Handoff::mesh(1, 1).remove(0);
        let worker = Worker::new(port_end, state, terminal, handoff, ends, Pace::SPIN);
        let status = Status::new(boot, &config, &listens, vec![Bound::default(); listens.len()], 0, segment);
        let shadow = Shadow::new(config.sizes, config.window_ns(), listens);
        let ends = vec![WorkerEnds { commands, events, punts: rings }];
        let service = Service::new(status, shadow, ends, Pace::SPIN.horizon);
        let mut node = Node { service, worker, wire, boot, port, handed: Vec::new() };
        node.done(Request::PutClass(PutClass {
            boot,
            class: 1,
            kind: ClassKind::Zone,
            round_ns: ROUND,
            slots: SLOTS,
            slots_max: SLOTS,
            at_ns: 0,
        }));
        node.done(Request::Subscribe { boot });
        node
    }

    pub fn ask(&mut self, request: &Request) -> Result<(), (Refusal, String)> {
        let (mut message, mut reply) = (vec![0; REQUEST_MAX], vec![0; 1 << 16]);
        let len = request.encode(7, &mut message).expect("fits");
        let len = self.service.answer(&message[..len], &mut reply);
        match Reply::decode(&reply[..len]).expect("a reply") {
            (7, Reply::Done) => Ok(()),
            (7, Reply::Refused { code, text }) => Err((code, text.to_owned())),
            other => panic!("{other:?}"),
        }
    }

    pub fn done(&mut self, request: Request) {
        assert_eq!(self.ask(&request), Ok(()), "{request:?}");
    }

    pub fn refused(&mut self, request: Request) -> Refusal {
        self.ask(&request).expect_err("is refused").0
    }

    /// Link `link` to whoever is at `remote`; its secrets are by ports.
    pub fn link(&mut self, link: u32, remote: u16) {
        let direction = |from, to| Direction { secret: Secret(secret(from, to).0), first: 0 };
        let put = PutLink {
            boot: self.boot,
            link,
            generation: 1,
            local_port: self.port,
            remote: Address::from(address(remote)),
            class: 1,
            peer: Peer::Drover,
            ratchet_bits: 24,
            send: direction(self.port, remote),
            receive: direction(remote, self.port),
            owner: Owner::default(),
        };
        self.done(Request::PutLink(put));
    }

    pub fn turn(&mut self, now: u64) {
        self.worker.turn(now);
        #[cfg(feature = "lab")]
        self.worker.state.assert_conserved();
        let handed = &mut self.handed;
        self.service.serve_workers(|punt| {
            handed.push(match *punt {
                Punt::Hop { circuit, kind, data } => Handed::Hop { circuit, kind, data: data.to_vec() },
                Punt::Relay { link, id, counter, body } => Handed::Relay { link, id, counter, body: body.to_vec() },
                Punt::Link { link, body } => Handed::Link { link, body: body.to_vec() },
                _ => Handed::Other,
            });
        });
    }

    /// What control was given since the last time, events apart.
    pub fn handed(&mut self) -> Vec<Handed> {
        std::mem::take(&mut self.handed).into_iter().filter(|handed| *handed != Handed::Other).collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.worker.state.counters.dropped(reason)
    }

    /// Drops that the service thread counts, as status tells them.
    pub fn told(&mut self, reason: DropReason) -> u64 {
        let (mut message, mut reply) = ([0; 64], vec![0; 1 << 16]);
        let len = Request::QueryStatus.encode(7, &mut message).expect("fits");
        let len = self.service.answer(&message[..len], &mut reply);
        let Ok((_, Reply::Report(json))) = Reply::decode(&reply[..len]) else { panic!("no report") };
        let status: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        status["workers"][0]["drops"][reason.name()].as_u64().unwrap_or(0)
    }
}

/// The traffic secret from the node at one port to the one at another.
pub fn secret(from: u16, to: u16) -> TrafficSecret {
    let mut bytes = [0x5a; 32];
    bytes[..2].copy_from_slice(&from.to_be_bytes());
    bytes[2..4].copy_from_slice(&to.to_be_bytes());
    TrafficSecret(bytes)
}

/// A neighbour of a mix that the test plays.
pub struct Neighbour {
    pub port: u16,
    pub mix: u16,
    far: End,
    next: u64,
    /// Relay cells that came: header and body.
    pub got: Vec<(Header, Vec<u8>)>,
}

impl Neighbour {
    /// The neighbour at `port` of the mix at `mix`.
    pub fn new(port: u16, mix: u16) -> Neighbour {
        Neighbour { port, mix, far: Far::new(&secret(port, mix), &secret(mix, port), 24), next: 0, got: Vec::new() }
    }

    /// A record with a relay cell.
    pub fn seal(&mut self, header: Header, body: &[u8]) -> Vec<u8> {
        let mut plaintext = vec![0; plaintext_len(S)];
        plaintext[cell::HEADER..][..body.len()].copy_from_slice(body);
        header.write(&mut plaintext);
        let mut frame = vec![0; record_len(S)];
        self.far.seal(self.next, &plaintext, &mut frame);
        self.next += 1;
        frame
    }

    pub fn open(&mut self, frame: &[u8]) {
        let (_, plaintext) = self.far.open(frame).expect("opens");
        let header = Header::read(plaintext).expect("a cell");
        if header.command == Command::Relay {
            self.got.push((header, cell::body(plaintext).expect("whole").to_vec()));
        }
    }
}

/// One hop's keys, as client and mix share them.
#[derive(Clone)]
pub struct Keys {
    pub layers: [[u8; 16]; 2],
    pub offsets: [u64; 2],
    pub macs: [[u8; 32]; 2],
    pub first: u64,
}

impl Keys {
    pub fn of(tag: u8) -> Keys {
        let n = u64::from(tag);
        Keys {
            layers: [[tag; 16], [tag ^ 0x80; 16]],
            offsets: [n.wrapping_mul(0x1111_2222_3333_4444), n.wrapping_mul(0x9999_7777_5555_3333)],
            macs: [[tag; 32], [tag ^ 0x80; 32]],
            first: n.wrapping_mul(0xf0f0_1234_5678_9abc),
        }
    }

    /// The put of a circuit that ends at this hop.
    pub fn put(&self, boot: BootId, circuit: u32, near: LinkEnd, admitted: bool) -> PutCircuit {
        let leg = |at: usize| Leg { key: Secret(self.layers[at]), first: None, offset: self.offsets[at], admitted };
        let [forward_mac, backward_mac] = self.macs.map(Secret);
        PutCircuit {
            boot,
            circuit,
            generation: 1,
            near,
            far: None,
            forward: leg(0),
            backward: leg(1),
            hop: Some(HopKeys { forward_mac, backward_mac, first: self.first }),
            owner: Owner::default(),
        }
    }
}

/// Who made a cell that came to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Hop(usize),
    Stream,
}

/// The client's side of a circuit (W-CIR-6, W-CIR-7, W-CIR-12).
pub struct Client {
    pub hops: Vec<Keys>,
    pub next: u64,
}

fn with_layer(key: &[u8; 16], counter: u64, body: &mut [u8], add: bool) -> [u8; 8] {
    let key = [L::key(&LayerSecret(*key))];
    let mut cells = [Cell::<S>::ZERO];
    cells[0].body_mut().copy_from_slice(body);
    let mut jobs = [LayerJob { key: 0, cell: 0, counter, check: [0; 8] }];
    if add {
        L::add(&key, &mut cells, &mut jobs)
    } else {
        L::peel(&key, &mut cells, &mut jobs)
    }
    body.copy_from_slice(cells[0].body());
    jobs[0].check
}

impl Client {
    /// The next forward cell: for a hop, or a stream's body for what lies beyond. Its counter and body.
    pub fn cell(&mut self, to: Maker, kind: u8, data: &[u8]) -> (u64, Vec<u8>) {
        let counter = self.next;
        self.next = counter.wrapping_add(1);
        let seen: Vec<u64> = self
            .hops
            .iter()
            .scan(counter, |c, hop| {
                let seen = *c;
                *c = c.wrapping_add(hop.offsets[0]);
                Some(seen)
            })
            .collect();
        let mut body = vec![0; BODY];
        let last = match to {
            Maker::Hop(hop) => {
                let keys = &self.hops[hop];
                let check = with_layer(&keys.layers[0], seen[hop], &mut [0; BODY], false);
                HopMac(keys.macs[0]).seal(&mut body, check, kind, data).expect("fits");
                hop
            }
            Maker::Stream => {
                body[..data.len()].copy_from_slice(data);
                self.hops.len() - 1
            }
        };
        for hop in (0..=last).rev() {
            with_layer(&self.hops[hop].layers[0], seen[hop], &mut body, true);
        }
        (counter, body)
    }

    /// Who made a backward cell, and its body with all layers off.
    pub fn open(&self, counter: u64, body: &[u8]) -> (Maker, Vec<u8>) {
        let mut body = body.to_vec();
        let mut passed = 0u64;
        let maker = (0..self.hops.len()).find(|hop| {
            let first = self.hops[*hop].first.wrapping_add(passed);
            passed = passed.wrapping_add(self.hops[*hop].offsets[1]);
            counter.wrapping_sub(first) < 1 << 20
        });
        let mut used = counter;
        for keys in &self.hops[..maker.map_or(self.hops.len(), |hop| hop + 1)] {
            used = used.wrapping_sub(keys.offsets[1]);
            with_layer(&keys.layers[1], used, &mut body, false);
        }
        (maker.map_or(Maker::Stream, Maker::Hop), body)
    }

    /// What a hop said: kind and data; panics when its MAC is wrong.
    pub fn said(&self, counter: u64, body: &[u8]) -> (usize, u8, Vec<u8>) {
        let (Maker::Hop(hop), body) = self.open(counter, body) else { panic!("the stream's") };
        let (kind, data) = HopMac(self.hops[hop].macs[1]).open(&body).expect("a right MAC");
        (hop, kind, data.to_vec())
    }
}

/// Mixes and neighbours, their datagrams carried at once.
pub struct Net<T: Terminal = NoTerminal> {
    pub nodes: Vec<Node<T>>,
    pub ends: Vec<Neighbour>,
    pub now: u64,
}

impl<T: Terminal> Net<T> {
    pub fn new(nodes: Vec<Node<T>>, ends: Vec<Neighbour>) -> Net<T> {
        // The service thread's part reads the real clock for a class's first epoch; from here on time is ours.
        Net { nodes, ends, now: drover_dataplane::run::now() }
    }

    /// A neighbour sends a relay cell, once the workers have done what they were told.
    pub fn send(&mut self, end: usize, id: u32, counter: u64, body: &[u8]) {
        self.run(MS);
        let header = Header { circuit: id, command: Command::Relay, counter };
        let frame = self.ends[end].seal(header, body);
        let from = Endpoint::from(address(self.ends[end].port));
        let mix = self.ends[end].mix;
        let node = self.nodes.iter_mut().find(|node| node.port == mix).expect("its mix");
        assert!(node.wire.deliver(from, &frame));
    }

    pub fn turn(&mut self) {
        self.now += 100_000;
        let mut out = Vec::new();
        for node in &mut self.nodes {
            node.turn(self.now);
            let from = node.port;
            while node.wire.take(|to, data| out.push((from, to, data.to_vec()))) {}
        }
        for (from, to, data) in out {
            if let Some(node) = self.nodes.iter_mut().find(|node| Endpoint::from(address(node.port)) == to) {
                assert!(node.wire.deliver(Endpoint::from(address(from)), &data));
            } else if let Some(end) = self.ends.iter_mut().find(|end| Endpoint::from(address(end.port)) == to) {
                end.open(&data);
            }
        }
    }

    /// Turns through `ns` of virtual time.
    pub fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            self.turn();
        }
    }

    /// Cells that came to a neighbour since the last time.
    pub fn got(&mut self, end: usize) -> Vec<(Header, Vec<u8>)> {
        std::mem::take(&mut self.ends[end].got)
    }
}

pub fn at(link: u32, id: u32) -> LinkEnd {
    LinkEnd { link, id }
}
