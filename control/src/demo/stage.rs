//! The demo from curtain to curtain: processes, keys, three windows of time, a voice, and the report.

use super::audio::{Heard, Listener, compare, play};
use super::report::{Report, Reverse};
use super::sampler::{Sampler, Window};
use super::{DemoArgs, SECONDS, SECONDS_RANGE, stop_on_signals};
use crate::lab::host::Host;
use crate::lab::make::{Plan, network};
use crate::lab::network::Network;
use crate::lab::program::{FIRST_GENERATION, Programmer};
use crate::media::{SAMPLE_RATE, speech, wav};
use crate::report::svg::links_chart;
use crate::report::text::Progress;
use crate::socket::reports::{LabStatus, Status};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time that all processes have to get ready, and all links to be heard.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time between two readings of the links.
const EVERY: f64 = 0.5;
/// Length of the windows before and after the call, s.
const CALM: f64 = 5.0;
/// Left out where the call goes up and down, s: one reading and the circuits' first rounds.
const EDGE: f64 = 1.0;
/// What a voice may still need to get through when its last packet was sent, s.
const DRAIN: f64 = 1.0;
/// Range of --rate: a voice has 50 packets a second, and a round is a few ticks at least.
const RATES: std::ops::RangeInclusive<u32> = 50..=500;
/// Range of --tick-us.
const TICKS: std::ops::RangeInclusive<u64> = 100..=10_000;

/// Runs the demo, prints its report and fails when the voice did not arrive.
pub fn main(args: &DemoArgs) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&stop)?;
    let report = run(args, &stop)?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?)
    } else {
        format!("\n{}", report.text(&args.out))
    };
    crate::cli::print(&text)?;
    report.failure().map_or(Ok(()), Err)
}

/// Runs the demo and writes its files.
fn run(args: &DemoArgs, stop: &Arc<AtomicBool>) -> Result<Report, String> {
    let plan = check(args)?;
    let (voice, seconds) = voice(args, plan.seed)?;
    let reply_voice = speech::generate(plan.seed.wrapping_add(1), seconds);
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("--out {}: {error}; name a folder that can be made", args.out.display()))?;
    let mut progress = Progress::stderr(args.json);

    let mut network =
        network(&Plan { mixes: 4, calls: 1, cell: args.cell, rate: args.rate, idle: 0, workers: 1, ipv6: args.ipv6 })?;
    progress.update("starting four mixes and two clients");
    let mut stage = Stage::start(args, &mut network)?;
    let mut programmer = Programmer::connect(&network, FIRST_GENERATION).map_err(|error| error.to_string())?;
    programmer.without_ends().map_err(|error| error.to_string())?;
    let mut show = Show {
        begin: Instant::now(),
        stop,
        host: &mut stage.host,
        programmer: &mut programmer,
        sampler: Sampler::new(&network),
        progress: &mut progress,
    };
    show.wait_for_links()?;

    let at_start = show.statuses()?;
    let from = show.now();
    show.play_until(from + CALM, "before the call")?;
    let before = Window { from, to: show.now() };

    let call_up = show.now();
    show.programmer.call_up(0).map_err(|error| error.to_string())?;
    show.wait_for_call()?;
    let voices_stop = Arc::new(AtomicBool::new(false));
    let _silence = OnDrop(Arc::clone(&voices_stop));
    let hears = [stage.callee_hears, stage.caller_hears].map(|listener| listener.listen(&voices_stop));
    // Numbers as RFC 3550 wants them, from the seed: no key comes from it.
    let numbers = |salt: u64| {
        let n = (plan.seed ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((n >> 32) as u32, n as u16, (n >> 16) as u32)
    };
    let says = [
        play(&voice, stage.caller_takes, numbers(1), &voices_stop)?,
        play(&reply_voice, stage.callee_takes, numbers(2), &voices_stop)?,
    ];
    let edge = EDGE.min(seconds / 4.0);
    show.play_until(call_up + seconds, "the call is up")?;
    let during = Window { from: call_up + edge, to: show.now() };
    let end = show.now() + DRAIN;
    show.play_until(end, "the last words are on their way")?;
    while !says.iter().all(|thread| thread.is_finished()) {
        show.play_until(show.now() + EVERY, "the last words are on their way")?;
    }
    let said = says.map(|thread| thread.join().map_err(|_| "a thread that plays a voice panicked".to_owned()));
    let call_down = show.now();
    show.programmer.call_down(0).map_err(|error| error.to_string())?;
    voices_stop.store(true, Ordering::Relaxed);
    let heard = hears.map(|thread| thread.join().map_err(|_| "a thread that hears a voice panicked".to_owned()));
    let ([forth, back], [heard_forth, heard_back]) = (said, heard);
    let (forth, back) = (compare(&forth?, &heard_forth?), compare(&back?, &heard_back?));

    show.play_until(call_down + EDGE, "after the call")?;
    let from = show.now();
    show.play_until(from + CALM, "after the call")?;
    let after = Window { from, to: show.now() };
    let at_end = show.statuses()?;

    let links = show.sampler.rates([before, during, after])?;
    let path_links = show.sampler.carried(during);
    let series = show.sampler.series();
    progress.finish();
    stage.host.end();
    let mut report = report_of(&forth, &back, &at_start, &at_end);
    report.version = env!("CARGO_PKG_VERSION").to_owned();
    (report.seconds, report.cell, report.rate, report.seed) = (seconds, args.cell, args.rate, plan.seed);
    (report.hops, report.links) = (path_links.len() as u64, links);
    report.path_links = path_links;
    let title = format!("A call over four mixes: cells of {} bytes, u = {} a second", args.cell, args.rate);
    write_files(&args.out, &report, &forth, &links_chart(&title, (call_up, call_down), &series))?;
    Ok(report)
}

