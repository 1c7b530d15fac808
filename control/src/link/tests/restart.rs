//! Peers that come back, and daemons that do.

use super::*;

#[test]
fn a_mix_that_restarted_is_linked_again_whichever_it_is() {
    for who in [0, 1] {
        let mut world = World::new(2, 0);
        world.dial(0, 1);
        world.dial(1, 0);
        world.until(1_000, |world| world.linked(0, 1));
        world.run(1_000);
        world.restart(who);
        world.dial(who, 1 - who);
        let other = 1 - who;
        world.nodes[other].events.clear();
        let ms = world.until(20_000, |world| world.linked(0, 1) && world.downs(other) == 1);
        assert!(ms < 8_000, "{who}: {ms}");
        assert_eq!((world.ups(other).len(), world.net.planes[other].links().len()), (1, 1));
        world.talk(0, 1);
        // And it stays so.
        world.run(10_000);
        assert_eq!((world.downs(0), world.downs(1)), (0, 0));
    }
}

#[test]
fn a_client_that_restarted_has_its_place_back() {
    let mut world = World::new(1, 1);
    world.dial(1, 0);
    world.until(1_000, |world| world.linked(0, 1));
    world.restart(1);
    world.dial(1, 0);
    world.until(2_000, |world| world.downs(0) == 1 && world.linked(0, 1));
    assert_eq!(world.net.planes[0].links().len(), 1);
    world.talk(0, 1);
}

#[test]
fn control_alone_restarts_and_nothing_happens_to_links() {
    let mut world = World::with(2, 1, LinkConfig { rekey_s: Some(5.0), ..LinkConfig::default() });
    world.dial(0, 1);
    world.dial(2, 0);
    world.until(1_000, |world| world.linked(0, 1) && world.linked(2, 0));
    world.run(700);
    let before = world.net.planes[0].links();
    world.nodes[0].events.clear();
    world.restart_control(0);
    world.dial(0, 1);
    world.step();
    let adopted: Vec<_> = world.ups(0);
    assert_eq!((adopted.len(), world.net.planes[0].links()), (2, before));
    assert!(world.nodes[0].events.iter().all(|event| matches!(event, LinkEvent::Up { took_ms: 0.0, .. })));
    world.talk(0, 1);
    world.talk(2, 0);
    // Renewals go on, begun by the new life where the old one dialled and taken by it where it did not.
    let renewed = |world: &World| {
        world.net.planes[0].links().iter().all(|(_, generation)| *generation >= 2)
            && world.net.planes.iter().all(|plane| plane.links().iter().all(|(_, generation)| *generation >= 2))
    };
    world.until(20_000, renewed);
    world.talk(0, 1);
    world.talk(2, 0);
    assert_eq!((world.downs(0), world.downs(1), world.downs(2)), (0, 0, 0));
}

#[test]
fn control_dies_in_the_midst_of_a_renewal_and_the_next_life_goes_on() {
    for who in [0, 1] {
        let mut world = World::with(2, 0, LinkConfig { rekey_s: Some(3.0), ..LinkConfig::default() });
        world.dial(0, 1);
        world.until(1_000, |world| world.linked(0, 1));
        // The generation is put on the one that dies, and not switched to.
        world.until(10_000, |world| {
            let puts = world.net.planes[who].requests.iter().filter(
                |request| matches!(request, drover_wire::control::Request::PutLink(put) if put.generation == 2),
            );
            puts.count() == 1
        });
        assert_eq!(world.net.planes[who].links()[0].1, 1, "{who}: not yet");
        world.restart_control(who);
        world.until(80_000, |world| (0..2).all(|n| world.net.planes[n].links()[0].1 >= 3));
        world.talk(0, 1);
    }
}

#[test]
fn a_peer_that_is_gone_is_dialled_aside_and_its_link_removed_in_the_end() {
    let mut world = World::new(2, 1);
    world.dial(0, 1);
    world.dial(2, 0);
    world.until(1_000, |world| world.linked(0, 1) && world.linked(2, 0));
    world.run(100);
    (world.net.planes[1].gone, world.net.planes[2].gone) = (true, true);
    let sent =
        |world: &World| world.net.sent.iter().filter(|(from, bytes)| *from == address(0) && bytes[0] == 22).count();
    let before = sent(&world);
    world.run(30_000);
    assert!(sent(&world) > before + 3, "it is dialled");
    assert_eq!((world.downs(0), world.net.planes[0].links().len()), (0, 2), "links send on meanwhile");
    world.run(95_000);
    assert_eq!((world.downs(0), world.net.planes[0].links().len()), (2, 0));
    assert_eq!(world.refused(0, "silent"), 2);
    // It comes back.
    world.restart(1);
    world.until(20_000, |world| world.linked(0, 1));
    world.talk(0, 1);
}

#[test]
fn what_was_not_heard_of_silence_is_asked_for() {
    let mut world = World::new(2, 0);
    world.dial(0, 1);
    world.until(1_000, |world| world.linked(0, 1));
    world.run(100);
    let silent = |world: &World| {
        let link = world.nodes[0].links.link_of(world.id(1)).expect("a link");
        world.nodes[0].links.table.get(link).expect("it").silent.is_some()
    };
    // Silent, and then Heard, find no room on their way to control.
    world.net.planes[1].gone = true;
    for _ in 0..4_000 {
        world.net.step();
    }
    assert!(!silent(&world));
    let now = world.net.now;
    world.nodes[0].links.look_again(&mut world.net.planes[0], now).expect("looks");
    assert!(silent(&world));
    world.net.planes[1].gone = false;
    for _ in 0..200 {
        world.net.step();
    }
    assert!(silent(&world));
    let now = world.net.now;
    world.nodes[0].links.look_again(&mut world.net.planes[0], now).expect("looks");
    assert!(!silent(&world));
}

#[test]
fn silence_that_ends_changes_nothing() {
    let mut world = World::new(2, 0);
    world.dial(0, 1);
    world.until(1_000, |world| world.linked(0, 1));
    world.net.passes = Box::new(|_, _, _| false);
    world.run(10_000);
    world.net.passes = Box::new(|_, _, _| true);
    world.run(15_000);
    // It was dialled meanwhile, and may have new keys by a handshake aside; but never less than one link.
    assert!(world.linked(0, 1));
    world.talk(0, 1);
    assert_eq!((world.net.planes[0].links().len(), world.net.planes[1].links().len()), (1, 1));
}

#[test]
fn another_identity_at_a_live_address_is_refused_and_nothing_is_lost() {
    let mut world = World::new(1, 1);
    world.dial(1, 0);
    world.until(1_000, |world| world.linked(0, 1));
    let before = world.net.planes[0].links();
    let unix_s = FakeNet::unix_s();
    let other = Arc::new(world.authority.issue("thief", Role::Client, unix_s, 20).expect("issued"));
    let (first, plane) = (world.nodes[1].identity.clone(), FakePlane::new(address(1), 77));
    let old_plane = std::mem::replace(&mut world.net.planes[1], plane);
    world.nodes[1].identity = other;
    world.restart_control(1);
    world.dial(1, 0);
    world.run(500);
    assert!(world.refused(0, "restart_identity") > 0, "{}", world.tell());
    assert_eq!((world.net.planes[0].links(), world.downs(0)), (before, 0));
    world.net.planes[1] = old_plane;
    world.nodes[1].identity = first;
    world.restart_control(1);
    world.talk(0, 1);
}
