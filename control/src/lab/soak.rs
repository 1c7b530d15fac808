//! `drover lab soak`: calls and idle links on four mixes for a while, disturbed on purpose; memory must stay flat.
//!
//! Voices play both ways of every call. On a rhythm a call goes down and comes up under new keys, or all links get a new
//! generation of keys; all the while datagrams of strangers reach every mix and status clients come and go. What every
//! process takes (memory, descriptors, threads) is read from /proc, and judged from the end of a warm-up on.

mod changes;
mod pest;
pub mod readings;
pub mod report;
mod voices;

use self::changes::{Changes, Net};
use self::pest::Pest;
use self::readings::{Ledger, Reading};
use self::report::{Report, WayReport};
use self::voices::Voices;
use super::crowd::{self, CrowdReport};
use super::host::Host;
use super::make::{Plan, network};
use super::network::{Network, NodeKind};
use crate::demo::audio::Listener;
use crate::report::text::Progress;
use crate::socket::ControlSocket;
use crate::socket::reports::{LinkReport, Status};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Range of a soak's length, minutes.
const MINUTES: std::ops::RangeInclusive<f64> = 0.2..=1_440.0;
/// Range of the number of calls.
const CALLS: std::ops::RangeInclusive<usize> = 1..=64;
/// u, the rate of one call.
const RATE: u32 = 50;
/// Tick of mixes and clients, µs.
const TICK_US: u64 = 1_000;
/// Nothing is judged before this share of the time has passed, or [`WARM_UP_MOST`].
const WARM_UP_SHARE: f64 = 0.2;
/// Longest warm-up.
const WARM_UP_MOST: Duration = Duration::from_secs(60);
/// Longest time between two readings; a short soak has twenty.
const READ_EVERY: Duration = Duration::from_secs(5);
/// A turn of the loop that does everything: nothing in it needs more precision.
const TURN: Duration = Duration::from_millis(50);
/// Time that all links have to be heard.
const DEADLINE: Duration = Duration::from_secs(20);
/// Longest time that a process has to close what a client closed, before its descriptors count.
const SETTLE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct SoakPlan {
    /// Length, warm-up included, minutes.
    pub minutes: f64,
    /// Calls, each with two clients.
    pub calls: usize,
    /// Idle links, dealt out over the mixes.
    pub idle: u32,
    /// Cell size, bytes.
    pub cell: u16,
    /// Growth of a process after the warm-up that counts as none, KiB.
    pub allow_growth_kib: u64,
    /// No progress.
    pub silent: bool,
}

/// Runs a soak. A report says itself whether it failed.
///
/// # Errors
///
/// No soak could be run, or it was cut short: what and the mend. All processes are ended.
pub fn run(plan: &SoakPlan, stop: &Arc<AtomicBool>) -> Result<Report, String> {
    if !MINUTES.contains(&plan.minutes) {
        return Err(format!("--minutes {}: {} to {}", plan.minutes, MINUTES.start(), MINUTES.end()));
    }
    if !CALLS.contains(&plan.calls) {
        return Err(format!("--calls {}: {} to {}", plan.calls, CALLS.start(), CALLS.end()));
    }
    let begin = Instant::now();
    let result = Soak::start(plan, stop).and_then(|mut soak| soak.whole());
    match result {
        // Ctrl-C on a terminal reaches the children too: what fails then is no fault.
        _ if stop.load(Ordering::Relaxed) => {
            let seconds = begin.elapsed().as_secs();
            Err(format!("stopped by a signal after {seconds} s; the processes are ended and nothing was judged"))
        }
        result => result,
    }
}

/// A soak that runs.
struct Soak {
    plan: SoakPlan,
    stop: Arc<AtomicBool>,
    progress: Progress<std::io::Stderr>,
    begin: Instant,
    // Before the processes that they talk to: fields are dropped in order.
    pest: Pest,
    crowds: Crowds,
    voices: Voices,
    changes: Changes,
    net: Net,
    sockets: Vec<ControlSocket>,
    ledger: Ledger,
    host: Host,
}

/// Counts of all nodes at one instant.
struct Counts {
    statuses: Vec<Status>,
    links: Vec<HashMap<u32, LinkReport>>,
}

