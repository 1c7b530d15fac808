//! Ports on DPDK pass the conformance suite over every virtual device that this machine has, with huge pages and without.
//!
//! A process starts EAL once, so each variant is a process of its own: this program again. It takes names of devices, to run
//! only those.

#[path = "dpdk/devices.rs"]
mod devices;
#[path = "dpdk/lease.rs"]
mod lease;
#[path = "dpdk/remote.rs"]
mod remote;

use drover_nic::alloc_gate::Counting;
use drover_nic::hugetlb::HugePages;
use drover_nic::skip::{port_verdict, skipped};
use drover_nic::{child, dpdk};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a process that cannot run here ends with; its last line of standard output says why.
const SKIPPED: u8 = 77;
/// Huge pages for one variant: two processes with two devices each, 2 MiB a page.
const HUGE_PAGES: u64 = 160;
/// Huge pages that a process reserves before it is killed.
const MORE_PAGES: u64 = 3;
/// MiB for one process without them.
const PLAIN_MIB: u32 = 320;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--variant") {
        return devices::run(&arguments[at + 1..]);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    println!("{}", dpdk::Eal::version());
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| format!("dpdk/{name}").contains(*part));
    let mut failed = false;
    for device in devices::NAMES.iter().filter(|name| is_wanted(name)) {
        match both_memories(device) {
            Ok(verdict) => port_verdict(&format!("dpdk/{device}"), verdict),
            Err(what) => {
                eprintln!("dpdk/{device}: {what}");
                failed = true;
            }
        }
    }
    if is_wanted("refused") {
        match both_memories("refused") {
            Ok(Ok(())) => println!("EAL says why it does not start"),
            Ok(Err(why)) => skipped(format_args!("how EAL fails to start: {why}")),
            Err(what) => {
                eprintln!("{what}");
                failed = true;
            }
        }
    }
    if is_wanted("killed") {
        killed();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs a device with ordinary and with huge pages. The inner result is the verdict, of what cannot run here why.
fn both_memories(device: &str) -> Result<Result<(), String>, String> {
    let plain = variant(device, "plain")?;
    if plain.is_err() {
        return Ok(plain);
    }
    let pages = match HugePages::reserve(HUGE_PAGES) {
        Ok(pages) => pages,
        Err(error) => return Ok(Err(format!("passed without huge pages; with: {error}"))),
    };
    let huge = variant(device, "huge")?;
    drop(pages);
    Ok(huge)
}

fn variant(device: &str, memory: &str) -> Result<Result<(), String>, String> {
    let output = again()?.args([device, memory]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(Ok(())),
        Some(code) if code == i32::from(SKIPPED) => {
            Ok(Err(format!("{memory} pages: {}", said.lines().last().unwrap_or("it does not say why"))))
        }
        // What DPDK and its libraries say of normal events is much, and shown only now.
        _ => Err(format!("{memory} pages: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// This program, for a variant; it ends with us.
fn again() -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("--variant");
    child::end_with_parent(&mut command, rustix::process::Signal::KILL);
    Ok(command)
}

/// A process that is killed leaves no huge page in use, and no file.
fn killed() {
    let pages = match HugePages::reserve(HUGE_PAGES) {
        Ok(pages) => pages,
        Err(error) => return skipped(format_args!("a killed process's huge pages: {error}")),
    };
    let folder = tempfile::Builder::new().prefix("drover-killed-").tempdir().expect("a folder");
    let files = || std::fs::read_dir("/var/run/dpdk").map_or(0, |entries| entries.count());
    let (reserved, free, files_before) = (huge_pages("nr"), huge_pages("free"), files());
    let mut command = again().expect("this program");
    command.args(["killed", "huge"]).arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"), "it does not come up");
    assert_eq!(huge_pages("nr"), reserved + MORE_PAGES, "those that it reserved itself");
    assert!(huge_pages("free") + 10 < free, "it uses no huge pages");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let deadline = Instant::now() + Duration::from_secs(10);
    while huge_pages("free") != free || huge_pages("nr") != reserved {
        let now = (huge_pages("nr"), huge_pages("free"));
        assert!(Instant::now() < deadline, "huge pages and how many are free: {now:?}, not {:?}", (reserved, free));
        std::thread::yield_now();
    }
    assert_eq!(files(), files_before, "in /var/run/dpdk");
    drop(pages);
    println!("a killed process left no huge page and no file");
}

/// `nr`: all huge pages; `free`: those that nobody uses.
fn huge_pages(which: &str) -> u64 {
    let file = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{which}_hugepages");
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
