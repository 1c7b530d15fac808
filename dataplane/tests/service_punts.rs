//! What a running data plane hands to its control daemon and takes from it: subscription, datagrams, cells, dumps.

mod service_support;

use drover_wire::cell::body_len;
use drover_wire::control::{
    Address, Bytes, Dump, Inject, Leg, Owner, Peer, Punt, PutLoop, Raw, Refusal, Request, Secret,
};
use service_support::*;
use std::net::{SocketAddr, UdpSocket};

/// A stranger on loopback.
fn stranger() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets");
    let local = socket.local_addr().expect("bound");
    (socket, local)
}

fn subscriber(plane: &Plane) -> Client {
    let mut client = Client::connect(plane.running.socket()).expect("connects");
    assert!(matches!(client.ask(&Request::Subscribe { boot: plane.boot() }), Answer::Done));
    client
}

/// The next thing handed over that `wanted` says something of.
fn wait<R>(client: &Client, wanted: impl Fn(&Punt<'_>) -> Option<R>) -> R {
    loop {
        let (_, handed) = client.punt().expect("open");
        if let Some(found) = wanted(&handed.punt()) {
            return found;
        }
    }
}

#[test]
fn a_strangers_handshake_datagrams_go_there_and_back() {
    let mut plane = Plane::start("");
    let (socket, local) = stranger();
    let subscriber = subscriber(&plane);
    socket.send_to(&[22, 1, 2, 3], plane.running.listens()[0]).expect("sends");
    let (worker, from, bytes) = wait(&subscriber, |punt| match punt {
        Punt::Raw { worker, from, bytes } => Some((*worker, *from, bytes.to_vec())),
        _ => None,
    });
    assert_eq!((worker, SocketAddr::from(from), &bytes[..]), (0, local, &[22, 1, 2, 3][..]));
    let answer = vec![22; 1400];
    let bytes = Bytes::new(&answer).expect("fits");
    plane.done(Request::Raw(Raw { boot: plane.boot(), worker, to: from, bytes: bytes.clone() }));
    let mut buffer = [0; 2000];
    let (len, back) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..len], back), (&answer[..], plane.running.listens()[0]));
    let (code, text) = plane.refused(Request::Raw(Raw { boot: plane.boot(), worker: 1, to: from, bytes }));
    assert!(code == Refusal::Unknown && text.contains("worker 1"), "{text}");
    // What is no plaintext record is an expected sender's only.
    let remote = Address::from(local);
    plane.done(Request::Expect { boot: plane.boot(), remote, expected: true });
    plane.done(Request::Expect { boot: plane.boot(), remote, expected: true });
    let to = plane.running.listens()[0];
    plane.until("the worker to know", |_| {
        socket.send_to(&[0x2e; 77], to).expect("sends");
        subscriber
            .punt_now()
            .is_some_and(|(_, handed)| matches!(handed.punt(), Punt::Raw { bytes, .. } if bytes == [0x2e; 77]))
    });
}

#[test]
fn one_subscriber_at_a_time_and_nothing_without_one() {
    let mut plane = Plane::start("");
    let (socket, _) = stranger();
    let to = plane.running.listens()[0];
    let first = subscriber(&plane);
    let second = subscriber(&plane);
    socket.send_to(&[22, 9], to).expect("sends");
    let (count, _) = second.punt().expect("open");
    assert_eq!(count, 0, "each subscription counts from 0");
    assert!(first.punt_now().is_none());
    drop(second);
    let dropped = plane.until("a drop", |status| {
        socket.send_to(&[22, 9], to).expect("sends");
        drops(status, "plaintext") > 0
    });
    assert!(drops(&dropped, "plaintext") > 0 && first.punt_now().is_none());
    let mut wrong = plane.boot();
    wrong.0[0] ^= 1;
    assert_eq!(plane.refused(Request::Subscribe { boot: wrong }).0, Refusal::WrongBoot);
}

