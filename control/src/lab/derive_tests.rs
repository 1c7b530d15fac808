use super::*;
use std::collections::HashSet;

const RANK: [usize; 6] = [4, 0, 1, 2, 3, 5];

fn boots() -> [BootId; 6] {
    std::array::from_fn(|n| BootId([n as u8 + 1; 16]))
}

fn call() -> Call {
    let secret = FileSecret::from_hex(&"5a".repeat(32)).expect("hex");
    Call { name: "call".into(), path: vec![], caller_end: 1, callee_end: 1, secret }
}

fn link() -> Link {
    let secret = FileSecret::from_hex(&"c3".repeat(32)).expect("hex");
    let name = |text: &str| text.to_owned();
    Link {
        name: name("m1=m2"),
        a: name("m1"),
        b: name("m2"),
        class: name("mix"),
        a_worker: 0,
        b_worker: 0,
        ratchet_bits: 24,
        secret,
    }
}

/// Every secret value of a call's keys.
fn values(keys: &CallKeys) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for half in [&keys.caller, &keys.callee] {
        all.push(half.send_first.to_be_bytes().to_vec());
        for hop in &half.hops {
            all.extend([hop.forward.0.to_vec(), hop.backward.0.to_vec()]);
            all.extend([hop.forward_offset, hop.backward_offset].map(|o| o.to_be_bytes().to_vec()));
        }
    }
    for end in [&keys.from_caller, &keys.from_callee] {
        all.extend([end.key.0.to_vec(), end.iv.0.to_vec()]);
    }
    all
}

/// HKDF by hand over the parts that W-LAB-1 names: the derivation is what the specification says.
#[test]
fn derivation_is_the_specifications() {
    let lives = Lives { first: BootId([1; 16]), second: BootId([2; 16]) };
    let mut out = [0; 32];
    derive(&link().secret, lives, "label", 7, &mut out);
    let mut want = [0; 32];
    let salt = [[1u8; 16], [2; 16]].concat();
    hkdf_sha256(&salt, &[0xc3; 32], &[b"label\x00\x00\x00\x07"], &mut want);
    assert_eq!(out, want);
}

#[test]
fn both_directions_of_a_link_differ_and_every_life_has_its_own() {
    let mut seen = HashSet::new();
    for (first, second, generation) in [(1, 2, 1), (2, 1, 1), (1, 3, 1), (3, 2, 1), (1, 2, 2)] {
        let lives = Lives { first: BootId([first; 16]), second: BootId([second; 16]) };
        let keys = LinkKeys::new(&link(), lives, generation);
        assert!(seen.insert(keys.a_to_b.0) && seen.insert(keys.b_to_a.0));
        let again = LinkKeys::new(&link(), lives, generation);
        assert_eq!(keys.a_to_b.0, again.a_to_b.0);
        let other = LinkKeys::new(&Link { name: "x".into(), ..link() }, lives, generation);
        assert!(seen.insert(other.a_to_b.0));
    }
}

#[test]
fn all_keys_of_a_call_are_distinct() {
    let values = values(&CallKeys::new(&call(), &boots(), &RANK, 1));
    let set: HashSet<_> = values.iter().collect();
    assert_eq!((set.len(), values.len()), (22, 22));
}

#[test]
fn any_restart_changes_every_key_of_a_call() {
    let before = values(&CallKeys::new(&call(), &boots(), &RANK, 1));
    for restarted in 0..6 {
        let mut boots = boots();
        boots[restarted] = BootId([0xee; 16]);
        let after = values(&CallKeys::new(&call(), &boots, &RANK, 1));
        let same = before.iter().zip(&after).filter(|(x, y)| x == y).count();
        assert_eq!(same, 0, "node {restarted} of the path restarted");
    }
    let after = values(&CallKeys::new(&call(), &boots(), &RANK, 2));
    assert!(before.iter().zip(&after).all(|(x, y)| x != y), "another generation");
    let other = values(&CallKeys::new(&Call { name: "b".into(), ..call() }, &boots(), &RANK, 1));
    assert!(before.iter().zip(&other).all(|(x, y)| x != y), "another call");
}

#[test]
fn counters_go_from_end_to_end() {
    let keys = CallKeys::new(&call(), &boots(), &RANK, 1);
    for (counters, sender, receiver) in
        [(keys.forth(), &keys.caller, &keys.callee), (keys.back(), &keys.callee, &keys.caller)]
    {
        assert_eq!(counters.at_mix[0], sender.send_first);
        // The receiver undoes from the nearest hop outwards (W-CIR-7): it must meet each mix's counter.
        let near = counters.at_end.wrapping_sub(receiver.hops[0].backward_offset);
        assert_eq!(near, counters.at_mix[3]);
        assert_eq!(near.wrapping_sub(receiver.hops[1].backward_offset), counters.at_mix[2]);
        // The sender looks ahead (W-CIR-6).
        let far = sender.send_first.wrapping_add(sender.hops[0].forward_offset);
        assert_eq!(far, counters.at_mix[1]);
        // On no two links is the counter the same (I1).
        let all: HashSet<_> = counters.at_mix.into_iter().chain([counters.at_end]).collect();
        assert_eq!(all.len(), 5);
    }
}
