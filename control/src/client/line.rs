//! A line: the rings of one end, between the RTP thread and the pacing thread, and between the agent and the latter.
//!
//! Towards the network the pacing thread keeps the newest two packets and drops the older ones, counted: after a hiccup
//! a listener hears what is said now. It looks once a cell, so that the ring itself is the queue. Call control has a
//! small ring of its own each way and goes before speech.

use super::counters::EndCounters;
use drover_nic::ring::{Consumer, Producer, ring};
use drover_wire::cell::CellSize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the largest RTP packet of any cell size.
pub const RTP_MAX: usize = CellSize::S1024.rtp_max();
/// Packets that wait for a cell.
pub const QUEUE: usize = 2;
/// Packets of a ring. Towards the network it is emptied down to [`QUEUE`] once a cell, so this bounds a burst within
/// 20 ms; from the network it bounds how long the RTP thread may be held up (1.28 s).
pub const RING: usize = 64;
/// Bytes of the longest word of call control (`docs/wire.md`, W-END-6): below every cell's largest packet.
pub const CONTROL_MAX: usize = 64;
/// Words of call control that wait in each direction.
pub const CONTROL_RING: usize = 8;

/// Room for a packet.
struct Packet {
    len: usize,
    bytes: [u8; RTP_MAX],
}

const BLANK: Packet = Packet { len: 0, bytes: [0; RTP_MAX] };
static FILLER: [u8; RTP_MAX] = [0; RTP_MAX];

struct Shared {
    /// A circuit ends here now.
    up: AtomicBool,
    counters: Arc<EndCounters>,
}

/// The pacing thread's half: no system call, lock or allocation.
pub struct Inside {
    id: u32,
    shared: Arc<Shared>,
    speech: Consumer<Packet>,
    heard: Producer<Packet>,
    orders: Consumer<Packet>,
    reports: Producer<Packet>,
}

/// The agent's part: the clients' own words about their call.
pub struct ControlSide {
    id: u32,
    orders: Producer<Packet>,
    reports: Consumer<Packet>,
}

/// The RTP thread's half.
pub struct Outside {
    id: u32,
    shared: Arc<Shared>,
    speech: Producer<Packet>,
    heard: Consumer<Packet>,
}

/// Makes the line of the end with this id, for calls that nobody here controls.
pub fn line(id: u32) -> (Inside, Outside) {
    let (inside, outside, _) = controlled_line(id);
    (inside, outside)
}

/// Makes the line of the end with this id, with the part of whoever controls its calls.
pub fn controlled_line(id: u32) -> (Inside, Outside, ControlSide) {
    let (order, orders) = ring(CONTROL_RING, || BLANK);
    let (report, reports) = ring(CONTROL_RING, || BLANK);
    let (to_network, speech) = ring(RING, || BLANK);
    let (heard, from_network) = ring(RING, || BLANK);
    let shared = Arc::new(Shared { up: AtomicBool::new(false), counters: Arc::default() });
    let inside = Inside { id, shared: Arc::clone(&shared), speech, heard, orders, reports: report };
    let control = ControlSide { id, orders: order, reports };
    (inside, Outside { id, shared, speech: to_network, heard: from_network }, control)
}

impl Inside {
    /// The end's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The end's counts.
    pub fn counters(&self) -> &Arc<EndCounters> {
        &self.shared.counters
    }

    /// A call begins or ends. What waited from before is gone: nobody shall hear it in the next call.
    pub fn set_up(&mut self, up: bool) {
        let stale = self.speech.waiting();
        self.speech.release(stale);
        let stale = self.orders.waiting();
        self.orders.release(stale);
        self.shared.up.store(up, Ordering::Release);
    }

    /// Takes the oldest of the newest two packets into `packet` and returns its length, 0 when none waits. All of
    /// `packet` is written with either.
    ///
    /// # Panics
    /// When `packet` is longer than [`RTP_MAX`]: the caller's bug.
    #[inline]
    pub fn take(&mut self, packet: &mut [u8]) -> usize {
        let too_old = self.speech.waiting().saturating_sub(QUEUE);
        self.speech.release(too_old);
        self.shared.counters.rtp_dropped_oldest.add(too_old as u64);
        let taken = self.speech.pop_with(|from| {
            packet.copy_from_slice(&from.bytes[..packet.len()]);
            from.len
        });
        taken.unwrap_or_else(|| {
            packet.copy_from_slice(&FILLER[..packet.len()]);
            0
        })
    }

    /// Takes the next word of call control into `packet`, all of which is written then, and returns its length; 0 when
    /// none waits, and nothing is written.
    ///
    /// # Panics
    /// When `packet` is longer than [`RTP_MAX`] or shorter than [`CONTROL_MAX`]: the caller's bug.
    #[inline]
    pub fn take_control(&mut self, packet: &mut [u8]) -> usize {
        let taken = self.orders.pop_with(|from| {
            packet.copy_from_slice(&from.bytes[..packet.len()]);
            from.len
        });
        taken.unwrap_or(0)
    }

    /// Gives a word of the peer to whoever controls the call; false when the ring is full, or the word too long.
    #[inline]
    pub fn give_control(&mut self, word: &[u8]) -> bool {
        word.len() <= CONTROL_MAX && give(&mut self.reports, word)
    }

