//! A port on one unconnected, non-blocking UDP socket of Linux: needs no privilege and no NIC of its own.
//!
//! IP and UDP fields are constant on a link: see [`UdpPort::bind`]. Nothing that happens on the network stops the port.
//! An unconnected socket that does not ask for them (IP_RECVERR stays off) is told of no ICMP errors (udp(7)); should a
//! system call report a pending error all the same, that costs the frame at hand (counted as refused) or one empty
//! `receive`, and clears the error.

mod messages;
mod name;
mod socket;

use crate::frames::TxRing;
use crate::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, RxBurst, RxFrame, TxBurst};
use messages::Messages;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::{fmt, io};

pub use socket::{HOP_LIMIT, RECEIVE_BUFFER, SEND_BUFFER};

/// The largest transmit ring, frames (100 MiB).
pub const MAX_TX_RING: usize = 1 << 16;

/// A port on a UDP socket.
pub struct UdpPort {
    socket: OwnedFd,
    local: SocketAddr,
    inbox: Messages,
    /// Where the next burst of datagrams goes.
    buffers: Box<[[u8; FRAME]; BURST]>,
    outbox: Messages,
    transmit: TxRing,
    counters: PortCounters,
}

impl UdpPort {
    /// Opens a socket on `listen` (port 0: any) and a transmit ring of `tx_ring` frames.
    ///
    /// A socket on an IPv6 wildcard address also takes IPv4. What leaves has TTL or hop limit [`HOP_LIMIT`], traffic
    /// class 0, flow label 0, and on IPv4 don't-fragment and identification 0. It is never fragmented, and no ICMP
    /// message changes its size: a frame larger than the interface's MTU is refused, one larger than the path's is lost.
    ///
    /// # Errors
    /// `InvalidInput` when `tx_ring` is 0 or above [`MAX_TX_RING`]; else what the system says about the address or the
    /// socket's options.
    pub fn bind(listen: SocketAddr, tx_ring: usize) -> io::Result<UdpPort> {
        if !(1..=MAX_TX_RING).contains(&tx_ring) {
            let message = format!("a transmit ring of {tx_ring} frames: allowed are 1 to {MAX_TX_RING}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (socket, local) = socket::open(listen)?;
        Ok(UdpPort {
            socket,
            local,
            inbox: Messages::new(),
            buffers: Box::new([[0; FRAME]; BURST]),
            outbox: Messages::new(),
            transmit: TxRing::new(tx_ring),
            counters: PortCounters::default(),
        })
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Port for UdpPort {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "udp", tx_ring: self.transmit.capacity(), max_payload: FRAME }
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let buffers = &mut self.buffers[..limit.min(BURST)];
        let received = self.inbox.receive(self.socket.as_fd(), buffers);
        let mut burst = RxBurst::new();
        for (buffer, datagram) in buffers.iter().zip(received) {
            match buffer.get(..datagram.len) {
                Some(data) if !datagram.truncated => burst.push(RxFrame { from: datagram.from, data }),
                _ => self.counters.oversized += 1,
            }
        }
        self.counters.received += burst.len() as u64;
        burst
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.transmit.reserve(count, len)
    }

    fn commit(&mut self, count: usize) -> usize {
        let frames = self.transmit.oldest(count).map(|frame| (frame.peer, frame.payload()));
        let sent = self.outbox.send(self.socket.as_fd(), self.local.is_ipv4(), frames);
        let committed = self.transmit.release(count);
        self.counters.sent += sent as u64;
        self.counters.refused += (committed - sent) as u64;
        sent
    }

    fn discard(&mut self, count: usize) {
        self.counters.discarded += self.transmit.release(count) as u64;
    }

    fn reserved(&self) -> usize {
        self.transmit.reserved()
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}

impl fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPort").field("local", &self.local).field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A received datagram's length and sender.
struct Datagram {
    /// Bytes in the buffer.
    len: usize,
    /// It was longer than the buffer.
    truncated: bool,
    from: Endpoint,
}

#[cfg(test)]
#[path = "udp/tests.rs"]
mod tests;
