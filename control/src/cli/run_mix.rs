//! `drover run-mix`: a mix's data plane and control daemon, kept alive.

use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Starts a mix's data plane and its control daemon, and starts again what dies.
///
/// Runs in the foreground until SIGTERM or SIGINT, then ends both. If this program dies, the control daemon ends with it
/// and the data plane goes on; start again with --adopt to keep it. A data plane that fails often in a row ends this
/// program with status 1; a control daemon never does.
///
/// The file: data_plane = "FILE" and control = "FILE" name the configurations of drover-dataplane and drover-control,
/// relative to its own folder. Optional: restart_s (first pause before a restart, 1 s), longest_s (pauses double up to it,
/// 60 s), failures (of the data plane in a row, 8).
#[derive(Debug, Args)]
pub struct RunMixArgs {
    /// Keep a data plane that runs already, and its links
    #[arg(long)]
    adopt: bool,
    /// The file that names both configurations, TOML
    config: PathBuf,
}

/// Runs until a signal.
pub fn run(args: &RunMixArgs) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    crate::demo::stop_on_signals(&stop)?;
    crate::supervise::run(&args.config, args.adopt, || stop.load(Ordering::Relaxed), |line| eprintln!("{line}"))
}
