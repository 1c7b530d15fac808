//! What is on the cable is the datagram's frame, and not a byte more: nothing of an older frame.

use crate::cable::{VLAN, cable, small};
use crate::raw::Raw;
use drover_nic::af_xdp::{AfXdpConfig, Mode};
use drover_nic::{Endpoint, Port};
use drover_wire::frame::{Checksum, Local, parse};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn frames_are_as_long_as_their_datagrams() {
    let Some(cable) = cable(1) else { return };
    let mac = cable.b.network.interface("b0").expect("there").mac.expect("Ethernet");
    // A packet socket shows no tag.
    let addresses = [
        (cable.a.v4, cable.b.v4, None, 42),
        (cable.a.v6, cable.b.v6, None, 62),
        (cable.a.vlan_v4, cable.b.vlan_v4, Some(VLAN), 42),
    ];
    for (near, far, vlan, headers) in addresses {
        let config = AfXdpConfig { vlan, mode: Mode::Driver, ..small() };
        let mut port = cable.a.open_one(&cable.b, &config, near);
        let local = Local { mac, vlan: None, ip: Endpoint::from(SocketAddr::new(far, 0)).ip };
        let to = Endpoint { ip: local.ip, port: 9 };
        let mut capture = Raw::new(&cable.b);
        // Each of the port's chunks is long once, and short afterwards.
        let mut lens = vec![1500; small().tx_ring + small().wire as usize];
        lens.extend([0, 1, 17, 18, 259, 515, 1027].repeat(60));
        for (number, len) in lens.into_iter().enumerate() {
            for frame in port.reserve(1, len) {
                *frame.to = to;
                frame.data.fill(number as u8);
            }
            assert_eq!(port.commit(1), 1);
            let deadline = Instant::now() + Duration::from_secs(10);
            let frame = loop {
                match capture.captured() {
                    // The kernel's own neighbour discovery is on the cable too.
                    Some(frame) if parse(&frame, &local, Checksum::Software).is_ok() => break frame,
                    _ => assert!(Instant::now() < deadline, "frame {number} of {len} bytes did not come"),
                }
            };
            assert_eq!(frame.len(), headers + len);
            assert!(frame[headers..].iter().all(|byte| *byte == number as u8));
        }
    }
}
