//! The contract between a worker and the wire.

use crate::Endpoint;
use arrayvec::ArrayVec;

/// The most frames that one call moves.
pub const BURST: usize = 64;
/// Bytes of a frame's buffer: the largest cell's record and room for a handshake datagram (IPv6's minimum MTU).
pub const FRAME: usize = 1536;

/// A worker's way to the wire. Transmit frames are a FIFO: reserved at the tail, committed or discarded at the head.
///
/// A port never blocks, never allocates after it is made, and sends exactly the length that was reserved. A reserved frame
/// holds bytes of an older one: the caller overwrites the whole of it, or discards it.
pub trait Port: Send {
    /// What this port can do.
    fn capabilities(&self) -> Capabilities;
    /// Takes up to `limit` (at most [`BURST`]) frames that have arrived.
    fn receive(&mut self, limit: usize) -> RxBurst<'_>;
    /// Reserves up to `count` (at most [`BURST`]) frames of `len` payload bytes each, fewer when the ring is full, none
    /// when `len` is above [`Capabilities::max_payload`]. They are addressed to [`Endpoint::NONE`], and hold anything.
    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_>;
    /// Gives the `count` oldest reserved frames to the wire. A frame that the wire refuses is counted, never retried.
    /// Returns how many the wire took. `count` beyond what is reserved is a caller's bug: it is clamped.
    fn commit(&mut self, count: usize) -> usize;
    /// Drops the `count` oldest reserved frames. `count` is clamped likewise.
    fn discard(&mut self, count: usize);
    /// Frames reserved, neither committed nor discarded.
    fn reserved(&self) -> usize;
    /// What this port has done.
    fn counters(&self) -> PortCounters;
    /// What it has done beyond that, by name, always in the same order. May ask the system: not for every turn.
    fn details(&self) -> PortDetails {
        PortDetails::new()
    }
}

/// Names and values of what a port counts for itself: reasons why a frame was none of its own, and such.
pub type PortDetails = ArrayVec<(&'static str, u64), DETAILS>;

/// The most that a port counts for itself.
pub const DETAILS: usize = 32;

/// A received datagram. Valid until the port's next `receive`.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// Who sent it.
    pub from: Endpoint,
    /// The UDP payload.
    pub data: &'a [u8],
}

/// Received frames.
pub type RxBurst<'a> = ArrayVec<RxFrame<'a>, BURST>;

/// A reserved transmit frame: to be filled before its `commit`.
#[derive(Debug)]
pub struct TxFrame<'a> {
    /// Where it goes.
    pub to: &'a mut Endpoint,
    /// The UDP payload, exactly as long as was reserved.
    pub data: &'a mut [u8],
}

/// Reserved transmit frames.
pub type TxBurst<'a> = ArrayVec<TxFrame<'a>, BURST>;

/// What a port can do.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The back end's name: `memory`, `udp`, …
    pub name: &'static str,
    /// Frames that can be reserved and not yet committed.
    pub tx_ring: usize,
    /// Largest UDP payload, bytes.
    pub max_payload: usize,
}

/// What a port has done, in frames. `reserved = sent + refused + discarded + still reserved`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames handed to the caller.
    pub received: u64,
    /// Frames given to the wire.
    pub sent: u64,
    /// Committed frames that the wire refused (full socket buffer, no route): lost, and counted here.
    pub refused: u64,
    /// Frames reserved and discarded by the caller.
    pub discarded: u64,
    /// Received datagrams larger than a frame: dropped by the port.
    pub oversized: u64,
}
