//! The search itself: which load to try next, until every goal has its bounds. A state machine without clock or I/O.
//!
//! It follows RFC 9971 (MLRsearch) with the heuristics that FD.io CSIT describes: loads on a geometric grid; the first
//! trial, at the most load, warms up; its rate, and the rate at that, are where the search begins; each goal is reached
//! over coarser and shorter targets, all goals' coarse ones first; an interval is widened by doubling and then halved; a
//! load is tried again until its verdict stands.

use super::classify::{Class, Goal, Outcome, Target, classify, conditional_throughput};
use std::collections::BTreeMap;

/// Targets of each goal, the last one the goal itself.
pub const TARGETS: usize = 3;
/// Loads of the grid at most.
const GRID_MAX: usize = 1 << 16;
/// Invalid trials at one load before the search keeps below it.
const INVALID_MAX: u32 = 3;
/// How far below, as a natural logarithm.
const BELOW_INVALID: f64 = 0.1;

/// What to measure next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// Cells a second.
    pub load: f64,
    /// s.
    pub duration_s: f64,
}

/// What was found for a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The relevant lower bound, cells a second; `None` where even the least load loses too much, or nothing is known.
    pub lower: Option<f64>,
    /// The relevant upper bound, cells a second; `None` where the most load does not lose too much, or nothing is known.
    pub upper: Option<f64>,
    /// The rate that comes through at the lower bound, cells a second.
    pub conditional_throughput: Option<f64>,
    /// Both bounds stand, as near to each other as the goal asks.
    pub regular: bool,
    /// The search for it has ended: with a regular result, or because no load there is can be a bound.
    pub complete: bool,
}

/// A search for the rates of several goals.
#[derive(Clone, Debug)]
pub struct Search {
    goals: Vec<Goal>,
    /// Of each goal.
    targets: Vec<[Target; TARGETS]>,
    /// Natural logarithm of the least load and of a step.
    low: f64,
    step: f64,
    /// The highest place of the grid that may be tried.
    top: usize,
    trials: BTreeMap<usize, Vec<Outcome>>,
    /// Where to look first.
    hints: Vec<usize>,
    warmed_up: bool,
    /// The place that is being tried.
    at: Option<usize>,
    /// For which goal and stage, and which place.
    focus: Option<(usize, usize, usize)>,
    invalid: BTreeMap<usize, u32>,
}

/// What a target still needs.
enum Need {
    Nothing,
    Trial(usize),
}

impl Search {
    /// A search between two loads, cells a second.
    ///
    /// # Errors
    /// No goal; loads or ratios that are none.
    pub fn new(least: f64, most: f64, goals: &[Goal]) -> Result<Search, String> {
        if !(least.is_finite() && most.is_finite() && 0.0 < least && least < most) {
            return Err(format!("loads of {least} to {most} cells a second are no range"));
        }
        let is_good = |goal: &Goal| {
            (0.0..1.0).contains(&goal.loss_ratio)
                && (0.0..1.0).contains(&goal.exceed_ratio)
                && goal.width > 0.0
                && goal.width < 1.0
                && goal.initial_trial_s > 0.0
                && goal.initial_trial_s <= goal.final_trial_s
                && goal.final_trial_s <= goal.duration_sum_s
                && goal.duration_sum_s.is_finite()
        };
        let narrowest = goals.iter().filter(|goal| is_good(goal)).map(|goal| goal.width).fold(1.0, f64::min);
        if goals.is_empty() || !goals.iter().all(is_good) {
            return Err(
                "a goal's ratios lie between 0 and 1, and its durations rise from first trial to sum".to_owned()
            );
        }
        // A step is the narrowest interval that is asked for.
        let span = (most / least).ln();
        let top = ((span / -(1.0 - narrowest).ln()).ceil() as usize).clamp(1, GRID_MAX);
        let step = span / top as f64;
        let targets = goals.iter().map(|goal| targets(goal, step)).collect();
        Ok(Search {
            goals: goals.to_vec(),
            targets,
            low: least.ln(),
            step,
            top,
            trials: BTreeMap::new(),
            hints: Vec::new(),
            warmed_up: false,
            at: None,
            focus: None,
            invalid: BTreeMap::new(),
        })
    }

