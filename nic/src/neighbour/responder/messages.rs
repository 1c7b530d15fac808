//! What a responder hears and says: ARP (RFC 826), neighbour discovery (RFC 4861), echo (RFC 792, RFC 4443).

use super::super::Ip;
use arrayvec::ArrayVec;
use drover_wire::frame::{
    ETHERNET, Ethernet, Family, HOP_LIMIT, Local, Mac, TAG, TYPE_ARP, TYPE_IPV4, TYPE_IPV6, ethernet, is_host, mapped,
    write_ethernet,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The hop limit that tells neighbour discovery from what came through a router (RFC 4861, 7.1).
const ON_LINK: u8 = 255;
/// Everybody on the link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A host on the link, or one that only asks whether an address is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// None: it has no address yet.
    pub(super) ip: Option<Ip>,
    pub(super) mac: Mac,
}

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'f> {
    /// Somebody asks for our MAC.
    Question(Asker),
    /// `ip` is at `mac`; none: it is where it was. `ours`: the answer to a question of ours.
    Answer { ip: Ip, mac: Option<Mac>, ours: bool, overrides: bool },
    /// Somebody wants an echo.
    Echo { from: Ip, mac: Mac, ident: u16, sequence: u16, data: &'f [u8] },
}

/// The group to which neighbour solicitations for `ip` are sent (RFC 4291, 2.7.1).
pub(super) fn solicited_node(ip: &Ip) -> Ipv6Addr {
    let [.., a, b, c] = *ip;
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of an IPv6 group (RFC 2464, 7).
pub(super) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The groups of Ethernet at which a port with the address `ip` must listen beside its own address and everybody's:
/// none for IPv4; for IPv6 those who are asked for it, and those who are told that somebody has moved.
pub fn listens_to(ip: &Ip) -> ArrayVec<Mac, 2> {
    match Family::of(ip) {
        Family::V4 => ArrayVec::new(),
        Family::V6 => ArrayVec::from([group_mac(solicited_node(ip)), group_mac(ALL_NODES)]),
    }
}

/// Whether a frame that [`parse`](drover_wire::frame::parse) refused may be for a responder: to be called for those
/// only, it spares the others the way there.
#[inline]
pub fn concerns(frame: &[u8], local: &Local) -> bool {
    let Some(Ethernet { to, from, vlan, kind, packet }) = ethernet(frame) else { return false };
    if vlan != local.vlan.unwrap_or(0) || from == local.mac {
        return false;
    }
    /// Where IP says what it carries, and the numbers of ICMP there.
    const V4: (usize, u8) = (9, 1);
    const V6: (usize, u8) = (6, 58);
    let carries = |(at, protocol): (usize, u8)| packet.get(at) == Some(&protocol);
    match local.family() {
        Family::V4 if kind == TYPE_ARP => to == local.mac || to == Mac::BROADCAST,
        Family::V4 => kind == TYPE_IPV4 && to == local.mac && carries(V4),
        Family::V6 => kind == TYPE_IPV6 && (to == local.mac || listens_to(&local.ip).contains(&to)) && carries(V6),
    }
}

/// Reads a frame; none where it is not for us, or not as it must be.
pub(super) fn hear<'f>(frame: &'f [u8], local: &Local) -> Option<Heard<'f>> {
    if !concerns(frame, local) {
        return None;
    }
    let ethernet = ethernet(frame)?;
    match ethernet.kind {
        TYPE_ARP => hear_arp(&ethernet, local),
        TYPE_IPV4 => hear_icmp4(&ethernet, local),
        _ => hear_icmp6(&ethernet, local),
    }
}

fn hear_arp<'f>(frame: &Ethernet<'f>, local: &Local) -> Option<Heard<'f>> {
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_hardware_addr: _,
        target_protocol_addr,
    } = ArpRepr::parse(&ArpPacket::new_checked(frame.packet).ok()?).ok()?
    else {
        return None;
    };
    let mac = Mac(source_hardware_addr.0);
    let (from, to) = (mapped(source_protocol_addr.octets()), mapped(target_protocol_addr.octets()));
    // A probe comes from nobody (RFC 5227, 2.1.1).
    let probe = source_protocol_addr.is_unspecified();
    if !mac.is_station() || !(is_host(&from) || probe) {
        return None;
    }
    match operation {
        ArpOperation::Request if to == local.ip && from != local.ip => {
            Some(Heard::Question(Asker { ip: (!probe).then_some(from), mac }))
        }
        ArpOperation::Request | ArpOperation::Reply if !probe => {
            let ours = operation == ArpOperation::Reply && to == local.ip && frame.to == local.mac;
            Some(Heard::Answer { ip: from, mac: Some(mac), ours, overrides: true })
        }
        _ => None,
    }
}

