//! What the ports of a group share: the program on the interface, and the addresses kept from others.

use super::bpf::{Link, Program, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, XskMap};
use super::config::{AfXdpConfig, Listen, Mode};
use super::errors;
use super::program::Filter;
use crate::OpenError;
use crate::interface::Interface;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The program's name, as `bpftool` and `ip` show it.
const NAME: &str = "drover_port";

/// A group's program, attached. It goes with the group's last port, or with the process.
#[derive(Debug)]
pub(super) struct Attachment {
    /// Before the map, so that the program goes first.
    _link: Link,
    map: XskMap,
    native: bool,
    /// Why it is not native, where that was tried.
    fallback: Option<String>,
    _reservations: Vec<UdpSocket>,
}

impl Attachment {
    /// Attaches a program for `workers` to the interface. Until [`serve`](Self::serve) all goes on to the kernel.
    pub(super) fn new(
        config: &AfXdpConfig,
        interface: &Interface,
        queues: u32,
        workers: &[Listen],
        reservations: Vec<UdpSocket>,
    ) -> Result<Attachment, OpenError> {
        let map = XskMap::new(queues).map_err(|error| errors::map(&error))?;
        let mut ports: Vec<u16> = workers.iter().map(|worker| worker.addr.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let ip = workers.first().map_or([0; 16], |worker| crate::Endpoint::from(worker.addr).ip);
        let filter = Filter { vlan: config.vlan, ip, ports };
        let program =
            Program::load(NAME, &filter.assemble(map.as_raw_fd())).map_err(|error| errors::program(&error))?;
        let (link, native, fallback) = attach(&program, interface, config.mode)
            .map_err(|error| errors::attach(&error, &interface.name, config.mode))?;
        Ok(Attachment { _link: link, map, native, fallback, _reservations: reservations })
    }

    /// Has the workers' datagrams that arrive on `queue` go to `socket`, until it is closed.
    pub(super) fn serve(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), OpenError> {
        self.map.set(queue, socket).map_err(|error| errors::map_entry(&error, queue))
    }

    /// Whether the driver runs the program.
    pub(super) fn native(&self) -> bool {
        self.native
    }

    /// What the driver said, where it was asked and would not.
    pub(super) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

fn attach(program: &Program, interface: &Interface, mode: Mode) -> io::Result<(Link, bool, Option<String>)> {
    let generic = || program.attach(interface.index, XDP_FLAGS_SKB_MODE);
    let refused = match mode {
        Mode::Generic => return Ok((generic()?, false, None)),
        Mode::Driver | Mode::Auto => match program.attach(interface.index, XDP_FLAGS_DRV_MODE) {
            Ok(link) => return Ok((link, true, None)),
            Err(error) => error,
        },
    };
    let final_ones = [libc::EBUSY, libc::EEXIST, libc::EPERM, libc::EACCES, libc::ENODEV];
    if mode == Mode::Driver || refused.raw_os_error().is_none_or(|errno| final_ones.contains(&errno)) {
        return Err(refused);
    }
    Ok((generic()?, false, Some(refused.to_string())))
}

/// Keeps the workers' addresses from other sockets of this network, and chooses UDP ports where any will do. Nothing is
/// read from what this returns: it gets the few datagrams that the program leaves to the kernel, fragments above all.
/// Without it the kernel would answer those with ICMP errors, and might give the port to somebody else.
pub(super) fn reserve(workers: &[Listen], interface: &Interface) -> Result<(Vec<Listen>, Vec<UdpSocket>), OpenError> {
    let mut sockets: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut any = Vec::new();
    let mut found = Vec::new();
    for worker in workers {
        let mut addr = worker.addr;
        if addr.port() == 0 || !sockets.contains_key(&addr) {
            let refused = |error: io::Error| errors::address(&error, worker.addr, &interface.name);
            let socket = UdpSocket::bind(addr).map_err(refused)?;
            // What nobody reads need not be kept: 0 is the least there is. A system that refuses keeps more.
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 0);
            addr = socket.local_addr().map_err(refused)?;
            if worker.addr.port() == 0 {
                any.push(socket);
            } else {
                sockets.insert(addr, socket);
            }
        }
        found.push(Listen { addr, queue: worker.queue });
    }
    any.extend(sockets.into_values());
    Ok((found, any))
}
