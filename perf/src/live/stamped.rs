//! A port that says when each frame was committed, seen from outside the worker.

use drover_nic::ring::{Consumer, Producer, ring};
use drover_nic::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, RxBurst, TxBurst, TxFrame};

/// Stamps that wait for whoever reads them.
pub const LOG: usize = 1 << 16;

/// A frame that was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stamp {
    /// Where it went.
    pub to: Option<Endpoint>,
    /// When its commit was called, monotonic ns.
    pub at: u64,
    /// The port took it.
    pub sent: bool,
    /// Its turn began too long after the one before ([`Stamped::tag_delays`]).
    pub delayed: bool,
}

/// Frames that one call of `receive` took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// When, monotonic ns.
    pub at: u64,
    /// How many.
    pub frames: usize,
}

struct Staged {
    to: Endpoint,
    len: usize,
    data: [u8; FRAME],
}

/// A port that stamps what is committed to it and hands it to another port.
///
/// One clock read a call of `commit`, not one a frame. Frames are kept here until then, so each is copied once more than
/// without the stamps: it leaves later by that, and the instant that is stamped is before it.
pub struct Stamped<P> {
    port: P,
    frames: Box<[Staged]>,
    head: usize,
    reserved: usize,
    log: Producer<Stamp>,
    taken: Option<Producer<Taken>>,
    /// From one turn to the next at most, ns, and when the last one received.
    turns: Option<(u64, u64)>,
    lost: u64,
    untold: u64,
    clock: fn() -> u64,
}

impl<P: Port> Stamped<P> {
    /// Wraps a port; the other end is where the stamps come out. Stamps that find no room are counted as lost.
    pub fn new(port: P, clock: fn() -> u64) -> (Stamped<P>, Consumer<Stamp>) {
        let (log, stamps) = ring(LOG, Stamp::default);
        let frame = || Staged { to: Endpoint::NONE, len: 0, data: [0; FRAME] };
        let frames = (0..port.capabilities().tx_ring).map(|_| frame()).collect();
        (
            Stamped { port, frames, head: 0, reserved: 0, log, taken: None, turns: None, lost: 0, untold: 0, clock },
            stamps,
        )
    }

    /// As [`Stamped::new`], and every `receive` that took something is told at the last end: one more clock read each.
    pub fn with_taken(port: P, clock: fn() -> u64) -> (Stamped<P>, Consumer<Stamp>, Consumer<Taken>) {
        let (mut port, stamps) = Stamped::new(port, clock);
        let (log, taken) = ring(LOG, Taken::default);
        port.taken = Some(log);
        (port, stamps, taken)
    }

    /// From now on tells departures of turns apart that begin more than `ns` after the one before received: the thread was
    /// off its core, or that turn was as long. One more clock read a turn.
    pub fn tag_delays(&mut self, ns: u64) {
        self.turns = Some((ns, u64::MAX));
    }

    /// Stamps that found no room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Receives that took something and found no room to tell it.
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// Forgets the oldest reserved frame.
    fn release(&mut self) {
        self.head = (self.head + 1) % self.frames.len();
        self.reserved -= 1;
    }

    /// Gives the `count` oldest frames to the port; how many it took.
    fn pass(&mut self, count: usize, (at, delayed): (u64, bool)) -> usize {
        let len = self.frames[self.head].len;
        // Frames of one length in one call, as they were reserved.
        let places = (0..count).map(|n| (self.head + n) % self.frames.len());
        let alike = places.take_while(|place| self.frames[*place].len == len).count();
        let mut burst = self.port.reserve(alike, len);
        let room = burst.len();
        for (n, frame) in burst.drain(..).enumerate() {
            let staged = &self.frames[(self.head + n) % self.frames.len()];
            *frame.to = staged.to;
            frame.data.copy_from_slice(&staged.data[..len]);
        }
        drop(burst);
        let sent = self.port.commit(room);
        for n in 0..alike {
            let stamp = Stamp { to: Some(self.frames[self.head].to), at, sent: n < sent, delayed };
            self.lost += u64::from(!self.log.push_with(|slot| *slot = stamp));
            self.release();
        }
        if alike < count { sent + self.pass(count - alike, (at, delayed)) } else { sent }
    }
}

impl<P: Port> Port for Stamped<P> {
    fn capabilities(&self) -> Capabilities {
        self.port.capabilities()
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        if let Some((_, last)) = &mut self.turns {
            *last = (self.clock)();
        }
        let burst = self.port.receive(limit);
        if let Some(log) = self.taken.as_mut().filter(|_| !burst.is_empty()) {
            let taken = Taken { at: (self.clock)(), frames: burst.len() };
            self.untold += u64::from(!log.push_with(|slot| *slot = taken));
        }
        burst
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        if len > self.port.capabilities().max_payload {
            return TxBurst::new();
        }
        let count = count.min(BURST).min(self.frames.len() - self.reserved);
        let tail = (self.head + self.reserved) % self.frames.len();
        self.reserved += count;
        let (front, back) = self.frames.split_at_mut(tail);
        let staged = back.iter_mut().chain(front).take(count);
        staged
            .map(|frame| {
                (frame.to, frame.len) = (Endpoint::NONE, len);
                TxFrame { to: &mut frame.to, data: &mut frame.data[..len] }
            })
            .collect()
    }

