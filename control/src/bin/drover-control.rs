//! `drover-control`: a mix's control daemon; see [`drover_control::mix`].
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it could not go on, 2 for a wrong command line or configuration.
#![forbid(unsafe_code)]

use clap::Parser;
use drover_control::mix::{config::MixConfig, daemon};
use drover_control::plane::Now;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A mix's control daemon: handshakes, circuits and calls of one data plane.
///
/// Runs in the foreground until SIGTERM or SIGINT and prints one line when it has reached the data plane. It may be
/// stopped, killed and started again at any time: links, circuits and calls go on without it, and it takes them over when
/// it is back. When the data plane is gone it waits for the next one and makes all links anew. Needs no privilege.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Arguments {
    /// Check the configuration, print what would run, and exit
    #[arg(long)]
    check: bool,
    /// The configuration file (TOML)
    config: PathBuf,
}

const EXAMPLE: &str = "\
A small configuration; paths are relative to its folder (make the files with: drover zone --help):
  identity = \"a1\"
  zones = [\"a.zone\", \"b.zone\"]
  data_plane = \"run/a1.sock\"
  control_socket = \"run/a1-control.sock\"

How is it doing?
  echo '{\"do\":\"status\"}' | nc -U run/a1-control.sock";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = drover_nic::net::harden_process() {
        eprintln!("drover-control: cannot keep secrets out of core files: {error}");
        return ExitCode::from(1);
    }
    let config = match MixConfig::load(&arguments.config, Now::read().unix_s) {
        Ok(config) => config,
        Err(text) => {
            eprintln!("drover-control: {}: {text}", arguments.config.display());
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("{}", config.describe());
        return ExitCode::SUCCESS;
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("drover-control: {text}");
            ExitCode::from(1)
        }
    }
}

fn serve(config: &MixConfig) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The second signal ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }
    daemon::run(config, &stop, |line| match line.starts_with("ready") {
        true => println!("{line}"),
        false => eprintln!("drover-control: {line}"),
    })
}
