use super::*;
use crate::client::line::{Inside, line};
use crate::media::rtp::Header;
use std::net::UdpSocket as StdSocket;
use std::sync::mpsc::{Receiver, channel};

const WAIT: Duration = Duration::from_secs(10);

struct Bench {
    inside: Inside,
    at: SocketAddr,
    local: StdSocket,
    notices: Receiver<String>,
    thread: RtpThread,
}

fn bench(change: impl FnOnce(&mut RtpRules, &mut RtpPorts, &StdSocket)) -> Bench {
    let local = StdSocket::bind("127.0.0.1:0").expect("a port");
    local.set_read_timeout(Some(WAIT)).expect("a timeout");
    let mut rules = RtpRules { cell: CellSize::S256, allow_any: false, raw: false };
    let mut ports = RtpPorts { end: 1, listen: SocketAddr::from(([127, 0, 0, 1], 0)), send_to: None };
    change(&mut rules, &mut ports, &local);
    let (inside, outside) = line(1);
    let (tell, notices) = channel();
    let io = RtpIo::bind(vec![(outside, ports)], rules, move |text| drop(tell.send(text.to_owned()))).expect("bound");
    let at = io.listening()[0].1;
    Bench { inside, at, local, notices, thread: io.spawn().expect("a thread") }
}

fn rtp(sequence: u16, len: usize) -> Vec<u8> {
    let header = Header { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: 7 };
    let mut packet = header.to_bytes().to_vec();
    packet.resize(len, sequence as u8);
    packet
}

/// Waits until a condition holds that another thread brings about; fails after [`WAIT`].
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < WAIT, "waited in vain until {what}");
        thread::yield_now();
    }
}

fn take(inside: &mut Inside) -> Vec<u8> {
    let (mut packet, mut len) = ([0; 198], 0);
    until("a packet comes", || {
        len = inside.take(&mut packet);
        len > 0
    });
    packet[..len].to_vec()
}

#[test]
fn rtp_goes_in_and_comes_out_to_the_last_source() {
    let mut bench = bench(|_, _, _| {});
    bench.inside.set_up(true);
    for (sequence, len) in [(1, 172), (2, 198), (3, 13)] {
        bench.local.send_to(&rtp(sequence, len), bench.at).expect("sent");
        assert_eq!(take(&mut bench.inside), rtp(sequence, len));
    }
    assert!(bench.inside.give(&rtp(9, 100)));
    let mut buffer = [0; 2000];
    let (len, from) = bench.local.recv_from(&mut buffer).expect("RTP out");
    assert_eq!((&buffer[..len], from), (&rtp(9, 100)[..], bench.at));
    let counters = Arc::clone(bench.inside.counters());
    bench.thread.stop();
    assert_eq!((counters.rtp_in.get(), counters.rtp_out.get(), counters.rtp_out_failed.get()), (3, 1, 0));
}

#[test]
fn a_fixed_receiver_hears_though_another_speaks() {
    let mut bench = bench(|_, ports, local| ports.send_to = Some(local.local_addr().expect("bound")));
    bench.inside.set_up(true);
    let other = StdSocket::bind("127.0.0.1:0").expect("a port");
    other.send_to(&rtp(1, 50), bench.at).expect("sent");
    assert_eq!(take(&mut bench.inside), rtp(1, 50));
    assert!(bench.inside.give(&rtp(2, 60)));
    let mut buffer = [0; 2000];
    assert_eq!(bench.local.recv(&mut buffer).expect("RTP out"), 60);
}

#[test]
fn too_large_is_told_once_and_counted() {
    let mut bench = bench(|_, _, _| {});
    bench.inside.set_up(true);
    for sequence in 0..5 {
        bench.local.send_to(&rtp(sequence, 1292), bench.at).expect("sent");
    }
    bench.local.send_to(&rtp(9, 199), bench.at).expect("sent");
    let counters = Arc::clone(bench.inside.counters());
    until("all are counted", || counters.rtp_too_large.get() == 6);
    bench.thread.stop();
    let notices: Vec<_> = bench.notices.iter().collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for part in ["1292 bytes", "256-byte cell (at most 198)", "20 ms", "-pkt_size 172", &bench.at.to_string()] {
        assert!(notices[0].contains(part), "{part} is not in {}", notices[0]);
    }
    assert_eq!(bench.inside.take(&mut [0; 198]), 0);
}

#[test]
fn what_is_no_rtp_and_what_has_no_call_is_dropped() {
    let bench = bench(|_, _, _| {});
    let counters = Arc::clone(bench.inside.counters());
    for packet in [&b""[..], b"\x40 not version 2", b"\x80\x00short"] {
        bench.local.send_to(packet, bench.at).expect("sent");
    }
    bench.local.send_to(&rtp(1, 172), bench.at).expect("sent");
    until("all are counted", || counters.rtp_not_rtp.get() == 3 && counters.rtp_no_call.get() == 1);
    bench.thread.stop();
    assert_eq!(bench.notices.iter().count(), 1);
}

#[test]
fn raw_takes_anything_but_nothing() {
    let mut bench = bench(|rules, _, _| rules.raw = true);
    bench.inside.set_up(true);
    bench.local.send_to(b"", bench.at).expect("sent");
    bench.local.send_to(b"hello", bench.at).expect("sent");
    assert_eq!(take(&mut bench.inside), b"hello");
    assert_eq!(bench.inside.counters().rtp_not_rtp.get(), 1);
}

#[test]
fn strangers_are_ignored_unless_allowed() {
    let (_inside, outside) = line(1);
    let counters = Arc::clone(outside.counters());
    let mut rules = RtpRules { cell: CellSize::S256, allow_any: false, raw: false };
    let ports = RtpPorts { end: 1, listen: SocketAddr::from(([127, 0, 0, 1], 0)), send_to: None };
    let mut io = RtpIo::bind(vec![(outside, ports)], rules, |_| {}).expect("bound");
    let mut told = Vec::new();
    let sources =
        ["192.0.2.1:5", "[2001:db8::1]:5", "[::ffff:192.0.2.1]:5", "127.9.9.9:5", "[::1]:5", "[::ffff:127.0.0.1]:5"];
    for from in sources {
        io.lines[0]
            .hear(&rtp(1, 20), from.parse().expect("an address"), &rules, &mut |text| told.push(text.to_owned()));
    }
    assert_eq!((counters.rtp_foreign.get(), counters.rtp_in.get(), told.len()), (3, 3, 1));
    assert!(io.lines[0].send_to.is_some_and(|to| to.ip().to_canonical().is_loopback()), "no stranger is spoken to");
    rules.allow_any = true;
    io.lines[0].hear(&rtp(1, 20), "192.0.2.1:5".parse().expect("an address"), &rules, &mut |_| {});
    assert_eq!((counters.rtp_foreign.get(), counters.rtp_in.get()), (3, 4));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = StdSocket::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("bound");
    let rules = RtpRules { cell: CellSize::S256, allow_any: false, raw: false };
    let error = RtpIo::bind(vec![(line(4).1, RtpPorts { end: 4, listen, send_to: None })], rules, |_| {});
    let text = error.err().expect("in use").to_string();
    assert!(text.contains("end 4") && text.contains(&listen.to_string()), "{text}");
}

#[test]
fn a_throttle_opens_at_once_and_then_each_ten_seconds() {
    let (mut throttle, start) = (Throttle::default(), Instant::now());
    let opens: Vec<_> = (0..25).map(|s| throttle.opens(start + Duration::from_secs(s))).collect();
    let at: Vec<_> = (0..25).filter(|s| opens[*s]).collect();
    assert_eq!(at, [0, 10, 20]);
}
