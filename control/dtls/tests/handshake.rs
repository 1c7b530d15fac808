//! Handshakes: over lossy links, with peers that break the rules, and what is taken over.
#![cfg(feature = "lab")]

mod common;

use boring::ssl::SslVersion;
use common::{End, Lossy, NOW, Random, Zone, run, shake};
use drover_dtls::certificate::{CertificateError, Identity, Role};
use drover_dtls::handshake::{Context, Groups, Handshake, HandshakeError, Progress, Side};
use drover_dtls::testing::FullPeer;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::LazyLock;

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

/// The errors of client and server, when both or one fail.
fn errors(client: &Context, server: &Context) -> [Option<HandshakeError>; 2] {
    let mut ends = [End::new(client, Side::Client, 1400), End::new(server, Side::Server, 1400)];
    run(&mut ends, &mut Lossy::new(1, 0));
    ends.map(|end| match end {
        End::Failed(error) => Some(error),
        End::Shaking(_) | End::Over(_) => None,
    })
}

#[test]
fn each_wrong_certificate_is_refused_by_either_side_with_its_own_error() {
    let (north, south) = (Zone::new("north"), Zone::new("south"));
    let good = north.context("good");
    let issue = |zone: &Zone, role, at: u64| zone.identity.issue("bad", role, at, 30).expect("issued");
    type Kind = fn(String) -> CertificateError;
    let cases: [(&str, Identity, Kind); 5] = [
        ("has expired", issue(&north, Role::Mix, NOW - 40 * 86_400), CertificateError::Expired),
        ("not valid for another", issue(&north, Role::Mix, NOW + 86_400), CertificateError::Expired),
        ("south is not trusted", issue(&south, Role::Mix, NOW), CertificateError::Untrusted),
        ("has not signed", issue(&Zone::new("north"), Role::Client, NOW), CertificateError::Untrusted),
        ("is not a node", Zone::new("south").identity, CertificateError::Untrusted),
    ];
    for (words, identity, kind) in cases {
        // The bad one trusts everybody, so that only the good one objects.
        let zones = [north.certificate(), south.certificate()];
        let bad = Context::new(&identity, &zones, Groups::PostQuantum).expect("a context");
        bad.set_unix_time(NOW);
        // A trusted zone that comes as a node.
        let good = match words {
            "is not a node" => {
                let zones = [north.certificate(), identity.certificate().clone()];
                Context::new(&north.node("good"), &zones, Groups::PostQuantum).expect("a context")
            }
            _ => north.context("good"),
        };
        good.set_unix_time(NOW);
        for refusing in [0, 1] {
            let both = if refusing == 0 { errors(&good, &bad) } else { errors(&bad, &good) };
            let Some(HandshakeError::Certificate(error)) = &both[refusing] else { panic!("{words}: {both:?}") };
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error, &kind(error.to_string()));
            // The other side learns it from an alert.
            assert!(matches!(both[1 - refusing], Some(HandshakeError::Protocol(_))), "{words}: {both:?}");
        }
    }
    assert_eq!(errors(&good, &north.context("other")), [None, None]);
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
fn peers_that_want_less_are_refused() {
    let zone = Zone::new("north");
    let context = zone.context("a");
    let node = zone.node("b");
    for side in [Side::Client, Side::Server] {
        let bent: [(&str, FullPeer); 4] = [
            ("UNSUPPORTED_PROTOCOL", {
                FullPeer::bent(Some(&node), other(side), 1400, |builder| {
                    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
                    builder.set_max_proto_version(Some(SslVersion::DTLS1_2))
                })
                .expect("a peer")
            }),
            ("NO_SHARED_GROUP", {
                FullPeer::bent(Some(&node), other(side), 1400, |builder| {
                    builder.set_min_proto_version(Some(SslVersion::DTLS1_3))?;
                    builder.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
                    builder.set_curves_list("X25519:P-256")
                })
                .expect("a peer")
            }),
            ("PEER_DID_NOT_RETURN_A_CERTIFICATE", {
                FullPeer::bent(None, other(side), 1400, |builder| {
                    builder.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
                    builder.set_curves_list("X25519MLKEM768")
                })
                .expect("a peer")
            }),
            ("UNSUPPORTED_PROTOCOL", {
                FullPeer::bent(Some(&node), other(side), 1400, |builder| {
                    builder.set_min_proto_version(Some(SslVersion::DTLS1))?;
                    builder.set_max_proto_version(Some(SslVersion::DTLS1_2))
                })
                .expect("a peer")
            }),
        ];
        for (words, mut peer) in bent {
            let mut ours = Handshake::new(&context, side, 1400).expect("a handshake");
            let (us, them) = against(&mut ours, &mut peer);
            // Where the peer gives up first, its alert tells us.
            // Who finds out first says what it is; the other has its alert.
            let words = if side == Side::Server { words } else { "ALERT" };
            let refused = matches!(&us, Err(HandshakeError::Protocol(text)) if text.contains(words));
            assert!(refused, "{side:?}, {words}: {us:?}, {them:?}");
            assert!(ours.take_over().is_err());
        }
    }
}

