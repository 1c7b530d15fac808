//! The control socket of a running data plane: who may, what is refused and why, and that nothing stops it.

mod service_support;

use drover_dataplane::config::{Config, Pacing, Policy};
use drover_dataplane::process::launch_mix;
use drover_wire::control::{LinkEnd, Owner, PutEnd, REQUEST_MAX, Refusal, Request, Secret, WorkerInfo, kind};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use rustix::io::Errno;
use service_support::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn hello_says_who_it_is() {
    let mut plane = Plane::of_workers("cell = 512", 2);
    let Answer::Welcome(welcome) = plane.client.ask(&Request::Hello) else { panic!("no welcome") };
    assert_eq!(welcome.boot, plane.boot());
    assert_eq!((welcome.cell, welcome.lab, welcome.ends), (512, cfg!(feature = "lab"), false));
    let ports: Vec<_> = welcome.workers.iter().map(|w| w.listen.port).collect();
    assert_eq!(ports, plane.running.listens().iter().map(|l| l.port()).collect::<Vec<_>>());
    assert!(welcome.workers.iter().all(|w| w.core == WorkerInfo::NOT_PINNED));
    assert!(welcome.now_ns > 0);
}

#[test]
fn lives_differ_and_leave_nothing_behind() {
    let (first, second) = (Plane::start(""), Plane::start(""));
    assert_ne!(first.boot(), second.boot());
    let socket = first.running.socket().to_owned();
    assert!(socket.exists());
    first.running.stop();
    assert!(!socket.exists());
}

#[test]
fn status_is_json_with_every_key() {
    let mut plane = Plane::start("");
    let class = plane.class(4);
    plane.done(Request::PutClass(class));
    let put = lone_link(&plane, 5, 4000);
    plane.done(Request::PutLink(put));
    let status = plane.until("a departure", |s| count(s, "sent") > 0 && s["workers"][0]["links"] == 1);
    let keys = |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let mut expected = vec![
        "boot",
        "cell",
        "crypto",
        "crypto_reason",
        "policy",
        "policy_reason",
        "tick_us",
        "mixing",
        "lab",
        "uptime_s",
        "now_ns",
        "links",
        "circuits",
        "ends",
        "pool_bytes",
        "lateness_ns",
        "workers",
        "classes",
    ];
    expected.sort_unstable();
    let mut found = keys(&status);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(status["boot"], plane.boot().to_string());
    assert_eq!((&status["cell"], &status["policy"]), (&256.into(), &"tick".into()));
    assert!(status["pool_bytes"].as_u64() > Some(8192 * 256));
    let mut expected = vec![
        "worker",
        "listen",
        "port",
        "bound",
        "port_details",
        "core",
        "policy",
        "policy_reason",
        "published_ns",
        "turns",
        "received",
        "sent",
        "refused",
        "oversized",
        "trials",
        "links",
        "drops",
        "lateness_us",
    ];
    if cfg!(feature = "lab") {
        expected.push("lab");
    }
    expected.sort_unstable();
    let mut found = keys(&status["workers"][0]);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert!(status["workers"][0]["core"].is_null());
    assert!(status["workers"][0]["lateness_us"]["p99"].as_f64() > Some(0.0));
    let class = &status["classes"][0];
    assert_eq!((&class["class"], &class["kind"]), (&1.into(), &"zone".into()));
    assert_eq!((&class["slots"], &class["rate"], &class["links"]), (&4.into(), &200.0.into(), &1.into()));
    assert!(class["sent"].as_u64() > Some(0));
}

