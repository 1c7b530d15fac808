//! Each switch that breaks a property is noticed by the observation that guards it, and nothing else trips.
#![cfg(feature = "lab")]

mod bench_world;

use bench_world::{MS, PERIOD, ROUND, World};
use drover_crypto::reference::Reference;
use drover_dataplane::lab::Break;
use drover_dataplane::mixing::{Mixer, Mixing};

type Plain = World<Reference, 256>;

fn world(broken: Option<Break>) -> Plain {
    let mut w = Plain::new(2, 24);
    w.rig.worker.state.broken = broken;
    w.circuit(0, 1, 7, true, 0x5555);
    w
}

/// I6: when records leave has nothing to do with what comes.
fn departures_are_independent_of_load(broken: Option<Break>) -> bool {
    let departures = |cells: bool| {
        let mut w = world(broken);
        for i in 0..40 {
            if cells {
                w.send(0, 7, i, &[9]);
            }
            w.run(ROUND);
        }
        w.got.iter().map(|g| (g.at, g.neighbour)).collect::<Vec<_>>()
    };
    departures(false) == departures(true)
}

/// I6: every record is as long as every other.
fn all_records_have_one_size(broken: Option<Break>) -> bool {
    let mut w = world(broken);
    for i in 0..20 {
        w.send(0, 7, i, &[9]);
        w.run(ROUND);
    }
    w.got.iter().all(|g| g.len == w.got[0].len)
}

/// I6: what a stall lost is not made up.
fn a_stall_never_bunches(broken: Option<Break>) -> bool {
    let mut w = world(broken);
    w.run(5 * ROUND);
    w.now += 1_000 * MS;
    let before = w.got.len();
    w.turn();
    w.run(PERIOD);
    w.got.len() - before <= 2 * 3
}

/// I6: numbers advance one a slot, whatever comes.
fn numbers_belong_to_slots(broken: Option<Break>) -> bool {
    let mut w = world(broken);
    for i in 0..40 {
        w.send(0, 7, i, &[9]);
        w.run(ROUND);
    }
    let numbers: Vec<_> = w.got.iter().filter(|g| g.neighbour == 1).map(|g| g.number).collect();
    numbers.windows(2).all(|p| p[1] == p[0] + 1)
}

/// I1: a circuit's own cells are no crowd for it to hide in.
fn one_circuit_does_not_make_a_crowd(broken: Option<Break>) -> bool {
    let mut w = world(broken);
    w.circuit(0, 1, 8, false, 0);
    w.rig.worker.state.mixer = Mixer::new(Mixing::Threshold { circuits: 3, cap_ns: 10 * ROUND }, 2);
    for i in 0..9 {
        w.send(0, 8, i, &[9]);
    }
    w.run(9 * ROUND);
    let early = w.relayed().len();
    w.run(10 * ROUND);
    assert_eq!(w.relayed().len(), 9, "all leave in the end");
    early == 0
}

/// I1: nothing of a cell's header survives a hop.
fn headers_are_written_anew(broken: Option<Break>) -> bool {
    let mut w = world(broken);
    for i in 0..20 {
        w.send(0, 7, i, &[9]);
        w.run(ROUND);
    }
    let relayed = w.relayed();
    assert!(relayed.len() > 15);
    relayed.iter().all(|g| g.header.circuit == 107 && g.header.counter >= 0x5555)
}

#[test]
fn every_break_is_noticed() {
    type Guard = fn(Option<Break>) -> bool;
    let guards: [(Break, Guard); Break::ALL.len()] = [
        (Break::DepartureByArrival, departures_are_independent_of_load),
        (Break::ChaffSize, all_records_have_one_size),
        (Break::CatchUp, a_stall_never_bunches),
        (Break::NumberAtArrival, numbers_belong_to_slots),
        (Break::ThresholdByCells, one_circuit_does_not_make_a_crowd),
        (Break::CopyHeader, headers_are_written_anew),
    ];
    for (broken, guard) in guards {
        assert!(guard(None), "{broken:?}: the guard trips on a sound build");
        assert!(!guard(Some(broken)), "{broken:?} goes unnoticed");
    }
}
