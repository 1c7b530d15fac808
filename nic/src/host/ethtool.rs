//! An interface's driver and queues, as `ethtool -i` and `ethtool -l` ask for them (linux/ethtool.h).

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::ffi::c_void;
use std::io;
use std::os::fd::AsRawFd;

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
    // SAFETY: for this command the kernel writes one `ethtool_drvinfo`, which this structure is.
    unsafe { ask(interface, (&raw mut info).cast()) }?;
    Ok(Driver { name: text(&info.driver), bus: text(&info.bus) })
}

/// How many queues `interface` of the calling thread's network has and could have.
///
/// # Errors
/// As [`driver`].
pub fn channels(interface: &str) -> io::Result<Channels> {
    let mut counts = ChannelCounts { command: GET_CHANNELS, ..ChannelCounts::default() };
    // SAFETY: for this command the kernel writes one `ethtool_channels`, which this structure is.
    unsafe { ask(interface, (&raw mut counts).cast()) }?;
    Ok(Channels {
        rx: counts.rx.saturating_add(counts.combined),
        tx: counts.tx.saturating_add(counts.combined),
        max_rx: counts.max_rx.max(counts.max_combined),
        max_tx: counts.max_tx.max(counts.max_combined),
        combined: counts.max_combined > 0,
    })
}

/// Hands `request` to the interface's driver.
///
/// # Safety
/// `request` points to a structure that begins with a command, as long as the kernel takes it to be for that command.
unsafe fn ask(interface: &str, request: *mut c_void) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: a C structure of characters and a union of integers and a pointer: all zero is a valid value.
    let mut call: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = call.ifr_name.len() - 1;
    if interface.is_empty() || interface.len() > room || interface.contains(['/', '\0']) {
        let why = format!("{interface:?} is no interface name: 1 to {room} bytes without /");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    for (to, from) in call.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    call.ifr_ifru.ifru_data = request.cast();
    // SAFETY: SIOCETHTOOL takes an ifreq with a name and a pointer to a request (netdevice(7)), which the caller vouches
    // for; neither is kept.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut call) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
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
