//! A port whose wire is memory: for tests, simulation, and measuring all but the wire.
//!
//! No locks, no system calls, no allocation once made, and no copies: a frame that is committed changes place with a free
//! one of the wire, as a NIC takes a buffer and gives another back. What was received stays in the ring until the next
//! `receive`, so it counts against the capacity until then.

use crate::frames::{FrameBox, TxRing, frames};
use crate::ring::{Consumer, Producer, ring};
use crate::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, RxBurst, RxFrame, TxBurst};

/// Two ports joined back to back: what `a` sends to `b`'s address `b` receives from `a`'s, and the reverse. Frames to any
/// other address are refused: there is no route. Up to `capacity` frames (rounded up to a power of two) wait each way.
pub fn pair(a: Endpoint, b: Endpoint, capacity: usize) -> (MemoryPort, MemoryPort) {
    let (a_to_b, b_from_a) = wire(capacity);
    let (b_to_a, a_from_b) = wire(capacity);
    let tx_ring = a_to_b.capacity();
    (MemoryPort::new(a, Some(b), tx_ring, a_to_b, a_from_b), MemoryPort::new(b, Some(a), tx_ring, b_to_a, b_from_a))
}

/// A port at `local`, and the other end of its wire, where every peer is. Up to `capacity` frames (rounded up to a power
/// of two) wait each way.
pub fn port_and_wire(local: Endpoint, capacity: usize) -> (MemoryPort, MemoryWire) {
    port_and_wire_of(local, capacity, capacity)
}

/// As [`port_and_wire`], where up to `tx_ring` frames are reserved and up to `capacity` wait on the wire each way.
pub fn port_and_wire_of(local: Endpoint, tx_ring: usize, capacity: usize) -> (MemoryPort, MemoryWire) {
    let (to_wire, from_port) = wire(capacity);
    let (to_port, from_wire) = wire(capacity);
    let wire = MemoryWire { to_port, from_port, lost: 0, oversized: 0 };
    (MemoryPort::new(local, None, tx_ring, to_wire, from_wire), wire)
}

/// One direction of a wire.
fn wire(capacity: usize) -> (Producer<FrameBox>, Consumer<FrameBox>) {
    let capacity = capacity.max(1).next_power_of_two();
    let mut frames = frames(capacity).into_iter();
    ring(capacity, || frames.next().expect("a ring has as many slots as was asked for, a power of two"))
}

/// A port whose wire is a pair of rings.
pub struct MemoryPort {
    local: Endpoint,
    /// The only address that can be reached; `None`: all can, through a [`MemoryWire`].
    peer: Option<Endpoint>,
    transmit: TxRing,
    /// Frames under way to a port carry their sender, to a wire their destination.
    outgoing: Producer<FrameBox>,
    incoming: Consumer<FrameBox>,
    /// Frames of `incoming` that the last `receive` handed out.
    lent: usize,
    counters: PortCounters,
}

impl MemoryPort {
    fn new(
        local: Endpoint,
        peer: Option<Endpoint>,
        tx_ring: usize,
        outgoing: Producer<FrameBox>,
        incoming: Consumer<FrameBox>,
    ) -> MemoryPort {
        let transmit = TxRing::new(tx_ring);
        MemoryPort { local, peer, transmit, outgoing, incoming, lent: 0, counters: PortCounters::default() }
    }

    /// This port's own address.
    pub fn local(&self) -> Endpoint {
        self.local
    }
}

