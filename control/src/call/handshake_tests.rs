use super::*;
use std::collections::BTreeSet;
use std::sync::OnceLock;

const NOW: u64 = 1_800_000_000;

struct World {
    zones: Vec<Certificate>,
    alice: Identity,
    bob: Identity,
    mallory: Identity,
    foreigner: Identity,
    mix: Identity,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let zone = Identity::new_zone("north", NOW, 30).expect("a zone");
        let other = Identity::new_zone("nowhere", NOW, 30).expect("a zone");
        let client = |name| zone.issue(name, Role::Client, NOW, 30).expect("issued");
        World {
            alice: client("alice"),
            bob: client("bob"),
            mallory: client("mallory"),
            foreigner: other.issue("eve", Role::Client, NOW, 30).expect("issued"),
            mix: zone.issue("m1", Role::Mix, NOW, 30).expect("issued"),
            zones: vec![zone.certificate().clone()],
        }
    })
}

fn id(identity: &Identity) -> NodeId {
    identity.certificate().id()
}

const REACH: Reach = Reach { rendezvous: NodeId([1; 16]), mailbox: [2; 16] };

fn read(bytes: &[u8], own: &Identity) -> Result<Introduction, Refusal> {
    Introduction::read(bytes, id(own), &world().zones, NOW)
}

/// A whole handshake: the caller's secret, the callee's, and the meetings of both.
fn agree(caller: &Identity, callee: &Identity) -> ([CallSecret; 2], [Meeting; 2]) {
    let (offer, introduction) = introduce(caller, id(callee), REACH, NOW).expect("made");
    let read = read(&introduction, callee).expect("right");
    let (answered, answer) = read.answer(callee, NodeId([3; 16])).expect("made");
    let (_, meeting, ours, reveal) = offer.finish(&answer, callee.certificate()).expect("right");
    let theirs = answered.finish(&reveal).expect("right");
    ([ours, theirs], [meeting, answered.meeting().clone()])
}

#[test]
fn both_sides_agree() {
    let World { alice, bob, .. } = world();
    let (offer, introduction) = introduce(alice, id(bob), REACH, NOW).expect("made");
    assert!(introduction.len() <= INTRODUCTION_MAX);
    let read = read(&introduction, bob).expect("right");
    assert_eq!((read.caller.id(), read.reach), (id(alice), REACH));
    let (answered, answer) = read.answer(bob, NodeId([3; 16])).expect("made");
    let (rendezvous, meeting, ours, reveal) = offer.finish(&answer, bob.certificate()).expect("right");
    let theirs = answered.finish(&reveal).expect("right");
    assert_eq!(rendezvous, NodeId([3; 16]));
    assert_eq!((ours.sas(), ours.sas().len()), (theirs.sas(), 6));
    let mut tokens = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for attempt in 0..4 {
        assert_eq!(meeting.token(attempt), answered.meeting().token(attempt));
        assert!(tokens.insert(meeting.token(attempt)), "a token of its own for each attempt");
        let ((seal, open), (their_seal, their_open)) = (ours.ends(attempt), theirs.ends(attempt));
        assert_eq!((seal.key.0, seal.iv.0), (their_open.key.0, their_open.iv.0));
        assert_eq!((open.key.0, open.iv.0), (their_seal.key.0, their_seal.iv.0));
        assert!(keys.insert(seal.key.0) && keys.insert(open.key.0), "no two share a key");
    }
}

#[test]
fn no_two_calls_are_alike() {
    let World { alice, bob, .. } = world();
    let (first, second) = (agree(alice, bob), agree(alice, bob));
    assert_ne!(first.0[0].ends(0).0.key.0, second.0[0].ends(0).0.key.0);
    assert_ne!(first.1[0].token(0), second.1[0].token(0));
}

