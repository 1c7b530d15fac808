//! Requests to the kernel's routing socket (rtnetlink(7)) and its answers.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Room for one answer: the kernel writes at most 32 KiB into one (NLMSG_GOODSIZE and the largest dump buffer).
const ANSWER: usize = 64 << 10;
/// Times that all are asked for, when they change while they are told.
const DUMPS: usize = 8;
/// Bytes before a message's body (netlink(7)).
const HEADER: usize = 16;

/// A routing socket of the network namespace that it was opened in, wherever it is used.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Netlink {
    /// Opens a socket that is told of changes in `groups` (RTMGRP_*, rtnetlink(7)); 0: only answers.
    pub(crate) fn open(groups: u32) -> io::Result<Netlink> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        // Connected to the kernel: no other process's messages are taken.
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink { socket, sequence: 0, buffer: vec![0; ANSWER].into() })
    }

    /// Asks for a change, or for one thing: what the kernel answers before it says that it is done. `flags` are
    /// NLM_F_CREATE and its like.
    pub(crate) fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(request, flags | NLM_F_ACK)
    }

    /// Asks for all there are, again when they changed meanwhile.
    pub(crate) fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = self.exchange(request.clone(), NLM_F_DUMP);
        for _ in 1..DUMPS {
            match answers {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    answers = self.exchange(request.clone(), NLM_F_DUMP);
                }
                answers => return answers,
            }
        }
        answers
    }

    fn exchange(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let sequence = self.send(request, flags)?;
        let mut answers = Vec::new();
        let mut changed = false;
        loop {
            let len = self.receive(RecvFlags::empty())?;
            for message in messages(&self.buffer[..len]) {
                let message = message?;
                if message.header.sequence_number != sequence {
                    continue;
                }
                changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) if changed => return Err(io::ErrorKind::Interrupted.into()),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &bytes, SendFlags::empty()))?;
        Ok(self.sequence)
    }

    fn receive(&mut self, flags: RecvFlags) -> io::Result<usize> {
        let (_, len) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, &mut self.buffer[..], flags | RecvFlags::TRUNC)
        })?;
        if len > self.buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is longer than its own limit"));
        }
        Ok(len)
    }

    /// Takes what has been told, without waiting: nothing is `WouldBlock`; `ENOBUFS` says that something was lost.
    /// Messages of kinds that we do not know are left out.
    pub(crate) fn told(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let len = self.receive(RecvFlags::DONTWAIT)?;
        let known = messages(&self.buffer[..len]).filter_map(|message| match message.ok()?.payload {
            NetlinkPayload::InnerMessage(told) => Some(told),
            _ => None,
        });
        Ok(known.collect())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages of one datagram.
fn messages<M: NetlinkDeserializable>(bytes: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<M>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        if len < HEADER || len > rest.len() {
            rest = &[];
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink message contradicts its length")));
        }
        let (message, behind) = rest.split_at(len);
        // Messages begin at multiples of four.
        rest = behind.get(len.next_multiple_of(4) - len..).unwrap_or(&[]);
        Some(NetlinkMessage::deserialize(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    })
}

/// `error` with what was tried and, where we know it, what mends it. No such interface is `NotFound`.
pub(crate) fn named(error: io::Error, what: impl std::fmt::Display) -> io::Error {
    let (kind, mend) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (error.kind(), "; run it as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        Some(libc::EOPNOTSUPP) => {
            (error.kind(), "; the kernel has no interfaces of this kind: load its module or build it in")
        }
        Some(libc::ENODEV) => (io::ErrorKind::NotFound, "; `ip link` lists the interfaces"),
        _ => (error.kind(), ""),
    };
    io::Error::new(kind, format!("{what}: {error}{mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_answers_refuses_and_dumps() {
        let mut netlink = Netlink::open(0).expect("a routing socket needs no privilege");
        let links = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).expect("links");
        assert!(links.iter().any(|link| matches!(link, RouteNetlinkMessage::NewLink(link) if link.header.index == 1)));
        let mut none = LinkMessage::default();
        none.header.index = i32::MAX as u32;
        let refused = netlink.ask(RouteNetlinkMessage::GetLink(none), 0).expect_err("no such interface");
        assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
        assert!(named(refused, "x").to_string().contains("ip link"));
        let mut first = LinkMessage::default();
        first.header.index = 1;
        assert_eq!(netlink.ask(RouteNetlinkMessage::GetLink(first), 0).expect("loopback").len(), 1);
        assert_eq!(netlink.told().expect_err("nothing was asked for").kind(), io::ErrorKind::WouldBlock);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(16), any::<u8>()], 0..200)) {
            let read = messages::<RouteNetlinkMessage>(&bytes).count();
            prop_assert!(read <= bytes.len() / 4 + 1);
        }
    }
}
