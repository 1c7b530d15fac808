//! Circuits as control builds them: cells for hops and of hops, far sides that come later, links of a mix to itself, taps.

mod hop_world;

use drover_dataplane::drops::DropReason;
use drover_dataplane::terminal::Terminal;
use drover_wire::cell::{Header, hop};
use drover_wire::control::{
    BootId, Bytes, EndSecret, ExtendCircuit, Inject, List, Owner, PutEnd, PutLoop, Refusal, Request, Secret,
};
use hop_world::*;

/// The client's neighbour, the far mix's other neighbour, and the mixes.
const CLIENT: u16 = 5000;
const BEYOND: u16 = 5001;
const M: u16 = 6000;
const R: u16 = 6001;

fn say(boot: BootId, circuit: u32, kind: u8, data: &[u8]) -> Request {
    Request::Inject(Inject::Hop { boot, circuit, kind, data: Bytes::new(data).expect("fits") })
}

fn extend(boot: BootId, circuit: u32, far: (u32, u32), others: &[u64]) -> Request {
    let others = List::from_slice(others).expect("two at most");
    Request::ExtendCircuit(ExtendCircuit { boot, circuit, far: at(far.0, far.1), others })
}

/// A client, two mixes in a row, and somebody beyond: the first hop is there, the second is not.
fn two_mixes() -> (Net, Client) {
    let (mut m, mut r) = (Node::new(M), Node::new(R));
    m.link(1, CLIENT);
    m.link(2, R);
    r.link(1, M);
    r.link(2, BEYOND);
    let client = Client { hops: vec![Keys::of(3)], next: u64::MAX - 2 };
    let put = client.hops[0].put(m.boot, 5, at(1, 10), true);
    m.done(Request::PutCircuit(put));
    (Net::new(vec![m, r], vec![Neighbour::new(CLIENT, M), Neighbour::new(BEYOND, R)]), client)
}

fn to_hop(net: &mut Net, client: &mut Client, hop: usize, data: &[u8]) -> (u64, Vec<u8>) {
    let (counter, body) = client.cell(Maker::Hop(hop), 9, data);
    net.send(0, 10, counter, &body);
    net.run(2 * ROUND);
    (counter, body)
}

/// The second hop as control adds it: first there, then the first hop's far side.
fn add_second(net: &mut Net, client: &mut Client) {
    let keys = Keys::of(7);
    let boots = [net.nodes[0].boot, net.nodes[1].boot];
    net.nodes[1].done(Request::PutCircuit(keys.put(boots[1], 9, at(1, 77), true)));
    let request = extend(boots[0], 5, (2, 77), &[keys.first]);
    net.nodes[0].done(request.clone());
    net.nodes[0].done(request);
    client.hops.push(keys);
}

#[test]
fn a_hop_and_its_client_talk_before_there_is_a_far_side() {
    let (mut net, mut client) = two_mixes();
    let boot = net.nodes[0].boot;
    let first = to_hop(&mut net, &mut client, 0, b"extend me");
    assert_eq!(net.nodes[0].handed(), [Handed::Hop { circuit: 5, kind: 9, data: b"extend me".to_vec() }]);
    // The same cell in another record is a replay, and control does not see it again.
    net.send(0, 10, first.0, &first.1);
    net.run(ROUND);
    assert_eq!((net.nodes[0].handed(), net.nodes[0].dropped(DropReason::CellReplay)), (vec![], 1));
    // What is not for this hop has nowhere to go yet.
    let (counter, body) = client.cell(Maker::Stream, 0, b"too early");
    net.send(0, 10, counter, &body);
    net.run(ROUND);
    assert_eq!((net.nodes[0].handed(), net.nodes[0].dropped(DropReason::CircuitEnd)), (vec![], 1));
    // The other way: one sequence, from the counter that the client drew.
    for n in 0..5u8 {
        net.nodes[0].done(say(boot, 5, n, &[n; 100]));
        net.run(2 * ROUND);
    }
    let got = net.got(0);
    assert_eq!(got.len(), 5);
    for (n, (header, body)) in got.iter().enumerate() {
        assert_eq!((header.circuit, header.counter), (10, client.hops[0].first.wrapping_add(n as u64)));
        assert_eq!(client.said(header.counter, body), (0, n as u8, vec![n as u8; 100]));
        let (_, inner) = client.open(header.counter, body);
        assert_eq!(inner[..hop::CHECK], [0; hop::CHECK], "the client needs no recognition");
        assert_ne!(inner, *body);
    }
}

