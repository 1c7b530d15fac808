//! The operator's command line. Each subcommand is a module; this one parses, prints errors and sets the exit status.

mod check;
mod doctor;
mod lab;
mod run_mix;
mod status;
mod zone;

use crate::demo::Failure;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What is printed where a subcommand needs the feature `lab` and this build lacks it.
pub const NO_LAB: &str = "this drover was built without the feature `lab`, as release binaries are (docs/architecture.md, \
I10).\nBuild one with it: cargo build --workspace --bins --features lab; or just: make demo";

/// Drover: a data plane for constant-rate mix networks.
///
/// Every link sends at a constant rate, a cell when there is one, chaff when there is none. This program asks running data
/// planes how they are, checks their configuration, and shows a whole network on one machine.
#[derive(Debug, Parser)]
#[command(name = "drover", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows rates, missed slots and drops of a running data plane or client
    Status(status::StatusArgs),
    /// Checks a data plane's configuration file and says how much memory it takes
    Check(check::CheckArgs),
    /// Looks at this machine and says what a mix on it lacks, with the commands that mend it
    Doctor(doctor::DoctorArgs),
    /// Runs a mix: its data plane and control daemon, started again when they die
    RunMix(run_mix::RunMixArgs),
    /// Makes and checks zones: identities, certificates and the signed document
    ///
    /// A zone is run by one operator. Its identity issues certificates to mixes and clients and signs the zone's document,
    /// which says who the mixes are, where they listen, how fast every link sends, and with which other zones there are
    /// links. The zone's identity is needed for these commands only: keep it offline. See docs/operations.md.
    #[command(subcommand)]
    Zone(zone::ZoneCommand),
    /// Plays a voice between two zones on this machine and measures what an observer sees
    Demo(crate::demo::DemoArgs),
    /// Makes and programs lab networks, whose keys come from a file (lab builds)
    #[command(subcommand)]
    Lab(lab::LabCommand),
}

/// Runs the program of this process's arguments. Errors go to standard error as what, where and mend; the status is 0 for
/// success, 1 for failure, 2 for a command line that does not parse, in `drover zone` for any input that is wrong, and in
/// `drover doctor` for a configuration that is; 3 when `drover doctor` finds something missing, and when the machine lacks
/// what `drover demo --port` needs.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Status(args) => status::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => return doctor::run(&args),
        Command::RunMix(args) => run_mix::run(&args),
        Command::Zone(command) => match zone::run(&command) {
            Err(zone::Failure::Input(error)) => {
                eprintln!("drover: {error}");
                return ExitCode::from(2);
            }
            Err(zone::Failure::System(error)) => Err(error),
            Ok(()) => Ok(()),
        },
        Command::Demo(args) => match crate::demo::main(&args) {
            Err(Failure { text, status }) if status != 1 => {
                eprintln!("drover: {text}");
                return ExitCode::from(status);
            }
            other => other.map_err(|failure| failure.text),
        },
        Command::Lab(command) => lab::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output. A reader that went away (`drover status | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), String> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for word in ["status", "check", "doctor", "demo", "lab", "constant rate"] {
            assert!(help.contains(word), "{help}");
        }
    }

    #[test]
    fn arguments_parse() {
        for line in [
            "drover status --json /run/m1.sock",
            "drover status --socket /run/m1.sock",
            "drover check m1.toml",
            "drover doctor",
            "drover doctor --config m1.toml --interface eth0 --port af_xdp --require-zero-copy --json",
            "drover run-mix m1.toml",
            "drover run-mix --adopt m1.toml",
            "drover demo --seconds 2 --cell 512 --rate 60 --seed 7 --json --ipv6 --tick-us 500",
            "drover zone new north --out north",
            "drover zone document --zone north --mix m1 --mix m2.pem@[::1]:4001 --peer south --out north.zone",
            "drover zone check north.zone --authority north --json",
            "drover demo --kill-control 5 --port udp",
            "drover demo --port af_xdp",
            "drover demo --port dpdk --seconds 10 --json",
            "drover lab keys --mixes 4 --calls 1 --idle 5 --out net.toml",
            "drover lab program net.toml --generation 2 --switch",
            "drover lab crowd net.toml --seconds 3",
            "drover lab soak --minutes 0.3 --calls 1 --idle 20 --cell 512 --json --allow-growth-kib 64",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        let wrong = ["drover doctor --interface ../eth0", "drover doctor --port tap", "drover doctor m1.toml"];
        for line in ["drover", "drover status", "drover demo --seconds x", "drover lab keys"].into_iter().chain(wrong) {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
