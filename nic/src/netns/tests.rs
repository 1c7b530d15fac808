//! Namespaces, cables and bridges of the running kernel.

use super::*;
use crate::skip::skipped;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A namespace; none, said as a skip, where we may not make one.
fn namespace() -> Option<Namespace> {
    match Namespace::new() {
        Ok(namespace) => Some(namespace),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            skipped(format_args!("network namespaces: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn bound(namespace: &Namespace, address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().expect("a literal address");
    let socket = namespace.run(|| UdpSocket::bind(address)).expect("entered").expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    socket
}

/// What `b` receives of `a`'s.
fn carried(a: &UdpSocket, b: &UdpSocket) -> Vec<u8> {
    a.send_to(b"by cable", b.local_addr().expect("bound")).expect("sent");
    let mut bytes = [0; 64];
    let (len, from) = b.recv_from(&mut bytes).expect("received");
    assert_eq!(from, a.local_addr().expect("bound"));
    bytes[..len].to_vec()
}

#[test]
fn two_namespaces_on_a_cable() {
    let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
    veth(&a, "a0", &b, "b0", 2, 1400).expect("a cable");
    for (namespace, name, v4, v6) in
        [(&a, "a0", "10.1.0.1/24", "2001:db8::1/64"), (&b, "b0", "10.1.0.2/24", "2001:db8::2/64")]
    {
        namespace.address(name, v4).expect("IPv4");
        namespace.address(name, v6).expect("IPv6");
        assert!(!namespace.interface(name).expect("there").up);
        namespace.up(name).expect("up");
        let interface = namespace.interface(name).expect("there");
        assert_eq!((interface.mtu, interface.queues, interface.up), (1400, (2, 2), true));
        assert!(interface.mac.expect("Ethernet").is_station());
        let addresses = namespace.run(|| interface.addresses()).expect("entered").expect("addresses");
        assert!(addresses.contains(&parse_prefix(v4).unwrap()) && addresses.contains(&parse_prefix(v6).unwrap()));
    }
    assert!(a.interface("a0").expect("there").running, "the other end is up");
    for (near, far) in [("10.1.0.1:0", "10.1.0.2:0"), ("[2001:db8::1]:0", "[2001:db8::2]:0")] {
        assert_eq!(carried(&bound(&a, near), &bound(&b, far)), b"by cable");
    }
    a.set_mtu("a0", 1280).expect("an MTU");
    assert_eq!(a.interface("a0").expect("there").mtu, 1280);
    b.set_up("b0", false).expect("down");
    assert!(!a.interface("a0").expect("there").running, "the other end is down");
}

#[test]
fn hosts_on_a_bridge_and_a_route_between_networks() {
    let (Some(hub), Some(a), Some(b)) = (namespace(), namespace(), namespace()) else { return };
    for (host, port, address) in [(&a, "pa", "10.1.0.1/24"), (&b, "pb", "10.2.0.1/24")] {
        veth(host, "eth0", &hub, port, 1, 1500).expect("a cable");
        host.address("eth0", address).expect("an address");
        host.up("eth0").expect("up");
    }
    hub.bridge("br0", &["pa", "pb"]).expect("a bridge");
    hub.address("br0", "10.1.0.254/24").expect("an address");
    a.route("10.2.0.0/16", "10.1.0.2".parse().unwrap()).expect("a route");
    a.address("eth0", "10.2.0.9/32").expect("an address");
    b.address("eth0", "10.1.0.2/24").expect("an address");
    assert_eq!(carried(&bound(&a, "10.1.0.1:0"), &bound(&b, "10.2.0.1:0")), b"by cable");
    assert_eq!(carried(&bound(&hub, "10.1.0.254:0"), &bound(&a, "10.1.0.1:0")), b"by cable");
    let unreachable = a.route("10.3.0.0/16", "192.0.2.1".parse().unwrap()).expect_err("no such neighbour");
    assert_eq!(unreachable.kind(), ErrorKind::NetworkUnreachable);
}

/// What the kernel sends is, byte for byte, what we would write: with the offload on, its sums are not made.
#[test]
fn sums_are_made_when_offload_is_off() {
    use drover_wire::frame::{Astray, Checksum, Local, mapped, parse};
    let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
    veth(&a, "a0", &b, "b0", 1, 1500).expect("a cable");
    a.address("a0", "10.1.0.1/24").expect("an address");
    b.address("b0", "10.1.0.2/24").expect("an address");
    a.up("a0").expect("up");
    b.up("b0").expect("up");
    let mac = b.interface("b0").expect("there").mac.expect("Ethernet");
    let local = Local { mac, vlan: None, ip: mapped([10, 1, 0, 2]) };
    let frames = b.run(packet_socket).expect("entered").expect("a packet socket");
    let sender = bound(&a, "10.1.0.1:4433");
    for (offload, expected) in [(false, None), (true, Some(Astray::Checksum))] {
        a.set_checksum_offload("a0", offload).expect("set");
        sender.send_to(b"summed?", "10.1.0.2:4434").expect("sent");
        let mut room = [0; 2048];
        let parsed = loop {
            let (len, _) =
                rustix::net::recv(&frames, &mut room[..], rustix::net::RecvFlags::empty()).expect("received");
            let parsed = parse(&room[..len], &local, Checksum::Software);
            if parsed.is_ok() || parsed == Err(Astray::Checksum) {
                break parsed;
            }
        };
        assert_eq!(parsed.err(), expected);
        assert_eq!(parse(&room[..49], &local, Checksum::Offload).map(|datagram| datagram.payload), Ok(&b"summed?"[..]));
    }
    assert_eq!(a.set_checksum_offload("nosuchif0", true).expect_err("none").kind(), ErrorKind::NotFound);
}

/// A socket that sees every frame of its namespace (packet(7)).
fn packet_socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with, sockopt};
    let all = std::num::NonZeroU32::new((libc::ETH_P_ALL as u16).to_be().into()).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, all)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(20)))?;
    Ok(socket)
}

