//! What only a device with launch time has, as far as a cable shows it.

use super::*;
use crate::netns::{Namespace, veth};
use crate::skip::skipped;
use crate::{BURST, Port};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// The kernel takes frames with metadata before them and sends them as they are: it would refuse a layout that it does not
/// know (net/xdp/xsk.c, `xsk_skb_metadata`). That a device holds them back cannot be seen here.
#[test]
fn frames_with_a_launch_time_are_sent_whole() {
    let network = || match Namespace::new() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        made => Some(made.expect("a namespace")),
    };
    let (Some(near), Some(far)) = (network(), network()) else {
        return skipped("launch time on a cable: network namespaces need CAP_SYS_ADMIN");
    };
    veth(&near, "near", &far, "far", 1, 1500).expect("a cable");
    for (network, name, address) in [(&near, "near", "10.79.0.1/24"), (&far, "far", "10.79.0.2/24")] {
        network.address(name, address).expect("an address");
        network.up(name).expect("up");
    }
    let open = |network: &Namespace, name: &str, addr: &str, launch| {
        let next_hop = NextHop::Fixed(far.interface("far").expect("there").mac.expect("Ethernet"));
        let config = AfXdpConfig { launch_time: true, next_hop, ..AfXdpConfig::new(name) };
        let workers = [Listen { addr: addr.parse().expect("an address"), queue: 0 }];
        network.run(|| open_with(&config, &workers, launch)).expect("entered").map(|mut ports| ports.remove(0))
    };
    // veth offers none.
    let mut receiver = open(&far, "far", "10.79.0.2:0", None).expect("a port");
    assert_eq!(receiver.bound().launch_time, LaunchTime::NotOffered);
    let mut sender = match open(&near, "near", "10.79.0.1:0", Some(LaunchTime::On)) {
        Err(error) if error.why.contains("Invalid argument") => {
            return skipped(format_args!("launch time on a cable: the kernel is before Linux 6.8: {error}"));
        }
        opened => opened.expect("a port"),
    };
    let to = Endpoint::from(receiver.local_addr());
    for (number, frame) in sender.reserve(6, 200).into_iter().enumerate() {
        *frame.to = to;
        frame.data.fill(number as u8);
    }
    // Some with a launch time, some without.
    assert_eq!(sender.commit_at(6, |index| (index % 2 == 0).then_some(index as u64 * 1000)), 6);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut got = Vec::new();
    while got.len() < 6 && Instant::now() < deadline {
        got.extend(receiver.receive(BURST).iter().map(|frame| (frame.data[0], frame.data == [frame.data[0]; 200])));
    }
    assert_eq!(got, [0, 1, 2, 3, 4, 5].map(|number| (number, true)));
    let details = sender.details();
    assert!(details.contains(&("kernel_invalid", 0)), "{details:?}");
}
