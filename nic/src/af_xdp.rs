//! Ports that move frames past the kernel, on Linux's AF_XDP sockets (Documentation/networking/af_xdp.rst).
//!
//! Each worker has a socket on one queue of the interface, with frames of its own that it shares with the kernel or the
//! device. An XDP program on the interface gives the sockets the mix's datagrams and passes all else on to the kernel:
//! ARP, neighbour discovery, ssh, other ports' datagrams ([`open`]). The program is written here, instruction by
//! instruction, and loaded with bpf(2): neither compiler nor library is needed. It is attached by a descriptor, so that
//! it goes when the process does, however that ends.
//!
//! Needs Linux 5.9 or later, CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF; CAP_IPC_LOCK or a limit on locked memory of the
//! frames' size.

mod assembler;
mod attachment;
mod bpf;
mod config;
mod errors;
mod generator;
mod group;
mod hand_over;
mod launch;
mod mapping;
mod port;
mod program;
mod ring;
mod socket;
mod transmit;
mod umem;

pub use config::{
    AfXdpConfig, Listen, MAX_HAND_OVER, MAX_NEIGHBOURS, MAX_TX_RING, MAX_WORKERS, Mode, NextHop, OtherQueues, WIRE,
    ZeroCopy,
};
pub use generator::Generator;
pub use group::open;
pub use launch::LaunchTime;
pub use port::{AfXdpPort, Bound};
pub use umem::{HugePages, Pages};
