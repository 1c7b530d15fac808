//! Whole frames, sent and captured past all ports.

use crate::cable::Host;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A packet socket on a host's end of the cable (packet(7)).
pub struct Raw {
    socket: std::fs::File,
    interface: libc::sockaddr_ll,
}

impl Raw {
    /// Also captures what arrives at the end, unless a port takes it.
    pub fn new(host: &Host) -> Raw {
        let index = host.network.interface(host.interface).expect("there").index;
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointer.
        let fd = host.network.run(|| unsafe { libc::socket(libc::AF_PACKET, kind, 0) }).expect("entered");
        assert!(fd >= 0, "a packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just opened and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a C structure of integers: all zero is a valid value.
        let mut interface: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        interface.sll_family = libc::AF_PACKET as u16;
        interface.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        interface.sll_ifindex = index as i32;
        let (at, len) = ((&raw const interface).cast(), size_of_val(&interface) as libc::socklen_t);
        // SAFETY: the address is as long as stated, and is only read.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), at, len) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Raw { socket: socket.into(), interface }
    }

    pub fn send(&self, frame: &[u8]) {
        let (to, len) = ((&raw const self.interface).cast(), size_of_val(&self.interface) as libc::socklen_t);
        // SAFETY: frame and address are as long as stated, and are only read.
        let sent = unsafe { libc::sendto(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, to, len) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }

    /// The next frame that is there.
    pub fn captured(&mut self) -> Option<Vec<u8>> {
        let mut frame = [0; 4096];
        match self.socket.read(&mut frame) {
            Ok(len) => Some(frame[..len].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}
