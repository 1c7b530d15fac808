//! Small runs of `chaff` and `links`, and `compare` of what they leave.

use drover_crypto::Suite;
use drover_crypto::backend::{Backend, WithSuite};
use drover_crypto::reference::Reference;
use drover_perf::chaff::{self, Report};
use drover_perf::hop::{Bench, Sample, Shape, WARM_UP_ROUNDS};
use drover_perf::links;
use drover_perf::probe::Probe;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const LINKS: usize = 5;

fn shape(duplex: bool) -> Shape {
    Shape::chaff(LINKS, 9, 48, duplex).unwrap()
}

fn rounds<C: Suite, const S: usize>(bench: &mut Bench<C, S>, rounds: u64) -> Result<Vec<Sample>, String> {
    (0..rounds * bench.batches_per_round()).map(|_| bench.batch()).collect()
}

/// Every slot sends a record, whether or not one comes, and none of them is a cell.
fn every_slot_is_chaff<C: Suite>() {
    for duplex in [false, true] {
        let mut bench = Bench::<C, 256>::new(shape(duplex));
        rounds(&mut bench, WARM_UP_ROUNDS).unwrap();
        let samples = rounds(&mut bench, 6).unwrap();
        let of = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
        assert_eq!((of(|s| s.offered), of(|s| s.relayed), of(|s| s.waiting)), (0, 0, 0));
        let slots = 6 * bench.shape().records();
        assert!(of(|s| s.chaff).abs_diff(slots) <= 2 * LINKS as u64, "{} of {slots}", of(|s| s.chaff));
    }
}

/// Chaff that comes is opened: under a wrong key the worker drops it.
fn a_wrong_key_fails<C: Suite>() {
    let mut bench = Bench::<C, 256>::new(shape(true));
    rounds(&mut bench, 1).unwrap();
    bench.break_far_seal(3);
    let error = rounds(&mut bench, 1).unwrap_err();
    assert!(error.contains("record_tag"), "{error}");
    let mut bench = Bench::<C, 256>::new(shape(false));
    rounds(&mut bench, 1).unwrap();
    bench.break_far_open(3);
    let error = rounds(&mut bench, 1).unwrap_err();
    assert!(error.contains("link 3 is wrong"), "{error}");
}

#[test]
fn chaff_is_sent_and_opened_on_every_back_end() {
    struct Test;
    impl WithSuite for Test {
        type Out = ();
        fn with<C: Suite>(self) {
            every_slot_is_chaff::<C>();
            a_wrong_key_fails::<C>();
        }
    }
    for backend in Backend::ALL {
        match backend.missing() {
            missing if missing.is_empty() => backend.dispatch(Test),
            missing => drover_nic::skip::skipped(format!("chaff with {backend}: this processor lacks {missing:?}")),
        }
    }
}

#[test]
fn either_kind_of_chaff_has_figures() {
    let mut benches = [false, true].map(|duplex| Bench::<Reference, 256>::new(shape(duplex)));
    let trials = chaff::measure(&mut benches, Duration::ZERO, &mut Probe::start()).unwrap();
    let report = Report::new(&benches, &trials);
    for figures in [report.seal_only, report.duplex] {
        assert!(figures.ns_per_slot > 0.0 && figures.floor_ns_per_slot > 0.0 && figures.floor_ratio > 0.0);
        assert!(figures.batches == 1 && figures.slots > 0);
    }
    assert!(report.duplex.bytes_per_slot_memory > report.seal_only.bytes_per_slot_memory + 256);
}

#[test]
fn worlds_of_several_sizes_have_points_together_or_one_after_the_other() {
    for together in [true, false] {
        let shapes = [4, 12].map(|links| Shape::new(links, 4 * links, 48).unwrap()).to_vec();
        let plan = links::Plan { shapes, time: Duration::ZERO, together };
        let measured = links::measure::<Reference, 256>(&plan, &mut Probe::start()).unwrap();
        let report = links::Report::new(&plan, &measured, "reference", 256);
        assert_eq!(report.points.iter().map(|p| (p.links, p.circuits)).collect::<Vec<_>>(), [(4, 16), (12, 48)]);
        assert!(report.passes >= 2 && report.points.iter().all(|p| p.batches > 0 && p.ns_per_cell > 0.0));
        let [first, last] = [report.points[0], report.points[1]];
        assert_eq!((first.hop_times_first, first.floor_times_first), (1.0, 1.0));
        assert_eq!(report.hop_ratio, last.ns_per_cell / first.ns_per_cell);
        assert_eq!(report.relative, report.hop_ratio / report.floor_ratio);
        assert!(report.relative_iqr[0] <= report.relative_iqr[1] && last.table_bytes > first.table_bytes);
    }
}

fn perf(place: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drover-perf")).args(args).current_dir(place).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Two runs of each, compared; and what must not be compared is not.
#[test]
fn the_commands_leave_folders_that_can_be_compared() {
    let place = tempfile::tempdir().unwrap();
    let perf = |args: &[&str]| perf(place.path(), args);
    for out in ["a", "b"] {
        let found = json(&perf(&["chaff", "--links", "5", "--slots", "9", "--seconds", "1", "--json", "--out", out]));
        assert!(found["seal_only"]["floor_ratio"].is_number() && found["tool"] == "chaff", "{found}");
    }
    let links = ["--from", "4", "--to", "12", "--points", "2", "--seconds", "1", "--batch", "48", "--json"];
    let found = json(&perf(&[&["links", "--out", "c"][..], &links].concat()));
    assert!(found["relative"].is_number() && found["points"].as_array().map(Vec::len) == Some(2), "{found}");

    let compared = json(&perf(&["compare", "a", "b/summary.json", "--json"]));
    let line = |path: &str| compared["figures"].as_array().unwrap().iter().find(|line| line["figure"] == path).cloned();
    let ratio = line("seal_only.floor_ratio").unwrap();
    assert!(ratio["ratio"].is_number() && ratio["overlap"].is_boolean(), "{ratio}");
    assert_eq!(compared["differences"], Value::Array(Vec::new()));
    let text = perf(&["compare", "a", "b"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("duplex.ns_per_slot"), "{text:?}");

    let refused = perf(&["compare", "a", "c"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && error.contains("--across-tools"), "{error}");
    assert!(error.contains("--across-configs") && !error.contains("--across-hosts"), "{error}");
    let allowed = perf(&["compare", "a", "c", "--across-tools", "--across-configs"]);
    assert!(allowed.status.success(), "{allowed:?}");
    let missing = perf(&["compare", "a", "nothing"]);
    assert!(missing.status.code() == Some(2), "{missing:?}");
}

#[test]
fn what_is_out_of_range_is_named() {
    let place = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["links", "--from", "1"][..], "--from 1 is not in 2..=50000"),
        (&["links", "--from", "500", "--to", "500"], "--to 500 is not in 501..=50000"),
        (&["links", "--points", "1"], "--points 1 is not in 2..=12"),
        (&["chaff", "--slots", "0"], "--slots 0 is not in 1..=256"),
        (&["chaff", "--links", "50001"], "--links 50001 is not in 1..=50000"),
    ] {
        let output = perf(place.path(), args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(words), "{args:?}: {error}");
    }
}
