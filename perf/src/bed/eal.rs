//! DPDK's environment, once in this process.

use drover_nic::OpenError;
use drover_nic::dpdk::{Eal, EalConfig, Memory};
use std::sync::OnceLock;

/// What was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// The environment.
    pub eal: Eal,
    /// Whether its memory is on huge pages.
    pub huge: bool,
    /// Why it is not, where it was to be.
    pub note: Option<String>,
}

/// Why there are no huge pages: known once, it holds for every start.
static WITHOUT_HUGE: OnceLock<String> = OnceLock::new();

/// Starts DPDK with `devices`: on huge pages, or where there are none or none are wanted on `mib` MiB of ordinary ones.
///
/// # Errors
/// What could not be had, why, and the mend.
pub fn start(devices: &[String], huge: bool, mib: u32) -> Result<Started, OpenError> {
    let start = |memory| {
        // A vhost socket's server takes at most 8 pieces of its client's memory; huge pages would be a piece each.
        let raw = match memory {
            Memory::Huge => vec!["--single-file-segments".to_owned()],
            Memory::Plain { .. } => Vec::new(),
        };
        Eal::start(&EalConfig { memory, devices: devices.to_vec(), raw, ..EalConfig::default() })
    };
    if huge && WITHOUT_HUGE.get().is_none() {
        match start(Memory::Huge) {
            Ok(eal) => return Ok(Started { eal, huge, note: None }),
            Err(error) if error.what == "DPDK's memory" => _ = WITHOUT_HUGE.set(error.why),
            Err(error) => return Err(error),
        }
    }
    let note = WITHOUT_HUGE.get().map(|why| format!("on ordinary pages: {why}"));
    Ok(Started { eal: start(Memory::Plain { mib })?, huge: false, note })
}
