//! What the system says when a group cannot be opened, in words, and what mends it.

use super::config::{Mode, ZeroCopy};
use super::umem::huge_pages_for;
use crate::OpenError;
use crate::host::Channels;
use crate::interface::Interface;
use std::io;
use std::net::SocketAddr;

const PRIVILEGES: &str = "run it as root, or with CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF \
    (systemd: AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF)";

fn is(error: &io::Error, any_of: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|errno| any_of.contains(&errno))
}

fn not_permitted(error: &io::Error) -> bool {
    is(error, &[libc::EPERM, libc::EACCES])
}

pub(super) fn interface(error: &io::Error, name: &str) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            OpenError::environment(format!("interface {name}"), "there is none", "`ip link` lists those there are")
        }
        io::ErrorKind::InvalidInput => {
            OpenError::configuration("interface", error.to_string(), "`ip link` lists those there are")
        }
        _ => OpenError::environment(format!("interface {name}"), error.to_string(), "see `ip link`"),
    }
}

pub(super) fn interface_is_down(name: &str) -> OpenError {
    OpenError::environment(format!("interface {name}"), "it is down", format!("`ip link set dev {name} up`"))
}

pub(super) fn no_ethernet(name: &str) -> OpenError {
    OpenError::environment(format!("interface {name}"), "it is no Ethernet", "use another, or the port `udp`")
}

pub(super) fn mtu(interface: &Interface, needed: usize, payload: usize) -> OpenError {
    let Interface { name, mtu, .. } = interface;
    let why = format!("its MTU is {mtu}; datagrams of {payload} bytes and their headers need {needed}");
    let mend = format!("`ip link set dev {name} mtu {needed}`, on the way's other interfaces too, or smaller cells");
    OpenError::environment(format!("interface {name}"), why, mend)
}

pub(super) fn no_such_queue(name: &str, queue: u32, channels: &Channels) -> OpenError {
    let why = format!("interface {name} has {} receive queues, from 0", channels.rx);
    let mend = format!("{}, or use fewer workers", set_queues(name, queue.saturating_add(1) as usize, channels));
    OpenError::environment(format!("queue {queue}"), why, mend)
}

pub(super) fn queues_without_worker(name: &str, workers: usize, channels: &Channels) -> OpenError {
    let queues = channels.rx;
    let why =
        format!("it has {queues} receive queues and {workers} of them have a worker: what arrived on others were lost");
    let set = set_queues(name, workers, channels);
    let mend = format!("{set}; or steer the workers' ports to their queues (`ethtool -N`) and say so");
    OpenError::environment(format!("interface {name}"), why, mend)
}

fn set_queues(name: &str, count: usize, channels: &Channels) -> String {
    if channels.combined {
        format!("`ethtool -L {name} combined {count}`")
    } else {
        format!("`ethtool -L {name} rx {count} tx {count}`")
    }
}

pub(super) fn queues_unknown(error: &io::Error, name: &str) -> OpenError {
    let why = format!("its queues cannot be counted: {error}");
    OpenError::environment(format!("interface {name}"), why, format!("see `ethtool -l {name}`"))
}

pub(super) fn address(error: &io::Error, addr: SocketAddr, interface: &str) -> OpenError {
    let ip = addr.ip();
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => not_its_address(addr, interface),
        io::ErrorKind::AddrInUse => {
            let mend = "use another UDP port, or end what has it (`ss -lunp`)";
            OpenError::environment(format!("address {addr}"), "another socket has it", mend)
        }
        _ if not_permitted(error) => {
            let mend = "use a UDP port from 1024, or give CAP_NET_BIND_SERVICE";
            OpenError::environment(format!("address {addr}"), error.to_string(), mend)
        }
        _ => OpenError::environment(format!("address {addr}"), error.to_string(), format!("see `ip address` for {ip}")),
    }
}

pub(super) fn not_its_address(addr: SocketAddr, interface: &str) -> OpenError {
    let bits = if addr.is_ipv4() { 24 } else { 64 };
    let mend = format!("`ip address add {}/{bits} dev {interface}`, or give one of its own", addr.ip());
    OpenError::environment(format!("address {addr}"), format!("interface {interface} does not have it"), mend)
}

pub(super) fn resolver(error: &io::Error, interface: &str) -> OpenError {
    let what = format!("next hops on interface {interface}");
    OpenError::environment(what, error.to_string(), "give the next hop's Ethernet address, or see `ip neighbour`")
}

pub(super) fn map(error: &io::Error) -> OpenError {
    bpf("the map of sockets", error)
}

pub(super) fn program(error: &io::Error) -> OpenError {
    bpf("the XDP program", error)
}

