//! Every back end that this processor has, through all that a back end must pass. The list is [`Backend::ALL`], so that a
//! new one cannot be forgotten. Says past the test runner's capture which ran, and which this processor lacks and why.

use crate::backend::{Backend, WithSuite};
use crate::edges::Edges;
use crate::{Suite, conformance, vectors, wiping};
use std::io::Write;

/// Puts every back end that is here through a check; `name` says what the check is, its result what was checked.
fn each<W: WithSuite<Out = String>>(name: &str, check: impl Fn() -> W) {
    for backend in Backend::ALL {
        let missing = backend.missing();
        if missing.is_empty() {
            let done = backend.dispatch(check());
            // A test cannot do more about it than to say it.
            _ = std::io::stderr().write_all(format!("{name}, back end {backend}: {done}\n").as_bytes());
        } else {
            drover_nic::skip::skipped(format!("{name}, back end {backend}: no {} here", missing.join(", ")));
        }
    }
}

struct Conformance;

impl WithSuite for Conformance {
    type Out = String;
    fn with<C: Suite>(self) -> String {
        conformance::suite::<C>();
        conformance::ctr_layers::<C::Layers>();
        "equal to the bare crates".to_owned()
    }
}

#[test]
fn conforms() {
    each("conformance", || Conformance);
}

struct Vectors;

impl WithSuite for Vectors {
    type Out = String;
    fn with<C: Suite>(self) -> String {
        let vectors::gcm::Counts { opened, refused, cells } = vectors::gcm::run::<C::Records>();
        let masks = vectors::aes::masks::<C::Records>();
        let layers = vectors::aes::layers::<C::Layers>();
        let counts = [opened, refused, cells, masks, layers];
        assert!(!counts.contains(&0), "no vector of some kind: {counts:?}");
        format!(
            "AES-128-GCM of NIST, McGrew and Viega, Wycheproof: {opened} opened and {refused} refused as short records, \
             {cells} as cells; AES-128 of NESSIE: {masks} as masks, {layers} in layers"
        )
    }
}

#[test]
fn published_vectors() {
    each("vectors", || Vectors);
}

struct Wiping;

impl WithSuite for Wiping {
    type Out = String;
    fn with<C: Suite>(self) -> String {
        wiping::keys::<C>();
        "nothing left in its place of a key that was dropped or replaced".to_owned()
    }
}

#[test]
fn keys_are_wiped() {
    each("wiping", || Wiping);
}

#[test]
fn edges_of_memory() {
    each("edges", || Edges);
}
