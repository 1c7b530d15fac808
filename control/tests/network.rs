//! Whole networks of processes on this machine: calls beside idle links, sizes, hostile neighbours, stalls and crashes.
//!
//! Each test starts its own mixes and clients, on loopback in a network namespace of its own where it may, and ends them.
#![cfg(feature = "lab")]

use drover_control::demo::audio::{Arrival, Heard, Listener, Sent, compare, play};
use drover_control::lab::crowd;
use drover_control::lab::host::Host;
use drover_control::lab::make::{Plan, network};
use drover_control::lab::network::{Network, NodeKind};
use drover_control::lab::program::{FIRST_GENERATION, Programmer};
use drover_control::media::speech;
use drover_control::socket::reports::{LinkReport, Status};
use drover_wire::control::{BootId, MAX_MESSAGE, Request};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TICK_US: u64 = 1_000;
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// One network at a time: the machine has two cores, and the tests measure rates.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = drover_nic::net::enter_network_namespace() {
        drover_nic::skip::skipped(format_args!("a namespace of its own ({error}): a test of networks uses loopback"));
    }
    guard
}

fn plan(cell: u16) -> Plan {
    Plan { mixes: 4, calls: 1, cell, rate: 50, idle: 0, workers: 1, ipv6: false }
}

/// A running network, its clients' ears, and the programmer.
struct Stage<'n> {
    host: Host,
    programmer: Programmer<'n>,
    network: &'n Network,
    ears: BTreeMap<String, Listener>,
}

/// Starts the network of `plan` and everything in it; `act` gets it with all links up and no call.
fn stage(plan: &Plan, act: impl FnOnce(&mut Stage<'_>)) {
    let _alone = alone();
    let mut network = network(plan).expect("a network");
    let ip: IpAddr = if plan.ipv6 { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
    let clients = network.nodes.iter().filter(|node| node.kind == NodeKind::Client);
    let ears: BTreeMap<_, _> =
        clients.map(|node| (node.name.clone(), Listener::bind(ip).expect("an RTP port"))).collect();
    let host = Host::start(&mut network, TICK_US, |name| ears.get(name).map(|ear| ear.address)).expect("starts");
    let programmer = Programmer::connect(&network, FIRST_GENERATION).expect("connects");
    let mut stage = Stage { host, programmer, network: &network, ears };
    stage.programmer.without_ends().expect("programs");
    stage.wait("a record over every link", |s| s.links().iter().flatten().all(|link| link.received > 0));
    act(&mut stage);
    stage.host.check().expect("every process lives");
    stage.host.end();
}

/// One direction of a call: who speaks, and who listens.
struct Way {
    says: JoinHandle<Vec<Sent>>,
    hears: JoinHandle<Vec<Arrival>>,
}

/// Voices of one call, both ways.
struct Voices {
    stop: Arc<AtomicBool>,
    ways: Vec<Way>,
}

impl Voices {
    /// Waits until all is said and heard: forth, back.
    fn heard(self) -> Vec<Heard> {
        let said: Vec<_> = self.ways.into_iter().map(|way| (way.says.join().expect("said"), way.hears)).collect();
        // The last words are still on their way: a round a mix, generously.
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
        }
        self.stop.store(true, Ordering::Relaxed);
        said.into_iter().map(|(said, hears)| compare(&said, &hears.join().expect("heard"))).collect()
    }
}

impl Stage<'_> {
    fn wait(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::yield_now();
        }
    }

    /// All nodes' links.
    fn links(&mut self) -> Vec<Vec<LinkReport>> {
        self.programmer.nodes.iter_mut().map(|node| node.socket.links_json().expect("links")).collect()
    }

    fn node(&self, name: &str) -> usize {
        self.network.node(name).expect("a node")
    }

    /// A link as one of its ends counts it.
    fn link(&mut self, at: &str, link: &str) -> LinkReport {
        let index = self.network.links.iter().position(|l| l.name == link).expect("a link");
        let node = self.node(at);
        let links = self.programmer.nodes[node].socket.links_json().expect("links");
        links.into_iter().find(|l| l.link == Network::link_id(index)).expect("is there")
    }

    fn status(&mut self, at: &str) -> Status {
        let node = self.node(at);
        self.programmer.nodes[node].socket.status().expect("status")
    }

    fn drops(&mut self, at: &str) -> BTreeMap<String, u64> {
        self.status(at).drops()
    }

    /// Records that the classes of a node's links lost on their way to it.
    fn lost(&mut self, at: &str) -> u64 {
        self.status(at).classes.iter().map(|class| class.lost).sum()
    }

    /// Takes the call up and speaks both ways for `seconds`.
    fn talk(&mut self, call: usize, seconds: f64) -> Voices {
        self.programmer.call_up(call).expect("the call is up");
        let path = &self.network.calls[call].path;
        let (caller, callee) = (path[0].clone(), path[path.len() - 1].clone());
        let stop = Arc::new(AtomicBool::new(false));
        let ways = [(&caller, &callee), (&callee, &caller)].into_iter().enumerate().map(|(way, (from, to))| {
            let voice = speech::generate(7 * call as u64 + way as u64, seconds);
            let hears = self.ears.remove(to).expect("an ear").listen(&stop);
            let takes = self.host.takes[self.node(from)].expect("a client");
            Way { says: play(&voice, takes, (way as u32, 1, 1), &stop).expect("plays"), hears }
        });
        let ways = ways.collect();
        Voices { stop, ways }
    }
}

