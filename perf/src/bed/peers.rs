//! Peers as the kernel's sockets, one each: whatever the port under test is, it sees ordinary hosts.

use super::wire::Wire;
use drover_nic::udp::UdpPort;
use drover_nic::{BURST, Endpoint, Port};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Peers of the port at one address.
pub struct Peers {
    sockets: Vec<UdpPort>,
    /// By their UDP ports.
    by_port: HashMap<u16, u32>,
    /// Datagrams of each that wait for a push.
    waiting: Vec<usize>,
    /// Peers of whom some wait.
    some_wait: Vec<u32>,
    /// Whom to look at next.
    next: usize,
    to: Endpoint,
    refused: u64,
}

impl Peers {
    /// Opens `count` sockets at `ip`, of the calling thread's network, for the port at `to`.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(ip: IpAddr, count: usize, to: SocketAddr) -> io::Result<Peers> {
        let open = |_| UdpPort::bind((ip, 0).into(), BURST);
        let sockets = (0..count).map(open).collect::<io::Result<Vec<_>>>()?;
        let by_port = sockets.iter().zip(0..).map(|(socket, peer)| (socket.local_addr().port(), peer)).collect();
        let waiting = vec![0; count];
        Ok(Peers {
            sockets,
            by_port,
            waiting,
            some_wait: Vec::with_capacity(count),
            next: 0,
            to: to.into(),
            refused: 0,
        })
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.sockets.len() as u32
    }

    fn push_of(&mut self, peer: u32) {
        let count = std::mem::take(&mut self.waiting[peer as usize]);
        let sent = self.sockets[peer as usize].commit(count);
        self.refused += (count - sent) as u64;
    }
}

impl Wire for Peers {
    const IN_ORDER: bool = false;

    fn endpoint(&self, peer: u32) -> Endpoint {
        self.sockets[peer as usize].local_addr().into()
    }

    fn peer(&self, at: Endpoint) -> Option<u32> {
        self.by_port.get(&at.port).copied()
    }

    fn offer(&mut self, peer: u32, data: &[u8]) -> bool {
        let mut burst = self.sockets[peer as usize].reserve(1, data.len());
        let Some(frame) = burst.pop() else {
            self.refused += 1;
            return false;
        };
        *frame.to = self.to;
        frame.data.copy_from_slice(data);
        drop(burst);
        let waiting = &mut self.waiting[peer as usize];
        *waiting += 1;
        if *waiting == 1 {
            self.some_wait.push(peer);
        }
        if *waiting == BURST {
            self.some_wait.retain(|other| *other != peer);
            self.push_of(peer);
        }
        true
    }

    fn push(&mut self) {
        let mut some_wait = std::mem::take(&mut self.some_wait);
        some_wait.drain(..).for_each(|peer| self.push_of(peer));
        self.some_wait = some_wait;
    }

    fn collect(&mut self, limit: usize, mut read: impl FnMut(u32, &[u8])) -> usize {
        let (count, mut taken) = (self.sockets.len(), 0);
        for _ in 0..count {
            if taken >= limit {
                break;
            }
            let peer = self.next;
            self.next = (self.next + 1) % count;
            for frame in self.sockets[peer].receive(limit - taken) {
                read(peer as u32, frame.data);
                taken += 1;
            }
        }
        taken
    }

    fn refused(&self) -> u64 {
        self.refused
    }
}
