//! Whole circuits: a client, its mix, a rendezvous mix.

use super::builder::{BuilderEvent, CircuitHandle};
use super::hops::HopEvent;
use super::ids::Space;
use super::world::plane::{BODY, Relay};
use super::world::{MS, S, World};
use crate::channel::{Channel, SendError};
use crate::circuit::limits::{CIRCUITS_CLIENT, hop_channel};
use crate::circuit::messages::{FRAME, HopMessage, LinkMessage, SetupRequest};
use crate::message::{hop, link};
use crate::plane::PlaneError;
use drover_wire::control::{EndSecret, LinkEnd, Punt, Refusal, Secret};

/// The client's mix, another mix, the client: `World::new(2, 1)`.
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn open(world: &mut World, client: usize, path: [usize; 2], admitted: bool) -> CircuitHandle {
    let (now, path) = (world.now(), path.map(|mix| world.id(mix)));
    world.builder(client).0.open(now, World::link(client, A), path, admitted)
}

fn is_ready(world: &mut World, client: usize, handle: CircuitHandle) -> bool {
    let mut events = world.client_events(client).iter();
    events.any(|event| matches!(event, BuilderEvent::Ready { circuit, .. } if *circuit == handle))
}

fn why_gone(world: &mut World, client: usize, handle: CircuitHandle) -> Option<String> {
    world.client_events(client).iter().find_map(|event| match event {
        BuilderEvent::Gone { circuit, why } if *circuit == handle => Some(why.clone()),
        _ => None,
    })
}

fn ready(world: &mut World, path: [usize; 2]) -> CircuitHandle {
    let handle = open(world, C, path, false);
    let so = world.until(15 * S, |world| is_ready(world, C, handle));
    assert!(so, "{:?}", why_gone(world, C, handle));
    handle
}

/// What the client has had of hops, sorted.
fn heard_by_client(world: &mut World) -> Vec<(usize, u8, Vec<u8>)> {
    let mut heard: Vec<_> = world
        .client_events(C)
        .iter()
        .filter_map(|event| match event {
            BuilderEvent::Message { hop, kind, bytes, .. } => Some((*hop, *kind, bytes.clone())),
            _ => None,
        })
        .collect();
    heard.sort();
    heard
}

fn heard_by_mix(world: &mut World, mix: usize) -> Vec<(u32, u8, Vec<u8>)> {
    let mut heard: Vec<_> = world
        .mix_events(mix)
        .iter()
        .filter_map(|event| match event {
            HopEvent::Message { circuit, kind, bytes } => Some((*circuit, *kind, bytes.clone())),
            HopEvent::Gone { .. } => None,
        })
        .collect();
    heard.sort_by(|a, b| a.2.cmp(&b.2));
    heard
}

fn refused(world: &mut World, mix: usize, reason: &str) -> u64 {
    world.hops(mix).0.counters().refused.get(reason).copied().unwrap_or(0)
}

/// Both hops say something to the client and it to both, `n` times; everything arrives once.
fn talk(world: &mut World, handle: CircuitHandle, mixes: [usize; 2], n: u8) {
    let message = |hop: usize, at: u8| vec![at ^ hop as u8; 700];
    for at in 0..n {
        for (hop, mix) in mixes.into_iter().enumerate() {
            let now = world.now();
            let sent = world.builder(C).0.send(now, handle, hop, hop::REGISTER, &message(hop, at));
            assert!(sent.is_ok(), "{sent:?}");
            // The first circuit made is the client's, the second the one across the loop.
            let circuits = world.hops(mix).1.circuits();
            let circuit = if mixes[0] == mixes[1] { circuits[hop] } else { circuits[0] };
            assert!(world.hops(mix).0.send(now, circuit.0, hop::REGISTERED, &message(hop, at)));
        }
        world.run(2 * S);
    }
    world.run(10 * S);
    let expected = |mine: usize| (0..n).map(|at| message(mine, at)).collect::<Vec<_>>();
    for hop in 0..2 {
        let mut expected = expected(hop);
        expected.sort();
        let to_client: Vec<_> = heard_by_client(world).into_iter().filter(|heard| heard.0 == hop).collect();
        assert!(to_client.iter().all(|heard| heard.1 == hop::REGISTERED));
        assert_eq!(to_client.into_iter().map(|heard| heard.2).collect::<Vec<_>>(), expected, "from hop {hop}");
        if mixes[0] != mixes[1] {
            let to_mix = heard_by_mix(world, mixes[hop]);
            assert_eq!(to_mix.into_iter().map(|heard| heard.2).collect::<Vec<_>>(), expected, "to hop {hop}");
        }
    }
    if mixes[0] == mixes[1] {
        assert_eq!(heard_by_mix(world, mixes[0]).len(), 2 * usize::from(n));
    }
}

