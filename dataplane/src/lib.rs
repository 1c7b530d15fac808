//! The data plane: poll-mode workers that open, peel, mix and re-seal cells and refill chaff at constant rate.
//!
//! No public-key cryptography, no DNS, no disk. One thread of service programs the workers' tables from messages of
//! the control daemon (`docs/architecture.md`). Start with [`worker::Worker::turn`]: it is the life of a cell.
#![forbid(unsafe_code)]

/// Whether this build holds the counters and switches that I10 forbids in release binaries.
pub const LAB: bool = cfg!(feature = "lab");

pub mod circuit;
pub mod class;
pub mod command;
pub mod config;
pub mod counters;
pub mod drops;
#[cfg(feature = "lab")]
pub mod fuzz;
pub mod handoff;
pub mod inject;
pub mod keys;
#[cfg(feature = "lab")]
pub mod lab;
pub mod limits;
pub mod link;
pub mod mixing;
pub mod owners;
pub mod pool;
pub mod ports;
pub mod process;
pub mod publish;
pub mod punt;
pub mod rig;
pub mod run;
pub mod service;
pub mod stages;
pub mod state;
pub mod status;
pub mod table;
pub mod terminal;
pub mod window;
pub mod worker;