    fn commit(&mut self, count: usize) -> usize {
        let at = (self.clock)();
        let delayed = self.turns.is_some_and(|(most, last)| at.saturating_sub(last) > most);
        let (mut left, mut sent) = (count.min(self.reserved), 0);
        while left > 0 {
            let burst = left.min(BURST);
            sent += self.pass(burst, (at, delayed));
            left -= burst;
        }
        sent
    }

    fn discard(&mut self, count: usize) {
        // The port below has them for a moment, so that its counters balance.
        for _ in 0..count.min(self.reserved) {
            let len = self.frames[self.head].len;
            let room = self.port.reserve(1, len).len();
            self.port.discard(room);
            self.release();
        }
    }

    fn reserved(&self) -> usize {
        self.reserved
    }

    fn counters(&self) -> PortCounters {
        self.port.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_nic::memory;
    use std::sync::atomic::{AtomicU64, Ordering};

    const A: Endpoint = Endpoint { ip: [1; 16], port: 1 };
    const B: Endpoint = Endpoint { ip: [2; 16], port: 2 };

    #[test]
    fn it_is_a_port_like_any_other() {
        drover_nic::conformance::run("stamped", || {
            let (a, b) = memory::pair(A, B, 256);
            (Stamped::new(a, || 0).0, A, Stamped::new(b, || 0).0, B)
        });
    }

    #[test]
    fn a_commit_reads_the_clock_once_and_every_frame_is_stamped() {
        static READS: AtomicU64 = AtomicU64::new(0);
        let (port, mut wire) = memory::port_and_wire(A, 8);
        let (mut port, mut stamps) = Stamped::new(port, || READS.fetch_add(1, Ordering::Relaxed) + 1);
        for (to, len) in [(A, 3), (B, 5)] {
            for (n, frame) in port.reserve(3, len).into_iter().enumerate() {
                *frame.to = to;
                frame.data.fill(n as u8);
            }
        }
        port.discard(1);
        assert_eq!((port.commit(4), port.reserved()), (4, 1));
        assert_eq!(port.commit(9), 1);
        let mut seen = Vec::new();
        while stamps.pop_with(|stamp| seen.push(*stamp)).is_some() {}
        let expected = [(A, 1), (A, 1), (B, 1), (B, 1), (B, 2)];
        assert_eq!(seen, expected.map(|(to, at)| Stamp { to: Some(to), at, sent: true, delayed: false }));
        let mut frames = Vec::new();
        while wire.take(|to, data| frames.push((to, data.to_vec()))) {}
        let bytes = [(A, vec![1; 3]), (A, vec![2; 3]), (B, vec![0; 5]), (B, vec![1; 5]), (B, vec![2; 5])];
        assert_eq!(frames, bytes);
        assert_eq!(port.lost(), 0);
    }

    #[test]
    fn departures_of_delayed_turns_are_told_apart() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let (port, _wire) = memory::port_and_wire(A, 8);
        let (mut port, mut stamps) = Stamped::new(port, || CLOCK.load(Ordering::Relaxed));
        port.tag_delays(100);
        for (received, committed) in [(None, 1_000), (Some(1_010), 1_110), (Some(1_110), 1_211), (Some(2_000), 2_001)] {
            if let Some(at) = received {
                CLOCK.store(at, Ordering::Relaxed);
                assert!(port.receive(1).is_empty());
            }
            CLOCK.store(committed, Ordering::Relaxed);
            assert_eq!(port.reserve(1, 1).len(), 1);
            port.commit(1);
        }
        let mut delayed = Vec::new();
        while stamps.pop_with(|stamp| delayed.push(stamp.delayed)).is_some() {}
        // Nothing is known of the first turn's predecessor.
        assert_eq!(delayed, [false, false, true, false]);
    }

    #[test]
    fn what_was_received_is_told() {
        let (port, mut wire) = memory::port_and_wire(A, 8);
        let (mut port, _stamps, mut taken) = Stamped::with_taken(port, || 5);
        assert!(port.receive(BURST).is_empty());
        for _ in 0..3 {
            assert!(wire.deliver(B, b"x"));
        }
        assert_eq!([2, 1, 0], [(); 3].map(|()| port.receive(2).len()));
        let mut seen = Vec::new();
        while taken.pop_with(|taken| seen.push(*taken)).is_some() {}
        assert_eq!(seen, [Taken { at: 5, frames: 2 }, Taken { at: 5, frames: 1 }]);
    }

    #[test]
    fn what_the_wire_refuses_is_stamped_and_says_so() {
        let (port, wire) = memory::port_and_wire(A, 4);
        let (mut port, mut stamps) = Stamped::new(port, || 7);
        let _keep = wire;
        assert_eq!(port.reserve(4, 1).len(), 4);
        assert_eq!(port.commit(4), 4);
        assert_eq!(port.reserve(2, 1).len(), 2);
        assert_eq!(port.commit(2), 0);
        let mut sent = Vec::new();
        while stamps.pop_with(|stamp| sent.push(stamp.sent)).is_some() {}
        assert_eq!(sent, [true, true, true, true, false, false]);
    }
}