/// Two readings of a link's counts and the records a second between them.
fn rate(before: &LinkReport, after: &LinkReport, of: impl Fn(&LinkReport) -> u64) -> f64 {
    (of(after) - of(before)) as f64 / ((after.at_ns - before.at_ns) as f64 / 1e9)
}

/// What others do on the machine may cost a few slots; content must not.
fn assert_heard(heard: &Heard, least: f64) {
    assert_eq!(heard.received, heard.intact, "every payload is bit-exact");
    let share = heard.received as f64 / heard.sent as f64;
    assert!(share >= least, "{} of {} packets arrived", heard.received, heard.sent);
}

/// Waits a measured time: the measurement itself, not synchronisation.
fn measure(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn two_calls_beside_a_thousand_idle_links_on_two_workers() {
    let plan = Plan { calls: 2, idle: 1_000, workers: 2, ..plan(256) };
    stage(&plan, |s| {
        let stop = AtomicBool::new(false);
        let network = s.network;
        let reports = std::thread::scope(|scope| {
            let crowds: Vec<_> = (0..network.crowds.len())
                .map(|index| {
                    let stop = &stop;
                    scope.spawn(move || crowd::play(network, index, Duration::from_secs(120), stop).expect("plays"))
                })
                .collect();
            s.wait("the crowd", |s| {
                let per_node: Vec<_> = s.links().into_iter().map(|links| links.len()).collect();
                per_node.iter().sum::<usize>() > 1_000
            });
            let voices = [s.talk(0, 6.0), s.talk(1, 6.0)];
            for heard in voices.into_iter().flat_map(Voices::heard) {
                assert_heard(&heard, 0.95);
            }
            stop.store(true, Ordering::Relaxed);
            crowds.into_iter().map(|crowd| crowd.join().expect("joins")).collect::<Vec<_>>()
        });
        assert_eq!(reports.iter().map(|r| r.links).sum::<u32>(), 1_000);
        for report in &reports {
            let off = (report.received_rate / report.rate - 1.0).abs();
            assert!(off < 0.03 && report.broken == 0, "{report:?}");
        }
        let statuses: Vec<_> = ["m1", "m2", "m3", "m4"].into_iter().map(|mix| s.status(mix)).collect();
        let lab = |of: fn(&drover_control::socket::reports::LabStatus) -> u64| -> u64 {
            statuses.iter().flat_map(|status| &status.workers).filter_map(|w| w.lab.as_ref()).map(of).sum()
        };
        assert!(lab(|l| l.handed_out) > 100, "cells crossed between workers");
        // Some may be in a ring while the counters are read.
        assert!(lab(|l| l.handed_out).abs_diff(lab(|l| l.handed_in)) < 8);
    });
}

#[test]
fn large_cells_and_ipv6() {
    for (cell, ipv6) in [(512, false), (1024, true)] {
        stage(&Plan { ipv6, ..plan(cell) }, |s| {
            for heard in s.talk(0, 3.0).heard() {
                assert_heard(&heard, 0.95);
            }
        });
    }
}

/// Datagrams of every wrong kind, a bounded number, from sockets that nobody knows.
fn throw_datagrams(targets: &[SocketAddr]) {
    let mut rng = StdRng::seed_from_u64(11);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    let mut bytes = [0u8; 3000];
    for round in 0..1_500 {
        rng.fill_bytes(&mut bytes);
        bytes[0] = [0x2b, 0x2f, 0x20, 22, 26, 0, 0xff, bytes[0]][round % 8];
        let len = [259, 515, 0, 1, 18, 258, 260, 1500, 2999, rng.random_range(0..3000)][round % 10];
        for target in targets {
            // A full buffer at the target is the target's to count.
            let _ = socket.send_to(&bytes[..len], target);
        }
    }
}

/// Messages of every wrong kind, from connections of all manners.
fn throw_messages(path: &std::path::Path) {
    use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket};
    let mut rng = StdRng::seed_from_u64(12);
    let mut silent = Vec::new();
    for round in 0..60 {
        let fd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        let address = SocketAddrUnix::new(path).expect("a path");
        if connect(&fd, &address).is_err() {
            continue;
        }
        for _ in 0..20 {
            let mut message = vec![0; rng.random_range(0..400)];
            rng.fill_bytes(&mut message);
            if round % 2 == 0 && message.len() > 8 {
                message[..4].copy_from_slice(&[1, rng.random_range(0..40), 0, 0]);
            }
            // A put that is nearly right, for another boot.
            if round % 3 == 0 {
                let mut buffer = [0; 512];
                let request = Request::RemoveLink { boot: BootId([round; 16]), link: 1 };
                let len = request.encode(7, &mut buffer).expect("fits");
                message = buffer[..len - usize::from(round % 2)].to_vec();
            }
            // The other end may hang up: we never read its answers.
            let _ = send(&fd, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
        let _ = send(&fd, &vec![1; MAX_MESSAGE + 1], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        if round % 4 == 0 {
            silent.push(fd);
        }
    }
}

#[test]
fn calls_do_not_notice_what_is_hostile() {
    stage(&plan(256), |s| {
        let voices = s.talk(0, 6.0);
        let targets: Vec<SocketAddr> = s.programmer.nodes.iter().flat_map(|node| node.listen.clone()).collect();
        let before = s.link("m3", "m2=m3");
        throw_datagrams(&targets);
        for node in s.network.nodes.iter().filter(|node| node.kind == NodeKind::Mix) {
            throw_messages(&node.socket);
        }
        throw_datagrams(&targets);
        measure(Duration::from_secs(3));
        let after = s.link("m3", "m2=m3");
        let received = rate(&before, &after, |l| l.received);
        assert!((received / 200.0 - 1.0).abs() < 0.02, "{received} records a second during the attack");
        for heard in voices.heard() {
            assert_heard(&heard, 0.95);
        }
        for mix in ["m1", "m2", "m3", "m4"] {
            let drops = s.drops(mix);
            for reason in ["not_a_record", "unknown_link", "record_length", "plaintext"] {
                assert!(drops.get(reason).is_some_and(|n| *n > 50), "{mix} counts {reason}: {drops:?}");
            }
        }
    });
}

#[test]
fn a_stopped_process_loses_slots_and_never_bunches() {
    stage(&plan(256), |s| {
        let voices = s.talk(0, 7.0);
        measure(Duration::from_secs(1));
        let m2 = s.node("m2");
        let (before, missed_before) = (s.link("m3", "m2=m3"), s.link("m2", "m2=m3").missed);
        s.host.processes[m2].signal(Signal::STOP);
        let stopped = Instant::now();
        measure(Duration::from_secs(1));
        s.host.processes[m2].signal(Signal::CONT);
        let pause = stopped.elapsed().as_secs_f64();
        measure(Duration::from_millis(500));
        let after = s.link("m3", "m2=m3");
        let missed = s.link("m2", "m2=m3").missed - missed_before;
        let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
        let got = (after.received - before.received) as f64;
        // What is sealed ahead, and a slot's grace: a handful. A burst that caught up would be 200 more.
        assert!(got <= 200.0 * (seconds - pause) + 8.0, "{got} records in {seconds} s with a pause of {pause} s");
        assert!(missed as f64 >= 200.0 * (pause - 0.05), "{missed} slots missed in {pause} s");
        let calm = s.link("m3", "m2=m3");
        measure(Duration::from_secs(2));
        let rate = rate(&calm, &s.link("m3", "m2=m3"), |l| l.received);
        assert!((rate / 200.0 - 1.0).abs() < 0.02, "{rate} records a second after the pause");
        // A second of seven is gone, and the call goes on.
        for heard in voices.heard() {
            assert_heard(&heard, 0.75);
        }
    });
}

#[test]
fn a_killed_mix_is_counted_as_loss_and_nobody_elses_rate_moves() {
    stage(&plan(256), |s| {
        let m3 = s.node("m3");
        let lost_before = (s.lost("m2"), s.lost("m4"));
        let watched = [("m1", "m1=m2"), ("m2", "m1=m2"), ("callee", "m4=callee"), ("m4", "m4=callee")];
        let orphans = [("m2", "m2=m3"), ("m4", "m3=m4")];
        s.host.processes[m3].kill();
        measure(Duration::from_millis(300));
        let before: Vec<_> = watched.iter().chain(&orphans).map(|(at, link)| s.link(at, link)).collect();
        measure(Duration::from_secs(3));
        let after: Vec<_> = watched.iter().chain(&orphans).map(|(at, link)| s.link(at, link)).collect();
        for (i, (at, link)) in watched.iter().enumerate() {
            let class = if link.contains("callee") { 100.0 } else { 200.0 };
            for count in [|l: &LinkReport| l.received, |l: &LinkReport| l.sent] {
                let rate = rate(&before[i], &after[i], count);
                assert!((rate / class - 1.0).abs() < 0.02, "{link} at {at}: {rate} a second");
            }
        }
        for (i, (at, link)) in orphans.iter().enumerate() {
            let i = watched.len() + i;
            let sent = rate(&before[i], &after[i], |l| l.sent);
            assert!((sent / 200.0 - 1.0).abs() < 0.02, "{at} goes on sending over {link}: {sent}");
            assert_eq!(before[i].received, after[i].received, "{at} hears nothing over {link}");
        }
        let lost = (s.lost("m2") - lost_before.0, s.lost("m4") - lost_before.1);
        for lost in [lost.0, lost.1] {
            assert!((550..=760).contains(&lost), "3 s and a bit of 200 a second, less the patience: {lost}");
        }
        // It comes back with another boot id: only what concerns it is put anew, and a voice gets through.
        s.host.restart(s.network, m3).expect("restarts");
        s.programmer = Programmer::connect(s.network, FIRST_GENERATION).expect("connects");
        let summary = s.programmer.without_ends().expect("programs");
        assert_eq!((summary.links_kept, summary.links_put), (3, 2), "{summary}");
        for heard in s.talk(0, 3.0).heard() {
            assert_heard(&heard, 0.95);
        }
    });
}
