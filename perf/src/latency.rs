//! How long a cell is on its way through one mix and through a chain of them, in real time.
//!
//! A mix delays a cell by up to a round by design, since the cell waits for the slot that its circuit owns. So three times
//! are told: the whole way, from the far end's delivery to the last departure; the lateness of that departure against its
//! slot, which is all that the mix adds against its design; and the time until the first mix took the cell from its port.
//!
//! Over a real port the whole way ends where the peer behind the last mix has the cell, the kernel's part included.

mod chain;
pub mod cli;
mod report;
mod trial;

pub use chain::{Chain, Layout};
pub use report::{Report, Row};
pub use trial::{Found, Setting, trial};

use crate::bed::Wire;
use crate::probe::Probe;
use drover_crypto::Suite;

/// Parts of the rate at which latency is measured, percent (RFC 2544, 26.2 and FD.io CSIT: low, middle, high load).
pub const PERCENTS: [u32; 3] = [10, 50, 90];

/// One measurement: so many mixes at a part of the rate.
pub struct Measured {
    /// Mixes in a row.
    pub mixes: usize,
    /// Percent of the rate.
    pub percent: u32,
    /// Cells a second that each mix was offered.
    pub load: f64,
    /// What was found.
    pub found: Found,
}

/// Measures one mix and a chain of `mixes`, made by `chain_of`, at every part of `rate`, cells a second of one thread of
/// workers.
///
/// # Errors
/// Those of `chain_of`; a core that cannot be had; a cell that came out wrong.
pub fn measure<C: Suite, const S: usize, W: Wire>(
    mixes: usize,
    rate: f64,
    setting: &Setting,
    probe: &mut Probe,
    mut chain_of: impl FnMut(usize) -> Result<Chain<C, S, W>, String>,
) -> Result<Vec<Measured>, String> {
    let mut measured = Vec::new();
    let mut chains = vec![1];
    chains.extend((mixes > 1).then_some(mixes));
    for mixes in chains {
        // Mixes that share a thread share its rate.
        let sharing = mixes.div_ceil(setting.worker_cores.len()) as f64;
        for percent in PERCENTS {
            let load = rate * f64::from(percent) / 100.0 / sharing;
            eprintln!("{mixes} mixes at {percent} %: {:.3} million cells a second each", load / 1e6);
            let mut chain = chain_of(mixes)?;
            let found = trial(&mut chain, load, setting)?;
            probe.now();
            measured.push(Measured { mixes, percent, load, found });
        }
    }
    Ok(measured)
}
