//! What a run found, for machines and for people.

use super::{Kind, Measured, Window};
use crate::live::Percentiles;
use serde::Serialize;
use std::fmt;

/// The figures of a run: lateness of departures against their slots' instants.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Lateness of all departures.
    #[serde(flatten)]
    pub lateness: Percentiles,
    /// Slots missed: a record a whole slot late, or never sealed.
    pub missed: u64,
    /// Frames that the port refused; they departed all the same.
    pub refused: u64,
    /// Departures whose stamps were lost: not in the lateness.
    pub unstamped: u64,
    /// The bare loop at the same kind of instants on the same core, in windows between the worker's.
    pub machine: Percentiles,
    /// The loop: `spin` or `tick`.
    pub policy: &'static str,
    /// Ticks, µs; null under `spin`.
    pub tick_us: Option<u64>,
    /// How far ahead of its slot a record is sealed, ns.
    pub horizon_ns: u64,
    /// The port: `memory` or `udp`.
    pub port: &'static str,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links.
    pub links: u32,
    /// Records a second of all links.
    pub records_per_second: f64,
    /// Windows of either kind.
    pub windows: usize,
    /// The worker's core.
    pub core: usize,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What is the same in all windows.
pub struct About {
    /// The loop.
    pub policy: &'static str,
    /// Ticks, µs.
    pub tick_us: Option<u64>,
    /// ns.
    pub horizon_ns: u64,
    /// The port.
    pub port: &'static str,
    /// The crypto back end.
    pub backend: &'static str,
    /// Bytes.
    pub cell: usize,
    /// Links.
    pub links: u32,
    /// Of all links.
    pub records_per_second: f64,
    /// The worker's core.
    pub core: usize,
    /// The stamps are fetched on a core of their own.
    pub apart: bool,
}

/// A window as `trials.csv` has it.
#[derive(Serialize)]
pub struct Row {
    kind: &'static str,
    at_s: f64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    departures: u64,
    missed: u64,
    refused: u64,
    switches: Option<u64>,
}

impl Row {
    /// A window's row.
    pub fn of(window: &Window) -> Row {
        let Percentiles { p50_ns, p99_ns, p999_ns, max_ns, .. } = Percentiles::of(&window.lateness);
        let kind = match window.kind {
            Kind::Worker => "worker",
            Kind::Machine => "bare loop",
        };
        let Window { at_s, departures, missed, refused, switches, .. } = *window;
        Row { kind, at_s, p50_ns, p99_ns, p999_ns, max_ns, departures, missed, refused, switches }
    }
}

impl Report {
    /// The figures of a measurement.
    pub fn new(measured: &Measured, about: About) -> Report {
        let of = |value: fn(&Window) -> u64| measured.windows.iter().map(value).sum::<u64>();
        let (missed, refused, unstamped) = (of(|w| w.missed), of(|w| w.refused), of(|w| w.unstamped));
        let mut notes = Vec::new();
        let mut say = |when: bool, text: String| {
            if when {
                notes.push(text);
            }
        };
        say(
            !about.apart,
            "One core only: stamps were fetched on the worker's core, which delays it now and then.".into(),
        );
        say(unstamped > 0, format!("{unstamped} departures are not in the histogram: their stamps found no room."));
        let queue = "the system's queue was full, or nobody fetched the frames in time";
        say(refused > 0, format!("The port refused {refused} frames ({queue}); they departed all the same."));
        let About { policy, tick_us, horizon_ns, port, backend, cell, links, records_per_second, core, .. } = about;
        Report {
            lateness: Percentiles::of(&measured.worker),
            missed,
            refused,
            unstamped,
            machine: Percentiles::of(&measured.machine),
            policy,
            tick_us,
            horizon_ns,
            port,
            backend,
            cell,
            links,
            records_per_second,
            windows: measured.windows.len() / 2,
            core,
            notes,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns as f64 / 1e3;
        let line = |p: &Percentiles| {
            let Percentiles { p50_ns, p99_ns, p999_ns, max_ns, .. } = *p;
            let [p50, p99, p999, max] = [p50_ns, p99_ns, p999_ns, max_ns].map(us);
            format!("50 % within {p50:.2} us, 99 % {p99:.2}, 99.9 % {p999:.2}, all {max:.1}")
        };
        let Report { links, cell, backend, port, policy, core, windows, records_per_second: rate, .. } = self;
        let tick = self.tick_us.map_or(String::new(), |tick| format!(" of {tick} us"));
        writeln!(f, "How late departures are, against their slots' instants")?;
        writeln!(f, "  worker     {policy}{tick}, port {port}, back end {backend}, core {core}")?;
        writeln!(f, "  world      {links} links of {cell}-byte cells, chaff only, {rate:.0} records a second")?;
        writeln!(f, "  lateness   {}", line(&self.lateness))?;
        writeln!(f, "  machine    {}: a bare loop", line(&self.machine))?;
        writeln!(f, "  missed     {} slots of {}", self.missed, self.missed + self.lateness.count + self.unstamped)?;
        for note in &self.notes {
            writeln!(f, "  note       {note}")?;
        }
        write!(f, "  measured   {windows} windows of either kind, in turns")
    }
}
