//! A message channel in cells: fragments, acknowledgements, retransmission (`docs/wire.md`, W-CHN).
//!
//! The same channel runs in control cells of a link, in cells between a client and a hop, and end to end before a call.
//! Messages arrive once each, in any order. Pure state: time comes from outside.

mod frame;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use frame::Frame;
use incoming::{Incoming, Taken};
use outgoing::Outgoing;
use std::collections::VecDeque;

/// What a channel may hold and how fast it sends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a frame: what fits into one cell.
    pub frame: usize,
    /// Time between two frames of ours, ns.
    pub pace_ns: u64,
    /// Messages that may be sent and not yet acknowledged, waiting ones included.
    pub outgoing: usize,
    /// Messages that may be incomplete at once.
    pub incoming: usize,
    /// Bytes of the longest message; at most 64 frames' data.
    pub message: usize,
    /// First retransmission after this, ns; doubled each time up to eight times this.
    pub retransmit_ns: u64,
    /// A message not acknowledged after this is given up, ns; an incomplete one is forgotten after this.
    pub patience_ns: u64,
}

/// What was received, or became of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A whole message of the peer.
    Message {
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The peer has all of the message with this number.
    Acknowledged(u32),
    /// The message with this number was given up.
    GivenUp(u32),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As many messages wait as may.
    Full,
    /// Longer than a message may be.
    TooLong,
}

/// Why a frame is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// What a channel has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Frames of ours.
    pub sent: u64,
    /// Of these, sent again.
    pub retransmitted: u64,
    /// Frames that parsed.
    pub received: u64,
    /// Frames that did not, or went beyond a limit.
    pub refused: u64,
    /// Messages that never became whole.
    pub incomplete: u64,
}

/// Deliveries that may wait for [`Channel::poll`]; beyond them frames are refused, and come again.
const WAITING_MAX: usize = 64;
/// The least [`Limits::frame`], bytes: an acknowledgement of one message fits, and some data.
pub const FRAME_MIN: usize = 24;

/// One end of a channel.
pub struct Channel {
    limits: Limits,
    outgoing: Outgoing,
    incoming: Incoming,
    deliveries: VecDeque<Delivery>,
    /// When the next frame of ours may leave.
    next: u64,
    counters: ChannelCounters,
}

impl Channel {
    /// A channel with nothing said yet. `session` is drawn at random: a peer that begins anew is known by it.
    /// [`Limits::frame`] is at least [`FRAME_MIN`].
    pub fn new(limits: Limits, session: u32) -> Channel {
        debug_assert!(limits.frame >= FRAME_MIN);
        Channel {
            limits,
            outgoing: Outgoing::new(session),
            incoming: Incoming::default(),
            deliveries: VecDeque::new(),
            next: 0,
            counters: ChannelCounters::default(),
        }
    }

    /// Queues a message and returns its number.
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn send(&mut self, now_ns: u64, kind: u8, message: &[u8]) -> Result<u32, SendError> {
        self.outgoing.send(&self.limits, now_ns, kind, message)
    }

    /// Writes the next frame that is due at `now_ns` into `out`, which has [`Limits::frame`] bytes, all of them; false
    /// when none is.
    pub fn take_frame(&mut self, now_ns: u64, out: &mut [u8]) -> bool {
        if now_ns < self.next || out.len() != self.limits.frame {
            return false;
        }
        let ack = self.incoming.ack_due().is_some_and(|due| due <= now_ns);
        let fragment = self.outgoing.deadlines(&self.limits).0.is_some_and(|due| due <= now_ns);
        if !(ack || fragment) {
            return false;
        }
        // What follows the frame's own bytes is random, so that no body of a cell is known (W-CHN-1).
        if getrandom::fill(out).is_err() {
            return false;
        }
        let again = match ack {
            true => self.incoming.take_acks(self.outgoing.session(), out).map(|()| false),
            false => self.outgoing.take(&self.limits, now_ns, out),
        };
        let Some(again) = again else { return false };
        // One frame's lag is caught up, no more.
        let pace = self.limits.pace_ns;
        self.next = self.next.max(now_ns.saturating_sub(pace)).saturating_add(pace);
        self.counters.sent += 1;
        self.counters.retransmitted += u64::from(again);
        true
    }

    /// Takes a frame of the peer.
    ///
    /// # Errors
    /// [`BadFrame`], counted.
    pub fn on_frame(&mut self, now_ns: u64, frame: &[u8]) -> Result<(), BadFrame> {
        let taken = self.take(now_ns, frame);
        match taken {
            Ok(()) => self.counters.received += 1,
            Err(BadFrame) => self.counters.refused += 1,
        }
        taken
    }

    fn take(&mut self, now_ns: u64, frame: &[u8]) -> Result<(), BadFrame> {
        match frame::read(frame, self.limits.frame)? {
            Frame::Data(fragment) => {
                if self.deliveries.len() >= WAITING_MAX {
                    return Err(BadFrame);
                }
                self.expire(now_ns);
                if !self.heard(now_ns, fragment.session) {
                    return Ok(());
                }
                if let Taken::Whole(kind, bytes) = self.incoming.take(&self.limits, now_ns, &fragment)? {
                    self.deliveries.push_back(Delivery::Message { kind, bytes });
                }
            }
            Frame::Ack { from, of, entries } => {
                if !self.heard(now_ns, from) || of != self.outgoing.session() {
                    return Ok(());
                }
                for (message, bits) in entries.iter() {
                    let whole = self.outgoing.acknowledged(message, bits);
                    self.deliveries.extend(whole.map(Delivery::Acknowledged));
                }
            }
        }
        Ok(())
    }

    /// Notes the peer's session; false when it is one that is over.
    fn heard(&mut self, now_ns: u64, session: u32) -> bool {
        let incomplete = self.incoming.incomplete();
        match self.incoming.heard(session) {
            None => return false,
            Some(false) => {}
            Some(true) => {
                self.counters.incomplete += incomplete;
                self.outgoing.forget_acknowledgements(now_ns);
            }
        }
        true
    }

    /// The next whole message or outcome.
    pub fn poll(&mut self, now_ns: u64) -> Option<Delivery> {
        self.expire(now_ns);
        let given_up = || self.outgoing.give_up(now_ns).map(Delivery::GivenUp);
        self.deliveries.pop_front().or_else(given_up)
    }

    fn expire(&mut self, now_ns: u64) {
        self.counters.incomplete += self.incoming.expire(now_ns);
    }

    /// When [`Channel::take_frame`] or [`Channel::poll`] next has something to do by itself.
    pub fn deadline(&self) -> Option<u64> {
        if !self.deliveries.is_empty() {
            return Some(0);
        }
        let (fragment, give_up) = self.outgoing.deadlines(&self.limits);
        let frame = [fragment, self.incoming.ack_due()].into_iter().flatten().min();
        let frame = frame.map(|due| due.max(self.next));
        [frame, give_up, self.incoming.deadline()].into_iter().flatten().min()
    }

    /// Nothing is queued, unacknowledged, or to be acknowledged.
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.ack_due().is_none()
    }

    /// The counts.
    pub fn counters(&self) -> ChannelCounters {
        self.counters
    }
}
