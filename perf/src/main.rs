//! `drover-perf`: the benchmarker's command line.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use drover_perf::output::Error;
use drover_perf::{
    chaff, circuits, compare, cores, floor, forward, generate, hop, latency, links, ndr, pace, relay, report,
};
use std::process::ExitCode;

/// Measures a Drover node. Every figure comes with its floor, measured in the same run.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    Hop(hop::cli::Args),
    Floor(floor::cli::Args),
    Forward(forward::cli::Args),
    Generate(generate::cli::Args),
    Links(links::cli::Args),
    Chaff(chaff::cli::Args),
    Circuits(circuits::cli::Args),
    Cores(cores::cli::Args),
    Latency(latency::cli::Args),
    Ndr(ndr::cli::Args),
    Pace(pace::cli::Args),
    Relay(relay::cli::Args),
    Report(report::cli::Args),
    Compare(compare::cli::Args),
    #[cfg(feature = "dpdk")]
    #[command(hide = true)]
    OtherSide(drover_perf::bed::vhost::Args),
}

fn main() -> ExitCode {
    let (name, result) = match Cli::parse().tool {
        Tool::Hop(args) => ("hop", hop::cli::run(&args)),
        Tool::Floor(args) => ("floor", floor::cli::run(&args)),
        Tool::Forward(args) => ("forward", forward::cli::run(&args)),
        Tool::Generate(args) => ("generate", generate::cli::run(&args)),
        Tool::Links(args) => ("links", links::cli::run(&args)),
        Tool::Chaff(args) => ("chaff", chaff::cli::run(&args)),
        Tool::Compare(args) => ("compare", compare::cli::run(&args)),
        Tool::Circuits(args) => ("circuits", circuits::cli::run(&args)),
        Tool::Cores(args) => ("cores", cores::cli::run(&args)),
        Tool::Latency(args) => ("latency", latency::cli::run(&args)),
        Tool::Ndr(args) => ("ndr", ndr::cli::run(&args)),
        Tool::Pace(args) => ("pace", pace::cli::run(&args)),
        Tool::Relay(args) => ("relay", relay::cli::run(&args)),
        #[cfg(feature = "dpdk")]
        Tool::OtherSide(args) => ("other-side", drover_perf::bed::vhost::run(&args)),
        Tool::Report(args) => ("report", report::cli::run(&args).map_err(Error::Failed)),
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drover-perf {name}: {error}");
            ExitCode::from(error.code())
        }
    }
}
