//! The benchmarker's tools. [`hop`] measures one node's work on a cell against the bare crypto of the same work
//! (`docs/benchmarks.md`);
//! [`circuits`] what setting circuits up costs, and what that does to departures.
#![forbid(unsafe_code)]

pub mod circuits;
pub mod hop;
pub mod report;