#[test]
fn a_server_hello_of_dtls_1_2_is_refused() {
    let zone = Zone::new("north");
    let mut client = Handshake::new(&zone.context("a"), Side::Client, 1400).expect("a handshake");
    // ServerHello: version, random, no session id, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    let body = [&[0xfe, 0xfd][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let length = body.len() as u8;
    let message = [&[2, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length][..], &body].concat();
    let record = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + length][..], &message].concat();
    let error = client.input(&record).expect_err("refused");
    assert!(matches!(&error, HandshakeError::Protocol(text) if text.contains("UNSUPPORTED_PROTOCOL")), "{error}");
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
fn a_key_update_before_take_over_is_refused() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let mut client = Handshake::new(&a, Side::Client, 1400).expect("a handshake");
    let mut server = FullPeer::new(&b, Side::Server, 1400).expect("a peer");
    while !server.is_established() {
        while let Some(datagram) = client.output() {
            server.input(&datagram).expect("taken");
        }
        if !server.is_established() {
            while let Some(datagram) = server.output() {
                client.input(&datagram).expect("taken");
            }
        }
    }
    let ack = server.output().expect("an ACK");
    server.key_update(false).expect("an update");
    server.send(b"the KeyUpdate goes before").expect("sent");
    while let Some(datagram) = server.output() {
        client.input(&datagram).expect("not over yet");
    }
    let error = client.input(&ack).expect_err("refused");
    assert!(matches!(&error, HandshakeError::Protocol(text) if text.contains("KeyUpdate")), "{error}");
    assert!(client.take_over().is_err());
}

#[test]
fn who_gets_no_answer_sends_again_ever_more_rarely_and_gives_up() {
    let zone = Zone::new("north");
    let context = zone.context("a");
    let mut client = Handshake::new(&context, Side::Client, 1400).expect("a handshake");
    client.set_now(5_000_000_000);
    let hello = client.output().expect("a ClientHello");
    let mut waits = Vec::new();
    let mut now_ns = 5_000_000_000;
    let error = loop {
        let left = client.timeout().expect("a timer");
        waits.push((left.as_secs_f64() * 10.0).round() as u64);
        now_ns += left.as_nanos() as u64;
        client.set_now(now_ns);
        match client.on_timeout() {
            Ok(()) => assert_eq!(client.output().map(|datagram| datagram.len()), Some(hello.len())),
            Err(error) => break error,
        }
    };
    assert_eq!(error, HandshakeError::Timeout);
    assert_eq!(waits, [5, 10, 20, 40, 80, 160]);
    assert_eq!((client.output(), client.timeout()), (None, None));
    assert!(client.input(&hello).is_err());
}

#[test]
fn a_server_waits_for_as_long_as_it_is_let() {
    let zone = Zone::new("north");
    let mut server = Handshake::new(&zone.context("a"), Side::Server, 1400).expect("a handshake");
    assert_eq!((server.output(), server.timeout()), (None, None));
    assert_eq!(server.on_timeout(), Ok(()));
    assert!(server.peer().is_none());
}

#[test]
fn take_over_waits_for_the_end_and_for_the_output() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let early = Handshake::new(&a, Side::Client, 1400).expect("a handshake");
    assert!(
        matches!(early.take_over(), Err(HandshakeError::System(text)) if text.contains("before the handshake is over"))
    );

    let mut client = Handshake::new(&a, Side::Client, 1400).expect("a handshake");
    let mut server = Handshake::new(&b, Side::Server, 1400).expect("a handshake");
    let mut progress = Ok(Progress::More);
    while progress == Ok(Progress::More) {
        while let Some(datagram) = client.output() {
            progress = server.input(&datagram);
        }
        if progress == Ok(Progress::More) {
            while let Some(datagram) = server.output() {
                client.input(&datagram).expect("taken");
            }
        }
    }
    // The client has finished but does not know that the server has.
    assert!(matches!(client.take_over(), Err(HandshakeError::System(_))));
    assert!(matches!(server.take_over(), Err(HandshakeError::System(text)) if text.contains("output")));
}

