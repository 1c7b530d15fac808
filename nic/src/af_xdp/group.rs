//! Opening all ports of an interface.

use super::attachment::{Attachment, reserve};
use super::config::{AfXdpConfig, Listen, NextHop, OtherQueues, check};
use super::errors;
use super::hand_over::HandOver;
use super::launch::LaunchTime;
use super::port::{AfXdpPort, Bound, Receive, Shared};
use super::socket::Socket;
use super::transmit::Transmit;
use super::umem::{HugePages, RECEIVE_HEADROOM, Umem};
use crate::host::Channels;
use crate::interface::Interface;
use crate::neighbour::netlink::{self, Resolver};
use crate::neighbour::{Feed, Table};
use crate::{Endpoint, FRAME, OpenError, host};
use drover_wire::frame::{Local, Template, mtu_needed, payload_max};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Opens a port for each of `workers` on one interface of the calling thread's network.
///
/// The interface gets an XDP program that takes UDP datagrams for the workers' addresses and leaves all else to the kernel.
/// It is there until the last of the ports is dropped or the process ends. A datagram that arrives on another worker's
/// queue is handed over to the worker of its UDP port. The addresses are kept from other sockets meanwhile.
///
/// # Errors
/// What cannot be had, why, and how to mend it. Nothing of what was made is left then.
pub fn open(config: &AfXdpConfig, workers: &[Listen]) -> Result<Vec<AfXdpPort>, OpenError> {
    open_with(config, workers, None)
}

/// As [`open`], with launch time as `launch` says; `None`: as asked for and offered.
fn open_with(
    config: &AfXdpConfig,
    workers: &[Listen],
    launch: Option<LaunchTime>,
) -> Result<Vec<AfXdpPort>, OpenError> {
    check(config, workers)?;
    let interface =
        Interface::named(&config.interface).map_err(|error| errors::interface(&error, &config.interface))?;
    let queues = fitting_queues(config, &interface, workers)?;
    let local = fitting_local(config, &interface, workers)?;
    let (workers, reservations) = reserve(workers, &interface)?;
    let (tables, feeds) = tables(config, &local, workers.len())?;
    let attachment = Attachment::new(config, &interface, queues, &workers, reservations)?;
    let _resolver = start_resolver(config, &local, feeds)?;
    let shared = Arc::new(Shared { attachment, _resolver });
    let ports: Vec<u16> = workers.iter().map(|worker| worker.addr.port()).collect();
    let launch = launch.unwrap_or_else(|| launch_time(config, &interface));
    let hand_overs = HandOver::group(&ports, config.hand_over);
    workers
        .iter()
        .zip(hand_overs.into_iter().zip(tables))
        .map(|(worker, ends)| open_one(config, &interface, local, worker, launch, ends, &shared))
        .collect()
}

/// The interface's receive queues in number, if the workers' are among them.
fn fitting_queues(config: &AfXdpConfig, interface: &Interface, workers: &[Listen]) -> Result<u32, OpenError> {
    let name = &interface.name;
    let channels = match host::channels(name) {
        // Drivers that cannot tell have one, or as many as the kernel made room for.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Channels { rx: interface.queues.0, combined: true, ..Channels::default() }
        }
        told => told.map_err(|error| errors::queues_unknown(&error, name))?,
    };
    if let Some(beyond) = workers.iter().find(|worker| worker.queue >= channels.rx) {
        return Err(errors::no_such_queue(name, beyond.queue, &channels));
    }
    if config.other_queues == OtherQueues::Refuse && (workers.len() as u64) < u64::from(channels.rx) {
        return Err(errors::queues_without_worker(name, workers.len(), &channels));
    }
    Ok(channels.rx)
}

/// What is constant in the ports' frames, if the interface can carry them.
fn fitting_local(config: &AfXdpConfig, interface: &Interface, workers: &[Listen]) -> Result<Local, OpenError> {
    let name = &interface.name;
    if !interface.up {
        return Err(errors::interface_is_down(name));
    }
    let mac = interface.mac.filter(|mac| mac.is_station()).ok_or_else(|| errors::no_ethernet(name))?;
    let addr = workers[0].addr;
    let local = Local { mac, vlan: config.vlan, ip: Endpoint::from(addr).ip };
    let needed = mtu_needed(config.payload, local.family(), local.vlan.is_some());
    if (interface.mtu as usize) < needed {
        return Err(errors::mtu(interface, needed, config.payload));
    }
    let vlan = config.vlan_interface.as_deref();
    let vlan = vlan.map(|vlan| Interface::named(vlan).map_err(|error| errors::interface(&error, vlan))).transpose()?;
    // In a VLAN without an interface of its own the address may be anywhere: that this machine has it is seen when it is
    // bound.
    if let Some(its) = if config.vlan.is_none() { Some(interface) } else { vlan.as_ref() } {
        let addresses = its.addresses().map_err(|error| errors::interface(&error, &its.name))?;
        if !addresses.iter().any(|(ip, _)| *ip == addr.ip()) {
            return Err(errors::not_its_address(addr, &its.name));
        }
    }
    Ok(local)
}

