//! Commands on their way to one worker. The ring is bounded and the worker takes a few a turn; what has no room waits
//! here, in order.

use crate::command::{Command, StepKey};
use drover_crypto::Suite;
use drover_nic::ring::Sender;
use std::collections::VecDeque;

/// Ordinary commands in the ring at once. A worker takes a few a turn, so a ratchet step's key, which cannot wait long,
/// is never behind more than these.
pub const ORDINARY_IN_RING: usize = 64;
/// Commands that wait for one worker before requests are refused as busy.
pub const BACKLOG_MAX: usize = 1 << 16;

/// The queue towards one worker.
pub struct Feed<C: Suite, K> {
    ring: Sender<Command<C, K>>,
    /// Keys that the worker asked for. They may overtake: nothing that is queued can make them wrong, since a link's
    /// index is used again only after the link's removal has come back as spent.
    steps: VecDeque<Command<C, K>>,
    waiting: VecDeque<Command<C, K>>,
    /// Sent or waiting, and not yet back as spent.
    outstanding: usize,
}

impl<C: Suite, K: Send> Feed<C, K> {
    /// A feed into `ring`.
    pub fn new(ring: Sender<Command<C, K>>) -> Self {
        Feed { ring, steps: VecDeque::new(), waiting: VecDeque::new(), outstanding: 0 }
    }

    /// Queues a command behind all others.
    pub fn push(&mut self, command: Command<C, K>) {
        self.waiting.push_back(command);
        self.outstanding += 1;
        self.flush();
    }

    /// Queues a ratchet step's key, before all ordinary commands.
    pub fn push_step(&mut self, step: Box<StepKey<C::Records>>) {
        self.steps.push_back(Command::AddStep(step));
        self.outstanding += 1;
        self.flush();
    }

    /// Moves what there is room for into the ring.
    pub fn flush(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            if let Err(step) = self.ring.send(step) {
                return self.steps.push_front(step);
            }
        }
        let in_ring = self.ring.capacity() - self.ring.free();
        for _ in in_ring..ORDINARY_IN_RING.min(self.ring.capacity()) {
            let Some(command) = self.waiting.pop_front() else { return };
            if let Err(command) = self.ring.send(command) {
                return self.waiting.push_front(command);
            }
        }
    }

    /// A command has come back.
    pub fn spent(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Commands that have not come back.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether so many commands wait that no more should be asked for.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= BACKLOG_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Direction;
    use drover_crypto::testing::TestSuite;
    use drover_nic::ring::{Receiver, queue};

    type Feeding = (Feed<TestSuite, ()>, Receiver<Command<TestSuite, ()>>);

    fn feed() -> Feeding {
        let (sender, receiver) = queue(crate::limits::COMMAND_RING);
        (Feed::new(sender), receiver)
    }

    fn step() -> Box<StepKey<<TestSuite as Suite>::Records>> {
        Box::new(StepKey { link: 0, generation: 1, direction: Direction::Send, step: 2, key: None })
    }

    #[test]
    fn order_is_kept_and_nothing_is_lost() {
        let (mut feed, mut worker) = feed();
        for index in 0..3_000 {
            feed.push(Command::RemoveEgress { index });
        }
        assert_eq!(feed.outstanding(), 3_000);
        let mut expected = 0;
        while expected < 3_000 {
            assert!(worker.waiting() <= ORDINARY_IN_RING);
            let mut taken = 0;
            while let Some(command) = worker.recv() {
                assert!(matches!(command, Command::RemoveEgress { index } if index == expected));
                (expected, taken) = (expected + 1, taken + 1);
                feed.spent();
            }
            assert!(taken > 0, "stuck at {expected}");
            feed.flush();
        }
        assert_eq!(feed.outstanding(), 0);
        assert!(worker.recv().is_none());
    }

    #[test]
    fn a_key_is_behind_no_more_than_what_is_in_the_ring() {
        let (mut feed, mut worker) = feed();
        for index in 0..1_000 {
            feed.push(Command::RemoveEgress { index });
        }
        feed.push_step(step());
        let before = std::iter::from_fn(|| worker.recv()).take_while(|c| !matches!(c, Command::AddStep(_))).count();
        assert_eq!(before, ORDINARY_IN_RING);
    }

    #[test]
    fn keys_that_have_no_room_wait_too() {
        let (sender, mut worker) = queue(4);
        let mut feed: Feed<TestSuite, ()> = Feed::new(sender);
        (0..10).for_each(|_| feed.push_step(step()));
        feed.push(Command::RemoveEgress { index: 9 });
        let mut keys = 0;
        loop {
            match worker.recv() {
                Some(Command::AddStep(_)) => keys += 1,
                Some(_) => break,
                None => feed.flush(),
            }
        }
        assert_eq!(keys, 10);
    }

    #[test]
    fn a_long_backlog_is_full() {
        let (mut feed, _worker) = feed();
        for index in 0..(BACKLOG_MAX + ORDINARY_IN_RING) as u32 {
            assert!(!feed.is_full());
            feed.push(Command::RemoveEgress { index });
        }
        assert!(feed.is_full());
    }
}