fn end_secret(fill: u8) -> EndSecret {
    EndSecret { key: Secret([fill; 16]), iv: Secret([fill; 12]) }
}

/// Nothing of any circuit is left anywhere, and all ids are free.
fn assert_clean(world: &mut World) {
    for node in [A, B, C] {
        assert!(world.nodes[node].plane.is_empty(), "node {node}: {:?}", world.nodes[node].plane.circuits());
    }
    for mix in [A, B] {
        assert_eq!(world.hops(mix).0.circuits(), 0);
        assert!(!world.hops(mix).0.gives_back(), "mix {mix}");
    }
    assert!(!world.builder(C).0.gives_back());
}

#[test]
fn a_path_is_built_and_both_hops_are_talked_with() {
    let mut world = World::new(2, 1);
    let handle = ready(&mut world, [A, B]);
    let (first, second) = (world.hops(A).1.circuits(), world.hops(B).1.circuits());
    let [(_, near, Some(far))] = first[..] else { panic!("{first:?}") };
    let [(_, there, None)] = second[..] else { panic!("{second:?}") };
    assert_eq!((near.link, far.link, there.link), (World::link(A, C), World::link(A, B), World::link(B, A)));
    assert_eq!(far.id, there.id);
    assert_ne!(near.id, far.id);
    talk(&mut world, handle, [A, B], 3);
    let BuilderEvent::Ready { took_ms, .. } = world.client_events(C)[0] else { panic!("ready comes first") };
    assert!((100.0..2000.0).contains(&took_ms), "{took_ms}");
    let counters = world.hops(A).0.counters().clone();
    assert_eq!((counters.created, counters.extended, counters.destroyed), (1, 1, 0));
    assert!(counters.refused.is_empty(), "{counters:?}");
    assert_eq!(world.nodes[A].plane.drops, Default::default(), "nothing was dropped");
    assert_eq!(world.builder(C).0.counters().refused, Default::default());
}

#[test]
fn the_rendezvous_mix_may_be_the_clients_own() {
    let mut world = World::new(2, 1);
    let handle = ready(&mut world, [A, A]);
    let (a, b) = world.hops(A).0.loop_ends();
    let circuits = world.hops(A).1.circuits();
    let [(_, _, Some(far)), (_, near, None)] = circuits[..] else { panic!("{circuits:?}") };
    assert_eq!((far.link, near.link, far.id), (a, b, near.id));
    talk(&mut world, handle, [A, A], 2);
    let now = world.now();
    let (builder, plane, links) = world.builder(C);
    builder.close(plane, links, now, handle);
    world.run(5 * S);
    assert_clean(&mut world);
}

#[test]
fn loss_repetition_and_disorder_are_borne() {
    let mut world = World::new(2, 1);
    (world.loss, world.delay) = (20, 60 * MS);
    let handle = ready(&mut world, [A, B]);
    talk(&mut world, handle, [A, B], 5);
    assert!(world.builder(C).0.counters().refused.contains_key("replayed cell"), "cells did come twice");
}

