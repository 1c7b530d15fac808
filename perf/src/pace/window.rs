//! One worker with its links, and windows of it and of the bare loop on one core.

use super::machine;
use crate::live::{Grid, Stamp, Stamped, draw_keys, histogram, record};
use crate::pin;
use crate::probe::Noise;
use drover_crypto::{BATCH, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::limits::RAW_WAITING_MAX;
use drover_dataplane::publish::{Publisher, segment};
use drover_dataplane::rig::{LinkSpec, Rig};
use drover_dataplane::run::{Rhythm, now, run};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::{Pace, Worker};
use drover_nic::any::AnyPort;
use drover_nic::memory::MemoryWire;
use drover_nic::ring::Consumer;
use drover_nic::udp::{MAX_TX_RING, UdpPort};
use drover_nic::{Endpoint, Port};
use drover_wire::control::Peer;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A round, 1/u.
pub const ROUND_NS: u64 = 20_000_000;
/// A ratchet step covers 2^this records: more than any run's.
const RATCHET_BITS: u8 = 28;
/// Mixing interval of best-effort cells, ns. There are none.
const INTERVAL: u64 = 20_000_000;
/// From the window's begin to its first slot: longer than any horizon.
const LEAD_NS: u64 = 10_000_000;
/// How often stamps and frames are fetched.
const FETCH: Duration = Duration::from_micros(200);
/// A turn that begins so much later than it should, ns, was delayed by the machine: a turn of few links takes some µs.
pub const DELAY_NS: u64 = 100_000;
/// Frames on the wire and not fetched, at least.
const WIRE_LEAST: usize = 8192;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Links.
    pub links: u32,
    /// Slots of a round of 20 ms.
    pub slots: u32,
    /// The loop.
    pub rhythm: Rhythm,
    /// Over UDP to loopback, not over memory.
    pub udp: bool,
    /// Length of a window.
    pub window: Duration,
    /// The worker's core.
    pub core: usize,
    /// The core of whoever fetches the stamps.
    pub other: Option<usize>,
    /// Departures of turns that the machine delayed are told apart, for one more clock read a turn.
    pub tags: bool,
}

/// Whose window it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The worker's.
    Worker,
    /// The bare loop's.
    Machine,
}

/// What a window found.
pub struct Window {
    /// Whose it was.
    pub kind: Kind,
    /// When it began, s since the measurement's begin.
    pub at_s: f64,
    /// Lateness of the departures, ns.
    pub lateness: Histogram<u64>,
    /// Of these, of departures of turns that the machine did not delay; empty where turns are not tagged.
    pub punctual_turns: Histogram<u64>,
    /// Slots missed.
    pub missed: u64,
    /// Frames that the port refused: they departed, and are among the lateness.
    pub refused: u64,
    /// Departures whose stamps were lost: they are not among the lateness.
    pub unstamped: u64,
    /// Departures as the worker counts them.
    pub departures: u64,
    /// How often the scheduler put the thread off its core meanwhile; `None` where the kernel does not say.
    pub switches: Option<u64>,
}

/// A worker with its links.
pub struct Bench<C: Suite, const S: usize> {
    worker: Worker<Stamped<AnyPort>, C, NoTerminal, S>,
    stamps: Consumer<Stamp>,
    wire: MemoryWire,
    /// Where UDP frames go. Nobody reads it: the system drops what comes when its buffer is full.
    _sink: UdpSocket,
    publisher: Publisher,
    setting: Setting,
    grid: Grid,
}

