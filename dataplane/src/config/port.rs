//! `[port]`, `[capture]`, `[fault]` and `worker.queue`: what the workers send and receive by (`docs/operations.md`, "Ports").

use super::check::Reader;
use super::{Problem, WorkerConfig};
use drover_nic::af_xdp::{AfXdpConfig, HugePages, Mode, NextHop, OtherQueues, ZeroCopy};
use drover_nic::capture;
#[cfg(feature = "lab")]
use drover_nic::fault::{FaultConfig, Faults};
use drover_wire::frame::{Checksum, Mac};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::{Table, Value};

/// Bytes of the largest datagram that a port must be able to carry: a handshake's, the largest of them (IPv6's least MTU of
/// 1,280 less headers); every record is shorter.
pub const PAYLOAD: usize = 1_200;
/// Queues of an interface.
pub const QUEUES: std::ops::RangeInclusive<u64> = 0..=1_023;
/// MiB of DPDK's memory on ordinary pages.
pub const PLAIN_MIB: std::ops::RangeInclusive<u64> = 64..=65_536;
/// Bytes of the longest name of a device, with its arguments.
const DEVICE_MAX: usize = 512;
/// Arguments of EAL's own.
const EAL_MAX: usize = 64;
/// What there is.
const KINDS: &str = "\"udp\", \"af_xdp\" or \"dpdk\"";

/// What the workers send and receive by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortConfig {
    /// A UDP socket each.
    Udp,
    /// A queue of a network interface each, by AF_XDP.
    AfXdp(AfXdpConfig),
    /// A queue of a device each, by DPDK: where this build has it.
    Dpdk(DpdkPort),
}

impl PortConfig {
    /// The name in the file and in status.
    pub const fn name(&self) -> &'static str {
        match self {
            PortConfig::Udp => "udp",
            PortConfig::AfXdp(_) => "af_xdp",
            PortConfig::Dpdk(_) => "dpdk",
        }
    }
}

/// A device of DPDK's, and what DPDK is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpdkPort {
    /// A PCI address, or a virtual device with its arguments.
    pub device: String,
    /// The device's Ethernet address; `None`: its own.
    pub mac: Option<Mac>,
    /// The VLAN of all frames.
    pub vlan: Option<u16>,
    /// MTU, bytes, to set.
    pub mtu: Option<u32>,
    /// The one next hop; `None`: resolved on the link.
    pub next_hop: Option<Mac>,
    /// Bits of the link's prefix.
    pub prefix_len: u8,
    /// Where all else goes.
    pub gateway: Option<IpAddr>,
    /// Whether sums are left to a device that offers that.
    pub offload: bool,
    /// MiB on ordinary pages; `None`: huge pages.
    pub plain_mib: Option<u32>,
    /// More arguments of EAL's, behind ours.
    pub eal: Vec<String>,
}

/// Where what passes is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// The file of worker 0; the others' have `.1`, `.2`, … behind.
    pub file: PathBuf,
    /// How much.
    pub limits: capture::Limits,
}

/// Reads `[port]`.
pub(super) fn read(table: Table, problems: &mut Vec<Problem>) -> PortConfig {
    let mut port = Reader::new("port.", table, problems);
    let mend = "\"udp\" needs nothing; \"af_xdp\" needs an interface, \"dpdk\" a device";
    let kind = port.text("kind", KINDS, mend);
    let read = match kind.as_deref() {
        None | Some("udp") => PortConfig::Udp,
        Some("af_xdp") => af_xdp(&mut port).map_or(PortConfig::Udp, PortConfig::AfXdp),
        Some("dpdk") => dpdk(&mut port).map_or(PortConfig::Udp, PortConfig::Dpdk),
        Some(other) => {
            port.problem("kind", format!("{other:?}"), KINDS, mend);
            PortConfig::Udp
        }
    };
    port.finish();
    read
}

fn af_xdp(port: &mut Reader<'_>) -> Option<AfXdpConfig> {
    let interface = needed(port, "interface", "a network interface's name", "`ip link` lists those there are");
    let huge = [("prefer", HugePages::Prefer), ("require", HugePages::Require), ("off", HugePages::Off)];
    let defaults = AfXdpConfig::new(String::new());
    let config = AfXdpConfig {
        vlan: vlan(port),
        vlan_interface: port.text(
            "vlan_interface",
            "the VLAN's own interface, such as \"eth0.12\"",
            "see `ip -d link`",
        ),
        mode: choice(port, "mode", &[("auto", Mode::Auto), ("driver", Mode::Driver), ("generic", Mode::Generic)]),
        zero_copy: choice(
            port,
            "zero_copy",
            &[("prefer", ZeroCopy::Prefer), ("require", ZeroCopy::Require), ("off", ZeroCopy::Off)],
        ),
        huge_pages: choice(port, "huge_pages", &huge),
        other_queues: choice(
            port,
            "other_queues",
            &[("refuse", OtherQueues::Refuse), ("steered", OtherQueues::Steered)],
        ),
        next_hop: mac(port, "next_hop", "a fixed Ethernet address of the next hop; left out: asked of the kernel")
            .map_or(NextHop::Resolve, NextHop::Fixed),
        checksum: choice(port, "checksum", &[("software", Checksum::Software), ("offload", Checksum::Offload)]),
        launch_time: flag(port, "launch_time", false),
        payload: PAYLOAD,
        ..defaults
    };
    Some(AfXdpConfig { interface: interface?, ..config })
}

