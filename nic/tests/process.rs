//! What the process asks of the kernel. In a program of its own, since it changes the whole process.

use drover_nic::net;
use rustix::process::{DumpableBehavior, Resource};
use std::io;
use std::net::UdpSocket;
use std::thread;

#[test]
fn a_thread_has_its_own_loopback_and_passes_it_on() {
    let outside = UdpSocket::bind("127.0.0.1:0").expect("a socket outside");
    let address = outside.local_addr().expect("its address");
    let inside = thread::spawn(move || {
        if let Err(error) = net::enter_network_namespace() {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            return false;
        }
        // The port is taken outside, so this is another network; and its loopback carries.
        let receiver = UdpSocket::bind(address).expect("the same address in another network");
        thread::spawn(move || {
            let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket in an inherited network");
            sender.send_to(b"inherited", address).expect("the loopback is up");
        })
        .join()
        .expect("the spawned thread");
        let mut buffer = [0; 16];
        receiver.set_nonblocking(true).expect("non-blocking");
        let len = receiver.recv(&mut buffer).expect("loopback delivers at once");
        assert_eq!(&buffer[..len], b"inherited");
        true
    });
    if !inside.join().expect("the thread inside") {
        drover_nic::skip::skipped("a network namespace needs CAP_SYS_ADMIN");
    }
    outside.set_nonblocking(true).expect("non-blocking");
    let error = outside.recv(&mut [0; 16]).expect_err("nothing was sent out here");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn timer_slack_is_set() {
    net::set_timer_slack(1234).expect("timer slack");
    assert_eq!(rustix::thread::current_timer_slack(), Ok(1234));
    net::set_timer_slack(0).expect("timer slack");
    assert_eq!(rustix::thread::current_timer_slack(), Ok(1));
}

#[test]
fn a_hardened_process_leaves_no_core() {
    net::harden_process().expect("hardening");
    assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    let limit = rustix::process::getrlimit(Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
}

#[test]
fn locked_memory_is_counted_as_locked() {
    if let Err(error) = net::lock_memory() {
        assert!(matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory), "{error}");
        drover_nic::skip::skipped(format_args!("locking memory is not allowed here: {error}"));
        return;
    }
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("our status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("VmLck");
    assert_ne!(locked.trim(), "0 kB");
}
