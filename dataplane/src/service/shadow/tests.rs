use super::*;
use crate::class::Rate;
use drover_wire::control::{BootId, ClassKind, List, Owner, Peer, PutClass, PutLoop};
use proptest::prelude::*;

const SIZES: Sizes = Sizes { links: 5, circuits: 6, pool: 512, transmit: 64 };
const ROUND: u64 = 20_000_000;

fn shadow() -> Shadow {
    let listens = ["127.0.0.1:1", "127.0.0.1:2"].map(|listen| listen.parse().expect("an address"));
    Shadow::new(SIZES, 3_000_000, listens.to_vec())
}

fn class(class: u16, slots: u32) -> PutClass {
    PutClass { boot: BootId::default(), class, kind: ClassKind::Zone, round_ns: ROUND, slots, slots_max: 16, at_ns: 0 }
}

fn put_class(shadow: &mut Shadow, put: &PutClass, now: u64) -> Result<(), Refused> {
    if let Plan::Do(plan) = shadow.check_class(put, now, 0)? {
        shadow.commit_class(put, plan, now);
    }
    Ok(())
}

fn spec(port: u16, remote: u16) -> LinkSpec {
    let remote = std::net::SocketAddr::from(([127, 0, 0, 1], remote));
    LinkSpec { local_port: port, remote: remote.into(), class: 1, peer: Peer::Drover, ratchet_bits: 24 }
}

fn keys(generation: u32) -> GenerationIds {
    GenerationIds { generation, keys: [[generation as u8; 8]; 2], first: [0, 0] }
}

fn put_link(shadow: &mut Shadow, id: u32, port: u16, remote: u16) -> Result<Option<Place>, Refused> {
    let (spec, keys, owner) = (spec(port, remote), keys(1), Owner::default());
    match shadow.check_link(id, &spec, &owner, &keys, 0)? {
        Plan::Do(LinkPlan::New { worker, class }) => {
            Ok(Some(shadow.commit_link(id, (worker, class), spec, owner, keys)))
        }
        Plan::Do(LinkPlan::Generation) => unreachable!("generation 1 only"),
        Plan::Same => Ok(None),
    }
}

fn circuit(near: (u32, u32), far: (u32, u32), admitted: bool) -> CircuitSpec {
    let leg = LegSpec { key: [1; 8], first: Some(0), offset: 0, admitted };
    let end = |(link, id)| LinkEnd { link, id };
    CircuitSpec {
        generation: 1,
        near: end(near),
        far: Some(end(far)),
        legs: [leg; 2],
        hop: None,
        owner: Owner::default(),
    }
}

fn put_circuit(shadow: &mut Shadow, id: u32, spec: CircuitSpec) -> Result<Option<(Side, Option<Side>)>, Refused> {
    match shadow.check_circuit(id, &spec, 0)? {
        Plan::Do(()) => Ok(Some(shadow.commit_circuit(id, spec).expect("was checked"))),
        Plan::Same => Ok(None),
    }
}

fn code<T>(result: Result<T, Refused>) -> Option<Refusal> {
    result.err().map(|Refused(code, _)| code)
}

#[test]
fn an_index_comes_back_when_its_removal_is_spent() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 4), 0).expect("a class");
    for id in 0..5 {
        let place = put_link(&mut s, id, 1, 100 + id as u16).expect("room").expect("new");
        assert_eq!(place, Place { worker: 0, index: id });
    }
    assert_eq!(code(put_link(&mut s, 9, 1, 900)), Some(Refusal::NoRoom));
    let removed = s.remove_link(3);
    assert_eq!(removed, [(Table::Link, Place { worker: 0, index: 3 })]);
    assert_eq!(code(put_link(&mut s, 9, 1, 900)), Some(Refusal::Busy));
    assert_eq!(s.link_at(removed[0].1), None);
    s.spent(Table::Link, removed[0].1);
    assert_eq!(put_link(&mut s, 9, 1, 900), Ok(Some(removed[0].1)));
    assert_eq!(s.link_at(removed[0].1), Some(9));
    // The other worker has tables of its own.
    assert_eq!(put_link(&mut s, 10, 2, 900), Ok(Some(Place { worker: 1, index: 0 })));
}

