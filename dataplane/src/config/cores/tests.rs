use super::*;
use proptest::prelude::*;
use std::fs;

fn cpus(text: &str) -> Cpus {
    parse(text).unwrap_or_else(|| panic!("{text:?} is a list"))
}

/// Workers pinned there; `None` is pinned to no core.
fn workers<const N: usize>(cores: [Option<u16>; N]) -> Vec<WorkerConfig> {
    let listen = "127.0.0.1:0".parse().expect("an address");
    cores.into_iter().map(|core| WorkerConfig { listen, core, queue: 0 }).collect()
}

/// What `auto` decides, and why.
fn auto(host: &Host, workers: &[WorkerConfig]) -> Vec<(Policy, String)> {
    host.decide(Policy::Auto, workers).into_iter().map(|pacing| (pacing.policy, pacing.reason)).collect()
}

#[track_caller]
fn assert_auto<const N: usize>(host: &Host, cores: [Option<u16>; N], expected: [(Policy, &str); N]) {
    let decided = auto(host, &workers(cores));
    for ((policy, reason), (wanted, why)) in decided.iter().zip(expected) {
        assert!(*policy == wanted && reason.contains(why), "{decided:?}, not {expected:?}");
    }
}

/// Eight threads of four cores: n and n + 4 are one.
fn smt() -> Host {
    let all = cpus("0-7");
    Host {
        affinity: all.clone(),
        allowed: all,
        siblings: (0..4).map(|core| Cpus::from([core, core + 4])).collect(),
        ..Host::default()
    }
}

use Policy::{Spin, Tick};

#[test]
fn a_worker_spins_where_a_core_is_left_for_the_rest() {
    let host = smt();
    assert_auto(&host, [Some(1)], [(Spin, "0,2-7 is left")]);
    assert_auto(&host, [Some(1), Some(2)], [(Spin, "core 1"), (Spin, "core 2")]);
    assert_auto(&host, [None], [(Tick, "pinned to no core")]);
    // The other may be anywhere.
    assert_auto(&host, [Some(1), None], [(Tick, "worker 1 is pinned to no core"), (Tick, "it is pinned to no core")]);
    let two = Host { affinity: cpus("0-1"), allowed: cpus("0-1"), ..Host::default() };
    assert_auto(&two, [Some(0), Some(1)], [(Tick, "no core is left"), (Tick, "no core is left")]);
    let one = Host { affinity: cpus("3"), allowed: cpus("3"), ..Host::default() };
    assert_auto(&one, [Some(3)], [(Tick, "no core is left")]);
}

#[test]
fn a_thread_of_another_workers_core_is_not_exclusive() {
    let isolated = Host { isolated: cpus("1-7"), ..smt() };
    for host in [smt(), isolated] {
        let (one, other) = ((Tick, "that worker 1 is"), (Tick, "that worker 0 is"));
        assert_auto(&host, [Some(1), Some(5), Some(2)], [one, other, (Spin, "core 2")]);
    }
}

#[test]
fn an_isolated_core_is_exclusive_whoever_else_there_is() {
    let host = Host { isolated: cpus("2-3"), nohz_full: cpus("3,5"), affinity: cpus("0"), ..smt() };
    let cores = [Some(2), Some(5), None, Some(0)];
    let expected = [(Spin, "core 2 is isolated"), (Spin, "core 5 is in nohz_full"), (Tick, "it"), (Tick, "worker 2")];
    assert_auto(&host, cores, expected);
}

#[test]
fn a_partition_keeps_others_off_but_not_our_own_threads() {
    let host = Host { partition: cpus("2-3"), affinity: cpus("2-3"), allowed: cpus("2-3"), ..Host::default() };
    assert_auto(&host, [Some(2)], [(Spin, "in a cpuset partition, and 3 is left of it")]);
    assert_auto(&host, [Some(2), Some(3)], [(Tick, "no core is left"), (Tick, "no core is left")]);
}

#[test]
fn a_quota_that_does_not_cover_spinning_is_no_core() {
    for (quota, policy) in [((100, 100), Tick), ((150, 100), Spin), ((50, 100), Tick)] {
        let host = Host { quota: Some(quota), isolated: cpus("1"), ..smt() };
        assert_auto(&host, [Some(1)], [(policy, "")]);
    }
    let host = Host { quota: Some((150, 100)), ..smt() };
    assert_auto(&host, [Some(1), Some(2)], [(Tick, "1.5 cores"), (Tick, "cpu.max")]);
}