/// What is drawn where no flag says it.
struct Drawn {
    seed: u64,
}

fn check(args: &DemoArgs) -> Result<Drawn, String> {
    if !RATES.contains(&args.rate) {
        return Err(format!("--rate {}: {} to {}", args.rate, RATES.start(), RATES.end()));
    }
    if !TICKS.contains(&args.tick_us) {
        return Err(format!("--tick-us {}: {} to {}", args.tick_us, TICKS.start(), TICKS.end()));
    }
    if let Some(seconds) = args.seconds.filter(|seconds| !SECONDS_RANGE.contains(seconds)) {
        return Err(format!("--seconds {seconds}: {} to {}", SECONDS_RANGE.start(), SECONDS_RANGE.end()));
    }
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    // Six bytes: a number that JSON readers keep exactly.
    let seed = args.seed.unwrap_or(u64::from_le_bytes(drawn) >> 16);
    Ok(Drawn { seed })
}

/// The caller's voice and its length, s.
fn voice(args: &DemoArgs, seed: u64) -> Result<(Vec<i16>, f64), String> {
    let Some(path) = &args.wav else {
        let seconds = args.seconds.unwrap_or(SECONDS);
        return Ok((speech::generate(seed, seconds), seconds));
    };
    let mut voice = wav::load(path).map_err(|error| format!("--wav {}: {error}", path.display()))?;
    let most = args.seconds.unwrap_or(*SECONDS_RANGE.end());
    voice.truncate((most * f64::from(SAMPLE_RATE)) as usize);
    if let Some(seconds) = args.seconds {
        // A call goes on in silence: so do its cells.
        voice.resize((seconds * f64::from(SAMPLE_RATE)) as usize, 0);
    }
    let seconds = voice.len() as f64 / f64::from(SAMPLE_RATE);
    if seconds < *SECONDS_RANGE.start() {
        return Err(format!("--wav {}: {seconds} s long; a second at least is played", path.display()));
    }
    Ok((voice, seconds))
}

/// Sets its flag when dropped: threads end also when the demo fails.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The running processes, and where voices come out.
struct Stage {
    host: Host,
    caller_takes: SocketAddr,
    callee_takes: SocketAddr,
    caller_hears: Listener,
    callee_hears: Listener,
}

impl Stage {
    fn start(args: &DemoArgs, network: &mut Network) -> Result<Stage, String> {
        let ip: IpAddr = if args.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let (caller_hears, callee_hears) = (Listener::bind(ip)?, Listener::bind(ip)?);
        let hears = |name: &str| Some(if name == "caller" { caller_hears.address } else { callee_hears.address });
        let host = Host::start(network, args.tick_us, hears)?;
        let takes = |name: &str| {
            let takes = network.node(name).and_then(|node| host.takes[node]);
            takes.ok_or_else(|| format!("the demo's network has no client {name}"))
        };
        let (caller_takes, callee_takes) = (takes("caller")?, takes("callee")?);
        Ok(Stage { host, caller_takes, callee_takes, caller_hears, callee_hears })
    }
}

/// The demo while it runs: readings are taken, and failures of processes noticed, whatever it waits for.
struct Show<'s, 'n> {
    begin: Instant,
    stop: &'s AtomicBool,
    host: &'s mut Host,
    programmer: &'s mut Programmer<'n>,
    sampler: Sampler<'n>,
    progress: &'s mut Progress<std::io::Stderr>,
}

