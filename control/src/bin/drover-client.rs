//! `drover-client`: a user's end. Runs the embedded data plane and plain RTP beside it, from a configuration file; with
//! an identity it makes calls. Its subcommands speak to a running one.
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it could not start or a thread failed, 2 for a wrong command line or
//! configuration. Of subcommands: 0, 1 when the running client refuses or is not there, 3 for a call that never was up.
#![forbid(unsafe_code)]

use clap::Parser;
use drover_control::client::config::ClientConfig;
use drover_control::client::console::{self, Command};
use drover_control::client::run::{Client, Options};
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

/// A user's end of calls: a constant-rate link to a mix on one side, plain RTP on the other.
///
/// `drover-client CONFIG` runs in the foreground until SIGTERM or SIGINT, prints one line when it is ready, and its counts
/// when it ends. With an identity in its configuration it makes its link, is to be reached at a rendezvous mix, and makes
/// and takes calls: tell it so with the commands below, from another terminal. Without one, links and calls are programmed
/// over its control socket (Unix, SOCK_SEQPACKET). Needs no privilege.
#[derive(Parser)]
#[command(name = "drover-client", version, after_help = EXAMPLE, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true, subcommand_value_name = "COMMAND")]
struct Arguments {
    /// Check the configuration, print what would run, and exit
    #[arg(long)]
    check: bool,
    /// Take RTP from any address, not from this host only: whoever reaches the port can then speak in the call
    #[arg(long)]
    rtp_allow_any: bool,
    /// Carry any datagram that fits a cell, not RTP version 2 only
    #[arg(long)]
    raw: bool,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// The configuration file (TOML)
    #[arg(required = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLE: &str = "\
A small configuration (identity and documents are made with: drover zone --help):
  control_socket = \"run/alice-data.sock\"
  identity = \"alice\"
  zones = [\"north.zone\", \"south.zone\"]
  state = \"alice-state\"
  socket = \"run/alice.sock\"

  [[end]]
  end = 1
  rtp_listen = \"127.0.0.1:5004\"
  rtp_send_to = \"127.0.0.1:6004\"

Run it, wait until it can be called, and call:
  drover-client alice.toml &
  drover-client register --config alice.toml
  drover-client call bob/certificate.pem --config alice.toml

Speak with 20 ms packets, which fit every cell, one a cell (without asetnsamples, ffmpeg sends odd sizes and more of them):
  ffmpeg -re -i voice.wav -ac 1 -af aresample=8000,asetnsamples=160 -c:a pcm_mulaw \\
    -f rtp -pkt_size 172 rtp://127.0.0.1:5004";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = drover_nic::net::harden_process() {
        eprintln!("drover-client: cannot keep secrets out of core files: {error}");
        return ExitCode::from(1);
    }
    let done = match (&arguments.command, &arguments.config) {
        (Some(command), _) => stop_flag().and_then(|stop| console::run(command, arguments.json, &stop)),
        (None, Some(path)) => match read(path) {
            Ok(config) if arguments.check => {
                println!("{}", config.describe());
                Ok(0)
            }
            Ok(config) => serve(&config, &arguments).map(|()| 0),
            Err(text) => {
                eprintln!("drover-client: {}: {text}", path.display());
                Ok(2)
            }
        },
        // The parser wants one of them.
        (None, None) => Ok(2),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            eprintln!("drover-client: {text}");
            ExitCode::from(1)
        }
    }
}

fn read(path: &Path) -> Result<ClientConfig, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > CONFIG_MAX {
        return Err(format!("{size} bytes: a configuration has at most {CONFIG_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    ClientConfig::parse(&text).map_err(|problems| problems.to_string())
}

/// Becomes true with SIGTERM or SIGINT.
fn stop_flag() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The second signal ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("signal {signal}: {error}"))?;
    }
    Ok(stop)
}

fn serve(config: &ClientConfig, arguments: &Arguments) -> Result<(), String> {
    let stop = stop_flag()?;
    let options = Options { allow_any: arguments.rtp_allow_any, raw: arguments.raw };
    let client = Client::start(config, options, |text| eprintln!("drover-client: {text}"))?;
    // Nobody asked for a slower one.
    if config.data_plane.crypto.fallen_from().is_some() {
        eprintln!("drover-client: crypto: {}", config.data_plane.crypto);
    }
    println!("{}", if arguments.json { client.ready_json().to_string() } else { client.ready() });
    while client.alive() && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(WATCH);
    }
    let failure = client.failure();
    let counters = client.stop();
    match arguments.json {
        true => println!("{}", counters.to_json()),
        false => print!("{}", counters.to_text()),
    }
    failure.map_or(Ok(()), Err)
}