#[test]
fn a_circuit_is_handed_over_and_carries_a_stream() {
    let mut world = World::new(2, 1);
    let handle = open(&mut world, C, [A, B], true);
    assert!(world.until(5 * S, |world| is_ready(world, C, handle)));
    assert_eq!(
        (world.nodes[A].plane.admitted(), world.nodes[B].plane.admitted()),
        (vec![(true, true)], vec![(true, true)])
    );
    world.run(S);
    // The other half's mix is not in this world: what leaves towards it is looked at here.
    let far = LinkEnd { link: 77, id: 5 };
    let (hops, plane, _) = world.hops(B);
    let circuit = plane.circuits()[0].0;
    hops.splice(plane, circuit, far).expect("splices");
    let again = hops.splice(plane, circuit, LinkEnd { link: 77, id: 6 });
    assert!(matches!(again, Err(PlaneError::Refused(Refusal::Forbidden, _))));
    let (hops, plane, _) = world.hops(A);
    let first_hop = plane.circuits()[0].0;
    assert!(matches!(hops.splice(plane, first_hop, far), Err(PlaneError::Refused(Refusal::Forbidden, _))));
    assert!(matches!(hops.splice(plane, 999, far), Err(PlaneError::Refused(Refusal::Unknown, _))));

    let now = world.now();
    let (builder, plane, _) = world.builder(C);
    let unready = builder.hand_over(plane, CircuitHandle(999), 3, end_secret(1), end_secret(2));
    assert!(matches!(unready, Err(PlaneError::Refused(Refusal::Unknown, _))));
    builder.hand_over(plane, handle, 3, end_secret(1), end_secret(2)).expect("hands over");
    assert_eq!(builder.send(now, handle, 0, hop::REGISTER, b"late"), Err(None));
    assert!(builder.hand_over(plane, handle, 4, end_secret(3), end_secret(4)).is_err(), "once");
    // Messages of circuits keep off the wire from now on; the stream passes both ways, all layers in their places.
    let said: Vec<_> = (0..5u8).map(|n| vec![n; BODY]).collect();
    for (n, body) in (0u64..).zip(&said) {
        world.builder(C).1.speak(3, body);
        world.hops(B).1.arrive(Relay { at: far, counter: 1000 + n, body: body.clone() });
        world.run(200 * MS);
    }
    // What left by the far side had no wire to go over.
    let left = world.nodes[B].plane.spliced.iter().filter(|cell| cell.at == far);
    assert_eq!(left.map(|cell| cell.body.clone()).collect::<Vec<_>>(), said);
    assert_eq!(world.nodes[C].plane.opened, said);
    let now = world.now();
    let (builder, plane, links) = world.builder(C);
    builder.close(plane, links, now, handle);
    world.run(5 * S);
    for node in [A, B, C] {
        assert!(world.nodes[node].plane.is_empty());
    }
    assert!(world.mix_events(B).iter().any(|event| matches!(event, HopEvent::Gone { .. })));
}

#[test]
fn a_lost_created_ends_everywhere() {
    let mut world = World::new(2, 1);
    world.lost.insert((A, link::CREATED));
    let handle = open(&mut world, C, [A, B], false);
    assert!(world.until(30 * S, |world| why_gone(world, C, handle).is_some()));
    assert_eq!(why_gone(&mut world, C, handle).as_deref(), Some("hop 1: no answer after 20 s"));
    world.run(5 * S);
    assert_clean(&mut world);
}

#[test]
fn a_next_mix_that_does_not_answer_is_not_waited_for_for_ever() {
    for kind in [link::CREATE, link::CREATED] {
        let mut world = World::new(2, 1);
        world.lost.extend([(A, link::CREATE), (B, link::CREATED)].into_iter().filter(|lost| lost.1 == kind));
        let handle = open(&mut world, C, [A, B], false);
        assert!(world.until(30 * S, |world| why_gone(world, C, handle).is_some()));
        assert_eq!(why_gone(&mut world, C, handle).as_deref(), Some("hop 2: refused (timeout)"));
        world.run(5 * S);
        assert_clean(&mut world);
        world.lost.clear();
        ready(&mut world, [A, B]);
    }
}

