//! Handshakes: over lossy links, with peers that break the rules or the wire, and what is taken over.
#![cfg(feature = "lab")]

mod hostile;
mod network;
mod records;
mod refusals;

use boring::ssl::SslVersion;
use drover_dtls::handshake::{Groups, Handshake, HandshakeError, Progress, Side};
use drover_dtls::testing::FullPeer;
use network::{Lossy, Zone, shake};
use std::collections::HashSet;

#[test]
fn both_sides_take_over_the_same_keys() {
    let zone = Zone::new("north");
    let (a, b) = (zone.node("a"), zone.node("b"));
    let contexts = [&a, &b].map(|node| zone.context_of(node, Groups::PostQuantum));
    let mut binders = HashSet::new();
    for seed in 1..=3 {
        let mut link = Lossy::new(seed, 0);
        let (client, server) = shake(&contexts[0], &contexts[1], 1400, &mut link);
        assert_eq!((client.side, server.side), (Side::Client, Side::Server));
        assert_eq!((&client.read, &client.write), (&server.write, &server.read));
        assert_ne!(client.read, client.write);
        assert!(client.drover && server.drover);
        assert_eq!((client.peer.id(), server.peer.id()), (b.certificate().id(), a.certificate().id()));
        // The server's ACK is its one record of epoch 3, and the client has opened it.
        assert_eq!((client.first, server.first), ((1, 0), (0, 1)));
        assert_eq!(client.messages, (server.messages.1, server.messages.0));
        assert_eq!(client.binder, server.binder);
        assert!(binders.insert(client.binder.to_vec()), "a binder twice");
        assert_eq!(server.last_flight.len(), 1, "the ACK");
        assert_eq!(server.last_flight[0][0], 0x2f, "of epoch 3");
        assert_eq!(link.sent.last(), Some(&(1, server.last_flight[0].clone())));
    }
}

#[test]
fn lossy_links_are_survived() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    for seed in 1..=60 {
        let mtu = [256, 300, 1100, 1400][seed as usize % 4];
        let mut link = Lossy::new(seed, 20);
        let (client, server) = shake(&a, &b, mtu, &mut link);
        assert_eq!((&client.read, &client.write), (&server.write, &server.read), "seed {seed}");
        assert_eq!(client.binder, server.binder, "seed {seed}");
        assert_eq!(client.messages, (server.messages.1, server.messages.0), "seed {seed}");
        assert!(client.first.0 <= server.first.1 && server.first.0 <= client.first.1, "seed {seed}");
        let longest = link.sent.iter().map(|(_, datagram)| datagram.len()).max();
        assert!(longest <= Some(mtu), "seed {seed}: {longest:?}");
    }
}

#[test]
fn datagrams_that_come_many_times_in_any_order_do_no_harm() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    for seed in 1..=20 {
        let mut link = Lossy::new(seed, 0);
        (link.repeat_percent, link.delay_ns) = (100, 2_000_000_000);
        let (client, server) = shake(&a, &b, 400, &mut link);
        assert_eq!((&client.read, &client.write), (&server.write, &server.read), "seed {seed}");
    }
}

#[test]
fn a_client_hello_is_one_datagram_with_one_key_share() {
    let zone = Zone::new("north");
    for groups in [Groups::PostQuantum, Groups::AlsoX25519] {
        let context = zone.context_of(&zone.node("a"), groups);
        let mut client = Handshake::new(&context, Side::Client, 1400).expect("a handshake");
        let hello = client.output().expect("a ClientHello");
        assert_eq!(client.output(), None);
        assert!((1200..=1400).contains(&hello.len()), "{}", hello.len());
        assert_eq!(hello[0], 22, "a plaintext handshake record");
        let extensions = extensions_of_hello(&hello);
        let extension = |kind| &extensions.iter().find(|(found, _)| *found == kind).expect("an extension").1[..];
        // key_share (RFC 8446, 4.2.8): client_shares of one entry, X25519MLKEM768 with 1,216 bytes.
        assert_eq!(extension(51)[..6], [0x04, 0xc4, 0x11, 0xec, 0x04, 0xc0]);
        assert_eq!(extension(51).len(), 6 + 1216);
        // supported_versions: DTLS 1.3 alone.
        assert_eq!(extension(43), [2, 0xfe, 0xfc]);
        let groups: &[u8] = match groups {
            Groups::PostQuantum => &[0, 2, 0x11, 0xec],
            Groups::AlsoX25519 => &[0, 4, 0x11, 0xec, 0, 29],
        };
        assert_eq!(extension(10), groups);
    }
}

