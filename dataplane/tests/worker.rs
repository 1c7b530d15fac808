//! The life of a cell through a real worker on a virtual clock.

mod bench_world;

use bench_world::{MS, ORIGIN, PERIOD, ROUND, SLOTS, START, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_crypto::testing::TestSuite;
use drover_crypto::{LayerJob, Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::drops::DropReason;
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::limits::{COUNTER_JUMP, WAITING_PER_CIRCUIT};
use drover_dataplane::mixing::{Mixer, Mixing};
use drover_dataplane::rig::{Far, LinkSpec, Rig};
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_wire::cell::{Command, Header, body_len};
use drover_wire::control::Peer;
use drover_wire::record::record_len;

type Plain = World<Reference, 256>;

/// Cells of a bare kernel, to compare with.
fn layer<C: Suite, const S: usize>(body: &[u8], circuit: u32, forward: bool, counter: u64) -> Vec<u8> {
    let keys = [C::Layers::key(&World::<C, S>::layer_key(circuit, forward))];
    let mut cells = drover_crypto::cells::<S>(1);
    cells[0].body_mut().copy_from_slice(body);
    let mut jobs = [LayerJob { key: 0, cell: 0, counter, check: [0; 8] }];
    if forward {
        C::Layers::peel(&keys, &mut cells, &mut jobs)
    } else {
        C::Layers::add(&keys, &mut cells, &mut jobs)
    }
    cells[0].body().to_vec()
}

#[test]
fn an_idle_link_sends_chaff_on_its_grid_and_numbers_by_slot() {
    let mut w = Plain::new(3, 24);
    w.step = 10_000;
    w.run(2_000 * MS);
    assert_eq!(w.unopened, 0);
    for n in 0..3u32 {
        let phase = u64::from(n.wrapping_mul(0x3777_7777));
        let link: Vec<_> = w.got.iter().filter(|g| g.neighbour == n as usize).collect();
        assert!((399..=401).contains(&link.len()), "{}", link.len());
        for (i, g) in link.iter().enumerate() {
            let due = ORIGIN + (i as u64 * PERIOD) + ((phase * PERIOD) >> 32);
            assert!(g.is_chaff() && g.len == record_len(256) && g.number == i as u64);
            assert!(g.at >= due && g.at - due < w.step, "slot {i} of link {n}: {} after {due}", g.at);
        }
    }
}

fn crosses_both_ways<C: Suite, const S: usize>() {
    let mut w = World::<C, S>::new(2, 24);
    let offset = u64::MAX - 3;
    w.circuit(0, 1, 7, true, offset);
    let body = |i: u64| -> Vec<u8> { (0..body_len(S)).map(|b| (b as u64 * 31 + i * 7) as u8).collect() };
    for i in 0..50 {
        w.send(0, 7, i, &body(i));
        w.send(1, 107, i, &body(1000 + i));
        w.run(ROUND);
    }
    w.run(2 * ROUND);
    let forward: Vec<_> = w.relayed().into_iter().filter(|g| g.neighbour == 1).cloned().collect();
    let backward: Vec<_> = w.relayed().into_iter().filter(|g| g.neighbour == 0).cloned().collect();
    assert_eq!((forward.len(), backward.len()), (50, 50));
    for i in 0..50u64 {
        let (f, b) = (&forward[i as usize], &backward[i as usize]);
        assert_eq!(f.header, Header { circuit: 107, command: Command::Relay, counter: i.wrapping_add(offset) });
        assert_eq!(b.header, Header { circuit: 7, command: Command::Relay, counter: i.wrapping_add(offset) });
        assert_eq!(f.body, layer::<C, S>(&body(i), 7, true, i), "peeled on the way out");
        assert_eq!(b.body, layer::<C, S>(&body(1000 + i), 7, false, i), "added on the way back");
    }
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    assert_eq!(w.rig.worker.state.waiting(), 0);
}

#[test]
fn a_cell_crosses_both_ways() {
    crosses_both_ways::<Reference, 256>();
    crosses_both_ways::<Reference, 512>();
    crosses_both_ways::<Reference, 1024>();
}

#[test]
fn peel_and_add_are_told_apart_by_a_cipher_that_is_no_involution() {
    crosses_both_ways::<TestSuite, 256>();
    crosses_both_ways::<TestSuite, 512>();
}

#[test]
fn a_punctual_cell_waits_at_most_a_round_and_the_horizon() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 5);
    let mut sent = Vec::new();
    for i in 0..200u64 {
        // A jittering sender, never early by more than its jitter.
        let jitter = (i * 7_919) % (3 * MS);
        w.run(jitter);
        sent.push(w.now);
        w.send(0, 7, i, &[1]);
        w.run(ROUND - jitter);
    }
    let relayed = w.relayed();
    assert!(relayed.len() >= 198);
    for g in relayed {
        let i = g.header.counter.wrapping_sub(5) as usize;
        assert!(g.at - sent[i] <= ROUND + 3 * MS + 500_000 + 2 * w.step, "cell {i} waited {}", g.at - sent[i]);
    }
}

