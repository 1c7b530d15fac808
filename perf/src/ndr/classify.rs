//! What trials at one load say about it: a lower bound, an upper bound, or nothing yet (RFC 9971, Load Classification).

/// A rate that is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Trials with at most this loss are low-loss trials.
    pub loss_ratio: f64,
    /// The part of all trials, by duration, that may be high-loss ones.
    pub exceed_ratio: f64,
    /// Relative width of the interval between the bounds.
    pub width: f64,
    /// Duration of the first trials, s.
    pub initial_trial_s: f64,
    /// Duration of the last ones, s.
    pub final_trial_s: f64,
    /// Trials of this duration in all, s, settle a load for good.
    pub duration_sum_s: f64,
}

/// One stage of the way to a goal: coarse and quick ones come first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// As in [`Goal`].
    pub loss_ratio: f64,
    /// As in [`Goal`].
    pub exceed_ratio: f64,
    /// Steps of the grid of loads.
    pub width: usize,
    /// Trials at least so long are full-length ones, s.
    pub trial_s: f64,
    /// s.
    pub duration_sum_s: f64,
}

/// A trial's outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// s.
    pub duration_s: f64,
    /// Cells lost, as a part of those offered.
    pub loss_ratio: f64,
}

/// What is known of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It loses no more than it may.
    Lower,
    /// It loses more.
    Upper,
    /// Trials yet to come can still decide either way.
    Undecided,
}

/// Slack of sums of durations, s: they are sums of decimal fractions.
const SLACK: f64 = 1e-9;

/// Classifies a load by its trials: it is settled when not even the trials that are missing could change the verdict.
/// Short high-loss trials count only beyond what short low-loss ones outweigh; short low-loss ones alone settle nothing.
pub fn classify(target: &Target, trials: &[Outcome]) -> Class {
    let sum = |full: bool, low: bool| -> f64 {
        let is = |trial: &&Outcome| {
            (trial.duration_s + SLACK >= target.trial_s) == full && (trial.loss_ratio <= target.loss_ratio) == low
        };
        trials.iter().filter(is).map(|trial| trial.duration_s).sum()
    };
    let Target { exceed_ratio, duration_sum_s, .. } = *target;
    let balancing = match exceed_ratio < 1.0 {
        true => sum(false, true) * exceed_ratio / (1.0 - exceed_ratio),
        false => f64::INFINITY,
    };
    let high = sum(true, false) + (sum(false, false) - balancing).max(0.0);
    let low = sum(true, true);
    let whole = (low + high).max(duration_sum_s);
    let allowed = whole * exceed_ratio + SLACK;
    // As if all that is missing lost too much, and as if none of it did.
    let (pessimist, optimist) = (whole - low <= allowed, high <= allowed);
    match (pessimist, optimist) {
        (true, true) => Class::Lower,
        (false, false) => Class::Upper,
        _ => Class::Undecided,
    }
}

/// The rate that comes through at a load: the load less the loss of the worst trial that is needed for the verdict
/// (RFC 9971, Conditional Throughput).
pub fn conditional_throughput(target: &Target, load: f64, trials: &[Outcome]) -> f64 {
    let mut full: Vec<_> = trials.iter().filter(|trial| trial.duration_s + SLACK >= target.trial_s).collect();
    full.sort_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
    let whole: f64 = full.iter().map(|trial| trial.duration_s).sum::<f64>().max(target.duration_sum_s);
    let mut left = whole * (1.0 - target.exceed_ratio);
    let mut loss = None;
    for trial in full {
        if loss.is_some() && left <= SLACK {
            break;
        }
        loss = Some(trial.loss_ratio);
        left -= trial.duration_s;
    }
    let loss = if left > SLACK { 1.0 } else { loss.unwrap_or(1.0) };
    load * (1.0 - loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FINAL: Target = Target { loss_ratio: 0.005, exceed_ratio: 0.5, width: 1, trial_s: 1.0, duration_sum_s: 21.0 };

    fn trials(low: usize, high: usize) -> Vec<Outcome> {
        let of = |loss_ratio, count| vec![Outcome { duration_s: 1.0, loss_ratio }; count];
        [of(0.005, low), of(0.0051, high)].concat()
    }

    #[test]
    fn eleven_of_twenty_one_trials_settle_a_load() {
        for (low, high, class) in [
            (0, 0, Class::Undecided),
            (10, 0, Class::Undecided),
            (11, 0, Class::Lower),
            (11, 10, Class::Lower),
            (0, 10, Class::Undecided),
            (0, 11, Class::Upper),
            (10, 11, Class::Upper),
            (10, 10, Class::Undecided),
        ] {
            assert_eq!(classify(&FINAL, &trials(low, high)), class, "{low} {high}");
        }
    }

    #[test]
    fn rfc_2544_is_one_trial_and_no_loss() {
        let target = Target { loss_ratio: 0.0, exceed_ratio: 0.0, width: 1, trial_s: 60.0, duration_sum_s: 60.0 };
        let one = |duration_s, loss_ratio| classify(&target, &[Outcome { duration_s, loss_ratio }]);
        assert_eq!((one(60.0, 0.0), one(60.0, 1e-9)), (Class::Lower, Class::Upper));
        // A short trial without loss settles nothing; one with loss does.
        assert_eq!((one(1.0, 0.0), one(1.0, 0.1)), (Class::Undecided, Class::Upper));
    }

    #[test]
    fn the_rate_is_that_of_the_worst_trial_needed() {
        let of = |losses: &[f64]| -> Vec<Outcome> {
            losses.iter().map(|loss| Outcome { duration_s: 7.0, loss_ratio: *loss }).collect()
        };
        // Of 21 s half is needed: the two best of three.
        assert_eq!(conditional_throughput(&FINAL, 100.0, &of(&[0.5, 0.0, 0.1])), 90.0);
        assert_eq!(conditional_throughput(&FINAL, 100.0, &of(&[0.0])), 0.0, "too few trials vouch for nothing");
        let low = [Outcome { duration_s: 1.0, loss_ratio: 0.001 }; 11];
        assert!((conditional_throughput(&FINAL, 100.0, &low) - 99.9).abs() < 1e-9);
    }

    proptest! {
        /// Whatever comes, a load is settled by the time that the sum is reached, and then by the majority.
        #[test]
        fn a_load_is_settled_in_the_end(losses in prop::collection::vec(prop::bool::ANY, 21..40)) {
            let trials: Vec<_> =
                losses.iter().map(|high| Outcome { duration_s: 1.0, loss_ratio: if *high { 1.0 } else { 0.0 } }).collect();
            let high = losses.iter().filter(|high| **high).count();
            let expected = if 2 * high <= losses.len() { Class::Lower } else { Class::Upper };
            prop_assert_eq!(classify(&FINAL, &trials), expected);
        }
    }
}
