//! Everything that may be slow, beside the data plane: handshakes, circuits, zones, calls, clients, the operator's CLI.
//!
//! ```text
//! cli/         drover: status, check, doctor, zone, demo, lab
//! mix/         drover-control: a mix's control daemon
//! client/      drover-client: a user's end, its calls and their RTP
//!
//! plane/       a data plane as control sees it
//! channel      messages in cells: fragments, acknowledgement, retransmission
//! message      the kinds of messages
//! zone/        signed zone documents
//! link/        handshakes, renewal of keys, restarts, floods
//! circuit/     circuits hop by hop: a mix's side, a client's side
//! rendezvous/  where clients are reached, and halves of calls are joined: a mix's side
//! call/        registering, ringing, answering: a client's side
//!
//! lab/         networks whose keys come from a file: made, programmed, run and loaded (lab builds)
//! doctor/      what a machine has, beside what a mix needs
//! supervise/   a mix's two processes kept alive
//! demo/        a voice across two zones, and what an observer sees
//! media/       WAV, G.711, RTP, the E-model, speech-like signals
//! report/      text and charts
//! local        a daemon's own socket: JSON, one object a line
//! socket       the asking side of a data plane's control socket
//! ```
#![forbid(unsafe_code)]

pub mod call;
pub mod channel;
pub mod circuit;
pub mod cli;
pub mod client;
pub mod demo;
pub mod doctor;
#[cfg(feature = "lab")]
pub mod lab;
pub mod link;
pub mod local;
pub mod media;
pub mod message;
pub mod mix;
pub mod plane;
pub mod rendezvous;
pub mod report;
pub mod socket;
pub mod supervise;
pub mod zone;
