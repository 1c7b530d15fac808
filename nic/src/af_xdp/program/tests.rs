//! The kernel's verdicts on frames, against a model that says the same in other words.

use super::super::bpf::{Program, XskMap};
use super::*;
use crate::skip::skipped;
use drover_wire::frame::{Checksum, Local, Mac, mapped, parse, write_headers};
use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const V4: [u8; 16] = mapped([10, 77, 0, 200]);
const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xfe];
const PORTS: [u16; 3] = [4433, 65_535, 1];
const VLAN: u16 = 0xabc;

fn filters() -> [Filter; 4] {
    let filter = |vlan, ip| Filter { vlan, ip, ports: PORTS.to_vec() };
    [filter(None, V4), filter(None, V6), filter(Some(VLAN), V4), filter(Some(VLAN), V6)]
}

/// What the filter takes, by slices and their ends.
fn takes(filter: &Filter, frame: &[u8]) -> bool {
    takes_checked(filter, frame).unwrap_or(false)
}

fn takes_checked(filter: &Filter, frame: &[u8]) -> Option<bool> {
    let word = |bytes: &[u8], at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    // Not even the longest Ethernet header.
    frame.get(17)?;
    let tagged = word(frame, 12)? == 0x8100;
    let vlan = if tagged { Some(word(frame, 14)? & 0xfff) } else { None };
    let in_our_vlan = match filter.vlan {
        Some(id) => vlan == Some(id),
        None => vlan.is_none_or(|id| id == 0),
    };
    let (kind, packet) = if tagged { (word(frame, 16)?, &frame[18..]) } else { (word(frame, 12)?, &frame[14..]) };
    let port = match Family::of(&filter.ip) {
        Family::V4 => {
            let whole_udp = *packet.first()? == 0x45 && word(packet, 6)? & 0x3fff == 0 && *packet.get(9)? == 17;
            (kind == 0x0800 && whole_udp && packet.get(16..20)? == &filter.ip[12..])
                .then_some((packet.get(27)?, word(packet, 22)?))
        }
        Family::V6 => {
            let udp = packet.first()? >> 4 == 6 && *packet.get(6)? == 17;
            (kind == 0x86dd && udp && packet.get(24..40)? == filter.ip).then_some((packet.get(47)?, word(packet, 42)?))
        }
    };
    Some(in_our_vlan && port.is_some_and(|(_last_of_headers, port)| filter.ports.contains(&port)))
}

/// The filters loaded, with a socket on queue 0 or with none.
struct Kernel {
    programs: Vec<(Filter, Program)>,
    _map: XskMap,
    _socket: Option<OwnedFd>,
}

impl Kernel {
    fn load(with_socket: bool) -> io::Result<Kernel> {
        let map = XskMap::new(4)?;
        let socket = if with_socket {
            let socket = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
            map.set(0, socket.as_fd())?;
            Some(socket)
        } else {
            None
        };
        let load = |filter: Filter| Ok((filter.clone(), Program::load("test", &filter.assemble(map.as_raw_fd()))?));
        let programs = filters().into_iter().map(load).collect::<io::Result<_>>()?;
        Ok(Kernel { programs, _map: map, _socket: socket })
    }

