//! `drover-perf generate`.

use super::out::ceiling;
use super::{About, Checked, KeyFile, LinkKeys, Opener, Out, Plan, Report, Sealer, Sent};
use crate::bed::{Bed, Mode, PEERS_MAX, PortKind, Room, Wire};
use crate::output::{Error, Output, within};
use crate::pin;
use crate::run::Run;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, Choice, WithSuite};
use drover_nic::any::AnyPort;
use drover_nic::memory::port_and_wire;
use drover_nic::udp::UdpPort;
use drover_nic::{BURST, Endpoint, OpenError, Port, af_xdp};
use drover_wire::cell::CellSize;
use drover_wire::frame::Mac;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The end of `--help`.
const READING: &str = "\
Without --keys it draws keys of its own and receives what it sends: every record that comes is opened and must hold the cell \
that was sealed. With --keys it sends to those who have them: over udp to loopback only, over af_xdp by the interface that \
--interface names. docs/benchmarks.md has the file's form.

The ceiling is sealing alone, with other keys, before.";

/// Longest run, s.
const SECONDS_MAX: u64 = 600;
/// Highest rate, cells a second.
const RATE_MAX: f64 = 1e8;
/// Time for the ceiling.
const CEILING: Duration = Duration::from_millis(300);
/// Circuits of a link with keys of our own.
const CIRCUITS: u32 = 4;
/// Frames on the way over memory.
const MEMORY_WIRE: usize = 4096;