#[test]
fn a_second_hop_is_reached_through_the_first() {
    let (mut net, mut client) = two_mixes();
    to_hop(&mut net, &mut client, 0, b"extend me");
    net.nodes[0].handed();
    add_second(&mut net, &mut client);
    to_hop(&mut net, &mut client, 1, b"to the second");
    assert_eq!(net.nodes[0].handed(), [], "it passes the first");
    assert_eq!(net.nodes[1].handed(), [Handed::Hop { circuit: 9, kind: 9, data: b"to the second".to_vec() }]);
    // The first hop is still spoken to, in the same sequence.
    to_hop(&mut net, &mut client, 0, b"to the first");
    assert_eq!(net.nodes[0].handed(), [Handed::Hop { circuit: 5, kind: 9, data: b"to the first".to_vec() }]);
    let boots = [net.nodes[0].boot, net.nodes[1].boot];
    for n in 0..40u8 {
        net.nodes[1].done(say(boots[1], 9, 1, &[n]));
        net.run(3 * ROUND);
        if n % 3 == 0 {
            net.nodes[0].done(say(boots[0], 5, 2, &[n]));
        }
        net.run(2 * ROUND);
    }
    net.run(2 * ROUND);
    let said: Vec<_> = net.got(0).iter().map(|(header, body)| client.said(header.counter, body)).collect();
    let from = |hop: usize| said.iter().filter(|s| s.0 == hop).map(|s| s.2[0]).collect::<Vec<_>>();
    assert_eq!(from(1), (0..40).collect::<Vec<_>>());
    assert_eq!(from(0), (0..40).filter(|n| n % 3 == 0).collect::<Vec<_>>());
    for node in &mut net.nodes {
        assert_eq!(node.worker.state.counters.dropped_in_all(), 0);
    }
}

