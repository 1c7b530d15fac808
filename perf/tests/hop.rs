//! Small runs of `hop`, bounded by batches: what they count, and that they fail when something is wrong.

use drover_crypto::Suite;
use drover_crypto::backend::{Backend, WithSuite};
use drover_crypto::reference::Reference;
use drover_crypto::testing::TestSuite;
use drover_perf::hop::cli::{Length, measure};
use drover_perf::hop::{Bench, Report, Sample, Shape, WARM_UP_ROUNDS};
use drover_perf::probe::Probe;
use std::process::Command;

const LINKS: usize = 5;
const CIRCUITS: usize = 64;
const WAYS: u64 = 2 * CIRCUITS as u64;

fn shape() -> Shape {
    Shape::new(LINKS, CIRCUITS, 48).unwrap()
}

/// Takes `rounds` rounds of batches.
fn rounds<C: Suite, const S: usize>(bench: &mut Bench<C, S>, rounds: u64) -> Result<Vec<Sample>, String> {
    (0..rounds * bench.batches_per_round()).map(|_| bench.batch()).collect()
}

fn of(samples: &[Sample], value: fn(&Sample) -> u64) -> u64 {
    samples.iter().map(value).sum()
}

/// Does `test` with every back end that this processor runs.
fn on_every_backend<W: WithSuite<Out = ()> + Copy>(test: W) {
    for backend in Backend::ALL {
        match backend.missing() {
            missing if missing.is_empty() => backend.dispatch(test),
            missing => drover_nic::skip::skipped(format!("hop with {backend}: this processor lacks {missing:?}")),
        }
    }
}

fn every_cell_is_relayed<C: Suite, const S: usize>() {
    let mut bench = Bench::<C, S>::new(shape());
    // Every tag, circuit, counter and body is checked in `batch`, and that none is lost.
    let first = rounds(&mut bench, WARM_UP_ROUNDS).unwrap();
    let samples = rounds(&mut bench, 6).unwrap();
    assert_eq!(bench.dropped(), 0);
    assert_eq!(of(&samples, |s| s.offered), 6 * WAYS);
    // One cell a way and round. A cell may come later in its round than its way's slot, once.
    let relayed = of(&samples, |s| s.relayed);
    assert!((5 * WAYS..=6 * WAYS).contains(&relayed), "{relayed}");
    let all = of(&first, |s| s.relayed) + relayed;
    assert!(all + 2 * WAYS >= 9 * WAYS && all <= 9 * WAYS, "{all}");
    every_slot_has_a_record(&bench, &samples, 6);
    assert!(samples.iter().all(|s| s.worker_ns > 0 && s.floor_ns > 0));
}

/// Every slot carried a record, but for those sealed and not yet due, and some of a turn.
fn every_slot_has_a_record<C: Suite, const S: usize>(bench: &Bench<C, S>, samples: &[Sample], rounds: u64) {
    let records = of(samples, |s| s.relayed + s.chaff);
    let slots = rounds * bench.shape().records();
    assert!(records.abs_diff(slots) <= 2 * LINKS as u64, "{records} of {slots}");
}

#[test]
fn every_cell_is_relayed_whatever_its_size_and_the_back_end() {
    #[derive(Clone, Copy)]
    struct Test;
    impl WithSuite for Test {
        type Out = ();
        fn with<C: Suite>(self) {
            every_cell_is_relayed::<C, 256>();
            every_cell_is_relayed::<C, 512>();
            every_cell_is_relayed::<C, 1024>();
        }
    }
    on_every_backend(Test);
}

/// Whatever share of the slots finds a cell, the records on the wire are as many.
#[test]
fn slots_without_a_cell_carry_chaff() {
    for share in [0, 1, 50, 99] {
        let mut bench = Bench::<Reference, 256>::new(shape().with_share(share));
        rounds(&mut bench, WARM_UP_ROUNDS).unwrap();
        let samples = rounds(&mut bench, 6).unwrap();
        every_slot_has_a_record(&bench, &samples, 6);
        let (offered, relayed) = (of(&samples, |s| s.offered), of(&samples, |s| s.relayed));
        // Which slots find one is drawn: 768 draws, eight standard deviations.
        let expected = 6 * WAYS * u64::from(share) / 100;
        assert!(offered.abs_diff(expected) <= 112 && (share > 0 || offered == 0), "{share} %: {offered} of {expected}");
        assert!(relayed.abs_diff(offered) <= 2 * WAYS, "{share} %: {relayed} of {offered}");
    }
}

/// With a layer cipher that is no involution, peel and add cannot be mixed up.
#[test]
fn peel_and_add_are_told_apart() {
    every_cell_is_relayed::<TestSuite, 256>();
}

fn a_wrong_key_at_a_far_end_fails<C: Suite>() {
    for link in [0, LINKS as u32 - 1] {
        let mut bench = Bench::<C, 256>::new(shape());
        rounds(&mut bench, 1).unwrap();
        bench.break_far_open(link);
        let error = rounds(&mut bench, 1).unwrap_err();
        assert!(error.starts_with("the tag of record") && error.contains(&format!("link {link} is wrong")), "{error}");

        let mut bench = Bench::<C, 256>::new(shape());
        rounds(&mut bench, 1).unwrap();
        bench.break_far_seal(link);
        let error = rounds(&mut bench, 1).unwrap_err();
        assert!(error.contains("record_tag"), "{error}");
        assert!(bench.dropped() > 0);
    }
}

