//! The service in a world of two zones, with clients as scripted ends.

mod joins;
mod world;

use super::lookup::Asked;
use super::messages::*;
use super::registration::{FORGET_S, REFRESH_S, Register, Registration, RegistrationError};
use crate::link::PeerInfo;
use crate::message::{hop, link};
use drover_dtls::certificate::{Identity, NodeId, Role};
use joins::{by_id, join};
use proptest::prelude::*;
use std::collections::BTreeMap;
use world::*;

/// Asks mix `of` for a client, by a circuit at mix `at`; what came back.
fn look_up(
    world: &mut World,
    at: usize,
    circuit: u32,
    of: usize,
    wanted: NodeId,
) -> Result<Option<Registration>, Reason> {
    let (asked, query) = Asked::new(wanted, &CAST.mixes[of].certificate().static_key()).expect("sealed");
    world.take_told(at, circuit);
    world.say(at, circuit, Lookup::KIND, &Lookup { mix: id(of), request: 9, query }.encode());
    let mut told = world.take_told(at, circuit);
    if told.is_empty() {
        world.run(25);
        told = world.take_told(at, circuit);
    }
    assert_eq!(told.len(), 1, "one answer");
    let (kind, bytes) = &told[0];
    if *kind == Failed::KIND {
        let failed = Failed::decode(bytes).expect("well-formed");
        assert_eq!((failed.asked, failed.request), (Lookup::KIND, 9));
        return Err(failed.reason);
    }
    assert_eq!(*kind, LookupAnswer::KIND);
    let answer = LookupAnswer::decode(bytes).expect("well-formed");
    assert_eq!(answer.request, 9);
    Ok(asked.open(&answer.answer).expect("opens"))
}

fn refreshed(world: &mut World, clients: &[(&Identity, usize, u32)], rounds: u64) {
    for _ in 0..rounds {
        world.run(REFRESH_S);
        for (client, at, circuit) in clients {
            assert!(world.register(client, *at, *circuit), "refreshed");
        }
    }
}

#[test]
fn registrations_are_checked() {
    let (ours, theirs) = (zone_authority(0), zone_authority(1));
    let good = registration(&CAST.alice, 0, 1);
    assert_eq!(Registration::decode(good.bytes()).as_ref(), Ok(&good));
    assert_eq!((good.client(), good.rendezvous(), good.epoch()), (id_of(&CAST.alice), id(0), 1));
    assert_eq!(good.check(&ours, NOW_S), Ok(()));
    assert!(matches!(good.check(&theirs, NOW_S), Err(RegistrationError::Certificate(_))));
    assert_eq!(good.check(&ours, NOW_S + 3600), Err(RegistrationError::Time));
    let long = Registration::make(&CAST.alice, id(0), 1, NOW_S + 100 * 86_400, CAST.prekeys.public()).expect("made");
    assert_eq!(long.check(&ours, NOW_S), Err(RegistrationError::Time), "prekeys are to change");
    let mix = registration(&CAST.mixes[1], 0, 1);
    assert!(matches!(mix.check(&ours, NOW_S), Err(RegistrationError::Certificate(_))), "a mix is no client");

    // Any changed byte is noticed, by whoever looks first.
    let bytes = good.bytes();
    for at in (0..bytes.len()).step_by(13).chain(bytes.len() - 75..bytes.len()) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        let read = Registration::decode(&changed);
        assert!(read.and_then(|read| read.check(&ours, NOW_S)).is_err(), "byte {at}");
    }
    for length in [0, 1, 50, 1247, bytes.len() - 1] {
        assert_eq!(Registration::decode(&bytes[..length]), Err(RegistrationError::Malformed), "{length} bytes");
    }
    let said = Register::make(&CAST.alice, &good, NOW_S);
    assert_eq!(Register::decode(&said.encode()).as_ref(), Ok(&said));
    assert_eq!(said.check(NOW_S + 120), Ok(()));
    assert_eq!(said.check(NOW_S + 121), Err(RegistrationError::Time));
    let others = Register::make(&CAST.carol, &good, NOW_S);
    assert_eq!(others.check(NOW_S), Err(RegistrationError::Signature));
}

