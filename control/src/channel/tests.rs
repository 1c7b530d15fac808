use super::*;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const FRAME: usize = 64;
const MS: u64 = 1_000_000;

fn limits() -> Limits {
    Limits {
        frame: FRAME,
        pace_ns: 5 * MS,
        outgoing: 40,
        incoming: 4,
        message: 50 * 64,
        retransmit_ns: 100 * MS,
        patience_ns: 60_000 * MS,
    }
}

/// Two ends and what is under way between them.
struct Pair {
    ends: [Channel; 2],
    /// (arrival, to, frame)
    wire: Vec<(u64, usize, Vec<u8>)>,
    now: u64,
    random: StdRng,
    /// Chances of loss, duplication and delay, each of 100.
    trouble: [u32; 3],
    got: [Vec<Delivery>; 2],
}

impl Pair {
    fn new(limits: Limits, seed: u64, trouble: [u32; 3]) -> Pair {
        let ends = [Channel::new(limits, 1), Channel::new(limits, 2)];
        let random = StdRng::seed_from_u64(seed);
        Pair { ends, wire: vec![], now: 0, random, trouble, got: [vec![], vec![]] }
    }
    fn chance(&mut self, of_hundred: u32) -> bool {
        self.random.random_range(0..100) < of_hundred
    }
    fn step(&mut self) {
        self.now += MS;
        let [loss, twice, late] = self.trouble;
        for from in 0..2 {
            let mut frame = vec![0; self.ends[from].limits.frame];
            while self.ends[from].take_frame(self.now, &mut frame) {
                let copies = 1 + usize::from(self.chance(twice));
                for _ in 0..copies {
                    if !self.chance(loss) {
                        let delay = if self.chance(late) { self.random.random_range(5..150) } else { 5 };
                        self.wire.push((self.now + delay * MS, 1 - from, frame.clone()));
                    }
                }
            }
        }
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= self.now);
        self.wire = later;
        let due: Vec<(u64, usize, Vec<u8>)> = due;
        for (_, to, frame) in due {
            let _ = self.ends[to].on_frame(self.now, &frame);
        }
        for end in 0..2 {
            while let Some(delivery) = self.ends[end].poll(self.now) {
                self.got[end].push(delivery);
            }
        }
    }
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
            if self.wire.is_empty() && self.ends.iter().all(Channel::is_idle) {
                return;
            }
        }
    }
    fn messages(&self, end: usize) -> Vec<(u8, Vec<u8>)> {
        let of = |delivery: &Delivery| match delivery {
            Delivery::Message { kind, bytes } => Some((*kind, bytes.clone())),
            _ => None,
        };
        self.got[end].iter().filter_map(of).collect()
    }
}

fn message(n: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + n * 31) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn messages_arrive_once_each_whatever_the_path_does(
        seed: u64,
        loss in 0u32..=20,
        twice in 0u32..=20,
        late in 0u32..=20,
        lengths in prop::collection::vec((0usize..2, 0usize..1200), 1..12),
    ) {
        let mut pair = Pair::new(limits(), seed, [loss, twice, late]);
        let mut sent = [vec![], vec![]];
        for (n, (from, length)) in lengths.into_iter().enumerate() {
            let bytes = message(n, length);
            pair.ends[from].send(0, n as u8, &bytes).expect("room");
            sent[from].push((n as u8, bytes));
        }
        pair.run(60_000);
        for (end, sent) in sent.iter().enumerate() {
            let mut got = pair.messages(1 - end);
            got.sort();
            prop_assert_eq!(&got, sent);
            let acknowledged = pair.got[end].iter().filter(|d| matches!(d, Delivery::Acknowledged(_))).count();
            prop_assert_eq!(acknowledged, sent.len());
        }
        prop_assert!(pair.ends.iter().all(Channel::is_idle));
    }

    #[test]
    fn hostile_frames_do_not_disturb_or_grow(
        frames in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), FRAME)), 0..400),
    ) {
        let mut end = Channel::new(limits(), 1);
        end.send(0, 1, &message(1, 500)).expect("room");
        for (n, (kind, mut frame)) in frames.into_iter().enumerate() {
            // Plausible: small sessions, numbers, counts, lengths.
            frame[0] = kind;
            for at in [1, 2, 3, 5, 6, 12] {
                frame[at] = 0;
            }
            frame[4] %= 3;
            frame[9] %= 66;
            frame[10] %= 66;
            frame[13] = if frame[13] % 2 == 0 { 50 } else { frame[13] % 60 };
            let _ = end.on_frame(n as u64, &frame);
            prop_assert!(end.incoming.incomplete() <= 4);
            prop_assert!(end.deliveries.len() <= WAITING_MAX + 4);
        }
        let _ = end.deadline();
    }
}

#[test]
fn a_long_message_takes_its_fragments_and_one_acknowledgement_without_loss() {
    let mut pair = Pair::new(limits(), 1, [0; 3]);
    let bytes = message(3, 64 * 50);
    let number = pair.ends[0].send(0, 200, &bytes).expect("room");
    pair.run(2_000);
    assert_eq!(pair.messages(1), [(200, bytes)]);
    assert_eq!(pair.got[0], [Delivery::Acknowledged(number)]);
    let counters = pair.ends[0].counters();
    assert_eq!((counters.sent, counters.retransmitted, counters.refused), (64, 0, 0));
    // At one frame in 5 ms they take 320 ms; partial acknowledgements go out each 25 ms.
    assert!(pair.now < 345 * MS && pair.ends[1].counters().sent < 14, "{} {:?}", pair.now, pair.ends[1].counters());
}