#[test]
fn stream_and_hops_have_windows_of_their_own_and_replays_are_refused() {
    let (mut net, mut client) = two_mixes();
    to_hop(&mut net, &mut client, 0, b"extend me");
    add_second(&mut net, &mut client);
    to_hop(&mut net, &mut client, 1, b"splice me");
    let boots = [net.nodes[0].boot, net.nodes[1].boot];
    net.nodes[1].done(extend(boots[1], 9, (2, 33), &[]));
    net.nodes.iter_mut().for_each(|node| drop(node.handed()));
    // A stream whose counters come from elsewhere, hop cells of both hops between.
    let stream = 0xabcd_0000_1111_2222u64;
    let body = |n: u64| vec![n as u8; BODY];
    for n in 0..200u64 {
        net.send(1, 33, stream + n, &body(n));
        if n % 4 == 1 {
            // One cell a round leaves towards the client, whoever made it (W-HOP-4): none waits behind another.
            net.run(3 * ROUND);
            net.nodes[1].done(say(boots[1], 9, 1, &[n as u8]));
            net.run(3 * ROUND);
            net.nodes[0].done(say(boots[0], 5, 2, &[n as u8]));
        }
        // And forward: cells for what lies beyond.
        let (counter, cell) = client.cell(Maker::Stream, 0, &[n as u8, 0xee]);
        net.send(0, 10, counter, &cell);
        net.run(2 * ROUND);
    }
    net.run(3 * ROUND);
    let got = net.got(0);
    let opened: Vec<_> = got.iter().map(|(header, body)| client.open(header.counter, body)).collect();
    let streamed: Vec<_> = opened.iter().filter(|(maker, _)| *maker == Maker::Stream).map(|o| o.1.clone()).collect();
    assert!(streamed == (0..200).map(body).collect::<Vec<_>>(), "{} of 200", streamed.len());
    for hop in [0, 1] {
        let said = opened.iter().filter(|(maker, _)| *maker == Maker::Hop(hop)).count();
        assert_eq!(said, 50, "hop {hop}");
    }
    let beyond = net.got(1);
    assert_eq!(beyond.len(), 200);
    assert!(beyond.iter().enumerate().all(|(n, (h, b))| h.circuit == 33 && b[..2] == [n as u8, 0xee]));
    assert!(net.nodes.iter().all(|node| node.worker.state.counters.dropped_in_all() == 0));
    // I1: nothing of a header survives a hop, in either direction.
    let sum = |hops: &[Keys], at: usize| hops.iter().fold(0u64, |sum, keys| sum.wrapping_add(keys.offsets[at]));
    let last = client.next.wrapping_sub(1);
    assert_eq!(beyond[199].0.counter, last.wrapping_add(sum(&client.hops, 0)));
    let streamed: Vec<_> = got.iter().zip(&opened).filter(|(_, o)| o.0 == Maker::Stream).map(|(g, _)| g.0).collect();
    assert_eq!(streamed[0].counter, stream.wrapping_add(sum(&client.hops, 1)));
    // The second mix's link to the first, replayed cell by cell in fresh records: the stream, the second hop's own.
    let mut second = Neighbour::new(R, M);
    let (own, passed) = (client.hops[1].first, client.hops[1].offsets[1]);
    let before = net.nodes[0].dropped(DropReason::CellReplay);
    let replays = [own, own + 20, own + 49, stream.wrapping_add(passed), stream.wrapping_add(passed) + 199];
    for (n, counter) in replays.into_iter().enumerate() {
        // Far ahead of what the second mix has sent, and not yet used.
        for _ in 0..if n == 0 { 10_000 } else { 0 } {
            second.seal(Header { circuit: 0, command: drover_wire::cell::Command::Chaff, counter: 0 }, &[]);
        }
        let header = Header { circuit: 77, command: drover_wire::cell::Command::Relay, counter };
        let frame = second.seal(header, &[7; BODY]);
        assert!(net.nodes[0].wire.deliver(drover_nic::Endpoint::from(address(R)), &frame));
        net.turn();
    }
    assert_eq!(net.nodes[0].dropped(DropReason::CellReplay) - before, 5);
    assert_eq!(net.got(0), []);
    // Far beyond what rate and time allow, of either: the stream's window refuses it.
    let jumps = net.nodes[0].dropped(DropReason::CounterJump);
    let header = Header { circuit: 77, command: drover_wire::cell::Command::Relay, counter: own + (1 << 40) };
    let frame = second.seal(header, &[7; BODY]);
    assert!(net.nodes[0].wire.deliver(drover_nic::Endpoint::from(address(R)), &frame));
    net.turn();
    let refused = net.nodes[0].dropped(DropReason::CounterJump) - jumps + net.nodes[0].dropped(DropReason::CellReplay)
        - before
        - 5;
    assert_eq!(refused, 1);
}

#[test]
fn a_wrong_mac_is_counted_and_told_to_nobody() {
    let (mut net, mut client) = two_mixes();
    // The layer is right, so the check is; the MAC is another key's.
    client.hops[0].macs[0] = [1; 32];
    to_hop(&mut net, &mut client, 0, b"forged");
    let node = &mut net.nodes[0];
    assert_eq!((node.handed(), node.told(DropReason::HopMac)), (vec![], 1));
    // A circuit without keys for this hop's cells, and one that is gone.
    let boot = node.boot;
    let mut mute = Keys::of(9).put(boot, 6, at(1, 12), false);
    mute.hop = None;
    node.done(Request::PutCircuit(mute));
    assert_eq!(node.refused(say(boot, 6, 1, b"")), Refusal::Unsupported);
    assert_eq!(node.refused(say(boot, 8, 1, b"")), Refusal::Unknown);
    assert_eq!(node.refused(say(boot, 5, 1, &[0; 198])), Refusal::Malformed);
    node.done(say(boot, 5, 1, &[0; 197]));
    node.done(Request::RemoveCircuit { boot, circuit: 5 });
    assert_eq!(node.refused(say(boot, 5, 1, b"")), Refusal::Unknown);
    net.run(2 * ROUND);
    assert_eq!(net.nodes[0].dropped(DropReason::CircuitGone) as usize + net.got(0).len(), 1);
}

