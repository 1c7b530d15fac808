//! What a worker hands to control and takes from it, on a virtual clock: cells, datagrams, events.

mod bench_world;

use bench_world::{MS, PERIOD, ROUND, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_dataplane::command::Command as Order;
use drover_dataplane::drops::DropReason;
use drover_dataplane::inject::{Form, Target};
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::limits::{
    CONTROL_PER_LINK, PUNT_RING, PUNTED_ROUNDS, RAW_WAITING_MAX, STRANGERS_PER_TURN, STRANGERS_RING,
};
use drover_dataplane::punt::What;
use drover_wire::cell::{Command, Header, body_len};

type Plain = World<Reference, 256>;

const CONTROL: Header = Header { circuit: 0, command: Command::Control, counter: 0 };

fn listening(neighbours: usize) -> Plain {
    let mut w = Plain::new(neighbours, 24);
    w.rig.listen();
    w
}

fn send_control(w: &mut Plain, neighbour: usize, body: &[u8]) {
    let frame = w.seal(neighbour, CONTROL, body);
    w.deliver(neighbour, &frame);
}

/// Everything handed over but events.
fn things(w: &mut Plain) -> Vec<(What, Vec<u8>)> {
    let mut punted = w.rig.punted();
    punted.retain(|(what, _)| !matches!(what, What::Heard { .. } | What::Silent { .. }));
    punted
}

fn controls(w: &Plain, neighbour: usize) -> Vec<Vec<u8>> {
    let cells = w.got.iter().filter(|g| g.neighbour == neighbour && g.header.command == Command::Control);
    cells.map(|g| g.body.clone()).collect()
}

#[test]
fn a_control_cell_is_handed_over() {
    let mut w = listening(2);
    let body: Vec<u8> = (0..body_len(256)).map(|at| at as u8).collect();
    send_control(&mut w, 1, &body);
    w.run(PERIOD);
    assert_eq!(things(&mut w), [(What::Link { link: 1 }, body)]);
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    assert_eq!(w.rig.worker.state.pool.used(), 0);
}

#[test]
fn without_a_listener_it_is_dropped() {
    let mut w = Plain::new(1, 24);
    send_control(&mut w, 0, &[]);
    w.deliver(0, &[22; 100]);
    w.run(PERIOD);
    assert_eq!((w.dropped(DropReason::LinkControl), w.dropped(DropReason::Plaintext)), (1, 1));
    assert!(things(&mut w).is_empty());
}

#[test]
fn what_control_does_not_take_is_dropped_and_counted() {
    let events = 8;
    let mut w = listening(events);
    for n in 0..PUNT_RING + 100 {
        send_control(&mut w, n % events, &[]);
        w.turn();
    }
    assert_eq!(w.dropped(DropReason::PuntFull), (100 + events) as u64);
    assert_eq!(things(&mut w).len(), PUNT_RING - events);
}

#[test]
fn a_link_hands_over_no_more_than_its_rate_and_others_get_through() {
    let mut w = listening(2);
    let most = (PUNTED_ROUNDS * ROUND / PERIOD) as usize;
    for _ in 0..most + 50 {
        send_control(&mut w, 0, &[]);
        w.turn();
    }
    send_control(&mut w, 1, &[]);
    w.turn();
    let of = |things: &[(What, Vec<u8>)], link| things.iter().filter(|(what, _)| *what == What::Link { link }).count();
    let handed = things(&mut w);
    assert_eq!((of(&handed, 0), of(&handed, 1), w.dropped(DropReason::PuntFull)), (most, 1, 50));
    // At its rate it goes on.
    for _ in 0..20 {
        w.run(PERIOD);
        send_control(&mut w, 0, &[]);
        w.turn();
    }
    assert_eq!(of(&things(&mut w), 0), 20);
}

/// Departures and numbers of all records.
fn departures(w: &Plain) -> Vec<(u64, usize, usize, u64)> {
    w.got.iter().map(|g| (g.at, g.neighbour, g.len, g.number)).collect()
}

#[test]
fn injected_cells_take_free_slots_and_move_nothing() {
    let run = |injected: u32| {
        let mut w = listening(2);
        for circuit in 1..=3 {
            w.circuit(0, 1, circuit, true, 0);
        }
        for i in 0..40u64 {
            for circuit in 1..=3 {
                w.send(0, circuit, i, &[1]);
            }
            for n in 0..injected {
                w.rig.inject(Target::Link { link: 1 }, Form::Cell(CONTROL), &[i as u8, n as u8]);
            }
            w.run(ROUND);
        }
        w
    };
    let (idle, busy) = (run(0), run(1));
    assert_eq!(departures(&idle), departures(&busy));
    // Three of four slots are owned: each round has one for control.
    let sent = controls(&busy, 1);
    assert!((39..=40).contains(&sent.len()), "{}", sent.len());
    for (i, body) in sent.iter().enumerate() {
        assert_eq!((body[0], body.len()), (i as u8, body_len(256)));
        assert!(body[2..].iter().all(|byte| *byte == 0), "bytes of an earlier cell");
    }
    let calls = |w: &Plain| w.relayed().len();
    assert_eq!(calls(&idle), calls(&busy), "calls lose nothing to control");
    assert!(calls(&idle) > 110);
}

#[test]
fn control_leaves_before_best_effort_and_is_bounded() {
    let mut w = listening(2);
    w.circuit(0, 1, 1, false, 0);
    for n in 0..CONTROL_PER_LINK + 5 {
        w.rig.inject(Target::Link { link: 1 }, Form::Cell(CONTROL), &[n as u8]);
    }
    assert_eq!(w.dropped(DropReason::LinkFull), 5);
    w.send(0, 1, 0, &[]);
    w.run(20 * ROUND);
    let order: Vec<_> = w.got.iter().filter(|g| g.neighbour == 1 && !g.is_chaff()).map(|g| g.header.command).collect();
    assert_eq!(order.len() as u32, CONTROL_PER_LINK + 1);
    assert_eq!(order.last(), Some(&Command::Relay));
    let bodies: Vec<_> = controls(&w, 1).iter().map(|body| body[0]).collect();
    assert_eq!(bodies, (0..CONTROL_PER_LINK as u8).collect::<Vec<_>>(), "in order");
    // The service thread is told of each that left, refused ones too.
    assert_eq!(w.rig.left.iter().map(|(link, count)| (*link == 1) as u32 * count).sum::<u32>(), CONTROL_PER_LINK + 5);
    assert_eq!(w.rig.worker.state.waiting(), 0);
}

#[test]
fn a_link_that_goes_takes_controls_cells_along() {
    let mut w = listening(3);
    for _ in 0..7 {
        w.rig.inject(Target::Link { link: 1 }, Form::Cell(CONTROL), &[1]);
    }
    let relay = Header { circuit: 5, command: Command::Relay, counter: 9 };
    w.rig.inject(Target::BestEffort { link: 1 }, Form::Cell(relay), &[2]);
    w.rig.inject(Target::BestEffort { link: 2 }, Form::Cell(relay), &[2]);
    assert_eq!(w.rig.worker.state.waiting(), 9);
    w.rig.command(Order::RemoveLink { link: 1, spent: None });
    assert_eq!(w.rig.worker.state.waiting(), 1);
    w.rig.inject(Target::Link { link: 1 }, Form::Cell(CONTROL), &[1]);
    w.rig.inject(Target::BestEffort { link: 1 }, Form::Cell(relay), &[1]);
    w.run(4 * ROUND);
    let relayed: Vec<_> = w.relayed().iter().map(|g| (g.neighbour, g.header)).collect();
    assert_eq!(relayed, [(2, relay)]);
}

#[test]
fn a_datagram_leaves_behind_what_is_sealed_and_moves_nothing() {
    let run = |raw: bool| {
        let mut w = listening(2);
        let mut out = Vec::new();
        for i in 0..40u64 {
            if raw {
                for n in 0..3 {
                    w.rig.send_raw(endpoint(9), &[22, i as u8, n].repeat(100));
                }
            }
            let until = w.now + ROUND;
            while w.now < until {
                w.now += w.step;
                let now = w.now;
                w.rig.turn(now);
                #[cfg(feature = "lab")]
                w.rig.worker.state.assert_conserved();
                while w.rig.wire.take(|to, data| out.push((now, to, data.to_vec()))) {}
            }
        }
        out
    };
    let (silent, loud) = (run(false), run(true));
    let (raw, records): (Vec<_>, Vec<_>) = loud.into_iter().partition(|(_, to, _)| *to == endpoint(9));
    assert_eq!(silent.len(), records.len());
    assert!(silent.iter().zip(&records).all(|(s, r)| (s.0, s.1, s.2.len()) == (r.0, r.1, r.2.len())));
    assert_eq!(raw.len(), 120);
    for (at, (_, _, data)) in raw.iter().enumerate() {
        assert_eq!(*data, [22, (at / 3) as u8, (at % 3) as u8].repeat(100));
    }
}

#[test]
fn datagrams_that_wait_are_bounded_and_none_is_missed() {
    let mut w = listening(1);
    w.run(ROUND);
    let missed: u64 = w.rig.worker.state.counters.class_missed.iter().sum();
    for n in 0..RAW_WAITING_MAX + 9 {
        w.rig.send_raw(endpoint(0), &[n as u8; 30]);
    }
    assert_eq!(w.dropped(DropReason::RawFull), 9);
    assert_eq!(w.rig.worker.state.waiting(), RAW_WAITING_MAX as u64);
    // However late: it has no slot to miss.
    w.now += 10_000 * MS;
    w.rig.turn(w.now);
    let mut raw = 0;
    while w.rig.wire.take(|_, data| raw += usize::from(data.len() == 30)) {}
    assert_eq!(raw, RAW_WAITING_MAX);
    assert_eq!(w.rig.worker.state.waiting(), 0);
    let counters = &w.rig.worker.state.counters;
    assert_eq!(counters.lateness.iter().sum::<u64>(), counters.sent, "a datagram has no lateness");
    assert!(counters.class_missed.iter().sum::<u64>() > missed);
}

#[test]
fn a_flood_of_strangers_is_bounded_and_expected_senders_get_through() {
    let mut w = listening(1);
    w.rig.command(Order::Expect { remote: endpoint(7), expected: true });
    for turn in 0..100u64 {
        for n in 0..40 {
            assert!(w.rig.wire.deliver(endpoint(20 + n), &[22; 200]));
        }
        assert!(w.rig.wire.deliver(endpoint(7), &[22, turn as u8, 1]));
        // Of an expected sender whatever it is: an encrypted handshake record, also one that is as long as a cell.
        assert!(w.rig.wire.deliver(endpoint(7), &[0x2e; 90]));
        assert!(w.rig.wire.deliver(endpoint(7), &[0x2e; 259]));
        w.run(MS);
    }
    let punted = things(&mut w);
    let of = |n: usize| punted.iter().filter(|(what, _)| *what == What::Raw { from: endpoint(n) }).count();
    assert_eq!(of(7), 300);
    assert_eq!(punted.len() - 300, STRANGERS_RING);
    assert_eq!(w.dropped(DropReason::PuntFull), 4000 - STRANGERS_RING as u64);
    // A turn hands over only so many of them, also where there is room.
    for n in 0..40 {
        assert!(w.rig.wire.deliver(endpoint(20 + n), &[22; 200]));
    }
    w.turn();
    assert_eq!(things(&mut w).len(), STRANGERS_PER_TURN as usize);
    // No longer expected.
    w.rig.command(Order::Expect { remote: endpoint(7), expected: false });
    assert!(w.rig.wire.deliver(endpoint(7), &[0x2e; 90]));
    w.turn();
    assert!(things(&mut w).is_empty());
}

#[test]
fn of_an_expected_link_what_does_not_open_is_handed_over() {
    let mut w = listening(1);
    let odd = [&[0x2e][..], &[7; 258]].concat();
    w.deliver(0, &odd);
    w.turn();
    assert!(things(&mut w).is_empty());
    w.rig.command(Order::Expect { remote: endpoint(0), expected: true });
    let dropped = w.rig.worker.state.counters.dropped_in_all();
    w.deliver(0, &odd);
    w.send_chaff(0);
    w.deliver(0, &[22, 1, 2, 3]);
    w.turn();
    let raw = What::Raw { from: endpoint(0) };
    let mut handed = things(&mut w);
    handed.sort_by_key(|(_, bytes)| bytes.len());
    assert_eq!(handed, [(raw, vec![22, 1, 2, 3]), (raw, odd)], "a record of the link is none of it");
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), dropped);
}