#[test]
fn a_registered_client_is_known_in_its_zone_and_nowhere_else() {
    let mut world = World::new();
    assert!(world.register(&CAST.bob, 2, 7));
    world.run(1);
    let bob = id_of(&CAST.bob);
    // By each mix of its zone, asked from anywhere.
    for (at, of) in [(0, 2), (0, 3), (1, 3), (2, 2), (2, 3), (3, 2)] {
        let found = look_up(&mut world, at, 50 + of as u32, of, bob).expect("answered").expect("known");
        assert_eq!((found.client(), found.rendezvous()), (bob, id(2)), "asked at {at} of {of}");
    }
    // By no mix of another zone; and who is not registered is unknown.
    assert_eq!(look_up(&mut world, 2, 60, 0, bob), Ok(None));
    assert_eq!(look_up(&mut world, 0, 61, 2, id_of(&CAST.alice)), Ok(None));
    assert_eq!(world.service(3).counters().registrations, 1);
    assert_eq!(world.service(0).counters().registrations, 0);
}

#[test]
fn known_or_not_looks_the_same_on_every_link() {
    let mut world = World::new();
    assert!(world.register(&CAST.bob, 2, 7));
    world.run(1);
    let mut shapes = Vec::new();
    for wanted in [id_of(&CAST.bob), id_of(&CAST.carol)] {
        world.take_log();
        look_up(&mut world, 0, 50, 3, wanted).expect("answered");
        let log = world.take_log();
        shapes.push(log.iter().map(|sent| (sent.from, sent.to, sent.kind, sent.bytes.len())).collect::<Vec<_>>());
        for sent in &log {
            assert!(!sent.bytes.windows(16).any(|part| part == wanted.0), "no link shows who is wanted");
        }
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[0].len(), 2);
}

#[test]
fn a_lookup_goes_by_another_mix_of_the_zone() {
    let mut world = World::new();
    assert!(world.register(&CAST.bob, 2, 7));
    world.run(1);
    world.cut(0, 3);
    let found = look_up(&mut world, 0, 50, 3, id_of(&CAST.bob)).expect("answered");
    assert!(found.is_some(), "through mix 2");
    world.cut(0, 2);
    assert_eq!(look_up(&mut world, 0, 50, 3, id_of(&CAST.bob)), Err(Reason::NoRoute));
    // It is passed on once, within the zone.
    world.connect(0, 2);
    world.cut(2, 3);
    assert_eq!(look_up(&mut world, 0, 50, 3, id_of(&CAST.bob)), Err(Reason::Timeout));
    assert_eq!(world.refused(2, "lookup_no_route"), 1);
    // Mix 2 serves its own zone only: not the north's mix 1 for the north's mix 0.
    let (_, query) = Asked::new(NodeId([1; 16]), &[9; 32]).expect("sealed");
    let through = LinkLookup { mix: id(1), number: 1, relays: 1, query }.encode();
    world.link_say(2, (link_to(0), peer(0)), LinkLookup::KIND, &through);
    assert_eq!(world.refused(2, "lookup_no_route"), 2);
}

#[test]
fn a_restarted_daemon_learns_again() {
    let mut world = World::new();
    let clients = [(&CAST.alice, 0, 7), (&CAST.carol, 1, 8)];
    for (client, at, circuit) in clients {
        assert!(world.register(client, at, circuit));
    }
    world.run(1);
    // A mix that lost all: at once from the others what is theirs, and its own clients' from their next refresh.
    world.restart(0);
    assert_eq!(world.service(0).counters().registrations, 0);
    world.run(2);
    assert_eq!(
        look_up(&mut world, 0, 50, 0, id_of(&CAST.carol)).expect("answered").map(|r| r.rendezvous()),
        Some(id(1))
    );
    assert_eq!(look_up(&mut world, 2, 51, 0, id_of(&CAST.alice)), Ok(None));
    refreshed(&mut world, &clients, 1);
    world.run(1);
    assert!(look_up(&mut world, 2, 52, 0, id_of(&CAST.alice)).expect("answered").is_some());
    // And signals for it find its circuit again.
    signal(&mut world, (2, 53), (0, id_of(&CAST.alice).0), None, 5);
    assert_eq!(signals(&mut world, 0, 7), [(id_of(&CAST.alice).0, 5)]);
}

