//! What a run found, for machines and for people.

use super::{Measured, PERCENTS};
use crate::live::Percentiles;
use serde::Serialize;
use std::fmt;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One mix at the middle load: the whole way.
    pub one: Percentiles,
    /// The chain at the middle load: the whole way.
    pub chain: Option<Percentiles>,
    /// Every measurement.
    pub loads: Vec<Row>,
    /// The rate whose parts were offered, cells a second.
    pub rate: f64,
    /// Where it comes from.
    pub rate_from: String,
    /// The kind of port.
    pub port: &'static str,
    /// What was really opened.
    pub bound: String,
    /// Mixes of the chain.
    pub mixes: usize,
    /// Links of each mix to either side.
    pub links: usize,
    /// Circuits.
    pub circuits: usize,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// Cores of the workers' threads.
    pub worker_cores: Vec<usize>,
    /// The core of everything else.
    pub other_core: usize,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One measurement, as `trials.csv` has it too. Times are ns.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Mixes in a row.
    pub mixes: usize,
    /// Percent of the rate.
    pub percent: u32,
    /// Cells a second that each mix was offered.
    pub load: f64,
    /// Length of a round.
    pub round_ns: u64,
    /// The whole way: half of the cells are within.
    pub total_p50_ns: u64,
    /// 99 %.
    pub total_p99_ns: u64,
    /// 99.9 %.
    pub total_p999_ns: u64,
    /// Lateness of the last mix's departures against their slots: half within.
    pub late_p50_ns: u64,
    /// 99 %.
    pub late_p99_ns: u64,
    /// 99.9 %.
    pub late_p999_ns: u64,
    /// Until the first mix took the cell: half within. Unknown over a real port.
    pub taken_p50_ns: Option<u64>,
    /// 99 %.
    pub taken_p99_ns: Option<u64>,
    /// Cells watched.
    pub watched: u64,
    /// For how long: the first part of a long measurement. Lateness is of the whole.
    pub watched_ns: u64,
    /// Part of them that did not come.
    pub loss_ratio: f64,
    /// Cells dropped by all mixes, by reason; empty where none was.
    pub drops: String,
    /// Slots missed by all mixes.
    pub missed: u64,
    /// The longest that the generator was late, ns.
    pub generator_lag_ns: u64,
}

impl Row {
    /// A measurement's row.
    pub fn of(measured: &Measured) -> Row {
        let Measured { mixes, percent, load, found } = measured;
        let [total, late] = [&found.total, &found.late].map(Percentiles::of);
        let taken = found.taken.as_ref().map(Percentiles::of);
        let drops: Vec<_> = found.drops.iter().map(|(name, count)| format!("{name} {count}")).collect();
        Row {
            mixes: *mixes,
            percent: *percent,
            load: *load,
            round_ns: found.round_ns,
            total_p50_ns: total.p50_ns,
            total_p99_ns: total.p99_ns,
            total_p999_ns: total.p999_ns,
            late_p50_ns: late.p50_ns,
            late_p99_ns: late.p99_ns,
            late_p999_ns: late.p999_ns,
            taken_p50_ns: taken.map(|taken| taken.p50_ns),
            taken_p99_ns: taken.map(|taken| taken.p99_ns),
            watched: found.watched,
            watched_ns: found.watched_ns,
            loss_ratio: 1.0 - found.came as f64 / found.watched.max(1) as f64,
            drops: drops.join(", "),
            missed: found.missed,
            generator_lag_ns: found.lag_ns,
        }
    }
}

/// What is the same in all measurements.
pub struct About {
    /// Cells a second.
    pub rate: f64,
    /// Where the rate comes from.
    pub rate_from: String,
    /// Its kind.
    pub port: &'static str,
    /// For people.
    pub bound: String,
    /// Of the chain.
    pub mixes: usize,
    /// To either side.
    pub links: usize,
    /// Number.
    pub circuits: usize,
    /// The crypto back end.
    pub backend: &'static str,
    /// Bytes.
    pub cell: usize,
    /// Cores of the workers' threads.
    pub worker_cores: Vec<usize>,
    /// The core of everything else.
    pub other_core: usize,
}

