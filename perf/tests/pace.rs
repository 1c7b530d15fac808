//! Small runs of `pace`, bounded by windows: every departure is stamped and counted, on every loop and port.

use drover_crypto::reference::Reference;
use drover_dataplane::run::Rhythm;
use drover_perf::pace::{Bench, Kind, Length, Setting, Window, measure};
use drover_perf::pin;
use drover_perf::probe::Probe;
use std::process::Command;
use std::time::Duration;

const TICK: Rhythm = Rhythm::Tick(1_000_000);

fn setting(rhythm: Rhythm, udp: bool) -> Setting {
    let cores = pin::cores().unwrap();
    let (core, other) = (*cores.last().unwrap(), cores.iter().copied().find(|core| core != cores.last().unwrap()));
    Setting { links: 20, slots: 4, rhythm, udp, window: Duration::from_millis(60), core, other }
}

/// Slots that were due, departures and misses of a window add up, however late the machine made them.
fn adds_up(window: &Window, slots: u64) {
    assert_eq!(window.lateness.len() + window.unstamped, window.departures, "every departure has a stamp");
    let seen = window.departures + window.missed;
    // The window ends some time after its last slot was due: on a busy machine later.
    assert!(seen + 20 >= slots, "{seen} of {slots}");
    // Late by a slot of 5 ms and it is lost, not late.
    assert!(window.lateness.max() < 5_100_000, "{}", window.lateness.max());
}

fn run(rhythm: Rhythm, udp: bool) {
    let mut bench = Bench::<Reference, 256>::new(setting(rhythm, udp)).unwrap();
    let measured = measure(&mut bench, Length::Windows(2), &mut Probe::start()).unwrap();
    assert_eq!(measured.windows.len(), 4);
    for window in measured.windows.iter().filter(|window| window.kind == Kind::Worker) {
        adds_up(window, bench.slots_of_window());
        assert!(!udp || window.refused == 0);
    }
    let total: u64 = measured.windows.iter().map(|window| window.lateness.len()).sum();
    assert_eq!(total, measured.worker.len() + measured.machine.len());
    assert!(!measured.worker.is_empty() && measured.machine.len() >= 2 * bench.slots_of_window());
}

#[test]
fn departures_are_stamped_on_a_tick_over_memory() {
    run(TICK, false);
}

#[test]
fn departures_are_stamped_on_a_tick_over_udp() {
    run(TICK, true);
}

#[test]
fn departures_are_stamped_when_the_worker_spins() {
    if pin::cores().unwrap().len() < 2 {
        return drover_nic::skip::skipped("a spinning worker needs a core beside everybody else's");
    }
    run(Rhythm::Spin, false);
}

#[test]
fn a_core_that_cannot_be_had_is_an_error() {
    let mut bench = Bench::<Reference, 256>::new(Setting { core: 1023, ..setting(TICK, false) }).unwrap();
    assert!(bench.window(Kind::Worker, 0.0).err().unwrap().contains("core 1023"));
    assert!(bench.window(Kind::Machine, 0.0).err().unwrap().contains("core 1023"));
}

#[test]
fn the_command_leaves_a_folder_and_refuses_what_it_cannot_do() {
    let pace = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("pace").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (args, words) in [
        (&["--links", "0"][..], "--links 0 is not in 1..=50000"),
        (&["--slots", "65"], "--slots 65 is not in 1..=64"),
        (&["--tick-us", "5001"], "--tick-us 5001 is not in 100..=5000"),
        (&["--slots", "40", "--tick-us", "600"], "--tick-us 600 is not in 100..=500"),
        (&["--window-ms", "19"], "--window-ms 19 is not in 20..=10000"),
        (&["--core", "1023"], "--core 1023: this process may use cores"),
        (&["--seconds", "601"], "--seconds 601 is not in 1..=600"),
    ] {
        let (code, _, error) = pace(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let flags = ["--links", "10", "--seconds", "1", "--window-ms", "50", "--policy", "tick", "--json", "--out"];
    let (code, json, error) = pace(&[&flags[..], &[out.to_str().unwrap()]].concat());
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for name in ["p50_ns", "p99_ns", "p999_ns", "max_ns", "missed", "records_per_second", "core"] {
        assert!(json[name].is_number(), "{name}");
    }
    assert!(json["machine"]["p99_ns"].is_number() && json["probe"].is_object());
    for file in ["trials.csv", "lateness.hgrm", "bare-loop.hgrm", "report.html"] {
        assert!(out.join(file).exists(), "{file}");
    }
}
