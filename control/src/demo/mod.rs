//! `drover demo`: a voice between two zones on this machine, and what an observer of the links sees of it.
//!
//! Four mixes, each a data plane and a control daemon, and two clients run as processes of their own; links and circuits
//! come by handshake. Link rates are counted at each link's far end before, during and after a call (`docs/demo.md`).
//!
//! ```text
//! stage.rs     from curtain to curtain
//! cast.rs      identities, zone documents, configurations
//! host.rs      the processes
//! show.rs      what is waited for and watched meanwhile
//! phone.rs     what clients and control daemons tell
//! topology.rs  which links there are
//! sampler.rs   their rates
//! audio.rs     the voices
//! kill.rs      with and without a control daemon
//! report.rs    what came of it
//! ```

#[cfg(feature = "lab")]
pub mod audio;
#[cfg(feature = "lab")]
pub mod cast;
#[cfg(feature = "lab")]
pub mod host;
#[cfg(feature = "lab")]
mod kill;
#[cfg(feature = "lab")]
pub mod phone;
#[cfg(feature = "lab")]
pub mod report;
#[cfg(feature = "lab")]
mod sampler;
#[cfg(feature = "lab")]
mod show;
#[cfg(feature = "lab")]
mod stage;
#[cfg(feature = "lab")]
pub mod topology;

use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Length of the call's audio where no flag says otherwise, s.
pub const SECONDS: f64 = 20.0;
/// Least and greatest length of the call's audio, s.
pub const SECONDS_RANGE: std::ops::RangeInclusive<f64> = 1.0..=3_600.0;

/// Plays a voice between two zones on this machine and measures what an observer sees.
///
/// Two zones of two mixes and one client each start as processes on loopback and make their links by handshake; every link
/// carries chaff at a constant rate. Then one client calls the other and a voice is played as G.711 RTP, both ways. Link rates, counted at the far end of each link, must be
/// the same before, during and after the call. Results: report.json, caller.wav (what was said), callee.wav (what arrived)
/// and links.svg in the output folder. The exit status is not 0 when the voice did not arrive.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Length of the call in seconds; a shorter WAV file is followed by silence [default: 20, or the WAV file's length]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Cell size in bytes: 256, 512 or 1024
    #[arg(long, default_value_t = 256)]
    pub cell: u16,
    /// u, the rate of one call, in cells a second: 50 to 500
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
    /// The voice; a speech-like signal is made where none is given
    #[arg(long, value_name = "FILE")]
    pub wav: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, default_value = "target/demo")]
    pub out: PathBuf,
    /// Seed of the speech-like signals and of the clients' choice of mixes; never of a key
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print the report as JSON and no progress
    #[arg(long)]
    pub json: bool,
    /// Use ::1 instead of 127.0.0.1
    #[arg(long)]
    pub ipv6: bool,
    /// Tick of mixes and clients in µs
    #[arg(long, default_value_t = 1000)]
    pub tick_us: u64,
    /// Kill the control daemon of the caller's mix at this second of the call; it comes back 5 s later, and as long as the
    /// call lasts the same is done again 5 s after that
    #[arg(long, value_name = "S")]
    pub kill_control: Option<f64>,
}

/// Runs the demo.
///
/// # Errors
///
/// What failed and the mend, for people; also when the voice did not arrive.
#[cfg(feature = "lab")]
pub fn main(args: &DemoArgs) -> Result<(), String> {
    stage::main(args)
}

/// Refuses: the demo needs counters that only lab builds have.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "lab"))]
pub fn main(_: &DemoArgs) -> Result<(), String> {
    Err(format!("demo: {}", crate::cli::NO_LAB))
}

/// Sets `stop` on SIGINT and SIGTERM instead of ending this process, so that it can clean up.
///
/// # Errors
///
/// The system refuses to install a handler.
pub fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), String> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second time it ends the process at once, should cleaning up hang.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(stop)))
            .map_err(|error| format!("cannot take signal {signal}: {error}"))?;
    }
    Ok(())
}