    fn or_skip(with_socket: bool) -> Option<Kernel> {
        match Kernel::load(with_socket) {
            Ok(kernel) => Some(kernel),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !error.to_string().contains('|') => {
                skipped(format_args!("verdicts of the XDP program: {error}"));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A datagram as a peer's port sends it.
fn datagram(vlan: Option<u16>, ip: [u8; 16], port: u16, payload: &[u8]) -> Vec<u8> {
    let from_ip = if Family::of(&ip) == Family::V4 { mapped([10, 77, 0, 1]) } else { [0x20; 16] };
    let local = Local { mac: Mac([2, 0, 0, 0, 0, 1]), vlan, ip: from_ip };
    let mut frame = vec![0; local.headers_len()];
    write_headers(&mut frame, &local, 999, Mac([2, 0, 0, 0, 0, 2]), &ip, port, payload, Checksum::Software);
    frame.extend_from_slice(payload);
    frame
}

fn good(filter: &Filter, port: u16) -> Vec<u8> {
    datagram(filter.vlan, filter.ip, port, &[0x5a; 30])
}

#[test]
fn ours_are_taken_and_others_are_not() {
    let Some(kernel) = Kernel::or_skip(true) else { return };
    for (filter, program) in &kernel.programs {
        let verdict = |frame: &[u8]| program.verdict(frame).expect("a verdict");
        for port in PORTS {
            assert_eq!(verdict(&good(filter, port)), XDP_REDIRECT, "{filter:?} {port}");
        }
        let mut others = vec![good(filter, 4434), good(filter, 0x5111)];
        for other in filters() {
            if other != *filter {
                others.push(good(&other, PORTS[0]));
            }
        }
        let mut elsewhere = filter.ip;
        elsewhere[15] ^= 1;
        others.push(datagram(filter.vlan, elsewhere, PORTS[0], &[0; 30]));
        others.push(datagram(Some(VLAN ^ 1), filter.ip, PORTS[0], &[0; 30]));
        for frame in others {
            assert_eq!(verdict(&frame), XDP_PASS, "{filter:?} {frame:02x?}");
        }
        let priority = datagram(Some(0), filter.ip, PORTS[0], &[0; 30]);
        assert_eq!(verdict(&priority) == XDP_REDIRECT, filter.vlan.is_none());
    }
}

#[test]
fn without_a_socket_all_is_the_kernels() {
    let Some(kernel) = Kernel::or_skip(false) else { return };
    for (filter, program) in &kernel.programs {
        assert_eq!(program.verdict(&good(filter, PORTS[0])).expect("a verdict"), XDP_PASS);
    }
}

/// Nothing that the port could use is passed by, and what the filter takes of its own peers' frames the parser takes.
#[test]
fn the_filter_and_the_parser_agree_on_what_peers_send() {
    for filter in filters() {
        for len in [0, 1, 515, 1472] {
            let frame = datagram(filter.vlan, filter.ip, PORTS[1], &vec![7; len]);
            let local = Local { mac: Mac([2, 0, 0, 0, 0, 2]), vlan: filter.vlan, ip: filter.ip };
            assert!(takes(&filter, &frame));
            assert_eq!(parse(&frame, &local, Checksum::Software).expect("ours").payload.len(), len);
        }
    }
}

/// The fields that the program reads, at their places without and with a tag; and any others.
fn any_place() -> impl Strategy<Value = usize> {
    let fields = prop_oneof![
        Just(12usize),
        Just(13),
        Just(14),
        Just(15),
        Just(16),
        Just(17),
        Just(18),
        Just(20),
        Just(21),
        Just(23),
        Just(24),
        Just(27),
        30..34usize,
        34..40usize,
        54..64usize,
    ];
    prop_oneof![4 => fields, 1 => 0..90usize]
}

#[test]
fn the_kernel_agrees_with_the_model() {
    let Some(kernel) = Kernel::or_skip(true) else { return };
    let byte = prop_oneof![any::<u8>(), Just(0u8), Just(0x45), Just(17), Just(0x60), Just(0x81), Just(8), Just(0x86)];
    let changes = prop::collection::vec((any_place(), byte), 0..4);
    // At least 14 bytes: a test run takes no less.
    let cases = (0..4usize, 0..4usize, 0..PORTS.len(), changes, prop_oneof![3 => Just(100usize), 1 => 14..100usize]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20_000));
    let taken = std::cell::Cell::new(0);
    let checked = runner.run(&cases, |(by, of, port, changes, len)| {
        let mut frame = good(&kernel.programs[of].0, PORTS[port]);
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(len);
        let (filter, program) = &kernel.programs[by];
        let verdict = program.verdict(&frame).expect("a verdict");
        let expected = if takes(filter, &frame) { XDP_REDIRECT } else { XDP_PASS };
        taken.set(taken.get() + u32::from(expected == XDP_REDIRECT));
        prop_assert_eq!(verdict, expected, "{:?} {:02x?}", filter, frame);
        Ok(())
    });
    checked.expect("the kernel and the model agree");
    assert!(taken.get() > 200, "only {} frames were taken: the cases show nothing", taken.get());
}
