//! The user's end of a call: `drover-client`.
//!
//! ```text
//! softphone ⇄ rtp_io (RTP thread) ⇄ line (two rings a call) ⇄ terminal (pacing thread) ⇄ data plane ⇄ first mix
//! ```
//!
//! The client embeds the data plane library: its link to the first mix is paced and sealed as every mix's links are.
//! Circuits end in [`terminal::ClientTerminal`], which fills exactly one cell for each slot of a call, whether there is
//! something to say or not (Herd 3.4.1). Everything whose cost depends on speech is on the other side of the rings.
//!
//! With an identity in the configuration there is also the [`agent`]: the thread that makes the link, circuits and calls
//! ([`crate::call`]). Without, all that is programmed over the control socket.

pub mod agent;
pub mod brain;
pub mod config;
pub mod console;
pub mod counters;
pub mod layers;
pub mod line;
pub mod rtp_io;
pub mod run;
mod spent;
pub mod terminal;
