//! `drover-perf`: the benchmarker's command line.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use drover_perf::hop;
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
}

fn main() -> ExitCode {
    let Tool::Hop(args) = Cli::parse().tool;
    match hop::cli::run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("drover-perf hop: {error}");
            ExitCode::FAILURE
        }
    }
}
