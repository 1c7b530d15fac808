//! What a run found, for machines and for people.

use super::bench::Trial;
use super::classify::Goal;
use super::search::Found;
use super::{Measured, Verdict};
use serde::Serialize;
use std::fmt;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Non-drop rate.
    pub ndr: Rate,
    /// Partial drop rate.
    pub pdr: Rate,
    /// What the generator alone delivers, sealing included, cells a second.
    pub generator_ceiling: f64,
    /// The most load that was searched, cells a second.
    pub max_load: f64,
    /// The least.
    pub min_load: f64,
    /// Trials, invalid ones included.
    pub trials: usize,
    /// Trials that counted for nothing.
    pub invalid: usize,
    /// Frames that were opened and found right: those of every 64th link.
    pub checked: u64,
    /// The kind of port.
    pub port: &'static str,
    /// What was really bound; empty where it is memory.
    pub bound: String,
    /// The crypto back end.
    pub backend: &'static str,
    /// Cell size, bytes.
    pub cell: usize,
    /// Links.
    pub links: usize,
    /// Circuits.
    pub circuits: usize,
    /// Frames of the rings to and from the worker.
    pub ring: usize,
    /// Records sent for each cell: a slot stays free on each link.
    pub records_per_cell: f64,
    /// The worker's core and the generator's.
    pub cores: [usize; 2],
    /// Wall-clock time of the search, s.
    pub seconds: f64,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A rate that was searched for. Rates are cells a second.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// The rate that comes through at the lower bound; null where there is none.
    pub conditional_throughput: Option<f64>,
    /// The relevant lower bound: an offered load.
    pub lower_bound: Option<f64>,
    /// The relevant upper bound.
    pub upper_bound: Option<f64>,
    /// Both bounds stand, as near to each other as was asked.
    pub regular: bool,
    /// The search for it came to its end.
    pub complete: bool,
    /// Loss that is allowed, as a part of what was offered.
    pub goal_loss_ratio: f64,
    /// The part of trials that may lose more.
    pub goal_exceed_ratio: f64,
    /// Relative width of the bounds' interval.
    pub goal_width: f64,
    /// Duration of trials that settles a load, s.
    pub goal_duration_sum_s: f64,
}

/// What is the same in all trials.
pub struct About {
    /// The kind of port.
    pub port: &'static str,
    /// What was really bound; empty where it is memory.
    pub bound: String,
    /// The crypto back end.
    pub backend: &'static str,
    /// Bytes.
    pub cell: usize,
    /// Number.
    pub links: usize,
    /// Number.
    pub circuits: usize,
    /// Frames.
    pub ring: usize,
    /// Quotient.
    pub records_per_cell: f64,
    /// The worker's and the generator's.
    pub cores: [usize; 2],
    /// Cells a second: least, most.
    pub loads: [f64; 2],
}

/// A trial as `trials.csv` has it.
#[derive(Serialize)]
pub struct Row {
    load: f64,
    duration_s: f64,
    verdict: &'static str,
    loss_ratio: f64,
    offered: u64,
    intended: u64,
    lost: u64,
    places: String,
    missed: u64,
    generator_lag_us: f64,
    checked: u64,
}

impl Row {
    /// A trial's row.
    pub fn of(trial: &Trial, verdict: Verdict) -> Row {
        let verdict = match verdict {
            Verdict::NoLoss => "no loss",
            Verdict::PartialLoss => "partial loss",
            Verdict::HighLoss => "high loss",
            Verdict::Invalid => "invalid",
        };
        Row {
            load: trial.load,
            duration_s: trial.duration_s,
            verdict,
            loss_ratio: trial.loss_ratio(),
            offered: trial.delivered.offered,
            intended: trial.delivered.intended,
            lost: trial.lost,
            places: trial.places(),
            missed: trial.missed,
            generator_lag_us: trial.delivered.lag_ns as f64 / 1e3,
            checked: trial.checked,
        }
    }
}

impl Rate {
    fn new(goal: &Goal, found: &Found) -> Rate {
        Rate {
            conditional_throughput: found.conditional_throughput,
            lower_bound: found.lower,
            upper_bound: found.upper,
            regular: found.regular,
            complete: found.complete,
            goal_loss_ratio: goal.loss_ratio,
            goal_exceed_ratio: goal.exceed_ratio,
            goal_width: goal.width,
            goal_duration_sum_s: goal.duration_sum_s,
        }
    }

    /// What keeps it from being a regular result.
    fn note(&self, name: &str) -> Option<String> {
        let why = match (self.complete, self.lower_bound, self.upper_bound) {
            (false, ..) => {
                "the time was up before the search for it came to its end: the bounds are those known so far"
            }
            (true, None, _) => "even the least load loses too much",
            (true, _, None) => {
                "the most load that the generator could offer does not lose too much: it is a lower bound"
            }
            (true, Some(_), Some(_)) => return None,
        };
        Some(format!("{name}: {why}."))
    }
}

impl Report {
    /// The figures of a measurement with these goals: non-drop rate, partial drop rate.
    pub fn new(measured: &Measured, goals: &[Goal; 2], about: About) -> Report {
        let [ndr, pdr] = [0, 1].map(|at| Rate::new(&goals[at], &measured.found[at]));
        let invalid = measured.trials.iter().filter(|trial| trial.1 == Verdict::Invalid).count();
        let mut notes: Vec<String> = [ndr.note("NDR"), pdr.note("PDR")].into_iter().flatten().collect();
        if invalid > 0 {
            let all = measured.trials.len();
            notes.push(format!("{invalid} of {all} trials were invalid, the generator's fault: they count for nothing, and a load with three of them \
                 is given up, with those above it."));
        }
        let About { port, bound, backend, cell, links, circuits, ring, records_per_cell, cores, loads } = about;
        Report {
            ndr,
            pdr,
            generator_ceiling: measured.ceiling,
            max_load: loads[1],
            min_load: loads[0],
            trials: measured.trials.len(),
            invalid,
            checked: measured.trials.iter().map(|trial| trial.0.checked).sum(),
            port,
            bound,
            backend,
            cell,
            links,
            circuits,
            ring,
            records_per_cell,
            cores,
            seconds: measured.seconds,
            notes,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let million = |rate: Option<f64>| rate.map_or("none".to_owned(), |rate| format!("{:.3}", rate / 1e6));
        let Report { links, circuits, cell, backend, ring, cores, trials, invalid, checked, seconds, .. } = self;
        writeln!(f, "The rate that one worker carries, million cells a second")?;
        writeln!(
            f,
            "  world      {links} links, {circuits} circuits, {cell}-byte cells, back end {backend}, rings of {ring}"
        )?;
        if !self.bound.is_empty() {
            writeln!(f, "  port       {}: {}", self.port, self.bound)?;
        }
        for (name, rate) in [("NDR", &self.ndr), ("PDR", &self.pdr)] {
            let Rate { lower_bound, upper_bound, goal_loss_ratio, .. } = rate;
            let (lower, upper, loss) = (million(*lower_bound), million(*upper_bound), 100.0 * goal_loss_ratio);
            let through = million(rate.conditional_throughput);
            writeln!(f, "  {name}        {through}, between {lower} and {upper}, loss of at most {loss} %")?;
        }
        writeln!(f, "  generator  {}: sealing and delivering alone", million(Some(self.generator_ceiling)))?;
        writeln!(f, "  cores      {} for the worker, {} for the generator", cores[0], cores[1])?;
        for note in &self.notes {
            writeln!(f, "  note       {note}")?;
        }
        write!(f, "  measured   {trials} trials, {invalid} invalid, {checked} frames opened, in {seconds:.0} s")
    }
}
