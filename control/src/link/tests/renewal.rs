//! New keys in band.

use super::*;
use crate::link::table::{Link, Talk};
use crate::message::link as kind;
use crate::plane::fake::{Content, Datagram};
use drover_wire::control::Request;

fn world(rekey_s: f64) -> World {
    let mut world = World::with(2, 1, LinkConfig { rekey_s: Some(rekey_s), ..LinkConfig::default() });
    world.dial(0, 1);
    world.dial(2, 0);
    world.until(1_000, |world| world.linked(0, 1) && world.linked(2, 0));
    world
}

fn generations(world: &World) -> Vec<u32> {
    world.net.planes.iter().flat_map(|plane| plane.links()).map(|(_, generation)| generation).collect()
}

#[test]
fn keys_are_renewed_again_and_again_without_a_datagram_of_control() {
    let mut world = world(10.0);
    let sent = world.net.sent.len();
    world.run(61_000);
    let rekeyed =
        |n: usize| world.nodes[n].events.iter().filter(|event| matches!(event, LinkEvent::Rekeyed { .. })).count();
    // Five or so in a minute, a quarter of jitter.
    assert!(
        (4..=8).contains(&rekeyed(1)) && rekeyed(1) == world.nodes[1].links.counters().rekeys as usize,
        "{}",
        rekeyed(1)
    );
    assert!(generations(&world).iter().all(|generation| *generation >= 4), "{:?}", generations(&world));
    assert_eq!(world.net.sent.len(), sent, "all in cells");
    let none = std::collections::BTreeMap::new();
    assert!(world.nodes.iter().all(|node| node.links.counters().refused == none), "{}", world.tell());
    world.talk(0, 1);
    world.talk(2, 0);
}

#[test]
fn loss_does_not_stop_renewals() {
    let mut world = world(5.0);
    world.net.trouble = [20, 20, 20];
    world.run(60_000);
    assert!(
        generations(&world).iter().all(|generation| *generation >= 3),
        "{:?} {}",
        generations(&world),
        world.tell()
    );
    world.talk(0, 1);
}

#[test]
fn sending_switches_only_after_the_peer_has_installed() {
    let mut world = world(3.0);
    world.run(20_000);
    let asked = &world.net.planes[0].requests;
    for (at, request) in asked.iter().enumerate() {
        let Request::SwitchLink { link, generation, .. } = request else { continue };
        let put = |request: &Request| matches!(request, Request::PutLink(put) if (put.link, put.generation) == (*link, *generation));
        assert!(asked[..at].iter().any(put));
    }
    assert!(asked.iter().filter(|request| matches!(request, Request::SwitchLink { .. })).count() > 4);
}

#[test]
fn both_sides_want_it_at_once() {
    let mut world = world(8.0);
    // The side that does not begin asks in the moment in which the other begins.
    let link = world.nodes[1].links.link_of(world.id(0)).expect("a link");
    world.until(15_000, |world| {
        world.net.planes[0].links().len() == 2
            && world.nodes[0].links.table.of_peer(world.id(1)).is_some_and(is_renewing)
    });
    let now = world.net.now;
    world.nodes[1].links.send(now, link, kind::REKEY_WANTED, &2u32.to_be_bytes()).expect("room");
    world.run(3_000);
    assert_eq!(world.nodes[1].links.counters().rekeys, 1, "one renewal");
    // And when it asks by itself, it gets one.
    let before = world.nodes[0].links.counters().rekeys;
    let (highest, now) = (3u32, world.net.now);
    world.nodes[1].links.send(now, link, kind::REKEY_WANTED, &highest.to_be_bytes()).expect("room");
    world.run(2_500);
    assert!(world.nodes[0].links.counters().rekeys > before);
    world.talk(0, 1);
}

fn is_renewing(link: &Link) -> bool {
    matches!(link.talk, Talk::Drover { renewal: Some(_), .. })
}

/// Loses all cells that may hold a message's last part from now on: channel data frames of one fragment.
fn is_single(content: &Content, wanted: u8) -> bool {
    matches!(content, Content::Control(body) if body[0] == 1 && body[10] == 1 && body[11] == wanted)
}