#[test]
fn a_repeated_put_touches_nothing() {
    let mut plane = Plane::start("");
    let class = plane.class(4);
    let puts = [
        Request::PutClass(class),
        Request::PutLink(lone_link(&plane, 1, 4001)),
        Request::PutLink(lone_link(&plane, 2, 4002)),
        Request::PutCircuit(circuit(&plane, 9, (1, 10), (2, 20), true)),
    ];
    for put in &puts {
        plane.done(put.clone());
    }
    plane.until("two links", |s| s["workers"][0]["links"] == 2);
    for _ in 0..50 {
        for put in &puts {
            plane.done(put.clone());
        }
    }
    let status = plane.status();
    assert_eq!((&status["links"], &status["circuits"]), (&2.into(), &1.into()));
    // What contradicts is told apart.
    let mut other = lone_link(&plane, 1, 4001);
    other.send.secret = Secret([9; 32]);
    let (code, text) = plane.refused(Request::PutLink(other));
    assert_eq!(code, Refusal::Exists, "{text}");
    let mut other = lone_link(&plane, 1, 4001);
    other.send.first = 1;
    assert_eq!(plane.refused(Request::PutLink(other)).0, Refusal::Exists);
    let other = lone_link(&plane, 1, 4003);
    let (code, text) = plane.refused(Request::PutLink(other));
    assert!(code == Refusal::Exists && text.contains("remote"), "{text}");
    let other = lone_link(&plane, 3, 4001);
    let (code, text) = plane.refused(Request::PutLink(other));
    assert!(code == Refusal::Exists && text.contains("link 1"), "{text}");
    let mut other = circuit(&plane, 9, (1, 10), (2, 20), true);
    other.backward.key = Secret([3; 16]);
    assert_eq!(plane.refused(Request::PutCircuit(other)).0, Refusal::Exists);
    let other = circuit(&plane, 8, (1, 10), (2, 21), true);
    let (code, text) = plane.refused(Request::PutCircuit(other));
    assert!(code == Refusal::Exists && text.contains("circuit 9"), "{text}");
}

#[test]
fn removes_may_be_repeated_and_take_what_hangs_on_them() {
    let mut plane = Plane::start("");
    let class = plane.class(4);
    plane.done(Request::PutClass(class));
    let boot = plane.boot();
    for round in 0..20 {
        for (id, port) in [(1, 4001), (2, 4002)] {
            let mut put = lone_link(&plane, id, port);
            (put.send.secret.0[31], put.receive.secret.0[31]) = (100 + round as u8, 200 + round as u8);
            plane.done(Request::PutLink(put));
        }
        let put = circuit(&plane, round, (1, 10), (2, 20), true);
        plane.done(Request::PutCircuit(put));
        for link in [1, 1, 2, 77] {
            plane.done(Request::RemoveLink { boot, link });
        }
        plane.done(Request::RemoveCircuit { boot, circuit: round });
        plane.done(Request::RemoveEnd { boot, end: 3 });
        let status = plane.status();
        assert_eq!((&status["links"], &status["circuits"]), (&0.into(), &0.into()));
    }
    plane.until("an empty worker", |s| s["workers"][0]["links"] == 0 && s["workers"][0]["turns"].as_u64() > Some(0));
    assert!(plane.running.alive());
}

