//! Two data planes in one process, programmed over their sockets, exchange records over loopback.

mod service_support;

use drover_dataplane::drops::DropReason;
use drover_dataplane::terminal::Terminal;
use drover_wire::control::{EndSecret, LinkEnd, PutEnd, Refusal, Request, Secret};
use serde_json::Value;
use service_support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two planes joined by link 1, its rate still low: while only one end has the link, its records are lost, and they
/// must be fewer than what two ratchet steps cover. Records from `b` begin before `a` has the link; none from `a` do.
fn joined(ratchet_bits: u8) -> (Plane, Plane) {
    let (mut a, mut b) = (Plane::start(""), Plane::start(""));
    let classes = [Request::PutClass(a.class(1)), Request::PutClass(b.class(1))];
    let [of_a, of_b] = classes;
    a.done(of_a);
    b.done(of_b);
    let (to_b, to_a) = (link(&a, &b, 1, 1, ratchet_bits), link(&b, &a, 1, 1, ratchet_bits));
    b.done(Request::PutLink(to_a));
    a.done(Request::PutLink(to_b));
    (a, b)
}

/// What must not happen to records between the two.
fn assert_clean(status: &Value) {
    let bad = [DropReason::RecordKey, DropReason::RecordTag, DropReason::RecordReplay, DropReason::BadCell];
    for reason in bad {
        assert_eq!(drops(status, reason.name()), 0, "{reason:?}: {status}");
    }
    assert_eq!(count(status, "refused"), 0, "{status}");
}

fn records_opened(status: &Value) -> u64 {
    let dropped: u64 = DropReason::ALL.iter().map(|reason| drops(status, reason.name())).sum();
    count(status, "received") - dropped
}

/// Waits until everything that `from` had sent by now has been opened by `to`.
fn assert_nothing_lost(from: &mut Plane, to: &mut Plane) {
    let sent = count(&from.status(), "sent");
    let status = to.until("all records", |s| count(s, "received") >= sent);
    assert_clean(&status);
    assert!(records_opened(&status) >= sent, "{sent} sent: {status}");
}

#[test]
fn chaff_flows_through_many_ratchet_steps() {
    let (mut a, mut b) = joined(4);
    // A change of rate on the way: from 50 to 100 records a second.
    for plane in [&mut a, &mut b] {
        let faster = plane.class(2);
        plane.done(Request::PutClass(faster));
    }
    // Step g begins at record 16·g.
    for plane in [&mut a, &mut b] {
        let status = plane.until("22 ratchet steps", |s| count(s, "sent") > 22 * 16 && records_opened(s) > 21 * 16);
        assert_clean(&status);
        assert_eq!(status["classes"][0]["rate"], 100.0);
    }
    // A put repeated late, when its keys are long past, touches neither numbers nor windows.
    let puts = [link(&a, &b, 1, 1, 4), link(&b, &a, 1, 1, 4)];
    for (plane, put) in [&mut a, &mut b].into_iter().zip(puts) {
        let opened = records_opened(&plane.status());
        plane.done(Request::PutLink(put));
        plane.until("more records", |s| records_opened(s) > opened + 32);
    }
    assert_nothing_lost(&mut a, &mut b);
    for plane in [a, b] {
        assert!(plane.running.alive());
        plane.running.stop();
    }
}