    /// The load of a place of the grid.
    fn load(&self, place: usize) -> f64 {
        (self.low + self.step * place as f64).exp()
    }

    /// The highest place whose load is at most this.
    fn place(&self, load: f64) -> usize {
        let place = (load.max(f64::MIN_POSITIVE).ln() - self.low) / self.step;
        (place + 1e-6).floor().clamp(0.0, self.top as f64) as usize
    }

    /// What to measure next; `None` when all goals are done. Until the answer is told it stays the same.
    pub fn ask(&mut self) -> Option<Ask> {
        if !self.warmed_up {
            self.at = Some(self.top);
            return Some(Ask { load: self.load(self.top), duration_s: self.goals[0].initial_trial_s });
        }
        for stage in 0..TARGETS {
            for goal in 0..self.goals.len() {
                if let Need::Trial(place) = self.need(goal, stage) {
                    (self.at, self.focus) = (Some(place), Some((goal, stage, place)));
                    return Some(Ask { load: self.load(place), duration_s: self.targets[goal][stage].trial_s });
                }
            }
        }
        self.at = None;
        None
    }

    /// The answer to what was asked: loss as a part of what was offered, over a trial of this duration.
    pub fn told(&mut self, duration_s: f64, loss_ratio: f64) {
        let Some(place) = self.at.take() else { return };
        let rate = self.load(place) * (1.0 - loss_ratio);
        if !self.warmed_up {
            // The warm-up counts for nothing but where to begin.
            self.warmed_up = true;
            self.hints.push(self.place(rate));
            return;
        }
        if self.trials.is_empty() {
            self.hints.push(self.place(rate));
        }
        self.trials.entry(place).or_default().push(Outcome { duration_s, loss_ratio });
    }

    /// What was asked could not be measured: nothing is known of the load. After a few of these at one load the search
    /// keeps below it. False when no load is left.
    pub fn told_invalid(&mut self) -> bool {
        let Some(place) = self.at.take() else { return true };
        let count = self.invalid.entry(place).or_default();
        *count += 1;
        if *count >= INVALID_MAX {
            if place == 0 {
                return false;
            }
            // A tenth below, not a step: what the generator cannot give by one step it cannot give by the next.
            let below = (BELOW_INVALID / self.step).ceil() as usize;
            self.top = self.top.min(place.saturating_sub(below.max(1)));
        }
        true
    }

    /// The most load that the search has not given up, cells a second.
    pub fn most(&self) -> f64 {
        self.load(self.top)
    }

    /// The relevant bounds of a target: the least upper one, and the greatest lower one below it.
    fn bounds(&self, target: &Target) -> (Option<usize>, Option<usize>) {
        let of = |class: Class| {
            self.trials
                .range(..=self.top)
                .filter(move |(_, trials)| classify(target, trials) == class)
                .map(|row| *row.0)
        };
        let upper = of(Class::Upper).min();
        let lower = of(Class::Lower).filter(|place| upper.is_none_or(|upper| *place < upper)).max();
        (lower, upper)
    }

