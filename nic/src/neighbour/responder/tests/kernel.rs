//! A responder on one end of a cable, a kernel on the other.

use super::*;
use crate::interface::Interface;
use crate::netns::{Namespace, veth};
use crate::skip::skipped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, socket_with};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};

/// The responder's wire: all frames of its end of the cable (packet(7)).
struct Wire {
    socket: OwnedFd,
    /// Our end has no address, so its kernel keeps silent.
    near: Namespace,
    far: Namespace,
}

impl Wire {
    fn new() -> Option<Wire> {
        let (near, far) = match Namespace::new().and_then(|near| Ok((near, Namespace::new()?))) {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                skipped(format_args!("a responder beside a kernel: {error}"));
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        veth(&near, "near", &far, "far", 1, 1500).expect("a cable");
        far.set_checksum_offload("far", false).expect("off");
        far.address("far", "10.1.0.2/24").expect("IPv4");
        far.address("far", "2001:db8::2/64").expect("IPv6");
        far.up("far").expect("up");
        near.up("near").expect("up");
        let socket = near.run(all_frames).expect("entered").expect("a packet socket");
        Some(Wire { socket, near, far })
    }

    fn config(&self, address: &str) -> Config {
        let mut config = config(address, 0, None);
        config.local.mac = self.near.interface("near").expect("there").mac.expect("Ethernet");
        config
    }

    /// Sends and hears frames until `holds`, which sees every frame too.
    fn until(&self, host: &mut Host, what: &str, mut holds: impl FnMut(&mut Host, &[u8]) -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        let send = |frame: &[u8]| {
            rustix::net::send(&self.socket, frame, SendFlags::empty()).expect("sent");
        };
        let mut room = [0; 2048];
        let mut len = 0;
        while !holds(host, &room[..len]) {
            assert!(Instant::now() < limit, "not within 30 s: {what}");
            host.responder.turn(Instant::now(), send);
            (0..8).for_each(|_| host.table.poll());
            let turn = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&turn)).expect("polled");
            len = rustix::net::recv(&self.socket, &mut room[..], RecvFlags::DONTWAIT).map_or(0, |(len, _)| len);
            if concerns(&room[..len], &host.config.local) {
                host.responder.hear(&room[..len], Instant::now(), send);
            }
        }
    }
}

fn all_frames() -> io::Result<OwnedFd> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    let protocol = NonZeroU32::new(all.into()).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // SAFETY: a C structure of integers: all zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = Interface::named("near")?.index as i32;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `address`, which the kernel only reads.
    let rc = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if rc == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn a_kernel_is_found_finds_us_and_gets_its_echo() {
    for (ours, theirs) in [("10.1.0.1/24", "10.1.0.2"), ("2001:db8::1/64", "2001:db8::2")] {
        let Some(wire) = Wire::new() else { return };
        let mut host = Host::new(wire.config(ours), Instant::now());
        let far_mac = wire.far.interface("far").expect("there").mac;
        let local = host.config.local;
        // The kernel knows nothing of us: it asks, and only then sends.
        let to = SocketAddr::new(address_of(&local.ip), 4433);
        let from = SocketAddr::new(theirs.parse().expect("a literal address"), 4434);
        let socket = wire.far.run(|| UdpSocket::bind(from)).expect("entered").expect("bound");
        socket.send_to(b"to a responder", to).expect("sent");
        wire.until(&mut host, "the kernel's datagram", |_, frame| {
            let datagram = parse(frame, &local, Checksum::Software);
            datagram.is_ok_and(|datagram| {
                (datagram.from_port, datagram.to_port, datagram.payload) == (4434, 4433, &b"to a responder"[..])
            })
        });
        wire.until(&mut host, "the kernel's MAC", |host, _| host.table.mac(&ip(theirs)) == far_mac);
        let ping = wire.far.run(|| ping_socket(to)).expect("entered").expect("a raw socket");
        let mut room = [0; 256];
        wire.until(&mut host, "the echo", |_, _| {
            let received = rustix::net::recv(&ping, &mut room[..], RecvFlags::DONTWAIT);
            received.is_ok_and(|(len, _)| is_reply(&room[..len], to) && room[..len].ends_with(b"ping!"))
        });
        let counters = host.responder.counters();
        assert!(counters.answered >= 1 && counters.echoed == 1 && counters.conflicts == 0, "{counters:?}");
    }
}

/// Raw IPv4 sockets read the IP header too (raw(7)).
fn is_reply(bytes: &[u8], peer: SocketAddr) -> bool {
    if peer.is_ipv4() { bytes[20] == 0 } else { bytes[0] == 129 }
}

/// A raw socket from which one echo request has gone to `peer`.
fn ping_socket(peer: SocketAddr) -> io::Result<OwnedFd> {
    let (family, protocol, kind) = match peer {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128),
    };
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    let mut request = [&[kind, 0, 0, 0, 0x12, 0x34, 0, 1][..], b"ping!"].concat();
    if peer.is_ipv4() {
        // The kernel makes the sum of ICMPv6 only.
        let sum = drover_wire::frame::Sum::default().with(&request).checksum();
        request[2..4].copy_from_slice(&sum);
    }
    rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(peer.ip(), 0))?;
    Ok(socket)
}
