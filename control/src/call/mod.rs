//! Calls: a client's side. Reached at a rendezvous mix, ringing, answering, and two halves joined (Herd 3.3).
//!
//! ```text
//! choice.rs     which rendezvous mix
//! signal.rs     sealed signals of one size
//! hybrid.rs     X25519 and ML-KEM-768 side by side
//! handshake.rs  the handshake of two clients: keys, and six digits for people to compare
//! halves.rs     what calls need of circuits
//! reach.rs      to be reached: the signalling circuit, registered and renewed
//! calls.rs      one call at a time: its states, both sides
//! calls/        its signals, its half of the circuit, what it tells
//! ```
//!
//! All state and no I/O: time comes from outside, circuits are behind [`halves::Halves`].

pub mod calls;
pub mod choice;
mod fields;
pub mod halves;
pub mod handshake;
mod hybrid;
pub mod reach;
pub mod signal;
