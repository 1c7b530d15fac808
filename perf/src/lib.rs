//! The benchmarker's tools. [`hop`] measures one node's work on a cell against the bare crypto of the same work
//! (`docs/benchmarks.md`); [`floor`] that bare crypto, back end against back end;
//! [`links`] both against the number of links; [`chaff`] a worker that sends nothing else;
//! [`circuits`] what setting circuits up costs, and what that does to departures. Every run leaves a folder ([`run`]) with
//! the host's sheet ([`host`]) and what a probe of the core found ([`probe`]).
#![forbid(unsafe_code)]

pub mod bed;
pub mod chaff;
pub mod circuits;
pub mod compare;
pub mod cores;
pub mod floor;
pub mod forward;
pub mod generate;
pub mod hop;
pub mod host;
pub mod latency;
pub mod links;
pub mod live;
pub mod ndr;
pub mod output;
pub mod pace;
pub mod pin;
pub mod probe;
pub mod progress;
pub mod relay;
pub mod report;
pub mod run;
pub mod stats;