impl<C: Suite, const S: usize> Bench<C, S> {
    /// Makes the worker and its links, with keys and phases of their own.
    ///
    /// # Errors
    /// The system gives no socket or no shared memory.
    pub fn new(setting: Setting) -> Result<Self, String> {
        let mut rng = StdRng::from_os_rng();
        let pace = match setting.rhythm {
            Rhythm::Spin => Pace::SPIN,
            Rhythm::Tick(tick) => Pace::tick(tick),
        };
        let rate = Rate { round_ns: ROUND_NS, slots: setting.slots };
        let links = setting.links as usize;
        // What is sealed within the horizon or leaves before it is fetched, twice over for a late turn. No more: the
        // rings are gone round and round, and should not leave the caches.
        let ahead = 2 * (links as u64 * pace.horizon.max(FETCH.as_nanos() as u64)).div_ceil(rate.period_ns());
        let transmit = (ahead as usize + 4 * BATCH).next_power_of_two().max(WIRE_LEAST);
        let sizes = Sizes { links, circuits: 1, pool: 2 * BATCH, transmit };
        let mut rig: Rig<C, NoTerminal, S> = Rig::new(NoTerminal, sizes, pace, INTERVAL);
        let sink = UdpSocket::bind("0.0.0.0:0").map_err(|error| format!("a UDP socket: {error}"))?;
        let port = sink.local_addr().map_err(|error| format!("a UDP socket: {error}"))?.port();
        let class = rig.class(rate, setting.slots, now());
        let phases: Vec<u32> = (0..setting.links).map(|_| rng.random()).collect();
        for (link, phase) in phases.iter().enumerate() {
            let keys = draw_keys(&mut rng, RATCHET_BITS);
            let remote = address(link as u32, port);
            rig.link(LinkSpec { remote, class, peer: Peer::Drover, phase: *phase, keys });
        }
        let udp = if setting.udp {
            let frames = (transmit + RAW_WAITING_MAX).min(MAX_TX_RING);
            let listen: SocketAddr = ([127, 0, 0, 1], 0).into();
            Some(UdpPort::bind(listen, frames).map_err(|error| format!("a UDP port on {listen}: {error}"))?)
        } else {
            None
        };
        let Rig { worker, wire, .. } = rig;
        let mut stamps = None;
        let worker = worker.with_port(|memory| {
            let (mut port, ends) = Stamped::new(udp.map_or(AnyPort::Memory(memory), AnyPort::Udp), now);
            if setting.tags {
                port.tag_delays(pace.grain + DELAY_NS);
            }
            stamps = Some(ends);
            port
        });
        let stamps = stamps.ok_or("a worker has no port")?;
        let segment = segment(1, links).map_err(|error| format!("shared memory for counters: {error}"))?;
        let publisher = Publisher::new(Arc::new(segment), 0, 1, links);
        let grid = Grid::new(0, ROUND_NS, setting.slots, &phases);
        Ok(Bench { worker, stamps, wire, _sink: sink, publisher, setting, grid })
    }

    /// The longest that a record is sealed ahead of its slot, ns.
    pub fn horizon(&self) -> u64 {
        match self.setting.rhythm {
            Rhythm::Spin => Pace::SPIN.horizon,
            Rhythm::Tick(tick) => Pace::tick(tick).horizon,
        }
    }

    /// Slots of a window.
    pub fn slots_of_window(&self) -> u64 {
        self.grid.slots_in(self.setting.window.as_nanos() as u64)
    }

    /// One window of a kind.
    ///
    /// # Errors
    /// The thread cannot have its core.
    pub fn window(&mut self, kind: Kind, at_s: f64) -> Result<Window, String> {
        match kind {
            Kind::Worker => self.worker_window(at_s),
            Kind::Machine => self.machine_window(at_s),
        }
    }

    fn machine_window(&mut self, at_s: f64) -> Result<Window, String> {
        let Setting { window, rhythm, core, .. } = self.setting;
        self.grid.set_epoch(now() + LEAD_NS);
        let (grid, end) = (&self.grid, self.grid.epoch() + window.as_nanos() as u64);
        let (lateness, switches) = std::thread::scope(|scope| {
            let turning = scope.spawn(move || {
                settle(core)?;
                let noise = Noise::now();
                let lateness = machine::bare_loop(grid, rhythm, end);
                Ok::<_, String>((lateness, switches_since(&noise)))
            });
            turning.join().unwrap_or_else(|_| Err("the bare loop panicked".to_owned()))
        })?;
        let departures = lateness.len();
        Ok(Window {
            kind: Kind::Machine,
            at_s,
            lateness,
            punctual_turns: histogram(),
            missed: 0,
            refused: 0,
            unstamped: 0,
            departures,
            switches,
        })
    }