#[test]
fn ways_cross_and_removal_begins_where_cells_come_in() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 4), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    put_link(&mut s, 2, 2, 102).expect("a link");
    let (near, far) = put_circuit(&mut s, 7, circuit((1, 11), (2, 22), true)).expect("room").expect("new");
    let far = far.expect("was put with one");
    assert_eq!((near.ingress.worker, near.egress.worker), (0, 0));
    assert_eq!((far.ingress.worker, far.egress.worker), (1, 1));
    assert_ne!(near.tag, far.tag);
    assert_eq!(put_circuit(&mut s, 7, circuit((1, 11), (2, 22), true)), Ok(None));
    let removed = s.remove_link(1);
    let expected = [
        (Table::Ingress, near.ingress),
        (Table::Ingress, far.ingress),
        (Table::Egress, near.egress),
        (Table::Egress, far.egress),
        (Table::Link, Place { worker: 0, index: 0 }),
    ];
    assert_eq!(removed, expected);
    assert_eq!(s.counts(), (1, 0, 0));
    assert_eq!(s.link(2).expect("stays").admitted, 0);
}

#[test]
fn a_circuit_gets_its_far_side_later_once() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 4), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    put_link(&mut s, 2, 2, 102).expect("a link");
    let put = CircuitSpec { far: None, ..circuit((1, 11), (9, 9), true) };
    let (near, far) = put_circuit(&mut s, 7, put).expect("room").expect("new");
    assert_eq!((near.ingress.worker, far), (0, None));
    assert_eq!((s.link(1).expect("is").admitted, s.link(2).expect("is").admitted), (1, 0));
    let extension = |id, others: &[u64]| Extension {
        far: LinkEnd { link: 2, id },
        others: List::from_slice(others).expect("two at most"),
    };
    assert_eq!(code(s.check_extension(8, &extension(22, &[]), 0)), Some(Refusal::Unknown));
    assert_eq!(code(s.check_extension(7, &extension(22, &[5, 5]), 0)), Some(Refusal::Malformed));
    assert_eq!(s.check_extension(7, &extension(22, &[5, 6]), 0), Ok(Plan::Do(())));
    assert_eq!(s.circuit(7).expect("is").far_end(), None, "a check changes nothing");
    let far = s.commit_extension(7, extension(22, &[5, 6])).expect("was checked").far.expect("has one now");
    assert_eq!((far.ingress.worker, far.egress.worker), (1, 1));
    assert_ne!(near.tag, far.tag);
    assert_eq!(s.link(2).expect("is").admitted, 1);
    // Said again, either put changes nothing; another far side is another circuit.
    assert_eq!(s.check_extension(7, &extension(22, &[5, 6]), 0), Ok(Plan::Same));
    assert_eq!(put_circuit(&mut s, 7, put), Ok(None));
    assert_eq!(code(s.check_extension(7, &extension(22, &[5]), 0)), Some(Refusal::Exists));
    assert_eq!(code(s.check_extension(7, &extension(23, &[5, 6]), 0)), Some(Refusal::Exists));
    assert_eq!(s.circuit_at(LinkEnd { link: 2, id: 22 }), Some(7));
    assert_eq!(s.remove_circuit(7).len(), 4);
    assert_eq!((s.link(1).expect("is").admitted, s.link(2).expect("is").admitted), (0, 0));
}

