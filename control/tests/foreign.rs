//! Implementations that are not ours at a mix made of its real parts, a data plane on loopback and the control daemon's
//! loop: BoringSSL and dimpl as peers that keep their own records (W-KEY-9, W-LNK-19 to W-LNK-21), and a decryptor of a
//! capture that takes the lab's key log (W-LAB-5).
#![cfg(feature = "lab")]

mod foreign_support;

use drover_control::link::LinkConfig;
use drover_dtls::certificate::Role;
use foreign_support::opener::{self, APPLICATION_DATA, Opener};
use foreign_support::peers::{Boring, Dimpl, Drive, Library};
use foreign_support::relay::{Passed, Relay, pcap};
use foreign_support::world::{self, Mix, Plane, Rates, Zone};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// ACK (RFC 9147, 4).
const ACK: u8 = 26;
/// Records that must have opened, of both directions.
const RECORDS: u64 = 200_000;
/// A fast link: 16,000 records a second each way, several a tick.
const FAST: Rates = Rates { rate: 1000, client: 16, within: 4, ratchet_bits: 24 };
const TICK_US: u64 = 200;
/// The foreign peer's own rate, records a second.
const PEERS_RATE: u64 = 14_000;
/// Beyond what 16 bits count.
const WRAP: u64 = 66_000;
/// What says that a record came and was not taken for what it was.
const FAULTS: [&str; 7] =
    ["record_tag", "record_key", "record_replay", "record_length", "bad_record", "bad_cell", "not_a_record"];

/// One mix; the certificate that it trusts.
fn one_mix(zone: &Zone, links: LinkConfig) -> Mix {
    let plane = Plane::start(TICK_US);
    let identity = zone.issue("m", Role::Mix);
    let zones = zone.document(&[(identity.certificate(), plane.address())]);
    let mix = plane.mix(identity, zones, links);
    mix.until("the daemon", |status| status["data_plane"].is_string());
    mix
}

/// What became of an exchange, after the last datagrams came to rest. Nothing that came may have failed to open.
fn judge<L: Library>(mix: &Mix, drive: &mut Drive<L>) {
    let quiet = Instant::now() + Duration::from_millis(300);
    drive.until("the end", |_| Instant::now() > quiet);
    let (drops, opened) = mix.plane_counts();
    let (theirs, control) = drive.came;
    println!(
        "opened: {opened} by the mix of {} sent; {} by the peer of {theirs} that came, beside {control} KeyUpdates and ACKs\n\
         epochs: out {:?}, back {:?}; drops {drops:?}",
        drive.sent,
        drive.foreign.opened(),
        drive.out,
        drive.back,
    );
    assert_eq!(drive.odd, 0, "records that do not open under the logged secret");
    assert_eq!(drive.foreign.opened(), theirs, "the peer opens every record of application data that comes");
    assert!(opened + drive.foreign.opened() >= RECORDS);
    for fault in FAULTS {
        assert_eq!(drops.get(fault), None, "{fault}");
    }
    // The rest was lost on the way: sockets have room for so many datagrams.
    assert!(opened <= drive.sent + drive.out.epochs() as u64 * 8, "more than was sent");
    let status = mix.status();
    assert_eq!(status["punts_lost"], 0);
    let refused = &status["totals"]["links"]["refused"];
    assert!(refused.as_object().is_some_and(|refused| !refused.contains_key("record")), "{refused}");
    assert_eq!(status["totals"]["links"]["rekeys"].as_u64(), Some(drive.back.epochs() as u64 - 1));
}

#[test]
fn boringssl_exchanges_records_across_wraps_and_key_updates_of_both_sides() {
    let _alone = world::alone();
    let zone = Zone::new(FAST);
    let log = tempfile::tempdir().expect("a folder");
    let key_log = log.path().join("keys");
    // Our KeyUpdates: after 7.5 to 12.5 s, so that an epoch of ours has a wrap.
    let links = LinkConfig { rekey_s: Some(10.0), key_log: Some(key_log.clone()), ..LinkConfig::default() };
    let mix = one_mix(&zone, links);
    let peer = Boring::new(&zone.issue("client", Role::Client), zone.authority());
    let mut drive = Drive::new(peer, mix.plane.address());
    drive.until("the handshake", |drive| drive.foreign.established());
    assert_eq!(drive.foreign.peer.group(), Some(0x11ec), "X25519MLKEM768");
    mix.until("the link", |status| status["totals"]["links_up"] == 1);
    drive.watch(servers_secret(&key_log));
    let mut updates = 0;
    drive.flow(PEERS_RATE, |drive| {
        // The peer's first KeyUpdate comes after a wrap, the next ones sooner; each when the one before has taken effect.
        let due = if updates == 0 { WRAP } else { 10_000 };
        if updates + 1 == drive.out.epochs() && drive.out.current() >= due {
            drive.foreign.peer.key_update(false).expect("a KeyUpdate");
            updates += 1;
        }
        let both = drive.sent + drive.foreign.opened();
        both >= RECORDS + 5_000
            && drive.out.wrapped()
            && drive.back.wrapped()
            && drive.out.epochs() >= 3
            && drive.back.epochs() >= 2
    });
    judge(&mix, &mut drive);
}

