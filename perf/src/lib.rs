//! The benchmarker's tools. [`hop`] measures one node's work on a cell against the bare crypto of the same work
//! (`docs/benchmarks.md`).
#![forbid(unsafe_code)]

pub mod hop;