/// Its numbers or its window would begin anew.
#[test]
fn a_key_is_used_once_in_a_life() {
    let mut plane = Plane::with(|_| Ends);
    let class = plane.class(8);
    plane.done(Request::PutClass(class));
    let (boot, link, passing) = (plane.boot(), lone_link(&plane, 1, 4001), circuit(&plane, 1, (1, 1), (1, 2), true));
    let secret = |key: u8| drover_wire::control::EndSecret { key: Secret([key; 16]), iv: Secret::default() };
    let layer = drover_wire::control::EndLayer { backward: Secret([7; 16]), ..Default::default() };
    let end = PutEnd {
        boot,
        end: 1,
        generation: 1,
        at: LinkEnd { link: 1, id: 9 },
        send_first: 0,
        receive_first: Some(0),
        layers: drover_wire::control::Layers::from_slice(&[layer]).expect("fits"),
        seal: secret(1),
        open: secret(2),
    };
    let puts = [Request::PutLink(link.clone()), Request::PutCircuit(passing.clone()), Request::PutEnd(end.clone())];
    puts.iter().for_each(|put| plane.done(put.clone()));
    let refused = |plane: &mut Plane, put: Request| {
        let (code, text) = plane.refused(put);
        assert!(code == Refusal::Forbidden && text.contains("used once"), "{text}");
    };
    // Beside what is there: each secret alone is enough.
    for direction in 0..2 {
        let mut other = lone_link(&plane, 2, 4002);
        match direction {
            0 => other.send.secret = link.send.secret.clone(),
            _ => other.receive.secret = link.receive.secret.clone(),
        }
        refused(&mut plane, Request::PutLink(other));
        let mut newer = link.clone();
        (newer.generation, newer.send.first, newer.receive.first) = (2, 1 << 40, 1 << 40);
        match direction {
            0 => newer.receive.secret = Secret([8; 32]),
            _ => newer.send.secret = Secret([8; 32]),
        }
        refused(&mut plane, Request::PutLink(newer));
    }
    let mut other = circuit(&plane, 2, (1, 3), (1, 4), true);
    other.backward.key = passing.forward.key.clone();
    refused(&mut plane, Request::PutCircuit(other));
    let mut other = circuit(&plane, 2, (1, 3), (1, 4), true);
    other.backward.key = other.forward.key.clone();
    refused(&mut plane, Request::PutCircuit(other));
    let mut both = lone_link(&plane, 2, 4002);
    both.receive.secret = both.send.secret.clone();
    let (code, text) = plane.refused(Request::PutLink(both));
    assert!(code == Refusal::Malformed && text.contains("both directions"), "{text}");
    for same in 0..3 {
        let fresh = drover_wire::control::EndLayer {
            forward: Secret([10; 16]),
            backward: Secret([11; 16]),
            ..Default::default()
        };
        let layers = drover_wire::control::Layers::from_slice(&[fresh]).expect("fits");
        let mut other = PutEnd { end: 2, seal: secret(3), open: secret(4), layers, ..end.clone() };
        other.at.id = 10;
        match same {
            0 => other.seal = end.seal.clone(),
            1 => other.open = end.open.clone(),
            _ => other.layers = end.layers.clone(),
        }
        refused(&mut plane, Request::PutEnd(other));
    }
    // After it is gone. A refusal installs nothing, so other keys may come.
    plane.done(Request::RemoveEnd { boot, end: 1 });
    plane.done(Request::RemoveCircuit { boot, circuit: 1 });
    puts[1..].iter().for_each(|put| refused(&mut plane, put.clone()));
    plane.done(Request::RemoveLink { boot, link: 1 });
    refused(&mut plane, puts[0].clone());
    plane.done(Request::PutLink(lone_link(&plane, 2, 4002)));
    assert!(plane.running.alive());
}

/// A client's side that says nothing.
struct Ends;

impl drover_dataplane::terminal::Terminal for Ends {
    type End = ();
    const SERVES: bool = true;
    fn expand(_: &PutEnd, _: usize) -> Result<Box<()>, String> {
        Ok(Box::new(()))
    }
    fn add(&mut self, _: u32, _: Box<()>) {}
    fn remove(&mut self, _: u32) -> Option<Box<()>> {
        None
    }
    fn fill(&mut self, _: u32, _: u64, body: &mut [u8]) -> u64 {
        body.fill(0);
        0
    }
    fn deliver(&mut self, _: u32, _: u64, _: u64, _: &mut [u8]) -> Result<(), drover_dataplane::drops::DropReason> {
        Ok(())
    }
}