fn open_one(
    config: &AfXdpConfig,
    interface: &Interface,
    local: Local,
    worker: &Listen,
    launch: LaunchTime,
    (hand_over, neighbours): (HandOver, Table),
    shared: &Arc<Shared>,
) -> Result<AfXdpPort, OpenError> {
    // Frames that may be reserved and not committed, that the kernel may be sending, and that it may receive into.
    let transmit = config.tx_ring + config.wire as usize;
    let count = transmit + config.wire as usize;
    let bytes = count * config.chunk;
    let (umem, mut chunks) = Umem::new(config.chunk, count as u32, config.huge_pages).map_err(|error| {
        if config.huge_pages == HugePages::Require {
            errors::no_huge_pages(&error, bytes)
        } else {
            errors::no_memory(&error, bytes)
        }
    })?;
    let mut socket = Socket::open(config, interface, worker.queue, &umem, launch.metadata())?;
    Receive::fill(&umem, &mut socket, chunks.split_off(transmit));
    let attachment = &shared.attachment;
    attachment.serve(worker.queue, socket.as_fd())?;
    let port = worker.addr.port();
    let bound = Bound {
        interface: interface.name.clone(),
        queue: worker.queue,
        native: attachment.native(),
        fallback: attachment.fallback().map(str::to_owned),
        zero_copy: socket.zero_copy(),
        pages: umem.pages(),
        tx_budget: socket.tx_budget(),
        launch_time: launch,
    };
    let template = Template::new(&local, port);
    let max_payload = largest_payload(config, interface, &local);
    Ok(AfXdpPort {
        transmit: Transmit::new(template, local.family(), launch, chunks, config.wire, max_payload),
        receive: Receive::new(local, port, config.checksum, hand_over),
        neighbours,
        socket,
        umem,
        bound,
        addr: worker.addr,
        _shared: Arc::clone(shared),
    })
}

/// A table of next hops for each worker, and what feeds them where they are resolved.
fn tables(config: &AfXdpConfig, local: &Local, workers: usize) -> Result<(Vec<Table>, Vec<Feed>), OpenError> {
    match config.next_hop {
        NextHop::Fixed(mac) => Ok(((0..workers).map(|_| Table::fixed(local.family(), mac)).collect(), Vec::new())),
        NextHop::Resolve => {
            let made = (0..workers).map(|_| Table::learned(local.family(), config.neighbours));
            made.collect::<Result<_, _>>().map_err(|error| errors::resolver(&error, &config.interface))
        }
    }
}

fn start_resolver(config: &AfXdpConfig, local: &Local, feeds: Vec<Feed>) -> Result<Option<Resolver>, OpenError> {
    if feeds.is_empty() {
        return Ok(None);
    }
    let interface = config.vlan_interface.as_ref().unwrap_or(&config.interface);
    let config = netlink::Config {
        interface: interface.clone(),
        local: local.ip,
        mac: local.mac,
        mtu: mtu_needed(config.payload, local.family(), false) as u32,
    };
    Resolver::start(config, feeds).map(Some).map_err(|error| errors::resolver(&error, interface))
}

/// Of what only makes departures more exact, that it is not there is no error.
fn launch_time(config: &AfXdpConfig, interface: &Interface) -> LaunchTime {
    if !config.launch_time {
        return LaunchTime::Off;
    }
    match host::xdp_features(interface.index) {
        Ok(features) if features.launch_time() => LaunchTime::On,
        _ => LaunchTime::NotOffered,
    }
}

/// What fits into a frame, the interface's MTU, and a chunk on both sides.
fn largest_payload(config: &AfXdpConfig, interface: &Interface, local: &Local) -> usize {
    let by_mtu = payload_max(interface.mtu as usize, local.family(), local.vlan.is_some());
    FRAME.min(by_mtu).min(config.chunk - RECEIVE_HEADROOM - local.headers_len())
}

#[cfg(test)]
#[path = "group/tests.rs"]
mod tests;