#[test]
fn any_changed_byte_fails() {
    let World { alice, bob, .. } = world();
    let (offer, introduction) = introduce(alice, id(bob), REACH, NOW).expect("made");
    let good = read(&introduction, bob).expect("right");
    let (answered, answer) = good.answer(bob, NodeId([3; 16])).expect("made");
    let (.., reveal) = offer.finish(&answer, bob.certificate()).expect("right");
    // Every seventh byte, so that the signatures' cost stays within a test's; 7 divides no field.
    for at in (0..introduction.len()).step_by(7).chain([introduction.len() - 1]) {
        let mut changed = introduction.clone();
        changed[at] ^= 1;
        assert!(read(&changed, bob).is_err(), "byte {at} of the introduction");
    }
    for at in (0..answer.len()).step_by(7).chain([answer.len() - 1]) {
        let mut changed = answer.clone();
        changed[at] ^= 0x80;
        assert!(offer.finish(&changed, bob.certificate()).is_err(), "byte {at} of the answer");
    }
    for at in 0..reveal.len() {
        let mut changed = reveal.clone();
        changed[at] ^= 1;
        let expected = if at < 32 { Refusal::Commitment } else { Refusal::Confirmation };
        assert_eq!(answered.finish(&changed).err(), Some(expected), "byte {at} of the reveal");
    }
    for len in 0..introduction.len() {
        assert_eq!(read(&introduction[..len], bob).err(), Some(Refusal::Malformed));
    }
    assert_eq!(read(&[&introduction[..], &[0]].concat(), bob).err(), Some(Refusal::Malformed));
    assert_eq!(offer.finish(&[&answer[..], &[0]].concat(), bob.certificate()).err(), Some(Refusal::Malformed));
    assert_eq!(answered.finish(&reveal[..63]).err(), Some(Refusal::Malformed));
    // What was refused changed nothing.
    assert!(answered.finish(&reveal).is_ok());
}

#[test]
fn a_swapped_certificate_fails() {
    let World { alice, bob, mallory, .. } = world();
    let (_, introduction) = introduce(alice, id(bob), REACH, NOW).expect("made");
    let theirs = alice.certificate().der();
    let mut swapped = introduction[..17].to_vec();
    put_counted(&mut swapped, mallory.certificate().der());
    swapped.extend_from_slice(&introduction[19 + theirs.len()..]);
    assert_eq!(read(&swapped, bob).err(), Some(Refusal::Signature));
    // An answer by another than the one called.
    let (offer, introduction) = introduce(alice, id(bob), REACH, NOW).expect("made");
    let (_, answer) = read(&introduction, bob).expect("right").answer(mallory, NodeId([3; 16])).expect("made");
    assert_eq!(offer.finish(&answer, bob.certificate()).err(), Some(Refusal::Signature));
    // An answer to another introduction of the same caller.
    let (_, earlier) = introduce(alice, id(bob), REACH, NOW).expect("made");
    let (_, answer) = read(&earlier, bob).expect("right").answer(bob, NodeId([3; 16])).expect("made");
    assert_eq!(offer.finish(&answer, bob.certificate()).err(), Some(Refusal::Signature));
}

#[test]
fn strangers_are_refused() {
    let World { alice, bob, foreigner, mix, .. } = world();
    let refusal = |from: &Identity, to: &Identity, at| {
        let (_, introduction) = introduce(from, id(to), REACH, at).expect("made");
        read(&introduction, bob).err()
    };
    assert_eq!(refusal(alice, bob, NOW + CLOCKS_S), None);
    assert_eq!(refusal(alice, bob, NOW - CLOCKS_S - 1), Some(Refusal::Clock));
    assert_eq!(refusal(alice, alice, NOW), Some(Refusal::NotForUs));
    assert_eq!(refusal(bob, bob, NOW), Some(Refusal::Certificate), "oneself");
    assert_eq!(refusal(foreigner, bob, NOW), Some(Refusal::Certificate));
    assert_eq!(refusal(mix, bob, NOW), Some(Refusal::Certificate), "a mix does not call");
}

/// Someone with good certificates in both names sits in between: a zone that issues false ones. Both handshakes are
/// right; the people read different digits.
#[test]
fn in_between_the_sas_differs() {
    let World { alice, bob, mallory, .. } = world();
    let mut different = 0;
    for _ in 0..3 {
        let ([to_alice, _], _) = agree(alice, mallory);
        let ([_, to_bob], _) = agree(mallory, bob);
        different += u32::from(to_alice.sas() != to_bob.sas());
    }
    // One in a million each that they are alike.
    assert!(different >= 2);
}

/// The caller cannot choose its nonce after it has seen the callee's: it is bound.
#[test]
fn the_caller_is_bound_to_its_nonce() {
    let World { alice, bob, .. } = world();
    let (mut offer, introduction) = introduce(alice, id(bob), REACH, NOW).expect("made");
    let (answered, answer) = read(&introduction, bob).expect("right").answer(bob, NodeId([3; 16])).expect("made");
    let before = offer.finish(&answer, bob.certificate()).expect("right").2.sas();
    let mut others = BTreeSet::new();
    for byte in 0..8 {
        offer.nonce[0] = offer.nonce[0].wrapping_add(1 + byte);
        let (_, _, secret, reveal) = offer.finish(&answer, bob.certificate()).expect("the caller may do as it likes");
        assert_eq!(answered.finish(&reveal).err(), Some(Refusal::Commitment));
        others.insert(secret.sas());
    }
    // The nonce does move the digits: that is what it could have been ground for.
    assert!(others.len() >= 7 && !(others.len() == 8 && others.contains(&before)));
}