#[test]
fn dimpl_exchanges_records_where_x25519_is_taken() {
    let _alone = world::alone();
    let zone = Zone::new(FAST);
    let log = tempfile::tempdir().expect("a folder");
    let key_log = log.path().join("keys");
    let links = LinkConfig { also_x25519: true, key_log: Some(key_log.clone()), ..LinkConfig::default() };
    let mix = one_mix(&zone, links);
    // It renews its keys after 68,000 records to 90,000, and asks us to do so too.
    let peer = Dimpl::new(&zone.issue("client", Role::Client), 90_000);
    let mut drive = Drive::new(peer, mix.plane.address());
    drive.until("the handshake", |drive| drive.foreign.established());
    mix.until("the link", |status| status["totals"]["links_up"] == 1);
    let shown = drive.foreign.peer_certificate.as_deref().map(drover_dtls::certificate::Certificate::from_der);
    assert!(shown.is_some_and(|shown| shown.is_ok_and(|shown| shown.name() == "m")), "the mix shows its certificate");
    drive.watch(servers_secret(&key_log));
    drive.flow(PEERS_RATE, |drive| {
        drive.sent + drive.foreign.opened() >= RECORDS + 5_000
            && drive.out.wrapped()
            && drive.back.wrapped()
            && drive.out.epochs() >= 2
            && drive.back.epochs() >= 2
    });
    judge(&mix, &mut drive);
}

#[test]
fn x25519_alone_is_refused_in_service() {
    let _alone = world::alone();
    let zone = Zone::new(FAST);
    let mix = one_mix(&zone, LinkConfig::default());
    let peer = Dimpl::new(&zone.issue("client", Role::Client), 90_000);
    let mut drive = Drive::new(peer, mix.plane.address());
    for _ in 0..20 {
        drive.turn(16);
    }
    let status = mix.until("the refusal", |status| Mix::refused(status, "protocol") > 0);
    assert_eq!(status["totals"]["links_up"], 0);
    assert!(!drive.foreign.established());
}

/// The secret that the mix sends under, as the key log has it.
fn servers_secret(key_log: &Path) -> [u8; 32] {
    let text = std::fs::read_to_string(key_log).expect("a key log");
    let found = opener::secrets(&text, "SERVER_TRAFFIC_SECRET_0");
    assert_eq!(found.len(), 1);
    found[0]
}