#[test]
fn what_a_subscriber_does_not_read_is_lost_and_the_count_says_so() {
    let mut plane = Plane::start("");
    let (socket, local) = stranger();
    let to = plane.running.listens()[0];
    let subscriber = subscriber(&plane);
    plane.done(Request::Expect { boot: plane.boot(), remote: Address::from(local), expected: true });
    // A megabyte and more, no faster than a worker takes it: none of this is lost on the way.
    let mut sent = 0;
    for _ in 0..60 {
        for _ in 0..50 {
            socket.send_to(&[22; 1400], to).expect("sends");
            sent += 1;
        }
        plane.until("its receipt", |status| count(status, "received") >= sent);
    }
    let mut counts = Vec::new();
    loop {
        while let Some((count, _)) = subscriber.punt_now() {
            counts.push(count);
        }
        // What was lost is known when something comes through again.
        socket.send_to(&[22; 10], to).expect("sends");
        let (count, _) = subscriber.punt().expect("open");
        counts.push(count);
        if counts.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            break;
        }
    }
    assert!(counts.windows(2).all(|pair| pair[1] > pair[0]) && counts[0] == 0);
    let (last, came) = (u64::from(*counts.last().expect("some")), counts.len() as u64);
    assert!(last + 1 > came, "{came} of {}: nothing was lost", last + 1);
    // The data plane did not wait for it.
    assert!(plane.running.alive());
}

/// Two data planes with a link to each other.
fn linked() -> (Plane, Plane) {
    let (mut a, mut b) = (Plane::start(""), Plane::start(""));
    let (class_a, class_b) = (a.class(4), b.class(4));
    a.done(Request::PutClass(class_a));
    b.done(Request::PutClass(class_b));
    let (put_a, put_b) = (link(&a, &b, 11, 1, 24), link(&b, &a, 22, 1, 24));
    a.done(Request::PutLink(put_a));
    b.done(Request::PutLink(put_b));
    (a, b)
}

#[test]
fn control_cells_cross_a_link() {
    let (mut a, b) = linked();
    let subscriber = subscriber(&b);
    wait(&subscriber, |punt| (*punt == Punt::Heard { link: 22, generation: 1 }).then_some(()));
    let body = |n: u8| Bytes::new(&vec![n; body_len(256)]).expect("fits");
    for n in 0..19 {
        a.done(Request::Inject(Inject::Link { boot: a.boot(), link: 11, body: body(n) }));
    }
    // On a busy machine a slot may be missed, and its cell with it; none comes twice or out of order.
    let mut next = 0;
    while next < 20 {
        let came = wait(&subscriber, |punt| match punt {
            Punt::Link { link: 22, body } => Some(body.to_vec()),
            _ => None,
        });
        let n = came[0];
        assert!(n >= next && came == vec![n; body_len(256)], "{n} after {next}");
        next = n + 1;
        if n < 19 {
            // The last one again, should it be lost.
            let _ = a.client.ask(&Request::Inject(Inject::Link { boot: a.boot(), link: 11, body: body(19) }));
        }
    }
    let refused = |plane: &mut Plane, inject| plane.refused(Request::Inject(inject)).0;
    let (boot, short) = (a.boot(), Bytes::new(&[1; 20]).expect("fits"));
    assert_eq!(refused(&mut a, Inject::Link { boot, link: 11, body: short.clone() }), Refusal::Malformed);
    assert_eq!(refused(&mut a, Inject::Link { boot, link: 12, body: body(1) }), Refusal::Unknown);
    let record = Inject::Record { boot, link: 11, content_type: 22, data: short };
    assert_eq!(refused(&mut a, record), Refusal::Unsupported);
    let boot = b.boot();
    assert_eq!(refused(&mut a, Inject::Link { boot, link: 11, body: body(1) }), Refusal::WrongBoot);
}

#[test]
fn what_waits_for_slots_is_bounded() {
    let mut plane = Plane::start("");
    let mut class = plane.class(1);
    class.round_ns = 10_000_000_000;
    plane.done(Request::PutClass(class));
    plane.done(Request::PutLink(lone_link(&plane, 1, 4001)));
    let body = Bytes::new(&vec![1; body_len(256)]).expect("fits");
    let inject = Request::Inject(Inject::Link { boot: plane.boot(), link: 1, body });
    let mut taken = 0;
    let (code, text) = loop {
        match plane.client.ask(&inject) {
            Answer::Done => taken += 1,
            Answer::Refused(code, text) => break (code, text),
            other => panic!("{other:?}"),
        }
        assert!(taken < 1000);
    };
    assert!(code == Refusal::Busy && text.contains("try again"), "{text}");
    // One may have left meanwhile.
    let most = drover_dataplane::limits::CONTROL_PER_LINK;
    assert!((most..=most + 1).contains(&taken), "{taken}");
    plane.done(Request::RemoveLink { boot: plane.boot(), link: 1 });
    let mut again = lone_link(&plane, 1, 4001);
    (again.send.secret, again.receive.secret) = (Secret([2; 32]), Secret([3; 32]));
    plane.done(Request::PutLink(again));
    plane.done(inject);
}

