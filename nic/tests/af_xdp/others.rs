//! Everybody else's traffic on an interface that has ports still reaches the kernel.

use crate::cable::{Cable, Host, at, cable, collect, send, small};
use drover_nic::Endpoint;
use drover_nic::af_xdp::{AfXdpConfig, AfXdpPort, Mode};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn inside<T: Send>(host: &Host, work: impl FnOnce() -> T + Send) -> T {
    host.network.run(work).expect("entered")
}

/// A datagram to another port of the address that a port has, and its answer.
fn udp(cable: &Cable, from: IpAddr, to: IpAddr) {
    let near = inside(&cable.a, || UdpSocket::bind(SocketAddr::new(from, 0)).expect("bound"));
    let far = inside(&cable.b, || UdpSocket::bind(SocketAddr::new(to, 0)).expect("bound"));
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
    }
    let (near_at, far_at) = (near.local_addr().expect("bound"), far.local_addr().expect("bound"));
    let mut data = [0; 16];
    near.send_to(b"there", far_at).expect("sent");
    assert_eq!(far.recv_from(&mut data).expect("received"), (5, near_at));
    far.send_to(b"back", near_at).expect("sent");
    assert_eq!(near.recv_from(&mut data).expect("received"), (4, far_at));
}

fn tcp(cable: &Cable, to: IpAddr) {
    let listener = inside(&cable.b, || TcpListener::bind(SocketAddr::new(to, 0)).expect("bound"));
    let addr = listener.local_addr().expect("bound");
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).expect("asked");
            stream.write_all(&asked.repeat(10_000)).expect("answered");
        });
        let mut stream = inside(&cable.a, || TcpStream::connect_timeout(&addr, PATIENCE).expect("connected"));
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(b"ping").expect("asked");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        answer
    });
    assert_eq!(answer, b"ping".repeat(10_000));
}

/// An ICMP echo, answered by the far kernel.
fn ping(cable: &Cable, to: IpAddr) {
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let socket: OwnedFd = inside(&cable.a, || {
        rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).expect("a socket")
    });
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))
        .expect("set");
    // Type, code, sum, identifier, sequence number. ICMPv6's sum is the kernel's work.
    let mut message = [request, 0, 0, 0, 0x12, 0x34, 0, 1];
    let sum = !(u16::from(request) << 8).wrapping_add(0x1234).wrapping_add(1);
    if to.is_ipv4() {
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddr::new(to, 0)).expect("sent");
    loop {
        let mut answer = [0; 256];
        let (_, len) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).expect("an answer");
        let skip = if to.is_ipv4() { 20 } else { 0 };
        let answer = &answer[skip..len];
        if answer[0] == reply && answer[4..8] == message[4..8] {
            return;
        }
    }
}

fn ports(cable: &Cable, config: &AfXdpConfig, from: IpAddr, to: IpAddr) -> (AfXdpPort, AfXdpPort) {
    (cable.a.open_one(&cable.b, config, from), cable.b.open_one(&cable.a, config, to))
}

/// ARP and neighbour discovery are at the bottom of all of it: the hosts have just been made.
#[test]
fn other_traffic_reaches_the_kernel() {
    for mode in [Mode::Driver, Mode::Generic] {
        let Some(cable) = cable(1) else { return };
        let config = AfXdpConfig { mode, ..small() };
        for (from, to) in [(cable.a.v4, cable.b.v4), (cable.a.v6, cable.b.v6)] {
            let (mut a, mut b) = ports(&cable, &config, from, to);
            udp(&cable, from, to);
            tcp(&cable, to);
            ping(&cable, to);
            assert!(send(&mut a, at(&b), b"ours"));
            assert_eq!(collect(&mut b, 1), [(at(&a), b"ours".to_vec())]);
            drop(a);
            assert_eq!(
                b.details().iter().find(|(name, count)| *count > 0 && !name.ends_with("wakeups")),
                None,
                "{mode:?}"
            );
        }
    }
}

/// A port talks with an ordinary socket, both ways.
#[test]
fn ordinary_sockets_are_peers() {
    let Some(cable) = cable(1) else { return };
    for (near, far) in [(cable.a.v4, cable.b.v4), (cable.a.v6, cable.b.v6)] {
        let mut port = cable.a.open_one(&cable.b, &small(), near);
        let socket = inside(&cable.b, || UdpSocket::bind(SocketAddr::new(far, 0)).expect("bound"));
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        let socket_at = socket.local_addr().expect("bound");
        socket.send_to(&[7; 1200], port.local_addr()).expect("sent");
        assert_eq!(collect(&mut port, 1), [(Endpoint::from(socket_at), vec![7; 1200])]);
        assert!(send(&mut port, Endpoint::from(socket_at), &[8; 515]));
        let mut data = [0; 2048];
        assert_eq!(socket.recv_from(&mut data).expect("received"), (515, port.local_addr()));
        assert_eq!(data[..515], [8; 515]);
    }
}
