//! A foreign DTLS 1.3 peer at the other end: real epochs, numbers that begin anew, records that are no cells.

mod bench_world;

use bench_world::{PERIOD, ROUND, World, endpoint, secrets};
use drover_crypto::reference::Reference;
use drover_crypto::{MaskJob, Records, Suite};
use drover_dataplane::command::Direction;
use drover_dataplane::drops::DropReason;
use drover_dataplane::inject::{Form, Target};
use drover_dataplane::punt::What;
use drover_dataplane::worker::Pace;
use drover_wire::cell::{Command, Header, body_len, plaintext_len};
use drover_wire::control::Peer;
use drover_wire::record::{self, record_len};

type Plain = World<Reference, 256>;

const HANDSHAKE: u8 = 22;
const ACK: u8 = 26;
/// KeyUpdate, whole, its answer not asked for (RFC 8446, 4.6.3; RFC 9147, 5.2).
const KEY_UPDATE: [u8; 13] = [24, 0, 0, 1, 0, 5, 0, 0, 0, 0, 0, 1, 0];

/// One turn a slot.
const PACE: Pace = Pace { horizon: PERIOD, bursts: 1, grain: 0 };

fn world() -> Plain {
    let mut w = Plain::with(1, 24, Peer::Foreign, PACE);
    w.rig.listen();
    w
}

/// A padded record of another type.
fn seal_content(w: &mut Plain, content_type: u8, data: &[u8]) -> Vec<u8> {
    let mut plaintext = vec![0; plaintext_len(256)];
    plaintext[..data.len()].copy_from_slice(data);
    plaintext[data.len()] = content_type;
    let mut frame = vec![0; record_len(256)];
    w.far[0].seal(w.numbers[0], &plaintext, &mut frame);
    w.numbers[0] += 1;
    frame
}

fn records(w: &mut Plain) -> Vec<(What, Vec<u8>)> {
    let mut punted = w.rig.punted();
    punted.retain(|(what, _)| matches!(what, What::Record { .. }));
    punted
}

/// What the peer gets: the first byte of each record, and what the far end makes of it.
struct Seen {
    first_bytes: Vec<u8>,
    opened: u64,
    unopened: u64,
    contents: Vec<(u8, Vec<u8>)>,
    numbers: Vec<u64>,
}

/// Turns through a slot; every record that left is shown to the far end.
fn slot(w: &mut Plain, seen: &mut Seen) {
    w.now += PERIOD;
    w.rig.turn(w.now);
    let far = &mut w.far[0];
    while w.rig.wire.take(|to, data| {
        assert_eq!((to, data.len()), (endpoint(0), record_len(256)));
        seen.first_bytes.push(data[0]);
        match far.open(data) {
            None => seen.unopened += 1,
            Some((number, plaintext)) => {
                seen.opened += 1;
                seen.numbers.push(number);
                let (content_type, len) = record::inner_content_type(plaintext).expect("a type");
                if content_type != 23 {
                    seen.contents.push((content_type, plaintext[..len].to_vec()));
                }
            }
        }
    }) {}
}