#[test]
fn expected_senders_are_bounded() {
    let mut plane = Plane::start("");
    let expect = |plane: &Plane, n: u16, expected| Request::Expect {
        boot: plane.boot(),
        remote: Address::from(SocketAddr::from(([10, 0, 0, 1], n + 1))),
        expected,
    };
    let most = drover_dataplane::limits::EXPECTED_MAX as u16;
    for n in 0..most {
        plane.done(expect(&plane, n, true));
    }
    let (code, text) = plane.refused(expect(&plane, most, true));
    assert!(code == Refusal::Limit && text.contains("1024"), "{text}");
    plane.done(expect(&plane, 5, false));
    plane.done(expect(&plane, most, true));
    // A new subscriber knows of none of them.
    plane.done(Request::Subscribe { boot: plane.boot() });
    plane.done(expect(&plane, most + 1, true));
    assert!(plane.running.alive());
}

/// Every object of a dump, and how many pages it took.
fn dump(plane: &mut Plane, what: Dump, name: &str) -> (Vec<serde_json::Value>, usize) {
    let (mut all, mut from, mut pages) = (Vec::new(), 0, 0);
    loop {
        let Answer::Report(mut page) = plane.client.ask(&Request::Dump { what, from }) else { panic!("no report") };
        pages += 1;
        all.append(page[name].as_array_mut().expect("a list"));
        match page["next"].as_u64() {
            None => return (all, pages),
            Some(next) => from = u32::try_from(next).expect("an id"),
        }
    }
}

#[test]
fn a_dump_tells_everything_but_keys() {
    let mut plane = Plane::start("");
    let class = plane.class(8);
    plane.done(Request::PutClass(class));
    let owner = Owner::new(&[0xab; 64]).expect("fits");
    for n in 0..150u16 {
        let mut put = lone_link(&plane, 7 * u32::from(n), 5000 + n);
        put.owner = owner;
        plane.done(Request::PutLink(put));
    }
    let mut passing = circuit(&plane, 3, (0, 9), (7, 8), true);
    passing.owner = owner;
    passing.backward = Leg { admitted: false, ..passing.backward };
    plane.done(Request::PutCircuit(passing.clone()));
    plane.done(Request::PutLoop(PutLoop { boot: plane.boot(), a: 5000, b: 5001, class: 1, owner: Owner::default() }));
    let mut newer = lone_link(&plane, 7, 5001);
    (newer.generation, newer.owner) = (2, owner);
    (newer.send.secret, newer.receive.secret) = (Secret([2; 32]), Secret([3; 32]));
    plane.done(Request::PutLink(newer));

    let (links, pages) = dump(&mut plane, Dump::Links, "links");
    assert_eq!((links.len(), pages), (152, 3));
    assert!(links.windows(2).all(|pair| pair[0]["link"].as_u64() < pair[1]["link"].as_u64()));
    let link = &links[1];
    assert_eq!((&link["link"], &link["remote"], &link["class"]), (&7.into(), &"127.0.0.2:5001".into(), &1.into()));
    assert_eq!((&link["peer"], &link["sending"], &link["silent"]), (&"drover".into(), &1.into(), &false.into()));
    assert_eq!(link["owner"], "ab".repeat(64));
    assert!(link["heard"].is_null() && link["loop_to"].is_null());
    let id = drover_crypto::schedule::TrafficSecret([2; 32]).key_id();
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&link["generations"][1]["generation"], &link["generations"][1]["send_id"]), (&2.into(), &hex.into()));
    assert_eq!((&links[150]["loop_to"], &links[150]["remote"]), (&5001.into(), &serde_json::Value::Null));

    let (circuits, _) = dump(&mut plane, Dump::Circuits, "circuits");
    let expected = serde_json::json!([{
        "circuit": 3, "generation": 1, "near": { "link": 0, "id": 9 }, "far": { "link": 7, "id": 8 },
        "admitted": [true, false], "hop": false, "owner": "ab".repeat(64),
    }]);
    assert_eq!(serde_json::Value::from(circuits), expected);
    let (classes, _) = dump(&mut plane, Dump::Classes, "classes");
    let expected =
        serde_json::json!([{ "class": 1, "kind": "zone", "round_ns": ROUND_NS, "slots": 8, "slots_max": 64 }]);
    assert_eq!(serde_json::Value::from(classes), expected);
    assert_eq!(dump(&mut plane, Dump::Ends, "ends"), (vec![], 1));
}

