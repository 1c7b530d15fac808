//! The command line against a real data plane, and its errors.

use drover_dataplane::config::Config;
use drover_dataplane::process::{Running, launch_mix};
use std::path::Path;
use std::process::{Command, Output};

fn drover(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drover")).args(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn config(socket: &Path) -> String {
    format!(
        "cell = 256\n[control]\nsocket = {socket:?}\n[pacing]\npolicy = \"tick\"\ntick_us = 1000\n\
         [limits]\nlinks = 64\ncircuits = 64\ncells = 1024\ntransmit = 1024\n[[worker]]\nlisten = \"127.0.0.1:0\"\n"
    )
}

fn mix(socket: &Path) -> Running {
    launch_mix(&Config::parse(&config(socket)).expect("sound")).expect("started")
}

#[test]
fn status_of_a_running_mix() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = mix(&dir.path().join("m1.sock"));
    let socket = running.socket().to_str().expect("text");
    let out = drover(&["status", socket, "--seconds", "0.1"]);
    let shown = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    for word in [&running.boot().to_string(), "cells of 256 bytes", "nothing is programmed yet", "no drops"] {
        assert!(shown.contains(word), "{word} lacks in {shown}");
    }
    assert!(shown.contains(&running.listens()[0].to_string()), "{shown}");

    let out = drover(&["status", "--json", "--socket", socket]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(json["boot"], running.boot().to_string());
}

#[test]
fn status_without_a_data_plane_says_where_and_how_to_mend() {
    let out = drover(&["status", "/nowhere/m1.sock"]);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(error.contains("/nowhere/m1.sock") && error.contains("is the data plane running"), "{error}");
}

#[test]
fn check_describes_a_sound_file_and_names_faults() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("m1.toml");
    let good = config(&dir.path().join("m1.sock"));
    std::fs::write(&path, &good).expect("written");
    let file = path.to_str().expect("text");
    let out = drover(&["check", file]);
    assert!(out.status.success() && text(&out.stdout).contains("1024 cells"), "{}", text(&out.stdout));

    std::fs::write(&path, good.replace("cell = 256", "cell = 300").replace("links = 64", "links = 0"))
        .expect("written");
    let out = drover(&["check", file]);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(error.contains(file) && error.contains("300") && error.contains("limits.links"), "{error}");
    assert!(text(&drover(&["check", "/nowhere.toml"]).stderr).contains("/nowhere.toml"));
}

/// Without the feature, the subcommands say which build has them.
#[cfg(not(feature = "lab"))]
#[test]
fn lab_and_demo_need_a_lab_build() {
    for args in [&["demo"][..], &["lab", "program", "x"], &["lab", "keys", "--out", "x"], &["lab", "crowd", "x"]] {
        let out = drover(args);
        let error = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        assert!(error.contains("--features lab") && error.contains("make demo"), "{error}");
    }
}

#[cfg(feature = "lab")]
#[test]
fn lab_keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.toml");
    let file = path.to_str().expect("text");
    let out = drover(&["lab", "keys", "--calls", "2", "--idle", "9", "--out", file]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
    let before = std::fs::read(&path).expect("there");
    let out = drover(&["lab", "keys", "--out", file]);
    assert!(!out.status.success() && text(&out.stderr).contains("exists"));
    assert_eq!(std::fs::read(&path).expect("there"), before);
    // Nobody runs: the first node is named with its socket.
    let out = drover(&["lab", "program", file]);
    let error = text(&out.stderr);
    assert!(error.contains("\"m1\"") && error.contains("run/m1.sock"), "{error}");
    let out = drover(&["lab", "keys", "--mixes", "3", "--out", &format!("{file}2")]);
    assert!(text(&out.stderr).contains("--mixes 3: 4 to 64"));
}
