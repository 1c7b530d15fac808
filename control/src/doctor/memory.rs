//! Huge pages by node, transparent ones, locked memory, free memory, and the pool beside the cache.

use super::files::{Files, after_key, bytes, size};
use super::privilege::{Capabilities, IPC_LOCK};
use super::{Check, Need, PortKind, finding};
use drover_dataplane::config::CELLS_SPARE;
use std::collections::BTreeMap;

/// The page that ports ask for.
const HUGE: u64 = 2 << 20;
const HUGE_NAME: &str = "hugepages-2048kB";
const NODES: &str = "sys/devices/system/node";

pub(super) fn checks(files: &Files, need: &Need, held: Option<Capabilities>) -> Vec<Check> {
    let mut checks = huge_pages(files, need);
    checks.push(transparent(files));
    checks.push(locked(files, need, held));
    checks.push(free(files, need));
    checks.push(cache(files, need));
    checks
}

/// Huge pages that each node must have free.
fn pages_needed(files: &Files, need: &Need, nodes: &[u16]) -> BTreeMap<u16, u64> {
    let interface = need.interface.as_deref();
    let by_interface = interface
        .and_then(|name| files.number(format!("sys/class/net/{name}/device/numa_node")))
        .and_then(|node| u16::try_from(node).ok())
        .filter(|node| nodes.contains(node));
    let first = by_interface.or(nodes.first().copied()).unwrap_or(0);
    let node_of = |core: Option<u16>| {
        let core = core?;
        let has =
            |node: &&u16| files.list(format!("{NODES}/node{node}/cpulist")).is_some_and(|cores| cores.contains(&core));
        nodes.iter().find(has).copied()
    };
    let mut needed = BTreeMap::from([(first, need.packets_of_process)]);
    for core in &need.cores {
        *needed.entry(node_of(*core).unwrap_or(first)).or_insert(0) += need.packets;
    }
    let pages = |bytes: u64| if need.huge_pages { bytes.div_ceil(HUGE) } else { 0 };
    needed.into_iter().map(|(node, bytes)| (node, pages(bytes))).collect()
}

fn huge_pages(files: &Files, need: &Need) -> Vec<Check> {
    let online = files.list(format!("{NODES}/online")).unwrap_or_default();
    let nodes: Vec<u16> = online.into_iter().collect();
    let needed = pages_needed(files, need, &nodes);
    if nodes.is_empty() {
        let all = needed.values().sum();
        return vec![huge_pages_of(files, need, "huge_pages", &format!("sys/kernel/mm/hugepages/{HUGE_NAME}"), all)];
    }
    let one = |node: &u16| {
        let folder = format!("{NODES}/node{node}/hugepages/{HUGE_NAME}");
        huge_pages_of(files, need, &format!("huge_pages.node{node}"), &folder, needed.get(node).copied().unwrap_or(0))
    };
    nodes.iter().map(one).collect()
}

fn huge_pages_of(files: &Files, need: &Need, id: &str, folder: &str, pages: u64) -> Check {
    let wanted = if pages == 0 { "none".to_owned() } else { format!("{pages} free pages of 2 MiB") };
    let why = match need.port {
        PortKind::Udp => "the port udp uses ordinary memory",
        _ if !need.huge_pages => "the configuration has packet buffers on ordinary pages",
        _ if pages == 0 => "no worker of the configuration is on this node",
        PortKind::AfXdp => {
            "packet buffers: without huge pages they are on small ones, at more cost a packet; pages that a \
                            running data plane holds are not free"
        }
        PortKind::Dpdk => "packet buffers and DPDK itself; pages that a running data plane holds are not free",
    };
    let number = |name: &str| files.number(format!("{folder}/{name}"));
    let (Some(all), Some(free)) = (number("nr_hugepages"), number("free_hugepages")) else {
        let finding = finding(id, "the kernel does not tell", wanted, why);
        return if pages == 0 { finding.ok() } else { finding.unknown("use a kernel with CONFIG_HUGETLBFS") };
    };
    let finding = finding(id, format!("{free} of {all} pages of 2 MiB are free"), wanted, why);
    let enough = all.saturating_add(pages.saturating_sub(free));
    finding.ok_or(free >= pages, format!("echo {enough} > /{folder}/nr_hugepages"))
}

