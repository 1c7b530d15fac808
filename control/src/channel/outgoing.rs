//! Messages of ours until the peer has them.

use super::frame::{self, Fragment};
use super::{Limits, SendError};
use std::collections::VecDeque;

/// Numbers of unacknowledged messages lie within this of each other: the peer's memory of what it has (W-CHN-5).
pub(super) const SPAN: u32 = 1024;
/// The wait before a retransmission is doubled this often at most.
const DOUBLINGS: u32 = 3;

/// Sending side.
pub(super) struct Outgoing {
    session: u32,
    next: u32,
    messages: VecDeque<Message>,
}

struct Message {
    number: u32,
    kind: u8,
    bytes: Vec<u8>,
    count: u8,
    /// Fragments that the peer has.
    acked: u64,
    /// Fragments to be sent in this pass.
    unsent: u64,
    /// Passes since the peer last said something new.
    passes: u32,
    /// Fragments that were sent before.
    sent: u64,
    /// When the next pass begins, once `unsent` is empty.
    due: u64,
    until: u64,
}

impl Message {
    fn all(&self) -> u64 {
        u64::MAX >> (64 - u32::from(self.count))
    }
    /// The first fragment to be sent at `now`.
    fn ready(&self, now: u64) -> Option<u8> {
        let bits = if self.unsent != 0 || now < self.due { self.unsent } else { self.all() & !self.acked };
        (bits != 0).then(|| bits.trailing_zeros() as u8)
    }
}

impl Outgoing {
    pub(super) fn new(session: u32) -> Outgoing {
        Outgoing { session, next: 1, messages: VecDeque::new() }
    }
    #[cfg(test)]
    pub(super) fn starting(session: u32, next: u32) -> Outgoing {
        Outgoing { next, ..Outgoing::new(session) }
    }
    pub(super) fn session(&self) -> u32 {
        self.session
    }
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn send(&mut self, limits: &Limits, now: u64, kind: u8, bytes: &[u8]) -> Result<u32, SendError> {
        let count = bytes.len().div_ceil(frame::chunk(limits.frame).max(1)).max(1);
        if bytes.len() > limits.message || count > frame::FRAGMENTS_MAX {
            return Err(SendError::TooLong);
        }
        let oldest = self.messages.front().map_or(self.next, |message| message.number);
        if self.messages.len() >= limits.outgoing || self.next.wrapping_sub(oldest) >= SPAN {
            return Err(SendError::Full);
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        let count = count as u8;
        let mut message = Message {
            number,
            kind,
            bytes: bytes.to_vec(),
            count,
            acked: 0,
            unsent: 0,
            passes: 0,
            sent: 0,
            due: now,
            until: now.saturating_add(limits.patience_ns),
        };
        message.unsent = message.all();
        self.messages.push_back(message);
        Ok(number)
    }

    /// Messages whose fragments may be under way: no more long ones at once than the peer puts together.
    fn active(&mut self, limits: &Limits) -> impl Iterator<Item = &mut Message> {
        let mut long = 0;
        self.messages.iter_mut().filter(move |message| {
            long += usize::from(message.count > 1);
            message.count == 1 || long <= limits.incoming
        })
    }

    /// Writes the fragment that is due at `now`; whether it was sent before.
    pub(super) fn take(&mut self, limits: &Limits, now: u64, out: &mut [u8]) -> Option<bool> {
        let session = self.session;
        let (message, index) =
            self.active(limits).find_map(|message| message.ready(now).map(|index| (message, index)))?;
        if message.unsent == 0 {
            message.unsent = message.all() & !message.acked;
            message.passes += 1;
        }
        let from = usize::from(index) * frame::chunk(limits.frame);
        let to = message.bytes.len().min(from + frame::chunk(limits.frame));
        let (number, count, kind) = (message.number, message.count, message.kind);
        let fragment = Fragment { session, message: number, index, count, kind, data: message.bytes.get(from..to)? };
        frame::write_data(&fragment, out)?;
        let bit = 1 << index;
        let again = message.sent & bit != 0;
        message.sent |= bit;
        message.unsent &= !bit;
        if message.unsent == 0 {
            let wait = limits.retransmit_ns.saturating_mul(1 << message.passes.min(DOUBLINGS));
            message.due = now.saturating_add(wait);
        }
        Some(again)
    }

    /// The peer has these fragments; the message's number when it now has all.
    pub(super) fn acknowledged(&mut self, number: u32, bits: u64) -> Option<u32> {
        let at = self.messages.iter().position(|message| message.number == number)?;
        let message = &mut self.messages[at];
        // What was never sent cannot have come.
        let bits = bits & message.sent;
        if bits & !message.acked != 0 {
            message.passes = 0;
        }
        message.acked |= bits;
        message.unsent &= !bits;
        if message.acked != message.all() {
            return None;
        }
        self.messages.remove(at).map(|message| message.number)
    }

    /// The peer begins anew: what it had it has no more.
    pub(super) fn forget_acknowledgements(&mut self, now: u64) {
        for message in &mut self.messages {
            (message.acked, message.unsent, message.passes, message.due) = (0, message.all(), 0, now);
        }
    }

    /// A message that was not acknowledged in time, taken out.
    pub(super) fn give_up(&mut self, now: u64) -> Option<u32> {
        let at = self.messages.iter().position(|message| message.until <= now)?;
        self.messages.remove(at).map(|message| message.number)
    }

    /// When a fragment is next due, and when a message is next given up.
    pub(super) fn deadlines(&self, limits: &Limits) -> (Option<u64>, Option<u64>) {
        let mut long = 0;
        let active = self.messages.iter().filter(|message| {
            long += usize::from(message.count > 1);
            message.count == 1 || long <= limits.incoming
        });
        let due = active.map(|message| if message.unsent != 0 { 0 } else { message.due }).min();
        (due, self.messages.iter().map(|message| message.until).min())
    }
}