#[test]
fn nothing_that_comes_moves_a_departure() {
    let departures = |load: u64| {
        let mut w = Plain::new(2, 24);
        w.step = 50_000;
        w.circuit(0, 1, 7, true, 5);
        for i in 0..60u64 {
            for k in 0..load {
                w.send(0, 7, i * load + k, &[9]);
                w.deliver(0, &[0x2b; 259]);
                w.deliver(1, &[1, 2, 3]);
            }
            w.run(ROUND);
        }
        assert_eq!(w.unopened, 0);
        w.got.iter().map(|g| (g.at, g.neighbour, g.len, g.number)).collect::<Vec<_>>()
    };
    let silent = departures(0);
    assert_eq!(silent, departures(1));
    assert_eq!(silent, departures(3));
}

#[test]
fn best_effort_cells_share_free_slots() {
    let mut w = Plain::new(2, 24);
    for circuit in 1..=6 {
        w.circuit(0, 1, circuit, circuit == 1, 0);
    }
    for i in 0..20 {
        for circuit in 1..=6 {
            w.send(0, circuit, i, &[circuit as u8]);
        }
        // Five best-effort cells need two rounds of three free slots.
        w.run(2 * ROUND);
    }
    w.run(4 * ROUND);
    for circuit in 101..=106 {
        let counters: Vec<_> =
            w.relayed().iter().filter(|g| g.header.circuit == circuit).map(|g| g.header.counter).collect();
        assert_eq!(counters, (0..20).collect::<Vec<_>>(), "circuit {circuit} keeps its order");
    }
    let order: Vec<_> = w.relayed().iter().map(|g| g.header.circuit).filter(|c| *c != 101).collect();
    let arrived = [102, 103, 104, 105, 106];
    assert!(order.chunks(5).filter(|c| *c == arrived).count() < 5, "the order of arrival does not survive: {order:?}");
}

#[test]
fn best_effort_is_bounded_per_link() {
    use drover_dataplane::limits::BEST_EFFORT_PER_LINK;
    let mut w = Plain::new(2, 24);
    for circuit in 1..=20 {
        w.circuit(0, 1, circuit, false, 0);
    }
    for i in 0..5 {
        for circuit in 1..=20 {
            w.send(0, circuit, i, &[]);
        }
    }
    w.turn();
    w.turn();
    assert_eq!(w.dropped(DropReason::LinkFull), 100 - BEST_EFFORT_PER_LINK as u64);
    w.run(20 * ROUND);
    assert_eq!(w.relayed().len(), BEST_EFFORT_PER_LINK);
}

