//! The transmit FIFO over a socket's chunks, and what is under way in the kernel.

use super::launch::{LaunchTime, METADATA};
use super::socket::{Socket, Woken};
use super::umem::{Chunk, Umem};
use crate::neighbour::Table;
use crate::{BURST, Endpoint, TxBurst, TxFrame};
use drover_wire::frame::{Checksum, Family, Mac, Template};
use rustix::net::xdp::{XdpDesc, XdpDescOptions};
use std::collections::VecDeque;

/// Where a frame begins in its chunk: on a cache line of its own, behind room for transmit metadata.
const FRAME_AT: usize = 64;
const _: () = assert!(METADATA as usize <= FRAME_AT);

/// A reserved frame.
struct Slot {
    to: Endpoint,
    len: u16,
    chunk: Chunk,
}

/// Frames of one socket: free, reserved, in the kernel. Every chunk is in one of the three.
pub(super) struct Transmit {
    template: Template,
    family: Family,
    launch: LaunchTime,
    /// Last freed, first used.
    free: Vec<Chunk>,
    /// Oldest first. Never grows.
    reserved: VecDeque<Slot>,
    /// Frames that may be reserved.
    capacity: usize,
    /// Largest payload, bytes.
    max_payload: usize,
    /// Frames that the kernel has.
    in_flight: u32,
    /// How many it may have.
    wire: u32,
    pub(super) counters: TransmitCounters,
}

/// What became of committed frames, and the calls that it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TransmitCounters {
    pub(super) sent: u64,
    /// All that the wire refused, for the reasons below.
    pub(super) refused: u64,
    pub(super) discarded: u64,
    /// To an address that no frame can be sent to.
    pub(super) unroutable: u64,
    /// No next hop known yet.
    pub(super) no_neighbour: u64,
    /// The kernel had as many as it may have, or did not take earlier ones.
    pub(super) wire_full: u64,
    /// The device dropped it.
    pub(super) device_dropped: u64,
    /// As above, after the commit that counted it as sent.
    pub(super) device_dropped_late: u64,
    pub(super) wakeups: u64,
}

