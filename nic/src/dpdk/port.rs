//! A worker's port on one queue of a device.

use super::buffer::{self, Buffer, Buffers, Draft, Queue, checksum_place};
use super::device::{About, Device};
use super::service::Service;
use super::thread;
use crate::neighbour::Table;
use crate::neighbour::responder;
use crate::ring::{Receiver, Sender};
use crate::{
    BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, PortDetails, RxBurst, RxFrame, TxBurst, TxFrame,
};
use arrayvec::ArrayVec;
use drover_wire::frame::{self, Astray, Checksum, Family, Local, Template};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Frames of the service thread that one receive sends.
const SPOKEN_A_RECEIVE: usize = 4;

/// A port on one queue of a DPDK device: see [`super::open`].
pub struct DpdkPort {
    queue: Queue,
    local: Local,
    udp_port: u16,
    template: Template,
    table: Table,
    receive_checksum: Checksum,
    transmit_checksum: Checksum,
    max_payload: usize,
    tx_ring: usize,
    /// Oldest first. Never grows beyond `tx_ring`.
    reserved: VecDeque<Reserved>,
    lent: Lent,
    siblings: Siblings,
    service_end: Option<ServiceEnd>,
    service: Option<Arc<Service>>,
    counters: PortCounters,
    details: Details,
    /// Last, so that it outlives every frame.
    device: Arc<Device>,
}

struct Reserved {
    draft: Draft,
    to: Endpoint,
}

/// A datagram in its frame.
pub(super) struct Datagram {
    frame: Buffer,
    from: Endpoint,
    /// Where the payload is in the frame.
    at: usize,
    len: usize,
}

/// What the last receive handed out: frames, and of each its sender and where its payload is.
#[derive(Default)]
struct Lent {
    frames: Buffers,
    payloads: ArrayVec<(Endpoint, usize, usize), BURST>,
}

/// The other workers of the device.
pub(super) struct Siblings {
    /// To each, by its UDP port.
    pub(super) to: Vec<(u16, Sender<Datagram>)>,
    pub(super) from: Vec<Receiver<Datagram>>,
}

/// A port's ends of the rings to the service thread.
pub(super) struct ServiceEnd {
    /// Frames that may be neighbours'.
    pub(super) heard: Sender<Buffer>,
    /// Frames to be sent; one port of a device has them.
    pub(super) spoken: Option<Receiver<Buffer>>,
}

/// What [`PortCounters`] has no place for, in frames.
#[derive(Clone, Copy, Debug, Default)]
struct Details {
    astray: [u64; Astray::ALL.len()],
    foreign_port: u64,
    segments: u64,
    handed_over: u64,
    handed_over_full: u64,
    taken_over: u64,
    heard_full: u64,
    forwarded: u64,
    forward_refused: u64,
}

/// What [`DpdkPort::forward`] did, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Received.
    pub received: usize,
    /// Taken by the device to which they were sent; the others are lost.
    pub sent: usize,
}

/// What a port is made of.
pub(super) struct Parts {
    pub(super) queue: Queue,
    pub(super) local: Local,
    pub(super) udp_port: u16,
    pub(super) table: Table,
    pub(super) receive_checksum: Checksum,
    pub(super) transmit_checksum: Checksum,
    pub(super) max_payload: usize,
    pub(super) tx_ring: usize,
    pub(super) siblings: Siblings,
    pub(super) service_end: Option<ServiceEnd>,
    pub(super) service: Option<Arc<Service>>,
    pub(super) device: Arc<Device>,
}

impl DpdkPort {
    pub(super) fn new(parts: Parts) -> DpdkPort {
        DpdkPort {
            queue: parts.queue,
            local: parts.local,
            udp_port: parts.udp_port,
            template: Template::new(&parts.local, parts.udp_port),
            table: parts.table,
            receive_checksum: parts.receive_checksum,
            transmit_checksum: parts.transmit_checksum,
            max_payload: parts.max_payload,
            tx_ring: parts.tx_ring,
            reserved: VecDeque::with_capacity(parts.tx_ring),
            lent: Lent::default(),
            siblings: parts.siblings,
            service_end: parts.service_end,
            service: parts.service,
            counters: PortCounters::default(),
            details: Details::default(),
            device: parts.device,
        }
    }

    /// The Ethernet address that frames leave from.
    pub fn mac(&self) -> frame::Mac {
        self.local.mac
    }

    /// The address and UDP port of this port.
    pub fn local(&self) -> Endpoint {
        Endpoint { ip: self.local.ip, port: self.udp_port }
    }

    /// What the device is, and what it does for us.
    pub fn about(&self) -> &About {
        self.device.about()
    }

    /// Whether the device's link is up.
    pub fn link_up(&self) -> bool {
        self.device.link_up()
    }

    /// Mbufs of the device's pool that are in use: reserved, lent, in rings and in the device's queues.
    pub fn mbufs_in_use(&self) -> usize {
        self.device.pool().in_use()
    }

