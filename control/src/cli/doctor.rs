//! `drover doctor`: is this machine fit for a mix?

use crate::doctor::{self, Asked, Files, Need, PortKind, ThisMachine};
use clap::Args;
use drover_dataplane::config::Config;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The configuration, or a flag, is wrong.
const CONFIGURATION: u8 = 2;

/// Looks at this machine and says what a mix on it lacks, and the command that mends it.
///
/// Memory, privileges, cores, clock, and an interface with its driver, queues and MTU: each is OK, MISSING, or UNKNOWN where
/// the machine does not tell. Nothing is changed. Run it where, and as the user that, the data plane will run. The status
/// is 0 when nothing is missing, 3 when something is, 2 for a configuration that cannot be read. docs/operations.md tells of
/// every check.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The data plane's configuration file, TOML; without it, one worker and every default
    #[arg(long)]
    config: Option<PathBuf>,
    /// The interface that the mix's packets go by; without it, the configuration's
    #[arg(long, value_parser = interface_name)]
    interface: Option<String>,
    /// The port; without it the configuration's, and af_xdp in place of udp where an interface is named
    #[arg(long, value_enum)]
    port: Option<PortKind>,
    /// The port may not copy packets, whatever the configuration says: an interface whose driver cannot do without is MISSING that
    #[arg(long)]
    require_zero_copy: bool,
    /// Prints a list of {id, state, found, needed, why, mend}
    #[arg(long)]
    json: bool,
}

fn interface_name(name: &str) -> Result<String, String> {
    if doctor::is_interface_name(name) {
        return Ok(name.to_owned());
    }
    Err("an interface's name has 1 to 15 letters, digits and any of . _ - @ +; `ip -brief link` lists them".to_owned())
}

/// Prints what was found.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let asked = Asked { port: args.port, interface: args.interface.clone(), zero_copy: args.require_zero_copy };
    let need = match &args.config {
        Some(path) => read(path).map(|config| Need::new(&config, asked)),
        None => Need::of_defaults(asked),
    };
    let need = match need {
        Ok(need) => need,
        Err(error) => {
            eprintln!("drover: {error}");
            return ExitCode::from(CONFIGURATION);
        }
    };
    let checks = doctor::examine(&Files::under("/"), &ThisMachine, &need);
    let text = if args.json { doctor::json(&checks) } else { doctor::text(&checks) };
    match super::print(&text) {
        Ok(()) => ExitCode::from(doctor::exit_status(&checks)),
        Err(error) => {
            eprintln!("drover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a data plane's configuration; what is wrong names the file.
pub(super) fn read(path: &Path) -> Result<Config, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{shown}: {error}; give the data plane's configuration file"))?;
    Config::parse(&text).map_err(|problems| format!("{shown}: {problems}"))
}
