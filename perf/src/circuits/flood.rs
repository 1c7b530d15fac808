//! A data plane with links over UDP loopback on one core, and a control core that answers set-ups without a pause on
//! another: windows of the one, with and without the other.

use super::Core;
use drover_control::report::stats::Histogram;
use drover_control::socket::ControlSocket;
use drover_dataplane::config::Config;
use drover_dataplane::process::{Running, launch};
use drover_dataplane::terminal::NoTerminal;
use drover_wire::control::{
    Address, BootId, ClassKind, Direction, Owner, Peer, PutClass, PutLink, Request, Secret, Welcome,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A round, ns, and its slots: mix links as they are, 200 records a second.
const ROUND_NS: u64 = 20_000_000;
const SLOTS: u32 = 4;
/// Departures that a window has at least.
const DEPARTURES_LEAST: u64 = 100;
/// Between the flood's begin or end and the window.
const SETTLE: Duration = Duration::from_millis(20);

/// Both, running.
pub struct Flood {
    socket: ControlSocket,
    flooding: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    /// Set-ups and seconds of windows with the flood.
    floods: (u64, f64),
    missed: [u64; 2],
    thread: Option<JoinHandle<Result<(), String>>>,
    // Fields are dropped in this order: nothing is asked of a data plane that is gone.
    _running: Running,
    _sink: UdpSocket,
    _folder: Folder,
}

/// One window: 99th percentile of departures' lateness, µs.
pub type Window = f64;

impl Flood {
    /// Starts a data plane with `links` links on the first core that this process may use, and a control core on the
    /// second.
    ///
    /// # Errors
    /// There is one core only, or the data plane does not start.
    pub fn start(links: u32) -> Result<Flood, String> {
        let [first, second] = cores()?;
        let folder = Folder::make()?;
        let path = folder.0.join("d.sock");
        let text = format!(
            "[control]\nsocket = {path:?}\n[pacing]\npolicy = \"tick\"\n[limits]\nlinks = {}\n\
             [[worker]]\nlisten = \"127.0.0.1:0\"\ncore = {first}\n",
            links.max(64)
        );
        let config = Config::parse(&text).map_err(|problems| problems.to_string())?;
        let running = launch(&config, |_| NoTerminal).map_err(|error| error.to_string())?;
        let mut socket = ControlSocket::connect(&path).map_err(|error| error.to_string())?;
        let welcome = socket.hello().map_err(|error| error.to_string())?;
        // Nobody reads it: what comes is dropped by the system when the socket's buffer is full.
        let sink = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let remote = sink.local_addr().map_err(|error| error.to_string())?;
        put(&mut socket, &welcome, running.listens()[0].port(), remote.port(), links)?;

        let (flooding, stop, answered) = (Arc::default(), Arc::default(), Arc::default());
        let thread = flood(second, &flooding, &stop, &answered)?;
        Ok(Flood {
            socket,
            flooding,
            stop,
            answered,
            floods: (0, 0.0),
            missed: [0; 2],
            thread: Some(thread),
            _running: running,
            _sink: sink,
            _folder: folder,
        })
    }

    /// One window of this length, with or without the flood.
    ///
    /// # Errors
    /// The data plane does not answer, has too few departures, or the flood failed.
    pub fn window(&mut self, with: bool, length: Duration) -> Result<Window, String> {
        self.flooding.store(with, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        std::thread::sleep(SETTLE);
        let mut status = || self.socket.status().map_err(|error| error.to_string());
        let (before, answered) = (status()?, self.answered.load(Ordering::Relaxed));
        std::thread::sleep(length);
        let (after, answered_then) = (status()?, self.answered.load(Ordering::Relaxed));
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return Err(self.end().err().unwrap_or_else(|| "the flood ended by itself".to_owned()));
        }
        let missed = |status: &drover_control::socket::reports::Status| -> u64 {
            status.classes.iter().map(|class| class.missed).sum()
        };
        self.missed[usize::from(with)] += missed(&after).saturating_sub(missed(&before));
        if with {
            self.floods.0 += answered_then - answered;
            self.floods.1 += after.now_ns.saturating_sub(before.now_ns) as f64 / 1e9;
        }
        let histogram = Histogram::between(&before.lateness_ns, &after.lateness_ns);
        match histogram.quantile_us(0.99).filter(|_| histogram.count() >= DEPARTURES_LEAST) {
            Some(p99) => Ok(p99),
            None => Err(format!(
                "{} departures in a window of {length:?}: fewer than {DEPARTURES_LEAST}; give more links or longer windows",
                histogram.count()
            )),
        }
    }

    /// What was counted so far does not count.
    pub fn forget(&mut self) {
        (self.floods, self.missed) = ((0, 0.0), [0; 2]);
    }

    /// Set-ups a second while the flood was on.
    pub fn rate(&self) -> f64 {
        self.floods.0 as f64 / self.floods.1.max(f64::MIN_POSITIVE)
    }

    /// Slots missed in windows without and with the flood.
    pub fn missed(&self) -> [u64; 2] {
        self.missed
    }

    fn end(&mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.thread().unpark();
        thread.join().unwrap_or_else(|_| Err("the flood panicked".to_owned()))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Its failure was told by the window, or nobody waits for it any more.
        let _ = self.end();
    }
}

/// The control core: set-ups while `flooding`, else asleep.
fn flood(
    core: usize,
    flooding: &Arc<AtomicBool>,
    stop: &Arc<AtomicBool>,
    answered: &Arc<AtomicU64>,
) -> Result<JoinHandle<Result<(), String>>, String> {
    let (flooding, stop, answered) = (Arc::clone(flooding), Arc::clone(stop), Arc::clone(answered));
    let body = move || {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).map_err(|error| format!("core {core}: {error}"))?;
        let mut control = Core::new()?;
        while !stop.load(Ordering::Relaxed) {
            if flooding.load(Ordering::Relaxed) {
                control.batch()?;
                answered.fetch_add(super::BATCH as u64, Ordering::Relaxed);
            } else {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        Ok(())
    };
    std::thread::Builder::new().name("set-ups".to_owned()).spawn(body).map_err(|error| error.to_string())
}

fn put(socket: &mut ControlSocket, welcome: &Welcome, local: u16, remote: u16, links: u32) -> Result<(), String> {
    let boot: BootId = welcome.boot;
    let class = PutClass {
        boot,
        class: 1,
        kind: ClassKind::Zone,
        round_ns: ROUND_NS,
        slots: SLOTS,
        slots_max: SLOTS,
        at_ns: 0,
    };
    socket.done("the class", &Request::PutClass(class)).map_err(|error| error.to_string())?;
    for link in 1..=links {
        // Keys that open nothing: nobody listens, and only departures count.
        let secret = |direction: u8| {
            let mut bytes = [direction; 32];
            bytes[..4].copy_from_slice(&link.to_be_bytes());
            Direction { secret: Secret(bytes), first: 0 }
        };
        // Each has a remote address of its own: the whole of 127.0.0.0/8 is loopback.
        let ip = std::net::Ipv4Addr::from((127 << 24) + 256 + link);
        let put = PutLink {
            boot,
            link,
            generation: 1,
            local_port: local,
            remote: Address::from(std::net::SocketAddr::from((ip, remote))),
            class: 1,
            peer: Peer::Drover,
            ratchet_bits: 24,
            send: secret(1),
            receive: secret(2),
            owner: Owner::default(),
        };
        socket.done("a link", &Request::PutLink(put)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Two cores that this process may use.
fn cores() -> Result<[usize; 2], String> {
    let set = sched_getaffinity(None).map_err(|error| error.to_string())?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    match (cores.next(), cores.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err("departures are measured with a flood on another core, and there is one only".to_owned()),
    }
}

/// A folder for the control socket, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Folder, String> {
        use std::os::unix::fs::DirBuilderExt;
        let mut drawn = [0; 8];
        getrandom::fill(&mut drawn).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let path = std::env::temp_dir().join(format!("drover-perf-{:016x}", u64::from_le_bytes(drawn)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}; set TMPDIR to a folder that can be written", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder is the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
