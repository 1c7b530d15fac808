use super::*;
use proptest::prelude::*;

const SMALLEST: &str = "[control]\nsocket = \"m1.sock\"\n[[worker]]\nlisten = \"127.0.0.1:4001\"\n";

fn problems(text: &str) -> Vec<Problem> {
    Config::parse(text).expect_err("is wrong").0
}

#[test]
fn the_smallest_has_sensible_defaults() {
    let config = Config::parse(SMALLEST).expect("is right");
    assert_eq!((config.cell, config.policy, config.tick_us), (CellSize::S256, Policy::Tick, 1_000));
    assert_eq!(config.sizes, Sizes { links: 1_024, circuits: 4_096, pool: 8_192, transmit: 4_096 });
    assert_eq!(
        config.workers,
        [WorkerConfig { listen: "127.0.0.1:4001".parse().expect("an address"), core: None, queue: 0 }]
    );
    assert_eq!((config.mixing, config.allow_uids.len()), (Mixing::Interval { ns: 20_000_000 }, 0));
    assert_eq!(config.window_ns(), 3_000_000);
}

#[test]
fn everything_can_be_said() {
    let text = "cell = 1024\n[control]\nsocket = \"m1.sock\"\nallow_uids = [0, 4294967295]\n[pacing]\npolicy = \"spin\"\n\
                tick_us = 100\n[mixing]\ninterval_ms = 1000\n[limits]\nlinks = 8\ncircuits = 16\ncells = 272\n\
                transmit = 64\n[[worker]]\nlisten = \"[::1]:0\"\ncore = 0\n[[worker]]\nlisten = \"127.0.0.1:0\"\n";
    let config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((config.cell, config.policy, config.workers.len()), (CellSize::S1024, Policy::Spin, 2));
    assert_eq!(config.sizes, Sizes { links: 8, circuits: 16, pool: 272, transmit: 64 });
    assert_eq!(config.workers[0].core, Some(0));
    assert_eq!(config.mixing, Mixing::Interval { ns: 1_000_000_000 });
    assert!(config.describe().contains("272 cells"));
}

#[test]
fn all_problems_come_at_once_each_with_its_mend() {
    let text = "cell = 300\nfrob = 1\nmixing = 3\n[control]\nsocket = \"/nowhere/at/all/x\"\nallow_uids = [-1]\n\
                [pacing]\npolicy = \"fast\"\ntick_us = 99\n[limits]\nlinks = 0\ncircuits = 5000\ncells = 300\n\
                transmit = \"many\"\n[[worker]]\nlisten = \"127.0.0.1:4001\"\ncore = 65000\n[[worker]]\n\
                listen = \"[::1]:4001\"\ncoer = 1\n[[worker]]\nlisten = \"localhost\"\n[[worker]]\n";
    let found = problems(text);
    let keys: Vec<_> = found.iter().map(|p| p.key.as_str()).collect();
    for key in [
        "cell",
        "frob",
        "mixing",
        "control.socket",
        "control.allow_uids",
        "pacing.policy",
        "pacing.tick_us",
        "limits.links",
        "limits.cells",
        "limits.transmit",
        "worker[0].core",
        "worker[1].listen",
        "worker[1].coer",
        "worker[2].listen",
        "worker[3].listen",
    ] {
        assert_eq!(keys.iter().filter(|k| **k == key).count(), 1, "{key}: {keys:?}");
    }
    assert_eq!(keys.len(), 15, "{keys:?}");
    assert!(found.iter().all(|p| !p.value.is_empty() && !p.allowed.is_empty() && !p.mend.is_empty()));
    let shown = Problems(found).to_string();
    assert!(shown.starts_with("15 problems"), "{shown}");
    assert!(shown.contains("mkdir -p /nowhere/at/all") && shown.contains("5256") && shown.contains("100 to 10000"));
}