    /// Counters beyond [`PortCounters`], in frames: received frames that are not handed to the caller, by reason; those of
    /// another worker; transmitted ones without a next hop; what the device lost and what the thread beside it did, of all its
    /// ports.
    pub fn details(&self) -> PortDetails {
        let of = &self.details;
        let (missed, no_mbuf) = self.device.missed();
        let table = self.table.counters();
        let mut details: PortDetails =
            Astray::ALL.iter().map(|reason| (reason.name(), of.astray[*reason as usize])).collect();
        details.extend([
            ("foreign_port", of.foreign_port),
            ("segments", of.segments),
            ("handed_over", of.handed_over),
            ("handed_over_full", of.handed_over_full),
            ("taken_over", of.taken_over),
            ("no_neighbour", table.unknown),
            ("neighbours_full", table.full),
            ("link_was_down", table.link_down),
            ("heard_full", of.heard_full),
            ("forwarded", of.forwarded),
            ("forward_refused", of.forward_refused),
            ("device_missed", missed),
            ("device_no_mbuf", no_mbuf),
            ("link_up", u64::from(self.device.link_up())),
        ]);
        if let Some(service) = &self.service {
            let of = service.counters();
            details.extend([
                ("answered", of.answered),
                ("echoed", of.echoed),
                ("asked", of.asked),
                ("learned", of.learned),
                ("limited", of.limited),
                ("conflicts", of.conflicts),
            ]);
        }
        details
    }

    /// Sends a burst of this port's frames, whatever they are, by `out`, each in the mbuf that it came in, after `each` has
    /// seen it from its Ethernet header on: the least that receiving and sending can cost.
    ///
    /// They are no datagrams of these ports: [`details`](Self::details) counts them, [`PortCounters`] do not.
    #[inline]
    pub fn forward(&mut self, out: &mut DpdkPort, mut each: impl FnMut(&mut [u8])) -> Forwarded {
        thread::enter();
        let mut frames = Buffers::new();
        let received = self.queue.receive(&mut frames, BURST);
        frames.iter_mut().for_each(|frame| each(frame.bytes_mut()));
        let sent = out.queue.forward(&mut frames);
        self.details.forwarded += sent as u64;
        self.details.forward_refused += (received - sent) as u64;
        Forwarded { received, sent }
    }

    /// Sends what the service thread has to say, a little each time.
    fn speak(&mut self) {
        let Some(spoken) = self.service_end.as_mut().and_then(|end| end.spoken.as_mut()) else { return };
        let mut frames = Buffers::new();
        frames.extend(std::iter::from_fn(|| spoken.recv()).take(SPOKEN_A_RECEIVE));
        if !frames.is_empty() {
            // What the device does not take now is asked for again.
            self.queue.transmit(&mut frames, 0);
        }
    }

    /// Takes what came for this port on its siblings' queues.
    fn take_over(&mut self, limit: usize) {
        let mut arrived = self.siblings.from.iter_mut().flat_map(|from| std::iter::from_fn(|| from.recv()));
        while self.lent.frames.len() < limit {
            let Some(datagram) = arrived.next() else { break };
            self.lent.push(datagram);
            self.details.taken_over += 1;
        }
    }

    fn take_arrived(&mut self, limit: usize) {
        let mut arrived = Buffers::new();
        self.queue.receive(&mut arrived, limit);
        let mut spare = Buffers::new();
        for frame in arrived {
            self.sort(frame, &mut spare);
        }
        if !spare.is_empty() {
            buffer::free(&mut spare);
        }
    }

    /// Lends a frame, hands it over, or puts it to the spare ones.
    #[inline]
    fn sort(&mut self, frame: Buffer, spare: &mut Buffers) {
        if frame.has_segments() {
            self.details.segments += 1;
            return spare.push(frame);
        }
        let parsed = if frame.sums_bad() { Err(Astray::Checksum) } else { self.parse(&frame) };
        let (from, to_port, at, len) = match parsed {
            Ok(parsed) => parsed,
            Err(astray) => return self.astray(frame, astray, spare),
        };
        if len > FRAME {
            self.counters.oversized += 1;
            return spare.push(frame);
        }
        let datagram = Datagram { frame, from, at, len };
        if to_port == self.udp_port {
            self.lent.push(datagram);
        } else if let Err(datagram) = self.hand_over(to_port, datagram) {
            spare.push(datagram.frame);
        }
    }

    /// Sender, UDP port, and where in the frame how many bytes of payload are.
    #[inline]
    fn parse(&self, frame: &Buffer) -> Result<(Endpoint, u16, usize, usize), Astray> {
        let checksum = if frame.sums_good() { self.receive_checksum } else { Checksum::Software };
        let bytes = frame.bytes();
        let datagram = frame::parse(bytes, &self.local, checksum)?;
        let at = datagram.payload.as_ptr() as usize - bytes.as_ptr() as usize;
        let from = Endpoint { ip: datagram.from_ip, port: datagram.from_port };
        Ok((from, datagram.to_port, at, datagram.payload.len()))
    }

