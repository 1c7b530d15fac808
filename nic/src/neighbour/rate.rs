//! How often something may be done.

use std::time::{Duration, Instant};

/// At most `burst` at once and `burst` a second in the long run.
#[derive(Debug)]
pub(super) struct Rate {
    every: Duration,
    burst: u32,
    /// When the allowance would be full again.
    full_at: Instant,
}

impl Rate {
    /// Full at `now`. `a_second` of 0 allows nothing.
    pub(super) fn new(a_second: u32, now: Instant) -> Rate {
        let every = Duration::from_secs(1).checked_div(a_second).unwrap_or(Duration::MAX);
        Rate { every, burst: a_second, full_at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.burst == 0 {
            return false;
        }
        let full_at = self.full_at.max(now) + self.every;
        let allowed = full_at - now <= self.every * self.burst;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: &mut Rate, now: Instant) -> usize {
        (0..1000).take_while(|_| rate.take(now)).count()
    }

    #[test]
    fn a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut rate = Rate::new(100, start);
        assert_eq!(taken(&mut rate, start), 100);
        assert_eq!(taken(&mut rate, start + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut rate, start + Duration::from_secs(3600)), 100, "nothing is saved up beyond a burst");
        assert_eq!(taken(&mut Rate::new(0, start), start), 0);
    }
}