#[test]
fn without_installed_it_stays_with_the_old_keys_and_tries_again() {
    let mut world = world(4.0);
    world.net.passes = Box::new(
        |_, _, datagram| !matches!(datagram, Datagram::Record { content, .. } if is_single(content, kind::INSTALLED)),
    );
    world.run(45_000);
    assert_eq!(generations(&world), [1; 4]);
    assert!((0..3).all(|n| world.refused(n, "rekey_timeout") >= 1), "{}", world.tell());
    world.talk(0, 1);
    world.net.passes = Box::new(|_, _, _| true);
    world.run(60_000);
    assert!(
        generations(&world).iter().all(|generation| *generation >= 3),
        "{:?} {}",
        generations(&world),
        world.tell()
    );
    world.talk(0, 1);
    world.talk(2, 0);
}

#[test]
fn installed_that_one_side_misses_is_seen_by_the_keys_in_use() {
    let mut world = world(6.0);
    let deaf = address(0);
    world.net.passes = Box::new(move |_, to, datagram| {
        to != deaf || !matches!(datagram, Datagram::Record { content, .. } if is_single(content, kind::INSTALLED))
    });
    let of_mix = |world: &World, n: usize| world.net.planes[n].links().last().map(|(_, generation)| *generation);
    world.until(20_000, |world| of_mix(world, 1) == Some(2));
    world.run(1_500);
    assert_eq!(of_mix(&world, 0), Some(1), "it waits for INSTALLED first");
    world.run(20_000);
    assert!(
        generations(&world).iter().all(|generation| *generation >= 2),
        "{:?} {}",
        generations(&world),
        world.tell()
    );
    assert_eq!((world.downs(0), world.downs(1), world.downs(2)), (0, 0, 0));
    world.talk(0, 1);
}

#[test]
fn a_forged_installed_is_counted_and_switches_nothing() {
    let mut world = world(4.0);
    world.net.passes = Box::new(
        |_, _, datagram| !matches!(datagram, Datagram::Record { content, .. } if is_single(content, kind::INSTALLED)),
    );
    world.until(10_000, |world| {
        let put = |request: &Request| matches!(request, Request::PutLink(put) if put.generation == 2 && put.class == 2);
        world.net.planes[0].requests.iter().any(put)
    });
    let mut forged = 2u32.to_be_bytes().to_vec();
    forged.extend([7; 32]);
    let now = world.net.now;
    let link = world.nodes[1].links.link_of(world.id(0)).expect("a link");
    world.net.passes = Box::new(|_, _, _| true);
    world.nodes[1].links.send(now, link, kind::INSTALLED, &forged).expect("room");
    for short in [&forged[..35], &[]] {
        world.nodes[1].links.send(now, link, kind::INSTALLED, short).expect("room");
    }
    world.until(1_000, |world| world.refused(0, "binder") == 1 && world.refused(0, "malformed") == 2);
    // The true one still counts.
    world.run(5_000);
    assert!(
        generations(&world).iter().all(|generation| *generation >= 2),
        "{:?} {}",
        generations(&world),
        world.tell()
    );
}

#[test]
fn hostile_renewal_messages_are_counted() {
    let mut world = world(600.0);
    let now = world.net.now;
    let dialler = world.nodes[0].links.link_of(world.id(1)).expect("a link");
    let other = world.nodes[1].links.link_of(world.id(0)).expect("a link");
    let rekey = |generation: u32, index: u8, bytes: &[u8]| [&generation.to_be_bytes()[..], &[index], bytes].concat();
    for message in [&[][..], &rekey(1, 0, b"x"), &rekey(1 << 20, 0, b"x"), &rekey(2, 200, b"x"), &rekey(3, 0, b"")] {
        world.nodes[0].links.send(now, dialler, kind::REKEY, message).expect("room");
    }
    world.nodes[1].links.send(now, other, kind::REKEY, &rekey(2, 0, b"x")).expect("room");
    world.nodes[1].links.send(now, other, kind::REKEY_WANTED, b"abc").expect("room");
    world.nodes[1].links.send(now, other, kind::REKEY_WANTED, &u32::MAX.to_be_bytes()).expect("room");
    world.run(2_000);
    assert_eq!((world.refused(1, "malformed"), world.refused(1, "rekey_old")), (1, 1), "{}", world.tell());
    assert!(world.refused(1, "rekey_pace") >= 1 && world.refused(1, "rekey_order") <= 1, "{}", world.tell());
    assert_eq!((world.refused(0, "rekey_unknown"), world.refused(0, "malformed")), (1, 1));
    world.talk(0, 1);
}