fn hear_icmp4<'f>(frame: &Ethernet<'f>, local: &Local) -> Option<Heard<'f>> {
    let packet = Ipv4Packet::new_checked(frame.packet).ok()?;
    // The crate takes a header shorter than a header.
    if usize::from(packet.header_len()) < drover_wire::frame::IPV4 {
        return None;
    }
    let ip = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
    let from = mapped(ip.src_addr.octets());
    if mapped(ip.dst_addr.octets()) != local.ip
        || from == local.ip
        || !is_host(&from)
        || ip.next_header != IpProtocol::Icmp
    {
        return None;
    }
    let message = Icmpv4Packet::new_checked(packet.payload()).ok()?;
    match Icmpv4Repr::parse(&message, &ChecksumCapabilities::default()).ok()? {
        Icmpv4Repr::EchoRequest { ident, seq_no, data } if frame.from.is_station() => {
            Some(Heard::Echo { from, mac: frame.from, ident, sequence: seq_no, data })
        }
        _ => None,
    }
}

fn hear_icmp6<'f>(frame: &Ethernet<'f>, local: &Local) -> Option<Heard<'f>> {
    let packet = Ipv6Packet::new_checked(frame.packet).ok()?;
    let ip = Ipv6Repr::parse(&packet).ok()?;
    if ip.next_header != IpProtocol::Icmpv6 {
        return None;
    }
    let ours = ip.dst_addr.octets() == local.ip;
    let to_those_asked = ip.dst_addr == solicited_node(&local.ip);
    let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    let from = ip.src_addr.octets();
    let from_host = is_host(&from) && from != local.ip;
    match Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &message, &ChecksumCapabilities::default()).ok()? {
        Icmpv6Repr::EchoRequest { ident, seq_no, data } if ours && from_host && frame.from.is_station() => {
            Some(Heard::Echo { from, mac: frame.from, ident, sequence: seq_no, data })
        }
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, lladdr }) if ip.hop_limit == ON_LINK => {
            if target_addr.octets() != local.ip || !(ours || to_those_asked) {
                return None;
            }
            if ip.src_addr.is_unspecified() {
                // Duplicate address detection: to the group, and without an address of its own (RFC 4861, 7.1.1).
                let probe = Asker { ip: None, mac: frame.from };
                return (!ours && lladdr.is_none()).then_some(Heard::Question(probe));
            }
            let mac = lladdr.map_or(Some(frame.from), station)?;
            (from_host && mac.is_station()).then_some(Heard::Question(Asker { ip: Some(from), mac }))
        }
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr })
            if ip.hop_limit == ON_LINK
                && (ours || ip.dst_addr == ALL_NODES)
                && is_host(&target_addr.octets())
                && is_host(&from) =>
        {
            let mac = match lladdr {
                Some(address) => Some(station(address)?),
                None => None,
            };
            Some(Heard::Answer {
                ip: target_addr.octets(),
                mac,
                ours: ours && flags.contains(NdiscNeighborFlags::SOLICITED),
                overrides: flags.contains(NdiscNeighborFlags::OVERRIDE),
            })
        }
        _ => None,
    }
}

fn station(address: RawHardwareAddress) -> Option<Mac> {
    address.as_bytes().try_into().ok().map(Mac).filter(|mac| mac.is_station())
}

/// Asks who has `hop`: the one who had it at `mac`, or everybody.
pub(super) fn question(local: &Local, hop: &Ip, mac: Option<Mac>) -> Vec<u8> {
    match Family::of(hop) {
        Family::V4 => arp(local, mac.unwrap_or(Mac::BROADCAST), ArpOperation::Request, Mac::default(), hop),
        Family::V6 => {
            let group = solicited_node(hop);
            let (to, to_mac) = mac.map_or((group, group_mac(group)), |mac| (Ipv6Addr::from(*hop), mac));
            let ask = NdiscRepr::NeighborSolicit {
                target_addr: Ipv6Addr::from(*hop),
                lladdr: Some(EthernetAddress(local.mac.0).into()),
            };
            discovery(local, to_mac, to, ask)
        }
    }
}

