//! A device and the ports of all its workers.

use super::buffer::Queue;
use super::device::{Device, Found, Plan};
use super::eal::Eal;
use super::pool::CACHE;
use super::port::{Datagram, DpdkPort, Parts, ServiceEnd, Siblings};
use super::service::Service;
use crate::neighbour::responder::{Config as LinkConfig, Responder};
use crate::neighbour::{Feed, Table};
use crate::ring::{self, Receiver, Sender};
use crate::{BURST, Endpoint, FRAME, OpenError};
use drover_dpdk_sys as sys;
use drover_wire::frame::{Checksum, HEADERS_MAX, Local, Mac, mtu_needed, payload_max};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Most workers of a device. Each has a ring to each other.
pub const WORKERS_MAX: usize = 64;
/// Most frames that are reserved and not committed, a port.
pub const TX_RING_MAX: usize = 1 << 16;
/// Frames on their way from one worker to another.
const HAND_OVER: usize = 256;
/// Destinations that a port can send to at a time, with next hops that are resolved.
const DESTINATIONS: usize = 1 << 14;
/// Descriptors of a queue, each way: about 0.4 ms of the largest bursts that 10 Gbit/s bring, at 512 bytes.
const DESCRIPTORS: u16 = 1024;

/// A device's configuration.
#[derive(Clone, Debug)]
pub struct DpdkConfig {
    /// A PCI address (`0000:03:00.0`), or a virtual device's name and arguments (`net_af_xdp0,iface=eth1`).
    pub device: String,
    /// Its Ethernet address; none: its own.
    pub mac: Option<Mac>,
    /// The VLAN, 1 to 4094, of every frame; none: frames are untagged.
    pub vlan: Option<u16>,
    /// MTU, bytes, to set; none: what a payload of [`payload`](Self::payload) needs, 1,500 at least.
    pub mtu: Option<u32>,
    /// The largest UDP payload that has to pass, bytes, at most [`FRAME`].
    pub payload: usize,
    /// Frames that each port can have reserved and not committed.
    pub tx_ring: usize,
    /// How the next hop of a destination is found.
    pub next_hops: NextHops,
    /// Whether sums are left to the device where it offers that.
    pub offload: bool,
}

/// How Ethernet addresses are found.
#[derive(Clone, Debug)]
pub enum NextHops {
    /// All frames go to this address. The port answers nobody who asks for its own: who sends to it has to know.
    Fixed(Mac),
    /// A thread beside the device asks the link (ARP, IPv6 neighbour discovery), and answers who asks, echo too.
    Resolved {
        /// Bits of the prefix that is on the link.
        prefix_len: u8,
        /// Where all else goes; none: only the link is reached.
        gateway: Option<IpAddr>,
    },
}

/// A worker: where it listens, on which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The device's IP address, the same for all workers, and this worker's UDP port.
    pub addr: SocketAddr,
    /// The queue that it polls. Queues are numbered from 0, and each has one worker.
    pub queue: u16,
}

/// Opens `config`'s device for these workers; port n is worker n's. The device is closed with the last of its ports.
///
/// A frame for one worker that arrives on another's queue is handed over, as long as that other keeps receiving.
///
/// # Errors
/// `Environment`: no such device, no driver for it, no memory, or it does not start. `Configuration`: more queues than it
/// has, an MTU that it does not take or that is too small for the payload, workers that contradict each other.
pub fn open(eal: &Eal, config: &DpdkConfig, workers: &[Listen]) -> Result<Vec<DpdkPort>, OpenError> {
    // Whoever has this has started EAL.
    let _ = eal;
    check_workers(config, workers)?;
    let mut found = Found::new(&config.device)?;
    check_queues(&found, workers.len())?;
    let mac = take_mac(&mut found, config)?;
    let plan = plan(&found, config, workers)?;
    let mtu = plan.setup.mtu as usize;
    let (receive_checksum, transmit_checksum) = (who(plan.setup.rx_checksums), who(plan.setup.tx_checksums));
    let device = Arc::new(found.start(&plan)?);
    let local = Local { mac, vlan: config.vlan, ip: Endpoint::from(workers[0].addr).ip };
    let Links { tables, service, ends } = links(&device, config, &local, workers.len())?;
    let hop_and_end = tables.into_iter().zip(ends);
    let ports = workers.iter().zip(join(workers)).zip(hop_and_end).map(|((worker, siblings), (table, end))| {
        DpdkPort::new(Parts {
            queue: queue(&device, worker),
            local,
            udp_port: worker.addr.port(),
            table,
            receive_checksum,
            transmit_checksum,
            max_payload: payload_max(mtu, local.family(), config.vlan.is_some()).min(FRAME),
            tx_ring: config.tx_ring,
            siblings,
            service_end: end,
            service: service.clone(),
            device: Arc::clone(&device),
        })
    });
    Ok(ports.collect())
}

