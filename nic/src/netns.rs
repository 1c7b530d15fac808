//! Network namespaces without names and what joins them: for labs, the demo and tests.
//!
//! Nothing here outlives its last holder. A [`Namespace`] is a descriptor; when it and the last thread, process and
//! socket inside are gone, however they ended, the kernel takes the namespace and every interface in it away.

use crate::interface::{Interface, check_name};
use crate::net;
use crate::netlink::{Netlink, named};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, route::RouteHeader};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// A network of its own: interfaces, addresses, routes. At first it has a loopback that is up, and nothing else.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    /// Opened inside, so it speaks of the inside.
    netlink: Mutex<Netlink>,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_ADMIN and CAP_NET_ADMIN; else what the system says.
    pub fn new() -> io::Result<Namespace> {
        let made = on_a_thread(|| {
            net::enter_network_namespace()?;
            let fd = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
            Ok(Namespace { fd, netlink: Mutex::new(Netlink::open(0)?) })
        });
        made.and_then(|made| made).map_err(|error: io::Error| named(error, "a network namespace"))
    }

    /// The one that `path` leads to: `/proc/PID/ns/net`, or another process's descriptor of one, `/proc/PID/fd/N`.
    ///
    /// # Errors
    /// What the system says: no such file, no permission; `InvalidInput` where it is no network namespace.
    pub fn open(path: &std::path::Path) -> io::Result<Namespace> {
        let fd = OwnedFd::from(File::open(path).map_err(|error| named(error, path.display()))?);
        let netlink = on_a_thread(|| enter(fd.as_fd()).and_then(|()| Netlink::open(0)))?;
        let netlink = netlink.map_err(|error| named(error, path.display()))?;
        Ok(Namespace { fd, netlink: Mutex::new(netlink) })
    }

    /// Moves the calling thread inside, for good: its new sockets, threads and children are there.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_SYS_ADMIN.
    pub fn enter(&self) -> io::Result<()> {
        enter(self.fd.as_fd()).map_err(|error| named(error, "entering a network namespace"))
    }

    /// Runs `work` on a thread of its own inside, and waits for it. A panic of `work` goes on here.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), and when no thread can be made: `work` has not begun.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| self.enter().map(|()| work()))?
    }

    /// Has the program that `command` starts run inside.
    ///
    /// # Errors
    /// When the system has no descriptor left. Later, `spawn` fails without CAP_SYS_ADMIN.
    pub fn start_inside(&self, command: &mut Command) -> io::Result<()> {
        let fd = self.fd.try_clone()?;
        let hook = move || -> io::Result<()> { enter(fd.as_fd()) };
        // SAFETY: between fork and exec only async-signal-safe work is allowed: the hook makes one system call by
        // rustix, which takes no lock and allocates nothing.
        unsafe { command.pre_exec(hook) };
        Ok(())
    }

    /// The interface `name` inside.
    ///
    /// # Errors
    /// As [`Interface::named`].
    pub fn interface(&self, name: &str) -> io::Result<Interface> {
        self.with_netlink(|netlink| Interface::ask(netlink, name))
    }

    /// Sets the interface `name` up or down.
    ///
    /// # Errors
    /// As [`Interface::named`]; else what the system says.
    pub fn set_up(&self, name: &str, up: bool) -> io::Result<()> {
        self.change_link(name, |link| {
            link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
            link.header.change_mask = LinkFlags::Up;
        })
    }

    /// Sets the interface `name` up.
    ///
    /// # Errors
    /// As [`set_up`](Self::set_up).
    pub fn up(&self, name: &str) -> io::Result<()> {
        self.set_up(name, true)
    }

    /// Sets the MTU, bytes, of the interface `name`.
    ///
    /// # Errors
    /// As [`Interface::named`]; `InvalidInput` where the driver does not take it.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        self.change_link(name, |link| link.attributes.push(LinkAttribute::Mtu(mtu)))
    }

    /// Has the interface `name` leave the sums of what sockets send to its other end, as veth does, or not: then the
    /// kernel makes them first, and who reads frames at the other end sees right ones.
    ///
    /// # Errors
    /// As [`Interface::named`]; else what the system says.
    pub fn set_checksum_offload(&self, name: &str, on: bool) -> io::Result<()> {
        check_name(name)?;
        self.run(|| net::set_checksum_offload(name, on))?
            .map_err(|error| named(error, format_args!("checksum offload of {name}")))
    }

    /// Gives the interface `name` an address: `10.1.0.1/24`, `2001:db8::1/64`. It can be used at once: no other host is
    /// asked whether it has it (RFC 4862's duplicate detection is off).
    ///
    /// # Errors
    /// `InvalidInput` for what is no address with a prefix; as [`Interface::named`]; `AlreadyExists`; else what the
    /// system says.
    pub fn address(&self, name: &str, address: &str) -> io::Result<()> {
        let (ip, prefix_len) = parse_prefix(address)?;
        let index = self.interface(name)?.index;
        let mut message = AddressMessage::default();
        message.header.family = family(ip);
        message.header.index = index;
        message.header.prefix_len = prefix_len;
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        self.make(RouteNetlinkMessage::NewAddress(message))
            .map_err(|error| named(error, format_args!("address {address} on {name}")))
    }

    /// Sends what is for `prefix` (`0.0.0.0/0`, `2001:db8:1::/48`) to the host `gateway`.
    ///
    /// # Errors
    /// `InvalidInput` for what is no prefix or of another family than the gateway; `NetworkUnreachable` when no
    /// interface's prefix has the gateway; else what the system says.
    pub fn route(&self, prefix: &str, gateway: IpAddr) -> io::Result<()> {
        let (ip, prefix_len) = parse_prefix(prefix)?;
        if ip.is_ipv4() != gateway.is_ipv4() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{prefix} cannot go by {gateway}")));
        }
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(ip),
            destination_prefix_length: prefix_len,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::from(ip)),
            RouteAttribute::Gateway(RouteAddress::from(gateway)),
        ];
        self.make(RouteNetlinkMessage::NewRoute(message))
            .map_err(|error| named(error, format_args!("route to {prefix} by {gateway}")))
    }

    /// Makes a bridge `name` of the interfaces `ports`, all of them up.
    ///
    /// # Errors
    /// `AlreadyExists`; as [`Interface::named`]; `Unsupported` when the kernel has no bridges; else what the system
    /// says.
    pub fn bridge(&self, name: &str, ports: &[&str]) -> io::Result<()> {
        self.make_link(name, InfoKind::Bridge, None, Vec::new())?;
        let bridge = self.interface(name)?.index;
        for port in ports {
            self.change_link(port, |link| link.attributes.push(LinkAttribute::Controller(bridge)))?;
            self.up(port)?;
        }
        self.up(name)
    }

    /// Makes an interface `name` for VLAN `id` (1 to 4094) on the interface `parent`.
    ///
    /// # Errors
    /// `AlreadyExists`; as [`Interface::named`]; `Unsupported` when the kernel has no VLANs; else what the system says.
    pub fn vlan(&self, parent: &str, name: &str, id: u16) -> io::Result<()> {
        let parent = self.interface(parent)?.index;
        self.make_link(
            name,
            InfoKind::Vlan,
            Some(InfoData::Vlan(vec![InfoVlan::Id(id)])),
            vec![LinkAttribute::Link(parent)],
        )
    }

    fn make_link(
        &self,
        name: &str,
        kind: InfoKind,
        data: Option<InfoData>,
        more: Vec<LinkAttribute>,
    ) -> io::Result<()> {
        check_name(name)?;
        let what = format!("{kind} {name}");
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        let mut link = LinkMessage::default();
        link.attributes = more;
        link.attributes.extend([LinkAttribute::IfName(name.into()), LinkAttribute::LinkInfo(info)]);
        self.make(RouteNetlinkMessage::NewLink(link)).map_err(|error| named(error, what))
    }

    fn change_link(&self, name: &str, change: impl FnOnce(&mut LinkMessage)) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = self.interface(name)?.index;
        change(&mut link);
        self.with_netlink(|netlink| netlink.ask(RouteNetlinkMessage::SetLink(link), 0))
            .map(drop)
            .map_err(|error| named(error, format_args!("interface {name}")))
    }

    fn make(&self, request: RouteNetlinkMessage) -> io::Result<()> {
        self.with_netlink(|netlink| netlink.ask(request, NLM_F_CREATE | NLM_F_EXCL)).map(drop)
    }

    fn with_netlink<T>(&self, work: impl FnOnce(&mut Netlink) -> T) -> T {
        // Answers to a request that somebody's panic cut off have another number.
        work(&mut self.netlink.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a cable: interface `a_name` in `a`, `b_name` in `b`, both down, with `queues` queues each way and an MTU of
/// `mtu` bytes.
///
/// # Errors
/// `InvalidInput` for names, queues or an MTU that the kernel does not take; `AlreadyExists`; `Unsupported` when the
/// kernel has no veth; `PermissionDenied` without CAP_NET_ADMIN in both.
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str, queues: u32, mtu: u32) -> io::Result<()> {
    check_name(b_name)?;
    let common =
        || vec![LinkAttribute::Mtu(mtu), LinkAttribute::NumTxQueues(queues), LinkAttribute::NumRxQueues(queues)];
    let mut peer = LinkMessage::default();
    peer.attributes = common();
    peer.attributes.extend([LinkAttribute::IfName(b_name.into()), LinkAttribute::NetNsFd(b.fd.as_raw_fd())]);
    a.make_link(a_name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))), common())
}

fn enter(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))?)
}

/// Runs `work` on a thread that ends with it; a panic goes on here.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// `10.1.0.1/24`: address and bits of its prefix.
fn parse_prefix(text: &str) -> io::Result<(IpAddr, u8)> {
    let parsed = text.split_once('/').and_then(|(ip, len)| Some((ip.parse().ok()?, len.parse().ok()?)));
    parsed.filter(|(ip, len): &(IpAddr, u8)| *len <= if ip.is_ipv4() { 32 } else { 128 }).ok_or_else(|| {
        let why = format!("{text:?} is no address with a prefix: write it as 10.1.0.1/24 or 2001:db8::1/64");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

#[cfg(test)]
mod tests;
