//! A worker asks the allocator for nothing after start, whatever comes and whatever it is told.

mod bench_world;

use bench_world::{ROUND, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_dataplane::command::Command;
use drover_dataplane::keys::GenerationSecrets;
use drover_nic::alloc_gate::{Counting, asked_during};
use drover_wire::cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_gate_sees_an_allocation() {
    assert_eq!(asked_during(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

#[test]
fn a_worker_does_not_allocate() {
    let mut w = World::<Reference, 256>::new(3, 5);
    w.circuit(0, 1, 7, true, 3);
    w.circuit(0, 2, 8, false, 3);
    w.circuit(1, 2, 9, true, 3);
    let mut asked = 0;
    for i in 0..400u64 {
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
        }
        assert!(cells > 0);
    }
    assert_eq!(asked, 0);
    // It did work: cells, drops of many kinds, ratchet steps, a mixing interval.
    let counters = &w.rig.worker.state.counters;
    assert!(counters.sent > 3_000 && counters.drops.iter().filter(|d| **d > 0).count() >= 6, "{counters:?}");
}
