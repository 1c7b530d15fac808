//! Cells cross from one worker's link to another's: hand-off rings, and conservation over both.

mod bench_world;

use bench_world::{MS, ROUND, SIZES, SLOTS, START, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::drops::DropReason;
use drover_dataplane::handoff::Handoff;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{Far, LinkSpec, Rig};
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_wire::cell::{Command, Header, plaintext_len};
use drover_wire::control::Peer;
use drover_wire::record::record_len;

const S: usize = 512;
type Lone = Rig<Reference, NoTerminal, S>;
type End = Far<<Reference as Suite>::Records, S>;

/// Two workers with one link each and a circuit across.
fn pair(ring: usize) -> Vec<(Lone, End)> {
    let mut nodes: Vec<_> = Handoff::mesh(2, ring)
        .into_iter()
        .enumerate()
        .map(|(n, handoff)| {
            let mut rig = Lone::with_handoff(n as u8, handoff, NoTerminal, SIZES, Pace::SPIN, 20 * MS);
            rig.worker.turn(START);
            let class = rig.class(Rate { round_ns: ROUND, slots: SLOTS }, SLOTS, START + MS);
            let (theirs, ours) = secrets(n, 1);
            let keys = GenerationSecrets {
                generation: 1,
                ratchet_bits: 24,
                send: (ours.clone(), 0),
                receive: (theirs.clone(), 0),
            };
            rig.link(LinkSpec { remote: endpoint(n), class, peer: Peer::Drover, phase: n as u32, keys });
            (rig, Far::new(&theirs, &ours, 24))
        })
        .collect();
    for from in 0..2 {
        let to = 1 - from;
        let index = nodes[to].0.egress(0, true, None);
        let key = <Reference as Suite>::Layers::key(&World::<Reference, S>::layer_key(7, true));
        let step = if from == 0 { LayerStep::Peel } else { LayerStep::Add };
        let next = Next::Egress { worker: to as u8, index, tag: index + 1, circuit: 70 + to as u32 };
        let circuit = 70 + from as u32;
        nodes[from].0.ingress(NewIngress {
            index: 0,
            link: 0,
            circuit,
            step,
            key: Some(key),
            first: Some(0),
            offset: 9,
            next,
            others: drover_wire::control::List::default(),
        });
    }
    nodes
}

fn send(node: &mut (Lone, End), n: usize, circuit: u32, i: u64) {
    let mut plaintext = vec![i as u8; plaintext_len(S)];
    Header { circuit, command: Command::Relay, counter: i }.write(&mut plaintext);
    let mut frame = vec![0; record_len(S)];
    node.1.seal(i, &plaintext, &mut frame);
    assert!(node.0.wire.deliver(endpoint(n), &frame));
}

#[test]
fn cells_cross_workers_both_ways() {
    let mut nodes = pair(64);
    let (mut now, mut got) = (START, [0usize; 2]);
    for i in 0..100 {
        for (n, node) in nodes.iter_mut().enumerate() {
            send(node, n, 70 + n as u32, i);
        }
        for _ in 0..200 {
            now += ROUND / 200;
            for (n, (rig, far)) in nodes.iter_mut().enumerate() {
                rig.turn(now);
                #[cfg(feature = "lab")]
                rig.worker.state.assert_conserved();
                while rig.wire.take(|_, data| {
                    let (_, plaintext) = far.open(data).expect("a record");
                    let header = Header::read(plaintext).expect("a cell");
                    if header.command == Command::Relay {
                        assert_eq!((header.circuit, header.counter), (70 + n as u32, got[n] as u64 + 9));
                        got[n] += 1;
                    }
                }) {}
            }
        }
    }
    assert!(got.iter().all(|g| *g >= 98), "{got:?}");
    for (rig, _) in &mut nodes {
        assert_eq!(rig.worker.state.counters.dropped_in_all(), 0);
    }
    #[cfg(feature = "lab")]
    {
        let lab = |n: usize| nodes[n].0.worker.state.counters.lab;
        assert_eq!(lab(0).handed_out, lab(1).handed_in);
        assert_eq!(lab(1).handed_out, lab(0).handed_in);
    }
}

#[test]
fn a_full_ring_is_a_counted_drop_and_a_stopped_worker_stops_nobody_else() {
    let mut nodes = pair(4);
    let mut now = START;
    // Worker 1 does not turn: its ring fills, and worker 0's departures go on.
    for i in 0..20 {
        send(&mut nodes[0], 0, 70, i);
        for _ in 0..200 {
            now += ROUND / 200;
            nodes[0].0.turn(now);
        }
    }
    let state = &nodes[0].0.worker.state;
    assert_eq!(state.counters.dropped(DropReason::HandoffFull), 16);
    assert!((79..=81).contains(&state.counters.sent), "{}", state.counters.sent);
    assert_eq!(nodes[1].0.worker.handed_waiting(), 4);
}
