//! The socket and its options.

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// IPv4's time to live and IPv6's hop limit of every frame.
pub const HOP_LIMIT: u8 = 64;
/// Bytes asked for the socket's receive buffer: some 6,000 frames of 515 bytes, as the kernel counts.
pub const RECEIVE_BUFFER: usize = 8 << 20;
/// Bytes asked for the socket's send buffer.
pub const SEND_BUFFER: usize = 4 << 20;

/// `ipv6(7)`: whether the kernel makes up flow labels.
const IPV6_AUTOFLOWLABEL: libc::c_int = 70;

/// Opens and binds an unconnected non-blocking socket with constant fields. Returns it and its address.
pub(super) fn open(listen: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if listen.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    set_fields(socket.as_fd(), listen.is_ipv4())?;
    enlarge_buffers(socket.as_fd())?;
    rustix::net::bind(&socket, &listen).map_err(|error| named(error.into(), &format!("bind {listen}")))?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, local))
}

/// Makes the IP fields constant, whatever the machine's defaults.
fn set_fields(socket: BorrowedFd<'_>, v4: bool) -> io::Result<()> {
    use libc::{IPPROTO_IP, IPPROTO_IPV6};
    let hop_limit = libc::c_int::from(HOP_LIMIT);
    // An IPv6 socket takes IPv4's options too, for its mapped peers.
    set(socket, "IP_TTL", IPPROTO_IP, libc::IP_TTL, hop_limit)?;
    set(socket, "IP_TOS", IPPROTO_IP, libc::IP_TOS, 0)?;
    // PROBE: always don't-fragment, which makes an unconnected socket's identification 0, and no path MTU: a forged
    // ICMP message cannot stop frames.
    set(socket, "IP_MTU_DISCOVER", IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    set(socket, "IP_RECVERR", IPPROTO_IP, libc::IP_RECVERR, 0)?;
    if v4 {
        return Ok(());
    }
    set(socket, "IPV6_V6ONLY", IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    set(socket, "IPV6_UNICAST_HOPS", IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hop_limit)?;
    set(socket, "IPV6_TCLASS", IPPROTO_IPV6, libc::IPV6_TCLASS, 0)?;
    set(socket, "IPV6_AUTOFLOWLABEL", IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0)?;
    set(socket, "IPV6_MTU_DISCOVER", IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    set(socket, "IPV6_RECVERR", IPPROTO_IPV6, libc::IPV6_RECVERR, 0)
}

/// Asks for large buffers: beyond the machine's limit where we may (CAP_NET_ADMIN), else up to it.
fn enlarge_buffers(socket: BorrowedFd<'_>) -> io::Result<()> {
    use libc::{SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE, SOL_SOCKET};
    set(socket, "SO_RCVBUFFORCE", SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER as libc::c_int)
        .or_else(|_| set(socket, "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER as libc::c_int))?;
    set(socket, "SO_SNDBUFFORCE", SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER as libc::c_int)
        .or_else(|_| set(socket, "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, SEND_BUFFER as libc::c_int))
}

fn set(
    socket: BorrowedFd<'_>,
    name: &str,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `value`, which the kernel only reads.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if rc == 0 { Ok(()) } else { Err(named(io::Error::last_os_error(), name)) }
}

fn named(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