#[test]
fn a_refusing_data_plane_is_told() {
    for (refuse, node, why) in [((true, false), A, "hop 1"), ((true, false), B, "hop 2"), ((false, true), A, "hop 2")] {
        let mut world = World::new(2, 1);
        world.nodes[node].plane.refuse = refuse;
        let handle = open(&mut world, C, [A, B], false);
        assert!(world.until(10 * S, |world| why_gone(world, C, handle).is_some()));
        assert_eq!(why_gone(&mut world, C, handle), Some(format!("{why}: refused (no room)")));
        world.run(5 * S);
        assert_clean(&mut world);
    }
}

#[test]
fn keys_that_were_changed_are_asked_for_again() {
    for changed in [A, B] {
        let mut world = World::new(2, 1);
        let handle = ready(&mut world, [A, B]);
        let now = world.now();
        let (builder, plane, links) = world.builder(C);
        builder.close(plane, links, now, handle);
        // A new life has new keys, of which the client does not know.
        world.restart(changed);
        world.run(S);
        ready(&mut world, [A, B]);
        assert_eq!(refused(&mut world, changed, "wrong key"), 1);
    }
    // When neighbours never hear of them either, the client gives up.
    let mut world = World::new(2, 1);
    let handle = ready(&mut world, [A, B]);
    let now = world.now();
    let (builder, plane, links) = world.builder(C);
    builder.close(plane, links, now, handle);
    world.run(3 * S);
    world.lost.insert((B, link::KEYS));
    world.restart(B);
    let handle = open(&mut world, C, [A, B], false);
    assert!(world.until(20 * S, |world| why_gone(world, C, handle).is_some()));
    assert_eq!(why_gone(&mut world, C, handle).as_deref(), Some("hop 2: refused (wrong key)"));
}

#[test]
fn keys_go_round_by_way_of_neighbours() {
    let mut world = World::new(3, 1);
    // The client's mix and the third have no link: keys come by way of the second.
    world.part(0, 2);
    world.run(S);
    let now = world.now();
    world.hops(2).0.rotate_every(60, now);
    world.run(130 * S);
    let (now, id) = (world.now(), world.id(2));
    let key = world.hops(0).0.key_of(id, now.unix_s).expect("the key is known").clone();
    let theirs = world.hops(2).0.announced();
    assert_eq!((theirs, theirs.from >= now.unix_s - 61), (&key, true), "the newest");
}

#[test]
fn a_flood_of_creates_meets_limits() {
    let mut world = World::new(2, 1);
    let first = ready(&mut world, [A, B]);
    let (now, key) = (world.now(), world.hops(A).0.announced().clone());
    // Requests with values that are none, so that each is refused when its turn comes: three at once are one too many.
    let flood = |id: u32, world: &mut World| {
        let encapsulation = Box::new([0xff; 1184]);
        let request = SetupRequest { admitted: false, key: key.key, first: 0, x: [0; 32], encapsulation };
        let (kind, bytes) = LinkMessage::Create(id, request).encode();
        let (hops, plane, links) = world.hops(A);
        let link = World::link(A, C);
        let peer = links.peers[&link];
        assert!(hops.on_link_message(plane, links, now, (link, peer), kind, &bytes));
    };
    let base = if world.id(C) < world.id(A) { 0 } else { 1 << 31 };
    (1..=3).for_each(|id| flood(base + id, &mut world));
    assert_eq!(refused(&mut world, A, "limit"), 1);
    world.run(S);
    assert_eq!(refused(&mut world, A, "bad key"), 2);
    flood((base ^ (1 << 31)) + 9, &mut world);
    world.run(S);
    assert_eq!(refused(&mut world, A, "circuit id"), 1, "an id of the wrong half");
    // Circuits: so many of one client, and no more.
    let opened: Vec<_> = (0..CIRCUITS_CLIENT).map(|_| open(&mut world, C, [A, B], false)).collect();
    world.run(20 * S);
    let up = opened.iter().filter(|handle| is_ready(&mut world, C, **handle)).count();
    assert_eq!((up, world.hops(A).1.circuits().len()), (CIRCUITS_CLIENT - 1, CIRCUITS_CLIENT));
    assert!(is_ready(&mut world, C, first));
    assert!(why_gone(&mut world, C, first).is_none(), "those that are there stay");
}

