//! Cores that workers have to themselves, and how fast they are kept.

use super::files::Files;
use super::{Check, Need, finding};
use drover_dataplane::config::{Cpus, Policy, show_cpus};

const CPUS: &str = "sys/devices/system/cpu";

pub(super) fn checks(files: &Files, need: &Need) -> Vec<Check> {
    vec![isolation(files, need), governor(files, need)]
}

fn pinned(need: &Need) -> Cpus {
    need.cores.iter().filter_map(|core| *core).collect()
}

fn isolation(files: &Files, need: &Need) -> Check {
    let list = |name: &str| files.list(format!("{CPUS}/{name}"));
    let (isolated, full) = (list("isolated"), list("nohz_full"));
    let told = isolated.is_some() || full.is_some();
    let apart: Cpus = isolated.unwrap_or_default().union(&full.unwrap_or_default()).copied().collect();
    let found = match (told, apart.is_empty()) {
        (false, _) => "the kernel does not tell".to_owned(),
        (true, true) => "no core is isolated".to_owned(),
        (true, false) => format!("isolated: {}", show_cpus(&apart)),
    };
    if need.policy == Policy::Tick {
        let why = "workers tick: they share their cores";
        return finding("isolation", found, "none", why).ok();
    }
    let why = "a worker that spins is late by as long as anybody else runs on its core";
    if let Some(worker) = need.cores.iter().position(Option::is_none) {
        let finding = finding("isolation", found, format!("a core of its own for worker {worker}"), why);
        return finding.missing(format!("core = N below [[worker]] number {worker} of the configuration"));
    }
    let cores = pinned(need);
    let in_partition = need.pacings.iter().all(|pacing| pacing.reason.contains("cpuset partition"));
    let finding = finding("isolation", found, show_cpus(&cores), why);
    if in_partition || cores.is_subset(&apart) {
        return finding.ok();
    }
    let wanted = show_cpus(&cores);
    let mend = format!("isolcpus={wanted} nohz_full={wanted} on the kernel's command line, and a restart");
    if told { finding.missing(mend) } else { finding.unknown(mend) }
}

fn governor(files: &Files, need: &Need) -> Check {
    if need.policy == Policy::Tick {
        return finding("governor", "not looked at", "none", "workers tick: a core that wakes slowly is within a tick")
            .ok();
    }
    let why = "a core that is slowed down while it waits is late when there is work";
    let needed = "performance";
    let pinned = pinned(need);
    let cores = if pinned.is_empty() { files.list(format!("{CPUS}/online")).unwrap_or_default() } else { pinned };
    let path = |core: &u16| format!("{CPUS}/cpu{core}/cpufreq/scaling_governor");
    let governors: Vec<(u16, String)> =
        cores.iter().filter_map(|core| Some((*core, files.word(path(core))?))).collect();
    let others: Cpus = governors.iter().filter(|(_, name)| name != needed).map(|(core, _)| *core).collect();
    if governors.is_empty() {
        let finding =
            finding("governor", "the kernel does not tell: in a virtual machine the host decides", needed, why);
        return finding.unknown("cpupower frequency-info, on the machine below this virtual one");
    }
    let Some((_, name)) = governors.iter().find(|(_, name)| name != needed) else {
        return finding("governor", needed, needed, why).ok();
    };
    let shown = show_cpus(&others);
    let found = format!("{name} on cores {shown}");
    finding("governor", found, needed, why).missing(format!("cpupower -c {shown} frequency-set -g performance"))
}