#[test]
fn a_refusal_says_what_and_where() {
    let mut plane = Plane::start("");
    let (boot, class) = (plane.boot(), plane.class(3));
    let mut wrong = class;
    wrong.boot.0[3] ^= 1;
    let (code, text) = plane.refused(Request::PutClass(wrong));
    assert!(code == Refusal::WrongBoot && text.contains(&boot.to_string()), "{text}");
    assert_eq!(plane.refused(Request::RemoveLink { boot: wrong.boot, link: 1 }).0, Refusal::WrongBoot);

    let put = lone_link(&plane, 1, 4001);
    let (code, text) = plane.refused(Request::PutLink(put.clone()));
    assert!(code == Refusal::Unknown && text.contains("class 1"), "{text}");
    plane.done(Request::PutClass(class));
    let mut other = put.clone();
    other.local_port ^= 1;
    let (code, text) = plane.refused(Request::PutLink(other));
    assert!(code == Refusal::Unknown && text.contains(&plane.port().to_string()), "{text}");
    let mut other = put.clone();
    other.remote.ip = std::net::Ipv6Addr::LOCALHOST.octets();
    assert_eq!(plane.refused(Request::PutLink(other)).0, Refusal::Unsupported);
    let mut other = put.clone();
    other.ratchet_bits = 31;
    let (code, text) = plane.refused(Request::PutLink(other));
    assert!(code == Refusal::Limit && text.contains("30"), "{text}");
    let mut other = put.clone();
    other.receive.first = u64::MAX;
    assert_eq!(plane.refused(Request::PutLink(other)).0, Refusal::Malformed);

    plane.done(Request::PutLink(put.clone()));
    assert_eq!(plane.refused(Request::SwitchLink { boot, link: 1, generation: 2 }).0, Refusal::Unknown);
    assert_eq!(plane.refused(Request::SwitchLink { boot, link: 2, generation: 1 }).0, Refusal::Unknown);
    plane.done(Request::SwitchLink { boot, link: 1, generation: 1 });
    let mut older = put.clone();
    older.generation = 0;
    assert_eq!(plane.refused(Request::PutLink(older)).0, Refusal::Exists);

    let lost = circuit(&plane, 1, (1, 1), (9, 1), true);
    assert_eq!(plane.refused(Request::PutCircuit(lost)).0, Refusal::Unknown);
    // Three slots, one stays free: both legs of one circuit over one link, then no more.
    let whole = circuit(&plane, 1, (1, 1), (1, 2), true);
    plane.done(Request::PutCircuit(whole));
    let more = circuit(&plane, 2, (1, 3), (1, 4), true);
    let (code, text) = plane.refused(Request::PutCircuit(more));
    assert!(code == Refusal::NoRoom && text.contains("3 slots"), "{text}");
    let best_effort = circuit(&plane, 2, (1, 3), (1, 4), false);
    plane.done(Request::PutCircuit(best_effort));
    let mut ends_here = circuit(&plane, 3, (1, 5), (1, 6), false);
    ends_here.far = None;
    plane.done(Request::PutCircuit(ends_here));

    let mut slower = class;
    slower.slots = 2;
    let (code, text) = plane.refused(Request::PutClass(slower));
    assert!(code == Refusal::NoRoom && text.contains("link 1"), "{text}");
    let mut other = class;
    other.slots_max = 65;
    assert_eq!(plane.refused(Request::PutClass(other)).0, Refusal::Exists);
    let mut fast = class;
    (fast.class, fast.round_ns, fast.slots_max) = (2, 1_000_000, 1 << 20);
    assert_eq!(plane.refused(Request::PutClass(fast)).0, Refusal::Limit);
    for id in 10..25 {
        let mut more = class;
        more.class = id;
        plane.done(Request::PutClass(more));
    }
    let mut more = class;
    more.class = 25;
    assert_eq!(plane.refused(Request::PutClass(more)).0, Refusal::Limit);

    let end = PutEnd {
        boot,
        end: 1,
        generation: 1,
        at: LinkEnd { link: 1, id: 9 },
        send_first: 0,
        receive_first: Some(0),
        layers: Default::default(),
        seal: drover_wire::control::EndSecret { key: Secret::default(), iv: Secret::default() },
        open: drover_wire::control::EndSecret { key: Secret::default(), iv: Secret::default() },
    };
    assert_eq!(plane.refused(Request::PutEnd(end)).0, Refusal::Unsupported);
    for bare in [kind::DUMP, kind::INJECT, kind::RAW] {
        plane.client.send(&[1, bare, 0, 0, 0, 0, 0, 7]).expect("sends");
        let Ok(Some((7, Answer::Refused(code, text)))) = plane.client.receive() else { panic!("no refusal") };
        assert_eq!(code, Refusal::Malformed, "{text}");
    }
    assert!(plane.running.alive());
}

