//! Searches of devices that are only numbers.

use super::*;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// As FD.io CSIT has them.
fn goals() -> [Goal; 2] {
    let goal = |loss_ratio| Goal {
        loss_ratio,
        exceed_ratio: 0.5,
        width: 0.005,
        initial_trial_s: 1.0,
        final_trial_s: 1.0,
        duration_sum_s: 21.0,
    };
    [goal(0.0), goal(0.005)]
}

/// Searches a device whose loss at a load `loss` tells; the findings, and trials made.
fn search(least: f64, most: f64, mut loss: impl FnMut(f64) -> f64) -> ([Found; 2], usize) {
    let mut search = Search::new(least, most, &goals()).unwrap();
    let mut trials = 0;
    while let Some(ask) = search.ask() {
        assert!(ask.load >= least * 0.999_999 && ask.load <= most * 1.000_001 && ask.duration_s == 1.0);
        assert_eq!(search.ask(), Some(ask), "asking twice changes nothing");
        search.told(ask.duration_s, loss(ask.load));
        trials += 1;
        assert!(trials < 5_000, "the search does not end");
    }
    ([search.found(0), search.found(1)], trials)
}

/// Everything above the capacity is lost.
fn device(capacity: f64) -> impl Fn(f64) -> f64 {
    move |load| (1.0 - capacity / load).max(0.0)
}

#[test]
fn a_device_with_a_capacity_is_found() {
    for capacity in [1.1e5, 1e6, 3.3e6, 9.8e6] {
        let ([ndr, pdr], trials) = search(1e5, 1e7, device(capacity));
        assert!(ndr.regular && pdr.regular && ndr.complete && pdr.complete, "{capacity}: {ndr:?} {pdr:?}");
        let (lower, upper) = (ndr.lower.unwrap(), ndr.upper.unwrap());
        assert!(lower <= capacity && capacity < upper && upper * 0.994_9 <= lower, "{capacity}: {ndr:?}");
        assert_eq!(ndr.conditional_throughput, Some(lower));
        // Half a per cent may be lost.
        let most = capacity / 0.995;
        let (lower, upper) = (pdr.lower.unwrap(), pdr.upper.unwrap());
        assert!(lower <= most && most < upper && upper * 0.994_9 <= lower, "{capacity}: {pdr:?}");
        assert!((pdr.conditional_throughput.unwrap() / lower.min(capacity) - 1.0).abs() < 1e-9);
        // Eleven trials a bound settle it, and few loads are tried.
        assert!(trials < 130, "{capacity}: {trials} trials");
    }
}

#[test]
fn without_loss_the_most_load_is_found_and_with_nothing_but_loss_none() {
    let ([ndr, pdr], trials) = search(1e5, 1e7, |_| 0.0);
    for found in [ndr, pdr] {
        assert!((found.lower.unwrap() / 1e7 - 1.0).abs() < 1e-9 && found.upper.is_none());
        assert!(!found.regular && found.complete);
    }
    assert!(trials < 30, "{trials}");
    let ([ndr, pdr], trials) = search(1e5, 1e7, |_| 1.0);
    for found in [ndr, pdr] {
        assert!((found.upper.unwrap() / 1e5 - 1.0).abs() < 1e-9 && found.lower.is_none());
        assert!(found.conditional_throughput.is_none() && !found.regular && found.complete);
    }
    assert!(trials < 200, "{trials}");
}

#[test]
fn a_few_bad_trials_do_not_move_the_rate() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let capacity = 2.5e6;
        // One trial in five is hit by the machine.
        let ([ndr, pdr], trials) = search(1e5, 1e7, |load| {
            let hit = if rng.random_bool(0.2) { rng.random_range(0.0..0.3) } else { 0.0 };
            (device(capacity)(load) + hit).min(1.0)
        });
        assert!(ndr.regular && pdr.regular, "{seed}");
        let rate = ndr.conditional_throughput.unwrap();
        // A coarse target believes one trial; what it gets wrong, the last one widens again.
        assert!((0.93 * capacity..=capacity).contains(&rate), "{seed}: {rate}");
        assert!(trials < 400, "{seed}: {trials}");
    }
}

