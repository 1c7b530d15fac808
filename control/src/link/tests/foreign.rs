//! Foreign DTLS 1.3 peers.

use super::*;
use crate::link::table::{Link, Talk};
use crate::plane::fake::{Content, Datagram};
use drover_crypto::schedule::TrafficSecret;
use drover_dtls::handshake::{Context, Groups, Side};
use drover_dtls::testing::FullPeer;
use drover_wire::control::{Inject, Peer, PutLink, Request};
use std::cell::RefCell;
use std::rc::Rc;

const PEER: usize = 90;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// A world with one mix and a foreign peer's link to it; what the data plane was asked for it.
struct Foreign {
    world: World,
    put: PutLink,
    /// The secret that the peer seals with.
    secret: [u8; 32],
}

/// Shakes hands as a foreign peer.
fn shake_hands(world: &mut World) -> bool {
    let unix_s = FakeNet::unix_s();
    let identity = world.authority.issue("foreign", Role::Client, unix_s, 20).expect("issued");
    let context = Context::new(&identity, &world.zones.authorities(), Groups::PostQuantum).expect("a context");
    context.set_unix_time(unix_s);
    let mut peer = FullPeer::new(&context, Side::Client, 1400).expect("a peer");
    let inbox = Rc::new(RefCell::new(vec![]));
    let box_of_peer = Rc::clone(&inbox);
    world.net.passes = Box::new(move |_, to, datagram| {
        if let Datagram::Raw(bytes) = datagram
            && to == address(PEER)
        {
            box_of_peer.borrow_mut().push(bytes.clone());
        }
        true
    });
    for _ in 0..200 {
        peer.set_now(world.net.now.mono_ns);
        for bytes in inbox.take() {
            peer.input(&bytes).expect("goes on");
        }
        while let Some(bytes) = peer.output() {
            world.net.throw(address(PEER), address(0), &bytes);
        }
        world.step();
    }
    peer.is_idle()
}

impl Foreign {
    fn new(config: LinkConfig) -> Foreign {
        let mut world = World::with(1, 0, config);
        assert!(shake_hands(&mut world), "{}", world.tell());
        let put = world.net.planes[0].requests.iter().find_map(|request| match request {
            Request::PutLink(put) => Some(put.clone()),
            _ => None,
        });
        let put = put.expect("a link");
        let secret = put.receive.secret.0;
        Foreign { world, put, secret }
    }

    fn record(&mut self, content_type: u8, data: &[u8]) {
        let content = Content::Record(content_type, data.to_vec());
        self.world.net.throw_record(address(PEER), address(0), self.secret, content);
        self.world.step();
    }

    /// The peer seals with the next epoch's keys.
    fn next_epoch(&mut self) {
        self.secret = TrafficSecret(self.secret).next().0;
    }

    /// The next message that is read.
    fn reads(&self) -> u16 {
        match self.world.nodes[0].links.table.get(self.put.link) {
            Some(Link { talk: Talk::Foreign(foreign), .. }) => foreign.messages().0,
            _ => panic!("no such link"),
        }
    }

    fn key_update(&mut self, number: u16, asks: bool) {
        let [high, low] = number.to_be_bytes();
        self.record(22, &[24, 0, 0, 1, high, low, 0, 0, 0, 0, 0, 1, u8::from(asks)]);
    }

    /// What was asked of the data plane since request `from`: records as (content type, data), epochs as (0, [send]).
    fn asked(&self, from: usize) -> Vec<(u8, Vec<u8>)> {
        let of = |request: &Request| match request {
            Request::Inject(Inject::Record { content_type, data, .. }) => {
                Some((*content_type, data.as_bytes().to_vec()))
            }
            Request::AdvanceEpoch { send, .. } => Some((0, vec![u8::from(*send)])),
            _ => None,
        };
        self.world.net.planes[0].requests[from..].iter().filter_map(of).collect()
    }

    fn so_far(&self) -> usize {
        self.world.net.planes[0].requests.len()
    }
}

fn ack_of(epoch: u8) -> Vec<u8> {
    let mut ack = vec![0, 16];
    ack.extend([0, 0, 0, 0, 0, 0, 0, epoch]);
    ack.extend([0; 8]);
    ack
}

#[test]
fn a_peer_without_a_trailer_gets_a_link_of_its_own_kind() {
    let foreign = Foreign::new(LinkConfig::default());
    let [peer] = foreign.world.ups(0)[..] else { panic!("one") };
    assert!(peer.foreign && peer.role == Role::Client);
    assert_eq!((foreign.put.peer, foreign.put.generation, foreign.put.class), (Peer::Foreign, 3, 1));
    let mut links = foreign.world;
    let (now, link) = (links.net.now, foreign.put.link);
    assert_eq!(links.nodes[0].links.send(now, link, 20, b"x"), Err(None), "it has no channel");
    // Where they are not wanted they get no answer.
    let mut world = World::with(1, 0, LinkConfig { foreign: false, ..LinkConfig::default() });
    assert!(!shake_hands(&mut world));
    assert!(world.refused(0, "foreign") > 0 && world.net.sent.is_empty());
}

