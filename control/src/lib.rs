//! (in progress)

pub mod cli;
pub mod client;
pub mod demo;
#[cfg(feature = "lab")]
pub mod lab;
pub mod media;
pub mod report;
pub mod socket;