#[test]
fn frames_keep_the_pace_and_the_deadline_says_when() {
    let mut end = Channel::new(limits(), 1);
    assert_eq!((end.deadline(), end.is_idle()), (None, true));
    end.send(50 * MS, 1, &[7; 120]).expect("room");
    let mut frame = [0; FRAME];
    let mut sent = vec![];
    while sent.len() < 6 {
        let due = end.deadline().expect("something is due").max(50 * MS);
        if due > 50 * MS {
            assert!(!end.take_frame(due - 1, &mut frame), "not before its time");
        }
        assert!(end.take_frame(due, &mut frame));
        sent.push((due / MS, frame[9]));
    }
    // Three fragments and their pass again, 100 ms after the last.
    let steps: Vec<u64> = sent.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(sent.iter().map(|(_, index)| *index).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    assert!(steps[2] == 100 && steps[1] == 5 && steps[4] == 5, "{steps:?}");
    assert!(!end.take_frame(u64::MAX / 2, &mut frame[1..]), "a frame has its size");
}

#[test]
fn what_is_never_acknowledged_is_given_up() {
    let mut pair = Pair::new(limits(), 1, [100, 0, 0]);
    let number = pair.ends[0].send(0, 1, &[0; 300]).expect("room");
    while pair.got[0].is_empty() {
        pair.step();
    }
    assert_eq!((pair.now, &pair.got[0][..]), (60_000 * MS, &[Delivery::GivenUp(number)][..]));
    // Passes after 100, 200, 400 and then each 800 ms.
    let sent = pair.ends[0].counters().sent;
    assert!((6 * 70..6 * 80).contains(&sent), "{sent}");
    assert!(pair.ends[0].is_idle());
}

#[test]
fn limits_hold() {
    let mut end = Channel::new(Limits { outgoing: 2, message: 100, ..limits() }, 1);
    assert_eq!(end.send(0, 1, &[0; 101]), Err(SendError::TooLong));
    assert!(end.send(0, 1, &[0; 100]).is_ok() && end.send(0, 1, &[]).is_ok());
    assert_eq!(end.send(0, 1, &[]), Err(SendError::Full));
    // A peer that begins more messages than it may; those it began can still be finished.
    let mut sender = Channel::new(Limits { incoming: 100, pace_ns: 0, ..limits() }, 9);
    for _ in 0..6 {
        sender.send(0, 1, &[0; 100]).expect("room");
    }
    let mut receiver = Channel::new(limits(), 1);
    let mut frame = [0; FRAME];
    let taken: Vec<bool> = std::iter::from_fn(|| {
        sender.take_frame(0, &mut frame).then(|| frame[9] == 1 || receiver.on_frame(0, &frame).is_ok())
    })
    .collect();
    assert_eq!(taken.iter().filter(|ok| !**ok).count(), 2);
    assert_eq!((receiver.counters().refused, receiver.incoming.incomplete()), (2, 4));
    // In time they are forgotten, counted.
    assert_eq!(receiver.poll(60_000 * MS), None);
    assert_eq!((receiver.counters().incomplete, receiver.incoming.incomplete()), (4, 0));
}

#[test]
fn a_peer_that_begins_anew_gets_what_it_lost_and_its_old_frames_are_nothing() {
    let mut pair = Pair::new(limits(), 4, [0; 3]);
    pair.ends[0].send(0, 1, &message(1, 500)).expect("room");
    let mut old = Channel::new(limits(), 2);
    old.send(0, 9, b"from the old life").expect("room");
    let mut late = [0; FRAME];
    assert!(old.take_frame(0, &mut late));
    pair.ends[0].on_frame(0, &late).expect("a frame");
    // Some fragments have come and been acknowledged; then the receiver restarts.
    for _ in 0..35 {
        pair.step();
    }
    assert!(pair.messages(1).is_empty());
    pair.ends[1] = Channel::new(limits(), 3);
    pair.ends[1].send(pair.now, 8, b"from the new life").expect("room");
    pair.run(5_000);
    assert_eq!(pair.messages(1), [(1, message(1, 500))]);
    pair.ends[0].on_frame(pair.now, &late).expect("late, not bad");
    pair.step();
    let got = [(9, b"from the old life".to_vec()), (8, b"from the new life".to_vec())];
    assert_eq!(pair.messages(0), got);
}

#[test]
fn numbers_wrap() {
    let mut pair = Pair::new(limits(), 5, [20, 20, 20]);
    pair.ends[0].outgoing = Outgoing::starting(1, u32::MAX - 700);
    for round in 0..60 {
        for _ in 0..25 {
            pair.ends[0].send(pair.now, round, &[round]).expect("room");
        }
        pair.run(20_000);
    }
    assert_eq!(pair.messages(1).len(), 60 * 25);
}
