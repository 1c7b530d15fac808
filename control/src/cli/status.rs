//! `drover status`: how a data plane is, from two readings a moment apart.

use crate::report::text::{Align, Table, bytes, clean, count, duration, number};
use crate::socket::ControlSocket;
use crate::socket::reports::{MixingStatus, Status, WorkerStatus};
use clap::Args;
use drover_dataplane::drops::DropReason;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Asks a running data plane or client over its control socket.
///
/// Rates are differences of two readings. A missed slot is a record that was not sent in time: a few an hour happen on a
/// shared machine, a steady stream means too many links for the core or another process on it. A lost record is one that a
/// peer owed and that did not come. Drops are listed with what they mean.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Path of the control socket, as `socket` in the configuration
    #[arg(value_name = "SOCKET", required_unless_present = "socket")]
    path: Option<PathBuf>,
    /// The same, as a flag
    #[arg(long, conflicts_with = "path")]
    socket: Option<PathBuf>,
    /// Print the data plane's own JSON, one reading
    #[arg(long)]
    json: bool,
    /// Seconds between the two readings
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// Prints the status.
pub fn run(args: &StatusArgs) -> Result<(), String> {
    let path = args.path.as_ref().or(args.socket.as_ref()).ok_or("give the path of a control socket")?;
    let mut socket = ControlSocket::connect(path).map_err(|error| error.to_string())?;
    if args.json {
        let json = socket.status_json().map_err(|error| error.to_string())?;
        return super::print(&format!("{json}\n"));
    }
    if !(0.1..=3_600.0).contains(&args.seconds) {
        return Err(format!("--seconds {}: 0.1 to 3600", args.seconds));
    }
    let first = socket.status().map_err(|error| error.to_string())?;
    // This wait is the measurement.
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let second = socket.status().map_err(|error| error.to_string())?;
    if first.boot != second.boot {
        return Err(format!("{}: the data plane restarted between two readings; run this again", path.display()));
    }
    super::print(&show(&first, &second))
}

/// Both readings as text.
pub fn show(first: &Status, second: &Status) -> String {
    let mut out = String::new();
    // Writing to a `String` does not fail.
    let _ = render(first, second, &mut out);
    out
}

fn render(first: &Status, second: &Status, out: &mut String) -> std::fmt::Result {
    let Status { cell, policy, links, circuits, ends, .. } = second;
    let tick = second.tick_us.filter(|_| policy == "tick").map_or(String::new(), |us| format!(" of {us} µs"));
    let up = duration(Duration::try_from_secs_f64(second.uptime_s).unwrap_or_default());
    let lab = if second.lab { ", lab build" } else { "" };
    writeln!(out, "boot {}, up {up}{lab}", second.boot)?;
    writeln!(out, "cells of {cell} bytes, pacing {policy}{tick}, pools and tables {}", bytes(second.pool_bytes))?;
    pacing(second, out)?;
    let MixingStatus { mode, interval_ms, threshold, cap_ms } = &second.mixing;
    match mode.as_str() {
        "interval" => writeln!(out, "mixing interval of {interval_ms} ms")?,
        "threshold" => writeln!(out, "mixing threshold of {threshold} circuits, {cap_ms} ms at most")?,
        other => writeln!(out, "mixing {}", if other.is_empty() { "not told" } else { other })?,
    }
    if !second.crypto.is_empty() {
        writeln!(out, "crypto {} ({})", second.crypto, second.crypto_reason)?;
    }
    ports(second, out)?;
    let (links, circuits, ends) = (count(*links), count(*circuits), count(*ends));
    writeln!(out, "links {links}, circuits {circuits}, ends of calls {ends}\n")?;
    writeln!(out, "{}", workers(first, second))?;
    if second.classes.is_empty() {
        writeln!(out, "no classes of links: nothing is programmed yet")?;
    } else {
        writeln!(out, "{}", classes(first, second))?;
    }
    let drops = second.drops();
    if drops.is_empty() {
        return writeln!(out, "no drops");
    }
    let mut table =
        Table::new(&[("dropped", Align::Left), ("all", Align::Right), ("new", Align::Right), ("", Align::Left)]);
    let before = first.drops();
    for (reason, all) in drops {
        let new = all.saturating_sub(before.get(&reason).copied().unwrap_or(0));
        let text = DropReason::ALL.iter().find(|r| r.name() == reason).map_or("", |r| r.text());
        table.row([reason, count(all), count(new), text.to_owned()]);
    }
    write!(out, "{table}")
}

