use super::*;
use std::collections::HashSet;

#[test]
fn ids_never_meet() {
    // Circuits of a mix, and ids on a link from both halves, for calls that share mixes in any place.
    let circuits: HashSet<u32> =
        (0..1000).flat_map(|call| (0..PATH).map(move |place| circuit_id(call, place))).collect();
    assert_eq!(circuits.len(), 1000 * PATH);
    assert!(!circuits.contains(&0) && circuits.iter().all(|id| *id < ID_LIMIT));
    let ids: HashSet<u32> =
        (0..1000).flat_map(|call| [on_link(call, 0, true), on_link(call, 0, false), on_link(call, 4, true)]).collect();
    assert_eq!(ids.len(), 3000);
    assert!(on_link(0, 0, true) < ID_LIMIT && on_link(0, 0, false) >= ID_LIMIT);
}

#[test]
fn errors_say_what_to_do_after_a_restart() {
    let fault = Fault::Refused { what: "link".into(), code: Refusal::WrongBoot, text: "another boot".into() };
    let error = ProgramError::Socket("m1".into(), SocketError { path: "s".into(), fault });
    assert!(error.to_string().contains("run this again"), "{error}");
}
