use super::*;
use crate::memory::{MemoryPort, MemoryWire, port_and_wire};
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

fn endpoint(text: &str) -> Endpoint {
    Endpoint::from(text.parse::<SocketAddr>().expect("a literal address"))
}

/// A file in memory.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A captured packet: outbound, source, destination, payload.
type Seen = (bool, Endpoint, Endpoint, Vec<u8>);

/// Reads a file with a foreign reader: its packets, and what it says of itself (received, dropped, accepted, delivered).
fn read(file: &[u8]) -> (Vec<Seen>, [u64; 4]) {
    let mut reader = PcapNgReader::new(file).expect("a section");
    let warned = reader.section().options.iter().any(|option| match option {
        SectionHeaderOption::Comment(text) => text == WARNING,
        _ => false,
    });
    assert!(warned, "{:?}", reader.section());
    let (mut packets, mut totals, mut last) = (Vec::new(), None, 0);
    while let Some(block) = reader.next_block() {
        match block.expect("a sound block") {
            Block::InterfaceDescription(interface) => assert_eq!(interface.linktype, DataLink::RAW),
            Block::EnhancedPacket(packet) => {
                assert_eq!(packet.original_len as usize, packet.data.len());
                let at = packet.timestamp.as_nanos();
                assert!(at >= last && totals.is_none());
                last = at;
                let outbound = match packet.options[..] {
                    [EnhancedPacketOption::Flags(1)] => false,
                    [EnhancedPacketOption::Flags(2)] => true,
                    ref other => panic!("{other:?}"),
                };
                let (from, to, payload) = parse(&packet.data);
                packets.push((outbound, from, to, payload));
            }
            Block::InterfaceStatistics(statistics) => {
                let mut found = [0; 4];
                for option in &statistics.options {
                    match *option {
                        InterfaceStatisticsOption::IsbIfRecv(count) => found[0] = count,
                        InterfaceStatisticsOption::IsbIfDrop(count) => found[1] = count,
                        InterfaceStatisticsOption::IsbFilterAccept(count) => found[2] = count,
                        InterfaceStatisticsOption::IsbUsrDeliv(count) => found[3] = count,
                        _ => {}
                    }
                }
                totals = Some(found);
            }
            other => panic!("{other:?}"),
        }
    }
    (packets, totals.expect("statistics at the end"))
}

fn parse(packet: &[u8]) -> (Endpoint, Endpoint, Vec<u8>) {
    let (ips, udp) = match packet[0] >> 4 {
        4 => {
            let ip = |at| <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes");
            ([ip(12), ip(16)].map(|ip| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets()), 20)
        }
        _ => ([8, 24].map(|at| packet[at..at + 16].try_into().expect("sixteen bytes")), 40),
    };
    let port = |at| u16::from_be_bytes([packet[udp + at], packet[udp + at + 1]]);
    (Endpoint { ip: ips[0], port: port(0) }, Endpoint { ip: ips[1], port: port(2) }, packet[udp + 8..].to_vec())
}

fn captured(local: Endpoint, limits: Limits) -> (Capture<MemoryPort>, MemoryWire, File) {
    let (port, wire) = port_and_wire(local, 256);
    let file = File::default();
    let capture = Capture::into_writer(port, local, limits, file.clone()).expect("limits are allowed");
    (capture, wire, file)
}

fn send(port: &mut impl Port, to: Endpoint, data: &[u8]) -> usize {
    for frame in port.reserve(1, data.len()) {
        *frame.to = to;
        frame.data.copy_from_slice(data);
    }
    port.commit(1)
}

#[test]
fn a_foreign_reader_sees_both_directions() {
    for (local, peer) in [("192.0.2.1:4001", "192.0.2.2:4002"), ("[2001:db8::1]:4001", "[2001:db8::2]:4002")] {
        let (local, peer) = (endpoint(local), endpoint(peer));
        let (mut port, mut wire, file) = captured(local, Limits::default());
        let mut expected = Vec::new();
        for number in 0..100u8 {
            let data = vec![number; usize::from(number) * 15];
            assert!(wire.deliver(peer, &data));
            assert_eq!(port.receive(BURST).len(), 1);
            expected.push((false, peer, local, data.clone()));
            assert_eq!(send(&mut port, peer, &data), 1);
            expected.push((true, local, peer, data));
        }
        let (_, books) = port.finish();
        let books = books.expect("written");
        let (packets, totals) = read(&file.bytes());
        assert_eq!(packets, expected);
        assert_eq!(totals, [200, 0, 200, 200]);
        assert_eq!(books, Books { captured: 200, bytes: file.bytes().len() as u64, ..Books::default() });
    }
}

#[test]
fn discarded_frames_are_not_captured() {
    let (mut port, _wire, file) = captured(endpoint("192.0.2.1:1"), Limits::default());
    port.reserve(3, 9);
    port.discard(3);
    assert_eq!(port.counters(), PortCounters { discarded: 3, ..PortCounters::default() });
    drop(port);
    assert_eq!(read(&file.bytes()), (Vec::new(), [0; 4]), "a dropped capture is completed too");
}