/// Tells who asked where we are.
pub(super) fn answer(local: &Local, asker: Asker) -> Vec<u8> {
    match local.family() {
        Family::V4 => {
            let to = asker.ip.unwrap_or(mapped([0; 4]));
            arp(local, asker.mac, ArpOperation::Reply, asker.mac, &to)
        }
        Family::V6 => {
            // Who has no address yet is told with everybody (RFC 4861, 7.2.4).
            let (to, mac) = asker.ip.map_or((ALL_NODES, group_mac(ALL_NODES)), |ip| (Ipv6Addr::from(ip), asker.mac));
            let solicited =
                if asker.ip.is_some() { NdiscNeighborFlags::SOLICITED } else { NdiscNeighborFlags::empty() };
            advertisement(local, mac, to, solicited)
        }
    }
}

/// Tells everybody where we are (RFC 5227, 2.3; RFC 4861, 7.2.6).
pub(super) fn announcement(local: &Local) -> Vec<u8> {
    match local.family() {
        Family::V4 => arp(local, Mac::BROADCAST, ArpOperation::Request, Mac::default(), &local.ip),
        Family::V6 => advertisement(local, group_mac(ALL_NODES), ALL_NODES, NdiscNeighborFlags::empty()),
    }
}

/// Gives back what somebody sent.
pub(super) fn echo(local: &Local, to: &Ip, mac: Mac, ident: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let sums = ChecksumCapabilities::default();
    match local.family() {
        Family::V4 => {
            let reply = Icmpv4Repr::EchoReply { ident, seq_no: sequence, data };
            let ip = Ipv4Repr {
                src_addr: v4(&local.ip),
                dst_addr: v4(to),
                next_header: IpProtocol::Icmp,
                payload_len: reply.buffer_len(),
                hop_limit: HOP_LIMIT,
            };
            framed(local, mac, TYPE_IPV4, ip.buffer_len() + reply.buffer_len(), |packet| {
                ip.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &sums);
                reply.emit(&mut Icmpv4Packet::new_unchecked(&mut packet[ip.buffer_len()..]), &sums);
            })
        }
        Family::V6 => {
            let reply = Icmpv6Repr::EchoReply { ident, seq_no: sequence, data };
            icmp6(local, mac, Ipv6Addr::from(*to), HOP_LIMIT, reply)
        }
    }
}

fn v4(ip: &Ip) -> Ipv4Addr {
    let [.., a, b, c, d] = *ip;
    Ipv4Addr::new(a, b, c, d)
}

fn arp(local: &Local, to_mac: Mac, operation: ArpOperation, target: Mac, target_ip: &Ip) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(local.mac.0),
        source_protocol_addr: v4(&local.ip),
        target_hardware_addr: EthernetAddress(target.0),
        target_protocol_addr: v4(target_ip),
    };
    framed(local, to_mac, TYPE_ARP, arp.buffer_len(), |packet| arp.emit(&mut ArpPacket::new_unchecked(packet)))
}

fn advertisement(local: &Local, mac: Mac, to: Ipv6Addr, solicited: NdiscNeighborFlags) -> Vec<u8> {
    let advert = NdiscRepr::NeighborAdvert {
        flags: solicited | NdiscNeighborFlags::OVERRIDE,
        target_addr: Ipv6Addr::from(local.ip),
        lladdr: Some(EthernetAddress(local.mac.0).into()),
    };
    discovery(local, mac, to, advert)
}

pub(super) fn discovery(local: &Local, mac: Mac, to: Ipv6Addr, message: NdiscRepr<'_>) -> Vec<u8> {
    icmp6(local, mac, to, ON_LINK, Icmpv6Repr::Ndisc(message))
}

fn icmp6(local: &Local, mac: Mac, to: Ipv6Addr, hop_limit: u8, message: Icmpv6Repr<'_>) -> Vec<u8> {
    let from = Ipv6Addr::from(local.ip);
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit,
    };
    framed(local, mac, TYPE_IPV6, ip.buffer_len() + message.buffer_len(), |packet| {
        ip.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
        let body = &mut Icmpv6Packet::new_unchecked(&mut packet[ip.buffer_len()..]);
        message.emit(&from, &to, body, &ChecksumCapabilities::default());
    })
}

/// A frame of `len` bytes behind the Ethernet header, which `fill` writes; a short one is filled up with zeros as
/// Ethernet wants it (IEEE 802.3, 4A.2.3.2.3).
fn framed(local: &Local, to: Mac, kind: u16, len: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    /// Bytes of the shortest frame, its check sequence left out.
    const SHORTEST: usize = 60;
    let header = ETHERNET + if local.vlan.is_some() { TAG } else { 0 };
    let mut frame = vec![0; (header + len).max(SHORTEST)];
    write_ethernet(&mut frame[..header], local, to, kind);
    fill(&mut frame[header..header + len]);
    frame
}