#[test]
fn a_threshold_of_circuits_lets_all_of_a_link_go_in_another_order() {
    let mut orders = std::collections::HashSet::new();
    for _ in 0..20 {
        let mut w = Plain::new(2, 24);
        w.rig.worker.state.mixer = Mixer::new(Mixing::Threshold { circuits: 3, cap_ns: 8 * ROUND }, 2);
        for circuit in [6, 7, 8] {
            w.circuit(0, 1, circuit, false, 0);
        }
        for i in 0..4 {
            w.send(0, 6, i, &[i as u8]);
            w.send(0, 7, i, &[i as u8]);
        }
        w.run(6 * ROUND);
        assert_eq!(w.relayed().len(), 0, "two circuits are no crowd of three");
        w.send(0, 8, 0, &[0]);
        w.run(3 * ROUND);
        let left: Vec<_> = w.relayed().iter().map(|got| (got.header.circuit, got.header.counter)).collect();
        assert_eq!(left.len(), 9);
        for circuit in [106, 107, 108] {
            let counters: Vec<_> = left.iter().filter(|(c, _)| *c == circuit).map(|(_, counter)| *counter).collect();
            assert!(counters.is_sorted(), "a circuit's own order is kept: {left:?}");
        }
        orders.insert(left.into_iter().map(|(circuit, _)| circuit).collect::<Vec<_>>());
        // One more: it waits for the cap, and no longer.
        w.send(0, 6, 4, &[4]);
        w.run(8 * ROUND - MS);
        assert_eq!(w.relayed().len(), 9);
        w.run(2 * ROUND);
        assert_eq!(w.relayed().len(), 10);
    }
    // 630 orders are equally likely: twenty draws of one and the same are none.
    assert!(orders.len() > 5, "{orders:?}");
}

#[test]
fn mixing_is_bounded_a_turn_and_forgets_nobody() {
    use drover_dataplane::limits::MIXED_PER_TURN;
    const LINKS: u32 = MIXED_PER_TURN as u32 + 40;
    let sizes = drover_dataplane::state::Sizes { links: 128, circuits: 128, pool: 1024, transmit: 4096 };
    let mut rig = Rig::<Reference, NoTerminal, 256>::new(NoTerminal, sizes, Pace::SPIN, 20 * MS);
    rig.turn(START);
    let class = rig.class(Rate { round_ns: ROUND, slots: SLOTS }, SLOTS, ORIGIN);
    for n in 0..LINKS {
        let secret = |tag: u8| drover_crypto::schedule::TrafficSecret([tag; 32]);
        let keys = GenerationSecrets { generation: 1, ratchet_bits: 24, send: (secret(1), 0), receive: (secret(2), 0) };
        rig.link(LinkSpec { remote: endpoint(n as usize), class, peer: Peer::Drover, phase: n << 20, keys });
        assert_eq!(rig.egress(n, false, None), n);
    }
    let interval_end = rig.worker.state.mixer.interval_ends();
    rig.turn(interval_end - MS);
    for n in 0..LINKS {
        let cell = rig.worker.state.pool.take().expect("a cell");
        rig.worker.state.queue(cell, n, n + 1);
    }
    let state = &mut rig.worker.state;
    let ready = |state: &drover_dataplane::state::State<Reference, 256>| {
        state.tx.iter().map(|tx| tx.ready.len as usize).sum::<usize>()
    };
    state.mix();
    assert_eq!(ready(state), 0, "the interval has not ended");
    state.now = interval_end;
    state.mix();
    assert_eq!(ready(state), MIXED_PER_TURN);
    // A cell that comes now is of the next interval, also when a link that waits for its permutation goes.
    let cell = state.pool.take().expect("a cell");
    state.queue(cell, 0, 1);
    rig.command(drover_dataplane::command::Command::RemoveEgress { index: LINKS - 1 });
    rig.command(drover_dataplane::command::Command::RemoveLink { link: LINKS - 1, spent: None });
    let state = &mut rig.worker.state;
    state.mix();
    state.mix();
    assert_eq!(ready(state), LINKS as usize - 1);
    assert_eq!(state.tx[0].arriving.len, 1);
    state.now = interval_end + 20 * MS;
    state.mix();
    assert_eq!(ready(state), LINKS as usize);
}