#[test]
fn two_hundred_thousand_records_both_ways_over_epochs_and_wraps() {
    const RECORDS: u64 = 200_000;
    let mut w = world();
    let mut seen = Seen { first_bytes: Vec::new(), opened: 0, unopened: 0, contents: Vec::new(), numbers: Vec::new() };
    let mut sent = 0u64;
    for n in 0..RECORDS {
        // The peer updates its key: its KeyUpdate comes, we begin to read its next epoch and send an ACK.
        if n == 70_000 || n == 150_000 {
            let frame = seal_content(&mut w, HANDSHAKE, &KEY_UPDATE);
            w.deliver(0, &frame);
            w.rig.turn(w.now + 1);
            let epoch = if n == 70_000 { 3 } else { 4 };
            let number = w.numbers[0] - 1;
            let what = What::Record { link: 0, epoch, number, content_type: HANDSHAKE };
            assert_eq!(records(&mut w), [(what, KEY_UPDATE.to_vec())]);
            w.rig.advance(0, Direction::Receive, epoch + 1);
            w.rig.inject(Target::Link { link: 0 }, Form::Record(ACK), &[0, 16]);
            // What is still under way of the old epoch opens beside the new one.
            let late = w.seal(0, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
            w.far[0].next_epoch();
            w.numbers[0] = 0;
            w.send_chaff(0);
            w.deliver(0, &late);
            sent += 3;
        }
        // We update ours: a KeyUpdate leaves in a slot, the peer's ACK comes, and the next slot is of the next epoch.
        if n == 90_000 || n == 160_000 {
            w.rig.inject(Target::Link { link: 0 }, Form::Record(HANDSHAKE), &KEY_UPDATE);
        }
        if n == 90_100 || n == 160_100 {
            w.rig.advance(0, Direction::Send, if n == 90_100 { 4 } else { 5 });
            w.far[0].next_peer_epoch();
        }
        w.send_chaff(0);
        sent += 1;
        slot(&mut w, &mut seen);
    }
    let counters = &w.rig.worker.state.counters;
    assert_eq!(counters.dropped_in_all(), 0, "{:?}", counters.drops);
    assert_eq!(counters.received, sent);
    // One record of each old epoch was sealed ahead when the peer had gone on already, or none.
    assert!(seen.unopened <= 2, "{}", seen.unopened);
    assert!(seen.opened + 10 > RECORDS, "{}", seen.opened);
    let updates: Vec<_> = seen.contents.iter().filter(|(kind, _)| *kind == HANDSHAKE).collect();
    let acks: Vec<_> = seen.contents.iter().filter(|(kind, _)| *kind == ACK).collect();
    assert_eq!((updates.len(), acks.len()), (2, 2));
    assert!(updates.iter().all(|(_, data)| *data == KEY_UPDATE) && acks.iter().all(|(_, data)| *data == [0, 16]));
    // The first byte follows the epoch: 3, 4, 5 are 0x2b, 0x28, 0x29; and numbers begin anew twice.
    let mut bytes = seen.first_bytes.clone();
    bytes.dedup();
    assert_eq!(bytes, [0x2b, 0x28, 0x29]);
    assert_eq!(seen.numbers.windows(2).filter(|pair| pair[1] < pair[0]).count(), 2);
    assert!(seen.numbers.iter().max() > Some(&65_536), "a wrap was crossed");
    assert_eq!(w.rig.worker.state.waiting(), 0);
}

#[test]
fn only_the_epoch_that_a_record_names_is_tried() {
    let mut w = world();
    let frame = w.seal(0, Header { circuit: 0, command: Command::Chaff, counter: 0 }, &[]);
    for bits in 0..3 {
        let mut other = frame.clone();
        other[0] = 0x28 | bits;
        w.deliver(0, &other);
    }
    w.turn();
    assert_eq!((w.dropped(DropReason::RecordKey), w.rig.worker.state.counters.trials), (3, 0));
    w.deliver(0, &frame);
    w.turn();
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 3);
}

#[test]
fn a_key_seals_no_more_than_its_limit() {
    let mut w = Plain::with(1, 6, Peer::Foreign, PACE);
    let mut seen = Seen { first_bytes: vec![], opened: 0, unopened: 0, contents: vec![], numbers: vec![] };
    for _ in 0..100 {
        // What comes has no such limit: it is the peer's.
        w.send_chaff(0);
        slot(&mut w, &mut seen);
    }
    // The first slot was missed; numbers 1 to 63 left.
    assert_eq!((seen.opened, seen.unopened, seen.numbers.last()), (63, 0, Some(&63)));
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    let missed: u64 = w.rig.worker.state.counters.class_missed.iter().sum();
    assert!((35..=38).contains(&missed), "{missed}");
    w.rig.advance(0, Direction::Send, 4);
    w.far[0].next_peer_epoch();
    for _ in 0..20 {
        slot(&mut w, &mut seen);
    }
    assert!(seen.opened >= 63 + 18);
    // No key is asked of the service thread.
    assert!(w.rig.worker.state.wants.is_empty());
}

