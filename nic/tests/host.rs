//! What the kernel tells of a cable of ours, in a network of its own: needs CAP_SYS_ADMIN and `ip`.
#![cfg(not(feature = "loom"))]

use drover_nic::host::{Driver, channels, driver, xdp_features};
use drover_nic::{net, skip};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use std::io::ErrorKind;
use std::process::Command;

fn cable() -> Result<(), String> {
    net::enter_network_namespace().map_err(|error| format!("no network of its own: {error}"))?;
    let words = "link add a0 numrxqueues 3 numtxqueues 2 type veth peer name b0";
    let made = Command::new("ip").args(words.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    made.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&made.stderr).into_owned())
}

fn of_a_cable() {
    if let Err(why) = cable() {
        return skip::skipped(format_args!("what the kernel tells of a cable: {why}"));
    }
    assert_eq!(driver("a0").expect("a driver"), Driver { name: "veth".to_owned(), bus: String::new() });
    let channels = channels("a0").expect("queues");
    assert_eq!((channels.max_rx, channels.max_tx, channels.combined), (3, 2, false));
    assert!(channels.rx <= 3 && channels.tx <= 2 && channels.rx > 0, "{channels:?}");
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    let index = name_to_index(&socket, "a0").expect("an index");
    match xdp_features(index) {
        Ok(features) => assert!(features.driver_mode() && !features.zero_copy(), "{features:?}"),
        Err(error) if error.kind() == ErrorKind::Unsupported => skip::skipped(error),
        Err(error) => panic!("{error}"),
    }
}

/// The thread's network goes with it.
#[test]
fn the_kernel_tells_of_a_cable() {
    std::thread::spawn(of_a_cable).join().expect("the thread in its own network");
}