#[test]
fn a_far_side_without_room_is_refused_and_changes_nothing() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 2), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    put_link(&mut s, 2, 1, 102).expect("a link");
    let open = |near| CircuitSpec { far: None, ..circuit(near, (9, 9), true) };
    put_circuit(&mut s, 1, open((1, 1))).expect("one slot of two");
    assert_eq!(code(put_circuit(&mut s, 2, open((1, 2)))), Some(Refusal::NoRoom));
    put_circuit(&mut s, 3, open((2, 3))).expect("one slot of two");
    let extension = Extension { far: LinkEnd { link: 2, id: 22 }, others: List::default() };
    assert_eq!(code(s.check_extension(1, &extension, 0)), Some(Refusal::NoRoom));
    assert_eq!((s.circuit(1).expect("is").far_end(), s.circuit_at(extension.far)), (None, None));
    s.remove_circuit(3);
    assert_eq!(s.check_extension(1, &extension, 0), Ok(Plan::Do(())));
}

#[test]
fn a_tap_holds_its_id_until_it_goes() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 2), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    let at = LinkEnd { link: 1, id: 5 };
    assert_eq!(code(s.check_tap(LinkEnd { link: 2, id: 5 })), Some(Refusal::Unknown));
    assert_eq!(s.check_tap(at), Ok(Plan::Do(())));
    let place = s.commit_tap(at).expect("was checked");
    assert_eq!((s.check_tap(at), s.is_tapped(at)), (Ok(Plan::Same), true));
    let end = EndSpec { generation: 1, at, id: [0; 8] };
    assert_eq!(code(s.check_end(1, &end, 0)), Some(Refusal::Exists));
    assert_eq!(s.remove_tap(at), [(Table::Ingress, place)]);
    assert_eq!(s.remove_tap(at), []);
    assert_eq!(s.check_end(1, &end, 0), Ok(Plan::Do(())));
    s.commit_end(1, end);
    assert_eq!(code(s.check_tap(at)), Some(Refusal::Exists));
}

#[test]
fn a_loop_has_two_ends_that_come_and_go_together() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 4), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    let put = PutLoop { boot: BootId::default(), a: 3, b: 4, class: 1, owner: Owner::default() };
    assert_eq!(code(s.check_loop(&PutLoop { b: 3, ..put.clone() }, 0)), Some(Refusal::Malformed));
    assert_eq!(code(s.check_loop(&PutLoop { b: 1, ..put.clone() }, 0)), Some(Refusal::Exists));
    assert_eq!(code(s.check_loop(&PutLoop { class: 9, ..put.clone() }, 0)), Some(Refusal::Unknown));
    let Plan::Do(plan) = s.check_loop(&put, 0).expect("room") else { panic!("is there already") };
    assert_eq!(plan.worker, 1, "the one with fewer links");
    let places = s.commit_loop(&put, plan);
    assert_eq!(s.check_loop(&put, 0), Ok(Plan::Same));
    assert_eq!(s.check_loop(&PutLoop { a: 4, b: 3, ..put.clone() }, 0), Ok(Plan::Same), "which end is a is all one");
    assert_eq!(code(s.check_loop(&PutLoop { b: 5, ..put.clone() }, 0)), Some(Refusal::Exists));
    // It is no link that keys may be put for.
    assert_eq!(code(s.check_link(3, &spec(1, 103), &Owner::default(), &keys(1), 0)), Some(Refusal::Exists));
    assert_eq!(code(s.switch(3, 1)), Some(Refusal::Unknown));
    // Its slots are owned like any link's.
    put_circuit(&mut s, 7, circuit((1, 11), (3, 22), true)).expect("room");
    put_circuit(&mut s, 8, circuit((4, 22), (1, 12), true)).expect("room");
    assert_eq!((s.link(3).expect("is").admitted, s.link(4).expect("is").admitted), (1, 1));
    let mut circuits = s.circuits_on(4);
    circuits.sort_unstable();
    assert_eq!(circuits, [7, 8]);
    let removed = s.remove_link(4);
    assert_eq!(removed.iter().filter(|(table, _)| *table == Table::Link).count(), 2);
    assert!(places.iter().all(|place| removed.contains(&(Table::Link, *place))));
    assert_eq!((s.counts(), s.link(1).expect("is").admitted), ((1, 0, 0), 0));
}

