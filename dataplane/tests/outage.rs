//! A link of 5,000 cells a second over real sockets goes silent for more than a wrap of its record numbers, and heals
//! (`docs/wire.md`, W-NUM-3). Other lengths, ten minutes among them, run on a virtual clock: `tests/worker.rs`.

mod service_support;

use drover_dataplane::drops::DropReason;
use drover_wire::control::{Address, Request};
use service_support::*;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Slots of a round of 20 ms: 5,000 records a second.
const SLOTS: u32 = 100;
/// Records that are lost: more than the 65,536 that 16 bits tell apart.
const LOST: u64 = 70_000;

/// Passes datagrams between two data planes, or nothing.
struct Cable {
    cut: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Where each end sends to: a's, b's.
    ends: [SocketAddr; 2],
}

impl Cable {
    fn between(a: SocketAddr, b: SocketAddr) -> Cable {
        let (cut, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let socket = || Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a port"));
        let (for_a, for_b) = (socket(), socket());
        let ends = [&for_a, &for_b].map(|socket| socket.local_addr().expect("bound"));
        let ways = [(Arc::clone(&for_a), Arc::clone(&for_b), b), (for_b, for_a, a)];
        let threads = ways.map(|(from, by, to)| {
            from.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
            let (cut, stop) = (Arc::clone(&cut), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut bytes = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    match from.recv_from(&mut bytes) {
                        Ok((n, _)) if !cut.load(Ordering::Relaxed) => drop(by.send_to(&bytes[..n], to)),
                        Ok(_) => {}
                        Err(error) => assert!(matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                        )),
                    }
                }
            })
        });
        Cable { cut, stop, threads: threads.into(), ends }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_fast_link_heals_after_seventy_thousand_lost_records() {
    let (mut a, mut b) = (Plane::start(""), Plane::start(""));
    let cable = Cable::between(a.running.listens()[0], b.running.listens()[0]);
    let classes =
        [a.class(SLOTS), b.class(SLOTS)].map(|class| drover_wire::control::PutClass { slots_max: SLOTS, ..class });
    let mut puts = [link(&a, &b, 1, 1, 14), link(&b, &a, 1, 1, 14)];
    for (put, end) in puts.iter_mut().zip(cable.ends) {
        put.remote = Address::from(end);
    }
    let [class_a, class_b] = classes;
    let [put_a, put_b] = puts;
    for (plane, class, put) in [(&mut a, class_a, put_a), (&mut b, class_b, put_b)] {
        plane.done(Request::PutClass(class));
        plane.done(Request::PutLink(put));
    }
    let opened = |plane: &mut Plane| {
        let status = plane.status();
        let dropped: u64 = DropReason::ALL.iter().map(|reason| drops(&status, reason.name())).sum();
        count(&status, "received") - dropped
    };
    for plane in [&mut a, &mut b] {
        plane.until("traffic", |status| count(status, "received") > 1_000);
    }

    cable.cut.store(true, Ordering::Relaxed);
    let from = [count(&a.status(), "sent"), count(&b.status(), "sent")];
    let deadline = Instant::now() + PATIENCE;
    while count(&a.status(), "sent") < from[0] + LOST || count(&b.status(), "sent") < from[1] + LOST {
        assert!(Instant::now() < deadline, "5,000 records a second are not sent here: {}", a.status());
        // The outage lasts as long as it lasts: what ends it is the count of records.
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = [opened(&mut a), opened(&mut b)];
    cable.cut.store(false, Ordering::Relaxed);
    for (plane, before) in [(&mut a, before[0]), (&mut b, before[1])] {
        let deadline = Instant::now() + Duration::from_secs(10);
        // A second's worth of records after the outage, opened.
        while opened(plane) < before + u64::from(SLOTS) * 50 {
            assert!(Instant::now() < deadline, "the link does not heal: {}", plane.status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for plane in [a, b] {
        assert!(plane.running.alive());
        plane.running.stop();
    }
}
