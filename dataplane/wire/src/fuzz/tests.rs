//! The fuzz entry point over bytes that are likely to be accepted, and over good messages with a few bytes changed.

use super::*;
use crate::cell::Command;
use crate::frame;
use crate::testing::{any_punt, any_reply, any_request};
use proptest::prelude::*;

#[test]
fn small_and_large_inputs() {
    fuzz_parsers(&[]);
    for byte in 0..=255u8 {
        fuzz_parsers(&[byte]);
        fuzz_parsers(&[byte; 300]);
    }
    fuzz_parsers(&[1; MAX_MESSAGE + 1]);
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
        fuzz_parsers(&bytes);
    }

    #[test]
    fn small_numbers(bytes in proptest::collection::vec(0u8..3, 0..200)) {
        fuzz_parsers(&bytes);
    }

    #[test]
    fn framed_bytes(kind: u8, id: u32, payload in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..400)) {
        let frame = [1, kind, 0, 0];
        fuzz_parsers(&[&frame[..], &id.to_be_bytes(), &payload].concat());
    }

    #[test]
    fn records_and_cells(first in 0x20u8..0x40, size in proptest::sample::select(&CellSize::ALL[..]), circuit: u32, counter: u64) {
        let s = size.bytes();
        let mut record = vec![first; record::HEADER + s];
        fuzz_parsers(&record);
        record.splice(3..3, u16::from(size).to_be_bytes());
        fuzz_parsers(&record);
        let mut cell = vec![first; size.plaintext_len()];
        Header { circuit, command: Command::Relay, counter }.write(&mut cell);
        prop_assert!(Header::read(&cell).is_ok());
        fuzz_parsers(&cell);
    }

    /// With a right sum of IPv4's header or none at all, so that not every frame ends there.
    #[test]
    fn changed_frames(
        v4: bool, vlan in proptest::option::of(1u16..4095), payload in proptest::collection::vec(any::<u8>(), 0..600),
        changes in proptest::collection::vec((0usize..70, any::<u8>()), 0..4),
    ) {
        let ip = if v4 { frame::mapped([192, 0, 2, 1]) } else { [0x20; 16] };
        let local = frame::Local { mac: frame::Mac([2; 6]), vlan, ip };
        let mut bytes = vec![0; local.headers_len()];
        frame::write_headers(&mut bytes, &local, 1, local.mac, &ip, 2, &payload, frame::Checksum::Software);
        bytes.extend_from_slice(&payload);
        prop_assert!(frame::parse(&bytes, &local, frame::Checksum::Software).is_ok());
        fuzz_parsers(&bytes);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        fuzz_parsers(&bytes);
    }

    #[test]
    fn changed_messages(
        request in any_request(), reply in any_reply(), punt in any_punt(), changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut out = vec![0; MAX_MESSAGE];
        for turn in 0..3 {
            let len = match turn {
                0 => request.encode(7, &mut out),
                1 => reply.as_reply().encode(7, &mut out),
                _ => punt.as_punt().encode(7, &mut out),
            };
            let mut bytes = out[..len.expect("fits")].to_vec();
            for (at, byte) in &changes {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            fuzz_parsers(&bytes);
        }
    }
}
