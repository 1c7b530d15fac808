//! The system's DPDK, as far as `drover-nic` needs it.
//!
//! DPDK's fast functions are inline and its structures change with its releases, so nothing of them is known here: a shim in
//! C (`shim/`), compiled against the headers that are installed, wraps what is used in some thirty functions with types of
//! our own. Generated bindings would give more (every structure, as that release has it), need libclang, and have to be looked
//! after at each release; here an unknown release either compiles or says where it differs. What crosses are numbers, three
//! small structures whose layout both sides assert, and pointers that only C follows.
//!
//! Without the feature `system` this crate is empty and needs no DPDK.

#[cfg(feature = "system")]
mod system;
#[cfg(feature = "system")]
pub use system::*;
