use super::*;
use drover_dataplane::config::{Pacing, Policy};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// A machine with nothing amiss for two workers on cores 2 and 3 over AF_XDP.
const FIT: [(&str, &str); 32] = [
    ("proc/self/status", "Name:\tdrover\nCapEff:\t000001ffffffffff\n"),
    ("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax locked memory  unlimited  unlimited  bytes\n"),
    ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   16000000 kB\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("sys/devices/system/node/online", "0-1\n"),
    ("sys/devices/system/node/node0/cpulist", "0-1\n"),
    ("sys/devices/system/node/node1/cpulist", "2-3\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "0\n"),
    ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "70\n"),
    ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "64\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/isolated", "2-3\n"),
    ("sys/devices/system/cpu/nohz_full", "(null)\n"),
    ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/level", "1\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/type", "Data\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/size", "48K\n"),
    ("sys/devices/system/cpu/cpu2/cache/index3/level", "3\n"),
    ("sys/devices/system/cpu/cpu2/cache/index3/type", "Unified\n"),
    ("sys/devices/system/cpu/cpu2/cache/index3/size", "32768K\n"),
    ("sys/devices/system/cpu/cpu2/cache/index3/shared_cpu_list", "0-3\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/mtu", "1500\n"),
    ("sys/class/net/eth0/ifindex", "2\n"),
    ("sys/class/net/eth0/queues/rx-0/x", ""),
    ("sys/class/net/eth0/queues/rx-1/x", ""),
    ("sys/class/net/eth0/queues/tx-0/x", ""),
    ("sys/class/net/eth0/queues/tx-1/x", ""),
];

/// What system calls say.
#[derive(Clone)]
struct Says {
    clock: Option<ClockState>,
    features: Option<XdpFeatures>,
    channels: Option<Channels>,
    driver: Option<Driver>,
}

fn says() -> Says {
    Says {
        clock: Some(ClockState { synchronised: true, max_error_us: 12_345 }),
        features: Some(XdpFeatures { xdp: 0b1011, xsk: 4 }),
        channels: Some(Channels { rx: 2, tx: 2, max_rx: 8, max_tx: 8, combined: true }),
        driver: Some(Driver { name: "ice".to_owned(), bus: "0000:01:00.0".to_owned() }),
    }
}

fn or_refused<T: Clone>(said: &Option<T>) -> io::Result<T> {
    said.clone().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

impl System for Says {
    fn driver(&self, _: &str) -> io::Result<Driver> {
        or_refused(&self.driver)
    }

    fn channels(&self, _: &str) -> io::Result<Channels> {
        or_refused(&self.channels)
    }

    fn xdp_features(&self, index: u32) -> io::Result<XdpFeatures> {
        assert_eq!(index, 2);
        or_refused(&self.features)
    }

    fn clock_state(&self) -> io::Result<ClockState> {
        or_refused(&self.clock)
    }
}

fn need(port: PortKind) -> Need {
    let spins = |core: u16| Pacing { policy: Policy::Spin, reason: format!("core {core} is isolated") };
    Need {
        port,
        interface: Some("eth0".to_owned()),
        zero_copy: true,
        driver_mode: true,
        huge_pages: true,
        policy: Policy::Auto,
        cores: vec![Some(2), Some(3)],
        pacings: vec![spins(2), spins(3)],
        pool: 8 << 20,
        cells: 8192,
        tables: 100 << 20,
        mtu: 1280,
        packets: 64 << 20,
        packets_of_process: 0,
    }
}

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::os::unix::fs::symlink(target, path).expect("linked");
}

fn fit() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    FIT.iter().for_each(|(path, text)| write(root.path(), path, text));
    root
}

fn examined(root: &Path, says: &Says, need: &Need) -> Vec<Check> {
    examine(&Files::under(root), says, need)
}

#[track_caller]
fn only<'c>(checks: &'c [Check], id: &str) -> &'c Check {
    let mut of_id = checks.iter().filter(|check| check.id == id);
    let check = of_id.next().unwrap_or_else(|| panic!("no {id} in {checks:?}"));
    assert!(of_id.next().is_none(), "{id} twice");
    check
}