#[test]
fn a_generation_is_switched_under_traffic_and_no_record_is_lost() {
    let (mut a, mut b) = joined(10);
    for plane in [&mut a, &mut b] {
        let faster = plane.class(8);
        plane.done(Request::PutClass(faster));
    }
    for generation in 2..6 {
        let puts = [link(&a, &b, 1, generation, 10), link(&b, &a, 1, generation, 10)];
        let boots = [a.boot(), b.boot()];
        for (plane, put) in [&mut a, &mut b].into_iter().zip(puts) {
            plane.done(Request::PutLink(put.clone()));
            plane.done(Request::PutLink(put));
        }
        for (plane, boot) in [&mut a, &mut b].into_iter().zip(boots) {
            plane.done(Request::SwitchLink { boot, link: 1, generation });
            plane.done(Request::SwitchLink { boot, link: 1, generation });
            let older = Request::SwitchLink { boot, link: 1, generation: generation - 1 };
            assert_eq!(plane.refused(older).0, Refusal::Unknown);
        }
        for (plane, other) in [(0, 1), (1, 0)] {
            let planes = &mut [&mut a, &mut b];
            let opened = records_opened(&planes[plane].status());
            planes[plane].until("records of both", |s| records_opened(s) > opened + 20);
            assert_clean(&planes[other].status());
        }
    }
    assert_nothing_lost(&mut a, &mut b);
}

#[test]
#[cfg(feature = "lab")]
fn every_frame_and_every_link_is_accounted_for() {
    let (mut a, mut b) = joined(8);
    b.until("records", |s| records_opened(s) > 30);
    for plane in [&mut a, &mut b] {
        let status = plane.status();
        let lab = |name: &str| status["workers"][0]["lab"][name].as_u64().expect("a count");
        let dropped: u64 = DropReason::ALL.iter().map(|reason| drops(&status, reason.name())).sum();
        let went = lab("cells_out") + lab("chaff_in") + lab("handed_out") + lab("delivered") + dropped + lab("waiting");
        assert_eq!(count(&status, "received") + lab("handed_in") + lab("filled"), went, "{status}");
        assert_eq!(lab("chaff_out"), count(&status, "sent"));
        let Answer::Report(page) = plane.client.ask(&Request::QueryLinks { from: 0 }) else { panic!("no page") };
        let row = &page["links"][0];
        assert!(row["sent"].as_u64() > Some(20) && row["received"].as_u64() > Some(20), "{page}");
        assert_eq!((&row["link"], &row["worker"], &row["class"]), (&1.into(), &0.into(), &1.into()));
        assert!(page["next"].is_null());
    }
}

/// A client's side that says one byte and counts what it hears.
struct Caller {
    word: u8,
    next: u64,
    heard: Arc<AtomicU64>,
    ends: usize,
}

impl Terminal for Caller {
    type End = u8;
    const SERVES: bool = true;

    fn expand(put: &PutEnd, body: usize) -> Result<Box<u8>, String> {
        assert_eq!(body, 224);
        if put.layers.is_empty() { Err("no layers: a circuit has hops".to_owned()) } else { Ok(Box::new(7)) }
    }

    fn add(&mut self, _: u32, _: Box<u8>) {
        self.ends += 1;
    }

    fn remove(&mut self, _: u32) -> Option<Box<u8>> {
        self.ends -= 1;
        Some(Box::new(7))
    }

    fn fill(&mut self, _: u32, _: u64, body: &mut [u8]) -> u64 {
        assert_ne!(self.word, 0, "this caller has nothing to say");
        body.fill(self.word);
        self.next += 1;
        self.next - 1
    }