#[test]
fn who_is_silent_is_forgotten() {
    let mut world = World::new();
    assert!(world.register(&CAST.alice, 0, 7) && world.register(&CAST.carol, 0, 8));
    refreshed(&mut world, &[(&CAST.alice, 0, 7)], 2);
    // Two are missed: still known.
    assert!(look_up(&mut world, 2, 50, 1, id_of(&CAST.carol)).expect("answered").is_some());
    refreshed(&mut world, &[(&CAST.alice, 0, 7)], 3);
    world.run(FORGET_S - REFRESH_S - 5);
    for of in [0, 1] {
        assert_eq!(look_up(&mut world, 2, 51, of, id_of(&CAST.carol)), Ok(None), "mix {of}");
        assert!(look_up(&mut world, 2, 52, of, id_of(&CAST.alice)).expect("answered").is_some(), "mix {of}");
    }
    // A mix that falls silent takes its clients with it.
    for mix in 1..4 {
        world.cut(0, mix);
    }
    world.run(2 * FORGET_S);
    assert_eq!(look_up(&mut world, 2, 53, 1, id_of(&CAST.alice)), Ok(None));
}

#[test]
fn the_newest_registration_counts() {
    let mut world = World::new();
    assert!(world.register(&CAST.alice, 0, 7));
    // Another mix, in a later epoch.
    let moved = registration(&CAST.alice, 1, 2);
    world.say(1, 9, Register::KIND, &Register::make(&CAST.alice, &moved, world.now.unix_s).encode());
    world.run(1);
    for of in [0, 1] {
        let found = look_up(&mut world, 2, 50, of, id_of(&CAST.alice)).expect("answered").expect("known");
        assert_eq!(found.rendezvous(), id(1), "mix {of}");
    }
    // The old one is not taken again, from a circuit or by gossip.
    world.run(1);
    assert!(!world.register(&CAST.alice, 0, 7));
    let old = News::Registration(registration(&CAST.alice, 0, 1).bytes().to_vec()).encode();
    let stale = world.refused(1, "stale");
    world.link_say(1, (link_to(0), peer(0)), News::KIND, &old);
    assert_eq!(world.refused(1, "stale"), stale + 1);
}

#[test]
fn nobody_takes_anothers_place() {
    let mut world = World::new();
    let registration = registration(&CAST.alice, 0, 1);
    let said = Register::make(&CAST.alice, &registration, world.now.unix_s).encode();
    world.say(0, 7, Register::KIND, &said);
    let failed = |world: &mut World, circuit| {
        let (kind, bytes) = world.take_told(0, circuit).pop().expect("told");
        (kind == Failed::KIND).then(|| Failed::decode(&bytes).expect("well-formed").reason)
    };
    assert_eq!(failed(&mut world, 7), None);
    // The same again from another circuit; another's signature over it; a time to come.
    world.say(0, 8, Register::KIND, &said);
    assert_eq!(failed(&mut world, 8), Some(Reason::Stale));
    for (at, (client, unix_s)) in
        [(&CAST.carol, world.now.unix_s + 5), (&CAST.alice, world.now.unix_s + 500)].into_iter().enumerate()
    {
        let circuit = 9 + at as u32;
        world.say(0, circuit, Register::KIND, &Register::make(client, &registration, unix_s).encode());
        assert_eq!(failed(&mut world, circuit), Some(Reason::Untrusted));
    }
    // A client of another zone; a registration that names another mix.
    let foreign = world::registration(&CAST.bob, 0, 1);
    world.say(0, 11, Register::KIND, &Register::make(&CAST.bob, &foreign, world.now.unix_s).encode());
    assert_eq!(failed(&mut world, 11), Some(Reason::Untrusted));
    let elsewhere = world::registration(&CAST.alice, 1, 1);
    world.say(0, 12, Register::KIND, &Register::make(&CAST.alice, &elsewhere, world.now.unix_s + 9).encode());
    assert_eq!(failed(&mut world, 12), Some(Reason::Malformed));
    // A mailbox of that name, opened by a signal.
    signal(&mut world, (0, 13), (2, [9; 16]), Some(id_of(&CAST.alice).0), 1);
    assert_eq!(world.refused(0, "mailbox_taken"), 1);
    signal(&mut world, (2, 50), (0, id_of(&CAST.alice).0), None, 4);
    assert_eq!(signals(&mut world, 0, 7), [(id_of(&CAST.alice).0, 4)]);
}

