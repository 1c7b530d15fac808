//! What a process asks of the kernel about itself: a network of its own, exact timers, memory that stays its own.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};

/// Moves the calling thread into a new network namespace whose loopback is up: nothing else, nobody else.
///
/// Threads and children that this thread spawns afterwards inherit it; other threads stay where they are. For tests and
/// labs.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_ADMIN; else what the system says.
pub fn enter_network_namespace() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointer, and this flag changes only which network the thread's new sockets see.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    bring_loopback_up()
}

fn bring_loopback_up() -> io::Result<()> {
    let socket = any_socket()?;
    let mut request = interface_request("lo");
    interface_call(&socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the call that just succeeded wrote this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    interface_call(&socket, libc::SIOCSIFFLAGS, &mut request)
}

/// Has the interface `name` of the calling thread's network make the sums of packets that sockets send, or not.
///
/// What a virtual interface is to sum is never summed. Its other end believes that, but a program that reads frames there
/// sees wrong sums: turn it off.
pub(crate) fn set_checksum_offload(name: &str, on: bool) -> io::Result<()> {
    /// ethtool's number for "set transmit checksums" (linux/ethtool.h).
    const ETHTOOL_STXCSUM: u32 = 0x17;
    // struct ethtool_value.
    let mut value = [ETHTOOL_STXCSUM, u32::from(on)];
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    interface_call(&any_socket()?, libc::SIOCETHTOOL, &mut request)
}

/// For calls about interfaces of the calling thread's network.
pub(crate) fn any_socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// A name that is too long is cut off.
pub(crate) fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: a C structure of characters and a union of integers and pointers: all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// Makes one of the calls that take an ifreq. SIOCETHTOOL's must point to the structure of the command that it begins with.
pub(crate) fn interface_call(socket: &OwnedFd, call: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: all calls that use this take an ifreq with a name (netdevice(7)) and keep no pointer to it; SIOCETHTOOL's
    // points to a structure of its command's size (linux/ethtool.h) that lives until the call is over.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), call, &raw mut *request) })
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread's timers be late by `ns` nanoseconds at most, to be woken together with others; the system's
/// own value is 50 µs. 0 means 1: zero would restore the default (PR_SET_TIMERSLACK(2const)).
///
/// # Errors
/// What the system says.
pub fn set_timer_slack(ns: u64) -> io::Result<()> {
    Ok(rustix::thread::set_current_timer_slack(NonZeroU64::new(ns.max(1)))?)
}

/// Keeps all memory of the process, present and future, in RAM: no page fault waits for a disk and no key is swapped out.
///
/// # Errors
/// `PermissionDenied` or `OutOfMemory` when RLIMIT_MEMLOCK does not allow it and CAP_IPC_LOCK is missing (mlock(2)).
pub fn lock_memory() -> io::Result<()> {
    Ok(rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
}

/// Keeps the process's secrets out of core files and away from debuggers of the same user: not dumpable, core limit 0.
///
/// An `execve` makes a process dumpable again; the core limit stays.
///
/// # Errors
/// What the system says.
pub fn harden_process() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}
