//! Small runs of `circuits`: every set-up is answered, both parts have figures, and flags out of range are named.

use drover_perf::circuits::cli::{Args, run};
use drover_perf::circuits::{Core, set_ups};
use std::time::Duration;

#[test]
fn every_set_up_is_answered_batch_after_batch() {
    let mut core = Core::new().unwrap();
    for _ in 0..12 {
        assert!(core.batch().unwrap() > Duration::ZERO);
    }
}

#[test]
fn a_set_up_costs_at_least_its_primitives() {
    let found = set_ups(Duration::from_millis(200)).unwrap();
    // Batches run in turns: a core that skipped a primitive would be well below its floor.
    assert!(found.floor_ratio > 0.9 && found.floor_ratio < 20.0, "{found:?}");
    assert!((found.per_second * found.ns_each / 1e9 - 1.0).abs() < 1e-9 && found.batches >= 3);
}

#[test]
fn departures_are_measured_beside_a_flood() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        drover_nic::skip::skipped("departures beside a flood need two cores");
        return;
    }
    let window = Duration::from_millis(100);
    let found = drover_perf::circuits::departures(Duration::from_millis(600), window, 64, 1).unwrap();
    assert!(found.windows >= 3 && found.flood_per_second > 10.0, "{found:?}");
    assert!(found.p99_us_calm > 0.0 && found.p99_us_flood > 0.0, "{found:?}");
    assert!(found.p99_ratio.low <= found.p99_ratio.mean && found.p99_ratio.mean <= found.p99_ratio.high, "{found:?}");
    let few = drover_perf::circuits::departures(Duration::ZERO, Duration::from_millis(50), 1, 1);
    assert!(few.unwrap_err().contains("give more links"));
}

#[test]
fn flags_out_of_range_are_named() {
    let args = || Args { seconds: 1, departures: 0, window_ms: 250, links: 64, seed: 1, json: true };
    for (args, flag) in [
        (Args { seconds: 0, ..args() }, "--seconds 0"),
        (Args { departures: 601, ..args() }, "--departures 601"),
        (Args { window_ms: 49, ..args() }, "--window-ms 49"),
        (Args { links: 0, ..args() }, "--links 0"),
    ] {
        assert!(run(&args).unwrap_err().contains(flag));
    }
    let json: serde_json::Value = serde_json::from_str(&run(&args()).unwrap()).unwrap();
    assert!(json["set_ups"]["per_second"].as_f64() > Some(0.0) && json["departures"].is_null());
}