#[test]
fn what_is_configured_is_not_second_guessed() {
    for policy in [Tick, Spin] {
        let decided = smt().decide(policy, &workers([None, Some(1)]));
        let expected = Pacing { policy, reason: "as configured".to_owned() };
        assert_eq!(decided, [expected.clone(), expected]);
    }
}

/// A machine's files.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("makes folders");
        fs::write(path, text).expect("writes");
    }
    root
}

#[test]
fn the_kernels_files_are_read() {
    let cpu = "sys/devices/system/cpu";
    let root = machine(&[
        (&format!("{cpu}/isolated"), "2-3\n"),
        (&format!("{cpu}/nohz_full"), "(null)\n"),
        (&format!("{cpu}/cpu0/topology/thread_siblings_list"), "0\n"),
        (&format!("{cpu}/cpu1/topology/thread_siblings_list"), "1,3\n"),
        (&format!("{cpu}/cpu3/topology/thread_siblings_list"), "1,3\n"),
        ("proc/self/cgroup", "1:name=x:/elsewhere\n0::/system.slice/mix.service\n"),
        ("sys/fs/cgroup/cpu.max", "90000 100000\n"),
        ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/system.slice/mix.service/cpu.max", "250000 100000\n"),
        ("sys/fs/cgroup/system.slice/mix.service/cpuset.cpus.partition", "member\n"),
        ("sys/fs/cgroup/system.slice/cpuset.cpus.partition", "root\n"),
        ("sys/fs/cgroup/system.slice/cpuset.cpus.effective", "0-1\n"),
    ]);
    let host = Host::under(root.path(), cpus("0-1"), |core| core == 3);
    assert_eq!((show(&host.affinity), show(&host.allowed)), ("0-1".to_owned(), "0-1,3".to_owned()));
    assert_eq!((show(&host.isolated), host.nohz_full.len()), ("2-3".to_owned(), 0));
    assert_eq!(host.siblings, [cpus("1,3"), cpus("1,3")]);
    assert_eq!((host.partition, host.quota), (cpus("0-1"), Some((90_000, 100_000))));
}

#[test]
fn a_machine_that_tells_nothing_has_no_exclusive_cores_but_by_affinity() {
    let odd = [
        ("proc/self/cgroup", "0::/../../etc\n"),
        ("sys/devices/system/cpu/isolated", "all of them"),
        ("sys/fs/cgroup/cpuset.cpus.partition", "root invalid (Cpu list in cpuset.cpus not exclusive)\n"),
    ];
    for files in [&[][..], &odd] {
        let root = machine(files);
        let host = Host::under(root.path(), cpus("0-1"), |_| true);
        assert!(host.isolated.is_empty() && host.partition.is_empty() && host.siblings.is_empty());
        assert_eq!((&host.allowed, host.quota), (&host.affinity, None));
        assert_auto(&host, [Some(0)], [(Spin, "1 is left for everything else")]);
    }
}

#[test]
fn this_machine_is_read() {
    let host = Host::read();
    assert!(!host.allowed.is_empty() && host.affinity.is_subset(&host.allowed));
    assert!(host.affinity.iter().all(|core| may_run_on(*core)));
}

#[test]
fn lists_are_read_as_the_kernel_writes_them() {
    for (text, expected) in [("", ""), ("\n", ""), ("(null)\n", ""), ("0\n", "0"), ("0-2,4,6-7\n", "0-2,4,6-7")] {
        assert_eq!(show(&cpus(text)), expected);
    }
    for wrong in ["a", "-1", "+1", "3-1", "1-", "-", ",", "1,,2", "0-65535", "1 2", "99999999999999999999", "0-7:2/4"] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn a_list_is_read_back(list in proptest::collection::btree_set(0..=CPU_MAX, 0..60), spread in 1u16..300) {
        // Sparse ones, and ones with runs.
        for list in [list.clone(), list.iter().map(|cpu| cpu % spread).collect()] {
            prop_assert_eq!(parse(&show(&list)), Some(list));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", list in "[0-9,-]{0,40}") {
        for text in [text, list] {
            if let Some(list) = parse(&text) {
                prop_assert_eq!(parse(&show(&list)), Some(list));
            }
            let _ = quota(&text);
        }
    }
}