#[test]
fn what_is_wrong_is_dropped_counted_and_changes_nothing() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 0);
    w.run(ROUND);
    let good = w.seal(0, Header { circuit: 7, command: Command::Relay, counter: 0 }, &[1; 100]);
    // Forged: every byte of header, ciphertext and tag.
    let mut expected_tag = 0;
    for at in (0..good.len()).step_by(5) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        // The first byte's low bits are the epoch, which the tag covers too.
        expected_tag += 1;
        w.deliver(0, &bad);
    }
    w.run(ROUND);
    let c = &w.rig.worker.state.counters;
    let tags =
        c.dropped(DropReason::RecordTag) + c.dropped(DropReason::RecordReplay) + c.dropped(DropReason::RecordKey);
    assert_eq!(tags, expected_tag);
    // The true record still opens once, and only once.
    for _ in 0..3 {
        w.deliver(0, &good);
    }
    w.run(2 * ROUND);
    assert_eq!((w.relayed().len(), w.dropped(DropReason::RecordReplay)), (1, 2));
    for len in [0, 1, 2, 18, 100, 258, 260, 515, 1400] {
        let mut frame = vec![0x2b; len];
        if len == 0 {
            frame = vec![];
        }
        w.deliver(0, &frame);
    }
    w.run(ROUND);
    assert_eq!(w.dropped(DropReason::NotARecord), 1);
    assert_eq!(w.dropped(DropReason::RecordLength), 8);
    // Another's address, plaintext records, other protocols.
    assert!(w.rig.wire.deliver(endpoint(9), &good));
    for first in [20u8, 21, 22, 26, 0, 64, 255, 0x3b, 0x23] {
        let mut frame = good.clone();
        frame[0] = first;
        w.deliver(0, &frame);
    }
    w.run(ROUND);
    assert_eq!(w.dropped(DropReason::UnknownLink), 1);
    assert_eq!(w.dropped(DropReason::Plaintext), 4);
    assert_eq!(w.dropped(DropReason::NotARecord), 1 + 3);
    assert_eq!(w.dropped(DropReason::BadRecord), 2);
    // Cells: unknown circuit, link control, replayed and jumping counters.
    w.send(0, 8, 1, &[]);
    let frame = w.seal(0, Header { circuit: 0, command: Command::Control, counter: 0 }, &[]);
    w.deliver(0, &frame);
    w.send(0, 7, 0, &[]);
    w.send(0, 7, 1 + COUNTER_JUMP + 1000, &[]);
    w.run(ROUND);
    assert_eq!(w.dropped(DropReason::UnknownCircuit), 1);
    assert_eq!(w.dropped(DropReason::LinkControl), 1);
    assert_eq!(w.dropped(DropReason::CellReplay), 1);
    assert_eq!(w.dropped(DropReason::CounterJump), 1);
    // The call goes on.
    w.send(0, 7, 1, &[]);
    w.run(2 * ROUND);
    assert_eq!(w.relayed().len(), 2);
}

#[test]
fn nobody_sends_more_than_was_admitted() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 0);
    for i in 0..400 {
        w.send(0, 7, i, &[]);
        w.run(ROUND / 10);
    }
    let sent = w.relayed().len();
    assert!((38..=42).contains(&sent), "40 rounds, {sent} cells");
    assert!(w.dropped(DropReason::CircuitFull) >= 400 - 42 - WAITING_PER_CIRCUIT as u64 - 60);
}

