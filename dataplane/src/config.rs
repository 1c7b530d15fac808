//! The configuration file: TOML, read into values, checked as a whole.
//!
//! Every problem is found and told at once, each with the key, its value, what is allowed and the mend. Unknown keys
//! are problems. The table of keys is in `docs/operations.md` and in [`KEYS`].

mod check;
mod cores;
mod crypto;
mod port;

use crate::class::Rate;
use crate::limits::{BEST_EFFORT_PER_LINK, CIRCUITS_MAX, LINKS_MAX, POOL_MAX, RAW_WAITING_MAX};
use crate::mixing::Mixing;
use crate::punt::no_rings;
use crate::state::{Sizes, State};
use crate::worker::Pace;
use drover_crypto::Suite;
use drover_crypto::backend::WithSuite;
use drover_wire::cell::CellSize;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub use cores::{Cpus, Pacing, parse as parse_cpus, show as show_cpus};
pub use crypto::Crypto;
pub use drover_wire::control::WORKERS_MAX;
pub use port::{CaptureConfig, DpdkPort, PAYLOAD, PortConfig};

/// Length of a tick, µs.
pub const TICK_US: RangeInclusive<u64> = 100..=10_000;
/// Length of the mixing interval, ms.
pub const INTERVAL_MS: RangeInclusive<u64> = 1..=1_000;
/// Distinct circuits of threshold mixing: two at least hide each other, and the threshold can be reached with as many
/// cells mixed and not yet sent.
pub const THRESHOLD: RangeInclusive<u64> = 2..=(BEST_EFFORT_PER_LINK / 2) as u64;
/// The longest wait for them, ms.
pub const CAP_MS: RangeInclusive<u64> = 1..=10_000;
/// Links of a worker.
pub const LINKS: RangeInclusive<u64> = 1..=LINKS_MAX as u64;
/// Circuits of a worker.
pub const CIRCUITS: RangeInclusive<u64> = 1..=CIRCUITS_MAX as u64;
/// Cells of a worker's pool.
pub const CELLS: RangeInclusive<u64> = 256..=POOL_MAX as u64;
/// Records of a worker that are sealed ahead.
pub const TRANSMIT: RangeInclusive<u64> = 64..=drover_nic::udp::MAX_TX_RING as u64;
/// Users that may be allowed beside our own and root.
pub const ALLOW_UIDS_MAX: usize = 64;
/// Cells of the pool beyond one for each circuit: what a turn's bursts may hold for a moment.
pub const CELLS_SPARE: usize = 256;
/// Bytes of the longest socket path (`unix(7)`: `sun_path`, less the zero at its end).
pub const SOCKET_PATH_MAX: usize = 107;

/// What decides when a worker's turns come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Sleep to a fixed grid.
    Tick,
    /// Never sleep: for a worker with a core of its own.
    Spin,
    /// `Spin` for each worker that has a core to itself, `Tick` for the others.
    Auto,
}

impl Policy {
    /// The name in the file and in status.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Tick => "tick",
            Policy::Spin => "spin",
            Policy::Auto => "auto",
        }
    }
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Its UDP socket; port 0 is any.
    pub listen: SocketAddr,
    /// The core that it is pinned to.
    pub core: Option<u16>,
    /// The interface's queue that is its own; 0, and without a meaning, over UDP sockets.
    pub queue: u16,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The zone's cell size.
    pub cell: CellSize,
    /// The control socket's path.
    pub socket: PathBuf,
    /// Users that may connect beside our own and root.
    pub allow_uids: Vec<u32>,
    /// What paces the workers.
    pub policy: Policy,
    /// Length of a tick, µs.
    pub tick_us: u64,
    /// How the cells of circuits that own no slot are mixed.
    pub mixing: Mixing,
    /// Sizes of each worker's tables.
    pub sizes: Sizes,
    /// The crypto back end.
    pub crypto: Crypto,
    /// What the workers send and receive by.
    pub port: PortConfig,
    /// What passes is captured; nothing is, unless it is asked for.
    pub capture: Option<CaptureConfig>,
    /// The workers.
    pub workers: Vec<WorkerConfig>,
    /// How each of them is paced, with `auto` decided.
    pub pacings: Vec<Pacing>,
    /// The wire is bad on purpose.
    #[cfg(feature = "lab")]
    pub fault: Option<drover_nic::fault::FaultConfig>,
    /// A property to break, from the command line only.
    #[cfg(feature = "lab")]
    pub lab_break: Option<crate::lab::Break>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as `section.key`; workers count from 0.
    pub key: String,
    /// What was found there.
    pub value: String,
    /// What may be there.
    pub allowed: String,
    /// What to do.
    pub mend: String,
}

