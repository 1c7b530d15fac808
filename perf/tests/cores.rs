//! Small runs of `cores`, bounded by batches: every cell is relayed, handed over or not, and what is wrong fails.

use drover_crypto::reference::Reference;
use drover_perf::cores::cli::{Args, run};
use drover_perf::cores::{Arrangement, Length, World, measure};
use drover_perf::hop::Shape;
use drover_perf::pin;
use drover_perf::probe::Probe;
use std::process::Command;

fn shape() -> Shape {
    Shape::new(5, 64, 10).unwrap()
}

/// Workers may share a core here: what is counted does not depend on where they run.
fn cores(workers: usize) -> Vec<usize> {
    pin::cores().unwrap().into_iter().cycle().take(workers).collect()
}

#[test]
fn every_cell_is_relayed_handed_over_or_not() {
    for (workers, handed) in [(1, false), (2, false), (2, true), (3, true)] {
        let mut world = World::<Reference, 256>::new(&shape(), &cores(workers), handed);
        assert_eq!(world.handed_share(), if handed { 0.5 } else { 0.0 });
        // Every tag, circuit, counter and body is checked in `batch`, and that none is lost.
        world.warm_up().unwrap();
        let batches = 6 * world.batches_per_round();
        let mut relayed = 0;
        for _ in 0..batches {
            let batch = world.batch().unwrap();
            assert!(batch.wall_ns > 0 && batch.busy_ns > 0);
            relayed += batch.relayed;
        }
        // One cell a way and round, but for what waits at either end.
        let ways = workers as u64 * 128;
        assert!((5 * ways..=7 * ways).contains(&relayed), "{workers} workers, {handed}: {relayed}");
    }
}

#[test]
fn a_wrong_key_at_a_far_end_fails() {
    for handed in [false, true] {
        let mut world = World::<Reference, 256>::new(&shape(), &cores(2), handed);
        world.warm_up().unwrap();
        // The second worker's last link.
        world.break_far_open(9);
        let error = world.warm_up().unwrap_err();
        assert!(error.contains("the tag of record") && error.contains("link 9"), "{error}");
    }
}

#[test]
fn a_core_that_cannot_be_had_is_an_error() {
    let mut world = World::<Reference, 256>::new(&shape(), &[pin::cores().unwrap()[0], 1023], true);
    assert!(world.batch().unwrap_err().contains("core 1023"));
}

#[test]
fn arrangements_take_turns() {
    let measured = measure::<Reference, 256>(&shape(), &cores(2), Length::Batches(9), &mut Probe::start()).unwrap();
    assert_eq!((measured.rounds.len(), measured.handed_share), (9, 0.5));
    let of = |at: usize| measured.rounds.iter().map(|round| round[at].relayed).sum::<u64>();
    let [one, apart, handed] = [0, 1, 2].map(of);
    assert!(apart.abs_diff(2 * one) <= 128 && handed.abs_diff(2 * one) <= 128, "{one} {apart} {handed}");
    assert_eq!(Arrangement::ALL.map(Arrangement::name).len(), 3);
}

#[test]
fn the_command_leaves_a_folder_and_refuses_what_it_cannot_do() {
    let command = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("cores").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (args, words) in [
        (&["--workers", "1"][..], "--workers 1 is not in 2..="),
        (&["--batch", "1025"], "--batch 1025 is not in 1..=1024"),
        (
            &["--links", "20", "--circuits", "100"],
            "--batch 1024 is more than a twelfth of a round, which has 220 records",
        ),
        (&["--seconds", "0"], "--seconds 0 is not in 1..=60"),
    ] {
        let (code, _, error) = command(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {error}");
    }
    if pin::cores().unwrap().len() < 2 {
        let (code, _, error) = command(&[]);
        assert!(code == Some(2) && error.contains("two workers need two cores"), "{error}");
        return drover_nic::skip::skipped("two workers need two cores");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let flags = ["--links", "20", "--circuits", "100", "--seconds", "1", "--batch", "16", "--json", "--out"];
    let (code, json, error) = command(&[&flags[..], &[out.to_str().unwrap()]].concat());
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["apart"]["scaling"].as_f64() > Some(0.0) && json["round_trip_ns"].as_f64() > Some(0.0), "{json}");
    for file in ["trials.csv", "report.html", "host.json"] {
        assert!(out.join(file).exists(), "{file}");
    }
    let args = Args {
        workers: 33,
        cell: drover_wire::cell::CellSize::S256,
        links: 5,
        circuits: 64,
        seconds: 1,
        batch: 64,
        backend: drover_crypto::backend::Choice::Auto,
        output: drover_perf::output::Output::default(),
    };
    assert_eq!(run(&args).unwrap_err().code(), 2);
}
