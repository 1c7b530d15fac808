//! `drover lab`: networks whose keys come from a file. The arguments are here in every build, the work in lab builds only.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Lab networks: keys from a file instead of handshakes, for tests and demonstrations only.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Makes a network file with fresh secrets
    Keys(KeysArgs),
    /// Programs the nodes of a network file: classes, links, circuits, calls
    Program(ProgramArgs),
    /// Plays the idle links of a network file
    Crowd(CrowdArgs),
    /// Plays calls for minutes while keys change and strangers come by; memory must stay flat
    Soak(SoakArgs),
}

/// Makes a lab network file: a chain of mixes m1=m2=m3=..., callers and callees at it, and idle links.
///
/// Secrets come from the operating system's random generator, never from a seed. The file has mode 0600: who can read it can
/// open all that is ever sent with it. An existing file is not overwritten. Control sockets are expected at run/NAME.sock
/// beside the file; ports are chosen by the nodes. Edit the file as you like; `drover lab program` checks it.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// Mixes in the chain, 4 to 64
    #[arg(long, default_value_t = 4)]
    pub mixes: usize,
    /// Calls, each with two clients of its own
    #[arg(long, default_value_t = 1)]
    pub calls: usize,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, default_value_t = 256)]
    pub cell: u16,
    /// u, the rate of one call, in cells a second
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
    /// Idle links, dealt out over the mixes, 10 cells a second each
    #[arg(long, default_value_t = 0)]
    pub idle: u32,
    /// Workers of each mix
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Use ::1 instead of 127.0.0.1
    #[arg(long)]
    pub ipv6: bool,
    /// The file to write
    #[arg(long)]
    pub out: PathBuf,
}

/// Programs every node that a lab network file names. Run it as often as you like: what is there stays.
///
/// After a node has restarted, run it again: it puts what is missing and, at the node's neighbours, replaces the links whose
/// keys died with it. With a higher generation all links get new keys beside the old ones; with --switch they then send
/// with them, without losing a record.
#[derive(Debug, Args)]
pub struct ProgramArgs {
    /// The network file
    pub file: PathBuf,
    /// Generation of the links' keys; give a higher one to change them all
    #[arg(long, default_value_t = 1)]
    pub generation: u32,
    /// Send with this generation once every node has it
    #[arg(long)]
    pub switch: bool,
}

/// Plays the crowds of a lab network file: idle links that carry chaff both ways, each from a socket of its own.
///
/// Prints what rates the links saw. The links are removed at the end.
#[derive(Debug, Args)]
pub struct CrowdArgs {
    /// The network file
    pub file: PathBuf,
    /// How long, in seconds
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs four mixes, calls and idle links on this machine, and looks for what grows.
///
/// Voices play both ways of every call. Calls go down and come up under new keys, links get new keys, hostile datagrams
/// reach every mix and status clients come and go. After a warm-up the memory of every process must stay flat, its
/// descriptors and threads the same, links at their rates, voices intact. The exit status is not 0 otherwise.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Length in minutes, the warm-up included (a fifth, a minute at most)
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// Calls, each with two clients of its own
    #[arg(long, default_value_t = 2)]
    pub calls: usize,
    /// Idle links, dealt out over the mixes, 10 cells a second each
    #[arg(long, default_value_t = 200)]
    pub idle: u32,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, default_value_t = 256)]
    pub cell: u16,
    /// Growth of a process after the warm-up that counts as none, KiB
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub allow_growth_kib: u64,
    /// Print the report as JSON and no progress
    #[arg(long)]
    pub json: bool,
}

/// Without the feature there is nothing to run.
#[cfg(not(feature = "lab"))]
pub fn run(command: &LabCommand) -> Result<(), String> {
    let name = match command {
        LabCommand::Keys(_) => "keys",
        LabCommand::Program(_) => "program",
        LabCommand::Crowd(_) => "crowd",
        LabCommand::Soak(_) => "soak",
    };
    Err(format!("lab {name}: {}", super::NO_LAB))
}

#[cfg(feature = "lab")]
pub use with_lab::run;

