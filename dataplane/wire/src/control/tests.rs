//! Tests of messages: known answers, limits, and properties over arbitrary messages.

mod ranges;

use super::*;
use crate::testing::{any_punt, any_reply, any_request, same};
use core::net::SocketAddr;
use proptest::prelude::*;

/// The message in a buffer of its own.
fn bytes_of(request: &Request, id: u32) -> Vec<u8> {
    let mut out = vec![0xaa; MAX_MESSAGE];
    let len = request.encode(id, &mut out).expect("fits");
    out.truncate(len);
    out
}

fn reply_bytes(reply: &Reply<'_>, id: u32) -> Vec<u8> {
    let mut out = vec![0xaa; MAX_MESSAGE];
    let len = reply.encode(id, &mut out).expect("fits");
    out.truncate(len);
    out
}

const BOOT: BootId = BootId([0xb0; 16]);

fn class() -> PutClass {
    PutClass {
        boot: BOOT,
        class: 0x0102,
        kind: ClassKind::Zone,
        round_ns: 20_000_000,
        slots: 3,
        slots_max: 8,
        at_ns: 7,
    }
}

fn link() -> PutLink {
    PutLink {
        boot: BOOT,
        link: 0x0a0b_0c0d,
        generation: 2,
        local_port: 0x1122,
        remote: Address::from(SocketAddr::from(([1, 2, 3, 4], 0x3344))),
        class: 0x0102,
        peer: Peer::Foreign,
        ratchet_bits: 24,
        send: Direction { secret: Secret([0x51; 32]), first: 5 },
        receive: Direction { secret: Secret([0x52; 32]), first: 6 },
        owner: Owner::new(b"me").expect("short"),
    }
}

fn circuit() -> PutCircuit {
    PutCircuit {
        boot: BOOT,
        circuit: 1,
        generation: 2,
        near: LinkEnd { link: 3, id: 4 },
        far: Some(LinkEnd { link: 5, id: 6 }),
        forward: Leg { key: Secret([0xf0; 16]), first: Some(7), offset: 8, admitted: true },
        backward: Leg { key: Secret([0xba; 16]), first: None, offset: 10, admitted: false },
        hop: Some(HopKeys { forward_mac: Secret([0xf1; 32]), backward_mac: Secret([0xbb; 32]), first: 11 }),
        owner: Owner::default(),
    }
}

fn end() -> PutEnd {
    let layer = |n: u8| EndLayer {
        forward: Secret([n; 16]),
        forward_offset: n.into(),
        backward: Secret([n + 1; 16]),
        backward_offset: u64::from(n) + 1,
    };
    PutEnd {
        boot: BOOT,
        end: 1,
        generation: 2,
        at: LinkEnd { link: 3, id: 4 },
        send_first: 5,
        receive_first: Some(6),
        layers: Layers::from_slice(&[layer(0x10), layer(0x20)]).expect("fits"),
        seal: EndSecret { key: Secret([0x61; 16]), iv: Secret([0x62; 12]) },
        open: EndSecret { key: Secret([0x63; 16]), iv: Secret([0x64; 12]) },
    }
}

/// `parts` of hexadecimal digits, as bytes.
fn hex(parts: &[&str]) -> Vec<u8> {
    let digits = parts.concat();
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")).collect()
}

