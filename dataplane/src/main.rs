//! `drover-dataplane`: runs a mix's data plane from a configuration file.
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it could not start or a thread failed, 2 for a wrong command line or
//! configuration, 3 when the machine lacks what a port needs.

#![forbid(unsafe_code)]

use clap::Parser;
use drover_dataplane::config::{Config, PortConfig};
use drover_dataplane::process::{Running, launch_mix};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often signals and the threads' health are looked at.
const WATCH: Duration = Duration::from_millis(50);
/// Bytes of the longest configuration file.
const CONFIG_MAX: u64 = 1 << 20;

/// A mix's data plane: poll-mode workers that relay cells between constant-rate links.
///
/// Runs in the foreground until SIGTERM or SIGINT. It is programmed over its control socket (Unix, SOCK_SEQPACKET),
/// and prints one line when it is ready. Needs no privilege.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Arguments {
    /// Check the configuration, print what would run and how much memory it takes, and exit
    #[arg(long)]
    check: bool,
    /// Break one property on purpose, so that tests can show that it is noticed
    #[cfg(feature = "lab")]
    #[arg(long, value_name = "NAME")]
    lab_break: Option<drover_dataplane::lab::Break>,
    /// The configuration file (TOML)
    config: PathBuf,
    /// More arguments for DPDK's environment, behind those of `port.eal`
    #[arg(last = true, value_name = "EAL")]
    eal: Vec<String>,
}

const EXAMPLE: &str = "\
The smallest configuration:
  [control]
  socket = \"run/m1.sock\"

  [[worker]]
  listen = \"127.0.0.1:4001\"";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = drover_nic::net::harden_process() {
        eprintln!("drover-dataplane: cannot keep secrets out of core files: {error}");
        return ExitCode::from(1);
    }
    let config = match read(&arguments.config) {
        Ok(config) => config,
        Err(text) => {
            eprintln!("drover-dataplane: {}: {text}", arguments.config.display());
            return ExitCode::from(2);
        }
    };
    #[cfg(feature = "lab")]
    let config = Config { lab_break: arguments.lab_break, ..config };
    let config = match with_eal(config, arguments.eal) {
        Ok(config) => config,
        Err(text) => {
            eprintln!("drover-dataplane: {text}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("{}", config.describe());
        return ExitCode::SUCCESS;
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err((text, status)) => {
            eprintln!("drover-dataplane: {text}");
            ExitCode::from(status)
        }
    }
}

fn with_eal(mut config: Config, eal: Vec<String>) -> Result<Config, String> {
    match &mut config.port {
        PortConfig::Dpdk(port) => port.eal.extend(eal),
        _ if eal.is_empty() => {}
        other => {
            let kind = other.name();
            return Err(format!(
                "-- {}: arguments for DPDK, and port.kind is \"{kind}\": leave them out",
                eal.join(" ")
            ));
        }
    }
    Ok(config)
}

fn read(path: &Path) -> Result<Config, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > CONFIG_MAX {
        return Err(format!("{size} bytes: a configuration has at most {CONFIG_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Config::parse(&text).map_err(|problems| problems.to_string())
}

/// Runs until it is told to stop; what went wrong, and the exit code for that.
fn serve(config: &Config) -> Result<(), (String, u8)> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The second signal ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| (format!("signal {signal}: {error}"), 1))?;
    }
    let running = launch_mix(config).map_err(|error| (error.to_string(), error.exit_status))?;
    // Nobody asked for a slower one.
    if config.crypto.fallen_from().is_some() {
        eprintln!("drover-dataplane: crypto: {}", config.crypto);
    }
    println!("{}", ready(&running));
    while running.alive() && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(WATCH);
    }
    let failure = running.failure();
    running.stop();
    failure.map_or(Ok(()), |text| Err((text, 1)))
}

fn ready(running: &Running) -> String {
    let listens: Vec<_> = running.listens().iter().map(ToString::to_string).collect();
    let (boot, socket) = (running.boot(), running.socket().display());
    format!("ready: boot {boot}, listening {}, control socket {socket}", listens.join(" "))
}
