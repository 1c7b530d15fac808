//! Dumps: what exists, page by page, for a control daemon that has lost its memory (`docs/wire.md`, W-CTL-11).
//!
//! Key ids, never keys; owner blobs as they were left. For the control socket only: it names both sides of circuits.

use super::shadow::{CircuitEntry, ClassEntry, LinkEntry, NO_KEY, Shadow};
use drover_wire::control::{Dump, LinkEnd, Peer};
use serde_json::{Value, json};
use std::fmt::Write;

/// Objects of one page: at most about 700 bytes each, so that no page is longer than a message.
const A_PAGE: usize = 64;

/// A page of `what`, from id `from` on, and the id where the next page begins.
pub fn page(shadow: &Shadow, what: Dump, from: u32) -> Vec<u8> {
    let page = match what {
        Dump::Classes => {
            let mut classes: Vec<_> = shadow.classes().iter().map(|class| (u32::from(class.id), class)).collect();
            classes.sort_by_key(|(id, _)| *id);
            paged("classes", classes.into_iter().filter(|(id, _)| *id >= from), |_, class| class_row(class))
        }
        Dump::Links => paged("links", shadow.links_from(from), link_row),
        Dump::Circuits => paged("circuits", shadow.circuits_from(from), circuit_row),
        Dump::Ends => paged(
            "ends",
            shadow.ends_from(from),
            |end, (spec, _)| json!({ "end": end, "generation": spec.generation, "at": side(spec.at) }),
        ),
    };
    page.to_string().into_bytes()
}

fn paged<T>(name: &str, mut all: impl Iterator<Item = (u32, T)>, row: impl Fn(u32, T) -> Value) -> Value {
    let rows: Vec<_> = all.by_ref().take(A_PAGE).map(|(id, object)| row(id, object)).collect();
    json!({ "next": all.next().map(|(id, _)| id), name: rows })
}

fn class_row(class: &ClassEntry) -> Value {
    json!({
        "class": class.id,
        "kind": crate::status::kind_name(class.kind),
        "round_ns": class.rate.round_ns,
        "slots": class.rate.slots,
        "slots_max": class.slots_max,
    })
}

fn link_row(id: u32, link: &LinkEntry) -> Value {
    let generations: Vec<_> = link
        .generations
        .iter()
        .map(|keys| {
            let [send, receive] = keys.keys.map(|id| (id != NO_KEY).then(|| hex(&id)));
            json!({ "generation": keys.generation, "send_id": send, "receive_id": receive })
        })
        .collect();
    let looped = link.loop_to.is_some();
    json!({
        "link": id,
        "local_port": link.spec.local_port,
        "remote": (!looped).then(|| link.spec.remote.to_string()),
        "class": link.spec.class,
        "peer": match link.spec.peer {
            Peer::Drover => "drover",
            Peer::Foreign => "foreign",
        },
        "ratchet_bits": link.spec.ratchet_bits,
        "loop_to": link.loop_to,
        "sending": link.sending,
        "generations": generations,
        "heard": link.heard,
        "silent": link.silent,
        "owner": hex(link.owner.as_bytes()),
    })
}

fn circuit_row(id: u32, circuit: &CircuitEntry) -> Value {
    let spec = &circuit.spec;
    json!({
        "circuit": id,
        "generation": spec.generation,
        "near": side(spec.near),
        "far": circuit.far_end().map(side),
        "admitted": spec.legs.map(|leg| leg.admitted),
        "hop": spec.hop.is_some(),
        "owner": hex(spec.owner.as_bytes()),
    })
}

fn side(at: LinkEnd) -> Value {
    json!({ "link": at.link, "id": at.id })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
