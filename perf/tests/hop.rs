//! Small runs of `hop`, bounded by batches: what they count, and that they fail when something is wrong.

use drover_crypto::reference::Reference;
use drover_crypto::testing::TestSuite;
use drover_perf::hop::cli::{Length, measure};
use drover_perf::hop::{Bench, Sample, Shape, WARM_UP_ROUNDS};
use std::process::Command;

const LINKS: usize = 5;
const CIRCUITS: usize = 64;
const WAYS: u64 = 2 * CIRCUITS as u64;

fn shape() -> Shape {
    Shape::new(LINKS, CIRCUITS, 48).unwrap()
}

/// Takes `rounds` rounds of batches.
fn rounds<C: drover_crypto::Suite, const S: usize>(
    bench: &mut Bench<C, S>,
    rounds: u64,
) -> Result<Vec<Sample>, String> {
    (0..rounds * bench.batches_per_round()).map(|_| bench.batch()).collect()
}

fn every_cell_is_relayed<C: drover_crypto::Suite, const S: usize>() {
    let mut bench = Bench::<C, S>::new(shape());
    // Every tag, circuit, counter and body is checked in `batch`, and that none is lost.
    let first = rounds(&mut bench, WARM_UP_ROUNDS).unwrap();
    let samples = rounds(&mut bench, 6).unwrap();
    let of = |samples: &[Sample], value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
    assert_eq!(bench.dropped(), 0);
    assert_eq!(of(&samples, |s| s.offered), 6 * WAYS);
    // One cell a way and round. A cell may come later in its round than its way's slot, once.
    let relayed = of(&samples, |s| s.relayed);
    assert!((5 * WAYS..=6 * WAYS).contains(&relayed), "{relayed}");
    let all = of(&first, |s| s.relayed) + relayed;
    assert!(all + 2 * WAYS >= 9 * WAYS && all <= 9 * WAYS, "{all}");
    // Every slot carried a record, but for those sealed and not yet due, and some of a turn.
    let records = relayed + of(&samples, |s| s.chaff);
    let slots = 6 * bench.shape().records();
    assert!(records.abs_diff(slots) <= 2 * LINKS as u64, "{records} of {slots}");
    assert!(samples.iter().all(|s| s.worker_ns > 0 && s.floor_ns > 0));
}

#[test]
fn every_cell_is_relayed_whatever_its_size() {
    every_cell_is_relayed::<Reference, 256>();
    every_cell_is_relayed::<Reference, 512>();
    every_cell_is_relayed::<Reference, 1024>();
}

/// With a layer cipher that is no involution, peel and add cannot be mixed up.
#[test]
fn peel_and_add_are_told_apart() {
    every_cell_is_relayed::<TestSuite, 256>();
}

#[test]
fn a_wrong_key_at_a_far_end_fails() {
    for link in [0, LINKS as u32 - 1] {
        let mut bench = Bench::<Reference, 256>::new(shape());
        rounds(&mut bench, 1).unwrap();
        bench.break_far_open(link);
        let error = rounds(&mut bench, 1).unwrap_err();
        assert!(error.starts_with("the tag of record") && error.contains(&format!("link {link} is wrong")), "{error}");

        let mut bench = Bench::<Reference, 256>::new(shape());
        rounds(&mut bench, 1).unwrap();
        bench.break_far_seal(link);
        let error = rounds(&mut bench, 1).unwrap_err();
        assert!(error.contains("record_tag"), "{error}");
        assert!(bench.dropped() > 0);
    }
}

/// The floor is checked to have done the worker's work: another layer key, and its records differ.
#[test]
fn a_floor_with_a_wrong_key_fails() {
    let mut bench = Bench::<Reference, 256>::new(shape());
    rounds(&mut bench, 1).unwrap();
    bench.break_floor_layer(3);
    let error = rounds(&mut bench, 3).unwrap_err();
    assert!(error.contains("the floor's work is not the worker's"), "{error}");
}

#[test]
fn the_report_has_its_fields() {
    let mut bench = Bench::<Reference, 256>::new(shape());
    let report = measure(&mut bench, Length::Batches(10)).unwrap();
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
    ];
    for name in numbers {
        assert!(json[name].is_number(), "{name}: {}", json[name]);
    }
    assert_eq!(json["floor_ratio_iqr"].as_array().map(Vec::len), Some(2));
    assert_eq!((&json["backend"], &json["dropped"]), (&"reference".into(), &0.into()));
    assert_eq!((&json["batches"], &json["cell"]), (&10.into(), &256.into()));
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    assert_eq!(json["profile"], profile);
    assert!(json["lab"].is_boolean() && json["cpu"].is_string());
    let text = report.to_string();
    for word in ["worker", "floor", "ratio", "slots", "memory", "machine"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
}

#[test]
fn the_command_refuses_what_it_cannot_do() {
    let hop = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("hop").args(args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, words) in [
        (&["--links", "1"][..], "--links 1 is not in 2..=10000"),
        (&["--circuits", "0"], "--circuits 0 is not in 1..=100000"),
        (&["--batch", "5000"], "--batch 5000 is not in 1..=4096"),
        (&["--seconds", "61"], "--seconds 61 is not in 1..=60"),
        (&["--links", "10000", "--circuits", "4999"], "at least 5000"),
        (&["--cell", "300"], "256, 512 or 1024"),
        (&["--backend", "none"], "[possible values: reference]"),
    ] {
        let (ok, error) = hop(args);
        assert!(!ok && error.contains(words), "{args:?}: {error}");
    }
}