impl Soak {
    /// Starts the processes, the network and its traffic, and goes once through every change, so that whatever is made at
    /// first use is there.
    fn start(plan: &SoakPlan, stop: &Arc<AtomicBool>) -> Result<Soak, String> {
        let mut progress = Progress::stderr(plan.silent);
        let (calls, idle, cell) = (plan.calls, plan.idle, plan.cell);
        let mut network = network(&Plan { mixes: 4, calls, cell, rate: RATE, idle, workers: 1, ipv6: false })?;
        progress.update(&format!("starting four mixes and {} clients", 2 * calls));
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let clients = network.nodes.iter().filter(|node| node.kind == NodeKind::Client);
        let ears: Result<BTreeMap<_, _>, String> =
            clients.map(|node| Ok((node.name.clone(), Listener::bind(local)?))).collect();
        let ears = ears?;
        let host = Host::start(&mut network, TICK_US, |name| ears.get(name).map(|ear| ear.address))?;
        let connect = |node: &super::network::Node| ControlSocket::connect(&node.socket).map_err(|e| e.to_string());
        let sockets = network.nodes.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
        let voices = Voices::new(&network, &host.takes, ears, voice_length(plan))?;
        let ledger = Ledger::new(&network, &host);
        let mut net = Net::new(network);
        net.program()?;
        net.change_all()?;
        let crowds = Crowds::start(&net.network);
        let pest = Pest::start(&net.network)?;
        let changes = Changes::new(plan.minutes);
        let (plan, stop, begin) = (*plan, Arc::clone(stop), Instant::now());
        Ok(Soak { plan, stop, progress, begin, pest, crowds, voices, changes, net, sockets, ledger, host })
    }

    fn whole(&mut self) -> Result<Report, String> {
        self.wait_for_links()?;
        self.begin = Instant::now();
        let whole = Duration::from_secs_f64(self.plan.minutes * 60.0);
        let warm_up = whole.mul_f64(WARM_UP_SHARE).min(WARM_UP_MOST);
        self.play_until(warm_up, "warm-up")?;
        let at_start = self.counts()?;
        self.voices.begin_count();
        self.changes.begin_count();
        self.ledger.begin_judging();
        let measured = Instant::now();
        self.play_until(whole, "soaking")?;
        self.read()?;
        while !self.changes.finish(&mut self.net, &mut self.voices, &mut self.sockets)? {
            self.voices.turn()?;
            thread::sleep(TURN);
        }
        let at_end = self.counts()?;
        self.voices.hold_all();
        while !self.voices.all_idle() {
            self.voices.turn()?;
            thread::sleep(TURN);
        }
        self.host.check()?;
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: measured.elapsed().as_secs_f64(),
            warm_up_seconds: warm_up.as_secs_f64(),
            calls: self.plan.calls as u64,
            idle: u64::from(self.plan.idle),
            cell: self.plan.cell,
            allow_growth_kib: self.plan.allow_growth_kib,
            processes: self.ledger.reports(),
            ways: self.ways(&at_start, &at_end),
            voices: self.voices.reports(),
            redials: self.changes.redials,
            generations: self.changes.generations,
            status_clients: self.pest.status_clients,
            drops: new_drops(&at_start, &at_end),
            ..Report::default()
        };
        (report.hostile, report.mended) = (self.pest.end()?, self.changes.unopened);
        for (crowd, of_crowd) in self.crowds.end()?.into_iter().enumerate() {
            report.ways.extend(self.crowd_ways(crowd, &of_crowd, &at_start, &at_end));
            report.crowd_broken += of_crowd.broken;
        }
        report.judge();
        Ok(report)
    }

    /// Goes on until `until`, counted from the begin.
    fn play_until(&mut self, until: Duration, what: &str) -> Result<(), String> {
        let every = READ_EVERY.min(Duration::from_secs_f64(self.plan.minutes * 3.0));
        loop {
            let now = self.begin.elapsed();
            if self.stop.load(Ordering::Relaxed) {
                return Err("stopped".to_owned());
            }
            if now >= until {
                return Ok(());
            }
            self.host.check()?;
            self.crowds.check()?;
            self.voices.turn()?;
            self.changes.turn(&mut self.net, &mut self.voices, &mut self.sockets)?;
            self.pest.turn(&self.net.network)?;
            if self.ledger.due(every) {
                self.read()?;
            }
            let (left, changes) = ((until - now).as_secs(), self.changes.done());
            let rss = self.ledger.rss_kib() as f64 / 1024.0;
            self.progress.update(&format!("{what}, {left} s to go: {rss:.1} MiB in all, {changes} changes so far"));
            thread::sleep(TURN);
        }
    }

    /// Reads every process. A process may close a little later what its client closed.
    fn read(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let read: Result<Vec<Reading>, String> =
                self.host.processes.iter().map(|process| Reading::of(process.id())).collect();
            let read = read?;
            if self.ledger.none_new(&read) || Instant::now() >= deadline {
                self.ledger.push(read);
                return Ok(());
            }
            thread::sleep(TURN / 5);
        }
    }

    /// Waits until something has come over every link in both directions.
    fn wait_for_links(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        while self.counts()?.links.iter().flat_map(|links| links.values()).any(|link| link.received == 0) {
            self.play_until(self.begin.elapsed() + TURN, "links come up")?;
            if Instant::now() > deadline {
                return Err("nothing arrives over some links; does a packet filter drop UDP on loopback? \
                            (nft list ruleset)"
                    .to_owned());
            }
        }
        Ok(())
    }

    fn counts(&mut self) -> Result<Counts, String> {
        let mut counts = Counts { statuses: Vec::new(), links: Vec::new() };
        for socket in &mut self.sockets {
            counts.statuses.push(socket.status().map_err(|error| error.to_string())?);
            let links = socket.links_json().map_err(|error| error.to_string())?;
            counts.links.push(links.into_iter().map(|link| (link.link, link)).collect());
        }
        Ok(counts)
    }

    /// Both directions of every named link.
    fn ways(&self, first: &Counts, last: &Counts) -> Vec<WayReport> {
        let network = &self.net.network;
        let mut ways = Vec::new();
        for (index, link) in network.links.iter().enumerate() {
            let (Some(a), Some(b)) = (network.node(&link.a), network.node(&link.b)) else { continue };
            let id = Network::link_id(index);
            for (from, to) in [(a, b), (b, a)] {
                let seconds = delta(first, last, to, id, |l| l.at_ns) as f64 / 1e9;
                ways.push(WayReport {
                    from: network.nodes[from].name.clone(),
                    to: network.nodes[to].name.clone(),
                    links: 1,
                    expected: network.class(&link.class).map_or(0.0, |class| network.rate_of(class)) * seconds,
                    received: delta(first, last, to, id, |l| l.received),
                    missed: delta(first, last, from, id, |l| l.missed),
                });
            }
        }
        ways
    }

    /// Both directions of all links of a crowd together. The crowd's own counts begin before the warm-up.
    fn crowd_ways(&self, crowd: usize, report: &CrowdReport, first: &Counts, last: &Counts) -> Vec<WayReport> {
        let network = &self.net.network;
        let Some(mix) = network.node(&report.mix) else { return Vec::new() };
        let first_id = network.crowd_first_id(crowd);
        let ids = || first_id..first_id + report.links;
        let of_mix = |of: fn(&LinkReport) -> u64| ids().map(|id| delta(first, last, mix, id, of)).sum::<u64>();
        let missed = ids().filter_map(|id| last.links[mix].get(&id)).map(|link| link.missed).sum();
        let (links, crowd, mix) = (report.links, report.name.clone(), report.mix.clone());
        let expected = of_mix(|l| l.at_ns) as f64 / 1e9 * report.rate;
        let (from, to) = (crowd.clone(), mix.clone());
        let there = WayReport { from, to, links, expected, received: of_mix(|l| l.received), missed: report.missed };
        let expected = report.seconds * report.rate * f64::from(links);
        let back = WayReport { from: mix, to: crowd, links, expected, received: report.received, missed };
        vec![there, back]
    }
}