/// A client at `from` signals to a mailbox.
fn signal(world: &mut World, from: (usize, u32), to: (usize, Mailbox), reply: Option<Mailbox>, what: u8) {
    let sealed = vec![what; SIGNAL_BYTES];
    let mix = CAST.mixes[to.0].certificate();
    let mailbox = SealedMailbox::seal(&mix.static_key(), &to.1).expect("sealed");
    let out = SignalOut { mix: id(to.0), mailbox, reply, sealed };
    world.say(from.0, from.1, SignalOut::KIND, &out.encode());
}

/// Who passes a signal on does not learn for whom it is (I2): a mailbox may be a client's id.
#[test]
fn a_mailbox_shows_to_its_own_mix_only() {
    let mailbox = id_of(&CAST.alice).0;
    let [here, there] = [0, 2].map(|mix| &CAST.mixes[mix]);
    let [one, other] =
        [(), ()].map(|()| SealedMailbox::seal(&there.certificate().static_key(), &mailbox).expect("sealed"));
    assert_ne!(one, other, "the same mailbox twice looks different");
    assert_eq!(one.open(there.static_secret()), Ok(mailbox));
    assert!(one.open(here.static_secret()).is_err());
    let out = SignalOut { mix: id(2), mailbox: one, reply: None, sealed: vec![1; SIGNAL_BYTES] };
    assert!(!out.encode().windows(16).any(|bytes| bytes == mailbox));
    // One that does not open at its mix is dropped, counted.
    let mut world = World::new();
    let changed = SealedMailbox(one.0.map(|byte| byte ^ 1));
    world.say(0, 20, SignalOut::KIND, &SignalOut { mix: id(0), mailbox: changed, ..out }.encode());
    assert_eq!(world.refused(0, "signal_box"), 1);
}

/// The signals that a circuit's client was told: mailbox and content.
fn signals(world: &mut World, at: usize, circuit: u32) -> Vec<(Mailbox, u8)> {
    let told = world.take_told(at, circuit);
    let signals = told.iter().filter(|(kind, _)| *kind == SignalIn::KIND);
    signals
        .map(|(_, bytes)| {
            let signal = SignalIn::decode(bytes).expect("well-formed");
            assert!(signal.sealed.iter().all(|byte| *byte == signal.sealed[0]));
            (signal.mailbox, signal.sealed[0])
        })
        .collect()
}

#[test]
fn signals_go_both_ways() {
    let (alice, bob) = (id_of(&CAST.alice).0, id_of(&CAST.bob).0);
    // To another zone, directly and by another mix of it; to the same zone; to the same mix.
    for (caller, callee, client, cut) in
        [(0, 2, &CAST.bob, None), (0, 3, &CAST.bob, Some((0, 3))), (1, 0, &CAST.alice, None), (0, 0, &CAST.alice, None)]
    {
        let mut world = World::new();
        assert!(world.register(client, callee, 7));
        if let Some((a, b)) = cut {
            world.cut(a, b);
        }
        let mailbox = if callee == 0 { alice } else { bob };
        world.take_log();
        signal(&mut world, (caller, 20), (callee, mailbox), Some([3; 16]), 1);
        assert_eq!(signals(&mut world, callee, 7), [(mailbox, 1)]);
        signal(&mut world, (callee, 7), (caller, [3; 16]), None, 2);
        assert_eq!(signals(&mut world, caller, 20), [([3; 16], 2)]);
        let sizes: Vec<usize> = world.take_log().iter().map(|sent| sent.bytes.len()).collect();
        assert!(sizes.iter().all(|size| *size == 83 + SIGNAL_BYTES), "{sizes:?}");
        assert_eq!(
            sizes.len(),
            if cut.is_some() {
                4
            } else if caller == callee {
                0
            } else {
                2
            }
        );
    }
}

#[test]
fn a_signal_for_nobody_says_nothing() {
    let mut world = World::new();
    assert!(world.register(&CAST.bob, 2, 7));
    let bob = id_of(&CAST.bob).0;
    let mut said = Vec::new();
    for (mailbox, what) in [(bob, 1), ([0xee; 16], 2)] {
        world.take_log();
        signal(&mut world, (0, 20), (2, mailbox), None, what);
        said.push((world.take_told(0, 20), world.take_log().len()));
    }
    assert_eq!(said, [(Vec::new(), 1), (Vec::new(), 1)], "the sender and the wire see the same");
    assert_eq!(signals(&mut world, 2, 7), [(bob, 1)]);
    assert_eq!(world.refused(2, "signal_unknown"), 1);
    // Nor do mailboxes outlive their circuit.
    world.gone(2, 7);
    signal(&mut world, (0, 20), (2, bob), None, 3);
    assert_eq!(signals(&mut world, 2, 7), []);
    assert_eq!(world.refused(2, "signal_unknown"), 2);
}

