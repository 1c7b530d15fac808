//! `drover-perf compare`.

use super::{Difference, Report, Summary, differences};
use crate::output::Error;
use std::path::PathBuf;

/// Two runs of one tool beside each other: every figure with its spread, and the ratio.
///
/// Runs that differ in host, commit, build, tool, back end or configuration are refused, unless the flag that names the
/// difference is given: a figure of one of them says nothing about the other.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// A run's folder, its summary.json, or what the tool printed with --json
    pub a: PathBuf,
    /// Another
    pub b: PathBuf,
    /// Compare runs of different commits: what a change has done
    #[arg(long)]
    pub across_commits: bool,
    /// Compare runs of different hosts
    #[arg(long)]
    pub across_hosts: bool,
    /// Compare runs of builds that differ in profile, feature lab, target or compiler
    #[arg(long)]
    pub across_builds: bool,
    /// Compare runs of different back ends
    #[arg(long)]
    pub across_backends: bool,
    /// Compare runs of different configurations
    #[arg(long)]
    pub across_configs: bool,
    /// Compare runs of different tools
    #[arg(long)]
    pub across_tools: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl Args {
    fn allows(&self, difference: &Difference) -> bool {
        match difference.what {
            "commit" => self.across_commits,
            "host" => self.across_hosts,
            "build" => self.across_builds,
            "backend" => self.across_backends,
            "config" => self.across_configs,
            "tool" => self.across_tools,
            _ => false,
        }
    }
}

/// Reads both and returns the comparison as text or JSON.
///
/// # Errors
/// A file that is no summary; a difference that no flag allows.
pub fn run(args: &Args) -> Result<String, Error> {
    let [a, b] = [&args.a, &args.b].map(|path| Summary::read(path).map_err(Error::Usage));
    let (a, b) = (a?, b?);
    let differences = differences(&a, &b);
    let refused: Vec<&Difference> = differences.iter().filter(|difference| !args.allows(difference)).collect();
    if !refused.is_empty() {
        let one = |d: &&Difference| format!("{} ({} and {}): {}", d.what, d.a, d.b, d.flag);
        let all = refused.iter().map(one).collect::<Vec<_>>().join("\n  ");
        return Err(Error::Usage(format!(
            "these runs are not comparable as they are. They differ in the following; the flag behind each compares them \
             all the same:\n  {all}"
        )));
    }
    let report = Report::new(&a, &b, differences);
    match args.json {
        true => Ok(serde_json::to_string_pretty(&report).map_err(|error| format!("the report is no JSON: {error}"))?),
        false => Ok(report.to_string()),
    }
}
