//! One direction of a circuit: where its cells come in, and where they leave.

use crate::command::{LayerStep, Next};
use crate::limits::{CELL_WINDOW, COUNTER_JUMP, WAITING_PER_CIRCUIT};
use crate::window::{CounterWindow, Place};
use drover_wire::control::OTHERS_MAX;

/// No cells but the stream's come in here.
pub const NO_OTHERS: u32 = u32::MAX;

/// Where cells of one direction come in: what every cell needs, a cache line. Belongs to the worker of that link.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Ingress {
    /// Counters seen; none is expected before the first is known.
    pub window: CounterWindow,
    /// Added, wrapping, to the counter.
    pub offset: u64,
    /// Where cells go.
    pub next: Next,
    /// Index of the layer key; unused by `End` and `Tap`.
    pub key: u32,
    /// When the furthest counter came, in steps of 2^[`IDLE_BITS`] ns.
    pub last_at: u32,
    /// What happens to the layer.
    pub step: LayerStep,
    /// The first counter is known: it was agreed, or the first cell said it.
    pub begun: bool,
    /// The first counter was said by a cell that nothing has vouched for yet ([`Ingress::vouch`]).
    pub unproven: bool,
    /// Hops beyond make cells of their own here ([`IngressRest::others`]).
    pub has_others: bool,
}

// The hot path reads an ingress for every cell.
const _: () = assert!(size_of::<Ingress>() == 64);

/// What few cells need of an ingress.
#[derive(Clone, Copy)]
pub struct IngressRest {
    /// The link's index.
    pub link: u32,
    /// The circuit's id on that link.
    pub circuit: u32,
    /// Index of the windows of cells that hops beyond make themselves; [`NO_OTHERS`] where there are none.
    pub others: u32,
}

/// Cells that one hop beyond makes itself: a counter range and a window of their own (`docs/wire.md`, W-CIR-12).
#[derive(Clone, Debug)]
struct Originator {
    first: u64,
    window: CounterWindow,
    last_at: u32,
}

/// The hops beyond an ingress that make cells of their own. Apart from [`Ingress`]: few circuits have any.
#[derive(Clone, Debug)]
pub struct Originators {
    of: [Originator; OTHERS_MAX],
    len: u8,
}

impl Originators {
    /// Originators whose first counters are these, known at `now`.
    pub fn new(firsts: &[u64], now: u64) -> Self {
        let first = |at: usize| firsts.get(at).copied().unwrap_or(0);
        let of = std::array::from_fn(|at| Originator {
            first: first(at),
            window: CounterWindow::starting_at(first(at)),
            last_at: idle_steps(now),
        });
        Originators { of, len: firsts.len().min(OTHERS_MAX) as u8 }
    }

    /// Checks and commits a counter of one of them; `None` when it is none's, and so the stream's.
    pub fn accept(&mut self, counter: u64, now: u64, round_ns: u64) -> Option<CounterVerdict> {
        self.of[..usize::from(self.len)].iter_mut().find_map(|o| {
            let relative = counter.wrapping_sub(o.first);
            if relative >= u64::MAX - (CELL_WINDOW - 1) {
                return Some(CounterVerdict::Replay);
            }
            // Before the first, or further than this hop can have come: not its own.
            let own = relative <= u64::MAX / 2;
            let verdict = own.then(|| judge(counter, &mut o.window, &mut o.last_at, now, round_ns))?;
            (verdict != CounterVerdict::Jump).then_some(verdict)
        })
    }
}

/// A circuit's idle time is told in steps of 2^this ns, about a millisecond: 49 days fit 32 bits.
const IDLE_BITS: u32 = 20;

/// An instant in steps of idle time, wrapping.
pub fn idle_steps(now: u64) -> u32 {
    (now >> IDLE_BITS) as u32
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
    #[inline]
    pub fn accept(&mut self, counter: u64, now: u64, round_ns: u64) -> CounterVerdict {
        if !self.begun {
            (self.window, self.begun) = (CounterWindow::starting_at(counter), true);
        }
        judge(counter, &mut self.window, &mut self.last_at, now, round_ns)
    }

    /// What a cell's end-to-end seal says of it. Until one is right, a first counter that a cell said is not believed: a
    /// late cell of a hop, from another range, must not take the place of the stream's first.
    pub fn vouch(&mut self, sound: bool) {
        if self.unproven && !sound {
            self.begun = false;
        }
        self.unproven &= !sound;
    }
}