#[test]
fn the_peers_key_updates_are_acknowledged_and_followed() {
    let mut foreign = Foreign::new(LinkConfig::default());
    let (from, number) = (foreign.so_far(), foreign.reads());
    foreign.key_update(number, false);
    assert_eq!(foreign.asked(from), [(26, ack_of(3)), (0, vec![0])]);
    // Our ACK was lost: it comes again under the old epoch. It is acknowledged again, and that is all.
    let from = foreign.so_far();
    foreign.key_update(number, false);
    assert_eq!(foreign.asked(from), [(26, ack_of(3))]);
    foreign.next_epoch();
    // One that asks for ours too; then one ahead of its turn.
    let from = foreign.so_far();
    foreign.key_update(number + 1, true);
    let asked = foreign.asked(from);
    assert_eq!(asked[..2], [(26, ack_of(4)), (0, vec![0])]);
    assert!(asked[2].0 == 22 && asked[2].1[0] == 24 && asked[2].1[12] == 0 && asked.len() == 3);
    foreign.next_epoch();
    let from = foreign.so_far();
    foreign.key_update(number + 3, false);
    assert_eq!((foreign.asked(from), foreign.world.refused(0, "record_early")), (vec![], 1));
    // Ours is acknowledged: under another epoch that means nothing.
    foreign.record(26, &ack_of(4));
    assert_eq!(foreign.asked(from), []);
    foreign.record(26, &ack_of(3));
    assert_eq!(foreign.asked(from), [(0, vec![1])]);
    assert_eq!((foreign.world.nodes[0].links.counters().rekeys, foreign.world.net.planes[0].links()[0].1), (1, 4));
}

#[test]
fn our_key_updates_come_in_time_and_again_until_they_are_acknowledged() {
    let mut foreign = Foreign::new(LinkConfig { rekey_s: Some(20.0), ..LinkConfig::default() });
    let mut from = foreign.so_far();
    // The peer sends on, so that the link is not silent.
    for epoch in 3..6 {
        for ms in 0..26_000 {
            if ms % 100 == 0 {
                foreign.record(26, &[0, 0]);
            }
            foreign.world.step();
        }
        let asked = foreign.asked(from);
        assert!(asked.len() >= 2 && asked.iter().all(|each| *each == asked[0] && each.0 == 22), "{asked:?}");
        from = foreign.so_far();
        foreign.record(26, &ack_of(epoch));
        assert_eq!(foreign.asked(from), [(0, vec![1])]);
        from = foreign.so_far();
    }
    // Never acknowledged: the link ends.
    for ms in 0..120_000 {
        if ms % 100 == 0 {
            foreign.record(26, &[0, 0]);
        }
        foreign.world.step();
        if foreign.world.downs(0) == 1 {
            break;
        }
    }
    assert_eq!((foreign.world.downs(0), foreign.world.refused(0, "rekey_timeout")), (1, 1), "{}", foreign.world.tell());
    assert!((8..=10).contains(&foreign.asked(from).len()));
}

#[test]
fn alerts_end_the_link_and_odd_records_do_not() {
    let mut foreign = Foreign::new(LinkConfig::default());
    let number = foreign.reads();
    let [high, low] = number.to_be_bytes();
    // A ticket, whole and in parts: acknowledged, no more.
    foreign.record(
        22,
        &[&[4, 0, 0, 2, high, low, 0, 0, 0, 0, 0, 1, 9][..], &[4, 0, 0, 2, high, low, 0, 0, 1, 0, 0, 1, 9]].concat(),
    );
    assert_eq!(foreign.reads(), number + 1);
    for (content_type, data) in [(21, &[1][..]), (21, &[1, 90]), (22, &[24]), (20, &[1]), (26, &[0]), (22, &[])] {
        foreign.record(content_type, data);
    }
    // A KeyUpdate that says neither 0 nor 1.
    let [high, low] = (number + 1).to_be_bytes();
    foreign.record(22, &[24, 0, 0, 1, high, low, 0, 0, 0, 0, 0, 1, 7]);
    assert_eq!((foreign.world.downs(0), foreign.world.refused(0, "record")), (0, 4), "{}", foreign.world.tell());
    let epochs = foreign.asked(0).iter().filter(|each| each.0 == 0).count();
    assert_eq!(epochs, 0);
    foreign.record(21, &CLOSE_NOTIFY);
    assert_eq!((foreign.world.downs(0), foreign.world.net.planes[0].links().len()), (1, 0));
}

#[test]
fn a_restarted_daemon_knows_where_epochs_and_messages_are() {
    let mut foreign = Foreign::new(LinkConfig::default());
    let number = foreign.reads();
    for (n, asks) in [(0, true), (1, false)] {
        foreign.key_update(number + n, asks);
        foreign.next_epoch();
    }
    foreign.record(26, &ack_of(3));
    foreign.world.nodes[0].events.clear();
    foreign.world.restart_control(0);
    foreign.world.step();
    assert!(foreign.world.ups(0)[0].foreign);
    assert_eq!(foreign.reads(), number + 2);
    let from = foreign.so_far();
    foreign.key_update(number + 2, true);
    let asked = foreign.asked(from);
    assert_eq!(asked[..2], [(26, ack_of(5)), (0, vec![0])]);
    let sent = |asked: &[(u8, Vec<u8>)]| asked.iter().find(|each| each.0 == 22).map(|each| each.1[4..6].to_vec());
    let first = sent(&foreign.asked(0)).expect("the first of ours");
    let second = sent(&asked).expect("the second");
    let of = |bytes: Vec<u8>| u16::from_be_bytes([bytes[0], bytes[1]]);
    assert_eq!(of(second), of(first) + 1);
    foreign.record(26, &ack_of(4));
    assert_eq!(foreign.world.net.planes[0].links()[0].1, 5);
}
