//! Datagrams that arrive on one worker's queue for another's UDP port.

use crate::frames::Frame;
use crate::ring::{Consumer, Producer, ring};
use crate::{BURST, Endpoint, FRAME, RxBurst, RxFrame};

/// A worker's ends of the rings to and from its group's others.
pub(super) struct HandOver {
    /// UDP port of each other worker, and the ring to it.
    to: Vec<(u16, Producer<Frame>)>,
    from: Vec<Source>,
    /// Whose turn it is to be asked first.
    turn: usize,
}

struct Source {
    ring: Consumer<Frame>,
    /// Frames that are lent until the next receive.
    lent: usize,
}

/// What came of a frame for another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// It waits there.
    Over,
    /// Too many wait there: it is lost.
    Full,
    /// No worker has this UDP port.
    ToNobody,
}

impl HandOver {
    /// For each of a group's workers its ends, in rings of `capacity` frames, rounded up to a power of two.
    pub(super) fn group(ports: &[u16], capacity: usize) -> Vec<HandOver> {
        let mut ends: Vec<HandOver> =
            ports.iter().map(|_| HandOver { to: Vec::new(), from: Vec::new(), turn: 0 }).collect();
        for from in 0..ports.len() {
            for to in (0..ports.len()).filter(|to| *to != from) {
                let (producer, consumer) = ring(capacity, Frame::new);
                ends[from].to.push((ports[to], producer));
                ends[to].from.push(Source { ring: consumer, lent: 0 });
            }
        }
        ends
    }

    /// Copies a datagram to the worker of UDP port `port`. `data` is at most [`FRAME`] bytes.
    #[inline]
    pub(super) fn send(&mut self, port: u16, from: Endpoint, data: &[u8]) -> Handed {
        let Some((_, ring)) = self.to.iter_mut().find(|(of, _)| *of == port) else {
            return Handed::ToNobody;
        };
        let handed = ring.push_with(|frame| {
            let frame = frame.begin(data.len());
            *frame.to = from;
            frame.data.copy_from_slice(&data[..data.len().min(FRAME)]);
        });
        if handed { Handed::Over } else { Handed::Full }
    }

    /// Takes back what the last [`lend`](Self::lend) lent.
    #[inline]
    pub(super) fn give_back(&mut self) {
        for source in &mut self.from {
            if source.lent > 0 {
                source.ring.release(std::mem::take(&mut source.lent));
            }
        }
    }

    /// Adds what others handed over to `burst`, up to `limit` frames in it. Returns how many.
    #[inline]
    pub(super) fn lend<'a>(&'a mut self, burst: &mut RxBurst<'a>, limit: usize) -> usize {
        let (before, limit) = (burst.len(), limit.min(BURST));
        if self.from.is_empty() {
            return 0;
        }
        self.turn = (self.turn + 1) % self.from.len();
        let (behind, first) = self.from.split_at_mut(self.turn);
        for source in first.iter_mut().chain(behind) {
            source.lent = source.ring.waiting().min(limit - burst.len());
            burst.extend(
                source.ring.oldest(source.lent).map(|frame| RxFrame { from: frame.peer, data: frame.payload() }),
            );
        }
        burst.len() - before
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    const PEER: Endpoint = Endpoint { ip: [9; 16], port: 9 };

    fn received(worker: &mut HandOver, limit: usize) -> Vec<Vec<u8>> {
        worker.give_back();
        let mut burst = RxBurst::new();
        let count = worker.lend(&mut burst, limit);
        assert_eq!(count, burst.len());
        assert!(burst.iter().all(|frame| frame.from == PEER));
        burst.iter().map(|frame| frame.data.to_vec()).collect()
    }

    #[test]
    fn frames_go_to_the_worker_of_their_port() {
        let mut group = HandOver::group(&[1, 2, 3], 4);
        assert_eq!(group[0].send(2, PEER, b"for two"), Handed::Over);
        assert_eq!(group[2].send(2, PEER, &[7; FRAME]), Handed::Over);
        assert_eq!(group[0].send(4, PEER, b"for none"), Handed::ToNobody);
        assert_eq!(group[0].send(1, PEER, b"its own"), Handed::ToNobody, "a worker's own never come here");
        assert!(received(&mut group[0], BURST).is_empty() && received(&mut group[2], BURST).is_empty());
        let mut got = received(&mut group[1], BURST);
        got.sort();
        assert_eq!(got, [vec![7; FRAME], b"for two".to_vec()]);
        assert!(received(&mut group[1], BURST).is_empty());
    }

    #[test]
    fn frames_that_are_lent_are_not_overwritten_and_limits_hold() {
        let mut group = HandOver::group(&[1, 2, 3], 2);
        for number in 0..2 {
            assert_eq!(group[0].send(3, PEER, &[number]), Handed::Over);
            assert_eq!(group[1].send(3, PEER, &[10 + number]), Handed::Over);
        }
        assert_eq!(group[0].send(3, PEER, &[2]), Handed::Full);
        let mut burst = RxBurst::new();
        assert_eq!(group[2].lend(&mut burst, 3), 3);
        let got: Vec<u8> = burst.iter().map(|frame| frame.data[0]).collect();
        drop(burst);
        assert_eq!(group[0].send(3, PEER, &[2]), Handed::Full, "a lent frame keeps its place");
        let rest: Vec<u8> = received(&mut group[2], BURST).iter().map(|data| data[0]).collect();
        let mut all = [got, rest].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 10, 11]);
    }

    /// With one source always full, the other is not starved.
    #[test]
    fn sources_take_turns() {
        let mut group = HandOver::group(&[1, 2, 3], 8);
        group[1].send(3, PEER, &[99]);
        let seen = (0..4).any(|_| {
            for _ in 0..8 {
                group[0].send(3, PEER, &[0]);
            }
            received(&mut group[2], 8).contains(&vec![99])
        });
        assert!(seen);
    }
}
