//! What an interface's driver does with XDP, asked by the generic netlink family `netdev`
//! (Documentation/netlink/specs/netdev.yaml; Linux 6.3 and later).

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Message types and flags (linux/netlink.h).
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
/// The family that knows the others (linux/genetlink.h): its number, its command and attributes.
const CONTROL: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
/// `netdev`'s command and attributes (linux/netdev.h).
const NETDEV_GET: u8 = 1;
const NETDEV_INDEX: u16 = 1;
const NETDEV_XDP_FEATURES: u16 = 3;
const NETDEV_XSK_FEATURES: u16 = 6;

/// Bytes before attributes: a netlink header (length, type, flags, sequence, port) and a generic one (command, version).
const HEADER: usize = 16;
const HEADERS: usize = HEADER + 4;
/// Room for an answer: both are a few hundred bytes; the kernel's own limit for one is a page.
const ANSWER: usize = 8192;
/// The kernel answers at once; a sandbox may not.
const PATIENCE: Duration = Duration::from_secs(2);
/// The only request under way on a socket.
const SEQUENCE: u32 = 1;

/// What a driver can do, as the kernel's bits say (linux/netdev.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    /// NETDEV_XDP_ACT_*.
    pub xdp: u64,
    /// NETDEV_XSK_FLAGS_*; none where the kernel is older than they are.
    pub xsk: u64,
}

impl XdpFeatures {
    /// An XDP program runs in the driver, and may redirect to AF_XDP sockets: driver mode works
    /// (NETDEV_XDP_ACT_BASIC and NETDEV_XDP_ACT_REDIRECT).
    pub fn driver_mode(&self) -> bool {
        self.xdp & 3 == 3
    }

    /// AF_XDP sockets without copies (NETDEV_XDP_ACT_XSK_ZEROCOPY).
    pub fn zero_copy(&self) -> bool {
        self.xdp & 8 != 0
    }

    /// The instant at which a frame leaves can be given with it (NETDEV_XSK_FLAGS_TX_LAUNCH_TIME_FIFO).
    pub fn launch_time(&self) -> bool {
        self.xsk & 4 != 0
    }
}

/// Asks what the driver of interface `index` of the calling thread's network can do.
///
/// # Errors
/// `Unsupported` where the kernel has no such family; else what the system says, `InvalidData` for an answer that is none.
pub fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(GENERIC))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    // Connected to the kernel: no other process's messages are taken.
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; ANSWER];
    let family = ask(&socket, CONTROL, CONTROL_GET_FAMILY, (CONTROL_FAMILY_NAME, b"netdev\0"), &mut answer)
        .map_err(no_family)
        .and_then(|attributes| number::<2>(attributes, CONTROL_FAMILY_ID).ok_or_else(no_answer))?;
    let family = u16::from_ne_bytes(family);
    let attributes = ask(&socket, family, NETDEV_GET, (NETDEV_INDEX, &index.to_ne_bytes()), &mut answer)?;
    let xdp = number::<8>(attributes, NETDEV_XDP_FEATURES).ok_or_else(no_answer)?;
    let xsk = number::<8>(attributes, NETDEV_XSK_FEATURES).unwrap_or_default();
    Ok(XdpFeatures { xdp: u64::from_ne_bytes(xdp), xsk: u64::from_ne_bytes(xsk) })
}

fn no_family(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound => {
            io::Error::new(ErrorKind::Unsupported, "the kernel does not tell: it is older than 6.3, which has `netdev`")
        }
        _ => error,
    }
}

fn no_answer() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the kernel's answer lacks what was asked for")
}

/// Asks `family` with one attribute. Returns the attributes of the answer.
fn ask<'a>(
    socket: &OwnedFd,
    family: u16,
    command: u8,
    (kind, value): (u16, &[u8]),
    answer: &'a mut [u8; ANSWER],
) -> io::Result<&'a [u8]> {
    let mut request = vec![0; HEADERS + 4 + value.len().next_multiple_of(4)];
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&family.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    request[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
    // Version 1 of either family.
    request[HEADER..HEADER + 2].copy_from_slice(&[command, 1]);
    request[HEADERS..HEADERS + 2].copy_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    request[HEADERS + 2..HEADERS + 4].copy_from_slice(&kind.to_ne_bytes());
    request[HEADERS + 4..HEADERS + 4 + value.len()].copy_from_slice(value);
    rustix::io::retry_on_intr(|| rustix::net::send(socket, &request, SendFlags::empty()))?;
    let (_, len) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()))?;
    attributes(&answer[..len], family)
}

/// The attributes of an answer of `family`, or the error that it is.
fn attributes(answer: &[u8], family: u16) -> io::Result<&[u8]> {
    let len = answer.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len) as usize);
    let message = answer.get(..len).filter(|message| message.len() >= HEADERS).ok_or_else(no_answer)?;
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    let sequence = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
    if kind == ERROR {
        let code = i32::from_ne_bytes([message[16], message[17], message[18], message[19]]);
        // 0 is an acknowledgement, which was not asked for.
        return Err(if code < 0 { io::Error::from_raw_os_error(code.saturating_neg()) } else { no_answer() });
    }
    if kind != family || sequence != SEQUENCE {
        return Err(no_answer());
    }
    Ok(&message[HEADERS..])
}

/// The value of the first attribute of this kind, if it has this many bytes.
fn number<const N: usize>(mut attributes: &[u8], wanted: u16) -> Option<[u8; N]> {
    loop {
        let header: &[u8; 4] = attributes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        // The two upper bits are flags.
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = attributes.get(4..len)?;
        if kind == wanted {
            return value.try_into().ok();
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_tells_of_its_loopback_or_that_it_cannot() {
        match xdp_features(1) {
            // Loopback runs no program in its driver, and no memory of it is a NIC's.
            Ok(features) => assert!(!features.driver_mode() && !features.zero_copy(), "{features:?}"),
            Err(error) if error.kind() == ErrorKind::Unsupported => crate::skip::skipped(error),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_interface_that_is_none_has_no_features() {
        match xdp_features(i32::MAX as u32) {
            Err(error) if error.kind() == ErrorKind::Unsupported => crate::skip::skipped(error),
            other => assert_eq!(other.expect_err("none").raw_os_error(), Some(libc::ENODEV)),
        }
    }

    /// An answer with these attributes.
    fn answer(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS];
        for (kind, value) in attributes {
            bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
        bytes
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let bytes = answer(20, &[(7, b"x"), (NETDEV_XDP_FEATURES, &11u64.to_ne_bytes()), (9, b"")]);
        let found = attributes(&bytes, 20).expect("an answer");
        assert_eq!(number::<8>(found, NETDEV_XDP_FEATURES).map(u64::from_ne_bytes), Some(11));
        assert_eq!(number::<4>(found, NETDEV_XDP_FEATURES), None, "of another length");
        assert_eq!(number::<8>(found, 4), None);
        assert!(attributes(&bytes, 21).is_err() && attributes(&bytes[..30], 20).is_err());
    }

    #[test]
    fn a_refusal_is_an_error() {
        let mut bytes = answer(ERROR, &[]);
        bytes[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(attributes(&bytes, 20).expect_err("refused").raw_os_error(), Some(libc::EPERM));
        bytes[16..20].copy_from_slice(&i32::MIN.to_ne_bytes());
        assert!(attributes(&bytes, 20).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0..24u8, any::<u8>()], 0..80), kind: u16) {
            if let Ok(found) = attributes(&bytes, kind) {
                prop_assert!(found.len() + HEADERS <= bytes.len());
            }
            number::<8>(&bytes, kind);
        }
    }
}
