//! Which Ethernet address leads to a peer.
//!
//! A port that makes its own frames owns a [`Table`]: destination to the next hop's address. What it lacks it wants,
//! through a ring; a *resolver* off the hot path finds it and answers through another. Resolvers are [`netlink`], for
//! where the kernel knows routes and neighbours, and [`responder`], for where no kernel is on the interface. Both keep
//! the same book (`book.rs`): what which table holds, whether it is still used, when it is given up.
//!
//! A destination in use is never forgotten for its age: its table is asked whether it still sends there, the resolver
//! asks the network again, and only what no longer answers goes.

mod book;
pub mod netlink;
mod rate;
pub mod responder;
mod table;

use drover_wire::frame::mapped;
use std::net::{IpAddr, Ipv6Addr};

pub use table::{Feed, Table, TableCounters};

/// An IP address in one shape, IPv4 mapped into IPv6, as in [`crate::Endpoint`].
pub type Ip = [u8; 16];

fn ip_of(ip: IpAddr) -> Ip {
    match ip {
        IpAddr::V4(v4) => mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address_of(ip: &Ip) -> IpAddr {
    Ipv6Addr::from(*ip).to_canonical()
}