/// The floor is checked to have done the worker's work: another layer key, and its records differ.
fn a_floor_with_a_wrong_key_fails<C: Suite>() {
    let mut bench = Bench::<C, 256>::new(shape());
    rounds(&mut bench, 1).unwrap();
    bench.break_floor_layer(3);
    let error = rounds(&mut bench, 3).unwrap_err();
    assert!(error.contains("the floor's work is not the worker's"), "{error}");
}

#[test]
fn a_wrong_key_fails_on_every_back_end() {
    #[derive(Clone, Copy)]
    struct Test;
    impl WithSuite for Test {
        type Out = ();
        fn with<C: Suite>(self) {
            a_wrong_key_at_a_far_end_fails::<C>();
            a_floor_with_a_wrong_key_fails::<C>();
        }
    }
    on_every_backend(Test);
}

/// A report of ten batches.
fn report(shape: Shape) -> Report {
    let mut bench = Bench::<Reference, 256>::new(shape);
    let (samples, seconds) = measure(&mut bench, Length::Batches(10), &mut Probe::start()).unwrap();
    Report::new(&bench, &samples, seconds)
}

#[test]
fn the_report_has_its_fields() {
    let report = report(shape());
    let json = serde_json::to_value(&report).unwrap();
    let numbers = [
        "cells_per_second",
        "ns_per_cell",
        "floor_ns_per_cell",
        "floor_ratio",
        "pool_bytes",
        "pool_used_bytes",
        "table_bytes",
        "dropped",
        "cell",
        "links",
        "circuits",
        "slots_per_round",
        "slots_offered",
        "occupancy",
        "batches",
        "cells_per_batch",
        "cells_per_turn",
        "cells",
        "seconds",
        "cores",
        "ns_per_record",
        "records_per_second",
        "floor_ns_per_record",
        "bytes_per_cell_memory",
        "bytes_per_chaff_memory",
        "memory_bytes_per_second",
        "share_real",
    ];
    for name in numbers {
        assert!(json[name].is_number(), "{name}: {}", json[name]);
    }
    for name in ["floor_ratio_iqr", "ns_per_cell_iqr", "floor_ns_per_cell_iqr", "ns_per_record_iqr"] {
        assert_eq!(json[name].as_array().map(Vec::len), Some(2), "{name}");
    }
    let parts = json["memory_of_cell"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
    assert_eq!(json["bytes_per_cell_memory"], parts.sum::<u64>());
    assert!(json["bytes_per_cell_memory"].as_u64() > Some(3 * 256));
    assert_eq!((&json["backend"], &json["dropped"]), (&"reference".into(), &0.into()));
    assert_eq!((&json["batches"], &json["cell"]), (&10.into(), &256.into()));
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    assert_eq!(json["profile"], profile);
    assert!(json["lab"].is_boolean() && json["cpu"].is_string());
    let text = report.to_string();
    for word in ["worker", "floor", "ratio", "slots", "memory", "traffic", "machine"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
}

#[test]
fn without_cells_figures_are_for_each_record() {
    let report = report(shape().with_share(0));
    assert_eq!((report.cells, report.ns_per_cell, report.cells_per_second), (0, None, None));
    assert_eq!((report.floor_ns_per_cell, report.ns_per_cell_iqr, report.occupancy), (None, None, 0.0));
    assert!(report.ns_per_record > 0.0 && report.floor_ns_per_record > 0.0 && report.floor_ratio > 0.0);
    let text = report.to_string();
    assert!(!text.contains("a cell, ") || text.contains("a record sent"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}

#[test]
fn the_command_leaves_a_folder_and_prints_its_summary() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let flags = ["--links", "5", "--circuits", "64", "--batch", "48", "--seconds", "1", "--json", "--out"];
    let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("hop").args(flags).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = std::fs::read(out.join("summary.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&summary).unwrap(), json);
    assert_eq!((&json["tool"], &json["backend"]), (&"hop".into(), &Backend::best().name().into()));
    assert!(json["probe"]["ops_per_cycle"].is_number() && json["config"]["share_real"] == 100, "{json}");
    let trials = std::fs::read_to_string(out.join("trials.csv")).unwrap();
    assert_eq!(trials.lines().count() as u64, 1 + json["batches"].as_u64().unwrap());
    assert_eq!(trials.lines().next(), Some("offered,relayed,chaff,turns,worker_ns,floor_ns,waiting"));
}

#[test]
fn the_command_refuses_what_it_cannot_do() {
    let hop = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("hop").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, words) in [
        (&["--links", "1"][..], "--links 1 is not in 2..=50000"),
        (&["--circuits", "0"], "--circuits 0 is not in 1..=200000"),
        (&["--batch", "5000"], "--batch 5000 is not in 1..=4096"),
        (&["--seconds", "61"], "--seconds 61 is not in 1..=60"),
        (&["--links", "10000", "--circuits", "4999"], "at least 5000"),
        (&["--cell", "300"], "256, 512 or 1024"),
        (&["--backend", "none"], "is no crypto back end: auto, "),
        (&["--share-real", "101"], "--share-real 101 is not in 0..=100"),
    ] {
        let (code, error) = hop(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {code:?} {error}");
    }
}
