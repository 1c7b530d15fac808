//! Arbitrary messages and their comparison, for this crate's property tests.

use crate::control::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn secret<const N: usize>() -> impl Strategy<Value = Secret<N>> {
    vec(any::<u8>(), N).prop_map(|bytes| Secret(bytes.try_into().expect("N bytes")))
}

prop_compose! {
    fn boot()(bytes: [u8; 16]) -> BootId {
        BootId(bytes)
    }
}

prop_compose! {
    fn address()(ip in prop_oneof![any::<[u8; 16]>(), Just([0; 16])], port: u16) -> Address {
        Address { ip, port }
    }
}

prop_compose! {
    fn owner()(bytes in vec(any::<u8>(), 0..=OWNER_MAX)) -> Owner {
        Owner::new(&bytes).expect("fits")
    }
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![0..4u32, ID_LIMIT - 4..ID_LIMIT, 0..ID_LIMIT]
}

prop_compose! {
    fn put_class()(
        boot in boot(), class: u16,
        kind in prop_oneof![
            Just(ClassKind::Client), Just(ClassKind::Superpeer), Just(ClassKind::Zone), Just(ClassKind::Pair)
        ],
        round_ns in ROUND_NS_MIN..=ROUND_NS_MAX, (slots, slots_max) in (1..=SLOTS_MAX).prop_flat_map(|most| (1..=most, Just(most))),
        at_ns: u64,
    ) -> PutClass {
        PutClass { boot, class, kind, round_ns, slots, slots_max, at_ns }
    }
}

prop_compose! {
    fn direction()(secret in secret(), first: u64) -> Direction {
        Direction { secret, first }
    }
}

prop_compose! {
    fn put_link()(
        boot in boot(), link in id(), generation: u32, local_port: u16,
        remote in address().prop_filter("a remote", |remote| remote.port != 0 && !remote.is_unspecified()),
        class: u16, foreign: bool, ratchet_bits in RATCHET_BITS_MIN..=RATCHET_BITS_MAX,
        send in direction(), receive in direction(), owner in owner(),
    ) -> PutLink {
        let peer = if foreign { Peer::Foreign } else { Peer::Drover };
        PutLink { boot, link, generation, local_port, remote, class, peer, ratchet_bits, send, receive, owner }
    }
}

prop_compose! {
    fn link_end()(link in id(), id in 1u32..) -> LinkEnd {
        LinkEnd { link, id }
    }
}

prop_compose! {
    fn leg()(key in secret(), first: Option<u64>, offset: u64, admitted: bool) -> Leg {
        Leg { key, first, offset, admitted }
    }
}

prop_compose! {
    fn put_circuit()(
        boot in boot(), circuit in id(), generation: u32, near in link_end(), far in proptest::option::of(link_end()),
        forward in leg(), backward in leg(), hop in proptest::option::of(hop_keys()), owner in owner(),
    ) -> PutCircuit {
        let far = far.filter(|far| *far != near);
        PutCircuit { boot, circuit, generation, near, far, forward, backward, hop, owner }
    }
}

prop_compose! {
    fn hop_keys()(forward_mac in secret(), backward_mac in secret(), first: u64) -> HopKeys {
        HopKeys { forward_mac, backward_mac, first }
    }
}

prop_compose! {
    fn extend_circuit()(
        boot in boot(), circuit in id(), far in link_end(), others in vec(any::<u64>(), 0..=OTHERS_MAX),
    ) -> ExtendCircuit {
        ExtendCircuit { boot, circuit, far, others: List::from_slice(&others).expect("fits") }
    }
}

prop_compose! {
    fn put_loop()(boot in boot(), a in id(), b in id(), class: u16, owner in owner()) -> PutLoop {
        let b = if a == b { (b + 1) % ID_LIMIT } else { b };
        PutLoop { boot, a, b, class, owner }
    }
}

fn cell_bytes() -> impl Strategy<Value = Bytes<CELL_BYTES_MAX>> {
    let len = prop_oneof![Just(0), Just(CELL_BYTES_MAX), 0..=CELL_BYTES_MAX];
    len.prop_flat_map(|len| vec(any::<u8>(), len)).prop_map(|bytes| Bytes::new(&bytes).expect("fits"))
}

