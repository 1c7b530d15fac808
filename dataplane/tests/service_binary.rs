//! The program: its exit codes, its one line, its clean end.

use drover_crypto::backend::Backend;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drover-dataplane");

fn run(arguments: &[&str], config: &Path) -> Output {
    Command::new(PROGRAM).args(arguments).arg(config).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn good(dir: &Path) -> String {
    let socket = dir.join("m.sock");
    format!("[control]\nsocket = {socket:?}\n[[worker]]\nlisten = \"127.0.0.1:0\"\n")
}

#[test]
fn a_check_tells_sizes_and_starts_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path())).expect("writes");
    let output = run(&["--check"], &path);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.contains("pool") && said.contains("bytes") && said.contains("worker 0"), "{said}");
    assert!(said.contains(&format!("crypto        {}", Backend::best())), "{said}");
    assert!(!dir.path().join("m.sock").exists());
}

#[test]
fn a_wrong_configuration_is_code_2_with_all_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path()).replace("[control]", "cell = 3\ncolour = 1\n[control]")).expect("writes");
    for arguments in [&[][..], &["--check"]] {
        let output = run(arguments, &path);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("cell = 3") && said.contains("colour = 1"), "{said}");
    }
    let output = run(&[], &dir.path().join("missing.toml"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("missing.toml"));
    assert_eq!(run(&["--frob"], &path).status.code(), Some(2));
}

#[test]
fn a_back_end_that_the_processor_lacks_is_code_2_with_what_it_lacks() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    for backend in Backend::ALL {
        let crypto = format!("[crypto]\nbackend = \"{backend}\"\n[control]");
        fs::write(&path, good(dir.path()).replace("[control]", &crypto)).expect("writes");
        let missing = backend.missing();
        let output = run(&["--check"], &path);
        assert_eq!(output.status.code(), Some(if missing.is_empty() { 0 } else { 2 }), "{backend}: {output:?}");
        let said = text(&output.stderr);
        assert!(missing.iter().all(|feature| said.contains(feature)), "{said}");
        assert_eq!(said.contains(&format!("crypto.backend = \"{backend}\"")), !missing.is_empty(), "{said}");
    }
}

#[test]
fn what_the_machine_lacks_for_a_port_is_code_3_with_the_mend() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("bound").to_string();
    let af_xdp = "[port]\nkind = \"af_xdp\"\ninterface = \"nowhere0\"\n[control]";
    let cases = [
        (good(dir.path()).replace("127.0.0.1:0", &address), [address.as_str(), "ss -ulpn"]),
        (good(dir.path()).replace("127.0.0.1:0", "192.0.2.77:0"), ["192.0.2.77", "ip address"]),
        (
            good(dir.path()).replace("127.0.0.1:0", "192.0.2.77:4001").replace("[control]", af_xdp),
            ["interface nowhere0", "ip link"],
        ),
    ];
    for (config, said) in cases {
        fs::write(&path, &config).expect("writes");
        let output = run(&[], &path);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = text(&output.stderr);
        assert!(said.iter().all(|part| text.contains(part)), "{said:?}: {text}");
        assert!(!dir.path().join("m.sock").exists());
    }
}

#[test]
fn what_a_port_can_do_nowhere_is_code_2() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    let port = "[port]\nkind = \"af_xdp\"\ninterface = \"lo\"\nmode = \"generic\"\nzero_copy = \"require\"\n[control]";
    fs::write(&path, good(dir.path()).replace("[control]", port).replace("127.0.0.1:0", "192.0.2.77:4001"))
        .expect("writes");
    let output = run(&[], &path);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("zero_copy = \"off\""), "{output:?}");

    fs::write(&path, good(dir.path())).expect("writes");
    let output = Command::new(PROGRAM).arg(&path).args(["--", "--log-level=8"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2), "EAL's arguments and no DPDK: {output:?}");
}

#[test]
fn what_cannot_start_is_code_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path())).expect("writes");
    let mut first = Command::new(PROGRAM).arg(&path).stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(first.stdout.take().expect("a pipe")).read_line(&mut line).expect("reads");
    let output = run(&[], &path);
    first.kill().expect("killed");
    first.wait().expect("gone");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("m.sock"), "{output:?}");
}

/// A capture is made where it was asked for, is said to be dangerous, and replaces nothing.
#[test]
fn a_capture_is_warned_of_and_replaces_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    let file = dir.path().join("m.pcapng");
    fs::write(&path, good(dir.path()).replace("[control]", &format!("[capture]\nfile = {file:?}\n[control]")))
        .expect("writes");
    let mut child =
        Command::new(PROGRAM).arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("reads");
    assert!(line.starts_with("ready: "), "{line}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("signals");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success() && text(&output.stderr).contains("dangerous"), "{output:?}");
    // The section header's magic number (pcapng, 4.1).
    assert_eq!(fs::read(&file).expect("made")[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    let output = run(&[], &path);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("nothing is overwritten"), "{output:?}");
}

#[test]
fn a_signal_ends_it_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path())).expect("writes");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut child = Command::new(PROGRAM).arg(&path).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("reads");
        assert!(line.starts_with("ready: boot ") && line.contains("127.0.0.1:") && line.contains("m.sock"), "{line}");
        assert!(dir.path().join("m.sock").exists());
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("signals");
        assert_eq!(child.wait().expect("ends").code(), Some(0));
        assert!(!dir.path().join("m.sock").exists());
    }
}

#[test]
#[cfg(feature = "lab")]
fn a_break_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path())).expect("writes");
    assert_eq!(run(&["--check", "--lab-break", "chaff-size"], &path).status.code(), Some(0));
    let output = run(&["--check", "--lab-break", "nothing"], &path);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("chaff-size"));
}

#[test]
#[cfg(not(feature = "lab"))]
fn a_release_build_breaks_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.toml");
    fs::write(&path, good(dir.path())).expect("writes");
    assert_eq!(run(&["--check", "--lab-break", "chaff-size"], &path).status.code(), Some(2));
}
