//! Ports on DPDK: the NIC's queues, or those of a virtual device, polled from this process. Behind the feature `dpdk`; the
//! system's DPDK 22.11 or later is linked (`nic/dpdk-sys`).
//!
//! ```text
//! Eal::start          once a process: memory, drivers, PCI
//!   open              a device and its workers: a queue each, one pool of mbufs on the device's NUMA node
//!     DpdkPort        what a worker has: receive and transmit on its queue
//!     service thread  neighbours and echo, when next hops are resolved: no kernel is on such an interface
//! ```
//!
//! Frames are not copied: the payload of a reserved frame lies in an mbuf behind room for its headers, what was received is
//! lent until the next receive, and what came in on another worker's queue changes hands as it is.

mod buffer;
mod device;
mod eal;
mod group;
mod pool;
mod port;
mod ring_pair;
mod service;
mod thread;

pub use device::About;
pub use eal::{Eal, EalConfig, Memory};
pub use group::{DpdkConfig, Listen, NextHops, TX_RING_MAX, WORKERS_MAX, open};
pub use port::{DpdkPort, Forwarded};
pub use ring_pair::RingPair;

use crate::OpenError;

/// A negative error number of DPDK in words.
fn error_text(rc: i32) -> String {
    std::io::Error::from_raw_os_error(rc.saturating_abs()).to_string()
}

/// What `rc`, a result of DPDK's, says about `what`, with what it logged last.
fn refused(what: String, rc: i32, mend: &str) -> OpenError {
    let words = eal::last_words();
    let why = if words.is_empty() { error_text(rc) } else { format!("{}; DPDK said: {words}", error_text(rc)) };
    OpenError::environment(what, why, mend)
}

/// `text` for C.
fn c_string(text: &str) -> Result<std::ffi::CString, OpenError> {
    std::ffi::CString::new(text)
        .map_err(|_| OpenError::configuration(format!("{text:?}"), "has a zero byte", "Take it out"))
}

#[cfg(test)]
mod tests;
