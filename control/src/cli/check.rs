//! `drover check`: is this configuration sound, and what will it take?

use clap::Args;
use drover_dataplane::config::Config;
use std::path::PathBuf;

/// Checks a configuration file of drover-dataplane without starting anything.
///
/// Every fault is told at once, with what is allowed and how to mend it. A sound file is described: pacing, workers with
/// their cores, and the memory of cell pools and tables. It looks at this machine's cores and at the socket's folder, so
/// run it where the data plane will run.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file, TOML
    config: PathBuf,
}

/// Prints the description, or fails with all faults.
pub fn run(args: &CheckArgs) -> Result<(), String> {
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config)
        .map_err(|error| format!("{path}: {error}; give the data plane's configuration file"))?;
    let config = Config::parse(&text).map_err(|problems| format!("{path}: {problems}"))?;
    super::print(&format!("{path}: sound\n{}\n", config.describe()))
}