#[test]
fn a_vlan_on_a_cable() {
    let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
    veth(&a, "eth0", &b, "eth0", 1, 1500).expect("a cable");
    for (namespace, address) in [(&a, "10.7.0.1/24"), (&b, "10.7.0.2/24")] {
        namespace.up("eth0").expect("up");
        if let Err(error) = namespace.vlan("eth0", "eth0.7", 7) {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return skipped(error);
        }
        namespace.address("eth0.7", address).expect("an address");
        namespace.up("eth0.7").expect("up");
    }
    assert_eq!(carried(&bound(&a, "10.7.0.1:0"), &bound(&b, "10.7.0.2:0")), b"by cable");
}

#[test]
fn a_program_starts_inside() {
    let Some(inside) = namespace() else { return };
    let mut command = Command::new("readlink");
    command.arg("/proc/self/ns/net");
    let outside = command.output().expect("readlink").stdout;
    inside.start_inside(&mut command).expect("a descriptor");
    let output = command.output().expect("readlink");
    assert!(output.stdout.starts_with(b"net:["));
    assert_ne!(output.stdout, outside);
    let expected = inside.run(|| std::fs::read_link("/proc/thread-self/ns/net")).expect("entered").expect("a link");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.to_string_lossy());
}

/// The cable's other end goes when the namespace of this one does.
#[test]
fn nothing_stays_behind() {
    let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
    veth(&a, "a0", &b, "b0", 1, 1500).expect("a cable");
    let mut watch = b.run(|| Netlink::open(libc::RTMGRP_LINK as u32)).expect("entered").expect("a socket");
    drop(a);
    let gone = |told: &RouteNetlinkMessage| matches!(told, RouteNetlinkMessage::DelLink(link) if link.attributes.contains(&LinkAttribute::IfName("b0".into())));
    loop {
        wait(&watch);
        if watch.told().expect("told").iter().any(gone) {
            break;
        }
    }
    assert_eq!(b.interface("b0").expect_err("gone").kind(), ErrorKind::NotFound);
}

fn wait(netlink: &Netlink) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(netlink, PollFlags::IN)], Some(&limit)).expect("polled");
    assert_eq!(ready, 1, "the kernel said nothing for 20 s");
}

#[test]
fn a_panic_inside_goes_on_outside() {
    let Some(inside) = namespace() else { return };
    let panicked = std::panic::catch_unwind(|| inside.run(|| panic!("as meant")));
    assert!(panicked.is_err());
    inside.up("lo").expect("the namespace is of use still");
}

#[test]
fn what_is_wrong_is_said() {
    let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
    let kind = |result: io::Result<()>| result.expect_err("refused").kind();
    assert_eq!(kind(veth(&a, "far-too-long-a-name", &b, "b0", 1, 1500)), ErrorKind::InvalidInput);
    assert_eq!(kind(veth(&a, "a0", &b, "", 1, 1500)), ErrorKind::InvalidInput);
    assert_eq!(kind(veth(&a, "a0", &b, "b0", 0, 1500)), ErrorKind::InvalidInput);
    assert_eq!(kind(veth(&a, "a0", &b, "b0", 1, 1 << 20)), ErrorKind::InvalidInput);
    veth(&a, "a0", &b, "b0", 1, 1500).expect("a cable");
    assert_eq!(kind(veth(&a, "a0", &b, "b1", 1, 1500)), ErrorKind::AlreadyExists);
    assert_eq!(kind(a.up("nosuchif0")), ErrorKind::NotFound);
    assert_eq!(kind(a.bridge("br0", &["nosuchif0"])), ErrorKind::NotFound);
    for address in ["10.0.0.1", "10.0.0.1/33", "::1/129", "/8", "10.0.0.1/x", ""] {
        assert_eq!(kind(a.address("a0", address)), ErrorKind::InvalidInput, "{address}");
    }
    a.address("a0", "10.0.0.1/8").expect("an address");
    assert_eq!(kind(a.address("a0", "10.0.0.1/8")), ErrorKind::AlreadyExists);
    assert_eq!(kind(a.route("10.0.0.0/8", "::1".parse().unwrap())), ErrorKind::InvalidInput);
}
