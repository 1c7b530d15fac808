//! (in progress)

pub mod client;
pub mod media;
pub mod report;
