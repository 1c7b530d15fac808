//! A message channel in cells: fragments, acknowledgements, retransmission (`docs/wire.md`, W-CHN).
//!
//! The same channel runs in control cells of a link, in cells between a client and a hop, and end to end before a call.
//! Messages arrive once each, in any order. Pure state: time comes from outside.

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

/// One end of a channel.
pub struct Channel {
    limits: Limits,
}

impl Channel {
    /// A channel with nothing said yet. `session` is drawn at random: a peer that begins anew is known by it.
    pub fn new(limits: Limits, _session: u32) -> Channel {
        Channel { limits }
    }
    /// Queues a message and returns its number.
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn send(&mut self, _now_ns: u64, _kind: u8, _message: &[u8]) -> Result<u32, SendError> {
        let _ = self.limits;
        todo!()
    }
    /// Writes the next frame that is due at `now_ns` into `out`, which has [`Limits::frame`] bytes, all of them; false
    /// when none is.
    pub fn take_frame(&mut self, _now_ns: u64, _out: &mut [u8]) -> bool {
        todo!()
    }
    /// Takes a frame of the peer.
    ///
    /// # Errors
    /// [`BadFrame`], counted.
    pub fn on_frame(&mut self, _now_ns: u64, _frame: &[u8]) -> Result<(), BadFrame> {
        todo!()
    }
    /// The next whole message or outcome.
    pub fn poll(&mut self, _now_ns: u64) -> Option<Delivery> {
        todo!()
    }
    /// When [`Channel::take_frame`] or [`Channel::poll`] next has something to do by itself.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    /// Nothing is queued or unacknowledged.
    pub fn is_idle(&self) -> bool {
        todo!()
    }
    /// The counts.
    pub fn counters(&self) -> ChannelCounters {
        todo!()
    }
}
