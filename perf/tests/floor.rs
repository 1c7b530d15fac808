//! Small runs of `floor`: every back end does the same work, and a wrong key fails.

use drover_crypto::backend::Backend;
use drover_crypto::reference::Reference;
use drover_perf::floor::{Bench, Report, Sample, measure};
use drover_perf::hop::Shape;
use drover_perf::probe::Probe;
use std::process::Command;
use std::time::Duration;

fn shape() -> Shape {
    Shape::new(5, 64, 48).unwrap()
}

/// The reference, and every other back end that this processor runs.
fn backends() -> Vec<Backend> {
    let others = Backend::ALL.iter().filter(|b| **b != Backend::Reference && b.missing().is_empty());
    std::iter::once(Backend::Reference).chain(others.copied()).collect()
}

fn every_back_end_seals_the_same<const S: usize>() {
    let backends = backends();
    let mut bench = Bench::<Reference, S>::new(&backends, shape());
    let rounds = 3 * bench.batches_per_round();
    let samples: Vec<Sample> = (0..rounds).flat_map(|_| bench.batch().unwrap()).collect();
    assert_eq!(samples.len() as u64, rounds * backends.len() as u64);
    // From the second round on a cell leaves for each that comes: 64 circuits, two ways.
    let second = bench.batches_per_round()..2 * bench.batches_per_round();
    for backend in &backends {
        let of = samples.iter().filter(|s| s.backend == backend.name() && second.contains(&s.batch));
        assert_eq!(of.map(|s| s.cells).sum::<u64>(), 128);
    }
}

#[test]
fn every_back_end_seals_the_same_whatever_the_size() {
    every_back_end_seals_the_same::<256>();
    every_back_end_seals_the_same::<512>();
    every_back_end_seals_the_same::<1024>();
}

#[test]
fn a_wrong_key_in_one_of_them_fails() {
    // Two floors of one back end: also a processor that runs only the reference has two to compare.
    let backends = [Backend::Reference, Backend::best()];
    for at in 0..2 {
        let mut bench = Bench::<Reference, 256>::new(&backends, shape());
        bench.break_layer(at, 3);
        let error = (0..3 * bench.batches_per_round()).find_map(|_| bench.batch().err()).unwrap();
        assert!(error.contains("sealed different records"), "{error}");
    }
}

#[test]
fn the_report_has_a_row_for_each() {
    let backends = backends();
    let mut bench = Bench::<Reference, 256>::new(&backends, shape());
    let samples = measure(&mut bench, Duration::ZERO, &mut Probe::start()).unwrap();
    let report = Report::new::<256>(&backends, &samples, 5, 64);
    assert_eq!(report.rows.len(), backends.len());
    assert_eq!(report.rows.len() + report.lacking.len(), Backend::ALL.len());
    let reference = report.rows.iter().find(|row| row.backend == "reference").unwrap();
    assert_eq!(reference.times_reference, 1.0);
    for row in &report.rows {
        assert!(row.ns_per_cell > 0.0 && row.open_ns > 0.0 && row.layer_ns > 0.0 && row.seal_ns > 0.0, "{row:?}");
        assert!(row.ns_per_cell >= report.ns_per_cell && row.bytes_per_cell_memory > 3 * 256, "{row:?}");
    }
    assert!(report.to_string().lines().all(|line| line.len() <= 120), "{report}");
}

#[test]
fn the_command_prints_what_it_measured_and_refuses_what_it_cannot_do() {
    let place = tempfile::tempdir().unwrap();
    let floor = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover-perf"));
        command.arg("floor").args(args).current_dir(place.path()).output().unwrap()
    };
    let done = floor(&["--links", "5", "--circuits", "64", "--seconds", "1", "--backend", "auto", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["tool"], &json["backend"].is_string()), (&"floor".into(), &true));
    assert!(json["rows"][0]["times_reference"].as_f64() > Some(0.0), "{json}");
    for (args, words) in [
        (&["--links", "1"][..], "--links 1 is not in"),
        (&["--backend", "none"], "is no crypto back end"),
        (&["--seconds", "0"], "--seconds 0 is not in 1..=60"),
    ] {
        let done = floor(args);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && error.contains(words), "{args:?}: {error}");
    }
}
