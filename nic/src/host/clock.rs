//! Whether the clock is kept right (adjtimex(2)).

use std::io;

/// What the kernel says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Somebody keeps it right: an NTP client, PTP, or the like (STA_UNSYNC is off).
    pub synchronised: bool,
    /// How far it may be off at most, µs, by whoever keeps it. Grows while nobody does.
    pub max_error_us: u64,
}

/// Asks the kernel.
///
/// # Errors
/// What the system says; sandboxes may refuse the call.
pub fn clock_state() -> io::Result<ClockState> {
    // SAFETY: a C structure of integers: all zero is a valid value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is 0, so the call changes nothing; it writes into the structure and keeps no pointer to it.
    if unsafe { libc::adjtimex(&raw mut state) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockState {
        synchronised: state.status & libc::STA_UNSYNC == 0,
        max_error_us: u64::try_from(state.maxerror).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_its_clock() {
        match clock_state() {
            // An unsynchronised clock is given this bound at most (NTP_PHASE_LIMIT, 16 s), which is told in full.
            Ok(state) => assert!(state.max_error_us <= 16_000_000, "{state:?}"),
            Err(error) => crate::skip::skipped(format_args!("adjtimex is not allowed here: {error}")),
        }
    }
}
