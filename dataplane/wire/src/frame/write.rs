//! The headers of a frame that is sent.

use super::{
    Checksum, ETHERNET, Family, HEADERS_MAX, HOP_LIMIT, IPV4, IPV6, Local, Mac, PAYLOAD_MAX, PROTOCOL_UDP, Sum, TAG,
    TYPE_VLAN, UDP, VLAN_ID,
};

/// A port's headers with all that is constant in them, and its sums: a frame adds what is its own.
///
/// Time to live and hop limit are [`HOP_LIMIT`]; type of service, traffic class, flow label and identification are 0;
/// IPv4 says don't fragment.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    headers: [u8; HEADERS_MAX],
    len: usize,
    /// Where IP begins.
    ip: usize,
    family: Family,
    /// Of IPv4's header without length and destination.
    ip_sum: Sum,
    /// Of the pseudo-header without length and destination.
    pseudo: Sum,
    from_port: u16,
}

impl Template {
    /// The headers of what `local` sends from UDP port `from_port`.
    pub fn new(local: &Local, from_port: u16) -> Template {
        let family = local.family();
        let mut headers = [0; HEADERS_MAX];
        let (ethernet, behind) = headers.split_at_mut(ETHERNET + if local.vlan.is_some() { TAG } else { 0 });
        write_ethernet(ethernet, local, Mac::default(), family.ethertype());
        let (ip, udp) = behind.split_at_mut(family.ip_header());
        match family {
            Family::V4 => write_ipv4(ip, local),
            Family::V6 => write_ipv6(ip, local),
        }
        udp[..2].copy_from_slice(&from_port.to_be_bytes());
        let from_ip = match family {
            Family::V4 => &local.ip[12..],
            Family::V6 => &local.ip[..],
        };
        Template {
            ip_sum: if family == Family::V4 { Sum::default().with(ip) } else { Sum::default() },
            pseudo: Sum::default().with(from_ip).with_word(u16::from(PROTOCOL_UDP)),
            len: local.headers_len(),
            ip: ethernet.len(),
            from_port,
            family,
            headers,
        }
    }

    /// Bytes of the headers.
    #[inline]
    pub const fn headers_len(&self) -> usize {
        self.len
    }

    /// Writes the whole of `headers`, which go before `payload` on the wire.
    ///
    /// # Panics
    /// When `headers` is not [`headers_len`](Self::headers_len) bytes. A `payload` above [`super::PAYLOAD_MAX`], or a
    /// `to_ip` of the other family, is a caller's bug too, which debug builds tell: no frame can be made of it.
    #[inline]
    pub fn write(
        &self,
        headers: &mut [u8],
        to_mac: Mac,
        to_ip: &[u8; 16],
        to_port: u16,
        payload: &[u8],
        checksum: Checksum,
    ) {
        debug_assert!(payload.len() <= PAYLOAD_MAX);
        debug_assert_eq!(Family::of(to_ip), self.family);
        headers.copy_from_slice(&self.headers[..self.len]);
        let (ethernet, behind) = headers.split_at_mut(self.ip);
        ethernet[..6].copy_from_slice(&to_mac.0);
        let udp_len = (UDP + payload.len()) as u16;
        match self.family {
            Family::V4 => {
                let (ip, udp) = behind.split_at_mut(IPV4);
                let [.., a, b, c, d] = *to_ip;
                let to_ip = [a, b, c, d];
                let total_len = (IPV4 as u16).wrapping_add(udp_len);
                ip[2..4].copy_from_slice(&total_len.to_be_bytes());
                ip[10..12].copy_from_slice(&self.ip_sum.with_word(total_len).with(&to_ip).checksum());
                ip[16..20].copy_from_slice(&to_ip);
                self.write_udp(udp, self.pseudo.with(&to_ip), to_port, payload, checksum);
            }
            Family::V6 => {
                let (ip, udp) = behind.split_at_mut(IPV6);
                ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
                ip[24..40].copy_from_slice(to_ip);
                self.write_udp(udp, self.pseudo.with(to_ip), to_port, payload, checksum);
            }
        }
    }

    /// `pseudo` has the addresses and the protocol; `udp` has the source port. Nothing is read back that was just
    /// written.
    #[inline]
    fn write_udp(&self, udp: &mut [u8], pseudo: Sum, to_port: u16, payload: &[u8], checksum: Checksum) {
        let len = (UDP + payload.len()) as u16;
        udp[2..4].copy_from_slice(&to_port.to_be_bytes());
        udp[4..6].copy_from_slice(&len.to_be_bytes());
        let pseudo = pseudo.with_word(len);
        let sum = match checksum {
            Checksum::Offload => pseudo.folded(),
            Checksum::Software => {
                match pseudo.with_word(self.from_port).with_word(to_port).with_word(len).with(payload).checksum() {
                    // 0 says that there is no sum (RFC 768).
                    [0, 0] => [0xff, 0xff],
                    sum => sum,
                }
            }
        };
        udp[6..8].copy_from_slice(&sum);
    }
}

/// Writes the headers that go before `payload`: [`Template`] made for one frame. A port keeps its template.
///
/// # Panics
/// As [`Template::write`].
#[allow(clippy::too_many_arguments)]
pub fn write_headers(
    headers: &mut [u8],
    local: &Local,
    from_port: u16,
    to_mac: Mac,
    to_ip: &[u8; 16],
    to_port: u16,
    payload: &[u8],
    checksum: Checksum,
) {
    Template::new(local, from_port).write(headers, to_mac, to_ip, to_port, payload, checksum);
}

/// Writes the Ethernet header, and the tag where `local` has a VLAN, of a frame that carries `kind`.
///
/// # Panics
/// When `header` is not [`ETHERNET`] bytes, [`TAG`] more with a VLAN.
pub fn write_ethernet(header: &mut [u8], local: &Local, to: Mac, kind: u16) {
    header[..6].copy_from_slice(&to.0);
    header[6..12].copy_from_slice(&local.mac.0);
    let kind = kind.to_be_bytes();
    match local.vlan {
        None => header[12..].copy_from_slice(&kind),
        Some(vlan) => {
            header[12..14].copy_from_slice(&TYPE_VLAN.to_be_bytes());
            header[14..16].copy_from_slice(&(vlan & VLAN_ID).to_be_bytes());
            header[16..].copy_from_slice(&kind);
        }
    }
}

fn write_ipv4(header: &mut [u8], local: &Local) {
    /// Version 4, five words of header.
    const VERSION: u8 = 0x45;
    const DONT_FRAGMENT: u8 = 0x40;
    header[0] = VERSION;
    header[6] = DONT_FRAGMENT;
    header[8] = HOP_LIMIT;
    header[9] = PROTOCOL_UDP;
    header[12..16].copy_from_slice(&local.ip[12..]);
}

fn write_ipv6(header: &mut [u8], local: &Local) {
    const VERSION: u8 = 0x60;
    header[0] = VERSION;
    header[6] = PROTOCOL_UDP;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&local.ip);
}