fn inject() -> impl Strategy<Value = Inject> {
    prop_oneof![
        (boot(), id(), cell_bytes()).prop_map(|(boot, link, body)| Inject::Link { boot, link, body }),
        (boot(), id(), any::<u8>(), cell_bytes()).prop_map(|(boot, circuit, kind, data)| Inject::Hop {
            boot,
            circuit,
            kind,
            data
        }),
        (boot(), link_end(), any::<u64>(), cell_bytes()).prop_map(|(boot, at, counter, body)| Inject::Relay {
            boot,
            at,
            counter,
            body
        }),
        (boot(), id(), proptest::sample::select(&[21u8, 22, 26][..]), cell_bytes())
            .prop_map(|(boot, link, content_type, data)| Inject::Record { boot, link, content_type, data }),
    ]
}

prop_compose! {
    fn raw()(
        boot in boot(), worker: u8,
        to in address().prop_filter("a remote", |remote| remote.port != 0 && !remote.is_unspecified()),
        bytes in vec(any::<u8>(), 0..=DATAGRAM_MAX),
    ) -> Raw {
        Raw { boot, worker, to, bytes: Bytes::new(&bytes).expect("fits") }
    }
}

fn dump() -> impl Strategy<Value = Dump> {
    prop_oneof![Just(Dump::Classes), Just(Dump::Links), Just(Dump::Circuits), Just(Dump::Ends)]
}

prop_compose! {
    fn end_layer()(
        forward in secret(), forward_offset: u64, backward in secret(), backward_offset: u64,
    ) -> EndLayer {
        EndLayer { forward, forward_offset, backward, backward_offset }
    }
}

prop_compose! {
    fn end_secret()(key in secret(), iv in secret()) -> EndSecret {
        EndSecret { key, iv }
    }
}

prop_compose! {
    fn put_end()(
        boot in boot(), end in id(), generation: u32, at in link_end(), send_first: u64, receive_first: Option<u64>,
        layers in vec(end_layer(), 0..=LAYERS_MAX), seal in end_secret(), open in end_secret(),
    ) -> PutEnd {
        let layers = Layers::from_slice(&layers).expect("fits");
        PutEnd { boot, end, generation, at, send_first, receive_first, layers, seal, open }
    }
}

/// Any valid request.
pub fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Hello),
        put_class().prop_map(Request::PutClass),
        put_link().prop_map(Request::PutLink),
        (boot(), id(), any::<u32>()).prop_map(|(boot, link, generation)| Request::SwitchLink {
            boot,
            link,
            generation
        }),
        (boot(), id()).prop_map(|(boot, link)| Request::RemoveLink { boot, link }),
        put_circuit().prop_map(Request::PutCircuit),
        (boot(), id()).prop_map(|(boot, circuit)| Request::RemoveCircuit { boot, circuit }),
        put_end().prop_map(Request::PutEnd),
        (boot(), id()).prop_map(|(boot, end)| Request::RemoveEnd { boot, end }),
        Just(Request::QueryStatus),
        id().prop_map(|from| Request::QueryLinks { from }),
        extend_circuit().prop_map(Request::ExtendCircuit),
        put_loop().prop_map(Request::PutLoop),
        (boot(), link_end()).prop_map(|(boot, at)| Request::PutTap { boot, at }),
        (boot(), link_end()).prop_map(|(boot, at)| Request::RemoveTap { boot, at }),
        (boot(), id(), any::<bool>()).prop_map(|(boot, link, send)| Request::AdvanceEpoch { boot, link, send }),
        (dump(), id()).prop_map(|(what, from)| Request::Dump { what, from }),
        boot().prop_map(|boot| Request::Subscribe { boot }),
        inject().prop_map(Request::Inject),
        raw().prop_map(Request::Raw),
        (boot(), address(), any::<bool>()).prop_map(|(boot, remote, expected)| Request::Expect {
            boot,
            remote,
            expected
        }),
    ]
}

/// A punt that owns what it holds: which of them, its numbers, its bytes.
#[derive(Clone, Debug)]
pub struct OwnedPunt {
    which: u8,
    from: Address,
    ids: [u32; 2],
    number: u64,
    small: u8,
    bytes: Vec<u8>,
}

impl OwnedPunt {
    pub fn as_punt(&self) -> Punt<'_> {
        let OwnedPunt { which, from, ids: [a, b], number, small, ref bytes } = *self;
        match which {
            0 => Punt::Raw { worker: small, from, bytes },
            1 => Punt::Link { link: a, body: bytes },
            2 => Punt::Hop { circuit: a, kind: small, data: bytes },
            3 => Punt::Relay { link: a, id: b, counter: number, body: bytes },
            4 => Punt::Record { link: a, epoch: b, number, content_type: small, data: bytes },
            5 => Punt::Heard { link: a, generation: b },
            _ => Punt::Silent { link: a },
        }
    }
}