#[test]
fn bounds_hold_and_traffic_goes_on() {
    let (local, peer) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"));
    let room = pcapng::FRAMEWORK + 2 * pcapng::packet_len(28 + 100) as u64;
    for limits in [
        Limits { packets: 2, ..Limits::default() },
        Limits { bytes: room, ..Limits::default() },
        Limits { bytes: room + 131, ..Limits::default() },
    ] {
        let (mut port, mut wire, file) = captured(local, limits);
        for number in 0..5 {
            assert_eq!(send(&mut port, peer, &[number; 100]), 1);
            assert!(wire.take(|_, data| assert_eq!(data, [number; 100])));
        }
        // Shorter, but it came later.
        assert_eq!(send(&mut port, peer, b""), 1);
        let (port, books) = port.finish();
        let books = books.expect("written");
        assert_eq!(port.counters().sent, 6);
        assert_eq!((books.captured, books.beyond, books.dropped), (2, 4, 0));
        assert_eq!(file.bytes().len() as u64, books.bytes);
        assert!(books.bytes <= limits.bytes);
        let (packets, totals) = read(&file.bytes());
        assert_eq!((packets.len(), totals), (2, [6, 0, 2, 2]));
    }
}

/// A file whose writes wait for a word, and say that they began.
struct Slow {
    began: Sender<()>,
    go: Receiver<()>,
    file: File,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whoever has hung up lets everything pass.
        let _ = self.began.send(());
        let _ = self.go.recv();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_file_costs_packets_of_the_capture_only() {
    let (local, peer) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"));
    let (port, mut wire) = port_and_wire(local, 256);
    let (began, begins) = channel();
    let (go_on, go) = channel();
    let file = File::default();
    let limits = Limits { ring: 4, ..Limits::default() };
    let slow = Slow { began, go, file: file.clone() };
    let mut port = Capture::into_writer(port, local, limits, slow).expect("limits are allowed");
    // The file's beginning is being written: nothing leaves the ring.
    begins.recv().expect("the writer begins");
    for number in 0..100 {
        assert_eq!(send(&mut port, peer, &[number]), 1);
        assert!(wire.take(|_, data| assert_eq!(data, [number])));
    }
    assert_eq!((port.books().captured, port.books().dropped), (4, 96));
    drop(go_on);
    let (_, books) = port.finish();
    assert_eq!(books.expect("written").bytes, file.bytes().len() as u64);
    let (packets, totals) = read(&file.bytes());
    assert_eq!(packets.iter().map(|packet| packet.3[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(totals, [100, 96, 100, 4]);
}

/// A full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_at_the_end_and_stops_nothing() {
    let (local, peer) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"));
    let (port, mut wire) = port_and_wire(local, 16);
    let mut port = Capture::into_writer(port, local, Limits { ring: 8, ..Limits::default() }, Full).expect("a thread");
    for _ in 0..1000 {
        assert_eq!(send(&mut port, peer, &[0; 500]), 1);
        assert!(wire.take(|_, _| {}));
    }
    let (port, books) = port.finish();
    assert_eq!(books.expect_err("nothing was written").kind(), ErrorKind::StorageFull);
    assert_eq!(port.counters().sent, 1000);
}

#[test]
fn a_file_is_its_owners_and_replaces_none() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mix.pcapng");
    let make = || {
        let local = endpoint("192.0.2.1:1");
        Capture::create(port_and_wire(local, 8).0, local, Limits::default(), &path)
    };
    drop(make().expect("a new file"));
    let before = std::fs::read(&path).expect("the file");
    read(&before);
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(make().err().expect("refused").kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).expect("the file"), before);
}

#[test]
fn limits_are_checked() {
    let allowed = Limits::default();
    for limits in [
        Limits { bytes: pcapng::FRAMEWORK - 1, ..allowed },
        Limits { bytes: MAX_BYTES + 1, ..allowed },
        Limits { ring: 0, ..allowed },
        Limits { ring: MAX_RING + 1, ..allowed },
    ] {
        let local = endpoint("192.0.2.1:1");
        let made = Capture::into_writer(port_and_wire(local, 8).0, local, limits, File::default());
        assert_eq!(made.err().expect("refused").kind(), ErrorKind::InvalidInput, "{limits:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever passes is in one of the books, and the file is as long as they say, and no longer than allowed.
    #[test]
    fn the_books_balance(
        steps in proptest::collection::vec((any::<bool>(), 0..=FRAME, any::<Option<[u8; 4]>>()), 0..60),
        bytes in pcapng::FRAMEWORK..20_000, packets in 0..50u64, ring in 1..40usize,
    ) {
        let (mut port, mut wire, file) = captured(endpoint("[::]:7"), Limits { bytes, packets, ring });
        for (outbound, len, v4) in &steps {
            let ip = v4.map_or([5; 16], |ip| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets());
            let peer = Endpoint { ip, port: 9 };
            if *outbound {
                send(&mut port, peer, &vec![1; *len]);
            } else {
                prop_assert!(wire.deliver(peer, &vec![2; *len]));
                prop_assert_eq!(port.receive(BURST).len(), 1);
            }
        }
        let (_, books) = port.finish();
        let books = books.expect("written");
        prop_assert_eq!(books.captured + books.dropped + books.beyond, steps.len() as u64);
        prop_assert!(books.bytes <= bytes && books.captured <= packets);
        prop_assert_eq!(file.bytes().len() as u64, books.bytes);
        let (seen, totals) = read(&file.bytes());
        prop_assert_eq!(seen.len() as u64, books.captured);
        prop_assert_eq!(totals, [steps.len() as u64, books.dropped, books.captured + books.dropped, books.captured]);
    }
}