fn dpdk(port: &mut Reader<'_>) -> Option<DpdkPort> {
    let device = needed(
        port,
        "device",
        "a PCI address, or a virtual device with its arguments",
        "such as \"0000:03:00.0\" (`dpdk-devbind.py --status` lists them) or \"net_af_xdp0,iface=eth1\"",
    );
    if !cfg!(feature = "dpdk") {
        let mend =
            "build with `cargo build --features dpdk` (needs libdpdk-dev 22.11 or later), or choose another kind";
        port.problem("kind", "\"dpdk\"", "\"udp\" or \"af_xdp\": this build is without DPDK", mend);
    }
    let gateway = gateway(port);
    let config = DpdkPort {
        device: device.clone().unwrap_or_default(),
        mac: mac(port, "mac", "an Ethernet address for the device; left out: its own"),
        vlan: vlan(port),
        mtu: port.maybe_number("mtu", 576..=9_600, "bytes; left out: what a record needs").map(|mtu| mtu as u32),
        next_hop: mac(port, "next_hop", "a fixed Ethernet address of the next hop; left out: asked of the link"),
        prefix_len: port.maybe_number("prefix_len", 0..=128, "bits of the link's prefix").unwrap_or(24) as u8,
        gateway,
        offload: flag(port, "offload", true),
        plain_mib: port
            .maybe_number("plain_memory_mib", PLAIN_MIB, "MiB on ordinary pages; left out: huge pages")
            .map(|mib| mib as u32),
        eal: eal(port),
    };
    device.map(|_| config)
}

fn needed(port: &mut Reader<'_>, key: &'static str, allowed: &str, mend: &str) -> Option<String> {
    let had = port.has(key);
    let text = port.text(key, allowed, mend);
    let fits = |text: &String| (1..=DEVICE_MAX).contains(&text.len()) && !text.contains('\0');
    match text {
        Some(text) if fits(&text) => Some(text),
        Some(text) => {
            port.problem(key, format!("{text:?}"), allowed, mend);
            None
        }
        None if had => None,
        None => {
            port.problem(key, "(missing)", allowed, mend);
            None
        }
    }
}

/// One of a few names, the first where nothing is said.
fn choice<T: Copy>(port: &mut Reader<'_>, key: &'static str, of: &[(&str, T)]) -> T {
    let names: Vec<_> = of.iter().map(|(name, _)| format!("{name:?}")).collect();
    let allowed = names.join(", ");
    let mend = format!("leave it out for {}", names[0]);
    let Some(text) = port.text(key, &allowed, &mend) else { return of[0].1 };
    let found = of.iter().find(|(name, _)| *name == text);
    found.map_or_else(
        || {
            port.problem(key, format!("{text:?}"), &allowed, &mend);
            of[0].1
        },
        |(_, value)| *value,
    )
}

fn flag(port: &mut Reader<'_>, key: &'static str, default: bool) -> bool {
    let Some(value) = port.take(key) else { return default };
    value.as_bool().unwrap_or_else(|| {
        port.problem(key, &value, "true or false", format!("leave it out for {default}"));
        default
    })
}

fn vlan(port: &mut Reader<'_>) -> Option<u16> {
    port.maybe_number("vlan", 1..=4_094, "the VLAN of all frames; left out: they have no tag").map(|vlan| vlan as u16)
}

fn mac(port: &mut Reader<'_>, key: &'static str, allowed: &str) -> Option<Mac> {
    let mend = "write it as \"02:00:00:00:00:01\"; its first byte is even";
    let text = port.text(key, allowed, mend)?;
    let mac = text.parse::<Mac>().ok().filter(|mac| mac.is_station());
    if mac.is_none() {
        port.problem(key, format!("{text:?}"), allowed, mend);
    }
    mac
}

fn gateway(port: &mut Reader<'_>) -> Option<IpAddr> {
    let (allowed, mend) = ("an IP address on the link", "leave it out where all peers are on the link");
    let text = port.text("gateway", allowed, mend)?;
    let gateway = text.parse().ok();
    if gateway.is_none() {
        port.problem("gateway", format!("{text:?}"), allowed, mend);
    }
    gateway
}

