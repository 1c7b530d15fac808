//! A control daemon killed during the call, again and again, and its data plane with and without it: windows of lateness
//! and missed slots, compared.

use super::cast::Cast;
use super::host::{AWAY, Host};
use super::phone::DaemonStatus;
use super::report::{KillControl, Pair};
use super::stage::COME_BACK;
use crate::report::stats::{Histogram, Interval, difference};
use crate::socket::reports::Status;
use crate::supervise::Which;

/// How long a control daemon that has come back is left alone, s: as long as it was away.
const PAUSE: f64 = 5.0;
/// Departures that a window has at least: of fewer the 99th percentile is their latest.
const DEPARTURES_LEAST: u64 = 100;

/// One control daemon, killed in a rhythm. The default kills nobody.
#[derive(Default)]
pub struct Kill {
    plan: Option<KillPlan>,
}

struct KillPlan {
    /// The mix's place.
    mix: usize,
    /// Begin and end of the call, s of the show.
    call: (f64, f64),
    /// The first time, s of the call.
    at_s: f64,
    state: KillState,
    /// Links that it took over when it first came back.
    adopted: Option<u64>,
    watch: Watch,
}

#[derive(Clone, Copy, PartialEq)]
enum KillState {
    /// Alive, to be killed then.
    Until(f64),
    /// Killed then.
    Dead(f64),
    /// Alive, and left so.
    Spared,
}

impl Kill {
    /// Kills the control daemon of `mix` at second `at` of the call, if any.
    pub fn new(at: Option<f64>, mix: usize, call: (f64, f64)) -> Kill {
        let plan = at.map(|at_s| KillPlan {
            mix,
            call,
            at_s,
            state: KillState::Until(call.0 + at_s),
            adopted: None,
            watch: Watch::default(),
        });
        Kill { plan }
    }

    /// The mix whose daemon is killed in the next [`Kill::turn`].
    pub fn due(&self, now: f64) -> Option<usize> {
        self.plan.as_ref().filter(|plan| matches!(plan.state, KillState::Until(at) if at <= now)).map(|plan| plan.mix)
    }

    /// Kills who is due, and notices who has come back.
    pub fn turn(&mut self, now: f64, host: &mut Host, cast: &Cast) {
        let due = self.due(now).is_some();
        let Some(plan) = &mut self.plan else { return };
        if due {
            host.kill(plan.mix, Which::Control);
            plan.state = KillState::Dead(now);
        } else if let KillState::Dead(since) = plan.state {
            // Until its supervisor has noticed, it looks alive.
            if now - since < AWAY.as_secs_f64() / 2.0 || !host.ready(plan.mix) {
                return;
            }
            let adopted =
                DaemonStatus::of(&cast.mixes[plan.mix].control_socket).ok().and_then(|status| status.adopted());
            if let Some(adopted) = adopted {
                plan.adopted.get_or_insert(adopted);
                let next = now + PAUSE;
                let late = next + COME_BACK > plan.call.1;
                plan.state = if late { KillState::Spared } else { KillState::Until(next) };
            }
        }
    }

    /// The mix whose data plane is watched.
    pub fn watched(&self) -> Option<usize> {
        self.plan.as_ref().map(|plan| plan.mix)
    }

    /// Takes a reading of that data plane, during the call.
    pub fn read(&mut self, now: f64, status: &Status) {
        let Some(plan) = self.plan.as_mut().filter(|plan| (plan.call.0..=plan.call.1).contains(&now)) else { return };
        let phase = if matches!(plan.state, KillState::Dead(_)) { Phase::Without } else { Phase::With };
        plan.watch.take(status, phase);
    }

    /// What came of it.
    pub fn told(&self, cast: &Cast, seed: u64) -> Option<(KillControl, Compared)> {
        let plan = self.plan.as_ref()?;
        let compared = plan.watch.compare(seed);
        let told = KillControl {
            mix: cast.mixes[plan.mix].name.clone(),
            at_s: plan.at_s,
            adopted_links: plan.adopted.unwrap_or(0),
            lateness_p99_difference_us: compared.lateness_p99_difference_us,
        };
        Some((told, compared))
    }
}

