//! Cores that this process may use, and threads on them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores that this process may use, lowest first.
///
/// # Errors
/// The system does not say.
pub fn cores() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(None).map_err(|error| format!("which cores may be used: {error}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Binds the calling thread to `core`.
///
/// # Errors
/// The core may not be used.
pub fn to(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("core {core}: {error}"))
}
