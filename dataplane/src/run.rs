//! The loop of a worker: one clock read, one turn, then sleep to the grid or spin.

use crate::publish::Publisher;
use crate::terminal::Terminal;
use crate::worker::Worker;
use drover_crypto::Suite;
use drover_nic::Port;
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec};
use std::sync::atomic::{AtomicBool, Ordering};

/// What lies between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Sleep to the next multiple of this many ns on the monotonic clock. An arrival never wakes a worker: when it is
    /// awake must tell nothing of what came in (I6).
    Tick(u64),
    /// Nothing.
    Spin,
}

/// The monotonic clock, ns.
pub fn now() -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(ClockId::Monotonic);
    // The monotonic clock counts from boot: never negative.
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}

/// Turns the worker until `stop`.
pub fn run<P: Port, C: Suite, T: Terminal, const S: usize>(
    worker: &mut Worker<P, C, T, S>,
    rhythm: Rhythm,
    stop: &AtomicBool,
    publisher: &mut Publisher,
) {
    while !stop.load(Ordering::Relaxed) {
        let now = now();
        worker.turn(now);
        publisher.publish(now, worker);
        match rhythm {
            // A turn that took longer than a tick skips to the grid's next point that lies ahead: a point in the past
            // is no sleep at all, and the next turn reads the clock.
            Rhythm::Tick(tick) => sleep_until((now / tick + 1) * tick),
            Rhythm::Spin => std::hint::spin_loop(),
        }
    }
}

fn sleep_until(instant: u64) {
    let request = Timespec { tv_sec: (instant / 1_000_000_000) as i64, tv_nsec: (instant % 1_000_000_000) as _ };
    // Any other error is a wrong clock or instant, which these are not.
    while rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &request) == Err(Errno::INTR) {}
}