#[test]
fn keys_that_are_heard_and_silence_are_told_once() {
    let mut w = listening(1);
    let chatter = |w: &mut Plain, rounds: u64| {
        for _ in 0..rounds {
            w.send_chaff(0);
            w.run(ROUND);
        }
    };
    w.run(ROUND);
    assert!(w.rig.punted().is_empty());
    chatter(&mut w, 20);
    assert_eq!(w.rig.punted(), [(What::Heard { link: 0, generation: 1 }, vec![])]);
    w.step = 10 * MS;
    w.run(3_100 * MS);
    assert_eq!(w.rig.punted(), [(What::Silent { link: 0 }, vec![])]);
    w.run(10_000 * MS);
    assert!(w.rig.punted().is_empty());
    w.numbers[0] += 13_100 / 5;
    chatter(&mut w, 3);
    assert_eq!(w.rig.punted(), [(What::Heard { link: 0, generation: 1 }, vec![])]);
    let (theirs, ours) = secrets(0, 2);
    let keys =
        GenerationSecrets { generation: 2, ratchet_bits: 24, send: (ours.clone(), 0), receive: (theirs.clone(), 0) };
    w.rig.generation(0, keys);
    let late = w.seal(0, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
    w.far[0] = drover_dataplane::rig::Far::new(&theirs, &ours, 24);
    w.numbers[0] = 0;
    chatter(&mut w, 3);
    w.deliver(0, &late);
    chatter(&mut w, 3);
    assert_eq!(w.rig.punted(), [(What::Heard { link: 0, generation: 2 }, vec![])]);
}

#[test]
fn a_link_that_is_never_heard_is_silent() {
    let mut w = listening(2);
    w.step = 10 * MS;
    w.run(2_900 * MS);
    assert!(w.rig.punted().is_empty());
    w.run(300 * MS);
    let mut silent = w.rig.punted();
    silent.sort_by_key(|(what, _)| format!("{what:?}"));
    assert_eq!(silent, [(What::Silent { link: 0 }, vec![]), (What::Silent { link: 1 }, vec![])]);
}
