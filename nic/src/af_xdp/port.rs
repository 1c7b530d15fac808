//! A worker's port: one socket on one queue.

use super::attachment::Attachment;
use super::hand_over::{HandOver, Handed};
use super::launch::LaunchTime;
use super::socket::Socket;
use super::transmit::Transmit;
use super::umem::{Chunk, Pages, Umem};
use crate::neighbour::Table;
use crate::neighbour::netlink::Resolver;
use crate::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, PortDetails, RxBurst, RxFrame, TxBurst};
use arrayvec::ArrayVec;
use drover_wire::frame::{Astray, Checksum, Datagram, Local, parse};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A port on an AF_XDP socket. [`open`](super::open) makes a group of them.
pub struct AfXdpPort {
    // Closed first: from then on the queue's frames are the kernel's.
    pub(super) socket: Socket,
    pub(super) umem: Umem,
    pub(super) receive: Receive,
    pub(super) transmit: Transmit,
    pub(super) neighbours: Table,
    pub(super) bound: Bound,
    pub(super) addr: SocketAddr,
    pub(super) _shared: Arc<Shared>,
}

/// What the ports of a group have together. It goes with the last of them.
pub(super) struct Shared {
    pub(super) attachment: Attachment,
    /// Feeds the ports' tables of next hops.
    pub(super) _resolver: Option<Resolver>,
}

/// What a port was really bound as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The interface.
    pub interface: String,
    /// Its queue.
    pub queue: u32,
    /// The interface's driver runs the XDP program (native mode), not the kernel's generic receive path.
    pub native: bool,
    /// What the driver said to that, where it was asked and would not.
    pub fallback: Option<String>,
    /// The device reads and writes frames itself.
    pub zero_copy: bool,
    /// The pages of the port's frames.
    pub pages: Pages,
    /// Frames that one system call sends, where the kernel lets us choose.
    pub tx_budget: Option<u32>,
    /// Whether frames can have a launch time.
    pub launch_time: LaunchTime,
}

/// `eth0 queue 0: driver mode, copy, 4 huge pages, up to 256 frames a call, no launch time`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.native { "driver" } else { "generic" };
        let copy = if self.zero_copy { "zero-copy" } else { "copy" };
        write!(f, "{} queue {}: {mode} mode, {copy}, {}", self.interface, self.queue, self.pages)?;
        if let Some(frames) = self.tx_budget {
            write!(f, ", up to {frames} frames a call")?;
        }
        write!(f, ", {}", self.launch_time)?;
        match &self.fallback {
            Some(why) => write!(f, " (the driver said: {why})"),
            None => Ok(()),
        }
    }
}

/// The receiving half.
pub(super) struct Receive {
    local: Local,
    port: u16,
    checksum: Checksum,
    hand_over: HandOver,
    /// Frames that the last receive took. They go back to the kernel with the next one.
    taken: ArrayVec<Taken, BURST>,
    counters: ReceiveCounters,
}

/// A received frame.
struct Taken {
    chunk: Chunk,
    /// Where it lies in the chunk.
    begin: u16,
    len: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct ReceiveCounters {
    received: u64,
    oversized: u64,
    astray: [u64; Astray::ALL.len()],
    foreign_port: u64,
    handed_over: u64,
    taken_over: u64,
    hand_over_full: u64,
    wakeups: u64,
    /// Descriptors that lead nowhere.
    invalid: u64,
}

impl Receive {
    pub(super) fn new(local: Local, port: u16, checksum: Checksum, hand_over: HandOver) -> Receive {
        let counters = ReceiveCounters::default();
        Receive { local, port, checksum, hand_over, taken: ArrayVec::new(), counters }
    }

    /// Gives the kernel chunks to receive into.
    pub(super) fn fill(umem: &Umem, socket: &mut Socket, chunks: impl IntoIterator<Item = Chunk>) {
        for chunk in chunks {
            // The ring has an entry for each chunk: there is room.
            let pushed = socket.fill.push(umem.give(chunk, 0));
            debug_assert!(pushed);
        }
        socket.fill.publish();
    }

    /// Ends the loan of what the last receive gave.
    #[inline]
    fn give_back(&mut self, umem: &Umem, socket: &mut Socket) {
        if !self.taken.is_empty() {
            Receive::fill(umem, socket, self.taken.drain(..).map(|taken| taken.chunk));
        }
        self.hand_over.give_back();
        if socket.fill.needs_wakeup() {
            self.counters.wakeups += 1;
            socket.wake_receive();
        }
    }

    /// Takes up to `limit` frames out of the ring.
    #[inline]
    fn take(&mut self, umem: &Umem, socket: &mut Socket, limit: usize) {
        let Receive { taken, counters, .. } = self;
        socket.receive.take(limit, |desc| match umem.take(desc.addr) {
            Some((chunk, begin)) if begin + desc.len as usize <= umem.chunk_len() => {
                umem.prefetch(&chunk, begin);
                taken.push(Taken { chunk, begin: begin as u16, len: desc.len as u16 });
            }
            _ => counters.invalid += 1,
        });
    }