#[test]
fn each_mode_of_mixing_has_its_own_keys() {
    let parse = |keys: &str| Config::parse(&format!("[mixing]\n{keys}\n{SMALLEST}"));
    let mixing = |keys: &str| parse(keys).unwrap_or_else(|problems| panic!("{problems}")).mixing;
    assert_eq!(mixing("mode = \"interval\"\ninterval_ms = 3"), Mixing::Interval { ns: 3_000_000 });
    assert_eq!(mixing("mode = \"threshold\""), Mixing::Threshold { circuits: 4, cap_ns: 100_000_000 });
    let all = "mode = \"threshold\"\nthreshold = 32\ncap_ms = 7";
    assert_eq!(mixing(all), Mixing::Threshold { circuits: 32, cap_ns: 7_000_000 });
    let described = parse(all).expect("is right").describe();
    assert!(described.contains("mixing        threshold of 32 circuits, 7 ms at most"), "{described}");
    for (keys, wrong) in [
        ("mode = \"pool\"", "mixing.mode"),
        ("mode = 4", "mixing.mode"),
        ("threshold = 4", "mixing.threshold"),
        ("mode = \"interval\"\ncap_ms = 4", "mixing.cap_ms"),
        ("mode = \"threshold\"\ninterval_ms = 4", "mixing.interval_ms"),
        ("mode = \"threshold\"\nthreshold = 1", "mixing.threshold"),
        ("mode = \"threshold\"\nthreshold = 33", "mixing.threshold"),
        ("mode = \"threshold\"\ncap_ms = 0", "mixing.cap_ms"),
    ] {
        let found = parse(keys).expect_err("is wrong").0;
        assert_eq!((found.len(), found[0].key.as_str()), (1, wrong), "{keys}: {found:?}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    let found = problems("[control]\nsocket = m1\n");
    assert_eq!((found.len(), found[0].key.as_str(), found[0].value.as_str()), (1, "line 2", "socket = m1"));
    assert_eq!(problems("cell = 256\ncell = 256\n").len(), 1);
}

#[test]
fn an_empty_file_wants_a_socket_and_a_worker() {
    let keys: Vec<_> = problems("").into_iter().map(|p| p.key).collect();
    assert_eq!(keys, ["control.socket", "worker"]);
}

#[test]
fn only_a_socket_may_be_in_the_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m1.sock");
    let text = format!("[control]\nsocket = {path:?}\n[[worker]]\nlisten = \"127.0.0.1:0\"\n");
    assert!(Config::parse(&text).is_ok());
    let _socket = std::os::unix::net::UnixListener::bind(&path).expect("binds");
    assert!(Config::parse(&text).is_ok());
    std::fs::remove_file(&path).expect("goes");
    std::fs::write(&path, "").expect("writes");
    assert!(problems(&text)[0].mend.contains("no socket"));
    let long = "x".repeat(SOCKET_PATH_MAX + 1);
    assert_eq!(problems(&SMALLEST.replace("m1.sock", &long))[0].key, "control.socket");
    assert!(Config::parse(&SMALLEST.replace("m1.sock", &long[1..])).is_ok());
}

/// What each worker does, and why, is decided in `cores.rs`; here with this machine's own cores.
#[test]
fn a_core_is_for_one_worker_and_spinning_needs_one_left() {
    let pinned = |cores: &[usize]| {
        let mut text = "[pacing]\npolicy = \"auto\"\n[control]\nsocket = \"s\"\n".to_owned();
        for core in cores {
            text.push_str(&format!("[[worker]]\nlisten = \"127.0.0.1:0\"\ncore = {core}\n"));
        }
        Config::parse(&text)
    };
    let cores: Vec<_> = core_affinity::get_core_ids().expect("cores").iter().map(|core| core.id).collect();
    assert_eq!(pinned(&[cores[0], cores[0]]).expect_err("one core").0[0].key, "worker[1].core");
    let all = pinned(&cores).expect("one each");
    assert_eq!(all.pacings.len(), cores.len());
    for Pacing { policy, reason } in &all.pacings {
        let exclusive = reason.contains("isolated") || reason.contains("nohz_full");
        assert_eq!(*policy == Policy::Spin, exclusive, "no core is left for everything else: {reason}");
        assert!(all.describe().contains(reason));
    }
    let one = &pinned(&cores[..1]).expect("one").pacings[0];
    assert_eq!(one.policy == Policy::Spin, cores.len() > 1 && !one.reason.contains("cpu.max"), "{}", one.reason);
    let unpinned = SMALLEST.replace("[control]", "[pacing]\npolicy = \"auto\"\n[control]");
    let unpinned = Config::parse(&unpinned).expect("is right");
    assert_eq!(unpinned.pacings[0].policy, Policy::Tick);
    assert_eq!(unpinned.horizon_ns(), 2_000_000);
}

#[test]
fn too_many_workers_are_a_problem() {
    let text = |n: usize| format!("[control]\nsocket = \"s\"\n{}", "[[worker]]\nlisten = \"127.0.0.1:0\"\n".repeat(n));
    assert!(Config::parse(&text(WORKERS_MAX)).is_ok());
    assert_eq!(problems(&text(WORKERS_MAX + 1))[0].key, "worker");
}

#[test]
fn what_waits_sealed_is_bounded_both_ways() {
    let rate = |slots| Rate { round_ns: 20_000_000, slots };
    // One link at 200/s and 3 ms: never more than one record.
    assert_eq!(transmit_needed(3_000_000, [(1, rate(4))].into_iter()), 1);
    // 100,000 links at 50/s: 15,000 records on average, far fewer than one each.
    let many = transmit_needed(3_000_000, [(100_000, rate(1))].into_iter());
    assert!((15_500..17_000).contains(&many), "{many}");
    assert_eq!(transmit_needed(3_000_000, std::iter::empty()), 0);
    let absurd = [(u64::MAX, Rate { round_ns: 1_000_000, slots: 1 << 20 })];
    assert!(transmit_needed(u64::MAX, absurd.into_iter()) > 1 << 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Config::parse(&text);
    }

    #[test]
    fn no_value_panics(
        key in proptest::sample::select(vec![
            "cell", "control", "control.socket", "control.allow_uids", "pacing", "pacing.policy", "pacing.tick_us",
            "mixing.interval_ms", "mixing.mode", "mixing.threshold", "mixing.cap_ms", "crypto", "crypto.backend", "limits", "limits.links", "limits.circuits", "limits.cells", "limits.transmit",
            "worker",
        ]),
        value in proptest::sample::select(vec![
            "-1", "0", "9223372036854775807", "1.5", "nan", "true", "\"\"", "\"x\"", "[]", "[1]", "[[1]]", "{}",
            "{ a = 1 }", "1979-05-27", "[{}]", "[{ listen = 1, core = -1 }]", "\"\\u0000\"",
        ]),
    ) {
        // Whatever is said of one key, the answer is a configuration or problems that name it.
        if let Err(Problems(found)) = Config::parse(&format!("{key} = {value}\n")) {
            prop_assert!(!found.is_empty());
        }
    }
}