#[test]
fn a_stall_loses_slots_and_never_bunches() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 0);
    w.run(10 * ROUND);
    let before = w.got.len();
    w.now += 1_000 * MS;
    w.turn();
    w.run(PERIOD);
    let burst = w.got.len() - before;
    assert!(burst <= 2 * 3, "{burst} records in the slot after a stall");
    w.run(10 * ROUND);
    let link: Vec<_> = w.got.iter().filter(|g| g.neighbour == 0).collect();
    let missed = link.windows(2).map(|p| p[1].number - p[0].number - 1).sum::<u64>();
    assert!((198..=201).contains(&missed), "numbers advance through lost slots: {missed}");
    let counted: u64 = w.rig.worker.state.counters.class_missed.iter().sum();
    let given_out = link.len() as u64 + missed;
    assert!(counted.abs_diff(2 * missed) <= 2, "{counted} missed of {given_out}");
}

/// A link may be faster than its worker's tick: what falls due between two turns leaves at the second.
#[test]
fn slots_shorter_than_a_tick_are_not_late() {
    let tick = 4 * PERIOD;
    let mut w = Plain::with(1, 24, Peer::Drover, drover_dataplane::worker::Pace::tick(tick));
    w.step = tick;
    // The first turn comes a tick after the grid's origin.
    w.run(2 * tick);
    let missed = |w: &Plain| w.rig.worker.state.counters.class_missed.iter().sum::<u64>();
    let (got, lost) = (w.got.len(), missed(&w));
    w.run(100 * tick);
    assert!((396..=404).contains(&(w.got.len() - got)), "{} of 400", w.got.len() - got);
    assert_eq!(missed(&w), lost);
    // A tick that does not come loses its slots: what was due before it is not made up.
    let before = w.got.len();
    w.now += 3 * tick;
    w.turn();
    assert!(w.got.len() - before <= 5, "{} at once", w.got.len() - before);
}

#[test]
fn sealed_records_that_come_too_late_are_discarded_cells_and_chaff_alike() {
    let mut w = Plain::with(2, 24, Peer::Drover, drover_dataplane::worker::Pace::tick(20 * MS));
    w.circuit(0, 1, 7, true, 0);
    w.run(ROUND);
    w.send(0, 7, 0, &[]);
    w.run(ROUND);
    // Two rounds are sealed ahead now; the worker sleeps past all of them.
    w.now += 500 * MS;
    w.turn();
    assert_eq!(w.dropped(DropReason::LateSlot), 1);
    w.run(10 * ROUND);
    assert!(w.relayed().is_empty());
    assert_eq!(w.rig.worker.state.waiting(), 0);
}

#[test]
fn a_burst_after_a_stall_does_not_delay_a_call_for_good() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 0);
    for i in 0..3 {
        w.send(0, 7, i, &[]);
    }
    let mut sent = vec![w.now; 3];
    for i in 3..100 {
        w.run(ROUND);
        sent.push(w.now);
        w.send(0, 7, i, &[]);
    }
    w.run(2 * ROUND);
    let waits: Vec<_> = w.relayed().iter().map(|g| g.at - sent[g.header.counter as usize]).collect();
    assert!(waits.iter().all(|wait| *wait <= ROUND * 3 / 2 + MS), "{waits:?}");
    assert!(w.dropped(DropReason::CircuitLate) >= 1);
    assert!(w.relayed().len() >= 97, "{}", w.relayed().len());
}

#[test]
fn keys_ratchet_without_a_word() {
    let mut w = Plain::new(2, 5);
    w.circuit(0, 1, 7, true, 0);
    for i in 0..600u64 {
        w.send(0, 7, i, &[1]);
        w.send_chaff(1);
        w.run(ROUND);
    }
    w.run(2 * ROUND);
    assert_eq!(w.unopened, 0);
    assert_eq!(w.relayed().len(), 600);
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    // 75 steps of sending, 18 of receiving: each is another key.
    assert!(w.got.iter().map(|g| g.number).max() > Some(64 * 32));
}