fn transparent(files: &Files) -> Check {
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    let text = files.text(path).unwrap_or_default();
    let chosen =
        text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| super::files::printable(word));
    let (needed, why) =
        ("madvise or always", "links, circuits and cells lie on huge pages where they can: fewer page walks");
    match chosen {
        Some(word) => {
            let good = matches!(word.as_str(), "always" | "madvise");
            finding("transparent_huge_pages", word, needed, why).ok_or(good, format!("echo madvise > /{path}"))
        }
        None => finding("transparent_huge_pages", "the kernel does not tell", needed, why)
            .unknown("use a kernel with CONFIG_TRANSPARENT_HUGEPAGE"),
    }
}

/// The soft limit of locked memory, bytes; `None`: unlimited.
pub(super) fn memlock(limits: &str) -> Option<Option<u64>> {
    let soft = after_key(limits, "Max locked memory")?.split_whitespace().next()?;
    if soft == "unlimited" { Some(None) } else { soft.parse().ok().map(Some) }
}

fn locked(files: &Files, need: &Need, held: Option<Capabilities>) -> Check {
    let id = "memlock";
    let packets = need.all_packets();
    let (needed, why) = match need.port {
        PortKind::Udp => ("none".to_owned(), "the port udp locks no memory"),
        _ => (
            format!("{} or CAP_IPC_LOCK", bytes(packets)),
            "packet buffers are pinned; measured for this process's user",
        ),
    };
    let by_capability = held.is_some_and(|held| held.has(IPC_LOCK));
    match files.text("proc/self/limits").as_deref().and_then(memlock) {
        Some(limit) => {
            let found = limit.map_or_else(|| "unlimited".to_owned(), bytes);
            let found = if by_capability { format!("{found}, and CAP_IPC_LOCK") } else { found };
            let good = by_capability || limit.is_none_or(|limit| limit >= packets);
            finding(id, found, needed, why)
                .ok_or(good, "ulimit -l unlimited (of a unit of systemd: LimitMEMLOCK=infinity)")
        }
        None if packets == 0 || by_capability => finding(id, "the kernel does not tell", needed, why).ok(),
        None => finding(id, "the kernel does not tell", needed, why).unknown("mount -t proc proc /proc"),
    }
}

fn free(files: &Files, need: &Need) -> Check {
    let wanted = need.tables.saturating_mul(need.workers());
    let (needed, why) = (bytes(wanted), "cells, tables and frames of all workers; touched at start");
    let available = files.text("proc/meminfo").as_deref().and_then(available);
    match available {
        Some(there) => finding("memory", format!("{} available", bytes(there)), needed, why)
            .ok_or(there >= wanted, "lower limits.links, limits.circuits and limits.cells in the configuration"),
        None => finding("memory", "the kernel does not tell", needed, why).unknown("mount -t proc proc /proc"),
    }
}

/// Bytes that can be had without swapping.
pub(super) fn available(meminfo: &str) -> Option<u64> {
    let kib = after_key(meminfo, "MemAvailable:")?.strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// The last-level cache beside the pools of the workers that share it.
fn cache(files: &Files, need: &Need) -> Check {
    let core = need.cores.iter().find_map(|core| *core).unwrap_or(0);
    let folder = format!("sys/devices/system/cpu/cpu{core}/cache");
    let last = files.names(&folder).into_iter().filter(|name| name.starts_with("index")).filter_map(|name| {
        let level = files.number(format!("{folder}/{name}/level"))?;
        let of_data = files.word(format!("{folder}/{name}/type"))? != "Instruction";
        let bytes = size(&files.text(format!("{folder}/{name}/size"))?)?;
        let shared = files.list(format!("{folder}/{name}/shared_cpu_list")).unwrap_or_default();
        of_data.then_some((level, bytes, shared))
    });
    let last = last.max_by_key(|(level, ..)| *level);
    let why = "cells in use come from the cache while the pools fit it; beyond, each costs a wait for memory";
    let Some((level, there, shared)) = last else {
        let finding = finding("cache", "the kernel does not tell", bytes(need.pool * need.workers()), why);
        return finding.unknown("lscpu --caches, on the machine below this virtual one");
    };
    // A worker that is pinned nowhere may be here.
    let here = need.cores.iter().filter(|core| core.is_none_or(|core| shared.is_empty() || shared.contains(&core)));
    let workers = here.count().max(1) as u64;
    let wanted = need.pool.saturating_mul(workers);
    let cell = (need.pool / need.cells.max(1)).max(1);
    let fits = there / workers / cell;
    let mend =
        format!("limits.cells = {fits} or less in the configuration, with limits.circuits {CELLS_SPARE} below it");
    let finding = finding(
        "cache",
        format!("L{level} of {}", bytes(there)),
        format!("{} for the pools of {workers} of the workers", bytes(wanted)),
        why,
    );
    finding.ok_or(there >= wanted, mend)
}
