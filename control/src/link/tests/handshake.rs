//! Dialling and answering.

use super::*;
use crate::plane::fake::Datagram;
use drover_wire::control::Request;

#[test]
fn the_smaller_id_dials_and_both_have_the_link() {
    let mut world = World::new(2, 0);
    world.dial(0, 1);
    world.dial(1, 0);
    let ms = world.until(1_000, |world| world.linked(0, 1));
    assert!(ms < 200, "{ms} ms");
    for (n, other) in [(0, 1), (1, 0)] {
        let [peer] = world.ups(n)[..] else { panic!("one link") };
        assert_eq!(peer, PeerInfo { id: world.id(other), role: Role::Mix, foreign: false });
        assert_eq!((world.net.planes[n].links().len(), world.nodes[n].links.counters().handshakes), (1, 1));
        let link = world.nodes[n].links.link_of(world.id(other)).expect("a link");
        assert_eq!(world.nodes[n].links.lower_ids_are_ours(link), n == 0);
        assert_eq!(
            world.net.planes[n].classes(),
            [1, 2, 3].map(|class| {
                let slots = if class == 1 { 2 } else { 8 };
                (class, 20_000_000, slots, 4 * slots)
            })
        );
    }
    // The other did not dial.
    let hellos = |n: usize| world.net.sent.iter().filter(|(from, bytes)| *from == address(n) && bytes[0] == 22).count();
    assert_eq!((hellos(0), world.refused(1, "crossing")), (1, 0));
    world.talk(0, 1);
    // Nothing more is expected of each other after a minute.
    world.run(61_000);
    assert_eq!((world.net.planes[0].expected(), world.net.planes[1].expected()), (0, 0));
    assert_eq!((world.downs(0), world.downs(1)), (0, 0));
}

#[test]
fn a_client_dials_its_mix() {
    let mut world = World::new(1, 2);
    world.dial(1, 0);
    world.dial(2, 0);
    world.until(1_000, |world| world.linked(0, 1) && world.linked(0, 2));
    assert_eq!(world.ups(0).iter().filter(|peer| peer.role == Role::Client).count(), 2);
    world.talk(0, 1);
    world.talk(2, 0);
    assert_eq!(world.net.planes[1].classes().len(), 1);
}

#[test]
fn the_larger_id_dials_when_nothing_comes() {
    let mut world = World::new(2, 0);
    world.dial(1, 0);
    let ms = world.until(5_000, |world| world.linked(0, 1));
    assert!((3_000..3_500).contains(&ms), "{ms}");
    world.talk(0, 1);
}

#[test]
fn crossing_dials_give_one_link() {
    let mut world = World::new(2, 0);
    // The smaller's first ClientHellos are lost, so that the larger dials too; then both are under way.
    let from = address(0);
    world.net.passes = Box::new(move |sender, _, datagram| {
        !(sender == from && matches!(datagram, Datagram::Raw(bytes) if bytes[0] == 22))
    });
    world.dial(0, 1);
    world.dial(1, 0);
    world.run(3_002);
    world.net.passes = Box::new(|_, _, _| true);
    world.until(10_000, |world| world.linked(0, 1));
    world.run(3_000);
    assert_eq!((world.net.planes[0].links().len(), world.net.planes[1].links().len()), (1, 1));
    assert!(world.refused(0, "crossing") > 0, "{}", world.tell());
    world.talk(0, 1);
}

#[test]
fn lost_doubled_and_late_datagrams_only_delay() {
    for seed in 0..8 {
        let mut world = World::new(2, 1);
        world.net.trouble = [25, 10, 20];
        for _ in 0..seed {
            let _ = world.net.step();
        }
        world.dial(0, 1);
        world.dial(2, 0);
        world.until(60_000, |world| world.linked(0, 1) && world.linked(0, 2));
        world.talk(0, 1);
        world.talk(0, 2);
    }
}

#[test]
fn a_lost_last_flight_is_sent_again_bit_for_bit() {
    let mut world = World::new(2, 0);
    // The first datagram of the server after the client's Finished, its ACK, is lost.
    let (server, mut lost) = (address(1), 0);
    let is_ack = |bytes: &[u8]| bytes[0] & 0xe3 == 0x23 && bytes.len() < 100;
    world.net.passes = Box::new(move |sender, _, datagram| match datagram {
        Datagram::Raw(bytes) if sender == server && is_ack(bytes) && lost == 0 => {
            lost += 1;
            false
        }
        _ => true,
    });
    world.dial(0, 1);
    world.until(3_000, |world| world.linked(0, 1));
    let acks: Vec<_> = world.net.sent.iter().filter(|(from, bytes)| *from == server && is_ack(bytes)).collect();
    assert!(acks.len() >= 2 && acks.iter().all(|ack| *ack == acks[0]), "{acks:?}");
    assert_eq!(world.nodes[1].links.counters().handshakes, 1);
    world.talk(0, 1);
}