prop_compose! {
    /// Any punt.
    pub fn any_punt()(
        which in 0u8..7, from in address(), ids: [u32; 2], number: u64, small: u8,
        bytes in vec(any::<u8>(), 0..=DATAGRAM_MAX),
    ) -> OwnedPunt {
        OwnedPunt { which, from, ids, number, small, bytes }
    }
}

/// A reply that owns what it says.
#[derive(Clone, Debug)]
pub enum OwnedReply {
    Done,
    Refused(Refusal, String),
    Welcome(Box<Welcome>),
    Report(Vec<u8>),
}

impl OwnedReply {
    pub fn as_reply(&self) -> Reply<'_> {
        match self {
            OwnedReply::Done => Reply::Done,
            OwnedReply::Refused(code, text) => Reply::Refused { code: *code, text },
            OwnedReply::Welcome(welcome) => Reply::Welcome(Welcome::clone(welcome)),
            OwnedReply::Report(json) => Reply::Report(json),
        }
    }
}

prop_compose! {
    fn welcome()(
        boot in boot(), cell in proptest::sample::select(&[256u16, 512, 1024][..]), now_ns: u64, lab: bool, ends: bool,
        workers in vec((address(), any::<u16>()), 0..=WORKERS_MAX),
    ) -> Box<Welcome> {
        let mut list = Workers::new();
        for (listen, core) in workers {
            list.push(WorkerInfo { listen, core }).expect("fits");
        }
        Box::new(Welcome { boot, cell, now_ns, lab, ends, workers: list })
    }
}

/// Any valid reply; texts and reports are short.
pub fn any_reply() -> impl Strategy<Value = OwnedReply> {
    let text = vec(any::<char>(), 0..100).prop_map(String::from_iter);
    prop_oneof![
        Just(OwnedReply::Done),
        (proptest::sample::select(&Refusal::ALL[..]), text).prop_map(|(code, text)| OwnedReply::Refused(code, text)),
        welcome().prop_map(OwnedReply::Welcome),
        vec(any::<u8>(), 0..300).prop_map(OwnedReply::Report),
    ]
}