#[test]
fn old_steps_are_forgotten() {
    let mut w = Plain::new(1, 5);
    let early = w.seal(0, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
    w.numbers[0] = 1;
    for _ in 0..200 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    w.deliver(0, &early);
    w.run(PERIOD);
    // Within the window of 1,024, but its key is gone.
    assert_eq!(w.dropped(DropReason::RecordKey), 1);
}

fn outage(lost: u64, ratchet_bits: u8) {
    let mut w = Plain::new(1, ratchet_bits);
    for _ in 0..10 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    w.numbers[0] += lost;
    w.step = 20 * MS;
    w.run(lost * PERIOD);
    w.step = 100_000;
    let before = w.rig.worker.state.counters.dropped_in_all();
    for _ in 0..50 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    let lost_now = w.rig.worker.state.counters.dropped_in_all() - before;
    // After steps were missed, their key must be made: a record or two.
    assert!(lost_now <= 2, "{lost_now} of 50 lost after an outage of {lost} records");
}

#[test]
fn a_link_heals_after_any_outage() {
    for lost in [1, 1_000, 20_000, 32_700, 40_000, 70_000, 120_000] {
        outage(lost, 24);
    }
    outage(5_000, 6);
    outage(70_000, 10);
}

#[test]
fn a_link_heals_after_an_outage_with_a_change_of_rate() {
    let mut w = Plain::new(1, 24);
    for _ in 0..10 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    // 20,000 rounds of 4 slots, then 10 of 16: sixteen slots for all of the time would be 240,000 more.
    w.step = 20 * MS;
    w.run(20_000 * ROUND);
    let rate = Rate { round_ns: ROUND, slots: 16 };
    w.rig.command(drover_dataplane::command::Command::ChangeClass { index: 0, at: w.now, rate });
    w.run(10 * ROUND);
    w.numbers[0] += 20_000 * 4 + 10 * 16;
    for _ in 0..10 {
        w.send_chaff(0);
        w.run(ROUND);
    }
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
}

#[test]
fn a_peer_that_began_long_ago_is_found() {
    for (ahead, first) in [(70_000, 10), (1_000_000, 10), (16_000_000, 10), (40_000, 1_000)] {
        let mut w = Plain::new(1, 24);
        let read = w.rig.worker.state.rx[0].keys[0].as_mut().expect("keys");
        read.window = drover_dataplane::window::RecordWindow::starting_at(first);
        read.counted = first;
        w.numbers[0] = first + ahead;
        for _ in 0..150 {
            w.send_chaff(0);
            w.run(PERIOD);
        }
        let lost = w.rig.worker.state.counters.dropped_in_all();
        assert!(lost <= 128, "{lost} lost from a peer that is {ahead} ahead");
        let trials = w.rig.worker.state.counters.trials;
        w.send_chaff(0);
        w.run(PERIOD);
        assert_eq!(w.rig.worker.state.counters.dropped_in_all(), lost);
        assert_eq!(w.rig.worker.state.counters.trials, trials, "once found, no more trials");
    }
}

#[test]
fn time_that_was_misjudged_by_a_wrap_is_found_by_trial() {
    let mut w = Plain::new(1, 24);
    w.send_chaff(0);
    w.run(PERIOD);
    // 100,000 records' time has gone by, but the peer was down for a third of it.
    w.numbers[0] += 100_000 - 40_000;
    w.step = 20 * MS;
    w.run(100_000 * PERIOD);
    w.send_chaff(0);
    w.run(PERIOD);
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    assert!(w.rig.worker.state.counters.trials > 0);
}

#[test]
fn forged_records_buy_a_bounded_number_of_trials() {
    let mut w = Plain::new(1, 24);
    w.step = 20 * MS;
    w.run(100_000 * PERIOD);
    let trials = w.rig.worker.state.counters.trials;
    for i in 0..200u32 {
        let mut frame = vec![0x2b; 259];
        frame[5..9].copy_from_slice(&i.to_be_bytes());
        w.deliver(0, &frame);
    }
    let turns = w.rig.worker.state.counters.turns;
    w.run(4 * w.step);
    let turns = w.rig.worker.state.counters.turns - turns;
    let spent = w.rig.worker.state.counters.trials - trials;
    assert!(spent <= turns * u64::from(drover_dataplane::limits::TRIALS_PER_TURN), "{spent} in {turns} turns");
    w.send_chaff(0);
    w.run(PERIOD);
}

#[test]
fn a_foreign_peers_number_is_placed_nearest_the_last() {
    let mut w = Plain::with(1, 24, Peer::Foreign, drover_dataplane::worker::Pace::SPIN);
    w.send_chaff(0);
    w.step = 20 * MS;
    w.run(50_000 * PERIOD);
    // A foreign peer sends when it likes: after a silence its numbers simply go on.
    for _ in 0..10 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
}

#[test]
fn what_a_peer_owes_is_counted_as_lost_also_while_it_is_silent() {
    let mut w = Plain::new(2, 24);
    let lost = |w: &Plain| w.rig.worker.state.counters.class_lost[0];
    // A link that has never been heard owes nothing.
    w.run(20 * ROUND);
    assert_eq!(lost(&w), 0);
    for _ in 0..40 {
        w.send_chaff(0);
        w.run(PERIOD);
    }
    assert_eq!(lost(&w), 0);
    // Single records.
    w.numbers[0] += 3;
    let late = w.seal(0, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
    w.send_chaff(0);
    w.run(PERIOD);
    assert_eq!(lost(&w), 4);
    w.deliver(0, &late);
    w.run(PERIOD);
    assert_eq!(lost(&w), 3);
    // Silence: 100 rounds of 4 slots, less the patience.
    w.run(100 * ROUND);
    assert!((3 + 375..=3 + 385).contains(&lost(&w)), "{}", lost(&w));
    // It comes back where time says, and the sum is right.
    w.numbers[0] += 400;
    w.send_chaff(0);
    w.run(PERIOD);
    assert_eq!(lost(&w), 403);
}

#[test]
fn a_generation_changes_without_a_lost_record() {
    let mut w = Plain::new(2, 24);
    w.circuit(0, 1, 7, true, 0);
    let mut counter = 0;
    let mut exchange = |w: &mut Plain, rounds: u64| {
        for _ in 0..rounds {
            w.send(0, 7, counter, &[]);
            counter += 1;
            w.run(ROUND);
        }
    };
    exchange(&mut w, 20);
    let (theirs, ours) = secrets(0, 2);
    let keys =
        GenerationSecrets { generation: 2, ratchet_bits: 24, send: (ours.clone(), 0), receive: (theirs.clone(), 0) };
    w.rig.generation(0, keys);
    // The old keys go on both ways.
    exchange(&mut w, 20);
    assert_eq!(w.unopened, 0);
    // The peer sends with the new; a record of the old one comes late, and still opens.
    let late = w.seal(0, Header { circuit: 7, command: Command::Relay, counter }, &[]);
    counter_bump(&mut w, theirs.clone(), &ours);
    w.send(0, 7, counter + 1, &[]);
    w.run(ROUND);
    w.deliver(0, &late);
    w.run(3 * ROUND);
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    assert_eq!(w.relayed().len(), 42);
    // Our switch: numbers begin anew under the new key, and the grid does not move.
    w.got.clear();
    w.unopened = 0;
    w.rig.command(drover_dataplane::command::Command::Switch { link: 0, generation: 2 });
    w.run(5 * ROUND);
    let link: Vec<_> = w.got.iter().filter(|g| g.neighbour == 0).collect();
    let opened: Vec<_> = link.iter().filter(|g| g.number != u64::MAX).map(|g| g.number).collect();
    // What was sealed ahead before the switch is still of the old generation.
    assert!(link.len() - opened.len() <= 1, "{} of {}", opened.len(), link.len());
    assert_eq!(opened, (0..opened.len() as u64).collect::<Vec<_>>());
    assert!((19..=21).contains(&link.len()));
    // The old keys retire; a record under them is dropped then.
    w.step = 20 * MS;
    for _ in 0..300 {
        w.send_chaff(0);
        w.run(ROUND);
    }
    let dropped = w.rig.worker.state.counters.dropped_in_all();
    let (old, _) = secrets(0, 1);
    let (_, old_ours) = secrets(0, 1);
    w.far[0] = Far::new(&old, &old_ours, 24);
    w.numbers[0] = 42;
    w.send_chaff(0);
    w.run(ROUND);
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), dropped + 1);
}

