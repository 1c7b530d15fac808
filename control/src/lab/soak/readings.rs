//! What processes take, read from /proc, and whether it stays the same.

use super::report::ProcessReport;
use crate::lab::host::Host;
use crate::lab::network::Network;
use std::path::Path;
use std::time::{Duration, Instant};

/// Readings at each end whose median is where memory began and ended: one odd reading moves nothing.
const ENDS: usize = 3;

/// What a process takes at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Of this, memory of its own that is no file's, KiB.
    pub anon_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub fds: u64,
}

impl Reading {
    /// Reads a process.
    ///
    /// # Errors
    ///
    /// There is no such process, or it may not be looked at.
    pub fn of(pid: u32) -> Result<Reading, String> {
        let folder = Path::new("/proc").join(pid.to_string());
        let fail = |what: &str, error: std::io::Error| {
            let path = folder.join(what);
            format!("{}: {error}; is the process still running, and /proc mounted?", path.display())
        };
        let status = std::fs::read_to_string(folder.join("status")).map_err(|error| fail("status", error))?;
        let mut reading = Reading::parse(&status)
            .ok_or_else(|| format!("{}: lacks VmRSS, RssAnon or Threads", folder.join("status").display()))?;
        reading.fds = std::fs::read_dir(folder.join("fd")).map_err(|error| fail("fd", error))?.count() as u64;
        Ok(reading)
    }

    /// Parses /proc/PID/status (proc_pid_status(5)); descriptors are not in it.
    pub fn parse(status: &str) -> Option<Reading> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line?.split_whitespace().next()?.parse().ok()
        };
        Some(Reading { rss_kib: field("VmRSS")?, anon_kib: field("RssAnon")?, threads: field("Threads")?, fds: 0 })
    }
}

/// How a series went from its first to its last value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Median of the first three.
    pub start: u64,
    /// Median of the last three.
    pub end: u64,
    /// Median of the last quarter less that of the second: what goes on growing late.
    pub trend: i64,
}

impl Course {
    /// Of a series in order of time; zeros where there is none.
    pub fn of(series: &[u64]) -> Course {
        let n = series.len();
        let ends = ENDS.min(n);
        let quarter =
            |which: usize| median(&series[n * which / 4..(n * (which + 1) / 4).max(n * which / 4 + 1).min(n)]);
        let trend = if n == 0 { 0 } else { quarter(3) as i64 - quarter(1) as i64 };
        Course { start: median(&series[..ends]), end: median(&series[n - ends..]), trend }
    }

    /// What it has grown by.
    pub fn growth(&self) -> i64 {
        self.end as i64 - self.start as i64
    }

    /// Neither has it grown by more than `allowed`, nor is it growing: the trend covers half the time, so half is allowed.
    pub fn is_flat(&self, allowed: u64) -> bool {
        self.growth() <= allowed as i64 && self.trend <= (allowed / 2) as i64
    }
}

