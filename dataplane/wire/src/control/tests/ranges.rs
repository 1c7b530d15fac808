//! Every field that has a range: its ends pass, and what lies beyond is refused by name (W-CTL-3).

use super::*;

/// What refuses `request` after a trip over the wire: the field's name.
fn refused(request: &Request) -> Option<&'static str> {
    match Request::decode(&bytes_of(request, 1)) {
        Ok(_) => None,
        Err(DecodeError::Field { name, .. }) => Some(name),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn classes_have_ranges() {
    let with =
        |round_ns, slots, slots_max| refused(&Request::PutClass(PutClass { round_ns, slots, slots_max, ..class() }));
    assert_eq!(with(ROUND_NS_MIN, 1, 1), None);
    assert_eq!(with(ROUND_NS_MAX, SLOTS_MAX, SLOTS_MAX), None);
    assert_eq!(with(ROUND_NS_MIN - 1, 1, 1), Some("round_ns"));
    assert_eq!(with(ROUND_NS_MAX + 1, 1, 1), Some("round_ns"));
    assert_eq!(with(ROUND_NS_MIN, 0, 1), Some("slots"));
    assert_eq!(with(ROUND_NS_MIN, 2, 1), Some("slots"));
    assert_eq!(with(ROUND_NS_MIN, 0, 0), Some("slots"));
    assert_eq!(with(ROUND_NS_MIN, 1, SLOTS_MAX + 1), Some("slots_max"));
}

#[test]
fn links_have_ranges() {
    let with = |change: fn(&mut PutLink)| {
        let mut put = link();
        change(&mut put);
        refused(&Request::PutLink(put))
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|put| put.link = ID_LIMIT - 1), None);
    assert_eq!(with(|put| put.link = ID_LIMIT), Some("link"));
    assert_eq!(with(|put| put.remote.port = 0), Some("remote.port"));
    assert_eq!(with(|put| put.remote.ip = [0; 16]), Some("remote.ip"));
    assert_eq!(with(|put| put.remote.ip[12..].fill(0)), Some("remote.ip"), "v4-mapped 0.0.0.0");
    assert_eq!(with(|put| put.ratchet_bits = RATCHET_BITS_MIN), None);
    assert_eq!(with(|put| put.ratchet_bits = RATCHET_BITS_MAX), None);
    assert_eq!(with(|put| put.ratchet_bits = RATCHET_BITS_MIN - 1), Some("ratchet_bits"));
    assert_eq!(with(|put| put.ratchet_bits = RATCHET_BITS_MAX + 1), Some("ratchet_bits"));
    for request in [
        Request::SwitchLink { boot: BOOT, link: ID_LIMIT, generation: 0 },
        Request::RemoveLink { boot: BOOT, link: ID_LIMIT },
    ] {
        assert_eq!(refused(&request), Some("link"));
    }
    assert_eq!(refused(&Request::QueryLinks { from: ID_LIMIT }), Some("from"));
}

#[test]
fn circuits_have_ranges() {
    let with = |change: fn(&mut PutCircuit)| {
        let mut put = circuit();
        change(&mut put);
        refused(&Request::PutCircuit(put))
    };
    assert_eq!(with(|put| put.far = None), None);
    assert_eq!(with(|put| put.near.id = u32::MAX), None, "ids on a link have 32 bits");
    assert_eq!(with(|put| put.circuit = ID_LIMIT), Some("circuit"));
    assert_eq!(with(|put| put.near.link = ID_LIMIT), Some("near.link"));
    assert_eq!(with(|put| put.near.id = 0), Some("near.id"));
    assert_eq!(with(|put| put.far = Some(LinkEnd { link: ID_LIMIT, id: 1 })), Some("far.link"));
    assert_eq!(with(|put| put.far = Some(LinkEnd { link: 1, id: 0 })), Some("far.id"));
    assert_eq!(with(|put| put.far = Some(put.near)), Some("far"));
    assert_eq!(with(|put| put.far = Some(LinkEnd { id: 9, ..put.near })), None, "back over the same link");
    let remove = Request::RemoveCircuit { boot: BOOT, circuit: ID_LIMIT };
    assert_eq!(refused(&remove), Some("circuit"));
}

#[test]
fn ends_have_ranges() {
    let with = |change: fn(&mut PutEnd)| {
        let mut put = end();
        change(&mut put);
        refused(&Request::PutEnd(put))
    };
    assert_eq!(with(|put| put.layers = Layers::new()), None);
    assert_eq!(with(|put| put.end = ID_LIMIT), Some("end"));
    assert_eq!(with(|put| put.at.link = ID_LIMIT), Some("at.link"));
    assert_eq!(with(|put| put.at.id = 0), Some("at.id"));
    assert_eq!(refused(&Request::RemoveEnd { boot: BOOT, end: ID_LIMIT }), Some("end"));
}

