//! A whole call on a virtual clock: two clients and the four mixes between them, every one the worker that runs in
//! production, under a layer cipher that is no involution.

use drover_control::client::counters::{ClientCounters, EndCounters};
use drover_control::client::line::{Outside, line};
use drover_control::client::terminal::ClientTerminal;
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::testing::{NonInvolutive, TestSuite};
use drover_crypto::{Layers as _, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{Command, LayerStep, NewIngress, Next};
use drover_dataplane::counters::Counters;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{LinkSpec, Rig};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::{NoTerminal, Terminal};
use drover_dataplane::worker::Pace;
use drover_nic::Endpoint;
use drover_wire::control::{BootId, EndLayer, EndSecret, Layers, LinkEnd, Peer, PutEnd, Secret};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const MS: u64 = 1_000_000;
const ROUND_MS: u64 = 20;
const RATE: Rate = Rate { round_ns: ROUND_MS * MS, slots: 2 };
const SIZES: Sizes = Sizes { links: 4, circuits: 8, pool: 512, transmit: 256 };

fn endpoint(node: usize) -> Endpoint {
    Endpoint::from(std::net::SocketAddr::from(([10, 0, 0, 1 + node as u8], 4000)))
}

/// A node whose terminal's type nobody needs to know any more.
trait Node {
    fn turn(&mut self, now: u64, sent: &mut Vec<(Endpoint, Vec<u8>)>);
    fn deliver(&mut self, from: Endpoint, data: &[u8]);
    fn counters(&self) -> &Counters;
}

impl<T: Terminal, const S: usize> Node for Rig<TestSuite, T, S> {
    fn turn(&mut self, now: u64, sent: &mut Vec<(Endpoint, Vec<u8>)>) {
        self.turn(now);
        while self.wire.take(|to, data| sent.push((to, data.to_vec()))) {}
    }
    fn deliver(&mut self, from: Endpoint, data: &[u8]) {
        assert!(self.wire.deliver(from, data));
    }
    fn counters(&self) -> &Counters {
        &self.worker.state.counters
    }
}

struct Party {
    outside: Outside,
    counters: Arc<EndCounters>,
}

impl Party {
    fn cells_sent(&self) -> u64 {
        self.counters.rtp_sent.get() + self.counters.fillers_sent.get()
    }
}

/// Clients are the first and the last node of the chain.
struct Call {
    nodes: Vec<Box<dyn Node>>,
    parties: [Party; 2],
    now: u64,
}

/// What every node of a chain is made with.
struct Chain {
    nodes: usize,
    start: u64,
}

impl Chain {
    fn rig<T: Terminal, const S: usize>(&self, node: usize, terminal: T) -> Rig<TestSuite, T, S> {
        let mut rig = Rig::new(terminal, SIZES, Pace::tick(MS), ROUND_MS * MS);
        rig.worker.turn(self.start);
        let class = rig.class(RATE, RATE.slots, self.start + MS);
        let peers = [node.checked_sub(1), Some(node + 1).filter(|next| *next < self.nodes)];
        for peer in peers.into_iter().flatten() {
            let secret = |from: usize, to: usize| (TrafficSecret([(from * 16 + to) as u8 ^ 0xa5; 32]), 0);
            let keys = GenerationSecrets {
                generation: 1,
                ratchet_bits: 10,
                send: secret(node, peer),
                receive: secret(peer, node),
            };
            let phase = ((node * 16 + peer) as u32).wrapping_mul(0x1234_5677);
            rig.link(LinkSpec { remote: endpoint(peer), class, peer: Peer::Drover, phase, keys });
        }
        rig
    }
}

/// The circuit's id on the link from node `left` to the next.
fn circuit_on(left: usize) -> u32 {
    10 + left as u32
}

/// What a mix's circuit is made with; its owner client holds the same. Offsets are large, so that counters wrap.
fn layer(node: usize, salt: u8) -> EndLayer {
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    EndLayer {
        forward: Secret([node as u8 * 2 + 0x10 + salt; 16]),
        forward_offset: spread(node as u64 + 3),
        backward: Secret([node as u8 * 2 + 0x11 + salt; 16]),
        backward_offset: spread(node as u64 + 11),
    }
}

impl Call {
    /// A call over `mixes` mixes, half of them (rounded down) the caller's.
    fn new<const S: usize>(mixes: usize) -> Call {
        static CALLS: AtomicU8 = AtomicU8::new(0);
        let tag = CALLS.fetch_add(1, Ordering::Relaxed);
        let chain = Chain { nodes: mixes + 2, start: 1_000_000_007 };
        let last = mixes + 1;
        let split = mixes / 2;
        let layers: Vec<EndLayer> = (0..=last).map(|node| layer(node, 0x60)).collect();
        // Counters on each link, by the left node, rightwards and leftwards.
        let firsts = [u64::MAX - 5, 77];
        let (mut right, mut left) = (vec![firsts[0]], VecDeque::from([firsts[1]]));
        for layer in &layers[1..=split] {
            right.push(right[right.len() - 1].wrapping_add(layer.forward_offset));
        }
        for layer in &layers[split + 1..last] {
            right.push(right[right.len() - 1].wrapping_add(layer.backward_offset));
        }
        for layer in layers[split + 1..last].iter().rev() {
            left.push_front(left[0].wrapping_add(layer.forward_offset));
        }
        for layer in layers[1..=split].iter().rev() {
            left.push_front(left[0].wrapping_add(layer.backward_offset));
        }

        let secret = |n: u8| EndSecret { key: Secret([tag.wrapping_mul(2) ^ n; 16]), iv: Secret([n; 12]) };
        let put = |link: usize, send_first, receive_first, layers: &[EndLayer], seal, open| PutEnd {
            boot: BootId([0; 16]),
            end: 1,
            generation: 1,
            at: LinkEnd { link: 1, id: circuit_on(link) },
            send_first,
            receive_first,
            layers: Layers::from_slice(layers).expect("few"),
            seal: secret(seal),
            open: secret(open),
        };
        let far_half: Vec<EndLayer> = layers[split + 1..last].iter().rev().cloned().collect();
        let caller = put(0, right[0], Some(left[0]), &layers[1..=split], 0, 1);
        let callee = put(mixes, firsts[1], Some(right[mixes]), &far_half, 1, 0);

        let mut nodes: Vec<Box<dyn Node>> = Vec::new();
        let (rig, first) = client::<S>(&chain, 0, &caller);
        nodes.push(rig);
        for node in 1..=mixes {
            let mut rig = chain.rig::<_, S>(node, NoTerminal);
            let near_is_left = node <= split;
            let [to_left, to_right] = [0, 1].map(|link| rig.egress(link, true, None));
            let mut way = |from_left: bool| {
                let away = from_left == near_is_left;
                let layer = &layers[node];
                let (step, key, offset) = match away {
                    true => (LayerStep::Peel, &layer.forward, layer.forward_offset),
                    false => (LayerStep::Add, &layer.backward, layer.backward_offset),
                };
                let (link, came, first) =
                    if from_left { (0, node - 1, right[node - 1]) } else { (1, node, left[node]) };
                let (index, goes) = if from_left { (to_right, node) } else { (to_left, node - 1) };
                rig.ingress(NewIngress {
                    index: 0,
                    link,
                    circuit: circuit_on(came),
                    step,
                    key: Some(<TestSuite as Suite>::Layers::key(&LayerSecret(key.0))),
                    first: Some(first),
                    offset,
                    next: Next::Egress { worker: 0, index, tag: index + 1, circuit: circuit_on(goes) },
                    others: drover_wire::control::List::default(),
                });
            };
            way(true);
            way(false);
            nodes.push(Box::new(rig));
        }
        let (rig, second) = client::<S>(&chain, last, &callee);
        nodes.push(rig);
        Call { nodes, parties: [first, second], now: chain.start }
    }

    /// A millisecond passes.
    fn tick(&mut self) {
        self.now += MS;
        let mut sent = Vec::new();
        for (from, node) in self.nodes.iter_mut().enumerate() {
            let mut out = Vec::new();
            node.turn(self.now, &mut out);
            sent.extend(out.into_iter().map(|(to, data)| (from, to, data)));
        }
        for (from, to, data) in sent {
            let at = (0..self.nodes.len()).find(|n| endpoint(*n) == to).expect("a node's address");
            self.nodes[at].deliver(endpoint(from), &data);
        }
    }

    fn hear(&mut self, party: usize) -> Option<Vec<u8>> {
        self.parties[party].outside.take_with(<[u8]>::to_vec)
    }

    fn assert_nothing_dropped(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.counters().dropped_in_all(), 0, "node {at}: {:?}", node.counters());
        }
    }
}

