//! What a configuration needs of a machine.

use clap::ValueEnum;
use drover_dataplane::config::{Config, Pacing, Policy, PortConfig};
use drover_dataplane::limits::RAW_WAITING_MAX;
use drover_nic::af_xdp::{HugePages, Mode, ZeroCopy};

/// Bytes of one packet buffer: a frame with its Ethernet, IP and UDP headers, in the two sizes of chunk that AF_XDP has.
const BUFFER: u64 = 2048;
/// Buffers of a worker's receive side: two full rings of the size that NICs commonly have.
const RECEIVE_BUFFERS: u64 = 4096;
/// What DPDK has before each buffer: its headroom and its own record of the packet (RTE_PKTMBUF_HEADROOM, rte_mbuf).
const DPDK_HEADER: u64 = 128 + 128;
/// What DPDK takes for itself: rings, drivers' queues, its heap's first pages.
const DPDK_ITSELF: u64 = 64 << 20;
/// IPv6 and UDP headers.
const HEADERS: u64 = 40 + 8;
/// IPv6's least MTU: datagrams of handshakes are made to fit it.
const HANDSHAKE_MTU: u64 = 1280;

/// Ports of a data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PortKind {
    /// UDP sockets
    Udp,
    /// AF_XDP sockets
    #[value(name = "af_xdp")]
    AfXdp,
    /// DPDK
    Dpdk,
}

impl PortKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            PortKind::Udp => "udp",
            PortKind::AfXdp => "af_xdp",
            PortKind::Dpdk => "dpdk",
        }
    }
}

/// What was asked for beside the configuration; it goes before what that says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The port; else the configuration's, and `af_xdp` in place of `udp` where an interface is named.
    pub port: Option<PortKind>,
    /// The interface; else the configuration's.
    pub interface: Option<String>,
    /// Whether the port may not copy, whatever the configuration says.
    pub zero_copy: bool,
}

/// What is needed.
#[derive(Clone, Debug)]
pub struct Need {
    /// The port.
    pub port: PortKind,
    /// The interface, if one is named.
    pub interface: Option<String>,
    /// Whether the port may not copy.
    pub zero_copy: bool,
    /// Whether XDP is to run in the driver where it can.
    pub driver_mode: bool,
    /// Whether packet buffers are to be on huge pages.
    pub huge_pages: bool,
    /// Whether workers tick, spin, or decide for themselves.
    pub policy: Policy,
    /// The core of each worker.
    pub cores: Vec<Option<u16>>,
    /// How each worker is paced.
    pub pacings: Vec<Pacing>,
    /// Bytes of a worker's cells.
    pub pool: u64,
    /// Cells of a worker.
    pub cells: u64,
    /// Bytes of a worker's tables, cells and frames in ordinary memory.
    pub tables: u64,
    /// Largest IP packet of the mix, bytes.
    pub mtu: u64,
    /// Bytes of a worker's packet buffers, where the port pins or maps them itself.
    pub packets: u64,
    /// The like of the whole process.
    pub packets_of_process: u64,
}

impl Need {
    /// Of a data plane with this configuration.
    pub fn new(config: &Config, asked: Asked) -> Need {
        let (kind, named) = match &config.port {
            PortConfig::Udp => (PortKind::Udp, None),
            PortConfig::AfXdp(port) => (PortKind::AfXdp, Some(port.interface.clone())),
            PortConfig::Dpdk(_) => (PortKind::Dpdk, None),
        };
        let named_only = kind == PortKind::Udp && asked.interface.is_some();
        let port = asked.port.unwrap_or(if named_only { PortKind::AfXdp } else { kind });
        let (driver_mode, huge_pages, may_copy) = match &config.port {
            PortConfig::AfXdp(port) => {
                (port.mode != Mode::Generic, port.huge_pages != HugePages::Off, port.zero_copy != ZeroCopy::Require)
            }
            PortConfig::Dpdk(port) => (true, port.plain_mib.is_none(), true),
            PortConfig::Udp => (true, true, true),
        };
        let (pool, tables) = config.worker_bytes();
        let transmit = (config.sizes.transmit + RAW_WAITING_MAX) as u64;
        let buffers = transmit + RECEIVE_BUFFERS;
        let (packets, packets_of_process) = match port {
            PortKind::Udp => (0, 0),
            PortKind::AfXdp => (buffers * BUFFER, 0),
            PortKind::Dpdk => (buffers * (BUFFER + DPDK_HEADER), DPDK_ITSELF),
        };
        let frames = transmit * (drover_nic::FRAME as u64 + 64);
        Need {
            port,
            interface: asked.interface.or(named),
            zero_copy: asked.zero_copy || !may_copy,
            driver_mode,
            huge_pages,
            policy: config.policy,
            cores: config.workers.iter().map(|worker| worker.core).collect(),
            pacings: config.pacings.clone(),
            pool: pool as u64,
            cells: config.sizes.pool as u64,
            tables: (pool + tables) as u64 + if port == PortKind::Udp { frames } else { 0 },
            mtu: (config.cell.record_len() as u64 + HEADERS).max(HANDSHAKE_MTU),
            packets,
            packets_of_process,
        }
    }

    /// Of a data plane with one worker and every default.
    ///
    /// # Errors
    /// What is wrong with that on this machine.
    pub fn of_defaults(asked: Asked) -> Result<Need, String> {
        const DEFAULTS: &str = "[control]\nsocket = \"/drover.sock\"\n[[worker]]\nlisten = \"127.0.0.1:0\"\n";
        let config = Config::parse(DEFAULTS).map_err(|problems| problems.to_string())?;
        Ok(Need::new(&config, asked))
    }

    /// Workers.
    pub fn workers(&self) -> u64 {
        self.cores.len() as u64
    }

    /// Bytes of packet buffers, of all workers.
    pub fn all_packets(&self) -> u64 {
        self.packets * self.workers() + self.packets_of_process
    }
}