#[test]
fn only_the_first_hop_extends_once_and_only_to_mixes() {
    let mut world = World::new(2, 2);
    let handle = ready(&mut world, [A, B]);
    let (now, other_client, b) = (world.now(), world.id(3), world.id(B));
    let encapsulation = Box::new([1; 1184]);
    let request = SetupRequest { admitted: false, key: 1, first: 0, x: [9; 32], encapsulation };
    for hop in [0, 1] {
        let (kind, bytes) = HopMessage::Extend(b, request.clone()).encode();
        world.builder(C).0.send(now, handle, hop, kind, &bytes).expect("is sent");
        let (kind, bytes) = HopMessage::Truncated(super::messages::Reason::Down).encode();
        world.builder(C).0.send(now, handle, hop, kind, &bytes[..0]).expect("is sent");
    }
    world.run(5 * S);
    for mix in [A, B] {
        assert_eq!((refused(&mut world, mix, "forbidden"), refused(&mut world, mix, "malformed")), (1, 1));
    }
    assert_eq!(world.builder(C).0.counters().refused.get("extended unasked"), Some(&2));
    // A client of the same mix is no mix, though there is a link to it.
    world.lost.insert((A, link::CREATE));
    open(&mut world, C, [A, B], false);
    assert!(world.until(5 * S, |world| world.hops(A).1.circuits().len() == 2));
    let circuit = world.hops(A).1.circuits()[1].0;
    world.run(500 * MS);
    let now = world.now();
    let (hops, _, links) = world.hops(A);
    hops.extend_for_test(links, now, circuit, other_client, request);
    world.run(S);
    assert_eq!(refused(&mut world, A, "unreachable") + refused(&mut world, A, "forbidden"), 2);
}

#[test]
fn a_mix_without_a_link_cannot_be_reached() {
    let mut world = World::new(3, 1);
    world.run(S);
    world.part(0, 2);
    let (now, path) = (world.now(), [world.id(0), world.id(2)]);
    let handle = world.builder(3).0.open(now, World::link(3, 0), path, false);
    assert!(world.until(10 * S, |world| why_gone(world, 3, handle).is_some()));
    assert_eq!(why_gone(&mut world, 3, handle).as_deref(), Some("hop 2: refused (unreachable)"));
    let path = [world.id(0), world.id(3)];
    let nobody = world.builder(3).0.open(now, World::link(3, 0), path, false);
    let path = [world.id(1), path[0]];
    let elsewhere = world.builder(3).0.open(now, World::link(3, 0), path, false);
    world.run(5 * S);
    assert_eq!(why_gone(&mut world, 3, nobody).as_deref(), Some("hop 2: no zone document lists this mix"));
    assert_eq!(why_gone(&mut world, 3, elsewhere).as_deref(), Some("no link to the path's first mix"));
}