fn bpf(what: &str, error: &io::Error) -> OpenError {
    // The verifier says EACCES too, and why.
    if is(error, &[libc::EPERM, libc::EACCES]) {
        return OpenError::environment(what, format!("no permission ({error})"), PRIVILEGES);
    }
    OpenError::environment(what, error.to_string(), "it needs Linux 5.9 or later with BPF and XDP_SOCKETS built in")
}

pub(super) fn attach(error: &io::Error, name: &str, mode: Mode) -> OpenError {
    let what = format!("the XDP program on {name}");
    let native = || match mode {
        Mode::Generic => format!("see `ip -details link show dev {name}`"),
        _ => "set mode = \"generic\" or \"auto\", which is slower".to_string(),
    };
    if not_permitted(error) {
        return OpenError::environment(what, format!("no permission ({error})"), PRIVILEGES);
    }
    if is(error, &[libc::EBUSY, libc::EEXIST]) {
        let mend = format!("end the program that attached it (`bpftool link`), or `ip link set dev {name} xdp off`");
        return OpenError::environment(what, "another XDP program is attached", mend);
    }
    if is(error, &[libc::EOPNOTSUPP]) {
        return OpenError::environment(what, "its driver has no native XDP", native());
    }
    if is(error, &[libc::ERANGE]) {
        let why = "its MTU, or that of a virtual interface's other end, is too large for native XDP";
        return OpenError::environment(what, why, format!("`ip link set dev {name} mtu 1500`; or {}", native()));
    }
    if is(error, &[libc::ENOSPC]) {
        let why = "it has fewer receive queues than its other end has transmit queues, or too few for native XDP";
        return OpenError::environment(what, why, format!("`ethtool -L {name} …`, or {}", native()));
    }
    OpenError::environment(what, error.to_string(), native())
}

pub(super) fn socket(error: io::Error) -> OpenError {
    let what = "an AF_XDP socket";
    if not_permitted(&error) {
        return OpenError::environment(what, format!("no permission ({error})"), PRIVILEGES);
    }
    if is(&error, &[libc::EAFNOSUPPORT]) {
        let mend = "build the kernel with XDP_SOCKETS, or use the port `udp`";
        return OpenError::environment(what, "the kernel has none", mend);
    }
    OpenError::environment(what, error.to_string(), "see what the system says")
}

pub(super) fn no_huge_pages(error: &io::Error, bytes: usize) -> OpenError {
    let pages = huge_pages_for(bytes);
    let mend = format!(
        "`sysctl vm.nr_hugepages=N`, N at least {pages} more than are used, or huge_pages = \"prefer\" (each worker needs as many)"
    );
    OpenError::environment(format!("{pages} huge pages of 2 MiB"), error.to_string(), mend)
}

pub(super) fn no_memory(error: &io::Error, bytes: usize) -> OpenError {
    OpenError::environment(format!("{bytes} bytes for frames"), error.to_string(), "use a smaller tx_ring or wire")
}

pub(super) fn memory(error: io::Error, bytes: u64) -> OpenError {
    let what = format!("{bytes} bytes for frames");
    if is(&error, &[libc::ENOBUFS]) {
        let mend = format!(
            "`ulimit -l unlimited`, or give CAP_IPC_LOCK (systemd: LimitMEMLOCK=infinity); {bytes} bytes a worker are locked"
        );
        return OpenError::environment(what, "more than RLIMIT_MEMLOCK lets the process lock", mend);
    }
    OpenError::environment(what, error.to_string(), "use a smaller tx_ring or wire")
}

pub(super) fn rings(error: io::Error, entries: u32) -> OpenError {
    OpenError::environment(format!("kernel rings of {entries} entries"), error.to_string(), "use a smaller wire")
}

pub(super) fn bind(error: io::Error, wanted: ZeroCopy, interface: &Interface, queue: u32) -> OpenError {
    let name = &interface.name;
    let what = format!("queue {queue} of interface {name}");
    if is(&error, &[libc::EBUSY]) {
        let mend = "end the process that has it (`ss --xdp`), or use another queue";
        return OpenError::environment(what, "another AF_XDP socket has it", mend);
    }
    if is(&error, &[libc::ENETDOWN, libc::ENODEV]) {
        return interface_is_down(name);
    }
    if not_permitted(&error) {
        return OpenError::environment(what, format!("no permission ({error})"), PRIVILEGES);
    }
    if wanted == ZeroCopy::Require && is(&error, &[libc::EOPNOTSUPP, libc::EINVAL, libc::ENOTSUP]) {
        let why = format!("its driver refuses zero-copy ({error})");
        return OpenError::environment(what, why, "set zero_copy = \"prefer\" or \"off\", which is slower");
    }
    OpenError::environment(what, error.to_string(), format!("see `ethtool -l {name}`"))
}

pub(super) fn map_entry(error: &io::Error, queue: u32) -> OpenError {
    OpenError::environment(format!("the socket of queue {queue}"), error.to_string(), PRIVILEGES)
}