#[test]
fn what_cannot_be_measured_is_avoided_and_nothing_is_made_of_it() {
    let mut search = Search::new(1e5, 1e7, &goals()).unwrap();
    let mut trials = 0;
    while let Some(ask) = search.ask() {
        trials += 1;
        assert!(trials < 5_000);
        // The generator gives no more than 4 million.
        if ask.load > 4e6 {
            assert!(search.told_invalid());
        } else {
            search.told(ask.duration_s, 0.0);
        }
    }
    let found = search.found(0);
    assert!(found.upper.is_none() && found.complete && !found.regular);
    assert!(found.lower.unwrap() <= 4e6 && found.lower.unwrap() == search.most());
    let mut none = Search::new(1e5, 1.01e5, &goals()).unwrap();
    while none.ask().is_some() && none.told_invalid() {}
    assert_eq!(none.found(0).lower, None);
}

#[test]
fn a_search_that_is_stopped_tells_what_it_knows() {
    let mut search = Search::new(1e5, 1e7, &goals()).unwrap();
    assert_eq!(search.found(0).lower, None);
    for _ in 0..25 {
        let ask = search.ask().unwrap();
        search.told(ask.duration_s, device(2e6)(ask.load));
    }
    let found = search.found(0);
    assert!(!found.regular && !found.complete, "{found:?}");
    // Both goals' coarse stages are done by then, and later ones have only begun.
    for found in [found, search.found(1)] {
        let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
        assert!(lower <= 2.02e6 && upper > 2e6 && upper < 1.05 * lower, "{found:?}");
    }
}

#[test]
fn what_is_no_search_is_refused() {
    let good = goals();
    for (least, most) in [(0.0, 1.0), (2.0, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY), (-1.0, 1.0)] {
        assert!(Search::new(least, most, &good).unwrap_err().contains("are no range"));
    }
    assert!(Search::new(1.0, 2.0, &[]).is_err());
    for bad in [
        Goal { loss_ratio: 1.0, ..good[0] },
        Goal { exceed_ratio: 1.0, ..good[0] },
        Goal { width: 0.0, ..good[0] },
        Goal { initial_trial_s: 2.0, ..good[0] },
        Goal { duration_sum_s: 0.5, ..good[0] },
        Goal { duration_sum_s: f64::INFINITY, ..good[0] },
    ] {
        assert!(Search::new(1.0, 2.0, &[bad]).is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever a device does, the search ends, and what it says of it is what the trials said.
    #[test]
    fn it_ends_whatever_comes(seed in any::<u64>(), most in 1.2e5f64..1e8, losing in 0.0f64..1.0) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (found, _) = search(1e5, most, |_| if rng.random_bool(losing) { rng.random_range(0.0..1.0) } else { 0.0 });
        for found in found {
            prop_assert!(found.complete, "{found:?}");
            if let Some((lower, upper)) = found.lower.zip(found.upper) {
                prop_assert!(lower < upper && found.regular, "{found:?}");
            }
            if let Some((rate, lower)) = found.conditional_throughput.zip(found.lower) {
                prop_assert!(rate <= lower);
            }
        }
    }

    /// The bounds are around the capacity of any device that has one, for any width and sum.
    #[test]
    fn bounds_are_around_the_capacity(
        capacity in 1.5e5f64..9e6, width in 0.002f64..0.2, sum in 1.0f64..30.0, exceed in 0.0f64..0.9,
    ) {
        let goal = Goal { exceed_ratio: exceed, width, duration_sum_s: sum, ..goals()[0] };
        let mut search = Search::new(1e5, 1e7, &[goal]).unwrap();
        let mut trials = 0;
        while let Some(ask) = search.ask() {
            search.told(ask.duration_s, device(capacity)(ask.load));
            trials += 1;
            prop_assert!(trials < 1_000);
        }
        let Found { lower, upper, regular, .. } = search.found(0);
        let (lower, upper) = (lower.unwrap(), upper.unwrap());
        prop_assert!(regular && lower <= capacity && capacity < upper);
        prop_assert!(1.0 - lower / upper <= width + 1e-9);
    }
}