#[test]
fn peers_are_dumped_as_what_they_are() {
    let mut plane = Plane::start("");
    let class = plane.class(8);
    plane.done(Request::PutClass(class));
    let mut put = lone_link(&plane, 1, 5000);
    (put.peer, put.generation) = (Peer::Foreign, 3);
    plane.done(Request::PutLink(put));
    let (links, _) = dump(&mut plane, Dump::Links, "links");
    assert_eq!((&links[0]["peer"], &links[0]["sending"]), (&"foreign".into(), &3.into()));
}

#[test]
fn a_foreign_peers_epochs_go_on_one_by_one() {
    let mut plane = Plane::start("");
    let (class, boot) = (plane.class(8), plane.boot());
    plane.done(Request::PutClass(class));
    let mut put = lone_link(&plane, 1, 5000);
    put.peer = Peer::Foreign;
    let (code, text) = plane.refused(Request::PutLink(put.clone()));
    assert!(code == Refusal::Malformed && text.contains("epoch"), "{text}");
    put.generation = 3;
    plane.done(Request::PutLink(put.clone()));
    plane.done(Request::PutLink(lone_link(&plane, 2, 5001)));
    let advance = |link, send| Request::AdvanceEpoch { boot, link, send };
    assert_eq!(plane.refused(advance(2, true)).0, Refusal::Unsupported);
    assert_eq!(plane.refused(advance(3, true)).0, Refusal::Unknown);
    for send in [true, true, false] {
        plane.done(advance(1, send));
    }
    let (links, _) = dump(&mut plane, Dump::Links, "links");
    let id = |secret: &Secret<32>, epochs| {
        let id = drover_crypto::schedule::TrafficSecret(secret.0).advance(epochs).key_id();
        serde_json::Value::from(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    assert_eq!(links[0]["sending"], 5);
    let expected = serde_json::json!([
        { "generation": 3, "send_id": id(&put.send.secret, 0), "receive_id": id(&put.receive.secret, 0) },
        { "generation": 4, "send_id": null, "receive_id": id(&put.receive.secret, 1) },
        { "generation": 5, "send_id": id(&put.send.secret, 2), "receive_id": null },
    ]);
    assert_eq!(links[0]["generations"], expected);
    // Generations are not put or switched to: an epoch follows from the one before.
    assert_eq!(plane.refused(Request::SwitchLink { boot, link: 1, generation: 4 }).0, Refusal::Unsupported);
    put.generation = 6;
    (put.send.secret, put.receive.secret) = (Secret([2; 32]), Secret([3; 32]));
    assert_eq!(plane.refused(Request::PutLink(put.clone())).0, Refusal::Unsupported);
    // A secret that an epoch came to is used up too.
    let mut again = lone_link(&plane, 4, 5003);
    again.send.secret = Secret(drover_crypto::schedule::TrafficSecret(lone_link(&plane, 1, 1).send.secret.0).next().0);
    assert_eq!(plane.refused(Request::PutLink(again)).0, Refusal::Forbidden);
    let data = Bytes::new(&[1, 0]).expect("fits");
    plane.done(Request::Inject(Inject::Record { boot, link: 1, content_type: 21, data: data.clone() }));
    let cell = Inject::Link { boot, link: 1, body: Bytes::new(&[0; 224]).expect("fits") };
    assert_eq!(plane.refused(Request::Inject(cell)).0, Refusal::Unsupported);
    let long = Bytes::new(&[0; 240]).expect("fits");
    let record = Inject::Record { boot, link: 1, content_type: 22, data: long };
    assert_eq!(plane.refused(Request::Inject(record)).0, Refusal::Malformed);
}
