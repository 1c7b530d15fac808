//! Socket addresses as the kernel reads and writes them (ip(7), ipv6(7)).

use crate::Endpoint;
use std::net::Ipv4Addr;

/// Bytes of a `sockaddr_in`.
const V4: usize = 16;
/// Bytes of a `sockaddr_in6`.
const V6: usize = 28;

/// Room for a `sockaddr_in` or a `sockaddr_in6`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Name([u8; V6]);

impl Name {
    pub(super) const EMPTY: Name = Name([0; V6]);

    /// Bytes that the kernel may write.
    pub(super) const ROOM: usize = V6;

    /// `endpoint` as a socket of IPv4 (`v4`) or IPv6 takes it, and its length; `None` for an IPv6 address to an IPv4
    /// socket.
    pub(super) fn of(endpoint: Endpoint, v4: bool) -> Option<(Name, usize)> {
        let mut name = Name::EMPTY;
        name.0[2..4].copy_from_slice(&endpoint.port.to_be_bytes());
        if v4 {
            name.0[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name.0[4..8].copy_from_slice(&endpoint.ipv4()?.octets());
            Some((name, V4))
        } else {
            // Flow information and scope id stay zero.
            name.0[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name.0[8..24].copy_from_slice(&endpoint.ip);
            Some((name, V6))
        }
    }

    /// The endpoint that the kernel wrote; [`Endpoint::NONE`] if it wrote none.
    pub(super) fn endpoint(&self, len: usize) -> Endpoint {
        let [f0, f1, p0, p1, a, b, c, d, ..] = self.0;
        let port = u16::from_be_bytes([p0, p1]);
        match libc::c_int::from(u16::from_ne_bytes([f0, f1])) {
            libc::AF_INET if len >= V4 => Endpoint { ip: Ipv4Addr::new(a, b, c, d).to_ipv6_mapped().octets(), port },
            libc::AF_INET6 if len >= V6 => {
                let mut ip = [0; 16];
                ip.copy_from_slice(&self.0[8..24]);
                Endpoint { ip, port }
            }
            _ => Endpoint::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::mem::offset_of;

    #[test]
    fn the_layout_is_the_systems() {
        assert_eq!(size_of::<libc::sockaddr_in>(), V4);
        assert_eq!(size_of::<libc::sockaddr_in6>(), V6);
        assert!(align_of::<Name>() >= align_of::<libc::sockaddr_in6>());
        assert_eq!((offset_of!(libc::sockaddr_in, sin_family), size_of::<libc::sa_family_t>()), (0, 2));
        assert_eq!(offset_of!(libc::sockaddr_in, sin_port), 2);
        assert_eq!(offset_of!(libc::sockaddr_in, sin_addr), 4);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_family), 0);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_port), 2);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_addr), 8);
    }

    #[test]
    fn an_ipv6_address_does_not_fit_an_ipv4_socket() {
        assert!(Name::of(Endpoint { ip: [0x20; 16], port: 1 }, true).is_none());
        assert!(Name::of(Endpoint::NONE, true).is_none());
    }

    proptest! {
        #[test]
        fn endpoints_survive_the_round_trip(ip: [u8; 16], v4: [u8; 4], port: u16) {
            let v6 = Endpoint { ip, port };
            let mapped = Endpoint { ip: Ipv4Addr::from(v4).to_ipv6_mapped().octets(), port };
            for (endpoint, as_v4, expected) in [(v6, false, V6), (mapped, false, V6), (mapped, true, V4)] {
                let (name, len) = Name::of(endpoint, as_v4).expect("it has a name");
                prop_assert_eq!(len, expected);
                prop_assert_eq!(name.endpoint(len), endpoint);
            }
        }

        #[test]
        fn any_name_can_be_read(bytes: [u8; 28], len: usize) {
            let endpoint = Name(bytes).endpoint(len);
            prop_assert!(len >= V4 || endpoint == Endpoint::NONE);
        }
    }
}