/// Whether two requests are equal, secrets too: field by field, so that a field left out of the encoding shows.
pub fn same(left: &Request, right: &Request) -> bool {
    match (left, right) {
        (Request::Hello, Request::Hello) | (Request::QueryStatus, Request::QueryStatus) => true,
        (Request::PutClass(l), Request::PutClass(r)) => l == r,
        (Request::PutLink(l), Request::PutLink(r)) => {
            let PutLink { boot, link, generation, local_port, remote, class, peer, ratchet_bits, send, receive, owner } =
                l;
            (boot, link, generation, local_port, remote) == (&r.boot, &r.link, &r.generation, &r.local_port, &r.remote)
                && (class, peer, ratchet_bits, owner) == (&r.class, &r.peer, &r.ratchet_bits, &r.owner)
                && same_direction(send, &r.send)
                && same_direction(receive, &r.receive)
        }
        (Request::SwitchLink { boot, link, generation }, Request::SwitchLink { boot: b, link: l, generation: g }) => {
            (boot, link, generation) == (b, l, g)
        }
        (Request::RemoveLink { boot, link: id }, Request::RemoveLink { boot: b, link: i })
        | (Request::RemoveCircuit { boot, circuit: id }, Request::RemoveCircuit { boot: b, circuit: i })
        | (Request::RemoveEnd { boot, end: id }, Request::RemoveEnd { boot: b, end: i }) => (boot, id) == (b, i),
        (Request::PutCircuit(l), Request::PutCircuit(r)) => {
            let PutCircuit { boot, circuit, generation, near, far, forward, backward, hop, owner } = l;
            (boot, circuit, generation, near) == (&r.boot, &r.circuit, &r.generation, &r.near)
                && (far, owner) == (&r.far, &r.owner)
                && same_hop(hop.as_ref(), r.hop.as_ref())
                && same_leg(forward, &r.forward)
                && same_leg(backward, &r.backward)
        }
        (Request::PutEnd(l), Request::PutEnd(r)) => {
            let PutEnd { boot, end, generation, at, send_first, receive_first, layers, seal, open } = l;
            (boot, end, generation, at) == (&r.boot, &r.end, &r.generation, &r.at)
                && (send_first, receive_first) == (&r.send_first, &r.receive_first)
                && layers.len() == r.layers.len()
                && layers.iter().zip(r.layers.iter()).all(|(l, r)| same_layer(l, r))
                && same_end_secret(seal, &r.seal)
                && same_end_secret(open, &r.open)
        }
        (Request::QueryLinks { from }, Request::QueryLinks { from: f }) => from == f,
        (Request::ExtendCircuit(l), Request::ExtendCircuit(r)) => {
            let ExtendCircuit { boot, circuit, far, others } = l;
            (boot, circuit, far, others) == (&r.boot, &r.circuit, &r.far, &r.others)
        }
        (Request::PutLoop(l), Request::PutLoop(r)) => {
            let PutLoop { boot, a, b, class, owner } = l;
            (boot, a, b, class, owner) == (&r.boot, &r.a, &r.b, &r.class, &r.owner)
        }
        (Request::PutTap { boot, at }, Request::PutTap { boot: b, at: a })
        | (Request::RemoveTap { boot, at }, Request::RemoveTap { boot: b, at: a }) => (boot, at) == (b, a),
        (Request::AdvanceEpoch { boot, link, send }, Request::AdvanceEpoch { boot: b, link: l, send: s }) => {
            (boot, link, send) == (b, l, s)
        }
        (Request::Dump { what, from }, Request::Dump { what: w, from: f }) => (what, from) == (w, f),
        (Request::Subscribe { boot }, Request::Subscribe { boot: b }) => boot == b,
        (Request::Inject(l), Request::Inject(r)) => same_inject(l, r),
        (Request::Raw(l), Request::Raw(r)) => {
            let Raw { boot, worker, to, bytes } = l;
            (boot, worker, to, bytes.as_bytes()) == (&r.boot, &r.worker, &r.to, r.bytes.as_bytes())
        }
        (Request::Expect { boot, remote, expected }, Request::Expect { boot: b, remote: r, expected: e }) => {
            (boot, remote, expected) == (b, r, e)
        }
        _ => false,
    }
}

fn same_direction(Direction { secret, first }: &Direction, r: &Direction) -> bool {
    (&secret.0, first) == (&r.secret.0, &r.first)
}

fn same_leg(Leg { key, first, offset, admitted }: &Leg, r: &Leg) -> bool {
    (&key.0, first, offset, admitted) == (&r.key.0, &r.first, &r.offset, &r.admitted)
}

fn same_hop(left: Option<&HopKeys>, right: Option<&HopKeys>) -> bool {
    match (left, right) {
        (Some(HopKeys { forward_mac, backward_mac, first }), Some(r)) => {
            (&forward_mac.0, &backward_mac.0, first) == (&r.forward_mac.0, &r.backward_mac.0, &r.first)
        }
        (None, None) => true,
        _ => false,
    }
}

fn same_inject(left: &Inject, right: &Inject) -> bool {
    match (left, right) {
        (Inject::Link { boot, link, body }, Inject::Link { boot: b, link: l, body: o }) => {
            (boot, link, body.as_bytes()) == (b, l, o.as_bytes())
        }
        (Inject::Hop { boot, circuit, kind, data }, Inject::Hop { boot: b, circuit: c, kind: k, data: d }) => {
            (boot, circuit, kind, data.as_bytes()) == (b, c, k, d.as_bytes())
        }
        (Inject::Relay { boot, at, counter, body }, Inject::Relay { boot: b, at: a, counter: c, body: o }) => {
            (boot, at, counter, body.as_bytes()) == (b, a, c, o.as_bytes())
        }
        (
            Inject::Record { boot, link, content_type, data },
            Inject::Record { boot: b, link: l, content_type: c, data: d },
        ) => (boot, link, content_type, data.as_bytes()) == (b, l, c, d.as_bytes()),
        _ => false,
    }
}

fn same_layer(layer: &EndLayer, r: &EndLayer) -> bool {
    let EndLayer { forward, forward_offset, backward, backward_offset } = layer;
    (&forward.0, forward_offset) == (&r.forward.0, &r.forward_offset)
        && (&backward.0, backward_offset) == (&r.backward.0, &r.backward_offset)
}

fn same_end_secret(EndSecret { key, iv }: &EndSecret, r: &EndSecret) -> bool {
    (&key.0, &iv.0) == (&r.key.0, &r.iv.0)
}