/// A data plane's departures with and without its control daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compared {
    /// 99th percentile of their lateness over all windows of a kind, µs.
    pub lateness_p99_us: Pair<f64>,
    /// Slots missed.
    pub missed_slots: Pair<u64>,
    /// Mean of the windows' 99th percentiles, without less with, µs.
    pub lateness_p99_difference_us: Option<Interval>,
}

/// What one window was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The control daemon ran.
    With,
    /// It was dead, or coming back.
    Without,
}

/// Windows of one data plane.
#[derive(Default)]
pub struct Watch {
    /// The reading at which the next window begins.
    last: Option<Reading>,
    windows: Vec<(Phase, Histogram, u64)>,
}

struct Reading {
    lateness: Vec<(u64, u64)>,
    missed: u64,
    phase: Phase,
}

impl Watch {
    /// Takes a reading. A window is what lies between two readings of one phase: one in which the phase changed is of
    /// the dead daemon's time.
    pub fn take(&mut self, status: &Status, phase: Phase) {
        let lateness = status.lateness_ns.clone();
        let missed = status.classes.iter().map(|class| class.missed).sum();
        let now = Reading { lateness, missed, phase };
        if let Some(last) = self.last.replace(now) {
            let Some(now) = &self.last else { return };
            let histogram = Histogram::between(&last.lateness, &now.lateness);
            let phase = if last.phase == now.phase { phase } else { Phase::Without };
            self.windows.push((phase, histogram, now.missed.saturating_sub(last.missed)));
        }
    }

    /// The comparison. `seed` is of the bootstrap.
    pub fn compare(&self, seed: u64) -> Compared {
        let of = |wanted| self.windows.iter().filter(move |(phase, ..)| *phase == wanted);
        let p99 = |phase| {
            let mut all = Histogram::default();
            of(phase).for_each(|(_, histogram, _)| all.add(histogram));
            all.quantile_us(0.99).unwrap_or(0.0)
        };
        let missed = |phase| of(phase).map(|(_, _, missed)| missed).sum();
        let each = |phase| -> Vec<f64> {
            let enough = of(phase).filter(|(_, histogram, _)| histogram.count() >= DEPARTURES_LEAST);
            enough.filter_map(|(_, histogram, _)| histogram.quantile_us(0.99)).collect()
        };
        Compared {
            lateness_p99_us: Pair { before: p99(Phase::With), after: p99(Phase::Without) },
            missed_slots: Pair { before: missed(Phase::With), after: missed(Phase::Without) },
            lateness_p99_difference_us: difference(&each(Phase::With), &each(Phase::Without), seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::reports::ClassStatus;

    /// A status after `count` departures around `bound` ns and `slow` around ten times that.
    fn status(count: u64, slow: u64, missed: u64) -> Status {
        let lateness_ns = vec![(10_240, count), (102_400, slow)];
        let classes = vec![ClassStatus { missed, ..ClassStatus::default() }; 2];
        Status { lateness_ns, classes, ..Status::default() }
    }

    #[test]
    fn windows_are_told_apart_by_phase() {
        let mut watch = Watch::default();
        let (mut count, mut slow, mut missed) = (50, 7, 100);
        for window in 0..40 {
            let dead = (10..20).contains(&(window % 20));
            let phase = if dead { Phase::Without } else { Phase::With };
            watch.take(&status(count, slow, missed), phase);
            count += 350;
            if dead {
                slow += 30;
                missed += 1;
            }
        }
        let found = watch.compare(1);
        assert_eq!(watch.windows.len(), 39);
        assert!(found.lateness_p99_us.before < 11.0 && found.lateness_p99_us.after > 90.0, "{found:?}");
        // Twenty windows' steps of one slot in each of two classes; the last step came after the last reading.
        assert_eq!((found.missed_slots.before, found.missed_slots.after), (0, 38));
        let difference = found.lateness_p99_difference_us.expect("an interval");
        assert!(difference.low > 50.0 && difference.high < 100.0, "{difference:?}");
    }

    #[test]
    fn without_windows_there_is_no_interval() {
        let mut watch = Watch::default();
        assert_eq!(watch.compare(1), Compared::default());
        for _ in 0..3 {
            watch.take(&status(10, 0, 0), Phase::With);
        }
        assert_eq!(watch.compare(1).lateness_p99_difference_us, None);
    }
}