/// Checks that are not OK, and what their mends say.
type Amiss<'a> = [(&'a str, State, &'a str)];

/// Asserts that just these checks are not OK, and what they say.
#[track_caller]
fn assert_amiss(checks: &[Check], amiss: &Amiss) {
    let found: Vec<&str> =
        checks.iter().filter(|check| check.state != State::Ok).map(|check| check.id.as_str()).collect();
    assert_eq!(found, amiss.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), "{checks:#?}");
    for (id, state, mend) in amiss {
        let check = only(checks, id);
        assert!(check.state == *state && check.mend.as_ref().is_some_and(|text| text.contains(mend)), "{check:?}");
    }
    let missing = amiss.iter().any(|(_, state, _)| *state == State::Missing);
    assert_eq!(exit_status(checks), if missing { 3 } else { 0 });
}

use State::{Missing, Unknown};

#[test]
fn a_fit_machine_lacks_nothing() {
    let root = fit();
    let checks = examined(root.path(), &says(), &need(PortKind::AfXdp));
    assert_amiss(&checks, &[]);
    assert!(checks.iter().all(|check| check.mend.is_none()));
    assert_eq!(only(&checks, "huge_pages.node1").needed, "64 free pages of 2 MiB");
    assert_eq!(only(&checks, "cache").found, "L3 of 32 MiB");
    assert_eq!(only(&checks, "time_sync").found, "kept, off by at most 13 ms");
    assert_eq!(only(&checks, "xdp").found, "driver mode, launch time");
}