    /// What a goal still needs for its target of a stage.
    fn need(&self, goal: usize, stage: usize) -> Need {
        let target = &self.targets[goal][stage];
        let (lower, upper) = self.bounds(target);
        let inside = |place: usize| lower.is_none_or(|at| place > at) && upper.is_none_or(|at| place < at);
        let is_open = |place: usize| {
            let trials = self.trials.get(&place).map_or(&[][..], Vec::as_slice);
            place <= self.top && inside(place) && classify(target, trials) == Class::Undecided
        };
        // What was begun is finished, unless a bound has made it irrelevant.
        if let Some((_, _, place)) = self.focus.filter(|(g, s, place)| (*g, *s) == (goal, stage) && is_open(*place)) {
            return Need::Trial(place);
        }
        // What the stage before took for bounds may be bounds here.
        let before = stage.checked_sub(1).map_or((None, None), |before| self.bounds(&self.targets[goal][before]));
        let (below, above) = (before.0.filter(|at| is_open(*at)), before.1.filter(|at| is_open(*at)));
        match (lower, upper) {
            (Some(lower), Some(upper)) if upper - lower <= target.width => Need::Nothing,
            (Some(lower), Some(upper)) => Need::Trial(usize::midpoint(lower, upper)),
            (Some(lower), None) if lower == self.top => Need::Nothing,
            (None, Some(0)) => Need::Nothing,
            (Some(lower), None) => {
                let on = (lower + self.reach(target)).min(self.top);
                Need::Trial(above.or_else(|| self.hint(lower + 1, self.top)).unwrap_or(on))
            }
            (None, Some(upper)) => {
                let on = upper.saturating_sub(self.reach(target));
                Need::Trial(below.or_else(|| self.hint(0, upper - 1)).unwrap_or(on))
            }
            (None, None) => {
                let hint = self.hints.last().map_or(self.top, |hint| (*hint).min(self.top));
                Need::Trial(below.or(above).unwrap_or(hint))
            }
        }
    }

    /// Where the search was told to begin, if that is within these places and untried.
    fn hint(&self, from: usize, to: usize) -> Option<usize> {
        let is_new = |hint: &&usize| (from..=to).contains(*hint) && !self.trials.contains_key(*hint);
        self.hints.iter().rev().find(is_new).copied()
    }

    /// How far to go where one bound is missing: twice as far each time.
    fn reach(&self, target: &Target) -> usize {
        let (lower, upper) = self.bounds(target);
        let tried = match (lower, upper) {
            (Some(lower), _) => {
                self.trials.range(..=lower).filter(|row| classify(target, row.1) == Class::Lower).count()
            }
            (_, Some(upper)) => {
                self.trials.range(upper..).filter(|row| classify(target, row.1) == Class::Upper).count()
            }
            _ => 1,
        };
        target.width.saturating_mul(1 << tried.clamp(1, 20)).max(1)
    }

    /// What is known of a goal, by number: of its last stage that has come to its end, else of the last that has both bounds,
    /// or one.
    pub fn found(&self, goal: usize) -> Found {
        let known = |stage: usize| {
            let target = &self.targets[goal][stage];
            let (lower, upper) = self.bounds(target);
            let (is_last, has_ended) = (stage == TARGETS - 1, matches!(self.need(goal, stage), Need::Nothing));
            let rate = lower.map(|at| conditional_throughput(target, self.load(at), &self.trials[&at]));
            let found = Found {
                lower: lower.map(|at| self.load(at)),
                upper: upper.map(|at| self.load(at)),
                conditional_throughput: rate,
                regular: is_last && has_ended && lower.is_some() && upper.is_some(),
                complete: is_last && has_ended,
            };
            (found, has_ended)
        };
        let stages: Vec<(Found, bool)> = (0..TARGETS).rev().map(known).collect();
        let ended = stages.iter().find(|(_, has_ended)| *has_ended);
        let both = || stages.iter().find(|(found, _)| found.lower.is_some() && found.upper.is_some());
        let one = || stages.iter().find(|(found, _)| found.lower.is_some() || found.upper.is_some());
        ended.or_else(both).or_else(one).unwrap_or(&stages[0]).0
    }
}

/// The targets of a goal: the sum of durations rises to the goal's in equal quotients, the width falls by halves.
fn targets(goal: &Goal, step: f64) -> [Target; TARGETS] {
    let width = ((-(1.0 - goal.width).ln() / step + 1e-6).floor() as usize).max(1);
    let between = |first: f64, last: f64, stage: usize| match stage + 1 {
        TARGETS => last,
        _ => first * (last / first).powf(stage as f64 / (TARGETS - 1) as f64),
    };
    std::array::from_fn(|stage| {
        let trial_s = between(goal.initial_trial_s, goal.final_trial_s, stage);
        Target {
            loss_ratio: goal.loss_ratio,
            exceed_ratio: goal.exceed_ratio,
            width: width << (TARGETS - 1 - stage),
            trial_s,
            duration_sum_s: between(goal.initial_trial_s, goal.duration_sum_s, stage).max(trial_s),
        }
    })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