/// Valid, freshly sealed cells to any port: at a rate, or as fast as it can.
#[derive(clap::Args, Debug)]
#[command(after_help = READING)]
pub struct Args {
    /// The port
    #[arg(long, value_enum, default_value_t = PortKind::Memory)]
    pub port: PortKind,
    /// A file with links' keys, and where they go
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Cells a second, 1..=100000000; without it as many as it can
    #[arg(long, value_name = "CELLS")]
    pub rate: Option<f64>,
    /// For so long, 1..=600 s
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u64,
    /// Without --keys: cell size in bytes, 256, 512 or 1024
    #[arg(long, value_name = "BYTES", default_value_t = CellSize::S512)]
    pub cell: CellSize,
    /// Without --keys: links, 1..=500
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub links: usize,
    /// With --port af_xdp and --keys: the interface, queue 0
    #[arg(long, value_name = "NAME", requires = "keys")]
    pub interface: Option<String>,
    /// With --interface: send all to this Ethernet address; without it the kernel is asked
    #[arg(long, value_name = "MAC", requires = "interface")]
    pub next_hop: Option<Mac>,
    /// With --port af_xdp: who runs the XDP program
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// The crypto back end: a name, or auto for the fastest that this processor runs
    #[arg(long, value_name = "NAME", default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// What to print and where the run's folder is
    #[command(flatten)]
    pub output: Output,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Config {
    port: PortKind,
    keys: Option<PathBuf>,
    rate: Option<f64>,
    seconds: u64,
    cell: usize,
    links: usize,
    interface: Option<String>,
    mode: Mode,
    backend: &'static str,
}

/// Sends, and returns the report as text or JSON.
///
/// # Errors
/// Flags out of range, keys that are none; a port that cannot be opened; a record that came and was wrong.
pub fn run(args: &Args) -> Result<String, Error> {
    within("seconds", args.seconds, 1..=SECONDS_MAX)?;
    within("links", args.links, 1..=PEERS_MAX)?;
    if let Some(rate) = args.rate {
        within("rate", rate, 1.0..=RATE_MAX)?;
    }
    let backend = Backend::choose(args.backend).map_err(|error| Error::Usage(error.to_string()))?;
    let file = args.keys.as_deref().map(KeyFile::read).transpose().map_err(Error::Usage)?;
    let under = match &file {
        Some(file) => Under::Given(given(args, file)?, file.link.clone()),
        None => own(args)?,
    };
    let (cell, links) = file.as_ref().map_or((args.cell.bytes(), args.links), |file| (file.cell, file.link.len()));
    let Args { port, rate, seconds, mode, .. } = *args;
    let (keys, interface, backend_name) = (args.keys.clone(), args.interface.clone(), backend.name());
    let config = Config { port, keys, rate, seconds, cell, links, interface, mode, backend: backend_name };
    let mut run = Run::create("generate", args.output.out.as_deref(), &config)?;
    let about = About { port: port.name(), bound: under.bound(), backend: backend.name(), cell, links, rate };
    let plan = Plan { rate, time: Duration::from_secs(seconds) };
    match backend.dispatch(Measure { cell, under, plan, about }) {
        Ok((slices, report)) => {
            run.probe.now();
            slices.iter().try_for_each(|slice| run.trial(slice))?;
            Ok(args.output.text(&report, &run.finish(&report)?))
        }
        Err(error) => Err(run.fail(error).into()),
    }
}

/// Where cells go.
enum Under {
    /// Through memory, to ourselves.
    Memory,
    /// Over a bed, to ourselves.
    Bed(Box<Bed>),
    /// To those who have the keys.
    Given(Out<AnyPort>, Vec<LinkKeys>),
}

impl Under {
    fn bound(&self) -> String {
        match self {
            Under::Memory => "rings of memory".to_owned(),
            Under::Bed(bed) => bed.bound.clone(),
            Under::Given(out, _) => match &out.ports[..] {
                [port] => port.describe(),
                ports => format!("{} UDP sockets", ports.len()),
            },
        }
    }
}

fn own(args: &Args) -> Result<Under, Error> {
    let room = Room { peers: args.links, transmit: 4 * BURST, wire: MEMORY_WIRE, mode: args.mode };
    Ok(match args.port {
        PortKind::Memory => Under::Memory,
        kind => Under::Bed(Box::new(Bed::open(kind, room)?)),
    })
}

/// Ports to those who have the keys: a socket for each address that links come from, or the interface.
fn given(args: &Args, file: &KeyFile) -> Result<Out<AnyPort>, Error> {
    let usage = |text: String| Err(Error::Usage(text));
    match (args.port, &args.interface) {
        (PortKind::Memory | PortKind::Dpdk, _) => usage("--keys go to somebody: give --port udp or af_xdp".to_owned()),
        (PortKind::Udp, Some(_)) => usage("--interface goes with --port af_xdp".to_owned()),
        (PortKind::AfXdp, None) => usage("--port af_xdp with --keys needs --interface".to_owned()),
        (PortKind::Udp, None) => match file.link.iter().find(|link| !link.to.ip().is_loopback()) {
            Some(link) => {
                usage(format!("--keys: {} is not on loopback; name an interface, with --port af_xdp", link.to))
            }
            None => sockets(file),
        },
        (PortKind::AfXdp, Some(name)) => interface(args, name, file),
    }
}

fn sockets(file: &KeyFile) -> Result<Out<AnyPort>, Error> {
    let (mut froms, mut ports): (Vec<SocketAddr>, Vec<AnyPort>) = (Vec::new(), Vec::new());
    let mut links = Vec::with_capacity(file.link.len());
    for link in &file.link {
        let at = match froms.iter().position(|from| *from == link.from && from.port() != 0) {
            Some(at) => at,
            None => {
                let port = UdpPort::bind(link.from, 4 * BURST).map_err(|error| {
                    let mend = "give addresses of this machine that are free";
                    OpenError::environment(format!("link's from {}", link.from), error.to_string(), mend)
                })?;
                froms.push(link.from);
                ports.push(AnyPort::Udp(port));
                ports.len() - 1
            }
        };
        links.push((at, Endpoint::from(link.to)));
    }
    Ok(Out { ports, links })
}

fn interface(args: &Args, name: &str, file: &KeyFile) -> Result<Out<AnyPort>, Error> {
    let from = file.link[0].from;
    if let Some(other) = file.link.iter().find(|link| link.from != from) {
        return Err(Error::Usage(format!("--keys: an AF_XDP port has one address: {from} or {}", other.from)));
    }
    let config = af_xdp::AfXdpConfig {
        mode: args.mode.into(),
        next_hop: args.next_hop.map_or(af_xdp::NextHop::Resolve, af_xdp::NextHop::Fixed),
        other_queues: af_xdp::OtherQueues::Steered,
        ..af_xdp::AfXdpConfig::new(name)
    };
    let mut ports = af_xdp::open(&config, &[af_xdp::Listen { addr: from, queue: 0 }])?;
    let links = file.link.iter().map(|link| (0, Endpoint::from(link.to))).collect();
    Ok(Out { ports: vec![AnyPort::AfXdp(Box::new(ports.remove(0)))], links })
}

struct Measure {
    cell: usize,
    under: Under,
    plan: Plan,
    about: About,
}

impl WithSuite for Measure {
    type Out = Result<(Vec<Sent>, Report), String>;

