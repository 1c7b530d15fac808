//! A resolver that asks the kernel, for ports beside which the kernel is on the interface.
//!
//! A thread takes what tables want, asks the kernel for the route, has it resolve the next hop, and follows its
//! changes: neighbours, routes, addresses, the link. Frames past the kernel do not tell it that a neighbour is alive,
//! so the thread has it confirm what is in use. It keeps no state in the kernel beyond ordinary neighbour entries.

use super::book::Book;
use super::rate::Rate;
use super::{Feed, Ip, address_of, ip_of};
use crate::interface::Interface;
use crate::netlink::Netlink;
use drover_wire::frame::{Family, Mac};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a want waits at most until the thread looks: workers make no system call to wake it.
const TURN: Duration = Duration::from_millis(10);
/// Next hops that the kernel is made to ask for, a second. Its own limits are wider; ours is what strangers can cause.
const REQUESTS_A_SECOND: u32 = 100;
/// How often a next hop in use is confirmed (RFC 4861's REACHABLE_TIME).
const CONFIRM_EVERY: Duration = Duration::from_secs(30);
/// How often all routes are asked for anew at most, while the kernel's change without end.
const REROUTE_EVERY: Duration = Duration::from_secs(1);
/// What the thread is told of: links, neighbours, IPv4 addresses and routes, IPv6 addresses and routes (rtnetlink(7)).
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/// What a resolver is for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The interface that routes must leave by and neighbours be on: the port's, or a VLAN's on top of it.
    pub interface: String,
    /// The port's IP address.
    pub local: Ip,
    /// The Ethernet address that the port's frames carry. While the interface has another one, its link counts as down.
    pub mac: Mac,
    /// The largest IP packet that the port sends, bytes. While the interface takes less, its link counts as down.
    pub mtu: u32,
}

/// What a resolver has done, and how the link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the thread is at work; it ends early only by a fault of its own.
    pub running: bool,
    /// Whether frames can leave: up, with a carrier, the port's address and room for its packets.
    pub link_up: bool,
    /// Next hops that the kernel was made to ask for or to confirm.
    pub requests: u64,
    /// Of these, requests that the kernel did not take: without CAP_NET_ADMIN all of them.
    pub refused: u64,
    /// Destinations without a route by the interface, or beyond the requests that are made in a second.
    pub failures: u64,
    /// Times that the kernel had more to tell than was read: everything was asked for anew.
    pub lost: u64,
}

/// A running resolver. It ends when this is dropped.
#[derive(Debug)]
pub struct Resolver {
    stop: Arc<OwnedFd>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    link_up: AtomicBool,
    requests: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
}

