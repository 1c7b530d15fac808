//! Halves of calls.

use super::*;
use drover_wire::control::LinkEnd;

/// The two mixes 0 and 2, the one with the smaller id first.
pub fn by_id() -> (usize, usize) {
    if id(0) < id(2) { (0, 2) } else { (2, 0) }
}

pub fn join(world: &mut World, at: usize, circuit: u32, token: u8, mix: usize) {
    world.say(at, circuit, Join::KIND, &Join { token: Token([token; 16]), mix: id(mix) }.encode());
}

/// What a circuit was told about its JOIN.
fn outcome(world: &mut World, at: usize, circuit: u32) -> Option<Result<(), Reason>> {
    let told = world.take_told(at, circuit);
    assert!(told.len() <= 1, "told once");
    told.first().map(|(kind, bytes)| match *kind {
        Joined::KIND => Joined::decode(bytes).map(|_| ()).map_err(|_| Reason::Malformed),
        Failed::KIND => Err(Failed::decode(bytes).expect("well-formed").reason),
        other => panic!("kind {other}"),
    })
}

#[test]
fn halves_are_joined_across_mixes() {
    let (small, large) = by_id();
    for first in [small, large] {
        let mut world = World::new();
        let second = small + large - first;
        join(&mut world, first, 5, 1, second);
        assert_eq!(outcome(&mut world, first, 5), None);
        world.run(3);
        join(&mut world, second, 6, 1, first);
        assert_eq!(outcome(&mut world, first, 5), Some(Ok(())));
        assert_eq!(outcome(&mut world, second, 6), Some(Ok(())));
        let (a, b) = (world.hops(first).spliced[&5], world.hops(second).spliced[&6]);
        assert_eq!((a.link, b.link, a.id), (link_to(second), link_to(first), b.id));
        assert_eq!(a.id >> 31, 0, "of the smaller side's half");
        world.run(60);
        assert!(world.hops(first).destroyed.is_empty() && world.hops(second).destroyed.is_empty());
        assert_eq!(outcome(&mut world, first, 5), None);
    }
}

#[test]
fn halves_are_joined_at_one_mix() {
    let mut world = World::new();
    join(&mut world, 0, 5, 1, 0);
    join(&mut world, 0, 6, 2, 0);
    join(&mut world, 0, 7, 1, 0);
    assert_eq!([5, 6, 7].map(|circuit| outcome(&mut world, 0, circuit)), [Some(Ok(())), None, Some(Ok(()))]);
    let spliced = &world.hops(0).spliced;
    let id = spliced[&5].id;
    assert_eq!((spliced[&5], spliced[&7]), (LinkEnd { link: LOOP.0, id }, LinkEnd { link: LOOP.1, id }));
    assert!(world.take_log().iter().all(|sent| sent.kind != Splice::KIND), "no link sees anything");
    world.run(21);
    assert_eq!(outcome(&mut world, 0, 6), Some(Err(Reason::Timeout)));
    // No room for the second: the first does not stay with a far side that leads nowhere.
    join(&mut world, 0, 8, 3, 0);
    world.hops(0).refuse.insert(9);
    join(&mut world, 0, 9, 3, 0);
    assert_eq!([8, 9].map(|circuit| outcome(&mut world, 0, circuit)), [Some(Err(Reason::NoRoom)); 2]);
    assert_eq!(world.hops(0).destroyed, [8]);
}

#[test]
fn a_half_that_waits_in_vain_is_told() {
    let (small, large) = by_id();
    for waiting in [small, large] {
        let mut world = World::new();
        let other = small + large - waiting;
        join(&mut world, waiting, 5, 1, other);
        world.run(19);
        assert_eq!(outcome(&mut world, waiting, 5), None);
        world.run(2);
        assert_eq!(outcome(&mut world, waiting, 5), Some(Err(Reason::Timeout)));
        // The other comes too late, and waits in vain as well.
        join(&mut world, other, 6, 1, waiting);
        world.run(22);
        assert_eq!(outcome(&mut world, other, 6), Some(Err(Reason::Timeout)));
        assert!(world.hops(waiting).spliced.is_empty() && world.hops(other).spliced.is_empty());
    }
    // A half that goes takes its offer with it.
    let mut world = World::new();
    join(&mut world, small, 5, 1, large);
    world.gone(small, 5);
    join(&mut world, large, 6, 1, small);
    world.run(22);
    assert_eq!(outcome(&mut world, large, 6), Some(Err(Reason::Timeout)));
}