    fn worker_window(&mut self, at_s: f64) -> Result<Window, String> {
        let Setting { window, rhythm, core, other, slots, tags, .. } = self.setting;
        // The grid begins anew. What the time without turns has cost, and what the old grid still sends before the new
        // one begins, is not the window's.
        self.worker.turn(now());
        self.grid.set_epoch(now() + LEAD_NS);
        self.worker.state.classes[0].change_at(self.grid.epoch(), Rate { round_ns: ROUND_NS, slots });
        let (before, unstamped) = (totals(&self.worker), self.worker.port.lost());
        let Bench { worker, stamps, wire, publisher, grid, .. } = self;
        let (stop, end) = (AtomicBool::new(false), grid.epoch() + window.as_nanos() as u64);
        let mut found = Fetched { lateness: histogram(), punctual_turns: tags.then(histogram), early: 0 };
        let (missed, switches) = std::thread::scope(|scope| {
            let (stop, grid, found) = (&stop, &*grid, &mut found);
            let turning = scope.spawn(move || {
                settle(core)?;
                // Up to the grid's begin, whatever keeps this thread from its core then.
                let mut missed = totals(worker)[0];
                loop {
                    let read = now();
                    if read >= grid.epoch() {
                        break;
                    }
                    worker.turn(read);
                    missed = totals(worker)[0];
                    if let Rhythm::Tick(tick) = rhythm {
                        std::thread::sleep(Duration::from_nanos(tick));
                    }
                }
                let noise = Noise::now();
                run(worker, rhythm, stop, publisher);
                let switches = switches_since(&noise);
                // What was due when a stall ended the window is late or missed, and not forgotten.
                worker.turn(now());
                Ok((totals(worker)[0] - missed, switches))
            });
            let fetching = scope.spawn(move || {
                if let Some(other) = other {
                    pin::to(other)?;
                }
                loop {
                    let over = now() >= end || turning.is_finished();
                    stop.store(over, Ordering::Relaxed);
                    found.fetch(stamps, wire, grid);
                    if over {
                        break;
                    }
                    std::thread::sleep(FETCH);
                }
                let counted = turning.join().unwrap_or_else(|_| Err("the worker panicked".to_owned()))?;
                found.fetch(stamps, wire, grid);
                Ok::<(u64, Option<u64>), String>(counted)
            });
            fetching.join().unwrap_or_else(|_| Err("the fetcher of stamps panicked".to_owned()))
        })?;
        let after = totals(&self.worker);
        let (refused, departures) = (after[1] - before[1], after[2] - before[2] - found.early);
        let unstamped = self.worker.port.lost() - unstamped;
        let Fetched { lateness, punctual_turns, .. } = found;
        let punctual_turns = punctual_turns.unwrap_or_else(histogram);
        let kind = Kind::Worker;
        Ok(Window { kind, at_s, lateness, punctual_turns, missed, refused, unstamped, departures, switches })
    }
}

/// What the stamps of a window say.
struct Fetched {
    lateness: Histogram<u64>,
    punctual_turns: Option<Histogram<u64>>,
    /// Departures before the window's grid begins.
    early: u64,
}

impl Fetched {
    /// Takes the stamps that are there, and the frames of the memory's wire.
    fn fetch(&mut self, stamps: &mut Consumer<Stamp>, wire: &mut MemoryWire, grid: &Grid) {
        while wire.take(|_, _| {}) {}
        let mut each = |stamp: &mut Stamp| match stamp.to.and_then(|to| grid.lateness(link_of(to), stamp.at)) {
            Some(late) => {
                record(&mut self.lateness, late);
                if let Some(punctual) = self.punctual_turns.as_mut().filter(|_| !stamp.delayed) {
                    record(punctual, late);
                }
            }
            None => self.early += 1,
        };
        while stamps.pop_with(&mut each).is_some() {}
    }
}

/// Slots missed, frames refused, departures.
fn totals<C: Suite, const S: usize>(worker: &Worker<Stamped<AnyPort>, C, NoTerminal, S>) -> [u64; 3] {
    let counters = &worker.state.counters;
    [counters.class_missed.iter().sum(), worker.port.counters().refused, counters.sent]
}

/// How often the scheduler has put the calling thread off its core since then.
fn switches_since(noise: &Noise) -> Option<u64> {
    noise.until(&Noise::now()).1.map(|switches| switches as u64)
}

/// The worker's core, and timers as exact as they come.
fn settle(core: usize) -> Result<(), String> {
    pin::to(core)?;
    drover_nic::net::set_timer_slack(1).map_err(|error| format!("timers: {error}"))
}

/// A link's far end: the whole of 127.0.0.0/8 is loopback, so each has an address of its own.
fn address(link: u32, port: u16) -> Endpoint {
    let ip = std::net::Ipv4Addr::from((127 << 24) + 256 + link);
    Endpoint::from(SocketAddr::from((ip, port)))
}

fn link_of(to: Endpoint) -> u32 {
    let [.., a, b, c, d] = to.ip;
    u32::from_be_bytes([a, b, c, d]).wrapping_sub((127 << 24) + 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_addresses_of_their_own() {
        for link in [0, 1, 255, 70_000] {
            assert_eq!(link_of(address(link, 9)), link);
        }
    }
}