#[cfg(feature = "lab")]
mod with_lab {
    use super::{CrowdArgs, KeysArgs, LabCommand, ProgramArgs, SoakArgs};
    use crate::cli::print;
    use crate::lab::program::Programmer;
    use crate::lab::{crowd, make, network, soak};
    use crate::report::text::{Align, Table, count, number};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    /// Runs one of them.
    pub fn run(command: &LabCommand) -> Result<(), String> {
        match command {
            LabCommand::Keys(args) => keys(args),
            LabCommand::Program(args) => program(args),
            LabCommand::Crowd(args) => play(args),
            LabCommand::Soak(args) => run_soak(args),
        }
    }

    fn run_soak(args: &SoakArgs) -> Result<(), String> {
        let SoakArgs { minutes, calls, idle, cell, allow_growth_kib, json } = *args;
        let stop = Arc::new(AtomicBool::new(false));
        crate::demo::stop_on_signals(&stop)?;
        let plan = soak::SoakPlan { minutes, calls, idle, cell, allow_growth_kib, silent: json };
        let report = soak::run(&plan, &stop)?;
        let text = if json {
            format!("{}\n", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?)
        } else {
            format!("\n{}", report.text())
        };
        print(&text)?;
        report.failure().map_or(Ok(()), Err)
    }

    fn keys(args: &KeysArgs) -> Result<(), String> {
        let KeysArgs { mixes, calls, cell, rate, idle, workers, ipv6, ref out } = *args;
        let network = make::network(&make::Plan { mixes, calls, cell, rate, idle, workers, ipv6 })?;
        network::write(out, &network).map_err(|error| error.to_string())?;
        let (nodes, links) = (network.nodes.len(), network.links.len());
        print(&format!(
            "{}: {nodes} nodes, {links} links, {calls} calls, {idle} idle links; start the nodes, then: drover lab program\n",
            out.display()
        ))
    }

    fn program(args: &ProgramArgs) -> Result<(), String> {
        let network = network::read(&args.file).map_err(|error| error.to_string())?;
        let mut programmer = Programmer::connect(&network, args.generation).map_err(|error| error.to_string())?;
        let summary = programmer.all(args.switch).map_err(|error| error.to_string())?;
        print(&format!("{}: {summary}\n", args.file.display()))
    }

    fn play(args: &CrowdArgs) -> Result<(), String> {
        let network = network::read(&args.file).map_err(|error| error.to_string())?;
        if network.crowds.is_empty() {
            let file = args.file.display();
            return Err(format!("{file}: has no [[crowd]]; make a file with: drover lab keys --idle N"));
        }
        if !(0.1..=86_400.0).contains(&args.seconds) {
            return Err(format!("--seconds {}: 0.1 to 86400", args.seconds));
        }
        let stop = Arc::new(AtomicBool::new(false));
        crate::demo::stop_on_signals(&stop)?;
        let time = Duration::from_secs_f64(args.seconds);
        let results: Vec<_> = std::thread::scope(|scope| {
            let (network, stop) = (&network, &*stop);
            let play = |index| scope.spawn(move || crowd::play(network, index, time, stop));
            let threads: Vec<_> = (0..network.crowds.len()).map(play).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut reports = Vec::new();
        for result in results {
            let result = result.map_err(|_| "a crowd's thread panicked; this is a fault of drover".to_owned())?;
            reports.push(result.map_err(|error| error.to_string())?);
        }
        if args.json {
            let json = serde_json::to_string_pretty(&reports).map_err(|error| error.to_string())?;
            return print(&format!("{json}\n"));
        }
        let heads = ["crowd", "mix", "links", "rate/s", "sent/s", "received/s", "least", "most", "missed", "broken"];
        let columns: Vec<_> =
            heads.iter().enumerate().map(|(at, h)| (*h, if at < 2 { Align::Left } else { Align::Right })).collect();
        let mut table = Table::new(&columns);
        for r in &reports {
            table.row([
                r.name.clone(),
                r.mix.clone(),
                r.links.to_string(),
                number(r.rate, 1),
                number(r.sent_rate, 2),
                number(r.received_rate, 2),
                number(r.received_rate_least, 2),
                number(r.received_rate_most, 2),
                count(r.missed),
                count(r.broken),
            ]);
        }
        print(&table.to_string())
    }
}