/// The neighbour's end moves to a new generation.
fn counter_bump(
    w: &mut Plain,
    theirs: drover_crypto::schedule::TrafficSecret,
    ours: &drover_crypto::schedule::TrafficSecret,
) {
    w.far[0] = Far::new(&theirs, ours, 24);
    w.numbers[0] = 0;
}

#[test]
fn a_circuit_that_goes_takes_its_waiting_cells_along() {
    let mut w = Plain::new(2, 24);
    let (admitted, _) = w.circuit(0, 1, 7, true, 0);
    let (best_effort, _) = w.circuit(0, 1, 8, false, 0);
    w.send(0, 7, 0, &[]);
    w.send(0, 8, 0, &[]);
    w.turn();
    assert_eq!(w.rig.worker.state.waiting(), 2);
    for index in [admitted, best_effort] {
        w.rig.command(drover_dataplane::command::Command::RemoveEgress { index });
    }
    assert_eq!(w.dropped(DropReason::CircuitGone), 2);
    assert_eq!(w.rig.worker.state.waiting(), 0);
    // Its ingress is still there: cells are dropped and counted until control removes it too.
    w.send(0, 7, 1, &[]);
    w.run(ROUND);
    assert_eq!(w.dropped(DropReason::CircuitGone), 3);
    w.run(5 * ROUND);
    assert!(w.relayed().is_empty());
}