#[test]
fn a_circuit_has_few_mailboxes_and_a_client_its_newest_circuit() {
    let mut world = World::new();
    for mailbox in 1..=9u8 {
        signal(&mut world, (0, 20), (2, [0xee; 16]), Some([mailbox; 16]), 1);
    }
    for (mailbox, there) in [(1u8, false), (2, true), (9, true)] {
        signal(&mut world, (0, 21), (0, [mailbox; 16]), None, mailbox);
        let expected: &[(Mailbox, u8)] = if there { &[([mailbox; 16], mailbox)] } else { &[] };
        assert_eq!(signals(&mut world, 0, 20), expected);
    }
    // Another circuit does not get a mailbox that is open.
    signal(&mut world, (0, 22), (2, [0xee; 16]), Some([9; 16]), 1);
    signal(&mut world, (0, 21), (0, [9; 16]), None, 3);
    assert_eq!((signals(&mut world, 0, 20).len(), signals(&mut world, 0, 22).len()), (1, 0));
    assert!(world.register(&CAST.alice, 0, 30));
    world.run(1);
    assert!(world.register(&CAST.alice, 0, 31));
    world.gone(0, 30);
    signal(&mut world, (0, 21), (0, id_of(&CAST.alice).0), None, 3);
    assert_eq!(signals(&mut world, 0, 31).len(), 1);
}

#[test]
fn only_mixes_speak_of_this_on_links() {
    let mut world = World::new();
    for (role, foreign, id) in
        [(Role::Client, false, id_of(&CAST.alice)), (Role::Mix, true, id(1)), (Role::Mix, false, NodeId([1; 16]))]
    {
        let from = (9, PeerInfo { id, role, foreign });
        assert!(world.link_say(0, from, link::SPLICE, &Splice { token: Token([1; 16]), id: 5 }.encode()));
    }
    assert_eq!(world.refused(0, "not_a_mix"), 3);
    assert!(!world.link_say(0, (link_to(1), peer(1)), link::CREATE, &[]), "another module's");
    // Registrations are the zone's own matter, and each mix's own.
    let news = News::Registration(registration(&CAST.alice, 1, 1).bytes().to_vec()).encode();
    for (from, reason) in [(2, "gossip_of_another_zone"), (1, "malformed")] {
        let bytes = if from == 2 { news.clone() } else { vec![0, 1, 2] };
        world.link_say(0, (link_to(from), peer(from)), News::KIND, &bytes);
        assert_eq!(world.refused(0, reason), 1, "{reason}");
    }
    let others = News::Registration(registration(&CAST.alice, 0, 1).bytes().to_vec()).encode();
    world.link_say(0, (link_to(1), peer(1)), News::KIND, &others);
    assert_eq!(world.refused(0, "gossip_of_another_mix"), 1);
    world.link_say(0, (link_to(1), peer(1)), News::KIND, &news);
    assert_eq!(world.service(0).counters().registrations, 1);
}

