//! One direction of a circuit: where its cells come in, and where they leave.

use crate::command::{LayerStep, Next};
use crate::limits::{COUNTER_JUMP, WAITING_PER_CIRCUIT};
use crate::window::CellWindow;

/// Where cells of one direction come in. Belongs to the worker of that link.
#[repr(align(64))]
pub struct Ingress {
    /// The link's index, and the circuit's id on it.
    pub link: u32,
    /// The circuit's id on that link.
    pub circuit: u32,
    /// What happens to the layer.
    pub step: LayerStep,
    /// Index of the layer key; unused by `End`.
    pub key: u32,
    /// The first counter; `None` until the first cell says it.
    pub first: Option<u64>,
    /// Added, wrapping, to the counter.
    pub offset: u64,
    /// Counters seen, less `first`.
    pub window: CellWindow,
    /// When the highest counter came, monotonic ns.
    pub last_at: u64,
    /// Where cells go.
    pub next: Next,
}

/// Time in steps of 2^10 ns, so that a waiting cell's arrival fits 32 bits (73 minutes).
const COARSE_BITS: u32 = 10;

/// An instant in coarse steps, wrapping.
fn coarse(now: u64) -> u32 {
    (now >> COARSE_BITS) as u32
}

/// How long a waiting cell may be when its slot comes, in a circuit of rounds of `round_ns`: a round, and half of one
/// for jitter. Without this bound a burst after somebody's stall would delay a call for as long as it lasts, since
/// cells leave no faster than they come.
pub const fn longest_wait(round_ns: u64) -> u64 {
    round_ns + round_ns / 2
}

/// What a circuit's window says of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterVerdict {
    /// New, and committed.
    New,
    /// Seen, or older than the window.
    Replay,
    /// Further ahead than the rate allows.
    Jump,
}

impl Ingress {
    /// Checks and commits a counter: the link has authenticated the cell (`docs/wire.md`, W-CIR).
    pub fn accept(&mut self, counter: u64, now: u64, round_ns: u64) -> CounterVerdict {
        let relative = counter.wrapping_sub(*self.first.get_or_insert(counter));
        let next = self.window.next();
        if relative >= next {
            let elapsed = now.saturating_sub(self.last_at) / round_ns;
            let furthest = next.saturating_add(COUNTER_JUMP).saturating_add(elapsed.saturating_mul(2));
            // Counters below the first wrap to the far end and land here.
            if relative >= furthest {
                return if relative > u64::MAX / 2 { CounterVerdict::Replay } else { CounterVerdict::Jump };
            }
            self.last_at = now;
        }
        if self.window.commit(relative) { CounterVerdict::New } else { CounterVerdict::Replay }
    }
}

/// Where cells of one direction leave. Belongs to the worker of that link.
#[repr(align(64))]
pub struct Egress {
    /// Tells this use of the index from earlier ones.
    pub tag: u32,
    /// The link's index.
    pub link: u32,
    /// Waiting cells, oldest first from `head`, each with when it came ([`coarse`]).
    pub queue: [(u32, u32); WAITING_PER_CIRCUIT],
    /// Place of the oldest.
    pub head: u8,
    /// How many wait.
    pub len: u8,
    /// In use.
    pub live: bool,
    /// Owns a slot.
    pub admitted: bool,
    /// Filled by the terminal: the end's index and the circuit's id on the link.
    pub end: Option<(u32, u32)>,
    /// Slot number from which the slot is drawn anew.
    pub redraw_at: u64,
}

impl Egress {
    /// Appends a waiting cell that came at `now`; false when as many wait as may.
    pub fn push(&mut self, cell: u32, now: u64) -> bool {
        let len = usize::from(self.len);
        if len == WAITING_PER_CIRCUIT {
            return false;
        }
        self.queue[(usize::from(self.head) + len) % WAITING_PER_CIRCUIT] = (cell, coarse(now));
        self.len += 1;
        true
    }

    /// Takes the oldest waiting cell, and how long it has waited at `now`, ns.
    pub fn pop(&mut self, now: u64) -> Option<(u32, u64)> {
        if self.len == 0 {
            return None;
        }
        let (cell, came) = self.queue[usize::from(self.head)];
        self.head = (self.head + 1) % WAITING_PER_CIRCUIT as u8;
        self.len -= 1;
        Some((cell, u64::from(coarse(now).wrapping_sub(came)) << COARSE_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(first: u64) -> Ingress {
        let next = Next::End { end: 0 };
        let window = CellWindow::starting_at(0);
        let first = Some(first);
        Ingress { link: 0, circuit: 1, step: LayerStep::Peel, key: 0, first, offset: 0, window, last_at: 0, next }
    }

    #[test]
    fn counters_start_anywhere_and_wrap() {
        let mut i = ingress(u64::MAX - 1);
        for c in [u64::MAX - 1, 0, u64::MAX, 1, 2] {
            assert_eq!(i.accept(c, 0, 20_000_000), CounterVerdict::New, "{c}");
            assert_eq!(i.accept(c, 0, 20_000_000), CounterVerdict::Replay, "{c}");
        }
        assert_eq!(i.accept(u64::MAX - 2, 0, 20_000_000), CounterVerdict::Replay);
    }

    #[test]
    fn a_jump_is_bounded_by_rate_and_time() {
        let round = 20_000_000;
        let mut i = ingress(100);
        assert_eq!(i.accept(100 + COUNTER_JUMP, 0, round), CounterVerdict::Jump);
        assert_eq!(i.accept(100 + COUNTER_JUMP - 1, 0, round), CounterVerdict::New);
        // One second at 50/s: 64 + 100 beyond the next.
        let next = 100 + COUNTER_JUMP;
        assert_eq!(i.accept(next + 164, 1_000_000_000, round), CounterVerdict::Jump);
        assert_eq!(i.accept(next + 163, 1_000_000_000, round), CounterVerdict::New);
        assert_eq!(i.accept(next + 150, 1_000_000_000, round), CounterVerdict::New);
    }

    #[test]
    fn waiting_cells_leave_in_order() {
        let mut e = Egress {
            tag: 0,
            link: 0,
            queue: [(0, 0); WAITING_PER_CIRCUIT],
            head: 0,
            len: 0,
            live: true,
            admitted: true,
            end: None,
            redraw_at: 0,
        };
        for round in 0..10u32 {
            let now = (u64::from(u32::MAX - 5) + u64::from(round)) << COARSE_BITS;
            assert!(e.push(2 * round, now) && e.push(2 * round + 1, now + 5_000));
            assert_eq!(e.pop(now + 10_240), Some((2 * round, 10_240)));
            assert!(e.pop(now + 10_240).is_some_and(|(cell, waited)| cell == 2 * round + 1 && waited <= 6_144));
            assert_eq!(e.pop(now), None);
        }
        assert!((0..WAITING_PER_CIRCUIT as u32).all(|c| e.push(c, 0)));
        assert!(!e.push(9, 0));
    }
}