/// What each worker's port was really opened as, and what it counted for itself.
fn ports(status: &Status, out: &mut String) -> std::fmt::Result {
    for WorkerStatus { worker, port, bound, port_details, .. } in status.workers.iter().filter(|w| !w.port.is_empty()) {
        write!(out, "port of worker {worker}: {port} ({})", clean(bound))?;
        for (name, value) in port_details {
            write!(out, ", {} {}", clean(name), count(*value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Why the workers are paced as they are: one line where all have one reason.
fn pacing(status: &Status, out: &mut String) -> std::fmt::Result {
    let reason = |worker: &WorkerStatus| (worker.policy.clone(), worker.policy_reason.clone());
    match &status.workers[..] {
        [first, rest @ ..] if rest.iter().all(|other| reason(other) == reason(first)) => {
            let (policy, reason) = reason(first);
            if reason.is_empty() { Ok(()) } else { writeln!(out, "pacing {policy} ({reason})") }
        }
        several => several.iter().try_for_each(|worker| {
            let (policy, reason) = reason(worker);
            writeln!(out, "pacing of worker {}: {policy} ({reason})", worker.worker)
        }),
    }
}

fn workers(first: &Status, second: &Status) -> Table {
    let heads = [
        ("worker", Align::Right),
        ("listen", Align::Left),
        ("core", Align::Right),
        ("links", Align::Right),
        ("received/s", Align::Right),
        ("sent/s", Align::Right),
        ("late p50", Align::Right),
        ("late p99", Align::Right),
        ("not sent", Align::Right),
        ("too long", Align::Right),
    ];
    let mut table = Table::new(&heads);
    for worker in &second.workers {
        let before = first.workers.iter().find(|w| w.worker == worker.worker);
        let seconds = before.map_or(0.0, |b| worker.published_ns.saturating_sub(b.published_ns) as f64 / 1e9);
        let rate = |now: u64, before: Option<u64>| rate(now, before, seconds);
        let late = |us: Option<f64>| us.map_or("-".to_owned(), |us| format!("{} µs", number(us, 0)));
        table.row([
            worker.worker.to_string(),
            worker.listen.clone(),
            worker.core.filter(|core| (0..0xffff).contains(core)).map_or("-".to_owned(), |core| core.to_string()),
            count(worker.links),
            rate(worker.received, before.map(|b| b.received)),
            rate(worker.sent, before.map(|b| b.sent)),
            late(worker.lateness_us.p50),
            late(worker.lateness_us.p99),
            count(worker.refused),
            count(worker.oversized),
        ]);
    }
    table
}

fn classes(first: &Status, second: &Status) -> Table {
    let heads = [
        ("class", Align::Right),
        ("kind", Align::Left),
        ("links", Align::Right),
        ("rate/s a link", Align::Right),
        ("sent/s a link", Align::Right),
        ("missed", Align::Right),
        ("new", Align::Right),
        ("lost", Align::Right),
        ("new", Align::Right),
    ];
    let mut table = Table::new(&heads);
    let published = |status: &Status| status.workers.iter().map(|w| w.published_ns).max().unwrap_or(status.now_ns);
    let seconds = published(second).saturating_sub(published(first)) as f64 / 1e9;
    for class in &second.classes {
        let before = first.classes.iter().find(|c| c.class == class.class);
        table.row([
            class.class.to_string(),
            class.kind.clone(),
            count(class.links),
            number(class.rate, 1),
            rate(class.sent, before.map(|b| b.sent), seconds * class.links as f64),
            count(class.missed),
            count(class.missed.saturating_sub(before.map_or(class.missed, |b| b.missed))),
            count(class.lost),
            count(class.lost.saturating_sub(before.map_or(class.lost, |b| b.lost))),
        ]);
    }
    table
}

/// A difference over a time; "-" where there is none.
fn rate(now: u64, before: Option<u64>, seconds: f64) -> String {
    match before {
        Some(before) if seconds > 0.0 => number(now.saturating_sub(before) as f64 / seconds, 1),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::reports::{ClassStatus, Lateness};

    fn reading(published_ns: u64, sent: u64, missed: u64) -> Status {
        let worker = WorkerStatus {
            listen: "127.0.0.1:9".into(),
            core: Some(1),
            policy: "tick".into(),
            policy_reason: "as configured".into(),
            published_ns,
            received: 2 * sent,
            sent,
            links: 4,
            drops: [("record_tag".to_owned(), missed), ("bad_cell".to_owned(), 0)].into(),
            lateness_us: Lateness { p50: Some(12.4), p99: None },
            ..WorkerStatus::default()
        };
        let class =
            ClassStatus { class: 2, kind: "zone".into(), rate: 200.0, links: 4, sent, missed, ..Default::default() };
        Status {
            cell: 256,
            mixing: MixingStatus { mode: "interval".into(), interval_ms: 20, ..Default::default() },
            crypto: "reference".into(),
            crypto_reason: "as configured".into(),
            policy: "tick".into(),
            tick_us: Some(1000),
            links: 4,
            workers: vec![worker],
            classes: vec![class],
            ..Status::default()
        }
    }

    #[test]
    fn rates_are_differences_over_published_time() {
        let text = show(&reading(1_000_000_000, 100, 1), &reading(1_500_000_000, 500, 4));
        let line = |word: &str| text.lines().find(|l| l.contains(word)).unwrap_or_default().to_owned();
        assert!(line("127.0.0.1:9").contains("1,600.0") && line("127.0.0.1:9").contains("800.0"), "{text}");
        assert!(line("zone").contains("200.0  ") && line("zone").contains('3'), "{text}");
        assert!(line("record_tag").contains("wrong under every key"), "{text}");
        assert!(!text.contains("bad_cell") && text.contains("tick of 1000 µs") && text.contains("12 µs"), "{text}");
        assert!(text.contains("crypto reference (as configured)"), "{text}");
        assert!(text.contains("pacing tick (as configured)\nmixing interval of 20 ms\n"), "{text}");
        let mut two = reading(2_000_000_000, 600, 4);
        two.workers.push(WorkerStatus { worker: 1, policy: "spin".into(), ..two.workers[0].clone() });
        let text = show(&two, &two);
        assert!(text.contains("pacing of worker 0: tick (as configured)\npacing of worker 1: spin ("), "{text}");
    }

    #[test]
    fn a_fresh_data_plane_is_no_division_by_zero() {
        let text = show(&Status::default(), &Status::default());
        assert!(text.contains("nothing is programmed yet") && text.contains("no drops"), "{text}");
        let same = reading(5, 1, 0);
        assert!(show(&same, &same).contains('-'));
        let other = Status { workers: vec![], ..reading(1, 1, 0) };
        assert!(show(&other, &same).contains('-'));
    }
}