/// All that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} problem{} in the configuration:", if count == 1 { "" } else { "s" })?;
        for Problem { key, value, allowed, mend } in &self.0 {
            write!(f, "\n  {key} = {value}\n    allowed: {allowed}\n    mend:    {mend}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Reads and checks a configuration. Looks at this machine's cores and at the socket's directory.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn parse(text: &str) -> Result<Config, Problems> {
        check::parse(text)
    }

    /// What a worker's pacing means.
    pub fn pace(&self, pacing: &Pacing) -> Pace {
        match pacing.policy {
            Policy::Spin => Pace::SPIN,
            _ => Pace::tick(self.tick_us * 1_000),
        }
    }

    /// How far ahead of its slot a record is sealed at most, by any worker, ns.
    pub fn horizon_ns(&self) -> u64 {
        self.pacings.iter().map(|pacing| self.pace(pacing).horizon).max().unwrap_or(0)
    }

    /// How long a record waits at most between its sealing and its departure, ns.
    pub fn window_ns(&self) -> u64 {
        self.horizon_ns() + self.tick_us * 1_000
    }

    /// The memory of a worker, made and measured: the pool's bytes and the tables'.
    pub fn worker_bytes(&self) -> (usize, usize) {
        self.crypto.backend.dispatch(WorkerBytes(self))
    }

    /// What will run and how much memory it takes, for people.
    pub fn describe(&self) -> String {
        use fmt::Write;
        let Sizes { links, circuits, pool, transmit } = self.sizes;
        let (pool_bytes, table_bytes) = self.worker_bytes();
        let workers = self.workers.len();
        // Each frame has its address and length beside it, in a cache line.
        let frames = (transmit + RAW_WAITING_MAX) * (drover_nic::FRAME + 64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "cell          {} bytes; records of {} bytes", self.cell, self.cell.record_len());
        let _ = writeln!(text, "control       {}", self.socket.display());
        let _ = writeln!(text, "crypto        {}", self.crypto);
        let _ = writeln!(text, "port          {}", self.port.name());
        if let Some(capture) = &self.capture {
            let _ = writeln!(text, "capture       {}: {}", capture.file.display(), drover_nic::capture::WARNING);
        }
        let _ = writeln!(text, "pacing        {}, ticks of {} us", self.policy.name(), self.tick_us);
        let _ = writeln!(text, "mixing        {}, for circuits that own no slot", self.mixing);
        for (at, (WorkerConfig { listen, core, .. }, pacing)) in self.workers.iter().zip(&self.pacings).enumerate() {
            let core = core.map_or_else(|| "not pinned".to_owned(), |core| format!("core {core}"));
            let _ = writeln!(text, "worker {at:<6} {listen}, {core}, {}: {}", pacing.policy.name(), pacing.reason);
        }
        let _ = writeln!(text, "per worker    {links} links, {circuits} circuits");
        let _ = writeln!(text, "  pool        {pool_bytes} bytes: {pool} cells");
        let _ = writeln!(text, "  tables      {table_bytes} bytes");
        let _ = writeln!(text, "  transmit    {frames} bytes: {transmit} records");
        let all = workers * (pool_bytes + table_bytes + frames);
        let _ = write!(text, "in all        {all} bytes for {workers} worker{}", if workers == 1 { "" } else { "s" });
        text
    }
}

/// [`Config::worker_bytes`], with the back end: keys are as large as it makes them.
struct WorkerBytes<'c>(&'c Config);

impl WithSuite for WorkerBytes<'_> {
    type Out = (usize, usize);
    fn with<C: Suite>(self) -> (usize, usize) {
        match self.0.cell {
            CellSize::S256 => State::<C, 256>::new(0, self.0.sizes, self.0.mixing, no_rings()).bytes(),
            CellSize::S512 => State::<C, 512>::new(0, self.0.sizes, self.0.mixing, no_rings()).bytes(),
            CellSize::S1024 => State::<C, 1024>::new(0, self.0.sizes, self.0.mixing, no_rings()).bytes(),
        }
    }
}

/// The records that wait sealed on a worker, at most but for a rare chance, when `links` links of each rate owe
/// records: independent phases fluctuate by about the square root of the mean.
pub fn transmit_needed(window_ns: u64, links: impl Iterator<Item = (u64, Rate)>) -> u64 {
    let (mut mean, mut most) = (0u128, 0u64);
    for (count, rate) in links {
        let period = rate.period_ns().max(1);
        mean += u128::from(count) * u128::from(window_ns) / u128::from(period);
        most = most.saturating_add(count.saturating_mul((window_ns / period).saturating_add(1)));
    }
    let mean = u64::try_from(mean).unwrap_or(u64::MAX / 2);
    most.min(mean.saturating_add(8 * mean.isqrt() + 64))
}

#[cfg(test)]
mod tests;
