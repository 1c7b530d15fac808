use super::*;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

fn port(listen: &str, tx_ring: usize) -> UdpPort {
    UdpPort::bind(listen.parse().expect("an address"), tx_ring).expect("a port")
}

fn fill(port: &mut UdpPort, to: Endpoint, data: &[u8]) {
    for frame in port.reserve(1, data.len()) {
        *frame.to = to;
        frame.data.copy_from_slice(data);
    }
}

/// Receives `count` frames, within seconds.
fn collect(port: &mut UdpPort, count: usize) -> Vec<(Endpoint, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut frames = Vec::new();
    while frames.len() < count && Instant::now() < deadline {
        frames.extend(port.receive(BURST).iter().map(|frame| (frame.from, frame.data.to_vec())));
        std::thread::yield_now();
    }
    frames
}

#[test]
fn transmit_rings_are_limited() {
    for tx_ring in [0, MAX_TX_RING + 1] {
        let error = UdpPort::bind("127.0.0.1:0".parse().expect("an address"), tx_ring).expect_err("a wrong ring");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = port("127.0.0.1:0", 1).local_addr();
    let holder = UdpPort::bind(taken, 1).expect("free again");
    let error = UdpPort::bind(holder.local_addr(), 1).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}

/// Port 0 and, to an IPv4 socket, an IPv6 peer cannot be sent to; the frames around them still go, each once.
#[test]
fn refused_frames_do_not_hold_up_the_others() {
    let (mut a, mut b) = (port("127.0.0.1:0", 256), port("127.0.0.1:0", 1));
    let good = Endpoint::from(b.local_addr());
    let bad = [Endpoint { port: 0, ..good }, Endpoint { ip: [0x20; 16], port: 9 }, Endpoint::NONE];
    let mut expected = Vec::new();
    for number in 0..200u8 {
        // Bad ones at the front, at the back, alone and in rows, across the chunks of a burst.
        let refused = number < 2 || number == 199 || number % 7 == 0 || (60..70).contains(&number);
        fill(&mut a, if refused { bad[usize::from(number) % 3] } else { good }, &[number]);
        if !refused {
            expected.push(number);
        }
    }
    assert_eq!(a.commit(200), expected.len());
    let counters = a.counters();
    assert_eq!((counters.sent, counters.refused), (expected.len() as u64, 200 - expected.len() as u64));
    let received: Vec<u8> = collect(&mut b, expected.len()).iter().map(|(_, data)| data[0]).collect();
    assert_eq!(received, expected);
    assert!(b.receive(BURST).is_empty(), "a frame was sent twice");
}

/// The peer's machine answers every datagram to a closed port with an ICMP error.
#[test]
fn a_dead_peer_stops_nothing() {
    let dead = Endpoint::from(port("127.0.0.1:0", 1).local_addr());
    let (mut a, mut b) = (port("127.0.0.1:0", 64), port("127.0.0.1:0", 1));
    let alive = Endpoint::from(b.local_addr());
    for number in 0..32 {
        fill(&mut a, dead, &[number]);
        fill(&mut a, alive, &[number]);
        assert_eq!(a.commit(2), 2, "frame {number}");
        assert!(a.receive(BURST).is_empty());
    }
    let received: Vec<u8> = collect(&mut b, 32).iter().map(|(_, data)| data[0]).collect();
    assert_eq!(received, (0..32).collect::<Vec<u8>>());
    assert_eq!(a.counters(), PortCounters { sent: 64, ..PortCounters::default() });
}

#[test]
fn a_datagram_too_long_is_counted_and_dropped() {
    let mut a = port("127.0.0.1:0", 1);
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let from = Endpoint::from(peer.local_addr().expect("its address"));
    for data in [&[1; FRAME + 1][..], &[2; FRAME], &[3; 9000], b"", &[4; 5]] {
        peer.send_to(data, a.local_addr()).expect("sent");
    }
    let received = collect(&mut a, 3);
    assert_eq!(received, [(from, vec![2; FRAME]), (from, vec![]), (from, vec![4; 5])]);
    assert_eq!(a.counters(), PortCounters { received: 3, oversized: 2, ..PortCounters::default() });
}

#[test]
fn an_ipv6_wildcard_takes_both_families() {
    let Ok(mut dual) = UdpPort::bind("[::]:0".parse().expect("an address"), 8) else {
        return crate::skip::skipped("no IPv6 on this machine");
    };
    let mut v4 = port("127.0.0.1:0", 8);
    let dual_at = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], dual.local_addr().port())));
    let v4_at = Endpoint::from(v4.local_addr());
    fill(&mut v4, dual_at, b"to the wildcard");
    assert_eq!(v4.commit(1), 1);
    assert_eq!(collect(&mut dual, 1), [(v4_at, b"to the wildcard".to_vec())]);
    fill(&mut dual, v4_at, b"and back");
    assert_eq!(dual.commit(1), 1);
    assert_eq!(collect(&mut v4, 1), [(dual_at, b"and back".to_vec())]);
}