/// Two mixes with a relay between them, each with its key log: what passed, the logs, and where the mixes were.
fn capture(ratchet_bits: u8, rekey_s: f64, records: usize) -> (Vec<Passed>, [String; 2], [std::net::SocketAddr; 2]) {
    let zone = Zone::new(Rates { rate: 100, client: 2, within: 8, ratchet_bits });
    let planes = [Plane::start(1_000), Plane::start(1_000)];
    let nodes = [planes[0].address(), planes[1].address()];
    let relay = Relay::start(nodes);
    let faces = relay.faces();
    let identities = ["m0", "m1"].map(|name| zone.issue(name, Role::Mix));
    let certificates = [0, 1].map(|at| identities[at].certificate().clone());
    let mut mixes = Vec::new();
    for (at, (plane, identity)) in planes.into_iter().zip(identities).enumerate() {
        // Each sees the other where the relay is.
        let mut seen = [(&certificates[0], nodes[0]), (&certificates[1], nodes[1])];
        seen[1 - at].1 = faces[at];
        let key_log = Some(plane.folder().join("keys"));
        let links = LinkConfig { rekey_s: Some(rekey_s), key_log, ..LinkConfig::default() };
        mixes.push(plane.mix(identity, zone.document(&seen), links));
    }
    mixes.iter().for_each(|mix| {
        mix.until("the link", |status| status["totals"]["links_up"] == 1);
    });
    let deadline = Instant::now() + world::PATIENCE;
    while relay.count(|passed| is_cell(&passed.bytes)) < records {
        assert!(Instant::now() < deadline, "{records} records did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
    let passed = relay.end();
    let logs = [0, 1].map(|at: usize| {
        let path = mixes[at].plane.folder().join("keys");
        let mode = std::fs::metadata(&path).expect("a key log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::read_to_string(path).expect("a key log")
    });
    mixes.iter().for_each(|mix| {
        let (drops, _) = mix.plane_counts();
        assert!(FAULTS.iter().all(|fault| !drops.contains_key(*fault)), "{drops:?}");
    });
    (passed, logs, nodes)
}

/// A ciphertext record with the epoch bits of application data.
fn application(bytes: &[u8]) -> bool {
    matches!(bytes, [0x20..=0x3f, ..]) && bytes[0] & 3 == 3
}

/// The one shape of a cell's record (W-REC-1).
fn is_cell(bytes: &[u8]) -> bool {
    (bytes.len(), bytes[0]) == (259, 0x2b)
}

#[test]
fn a_capture_opens_with_the_key_log() {
    const RATCHET_BITS: u8 = 10;
    let _alone = world::alone();
    let (passed, [log, other], _) = capture(RATCHET_BITS, 2.0, 6_000);
    let sorted = |log: &str| {
        let mut lines: Vec<_> = log.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    // A renewal may be at one end only, for the end of the capture falls where it falls.
    let (ours, theirs) = (sorted(&log), sorted(&other));
    let (fewer, more) = if ours.len() < theirs.len() { (ours, theirs) } else { (theirs, ours) };
    assert!(fewer.iter().all(|line| more.contains(line)), "both ends log the same");
    let log = more.join("\n");
    // In-band handshakes are begun by either end: of their secrets any may be of any direction.
    let labels = ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];
    let all: Vec<_> = labels.iter().flat_map(|label| opener::secrets(&log, label)).collect();
    for onward in [true, false] {
        let mut ways: Vec<Opener> = all.iter().map(|secret| Opener::new(*secret, u32::from(RATCHET_BITS))).collect();
        let (mut counts, mut highest) = (BTreeMap::<usize, u64>::new(), 0);
        let (mut now, mut acks) = (0, 0);
        for Passed { bytes, .. } in passed.iter().filter(|passed| passed.onward == onward && application(&passed.bytes))
        {
            let order = std::iter::once(now).chain((0..ways.len()).filter(|way| *way != now));
            let found = order.into_iter().find_map(|way| ways[way].open(bytes).map(|opened| (way, opened)));
            let (way, opened) = found.unwrap_or_else(|| panic!("a record after {counts:?} does not open"));
            if !is_cell(bytes) {
                // The library's own, of before the take-over: the answer to a Finished (RFC 9147, 7).
                assert_eq!((opened.content_type, opened.number < 4), (ACK, true), "{} bytes", bytes.len());
                acks += 1;
                continue;
            }
            assert_eq!((opened.content_type, opened.data.len()), (APPLICATION_DATA, 239));
            now = way;
            *counts.entry(way).or_default() += 1;
            highest = highest.max(opened.number);
        }
        println!("onward {onward}: records by secret {counts:?}, highest number {highest}, ACKs {acks}");
        assert!(acks <= 4, "{acks} records have another shape");
        assert!(counts.values().sum::<u64>() > 2_000);
        assert!(counts.len() >= 2, "keys were renewed in band");
        assert!(highest >> RATCHET_BITS >= 1, "the ratchet went on");
    }
}

#[test]
fn tshark_opens_a_capture() {
    let _alone = world::alone();
    let version = Command::new("tshark").arg("--version").output();
    let text = version.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match tshark_version(&text) {
        None => {
            return drover_nic::skip::skipped("tshark is not there: no second opinion on a capture with its key log");
        }
        Some(version) if version < (4, 4) => {
            let (major, minor) = version;
            return drover_nic::skip::skipped(format!("tshark {major}.{minor} does not open DTLS 1.3; 4.4 does"));
        }
        Some(_) => {}
    }
    let (passed, [log, _], nodes) = capture(24, 3600.0, 1_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (keys, file) = (folder.path().join("keys"), folder.path().join("capture.pcap"));
    std::fs::write(&keys, log).expect("written");
    std::fs::write(&file, pcap(&passed, nodes)).expect("written");
    let output = Command::new("tshark")
        .args(["-r", file.to_str().expect("UTF-8"), "-o", &format!("tls.keylog_file:{}", keys.display())])
        .args(["-d", &format!("udp.port=={},dtls", nodes[0].port()), "-Y", "dtls && data"])
        .args(["-T", "fields", "-e", "udp.srcport", "-e", "data.data"])
        .output()
        .expect("tshark runs");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    for (at, node) in nodes.iter().enumerate() {
        let opened = lines.lines().filter_map(|line| line.split_once('\t'));
        // What was in the record, in hexadecimal digits.
        let opened = opened.filter(|(port, data)| *port == node.port().to_string() && data.len() == 2 * 239).count();
        let sent = passed.iter().filter(|passed| passed.onward == (at == 0) && is_cell(&passed.bytes)).count();
        assert_eq!(opened, sent, "records of node {at}");
    }
}

/// Major and minor of `TShark (Wireshark) 4.4.6 (…)`.
fn tshark_version(text: &str) -> Option<(u32, u32)> {
    let number = text.lines().next()?.split([' ', '.']).filter_map(|part| part.parse().ok()).collect::<Vec<u32>>();
    Some((*number.first()?, *number.get(1)?))
}

#[test]
fn tshark_says_its_version() {
    assert_eq!(tshark_version("TShark (Wireshark) 4.0.17 (Git v4.0.17).\nmore"), Some((4, 0)));
    assert_eq!(tshark_version("TShark (Wireshark) 4.10.0.\n"), Some((4, 10)));
    assert_eq!(tshark_version(""), None);
}
