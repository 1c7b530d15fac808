//! What takes a thread off its core: the hypervisor, and the scheduler.

/// Counters at one instant; `None` where the kernel does not say.
pub struct Noise {
    /// Ticks of all cores: stolen, and in all.
    ticks: Option<[u64; 2]>,
    /// Involuntary context switches of this thread.
    switches: Option<u64>,
}

impl Noise {
    /// Now, of the calling thread.
    pub fn now() -> Noise {
        let read = |path| std::fs::read_to_string(path).ok();
        Noise {
            ticks: read("/proc/stat").and_then(|text| ticks(&text)),
            switches: read("/proc/thread-self/status").and_then(|text| switches(&text)),
        }
    }

    /// From here to `later`: the share of time that was stolen, and involuntary switches.
    pub fn until(&self, later: &Noise) -> (Option<f64>, Option<f64>) {
        let stolen = self.ticks.zip(later.ticks).map(|(from, to)| {
            let [stolen, all] = [to[0].saturating_sub(from[0]), to[1].saturating_sub(from[1])];
            stolen as f64 / all.max(1) as f64
        });
        let switches = self.switches.zip(later.switches).map(|(from, to)| to.saturating_sub(from) as f64);
        (stolen, switches)
    }
}

/// Of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user's.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    Some([*ticks.get(7)?, ticks.iter().sum()])
}

fn switches(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        assert_eq!(ticks("cpu  1 2 3 4 5 6 7 8 100 200\ncpu0 9 9 9 9 9 9 9 9 9 9\n"), Some([8, 36]));
        assert_eq!(ticks("cpu  1 2 3\n"), None);
        assert_eq!(switches("Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t7\n"), Some(7));
        let from = Noise { ticks: Some([8, 36]), switches: Some(7) };
        let to = Noise { ticks: Some([10, 136]), switches: None };
        assert_eq!(from.until(&to), (Some(0.02), None));
    }
}