/// The middle value, the lower one of two; 0 of none.
fn median(series: &[u64]) -> u64 {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// All readings of all processes.
pub struct Ledger {
    names: Vec<(String, u32)>,
    /// By time, by process.
    read: Vec<Vec<Reading>>,
    last: Option<Instant>,
}

impl Ledger {
    /// None yet.
    pub fn new(network: &Network, host: &Host) -> Ledger {
        let names = network.nodes.iter().zip(&host.processes);
        let names = names.map(|(node, process)| (node.name.clone(), process.id())).collect();
        Ledger { names, read: Vec::new(), last: None }
    }

    /// Whether the last reading is so old.
    pub fn due(&self, every: Duration) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= every)
    }

    /// Whether no process has more descriptors than at the last reading.
    pub fn none_new(&self, read: &[Reading]) -> bool {
        self.read.last().is_none_or(|before| before.iter().zip(read).all(|(before, now)| now.fds <= before.fds))
    }

    /// Adds a reading of all processes.
    pub fn push(&mut self, read: Vec<Reading>) {
        self.last = Some(Instant::now());
        self.read.push(read);
    }

    /// Forgets what was read until now, but for the last reading.
    pub fn begin_judging(&mut self) {
        let warm = self.read.len().saturating_sub(1);
        self.read.drain(..warm);
    }

    /// Resident memory of all processes at the last reading, KiB.
    pub fn rss_kib(&self) -> u64 {
        self.read.last().map_or(0, |read| read.iter().map(|reading| reading.rss_kib).sum())
    }

    /// How each process did.
    pub fn reports(&self) -> Vec<ProcessReport> {
        let report = |(at, (name, pid)): (usize, &(String, u32))| {
            let series = |of: fn(&Reading) -> u64| -> Vec<u64> { self.read.iter().map(|read| of(&read[at])).collect() };
            let (fds, threads) = (series(|r| r.fds), series(|r| r.threads));
            ProcessReport::new(name, *pid, &series(|r| r.rss_kib), &series(|r| r.anon_kib), &fds, &threads)
        };
        self.names.iter().enumerate().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_process_can_be_read() {
        let before = Reading::of(std::process::id()).expect("itself");
        assert!(before.rss_kib > before.anon_kib && before.anon_kib > 0 && before.threads > 0 && before.fds > 2);
        assert!(Reading::of(u32::MAX).is_err());
        assert_eq!(Reading::parse("VmRSS:\t  12 kB\nRssAnon:\t x kB\nThreads:\t3\n"), None);
    }

    #[test]
    fn a_leak_is_no_flat_course() {
        // 100 readings of 5 s, 8 KiB more each: 792 KiB in 500 s.
        let leak: Vec<u64> = (0..100).map(|n| 4_000 + 8 * n).collect();
        assert!(!Course::of(&leak).is_flat(512));
        // Slow, but it goes on: 500 KiB less the first growth is within the allowance, the trend is not.
        let late: Vec<u64> = (0..100).map(|n| 4_000 + if n < 50 { 0 } else { 10 * (n - 50) }).collect();
        let course = Course::of(&late);
        assert!(course.growth() <= 512 && course.trend > 256 && !course.is_flat(512), "{course:?}");
        // A step that stays is growth.
        let step: Vec<u64> = (0..100).map(|n| 4_000 + if n < 10 { 0 } else { 600 }).collect();
        assert!(!Course::of(&step).is_flat(512));
        assert!(!Course::of(&[1, 1, 1, 1, 2, 2, 2]).is_flat(0));
    }

    #[test]
    fn noise_and_falling_are_flat() {
        let noise: Vec<u64> = (0..100).map(|n| 4_000 + n * 7_919 % 97).collect();
        assert!(Course::of(&noise).is_flat(128));
        let mut spike = vec![4_000; 50];
        spike[49] = 9_000;
        assert!(Course::of(&spike).is_flat(0), "one odd reading");
        assert!(Course::of(&[9_000, 8_000, 100, 100]).is_flat(0));
        assert_eq!(Course::of(&[]), Course::default());
    }

    proptest! {
        #[test]
        fn steady_growth_is_always_noticed(start in 1_000_u64..100_000, n in 8_usize..200, step in 1_u64..1_000) {
            let series: Vec<u64> = (0..n as u64).map(|i| start + step * i).collect();
            // What it grows by between the medians of its ends.
            let grown = step * (n as u64 - ENDS as u64);
            prop_assert!(!Course::of(&series).is_flat(grown - 1));
            prop_assert!(Course::of(&series).is_flat(2 * grown));
        }

        #[test]
        fn any_text_parses_or_not(text in "\\PC{0,80}", rss in any::<u64>()) {
            let _ = Reading::parse(&text);
            let status = format!("{text}\nVmRSS:\t{rss} kB\nRssAnon:\t1 kB\nThreads:\t2\n");
            if !text.contains("VmRSS:") && !text.contains("RssAnon:") && !text.contains("Threads:") {
                let reading = Reading { rss_kib: rss, anon_kib: 1, threads: 2, fds: 0 };
                prop_assert_eq!(Reading::parse(&status), Some(reading));
            }
        }
    }
}
