//! `drover-control`: a mix's control daemon. It does the handshakes, circuits and joins of one data plane, and touches no
//! voice cell; it may be killed and started again at any time (`docs/architecture.md`).
//!
//! ```text
//! config.rs  the configuration file
//! brain.rs   links, circuits and rendezvous wired together; no I/O
//! daemon.rs  the loop: data plane, local socket, signals
//! ```

pub mod brain;
pub mod config;
pub mod daemon;
