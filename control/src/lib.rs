//! (in progress)

pub mod media;
pub mod report;
