//! A run's folder: everything that a figure needs to be believed, and to be compared by.
//!
//! | file | what |
//! |---|---|
//! | `config.json` | what was asked for |
//! | `host.json` | the machine, the system and the build ([`crate::host`]), the probe before the run, the core-to-core round trip |
//! | `trials.csv` | one line a trial |
//! | `NAME.hgrm` | histograms, in HdrHistogram's percentile log, ns |
//! | `failure.txt` | why there is no summary |
//! | `summary.json` | the figures, in an envelope ([`SCHEMA`]); the tool's `--json` prints the same |
//! | `report.html` | all of it as one page ([`crate::report`]) |
//!
//! `docs/benchmarks.md` says what the fields mean.

mod folder;
mod hgrm;
pub mod time;

use crate::host::{Build, COMMIT, HostSheet};
use crate::probe::{self, Probe, RoundTrip, round_trip};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// The schema of `summary.json`. A change that a reader must know of changes it.
pub const SCHEMA: &str = "drover-perf/1";
/// Where runs' folders are made when nothing else is said, in the working directory.
pub const RESULTS: &str = "drover-perf-results";
/// Fields of the envelope; a summary has none of these.
pub const ENVELOPE: &[&str] =
    &["schema", "tool", "commit", "host", "build", "started", "wall_seconds", "config", "probe"];

/// A run under way.
pub struct Run {
    dir: PathBuf,
    tool: &'static str,
    config: Value,
    host: HostSheet,
    trials: Option<csv::Writer<File>>,
    /// The core's probe: tools take probes between their trials.
    pub probe: Probe,
    round_trip: Option<RoundTrip>,
    started: SystemTime,
    clock: Instant,
}

/// A run that has ended.
pub struct Finished {
    /// The text of `summary.json`: one JSON object.
    pub json: String,
    /// What the probe found.
    pub probe: probe::Report,
    /// The run's folder.
    pub dir: PathBuf,
}

/// What `summary.json` says around a tool's own figures.
#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: &'static str,
    tool: &'static str,
    commit: &'static str,
    host: &'a str,
    build: Build,
    started: String,
    wall_seconds: f64,
    config: &'a Value,
    probe: &'a probe::Report,
    #[serde(flatten)]
    summary: &'a T,
}

/// What `host.json` says.
#[derive(Serialize)]
struct HostFile<'a> {
    #[serde(flatten)]
    sheet: &'a HostSheet,
    /// The command line.
    command: String,
    core_round_trip: Option<RoundTrip>,
    probe: &'a probe::Report,
}

impl Run {
    /// Makes the run's folder and writes `config.json` and `host.json`: `out`, which must be empty if it is there, or
    /// `drover-perf-results/TOOL-TIME` (UTC), with a number behind it when that is taken. Probes the core meanwhile.
    ///
    /// # Errors
    /// The folder cannot be made or written; `out` is not empty. The text names it.
    pub fn create(tool: &'static str, out: Option<&Path>, config: &impl Serialize) -> Result<Run, String> {
        let started = SystemTime::now();
        let dir = match out {
            Some(out) => folder::given(out)?,
            None => folder::named(Path::new(RESULTS), &format!("{tool}-{}", time::compact(started)))?,
        };
        let config = serde_json::to_value(config).map_err(|error| format!("the configuration is no JSON: {error}"))?;
        let (host, round_trip, probe) = (HostSheet::read(), round_trip(), Probe::start());
        let run = Run { dir, tool, config, host, trials: None, probe, round_trip, started, clock: Instant::now() };
        run.write_json("config.json", &run.config)?;
        let probe = run.probe.report(None);
        let words: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let command = words.join(" ");
        run.write_json(
            "host.json",
            &HostFile { sheet: &run.host, command, core_round_trip: round_trip, probe: &probe },
        )?;
        Ok(run)
    }

    /// The run's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The machine, the system and the build.
    pub fn host(&self) -> &HostSheet {
        &self.host
    }

    /// The round trip between two cores when the run began; `None` on one core.
    pub fn round_trip(&self) -> Option<RoundTrip> {
        self.round_trip
    }

    /// Appends a trial to `trials.csv`. All of a run are of one flat struct, whose fields' names are the header.
    ///
    /// # Errors
    /// The file cannot be written, or the row is no flat struct.
    pub fn trial(&mut self, row: &impl Serialize) -> Result<(), String> {
        let path = self.dir.join("trials.csv");
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let trials = match &mut self.trials {
            Some(trials) => trials,
            none => none.insert(csv::Writer::from_path(&path).map_err(|error| failed(&error))?),
        };
        trials.serialize(row).map_err(|error| failed(&error))
    }

