//! A worker asks the allocator for nothing after start, whatever comes and whatever it is told.

mod bench_world;

use bench_world::{ROUND, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_crypto::{LayerJob, Layers, Suite};
use drover_dataplane::command::{Command, Direction, LayerStep, NewIngress, Next};
use drover_dataplane::inject::{Form, Injected, RawDatagram, Target};
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::punt::What;
use drover_dataplane::worker::Pace;
use drover_nic::alloc_gate::{Counting, asked_during};
use drover_wire::cell::{self, Header};
use drover_wire::control::{Bytes, List, Peer};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_gate_sees_an_allocation() {
    assert_eq!(asked_during(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

fn control() -> Header {
    Header { circuit: 0, command: cell::Command::Control, counter: 0 }
}

#[test]
fn a_worker_does_not_allocate() {
    let mut w = World::<Reference, 256>::new(3, 5);
    w.circuit(0, 1, 7, true, 3);
    w.circuit(0, 2, 8, false, 3);
    w.circuit(1, 2, 9, true, 3);
    w.rig.listen();
    // A circuit that ends here, a tap, hops beyond with cells of their own, and a way across the mix's link to itself.
    let [a, b] = w.rig.looped(0, [5, 1 << 31]);
    let way = |link, circuit, step, next, others: &[u64]| NewIngress {
        index: 0,
        link,
        circuit,
        step,
        key: Some(<Reference as Suite>::Layers::key(&World::<Reference, 256>::layer_key(3, true))),
        first: None,
        offset: 9,
        next,
        others: List::from_slice(others).expect("two at most"),
    };
    w.rig.ingress(way(0, 20, LayerStep::Peel, Next::Nowhere, &[]));
    w.rig.ingress(way(0, 21, LayerStep::Tap, Next::Nowhere, &[]));
    for (link, circuit, out, goes, others) in [(0, 22, a, 23, &[1 << 40, 2 << 40][..]), (b, 23, 1, 24, &[])] {
        let index = w.rig.egress(out, true, None);
        let next = Next::Egress { worker: 0, index, tag: index + 1, circuit: goes };
        w.rig.ingress(way(link, circuit, LayerStep::Add, next, others));
    }
    let recognised = |counter: u64| {
        let key = [<Reference as Suite>::Layers::key(&World::<Reference, 256>::layer_key(3, true))];
        let mut cells = drover_crypto::cells::<256>(1);
        let mut jobs = [LayerJob { key: 0, cell: 0, counter, check: [0; 8] }];
        <Reference as Suite>::Layers::peel(&key, &mut cells, &mut jobs);
        cells[0].body_mut().fill(0);
        cells[0].body_mut()[..8].copy_from_slice(&jobs[0].check);
        <Reference as Suite>::Layers::add(&key, &mut cells, &mut jobs);
        cells[0].body().to_vec()
    };
    let (mut asked, mut crossed, mut punted) = (0, 0, [0; 3]);
    for i in 0..400u64 {
        w.send(0, 20, i, &recognised(i));
        w.send(0, 21, i, &[2; 50]);
        w.send(0, 22, ((i % 3) << 40) + i, &[2; 50]);
        w.rig.inject(Target::Link { link: a }, Form::Cell(control()), &[3; 224]);
        w.rig.inject(Target::BestEffort { link: 0 }, Form::Cell(control()), &[3; 224]);
        for (neighbour, circuit) in [(0, 7), (0, 8), (1, 107), (1, 9), (2, 109), (2, 42)] {
            w.send(neighbour, circuit, i, &[1; 100]);
        }
        w.send(0, 7, i, &[]);
        w.deliver(1, &[0x2b; 259]);
        w.deliver(1, &[0x2b; 25]);
        w.deliver(2, &[22; 1000]);
        assert!(w.rig.wire.deliver(endpoint(9), &[0x2b; 259]));
        match i {
            // Commands bring their memory and take it back; the bench makes and frees it outside the turn.
            100 => {
                let (theirs, ours) = secrets(2, 2);
                let keys = GenerationSecrets { generation: 2, ratchet_bits: 5, send: (ours, 0), receive: (theirs, 0) };
                w.rig.generation(2, keys);
            }
            150 => w.rig.command(Command::Switch { link: 2, generation: 2 }),
            200 => w.rig.command(Command::RemoveLink { link: 2, spent: None }),
            _ => {}
        }
        let mut cells = 0;
        for _ in 0..200 {
            w.now += ROUND / 200;
            let now = w.now;
            let worker = &mut w.rig.worker;
            asked += asked_during(|| _ = worker.turn(now));
            w.rig.serve();
            while w.rig.wire.take(|_, data| cells += usize::from(data.len() == 3 + cell::CellSize::S256.bytes())) {}
            crossed +=
                w.rig.worker.state.crossings.iter().filter(|c| c.cell != 0 && c.due <= now + ROUND / 200).count();
        }
        for (what, _) in w.rig.punted() {
            match what {
                What::Hop { .. } => punted[0] += 1,
                What::Relay { .. } => punted[1] += 1,
                What::Link { link } if link == b => punted[2] += 1,
                _ => {}
            }
        }
        assert!(cells > 0);
    }
    assert_eq!(asked, 0);
    // What the new ways are for was done: recognised cells and tapped ones were handed over, the loop was crossed.
    assert!(punted[0] > 300 && punted[1] > 300 && punted[2] > 300, "{punted:?}");
    assert!(crossed > 200, "{crossed}");
    // It did work: cells, drops of many kinds, ratchet steps, a mixing interval.
    let counters = &w.rig.worker.state.counters;
    assert!(counters.sent > 3_000 && counters.drops.iter().filter(|d| **d > 0).count() >= 6, "{counters:?}");
}

/// What control sends, expects and moves on, carried out within turns; floods, and records that are no cells.
#[test]
fn what_control_does_costs_a_worker_no_allocation() {
    let mut w = World::<Reference, 256>::with(2, 24, Peer::Foreign, Pace::SPIN);
    w.rig.listen();
    w.turn();
    let (mut asked, mut raw, mut epochs, mut punted) = (0, 0, 3, 0);
    for i in 0..300u32 {
        let relay = Header { circuit: 5, command: cell::Command::Relay, counter: u64::from(i) };
        for (target, form) in [
            (Target::Link { link: 0 }, Form::Record(22)),
            (Target::Link { link: 1 }, Form::Record(26)),
            (Target::BestEffort { link: 1 }, Form::Cell(relay)),
            (Target::Egress { index: 9, tag: 3 }, Form::Cell(relay)),
        ] {
            let bytes = Bytes::new(&[7; 224]).expect("fits");
            w.rig.order(Command::Inject(Box::new(Injected { target, form, bytes })));
        }
        for _ in 0..3 {
            let bytes = Bytes::new(&[22; 1300]).expect("fits");
            w.rig.order(Command::SendRaw(Box::new(RawDatagram { to: endpoint(9), bytes })));
        }
        let expected = i % 3 != 0;
        w.rig.order(Command::Expect { remote: endpoint(8), expected });
        match i % 100 {
            50 => {
                epochs += 1;
                for direction in [Direction::Send, Direction::Receive] {
                    let command = w.rig.next_epoch(0, direction, epochs);
                    w.rig.order(command);
                }
            }
            99 => w.rig.order(Command::Listen(true)),
            _ => {}
        }
        w.send_chaff(1);
        let frame = w.seal(1, Header { circuit: 0, command: cell::Command::Control, counter: 0 }, &[1]);
        w.deliver(1, &frame);
        w.deliver(1, &[0x2b; 60]);
        for n in 7..20 {
            assert!(w.rig.wire.deliver(endpoint(n), &[22; 900]) && w.rig.wire.deliver(endpoint(n), &[0x2e; 90]));
        }
        for _ in 0..40 {
            w.now += ROUND / 40;
            let (now, worker) = (w.now, &mut w.rig.worker);
            asked += asked_during(|| _ = worker.turn(now));
            w.rig.serve();
            while w.rig.wire.take(|_, data| raw += usize::from(data.len() == 1300)) {}
        }
        punted += w.rig.punted().len();
    }
    assert_eq!((asked, raw), (0, 900));
    assert!(punted > 300 * 2 && w.rig.left.len() > 300, "{punted}");
}