/// Checks a counter and commits it.
#[inline]
fn judge(counter: u64, window: &mut CounterWindow, last_at: &mut u32, now: u64, round_ns: u64) -> CounterVerdict {
    match window.place(counter) {
        Place::Old => return CounterVerdict::Replay,
        Place::Missed => {}
        Place::Ahead(ahead) => {
            // Time is only asked where it matters: a division is long.
            if ahead >= COUNTER_JUMP {
                let elapsed = u64::from(idle_steps(now).wrapping_sub(*last_at)) << IDLE_BITS;
                if ahead - COUNTER_JUMP >= (elapsed / round_ns).saturating_mul(2) {
                    return CounterVerdict::Jump;
                }
            }
            *last_at = idle_steps(now);
        }
    }
    window.commit(counter);
    CounterVerdict::New
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
    /// The last batch of best-effort cells that it was counted in (`mixing.rs`).
    pub counted: u32,
}

// One cache line.
const _: () = assert!(size_of::<Egress>() == 64);

impl Egress {
    /// Appends a waiting cell that came at `now`; false when as many wait as may.
    #[inline]
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
    #[inline]
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
        Ingress {
            window: CounterWindow::starting_at(first),
            offset: 0,
            next: Next::End { end: 0 },
            key: 0,
            last_at: 0,
            step: LayerStep::Peel,
            begun: true,
            unproven: false,
            has_others: false,
        }
    }

    #[test]
    fn each_originator_has_its_own_window_and_the_rest_is_the_streams() {
        let round = 20_000_000;
        for first in [0, 1 << 40, u64::MAX - 3] {
            let mut others = Originators::new(&[first, 7777], 0);
            let mut accept = |n: u64| others.accept(n, 0, round);
            for n in 0..300u64 {
                assert_eq!(accept(first.wrapping_add(n)), Some(CounterVerdict::New), "{n}");
                assert_eq!(accept(first.wrapping_add(n)), Some(CounterVerdict::Replay), "{n}");
                assert_eq!(accept(7777 + n), Some(CounterVerdict::New));
            }
            // Old ones of this originator stay its own, as far back as its range goes and a window beyond.
            for n in [0, 100, 299] {
                assert_eq!(accept(first.wrapping_add(n)), Some(CounterVerdict::Replay));
            }
            assert_eq!(accept(first.wrapping_sub(CELL_WINDOW)), Some(CounterVerdict::Replay));
            assert_eq!(accept(first.wrapping_sub(CELL_WINDOW + 1)), None, "the stream's");
            assert_eq!(accept(first.wrapping_add(300 + COUNTER_JUMP)), None, "the stream's");
            assert_eq!(accept(first.wrapping_add(300 + COUNTER_JUMP - 1)), Some(CounterVerdict::New));
        }
    }

    #[test]
    fn a_first_counter_is_believed_once_vouched_for() {
        let round = 20_000_000;
        let mut i = Ingress { begun: false, unproven: true, ..ingress(0) };
        assert_eq!(i.accept(1 << 50, 0, round), CounterVerdict::New);
        i.vouch(false);
        assert_eq!(i.accept(9, 0, round), CounterVerdict::New, "the stream is not shut out by what came first");
        i.vouch(true);
        i.vouch(false);
        assert_eq!(i.accept(9, 0, round), CounterVerdict::Replay, "what was vouched for stays");
        assert_eq!(i.accept(10, 0, round), CounterVerdict::New);
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
        // One second at 50/s and a step of idle time: 64 + 100 beyond the next.
        let (next, second) = (100 + COUNTER_JUMP, 1_000_000_000 + (1 << IDLE_BITS));
        assert_eq!(i.accept(next + 164, second, round), CounterVerdict::Jump);
        assert_eq!(i.accept(next + 163, second, round), CounterVerdict::New);
        assert_eq!(i.accept(next + 150, second, round), CounterVerdict::New);
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
            counted: 0,
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
