//! IP and UDP headers for datagrams whose own were taken off: RFC 791, RFC 8200, RFC 768.

use crate::Endpoint;
use crate::udp::HOP_LIMIT;
use arrayvec::ArrayVec;

const UDP: u8 = 17;
/// Bytes of headers, with UDP's.
const V4: usize = 20 + UDP_LEN;
const V6: usize = 40 + UDP_LEN;
const UDP_LEN: usize = 8;

/// Headers of one packet.
pub(super) type Headers = ArrayVec<u8, V6>;

/// Bytes of headers of a packet between these two.
pub(super) fn headers_len(one: Endpoint, other: Endpoint) -> usize {
    if is_v4(one, other) { V4 } else { V6 }
}

fn is_v4(one: Endpoint, other: Endpoint) -> bool {
    one.ipv4().is_some() || other.ipv4().is_some()
}

/// Headers of `payload`, of at most a frame's length. Of addresses of two families (a socket on an IPv6 wildcard has IPv4
/// peers) both are IPv4, and the one that is not is shown as 0.0.0.0.
pub(super) fn headers(from: Endpoint, to: Endpoint, payload: &[u8]) -> Headers {
    let mut headers = Headers::new();
    let udp_len = (UDP_LEN + payload.len()) as u16;
    let addresses: ArrayVec<u8, 32> = if is_v4(from, to) {
        [from, to].iter().flat_map(|end| end.ipv4().map_or([0; 4], |ip| ip.octets())).collect()
    } else {
        [from, to].iter().flat_map(|end| end.ip).collect()
    };
    if addresses.len() == 8 {
        headers.extend([0x45, 0]);
        headers.extend((20 + udp_len).to_be_bytes());
        // Identification 0, don't fragment.
        headers.extend([0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
        headers.extend(addresses.iter().copied());
        let sum = checksum(sum(&headers));
        headers[10..12].copy_from_slice(&sum);
    } else {
        headers.extend([0x60, 0, 0, 0]);
        headers.extend(udp_len.to_be_bytes());
        headers.extend([UDP, HOP_LIMIT]);
        headers.extend(addresses.iter().copied());
    }
    let udp = headers.len();
    for field in [from.port, to.port, udp_len, 0] {
        headers.extend(field.to_be_bytes());
    }
    let pseudo_header = sum(&addresses) + u64::from(UDP) + u64::from(udp_len);
    let sum = match checksum(pseudo_header + sum(&headers[udp..]) + sum(payload)) {
        // Zero says that there is none.
        [0, 0] => [0xff, 0xff],
        sum => sum,
    };
    headers[udp + 6..].copy_from_slice(&sum);
    headers
}

/// The sum of 16-bit words (RFC 1071), not folded yet.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum()
}

fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), (!0xddf2u16).to_be_bytes());
    }

    fn good(sum: u64) -> bool {
        checksum(sum) == [0, 0]
    }

    proptest! {
        /// A receiver sums everything, checksum included, to all ones; and lengths are those of the bytes.
        #[test]
        fn headers_are_what_a_receiver_takes(
            v4 in any::<Option<[[u8; 4]; 2]>>(), v6: [[u8; 16]; 2], ports: [u16; 2],
            payload in proptest::collection::vec(any::<u8>(), 0..=crate::FRAME),
        ) {
            let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets();
            let ips = v4.map_or(v6, |ips| ips.map(mapped));
            let [from, to] = [0, 1].map(|end| Endpoint { ip: ips[end], port: ports[end] });
            prop_assume!(v4.is_some() || !is_v4(from, to));
            let headers = headers(from, to, &payload);
            prop_assert_eq!(headers.len(), headers_len(from, to));
            let (ip, udp) = headers.split_at(headers.len() - UDP_LEN);
            let udp_len = UDP_LEN + payload.len();
            let addresses = if v4.is_some() {
                prop_assert!(good(sum(ip)));
                prop_assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), 20 + udp_len);
                &ip[12..]
            } else {
                prop_assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), udp_len);
                &ip[8..]
            };
            prop_assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp_len);
            prop_assert!(good(sum(addresses) + 17 + udp_len as u64 + sum(udp) + sum(&payload)));
        }
    }

    #[test]
    fn addresses_of_two_families_are_both_ipv4() {
        let v4 = Endpoint::from("192.0.2.1:5".parse::<std::net::SocketAddr>().expect("an address"));
        let wildcard = Endpoint { ip: [0; 16], port: 6 };
        let headers = headers(v4, wildcard, b"");
        assert_eq!(headers.len(), headers_len(wildcard, v4));
        assert_eq!(headers[12..24], [192, 0, 2, 1, 0, 0, 0, 0, 0, 5, 0, 6]);
    }
}
