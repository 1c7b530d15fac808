//! Which cores a worker has for itself: what `pacing.policy = "auto"` decides by.
//!
//! Whoever spins on a core takes all of it, so `auto` spins only where nobody misses it and nobody disturbs it. What the
//! kernel says of its cores is read once, at start (`docs/operations.md`, "Cores and pacing").

use super::{Policy, WorkerConfig};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Numbers of processors.
pub type Cpus = BTreeSet<u16>;

/// The highest number of a processor that is read.
const CPU_MAX: u16 = u16::MAX - 1;
/// Bytes of the longest file that is read of the kernel's.
const FILE_MAX: u64 = 1 << 16;

/// How a worker is paced, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// `Tick` or `Spin`.
    pub policy: Policy,
    /// Why, in words.
    pub reason: String,
}

/// Reads a list as the kernel writes it (`Documentation/admin-guide/cputopology.rst`): `0-3,8`; none where it is no list.
/// An empty one may be written as `(null)`.
pub fn parse(text: &str) -> Option<Cpus> {
    let text = text.trim();
    if text.is_empty() || text == "(null)" {
        return Some(Cpus::new());
    }
    let mut all = Cpus::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            // `parse` would take a sign.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten().filter(|number| *number <= CPU_MAX)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// Writes a list as the kernel does.
pub fn show(cpus: &Cpus) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let one = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

/// What the kernel says of this machine's cores and of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Where this process's threads run when they are not pinned.
    affinity: Cpus,
    /// Where they may be pinned.
    pub(super) allowed: Cpus,
    /// Kept from the scheduler (`isolcpus`).
    isolated: Cpus,
    /// Kept from the kernel's own work (`nohz_full`).
    nohz_full: Cpus,
    /// The cores of the cpuset partition that this process is in, when it is not everybody's.
    partition: Cpus,
    /// For each allowed core that has any, the threads of its physical core.
    siblings: Vec<Cpus>,
    /// The processor time that its control groups may use: so much in a period.
    quota: Option<(u64, u64)>,
}

impl Host {
    /// This machine.
    pub(super) fn read() -> Host {
        let ids = core_affinity::get_core_ids().unwrap_or_default();
        let affinity: Cpus = ids.iter().filter_map(|id| u16::try_from(id.id).ok()).collect();
        Host::under(Path::new("/"), affinity, may_run_on)
    }

    /// The machine that the files below `root` tell of. An isolated core is outside every affinity that was not set by
    /// hand, so whether it may be used is told by `may_run_on`.
    fn under(root: &Path, affinity: Cpus, may_run_on: impl Fn(u16) -> bool) -> Host {
        let cpus = root.join("sys/devices/system/cpu");
        let list = |path: PathBuf| read(&path).and_then(|text| parse(&text)).unwrap_or_default();
        let isolated = list(cpus.join("isolated"));
        let mut allowed = affinity.clone();
        allowed.extend(isolated.difference(&affinity).filter(|core| may_run_on(**core)));
        let siblings = allowed.iter().map(|core| list(cpus.join(format!("cpu{core}/topology/thread_siblings_list"))));
        let groups = groups(root);
        let partition = groups.iter().find(|group| {
            let kind = read(&group.join("cpuset.cpus.partition")).unwrap_or_default();
            // "root invalid (...)" is none.
            matches!(kind.trim(), "root" | "isolated")
        });
        let quotas = groups.iter().filter_map(|group| quota(&read(&group.join("cpu.max"))?));
        Host {
            siblings: siblings.filter(|threads| threads.len() > 1).collect(),
            partition: partition.map(|group| list(group.join("cpuset.cpus.effective"))).unwrap_or_default(),
            quota: quotas.min_by_key(|(time, period)| time * 1_000 / period),
            nohz_full: list(cpus.join("nohz_full")),
            affinity,
            allowed,
            isolated,
        }
    }

    /// How each worker is paced.
    pub(super) fn decide(&self, policy: Policy, workers: &[WorkerConfig]) -> Vec<Pacing> {
        let decide = |at| match policy {
            Policy::Auto => match self.exclusive(at, workers) {
                Ok(reason) => Pacing { policy: Policy::Spin, reason },
                Err(reason) => Pacing { policy: Policy::Tick, reason },
            },
            policy => Pacing { policy, reason: "as configured".to_owned() },
        };
        (0..workers.len()).map(decide).collect()
    }

    /// Why a worker's core is its own, or why not.
    fn exclusive(&self, at: usize, workers: &[WorkerConfig]) -> Result<String, String> {
        let core = workers[at].core.ok_or("it is pinned to no core")?;
        let pinned = |worker: usize| workers[worker].core;
        let mut others = (0..workers.len()).filter(|other| *other != at);
        let threads = self.siblings.iter().find(|threads| threads.contains(&core));
        let sibling = others.clone().find(|other| {
            let other = pinned(*other);
            other == Some(core) || threads.is_some_and(|threads| other.is_some_and(|other| threads.contains(&other)))
        });
        if let Some(other) = sibling {
            return Err(format!("core {core} is a thread of the physical core that worker {other} is pinned to"));
        }
        let count = workers.iter().filter(|worker| worker.core.is_some()).count() as u64;
        if let Some((time, period)) = self.quota.filter(|(time, period)| *time <= count * period) {
            let cores = time as f64 / period as f64;
            return Err(format!(
                "its control group may use the time of {cores:.1} cores (cpu.max), too little to spin"
            ));
        }
        if self.isolated.contains(&core) {
            return Ok(format!("core {core} is isolated"));
        }
        if self.nohz_full.contains(&core) {
            return Ok(format!("core {core} is in nohz_full"));
        }
        if let Some(other) = others.find(|other| pinned(*other).is_none()) {
            return Err(format!("worker {other} is pinned to no core and may run on core {core}"));
        }
        let taken: Cpus = workers.iter().filter_map(|worker| worker.core).collect();
        let left: Cpus = self.affinity.difference(&taken).copied().collect();
        if left.is_empty() {
            return Err("no core is left for everything else".to_owned());
        }
        if self.partition.contains(&core) {
            return Ok(format!("core {core} is in a cpuset partition, and {} is left of it for the rest", show(&left)));
        }
        Ok(format!("core {core} is no other worker's, and {} is left for everything else", show(&left)))
    }
}

/// Whether a thread of this process can be pinned there: by doing it.
fn may_run_on(core: u16) -> bool {
    let id = core_affinity::CoreId { id: usize::from(core) };
    std::thread::spawn(move || core_affinity::set_for_current(id)).join().unwrap_or(false)
}

/// A small file of the kernel's; none where it cannot be read.
fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The folders of this process's control group (cgroup v2) and of those around it, innermost first.
fn groups(root: &Path) -> Vec<PathBuf> {
    let own = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let path = Path::new(path);
    if path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Vec::new();
    }
    let top = root.join("sys/fs/cgroup");
    path.ancestors().map(|group| top.join(group)).collect()
}

/// `cpu.max`: so much time (µs) in a period (µs); none where there is no limit.
fn quota(text: &str) -> Option<(u64, u64)> {
    let (time, period) = text.trim().split_once(' ')?;
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    Some((number(time)?, number(period).filter(|period| *period > 0)?))
}

#[cfg(test)]
mod tests;
