//! Progress on standard error: a line a second, no more.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Says once a second how far something is.
pub struct Progress {
    begin: Instant,
    told: u64,
}

impl Progress {
    /// Says what begins.
    pub fn begin(what: impl Display) -> Progress {
        eprintln!("{what}");
        Progress { begin: Instant::now(), told: 0 }
    }

    /// Says how far it is, if a second has gone by since the last time.
    pub fn tell<T: Display>(&mut self, how_far: impl FnOnce() -> T) {
        let seconds = self.begin.elapsed().as_secs();
        if seconds > self.told {
            self.told = seconds;
            eprintln!("{seconds} s: {}", how_far());
        }
    }

    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }
}
