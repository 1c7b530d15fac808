//! The demo over real interfaces: what an outsider captures on the bridge, and that nothing stays when it is killed.
#![cfg(feature = "lab")]

use drover_control::demo::network::BRIDGE;
use drover_control::demo::report::Report;
use drover_nic::netns::Namespace;
use drover_nic::skip::skipped;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// `linux/if_ether.h`: frames of every protocol.
const ETH_P_ALL: u16 = 3;
/// Ethernet, IPv4 and UDP headers, bytes.
const HEADERS: usize = 14 + 20 + 8;
/// A record of a cell of 256 bytes (W-REC), bytes.
const RECORD: usize = 259;
/// Records that a direction of a link has sent when its handshake is over for certain.
const STARTED: usize = 200;
/// Time for a killed demo's processes to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// One demo at a time: they measure rates.
static TURN: Mutex<()> = Mutex::new(());

/// A demo that runs, and where its bridge is; `None`, and said, where this machine has no such networks.
struct Running {
    child: Child,
    bridge: Arc<Namespace>,
    bridge_inode: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(port: &str, folder: &Path, more: &[&str]) -> Option<Running> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_drover"))
        .args(["demo", "--port", port, "--seed", "7", "--json", "--out"])
        .arg(folder.join("out"))
        .args(more)
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut errors = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("says something");
    // Whatever else it says is read, so that it never waits for a reader.
    thread::spawn(move || errors.read_to_end(&mut Vec::new()));
    let path = line.split("--net=").nth(1).and_then(|rest| rest.split(' ').next()).map(PathBuf::from);
    let Some(path) = path else {
        let status = child.wait().expect("ends");
        assert!(matches!(status.code(), Some(2 | 3)), "{status}: {line}");
        skipped(format_args!("the demo over {port}: {}", line.trim()));
        return None;
    };
    let bridge = Arc::new(Namespace::open(&path).expect("the bridge's network"));
    let bridge_inode = fs::metadata(&path).expect("there").ino();
    Some(Running { child, bridge, bridge_inode })
}

/// A socket that sees every frame of a network.
fn raw_socket() -> OwnedFd {
    let protocol = NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).map(Protocol::from_raw);
    socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)
        .expect("a packet socket")
}

/// Sizes of UDP payloads by source and destination, in order, as they pass the bridge itself.
type Seen = BTreeMap<[u8; 8], Vec<usize>>;

fn watch(bridge: &Namespace, stop: &AtomicBool) -> Seen {
    let socket = bridge.run(raw_socket).expect("inside");
    let (mut seen, mut frame) = (Seen::new(), [0; 2048]);
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, _)) = recv(&socket, &mut frame[..], RecvFlags::empty()) else {
            thread::yield_now();
            continue;
        };
        // IPv4 without options, UDP.
        if len >= HEADERS && frame[12..14] == [8, 0] && frame[14] == 0x45 && frame[23] == 17 {
            let ends = frame[26..34].try_into().expect("eight bytes");
            seen.entry(ends).or_default().push(usize::from(u16::from_be_bytes([frame[38], frame[39]])) - 8);
        }
    }
    seen
}

fn report(mut running: Running) -> Report {
    let mut out = running.child.stdout.take().expect("piped");
    let mut text = String::new();
    out.read_to_string(&mut text).expect("text");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn voice_came(report: &Report, port: &str) {
    assert_eq!(report.port, port);
    // Beside other tests on few cores some may be lost.
    assert!(report.rtp_received * 4 > report.rtp_sent * 3 && report.rtp_intact == report.rtp_received, "{report:?}");
    assert_eq!((report.hops, report.links.len()), (5, 8), "{report:?}");
}

#[test]
fn on_the_bridge_records_between_mixes_have_one_size() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(running) = start("af_xdp", folder.path(), &["--seconds", "3"]) else { return };
    let (bridge, stop) = (Arc::clone(&running.bridge), AtomicBool::new(false));
    let (report, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&bridge, &stop));
        let report = report(running);
        stop.store(true, Ordering::Relaxed);
        (report, watching.join().expect("it watched"))
    });
    voice_came(&report, "af_xdp");
    let mixes = |ends: &[u8; 8]| [ends[3], ends[7]].iter().all(|host| (1..=4).contains(host));
    let between: Vec<_> = seen.iter().filter(|(ends, _)| mixes(ends)).collect();
    // Six links between four mixes, both directions.
    assert_eq!(between.len(), 12, "{:?}", seen.keys());
    for (ends, sizes) in between {
        let mut records = 0;
        let started = sizes.iter().take_while(|size| {
            records += usize::from(**size == RECORD);
            records < STARTED
        });
        let rest = &sizes[started.count()..];
        assert!(rest.len() > 1_000, "{ends:?} on {BRIDGE}: {} frames", sizes.len());
        assert!(rest.iter().all(|size| *size == RECORD), "{ends:?}: another size than {RECORD}");
    }
}

#[test]
fn a_demo_over_dpdk() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(running) = start("dpdk", folder.path(), &["--seconds", "2"]) else { return };
    voice_came(&report(running), "dpdk");
}

/// Processes of which `is` holds.
fn processes(is: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    all.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit)))
        .filter(|path| is(path))
        .collect()
}

fn names(path: &Path, folder: &Path) -> bool {
    let line = fs::read(path.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy())
}

#[test]
fn a_killed_demo_leaves_no_process_and_no_network() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut running) = start("af_xdp", folder.path(), &[]) else { return };
    let deadline = Instant::now() + PATIENCE;
    let ours = || processes(|path| names(path, folder.path()));
    let own = fs::metadata("/proc/self/ns/net").expect("there").ino();
    let networks = || -> BTreeSet<u64> {
        let inodes = ours().into_iter().filter_map(|path| Some(fs::metadata(path.join("ns/net")).ok()?.ino()));
        inodes.filter(|inode| *inode != own).chain([running.bridge_inode]).collect()
    };
    // Four mixes of two processes each, two clients, and the demo; a network for each node, and the bridge's. A process
    // that was forked and has not entered its network yet is not all there.
    while ours().len() < 11 || networks().len() < 7 {
        assert!(Instant::now() < deadline, "{:?} {:?}", ours(), networks());
        thread::sleep(Duration::from_millis(20));
    }
    let theirs = networks();
    running.child.kill().expect("killed");
    running.child.wait().expect("gone");
    drop(running);
    let inside = || processes(|path| fs::metadata(path.join("ns/net")).is_ok_and(|net| theirs.contains(&net.ino())));
    while !(ours().is_empty() && inside().is_empty()) {
        assert!(Instant::now() < deadline + PATIENCE, "still there: {:?} {:?}", ours(), inside());
        thread::sleep(Duration::from_millis(20));
    }
}
