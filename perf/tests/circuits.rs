//! Small runs of `circuits`: every set-up is answered, both parts have figures, and flags out of range are named.

use drover_dataplane::run::Rhythm;
use drover_perf::circuits::{Core, Departures, Plan, SetUps, departures, set_ups};
use drover_perf::probe::Probe;
use std::process::Command;
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
    let pairs = set_ups(Duration::from_millis(200), &mut Probe::start()).unwrap();
    let found = SetUps::new(&pairs).unwrap();
    // Batches run in turns: a core that skipped a primitive would be well below its floor.
    assert!(found.floor_ratio > 0.9 && found.floor_ratio < 20.0, "{found:?}");
    assert!((found.per_second * found.ns_each / 1e9 - 1.0).abs() < 1e-9 && found.batches >= 3);
    assert!((found.rate_of_primitives * found.floor_ratio - 1.0).abs() < 1e-9);
    let [low, high] = found.rate_of_primitives_iqr;
    assert!(low <= high, "{found:?}");
    assert!(SetUps::new(&[]).is_err());
}

#[test]
fn departures_are_measured_beside_a_flood() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        drover_nic::skip::skipped("departures beside a flood need two cores");
        return;
    }
    let (time, window) = (Duration::from_millis(600), Duration::from_millis(100));
    let plan = Plan { time, window, links: 64, rhythm: Rhythm::Tick(1_000_000), udp: true };
    let windows = departures(plan, &mut Probe::start()).unwrap();
    let found = Departures::new(&windows, 1).unwrap();
    assert!(found.windows >= 3 && found.flood_per_second > 1.0, "{found:?}");
    assert!(found.p99_us_calm > 0.0 && found.p99_us_flood > 0.0, "{found:?}");
    assert!(found.p99_ratio.low <= found.p99_ratio.mean && found.p99_ratio.mean <= found.p99_ratio.high, "{found:?}");
    let total: u64 = windows.windows[1].iter().map(|window| window.lateness.len()).sum();
    assert_eq!(total, windows.lateness[1].len());
    let short = Plan { time: Duration::ZERO, window: Duration::from_millis(50), links: 1, ..plan };
    assert!(departures(short, &mut Probe::start()).err().unwrap().contains("give more links"));
}

#[test]
fn flags_out_of_range_are_named_and_a_run_leaves_its_folder() {
    let circuits = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("circuits").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (args, words) in [
        (&["--seconds", "0"][..], "--seconds 0 is not in 1..=600"),
        (&["--departures", "601"], "--departures 601"),
        (&["--window-ms", "49"], "--window-ms 49"),
        (&["--links", "0"], "--links 0"),
        (&["--tick-us", "99"], "--tick-us 99"),
    ] {
        let (code, _, error) = circuits(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let (code, json, error) =
        circuits(&["--seconds", "1", "--departures", "0", "--json", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["set_ups"]["per_second"].as_f64() > Some(0.0) && json["departures"].is_null(), "{json}");
    assert!(json["set_ups"]["rate_of_primitives"].is_number() && json["probe"].is_object());
    for file in ["trials.csv", "report.html"] {
        assert!(out.join(file).exists(), "{file}");
    }
}