/// Length of one piece of voice: a short soak has several too.
fn voice_length(plan: &SoakPlan) -> f64 {
    (plan.minutes * 10.0).clamp(2.0, 20.0)
}

/// How a count of one end of a link has grown.
fn delta(first: &Counts, last: &Counts, node: usize, link: u32, of: impl Fn(&LinkReport) -> u64) -> u64 {
    match (first.links[node].get(&link), last.links[node].get(&link)) {
        (Some(first), Some(last)) => of(last).saturating_sub(of(first)),
        _ => 0,
    }
}

fn new_drops(first: &Counts, last: &Counts) -> BTreeMap<String, u64> {
    let mut drops = BTreeMap::new();
    for (first, last) in first.statuses.iter().zip(&last.statuses) {
        let before = first.drops();
        for (reason, all) in last.drops() {
            let new = all.saturating_sub(before.get(&reason).copied().unwrap_or(0));
            if new > 0 {
                *drops.entry(reason).or_default() += new;
            }
        }
    }
    drops
}

/// The idle links, played by a thread for each mix.
struct Crowds {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<CrowdReport, String>>>,
}

impl Crowds {
    fn start(network: &Network) -> Crowds {
        let stop = Arc::new(AtomicBool::new(false));
        let play = |index| {
            let (network, stop) = (network.clone(), Arc::clone(&stop));
            thread::spawn(move || crowd::play(&network, index, Duration::MAX, &stop).map_err(|error| error.to_string()))
        };
        Crowds { threads: (0..network.crowds.len()).map(play).collect(), stop }
    }

    /// Fails if one has ended by itself.
    fn check(&mut self) -> Result<(), String> {
        if self.threads.iter().any(|thread| thread.is_finished()) {
            self.end()?;
            return Err("idle links ended by themselves; this is a fault of drover".to_owned());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Vec<CrowdReport>, String> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<_>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread of idle links panicked; this is a fault of drover".to_owned()))
        };
        self.threads.drain(..).map(join).collect()
    }
}

impl Drop for Crowds {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