#[test]
fn keys_of_a_hop_are_used_once_and_puts_may_be_repeated() {
    let (mut net, _) = two_mixes();
    let node = &mut net.nodes[0];
    let boot = node.boot;
    let keys = Keys::of(3);
    node.done(Request::PutCircuit(keys.put(boot, 5, at(1, 10), true)));
    node.done(extend(boot, 5, (2, 40), &[1, 2]));
    // Either put again, also of the circuit as it was at first.
    node.done(Request::PutCircuit(keys.put(boot, 5, at(1, 10), true)));
    node.done(extend(boot, 5, (2, 40), &[1, 2]));
    assert_eq!(node.refused(extend(boot, 5, (2, 41), &[1, 2])), Refusal::Exists);
    node.done(Request::RemoveCircuit { boot, circuit: 5 });
    assert_eq!(node.refused(extend(boot, 5, (2, 40), &[])), Refusal::Unknown);
    assert_eq!(node.refused(Request::PutCircuit(keys.put(boot, 5, at(1, 10), true))), Refusal::Forbidden);
    // The layers are new, a MAC key is not.
    let mut other = Keys::of(4);
    other.macs[1] = keys.macs[1];
    assert_eq!(node.refused(Request::PutCircuit(other.put(boot, 5, at(1, 10), true))), Refusal::Forbidden);
    // One MAC key for both directions: what the hop says could be said to it.
    let mut other = Keys::of(4);
    other.macs[1] = other.macs[0];
    assert_eq!(node.refused(Request::PutCircuit(other.put(boot, 5, at(1, 10), true))), Refusal::Forbidden);
    node.done(Request::PutCircuit(Keys::of(4).put(boot, 5, at(1, 10), true)));
}

#[test]
fn a_far_side_without_a_free_slot_is_refused_and_nothing_has_changed() {
    let (mut net, mut client) = two_mixes();
    let boot = net.nodes[0].boot;
    for n in 0..SLOTS as u8 - 1 {
        let put = Keys::of(20 + n).put(boot, 100 + u32::from(n), at(2, 200 + u32::from(n)), true);
        net.nodes[0].done(Request::PutCircuit(put));
    }
    assert_eq!(net.nodes[0].refused(extend(boot, 5, (2, 77), &[])), Refusal::NoRoom);
    let full = Keys::of(50).put(boot, 300, at(2, 300), true);
    assert_eq!(net.nodes[0].refused(Request::PutCircuit(full)), Refusal::NoRoom);
    to_hop(&mut net, &mut client, 0, b"still there");
    assert_eq!(net.nodes[0].handed(), [Handed::Hop { circuit: 5, kind: 9, data: b"still there".to_vec() }]);
    let (counter, body) = client.cell(Maker::Stream, 0, b"nowhere");
    net.send(0, 10, counter, &body);
    net.run(ROUND);
    assert_eq!(net.nodes[0].dropped(DropReason::CircuitEnd), 1);
    net.nodes[0].done(Request::RemoveCircuit { boot, circuit: 100 });
    // The same keys may be put now: what was refused was not installed.
    net.nodes[0].done(Request::PutCircuit(Keys::of(50).put(boot, 300, at(2, 300), true)));
    net.nodes[0].done(Request::RemoveCircuit { boot, circuit: 300 });
    net.nodes[0].done(extend(boot, 5, (2, 77), &[]));
}

/// One mix that is both hops: the second is beyond its link to itself.
fn one_mix(admitted: bool) -> (Net, Client) {
    let mut m = Node::new(M);
    m.link(1, CLIENT);
    m.link(2, BEYOND);
    let boot = m.boot;
    let put = PutLoop { boot, a: 7, b: 8, class: 1, owner: Owner::default() };
    m.done(Request::PutLoop(put.clone()));
    m.done(Request::PutLoop(put));
    let client = Client { hops: vec![Keys::of(3), Keys::of(7)], next: 1 << 40 };
    m.done(Request::PutCircuit(client.hops[0].put(boot, 5, at(1, 10), admitted)));
    m.done(Request::PutCircuit(client.hops[1].put(boot, 9, at(8, 77), admitted)));
    m.done(extend(boot, 5, (7, 77), &[client.hops[1].first]));
    (Net::new(vec![m], vec![Neighbour::new(CLIENT, M), Neighbour::new(BEYOND, M)]), client)
}