#[test]
fn another_than_the_one_dialled_is_refused() {
    let mut world = World::new(3, 0);
    let (peer, now) = (world.id(1), world.net.now);
    // At node 2's address node 1 is expected. The MAC is not for node 2.
    world.nodes[0].links.dial(address(2), peer, now);
    world.run(5_000);
    assert!(world.ups(0).is_empty() && world.ups(2).is_empty());
    assert!(world.refused(2, "mac") > 0);
    // A client's first datagram says nothing of whom it wants: it finds out.
    let mut world = World::new(2, 1);
    let (peer, now) = (world.id(1), world.net.now);
    world.nodes[2].links.dial(address(0), peer, now);
    world.run(5_000);
    assert!(world.ups(2).is_empty() && world.refused(2, "wrong_peer") > 0, "{}", world.tell());
    assert!(world.net.planes[2].links().is_empty());
}

#[test]
fn certificates_of_no_zone_of_ours_or_past_their_time_are_refused_by_name() {
    let unix_s = FakeNet::unix_s();
    let stranger = Identity::new_zone("north", unix_s, 30).expect("a zone");
    let mut world = World::new(1, 2);
    let untrusted = Arc::new(stranger.issue("other", Role::Client, unix_s, 20).expect("issued"));
    let expired = Arc::new(world.authority.issue("old", Role::Client, unix_s - 10 * 86_400, 1).expect("issued"));
    for (n, identity) in [(1, untrusted), (2, expired)] {
        world.nodes[n].identity = identity;
        world.restart_control(n);
        world.dial(n, 0);
    }
    world.run(3_000);
    assert!(world.ups(0).is_empty() && world.net.planes[0].links().is_empty());
    assert!(world.refused(0, "certificate_untrusted") > 0, "{}", world.tell());
    assert!(world.refused(0, "certificate_expired") > 0, "{}", world.tell());
}

#[test]
fn clients_answer_nobody_and_mixes_dial_no_stranger() {
    let mut world = World::new(1, 1);
    world.dial(0, 1);
    world.run(4_000);
    assert!(world.refused(1, "not_served") > 0 && world.ups(1).is_empty());
}

#[test]
fn a_replayed_first_datagram_is_refused() {
    let mut world = World::new(2, 0);
    world.dial(0, 1);
    world.until(1_000, |world| world.linked(0, 1));
    let (_, hello) =
        world.net.sent.iter().find(|(from, bytes)| *from == address(0) && bytes[0] == 22).expect("one").clone();
    let before = world.net.sent.len();
    world.net.throw(spoofed(1).into(), address(1), &hello);
    world.net.throw(address(0), address(1), &hello);
    world.run(10);
    assert_eq!((world.refused(1, "replay"), world.net.sent.len()), (2, before));
    // Changed in one bit, anywhere.
    for at in [60, hello.len() - 20, hello.len() - 1] {
        let mut bent = hello.clone();
        bent[at] ^= 1;
        world.net.throw(address(0), address(1), &bent);
        world.run(2);
    }
    assert_eq!(world.refused(1, "mac"), 3, "{}", world.tell());
    assert_eq!(world.net.planes[1].links().len(), 1);
    world.talk(0, 1);
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut world = World::new(2, 0);
    world.dial(0, 1);
    world.until(1_000, |world| world.linked(0, 1));
    world.run(61_000);
    let requests = world.net.planes[1].requests.len();
    let mut hello = super::super::trailer::hello_for_tests([1; 32]);
    hello.push(9);
    for bytes in [&[21, 0xfe, 0xfd][..], &[22], &[26, 1, 2], &[20; 40], &hello] {
        world.net.throw(address(0), address(1), bytes);
    }
    world.step();
    let of = |request: &&Request| !matches!(request, Request::Inject(_));
    assert_eq!(world.net.planes[1].requests[requests..].iter().filter(of).count(), 0);
    assert_eq!((world.refused(1, "plaintext_alert"), world.refused(1, "malformed")), (1, 1), "{}", world.tell());
    world.talk(0, 1);
}
