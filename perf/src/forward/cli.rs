//! `drover-perf forward`.

use super::{About, Bench, Report, Sample, interface, measure};
use crate::bed::{Bed, Mode, PEERS_MAX, PortKind, Room, Wire};
use crate::hop::cli::SECONDS_MAX;
use crate::output::{Error, Output, within};
use crate::run::Run;
use clap::ValueEnum;
use drover_nic::any::AnyPort;
use drover_nic::memory::port_and_wire;
use drover_nic::{Endpoint, Port, af_xdp};
use drover_wire::cell::CellSize;
use drover_wire::frame::Mac;
use drover_wire::record::record_len;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
Only the port's part is timed, burst by burst: the peers, in the same process, send before and look after. Every datagram \
that comes back is compared; what does not is counted by place. --port af_xdp makes two networks without names and a cable \
between them, which vanish with the process; with --interface it sends back what comes there by itself, and times no wait. \
--port dpdk takes two --vdev and forwards between them both ways, exchanging Ethernet addresses, as testpmd's macswap does: \
--against testpmd runs that in turns on the same core.";

/// Most datagrams of a batch: the peers' sockets hold them.
const BATCH_MAX: usize = 2048;

/// What receiving and sending a packet takes, header read, without any crypto: what other figures are compared to.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// The port
    #[arg(long, value_enum, default_value_t = Kind::Memory)]
    pub port: Kind,
    /// Cell size in bytes, 256, 512 or 1024: a datagram is its record
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// How long to measure, 1..=60 s, the peers' part included
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// Peers, 1..=500
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub peers: usize,
    /// Datagrams of a batch, 1..=2048
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub batch: usize,
    /// With --port af_xdp: who runs the XDP program
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// With --port af_xdp: an interface of this machine, queue 0, instead of a cable of its own; needs --listen
    #[arg(long, value_name = "NAME", requires = "listen")]
    pub interface: Option<String>,
    /// With --interface: its address and the UDP port to receive at
    #[arg(long, value_name = "IP:PORT", requires = "interface")]
    pub listen: Option<SocketAddr>,
    /// With --interface: send all to this Ethernet address; without it the kernel is asked
    #[arg(long, value_name = "MAC", requires = "interface")]
    pub next_hop: Option<Mac>,
    /// With --port dpdk: a virtual device, twice
    #[arg(long, value_name = "DEVICE")]
    pub vdev: Vec<String>,
    /// With --port dpdk: where its memory is; on ordinary pages where there are no huge ones
    #[arg(long, value_enum, default_value_t = Pages::Huge)]
    pub memory: Pages,
    /// With --port dpdk: a program to measure beside, in turns
    #[arg(long, value_enum)]
    pub against: Option<Program>,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// A kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Rings of memory.
    Memory,
    /// A UDP socket, to sockets on loopback.
    Udp,
    /// An AF_XDP socket, over a cable of this tool's own or a named interface.
    #[value(name = "af_xdp")]
    AfXdp,
    /// Two devices of DPDK's.
    Dpdk,
}

/// Where DPDK's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// On huge pages.
    Huge,
    /// On ordinary pages.
    Plain,
}

/// A program to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// DPDK's testpmd, macswap.
    Testpmd,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config<'a> {
    port: Kind,
    cell: usize,
    seconds: u64,
    peers: usize,
    batch: usize,
    mode: Mode,
    interface: Option<&'a str>,
    vdev: &'a [String],
    memory: Option<Pages>,
    against: Option<Program>,
}

/// Measures, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range or that do not go together; a port that cannot be opened; a datagram that came back wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("peers", args.peers, 1..=PEERS_MAX)?;
    within("batch", args.batch, 1..=BATCH_MAX)?;
    go_together(args)?;
    let config = Config {
        port: args.port,
        cell: args.cell.bytes(),
        seconds: args.seconds,
        peers: args.peers,
        batch: args.batch,
        mode: args.mode,
        interface: args.interface.as_deref(),
        vdev: &args.vdev,
        memory: (args.port == Kind::Dpdk).then_some(args.memory),
        against: args.against,
    };
    let under_test = open(args)?;
    let mut run = Run::create("forward", args.output.out.as_deref(), &config)?;
    match under_test.measure(args, &mut run) {
        Ok((samples, report)) => {
            samples.iter().try_for_each(|sample| run.trial(sample))?;
            Ok(args.output.text(&report, &run.finish(&report)?))
        }
        Err(error) => Err(run.fail(error).into()),
    }
}

fn go_together(args: &Args) -> Result<(), Error> {
    let wrong = |text: &str| Err(Error::Usage(text.to_owned()));
    match args.port {
        Kind::Dpdk if args.vdev.len() != 2 => wrong(
            "--port dpdk forwards between two devices: give --vdev twice, as in --vdev net_null0,size=512 --vdev net_null1,size=512",
        ),
        Kind::Memory | Kind::Udp | Kind::Dpdk if args.interface.is_some() => {
            wrong("--interface goes with --port af_xdp")
        }
        Kind::Memory | Kind::Udp | Kind::AfXdp if !args.vdev.is_empty() => wrong("--vdev goes with --port dpdk"),
        Kind::Memory | Kind::Udp | Kind::AfXdp if args.against.is_some() => wrong("--against goes with --port dpdk"),
        _ => Ok(()),
    }
}