#[test]
fn both_hops_at_one_mix_are_told_apart() {
    for admitted in [true, false] {
        let (mut net, mut client) = one_mix(admitted);
        let boot = net.nodes[0].boot;
        to_hop(&mut net, &mut client, 1, b"to the second");
        to_hop(&mut net, &mut client, 0, b"to the first");
        net.run(3 * ROUND);
        let hop = |circuit, data: &[u8]| Handed::Hop { circuit, kind: 9, data: data.to_vec() };
        let mut handed = net.nodes[0].handed();
        handed.sort_by_key(|handed| matches!(handed, Handed::Hop { circuit: 5, .. }));
        assert_eq!(handed, [hop(9, b"to the second"), hop(5, b"to the first")]);
        for n in 0..10 {
            net.nodes[0].done(say(boot, 5, 1, &[n]));
            net.run(2 * ROUND);
            net.nodes[0].done(say(boot, 9, 1, &[n]));
            net.run(4 * ROUND);
        }
        let said: Vec<_> = net.got(0).iter().map(|(header, body)| client.said(header.counter, body)).collect();
        for hop in [0, 1] {
            let from: Vec<_> = said.iter().filter(|s| s.0 == hop).map(|s| s.2[0]).collect();
            assert_eq!(from, (0..10).collect::<Vec<_>>(), "hop {hop}, admitted {admitted}");
        }
        assert_eq!(net.nodes[0].worker.state.counters.dropped_in_all(), 0);
    }
}

#[test]
fn a_splice_across_a_loop_has_both_rounds_and_one_cell_a_round() {
    let (mut net, mut client) = one_mix(true);
    let boot = net.nodes[0].boot;
    net.nodes[0].done(extend(boot, 9, (2, 33), &[]));
    net.run(ROUND);
    let mut sent = Vec::new();
    let mut waits = Vec::new();
    for n in 0..300u64 {
        let (counter, body) = client.cell(Maker::Stream, 0, &n.to_be_bytes());
        net.send(0, 10, counter, &body);
        sent.push(net.now);
        let end = net.now + ROUND;
        while net.now < end {
            net.turn();
            for (_, body) in net.got(1) {
                let n = u64::from_be_bytes(*body.first_chunk().expect("whole"));
                waits.push(net.now - sent[n as usize]);
            }
        }
    }
    net.run(3 * ROUND);
    waits.extend(net.got(1).iter().map(|_| 0));
    assert_eq!(waits.len(), 300, "one cell a round, none lost");
    let (longest, all) = (waits.iter().max().expect("some"), waits.len() as u64);
    // Two slots, each somewhere in its round: a round and a half is a call over one of them.
    assert!(*longest <= 2 * ROUND + 2 * MS, "{longest}");
    let mean = waits.iter().sum::<u64>() / all;
    assert!(mean > MS, "{mean}");
    assert_eq!(net.nodes[0].worker.state.counters.dropped_in_all(), 0);
    // Faster than admitted: the loop gives one cell a round like any link.
    let begin = net.now;
    for n in 300..500u64 {
        for _ in 0..2 {
            let (counter, body) = client.cell(Maker::Stream, 0, &n.to_be_bytes());
            net.send(0, 10, counter, &body);
        }
        net.run(ROUND);
    }
    let (came, rounds) = (net.got(1).len() as u64, (net.now - begin) / ROUND);
    assert!(came.abs_diff(rounds) <= 4, "{came} cells in {rounds} rounds");
    let lost = net.nodes[0].dropped(DropReason::CircuitFull) + net.nodes[0].dropped(DropReason::CircuitLate);
    assert!(lost > 150, "{lost}");
}

