//! The suite that every port passes: the contract of [`Port`] as checks on two ports that can reach each other.
//!
//! Frames may take time to arrive, but none may be lost or reordered: run it over loopback or memory. "Nothing arrives"
//! is checked by sending a marker behind and receiving that first, so no check waits for silence.

mod checks;

use crate::{BURST, Endpoint, Port, PortCounters};
use std::time::{Duration, Instant};

/// How long frames may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Runs every check, each in both directions, on fresh ports: `make` gives two and the address of each.
///
/// # Panics
/// When a check fails; the message names the port, by `name`, the check and what was seen.
pub fn run<A: Port, B: Port>(name: &str, make: impl FnMut() -> (A, Endpoint, B, Endpoint)) {
    let failures = failures(PATIENCE, make);
    assert!(failures.is_empty(), "port {name}:\n  {}", failures.join("\n  "));
}

/// As [`run`], but tells what failed, one line a failed check and direction, and waits `patience` for frames.
pub fn failures<A: Port, B: Port>(
    patience: Duration,
    mut make: impl FnMut() -> (A, Endpoint, B, Endpoint),
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |check: &str, direction: &str, verdict: Verdict| {
        failures.extend(verdict.err().map(|what| format!("{check}, {direction}: {what}")));
    };
    for (name, check) in checks::all() {
        let (a, a_at, b, b_at) = make();
        note(name, "there", run_one(check, Bench::new((a, a_at), (b, b_at), patience)));
    }
    for (name, check) in checks::all() {
        let (a, a_at, b, b_at) = make();
        note(name, "back", run_one(check, Bench::new((b, b_at), (a, a_at), patience)));
    }
    failures
}

fn run_one<S: Port, R: Port>(check: checks::Check<S, R>, mut bench: Bench<S, R>) -> Verdict {
    check(&mut bench)?;
    bench.balance()
}

/// What a check says: what was wrong, if anything.
type Verdict = Result<(), String>;

/// Ends a check unless the condition holds.
macro_rules! demand {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
use demand;

/// A sending and a receiving port, and the books that their counters must agree with.
struct Bench<S, R> {
    sender: S,
    sender_at: Endpoint,
    receiver: R,
    receiver_at: Endpoint,
    patience: Duration,
    reserved: usize,
    committed: usize,
    sent: usize,
    discarded: usize,
    received: usize,
}

impl<S: Port, R: Port> Bench<S, R> {
    fn new(sender: (S, Endpoint), receiver: (R, Endpoint), patience: Duration) -> Bench<S, R> {
        Bench {
            sender: sender.0,
            sender_at: sender.1,
            receiver: receiver.0,
            receiver_at: receiver.1,
            patience,
            reserved: 0,
            committed: 0,
            sent: 0,
            discarded: 0,
            received: 0,
        }
    }

    fn tx_ring(&self) -> usize {
        self.sender.capabilities().tx_ring
    }

    fn pending(&self) -> usize {
        self.reserved - self.committed - self.discarded
    }

    /// Reserves and fills frames numbered from `first` for the receiver. Returns how many there were.
    fn reserve(&mut self, count: usize, len: usize, first: u64) -> Result<usize, String> {
        let room = self.tx_ring() - self.pending();
        let max_payload = self.sender.capabilities().max_payload;
        let burst = self.sender.reserve(count, len);
        let got = burst.len();
        let expected = if len > max_payload { 0 } else { count.min(BURST).min(room) };
        demand!(got == expected, "reserve({count}, {len}) with room for {room} gave {got} frames");
        for (number, frame) in (first..).zip(burst) {
            demand!(frame.data.len() == len, "reserved {len} bytes, got {}", frame.data.len());
            demand!(*frame.to == Endpoint::NONE, "a reserved frame is addressed to {}", frame.to);
            *frame.to = self.receiver_at;
            fill(frame.data, number);
        }
        self.reserved += got;
        self.balance()?;
        Ok(got)
    }

    /// Commits; the wire must take all but `refused` frames.
    fn commit(&mut self, count: usize, refused: usize) -> Verdict {
        let committed = count.min(self.pending());
        let sent = self.sender.commit(count);
        demand!(sent == committed - refused, "commit({count}) of {committed}, {refused} bad ones, sent {sent}");
        self.committed += committed;
        self.sent += sent;
        self.balance()
    }

    fn discard(&mut self, count: usize) -> Verdict {
        self.discarded += count.min(self.pending());
        self.sender.discard(count);
        self.balance()
    }

    /// Every frame is accounted for, on both sides.
    fn balance(&self) -> Verdict {
        demand!(
            self.sender.reserved() == self.pending(),
            "{} frames are reserved, reserved() says {}",
            self.pending(),
            self.sender.reserved()
        );
        let expected = PortCounters {
            sent: self.sent as u64,
            refused: (self.committed - self.sent) as u64,
            discarded: self.discarded as u64,
            ..PortCounters::default()
        };
        let counters = self.sender.counters();
        demand!(counters == expected, "the sender counts {counters:?}, not {expected:?}");
        let expected = PortCounters { received: self.received as u64, ..PortCounters::default() };
        let counters = self.receiver.counters();
        demand!(counters == expected, "the receiver counts {counters:?}, not {expected:?}");
        Ok(())
    }

    /// Receives one burst, which must obey `limit`.
    fn receive(&mut self, limit: usize) -> Result<Vec<(Endpoint, Vec<u8>)>, String> {
        let burst = self.receiver.receive(limit);
        demand!(burst.len() <= limit, "receive({limit}) gave {} frames", burst.len());
        let frames: Vec<_> = burst.iter().map(|frame| (frame.from, frame.data.to_vec())).collect();
        self.received += frames.len();
        Ok(frames)
    }

    /// Receives exactly the frames of these numbers and lengths, in order, in bursts of up to `limit`.
    fn expect(&mut self, limit: usize, frames: &[(u64, usize)]) -> Verdict {
        let deadline = Instant::now() + self.patience;
        let mut at = 0;
        while at < frames.len() {
            let burst = self.receive(limit)?;
            if burst.is_empty() {
                demand!(Instant::now() < deadline, "{at} of {} frames arrived", frames.len());
                std::thread::yield_now();
            }
            for (from, data) in burst {
                let Some(&(number, len)) = frames.get(at) else {
                    return Err(format!("a frame of {} bytes too many", data.len()));
                };
                demand!(from == self.sender_at, "sent by {}, received from {from}", self.sender_at);
                demand!(data.len() == len, "frame {number} of {len} bytes arrived with {}", data.len());
                let mut expected = vec![0; len];
                fill(&mut expected, number);
                demand!(data == expected, "frame {number} of {len} bytes arrived with other contents");
                at += 1;
            }
        }
        // Gives the frames back to ports that lend them.
        let none = self.receive(0)?;
        demand!(none.is_empty(), "receive(0) gave a frame");
        self.balance()
    }

    /// Sends `frames` and expects them, without filling any buffer on the way.
    fn exchange(&mut self, frames: &[(u64, usize)]) -> Verdict {
        for chunk in frames.chunks(self.tx_ring().min(16)) {
            for &(number, len) in chunk {
                self.reserve(1, len, number)?;
            }
            self.commit(chunk.len(), 0)?;
            self.expect(BURST, chunk)?;
        }
        Ok(())
    }

    /// Nothing is on its way: a marker sent now is what arrives next.
    fn expect_nothing_else(&mut self) -> Verdict {
        self.exchange(&[(1 << 63, 33)])
    }
}

/// Contents that tell frames, and places within a frame, apart.
fn fill(data: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for chunk in data.chunks_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bytes = (word ^ (word >> 31)).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}