#[test]
fn short_records_are_handed_over_within_a_budget() {
    let mut w = world();
    let (theirs, _) = secrets(0, 1);
    let short = |number: u64, data: &[u8], content_type: u8, with_length: bool| {
        short_record(&theirs, number, data, content_type, with_length)
    };
    w.deliver(0, &short(0, &KEY_UPDATE, HANDSHAKE, false));
    w.deliver(0, &short(1, &[1, 0], 21, true));
    w.deliver(0, &short(2, &[], ACK, true));
    w.turn();
    let what = |number, content_type| What::Record { link: 0, epoch: 3, number, content_type };
    assert_eq!(
        records(&mut w),
        [(what(0, HANDSHAKE), KEY_UPDATE.to_vec()), (what(1, 21), vec![1, 0]), (what(2, ACK), vec![])]
    );
    assert_eq!(w.rig.worker.state.counters.dropped_in_all(), 0);
    // Replayed, forged, application data, another epoch, from a drover peer: none is handed over.
    w.deliver(0, &short(1, &[1, 0], 21, true));
    let mut forged = short(3, &KEY_UPDATE, HANDSHAKE, false);
    forged[9] ^= 1;
    w.deliver(0, &forged);
    w.deliver(0, &short(4, &[7; 40], 23, false));
    let mut other = short(5, &KEY_UPDATE, HANDSHAKE, false);
    other[0] ^= 1;
    w.deliver(0, &other);
    w.turn();
    assert!(records(&mut w).is_empty());
    assert_eq!(w.dropped(DropReason::RecordLength), 4);
    let trials = w.rig.worker.state.counters.trials;
    for at in 0..60 {
        let mut forged = short(6 + at, &KEY_UPDATE, HANDSHAKE, false);
        forged[9] ^= 1;
        w.deliver(0, &forged);
    }
    w.turn();
    let spent = w.rig.worker.state.counters.trials - trials;
    assert_eq!(spent, u64::from(drover_dataplane::limits::TRIALS_PER_LINK));
    let mut drover = Plain::new(1, 24);
    drover.rig.listen();
    drover.deliver(0, &short(0, &KEY_UPDATE, HANDSHAKE, false));
    drover.turn();
    assert_eq!(drover.dropped(DropReason::RecordLength), 1);
    assert!(records(&mut drover).is_empty());
}

/// A record as a library makes it: no padding, maybe a length.
fn short_record(
    secret: &drover_crypto::schedule::TrafficSecret,
    number: u64,
    data: &[u8],
    content_type: u8,
    with_length: bool,
) -> Vec<u8> {
    use aes_gcm::KeyInit;
    use aes_gcm::aead::AeadInOut;
    let mut body = [data, &[content_type]].concat();
    let len = (body.len() + 16) as u16;
    let [.., high, low] = number.to_be_bytes();
    let mut header = vec![0x2b | if with_length { 4 } else { 0 }, high, low];
    if with_length {
        header.extend(len.to_be_bytes());
    }
    let keys = secret.record();
    let mut nonce = keys.iv;
    nonce.iter_mut().skip(4).zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    let cipher = aes_gcm::Aes128Gcm::new((&keys.key).into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), &header, body.as_mut_slice().into()).expect("short");
    body.extend_from_slice(&tag);
    let mut sample = [0; 16];
    sample.copy_from_slice(&body[..16]);
    let mut mask = [MaskJob { key: 0, sample, mask: [0; 2] }];
    type R = <Reference as Suite>::Records;
    R::masks(&[R::mask_key(&secret.mask())], &mut mask);
    header[1] ^= mask[0].mask[0];
    header[2] ^= mask[0].mask[1];
    header.extend(body);
    header
}

#[test]
fn a_foreign_peers_cells_are_cells() {
    let mut w = world();
    let body: Vec<u8> = (0..body_len(256)).map(|at| at as u8).collect();
    let frame = w.seal(0, Header { circuit: 0, command: Command::Control, counter: 0 }, &body);
    w.deliver(0, &frame);
    let frame = seal_content(&mut w, 21, &[]);
    w.deliver(0, &frame);
    // Nothing but padding.
    let mut frame = vec![0; record_len(256)];
    w.far[0].seal(w.numbers[0], &[0; 240], &mut frame);
    w.deliver(0, &frame);
    w.run(ROUND);
    let punted: Vec<_> = w.rig.punted().into_iter().filter(|(what, _)| !matches!(what, What::Heard { .. })).collect();
    let alert = What::Record { link: 0, epoch: 3, number: 1, content_type: 21 };
    assert_eq!(punted, [(alert, vec![]), (What::Link { link: 0 }, body)]);
    assert_eq!(w.dropped(DropReason::BadCell), 1);
}