#[test]
fn floods_are_bounded() {
    let mut world = World::new();
    assert!(world.register(&CAST.bob, 2, 7));
    let bob = id_of(&CAST.bob).0;
    let count = |world: &mut World, at: usize, circuit: u32| {
        let mut kinds = BTreeMap::new();
        for (kind, _) in world.take_told(at, circuit) {
            *kinds.entry(kind).or_insert(0) += 1;
        }
        kinds
    };
    // One circuit's signals; then many circuits' to one client.
    for _ in 0..100 {
        signal(&mut world, (0, 20), (2, bob), None, 1);
    }
    assert_eq!(count(&mut world, 0, 20), BTreeMap::from([(hop::FAILED, 84)]));
    assert_eq!(count(&mut world, 2, 7), BTreeMap::from([(hop::SIGNAL, 16)]));
    for circuit in 21..60 {
        signal(&mut world, (0, circuit), (2, bob), None, 1);
    }
    assert_eq!(count(&mut world, 2, 7), BTreeMap::new());
    assert_eq!(world.refused(2, "signal_flood"), 39);
    // One circuit's lookups, of which few may wait.
    world.cut(2, 3);
    world.cut(0, 3);
    let (_, query) = Asked::new(NodeId([1; 16]), &[9; 32]).expect("sealed");
    for request in 0..50 {
        world.say(0, 20, Lookup::KIND, &Lookup { mix: id(3), request, query }.encode());
    }
    assert_eq!(count(&mut world, 0, 20), BTreeMap::from([(hop::FAILED, 46)]));
    world.run(25);
    assert_eq!(count(&mut world, 0, 20), BTreeMap::from([(hop::FAILED, 4)]), "these waited");
    // A neighbour's SPLICEs and signals.
    let (small, large) = by_id();
    for token in 0..2000u32 {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&token.to_be_bytes());
        let splice = Splice { token: Token(bytes), id: token + 1 }.encode();
        world.link_say(large, (link_to(small), peer(small)), Splice::KIND, &splice);
        world.now.mono_ns += SECOND / 200;
    }
    assert!(world.refused(large, "splice_limit") > 1000);
    let news = vec![1; 1 + 16 * DIGESTS_MAX];
    for _ in 0..2000 {
        world.link_say(0, (link_to(1), peer(1)), News::KIND, &news);
    }
    assert!(world.refused(0, "gossip_limit") > 1000);
    // A full link loses what finds no room, and says so to the client.
    world.fill(true);
    signal(&mut world, (0, 90), (2, bob), None, 1);
    assert_eq!(count(&mut world, 0, 90), BTreeMap::from([(hop::FAILED, 1)]));
}

#[test]
fn gossip_waits_for_room() {
    let mut world = World::new();
    world.fill(true);
    assert!(world.register(&CAST.alice, 0, 7));
    world.run(5);
    assert_eq!(world.service(1).counters().registrations, 0);
    world.fill(false);
    world.run(1);
    assert_eq!(world.service(1).counters().registrations, 1);
}

#[test]
fn circuits_that_are_gone_leave_nothing() {
    let mut world = World::new();
    world.cut(2, 3);
    world.cut(0, 3);
    assert!(world.register(&CAST.alice, 0, 7));
    let (_, query) = Asked::new(NodeId([1; 16]), &[9; 32]).expect("sealed");
    world.say(0, 7, Lookup::KIND, &Lookup { mix: id(3), request: 1, query }.encode());
    join(&mut world, 0, 7, 1, 2);
    world.gone(0, 7);
    world.take_told(0, 7);
    world.run(30);
    assert_eq!(world.take_told(0, 7), [], "its number may be another's by now");
    world.gone(0, 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_message_panics(
        messages in prop::collection::vec(
            (0usize..4, 0u32..3, 30u8..42, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 1..40,
        ),
        cut in any::<bool>(),
    ) {
        let mut world = World::new();
        if cut {
            world.cut(0, 2);
        }
        for (at, circuit, kind, from_client, mut bytes) in messages {
            // Often of the right length, and with names that exist.
            let length = [16, 17, 20, 32, 148, 153, 83 + SIGNAL_BYTES, 98 + SIGNAL_BYTES][bytes.len() % 8];
            if bytes.first().is_some_and(|byte| byte % 4 != 0) {
                bytes.resize(length, 0);
                let name = id(usize::from(bytes[0] % 4)).0;
                let place = if kind == hop::JOIN { 16 } else { 0 };
                if let Some(place) = bytes.get_mut(place..place + 16) {
                    place.copy_from_slice(&name);
                }
            }
            if from_client && (32..=37).contains(&kind) && kind != hop::REGISTERED && kind != hop::LOOKUP_ANSWER {
                world.say(at, circuit, kind, &bytes);
            } else {
                let from = (at + 1) % 4;
                world.link_say(at, (link_to(from), peer(from)), kind, &bytes);
            }
        }
        world.run(61);
        for at in 0..4 {
            prop_assert!(world.service(at).deadline().is_some());
        }
    }

    #[test]
    fn no_registration_panics(bytes in prop::collection::vec(any::<u8>(), 0..1500), at in 0usize..1800, byte: u8) {
        let _ = Registration::decode(&bytes);
        let _ = Register::decode(&bytes);
        let mut changed = Register::make(&CAST.alice, &registration(&CAST.alice, 0, 1), NOW_S).encode();
        let at = at % changed.len();
        changed[at] = byte;
        let _ = Register::decode(&changed).map(|read| read.registration.check(&zone_authority(0), NOW_S));
    }
}