#[test]
fn the_generations_kept_are_the_last_two_and_the_one_in_use() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 4), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    let owner = Owner::default();
    let next = |s: &mut Shadow, generation| {
        let plan = s.check_link(1, &spec(1, 101), &owner, &keys(generation), 0).expect("newer");
        assert_eq!(plan, Plan::Do(LinkPlan::Generation));
        s.commit_generation(1, owner, keys(generation)).expect("a link").1
    };
    assert_eq!(next(&mut s, 2), [1, 2]);
    assert_eq!(next(&mut s, 5), [1, 2, 5]);
    assert_eq!(next(&mut s, 6), [1, 5, 6]);
    assert_eq!(code(s.switch(1, 5)), Some(Refusal::Unknown), "the worker no longer has it");
    assert_eq!(s.switch(1, 6), Ok(Plan::Do(Place { worker: 0, index: 0 })));
    assert_eq!(s.switch(1, 6), Ok(Plan::Same));
    assert_eq!(next(&mut s, 7), [6, 7]);
    let put = |s: &mut Shadow, k| s.check_link(1, &spec(1, 101), &owner, &k, 0);
    assert_eq!(put(&mut s, keys(6)), Ok(Plan::Same));
    assert_eq!(code(put(&mut s, keys(5))), Some(Refusal::Exists));
    assert_eq!(code(put(&mut s, GenerationIds { first: [1, 0], ..keys(7) })), Some(Refusal::Exists));
    assert_eq!(
        code(s.check_link(1, &spec(1, 101), &Owner::new(b"x").expect("fits"), &keys(7), 0)),
        Some(Refusal::Exists)
    );
    let slower = LinkSpec { ratchet_bits: 20, ..spec(1, 101) };
    let Err(Refused(Refusal::Exists, text)) = s.check_link(1, &slower, &owner, &keys(8), 0) else { panic!("other") };
    assert!(text.contains("ratchet_bits"), "{text}");
}

#[test]
fn room_follows_a_change_only_when_it_is_sure() {
    let mut s = shadow();
    put_class(&mut s, &class(1, 3), 0).expect("a class");
    put_link(&mut s, 1, 1, 101).expect("a link");
    put_circuit(&mut s, 1, circuit((1, 1), (1, 2), true)).expect("two slots of three");
    // More slots: not before every link has them.
    let mut more = class(1, 8);
    more.at_ns = 1_000_000_000;
    put_class(&mut s, &more, 5).expect("more");
    assert_eq!(s.classes()[0].room_at(1_000_000_000), 3);
    assert_eq!(s.classes()[0].room_at(2_100_000_000), 8);
    assert_eq!(code(put_circuit(&mut s, 2, circuit((1, 3), (1, 4), true))), Some(Refusal::NoRoom));
    // Not from another clock.
    let mut never = class(1, 9);
    never.at_ns = u64::MAX;
    assert_eq!(code(put_class(&mut s, &never, 5)), Some(Refusal::Malformed));
    // Fewer: at once, and not below what is owned.
    assert_eq!(code(put_class(&mut s, &class(1, 2), 9_000_000_000)), Some(Refusal::NoRoom));
    put_class(&mut s, &class(1, 4), 9_000_000_000).expect("fewer");
    assert_eq!(s.classes()[0].room_at(9_000_000_000), 4);
    // What may still be in force counts for memory.
    assert_eq!(s.classes()[0].fastest_at(9_000_000_001), Rate { round_ns: ROUND, slots: 8 });
    assert_eq!(s.classes()[0].fastest_at(99_000_000_000), Rate { round_ns: ROUND, slots: 4 });
}