/// How the ports of a device find next hops: a table each, and what feeds them.
struct Links {
    tables: Vec<Table>,
    service: Option<Arc<Service>>,
    ends: Vec<Option<ServiceEnd>>,
}

fn links(device: &Arc<Device>, config: &DpdkConfig, local: &Local, workers: usize) -> Result<Links, OpenError> {
    let what = || format!("device {}", config.device);
    match config.next_hops {
        NextHops::Fixed(mac) if !mac.is_station() => Err(OpenError::configuration(
            what(),
            format!("the next hop {mac} is no station"),
            "name one host's address",
        )),
        NextHops::Fixed(mac) => Ok(Links {
            tables: (0..workers).map(|_| Table::fixed(local.family(), mac)).collect(),
            service: None,
            ends: (0..workers).map(|_| None).collect(),
        }),
        NextHops::Resolved { prefix_len, gateway } => {
            let gateway = gateway.map(|gateway| Endpoint::from(SocketAddr::new(gateway, 0)).ip);
            let (tables, feeds) = tables(local, workers)?;
            let responder = Responder::new(LinkConfig { local: *local, prefix_len, gateway }, feeds, Instant::now());
            let mend = "give the address, prefix and gateway that the link has";
            let responder = responder.map_err(|error| OpenError::configuration(what(), error.to_string(), mend))?;
            let (service, ends) = Service::start(device, responder, workers)?;
            Ok(Links { tables, service: Some(service), ends: ends.into_iter().map(Some).collect() })
        }
    }
}

fn tables(local: &Local, workers: usize) -> Result<(Vec<Table>, Vec<Feed>), OpenError> {
    let table = |_| {
        Table::learned(local.family(), DESTINATIONS).map_err(|error| {
            OpenError::environment("a table of next hops", error.to_string(), "see to the system's randomness")
        })
    };
    (0..workers).map(table).collect::<Result<Vec<_>, _>>().map(|both| both.into_iter().unzip())
}

fn queue(device: &Device, worker: &Listen) -> Queue {
    // SAFETY: workers have queues of their own (`check_workers`), and a port keeps its device.
    unsafe { device.queue(worker.queue) }
}

const fn who(device: u8) -> Checksum {
    if device != 0 { Checksum::Offload } else { Checksum::Software }
}

fn check_workers(config: &DpdkConfig, workers: &[Listen]) -> Result<(), OpenError> {
    let wrong = |why: String, mend: &str| Err(OpenError::configuration(format!("device {}", config.device), why, mend));
    if workers.is_empty() || workers.len() > WORKERS_MAX {
        return wrong(format!("{} workers", workers.len()), &format!("give it 1 to {WORKERS_MAX}"));
    }
    let mut queues: Vec<u16> = workers.iter().map(|worker| worker.queue).collect();
    queues.sort_unstable();
    if !queues.iter().copied().eq(0..workers.len() as u16) {
        return wrong(
            format!("workers on queues {queues:?}"),
            "give each queue one worker, from queue 0 on without a gap",
        );
    }
    let ip = workers[0].addr.ip();
    if ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || workers.iter().any(|worker| worker.addr.ip() != ip)
    {
        return wrong(
            format!("workers at {}", list(workers)),
            "give them one address, the device's own: no kernel is here to have one",
        );
    }
    let mut ports: Vec<u16> = workers.iter().map(|worker| worker.addr.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.len() != workers.len() || ports[0] == 0 {
        return wrong(format!("workers at {}", list(workers)), "give each a UDP port of its own, not 0");
    }
    if config.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
        return wrong(format!("VLAN {}", config.vlan.unwrap_or_default()), "choose one of 1 to 4094");
    }
    if !(1..=TX_RING_MAX).contains(&config.tx_ring) {
        return wrong(
            format!("a transmit ring of {} frames", config.tx_ring),
            &format!("allowed are 1 to {TX_RING_MAX}"),
        );
    }
    if config.payload > FRAME {
        return wrong(format!("payloads of {} bytes", config.payload), &format!("a frame holds {FRAME} at most"));
    }
    Ok(())
}