#[test]
fn what_control_hands_over_has_ranges() {
    let (boot, bad) = (BOOT, LinkEnd { link: ID_LIMIT, id: 1 });
    let none = LinkEnd { link: 1, id: 0 };
    let extend = |circuit, far| ExtendCircuit { boot, circuit, far, others: List::default() };
    assert_eq!(refused(&Request::ExtendCircuit(extend(ID_LIMIT, none))), Some("circuit"));
    assert_eq!(refused(&Request::ExtendCircuit(extend(1, bad))), Some("far.link"));
    assert_eq!(refused(&Request::ExtendCircuit(extend(1, none))), Some("far.id"));
    let put_loop = |a, b| refused(&Request::PutLoop(PutLoop { boot, a, b, class: 1, owner: Owner::default() }));
    assert_eq!(put_loop(1, 2), None);
    assert_eq!((put_loop(ID_LIMIT, 2), put_loop(1, ID_LIMIT), put_loop(3, 3)), (Some("a"), Some("b"), Some("b")));
    for (at, name) in [(bad, "at.link"), (none, "at.id")] {
        assert_eq!(refused(&Request::PutTap { boot, at }), Some(name));
        assert_eq!(refused(&Request::RemoveTap { boot, at }), Some(name));
        let body = Bytes::new(&[]).expect("fits");
        assert_eq!(refused(&Request::Inject(Inject::Relay { boot, at, counter: 0, body })), Some(name));
    }
    assert_eq!(refused(&Request::AdvanceEpoch { boot, link: ID_LIMIT, send: true }), Some("link"));
    assert_eq!(refused(&Request::Dump { what: Dump::Links, from: ID_LIMIT }), Some("from"));
    let empty = || Bytes::new(&[]).expect("fits");
    assert_eq!(refused(&Request::Inject(Inject::Link { boot, link: ID_LIMIT, body: empty() })), Some("link"));
    let hop = Inject::Hop { boot, circuit: ID_LIMIT, kind: 0, data: empty() };
    assert_eq!(refused(&Request::Inject(hop)), Some("circuit"));
    for content_type in 0..=255 {
        let record = Inject::Record { boot, link: 1, content_type, data: empty() };
        let expected = Some("content_type").filter(|_| !matches!(content_type, 21 | 22 | 26));
        assert_eq!(refused(&Request::Inject(record)), expected);
    }
    let raw = |ip, port| Raw { boot, worker: 0, to: Address { ip, port }, bytes: Bytes::new(&[]).expect("fits") };
    assert_eq!(refused(&Request::Raw(raw([1; 16], 0))), Some("to.port"));
    assert_eq!(refused(&Request::Raw(raw([0; 16], 1))), Some("to.ip"));
}

/// Values that no `Request` or `Reply` can hold: bytes of good messages, changed.
#[test]
fn odd_bytes_are_named() {
    let field = |mut bytes: Vec<u8>, at: usize, byte: u8| {
        bytes[at] = byte;
        let request = Request::decode(&bytes).err();
        match request.filter(|error| !matches!(error, DecodeError::Kind(_))).or(Reply::decode(&bytes).err()) {
            Some(DecodeError::Field { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    };
    let class = bytes_of(&Request::PutClass(class()), 1);
    assert_eq!(field(class, 26, 4), "kind");
    let link = bytes_of(&Request::PutLink(link()), 1);
    assert_eq!(field(link.clone(), 54, 2), "peer");
    assert_eq!(field(link, 136, 65), "owner");
    let circuit = bytes_of(&Request::PutCircuit(circuit()), 1);
    assert_eq!(field(circuit.clone(), 40, 2), "far");
    assert_eq!(field(circuit.clone(), 65, 2), "first");
    assert_eq!(field(circuit.clone(), 82, 2), "forward.admitted");
    assert_eq!(field(circuit.clone(), 99, 2), "first");
    assert_eq!(field(circuit.clone(), 108, 0xff), "backward.admitted");
    assert_eq!(field(circuit, 109, 2), "hop");
    let end = bytes_of(&Request::PutEnd(end()), 1);
    assert_eq!(field(end.clone(), 48, 2), "receive_first");
    assert_eq!(field(end, 57, 5), "layers");
    let far = LinkEnd { link: 3, id: 4 };
    let extend = Request::ExtendCircuit(ExtendCircuit { boot: BOOT, circuit: 1, far, others: List::default() });
    assert_eq!(field(bytes_of(&extend, 1), 36, 3), "others");
    let tap = bytes_of(&Request::AdvanceEpoch { boot: BOOT, link: 1, send: false }, 1);
    assert_eq!(field(tap, 28, 2), "send");
    assert_eq!(field(bytes_of(&Request::Dump { what: Dump::Ends, from: 0 }, 1), 8, 4), "what");
    let body = Bytes::new(&[]).expect("fits");
    let cell = bytes_of(&Request::Inject(Inject::Link { boot: BOOT, link: 1, body }), 1);
    assert_eq!(field(cell.clone(), 24, 4), "inject");
    assert_eq!(field(cell, 29, 4), "body", "more than a cell holds");
    let remote = Address { ip: [1; 16], port: 1 };
    let expect = bytes_of(&Request::Expect { boot: BOOT, remote, expected: true }, 1);
    assert_eq!(field(expect, 42, 2), "expected");

    let refused = reply_bytes(&Reply::Refused { code: Refusal::Busy, text: "x" }, 1);
    for code in [0, 10, 255] {
        assert_eq!(field(refused.clone(), 9, code), "code");
    }
    assert_eq!(field(refused.clone(), 8, 1), "code");
    assert_eq!(field(refused.clone(), 10, 3), "text", "too long");
    assert_eq!(field(refused, 12, 0xff), "text", "not UTF-8");
    let welcome = Welcome { boot: BOOT, cell: 256, now_ns: 3, lab: true, ends: true, workers: Workers::new() };
    let welcome = reply_bytes(&Reply::Welcome(welcome), 1);
    assert_eq!(field(welcome.clone(), 24, 3), "cell");
    assert_eq!(field(welcome.clone(), 34, 2), "lab");
    assert_eq!(field(welcome.clone(), 35, 2), "ends");
    assert_eq!(field(welcome, 36, 65), "workers");
}
