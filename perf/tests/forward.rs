//! Small runs of `forward`, `relay` and `generate`: what they count, and that they fail when something is wrong.

use drover_crypto::reference::Reference;
use drover_nic::fault::{Fault, FaultConfig};
use drover_nic::memory::{MemoryPort, MemoryWire, port_and_wire};
use drover_nic::skip::skipped;
use drover_nic::{Endpoint, OpenErrorKind};
use drover_perf::bed::{Bed, Mode, PortKind, Room};
use drover_perf::forward::{self, About, Report};
use drover_perf::generate::{Opener, Plan, Sealer, cli as generate};
use drover_perf::hop::Shape;
use drover_perf::probe::Probe;
use drover_perf::relay;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOCAL: Endpoint = Endpoint { ip: [1; 16], port: 1 };
const PEERS: u32 = 5;
const BATCH: usize = 96;

fn ends() -> (MemoryPort, MemoryWire) {
    port_and_wire(LOCAL, 4 * BATCH)
}

fn room() -> Room {
    Room { peers: PEERS as usize, transmit: 256, wire: 1024, mode: Mode::Auto }
}

/// A bed, or that there can be none here.
fn bed(kind: PortKind) -> Option<Bed> {
    match Bed::open(kind, room()) {
        Err(error) if error.kind == OpenErrorKind::Environment && kind == PortKind::AfXdp => {
            skipped(format_args!("forward over AF_XDP: {error}"));
            None
        }
        bed => Some(bed.expect("a bed")),
    }
}

/// Every packet comes back whole, whatever the port.
#[test]
fn every_packet_is_forwarded() {
    let (port, wire) = ends();
    let mut bench = forward::Bench::new(port, wire, PEERS, 512, BATCH);
    let samples = forward::measure(&mut bench, Duration::ZERO, &mut Probe::start()).expect("right");
    assert!(samples.iter().all(|s| (s.offered, s.forwarded, s.lost) == (BATCH as u64, BATCH as u64, 0) && s.ns > 0));
    assert_eq!(bench.places(), (vec![], vec![]));
    for kind in [PortKind::Udp, PortKind::AfXdp] {
        let Some(Bed { port, peers, bound, cable }) = bed(kind) else { continue };
        let mut bench = forward::Bench::new(port, peers, PEERS, 256, BATCH);
        let samples = forward::measure(&mut bench, Duration::ZERO, &mut Probe::start()).expect("right");
        assert_eq!(samples.iter().map(|s| s.lost).sum::<u64>(), 0, "{bound}: {:?}", bench.places());
        drop(bench);
        drop(cable);
    }
}

/// A packet that the wire loses is lost in the figures, and one that it spoils is none.
#[test]
fn what_is_lost_is_counted_and_what_is_wrong_fails() {
    let faulty = |change: fn(&mut FaultConfig)| {
        let (port, wire) = ends();
        let mut config = FaultConfig { seed: 7, ..FaultConfig::NONE };
        change(&mut config);
        forward::Bench::new(Fault::new(port, &config).expect("allowed"), wire, PEERS, 512, BATCH)
    };
    let mut lossy = faulty(|config| config.transmit.loss = 0.1);
    let samples = forward::measure(&mut lossy, Duration::ZERO, &mut Probe::start()).expect("counted");
    let (lost, offered) = samples.iter().fold((0, 0), |sum, s| (sum.0 + s.lost, sum.1 + s.offered));
    assert!(lost > 0 && lost < offered / 2, "{lost} of {offered}");
    let report = Report::new(&samples, lossy.places(), About::default()).expect("some came");
    assert_eq!((report.lost, report.packets), (lost, offered));
    assert_eq!(report.drops.iter().map(|place| place.packets).sum::<u64>(), lost, "{:?}", report.drops);
    assert!(report.to_string().contains(&format!("{lost} of {offered}")), "{report}");

    let mut spoiling = faulty(|config| config.transmit.corrupt = 0.2);
    let error = forward::measure(&mut spoiling, Duration::ZERO, &mut Probe::start()).expect_err("spoilt");
    assert!(error.contains("came back wrong") || error.contains("nobody sent"), "{error}");
    let mut twice = faulty(|config| config.transmit.duplicate = 0.2);
    let error = forward::measure(&mut twice, Duration::ZERO, &mut Probe::start()).expect_err("twice");
    assert!(error.contains("twice"), "{error}");
    let mut deaf = faulty(|config| config.transmit.loss = 1.0);
    let samples = forward::measure(&mut deaf, Duration::ZERO, &mut Probe::start()).expect("counted");
    assert!(Report::new(&samples, deaf.places(), About::default()).is_err_and(|error| error.contains("none of")));
}

