//! Frames as we write them, as others do, and as nobody should.

use super::*;
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use std::vec::Vec;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

fn v6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().expect("a literal address").octets()
}

/// Both ends of a path of each kind.
fn paths() -> Vec<(Local, Local)> {
    let mut paths = Vec::new();
    for (near, far) in [(mapped([192, 0, 2, 1]), mapped([192, 0, 2, 2])), (v6("2001:db8::1"), v6("2001:db8::2"))] {
        for vlan in [None, Some(1), Some(7), Some(4094)] {
            paths.push((Local { mac: OURS, vlan, ip: near }, Local { mac: THEIRS, vlan, ip: far }));
        }
    }
    paths
}

fn any_path() -> impl Strategy<Value = (Local, Local)> {
    prop::sample::select(paths())
}

fn frame(near: &Local, far: &Local, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xaa; near.headers_len()];
    write_headers(&mut frame, near, ports.0, far.mac, &far.ip, ports.1, payload, Checksum::Software);
    frame.extend_from_slice(payload);
    frame
}

/// One of each kind, to be damaged: `(frame, whose it is)`.
fn good() -> Vec<(Vec<u8>, Local)> {
    paths().iter().map(|(near, far)| (frame(near, far, (4433, 4434), b"sixteen and more"), *far)).collect()
}

/// Sums `bytes` of IPv4's header anew, after a change to them that is not to fail for its sum.
fn fix_ipv4_sum(frame: &mut [u8], at: usize) {
    let len = usize::from(frame[at] & 0x0f) * 4;
    frame[at + 10..at + 12].fill(0);
    let sum = Sum::default().with(&frame[at..at + len]).checksum();
    frame[at + 10..at + 12].copy_from_slice(&sum);
}

fn refused(frame: &[u8], local: &Local) -> Astray {
    parse(frame, local, Checksum::Software).expect_err("a frame that is not for this port")
}

#[test]
fn the_kernels_frames_are_ours_byte_for_byte() {
    // Linux 6.18, sent from UDP sockets as drover-nic's `udp` sets them up, captured from the far end of a veth pair
    // whose checksum offload was off.
    let payload = b"a kernel's datagram";
    let v4 = "02000000000b02000000000a08004500002f000040004011b6bac0000201c000020211511152001bca9b61206b65726e656c277320646174616772616d";
    let v6 = "02000000000b02000000000a86dd60000000001b114020010db800000000000000000000000120010db800000000000000000000000211511152001bf32a61206b65726e656c277320646174616772616d";
    for (hex, (near, far)) in [(v4, paths()[0]), (v6, paths()[4])] {
        let captured: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
        assert_eq!(frame(&near, &far, (4433, 4434), payload), captured);
        let datagram = parse(&captured, &far, Checksum::Software);
        assert_eq!(datagram, Ok(Datagram { from_ip: near.ip, from_port: 4433, to_port: 4434, payload }));
    }
}

#[test]
fn lengths_are_what_they_are_called() {
    assert_eq!(headers_len(Family::V4, false), 42);
    assert_eq!(headers_len(Family::V4, true), 46);
    assert_eq!(headers_len(Family::V6, false), 62);
    assert_eq!(headers_len(Family::V6, true), HEADERS_MAX);
    assert_eq!(mtu_needed(1027, Family::V6, true), 1027 + 8 + 40 + 4);
    assert_eq!(mtu_needed(515, Family::V4, false), 543);
    assert_eq!(payload_max(1500, Family::V4, false), 1472);
    assert_eq!(payload_max(1500, Family::V6, true), 1448);
    assert_eq!(payload_max(20, Family::V4, false), 0);
    assert_eq!(payload_max(65_535, Family::V4, false), PAYLOAD_MAX);
    assert_eq!(payload_max(usize::MAX, Family::V6, false), PAYLOAD_MAX);
}

