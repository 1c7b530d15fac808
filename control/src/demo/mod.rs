//! `drover demo`: a voice between two zones on this machine, and what an observer of the links sees of it.
//!
//! Four mixes, each a data plane and a control daemon, and two clients run as processes of their own; links and circuits
//! come by handshake. Link rates are counted at each link's far end before, during and after a call (`docs/demo.md`).
//!
//! ```text
//! stage.rs     from curtain to curtain
//! network.rs   where the nodes are: loopback, or networks of their own
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
pub mod network;
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
/// Two zones of two mixes and one client each start as processes and make their links by handshake; every link carries chaff
/// at a constant rate. Then one client calls the other and a voice is played as G.711 RTP, both ways. Link rates, counted at
/// the far end of each link, must be the same before, during and after the call. Results: report.json, caller.wav (what was
/// said), callee.wav (what arrived) and links.svg in the output folder.
///
/// As root each node has a network of its own, joined to the others by a bridge, and mixes use AF_XDP; a line says how to
/// capture on the bridge. Nothing of it stays, however the demo ends. Else everything is on loopback, over UDP sockets.
///
/// The exit status is 0 when the voice arrived, 1 when it did not or something failed, 2 for wrong arguments, 3 when the
/// machine lacks what --port needs.
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
    /// Use IPv6 instead of IPv4
    #[arg(long)]
    pub ipv6: bool,
    /// What mixes send and receive by
    #[arg(long, value_name = "PORT", default_value = "auto")]
    pub port: network::PortChoice,
    /// Tick of mixes and clients in µs
    #[arg(long, default_value_t = 1000)]
    pub tick_us: u64,
    /// Kill the control daemon of the caller's mix at this second of the call; it comes back 5 s later, and as long as the
    /// call lasts the same is done again 5 s after that
    #[arg(long, value_name = "S")]
    pub kill_control: Option<f64>,
}

/// Why the demo ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed and the mend, for people.
    pub text: String,
    /// What the program ends with: 1, or as the text of `--help` says.
    pub status: u8,
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure { text, status: 1 }
    }
}

/// Runs the demo.
///
/// # Errors
///
/// What failed; also when the voice did not arrive.
#[cfg(feature = "lab")]
pub fn main(args: &DemoArgs) -> Result<(), Failure> {
    stage::main(args)
}

/// Refuses: the demo needs counters that only lab builds have.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "lab"))]
pub fn main(_: &DemoArgs) -> Result<(), Failure> {
    Err(format!("demo: {}", crate::cli::NO_LAB).into())
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
