//! An AF_XDP port on a cable in networks of this tool's own, which vanish with it.

use super::{Bed, Peers, Room};
use clap::ValueEnum;
use drover_nic::af_xdp::{self, AfXdpConfig, Listen, NextHop, WIRE};
use drover_nic::any::AnyPort;
use drover_nic::netns::{Namespace, veth};
use drover_nic::{FRAME, OpenError};
use serde::Serialize;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port's address and its peers', of the range for measurements (RFC 2544, C.2.2).
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Room for the largest datagram behind all headers, bytes.
const MTU: u32 = 1600;

/// Who runs the XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The driver where it can.
    #[default]
    Auto,
    /// The driver.
    Driver,
    /// The kernel's generic receive path.
    Generic,
}

impl From<Mode> for af_xdp::Mode {
    fn from(mode: Mode) -> af_xdp::Mode {
        match mode {
            Mode::Auto => af_xdp::Mode::Auto,
            Mode::Driver => af_xdp::Mode::Driver,
            Mode::Generic => af_xdp::Mode::Generic,
        }
    }
}

/// Two networks without names, joined by a cable.
pub struct Cable {
    /// Where the port is.
    pub near: Namespace,
    /// Where its peers are.
    pub far: Namespace,
}

impl Cable {
    /// Makes it, both ends up.
    ///
    /// # Errors
    /// As of [`Namespace`]; without privileges `PermissionDenied`.
    pub fn new() -> io::Result<Cable> {
        let cable = Cable { near: Namespace::new()?, far: Namespace::new()? };
        veth(&cable.near, "near", &cable.far, "far", 1, MTU)?;
        for (network, interface, ip) in [(&cable.near, "near", NEAR), (&cable.far, "far", FAR)] {
            // What the kernel's sockets send shall have sums.
            network.set_checksum_offload(interface, false)?;
            network.address(interface, &format!("{ip}/24"))?;
            network.up(interface)?;
        }
        Ok(cable)
    }
}

/// A port at one end of a new cable, its peers at the other.
pub(super) fn af_xdp(room: Room) -> Result<Bed, OpenError> {
    let failed = |error: io::Error| {
        let mend = match error.kind() {
            io::ErrorKind::PermissionDenied => "run it as root, or use --port udp",
            _ => "see `drover doctor`",
        };
        OpenError::environment("a cable in networks of its own", error.to_string(), mend)
    };
    let cable = Cable::new().map_err(failed)?;
    let mac = cable.far.interface("far").map_err(failed)?.mac;
    let mac = mac.ok_or_else(|| failed(io::Error::other("far has no Ethernet address")))?;
    let config = AfXdpConfig {
        mode: room.mode.into(),
        tx_ring: room.transmit.clamp(1, af_xdp::MAX_TX_RING),
        wire: (room.wire as u32).next_power_of_two().clamp(*WIRE.start(), *WIRE.end()),
        payload: FRAME,
        next_hop: NextHop::Fixed(mac),
        ..AfXdpConfig::new("near")
    };
    let listen = [Listen { addr: (NEAR, 0).into(), queue: 0 }];
    let mut ports = cable.near.run(|| af_xdp::open(&config, &listen)).map_err(failed)??;
    let port = AnyPort::AfXdp(Box::new(ports.remove(0)));
    let at: SocketAddr = port.local_addr();
    let peers = cable.far.run(|| Peers::bind(IpAddr::V4(FAR), room.peers, at)).map_err(failed)?.map_err(failed)?;
    Ok(Bed { bound: port.describe(), port, peers, cable: Some(cable) })
}