#[test]
fn a_worker_is_not_given_more_than_it_can_seal_ahead() {
    let mut s = shadow();
    let mut fast = class(1, 1 << 10);
    fast.slots_max = 1 << 12;
    put_class(&mut s, &fast, 0).expect("a class");
    // 3 ms of 51,200 records a second are 153 records; 64 may wait.
    let Err(Refused(Refusal::Limit, text)) = put_link(&mut s, 1, 1, 101) else { panic!("too much") };
    assert!(text.contains("limits.transmit"), "{text}");
    put_class(&mut s, &PutClass { slots: 16, ..fast }, 0).expect("slower");
    let after = 100 * ROUND;
    let plan = s.check_link(1, &spec(1, 101), &Owner::default(), &keys(1), after).expect("fits");
    let Plan::Do(LinkPlan::New { worker, class }) = plan else { panic!("{plan:?}") };
    s.commit_link(1, (worker, class), spec(1, 101), Owner::default(), keys(1));
    assert_eq!(code(put_class(&mut s, &fast, after)), Some(Refusal::Limit));
}

/// One request, or the return of the oldest removals.
#[derive(Clone, Debug)]
enum Op {
    PutLink(u32, u16, u16),
    RemoveLink(u32),
    PutCircuit(u32, (u32, u32), Option<(u32, u32)>, bool),
    Extend(u32, (u32, u32)),
    RemoveCircuit(u32),
    PutTap((u32, u32)),
    RemoveTap((u32, u32)),
    PutLoop(u32, u32),
    PutEnd(u32, u32, u32),
    RemoveEnd(u32),
    Spent(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    let (id, side) = (0u32..8, || (0u32..8, 1u32..5));
    prop_oneof![
        3 => (id.clone(), 1u16..4, 0u16..8).prop_map(|(id, port, remote)| Op::PutLink(id, port, 100 + remote)),
        1 => id.clone().prop_map(Op::RemoveLink),
        5 => (id.clone(), side(), proptest::option::of(side()), any::<bool>())
            .prop_map(|(id, n, f, a)| Op::PutCircuit(id, n, f, a)),
        3 => (id.clone(), side()).prop_map(|(id, far)| Op::Extend(id, far)),
        1 => side().prop_map(Op::PutTap),
        1 => side().prop_map(Op::RemoveTap),
        1 => (id.clone(), id.clone()).prop_map(|(a, b)| Op::PutLoop(a, b)),
        1 => id.clone().prop_map(Op::RemoveCircuit),
        2 => (id.clone(), side()).prop_map(|(id, (link, on))| Op::PutEnd(id, link, on)),
        1 => id.prop_map(Op::RemoveEnd),
        2 => (0usize..12).prop_map(Op::Spent),
    ]
}

/// What a worker has: an index is in use from the add to the removal's return.
#[derive(Default)]
struct Model {
    in_use: HashSet<(Table, Place)>,
    grown: HashMap<(Table, u8), u32>,
    removing: std::collections::VecDeque<Removal>,
    links: HashMap<u32, (u8, u16)>,
    /// As they were put, and with the far side that they have now.
    circuits: HashMap<u32, (CircuitSpec, Option<LinkEnd>)>,
    ends: HashMap<u32, (u32, u32)>,
    taps: HashSet<LinkEnd>,
}

/// A link's other end, of a loop.
const LOOP: u8 = u8::MAX;

impl Model {
    fn add(&mut self, table: Table, place: Place, limit: usize) {
        assert!((place.index as usize) < limit);
        assert!(self.in_use.insert((table, place)), "{table:?} {place:?} is in use");
        // A worker's tables grow by one.
        let grown = self.grown.entry((table, place.worker)).or_default();
        assert!(place.index <= *grown, "{table:?} {place:?} leaves a gap");
        *grown = (*grown).max(place.index + 1);
    }

    fn owned(&self, link: u32) -> u32 {
        let of = |(c, far): &(CircuitSpec, Option<LinkEnd>)| {
            u32::from(c.near.link == link && c.legs[1].admitted)
                + u32::from(far.is_some_and(|far| far.link == link) && c.legs[0].admitted)
        };
        let ends = self.ends.values().filter(|(l, _)| *l == link).count() as u32;
        self.circuits.values().map(of).sum::<u32>() + ends
    }

    fn id_taken(&self, link: u32, id: u32) -> bool {
        let end = LinkEnd { link, id };
        self.circuits.values().any(|(c, far)| c.near == end || *far == Some(end))
            || self.ends.values().any(|e| *e == (link, id))
            || self.taps.contains(&end)
    }