#[test]
fn extends_of_a_client_have_a_rate() {
    let mut world = World::new(2, 1);
    world.lost.insert((B, link::CREATED));
    let opened: Vec<_> = (0..4).map(|_| open(&mut world, C, [A, B], false)).collect();
    world.run(5 * S);
    assert_eq!(world.hops(A).1.circuits().len(), 2, "the client itself has no more under way than it may");
    let (now, b) = (world.now(), world.id(B));
    let request = SetupRequest { admitted: false, key: 1, first: 0, x: [9; 32], encapsulation: Box::new([1; 1184]) };
    let (hops, plane, links) = world.hops(A);
    let circuit = plane.circuits()[0].0;
    for _ in 0..6 {
        hops.extend_for_test(links, now, circuit, b, request.clone());
    }
    assert_eq!(refused(&mut world, A, "limit"), 2);
    world.run(50 * S);
    assert!(opened.iter().all(|handle| why_gone(&mut world, C, *handle).is_some()));
    world.run(5 * S);
    assert!(world.nodes[A].plane.is_empty() && world.nodes[C].plane.is_empty());
}

#[test]
fn destroy_from_each_place_reaches_all() {
    for place in [C, A, B] {
        let mut world = World::new(2, 1);
        let handle = ready(&mut world, [A, B]);
        let now = world.now();
        if place == C {
            let (builder, plane, links) = world.builder(C);
            builder.close(plane, links, now, handle);
        } else {
            let (hops, plane, links) = world.hops(place);
            let circuit = plane.circuits()[0].0;
            hops.destroy(plane, links, now, circuit);
            hops.destroy(plane, links, now, circuit);
        }
        world.run(4 * S);
        assert_clean(&mut world);
        let gone = why_gone(&mut world, C, handle);
        assert_eq!(gone.is_some(), place != C, "{gone:?}");
        for mix in [A, B] {
            assert_eq!(world.hops(mix).0.counters().destroyed, 1);
        }
        // And the ids are free for others.
        ready(&mut world, [A, B]);
    }
}

#[test]
fn both_ends_may_destroy_at_once() {
    let mut world = World::new(2, 1);
    for _ in 0..4 {
        let handle = ready(&mut world, [A, B]);
        let now = world.now();
        let (hops, plane, links) = world.hops(A);
        let circuit = plane.circuits()[0].0;
        hops.destroy(plane, links, now, circuit);
        let (hops, plane, links) = world.hops(B);
        let circuit = plane.circuits()[0].0;
        hops.destroy(plane, links, now, circuit);
        let (builder, plane, links) = world.builder(C);
        builder.close(plane, links, now, handle);
        world.run(5 * S);
        assert_clean(&mut world);
    }
}

#[test]
fn an_end_is_passed_on_after_a_random_delay() {
    let mut delays = Vec::new();
    for _ in 0..8 {
        let mut world = World::new(2, 1);
        let handle = ready(&mut world, [A, B]);
        let began = world.now_ns;
        let now = world.now();
        let (builder, plane, links) = world.builder(C);
        builder.close(plane, links, now, handle);
        assert!(world.until(3 * S, |world| world.hops(B).1.is_empty()));
        delays.push((world.now_ns - began) / (50 * MS));
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() >= 4, "{delays:?}");
}

#[test]
fn a_link_that_goes_down_takes_its_circuits_along() {
    let mut world = World::new(2, 1);
    let handle = ready(&mut world, [A, B]);
    world.part(A, B);
    assert!(world.until(5 * S, |world| why_gone(world, C, handle).is_some()));
    // TRUNCATED leaves at once; DESTROY, after a random time that may be next to none, can still overtake it.
    let why = why_gone(&mut world, C, handle).unwrap_or_default();
    assert!(why == "hop 1: what lies beyond is gone (link down)" || why == "ended", "{why}");
    world.run(5 * S);
    assert_clean(&mut world);
    world.join(A, B);
    let handle = ready(&mut world, [A, B]);
    world.part(A, C);
    assert_eq!(world.builder(C).0.counters().gone, 2);
    world.run(5 * S);
    assert!(why_gone(&mut world, C, handle).is_some());
    assert_clean(&mut world);
    world.join(C, A);
    // While the next mix is asked.
    world.lost.insert((B, link::CREATED));
    let handle = open(&mut world, C, [A, B], false);
    world.run(2 * S);
    world.part(A, B);
    assert!(world.until(5 * S, |world| why_gone(world, C, handle).is_some()));
    assert_eq!(why_gone(&mut world, C, handle).as_deref(), Some("hop 2: refused (link down)"));
    world.run(5 * S);
    assert_clean(&mut world);
}