/// The extensions of a ClientHello that is one record.
fn extensions_of_hello(record: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
    // Headers of record (13) and message (12), version (2), random (32), session id, cookie, suites, compression.
    let mut at = 13 + 12 + 2 + 32;
    at += 1 + usize::from(record[at]);
    at += 1 + usize::from(record[at]);
    assert_eq!(record[at..at + 4], [0, 2, 0x13, 0x01], "TLS_AES_128_GCM_SHA256 alone");
    at += 4 + 2;
    assert_eq!(at + 2 + u16_at(at), record.len());
    at += 2;
    let mut extensions = Vec::new();
    while at < record.len() {
        extensions.push((u16_at(at) as u16, record[at + 4..at + 4 + u16_at(at + 2)].to_vec()));
        at += 4 + u16_at(at + 2);
    }
    extensions
}

/// Our side against a library peer, over a perfect link: our result and the peer's, once nothing moves any more.
fn against(
    ours: &mut Handshake,
    peer: &mut FullPeer,
) -> (Result<Progress, HandshakeError>, Result<(), HandshakeError>) {
    let (mut us, mut them) = (Ok(Progress::More), Ok(()));
    loop {
        let (from_us, from_them) = (ours.output(), peer.output());
        if from_us.is_none() && from_them.is_none() {
            return (us, them);
        }
        if let Some(datagram) = from_us
            && them.is_ok()
        {
            them = peer.input(&datagram);
        }
        if let Some(datagram) = from_them
            && us.is_ok()
        {
            us = ours.input(&datagram);
        }
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

#[test]
fn a_lab_takes_x25519_too() {
    let zone = Zone::new("north");
    let context = zone.context_of(&zone.node("a"), Groups::AlsoX25519);
    for side in [Side::Client, Side::Server] {
        let mut peer = FullPeer::bent(Some(&zone.node("b")), other(side), 1400, |builder| {
            builder.set_min_proto_version(Some(SslVersion::DTLS1_3))?;
            builder.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
            builder.set_curves_list("X25519")
        })
        .expect("a peer");
        let mut ours = Handshake::new(&context, side, 1400).expect("a handshake");
        assert_eq!(against(&mut ours, &mut peer), (Ok(Progress::Done), Ok(())), "{side:?}");
        assert_eq!(peer.group(), Some(29));
        assert!(ours.take_over().is_ok());
    }
}

#[test]
fn a_library_that_keeps_its_records_is_a_good_peer() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    for side in [Side::Client, Side::Server] {
        let mut ours = Handshake::new(&a, side, 1400).expect("a handshake");
        let mut peer = FullPeer::new(&b, other(side), 1400).expect("a peer");
        assert_eq!(against(&mut ours, &mut peer), (Ok(Progress::Done), Ok(())), "{side:?}");
        assert!(peer.is_idle());
        assert_eq!((peer.epochs(), peer.group()), ((3, 3), Some(0x11ec)));
        // A library does not offer our protocol: it is told apart by what the handshake authenticates.
        assert!(side == Side::Client || !ours.take_over().expect("over").drover);
    }
}

#[test]
fn two_library_peers_talk_and_update_keys() {
    let zone = Zone::new("north");
    let mut ends = [Side::Client, Side::Server].map(|side| {
        let context = zone.context("a");
        FullPeer::new(&context, side, 1400).expect("a peer")
    });
    let exchange = |ends: &mut [FullPeer; 2]| {
        loop {
            let before = ends.each_ref().map(|end| end.counters().datagrams);
            for from in [0, 1] {
                while let Some(datagram) = ends[from].output() {
                    ends[1 - from].input(&datagram).expect("taken");
                }
            }
            if before == ends.each_ref().map(|end| end.counters().datagrams) {
                return;
            }
        }
    };
    exchange(&mut ends);
    assert!(ends.iter().all(FullPeer::is_established));
    for round in 0..3u8 {
        ends[0].send(&[round; 100]).expect("sent");
        ends[1].send(&[round; 200]).expect("sent");
        exchange(&mut ends);
        assert_eq!(ends[1].received(), Some(vec![round; 100]));
        assert_eq!(ends[0].received(), Some(vec![round; 200]));
        ends[0].key_update(true).expect("an update");
        exchange(&mut ends);
        // Acknowledgements are delayed by a timer.
        for _ in 0..4 {
            ends.iter_mut().for_each(|end| end.on_timeout().expect("no end yet"));
            exchange(&mut ends);
        }
        let epoch = 4 + u16::from(round);
        assert_eq!(ends.each_ref().map(FullPeer::epochs), [(epoch, epoch); 2]);
    }
    assert_eq!((ends[0].counters().sent, ends[0].counters().received), (3, 3));
}

#[test]
fn records_before_take_over_are_lost_and_counted_and_the_keys_stay_right() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let mut client = Handshake::new(&a, Side::Client, 1400).expect("a handshake");
    let mut server = FullPeer::new(&b, Side::Server, 1400).expect("a peer");
    // The server finishes; its ACK is lost, and its first records come instead.
    while !server.is_established() {
        while let Some(datagram) = client.output() {
            server.input(&datagram).expect("taken");
        }
        if !server.is_established() {
            while let Some(datagram) = server.output() {
                assert_eq!(client.input(&datagram), Ok(Progress::More));
            }
        }
    }
    let ack = server.output().expect("an ACK");
    assert_eq!(server.output(), None);
    for number in 0..300u32 {
        server.send(&number.to_be_bytes()).expect("sent");
        assert_eq!(client.input(&server.output().expect("a record")), Ok(Progress::More));
    }
    // By now the lost ACK is too old for the library. The repeated Finished gets a new one.
    assert_eq!(client.input(&ack), Ok(Progress::More));
    client.on_timeout().expect("in time");
    while let Some(datagram) = client.output() {
        server.input(&datagram).expect("taken");
    }
    server.on_timeout().expect("in time");
    let mut progress = Ok(Progress::More);
    while let Some(datagram) = server.output() {
        progress = client.input(&datagram);
    }
    assert_eq!(progress, Ok(Progress::Done));
    let client = client.take_over().expect("it is done");
    assert_eq!(client.first, (302, 0), "after the ACK, 300 records and another ACK");
}

#[test]
fn the_key_log_is_what_was_taken_over() {
    let zone = Zone::new("north");
    let (client, server) = shake(&zone.context("a"), &zone.context("b"), 1400, &mut Lossy::new(1, 0));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sorted = |lines: Vec<&str>| {
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let lines = sorted(client.key_log_lines().collect());
    assert_eq!(lines, sorted(server.key_log_lines().collect()));
    let labels: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let wanted = [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
    ];
    assert_eq!(labels, wanted);
    assert!(lines[1].ends_with(&hex(&client.write[..])));
    assert!(lines[4].ends_with(&hex(&client.read[..])));
    assert_eq!(lines[1].split(' ').nth(1).map(str::len), Some(64), "the client's random");
}

#[test]
fn debug_output_shows_no_secret() {
    let zone = Zone::new("north");
    let context = zone.context("a");
    let handshake = Handshake::new(&context, Side::Client, 1400).expect("a handshake");
    assert_eq!(format!("{context:?} {handshake:?}"), "Context(..) Handshake(Client, ..)");
    let (client, _) = shake(&context, &zone.context("b"), 1400, &mut Lossy::new(1, 0));
    assert_eq!(format!("{client:?}"), format!("TakeOver(Client, {}, ..)", client.peer.id()));
}