fn eal(port: &mut Reader<'_>) -> Vec<String> {
    let Some(value) = port.take("eal") else { return Vec::new() };
    let texts = value.as_array().filter(|list| list.len() <= EAL_MAX);
    let texts = texts.and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    texts.unwrap_or_else(|| {
        let allowed = format!("a list of at most {EAL_MAX} texts");
        port.problem("eal", &value, allowed, "one text for each argument, such as [\"--log-level=eal:debug\"]");
        Vec::new()
    })
}

/// Reads `[capture]`: there is none unless it is asked for.
pub(super) fn read_capture(table: Option<Table>, problems: &mut Vec<Problem>) -> Option<CaptureConfig> {
    let mut reader = Reader::new("capture.", table?, problems);
    let file = needed(&mut reader, "file", "a file to be made; none is replaced", "name one that is not there");
    let defaults = capture::Limits::default();
    let limits = capture::Limits {
        bytes: reader.number("bytes", 4_096..=capture::MAX_BYTES, defaults.bytes),
        packets: reader.number("packets", 1..=1 << 32, defaults.packets),
        ring: defaults.ring,
    };
    reader.finish();
    Some(CaptureConfig { file: PathBuf::from(file?), limits })
}

/// Reads `[fault]`, which lab builds have: of received datagrams, of sent ones, or of both.
#[cfg(feature = "lab")]
pub(super) fn read_fault(table: Option<Table>, problems: &mut Vec<Problem>) -> Option<FaultConfig> {
    let mut reader = Reader::new("fault.", table?, problems);
    let seed = reader.number("seed", 0..=i64::MAX as u64, 0);
    let directions = [("both", [true, true]), ("receive", [true, false]), ("transmit", [false, true])];
    let [receive, transmit] = choice(&mut reader, "direction", &directions);
    let faults = Faults {
        loss: share(&mut reader, "loss"),
        duplicate: share(&mut reader, "duplicate"),
        corrupt: share(&mut reader, "corrupt"),
        reorder: share(&mut reader, "reorder"),
        delay: share(&mut reader, "delay"),
        ..Faults::NONE
    };
    reader.finish();
    let of = |is: bool| if is { faults.clone() } else { Faults::NONE };
    Some(FaultConfig { seed, receive: of(receive), transmit: of(transmit), ..FaultConfig::NONE })
}

#[cfg(feature = "lab")]
fn share(reader: &mut Reader<'_>, key: &'static str) -> f64 {
    let Some(value) = reader.take(key) else { return 0.0 };
    let share = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
    share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or_else(|| {
        reader.problem(key, &value, "a share of all datagrams, 0 to 1", "leave it out for 0");
        0.0
    })
}

/// Reads `worker.queue`: which of the interface's queues is the worker's.
pub(super) fn queue(
    reader: &mut Reader<'_>,
    at: usize,
    is_there: bool,
    taken: &mut HashMap<u16, usize>,
) -> Option<u16> {
    let value = reader.take("queue");
    if !is_there {
        if let Some(value) = value {
            let mend = "remove it, or choose port.kind = \"af_xdp\" or \"dpdk\"";
            reader.problem("queue", value, "nothing: a UDP socket has no queue", mend);
        }
        return None;
    }
    let number = |value: &Value| {
        value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| QUEUES.contains(n)).map(|n| n as u16)
    };
    let queue = match &value {
        None => Some(at as u16),
        Some(value) => number(value),
    };
    let shown = value.map_or_else(|| format!("{at} (its number)"), |value| value.to_string());
    let Some(queue) = queue else {
        let allowed = format!("a queue's number, {} to {}", QUEUES.start(), QUEUES.end());
        reader.problem("queue", shown, allowed, "leave it out for the worker's own number");
        return None;
    };
    if let Some(other) = taken.insert(queue, at) {
        let mend = format!("worker[{other}] has it: choose another");
        reader.problem("queue", shown, "a queue of its own for each worker", mend);
    }
    Some(queue)
}

/// What a port writes into its frames must be an address of one host, and one for all workers.
pub(super) fn addresses_fit(port: &PortConfig, workers: &[WorkerConfig], problems: &mut Vec<Problem>) {
    if *port == PortConfig::Udp {
        return;
    }
    let first = workers.first().map(|worker| worker.listen.ip());
    for (at, WorkerConfig { listen, .. }) in workers.iter().enumerate() {
        let ip = listen.ip();
        let (allowed, mend) = if ip.is_unspecified() || ip.is_multicast() {
            ("an address of one host", "a port that makes its own frames writes its address into each: name it")
        } else if Some(ip) != first {
            ("the address that worker[0] has", "all workers of an interface have one address and a UDP port each")
        } else if listen.port() == 0 && matches!(port, PortConfig::Dpdk(_)) {
            ("a UDP port of its own, not 0", "no kernel is there to draw one")
        } else {
            continue;
        };
        problems.push(Problem {
            key: format!("worker[{at}].listen"),
            value: format!("\"{listen}\""),
            allowed: allowed.to_owned(),
            mend: mend.to_owned(),
        });
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
