//! Frames that are no datagrams of a port's: each is passed on to the kernel or counted, and stops nothing.

use crate::cable::{Cable, at, cable, collect, small};
use crate::raw::Raw;
use drover_nic::af_xdp::{AfXdpConfig, AfXdpPort, Mode};
use drover_nic::{Endpoint, Port};
use drover_wire::frame::{Checksum, Local, Mac, write_headers};
use std::net::IpAddr;

/// What a peer sends to the port.
struct Peer {
    local: Local,
    mac: Mac,
    to: Endpoint,
}

impl Peer {
    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; self.local.headers_len()];
        let (headers, to) = (&mut frame, &self.to);
        write_headers(headers, &self.local, 999, self.mac, &to.ip, to.port, payload, Checksum::Software);
        frame.extend_from_slice(payload);
        frame
    }
}

struct Bench {
    _cable: Cable,
    raw: Raw,
    port: AfXdpPort,
    peer: Peer,
}

impl Bench {
    fn new(mode: Mode, v6: bool) -> Option<Bench> {
        let cable = cable(1)?;
        // Longer than what a chunk takes, and still short enough for native XDP.
        for host in [&cable.a, &cable.b] {
            host.network.set_mtu(host.interface, 3000).expect("set");
        }
        let ip = |host: &crate::cable::Host| -> IpAddr { if v6 { host.v6 } else { host.v4 } };
        let port = cable.b.open_one(&cable.a, &AfXdpConfig { mode, ..small() }, ip(&cable.b));
        let mac = |host: &crate::cable::Host| host.network.interface(host.interface).expect("there").mac.expect("one");
        let local =
            Local { mac: mac(&cable.a), vlan: None, ip: Endpoint::from(std::net::SocketAddr::new(ip(&cable.a), 0)).ip };
        let peer = Peer { local, mac: mac(&cable.b), to: at(&port) };
        Some(Bench { raw: Raw::new(&cable.a), _cable: cable, port, peer })
    }

    /// Sends `frame` and a good one behind it, receives the good one, and tells what was counted for the other.
    fn counted(&mut self, frame: &[u8]) -> Vec<(&'static str, u64)> {
        let before = (self.port.details(), self.port.counters().oversized);
        self.raw.send(frame);
        self.raw.send(&self.peer.frame(b"marker"));
        let got = collect(&mut self.port, 1);
        assert_eq!(got.iter().map(|(_, data)| &data[..]).collect::<Vec<_>>(), [b"marker"]);
        let after = self.port.details();
        let mut counted: Vec<_> = after
            .iter()
            .zip(&before.0)
            .filter(|((name, after), (_, before))| after > before && !name.ends_with("wakeups"))
            .map(|((name, after), (_, before))| (*name, after - before))
            .collect();
        let oversized = self.port.counters().oversized - before.1;
        counted.extend((oversized > 0).then_some(("oversized", oversized)));
        counted
    }
}

/// The frame with some bytes replaced.
fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The sum of an IPv4 header made anew.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24..26].fill(0);
    let sum = drover_wire::frame::Sum::default().with(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum);
    frame
}

#[test]
fn odd_frames_of_ipv4_are_passed_on_or_counted() {
    for mode in [Mode::Driver, Mode::Generic] {
        let Some(mut bench) = Bench::new(mode, false) else { return };
        let good = bench.peer.frame(&[7; 100]);
        let none: &[(&str, u64)] = &[];
        // To the kernel: runts, fragments, options, another port, another protocol, another host, ARP, VLANs.
        for (what, frame) in [
            ("a header", good[..14].to_vec()),
            ("half of IP", good[..30].to_vec()),
            ("half of UDP", good[..41].to_vec()),
            ("a first fragment", summed(with(&good, 20, &[0x20, 0]))),
            ("a later fragment", summed(with(&good, 20, &[0, 9]))),
            ("options", with(&good, 14, &[0x46])),
            ("another port", with(&good, 36, &[0, 1])),
            ("TCP", summed(with(&good, 23, &[6]))),
            ("another host", summed(with(&good, 30, &[10, 77, 0, 99]))),
            ("ARP", with(&good, 12, &[8, 6])),
            ("a VLAN", [&good[..12], &[0x81, 0, 0, 9], &good[12..]].concat()),
            ("two tags", [&good[..12], &[0x81, 0, 0, 0, 0x81, 0, 0, 9], &good[12..]].concat()),
        ] {
            assert_eq!(bench.counted(&frame), none, "{mode:?}: {what}");
        }
        for (what, frame, counter) in [
            ("a wrong UDP sum", with(&good, 50, &[8]), "checksum"),
            ("a wrong IP sum", with(&good, 24, &[good[24] ^ 1]), "checksum"),
            ("a UDP length beyond IP's", with(&good, 38, &[1, 0]), "bad_udp"),
            ("an IP length beyond the frame's", summed(with(&good, 16, &[1, 0])), "bad_ip"),
            ("a source that no host has", summed(with(&good, 26, &[224, 0, 0, 1])), "bad_ip"),
            ("a jumbo frame", bench.peer.frame(&[7; 2000]), "kernel_dropped"),
            ("a frame longer than a datagram may be", bench.peer.frame(&[7; 1600]), "oversized"),
        ] {
            assert_eq!(bench.counted(&frame), [(counter, 1)], "{mode:?}: {what}");
        }
        // Only native XDP sees frames to other stations: the driver's are not sorted out yet.
        let astray = bench.counted(&with(&good, 0, &[2, 9, 9, 9, 9, 9]));
        assert!(astray == [("other_mac", 1)] || astray == none, "{astray:?}");
        // Without a sum it is a datagram.
        bench.raw.send(&with(&good, 40, &[0, 0]));
        assert_eq!(collect(&mut bench.port, 1)[0].1, [7; 100]);
    }
}

#[test]
fn odd_frames_of_ipv6_are_passed_on_or_counted() {
    for mode in [Mode::Driver, Mode::Generic] {
        let Some(mut bench) = Bench::new(mode, true) else { return };
        let good = bench.peer.frame(&[7; 100]);
        let none: &[(&str, u64)] = &[];
        for (what, frame) in [
            ("half of IP", good[..50].to_vec()),
            ("half of UDP", good[..61].to_vec()),
            ("a fragment", with(&good, 20, &[44])),
            ("another port", with(&good, 56, &[0, 1])),
            ("another host", with(&good, 53, &[99])),
            ("IPv4's version", with(&good, 14, &[0x45])),
        ] {
            assert_eq!(bench.counted(&frame), none, "{mode:?}: {what}");
        }
        for (what, frame, counter) in [
            ("a wrong sum", with(&good, 80, &[8]), "checksum"),
            ("no sum", with(&good, 60, &[0, 0]), "checksum"),
            ("a UDP length beyond IP's", with(&good, 58, &[1, 0]), "bad_udp"),
            ("an IP length beyond the frame's", with(&good, 18, &[1, 0]), "bad_ip"),
        ] {
            assert_eq!(bench.counted(&frame), [(counter, 1)], "{mode:?}: {what}");
        }
    }
}