    fn with<C: Suite>(self) -> Self::Out {
        match self.cell {
            256 => self.of::<C, 256>(),
            512 => self.of::<C, 512>(),
            _ => self.of::<C, 1024>(),
        }
    }
}

impl Measure {
    fn of<C: Suite, const S: usize>(self) -> Result<(Vec<Sent>, Report), String> {
        let Measure { under, plan, about, .. } = self;
        let links = about.links;
        let ceiling = ceiling::<C, S>(Sealer::new(&drawn(links).0, 0), links, CEILING);
        let (sent, checked) = match under {
            Under::Memory => {
                let (port, wire) = port_and_wire(Endpoint { ip: [1; 16], port: 1 }, MEMORY_WIRE);
                to_ourselves::<C, S, _, _>(port, wire, links, plan)?
            }
            Under::Bed(bed) => {
                let Bed { port, peers, cable, .. } = *bed;
                let done = to_ourselves::<C, S, _, _>(port, peers, links, plan)?;
                drop(cable);
                done
            }
            Under::Given(mut out, links) => {
                let mut sealer = Sealer::<C, S>::new(&links, StdRng::from_os_rng().next_u64());
                (out.run(&mut sealer, plan), None)
            }
        };
        let report = Report::new(&sent, ceiling, checked, about)?;
        Ok((sent, report))
    }
}

/// Keys of our own, and a seed for bodies.
pub fn drawn(links: usize) -> (Vec<LinkKeys>, u64) {
    let mut rng = StdRng::from_os_rng();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let keys = (0..links).map(|_| LinkKeys::draw(&mut rng, nowhere, nowhere, CIRCUITS)).collect();
    (keys, rng.next_u64())
}

/// Sends on one core and opens on another.
fn to_ourselves<C: Suite, const S: usize, P: Port, W: Wire>(
    port: P,
    wire: W,
    links: usize,
    plan: Plan,
) -> Result<(Vec<Sent>, Option<Checked>), String> {
    let (keys, seed) = drawn(links);
    let sealer = Sealer::<C, S>::new(&keys, seed);
    let opener = Opener::<C, S>::new(&keys, seed);
    exchange(port, wire, sealer, opener, plan).map(|(sent, checked)| (sent, Some(checked)))
}

/// Sends what `sealer` seals while `opener`, on another core where there is one, opens what comes.
///
/// # Errors
/// A core that cannot be had.
pub fn exchange<C: Suite, const S: usize, P: Port, W: Wire>(
    port: P,
    mut wire: W,
    mut sealer: Sealer<C, S>,
    mut opener: Opener<C, S>,
    plan: Plan,
) -> Result<(Vec<Sent>, Checked), String> {
    let links = opener.links() as u32;
    let links = (0..links).map(|link| (0, wire.endpoint(link))).collect();
    let mut out = Out { ports: vec![port], links };
    let cores = pin::cores()?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let receiving = scope.spawn(move || {
            if let [first, _, ..] = cores[..] {
                pin::to(first)?;
            }
            opener.receive(&mut wire, done);
            Ok::<_, String>(opener.checked)
        });
        let sending = scope.spawn(move || {
            let pinned = match pin::cores()?[..] {
                [_, .., last] => pin::to(last),
                _ => Ok(()),
            };
            pinned.map(|()| out.run(&mut sealer, plan))
        });
        let sent = sending.join();
        // A sender that panicked is done too.
        done.store(true, Ordering::Release);
        let checked = receiving.join().unwrap_or_else(|_| Err("the receiver panicked".to_owned()))?;
        Ok((sent.unwrap_or_else(|_| Err("the sender panicked".to_owned()))?, checked))
    })
}
