//! Every port passes the conformance suite, and says so (`make test` repeats it).
#![cfg(not(feature = "loom"))]

use drover_nic::capture::{Capture, Limits};
use drover_nic::fault::{Fault, FaultConfig};
use drover_nic::memory::MemoryPort;
use drover_nic::skip::{port_verdict, skipped};
use drover_nic::udp::UdpPort;
use drover_nic::{Endpoint, Port, conformance, memory};
use std::convert::Infallible;
use std::net::SocketAddr;

#[test]
fn memory_ports_conform() {
    let a = Endpoint { ip: [1; 16], port: 1 };
    let b = Endpoint { ip: [2; 16], port: 2 };
    for capacity in [1, 8, 256] {
        conformance::run(&format!("memory of {capacity}"), || {
            let (port_a, port_b) = memory::pair(a, b, capacity);
            (port_a, a, port_b, b)
        });
    }
    port_verdict("memory", Ok::<(), Infallible>(()));
}

#[test]
fn udp_ports_conform() {
    udp("127.0.0.1:0");
    match std::net::UdpSocket::bind("[::1]:0") {
        Ok(_) => udp("[::1]:0"),
        Err(error) => skipped(format_args!("udp ports on IPv6: [::1] cannot be bound: {error}")),
    }
    port_verdict("udp", Ok::<(), Infallible>(()));
}

fn udp(listen: &str) {
    let listen: SocketAddr = listen.parse().expect("an address");
    for (ring_a, ring_b) in [(1, 256), (7, 100)] {
        conformance::run(&format!("udp on {listen}, rings of {ring_a} and {ring_b}"), || {
            let a = UdpPort::bind(listen, ring_a).expect("port a");
            let b = UdpPort::bind(listen, ring_b).expect("port b");
            let (a_at, b_at) = (Endpoint::from(a.local_addr()), Endpoint::from(b.local_addr()));
            (a, a_at, b, b_at)
        });
    }
}

#[test]
fn captured_ports_conform() {
    over_both(
        "capture",
        |port, at| {
            Capture::into_writer(port, at, Limits { ring: 64, ..Limits::default() }, std::io::sink())
                .expect("a capture")
        },
        |port, at| {
            Capture::into_writer(port, at, Limits { packets: 100, ..Limits::default() }, std::io::sink())
                .expect("a capture")
        },
    );
}

#[test]
fn ports_with_no_faults_conform() {
    let make_memory = |port, _| Fault::new(port, &FaultConfig::NONE).expect("allowed");
    over_both("fault", make_memory, |port, _| Fault::new(port, &FaultConfig::NONE).expect("allowed"));
}

/// Runs the suite over a middleware, on memory and on udp.
fn over_both<M: Port, U: Port>(
    name: &str,
    over_memory: impl Fn(MemoryPort, Endpoint) -> M,
    over_udp: impl Fn(UdpPort, Endpoint) -> U,
) {
    let (a, b) = (Endpoint { ip: [1; 16], port: 1 }, Endpoint { ip: [2; 16], port: 2 });
    for capacity in [1, 8, 256] {
        conformance::run(&format!("{name} over memory of {capacity}"), || {
            let (port_a, port_b) = memory::pair(a, b, capacity);
            (over_memory(port_a, a), a, over_memory(port_b, b), b)
        });
    }
    conformance::run(&format!("{name} over udp"), || {
        let bind = || UdpPort::bind("127.0.0.1:0".parse().expect("an address"), 100).expect("a port");
        let (a, b) = (bind(), bind());
        let (a_at, b_at) = (Endpoint::from(a.local_addr()), Endpoint::from(b.local_addr()));
        (over_udp(a, a_at), a_at, over_udp(b, b_at), b_at)
    });
}
