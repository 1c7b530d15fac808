//! When a process ends, however it does, its program is off the interface.

use crate::cable::{cable, small};
use drover_nic::af_xdp::{self, AfXdpConfig, Listen, Mode, NextHop};
use drover_wire::frame::Mac;
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the interface and the address of the child below; without it that test is not a child and does nothing.
const CHILD: &str = "DROVER_TEST_AF_XDP_CHILD";
const READY: &str = "the port is open";

/// Not a test of its own: the process that is killed, in the network of the test that starts it.
#[test]
fn child_with_a_port() {
    let Ok(argument) = std::env::var(CHILD) else { return };
    let (mode, addr) = argument.split_once(' ').expect("a mode and an address");
    let mode = if mode == "driver" { Mode::Driver } else { Mode::Generic };
    let next_hop = NextHop::Fixed(Mac::BROADCAST);
    let config = AfXdpConfig { interface: "b0".into(), mode, next_hop, ..small() };
    let workers = [Listen { addr: addr.parse().expect("an address"), queue: 0 }];
    let _ports = af_xdp::open(&config, &workers).expect("opened");
    println!("{READY}");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_process_leaves_no_program() {
    for mode in ["driver", "generic"] {
        let Some(cable) = cable(1) else { return };
        let addr = SocketAddr::new(cable.b.v4, 4433);
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "ends::child_with_a_port", "--nocapture"]).env(CHILD, format!("{mode} {addr}"));
        command.stdout(Stdio::piped());
        drover_nic::child::end_with_parent(&mut command, Signal::KILL);
        cable.b.network.start_inside(&mut command).expect("a descriptor");
        let mut child = command.spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.expect("a line").contains(READY)), "the child ended");

        // While it lives its address is kept, and the interface is taken.
        let bind = || cable.b.network.run(|| UdpSocket::bind(addr)).expect("entered");
        assert_eq!(bind().expect_err("kept").kind(), std::io::ErrorKind::AddrInUse);
        let other = Listen { addr: SocketAddr::new(cable.b.v4, 4434), queue: 0 };
        let error = cable.b.open(&cable.a, &small(), &[other]).expect_err("taken");
        assert!(error.why.contains("another XDP program"), "{error}");

        child.kill().expect("killed");
        child.wait().expect("gone");

        // What the program took goes to the kernel again.
        let socket = bind().expect("free");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let sender = cable.a.network.run(|| UdpSocket::bind(SocketAddr::new(cable.a.v4, 0))).expect("entered");
        sender.expect("bound").send_to(b"the kernel's", addr).expect("sent");
        let mut data = [0; 32];
        let (len, _) = socket.recv_from(&mut data).expect("received");
        assert_eq!(&data[..len], b"the kernel's");
        drop(socket);
        // And the place is free for the next one, at once.
        let again = cable.b.open(&cable.a, &small(), &[Listen { addr, queue: 0 }]).expect("opened again");
        assert_eq!(again[0].local_addr(), addr);
    }
}
