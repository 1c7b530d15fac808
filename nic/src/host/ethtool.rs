//! An interface's driver and queues, as `ethtool -i` and `ethtool -l` ask for them (linux/ethtool.h).

use crate::interface::check_name;
use crate::net::{any_socket, interface_call, interface_request};
use std::io;

const GET_DRIVER: u32 = 0x3;
const GET_CHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rest: [u8; 64],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct ChannelCounts {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const _: () = assert!(size_of::<ChannelCounts>() == 36);

/// What drives an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Its name: `ixgbe`, `veth`, …
    pub name: String,
    /// Where the device is: a PCI address; empty for what is no device.
    pub bus: String,
}

/// An interface's queues: those that receive and send are counted apart from those that do one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Receiving queues that are set.
    pub rx: u32,
    /// Sending queues that are set.
    pub tx: u32,
    /// The most receiving queues that can be set.
    pub max_rx: u32,
    /// The most sending queues that can be set.
    pub max_tx: u32,
    /// They are set together (`ethtool -L … combined`), not by `rx` and `tx`.
    pub combined: bool,
}

/// Who drives `interface` of the calling thread's network.
///
/// # Errors
/// `InvalidInput` for what is no name, `Unsupported` where the driver does not say; else what the system says.
pub fn driver(interface: &str) -> io::Result<Driver> {
    let mut info = DriverInfo {
        command: GET_DRIVER,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rest: [0; 64],
    };
    ask(interface, &mut info)?;
    Ok(Driver { name: text(&info.driver), bus: text(&info.bus) })
}

/// How many queues `interface` of the calling thread's network has and could have.
///
/// # Errors
/// As [`driver`].
pub fn channels(interface: &str) -> io::Result<Channels> {
    let mut counts = ChannelCounts { command: GET_CHANNELS, ..ChannelCounts::default() };
    ask(interface, &mut counts)?;
    Ok(Channels {
        rx: counts.rx.saturating_add(counts.combined),
        tx: counts.tx.saturating_add(counts.combined),
        max_rx: counts.max_rx.max(counts.max_combined),
        max_tx: counts.max_tx.max(counts.max_combined),
        combined: counts.max_combined > 0,
    })
}

/// Hands `request`, one of the two structures above with its command, to the interface's driver, which fills it in.
fn ask<T>(interface: &str, request: &mut T) -> io::Result<()> {
    check_name(interface)?;
    let mut call = interface_request(interface);
    call.ifr_ifru.ifru_data = (&raw mut *request).cast();
    interface_call(&any_socket()?, libc::SIOCETHTOOL, &mut call)
}

/// A text that ends at its first zero.
fn text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_none_has_no_driver() {
        for name in ["", "sixteen-letters.", "a/b", "a\0"] {
            assert_eq!(driver(name).expect_err(name).kind(), io::ErrorKind::InvalidInput);
            assert_eq!(channels(name).expect_err(name).kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(driver("nosuchif0").expect_err("none").raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn loopback_has_no_queues_to_set() {
        assert_eq!(channels("lo").expect_err("none").raw_os_error(), Some(libc::EOPNOTSUPP));
    }

    #[test]
    fn a_text_ends_at_its_zero_or_with_its_field() {
        assert_eq!(
            (text(b"veth\0\0x"), text(b"full"), text(b"\0"), text(b"")),
            ("veth".into(), "full".into(), "".into(), "".into())
        );
    }
}