impl Transmit {
    /// A FIFO of `chunks`, of which `wire` may be in the kernel and the others reserved.
    pub(super) fn new(
        template: Template,
        family: Family,
        launch: LaunchTime,
        chunks: Vec<Chunk>,
        wire: u32,
        max_payload: usize,
    ) -> Transmit {
        let capacity = chunks.len() - wire as usize;
        Transmit {
            template,
            family,
            launch,
            free: chunks,
            reserved: VecDeque::with_capacity(capacity),
            capacity,
            max_payload,
            in_flight: 0,
            wire,
            counters: TransmitCounters::default(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn max_payload(&self) -> usize {
        self.max_payload
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved.len()
    }

    /// As [`crate::Port::reserve`].
    #[inline]
    pub(super) fn reserve<'a>(&'a mut self, umem: &'a Umem, count: usize, len: usize) -> TxBurst<'a> {
        if len > self.max_payload {
            return TxBurst::new();
        }
        let first = self.reserved.len();
        let count = count.min(BURST).min(self.capacity - first).min(self.free.len());
        let chunks = self.free.drain(self.free.len() - count..).rev();
        self.reserved.extend(chunks.map(|chunk| Slot { to: Endpoint::NONE, len: len as u16, chunk }));
        for chunk in self.free.iter().rev().take(BURST) {
            umem.prefetch(chunk, FRAME_AT);
        }
        let payload = FRAME_AT + self.template.headers_len();
        let frames = self.reserved.range_mut(first..).map(|slot| {
            let data = &mut umem.bytes_mut(&mut slot.chunk)[payload..payload + len];
            if cfg!(debug_assertions) {
                // An older frame's bytes are no record.
                data.fill(0xa5);
            }
            TxFrame { to: &mut slot.to, data }
        });
        frames.collect()
    }

    /// As [`crate::Port::discard`].
    pub(super) fn discard(&mut self, count: usize) {
        let count = count.min(self.reserved.len());
        self.free.extend(self.reserved.drain(..count).map(|slot| slot.chunk));
        self.counters.discarded += count as u64;
    }

    /// As [`crate::Port::commit`]. `launch` says for each frame when it is to leave, if not at once.
    #[inline]
    pub(super) fn commit(
        &mut self,
        umem: &Umem,
        socket: &mut Socket,
        neighbours: &mut Table,
        count: usize,
        mut launch: impl FnMut(usize) -> Option<u64>,
    ) -> usize {
        self.reap(umem, socket);
        let count = count.min(self.reserved.len());
        // What is behind frames that did not go would only leave later still, and all at once.
        let clear = socket.zero_copy() || self.settle(socket) == 0;
        let mut posted = 0;
        for index in 0..count {
            let Some(slot) = self.reserved.pop_front() else { break };
            posted += usize::from(self.post(umem, socket, neighbours, slot, clear, launch(index)));
        }
        if posted == 0 {
            self.counters.refused += count as u64;
            return 0;
        }
        socket.transmit.publish();
        let dropped = (self.wake(socket) as usize).min(posted);
        let sent = posted - dropped;
        self.counters.device_dropped += dropped as u64;
        self.counters.sent += sent as u64;
        self.counters.refused += (count - sent) as u64;
        sent
    }

    /// Has the kernel go on with what earlier commits gave it. To be called now and then.
    #[inline]
    pub(super) fn retry(&mut self, umem: &Umem, socket: &mut Socket) {
        if self.in_flight == 0 {
            return;
        }
        if !socket.zero_copy() {
            self.settle(socket);
            return;
        }
        // A driver that sleeps may have frames to send, or to say that it has sent them.
        self.reap(umem, socket);
        if self.in_flight > 0 {
            self.wake(socket);
        }
    }

    /// Wakes the kernel for what waits in the ring, if anything. Returns how many frames wait still.
    #[inline]
    fn settle(&mut self, socket: &mut Socket) -> u32 {
        if socket.transmit.waiting() == 0 {
            return 0;
        }
        self.counters.device_dropped_late += u64::from(self.wake(socket));
        socket.transmit.waiting()
    }

    /// Puts a frame into the ring, or frees it: false.
    #[inline]
    fn post(
        &mut self,
        umem: &Umem,
        socket: &mut Socket,
        neighbours: &mut Table,
        mut slot: Slot,
        clear: bool,
        launch: Option<u64>,
    ) -> bool {
        let reason = if slot.to.port == 0 || Family::of(&slot.to.ip) != self.family {
            &mut self.counters.unroutable
        } else if !clear || self.in_flight == self.wire {
            &mut self.counters.wire_full
        } else if let Some(mac) = neighbours.mac(&slot.to.ip) {
            let desc = self.write(umem, &mut slot, mac, launch);
            let addr = umem.give(slot.chunk, FRAME_AT);
            // The ring has as many entries as frames may be in the kernel: there is room.
            let pushed = socket.transmit.push(XdpDesc { addr, ..desc });
            debug_assert!(pushed);
            self.in_flight += 1;
            return true;
        } else {
            &mut self.counters.no_neighbour
        };
        *reason += 1;
        self.free.push(slot.chunk);
        false
    }

    /// Writes the headers before the payload. The descriptor tells exactly these bytes.
    #[inline]
    fn write(&self, umem: &Umem, slot: &mut Slot, mac: Mac, launch: Option<u64>) -> XdpDesc {
        let len = self.template.headers_len() + usize::from(slot.len);
        let (before, frame) = umem.bytes_mut(&mut slot.chunk)[..FRAME_AT + len].split_at_mut(FRAME_AT);
        let (headers, payload) = frame.split_at_mut(self.template.headers_len());
        self.template.write(headers, mac, &slot.to.ip, slot.to.port, payload, Checksum::Software);
        let options = match launch {
            Some(instant) if self.launch.is_on() => self.launch.write(before, instant),
            _ => XdpDescOptions::empty(),
        };
        XdpDesc { addr: 0, len: len as u32, options }
    }

    /// Takes back the chunks that the kernel is done with.
    #[inline]
    fn reap(&mut self, umem: &Umem, socket: &mut Socket) {
        let Transmit { free, in_flight, .. } = self;
        socket.completion.take(usize::MAX, |addr| {
            if let Some((chunk, _)) = umem.take(addr) {
                free.push(chunk);
                *in_flight = in_flight.saturating_sub(1);
            }
        });
        debug_assert_eq!(free.len() + self.reserved.len() + *in_flight as usize, self.capacity + self.wire as usize);
    }

    /// Has the kernel send what is in the ring. Returns how many frames the device dropped.
    ///
    /// Where it copies, one call sends up to the budget, stops at a frame that the device drops, and leaves in the ring
    /// what it has no room for: as long as there is progress it is called again.
    #[inline]
    fn wake(&mut self, socket: &mut Socket) -> u32 {
        if socket.zero_copy() {
            if socket.transmit.needs_wakeup() {
                self.counters.wakeups += 1;
                socket.wake_transmit();
            }
            return 0;
        }
        let mut dropped = 0;
        // Each turn but the last sends or drops a frame.
        for _ in 0..=self.wire {
            let waiting = socket.transmit.waiting();
            if waiting == 0 {
                break;
            }
            self.counters.wakeups += 1;
            match socket.wake_transmit() {
                // The ring may show it as waiting until the kernel looks at it again.
                Woken::Dropped => dropped += 1,
                Woken::Went if socket.transmit.waiting() < waiting => {}
                Woken::Went | Woken::Not => break,
            }
        }
        dropped
    }
}