#[test]
fn a_link_that_goes_frees_its_place() {
    let mut w = Plain::new(3, 24);
    w.run(5 * ROUND);
    let keys = w.rig.worker.state.record_keys.len();
    w.rig.command(drover_dataplane::command::Command::RemoveLink { link: 1, spent: None });
    assert_eq!(w.rig.worker.state.record_keys.len(), keys - 4);
    w.run(ROUND);
    w.got.clear();
    w.send_chaff(1);
    w.run(5 * ROUND);
    assert_eq!(w.dropped(DropReason::UnknownLink), 1);
    assert!(w.got.iter().all(|g| g.neighbour != 1));
    assert_eq!(w.got.iter().filter(|g| g.neighbour == 0).count(), 20);
}

#[test]
fn a_rate_change_keeps_every_circuit() {
    let mut w = Plain::new(2, 24);
    for circuit in 1..=3 {
        w.circuit(0, 1, circuit, true, 0);
    }
    let mut counter = 0;
    for slots in [4u32, 9, 16, 5, 4] {
        let at = w.now + 7 * MS;
        w.rig.command(drover_dataplane::command::Command::ChangeClass {
            index: 0,
            at,
            rate: Rate { round_ns: ROUND, slots },
        });
        w.run(2 * ROUND);
        w.got.clear();
        for _ in 0..20 {
            for circuit in 1..=3 {
                w.send(0, circuit, counter, &[]);
            }
            counter += 1;
            w.run(ROUND);
        }
        let on_link = w.got.iter().filter(|g| g.neighbour == 1).count();
        assert!(on_link.abs_diff(20 * slots as usize) <= 1, "{on_link} at {slots} slots a round");
        assert!(w.relayed().len() >= 57, "{} of 60 at {slots}", w.relayed().len());
        assert_eq!(w.unopened, 0);
        w.run(3 * ROUND);
    }
}