#[test]
fn ids_come_from_halves_and_have_an_end() {
    let mut world = World::new(2, 1);
    world.builder(C).0.set_space(Space::of(3));
    world.hops(A).0.set_space(Space::of(8));
    let lower = world.id(C) < world.id(A);
    let count = if lower { 2 } else { 3 };
    let handles: Vec<_> = (0..count)
        .map(|_| {
            world.run(2 * S);
            ready(&mut world, [A, B])
        })
        .collect();
    for (_, near, far) in world.hops(A).1.circuits() {
        assert_eq!(near.id < 1 << 31, lower);
        let ours = world.id(A) < world.id(B);
        assert_eq!(far.map(|far| far.id < 1 << 31), Some(ours));
    }
    let one_more = open(&mut world, C, [A, B], false);
    world.run(S);
    assert_eq!(why_gone(&mut world, C, one_more).as_deref(), Some("the link's circuit ids are used up"));
    let now = world.now();
    let (builder, plane, links) = world.builder(C);
    builder.close(plane, links, now, handles[0]);
    world.run(5 * S);
    let handle = ready(&mut world, [A, B]);
    assert!(why_gone(&mut world, C, handle).is_none());
    // An id is not given out twice, and not while it is being given back.
    let (hops, _, links) = world.hops(B);
    hops.set_space(Space::of(2));
    let drawn: Vec<_> = std::iter::from_fn(|| hops.free_id(links, World::link(B, A))).take(9).collect();
    assert!(drawn.len() <= 2, "{drawn:?}");
    assert_eq!(hops.free_id(links, 4321), None, "no such link");
    let (a, b) = hops.loop_ends();
    let drawn: Vec<_> = [a, b, a].into_iter().filter_map(|end| hops.free_id(links, end)).collect();
    assert_eq!(drawn, [1], "both ends share the loop's ids");
}

#[test]
fn a_restarted_daemon_goes_on_with_its_circuits() {
    for restarted in [A, B] {
        let mut world = World::new(2, 1);
        let handle = ready(&mut world, [A, B]);
        world.run(S);
        world.restart(restarted);
        world.run(S);
        talk(&mut world, handle, [A, B], 2);
        let other = ready(&mut world, [A, B]);
        let now = world.now();
        let (builder, plane, links) = world.builder(C);
        builder.close(plane, links, now, handle);
        builder.close(plane, links, now, other);
        world.run(5 * S);
        assert_clean(&mut world);
    }
}

#[test]
fn circuits_of_others_are_left_alone() {
    let mut world = World::new(2, 1);
    ready(&mut world, [A, B]);
    let before = world.hops(A).1.circuits();
    world.nodes[A].plane.forget_owner(before[0].0);
    world.restart(A);
    assert_eq!(world.hops(A).0.circuits(), 0);
    ready(&mut world, [A, B]);
    let after = world.hops(A).1.circuits();
    assert_eq!((after.len(), after[0]), (2, before[0]));
    world.part(A, B);
    world.run(5 * S);
    assert_eq!(world.hops(A).1.circuits(), before, "it is not ours to remove");
}