fn list(workers: &[Listen]) -> String {
    workers.iter().map(|worker| worker.addr.to_string()).collect::<Vec<_>>().join(", ")
}

fn check_queues(found: &Found, workers: usize) -> Result<(), OpenError> {
    let offered = usize::from(found.is.max_rx_queues.min(found.is.max_tx_queues));
    if workers <= offered {
        return Ok(());
    }
    Err(OpenError::configuration(
        found.title(),
        format!("{workers} workers need as many queues, and it has {offered}"),
        "use fewer workers, or give the device more queues",
    ))
}

/// The address that is configured, else the device's own.
fn take_mac(found: &mut Found, config: &DpdkConfig) -> Result<Mac, OpenError> {
    let own = Mac(found.is.mac);
    match config.mac {
        Some(mac) if !mac.is_station() => Err(OpenError::configuration(
            found.title(),
            format!("{mac} is no device's address"),
            "choose one whose first byte is even, as in 02:00:00:00:00:01",
        )),
        Some(mac) if mac != own => found.set_mac(mac.0).map(|()| mac),
        None if !own.is_station() => Err(OpenError::configuration(
            found.title(),
            "it has no Ethernet address of its own",
            "give it one: `mac = \"02:00:00:00:00:01\"`",
        )),
        _ => Ok(own),
    }
}

fn plan(found: &Found, config: &DpdkConfig, workers: &[Listen]) -> Result<Plan, OpenError> {
    let family = Local { mac: Mac::default(), vlan: None, ip: Endpoint::from(workers[0].addr).ip }.family();
    let needed = mtu_needed(config.payload, family, config.vlan.is_some()) as u32;
    let mtu = config.mtu.unwrap_or_else(|| needed.max(1500).min(found.is.max_mtu));
    let is = &found.is;
    if mtu < needed || mtu < is.min_mtu || mtu > is.max_mtu {
        return Err(OpenError::configuration(
            found.title(),
            format!(
                "an MTU of {mtu}; payloads of {} bytes need {needed}, and the device takes {} to {}",
                config.payload, is.min_mtu, is.max_mtu
            ),
            "choose an MTU between these, or a smaller cell",
        ));
    }
    let queues = workers.len();
    let descriptors = |most: u16| if most == 0 { DESCRIPTORS } else { DESCRIPTORS.min(most) };
    let (rx, tx) = (descriptors(is.rx_descriptors_max), descriptors(is.tx_descriptors_max));
    let setup = sys::Setup {
        mtu,
        queues: queues as u16,
        rx_descriptors: rx,
        tx_descriptors: tx,
        rx_checksums: u8::from(config.offload && is.rx_checksums != 0),
        tx_checksums: u8::from(config.offload && is.tx_checksums != 0),
        spread: u8::from(queues > 1 && is.spreads != 0),
        ..sys::Setup::default()
    };
    Ok(Plan { setup, mbufs: mbufs(config.tx_ring, queues, usize::from(rx) + usize::from(tx)), room: room(mtu) })
}

/// Mbufs for all that can be full at once: each queue's descriptors, twice, as drivers keep some more; what a worker has
/// reserved, lent and on its way to others; and threads' caches, which may hold half as many again.
fn mbufs(tx_ring: usize, queues: usize, descriptors: usize) -> usize {
    let worker = 2 * descriptors + tx_ring + 4 * BURST + HAND_OVER * (queues - 1);
    queues * worker + (queues + 2) * CACHE * 3 / 2
}

/// Bytes of a frame's buffer: all that the MTU lets in, and a whole frame of ours; rounded up to what drivers that count in
/// units of 1 KiB take.
fn room(mtu: u32) -> u16 {
    let frame = (mtu as usize + HEADERS_MAX).max(FRAME + HEADERS_MAX);
    frame.next_multiple_of(1024).min(usize::from(u16::MAX) - 1024) as u16
}

/// Rings from each worker to each other.
fn join(workers: &[Listen]) -> Vec<Siblings> {
    let mut siblings: Vec<Siblings> = workers.iter().map(|_| Siblings { to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..workers.len() {
        for (to, worker) in workers.iter().enumerate().filter(|(to, _)| *to != from) {
            let (sender, receiver): (Sender<Datagram>, Receiver<Datagram>) = ring::queue(HAND_OVER);
            siblings[from].to.push((worker.addr.port(), sender));
            siblings[to].from.push(receiver);
        }
    }
    siblings
}
