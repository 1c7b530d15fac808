//! Circuits that an earlier life of this process has made (`docs/wire.md`, W-CRT-11): the data plane tells them.

use super::table::{Circuit, Far};
use super::{Hops, LOOP};
use crate::link::class;
use crate::plane::{Now, Plane, PlaneError, dump};
use drover_dtls::certificate::NodeId;
use drover_wire::control::{Dump, LinkEnd, Owner, PutLoop, Request};
use serde::Deserialize;

/// What our circuits' owner blobs begin with: | 1 version | 1 client | 16 near peer | 4 near link | 4 near id |.
const VERSION: u8 = 0xc1;
const OWNER: usize = 1 + 1 + 16 + 4 + 4;

#[derive(Deserialize)]
struct DumpedEnd {
    link: u32,
    id: u32,
}

impl From<DumpedEnd> for LinkEnd {
    fn from(end: DumpedEnd) -> LinkEnd {
        LinkEnd { link: end.link, id: end.id }
    }
}

#[derive(Deserialize)]
struct Dumped {
    circuit: u32,
    near: DumpedEnd,
    far: Option<DumpedEnd>,
    owner: String,
}

/// The note that is left with a circuit.
pub(super) fn owner(circuit: &Circuit) -> Owner {
    let mut blob = Vec::with_capacity(OWNER);
    blob.extend_from_slice(&[VERSION, u8::from(circuit.client)]);
    blob.extend_from_slice(&circuit.near_peer.0);
    blob.extend_from_slice(&circuit.near.link.to_be_bytes());
    blob.extend_from_slice(&circuit.near.id.to_be_bytes());
    Owner::new(&blob).unwrap_or_default()
}

/// Whether the near side is the client, and who it is; `None` for a circuit of others.
fn read(owner: &str, near: LinkEnd) -> Option<(bool, NodeId)> {
    let digits = owner.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let blob: [u8; OWNER] = digits.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    let (head, ends) = blob.split_first_chunk::<18>()?;
    let (&[version, client], peer) = head.split_first_chunk::<2>()?;
    let ours = [near.link.to_be_bytes(), near.id.to_be_bytes()].concat();
    (version == VERSION && client <= 1 && *ends == ours[..]).then_some((client == 1, NodeId(peer.try_into().ok()?)))
}

impl Hops {
    pub(super) fn adopt_all(&mut self, plane: &mut dyn Plane, now: Now) -> Result<(), PlaneError> {
        let boot = plane.welcome().boot;
        let owner = Owner::new(&[VERSION]).unwrap_or_default();
        plane.ask(&Request::PutLoop(PutLoop { boot, a: LOOP.0, b: LOOP.1, class: class::ZONE, owner }))?;
        for dumped in dump(plane, Dump::Circuits)? {
            let odd =
                |_| PlaneError::Gone("the dump of circuits is none; are both programs of the same build?".to_owned());
            let dumped: Dumped = serde_json::from_value(dumped).map_err(odd)?;
            let (near, far) = (LinkEnd::from(dumped.near), dumped.far.map(LinkEnd::from));
            if self.table.get(dumped.circuit).is_some() {
                continue;
            }
            match read(&dumped.owner, near) {
                Some((client, near_peer)) => {
                    let mut circuit = Circuit::new(near, near_peer, client, now.mono_ns);
                    circuit.far = far.map_or(Far::None, Far::There);
                    self.table.insert(dumped.circuit, circuit);
                }
                None => self.table.stranger(dumped.circuit, [Some(near), far].into_iter().flatten()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_is_needed_and_others_are_left_alone() {
        let near = LinkEnd { link: 7, id: 0x8000_0009 };
        let hex = |owner: &Owner| owner.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for client in [false, true] {
            let note = hex(&owner(&Circuit::new(near, NodeId([5; 16]), client, 0)));
            assert_eq!(note.len(), 2 * OWNER);
            assert_eq!(read(&note, near), Some((client, NodeId([5; 16]))));
            assert_eq!(read(&note, LinkEnd { id: 9, ..near }), None, "another circuit's note");
            assert_eq!(read(&note[2..], near), None);
            assert_eq!(read(&format!("00{}", &note[2..]), near), None);
            assert_eq!(read(&format!("{}02{}", &note[..2], &note[4..]), near), None);
        }
        for odd in ["", "zz", "c", "é", "c1"] {
            assert_eq!(read(odd, near), None, "{odd}");
        }
    }
}