impl Show<'_, '_> {
    fn now(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Reads the links every half second until `until`, and at that instant.
    fn play_until(&mut self, until: f64, what: &str) -> Result<(), String> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err("stopped by a signal; the processes of the demo are ended".to_owned());
            }
            let at = self.now();
            self.host.check()?;
            self.sampler.take(at, self.programmer)?;
            let left = until - self.now();
            if left <= 0.0 {
                return Ok(());
            }
            self.progress.update(&format!("{at:5.1} s  {what}, {:.0} s to go", left.ceil()));
            // The readings' rhythm; a signal is noticed soon enough.
            thread::sleep(Duration::from_secs_f64(left.min(EVERY)));
        }
    }

    /// Waits until something has arrived over every link in both directions.
    fn wait_for_links(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.play_until(0.0, "links come up")?;
            let silent = self.sampler.silent().join(", ");
            if silent.is_empty() {
                self.sampler.samples.clear();
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "nothing arrives over {silent}; does a packet filter drop UDP on loopback? (nft list ruleset)"
                ));
            }
            self.progress.update(&format!("waiting for the first record over {silent}"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until both clients hear the other's cells: who speaks before has not been connected yet.
    fn wait_for_call(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        let hears = |status: &Status| status.workers.iter().filter_map(|w| w.lab.as_ref()).any(|lab| lab.delivered > 0);
        while self.statuses()?.iter().filter(|status| status.ends > 0).filter(|status| hears(status)).count() < 2 {
            if Instant::now() > deadline {
                return Err(
                    "the call's cells do not get through; `drover status` at each mix tells what it drops".into()
                );
            }
            self.play_until(self.now() + 0.05, "the call goes up")?;
        }
        Ok(())
    }

    fn statuses(&mut self) -> Result<Vec<Status>, String> {
        let ask = |node: &mut crate::lab::program::NodeHandle| node.socket.status().map_err(|error| error.to_string());
        self.programmer.nodes.iter_mut().map(ask).collect()
    }
}

/// What voices and totals say; the rest is filled in by the caller. Totals are of the time from the first window on: links
/// come up one end after the other, and what arrives at the other meanwhile is no fault.
fn report_of(forth: &Heard, back: &Heard, at_start: &[Status], at_end: &[Status]) -> Report {
    let lab = |statuses: &[Status], of: fn(&LabStatus) -> u64| -> u64 {
        statuses.iter().flat_map(|s| &s.workers).filter_map(|w| w.lab.as_ref()).map(of).sum()
    };
    let new = |of| lab(at_end, of).saturating_sub(lab(at_start, of));
    let mut drops = BTreeMap::new();
    for (before, after) in at_start.iter().zip(at_end) {
        let before = before.drops();
        for (reason, all) in after.drops() {
            let new = all.saturating_sub(before.get(&reason).copied().unwrap_or(0));
            if new > 0 {
                *drops.entry(reason).or_default() += new;
            }
        }
    }
    Report {
        rtp_sent: forth.sent,
        rtp_received: forth.received,
        rtp_intact: forth.intact,
        one_way_ms: forth.one_way,
        r_factor: forth.rating.map_or(0.0, |r| r.r_factor),
        mos: forth.rating.map_or(1.0, |r| r.mos),
        cells_real: new(|lab| lab.cells_out),
        cells_chaff: new(|lab| lab.chaff_out),
        drops,
        reverse: Reverse { rtp_sent: back.sent, rtp_received: back.received, rtp_intact: back.intact },
        ..Report::default()
    }
}

fn write_files(out: &Path, report: &Report, forth: &Heard, chart: &str) -> Result<(), String> {
    let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    let write = |name: &str, result: std::io::Result<()>| {
        result.map_err(|error| format!("{}: {error}; give another --out", out.join(name).display()))
    };
    write("report.json", std::fs::write(out.join("report.json"), json + "\n"))?;
    write("links.svg", std::fs::write(out.join("links.svg"), chart))?;
    write("caller.wav", wav::save(&out.join("caller.wav"), &forth.said))?;
    write("callee.wav", wav::save(&out.join("callee.wav"), &forth.heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> DemoArgs {
        DemoArgs {
            seconds: None,
            cell: 512,
            rate: 50,
            wav: None,
            out: "out".into(),
            seed: Some(1),
            json: true,
            ipv6: true,
            tick_us: 500,
        }
    }

    #[test]
    fn flags_out_of_range_are_named() {
        for (args, flag) in [
            (DemoArgs { rate: 49, ..args() }, "--rate 49"),
            (DemoArgs { tick_us: 99, ..args() }, "--tick-us 99"),
            (DemoArgs { seconds: Some(0.5), ..args() }, "--seconds 0.5"),
            (DemoArgs { seconds: Some(f64::NAN), ..args() }, "--seconds NaN"),
        ] {
            assert!(check(&args).err().expect(flag).contains(flag));
        }
        let missing = DemoArgs { wav: Some("nowhere.wav".into()), ..args() };
        assert!(voice(&missing, 1).expect_err("no file").contains("nowhere.wav"));
    }

    #[test]
    fn the_voice_has_the_calls_length() {
        let made = voice(&DemoArgs { seconds: Some(1.5), ..args() }, 3).expect("made");
        assert_eq!((made.0.len(), made.1), (12_000, 1.5));
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("v.wav");
        wav::save(&path, &made.0).expect("written");
        let read = |seconds| voice(&DemoArgs { wav: Some(path.clone()), seconds, ..args() }, 3).expect("read");
        assert_eq!(read(None), made);
        assert_eq!(read(Some(1.0)).1, 1.0);
        let longer = read(Some(2.0));
        assert!(longer.1 == 2.0 && longer.0.starts_with(&made.0) && longer.0[12_000..].iter().all(|s| *s == 0));
    }
}
