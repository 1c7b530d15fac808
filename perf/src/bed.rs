//! What a port under test lies on: the port, and the tester's peers at the other end of its wire.
//!
//! Nothing here sends to anything but loopback, networks that it made itself, or an interface that was named.

mod cable;
#[cfg(feature = "dpdk")]
pub mod eal;
mod peers;
#[cfg(feature = "dpdk")]
pub mod vhost;
mod wire;

pub use cable::{Cable, Mode};
pub use peers::Peers;
pub use wire::Wire;

use clap::ValueEnum;
use drover_nic::any::AnyPort;
use drover_nic::memory::{MemoryPort, MemoryWire};
use drover_nic::udp::UdpPort;
use drover_nic::{OpenError, Port};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};

/// Most peers: each is a socket, and a process may commonly have 1,024 of them.
pub const PEERS_MAX: usize = 500;

/// A kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// Rings of memory.
    Memory,
    /// A UDP socket, to sockets on loopback.
    Udp,
    /// An AF_XDP socket, over a cable of this tool's own.
    #[value(name = "af_xdp")]
    AfXdp,
    /// A DPDK port on a vhost socket, whose other side another process has (virtio-user).
    Dpdk,
}

impl PortKind {
    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            PortKind::Memory => "memory",
            PortKind::Udp => "udp",
            PortKind::AfXdp => "af_xdp",
            PortKind::Dpdk => "dpdk",
        }
    }
}

/// A port, its peers, and what is between them.
pub struct Bed {
    /// The port under test.
    pub port: AnyPort,
    /// The tester's end.
    pub peers: Peers,
    /// What was really opened, for people.
    pub bound: String,
    /// Outlives the port.
    pub cable: Option<Cable>,
}

/// Rings of memory, whose other end the tester has: no bed is needed.
///
/// # Errors
/// None.
pub fn memory<E>(port: MemoryPort, wire: MemoryWire) -> Result<(AnyPort, MemoryWire), E> {
    Ok((AnyPort::Memory(port), wire))
}

/// How large a bed is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Peers.
    pub peers: usize,
    /// Frames that the port can have reserved and not committed.
    pub transmit: usize,
    /// Frames that are under way to the port and from it at least.
    pub wire: usize,
    /// Who runs the XDP program of an AF_XDP port.
    pub mode: Mode,
}

impl Bed {
    /// A bed of a kind that the kernel has a part in; memory has none.
    ///
    /// # Errors
    /// What could not be had, why, and the mend.
    pub fn open(kind: PortKind, room: Room) -> Result<Bed, OpenError> {
        let bed = match kind {
            PortKind::Memory => {
                return Err(OpenError::configuration("a memory port", "the kernel has no part in it", "name another"));
            }
            PortKind::Udp => udp(room)?,
            PortKind::AfXdp => cable::af_xdp(room)?,
            #[cfg(feature = "dpdk")]
            PortKind::Dpdk => vhost::dpdk(room)?,
            #[cfg(not(feature = "dpdk"))]
            PortKind::Dpdk => return Err(without_dpdk()),
        };
        meet(bed)
    }
}

/// What a build without DPDK says.
#[cfg(not(feature = "dpdk"))]
pub fn without_dpdk() -> OpenError {
    let mend = "build with `cargo build --release -p drover-perf --features dpdk` (needs libdpdk-dev 22.11 or later)";
    OpenError::configuration("--port dpdk", "this build is without DPDK", mend)
}

/// A socket on loopback, and its peers' sockets.
fn udp(room: Room) -> Result<Bed, OpenError> {
    let here: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let failed = |error: std::io::Error| {
        OpenError::environment(format!("a UDP socket on {}", here.ip()), error.to_string(), "see `drover doctor`")
    };
    let port = UdpPort::bind(here, room.transmit.min(drover_nic::udp::MAX_TX_RING)).map_err(failed)?;
    let at = port.local_addr();
    let peers = Peers::bind(here.ip(), room.peers, at).map_err(failed)?;
    let port = AnyPort::Udp(port);
    Ok(Bed { bound: port.describe(), port, peers, cable: None })
}

/// Each peer sends the port a datagram and has it back: from then on every address on the way is known.
fn meet(mut bed: Bed) -> Result<Bed, OpenError> {
    const HELLO: &[u8] = b"hello";
    let begin = std::time::Instant::now();
    for peer in 0..bed.peers.count() {
        let mut answered = false;
        while !answered {
            if begin.elapsed() > std::time::Duration::from_secs(5) {
                let details: Vec<_> = bed.port.details().into_iter().filter(|(_, count)| *count > 0).collect();
                let why = format!("peer {peer} got no answer through it in 5 s; the port counted {details:?}");
                return Err(OpenError::environment(format!("the port ({})", bed.bound), why, "see `drover doctor`"));
            }
            bed.peers.offer(peer, HELLO);
            bed.peers.push();
            let from: Vec<_> = bed.port.receive(drover_nic::BURST).iter().map(|frame| frame.from).collect();
            for (frame, from) in bed.port.reserve(from.len(), HELLO.len()).into_iter().zip(&from) {
                *frame.to = *from;
                frame.data.copy_from_slice(HELLO);
            }
            bed.port.commit(from.len());
            bed.peers.collect(drover_nic::BURST, |from, _| answered |= from == peer);
        }
    }
    // What was sent more than once.
    while !bed.port.receive(drover_nic::BURST).is_empty() || bed.peers.collect(drover_nic::BURST, |_, _| {}) > 0 {}
    Ok(bed)
}