#[test]
fn known_answers_of_requests() {
    let boot = "b0".repeat(16);
    assert_eq!(bytes_of(&Request::Hello, 0x0102_0304), hex(&["01010000", "01020304"]));
    assert_eq!(bytes_of(&Request::QueryStatus, 0), hex(&["010a0000", "00000000"]));
    assert_eq!(bytes_of(&Request::QueryLinks { from: 9 }, 1), hex(&["010b0000", "00000001", "00000009"]));
    assert_eq!(
        bytes_of(&Request::SwitchLink { boot: BOOT, link: 2, generation: 3 }, 1),
        hex(&["01040000", "00000001", &boot, "00000002", "00000003"])
    );
    let removes = [
        Request::RemoveLink { boot: BOOT, link: 2 },
        Request::RemoveCircuit { boot: BOOT, circuit: 2 },
        Request::RemoveEnd { boot: BOOT, end: 2 },
    ];
    for (remove, kind) in removes.iter().zip(["05", "07", "09"]) {
        let expected = hex(&["01", kind, "0000", "00000001", &boot, "00000002"]);
        assert_eq!(bytes_of(remove, 1), expected);
    }
    assert_eq!(
        bytes_of(&Request::PutClass(class()), 1),
        hex(&[
            "01020000",
            "00000001",
            &boot,
            "0102",
            "02",
            "0000000001312d00",
            "00000003",
            "00000008",
            "0000000000000007"
        ])
    );
    assert_eq!(
        bytes_of(&Request::PutLink(link()), 1),
        hex(&[
            "01030000",
            "00000001",
            &boot,
            "0a0b0c0d",
            "00000002",
            "1122",
            "00000000000000000000ffff01020304",
            "3344",
            "0102",
            "01",
            "18",
            &"51".repeat(32),
            "0000000000000005",
            &"52".repeat(32),
            "0000000000000006",
            "02",
            "6d65"
        ])
    );
    assert_eq!(
        bytes_of(&Request::PutCircuit(circuit()), 1),
        hex(&[
            "01060000",
            "00000001",
            &boot,
            "00000001",
            "00000002",
            "00000003",
            "00000004",
            "01",
            "00000005",
            "00000006",
            &"f0".repeat(16),
            "01",
            "0000000000000007",
            "0000000000000008",
            "01",
            &"ba".repeat(16),
            "00",
            "000000000000000a",
            "00",
            "01",
            &"f1".repeat(32),
            &"bb".repeat(32),
            "000000000000000b",
            "00"
        ])
    );
    assert_eq!(
        bytes_of(&Request::PutEnd(end()), 1),
        hex(&[
            "01080000",
            "00000001",
            &boot,
            "00000001",
            "00000002",
            "00000003",
            "00000004",
            "0000000000000005",
            "01",
            "0000000000000006",
            "02",
            &"10".repeat(16),
            "0000000000000010",
            &"11".repeat(16),
            "0000000000000011",
            &"20".repeat(16),
            "0000000000000020",
            &"21".repeat(16),
            "0000000000000021",
            &"61".repeat(16),
            &"62".repeat(12),
            &"63".repeat(16),
            &"64".repeat(12)
        ])
    );
}

#[test]
fn known_answers_of_requests_for_circuits_under_construction_and_control() {
    let boot = "b0".repeat(16);
    let at = LinkEnd { link: 3, id: 4 };
    let bytes = |bytes: &[u8]| Bytes::new(bytes).expect("fits");
    let others = List::from_slice(&[0x11, 0x22]).expect("fits");
    let remote = Address::from(SocketAddr::from(([1, 2, 3, 4], 0x3344)));
    let v4 = "00000000000000000000ffff01020304";
    let inject = |inject| Request::Inject(inject);
    let expected: [(Request, &str, &[&str]); 13] = [
        (
            Request::ExtendCircuit(ExtendCircuit { boot: BOOT, circuit: 1, far: at, others }),
            "0c",
            &[&boot, "00000001", "00000003", "00000004", "02", "0000000000000011", "0000000000000022"],
        ),
        (
            Request::PutLoop(PutLoop { boot: BOOT, a: 5, b: 6, class: 7, owner: Owner::new(b"me").expect("short") }),
            "0d",
            &[&boot, "00000005", "00000006", "0007", "02", "6d65"],
        ),
        (Request::PutTap { boot: BOOT, at }, "0e", &[&boot, "00000003", "00000004"]),
        (Request::RemoveTap { boot: BOOT, at }, "0f", &[&boot, "00000003", "00000004"]),
        (Request::AdvanceEpoch { boot: BOOT, link: 3, send: true }, "10", &[&boot, "00000003", "01"]),
        (Request::Dump { what: Dump::Circuits, from: 9 }, "20", &["02", "00000009"]),
        (Request::Subscribe { boot: BOOT }, "21", &[&boot]),
        (
            inject(Inject::Link { boot: BOOT, link: 3, body: bytes(b"me") }),
            "22",
            &[&boot, "00", "00000003", "0002", "6d65"],
        ),
        (
            inject(Inject::Hop { boot: BOOT, circuit: 1, kind: 8, data: bytes(b"me") }),
            "22",
            &[&boot, "01", "00000001", "08", "0002", "6d65"],
        ),
        (
            inject(Inject::Relay { boot: BOOT, at, counter: 5, body: bytes(b"me") }),
            "22",
            &[&boot, "02", "00000003", "00000004", "0000000000000005", "0002", "6d65"],
        ),
        (
            inject(Inject::Record { boot: BOOT, link: 3, content_type: 22, data: bytes(b"me") }),
            "22",
            &[&boot, "03", "00000003", "16", "0002", "6d65"],
        ),
        (
            Request::Raw(Raw { boot: BOOT, worker: 2, to: remote, bytes: bytes_of_datagram(b"me") }),
            "23",
            &[&boot, "02", v4, "3344", "0002", "6d65"],
        ),
        (Request::Expect { boot: BOOT, remote, expected: true }, "24", &[&boot, v4, "3344", "01"]),
    ];
    for (request, kind, payload) in expected {
        let whole = hex(&["01", kind, "0000", "00000001", &payload.concat()]);
        assert_eq!(bytes_of(&request, 1), whole, "{request:?}");
    }
}

