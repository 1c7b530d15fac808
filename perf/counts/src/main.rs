//! `drover-counts`: instructions of each stage of a worker, against the stored baseline.
//!
//! Exit codes: 0 as recorded or fewer, 1 more, or nothing could be counted, 2 for a wrong command line.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use drover_counts::baseline::{Baseline, RUSTC};
use drover_counts::callgrind::{self, Counted, Failure};
use drover_counts::world::{self, Burden, Stage};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Rounds of the world that are counted, each way.
const ROUNDS: u64 = 4;

/// Counts the instructions of each stage of a worker with callgrind, kernels of the crypto left out.
///
/// The counts do not depend on what else the machine does. Build it in release: the baseline is of a release build.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts, and compares with the baseline: fails when a stage takes more
    Check {
        /// The baseline
        #[arg(long, default_value = "perf/counts/baseline.json")]
        baseline: PathBuf,
    },
    /// Counts, and writes the baseline anew
    Record {
        /// The baseline
        #[arg(long, default_value = "perf/counts/baseline.json")]
        baseline: PathBuf,
    },
    /// What runs under valgrind: turns the world and prints how much of each stage's unit went by, as JSON
    Run {
        /// Rounds, each way
        #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u64).range(1..=1000))]
        rounds: u64,
        /// Makes a stage slower, so that it can be shown that this is seen
        #[arg(long)]
        burden: Option<Stage>,
        /// By how many rounds of a loop in each turn
        #[arg(long, default_value_t = 1000)]
        loops: u32,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { baseline } => check(&baseline),
        Command::Record { baseline } => record(&baseline),
        Command::Run { rounds, burden, loops } => run(rounds, Burden { stage: burden, loops }),
    };
    match done {
        Ok(code) => code,
        Err(text) => {
            eprintln!("drover-counts: {text}");
            ExitCode::from(1)
        }
    }
}

fn run(rounds: u64, burden: Burden) -> Result<ExitCode, String> {
    let units = world::run(rounds, burden)?;
    println!("{}", serde_json::to_string(&units).map_err(|error| error.to_string())?);
    Ok(ExitCode::SUCCESS)
}

/// `None` where there is no valgrind, which is told.
fn count() -> Result<Option<Counted>, String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
    if cfg!(debug_assertions) {
        return Err("this is no release build: cargo run --release -p drover-counts".to_owned());
    }
    match callgrind::count(&program, ROUNDS, Burden::default()) {
        Ok(counted) => Ok(Some(counted)),
        Err(Failure::Lacking(why)) => {
            drover_nic::skip::skipped(format!("instruction counts of the stages: {why}"));
            Ok(None)
        }
        Err(Failure::Wrong(why)) => Err(why),
    }
}

fn check(path: &Path) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{}: {error}; record one: drover-counts record", path.display()))?;
    let baseline: Baseline = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}; record it anew: drover-counts record", path.display()))?;
    if baseline.arch != std::env::consts::ARCH {
        let arch = std::env::consts::ARCH;
        drover_nic::skip::skipped(format!(
            "instruction counts of the stages: recorded on {}, this is {arch}",
            baseline.arch
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(counted) = count()? else { return Ok(ExitCode::SUCCESS) };
    let comparison = baseline.compare(&counted, RUSTC);
    print!("{}", comparison.to_text());
    Ok(if comparison.passes() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn record(path: &Path) -> Result<ExitCode, String> {
    let counted = count()?.ok_or("nothing was counted")?;
    let baseline = Baseline::of(&counted);
    let text = serde_json::to_string_pretty(&baseline).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    print!("{}", baseline.compare(&counted, RUSTC).to_text());
    println!("recorded in {}", path.display());
    Ok(ExitCode::SUCCESS)
}