#[test]
fn messages_that_never_become_whole_are_forgotten() {
    let mut world = World::new(2, 1);
    ready(&mut world, [A, B]);
    let circuit = world.hops(A).1.circuits()[0].0;
    // Four frames of five of many long messages.
    let mut forged = Channel::new(hop_channel(256, 0), 99);
    let mut frame = vec![0; 197];
    for n in 0..400u64 {
        let sent = forged.send(n, hop::REGISTER, &[7; 5000]);
        assert!(sent.is_ok() || sent == Err(SendError::Full));
        if forged.take_frame(n, &mut frame) && n % 5 != 4 {
            let now = world.now();
            let (hops, plane, links) = world.hops(A);
            assert!(hops.on_punt(plane, links, now, &Punt::Hop { circuit, kind: FRAME, data: &frame }));
        }
    }
    let now = world.now();
    let (hops, plane, links) = world.hops(A);
    assert!(hops.on_punt(plane, links, now, &Punt::Hop { circuit, kind: FRAME + 1, data: &frame }));
    assert!(hops.on_punt(plane, links, now, &Punt::Hop { circuit: 4321, kind: FRAME, data: &frame }));
    assert!(!hops.on_punt(plane, links, now, &Punt::Silent { link: 1 }));
    assert!(refused(&mut world, A, "bad frame") >= 1);
    assert_eq!(refused(&mut world, A, "unknown circuit"), 1);
    world.run(30 * S);
    assert!(heard_by_mix(&mut world, A).is_empty());
    // Whoever begins anew is heard.
    let now = world.now();
    let mut anew = Channel::new(hop_channel(256, 0), 100);
    anew.send(now.mono_ns, hop::REGISTER, &[1; 3000]).expect("is sent");
    let (hops, plane, links) = world.hops(A);
    while anew.take_frame(now.mono_ns, &mut frame) {
        assert!(hops.on_punt(plane, links, now, &Punt::Hop { circuit, kind: FRAME, data: &frame }));
    }
    world.run(S);
    assert!(heard_by_mix(&mut world, A) == [(circuit, hop::REGISTER, vec![1; 3000])]);
}

#[test]
fn circuits_that_nobody_uses_end() {
    let mut world = World::new(2, 1);
    // A client that was asked to wait for ever: its EXTEND is never answered, and it never closes.
    world.lost.extend([(C, link::DESTROY), (C, link::DESTROYED)]);
    world.hops(A).1.refuse = (false, true);
    let handle = open(&mut world, C, [A, B], false);
    assert!(world.until(10 * S, |world| why_gone(world, C, handle).is_some()));
    assert_eq!(world.hops(A).1.circuits().len(), 1, "the mix knows nothing of it");
    world.run(70 * S);
    assert_eq!(world.hops(A).1.circuits().len(), 0);
    assert_eq!(refused(&mut world, A, "idle"), 1);
    // At a rendezvous mix it may be quiet for longer.
    let mut world = World::new(2, 1);
    ready(&mut world, [A, B]);
    world.run(300 * S);
    assert_eq!(world.hops(B).1.circuits().len(), 1);
    world.run(310 * S);
    assert_clean(&mut world);
}

#[test]
fn full_links_delay_and_lose_nothing() {
    let mut world = World::new(2, 1);
    let handle = open(&mut world, C, [A, B], false);
    for _ in 0..30 {
        for node in [A, B, C] {
            world.nodes[node].links.full = !world.nodes[node].links.full;
        }
        world.run(70 * MS);
    }
    [A, B, C].into_iter().for_each(|node| world.nodes[node].links.full = false);
    assert!(world.until(5 * S, |world| is_ready(world, C, handle)), "{:?}", why_gone(&mut world, C, handle));
    [A, B, C].into_iter().for_each(|node| world.nodes[node].links.full = true);
    let now = world.now();
    let (builder, plane, links) = world.builder(C);
    builder.close(plane, links, now, handle);
    world.run(S);
    assert_eq!(world.hops(A).1.circuits().len(), 1, "DESTROY waits");
    [A, B, C].into_iter().for_each(|node| world.nodes[node].links.full = false);
    world.run(5 * S);
    assert_clean(&mut world);
}
