//! The workers' ports, opened as the configuration says.

use crate::config::{CaptureConfig, Config, PortConfig};
use crate::limits::RAW_WAITING_MAX;
use drover_nic::af_xdp::{self, AfXdpConfig};
use drover_nic::any::AnyPort;
use drover_nic::udp::UdpPort;
use drover_nic::{OpenError, udp};
use std::io;
use std::path::PathBuf;

/// Opens a port for each worker. To be called from a thread that is pinned nowhere: what ports bring with them, such as a
/// capture's writer, runs where it may.
///
/// # Errors
/// What could not be had, why, and the mend.
pub fn open(config: &Config) -> Result<Vec<AnyPort>, OpenError> {
    let ports = match &config.port {
        PortConfig::Udp => udp_ports(config)?,
        PortConfig::AfXdp(port) => af_xdp_ports(config, port)?,
        PortConfig::Dpdk(port) => dpdk_ports(config, port)?,
    };
    #[cfg(feature = "lab")]
    let ports = faulty(config, ports)?;
    match &config.capture {
        None => Ok(ports),
        Some(capture) => captured(capture, ports),
    }
}

/// Frames beside those of slots, for datagrams of control.
fn tx_ring(config: &Config) -> usize {
    (config.sizes.transmit + RAW_WAITING_MAX).min(udp::MAX_TX_RING)
}

fn udp_ports(config: &Config) -> Result<Vec<AnyPort>, OpenError> {
    let workers = config.workers.iter().enumerate();
    let open = |(at, worker): (usize, &crate::config::WorkerConfig)| {
        UdpPort::bind(worker.listen, tx_ring(config))
            .map(AnyPort::Udp)
            .map_err(|error| udp_error(at, worker.listen, &error))
    };
    workers.map(open).collect()
}

fn udp_error(at: usize, listen: std::net::SocketAddr, error: &io::Error) -> OpenError {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has it (`ss -ulpn` tells which): choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address (`ip address`)",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: choose another",
        _ => "see `drover doctor`",
    };
    OpenError::environment(format!("worker[{at}].listen {listen}"), error.to_string(), mend)
}

fn af_xdp_ports(config: &Config, port: &AfXdpConfig) -> Result<Vec<AnyPort>, OpenError> {
    let listen =
        |worker: &crate::config::WorkerConfig| af_xdp::Listen { addr: worker.listen, queue: u32::from(worker.queue) };
    let workers: Vec<_> = config.workers.iter().map(listen).collect();
    let ports = af_xdp::open(&AfXdpConfig { tx_ring: tx_ring(config), ..port.clone() }, &workers)?;
    Ok(ports.into_iter().map(|port| AnyPort::AfXdp(Box::new(port))).collect())
}

#[cfg(feature = "dpdk")]
fn dpdk_ports(config: &Config, port: &crate::config::DpdkPort) -> Result<Vec<AnyPort>, OpenError> {
    use drover_nic::dpdk::{self, Eal, EalConfig, Memory, NextHops};
    let eal = Eal::start(&EalConfig {
        memory: port.plain_mib.map_or(Memory::Huge, |mib| Memory::Plain { mib }),
        devices: vec![port.device.clone()],
        raw: port.eal.clone(),
        ..EalConfig::default()
    })?;
    eprintln!("drover-dataplane: {}: {}", Eal::version(), eal.line());
    let next_hops = port
        .next_hop
        .map_or(NextHops::Resolved { prefix_len: port.prefix_len, gateway: port.gateway }, NextHops::Fixed);
    let device = dpdk::DpdkConfig {
        device: port.device.clone(),
        mac: port.mac,
        vlan: port.vlan,
        mtu: port.mtu,
        payload: crate::config::PAYLOAD,
        tx_ring: tx_ring(config),
        next_hops,
        offload: port.offload,
    };
    let listen = |worker: &crate::config::WorkerConfig| dpdk::Listen { addr: worker.listen, queue: worker.queue };
    let workers: Vec<_> = config.workers.iter().map(listen).collect();
    let ports = dpdk::open(&eal, &device, &workers)?;
    Ok(ports.into_iter().map(|port| AnyPort::Dpdk(Box::new(port))).collect())
}

/// A configuration that asks for it is refused before.
#[cfg(not(feature = "dpdk"))]
fn dpdk_ports(_: &Config, port: &crate::config::DpdkPort) -> Result<Vec<AnyPort>, OpenError> {
    let mend = "build with `cargo build --features dpdk` (needs libdpdk-dev 22.11 or later)";
    Err(OpenError::configuration(format!("device {}", port.device), "this build is without DPDK", mend))
}

#[cfg(feature = "lab")]
fn faulty(config: &Config, ports: Vec<AnyPort>) -> Result<Vec<AnyPort>, OpenError> {
    let Some(fault) = &config.fault else { return Ok(ports) };
    let wrong = |error: drover_nic::fault::FaultError| {
        OpenError::configuration("[fault]", error.to_string(), "choose what is allowed")
    };
    ports.into_iter().map(|port| port.faulty(fault).map_err(wrong)).collect()
}

fn captured(capture: &CaptureConfig, ports: Vec<AnyPort>) -> Result<Vec<AnyPort>, OpenError> {
    eprintln!("drover-dataplane: {}: {}", capture.file.display(), drover_nic::capture::WARNING);
    let of = |(worker, port): (usize, AnyPort)| {
        let path = of_worker(capture, worker);
        port.captured(capture.limits, &path).map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::AlreadyExists => "nothing is overwritten: move it away, or name another file",
                _ => "name a file in a folder that this process may write",
            };
            OpenError::environment(format!("capture.file {}", path.display()), error.to_string(), mend)
        })
    };
    ports.into_iter().enumerate().map(of).collect()
}

fn of_worker(capture: &CaptureConfig, worker: usize) -> PathBuf {
    let mut path = capture.file.clone().into_os_string();
    if worker > 0 {
        path.push(format!(".{worker}"));
    }
    path.into()
}