/// A worker over a real port relays every cell; a wrong key at a far end fails.
#[test]
fn cells_are_relayed_over_real_ports() {
    let shape = Shape::new(PEERS as usize, 40, 48).expect("a shape");
    for kind in [PortKind::Udp, PortKind::AfXdp] {
        let Some(first) = bed(kind) else { continue };
        let mut beds = [Some(first), bed(kind)].into_iter().flatten();
        let mut bench =
            relay::Bench::<Reference, 256>::new(&shape, 48, || Ok(beds.next().expect("two"))).expect("opened");
        let trials = bench.measure(Duration::ZERO, &mut Probe::start()).expect("relayed");
        assert!(trials.iter().map(|trial| trial.relay_cells).sum::<u64>() > 100);
        let report = relay::Report::new(&trials, relay::About::default()).expect("figures");
        assert!(report.ns_per_cell > 0.0 && report.relay_ratio.is_finite(), "{report}");
        bench.break_far_open(1);
        let error = (0..20).find_map(|_| bench.trial().err()).expect("a wrong key");
        assert!(error.starts_with("relay: ") && error.contains("link 1 is wrong"), "{error}");
    }
}

fn sealed_and_opened(change: impl Fn(&mut [drover_perf::generate::LinkKeys])) -> Result<(u64, u64), String> {
    let (keys, seed) = generate::drawn(PEERS as usize);
    let mut others = keys.clone();
    change(&mut others);
    let (port, wire) = port_and_wire(LOCAL, 1 << 14);
    let (sealer, opener) = (Sealer::<Reference, 256>::new(&others, seed), Opener::new(&keys, seed));
    let plan = Plan { rate: Some(5_000.0), time: Duration::from_millis(400) };
    let (sent, checked) = generate::exchange::<Reference, 256, _, _>(port, wire, sealer, opener, plan)?;
    let report = drover_perf::generate::Report::new(&sent, 1.0, Some(checked), Default::default())?;
    Ok((report.sent.sent, report.checked.map_or(0, |checked| checked.opened)))
}

/// What is generated opens, at the rate that was asked for.
#[test]
fn generated_cells_open() {
    let (sent, opened) = sealed_and_opened(|_| {}).expect("right");
    assert_eq!(sent, opened);
    assert!(sent > 0 && sent <= 2_000, "{sent} in 0.4 s at 5,000 a second");
    let only_chaff =
        |keys: &mut [drover_perf::generate::LinkKeys]| keys.iter_mut().for_each(|key| key.circuits.clear());
    // Chaff where circuits' cells should come.
    assert!(sealed_and_opened(only_chaff).is_err_and(|error| error.contains("no cell of its circuits")));
}

/// A wrong key makes the check fail.
#[test]
fn a_wrong_key_does_not_open() {
    let error = sealed_and_opened(|keys| keys[2].secret.0[0] ^= 1).expect_err("a wrong key");
    assert!(error.contains("link 2 did not open"), "{error}");
    let error = sealed_and_opened(|keys| keys[1].circuits[0].counter -= 1).expect_err("a counter that was");
    assert!(error.contains("came again"), "{error}");
}

/// Ratchet steps are gone through as a mix goes through them.
#[test]
fn generated_cells_open_across_ratchet_steps() {
    let (mut keys, seed) = generate::drawn(2);
    keys.iter_mut().for_each(|key| key.ratchet_bits = 4);
    let mut sealer = Sealer::<Reference, 256>::new(&keys, seed);
    let mut opener = Opener::<Reference, 256>::new(&keys, seed);
    for _ in 0..20 {
        sealer.seal(40);
        sealer.sealed().for_each(|(link, record)| opener.take(link, record));
    }
    assert_eq!((opener.checked.wrong, &opener.checked.first_wrong), (0, &None));
    assert!(opener.checked.opened > 400, "{}", opener.checked.opened);
}

fn perf(args: &[&str], place: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).args(args).current_dir(place).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The commands leave a folder and print its summary, with the fields that others read.
#[test]
fn the_commands_print_their_figures() {
    let place = tempfile::tempdir().expect("a folder");
    let relayed = &["ns_per_cell", "forward_ns_per_packet", "hop_ns_per_cell", "relay_ratio"];
    let mut runs = vec![
        (&["forward", "--port", "memory"][..], &["packets_per_second", "ns_per_packet", "lost"][..]),
        (&["forward", "--port", "udp"], &["packets_per_second", "ns_per_packet"]),
        (&["forward", "--port", "af_xdp"], &["packets_per_second", "ns_per_packet"]),
        (&["relay", "--port", "udp", "--links", "8", "--circuits", "100"], relayed),
        (
            &["generate", "--port", "udp", "--links", "3", "--rate", "2000"],
            &["packets_per_second", "ceiling_packets_per_second", "of_rate", "missing"],
        ),
    ];
    if cfg!(feature = "dpdk") {
        // Between two processes; the other one is this program too.
        runs.push((&["relay", "--port", "dpdk", "--links", "8", "--circuits", "100", "--batch", "64"], relayed));
    }
    for (args, fields) in runs {
        let (code, json, error) = perf(&[args, &["--seconds", "1", "--json"]].concat(), place.path());
        if code == Some(3) && (args.contains(&"af_xdp") || args.contains(&"dpdk")) {
            skipped(format_args!("{args:?}: {error}"));
            continue;
        }
        assert_eq!(code, Some(0), "{args:?}: {error}");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["tool"], args[0]);
        for field in fields {
            assert!(json[field].is_number(), "{args:?}: {field}: {}", json[field]);
        }
        assert!(json["bound"].is_string(), "{json}");
    }
}