/// A port that is open, and how it is measured.
enum UnderTest {
    Memory,
    Bed(Box<Bed>),
    Interface(Box<AnyPort>),
    #[cfg(feature = "dpdk")]
    Dpdk(Box<(super::dpdk::Ports, super::dpdk::Asked)>),
}

fn open(args: &Args) -> Result<UnderTest, Error> {
    let room = Room { peers: args.peers, transmit: args.batch.max(64), wire: 2 * args.batch, mode: args.mode };
    Ok(match (args.port, &args.interface) {
        (Kind::Memory, _) => UnderTest::Memory,
        (Kind::Udp, _) => UnderTest::Bed(Box::new(Bed::open(PortKind::Udp, room)?)),
        (Kind::AfXdp, None) => UnderTest::Bed(Box::new(Bed::open(PortKind::AfXdp, room)?)),
        (Kind::AfXdp, Some(name)) => UnderTest::Interface(Box::new(named(args, name)?)),
        (Kind::Dpdk, _) => dpdk(args)?,
    })
}

/// The port on an interface that was named.
fn named(args: &Args, interface: &str) -> Result<AnyPort, Error> {
    let listen = args.listen.ok_or_else(|| Error::Usage("--interface needs --listen".to_owned()))?;
    let config = af_xdp::AfXdpConfig {
        mode: args.mode.into(),
        next_hop: args.next_hop.map_or(af_xdp::NextHop::Resolve, af_xdp::NextHop::Fixed),
        other_queues: af_xdp::OtherQueues::Steered,
        ..af_xdp::AfXdpConfig::new(interface)
    };
    let mut ports = af_xdp::open(&config, &[af_xdp::Listen { addr: listen, queue: 0 }])?;
    Ok(AnyPort::AfXdp(Box::new(ports.remove(0))))
}

#[cfg(feature = "dpdk")]
fn dpdk(args: &Args) -> Result<UnderTest, Error> {
    let cores = crate::pin::cores()?;
    let [other_core, .., core] = cores[..] else {
        return Err(Error::Usage("--port dpdk needs two cores, one that forwards and one for all else".to_owned()));
    };
    let devices = [args.vdev[0].clone(), args.vdev[1].clone()];
    let (huge, testpmd) = (args.memory == Pages::Huge, args.against.is_some());
    let asked = super::dpdk::Asked { devices, huge, testpmd, core, other_core };
    Ok(UnderTest::Dpdk(Box::new((super::dpdk::open(&asked)?, asked))))
}

#[cfg(not(feature = "dpdk"))]
fn dpdk(_: &Args) -> Result<UnderTest, Error> {
    Err(crate::bed::without_dpdk().into())
}

impl UnderTest {
    fn measure(self, args: &Args, run: &mut Run) -> Result<(Vec<Sample>, Report), String> {
        let (cell, time, probe) = (args.cell.bytes(), Duration::from_secs(args.seconds), &mut run.probe);
        let about = |bound: String| About {
            port: kind_name(args.port),
            bound,
            payload: record_len(cell),
            peers: args.peers,
            notes: Vec::new(),
        };
        match self {
            UnderTest::Memory => {
                let local = Endpoint { ip: [1; 16], port: 1 };
                // What was lent last counts against the ring.
                let (port, wire) = port_and_wire(local, 2 * args.batch.max(64));
                of(
                    Bench::new(port, wire, args.peers as u32, cell, args.batch),
                    time,
                    probe,
                    about("rings of memory".into()),
                )
            }
            UnderTest::Bed(bed) => {
                let Bed { port, peers, bound, cable } = *bed;
                let found = of(Bench::new(port, peers, args.peers as u32, cell, args.batch), time, probe, about(bound));
                drop(cable);
                found
            }
            UnderTest::Interface(mut port) => {
                let about = About { peers: 0, ..about(port.describe()) };
                interface::measure(&mut *port, cell, time, probe, about)
            }
            #[cfg(feature = "dpdk")]
            UnderTest::Dpdk(open) => {
                let (mut ports, asked) = *open;
                super::dpdk::measure(&mut ports, &asked, time, probe)
            }
        }
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Memory => "memory",
        Kind::Udp => "udp",
        Kind::AfXdp => "af_xdp",
        Kind::Dpdk => "dpdk",
    }
}

fn of<P: Port, W: Wire>(
    mut bench: Bench<P, W>,
    time: Duration,
    probe: &mut crate::probe::Probe,
    about: About,
) -> Result<(Vec<Sample>, Report), String> {
    let samples = measure(&mut bench, time, probe)?;
    let report = Report::new(&samples, bench.places(), about)?;
    Ok((samples, report))
}
