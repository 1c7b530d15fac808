//! First datagrams from everywhere.

use super::*;
use crate::link::trailer;
use std::collections::HashSet;

/// A real ClientHello of somebody's, with a trailer or without.
fn hello(world: &World, n: usize, drover: bool) -> Vec<u8> {
    use drover_dtls::handshake::{Context, Groups, Handshake, Side};
    let identity = &world.nodes[n].identity;
    let context = Context::new(identity, &world.zones.authorities(), Groups::PostQuantum).expect("a context");
    let mut bytes = Handshake::new(&context, Side::Client, 1400).expect("a handshake").output().expect("a ClientHello");
    if drover {
        trailer::append(&mut bytes, None);
    }
    bytes
}

#[test]
fn under_a_flood_state_is_bounded_and_mixes_and_clients_get_through() {
    let mut world = World::with(2, 1, LinkConfig { handshakes: 16, ..LinkConfig::default() });
    let flood = hello(&world, 2, true);
    let mut spoofs = 0;
    // Ten times what there is place for, again and again.
    let mut wave = |world: &mut World| {
        for _ in 0..160 {
            world.net.throw(spoofed(spoofs).into(), address(0), &flood);
            spoofs += 1;
        }
        world.run(50);
    };
    wave(&mut world);
    assert!(world.net.planes[0].expected() <= 8, "{}", world.net.planes[0].expected());
    assert!(world.refused(0, "load") > 100, "{}", world.tell());
    world.dial(1, 0);
    world.dial(2, 0);
    for _ in 0..150 {
        wave(&mut world);
        assert!(world.net.planes[0].expected() <= 16 + 2, "{}", world.net.planes[0].expected());
        assert!(world.nodes[0].links.outer.running.len() <= 16 + 1);
        if world.linked(0, 1) && world.linked(2, 0) {
            break;
        }
    }
    assert!(world.linked(0, 1) && world.linked(2, 0), "{}", world.tell());
    // What is sent to spoofed senders is paced: far less than came.
    let answers = world.net.sent.iter().filter(|(from, bytes)| *from == address(0) && bytes[0] == 0xd7).count();
    assert!(answers > 10 && answers < spoofs, "{answers} of {spoofs}");
    // It passes.
    world.run(15_000);
    world.talk(0, 1);
    world.talk(0, 2);
    world.run(61_000);
    assert_eq!((world.net.planes[0].expected(), world.nodes[0].links.outer.running.len()), (0, 0));
}

#[test]
fn a_cookie_is_good_for_its_address_and_time_only() {
    let mut world = World::with(1, 1, LinkConfig { handshakes: 2, ..LinkConfig::default() });
    let plain = hello(&world, 1, true);
    world.net.throw(spoofed(0).into(), address(0), &plain);
    world.net.throw(spoofed(1).into(), address(0), &plain);
    world.step();
    world.step();
    let asked = world.net.sent.iter().rev().find_map(|(_, bytes)| trailer::asked(bytes)).expect("a cookie");
    let with = |cookie| {
        let mut bytes = hello(&world, 1, false);
        trailer::append(&mut bytes, Some(cookie));
        bytes
    };
    let (good, bent) = (with(asked), with(asked.map(|byte| byte ^ 1)));
    world.net.throw(spoofed(2).into(), address(0), &good);
    world.net.throw(spoofed(1).into(), address(0), &bent);
    world.step();
    assert_eq!(world.refused(0, "cookie"), 2);
    world.net.throw(spoofed(1).into(), address(0), &good);
    world.run(2);
    assert_eq!((world.nodes[0].links.outer.running.len(), world.refused(0, "cookie")), (2, 2));
    world.run(130_000);
    // Secrets turn when they are used.
    world.net.throw(spoofed(3).into(), address(0), &bent);
    world.step();
    world.run(61_000);
    world.net.throw(spoofed(3).into(), address(0), &bent);
    world.net.throw(spoofed(1).into(), address(0), &good);
    world.step();
    assert_eq!(world.refused(0, "cookie"), 5, "{}", world.tell());
}

#[test]
fn a_wrong_cookie_is_answered_with_a_right_one_and_a_cookie_buys_no_flood() {
    let mut world = World::with(1, 1, LinkConfig { handshakes: 2, ..LinkConfig::default() });
    let plain = hello(&world, 1, true);
    world.net.throw(spoofed(0).into(), address(0), &plain);
    let mut bent = hello(&world, 1, false);
    trailer::append(&mut bent, Some([7; 16]));
    world.net.throw(spoofed(1).into(), address(0), &bent);
    world.run(2);
    let asked = world.net.sent.iter().rev().find_map(|(_, bytes)| trailer::asked(bytes)).expect("a cookie");
    // Another ClientHello each time: one handshake, not a hundred.
    for _ in 0..100 {
        let mut good = hello(&world, 1, false);
        trailer::append(&mut good, Some(asked));
        world.net.throw(spoofed(1).into(), address(0), &good);
        world.step();
    }
    assert!(world.refused(0, "busy") >= 98, "{}", world.tell());
    assert_eq!(world.nodes[0].links.outer.running.len(), 2);
}

#[test]
fn places_that_nobody_uses_are_given_away() {
    let mut world = World::with(1, 1, LinkConfig { handshakes: 4, ..LinkConfig::default() });
    let plain = hello(&world, 1, true);
    let mut cookies = vec![];
    for n in 0..40 {
        world.net.throw(spoofed(n).into(), address(0), &plain);
        world.step();
    }
    world.step();
    cookies.extend(world.net.sent.iter().filter_map(|(_, bytes)| trailer::asked(bytes)));
    // Real addresses that take all places and then say nothing.
    for (n, cookie) in cookies.iter().enumerate() {
        let mut bytes = hello(&world, 1, false);
        trailer::append(&mut bytes, Some(*cookie));
        world.net.throw(spoofed(n + 2).into(), address(0), &bytes);
        world.step();
    }
    assert_eq!(world.nodes[0].links.outer.running.len(), 4);
    world.run(2_000);
    world.dial(1, 0);
    let ms = world.until(5_000, |world| world.linked(0, 1));
    assert!(ms < 2_000, "{ms}");
    assert!(world.refused(0, "evicted") > 0, "{}", world.tell());
}

#[test]
fn spoofed_datagrams_do_not_end_a_handshake_under_way() {
    let mut world = World::new(1, 1);
    let (other, mut seen) = (hello(&world, 1, true), HashSet::new());
    world.dial(1, 0);
    // Between all steps somebody sends ClientHellos, alerts and cookies in both names.
    for n in 0..400u32 {
        world.net.throw(address(1), address(0), &other);
        world.net.throw(address(1), address(0), &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
        world.net.throw(address(0), address(1), &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
        world.net.throw(address(0), address(1), &trailer::ask([n as u8; 16]));
        world.step();
        seen.insert(world.net.planes[0].links().len());
        if world.linked(0, 1) {
            break;
        }
    }
    // The first ClientHello in the client's name may be another's: then its own comes through when that one has ended.
    world.until(25_000, |world| world.linked(0, 1));
    assert!(world.refused(0, "plaintext_alert") > 0);
    world.talk(0, 1);
}
