//! What a received frame holds, or why it is not for this port.

use super::{
    Checksum, ETHERNET, Family, IPV4, IPV6, Local, Mac, PROTOCOL_UDP, Sum, TAG, TYPE_VLAN, UDP, VLAN_ID, headers_len,
    mapped,
};
use core::fmt;

/// A datagram for this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'f> {
    /// Who says to have sent it, IPv4 mapped: an address that one host may have.
    pub from_ip: [u8; 16],
    /// Its UDP source port.
    pub from_port: u16,
    /// Its UDP destination port.
    pub to_port: u16,
    /// The UDP payload.
    pub payload: &'f [u8],
}

/// Why a frame is no datagram for this port: one counter each ([`Astray::ALL`], in this order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astray {
    /// Shorter than the headers of the port's family and VLAN.
    Runt,
    /// To another Ethernet address, a group's and everybody's among them.
    OtherMac,
    /// In another VLAN, or in none where the port has one.
    OtherVlan,
    /// Not the port's version of IP: ARP, a second tag, the other version.
    EtherType,
    /// An IP header that contradicts itself or the frame's length, or a source that no host may have.
    BadIp,
    /// A piece of a packet: nobody who speaks to a mix makes any.
    Fragment,
    /// Another protocol over IP, or IPv6 with extension headers.
    NotUdp,
    /// To another IP address.
    OtherIp,
    /// A UDP length that contradicts IP's.
    BadUdp,
    /// A wrong sum, IPv4's or UDP's, or none over IPv6 (RFC 8200, 8.1).
    Checksum,
}

impl Astray {
    /// All reasons.
    pub const ALL: [Astray; 10] = [
        Astray::Runt,
        Astray::OtherMac,
        Astray::OtherVlan,
        Astray::EtherType,
        Astray::BadIp,
        Astray::Fragment,
        Astray::NotUdp,
        Astray::OtherIp,
        Astray::BadUdp,
        Astray::Checksum,
    ];

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Astray::Runt => "runt",
            Astray::OtherMac => "other_mac",
            Astray::OtherVlan => "other_vlan",
            Astray::EtherType => "ethertype",
            Astray::BadIp => "bad_ip",
            Astray::Fragment => "fragment",
            Astray::NotUdp => "not_udp",
            Astray::OtherIp => "other_ip",
            Astray::BadUdp => "bad_udp",
            Astray::Checksum => "checksum",
        }
    }
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a frame as this port's.
///
/// Taken are: at most one 802.1Q tag, which must be the port's (id 0 is no VLAN: IEEE 802.1Q, 6.9.1); IPv4, whose
/// options are passed over; IPv6 without extension headers; UDP, over IPv4 also without a sum. What lies behind IP's
/// length (Ethernet's padding) and behind UDP's (RFC 9868) is cut off. How long a payload may be is the port's to
/// judge.
///
/// # Errors
/// The first thing that is not as it must be, from Ethernet inwards.
#[inline]
pub fn parse<'f>(frame: &'f [u8], local: &Local, checksum: Checksum) -> Result<Datagram<'f>, Astray> {
    let family = local.family();
    if frame.len() < headers_len(family, local.vlan.is_some()) {
        return Err(Astray::Runt);
    }
    let packet = packet(frame, local, family)?;
    match family {
        Family::V4 => ipv4(packet, local, checksum),
        Family::V6 => ipv6(packet, local, checksum),
    }
}

/// An Ethernet frame, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<'f> {
    /// Whom it is for.
    pub to: Mac,
    /// Who says to have sent it.
    pub from: Mac,
    /// Its VLAN; 0: it is in none.
    pub vlan: u16,
    /// What it carries ([`TYPE_IPV4`](super::TYPE_IPV4), …).
    pub kind: u16,
    /// What is behind the headers, padding too.
    pub packet: &'f [u8],
}

/// Reads the Ethernet header and one tag, if there is one; none when the frame is too short for them.
#[inline]
pub fn ethernet(frame: &[u8]) -> Option<Ethernet<'_>> {
    let (header, mut packet) = frame.split_first_chunk::<ETHERNET>()?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, kind @ ..] = *header;
    let mut kind = u16::from_be_bytes(kind);
    let mut vlan = 0;
    if kind == TYPE_VLAN {
        let (tag, behind) = packet.split_first_chunk::<TAG>()?;
        vlan = word(tag, 0) & VLAN_ID;
        kind = word(tag, 2);
        packet = behind;
    }
    Some(Ethernet { to: Mac([a, b, c, d, e, f]), from: Mac([g, h, i, j, k, l]), vlan, kind, packet })
}

