//! Few figures out of many: medians, percentiles of histograms, and how far chance alone could have moved a figure.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Resamplings of a bootstrap interval.
pub const RESAMPLES: usize = 2_000;
/// What lies outside a bootstrap interval at each end: 95 % are inside.
const TAIL: f64 = 0.025;

/// A figure and its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The figure of the values themselves.
    pub mean: f64,
    /// 2.5 % of resamplings are below.
    pub low: f64,
    /// 2.5 % of resamplings are above.
    pub high: f64,
}

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The q-quantile (0 to 1) of values in any order, linear between neighbours; `None` of nothing or when one is no number.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, part) = (sorted[place.floor() as usize], place.fract());
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * part)
}

/// The median.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The difference of two groups' means, second less first, and its 95 % bootstrap interval (Efron and Tibshirani 1993,
/// chapter 13, percentiles): each group is drawn anew from itself, with replacement. `None` when a group is empty or holds
/// something that is no number.
pub fn difference(first: &[f64], second: &[f64], seed: u64) -> Option<Interval> {
    bootstrap([first, second], |[first, second]| Some(mean(second)? - mean(first)?), seed)
}

/// The quotient of two groups' medians, second by first, likewise. `None` also when the first median is 0.
pub fn ratio_of_medians(first: &[f64], second: &[f64], seed: u64) -> Option<Interval> {
    let ratio = |[first, second]: [&[f64]; 2]| Some(median(second)? / median(first).filter(|median| *median != 0.0)?);
    bootstrap([first, second], ratio, seed)
}

fn bootstrap(groups: [&[f64]; 2], of: impl Fn([&[f64]; 2]) -> Option<f64>, seed: u64) -> Option<Interval> {
    let mean = of(groups).filter(|figure| figure.is_finite())?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut drawn = groups.map(<[f64]>::to_vec);
    let mut figures = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for (group, drawn) in groups.iter().zip(&mut drawn) {
            drawn.iter_mut().for_each(|value| *value = group[rng.random_range(0..group.len())]);
        }
        figures.push(of([&drawn[0], &drawn[1]])?);
    }
    Some(Interval { mean, low: quantile(&figures, TAIL)?, high: quantile(&figures, 1.0 - TAIL)? })
}

/// The data plane's histogram of lateness between two readings: upper bounds of buckets, ns, and counts; buckets without
/// counts left out, as in its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u64, u64)>);

impl Histogram {
    /// What came between two readings of one data plane, the earlier one first.
    pub fn between(before: &[(u64, u64)], after: &[(u64, u64)]) -> Histogram {
        let old = |bound| before.iter().find(|row| row.0 == bound).map_or(0, |row| row.1);
        let rows = after.iter().map(|(bound, count)| (*bound, count.saturating_sub(old(*bound))));
        let mut rows: Vec<_> = rows.filter(|row| row.1 > 0).collect();
        rows.sort_unstable();
        Histogram(rows)
    }

    /// Departures counted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|row| row.1).sum()
    }

    /// Adds another's counts, of another time.
    pub fn add(&mut self, other: &Histogram) {
        for (bound, count) in &other.0 {
            match self.0.binary_search_by_key(bound, |row| row.0) {
                Ok(at) => self.0[at].1 += count,
                Err(at) => self.0.insert(at, (*bound, *count)),
            }
        }
    }

    /// The q-quantile, µs, linear within its bucket, which is an eighth of an octave wide; `None` of nothing.
    pub fn quantile_us(&self, q: f64) -> Option<f64> {
        let rank = q.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0.0;
        for (bound, count) in &self.0 {
            let count = *count as f64;
            if below + count >= rank {
                let last = bound.saturating_sub(1);
                let width = last.checked_ilog2().map_or(1, |above| 1u64 << above.saturating_sub(3));
                let part = (rank - below) / count;
                return Some((*bound as f64 - width as f64 * (1.0 - part)) / 1e3);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_dataplane::counters::{Counters, lateness_bound};

    #[test]
    fn quantiles_and_means() {
        assert_eq!((mean(&[]), median(&[]), median(&[f64::NAN])), (None, None, None));
        assert_eq!((mean(&[1.0, 2.0]), median(&[3.0, 1.0, 2.0])), (Some(1.5), Some(2.0)));
        assert_eq!((quantile(&[0.0, 10.0], 0.25), quantile(&[4.0], 0.99)), (Some(2.5), Some(4.0)));
    }

    /// Values from a seed, around `centre`, 2 wide.
    fn around(centre: f64, count: usize, seed: u64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..count).map(|_| centre + rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn an_interval_holds_a_difference_that_is_there_and_is_the_seeds() {
        let (a, b) = (around(10.0, 60, 1), around(10.5, 60, 2));
        let found = difference(&a, &b, 7).expect("an interval");
        assert!(found.low < found.mean && found.mean < found.high, "{found:?}");
        assert!(found.low > 0.0 && found.low < 0.5 && found.high > 0.5 && found.high < 1.0, "{found:?}");
        assert_eq!(difference(&a, &b, 7), Some(found));
        assert_ne!(difference(&a, &b, 8), Some(found));
        let none = difference(&a, &a, 7).expect("an interval");
        assert!(none.low < 0.0 && none.high > 0.0, "{none:?}");
        assert_eq!(difference(&[], &b, 7), None);
        assert_eq!(difference(&[f64::INFINITY], &b, 7), None);
        // One value each: chance has nothing to draw from.
        assert_eq!(difference(&[1.0], &[3.0], 7), Some(Interval { mean: 2.0, low: 2.0, high: 2.0 }));
    }

    /// Of a hundred pairs of groups from one source about five have an interval without 0: more than twice that would be
    /// a wrong interval.
    #[test]
    fn intervals_are_as_wide_as_they_say() {
        let group = |n: u64| around(5.0, 20, n);
        let wrong = (0..100).filter(|n| {
            let found = difference(&group(2 * n), &group(2 * n + 1), *n).expect("an interval");
            found.low > 0.0 || found.high < 0.0
        });
        let wrong = wrong.count();
        assert!((1..=13).contains(&wrong), "{wrong}");
    }

    #[test]
    fn ratios_are_of_medians() {
        let found = ratio_of_medians(&[2.0, 2.0, 900.0], &[3.0, 3.0, 3.0], 1).expect("an interval");
        assert_eq!((found.mean, found.high), (1.5, 1.5));
        assert_eq!(ratio_of_medians(&[0.0], &[1.0], 1), None);
    }

    fn rows(counters: &Counters) -> Vec<(u64, u64)> {
        let all = counters.lateness.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(|(at, count)| (lateness_bound(at), *count)).collect()
    }

    #[test]
    fn histograms_are_differences_and_their_quantiles_lie_in_their_buckets() {
        let mut counters = Counters::default();
        counters.late(5_000);
        let before = rows(&counters);
        (0..99).for_each(|_| counters.late(100_000));
        counters.late(2_000_000);
        let mut found = Histogram::between(&before, &rows(&counters));
        assert_eq!(found.count(), 100);
        let near = |q, us: f64| {
            let value = found.quantile_us(q).expect("some");
            assert!((value / us - 1.0).abs() < 0.13, "{q}: {value} µs");
        };
        near(0.5, 100.0);
        near(0.99, 100.0);
        near(1.0, 2_000.0);
        let other = Histogram::between(&[], &before);
        found.add(&other);
        assert_eq!((found.count(), found.0[0].0), (101, before[0].0));
        found.add(&other);
        assert_eq!((found.count(), found.0.len()), (102, 3));
        assert_eq!(Histogram::default().quantile_us(0.5), None);
    }
}