    /// Gives a packet to the RTP thread; false when its ring is full, or the packet longer than [`RTP_MAX`].
    #[inline]
    pub fn give(&mut self, packet: &[u8]) -> bool {
        give(&mut self.heard, packet)
    }
}

impl Outside {
    /// The end's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The end's counts.
    pub fn counters(&self) -> &Arc<EndCounters> {
        &self.shared.counters
    }

    /// Whether a call is up.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Acquire)
    }

    /// Gives a packet to the pacing thread; false when the ring is full, or the packet longer than [`RTP_MAX`].
    pub fn give(&mut self, packet: &[u8]) -> bool {
        give(&mut self.speech, packet)
    }

    /// Takes the next packet from the network, in place; `None` when there is none.
    pub fn take_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.heard.pop_with(|packet| read(&packet.bytes[..packet.len.min(RTP_MAX)]))
    }
}

impl ControlSide {
    /// The end's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Says a word to the peer, in the next cell of the call; false when the ring is full, or the word empty or longer
    /// than [`CONTROL_MAX`].
    pub fn say(&mut self, word: &[u8]) -> bool {
        !word.is_empty() && word.len() <= CONTROL_MAX && give(&mut self.orders, word)
    }

    /// The peer's next word, in place; `None` when there is none.
    pub fn hear<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.reports.pop_with(|packet| read(&packet.bytes[..packet.len.min(CONTROL_MAX)]))
    }
}

#[inline]
fn give(ring: &mut Producer<Packet>, packet: &[u8]) -> bool {
    packet.len() <= RTP_MAX
        && ring.push_with(|slot| {
            // The rest keeps what it held; nothing beyond `len` is ever read out.
            slot.bytes[..packet.len()].copy_from_slice(packet);
            slot.len = packet.len();
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn a_queue_of_two_drops_the_oldest() {
        let (mut inside, mut outside) = line(3);
        let mut packet = [9; 198];
        assert_eq!(inside.take(&mut packet), 0);
        assert_eq!(packet, [0; 198], "written with filler too");
        let mut model: VecDeque<u8> = VecDeque::new();
        let (mut dropped, mut next) = (0, 1u8);
        for burst in [1, 0, 2, 3, 5, 0, 0, 0, 1, 7, 1, 1, 60, 0, 0] {
            for _ in 0..burst {
                assert!(outside.give(&[next; 172][..]));
                model.push_back(next);
                next += 1;
            }
            while model.len() > QUEUE {
                model.pop_front();
                dropped += 1;
            }
            let len = inside.take(&mut packet);
            match model.pop_front() {
                Some(oldest) => assert_eq!((len, &packet[..172]), (172, &[oldest; 172][..])),
                None => assert_eq!(len, 0),
            }
            assert_eq!(inside.counters().rtp_dropped_oldest.get(), dropped);
        }
        assert!(dropped > 60);
    }

    #[test]
    fn a_new_call_hears_nothing_of_the_last() {
        let (mut inside, mut outside) = line(1);
        assert!(!outside.is_up());
        assert!(outside.give(b"old"));
        inside.set_up(true);
        assert!(outside.is_up());
        let mut packet = [0; 198];
        assert_eq!(inside.take(&mut packet), 0);
        assert!(outside.give(b"new"));
        assert_eq!(inside.take(&mut packet), 3);
        inside.set_up(false);
        assert!(!outside.is_up());
    }

    #[test]
    fn rings_are_bounded_and_so_are_packets() {
        let (mut inside, mut outside) = line(1);
        assert!(!outside.give(&[0; RTP_MAX + 1]) && !inside.give(&[0; RTP_MAX + 1]));
        for n in 0..RING {
            assert!(outside.give(&[n as u8; RTP_MAX]) && inside.give(&[n as u8]));
        }
        assert!(!outside.give(&[1]) && !inside.give(&[1]));
        for n in 0..RING {
            assert_eq!(outside.take_with(<[u8]>::to_vec), Some(vec![n as u8]));
        }
        assert_eq!(outside.take_with(|_| ()), None);
    }
    #[test]
    fn words_of_control_have_rings_of_their_own() {
        let (mut inside, mut outside, mut control) = controlled_line(1);
        inside.set_up(true);
        assert!(
            !control.say(&[]) && !control.say(&[1; CONTROL_MAX + 1]) && !inside.give_control(&[1; CONTROL_MAX + 1])
        );
        assert!(outside.give(b"speech"));
        for n in 0..CONTROL_RING {
            assert!(control.say(&[n as u8; CONTROL_MAX]) && inside.give_control(&[n as u8]));
        }
        assert!(!control.say(&[1]) && !inside.give_control(&[1]));
        let mut packet = [9; 198];
        for n in 0..CONTROL_RING {
            assert_eq!((inside.take_control(&mut packet), packet[0]), (CONTROL_MAX, n as u8));
            assert_eq!(control.hear(<[u8]>::to_vec), Some(vec![n as u8]));
        }
        assert_eq!((inside.take_control(&mut packet), control.hear(|_| ())), (0, None));
        assert_eq!(inside.take(&mut packet), 6, "speech waits behind");
        assert!(control.say(b"old"));
        inside.set_up(false);
        assert_eq!(inside.take_control(&mut packet), 0, "nothing of this call reaches the next");
    }
}