    fn hand_over(&mut self, to_port: u16, datagram: Datagram) -> Result<(), Datagram> {
        let Some((_, sibling)) = self.siblings.to.iter_mut().find(|(port, _)| *port == to_port) else {
            self.details.foreign_port += 1;
            return Err(datagram);
        };
        let sent = sibling.send(datagram);
        let count = if sent.is_ok() { &mut self.details.handed_over } else { &mut self.details.handed_over_full };
        *count += 1;
        sent
    }

    /// Sends `bytes` as they are.
    #[cfg(test)]
    pub(super) fn send_raw(&mut self, parts: &[&[u8]]) {
        let mut frames = Buffers::new();
        for part in parts {
            self.device.pool().allocate(1, 0, part.len(), |mut draft| {
                draft.payload_mut().copy_from_slice(part);
                frames.push(draft.whole());
            });
        }
        let mut rest = frames.drain(1..).collect::<Vec<_>>();
        rest.drain(..).for_each(|part| frames[0].chain(part));
        let sent = if parts.len() > 1 { self.queue.forward(&mut frames) } else { self.queue.transmit(&mut frames, 0) };
        assert_eq!(sent, 1, "the ring is full");
    }

    /// Counts a frame that is no datagram for us. Neighbours and who tries whether we are there speak otherwise than by UDP:
    /// the service thread looks at that.
    #[cold]
    fn astray(&mut self, frame: Buffer, astray: Astray, spare: &mut Buffers) {
        self.details.astray[astray as usize] += 1;
        match &mut self.service_end {
            Some(end) if responder::concerns(frame.bytes(), &self.local) => {
                if let Err(frame) = end.heard.send(frame) {
                    self.details.heard_full += 1;
                    spare.push(frame);
                }
            }
            _ => spare.push(frame),
        }
    }

    /// Sends the `count` oldest reserved frames, at most a burst. Returns how many the device took.
    fn commit_burst(&mut self, count: usize) -> usize {
        let mut frames = Buffers::new();
        for Reserved { draft, to } in self.reserved.drain(..count) {
            // A frame without a next hop is freed here.
            let Some(mac) = self.table.mac(&to.ip).filter(|_| to.port != 0) else { continue };
            let (template, checksum) = (&self.template, self.transmit_checksum);
            let frame =
                draft.finish(|headers, payload| template.write(headers, mac, &to.ip, to.port, payload, checksum));
            frames.push(frame);
        }
        let place = match self.transmit_checksum {
            Checksum::Software => 0,
            Checksum::Offload => place_of_sum(&self.local),
        };
        self.queue.transmit(&mut frames, place)
    }
}

fn place_of_sum(local: &Local) -> u32 {
    let (ip, v6) = match local.family() {
        Family::V4 => (frame::IPV4, false),
        Family::V6 => (frame::IPV6, true),
    };
    checksum_place(local.headers_len() - ip - frame::UDP, ip, v6)
}

impl Lent {
    #[inline]
    fn push(&mut self, datagram: Datagram) {
        let Datagram { frame, from, at, len } = datagram;
        self.frames.push(frame);
        self.payloads.push((from, at, len));
    }

    fn give_back(&mut self) {
        if !self.frames.is_empty() {
            buffer::free(&mut self.frames);
            self.payloads.clear();
        }
    }
}

impl Port for DpdkPort {
    fn details(&self) -> PortDetails {
        DpdkPort::details(self)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "dpdk", tx_ring: self.tx_ring, max_payload: self.max_payload }
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        thread::enter();
        let limit = limit.min(BURST);
        self.lent.give_back();
        self.table.poll();
        self.speak();
        self.take_over(limit);
        self.take_arrived(limit - self.lent.frames.len());
        self.counters.received += self.lent.frames.len() as u64;
        let lent = self.lent.frames.iter().zip(&self.lent.payloads);
        lent.map(|(frame, &(from, at, len))| RxFrame { from, data: &frame.bytes()[at..at + len] }).collect()
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        thread::enter();
        let first = self.reserved.len();
        let count = if len > self.max_payload { 0 } else { count.min(BURST).min(self.tx_ring - first) };
        let reserved = &mut self.reserved;
        self.device.pool().allocate(count, self.template.headers_len(), len, |mut draft| {
            if cfg!(debug_assertions) {
                draft.payload_mut().fill(0xa5);
            }
            reserved.push_back(Reserved { draft, to: Endpoint::NONE });
        });
        self.reserved
            .range_mut(first..)
            .map(|frame| TxFrame { to: &mut frame.to, data: frame.draft.payload_mut() })
            .collect()
    }

    fn commit(&mut self, count: usize) -> usize {
        let count = count.min(self.reserved.len());
        let (mut left, mut sent) = (count, 0);
        while left > 0 {
            let burst = left.min(BURST);
            sent += self.commit_burst(burst);
            left -= burst;
        }
        self.counters.sent += sent as u64;
        self.counters.refused += (count - sent) as u64;
        sent
    }

    fn discard(&mut self, count: usize) {
        let count = count.min(self.reserved.len());
        self.reserved.drain(..count);
        self.counters.discarded += count as u64;
    }

    fn reserved(&self) -> usize {
        self.reserved.len()
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}

impl fmt::Debug for DpdkPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpdkPort")
            .field("local", &self.local())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