    /// Writes `NAME.hgrm`: a histogram of ns, as HdrHistogram's percentile log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn histogram(&self, name: &str, histogram: &hdrhistogram::Histogram<u64>) -> Result<(), String> {
        self.write(&format!("{name}.hgrm"), &hgrm::text(histogram))
    }

    /// Writes `summary.json`: `summary`'s fields in the envelope. Says on standard error where the folder is.
    ///
    /// # Errors
    /// A file cannot be written; the summary is no JSON object or has a field of the envelope.
    pub fn finish(mut self, summary: &impl Serialize) -> Result<Finished, String> {
        if let Some(trials) = &mut self.trials {
            trials.flush().map_err(|error| format!("{}: {error}", self.dir.join("trials.csv").display()))?;
        }
        self.probe.now();
        let probe = self.probe.report(self.round_trip);
        check(summary)?;
        let envelope = Envelope {
            schema: SCHEMA,
            tool: self.tool,
            commit: COMMIT,
            host: self.host.id(),
            build: Build::THIS,
            started: time::rfc3339(self.started),
            wall_seconds: self.clock.elapsed().as_secs_f64(),
            config: &self.config,
            probe: &probe,
            summary,
        };
        let json =
            serde_json::to_string_pretty(&envelope).map_err(|error| format!("the report is no JSON: {error}"))?;
        self.write("summary.json", &json)?;
        // The figures are there all the same.
        if let Err(error) = crate::report::write(&self.dir) {
            eprintln!("no page: {error}");
        }
        eprintln!("the run's folder: {}", self.dir.display());
        Ok(Finished { json, probe, dir: self.dir })
    }

    /// Ends a run that has no figure: writes why to `failure.txt` and gives it back.
    pub fn fail(self, error: String) -> String {
        // The error is on its way to standard error; that it could not be kept as well changes nothing.
        let _ = self.write("failure.txt", &error);
        error
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), String> {
        let text = serde_json::to_string_pretty(value).map_err(|error| format!("{name} is no JSON: {error}"))?;
        self.write(name, &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.dir.join(name);
        std::fs::write(&path, text.trim_end().to_owned() + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// A summary is an object and names nothing that the envelope names.
fn check(summary: &impl Serialize) -> Result<(), String> {
    let value = serde_json::to_value(summary).map_err(|error| format!("the report is no JSON: {error}"))?;
    let Value::Object(fields) = value else { return Err("the report is no JSON object".to_owned()) };
    match ENVELOPE.iter().find(|name| fields.contains_key(**name)) {
        Some(name) => Err(format!("the report has a field {name}, which is the envelope's")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        ns: f64,
        kind: Option<u32>,
    }

    #[derive(Serialize)]
    struct Summary {
        zebra: u32,
        apple: f64,
    }

    fn read(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn a_run_has_its_files() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        let mut run = Run::create("hop", Some(&dir), &serde_json::json!({"links": 3})).unwrap();
        run.trial(&Row { name: "a, \"b\"", ns: 1.5, kind: None }).unwrap();
        run.trial(&Row { name: "c", ns: f64::NAN, kind: Some(2) }).unwrap();
        let mut histogram = hdrhistogram::Histogram::new(3).unwrap();
        histogram.record(1234).unwrap();
        run.histogram("lateness", &histogram).unwrap();
        let finished = run.finish(&Summary { zebra: 1, apple: 0.5 }).unwrap();

        assert_eq!(read(&dir, "trials.csv"), "name,ns,kind\n\"a, \"\"b\"\"\",1.5,\nc,NaN,2\n");
        assert!(read(&dir, "lateness.hgrm").contains("#[Max"));
        assert_eq!(read(&dir, "config.json"), "{\n  \"links\": 3\n}\n");
        let host: Value = serde_json::from_str(&read(&dir, "host.json")).unwrap();
        assert!(host["cpu"]["model"].is_string() && host["probe"]["ghz"].is_number(), "{host}");
        assert_eq!(read(&dir, "summary.json").trim_end(), finished.json);
        assert!(finished.json.find("zebra").unwrap() < finished.json.find("apple").unwrap(), "fields in their order");
        let summary: Value = serde_json::from_str(&finished.json).unwrap();
        assert_eq!((&summary["schema"], &summary["tool"]), (&SCHEMA.into(), &"hop".into()));
        assert_eq!((&summary["host"], &summary["commit"]), (&host["id"], &COMMIT.into()));
        assert_eq!((&summary["config"]["links"], &summary["zebra"]), (&3.into(), &1.into()));
        let missing: Vec<_> = ENVELOPE.iter().filter(|name| summary.get(**name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_folder_in_use_is_refused_and_so_is_a_field_of_the_envelope() {
        let place = tempfile::tempdir().unwrap();
        let run = || Run::create("hop", Some(place.path()), &());
        let error = run().unwrap().finish(&serde_json::json!({"probe": 1})).err().unwrap();
        assert!(error.contains("field probe"), "{error}");
        let error = run().err().unwrap();
        assert!(error.contains("is not empty") && error.contains(place.path().to_str().unwrap()), "{error}");
        assert!(check(&[1]).unwrap_err().contains("no JSON object"));
    }
}