#[test]
#[cfg(not(feature = "lab"))]
fn single_links_are_told_by_lab_builds_only() {
    let mut plane = Plane::start("");
    let (code, text) = plane.refused(Request::QueryLinks { from: 0 });
    assert!(code == Refusal::Unsupported && text.contains("feature lab"), "{text}");
    assert!(plane.status()["workers"][0].get("lab").is_none());
}

#[test]
#[cfg(feature = "lab")]
fn links_come_in_pages_ordered_by_id() {
    let mut plane = Plane::start("");
    let class = plane.class(1);
    plane.done(Request::PutClass(class));
    let ids: Vec<u32> = (0..450).map(|at| (at * 7919) % 1_000_003).collect();
    for (at, id) in ids.iter().enumerate() {
        let put = lone_link(&plane, *id, 5000 + at as u16);
        plane.done(Request::PutLink(put));
    }
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from {
        let Answer::Report(page) = plane.client.ask(&Request::QueryLinks { from: next }) else { panic!("no page") };
        found
            .extend(page["links"].as_array().expect("links").iter().map(|l| l["link"].as_u64().expect("an id") as u32));
        from = page["next"].as_u64().map(|id| id as u32);
    }
    let mut expected = ids.clone();
    expected.sort_unstable();
    assert_eq!(found, expected);
    // Every row is published, each under its own id.
    let deadline = std::time::Instant::now() + PATIENCE;
    let row = |plane: &mut Plane, id| match plane.client.ask(&Request::QueryLinks { from: id }) {
        Answer::Report(page) => page["links"][0].clone(),
        other => panic!("{other:?}"),
    };
    for id in ids {
        while row(&mut plane, id)["sent"].as_u64() < Some(1) {
            assert!(std::time::Instant::now() < deadline, "link {id} was not published");
        }
    }
}

/// Any message, or one that begins like a request and goes wrong further on.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 1..600);
    let framed = (0u8..140, proptest::collection::vec(any::<u8>(), 0..400)).prop_map(|(kind, rest)| {
        let mut message = vec![1, kind, 0, 0, 0, 0, 0, 1];
        message.extend(rest);
        message
    });
    prop_oneof![noise, framed]
}

#[test]
fn hostile_messages_are_refused_and_stop_nothing() {
    let mut plane = Plane::start("");
    let (class, boot) = (plane.class(4), plane.boot());
    plane.done(Request::PutClass(class));
    let put = Request::PutLink(lone_link(&plane, 1, 4001));
    plane.done(put.clone());
    let mut valid = [0; REQUEST_MAX];
    let len = put.encode(1, &mut valid).expect("fits");
    let client = &plane.client;
    let ask = |message: &[u8]| {
        client.send(message).expect("sends");
        client.receive().expect("receives").expect("an answer")
    };
    let mut runner = TestRunner::new(Cases { cases: 256, failure_persistence: None, ..Cases::default() });
    let random = runner.run(&messages(), |message| {
        let (id, answer) = ask(&message);
        let short = message.len() < 8;
        prop_assert_eq!(
            id,
            if short { 0 } else { u32::from_be_bytes([message[4], message[5], message[6], message[7]]) }
        );
        let questions = [kind::HELLO, kind::QUERY_STATUS, kind::QUERY_LINKS, kind::DUMP];
        let question = message.len() >= 2 && questions.contains(&message[1]);
        prop_assert!(question || matches!(answer, Answer::Refused(..)), "{:?}", answer);
        Ok(())
    });
    random.unwrap_or_else(|error| panic!("{error}"));
    // A put with one byte changed, or cut short: refused, or about another object.
    for at in 0..len {
        let mut odd = valid;
        odd[at] ^= 0x80;
        ask(&odd[..len]);
        assert!(matches!(ask(&valid[..at.max(1)]).1, Answer::Refused(Refusal::Malformed, _)));
    }
    let (_, answer) = ask(&vec![1; 65_537]);
    let Answer::Refused(Refusal::Malformed, text) = answer else { panic!("{answer:?}") };
    assert!(text.contains("65536"), "{text}");
    let (_, answer) = ask(&vec![1; 150_000]);
    assert!(matches!(answer, Answer::Refused(Refusal::Malformed, _)));
    plane.done(put);
    plane.done(Request::RemoveLink { boot, link: 1 });
    assert!(plane.running.alive());
}