impl Port for MemoryPort {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "memory", tx_ring: self.transmit.capacity(), max_payload: FRAME }
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        self.incoming.release(self.lent);
        self.lent = self.incoming.waiting().min(limit).min(BURST);
        self.counters.received += self.lent as u64;
        self.incoming.oldest(self.lent).for_each(|frame| frame.prefetch());
        self.incoming.oldest(self.lent).map(|frame| RxFrame { from: frame.peer, data: frame.payload() }).collect()
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.transmit.reserve(count, len)
    }

    fn commit(&mut self, count: usize) -> usize {
        let mut sent = 0;
        let mut burst = self.outgoing.burst();
        for frame in self.transmit.oldest(count) {
            if let Some(peer) = self.peer {
                if peer != frame.peer {
                    continue;
                }
                frame.peer = self.local;
            }
            sent += usize::from(burst.push_with(|slot| std::mem::swap(slot, frame)));
        }
        drop(burst);
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

/// The far end of a [`MemoryPort`]'s wire: all its peers. In a test, a simulation or a traffic generator.
pub struct MemoryWire {
    to_port: Producer<FrameBox>,
    from_port: Consumer<FrameBox>,
    lost: u64,
    oversized: u64,
}

impl MemoryWire {
    /// Sends `data` to the port; false, and counted as lost, when the ring is full or `data` longer than [`FRAME`].
    pub fn deliver(&mut self, from: Endpoint, data: &[u8]) -> bool {
        self.deliver_with(from, data.len(), |frame| frame.copy_from_slice(data))
    }

    /// As [`MemoryWire::deliver`], of `len` bytes, zero until `fill` writes them. `fill` is not called for a lost frame.
    pub fn deliver_with(&mut self, from: Endpoint, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        let fits = len <= FRAME;
        let delivered = fits
            && self.to_port.push_with(|slot| {
                let frame = slot.clear(len);
                *frame.to = from;
                fill(frame.data);
            });
        self.lost += u64::from(!delivered);
        self.oversized += u64::from(!fits);
        delivered
    }

    /// Takes the oldest frame that the port sent; false, and `read` not called, when there is none.
    pub fn take(&mut self, read: impl FnOnce(Endpoint, &[u8])) -> bool {
        self.from_port.pop_with(|frame| read(frame.peer, frame.payload())).is_some()
    }

    /// Frames that can be delivered now, at least.
    pub fn free(&mut self) -> usize {
        self.to_port.free()
    }

    /// Frames that the port sent and nobody has taken, at least.
    pub fn waiting(&mut self) -> usize {
        self.from_port.waiting()
    }

    /// Frames not delivered, for want of room or for their length.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Those of [`MemoryWire::lost`] that were longer than a frame.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    const LOCAL: Endpoint = Endpoint { ip: [1; 16], port: 1 };
    const PEER: Endpoint = Endpoint { ip: [2; 16], port: 2 };

    fn send(port: &mut MemoryPort, to: Endpoint, data: &[u8]) -> bool {
        for frame in port.reserve(1, data.len()) {
            *frame.to = to;
            frame.data.copy_from_slice(data);
        }
        port.commit(1) == 1
    }

    #[test]
    fn a_full_peer_refuses() {
        let (mut a, mut b) = pair(LOCAL, PEER, 4);
        for number in 0..4 {
            assert!(send(&mut a, PEER, &[number]));
        }
        assert!(!send(&mut a, PEER, &[4]));
        assert_eq!(a.counters(), PortCounters { sent: 4, refused: 1, ..PortCounters::default() });
        let received: Vec<u8> = b.receive(BURST).iter().map(|frame| frame.data[0]).collect();
        assert_eq!(received, [0, 1, 2, 3]);
        assert!(!send(&mut a, PEER, &[5]), "frames on loan must not be overwritten");
        assert!(b.receive(BURST).is_empty());
        assert!(send(&mut a, PEER, &[6]));
        assert_eq!(b.receive(BURST).iter().map(|frame| frame.data[0]).collect::<Vec<_>>(), [6]);
        assert_eq!(b.counters().received, 5);
    }

    #[test]
    fn a_pair_has_one_route() {
        let (mut a, mut b) = pair(LOCAL, PEER, 4);
        assert!(!send(&mut a, LOCAL, b"astray"));
        assert!(b.receive(BURST).is_empty());
        assert_eq!(a.counters().refused, 1);
    }

    #[test]
    fn the_wire_has_every_peer() {
        let (mut port, mut wire) = port_and_wire(LOCAL, 4);
        assert_eq!(port.local(), LOCAL);
        assert!(wire.deliver(PEER, b"in"));
        let received: Vec<_> = port.receive(BURST).iter().map(|frame| (frame.from, frame.data.to_vec())).collect();
        assert_eq!(received, [(PEER, b"in".to_vec())]);
        assert!(send(&mut port, PEER, b"out"));
        assert_eq!(wire.waiting(), 1);
        assert!(wire.take(|to, data| assert_eq!((to, data), (PEER, &b"out"[..]))));
        assert!(!wire.take(|_, _| panic!("called on an empty wire")));
    }

    #[test]
    fn the_wire_counts_what_it_loses() {
        let (mut port, mut wire) = port_and_wire(LOCAL, 2);
        assert!(!wire.deliver(PEER, &[0; FRAME + 1]));
        assert_eq!((wire.lost(), wire.oversized()), (1, 1));
        assert!(wire.deliver(PEER, &[0xff; FRAME]));
        assert!(wire.deliver(PEER, b""));
        assert_eq!(wire.free(), 0);
        assert!(!wire.deliver_with(PEER, 1, |_| panic!("called for a lost frame")));
        assert_eq!((wire.lost(), wire.oversized()), (2, 1));
        let lengths: Vec<usize> = port.receive(BURST).iter().map(|frame| frame.data.len()).collect();
        assert_eq!(lengths, [FRAME, 0]);
        assert!(port.receive(0).is_empty());
        assert!(wire.deliver_with(PEER, 8, |frame| assert_eq!(frame, [0; 8], "bytes of an old frame")));
    }
}
