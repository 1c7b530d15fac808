//! `drover doctor`: what this machine has, beside what a data plane's configuration needs.
//!
//! ```text
//! need         what is needed: out of a configuration and a port
//! files        the kernel's files, under a root that tests choose
//! memory       huge pages by node, transparent ones, locked memory, the pool beside the cache
//! privilege    capabilities
//! cores        isolation, governor
//! clock        clock source, time synchronisation
//! interface    queues, driver, XDP and zero copy, MTU
//! devices      IOMMU, VFIO
//! show         for people, and JSON
//! ```
//!
//! All of it only looks. What files do not tell is asked through [`System`].

mod clock;
mod cores;
mod devices;
mod files;
mod interface;
mod memory;
mod need;
mod privilege;
mod show;

use drover_nic::host::{Channels, ClockState, Driver, XdpFeatures};
use serde::Serialize;
use std::io;

pub use files::Files;
pub use interface::is_name as is_interface_name;
pub use need::{Asked, Need, PortKind};
pub use show::{json, lacking, text};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// What is needed is there.
    Ok,
    /// It is not.
    Missing,
    /// The machine does not tell.
    Unknown,
}

impl State {
    /// As in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Missing => "MISSING",
            State::Unknown => "UNKNOWN",
        }
    }
}

/// One check. Every text is one line. This is the schema of `--json` (docs/operations.md, "Is the machine fit?").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: stable, `huge_pages.node0`.
    pub id: String,
    /// How it ended.
    pub state: State,
    /// What there is.
    pub found: String,
    /// What there must be.
    pub needed: String,
    /// Why it is needed, or why not.
    pub why: String,
    /// The command, or the line of a file, that mends it; none where nothing is to be mended. Commands are root's.
    pub mend: Option<String>,
}

/// What has been found and is needed; [`Finding::ok`] and its kin make a check of it.
struct Finding {
    id: String,
    found: String,
    needed: String,
    why: String,
}

fn finding(
    id: impl Into<String>,
    found: impl Into<String>,
    needed: impl Into<String>,
    why: impl Into<String>,
) -> Finding {
    Finding { id: id.into(), found: found.into(), needed: needed.into(), why: why.into() }
}

impl Finding {
    fn ok(self) -> Check {
        self.check(State::Ok, None)
    }

    fn missing(self, mend: impl Into<String>) -> Check {
        self.check(State::Missing, Some(mend.into()))
    }

    fn unknown(self, mend: impl Into<String>) -> Check {
        self.check(State::Unknown, Some(mend.into()))
    }

    fn ok_or(self, good: bool, mend: impl Into<String>) -> Check {
        if good { self.ok() } else { self.missing(mend) }
    }

    fn check(self, state: State, mend: Option<String>) -> Check {
        let Finding { id, found, needed, why } = self;
        Check { id, state, found, needed, why, mend }
    }
}

/// What only system calls tell.
pub trait System {
    /// As [`drover_nic::host::driver`].
    ///
    /// # Errors
    /// What the system says.
    fn driver(&self, interface: &str) -> io::Result<Driver>;
    /// As [`drover_nic::host::channels`].
    ///
    /// # Errors
    /// What the system says.
    fn channels(&self, interface: &str) -> io::Result<Channels>;
    /// As [`drover_nic::host::xdp_features`].
    ///
    /// # Errors
    /// What the system says.
    fn xdp_features(&self, index: u32) -> io::Result<XdpFeatures>;
    /// As [`drover_nic::host::clock_state`].
    ///
    /// # Errors
    /// What the system says.
    fn clock_state(&self) -> io::Result<ClockState>;
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine;

impl System for ThisMachine {
    fn driver(&self, interface: &str) -> io::Result<Driver> {
        drover_nic::host::driver(interface)
    }

    fn channels(&self, interface: &str) -> io::Result<Channels> {
        drover_nic::host::channels(interface)
    }

    fn xdp_features(&self, index: u32) -> io::Result<XdpFeatures> {
        drover_nic::host::xdp_features(index)
    }

    fn clock_state(&self) -> io::Result<ClockState> {
        drover_nic::host::clock_state()
    }
}

/// Looks at everything.
pub fn examine(files: &Files, system: &dyn System, need: &Need) -> Vec<Check> {
    let held = privilege::effective(files);
    let mut checks = memory::checks(files, need, held);
    checks.extend(privilege::checks(held, need));
    checks.extend(cores::checks(files, need));
    checks.extend(clock::checks(files, system));
    checks.extend(interface::checks(files, system, need));
    checks.extend(devices::checks(files, need));
    checks
}

/// The exit status: 0, or 3 when something is missing.
pub fn exit_status(checks: &[Check]) -> u8 {
    if checks.iter().any(|check| check.state == State::Missing) { 3 } else { 0 }
}

#[cfg(test)]
mod tests;
