//! IP and UDP fields are constant on a link: captured on a loopback of our own, which needs CAP_NET_RAW and
//! CAP_SYS_ADMIN.
#![cfg(not(feature = "loom"))]

use drover_nic::udp::{HOP_LIMIT, UdpPort};
use drover_nic::{Endpoint, Port, net};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

const UDP: u8 = 17;
const DONT_FRAGMENT: u16 = 0x4000;
const RECORD: usize = 515;
const FRAMES: usize = 200;

/// Every IP packet of this thread's network.
fn capture() -> io::Result<File> {
    let every_protocol = libc::c_int::from((libc::ETH_P_ALL as u16).to_be());
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, every_protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Sends `FRAMES` records from `from` to `to` and returns the headers that the wire saw, UDP's included.
fn headers(from: &str, to: &str, header_len: usize) -> io::Result<Vec<Vec<u8>>> {
    let bind = |text: &str| UdpPort::bind(text.parse().expect("an address"), 64);
    let (mut a, mut b) = (bind(from)?, bind(to)?);
    let mut capture = capture()?;
    let mut headers = Vec::new();
    for number in 0..FRAMES {
        for frame in a.reserve(1, RECORD) {
            *frame.to = Endpoint::from(b.local_addr());
            frame.data.fill(number as u8);
        }
        assert_eq!(a.commit(1), 1);
        assert_eq!(b.receive(64).len(), 1, "loopback delivers at once");
        let mut packet = [0; 2048];
        loop {
            match capture.read(&mut packet) {
                // Each packet is seen twice on loopback, leaving and arriving.
                Ok(len) if len == header_len + 8 + RECORD => headers.push(packet[..header_len + 8].to_vec()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    assert!(headers.len() >= FRAMES, "{} packets captured", headers.len());
    Ok(headers)
}

/// Runs in a network of its own, or says that it cannot.
fn in_own_network(test: fn()) {
    let inside = std::thread::spawn(move || match net::enter_network_namespace() {
        Ok(()) => test(),
        Err(error) => drover_nic::skip::skipped(format_args!("captured fields: {error}")),
    });
    inside.join().expect("the thread in its own network");
}

fn be16(header: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[test]
fn ipv4_fields_are_constant() {
    in_own_network(|| {
        for (from, to) in [("127.0.0.1:4001", "127.0.0.1:4002"), ("[::]:4003", "127.0.0.1:4004")] {
            for header in headers(from, to, 20).expect("captured") {
                assert_eq!((header[0], header[9]), (0x45, UDP), "no options");
                assert_eq!(header[1], 0, "traffic class");
                assert_eq!(be16(&header, 4), 0, "identification");
                assert_eq!(be16(&header, 6), DONT_FRAGMENT, "fragments");
                assert_eq!(header[8], HOP_LIMIT);
                let ports = [from, to].map(|text| text.parse::<SocketAddr>().expect("an address").port());
                assert_eq!([be16(&header, 20), be16(&header, 22)], ports);
                assert_eq!(usize::from(be16(&header, 24)), 8 + RECORD);
            }
        }
    });
}

#[test]
fn ipv6_fields_are_constant() {
    in_own_network(|| {
        let headers = match headers("[::1]:4001", "[::1]:4002", 40) {
            Ok(headers) => headers,
            Err(error) => return drover_nic::skip::skipped(format_args!("captured fields of IPv6: {error}")),
        };
        for header in headers {
            assert_eq!(header[..4], [0x60, 0, 0, 0], "traffic class and flow label");
            assert_eq!((header[6], header[7]), (UDP, HOP_LIMIT));
            assert_eq!([be16(&header, 40), be16(&header, 42)], [4001, 4002]);
        }
    });
}