#[test]
fn a_client_that_does_not_read_is_closed_and_holds_up_nobody() {
    let mut plane = Plane::start("");
    let slow = Client::connect(plane.running.socket()).expect("connects");
    let mut status = [0; 16];
    let len = Request::QueryStatus.encode(1, &mut status).expect("fits");
    let closed = (0..200_000).find_map(|_| slow.send(&status[..len]).err());
    assert!(matches!(closed, Some(Errno::PIPE | Errno::CONNRESET)), "{closed:?}");
    assert!(matches!(plane.client.ask(&Request::Hello), Answer::Welcome(_)));
}

#[test]
fn connections_are_bounded() {
    let mut plane = Plane::start("");
    let most = drover_dataplane::service::socket::CONNECTIONS_MAX;
    let mut all: Vec<_> = (1..most).map(|_| Client::connect(plane.running.socket()).expect("connects")).collect();
    for client in &mut all {
        assert!(matches!(client.ask(&Request::Hello), Answer::Welcome(_)));
    }
    let beyond = Client::connect(plane.running.socket()).expect("connects");
    let Ok(Some((0, Answer::Refused(Refusal::Busy, text)))) = beyond.receive() else { panic!("not refused") };
    assert!(text.contains("32 connections"), "{text}");
    assert!(matches!(beyond.receive(), Ok(None)));
    // One goes, another may come.
    all.pop();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(plane.running.socket()).expect("connects");
        let mut hello = [0; 16];
        let len = Request::Hello.encode(1, &mut hello).expect("fits");
        let sent = client.send(&hello[..len]);
        match (sent, client.receive()) {
            (Ok(()), Ok(Some((1, Answer::Welcome(_))))) => {
                assert!(matches!(client.ask(&Request::Hello), Answer::Welcome(_)));
                break;
            }
            _ => assert!(std::time::Instant::now() < deadline, "no place became free"),
        }
    }
    for client in &mut all {
        assert!(matches!(client.ask(&Request::Hello), Answer::Welcome(_)));
    }
    assert!(matches!(plane.client.ask(&Request::Hello), Answer::Welcome(_)));
}

/// The kernel tells whose thread connects. Only root can connect as somebody else, so this test needs root; who is
/// admitted is tested beside the code for everybody.
#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        drover_nic::skip::skipped("another user's connection: only root can act as another user");
        return;
    }
    const NOBODY: u32 = 65_534;
    const NAMED: u32 = 65_533;
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("root may");
    let mut config = config(dir.path(), "", 1);
    config.allow_uids = vec![NAMED];
    let running = launch_mix(&config).expect("starts");
    let as_user = |uid| {
        let socket = running.socket().to_owned();
        let thread = std::thread::spawn(move || {
            // This thread's user only (setresuid(2)): the other tests' threads stay as they are.
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may");
            let client = Client::connect(&socket).expect("connects");
            let mut hello = [0; 16];
            let len = Request::Hello.encode(1, &mut hello).expect("fits");
            match client.send(&hello[..len]) {
                Ok(()) | Err(Errno::PIPE) => {}
                Err(error) => panic!("{error}"),
            }
            client.receive()
        });
        thread.join().expect("ends")
    };
    let Ok(Some((0, Answer::Refused(Refusal::Forbidden, text)))) = as_user(NOBODY) else { panic!("not refused") };
    assert!(text.contains("65534") && text.contains("allow_uids"), "{text}");
    assert!(matches!(as_user(NAMED), Ok(Some((1, Answer::Welcome(_))))));
}

