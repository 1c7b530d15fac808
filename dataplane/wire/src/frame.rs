//! A datagram's way on the wire: Ethernet, an 802.1Q tag, IPv4 or IPv6, UDP.
//!
//! ```text
//! | 6 to | 6 from | [4 tag] | 2 type | 20 IPv4 or 40 IPv6 | 8 UDP | payload | [padding, not ours] |
//! ```
//!
//! [`parse`] and [`Template::write`] are what ports call for every frame. All that we send beside addresses, lengths,
//! sums and payload is constant, so that no header tells one cell from another.

use core::fmt;
use core::str::FromStr;

mod checksum;
mod parse;
#[cfg(test)]
mod tests;
mod write;

pub use checksum::Sum;
pub use parse::{Astray, Datagram, Ethernet, ethernet, is_host, parse};
pub use write::{Template, write_ethernet, write_headers};

/// Bytes of an Ethernet header without a tag.
pub const ETHERNET: usize = 14;
/// Bytes that an 802.1Q tag adds.
pub const TAG: usize = 4;
/// Bytes of an IPv4 header without options (RFC 791, 3.1).
pub const IPV4: usize = 20;
/// Bytes of an IPv6 header (RFC 8200, 3).
pub const IPV6: usize = 40;
/// Bytes of a UDP header (RFC 768).
pub const UDP: usize = 8;
/// Longest headers: Ethernet, tag, IPv6, UDP.
pub const HEADERS_MAX: usize = ETHERNET + TAG + IPV6 + UDP;
/// IPv4's time to live and IPv6's hop limit of every frame.
pub const HOP_LIMIT: u8 = 64;
/// Largest UDP payload that an IPv4 packet's 16-bit length has room for, bytes. IPv6 would have 20 more.
pub const PAYLOAD_MAX: usize = 65_535 - IPV4 - UDP;

/// Ethernet's number for IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// Ethernet's number for ARP (RFC 826).
pub const TYPE_ARP: u16 = 0x0806;
/// Ethernet's number for IPv6 (RFC 2464).
pub const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const PROTOCOL_UDP: u8 = 17;
/// The tag's 12 bits of VLAN id; priority and drop eligibility are above them (IEEE 802.1Q, 9.6).
const VLAN_ID: u16 = 0x0fff;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Whether this is one station's address: not a group's, not all zeros.
    pub const fn is_station(self) -> bool {
        self.0[0] & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

/// `02:00:00:00:00:0a`.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address: write six pairs of hexadecimal digits, as in 02:00:00:00:00:0a")
    }
}

impl core::error::Error for NotAMac {}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Mac, NotAMac> {
        let mut mac = Mac::default();
        let mut pairs = text.split(':');
        for byte in &mut mac.0 {
            let pair = pairs.next().ok_or(NotAMac)?;
            // from_str_radix takes a sign.
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAMac)?;
        }
        if pairs.next().is_none() { Ok(mac) } else { Err(NotAMac) }
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address: IPv4 where it is a mapped one (RFC 4291, 2.5.5.2).
    #[inline]
    pub const fn of(ip: &[u8; 16]) -> Family {
        // As one number: the compiler makes a comparison of each byte of a pattern.
        match u128::from_be_bytes(*ip) >> 32 {
            0xffff => Family::V4,
            _ => Family::V6,
        }
    }

    const fn ip_header(self) -> usize {
        match self {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        }
    }

    const fn ethertype(self) -> u16 {
        match self {
            Family::V4 => TYPE_IPV4,
            Family::V6 => TYPE_IPV6,
        }
    }
}

/// The IPv4 address `v4` mapped into IPv6.
pub const fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Bytes of the headers that we write.
pub const fn headers_len(family: Family, vlan: bool) -> usize {
    ETHERNET + if vlan { TAG } else { 0 } + family.ip_header() + UDP
}

/// The MTU, bytes, that an interface needs for datagrams of `payload` bytes.
///
/// An MTU counts IP packets. A tag that we write counts too: not every device has room for it beyond its MTU.
pub const fn mtu_needed(payload: usize, family: Family, vlan: bool) -> usize {
    payload + headers_len(family, vlan) - ETHERNET
}

/// The largest payload, bytes, that fits an interface's MTU: 0 where nothing does.
pub const fn payload_max(mtu: usize, family: Family, vlan: bool) -> usize {
    let payload = mtu.saturating_sub(mtu_needed(0, family, vlan));
    if payload < PAYLOAD_MAX { payload } else { PAYLOAD_MAX }
}

/// What is constant in a port's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The interface's address.
    pub mac: Mac,
    /// The VLAN, 1 to 4094, of every frame; none: frames are untagged.
    pub vlan: Option<u16>,
    /// The port's IP address, IPv4 mapped. It tells the family of every frame.
    pub ip: [u8; 16],
}

impl Local {
    /// The family of every frame.
    #[inline]
    pub const fn family(&self) -> Family {
        Family::of(&self.ip)
    }

    /// Bytes of the headers of every frame that is sent.
    #[inline]
    pub const fn headers_len(&self) -> usize {
        headers_len(self.family(), self.vlan.is_some())
    }
}

/// Who makes and checks sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Received: we verify them. Sent: we compute them.
    Software,
    /// Received: the device vouches for both, IPv4's and UDP's. Sent: the UDP sum is that of the pseudo-header, for the
    /// device to go on from; IPv4's is complete.
    Offload,
}