#[test]
fn sizes_of_datagrams_have_limits() {
    let zone = Zone::new("north");
    let context = zone.context("a");
    for mtu in [0, 255, 2049, usize::MAX] {
        assert!(matches!(Handshake::new(&context, Side::Client, mtu), Err(HandshakeError::System(_))), "{mtu}");
    }
    let mut server = Handshake::new(&context, Side::Server, 1400).expect("a handshake");
    assert_eq!(server.input(&[22; 2049]), Ok(Progress::More));
    assert_eq!(server.input(&[]), Ok(Progress::More));
    let mut client = Handshake::new(&context, Side::Client, 256).expect("a handshake");
    assert!(std::iter::from_fn(|| client.output()).all(|datagram| datagram.len() <= 256));
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

/// What was sent: (from, datagram).
type Sent = Vec<(usize, Vec<u8>)>;

/// Every datagram of a handshake, and the two contexts. Making keys is slow, so all cases share one.
static RECORDED: LazyLock<(Context, Context, Sent)> = LazyLock::new(|| {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let mut link = Lossy::new(1, 0);
    shake(&a, &b, 500, &mut link);
    (a, b, link.sent)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever state, nobody panics, and what goes out stays in bounds.
    #[test]
    fn hostile_datagrams_are_errors_or_nothing(
        steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>(), any::<u64>()), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (a, b, recorded) = &*RECORDED;
        let mut ends = [
            Handshake::new(a, Side::Client, 500).expect("a handshake"),
            Handshake::new(b, Side::Server, 500).expect("a handshake"),
        ];
        for (what, which, seed) in steps {
            let mut random = Random(seed | 1);
            let to = random.below(2) as usize;
            let mut datagram = match what {
                // What the other side really says, or said in another handshake.
                0 | 1 => ends[1 - to].output().unwrap_or_else(|| which.get(recorded).1.clone()),
                2 => which.get(recorded).1.clone(),
                _ => noise.clone(),
            };
            if what != 0 && !datagram.is_empty() {
                for _ in 0..random.below(4) {
                    let at = random.below(datagram.len() as u64) as usize;
                    datagram[at] ^= 1 << random.below(8);
                }
                datagram.truncate(1 + random.below(datagram.len() as u64) as usize);
                // The first byte chooses the parser.
                if what == 3 {
                    datagram[0] = [20, 21, 22, 26, 0x2b, 0x2d, 0x2e, 0x2f, 0x3f][random.below(9) as usize];
                }
            }
            let _ = ends[to].input(&datagram);
            let _ = ends[to].on_timeout();
            let out: Vec<_> = std::iter::from_fn(|| ends[to].output()).collect();
            prop_assert!(out.len() <= 64 && out.iter().all(|datagram| datagram.len() <= 500));
            for datagram in out {
                let _ = ends[1 - to].input(&datagram);
            }
        }
    }

    /// Garbage that does not look like a plaintext record changes nothing.
    #[test]
    fn garbage_in_between_does_no_harm(
        garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
    ) {
        let (a, b, _) = &*RECORDED;
        let mut ends = [
            Handshake::new(a, Side::Client, 1400).expect("a handshake"),
            Handshake::new(b, Side::Server, 1400).expect("a handshake"),
        ];
        let mut progress = [Progress::More; 2];
        while progress != [Progress::Done; 2] {
            let before = progress;
            for from in [0, 1] {
                for datagram in std::iter::from_fn(|| ends[from].output()).collect::<Vec<_>>() {
                    for garbage in &garbage {
                        let mut garbage = garbage.clone();
                        if let Some(first) = garbage.first_mut() {
                            *first |= 0x20;
                        }
                        prop_assert_eq!(ends[1 - from].input(&garbage), Ok(progress[1 - from]));
                    }
                    let now = ends[1 - from].input(&datagram);
                    prop_assert!(now.is_ok());
                    progress[1 - from] = now.expect("checked");
                }
            }
            prop_assert!(progress != before || progress == [Progress::More; 2]);
        }
    }
}