/// Each check can fail: one file of the fit machine is another, and just what depends on it is amiss.
#[test]
fn every_file_counts() {
    let node1 = "sys/devices/system/node/node1/hugepages/hugepages-2048kB";
    let clock = "sys/devices/system/clocksource/clocksource0";
    const SETCAP: &str = "setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep";
    let cases: Vec<(String, &str, &Amiss)> = vec![
        (
            format!("{node1}/free_hugepages"),
            "60",
            &[(
                "huge_pages.node1",
                Missing,
                "echo 74 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
            )],
        ),
        (format!("{node1}/nr_hugepages"), "many", &[("huge_pages.node1", Unknown, "CONFIG_HUGETLBFS")]),
        (
            "sys/kernel/mm/transparent_hugepage/enabled".into(),
            "always madvise [never]",
            &[("transparent_huge_pages", Missing, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")],
        ),
        ("sys/kernel/mm/transparent_hugepage/enabled".into(), "", &[("transparent_huge_pages", Unknown, "CONFIG")]),
        ("proc/meminfo".into(), "MemAvailable: 204799 kB", &[("memory", Missing, "limits.links")]),
        ("proc/meminfo".into(), "MemAvailable: x kB", &[("memory", Unknown, "mount")]),
        (
            "sys/devices/system/cpu/cpu2/cache/index3/size".into(),
            "16383K",
            &[("cache", Missing, "limits.cells = 8191 or less")],
        ),
        ("proc/self/limits".into(), "Max locked memory 65536 65536 bytes", &[]),
        ("proc/self/status".into(), "CapEff:\t000001ffffffdfff", &[("capability.net_raw", Missing, SETCAP)]),
        ("proc/self/status".into(), "CapEff:\t000001ffffffefff", &[("capability.net_admin", Missing, SETCAP)]),
        ("proc/self/status".into(), "CapEff:\t0000017fffffffff", &[]),
        ("proc/self/status".into(), "CapEff:\t0000017fffdfffff", &[("capability.bpf", Missing, SETCAP)]),
        ("sys/devices/system/cpu/isolated".into(), "2", &[("isolation", Missing, "isolcpus=2-3 nohz_full=2-3")]),
        (
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor".into(),
            "powersave",
            &[("governor", Missing, "cpupower -c 3 frequency-set -g performance")],
        ),
        (
            format!("{clock}/current_clocksource"),
            "hpet",
            &[("clock_source", Missing, "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource")],
        ),
        (format!("{clock}/current_clocksource"), "\n", &[("clock_source", Unknown, "mount")]),
        ("sys/class/net/eth0/operstate".into(), "down", &[("interface", Missing, "ip link set dev eth0 up")]),
        ("sys/class/net/eth0/mtu".into(), "1279", &[("mtu", Missing, "ip link set dev eth0 mtu 1500")]),
        ("sys/class/net/eth0/queues/rx-2/x".into(), "", &[("queues", Missing, "ethtool -L eth0 combined 2")]),
        ("sys/class/net/eth0/ifindex".into(), "-1", &[("xdp", Unknown, "6.3"), ("zero_copy", Unknown, "6.3")]),
    ];
    for (path, text, amiss) in cases {
        let root = fit();
        write(root.path(), &path, text);
        assert_amiss(&examined(root.path(), &says(), &need(PortKind::AfXdp)), amiss);
    }
}

#[test]
fn every_answer_counts() {
    let channels = |most| Some(Channels { max_rx: most, max_tx: most, combined: true, ..Channels::default() });
    let cases: [(Says, &Amiss); 7] = [
        (Says { clock: None, ..says() }, &[("time_sync", Unknown, "timedatectl")]),
        (
            Says { clock: Some(ClockState { synchronised: false, max_error_us: 0 }), ..says() },
            &[("time_sync", Missing, "systemctl")],
        ),
        (
            Says { clock: Some(ClockState { synchronised: true, max_error_us: 30_000_001 }), ..says() },
            &[("time_sync", Missing, "systemctl")],
        ),
        (Says { features: None, ..says() }, &[("xdp", Unknown, "6.3"), ("zero_copy", Unknown, "ethtool -i eth0")]),
        // As veth says: driver mode, no zero copy.
        (Says { features: Some(XdpFeatures { xdp: 3, xsk: 0 }), ..says() }, &[("zero_copy", Missing, "prefer")]),
        (
            Says { features: Some(XdpFeatures::default()), ..says() },
            &[("xdp", Missing, "generic"), ("zero_copy", Missing, "prefer")],
        ),
        (Says { driver: None, ..says() }, &[("driver", Unknown, "ethtool -i eth0")]),
    ];
    for (says, amiss) in cases {
        assert_amiss(&examined(fit().path(), &says, &need(PortKind::AfXdp)), amiss);
    }
    // A worker more than the NIC can have queues for.
    let mut three = need(PortKind::AfXdp);
    three.packets /= 2;
    three.cores.push(Some(3));
    let amiss = [("queues", Missing, "no more than 2 times [[worker]]")];
    assert_amiss(&examined(fit().path(), &Says { channels: channels(2), ..says() }, &three), &amiss);
    let amiss = [("queues", Missing, "ethtool -L eth0 combined 3")];
    assert_amiss(&examined(fit().path(), &Says { channels: channels(3), ..says() }, &three), &amiss);
    let apart = Channels { combined: false, ..channels(3).expect("counts") };
    let amiss = [("queues", Missing, "ethtool -L eth0 rx 3 tx 3")];
    assert_amiss(&examined(fit().path(), &Says { channels: Some(apart), ..says() }, &three), &amiss);
}

#[test]
fn locked_memory_is_by_limit_or_capability() {
    let root = fit();
    write(root.path(), "proc/self/status", "CapEff: 000001ffffffbfff");
    write(root.path(), "proc/self/limits", "Max locked memory  134217727  134217727  bytes");
    let amiss = [("memlock", Missing, "LimitMEMLOCK=infinity")];
    assert_amiss(&examined(root.path(), &says(), &need(PortKind::AfXdp)), &amiss);
    write(root.path(), "proc/self/limits", "Max locked memory  134217728  134217728  bytes");
    assert_amiss(&examined(root.path(), &says(), &need(PortKind::AfXdp)), &[]);
}

#[test]
fn udp_needs_little() {
    let root = tempfile::tempdir().expect("a folder");
    let need = Need { interface: None, policy: Policy::Tick, packets: 0, ..need(PortKind::Udp) };
    let checks = examined(root.path(), &says(), &need);
    assert!(checks.iter().all(|check| check.state != Missing), "{checks:#?}");
    assert_eq!(only(&checks, "huge_pages").state, State::Ok);
    assert_eq!(
        (only(&checks, "isolation").needed.as_str(), only(&checks, "governor").needed.as_str()),
        ("none", "none")
    );
}

#[test]
fn what_is_switched_off_is_not_needed() {
    let root = fit();
    write(root.path(), "sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "0");
    let says = Says { features: Some(XdpFeatures::default()), ..says() };
    let need = Need { driver_mode: false, huge_pages: false, zero_copy: false, ..need(PortKind::AfXdp) };
    assert_amiss(&examined(root.path(), &says, &need), &[]);
}

#[test]
fn the_port_is_the_files_unless_a_flag_says_otherwise() {
    let need = |port: &str, asked: Asked| {
        let text = format!("{port}\n[control]\nsocket = \"/m1.sock\"\n[[worker]]\nlisten = \"192.0.2.1:4001\"\n");
        let config = drover_dataplane::config::Config::parse(&text).expect("a sound configuration");
        let need = Need::new(&config, asked);
        (need.port, need.interface, need.zero_copy, need.driver_mode, need.huge_pages)
    };
    let named = |name: &str| Some(name.to_owned());
    let eth7 = || Asked { interface: named("eth7"), ..Asked::default() };
    assert_eq!(need("", Asked::default()), (PortKind::Udp, None, false, true, true));
    assert_eq!(need("", eth7()), (PortKind::AfXdp, named("eth7"), false, true, true));
    let file = "[port]\nkind = \"af_xdp\"\ninterface = \"eth0\"\n";
    let strict = format!("{file}mode = \"generic\"\nzero_copy = \"off\"\nhuge_pages = \"off\"\n");
    assert_eq!(need(&strict, Asked::default()), (PortKind::AfXdp, named("eth0"), false, false, false));
    assert!(need(&format!("{file}zero_copy = \"require\"\n"), eth7()).2);
    let udp = Asked { port: Some(PortKind::Udp), ..Asked::default() };
    assert_eq!(need(file, udp), (PortKind::Udp, named("eth0"), false, true, true));
}

#[test]
fn an_interface_that_is_none_is_missing() {
    let nosuch = Need { interface: Some("eth7".to_owned()), ..need(PortKind::AfXdp) };
    let checks = examined(fit().path(), &says(), &nosuch);
    assert_amiss(&checks, &[("interface", Missing, "ip -brief link")]);
    assert!(only(&checks, "interface").why.contains("eth0"));
    let unnamed = Need { interface: None, ..need(PortKind::AfXdp) };
    assert_amiss(&examined(fit().path(), &says(), &unnamed), &[("interface", Unknown, "--interface")]);
    let unnamed = Need { interface: None, ..need(PortKind::Dpdk) };
    assert_eq!(only(&examined(fit().path(), &says(), &unnamed), "interface").state, State::Ok);
    for name in ["", ".", "..", "a/b", "../eth0", "a b", "sixteen-letters.", "-x", "a;b", "a\n", "\u{1b}[2J"] {
        assert!(!is_interface_name(name), "{name:?}");
    }
    assert!(["lo", "eth0.100", "enp1s0f0np0", "a@b_c-d+e"].iter().all(|name| is_interface_name(name)));
}

#[test]
fn dpdk_needs_an_iommu_and_vfio_for_a_pci_device() {
    let root = fit();
    // DPDK's own memory is on the interface's node.
    let need = Need { packets_of_process: 6 << 20, ..need(PortKind::Dpdk) };
    link(root.path(), "sys/class/net/eth0/device", "../../../devices/pci0000:00/0000:01:00.0");
    write(root.path(), "sys/devices/pci0000:00/0000:01:00.0/numa_node", "0\n");
    link(root.path(), "sys/devices/pci0000:00/0000:01:00.0/subsystem", "../../../bus/pci");
    let amiss: [(&str, State, &str); 3] = [
        ("huge_pages.node0", Missing, "echo 3 > /sys/devices/system/node/node0/"),
        ("iommu", Missing, "intel_iommu=on"),
        ("vfio", Missing, "modprobe vfio-pci"),
    ];
    assert_amiss(&examined(root.path(), &says(), &need), &amiss);
    write(root.path(), "sys/kernel/iommu_groups/17/x", "");
    write(root.path(), "sys/bus/pci/drivers/vfio-pci/x", "");
    write(root.path(), "dev/vfio/vfio", "");
    link(root.path(), "sys/bus/pci/devices/0000:01:00.0/iommu_group", "../../../kernel/iommu_groups/17");
    let checks = examined(root.path(), &says(), &need);
    assert_amiss(&checks, &amiss[..1]);
    assert!(only(&checks, "vfio").found.contains("0000:01:00.0 is in IOMMU group 17"));
}

#[test]
fn the_list_is_the_schema() {
    let checks = examined(fit().path(), &Says { clock: None, ..says() }, &need(PortKind::AfXdp));
    let list: serde_json::Value = serde_json::from_str(&json(&checks)).expect("JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), checks.len());
    for item in list {
        let keys: Vec<&str> = item.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["found", "id", "mend", "needed", "state", "why"]);
        let state = item["state"].as_str().expect("a text");
        assert!(["OK", "MISSING", "UNKNOWN"].contains(&state));
        assert_eq!(item["mend"].is_null(), state == "OK");
    }
    let shown = text(&checks);
    assert!(shown.ends_with("OK, 0 MISSING, 1 UNKNOWN\n") && shown.contains("timedatectl"), "{shown}");
    assert_eq!(lacking(&checks).lines().count(), 1, "what is unknown is not told there");
}

#[test]
fn sizes_and_limits_are_read_as_the_kernel_writes_them() {
    use super::files::{bytes, size};
    for (text, expected) in [("48K", Some(49_152)), ("2M\n", Some(2 << 20)), ("17", Some(17)), ("1G", Some(1 << 30))] {
        assert_eq!(size(text), expected);
    }
    for text in ["", "K", "-1K", "+1K", "1T", "99999999999999999999", "18446744073709551615K"] {
        assert_eq!(size(text), None, "{text}");
    }
    let shown: Vec<String> = [0, 1023, 1024, 1 << 20, (3 << 30) / 2, u64::MAX].map(bytes).into();
    assert_eq!(shown, ["0 bytes", "1023 bytes", "1 KiB", "1 MiB", "1.5 GiB", "17179869184 GiB"]);
    assert_eq!(memory::memlock("Max locked memory  unlimited  x"), Some(None));
    assert_eq!(memory::memlock("Max locked memory  8  x"), Some(Some(8)));
    assert_eq!(memory::memlock("Max locked memory"), None);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "[0-9,KM-]{0,24}".prop_map(String::into_bytes),
        "(CapEff:|MemAvailable:|Max locked memory)[ \t0-9a-fkB-]{0,30}".prop_map(String::into_bytes),
        "\\PC{0,80}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn parsers_take_anything(bytes in hostile()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = (files::size(&text), memory::memlock(&text), memory::available(&text), privilege::parse(&text));
        let shown = files::printable(&text);
        prop_assert!(!shown.contains(char::is_control) && shown.chars().count() <= 64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the files say, every check ends, in texts of one line that a terminal can be shown.
    #[test]
    fn hostile_files_are_harmless(files in proptest::collection::vec((0..FIT.len(), hostile()), 0..12), port in 0..3usize) {
        let root = fit();
        for (at, bytes) in &files {
            let path = FIT[*at].0;
            // The fake asserts the index.
            if !path.ends_with("ifindex") {
                write(root.path(), path, bytes);
            }
        }
        let port = [PortKind::Udp, PortKind::AfXdp, PortKind::Dpdk][port];
        for Check { id, found, needed, why, mend, .. } in examined(root.path(), &says(), &need(port)) {
            for text in [id, found, needed, why].into_iter().chain(mend) {
                prop_assert!(!text.is_empty() && text.len() < 600 && !text.contains(char::is_control), "{:?}", text);
            }
        }
    }
}