impl Report {
    /// The figures of a measurement.
    ///
    /// # Errors
    /// Nothing came out at the middle load.
    pub fn new(measured: &[Measured], about: About) -> Result<Report, String> {
        let middle = |is_chain: bool| {
            let mut all = measured.iter().filter(|one| one.percent == PERCENTS[1] && (one.mixes > 1) == is_chain);
            all.next().map(|one| Percentiles::of(&one.found.total))
        };
        let one = middle(false).filter(|one| one.count > 0).ok_or("no cell came out: give a lower --rate")?;
        let loads: Vec<Row> = measured.iter().map(Row::of).collect();
        let lossy: Vec<_> = loads.iter().filter(|row| row.loss_ratio > 0.0).map(lost).collect();
        let mut notes = Vec::new();
        if !lossy.is_empty() {
            notes.push(format!("Cells were lost, and have no latency: {}.", lossy.join("; ")));
        }
        let About { rate, rate_from, port, bound, mixes, links, circuits, backend, cell, worker_cores, other_core } =
            about;
        if mixes > worker_cores.len() {
            notes.push(format!(
                "{mixes} mixes of the chain take turns on {} threads: each is offered its share of the rate, and waits for \
                 the others' turns.",
                worker_cores.len()
            ));
        }
        Ok(Report {
            one,
            chain: middle(true),
            loads,
            rate,
            rate_from,
            port,
            bound,
            mixes,
            links,
            circuits,
            backend,
            cell,
            worker_cores,
            other_core,
            notes,
        })
    }
}

fn lost(row: &Row) -> String {
    let Row { mixes, percent, loss_ratio, drops, .. } = row;
    let place = if drops.is_empty() { "on their way" } else { drops };
    format!("{:.3} % through {mixes} at {percent} % ({place})", 100.0 * loss_ratio)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { port, bound, links, circuits, cell, backend, worker_cores, other_core, rate, rate_from, .. } =
            self;
        writeln!(f, "How long a cell is on its way, one way, real time")?;
        writeln!(
            f,
            "  world      {links} links to either side, {circuits} circuits, {cell}-byte cells, back end {backend}"
        )?;
        writeln!(f, "  port       {port}: {bound}")?;
        writeln!(f, "  rate       {:.3} million cells a second ({rate_from})", rate / 1e6)?;
        writeln!(f, "  cores      {worker_cores:?} for the mixes, {other_core} for generator, cables and watch")?;
        writeln!(
            f,
            "  us             whole way 50 %     99 %   99.9 %   late 50 %     99 %   taken 50 %     99 %   round"
        )?;
        for row in &self.loads {
            let us = |ns: u64| ns as f64 / 1e3;
            let name = format!("{} mix{} {} %", row.mixes, if row.mixes == 1 { "" } else { "es" }, row.percent);
            let total = [row.total_p50_ns, row.total_p99_ns, row.total_p999_ns].map(us);
            let [late, late99] = [row.late_p50_ns, row.late_p99_ns].map(us);
            let taken = |ns: Option<u64>, digits| ns.map_or("-".to_owned(), |ns| format!("{:.digits$}", us(ns)));
            let (taken, taken99) = (taken(row.taken_p50_ns, 2), taken(row.taken_p99_ns, 1));
            writeln!(
                f,
                "  {name:<12} {:>17.0} {:>8.0} {:>8.0} {late:>11.2} {late99:>8.1} {taken:>12} {taken99:>8} {:>7.0}",
                total[0],
                total[1],
                total[2],
                us(row.round_ns)
            )?;
        }
        for note in &self.notes {
            writeln!(f, "  note       {note}")?;
        }
        let watched: u64 = self.loads.iter().map(|row| row.watched).sum();
        write!(f, "  measured   {watched} cells watched, those of every 8th link")
    }
}
