//! What the kernel tells of a cable of ours, which needs CAP_SYS_ADMIN.
#![cfg(not(feature = "loom"))]

use drover_nic::host::{Channels, Driver, channels, driver, xdp_features};
use drover_nic::netns::{Namespace, veth};
use drover_nic::skip;
use std::io::{self, ErrorKind};

const QUEUES: u32 = 3;

fn cable() -> io::Result<Namespace> {
    let network = Namespace::new()?;
    veth(&network, "a0", &network, "b0", QUEUES, 1500)?;
    Ok(network)
}

#[test]
fn the_kernel_tells_of_a_cable() {
    let network = match cable() {
        Ok(network) => network,
        Err(error) => return skip::skipped(format_args!("what the kernel tells of a cable: {error}")),
    };
    let index = network.interface("a0").expect("an interface").index;
    let told = network.run(|| (driver("a0"), channels("a0"), xdp_features(index)));
    let (driver, channels, features) = told.expect("a thread inside");
    assert_eq!(driver.expect("a driver"), Driver { name: "veth".to_owned(), bus: String::new() });
    let all = Channels { rx: QUEUES, tx: QUEUES, max_rx: QUEUES, max_tx: QUEUES, combined: false };
    assert_eq!(channels.expect("queues"), all);
    match features {
        Ok(features) => assert!(features.driver_mode() && !features.zero_copy(), "{features:?}"),
        Err(error) if error.kind() == ErrorKind::Unsupported => skip::skipped(error),
        Err(error) => panic!("{error}"),
    }
}
