//! `drover doctor` on this machine, whatever it is.

use std::process::{Command, Output};

fn doctor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drover")).arg("doctor").args(args).output().expect("drover runs")
}

fn checks(out: &Output) -> Vec<serde_json::Value> {
    serde_json::from_slice(&out.stdout).expect("a list of checks")
}

fn missing(checks: &[serde_json::Value]) -> Vec<&str> {
    let of_state = checks.iter().filter(|check| check["state"] == "MISSING");
    of_state.map(|check| check["id"].as_str().expect("a text")).collect()
}

#[test]
fn the_status_is_what_the_list_says() {
    for args in [&["--json"][..], &["--json", "--interface", "lo"], &["--json", "--interface", "lo", "--port", "dpdk"]]
    {
        let out = doctor(args);
        let checks = checks(&out);
        let expected = if missing(&checks).is_empty() { 0 } else { 3 };
        assert_eq!(out.status.code(), Some(expected), "{checks:?}");
        for id in
            ["transparent_huge_pages", "memlock", "capability.bpf", "isolation", "clock_source", "interface", "iommu"]
        {
            assert_eq!(checks.iter().filter(|check| check["id"] == id).count(), 1, "{id}");
        }
    }
}

#[test]
fn an_interface_that_is_none_is_missing() {
    let out = doctor(&["--json", "--interface", "nosuchif0"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(missing(&checks(&out)).contains(&"interface"));
    let out = doctor(&["--interface", "nosuchif0"]);
    assert_eq!(out.status.code(), Some(3));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("MISSING") && text.contains("ip -brief link"), "{text}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m1.toml");
    std::fs::write(&path, "cell = 300\n").expect("written");
    for (file, what) in [(path.to_str().expect("text"), "cell = 300"), ("/nowhere.toml", "/nowhere.toml")] {
        let out = doctor(&["--config", file, "--json"]);
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(doctor(&["--interface", "../lo"]).status.code(), Some(2));
}

#[test]
fn a_configuration_says_how_much_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m1.toml");
    let socket = folder.path().join("m1.sock");
    let text = format!(
        "cell = 1024\n[control]\nsocket = {socket:?}\n[limits]\ntransmit = 1024\n[[worker]]\nlisten = \"127.0.0.1:0\"\n[[worker]]\nlisten = \"127.0.0.1:0\"\n"
    );
    std::fs::write(&path, text).expect("written");
    let out = doctor(&["--config", path.to_str().expect("text"), "--interface", "lo", "--json"]);
    let checks = checks(&out);
    let needed = |id: &str| checks.iter().find(|check| check["id"] == id).expect("a check")["needed"].clone();
    assert!(needed("queues").as_str().expect("a text").starts_with("2,"));
    // Two workers of 4096 + 1024 + 64 buffers of 2 KiB.
    assert!(needed("memlock").as_str().expect("a text").starts_with("20.3 MiB"), "{}", needed("memlock"));
}