impl Resolver {
    /// Starts the thread, in the network namespace of the calling one. When this returns, the tables will hear of the
    /// link.
    ///
    /// # Errors
    /// `NotFound` when there is no such interface; `AddrNotAvailable` when it does not have the local address;
    /// `InvalidInput` when it has no Ethernet or more tables are given than a resolver serves; else what the system
    /// says.
    pub fn start(config: Config, feeds: Vec<Feed>) -> io::Result<Resolver> {
        if feeds.len() > super::book::FEEDS_MAX {
            let why = format!("{} tables for one resolver: at most {}", feeds.len(), super::book::FEEDS_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let index = checked(&config)?.index;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let shared = Arc::new(Shared::default());
        let mut work = Work::new(config, index, feeds, Arc::clone(&shared))?;
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("neighbours".into()).spawn(move || work.run(&stopped))?;
        Ok(Resolver { stop, shared, thread: Some(thread) })
    }

    /// What it has done.
    pub fn status(&self) -> Status {
        Status {
            running: self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            link_up: self.shared.link_up.load(Ordering::Relaxed),
            requests: self.shared.requests.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // Cannot fail: the counter is 0 before, and this is its only write.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic has said its piece on standard error.
            let _ = thread.join();
        }
    }
}

/// The interface, when a port can be on it.
fn checked(config: &Config) -> io::Result<Interface> {
    let interface = Interface::named(&config.interface)?;
    if interface.mac.is_none() {
        let why = format!("interface {} has no Ethernet address: a port needs an Ethernet", interface.name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let ip = address_of(&config.local);
    if !interface.addresses()?.iter().any(|(address, _)| *address == ip) {
        let why =
            format!("interface {0} does not have the address {ip}: `ip address add {ip}/… dev {0}`", interface.name);
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
    }
    Ok(interface)
}

/// The thread's state.
struct Work {
    config: Config,
    index: u32,
    /// For requests, and for what the kernel tells unasked.
    requests: Netlink,
    events: Netlink,
    book: Book,
    hops: HashMap<Ip, Hop>,
    rate: Rate,
    routes_changed: bool,
    rerouted: Instant,
    shared: Arc<Shared>,
}

/// A next hop in use.
struct Hop {
    mac: Option<Mac>,
    /// When the kernel was last made to ask for it.
    asked: Instant,
    /// It did not answer once, and has been asked again.
    doubted: bool,
}

impl Work {
    fn new(config: Config, index: u32, feeds: Vec<Feed>, shared: Arc<Shared>) -> io::Result<Work> {
        let now = Instant::now();
        let mut work = Work {
            index,
            // Before the first request, so that no change is missed between them.
            events: Netlink::open(GROUPS)?,
            requests: Netlink::open(0)?,
            book: Book::new(feeds),
            hops: HashMap::new(),
            rate: Rate::new(REQUESTS_A_SECOND, now),
            routes_changed: false,
            rerouted: now,
            config,
            shared,
        };
        work.look_at_link();
        work.book.flush();
        Ok(work)
    }

    fn run(&mut self, stop: &OwnedFd) {
        let turn = Timespec { tv_sec: 0, tv_nsec: TURN.as_nanos() as i64 };
        loop {
            let mut ready = [PollFd::new(&self.events, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            // An interrupted wait is a short one.
            let _ = poll(&mut ready, Some(&turn));
            if !ready[1].revents().is_empty() {
                return;
            }
            self.turn(Instant::now());
        }
    }

    fn turn(&mut self, now: Instant) {
        self.listen(now);
        for ip in self.book.wanted(now) {
            self.resolve(ip, now);
        }
        if self.routes_changed && now.saturating_duration_since(self.rerouted) >= REROUTE_EVERY {
            self.routes_changed = false;
            self.rerouted = now;
            for ip in self.book.destinations() {
                self.resolve(ip, now);
            }
        }
        self.confirm(now);
        self.book.age(now);
        self.book.flush();
    }

    /// Takes what the kernel has told.
    fn listen(&mut self, now: Instant) {
        loop {
            match self.events.told() {
                Ok(told) => told.into_iter().for_each(|event| self.event(event, now)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.ask_all(now),
                Err(_) => return,
            }
        }
    }

    /// Something was lost: asks anew for what may have changed.
    fn ask_all(&mut self, now: Instant) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        self.routes_changed = true;
        self.look_at_link();
        for hop in self.hops.keys().copied().collect::<Vec<_>>() {
            self.look(hop, now);
        }
    }

    fn event(&mut self, event: RouteNetlinkMessage, now: Instant) {
        match event {
            RouteNetlinkMessage::NewNeighbour(message) => self.neighbour(&message, now),
            RouteNetlinkMessage::DelNeighbour(mut message) => {
                message.header.state = NeighbourState::Failed;
                self.neighbour(&message, now);
            }
            // Not every one tells all, or that the interface is gone: a bridge's does not.
            RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)
                if message.header.index == self.index =>
            {
                self.look_at_link();
                self.routes_changed = true;
            }
            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => self.routes_changed = true,
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => self.routes_changed = true,
            _ => {}
        }
    }

    fn look_at_link(&mut self) {
        let up = Interface::ask_index(&mut self.requests, self.index).is_ok_and(|interface| {
            let fits = interface.mac == Some(self.config.mac) && interface.mtu >= self.config.mtu;
            interface.running && fits
        });
        self.shared.link_up.store(up, Ordering::Relaxed);
        self.book.set_link(up);
    }

    /// Finds the way to a destination.
    fn resolve(&mut self, ip: Ip, now: Instant) {
        let Ok(Some(hop)) = self.next_hop(&ip) else {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            return self.book.fail(&ip, now);
        };
        self.book.reach(&ip, hop, self.hops.get(&hop).and_then(|hop| hop.mac), now);
        if self.hops.get(&hop).is_none_or(|hop| hop.mac.is_none() && now >= hop.asked + Duration::from_secs(1)) {
            if self.rate.take(now) {
                self.look(hop, now);
            } else {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                self.book.fail(&ip, now);
            }
        }
    }

    /// The next hop of the kernel's route to `ip`, if it leaves by our interface and ends at one host.
    fn next_hop(&mut self, ip: &Ip) -> io::Result<Option<Ip>> {
        let (to, from) = (address_of(ip), address_of(&self.config.local));
        let bits = if to.is_ipv4() { 32 } else { 128 };
        let mut request = RouteMessage::default();
        request.header = RouteHeader {
            address_family: if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
            destination_prefix_length: bits,
            source_prefix_length: bits,
            ..RouteHeader::default()
        };
        request.attributes =
            vec![RouteAttribute::Destination(RouteAddress::from(to)), RouteAttribute::Source(RouteAddress::from(from))];
        let answers = self.requests.ask(RouteNetlinkMessage::GetRoute(request), 0)?;
        Ok(answers.iter().find_map(|answer| self.hop_of(answer, *ip)))
    }

    fn hop_of(&self, answer: &RouteNetlinkMessage, ip: Ip) -> Option<Ip> {
        let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
        let ours = route.attributes.contains(&RouteAttribute::Oif(self.index));
        if !ours || route.header.kind != RouteType::Unicast {
            return None;
        }
        // Without a gateway the destination is on the link.
        let gateway = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => Some(ip_of((*v4).into())),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => Some(v6.octets()),
            RouteAttribute::Via(RouteVia::Inet(v4)) => Some(ip_of((*v4).into())),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(v6.octets()),
            _ => None,
        });
        Some(gateway.unwrap_or(ip))
    }

    /// Takes what the kernel knows of a next hop, and has it ask where it knows nothing.
    fn look(&mut self, hop: Ip, now: Instant) {
        let known = self.requests.ask(RouteNetlinkMessage::GetNeighbour(self.neighbour_request(&hop)), 0);
        self.hops.entry(hop).or_insert(Hop { mac: None, asked: now, doubted: false });
        for answer in known.unwrap_or_default() {
            if let RouteNetlinkMessage::NewNeighbour(message) = answer {
                self.neighbour(&message, now);
            }
        }
        if self.hops.get(&hop).is_some_and(|hop| hop.mac.is_none()) {
            self.have_it_asked(hop, now);
        }
    }

    /// Has the kernel ask the network for a next hop, or confirm it, as if it had a packet for it (NTF_USE).
    fn have_it_asked(&mut self, hop: Ip, now: Instant) {
        let mut request = self.neighbour_request(&hop);
        request.header.flags = NeighbourFlags::Use;
        if let Some(hop) = self.hops.get_mut(&hop) {
            hop.asked = now;
        }
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        // What it finds it tells as an event. When it cannot ask, no event comes and the destinations are given up.
        if self.requests.ask(RouteNetlinkMessage::NewNeighbour(request), NLM_F_CREATE).is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn neighbour_request(&self, hop: &Ip) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = self.index;
        let (family, address) = match Family::of(hop) {
            Family::V4 => {
                let [.., a, b, c, d] = *hop;
                (AddressFamily::Inet, NeighbourAddress::Inet([a, b, c, d].into()))
            }
            Family::V6 => (AddressFamily::Inet6, NeighbourAddress::Inet6((*hop).into())),
        };
        message.header.family = family;
        message.attributes = vec![NeighbourAttribute::Destination(address)];
        message
    }

    /// What the kernel says of a neighbour.
    fn neighbour(&mut self, message: &NeighbourMessage, now: Instant) {
        if message.header.ifindex != self.index {
            return;
        }
        let Some(ip) = message.attributes.iter().find_map(neighbours_ip) else { return };
        let Some(hop) = self.hops.get_mut(&ip) else { return };
        use NeighbourState::{Delay, Failed, Noarp, Permanent, Probe, Reachable, Stale};
        match message.header.state {
            Reachable | Stale | Delay | Probe | Permanent | Noarp => {
                let Some(mac) = message.attributes.iter().find_map(neighbours_mac) else { return };
                hop.doubted &= message.header.state != Reachable;
                hop.mac = Some(mac);
                self.book.learn(&ip, Some(mac), now);
            }
            // What was there may only have been cleared away, or its answer lost: the kernel asks by broadcast now.
            Failed if hop.mac.is_some() && !hop.doubted => {
                hop.doubted = true;
                self.have_it_asked(ip, now);
            }
            Failed => {
                hop.mac = None;
                hop.doubted = false;
                self.book.learn(&ip, None, now);
            }
            _ => {}
        }
    }

    /// Has next hops in use confirmed, and forgets the others.
    fn confirm(&mut self, now: Instant) {
        let due = |hop: &Hop| now.saturating_duration_since(hop.asked) >= CONFIRM_EVERY;
        let due: Vec<Ip> = self.hops.iter().filter(|(_, hop)| due(hop)).map(|(ip, _)| *ip).collect();
        for ip in due {
            if !self.book.uses(&ip) {
                self.hops.remove(&ip);
            } else if self.rate.take(now) {
                self.have_it_asked(ip, now);
            }
        }
    }
}

fn neighbours_ip(attribute: &NeighbourAttribute) -> Option<Ip> {
    match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(ip_of((*v4).into())),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(v6.octets()),
        _ => None,
    }
}

fn neighbours_mac(attribute: &NeighbourAttribute) -> Option<Mac> {
    match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            bytes.as_slice().try_into().ok().map(Mac).filter(|mac| mac.is_station())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