fn client<const S: usize>(chain: &Chain, node: usize, put: &PutEnd) -> (Box<dyn Node>, Party) {
    let (inside, outside) = line(1);
    let counters = Arc::clone(inside.counters());
    let of_client = ClientCounters::new(vec![(1, Arc::clone(&counters))]);
    let terminal = ClientTerminal::<NonInvolutive>::new(vec![inside], &of_client);
    let mut rig = chain.rig::<_, S>(node, terminal);
    let state = ClientTerminal::expand(put, S - 32).expect("a right put");
    rig.command(Command::AddEnd { end: 0, keys: Some(state) });
    rig.egress(0, true, Some((0, put.at.id)));
    rig.ingress(NewIngress {
        index: 0,
        link: 0,
        circuit: put.at.id,
        step: LayerStep::End,
        key: None,
        first: put.receive_first,
        offset: 0,
        next: Next::End { end: 0 },
        others: drover_wire::control::List::default(),
    });
    (Box::new(rig), Party { outside, counters })
}

/// A packet that no other of its direction equals.
fn packet(party: usize, n: usize, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|at| (at * 3 + n * 7) as u8 ^ party as u8).collect();
    bytes[..4].copy_from_slice(&(n as u32 * 2 + party as u32).to_be_bytes());
    bytes
}