    fn forget_link(&mut self, link: u32) {
        let Some((kind, other)) = self.links.remove(&link) else { return };
        self.circuits.retain(|_, (c, far)| c.near.link != link && far.is_none_or(|far| far.link != link));
        self.ends.retain(|_, (l, _)| *l != link);
        self.taps.retain(|at| at.link != link);
        if kind == LOOP {
            self.forget_link(u32::from(other));
        }
    }

    fn add_side(&mut self, side: Side) {
        self.add(Table::Ingress, side.ingress, 2 * SIZES.circuits);
        self.add(Table::Egress, side.egress, 2 * SIZES.circuits);
    }

    /// Whether a side may be there, and no link owns more than it can.
    fn sound(&self, sides: &[LinkEnd]) -> bool {
        sides.iter().all(|end| self.links.contains_key(&end.link) && self.owned(end.link) <= 3)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_worker_never_gets_what_it_cannot_carry_out(ops in proptest::collection::vec(ops(), 1..150)) {
        let mut s = shadow();
        put_class(&mut s, &class(1, 4), 0).expect("a class");
        let mut m = Model::default();
        for op in ops {
            match op {
                Op::PutLink(id, port, remote) => {
                    let was = m.links.get(&id).copied();
                    let taken = m.links.values().any(|l| *l == (port as u8, remote));
                    match put_link(&mut s, id, port, remote) {
                        Ok(Some(place)) => {
                            prop_assert!(was.is_none() && !taken && port < 3);
                            m.add(Table::Link, place, SIZES.links);
                            m.links.insert(id, (port as u8, remote));
                        }
                        Ok(None) => prop_assert_eq!(was, Some((port as u8, remote))),
                        Err(Refused(Refusal::Busy | Refusal::NoRoom, _)) => {
                            let full = m.in_use.iter().filter(|(t, p)| *t == Table::Link && u16::from(p.worker) + 1 == port);
                            prop_assert_eq!(full.count(), SIZES.links);
                        }
                        Err(_) => prop_assert!(was.is_some() || taken || port == 3),
                    }
                }
                Op::PutCircuit(id, near, far, admitted) if Some(near) != far => {
                    let mut spec = circuit(near, far.unwrap_or(near), admitted);
                    spec.far = spec.far.filter(|_| far.is_some());
                    let sides: Vec<LinkEnd> = [Some(spec.near), spec.far].into_iter().flatten().collect();
                    let free = sides.iter().all(|end| !m.id_taken(end.link, end.id));
                    match put_circuit(&mut s, id, spec) {
                        Ok(Some((near, far))) => {
                            prop_assert!(free && m.circuits.insert(id, (spec, spec.far)).is_none());
                            prop_assert_eq!(far.is_some(), spec.far.is_some());
                            m.add_side(near);
                            if let Some(far) = far { m.add_side(far); }
                            prop_assert!(m.sound(&sides));
                        }
                        Ok(None) => prop_assert_eq!(m.circuits.get(&id).map(|(put, _)| put), Some(&spec)),
                        Err(Refused(Refusal::NoRoom, text)) if text.contains("slots") => {
                            prop_assert!(m.circuits.insert(id, (spec, spec.far)).is_none());
                            prop_assert!(!m.sound(&sides), "{}", text);
                            m.circuits.remove(&id);
                        }
                        Err(_) => {}
                    }
                }
                Op::Extend(id, (link, on)) => {
                    let far = LinkEnd { link, id: on };
                    let extension = Extension { far, others: List::default() };
                    let had = m.circuits.get(&id).copied();
                    match s.check_extension(id, &extension, 0) {
                        Ok(Plan::Do(())) => {
                            prop_assert!(!m.id_taken(link, on) && had.is_some_and(|(_, far)| far.is_none()));
                            let side = s.commit_extension(id, extension).and_then(|entry| entry.far);
                            m.add_side(side.expect("was checked"));
                            m.circuits.entry(id).and_modify(|circuit| circuit.1 = Some(far));
                            prop_assert!(m.sound(&[far]));
                        }
                        Ok(Plan::Same) => {
                            prop_assert!(had.is_some_and(|(put, is)| put.far.is_none() && is == Some(far)));
                        }
                        Err(_) => {}
                    }
                }
                Op::PutTap((link, id)) => {
                    let at = LinkEnd { link, id };
                    match s.check_tap(at) {
                        Ok(Plan::Do(())) => {
                            prop_assert!(!m.id_taken(link, id) && m.links.contains_key(&link));
                            let place = s.commit_tap(at).expect("was checked");
                            m.add(Table::Ingress, place, 2 * SIZES.circuits);
                            m.taps.insert(at);
                        }
                        Ok(Plan::Same) => prop_assert!(m.taps.contains(&at)),
                        Err(_) => {}
                    }
                }
                Op::RemoveTap((link, id)) => {
                    m.removing.extend(s.remove_tap(LinkEnd { link, id }));
                    m.taps.remove(&LinkEnd { link, id });
                }
                Op::PutLoop(a, b) => {
                    let put = PutLoop { boot: BootId::default(), a, b, class: 1, owner: Owner::default() };
                    match s.check_loop(&put, 0) {
                        Ok(Plan::Do(plan)) => {
                            prop_assert!(a != b && !m.links.contains_key(&a) && !m.links.contains_key(&b));
                            for place in s.commit_loop(&put, plan) {
                                m.add(Table::Link, place, SIZES.links);
                            }
                            m.links.extend([(a, (LOOP, b as u16)), (b, (LOOP, a as u16))]);
                        }
                        Ok(Plan::Same) => prop_assert_eq!(m.links.get(&a), Some(&(LOOP, b as u16))),
                        Err(_) => {}
                    }
                }
                Op::PutEnd(id, link, on) => {
                    let spec = EndSpec { generation: 1, at: LinkEnd { link, id: on }, id: [0; 8] };
                    if let Ok(Plan::Do(())) = s.check_end(id, &spec, 0) {
                        prop_assert!(!m.id_taken(link, on) && m.links.contains_key(&link));
                        let EndPlaces { end, side } = s.commit_end(id, spec).expect("was checked");
                        prop_assert!(m.ends.insert(id, (link, on)).is_none());
                        prop_assert!(m.owned(link) <= 3);
                        for (table, place) in [(Table::End, end), (Table::Ingress, side.ingress), (Table::Egress, side.egress)] {
                            m.add(table, place, 2 * SIZES.circuits);
                        }
                    }
                }
                Op::RemoveLink(id) => {
                    m.removing.extend(s.remove_link(id));
                    m.forget_link(id);
                }
                Op::RemoveCircuit(id) => {
                    m.removing.extend(s.remove_circuit(id));
                    m.circuits.remove(&id);
                }
                Op::RemoveEnd(id) => {
                    m.removing.extend(s.remove_end(id));
                    m.ends.remove(&id);
                }
                Op::Spent(count) => {
                    for _ in 0..count.min(m.removing.len()) {
                        let removal = m.removing.pop_front().expect("counted");
                        prop_assert!(m.in_use.remove(&removal), "{:?} was not in use", removal);
                        s.spent(removal.0, removal.1);
                    }
                }
                Op::PutCircuit(..) => {}
            }
            prop_assert_eq!(s.counts(), (m.links.len(), m.circuits.len(), m.ends.len()));
            for id in m.links.keys() {
                let entry = s.link(*id).expect("the model has it");
                prop_assert_eq!(entry.admitted, m.owned(*id));
                prop_assert_eq!(s.link_at(entry.place), Some(*id));
            }
            let live = m.in_use.len() - m.removing.len();
            let sides: usize = m.circuits.values().map(|(_, far)| 1 + usize::from(far.is_some())).sum();
            prop_assert_eq!(live, m.links.len() + 2 * sides + 3 * m.ends.len() + m.taps.len());
        }
    }
}