/// What the port's Ethernet frame carries.
#[inline]
fn packet<'f>(frame: &'f [u8], local: &Local, family: Family) -> Result<&'f [u8], Astray> {
    let ethernet = ethernet(frame).ok_or(Astray::Runt)?;
    if ethernet.to != local.mac {
        return Err(Astray::OtherMac);
    }
    if ethernet.vlan != local.vlan.unwrap_or(0) {
        return Err(Astray::OtherVlan);
    }
    if ethernet.kind != family.ethertype() {
        return Err(Astray::EtherType);
    }
    Ok(ethernet.packet)
}

#[inline]
fn ipv4<'f>(packet: &'f [u8], local: &Local, checksum: Checksum) -> Result<Datagram<'f>, Astray> {
    let header: &[u8; IPV4] = packet.first_chunk().ok_or(Astray::Runt)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(word(header, 2));
    if header[0] >> 4 != 4 || header_len < IPV4 || total_len < header_len {
        return Err(Astray::BadIp);
    }
    let whole = packet.get(..total_len).ok_or(Astray::BadIp)?;
    let (with_options, behind) = whole.split_at_checked(header_len).ok_or(Astray::BadIp)?;
    if checksum == Checksum::Software && !Sum::default().with(with_options).is_right() {
        return Err(Astray::Checksum);
    }
    let [.., a, b, c, d, e, f, g, h] = *header;
    let (from, to) = ([a, b, c, d], [e, f, g, h]);
    if mapped(to) != local.ip {
        return Err(Astray::OtherIp);
    }
    if !is_host_v4(from) {
        return Err(Astray::BadIp);
    }
    // More fragments, or an offset (RFC 791, 3.1).
    if word(header, 6) & 0x3fff != 0 {
        return Err(Astray::Fragment);
    }
    if header[9] != PROTOCOL_UDP {
        return Err(Astray::NotUdp);
    }
    udp(behind, mapped(from), &header[12..], checksum, Family::V4)
}

#[inline]
fn ipv6<'f>(packet: &'f [u8], local: &Local, checksum: Checksum) -> Result<Datagram<'f>, Astray> {
    /// The fragment header's number (RFC 8200, 4.5).
    const FRAGMENT: u8 = 44;
    let (header, behind) = packet.split_first_chunk::<IPV6>().ok_or(Astray::Runt)?;
    let behind = behind.get(..usize::from(word(header, 4))).ok_or(Astray::BadIp)?;
    if header[0] >> 4 != 6 {
        return Err(Astray::BadIp);
    }
    if header[24..] != local.ip {
        return Err(Astray::OtherIp);
    }
    let mut from = [0; 16];
    from.copy_from_slice(&header[8..24]);
    if !is_host_v6(&from) {
        return Err(Astray::BadIp);
    }
    match header[6] {
        PROTOCOL_UDP => udp(behind, from, &header[8..], checksum, Family::V6),
        FRAGMENT => Err(Astray::Fragment),
        _ => Err(Astray::NotUdp),
    }
}

/// `addresses` are the pseudo-header's, `behind` is all that IP carries.
#[inline]
fn udp<'f>(
    behind: &'f [u8],
    from_ip: [u8; 16],
    addresses: &[u8],
    checksum: Checksum,
    family: Family,
) -> Result<Datagram<'f>, Astray> {
    let header: &[u8; UDP] = behind.first_chunk().ok_or(Astray::BadUdp)?;
    let len = word(header, 4);
    let datagram = behind.get(..usize::from(len)).ok_or(Astray::BadUdp)?;
    let payload = datagram.get(UDP..).ok_or(Astray::BadUdp)?;
    if header[6..] == [0, 0] {
        if family == Family::V6 {
            return Err(Astray::Checksum);
        }
    } else if checksum == Checksum::Software {
        let pseudo = Sum::default().with(addresses).with_word(u16::from(PROTOCOL_UDP)).with_word(len);
        if !pseudo.with(datagram).is_right() {
            return Err(Astray::Checksum);
        }
    }
    Ok(Datagram { from_ip, from_port: word(header, 0), to_port: word(header, 2), payload })
}

/// Whether one host may have this address: it may be answered, and sent to.
#[inline]
pub const fn is_host(ip: &[u8; 16]) -> bool {
    match Family::of(ip) {
        Family::V4 => {
            let [.., a, b, c, d] = *ip;
            is_host_v4([a, b, c, d])
        }
        Family::V6 => is_host_v6(ip),
    }
}

/// Not "this network", loopback, a group or everybody (RFC 1122, 3.2.1.3): none of these may be answered.
#[inline]
const fn is_host_v4(ip: [u8; 4]) -> bool {
    !matches!(ip, [0 | 127 | 224..=239, ..] | [255, 255, 255, 255])
}

/// Not unspecified, loopback or a group (RFC 4291, 2.5 to 2.7), and not an IPv4 address in disguise, which would be
/// taken for an IPv4 peer.
#[inline]
const fn is_host_v6(ip: &[u8; 16]) -> bool {
    let number = u128::from_be_bytes(*ip);
    number > 1 && number >> 120 != 0xff && matches!(Family::of(ip), Family::V6)
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
