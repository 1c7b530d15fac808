//! Small runs of `latency`: every watched cell comes out of one mix and of a chain, no sooner than it may, and what is wrong
//! fails.

use drover_crypto::reference::Reference;
use drover_perf::bed::{Bed, Mode, PortKind, Room};
use drover_perf::latency::{Chain, Found, Layout, Setting, trial};
use drover_perf::live::Percentiles;
use drover_perf::pin;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One at a time: workers spin.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cells a second: a round takes 160 ms and a slot 32, so that what a busy machine does in ms moves nothing.
const LOAD: f64 = 100.0;
const LAYOUT: Layout = Layout { links: 4, circuits: 16, ring: 512 };
/// On a machine that stops a thread for longer than a slot, a trial is tried again.
const TRIES: usize = 6;

fn setting() -> Setting {
    let cores = pin::cores().unwrap();
    // On one core both share it: nothing here is about speed.
    let (core, other_core) = (*cores.last().unwrap(), cores[0]);
    Setting { worker_cores: vec![core], other_core, time: Duration::from_millis(640) }
}

fn whole(mixes: usize) -> Found {
    whole_of(|| trial(&mut Chain::<Reference, 256>::new(&LAYOUT, mixes).unwrap(), LOAD, &setting()).unwrap())
}

fn whole_of(mut trial: impl FnMut() -> Found) -> Found {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let found = trial();
        if found.came == found.watched {
            return found;
        }
        seen.push((found.watched, found.came, found.drops, found.missed));
    }
    panic!("cells are lost in every trial: {seen:?}");
}

#[test]
fn every_watched_cell_comes_out_of_one_mix_and_of_a_chain() {
    let _turn = turn();
    for mixes in [1, 3] {
        let found = whole(mixes);
        // A quarter of 64 cells leave by the watched link.
        assert!(found.watched.abs_diff(16) <= 4 && found.total.len() == found.came, "{}", found.watched);
        assert_eq!(found.round_ns, 160_000_000);
        let total = Percentiles::of(&found.total);
        // No mix keeps a cell for more than a round and a half, jitter and horizon aside.
        assert!(total.max_ns < mixes as u64 * 2 * found.round_ns, "{total:?}");
        assert!(
            total.p50_ns > 0 && !found.late.is_empty() && found.taken.as_ref().is_some_and(|taken| !taken.is_empty())
        );
        // Late by a slot and it is lost, not late.
        assert!(found.late.max() <= found.round_ns / 5 + 1_000_000);
    }
}

#[test]
fn cells_come_through_a_chain_over_udp() {
    let _turn = turn();
    let room = Room { peers: 2 * LAYOUT.links, transmit: 1024, wire: 512, mode: Mode::Auto };
    for mixes in [1, 2] {
        let found = whole_of(|| {
            let bed = || Bed::open(PortKind::Udp, room);
            trial(&mut Chain::<Reference, 256, _>::over(&LAYOUT, mixes, bed).unwrap(), LOAD, &setting()).unwrap()
        });
        assert!(found.taken.is_none() && !found.late.is_empty());
        assert!(found.watched.abs_diff(16) <= 4 && found.total.len() == found.came, "{}", found.watched);
        assert!(found.total.max() < mixes as u64 * 2 * found.round_ns);
    }
}

#[test]
fn a_wrong_key_at_the_far_end_fails() {
    let _turn = turn();
    let mut chain = Chain::<Reference, 256>::new(&LAYOUT, 2).unwrap();
    chain.break_end(0);
    assert!(trial(&mut chain, LOAD, &setting()).err().unwrap().contains("a record on link 0 does not open"));
}

#[test]
fn links_without_a_circuit_are_refused() {
    let layout = Layout { links: 4, circuits: 3, ring: 512 };
    assert!(Chain::<Reference, 256>::new(&layout, 1).err().unwrap().contains("leave some of 4 links"));
}

#[test]
fn the_command_leaves_a_folder_and_refuses_what_it_cannot_do() {
    let latency = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("latency").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for (args, words) in [
        (&["--mixes", "17"][..], "--mixes 17 is not in 1..=16"),
        (&["--links", "10", "--circuits", "9"], "--circuits 9 is not in 10..="),
        (&["--port", "udp", "--links", "251"], "--links 251 is not in 2..=250"),
        (&["--rate", "1"], "--rate 1 is not in 100..="),
        (&["--ndr", folder], "summary.json: No such file"),
        (&["--rate", "1000", "--ndr", folder], "cannot be used with"),
    ] {
        let (code, _, error) = latency(args);
        assert!(code == Some(2) && error.contains(words), "{args:?}: {error}");
    }
    std::fs::write(dir.path().join("summary.json"), "{\"ndr\": {\"conditional_throughput\": null}}").unwrap();
    assert!(latency(&["--ndr", folder]).2.contains("tells no non-drop rate"));
    if pin::cores().unwrap().len() < 2 {
        return drover_nic::skip::skipped("latency needs a core for mixes and one for everything else");
    }
    let _turn = turn();
    std::fs::write(dir.path().join("summary.json"), "{\"ndr\": {\"conditional_throughput\": 8000}}").unwrap();
    let out = dir.path().join("run");
    let flags = "--links 16 --circuits 64 --seconds 1 --mixes 2 --json --ndr";
    let args: Vec<_> = flags.split_whitespace().chain([folder, "--out", out.to_str().unwrap()]).collect();
    let (code, json, error) = latency(&args);
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["loads"].as_array().map(Vec::len), Some(6), "{json}");
    assert!(json["one"]["p99_ns"].is_number() && json["rate"] == 8000.0, "{json}");
    for file in [
        "trials.csv",
        "total-1-10-percent.hgrm",
        "late-chain-90-percent.hgrm",
        "taken-1-50-percent.hgrm",
        "report.html",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
}