#[test]
fn a_stall_loses_what_crosses_a_loop_as_it_loses_records() {
    let (mut net, mut client) = one_mix(true);
    for n in 0..400u64 {
        let (counter, body) = client.cell(Maker::Stream, 0, &[n as u8]);
        net.send(0, 10, counter, &body);
        if n % 3 == 0 {
            net.now += 10 * ROUND + n * 100_000;
        }
        net.run(ROUND);
    }
    net.run(3 * ROUND);
    let counters = &net.nodes[0].worker.state.counters;
    assert!(counters.class_missed.iter().sum::<u64>() > 100 * 10 * u64::from(SLOTS));
    assert_eq!(net.nodes[0].worker.state.waiting(), 0);
    let ended = counters.dropped(DropReason::CircuitEnd);
    let (late, slot) = (counters.dropped(DropReason::CircuitLate), counters.dropped(DropReason::LateSlot));
    let full = counters.dropped(DropReason::CircuitFull);
    assert_eq!(ended + late + slot + full, 400, "{late} {slot} {full}");
    assert!(ended > 200);
}

#[test]
fn a_loop_carries_control_and_goes_with_both_ends() {
    let (mut net, mut client) = one_mix(true);
    let boot = net.nodes[0].boot;
    let cell =
        |link, tag: u8| Request::Inject(Inject::Link { boot, link, body: Bytes::new(&[tag; BODY]).expect("fits") });
    net.nodes[0].done(cell(7, 1));
    net.nodes[0].done(cell(8, 2));
    net.run(2 * ROUND);
    let mut handed = net.nodes[0].handed();
    handed.sort_by_key(|handed| matches!(handed, Handed::Link { link: 8, .. }));
    let link = |link, tag: u8| Handed::Link { link, body: vec![tag; BODY] };
    assert_eq!(handed, [link(7, 2), link(8, 1)], "what leaves by one end comes in at the other");
    // Gone with everything that is under way; the places are used again, by others.
    for _ in 0..20 {
        let (counter, body) = client.cell(Maker::Stream, 0, b"under way");
        net.send(0, 10, counter, &body);
        net.run(ROUND / 10);
    }
    net.nodes[0].done(Request::RemoveLink { boot, link: 8 });
    net.run(ROUND);
    assert_eq!(net.nodes[0].worker.state.waiting(), 0);
    assert!(net.nodes[0].worker.state.crossings.is_empty());
    assert_eq!(net.nodes[0].refused(say(boot, 5, 1, b"")), Refusal::Unknown, "its circuits are gone");
    net.nodes[0].done(Request::PutLoop(PutLoop { boot, a: 70, b: 80, class: 1, owner: Owner::default() }));
    net.nodes[0].done(cell(70, 3));
    net.run(2 * ROUND);
    assert_eq!(net.nodes[0].handed(), [link(80, 3)]);
}

#[test]
fn a_tapped_circuit_is_controls_until_its_tap_goes() {
    let (mut net, _) = two_mixes();
    let boot = net.nodes[0].boot;
    let tap = Request::PutTap { boot, at: at(2, 500) };
    let cell = |link, id, len: usize| {
        let body = Bytes::new(&vec![6; len]).expect("fits");
        Request::Inject(Inject::Relay { boot, at: at(link, id), counter: 1234, body })
    };
    assert_eq!(net.nodes[0].refused(cell(2, 500, BODY)), Refusal::Unknown);
    net.nodes[0].done(tap.clone());
    net.nodes[0].done(tap);
    assert_eq!(net.nodes[0].refused(Request::PutTap { boot, at: at(1, 10) }), Refusal::Exists);
    assert_eq!(net.nodes[0].refused(extend(boot, 5, (2, 500), &[])), Refusal::Exists);
    assert_eq!(net.nodes[0].refused(cell(2, 500, BODY - 1)), Refusal::Malformed);
    // The other mix has a tap there too: whatever one injects, the other is handed, as it left.
    let other = net.nodes[1].boot;
    net.nodes[1].done(Request::PutTap { boot: other, at: at(1, 500) });
    for _ in 0..3 {
        net.nodes[0].done(cell(2, 500, BODY));
    }
    net.run(4 * ROUND);
    let relay = Handed::Relay { link: 1, id: 500, counter: 1234, body: vec![6; BODY] };
    assert_eq!(net.nodes[1].handed(), vec![relay; 3], "replays are for whoever handles the layers");
    net.nodes[1].done(Request::RemoveTap { boot: other, at: at(1, 500) });
    net.nodes[1].done(Request::RemoveTap { boot: other, at: at(1, 500) });
    net.nodes[0].done(cell(2, 500, BODY));
    net.run(4 * ROUND);
    assert_eq!((net.nodes[1].handed(), net.nodes[1].dropped(DropReason::UnknownCircuit)), (vec![], 1));
    // The id is free again.
    net.nodes[0].done(Request::RemoveTap { boot, at: at(2, 500) });
    net.nodes[0].done(extend(boot, 5, (2, 500), &[]));
}