/// Both speak one packet each round, of all lengths; every one arrives as it left, in order.
fn both_speak<const S: usize>(mixes: usize) {
    const PACKETS: usize = 60;
    let mut call = Call::new::<S>(mixes);
    let (mut said, mut heard) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for ms in 0..(PACKETS + 12) * ROUND_MS as usize {
        if ms % ROUND_MS as usize == 7 && said[0].len() < PACKETS {
            for (party, said) in said.iter_mut().enumerate() {
                let n = said.len();
                let packet = packet(party, n, 12 + (n * 37 + party) % (S - 58 - 11));
                assert!(call.parties[party].outside.give(&packet));
                said.push(packet);
            }
        }
        call.tick();
        for (party, heard) in heard.iter_mut().enumerate() {
            heard.extend(std::iter::from_fn(|| call.hear(party)));
        }
    }
    call.assert_nothing_dropped();
    assert_eq!(said[0].len(), PACKETS);
    assert!(said[0] == heard[1] && said[1] == heard[0], "heard {} and {}", heard[1].len(), heard[0].len());
}

#[test]
fn a_call_over_four_mixes_carries_every_packet() {
    both_speak::<256>(4);
    both_speak::<512>(4);
    both_speak::<1024>(4);
}

#[test]
fn other_lengths_of_circuits_do_too() {
    both_speak::<256>(0);
    both_speak::<256>(1);
    both_speak::<256>(2);
    both_speak::<256>(8);
}

/// Exactly u cells a second, at instants that have nothing to do with speech (I6, W-END-4).
#[test]
fn one_cell_a_round_whatever_is_said() {
    const ROUNDS: u64 = 200;
    // Packets in each two rounds: silence, half, the full and three times the rate of a call.
    for per_two_rounds in [0, 1, 2, 6] {
        let mut call = Call::new::<256>(0);
        let (mut fills, mut heard, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for ms in 0..ROUNDS * ROUND_MS {
            let said_by = |ms: u64| ms * per_two_rounds / (2 * ROUND_MS);
            if said_by(ms + 1) > said_by(ms) && ms < (ROUNDS - 5) * ROUND_MS {
                said.push(packet(0, said.len(), 172));
                assert!(call.parties[0].outside.give(&said[said.len() - 1]));
            }
            let before = call.parties[0].cells_sent();
            call.tick();
            fills.extend((before..call.parties[0].cells_sent()).map(|_| ms));
            heard.extend(std::iter::from_fn(|| call.hear(1)));
        }
        assert!(fills.len() as u64 >= ROUNDS - 2, "{} cells in {ROUNDS} rounds", fills.len());
        // The first slot may have been within the horizon when the call began.
        assert!(fills[1..].windows(2).all(|two| two[1] - two[0] == ROUND_MS), "{per_two_rounds}: {fills:?}");
        #[cfg(feature = "lab")]
        assert_eq!(call.nodes[0].counters().lab.filled, fills.len() as u64);
        call.assert_nothing_dropped();
        let counters = &call.parties[0].counters;
        let dropped = counters.rtp_dropped_oldest.get();
        assert_eq!(said.len() as u64, counters.rtp_sent.get() + dropped, "each packet is sent or dropped");
        assert_eq!(heard.len() as u64, counters.rtp_sent.get());
        match per_two_rounds {
            0 => assert!(heard.is_empty()),
            1 | 2 => assert!(dropped == 0 && heard == said),
            _ => {
                assert!(dropped > 300, "{dropped}");
                // In order, bit for bit, and the newest: the last is heard.
                let mut rest = said.iter();
                assert!(heard.iter().all(|packet| rest.any(|other| other == packet)));
                assert_eq!(heard.last(), said.last());
            }
        }
    }
}
