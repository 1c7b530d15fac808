//! The tester's end of a wire.

use crate::hop::{endpoint, link_of};
use drover_nic::Endpoint;
use drover_nic::memory::MemoryWire;

/// All peers of a port under test.
pub trait Wire: Send {
    /// What the port sends is collected in the order in which it was sent, and is there as soon as it was sent.
    const IN_ORDER: bool;

    /// Where a peer is.
    fn endpoint(&self, peer: u32) -> Endpoint;

    /// Who is there.
    fn peer(&self, at: Endpoint) -> Option<u32>;

    /// Sends a datagram to the port, from `peer`; it may wait for [`Wire::push`]. False, and counted, when it was refused.
    fn offer(&mut self, peer: u32, data: &[u8]) -> bool;

    /// Sends what waits.
    fn push(&mut self) {}

    /// Takes up to `limit` datagrams that the port sent; how many.
    fn collect(&mut self, limit: usize, read: impl FnMut(u32, &[u8])) -> usize;

    /// Datagrams that were refused.
    fn refused(&self) -> u64;
}

impl Wire for MemoryWire {
    const IN_ORDER: bool = true;

    fn endpoint(&self, peer: u32) -> Endpoint {
        endpoint(peer)
    }

    fn peer(&self, at: Endpoint) -> Option<u32> {
        Some(link_of(at))
    }

    fn offer(&mut self, peer: u32, data: &[u8]) -> bool {
        self.deliver(endpoint(peer), data)
    }

    fn collect(&mut self, limit: usize, mut read: impl FnMut(u32, &[u8])) -> usize {
        (0..limit).take_while(|_| self.take(|to, data| read(link_of(to), data))).count()
    }

    fn refused(&self) -> u64 {
        self.lost()
    }
}