#[test]
fn an_old_socket_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), "", 1);
    drop(std::os::unix::net::UnixListener::bind(&config.socket).expect("binds"));
    let running = launch_mix(&config).expect("replaces the old socket");
    let error = launch_mix(&config).err().expect("in use").to_string();
    assert!(error.contains("control.socket") && error.contains("another process"), "{error}");
    assert!(Client::connect(running.socket()).is_ok());
    let mut taken = config.clone();
    taken.socket = dir.path().join("other.sock");
    taken.workers[0].listen = running.listens()[0];
    let error = launch_mix(&taken).err().expect("in use").to_string();
    assert!(error.contains("worker[0].listen"), "{error}");
    assert!(!taken.socket.exists(), "a start that fails leaves nothing behind");
}

#[test]
fn an_owner_belongs_to_its_generation() {
    let mut plane = Plane::start("");
    let class = plane.class(4);
    plane.done(Request::PutClass(class));
    let mut put = lone_link(&plane, 1, 4001);
    put.owner = Owner::new(&[7; 64]).expect("fits");
    plane.done(Request::PutLink(put.clone()));
    put.owner = Owner::new(&[8; 64]).expect("fits");
    assert_eq!(plane.refused(Request::PutLink(put.clone())).0, Refusal::Exists);
    // A newer generation brings its own, and its own keys.
    put.generation = 2;
    assert_eq!(plane.refused(Request::PutLink(put.clone())).0, Refusal::Forbidden);
    (put.send.secret, put.receive.secret) = (Secret([2; 32]), Secret([3; 32]));
    plane.done(Request::PutLink(put.clone()));
    plane.done(Request::PutLink(put));
}

#[test]
fn a_worker_that_spins_serves_as_well() {
    let mut plane =
        Plane::start("[pacing]\npolicy = \"spin\"\n[mixing]\nmode = \"threshold\"\nthreshold = 5\ncap_ms = 60");
    let class = plane.class(4);
    plane.done(Request::PutClass(class));
    let put = lone_link(&plane, 1, 4001);
    plane.done(Request::PutLink(put));
    let status = plane.until("departures", |s| count(s, "sent") > 20);
    assert_eq!(status["mixing"], serde_json::json!({ "mode": "threshold", "threshold": 5, "cap_ms": 60 }));
    assert_eq!((&status["policy"], &status["policy_reason"]), (&"spin".into(), &"as configured".into()));
}

/// What `auto` decides depends on the machine; what is told is what was decided, of each worker.
#[test]
fn each_worker_is_paced_by_itself_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let core = core_affinity::get_core_ids().expect("cores")[0].id;
    let text = format!(
        "[pacing]\npolicy = \"auto\"\n[control]\nsocket = {:?}\n[[worker]]\nlisten = \"127.0.0.1:0\"\ncore = {core}\n\
         [[worker]]\nlisten = \"127.0.0.1:0\"\n",
        dir.path().join("s")
    );
    let decided = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    // As on a machine where the first worker's core is isolated.
    let mut config = decided;
    config.pacings[0] = Pacing { policy: Policy::Spin, reason: "core 9 is isolated".to_owned() };
    assert_eq!(config.pacings[1].policy, Policy::Tick);
    let running = launch_mix(&config).expect("starts");
    let mut client = Client::connect(running.socket()).expect("connects");
    let Answer::Report(status) = client.ask(&Request::QueryStatus) else { panic!("no status") };
    assert_eq!(status["policy"], "mixed");
    assert_eq!(status["policy_reason"], "worker 0: core 9 is isolated; worker 1: it is pinned to no core");
    for (worker, policy) in [(0, "spin"), (1, "tick")] {
        assert_eq!(status["workers"][worker]["policy"], policy);
        assert_eq!(status["workers"][worker]["policy_reason"], config.pacings[worker].reason);
    }
}
