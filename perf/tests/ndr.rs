//! Small trials of `ndr`: what is offered is accounted for, what is wrong fails, and what is lost is told with its place.

use drover_crypto::reference::Reference;
use drover_perf::hop::Shape;
use drover_perf::ndr::{Bench, Setting, Trial};
use drover_perf::pin;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Cells a second: with 32 ways a round takes 320 ms and a slot 40, so that what a busy machine does in ms moves nothing.
const LOAD: f64 = 100.0;
/// s.
const TRIAL: f64 = 1.0;
/// On a machine that stops a thread for longer than that, a trial is tried again.
const TRIES: usize = 10;

/// One trial at a time: they spin.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bench() -> Bench<Reference, 256> {
    let cores = pin::cores().unwrap();
    // On one core both share it: nothing here is about speed.
    let (core, generator_core) = (*cores.last().unwrap(), cores[0]);
    Bench::new(&Shape::new(5, 16, 64).unwrap(), Setting { core, generator_core, ring: 512 }).unwrap()
}

fn valid(bench: &mut Bench<Reference, 256>, is_good: impl Fn(&Trial) -> bool) -> Trial {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let trial = bench.trial(LOAD, TRIAL).unwrap();
        if trial.invalid.is_none() && is_good(&trial) {
            return trial;
        }
        seen.push(trial);
    }
    panic!("no good trial among {seen:#?}");
}

#[test]
fn every_cell_comes_out_and_is_checked() {
    let _turn = turn();
    let mut bench = bench();
    let trial = valid(&mut bench, |trial| trial.lost == 0);
    assert_eq!((trial.loss_ratio(), trial.places().as_str()), (0.0, ""));
    assert_eq!(trial.delivered.offered, (LOAD * TRIAL) as u64);
    // Every other link of the five is kept: more than half of the records, chaff included.
    assert!(trial.checked > trial.delivered.offered / 2, "{trial:?}");
    assert!(trial.to_string().contains("no loss"));
    // And again: numbers, counters and orders go on.
    assert_eq!(valid(&mut bench, |trial| trial.lost == 0).lost, 0);
}

#[test]
fn what_the_worker_drops_is_lost_and_says_where() {
    let _turn = turn();
    let mut bench = bench();
    bench.break_far_seal(3);
    let trial = valid(&mut bench, |_| true);
    let tags = trial.drops.iter().find(|drop| drop.0 == "record_tag").unwrap().1;
    // A fifth of the ways comes by that link.
    assert!(tags.abs_diff(trial.delivered.offered / 5) <= trial.delivered.offered / 20, "{trial:?}");
    assert!(trial.lost >= tags && trial.loss_ratio() > 0.1 && trial.places().contains("record_tag"));
    assert!(trial.to_string().contains("% lost (record_tag"), "{trial}");
}

#[test]
fn a_wrong_frame_ends_the_run() {
    let _turn = turn();
    let mut bench = bench();
    bench.break_far_open(4);
    assert!(bench.trial(LOAD, TRIAL).unwrap_err().contains("link 4 is wrong"));
}

#[test]
fn too_much_is_lost_and_too_much_for_the_generator_is_invalid() {
    let _turn = turn();
    let mut bench = bench();
    let ceiling = bench.ceiling().unwrap();
    assert!(ceiling > LOAD, "{ceiling}");
    // Three times what the generator can give.
    let trial = bench.trial(3.0 * ceiling, 0.05).unwrap();
    assert!(trial.invalid.is_some_and(|why| !why.is_stall()), "{trial:?}");
    assert!(trial.to_string().contains("the generator offered too few"));
    // What was left over does not spoil what comes then.
    assert_eq!(valid(&mut bench, |trial| trial.lost == 0).lost, 0);
}

#[test]
fn the_command_searches_and_refuses_what_it_cannot_do() {
    let ndr = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("ndr").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (args, words) in [
        (&["--seconds", "0"][..], "--seconds 0 is not in 1..=7200"),
        (&["--ring", "100"], "--ring 100 is not in 512..=65536"),
        (&["--width", "1.5"], "a goal's ratios lie between 0 and 1"),
        (&["--min-rate", "0"], "are no range"),
        (&["--duration-sum", "0.5"], "--duration-sum 0.5 is not in 1..=600"),
    ] {
        let (code, _, error) = ndr(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {error}");
    }
    if pin::cores().unwrap().len() < 2 {
        return drover_nic::skip::skipped("a search needs a core for the worker and one for the generator");
    }
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let flags = "--links 10 --circuits 100 --seconds 2 --initial-trial 0.05 --final-trial 0.05 --duration-sum 0.1 \
                 --width 0.2 --min-rate 1000 --json --out";
    let (code, json, error) = ndr(&flags.split_whitespace().chain([out.to_str().unwrap()]).collect::<Vec<_>>());
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["trials"].as_u64() > Some(0) && json["generator_ceiling"].as_f64() > Some(0.0), "{json}");
    assert!(json["ndr"]["goal_loss_ratio"] == 0.0 && json["pdr"]["goal_loss_ratio"] == 0.005, "{json}");
    assert!(error.contains("trial 1: "), "progress is told: {error}");
    for file in ["trials.csv", "report.html"] {
        assert!(out.join(file).exists(), "{file}");
    }
}
