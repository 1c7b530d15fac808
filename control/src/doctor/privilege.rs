//! Capabilities (capabilities(7)) of this process: what the data plane would have, started by the same user the same way.

use super::files::{Files, after_key};
use super::{Check, Need, PortKind, finding};

const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
pub(super) const IPC_LOCK: u32 = 14;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl Capabilities {
    pub(super) fn has(self, capability: u32) -> bool {
        self.0 >> capability & 1 == 1
    }
}

/// Those in effect; none where the kernel does not tell.
pub(super) fn effective(files: &Files) -> Option<Capabilities> {
    parse(&files.text("proc/self/status")?)
}

/// Of `/proc/PID/status`.
pub(super) fn parse(status: &str) -> Option<Capabilities> {
    let digits = after_key(status, "CapEff:")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().map(Capabilities)
}

/// A capability that some port needs.
struct Wanted {
    id: &'static str,
    name: &'static str,
    any_of: &'static [u32],
    by: &'static [PortKind],
    why: &'static str,
}

const WANTED: [Wanted; 4] = [
    Wanted {
        id: "capability.net_raw",
        name: "CAP_NET_RAW",
        any_of: &[NET_RAW],
        by: &[PortKind::AfXdp],
        why: "AF_XDP sockets",
    },
    Wanted {
        id: "capability.net_admin",
        name: "CAP_NET_ADMIN",
        any_of: &[NET_ADMIN],
        by: &[PortKind::AfXdp],
        why: "an XDP program is attached to the interface",
    },
    Wanted {
        id: "capability.bpf",
        name: "CAP_BPF or CAP_SYS_ADMIN",
        any_of: &[BPF, SYS_ADMIN],
        by: &[PortKind::AfXdp],
        why: "an XDP program is loaded",
    },
    Wanted {
        id: "capability.ipc_lock",
        name: "CAP_IPC_LOCK",
        any_of: &[IPC_LOCK],
        by: &[PortKind::Dpdk],
        why: "memory is mapped for a device",
    },
];

pub(super) fn checks(held: Option<Capabilities>, need: &Need) -> Vec<Check> {
    WANTED.iter().map(|wanted| check(wanted, held, need)).collect()
}

fn check(wanted: &Wanted, held: Option<Capabilities>, need: &Need) -> Check {
    let has = held.map(|held| wanted.any_of.iter().any(|capability| held.has(*capability)));
    let found = match has {
        Some(true) => "this process has it",
        Some(false) => "this process lacks it",
        None => "the kernel does not tell",
    };
    if !wanted.by.contains(&need.port) {
        let why = format!("the port {} does without", need.port.name());
        return finding(wanted.id, found, "none", why).ok();
    }
    let finding = finding(wanted.id, found, wanted.name, wanted.why);
    match has {
        Some(true) => finding.ok(),
        Some(false) => finding.missing(grant(need.port)),
        None => finding.unknown("mount -t proc proc /proc"),
    }
}

/// All that a port needs at once: a second `setcap` would take away what the first one gave.
fn grant(port: PortKind) -> String {
    let all = match port {
        PortKind::Dpdk => "cap_ipc_lock",
        _ => "cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock",
    };
    format!("setcap {all}+ep \"$(command -v drover-dataplane)\", or start it, and this, as root")
}