#[test]
fn macs_print_and_parse() {
    assert_eq!(OURS.to_string(), "02:00:00:00:00:0a");
    assert_eq!("FF:ff:Ff:fF:ff:ff".parse(), Ok(Mac::BROADCAST));
    let wrong = [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:0a:",
        "02:00:00:00:00:0a:00",
        "2:0:0:0:0:a",
        "+2:00:00:00:00:0a",
        "02-00-00-00-00-0a",
        "é:00:00:00:00:00",
    ];
    for text in wrong {
        assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
    }
    assert!(OURS.is_station());
    assert!(!Mac::BROADCAST.is_station() && !Mac::default().is_station() && !Mac([1, 0, 0x5e, 0, 0, 1]).is_station());
}

#[test]
fn each_reason_is_told_from_the_others() {
    for (whole, local) in good() {
        let ip = local.headers_len() - UDP - local.family().ip_header();
        let v4 = local.family() == Family::V4;
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = whole.clone();
            change(&mut frame);
            if v4 && frame.len() > ip + IPV4 {
                fix_ipv4_sum(&mut frame, ip);
            }
            refused(&frame, &local)
        };
        assert_eq!(refused(&[], &local), Astray::Runt);
        assert_eq!(refused(&whole[..local.headers_len() - 1], &local), Astray::Runt);
        for group in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), OURS] {
            assert_eq!(changed(&|frame| frame[..6].copy_from_slice(&group.0)), Astray::OtherMac);
        }
        assert_eq!(changed(&|frame| frame[ip - 2..ip].copy_from_slice(&[0x08, 0x06])), Astray::EtherType);
        assert_eq!(changed(&|frame| frame[ip - 2..ip].copy_from_slice(&[0x88, 0xa8])), Astray::EtherType);
        assert_eq!(changed(&|frame| frame[ip] ^= 0xf0), Astray::BadIp);
        assert_eq!(changed(&|frame| frame.truncate(whole.len() - 1)), Astray::BadIp);
        assert_eq!(changed(&|frame| frame[local.headers_len() - UDP - 1] ^= 1), Astray::OtherIp);
        let protocol = if v4 { ip + 9 } else { ip + 6 };
        for other in [1, 6, 58, 60, 0] {
            assert_eq!(changed(&|frame| frame[protocol] = other), Astray::NotUdp);
        }
        let udp = local.headers_len() - UDP;
        for len in [0u16, 7, 25, u16::MAX] {
            assert_eq!(changed(&|frame| frame[udp + 4..udp + 6].copy_from_slice(&len.to_be_bytes())), Astray::BadUdp);
        }
        assert_eq!(changed(&|frame| frame[udp + 6] ^= 1), Astray::Checksum);
        assert_eq!(changed(&|frame| *frame.last_mut().unwrap() ^= 1), Astray::Checksum);
        if v4 {
            for (at, byte) in [(6, 0x20), (7, 1), (6, 0x1f)] {
                assert_eq!(changed(&|frame| frame[ip + at] = byte), Astray::Fragment);
            }
            for version_and_words in [0x40, 0x44, 0x4f] {
                let mut frame = whole.clone();
                frame[ip] = version_and_words;
                assert_eq!(refused(&frame, &local), Astray::BadIp);
            }
            let mut frame = whole.clone();
            frame[ip + 8] ^= 1;
            assert_eq!(refused(&frame, &local), Astray::Checksum);
        } else {
            assert_eq!(changed(&|frame| frame[ip + 6] = 44), Astray::Fragment);
            assert_eq!(changed(&|frame| frame[udp + 6..udp + 8].fill(0)), Astray::Checksum);
        }
    }
}

#[test]
fn sources_that_no_host_has_are_refused() {
    for (whole, local) in good() {
        let udp = local.headers_len() - UDP;
        let v4 = local.family() == Family::V4;
        let sources: Vec<Vec<u8>> = if v4 {
            [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [239, 255, 255, 255], [255; 4]].map(|ip| ip.to_vec()).into()
        } else {
            ["::", "::1", "ff02::1", "::ffff:192.0.2.9"].map(|ip| v6(ip).to_vec()).into()
        };
        for source in sources {
            let mut frame = whole.clone();
            let at = udp - 2 * source.len();
            frame[at..at + source.len()].copy_from_slice(&source);
            if v4 {
                fix_ipv4_sum(&mut frame, udp - IPV4);
            }
            assert_eq!(refused(&frame, &local), Astray::BadIp, "{source:?}");
        }
    }
}

