//! Lab networks: mixes and clients whose keys come from a secret in a file instead of handshakes (`docs/wire.md`, W-LAB).
//!
//! For tests and demonstrations only: who holds the file can open all that was ever sent under it. Compiled with the
//! feature `lab`.

pub mod crowd;
pub mod derive;
pub mod host;
pub mod make;
pub mod network;
pub mod process;
pub mod program;
pub mod secret;
pub mod soak;
