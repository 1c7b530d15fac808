//! Everything that may be slow, beside the data plane: the operator's CLI, clients, lab provisioning, the demo.
//!
//! ```text
//! cli/     drover: status, check, demo, lab
//! client/  drover-client: a user's end, its calls and their RTP
//! lab/     networks whose keys come from a file: made, programmed, run and loaded (lab builds)
//! demo/    a voice across a chain of mixes, and what an observer sees
//! media/   WAV, G.711, RTP, the E-model, speech-like signals
//! report/  text and charts
//! socket   the asking side of a data plane's control socket
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod demo;
#[cfg(feature = "lab")]
pub mod lab;
pub mod media;
pub mod report;
pub mod socket;
