//! A cable between networks of this tool's own, which vanish with it; and an AF_XDP port at its one end.

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
pub(super) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Bits of their network's prefix.
pub(super) const PREFIX: u8 = 24;
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

/// Two networks without names, joined by a cable between the interfaces `near` and `far`.
pub struct Cable {
    /// Where the port is.
    pub near: Namespace,
    /// Where its peers are.
    pub far: Namespace,
    /// The process that the port's device is joined to the cable by, if it is not on the cable itself.
    #[cfg(feature = "dpdk")]
    pub(super) other_side: Option<super::vhost::OtherSide>,
}

impl Cable {
    /// Makes it, both ends up.
    ///
    /// # Errors
    /// As of [`Namespace`]; without privileges `PermissionDenied`.
    pub fn new() -> io::Result<Cable> {
        let cable = Cable::without_near()?;
        cable.near.address("near", &format!("{NEAR}/{PREFIX}"))?;
        Ok(cable)
    }

    /// As [`Cable::new`], but the near end has no address: the kernel answers nobody there.
    ///
    /// # Errors
    /// Those of [`Cable::new`].
    pub(super) fn without_near() -> io::Result<Cable> {
        let cable = Cable {
            near: Namespace::new()?,
            far: Namespace::new()?,
            #[cfg(feature = "dpdk")]
            other_side: None,
        };
        veth(&cable.near, "near", &cable.far, "far", 1, MTU)?;
        for (network, interface) in [(&cable.near, "near"), (&cable.far, "far")] {
            // What the kernel's sockets send shall have sums.
            network.set_checksum_offload(interface, false)?;
            network.up(interface)?;
        }
        cable.far.address("far", &format!("{FAR}/{PREFIX}"))?;
        Ok(cable)
    }

    /// Its peers, for the port at `at`.
    pub(super) fn peers(&self, count: usize, at: SocketAddr) -> io::Result<Peers> {
        self.far.run(|| Peers::bind(IpAddr::V4(FAR), count, at))?
    }
}

/// What could not be had of a cable.
pub(super) fn failed(error: io::Error) -> OpenError {
    let mend = match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as root, or use --port udp",
        _ => "see `drover doctor`",
    };
    OpenError::environment("a cable in networks of its own", error.to_string(), mend)
}

/// A port at one end of a new cable, its peers at the other.
pub(super) fn af_xdp(room: Room) -> Result<Bed, OpenError> {
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
    let peers = cable.peers(room.peers, port.local_addr()).map_err(failed)?;
    Ok(Bed { bound: port.describe(), port, peers, cable: Some(cable) })
}
