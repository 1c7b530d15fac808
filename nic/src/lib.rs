//! Ports behind one trait, shared memory, rings: a room of unsafe.
//!
//! A [`Port`] moves datagrams in bursts. What a port does below UDP (Ethernet, IP, sockets) stays inside it.
//! Every back end passes the same suite, [`conformance`]. Over any of them go [`capture`], which writes what passes to a
//! file, and [`fault`], which loses, repeats, reorders, delays and spoils it.

pub mod af_xdp;
pub mod alloc_gate;
pub mod any;
pub mod capture;
pub mod child;
pub mod conformance;
#[cfg(all(feature = "dpdk", not(feature = "loom")))]
pub mod dpdk;
mod endpoint;
pub mod fault;
mod frames;
pub mod host;
pub mod huge;
pub mod hugetlb;
pub mod interface;
pub mod memory;
pub mod neighbour;
pub mod net;
mod netlink;
pub mod netns;
mod open_error;
mod port;
pub mod ring;
pub mod shm;
pub mod skip;
pub mod slab;
mod staging;
mod sync;
pub mod udp;

pub use endpoint::Endpoint;
pub use open_error::{OpenError, OpenErrorKind};
pub use port::{
    BURST, Capabilities, DETAILS, FRAME, Port, PortCounters, PortDetails, RxBurst, RxFrame, TxBurst, TxFrame,
};