#[test]
fn no_room_at_either_side_undoes_the_other() {
    let (small, large) = by_id();
    let mut world = World::new();
    world.hops(large).refuse.insert(6);
    join(&mut world, small, 5, 1, large);
    join(&mut world, large, 6, 1, small);
    assert_eq!(outcome(&mut world, small, 5), Some(Err(Reason::NoRoom)));
    assert_eq!(outcome(&mut world, large, 6), Some(Err(Reason::NoRoom)));
    assert!(world.hops(small).spliced.is_empty());

    let mut world = World::new();
    world.hops(small).refuse.insert(5);
    join(&mut world, small, 5, 1, large);
    join(&mut world, large, 6, 1, small);
    assert_eq!(outcome(&mut world, small, 5), Some(Err(Reason::NoRoom)));
    assert_eq!(outcome(&mut world, large, 6), Some(Ok(())), "it was, for a moment");
    assert_eq!(world.hops(large).destroyed, [6]);
}

#[test]
fn a_token_joins_two_halves_once() {
    let (small, large) = by_id();
    let mut world = World::new();
    join(&mut world, small, 5, 1, large);
    // Others with the same token, at the same mix and naming other mixes; the same circuit again.
    join(&mut world, small, 8, 1, large);
    join(&mut world, small, 9, 1, small);
    world.run(1);
    join(&mut world, small, 5, 2, large);
    for (circuit, reason) in [(8, Reason::Malformed), (9, Reason::Malformed), (5, Reason::Malformed)] {
        assert_eq!(outcome(&mut world, small, circuit), Some(Err(reason)), "circuit {circuit}");
    }
    // A mix that the half does not name has no part in it.
    let third = (0..4).find(|mix| *mix != small && *mix != large && id(*mix) > id(small));
    if let Some(third) = third {
        join(&mut world, third, 6, 1, small);
        assert_eq!(outcome(&mut world, third, 6), None);
    }
    join(&mut world, large, 6, 1, small);
    assert_eq!(outcome(&mut world, large, 6), Some(Ok(())));
    assert_eq!(outcome(&mut world, small, 5), Some(Ok(())));
    join(&mut world, large, 7, 1, small);
    world.run(21);
    assert_eq!(outcome(&mut world, large, 7), Some(Err(Reason::Timeout)));
    // No link, no such mix.
    world.cut(small, large);
    join(&mut world, small, 20, 4, large);
    assert_eq!(outcome(&mut world, small, 20), Some(Err(Reason::NoRoute)));
    world.say(small, 21, Join::KIND, &Join { token: Token([4; 16]), mix: NodeId([9; 16]) }.encode());
    assert_eq!(outcome(&mut world, small, 21), Some(Err(Reason::NoRoute)));
}

#[test]
fn a_splice_keeps_to_the_rules() {
    let (small, large) = by_id();
    let mut world = World::new();
    let say = |world: &mut World, at, from, splice: &Splice| {
        world.link_say(at, (link_to(from), peer(from)), Splice::KIND, &splice.encode())
    };
    // From the larger side; an id of the other half.
    let (token, id) = (Token([1; 16]), 77);
    say(&mut world, small, large, &Splice { token: token.clone(), id });
    assert_eq!(world.refused(small, "splice_id"), 1);
    say(&mut world, large, small, &Splice { token: token.clone(), id: id | 1 << 31 });
    assert_eq!(world.refused(large, "splice_id"), 1);
    say(&mut world, large, small, &Splice { token: token.clone(), id });
    say(&mut world, large, small, &Splice { token: token.clone(), id: id + 1 });
    assert_eq!(world.refused(large, "splice_twice"), 1);
    // SPLICED for what was not asked is answered at most once, and never in a circle.
    let spliced = Spliced { token: Token([8; 16]), joined: true }.encode();
    world.take_log();
    world.link_say(large, (link_to(small), peer(small)), Spliced::KIND, &spliced);
    assert_eq!(world.take_log().len(), 1);
    assert_eq!((world.refused(large, "spliced_late"), world.refused(small, "spliced_unasked")), (1, 1));
}