    fn deliver(&mut self, _: u32, _: u64, _: u64, _: &mut [u8]) -> Result<(), DropReason> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn caller(word: u8) -> (Plane, Arc<AtomicU64>) {
    let heard = Arc::new(AtomicU64::new(0));
    let plane = Plane::with(|_| Caller { word, next: 0, heard: Arc::clone(&heard), ends: 0 });
    (plane, heard)
}

fn end(plane: &Plane, end: u32, link: u32, id: u32, receive_first: u64) -> PutEnd {
    let secret = |key: u8| EndSecret { key: Secret([key; 16]), iv: Secret::default() };
    let layer = drover_wire::control::EndLayer { backward: Secret([7; 16]), ..Default::default() };
    PutEnd {
        boot: plane.boot(),
        end,
        generation: 1,
        at: LinkEnd { link, id },
        send_first: 0,
        receive_first: Some(receive_first),
        layers: drover_wire::control::Layers::from_slice(&[layer]).expect("fits"),
        seal: secret(1),
        open: secret(2),
    }
}

#[test]
fn a_call_goes_through_a_mix_between_two_ends() {
    let ((mut alice, heard_a), (mut bob, heard_b)) = (caller(1), caller(2));
    // Two workers: what comes in by one link leaves by the other's, through a hand-off ring.
    let mut mix = Plane::of_workers("", 2);
    for plane in [&mut alice, &mut bob, &mut mix] {
        let class = plane.class(4);
        plane.done(Request::PutClass(class));
    }
    let (to_alice, to_bob) = (link(&mix, &alice, 1, 1, 24), {
        let mut second = link(&mix, &bob, 2, 1, 24);
        second.local_port = mix.running.listens()[1].port();
        second
    });
    mix.done(Request::PutLink(to_alice));
    mix.done(Request::PutLink(to_bob));
    let put = link(&alice, &mix, 1, 1, 24);
    alice.done(Request::PutLink(put));
    let mut put = link(&bob, &mix, 1, 1, 24);
    put.remote = mix.running.listens()[1].into();
    bob.done(Request::PutLink(put));
    let put = circuit(&mix, 1, (1, 11), (2, 22), true);
    mix.done(Request::PutCircuit(put));
    // The mix adds 7 to each counter.
    for (plane, id) in [(&mut alice, 11), (&mut bob, 22)] {
        let put = end(plane, 5, 1, id, 7);
        plane.done(Request::PutEnd(put.clone()));
        plane.done(Request::PutEnd(put.clone()));
        let mut other = put.clone();
        other.seal.key = Secret([9; 16]);
        assert_eq!(plane.refused(Request::PutEnd(other)).0, Refusal::Exists);
        let mut bare = put.clone();
        (bare.end, bare.at.id, bare.layers) = (6, 9, Default::default());
        (bare.seal.key, bare.open.key) = (Secret([8; 16]), Secret([9; 16]));
        let (code, text) = plane.refused(Request::PutEnd(bare));
        assert!(code == Refusal::Malformed && text.contains("no layers"), "{text}");
    }
    for (plane, heard) in [(&mut bob, &heard_b), (&mut alice, &heard_a)] {
        let status = plane.until("a call", |_| heard.load(Ordering::Relaxed) > 20);
        assert_eq!((&status["ends"], &status["circuits"]), (&1.into(), &0.into()));
        assert_clean(&status);
    }
    let status = mix.status();
    assert_eq!((&status["ends"], &status["circuits"]), (&0.into(), &1.into()));
    // The link goes, and the end with it.
    let boot = alice.boot();
    alice.done(Request::RemoveLink { boot, link: 1 });
    let status = alice.until("no link", |s| s["workers"][0]["links"] == 0);
    assert_eq!(status["ends"], 0);
}

#[test]
fn a_worker_that_panics_is_noticed_and_the_rest_goes_on() {
    // The caller panics at its first cell.
    let (mut plane, _) = caller(0);
    assert!(plane.running.alive() && plane.running.failure().is_none());
    let class = plane.class(4);
    plane.done(Request::PutClass(class));
    let put = lone_link(&plane, 1, 4001);
    plane.done(Request::PutLink(put));
    let put = end(&plane, 1, 1, 9, 0);
    plane.done(Request::PutEnd(put));
    let deadline = std::time::Instant::now() + PATIENCE;
    while plane.running.alive() {
        assert!(std::time::Instant::now() < deadline, "the panic went unnoticed");
        std::thread::yield_now();
    }
    let failure = plane.running.failure().expect("a reason");
    assert!(failure.contains("drover-w0") && failure.contains("nothing to say"), "{failure}");
    assert_eq!(plane.status()["ends"], 1, "the service thread still answers");
    plane.running.stop();
}