fn bytes_of_datagram(bytes: &[u8]) -> Bytes<DATAGRAM_MAX> {
    Bytes::new(bytes).expect("fits")
}

#[test]
fn known_answers_of_punts() {
    let from = Address::from(SocketAddr::from(([1, 2, 3, 4], 0x3344)));
    let bytes = b"me";
    let expected: [(Punt<'_>, &str, &[&str]); 7] = [
        (
            Punt::Raw { worker: 2, from, bytes },
            "a0",
            &["02", "00000000000000000000ffff01020304", "3344", "0002", "6d65"],
        ),
        (Punt::Link { link: 3, body: bytes }, "a1", &["00000003", "0002", "6d65"]),
        (Punt::Hop { circuit: 1, kind: 8, data: bytes }, "a2", &["00000001", "08", "0002", "6d65"]),
        (
            Punt::Relay { link: 3, id: 4, counter: 5, body: bytes },
            "a3",
            &["00000003", "00000004", "0000000000000005", "0002", "6d65"],
        ),
        (
            Punt::Record { link: 3, epoch: 4, number: 5, content_type: 22, data: bytes },
            "a4",
            &["00000003", "00000004", "0000000000000005", "16", "0002", "6d65"],
        ),
        (Punt::Heard { link: 3, generation: 4 }, "a5", &["00000003", "00000004"]),
        (Punt::Silent { link: 3 }, "a6", &["00000003"]),
    ];
    for (punt, kind, payload) in expected {
        let mut out = [0; PUNT_MAX];
        let len = punt.encode(9, &mut out).expect("fits");
        assert_eq!(out[..len], hex(&["01", kind, "0000", "00000009", &payload.concat()]), "{punt:?}");
    }
}

#[test]
fn known_answers_of_replies() {
    assert_eq!(reply_bytes(&Reply::Done, 7), hex(&["01800000", "00000007"]));
    assert_eq!(
        reply_bytes(&Reply::Refused { code: Refusal::Exists, text: "no" }, 7),
        hex(&["01810000", "00000007", "0004", "0002", "6e6f"])
    );
    assert_eq!(reply_bytes(&Reply::Report(b"{}"), 7), hex(&["01830000", "00000007", "00000002", "7b7d"]));
    let worker = WorkerInfo { listen: Address::from(SocketAddr::from(([0u8; 16], 1))), core: 0xffff };
    let welcome = Welcome {
        boot: BOOT,
        cell: 512,
        now_ns: 3,
        lab: true,
        ends: false,
        workers: Workers::from_slice(&[worker]).expect("fits"),
    };
    assert_eq!(
        reply_bytes(&Reply::Welcome(welcome), 7),
        hex(&[
            "01820000",
            "00000007",
            &"b0".repeat(16),
            "0200",
            "0000000000000003",
            "01",
            "00",
            "01",
            &"00".repeat(16),
            "0001",
            "ffff"
        ])
    );
}

#[test]
fn the_frame_is_checked() {
    let good = bytes_of(&Request::Hello, 9);
    let with = |at: usize, byte: u8| {
        let mut odd = good.clone();
        odd[at] = byte;
        Request::decode(&odd).map(|_| ())
    };
    assert_eq!(with(0, 1), Ok(()));
    for version in (0..=255).filter(|byte| *byte != VERSION) {
        assert_eq!(with(0, version), Err(DecodeError::Version(version)));
    }
    for at in [2, 3] {
        assert_eq!(with(at, 1), Err(DecodeError::Field { name: "reserved", allowed: "must be zero" }));
    }
    assert_eq!(Request::decode(&vec![1; MAX_MESSAGE + 1]).err(), Some(DecodeError::Long));
    for kind in 0..=255u8 {
        let mut odd = good.clone();
        odd[1] = kind;
        let request = Request::decode(&odd).err();
        let reply = Reply::decode(&odd).err();
        let punt = Punt::decode(&odd).err();
        let unknown = Some(DecodeError::Kind(kind));
        let takes = [request != unknown, reply != unknown, punt != unknown];
        let expected = match kind {
            kind::HELLO..=kind::ADVANCE_EPOCH | kind::DUMP..=kind::EXPECT => [true, false, false],
            kind::DONE..=kind::REPORT => [false, true, false],
            kind::PUNT_RAW..=kind::PUNT_SILENT => [false, false, true],
            _ => [false; 3],
        };
        assert_eq!(takes, expected, "kind {kind}");
    }
}

#[test]
fn request_ids_of_any_bytes() {
    assert_eq!(request_id_of(&bytes_of(&Request::Hello, 0xfedc_ba98)), 0xfedc_ba98);
    assert_eq!(request_id_of(&[9, 9, 9, 9, 0, 0, 1, 2]), 0x102);
    assert_eq!(request_id_of(&[1; 7]), 0);
    assert_eq!(request_id_of(&[]), 0);
}

#[test]
fn errors_read_well() {
    let error = |error: DecodeError| error.to_string();
    assert_eq!(
        error(DecodeError::Field { name: "slots", allowed: "1 to slots_max" }),
        "field slots is out of range: 1 to slots_max"
    );
    assert_eq!(error(DecodeError::Version(2)), "message version 2; this is version 1");
}

#[test]
fn secrets_do_not_show() {
    for request in [Request::PutLink(link()), Request::PutCircuit(circuit()), Request::PutEnd(end())] {
        let text = format!("{request:?}");
        assert!(text.contains("Secret(..)"));
        let bytes = [0x51, 0x52, 0xf0, 0xba, 0x61, 0x62, 0x63, 0x64];
        assert!(bytes.iter().all(|byte| !text.contains(&format!("{byte}, {byte}"))), "{text}");
    }
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    for (text, kept) in [("x".repeat(600), 512), ("é".repeat(300), 512), (format!("x{}", "é".repeat(300)), 511)] {
        let bytes = reply_bytes(&Reply::Refused { code: Refusal::Limit, text: &text }, 1);
        let expected = Reply::Refused { code: Refusal::Limit, text: &text[..kept] };
        assert_eq!(Reply::decode(&bytes), Ok((1, expected)));
    }
}

#[test]
fn the_longest_request_fits_its_limit() {
    let layers = Layers::from_slice(&vec![EndLayer::default(); LAYERS_MAX]).expect("fits");
    let end = Request::PutEnd(PutEnd { layers, ..end() });
    let owner = Owner::new(&[0; OWNER_MAX]).expect("fits");
    let link = Request::PutLink(PutLink { owner, ..link() });
    let circuit = Request::PutCircuit(PutCircuit { owner, ..circuit() });
    let boot = BOOT;
    let raw = Request::Raw(Raw {
        boot,
        worker: 0,
        to: Address { ip: [1; 16], port: 1 },
        bytes: bytes_of_datagram(&[0; DATAGRAM_MAX]),
    });
    let body = Bytes::new(&[0; CELL_BYTES_MAX]).expect("fits");
    let cell = Request::Inject(Inject::Relay { boot, at: LinkEnd { link: 1, id: 1 }, counter: 0, body });
    let longest = [end, link, circuit, raw, cell].map(|request| bytes_of(&request, 1).len());
    assert!(longest.into_iter().all(|len| len <= REQUEST_MAX), "{longest:?}");
}

#[test]
fn a_report_fills_a_message_and_no_more() {
    let json = vec![b' '; MAX_MESSAGE];
    let most = &json[..MAX_MESSAGE - FRAME - 4];
    let bytes = reply_bytes(&Reply::Report(most), 1);
    assert_eq!(bytes.len(), MAX_MESSAGE);
    assert_eq!(Reply::decode(&bytes), Ok((1, Reply::Report(most))));
    let mut out = vec![0; 2 * MAX_MESSAGE];
    let over = Reply::Report(&json[..most.len() + 1]);
    assert_eq!(over.encode(1, &mut out), Err(Full));
}

proptest! {
    #[test]
    fn requests_go_there_and_back(request in any_request(), id: u32) {
        let bytes = bytes_of(&request, id);
        prop_assert_eq!(request_id_of(&bytes), id);
        let (id_again, again) = Request::decode(&bytes).expect("decodes");
        prop_assert_eq!(id_again, id);
        prop_assert!(same(&request, &again));
        prop_assert_eq!(bytes_of(&again, id), bytes);
    }

    #[test]
    fn punts_go_there_and_back(punt in any_punt(), count: u32, byte: u8) {
        let punt = punt.as_punt();
        let mut out = [0xaa; PUNT_MAX];
        let len = punt.encode(count, &mut out).expect("fits");
        prop_assert_eq!(Punt::decode(&out[..len]), Ok((count, punt)));
        for short in 0..len {
            prop_assert!(Punt::decode(&out[..short]).is_err());
            prop_assert_eq!(punt.encode(count, &mut vec![0; short]), Err(Full));
        }
        out[len] = byte;
        prop_assert_eq!(Punt::decode(&out[..=len]), Err(DecodeError::Trailing));
    }

    #[test]
    fn replies_go_there_and_back(reply in any_reply(), id: u32) {
        let reply = reply.as_reply();
        let bytes = reply_bytes(&reply, id);
        prop_assert_eq!(request_id_of(&bytes), id);
        prop_assert_eq!(Reply::decode(&bytes), Ok((id, reply)));
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_an_error(request in any_request(), reply in any_reply(), byte: u8) {
        let mut bytes = bytes_of(&request, 1);
        for len in 0..bytes.len() {
            prop_assert_eq!(Request::decode(&bytes[..len]).err(), Some(DecodeError::Short));
        }
        bytes.push(byte);
        prop_assert_eq!(Request::decode(&bytes).err(), Some(DecodeError::Trailing));
        let mut bytes = reply_bytes(&reply.as_reply(), 1);
        for len in 0..bytes.len() {
            prop_assert!(Reply::decode(&bytes[..len]).is_err());
        }
        bytes.push(byte);
        prop_assert_eq!(Reply::decode(&bytes), Err(DecodeError::Trailing));
    }

    #[test]
    fn a_short_buffer_is_full(request in any_request(), reply in any_reply()) {
        for len in 0..bytes_of(&request, 1).len() {
            prop_assert_eq!(request.encode(1, &mut vec![0; len]), Err(Full));
        }
        let reply = reply.as_reply();
        for len in 0..reply_bytes(&reply, 1).len() {
            prop_assert_eq!(reply.encode(1, &mut vec![0; len]), Err(Full));
        }
    }
}
