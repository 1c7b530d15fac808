//! The bare loop: what a departure could not be earlier than on this core.

use crate::live::{Grid, histogram, record};
use drover_dataplane::run::{Rhythm, now};
use hdrhistogram::Histogram;
use rustix::io::Errno;
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::Timespec;

/// Until `end`, reads the clock in the rhythm of a worker's loop and does nothing else. For each slot of the grid: how
/// long after its instant the clock was read first, ns.
pub fn bare_loop(grid: &Grid, rhythm: Rhythm, end: u64) -> Histogram<u64> {
    let mut lateness = histogram();
    let mut cursor = grid.cursor();
    loop {
        let read = now();
        while let Some(due) = cursor.peek().filter(|due| *due <= read) {
            record(&mut lateness, read - due);
            cursor.step();
        }
        if read >= end {
            return lateness;
        }
        match rhythm {
            Rhythm::Tick(tick) => sleep_until((read / tick + 1) * tick),
            Rhythm::Spin => std::hint::spin_loop(),
        }
    }
}

fn sleep_until(instant: u64) {
    let request = Timespec { tv_sec: (instant / 1_000_000_000) as i64, tv_nsec: (instant % 1_000_000_000) as _ };
    while clock_nanosleep_absolute(ClockId::Monotonic, &request) == Err(Errno::INTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_until_the_end_is_counted_once() {
        for rhythm in [Rhythm::Spin, Rhythm::Tick(500_000)] {
            let begin = now();
            let grid = Grid::new(begin, 1_000_000, 4, &[0, 1 << 30, 3 << 30]);
            let lateness = bare_loop(&grid, rhythm, begin + 5_000_000);
            // The loop ends at its first reading at or after the end, however late that is.
            assert!(lateness.len() >= 5 * 4 * 3, "{}", lateness.len());
        }
    }
}