#[test]
fn hosts_are_told_from_others() {
    for host in [mapped([192, 0, 2, 1]), mapped([240, 0, 0, 1]), v6("2001:db8::1"), v6("fe80::1")] {
        assert!(is_host(&host));
    }
    for other in
        [mapped([0; 4]), mapped([127, 0, 0, 1]), mapped([255; 4]), mapped([224, 0, 0, 1]), [0; 16], v6("ff02::1")]
    {
        assert!(!is_host(&other));
    }
}

#[test]
fn only_the_ports_own_vlan_is_taken() {
    let (near, far) = paths()[0];
    let vlans = [None, Some(1), Some(7), Some(4094)];
    for sent in vlans {
        let whole = frame(&Local { vlan: sent, ..near }, &far, (1, 2), &[0; 100]);
        for own in vlans {
            let parsed = parse(&whole, &Local { vlan: own, ..far }, Checksum::Software);
            assert_eq!(parsed.err(), (sent != own).then_some(Astray::OtherVlan), "{sent:?} at {own:?}");
        }
    }
    // Id 0 is a priority in no VLAN; priorities are the network's.
    let mut whole = frame(&Local { vlan: Some(7), ..near }, &far, (1, 2), &[0; 100]);
    whole[14] |= 0xf0;
    assert!(parse(&whole, &Local { vlan: Some(7), ..far }, Checksum::Software).is_ok());
    whole[15] = 0;
    assert!(parse(&whole, &far, Checksum::Software).is_ok());
    assert_eq!(refused(&whole, &Local { vlan: Some(7), ..far }), Astray::OtherVlan);
    // A second tag.
    whole.splice(14..14, [0, 0, 0x81, 0]);
    assert_eq!(refused(&whole, &far), Astray::EtherType);
}

#[test]
fn options_padding_and_surplus_are_passed_over() {
    let (near, far) = paths()[0];
    let payload = b"payload";
    let expected = Ok(Datagram { from_ip: near.ip, from_port: 4433, to_port: 4434, payload });
    let mut whole = frame(&near, &far, (4433, 4434), payload);
    whole.extend([0x55; 11]);
    assert_eq!(parse(&whole, &far, Checksum::Software), expected, "Ethernet's padding");
    whole[17] += 5;
    fix_ipv4_sum(&mut whole, ETHERNET);
    assert_eq!(parse(&whole, &far, Checksum::Software), expected, "what UDP does not count");
    whole.splice(34..34, [1; 40]);
    whole[14] = 0x4f;
    whole[17] += 40;
    fix_ipv4_sum(&mut whole, ETHERNET);
    assert_eq!(parse(&whole, &far, Checksum::Software), expected, "options");
    // No sum.
    whole[80..82].fill(0);
    assert_eq!(parse(&whole, &far, Checksum::Software), expected, "no sum");
}

#[test]
fn a_sum_of_zero_is_sent_as_its_complement() {
    for (near, far) in paths() {
        let before = frame(&near, &far, (4433, 4434), &[0, 0]);
        let sum: [u8; 2] = before[near.headers_len() - 2..near.headers_len()].try_into().unwrap();
        let whole = frame(&near, &far, (4433, 4434), &sum);
        assert_eq!(whole[near.headers_len() - 2..near.headers_len()], [0xff, 0xff]);
        assert!(parse(&whole, &far, Checksum::Software).is_ok());
    }
}

#[test]
fn every_bit_of_the_headers_counts_or_changes_nothing() {
    for (whole, local) in good() {
        let meant = parse(&whole, &local, Checksum::Software).expect("a good frame");
        let mut told = 0;
        for bit in 0..local.headers_len() * 8 {
            let mut frame = whole.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            match parse(&frame, &local, Checksum::Software) {
                Err(_) => told += 1,
                Ok(same) => assert_eq!(same, meant, "bit {bit}"),
            }
        }
        // Free to change: the sender's MAC; a tag's priority; IPv6's traffic class, flow label and hop limit.
        let free = 48 + if local.vlan.is_some() { 4 } else { 0 } + if local.family() == Family::V6 { 36 } else { 0 };
        assert_eq!(told, local.headers_len() * 8 - free);
    }
}

