//! DTLS 1.3 handshakes with BoringSSL, and what the data plane takes over from them; identities and their certificates.
//!
//! The library does the handshake and no more: in DTLS 1.3 a library and the data plane must never seal under one epoch
//! (`docs/wire.md`, W-KEY-2), so [`handshake::Handshake::take_over`] gives the secrets out and frees the library's object.
//!
//! ```text
//! certificate.rs  identities: keys, certificates, zones that issue them
//! handshake.rs    one handshake: datagrams in, datagrams out, take-over
//! engine.rs       one object of the library between queues of datagrams
//! library.rs      what the crate `boring` does not wrap: the unsafe code
//! testing.rs      a peer that keeps its records in the library, for tests
//! ```

pub mod certificate;
mod engine;
pub mod handshake;
mod library;
#[cfg(any(test, feature = "lab"))]
pub mod testing;
