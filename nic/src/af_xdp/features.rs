//! What the kernel says that an interface's driver can do for XDP (generic netlink's family `netdev`, Linux 6.3; its
//! specification is Documentation/netlink/specs/netdev.yaml).

use crate::interface::Interface;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;

/// What a driver offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It runs XDP programs, and they may send frames to sockets.
    pub native: bool,
    /// Devices of its kind can read and write a socket's frames themselves.
    pub zero_copy: bool,
    /// Frames may have a launch time.
    pub launch_time: bool,
}

// linux/netdev.h.
const XDP_BASIC: u64 = 1 << 0;
const XDP_REDIRECT: u64 = 1 << 1;
const XDP_ZERO_COPY: u64 = 1 << 3;
const XSK_TX_LAUNCH_TIME_FIFO: u64 = 1 << 2;
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
const DEV_XSK_FEATURES: u16 = 6;

// linux/genetlink.h, linux/netlink.h.
const ID_CONTROL: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
/// An attribute's type without its flags.
const TYPE_MASK: u16 = 0x3fff;
/// Bytes of a message's header and of the generic one behind it.
const HEADERS: usize = 16 + 4;
/// Room for an answer, bytes: a family's description takes some hundred.
const ANSWER: usize = 8192;

impl Features {
    /// Asks the kernel; `None` before Linux 6.3, which does not know.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(interface: &Interface) -> io::Result<Option<Features>> {
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(GENERIC))?;
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        let answer = match ask(&socket, ID_CONTROL, CONTROL_GET_FAMILY, (CONTROL_FAMILY_NAME, b"netdev\0")) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            answer => answer?,
        };
        let id = attribute(&answer, CONTROL_FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(*id.first_chunk()?)));
        let id = id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "netdev's family has no number"))?;
        let answer = ask(&socket, id, DEV_GET, (DEV_IFINDEX, &interface.index.to_ne_bytes()))?;
        let flags = |kind| {
            attribute(&answer, kind).and_then(|flags| Some(u64::from_ne_bytes(*flags.first_chunk()?))).unwrap_or(0)
        };
        let (xdp, xsk) = (flags(DEV_XDP_FEATURES), flags(DEV_XSK_FEATURES));
        Ok(Some(Features {
            native: xdp & (XDP_BASIC | XDP_REDIRECT) == XDP_BASIC | XDP_REDIRECT,
            zero_copy: xdp & XDP_ZERO_COPY != 0,
            launch_time: xsk & XSK_TX_LAUNCH_TIME_FIFO != 0,
        }))
    }
}

/// Sends a request with one attribute. Returns the attributes of the answer.
fn ask(socket: &OwnedFd, family: u16, command: u8, (kind, value): (u16, &[u8])) -> io::Result<Vec<u8>> {
    let attribute_len = 4 + value.len();
    let len = HEADERS + attribute_len.next_multiple_of(4);
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    // Sequence number and port.
    request.extend([0; 8]);
    // Version 1.
    request.extend([command, 1, 0, 0]);
    request.extend((attribute_len as u16).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(value);
    request.resize(len, 0);
    rustix::io::retry_on_intr(|| rustix::net::send(socket, &request, SendFlags::empty()))?;
    let mut answer = vec![0; ANSWER];
    let (_, len) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut answer[..], RecvFlags::TRUNC))?;
    attributes(answer.get(..len).unwrap_or(&answer))
}

/// The attributes of the first message.
fn attributes(answer: &[u8]) -> io::Result<Vec<u8>> {
    let cut_off = || io::Error::new(io::ErrorKind::InvalidData, "a netlink answer contradicts its length");
    let len = u32::from_ne_bytes(*answer.first_chunk().ok_or_else(cut_off)?) as usize;
    let message = answer.get(..len).ok_or_else(cut_off)?;
    if message.get(4..6).ok_or_else(cut_off)? == ERROR.to_ne_bytes() {
        let code = message.get(16..).and_then(|rest| rest.first_chunk()).ok_or_else(cut_off)?;
        return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(*code).saturating_neg()));
    }
    Ok(message.get(HEADERS..).ok_or_else(cut_off)?.to_vec())
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let value = attributes.get(4..usize::from(u16::from_ne_bytes([a, b])))?;
        if u16::from_ne_bytes([c, d]) & TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get((4 + value.len()).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_knows_what_loopback_can_do() {
        let lo = Interface::named("lo").expect("loopback");
        match Features::of(&lo).expect("asked") {
            Some(features) => assert_eq!(features, Features::default()),
            None => crate::skip::skipped("a driver's XDP features: the kernel is before Linux 6.3"),
        }
        let gone = Interface { index: i32::MAX as u32, ..lo };
        assert!(Features::of(&gone).is_err() || Features::of(&gone).is_ok_and(|features| features.is_none()));
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let bytes = [5, 0, 1, 0, 7, 0, 0, 0, 8, 0, 3, 0x40, 1, 2, 3, 4];
        if cfg!(target_endian = "little") {
            assert_eq!(attribute(&bytes, 1), Some(&[7][..]));
            assert_eq!(attribute(&bytes, 3), Some(&[1, 2, 3, 4][..]));
        }
        assert_eq!(attribute(&bytes, 4), None);
    }

    proptest! {
        #[test]
        fn any_answer_ends(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(4), Just(20), any::<u8>()], 0..200), kind: u16) {
            if let Ok(inside) = attributes(&bytes) {
                prop_assert!(attribute(&inside, kind).is_none_or(|value| value.len() <= inside.len()));
            }
            let _ = attribute(&bytes, kind);
        }
    }
}
