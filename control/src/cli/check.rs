//! `drover check`: is this configuration sound, what will it take, and has this machine got it?

use crate::doctor::{self, Asked, Files, Need, ThisMachine};
use clap::Args;
use std::path::PathBuf;

/// Checks a configuration file of drover-dataplane without starting anything.
///
/// Every fault is told at once, with what is allowed and how to mend it. A sound file is described: pacing, workers with
/// their cores, and the memory of cell pools and tables; and what this machine lacks for it, as `drover doctor --config` says
/// in full. It looks at this machine's cores and at the socket's folder, so run it where the data plane will run.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file, TOML
    config: PathBuf,
}

/// Prints the description, or fails with all faults. What the machine lacks is no fault of the file's.
pub fn run(args: &CheckArgs) -> Result<(), String> {
    let config = super::doctor::read(&args.config)?;
    let path = args.config.display();
    let checks = doctor::examine(&Files::under("/"), &ThisMachine, &Need::new(&config, Asked::default()));
    let machine = doctor::lacking(&checks);
    super::print(&format!("{path}: sound\n{}\nmachine       {machine}", config.describe()))
}