/// What another parser reads: source and destination port, payload.
fn others_reading(frame: &[u8]) -> Option<(u16, u16, Vec<u8>)> {
    match SlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port(), udp.payload().to_vec())),
        _ => None,
    }
}

/// What another writer makes of the same.
fn others_writing(near: &Local, far: &Local, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, VlanId};
    let ethernet = PacketBuilder::ethernet2(near.mac.0, far.mac.0);
    let mut out = Vec::new();
    let ip = match near.family() {
        Family::V4 => {
            let (from, to) = (near.ip[12..].try_into().unwrap(), far.ip[12..].try_into().unwrap());
            let mut header = Ipv4Header::new(0, HOP_LIMIT, IpNumber::UDP, from, to).expect("short");
            header.dont_fragment = true;
            header.fragment_offset = IpFragOffset::ZERO;
            etherparse::IpHeaders::Ipv4(header, Default::default())
        }
        Family::V6 => {
            let header = Ipv6Header {
                next_header: IpNumber::UDP,
                hop_limit: HOP_LIMIT,
                source: near.ip,
                destination: far.ip,
                ..Default::default()
            };
            etherparse::IpHeaders::Ipv6(header, Default::default())
        }
    };
    let builder = match near.vlan {
        None => ethernet.ip(ip),
        Some(vlan) => ethernet.single_vlan(VlanId::try_new(vlan).expect("12 bits")).ip(ip),
    };
    builder.udp(ports.0, ports.1).write(&mut out, payload).expect("a vector takes all");
    out
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![0..64usize, 500..530usize, 1000..1100usize, Just(9000)]
        .prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (near, far) in any_path(), ports: (u16, u16), payload in any_payload(), padding in 0..50usize,
    ) {
        let mut whole = frame(&near, &far, ports, &payload);
        prop_assert_eq!(&whole, &others_writing(&near, &far, ports, &payload));
        whole.resize(whole.len() + padding, 0x77);
        let datagram = Datagram { from_ip: near.ip, from_port: ports.0, to_port: ports.1, payload: &payload };
        prop_assert_eq!(parse(&whole, &far, Checksum::Software), Ok(datagram));
        prop_assert_eq!(parse(&whole, &far, Checksum::Offload), Ok(datagram));
    }

    /// A device that goes on from the pseudo-header's sum ends with the sum that we would have made.
    #[test]
    fn an_offloaded_sum_is_completed_by_the_device(
        (near, far) in any_path(), ports: (u16, u16), payload in any_payload(),
    ) {
        let mut whole = vec![0; near.headers_len()];
        write_headers(&mut whole, &near, ports.0, far.mac, &far.ip, ports.1, &payload, Checksum::Offload);
        whole.extend_from_slice(&payload);
        let udp = near.headers_len() - UDP;
        let mut sum = Sum::default().with(&whole[udp..]).checksum();
        if sum == [0, 0] {
            sum = [0xff, 0xff];
        }
        whole[udp + 6..udp + 8].copy_from_slice(&sum);
        prop_assert_eq!(whole, frame(&near, &far, ports, &payload));
    }

    #[test]
    fn changed_frames_are_read_as_others_read_them(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut whole, local) = which.get(&good()).clone();
        for (at, byte) in changes {
            let at = at.index(whole.len());
            whole[at] = byte;
        }
        for checksum in [Checksum::Software, Checksum::Offload] {
            if let Ok(ours) = parse(&whole, &local, checksum) {
                prop_assert_eq!(others_reading(&whole), Some((ours.from_port, ours.to_port, ours.payload.to_vec())));
            }
        }
    }

    #[test]
    fn macs_survive_the_round_trip(mac: [u8; 6]) {
        prop_assert_eq!(Mac(mac).to_string().parse(), Ok(Mac(mac)));
    }
}