    /// What of the frames taken is for this worker; the others' goes to them, and the rest is counted.
    #[inline]
    fn sort<'a>(&'a mut self, umem: &'a Umem, limit: usize) -> RxBurst<'a> {
        let Receive { local, port, checksum, hand_over, taken, counters } = self;
        let mut burst = RxBurst::new();
        for Taken { chunk, begin, len } in taken.iter() {
            let (begin, len) = (usize::from(*begin), usize::from(*len));
            let frame = &umem.bytes(chunk)[begin..begin + len];
            match parse(frame, local, *checksum) {
                Err(astray) => counters.astray[astray as usize] += 1,
                Ok(Datagram { payload, .. }) if payload.len() > FRAME => counters.oversized += 1,
                Ok(Datagram { from_ip, from_port, to_port, payload }) => {
                    let from = Endpoint { ip: from_ip, port: from_port };
                    if to_port == *port {
                        burst.push(RxFrame { from, data: payload });
                        continue;
                    }
                    match hand_over.send(to_port, from, payload) {
                        Handed::Over => counters.handed_over += 1,
                        Handed::Full => counters.hand_over_full += 1,
                        Handed::ToNobody => counters.foreign_port += 1,
                    }
                }
            }
        }
        counters.taken_over += hand_over.lend(&mut burst, limit) as u64;
        counters.received += burst.len() as u64;
        burst
    }
}

impl AfXdpPort {
    /// The port's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was really bound as.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// As [`Port::commit`]; frame n of these, from 0, leaves the device at `launch(n)`, ns of the device's clock, where
    /// [`Bound::launch_time`] is on, and at once where it is not or for `None`.
    pub fn commit_at(&mut self, count: usize, launch: impl FnMut(usize) -> Option<u64>) -> usize {
        self.transmit.commit(&self.umem, &mut self.socket, &mut self.neighbours, count, launch)
    }

    /// Whether frames can leave, as far as is known: `false` while the interface is down, without a carrier, or has another
    /// address than when the port was opened. Known where next hops are resolved.
    pub fn link_up(&self) -> bool {
        self.neighbours.link_up()
    }

    /// What it has done beyond [`Port::counters`], in frames where nothing else is said: reasons why a received frame was
    /// none of its own; frames handed over to and by other workers of the group; reasons to refuse a frame (`neighbours_full`
    /// and `link_down` are among `no_neighbour`); system calls that woke the kernel; and what the kernel counted at the
    /// socket. Asks the system: not for the hot path.
    pub fn details(&self) -> PortDetails {
        let received = &self.receive.counters;
        let sent = &self.transmit.counters;
        let neighbours = self.neighbours.counters();
        let mut details = PortDetails::new();
        details.extend(Astray::ALL.iter().map(|astray| (astray.name(), received.astray[*astray as usize])));
        details.extend([
            ("foreign_port", received.foreign_port),
            ("handed_over", received.handed_over),
            ("taken_over", received.taken_over),
            ("hand_over_full", received.hand_over_full),
            ("unroutable", sent.unroutable),
            ("no_neighbour", sent.no_neighbour),
            ("neighbours_full", neighbours.full),
            ("link_down", neighbours.link_down),
            ("wire_full", sent.wire_full),
            ("device_dropped", sent.device_dropped),
            ("device_dropped_late", sent.device_dropped_late),
            ("receive_wakeups", received.wakeups),
            ("transmit_wakeups", sent.wakeups),
        ]);
        if let Ok(kernel) = self.socket.statistics() {
            details.extend([
                ("kernel_dropped", kernel.rx_dropped),
                ("kernel_ring_full", kernel.rx_ring_full.unwrap_or(0)),
                ("kernel_fill_empty", kernel.rx_fill_ring_empty_descs.unwrap_or(0)),
                ("kernel_invalid", kernel.rx_invalid_descs + kernel.tx_invalid_descs + received.invalid),
            ]);
        }
        details
    }
}

impl Port for AfXdpPort {
    fn details(&self) -> PortDetails {
        AfXdpPort::details(self)
    }

    fn capabilities(&self) -> Capabilities {
        let Self { transmit, .. } = self;
        Capabilities { name: "af_xdp", tx_ring: transmit.capacity(), max_payload: transmit.max_payload() }
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let limit = limit.min(BURST);
        self.neighbours.poll();
        self.receive.give_back(&self.umem, &mut self.socket);
        self.transmit.retry(&self.umem, &mut self.socket);
        self.receive.take(&self.umem, &mut self.socket, limit);
        self.receive.sort(&self.umem, limit)
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.transmit.reserve(&self.umem, count, len)
    }

    fn commit(&mut self, count: usize) -> usize {
        self.commit_at(count, |_| None)
    }

    fn discard(&mut self, count: usize) {
        self.transmit.discard(count);
    }

    fn reserved(&self) -> usize {
        self.transmit.reserved()
    }

    fn counters(&self) -> PortCounters {
        let (received, sent) = (&self.receive.counters, &self.transmit.counters);
        PortCounters {
            received: received.received,
            sent: sent.sent,
            refused: sent.refused,
            discarded: sent.discarded,
            oversized: received.oversized,
        }
    }
}

impl fmt::Debug for AfXdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfXdpPort").field("addr", &self.addr).field("bound", &self.bound).finish_non_exhaustive()
    }
}