/// DPDK's devices, where this build has DPDK; else the mend.
#[test]
fn dpdk_forwards_or_says_how_it_would() {
    let place = tempfile::tempdir().expect("a folder");
    let devices = ["--vdev", "net_null0,size=512", "--vdev", "net_null1,size=512"];
    let args = [&["forward", "--port", "dpdk", "--seconds", "1", "--memory", "plain", "--json"][..], &devices].concat();
    let (code, json, error) = perf(&args, place.path());
    if cfg!(feature = "dpdk") {
        if drover_perf::pin::cores().is_ok_and(|cores| cores.len() < 2) {
            return skipped("forward over DPDK: one core only");
        }
        assert_eq!(code, Some(0), "{error}");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert!(json["packets_per_second"].as_f64() > Some(1000.0) && json["payload"] == 512, "{json}");
    } else {
        assert!(code == Some(2) && error.contains("--features dpdk"), "{code:?} {error}");
    }
}

/// Keys go to loopback only, and wrong usage is told as such.
#[test]
fn the_commands_refuse_what_they_cannot_do() {
    let place = tempfile::tempdir().expect("a folder");
    let keys = place.path().join("keys.toml");
    let secret = "00".repeat(32);
    let text = format!(
        "cell = 512\n[[link]]\nfrom = \"192.0.2.1:5001\"\nto = \"192.0.2.2:4433\"\nsecret = \"{secret}\"\nratchet_bits = 24\n"
    );
    std::fs::write(&keys, text).expect("written");
    let keys = keys.to_str().expect("UTF-8");
    for (args, code, words) in [
        (&["forward", "--port", "dpdk"][..], 2, "give --vdev twice"),
        (&["forward", "--seconds", "0"], 2, "--seconds 0 is not in"),
        (&["forward", "--peers", "501"], 2, "--peers 501"),
        (&["forward", "--port", "udp", "--against", "testpmd"], 2, "--against goes with"),
        (&["forward", "--port", "af_xdp", "--interface", "none7", "--listen", "192.0.2.1:4433"], 3, "none7"),
        (&["relay", "--port", "memory"], 2, "what hop measures"),
        (&["relay", "--links", "501"], 2, "--links 501"),
        (&["generate", "--port", "udp", "--keys", keys], 2, "not on loopback"),
        (&["generate", "--port", "af_xdp", "--keys", keys], 2, "needs --interface"),
        (&["generate", "--port", "udp", "--keys", "/nowhere/keys.toml"], 2, "/nowhere/keys.toml"),
        (&["generate", "--rate", "0"], 2, "--rate 0"),
        (&["ndr", "--port", "udp", "--links", "1000"], 2, "--links 1000"),
    ] {
        let (ended, _, error) = perf(args, place.path());
        assert!(ended == Some(code) && error.contains(words), "{args:?}: {ended:?} {error}");
    }
}

/// Cells generated for keys of a file arrive where the file says.
#[test]
fn keys_of_a_file_are_sealed_with() {
    let place = tempfile::tempdir().expect("a folder");
    let there = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (keys, _) = generate::drawn(1);
    let secret: String = keys[0].secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "cell = 256\n[[link]]\nfrom = \"127.0.0.1:0\"\nto = \"{}\"\nsecret = \"{secret}\"\nratchet_bits = 24\n",
        there.local_addr().expect("bound")
    );
    std::fs::write(place.path().join("keys.toml"), text).expect("written");
    let args = ["generate", "--port", "udp", "--keys", "keys.toml", "--rate", "50", "--seconds", "1", "--json"];
    let (code, json, error) = perf(&args, place.path());
    assert_eq!(code, Some(0), "{error}");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert!(json["checked"].is_null() && json["sent"].as_u64() > Some(10), "{json}");
    let mut chaff = keys;
    chaff[0].circuits.clear();
    let mut opener = Opener::<Reference, 256>::new(&chaff, 0);
    there.set_nonblocking(true).expect("set");
    let mut record = [0; 2048];
    while let Ok(len) = there.recv(&mut record) {
        opener.take(0, &record[..len]);
    }
    assert_eq!(opener.checked.opened, json["sent"].as_u64().expect("a number"));
    assert_eq!(opener.checked.first_wrong, None);
}
