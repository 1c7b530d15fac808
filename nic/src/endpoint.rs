//! Addresses of peers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A peer's address in one fixed shape: IPv6, or IPv4 mapped into it (RFC 4291, 2.5.5.2).
///
/// A scope id has no place here: link-local peers are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// IPv6 address, IPv4 as ::ffff:a.b.c.d.
    pub ip: [u8; 16],
    /// UDP port.
    pub port: u16,
}

/// Three numbers: what a worker hashes for every datagram.
impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ip = u128::from_ne_bytes(self.ip);
        state.write_u64(ip as u64);
        state.write_u64((ip >> 64) as u64);
        state.write_u16(self.port);
    }
}

impl Endpoint {
    /// All zero: no peer.
    pub const NONE: Endpoint = Endpoint { ip: [0; 16], port: 0 };

    /// The address as IPv4, if it is one.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        Ipv6Addr::from(self.ip).to_ipv4_mapped()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Endpoint { ip: ip.octets(), port: address.port() }
    }
}

/// A mapped address becomes an IPv4 one.
impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(endpoint.ip).to_canonical(), endpoint.port)
    }
}

/// As [`SocketAddr`] prints: `192.0.2.1:4433`, `[2001:db8::1]:4433`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::from(text.parse::<SocketAddr>().expect("a literal address"))
    }

    #[test]
    fn an_ipv4_address_is_mapped() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        assert_eq!(endpoint("192.0.2.1:4433"), Endpoint { ip: mapped, port: 4433 });
        assert_eq!(endpoint("192.0.2.1:4433").ipv4(), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(endpoint("[2001:db8::1]:4433").ipv4(), None);
        assert_eq!(Endpoint::NONE.ipv4(), None);
    }

    #[test]
    fn both_shapes_of_an_ipv4_address_are_one_endpoint() {
        assert_eq!(endpoint("[::ffff:192.0.2.1]:9"), endpoint("192.0.2.1:9"));
    }

    #[test]
    fn endpoints_print_as_socket_addresses_do() {
        assert_eq!(endpoint("192.0.2.1:4433").to_string(), "192.0.2.1:4433");
        assert_eq!(endpoint("[2001:db8::1]:4433").to_string(), "[2001:db8::1]:4433");
        assert_eq!(format!("{:>20}", endpoint("192.0.2.1:4433")), "      192.0.2.1:4433");
    }

    proptest! {
        #[test]
        fn an_endpoint_survives_the_round_trip(ip: [u8; 16], v4: [u8; 4], port: u16) {
            let v6 = Endpoint { ip, port };
            prop_assert_eq!(Endpoint::from(SocketAddr::from(v6)), v6);
            let address = SocketAddr::from((v4, port));
            prop_assert_eq!(SocketAddr::from(Endpoint::from(address)), address);
        }
    }
}
