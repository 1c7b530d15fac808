//! Circuits: how a client agrees keys with each hop, and what a hop does for it.
//!
//! ```text
//! messages.rs what circuit messages look like
//! ntor.rs     the handshake: X25519 + ML-KEM-768, key schedule
//! keys.rs     short-term keys of mixes: made, signed, rotated
//! ids.rs      circuit ids on links, and how they are given back
//! outbox.rs   messages that wait for room on a link
//! limits.rs   how much of everything
//! hops.rs     a mix's side: CREATE, EXTEND, DESTROY, cells of its own
//! builder.rs  a client's side: paths built hop by hop, messages to hops, hand-over to the data plane
//! ```

pub mod builder;
pub mod hops;
mod ids;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod ntor;
mod outbox;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

/// Hops of a client's half of a call: its mix, then its rendezvous mix.
pub const PATH: usize = 2;
