//! The demo from curtain to curtain: processes, keys, three windows of time, a voice, and the report.

use super::audio::{Heard, Listener, compare, play};
use super::cast::{CLIENTS, Cast, MIXES};
use super::host::Host;
use super::kill::Kill;
use super::network::Network;
use super::report::{Report, Reverse};
use super::sampler::Window;
use super::show::Show;
use super::{DemoArgs, Failure, SECONDS, SECONDS_RANGE, stop_on_signals};
use crate::media::{SAMPLE_RATE, speech, wav};
use crate::plane::Now;
use crate::report::svg::{Series, links_chart};
use crate::report::text::Progress;
use crate::socket::reports::{LabStatus, Status};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Time between two readings of the links, s.
pub(super) const EVERY: f64 = 0.5;
/// A control daemon that is killed during the call has this long to come back before the call's end, s.
pub(super) const COME_BACK: f64 = 8.0;
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
pub fn main(args: &DemoArgs) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&stop)?;
    let report = run(args, &stop)?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?)
    } else {
        format!("\n{}", report.text(&args.out))
    };
    crate::cli::print(&text)?;
    report.failure().map_or(Ok(()), |text| Err(text.into()))
}

/// Runs the demo and writes its files.
fn run(args: &DemoArgs, stop: &Arc<AtomicBool>) -> Result<Report, Failure> {
    let plan = check(args)?;
    let (voice, seconds) = voice(args, plan.seed)?;
    check_kill(args, seconds)?;
    let reply_voice = speech::generate(plan.seed.wrapping_add(1), seconds);
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("--out {}: {error}; name a folder that can be made", args.out.display()))?;
    let mut progress = Progress::stderr(args.json);

    let network = Network::make(args.port, args.ipv6, MIXES, CLIENTS.len())?;
    for line in network.fallen_back.iter().chain(&network.outside()) {
        eprintln!("drover demo: {line}");
    }
    let ip: IpAddr = if args.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let hears = |client: usize| network.at(MIXES + client, || Listener::bind(ip));
    let (caller_hears, callee_hears) = (hears(0)?, hears(1)?);
    progress.update("making two zones, four mixes and two clients");
    let hears = [caller_hears.address, callee_hears.address];
    let cast = Cast::make(args, &network, plan.seed, Now::read().unix_s, hears)?;
    progress.update("starting four mixes and two clients");
    let host = Host::start(&cast, &network)?;
    let mut show = Show::new(&cast, host, stop, &mut progress)?;
    let played =
        play_all(args, &plan, &network, (&voice, &reply_voice, seconds), &mut show, [callee_hears, caller_hears]);
    // Who does not answer has ended, most likely: that tells more.
    let Played { mut report, forth, series, call } = played.map_err(|error| show.host.cause().unwrap_or(error))?;
    show.host.end();
    progress.finish();
    report.port = network.port().to_owned();
    report.version = env!("CARGO_PKG_VERSION").to_owned();
    (report.seconds, report.cell, report.rate, report.seed) = (seconds, args.cell, args.rate, plan.seed);
    let title = format!("A call between two zones: cells of {} bytes, u = {} a second", args.cell, args.rate);
    write_files(&args.out, &report, &forth, &links_chart(&title, call, &series))?;
    Ok(report)
}

/// What a show leaves.
struct Played {
    /// Without what the arguments say.
    report: Report,
    /// The caller's voice.
    forth: Heard,
    /// The chart's lines.
    series: Vec<Series>,
    /// When the call was wished for, and when it ended.
    call: (f64, f64),
}

/// The show itself.
fn play_all(
    args: &DemoArgs,
    plan: &Drawn,
    network: &Network,
    (voice, reply_voice, seconds): (&[i16], &[i16], f64),
    show: &mut Show<'_>,
    hears: [Listener; 2],
) -> Result<Played, String> {
    show.wait_for_links()?;
    show.wait_for_registrations()?;

    let at_start = show.statuses()?;
    let from = show.now();
    show.play_until(from + CALM, "before the call")?;
    let before = Window { from, to: show.now() };

    let call_from = show.now();
    let up = show.call()?;
    let voices_stop = Arc::new(AtomicBool::new(false));
    let _silence = OnDrop(Arc::clone(&voices_stop));
    let hears = hears.map(|listener| listener.listen(&voices_stop));
    // Numbers as RFC 3550 wants them, from the seed: no key comes from it.
    let numbers = |salt: u64| {
        let n = (plan.seed ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((n >> 32) as u32, n as u16, (n >> 16) as u32)
    };
    let says = |client: usize, voice: &[i16]| {
        let takes = show.cast.clients[client].takes;
        network.at(MIXES + client, || play(voice, takes, numbers(client as u64 + 1), &voices_stop))
    };
    let says = [says(0, voice)?, says(1, reply_voice)?];
    let call_up = show.now();
    show.kill = Kill::new(args.kill_control, show.cast.choices[0][0], (call_up, call_up + seconds));
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
    show.hang_up()?;
    voices_stop.store(true, Ordering::Relaxed);
    let heard = hears.map(|thread| thread.join().map_err(|_| "a thread that hears a voice panicked".to_owned()));
    let ([forth, back], [heard_forth, heard_back]) = (said, heard);
    let (forth, back) = (compare(&forth?, &heard_forth?), compare(&back?, &heard_back?));

    show.play_until(call_down + EDGE, "after the call")?;
    let from = show.now();
    show.play_until(from + CALM, "after the call")?;
    let after = Window { from, to: show.now() };
    let at_end = show.statuses()?;

    let mut report = report_of(&forth, &back, &at_start, &at_end);
    show.links_told(&mut report)?;
    let carried = show.sampler.carried(&show.topology, during, f64::from(args.rate));
    let hops = show.topology.follow(CLIENTS[0], &carried);
    report.hops = hops as u64;
    report.path_links = show.topology.links[..hops].iter().map(|link| link.name.clone()).collect();
    report.links = show.sampler.rates(&show.topology, [before, during, after])?;
    let series = show.sampler.series(&show.topology);
    if let Some((told, compared)) = show.kill.told(show.cast, plan.seed) {
        report.kill_control = Some(told);
        report.lateness_p99_us = Some(compared.lateness_p99_us);
        report.missed_slots = Some(compared.missed_slots);
    }
    (report.circuit_setup_ms, report.call_setup_ms, report.sas) = (up.circuit_ms, up.set_up_ms, up.sas);
    Ok(Played { report, forth, series, call: (call_from, call_down) })
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

/// Whether the control daemon that shall be killed can come back during a call of this length.
fn check_kill(args: &DemoArgs, seconds: f64) -> Result<(), String> {
    let latest = seconds - COME_BACK;
    match args.kill_control.filter(|at| !(1.0..=latest).contains(at)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "--kill-control {at}: 1 to {latest} in a call of {seconds} s, so that it comes back during the call; see --seconds"
        )),
    }
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
            port: Default::default(),
            tick_us: 500,
            kill_control: None,
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
        let kill = |at| DemoArgs { kill_control: Some(at), ..args() };
        assert!(check_kill(&kill(5.0), 20.0).is_ok() && check_kill(&args(), 2.0).is_ok());
        assert!(check_kill(&kill(13.0), 20.0).expect_err("too late").contains("--kill-control 13"));
        assert!(check_kill(&kill(f64::NAN), 20.0).is_err());
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