/// A client's end that believes bodies that begin with `good`.
struct Ends {
    next: u64,
    heard: Vec<u64>,
}

impl Terminal for Ends {
    type End = u64;
    const SERVES: bool = true;
    fn expand(put: &PutEnd, _: usize) -> Result<Box<u64>, String> {
        Ok(Box::new(put.send_first))
    }
    fn add(&mut self, _: u32, first: Box<u64>) {
        self.next = *first;
    }
    fn remove(&mut self, _: u32) -> Option<Box<u64>> {
        Some(Box::new(0))
    }
    fn fill(&mut self, _: u32, _: u64, body: &mut [u8]) -> u64 {
        body.fill(0x77);
        self.next += 1;
        self.next - 1
    }
    fn deliver(&mut self, _: u32, _: u64, counter: u64, body: &mut [u8]) -> Result<(), DropReason> {
        if body[..4] != *b"good" {
            return Err(DropReason::EndBroken);
        }
        self.heard.push(counter);
        Ok(())
    }
}

#[test]
fn a_tapped_circuit_is_handed_over_to_an_end() {
    let mut node = Node::with(M, Ends { next: 0, heard: Vec::new() });
    node.link(1, CLIENT);
    let (boot, here) = (node.boot, at(1, 10));
    let mut net = Net::new(vec![node], vec![Neighbour::new(CLIENT, M)]);
    net.nodes[0].done(Request::PutTap { boot, at: here });
    let built = |counter| {
        let body = Bytes::new(&[1; BODY]).expect("fits");
        Request::Inject(Inject::Relay { boot, at: here, counter, body })
    };
    net.send(0, 10, 1000, b"from a hop");
    net.nodes[0].done(built(50));
    net.run(3 * ROUND);
    assert!(matches!(net.nodes[0].handed()[..], [Handed::Relay { link: 1, id: 10, counter: 1000, .. }]));
    assert_eq!(net.got(0).iter().map(|(h, _)| (h.circuit, h.counter)).collect::<Vec<_>>(), [(10, 50)]);
    let secret = |tag: u8| EndSecret { key: Secret([tag; 16]), iv: Secret::default() };
    let put = Request::PutEnd(PutEnd {
        boot,
        end: 3,
        generation: 1,
        at: here,
        send_first: 52,
        receive_first: None,
        layers: Default::default(),
        seal: secret(1),
        open: secret(2),
    });
    assert_eq!(net.nodes[0].refused(put.clone()), Refusal::Exists, "the tap holds the id");
    // The builder's last word still waits for a slot: it leaves all the same.
    net.nodes[0].done(built(51));
    net.nodes[0].done(Request::RemoveTap { boot, at: here });
    net.nodes[0].done(put.clone());
    net.nodes[0].done(put);
    assert_eq!(net.nodes[0].refused(built(53)), Refusal::Unknown);
    // A hop's word that comes late is not the stream's beginning.
    net.send(0, 10, 1001, b"from a hop");
    net.run(ROUND);
    assert_eq!(net.nodes[0].dropped(DropReason::EndBroken), 1);
    for counter in [7_000_000, 7_000_001, 7_000_001, 1002, 7_000_003] {
        net.send(0, 10, counter, b"good");
        net.run(ROUND);
    }
    assert_eq!(net.nodes[0].worker.terminal.heard, [7_000_000, 7_000_001, 7_000_003]);
    assert_eq!(net.nodes[0].dropped(DropReason::CellReplay), 2);
    // From now on it carries exactly its rate, from the counter that the builder had come to.
    net.run(20 * ROUND);
    let mut counters: Vec<_> = net.got(0).iter().map(|(header, _)| header.counter).collect();
    counters.sort_unstable();
    assert_eq!(counters[..4], [51, 52, 53, 54]);
    assert!((24..=28).contains(&counters.len()), "{}", counters.len());
    assert_eq!(net.nodes[0].handed(), []);
}
