//! What is refused, and how.

use crate::network::{End, Lossy, NOW, Zone, run};
use crate::{against, other};
use boring::ssl::SslVersion;
use drover_dtls::certificate::{CertificateError, Identity, Role};
use drover_dtls::handshake::{Context, Groups, Handshake, HandshakeError, Progress, Side};
use drover_dtls::testing::FullPeer;

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
