//! One trial: workers on their threads, and everything else on another: the generator, the cables between mixes, and what
//! watches the last one.

use super::chain::{Chain, Mix, Outside};
use crate::bed::Wire;
use crate::hop::far::Coming;
use crate::hop::shape::Shape;
use crate::live::{Stamp, Taken, histogram, record};
use crate::pin;
use drover_crypto::Suite;
use drover_dataplane::drops::DropReason;
use drover_dataplane::run::now;
use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rounds before anything is counted, for each mix.
const WARM_UP_ROUNDS: u64 = 3;
/// From the trial's begin to its first cell, ns.
const LEAD_NS: u64 = 10_000_000;
/// Rounds after the last cell, for each mix.
const REST_ROUNDS: u64 = 2;
/// Cells sealed at once, ahead of their instants.
const CHUNK: usize = 64;
/// Frames moved along one cable before something else is looked at.
const BURST: usize = 32;
/// One of so many links to the right is opened.
const OPENED_EVERY: u32 = 8;
/// Frames that are kept to be opened after the trial: what more time would bring has lateness and no latency.
const KEPT_MAX: usize = 1 << 17;
/// How much of that is planned with: every eighth link may have a few circuits more than its share.
const KEPT_SHARE: f64 = 0.9;
/// Instants of arrival that wait for the first mix to take their cells.
const ARRIVED_MAX: usize = 1 << 20;
/// Rounds whose order of cells is drawn anew; then they come again.
const ORDERS: usize = 8;

/// Where and how long.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Cores of threads of workers: mixes take turns over them.
    pub worker_cores: Vec<usize>,
    /// The core of everything else.
    pub other_core: usize,
    /// Time in which cells are offered that count.
    pub time: Duration,
}

/// What a trial found.
pub struct Found {
    /// From delivery to the last departure, or over a real port to the arrival at the peer behind the last mix, ns.
    pub total: Histogram<u64>,
    /// The last mix's departures against their slots, cells and chaff, ns.
    pub late: Histogram<u64>,
    /// From delivery to the turn that took the cell from the first mix's port, ns; unknown over a real port, where cells
    /// may change their order on the way.
    pub taken: Option<Histogram<u64>>,
    /// Cells whose way was watched, offered within `watched_ns`.
    pub watched: u64,
    /// From the first cell that counts to the last one that was watched, ns.
    pub watched_ns: u64,
    /// Of these, those that came out.
    pub came: u64,
    /// Cells dropped by all mixes, by reason.
    pub drops: Vec<(&'static str, u64)>,
    /// Slots missed by all mixes.
    pub missed: u64,
    /// Length of a round, ns.
    pub round_ns: u64,
    /// The longest that a cell was offered after its instant, ns.
    pub lag_ns: u64,
}

/// What the other thread sees.
struct Watch {
    /// Which ways are watched.
    watched: Vec<bool>,
    /// When each watched way's cells were delivered, in order.
    arrivals: Vec<Vec<u64>>,
    /// When each frame was delivered to the first mix, until it is taken.
    arrived: std::collections::VecDeque<u64>,
    /// Frames of watched links: link, departure or arrival, bytes.
    kept: Vec<(u32, u64, Box<[u8]>)>,
    /// The next frame of the wire, whose stamp has not been read: its peer, and its bytes if its link is watched.
    next: Option<(u32, Option<Box<[u8]>>)>,
    late: Histogram<u64>,
    taken: Histogram<u64>,
    lag_ns: u64,
    /// Nothing before is counted.
    from: u64,
    /// Cells that are offered later are not watched, and frames that leave later are not kept.
    watched_until: u64,
    kept_until: u64,
}

/// Offers `load` cells a second to the first mix of a chain, and watches what comes out of the last.
///
/// # Errors
/// A core that cannot be had or that cannot keep up; a record that does not open or a cell that nobody sealed.
pub fn trial<C: Suite, const S: usize, W: Wire>(
    chain: &mut Chain<C, S, W>,
    load: f64,
    setting: &Setting,
) -> Result<Found, String> {
    let mixes = chain.workers.len() as u64;
    let round_ns = (chain.order.len() as f64 * 1e9 / load) as u64;
    let begin = now() + LEAD_NS;
    chain.set_round(begin, round_ns);
    let from = begin + mixes * WARM_UP_ROUNDS * round_ns;
    let end = from + setting.time.as_nanos() as u64;
    let rest_ns = mixes * REST_ROUNDS * round_ns;
    let rest = end + rest_ns;
    // What is kept are cells and the slots that nobody owns, from the trial's begin until the last watched cell is through.
    let kept_a_second = load / f64::from(OPENED_EVERY) * f64::from(chain.slots()) / f64::from(chain.slots() - 1);
    let room_ns = (KEPT_MAX as f64 / kept_a_second * 1e9 * KEPT_SHARE) as u64;
    let kept_until = rest.min(begin + room_ns);
    let watched_until = kept_until.saturating_sub(rest_ns).clamp(from, end);
    let mut rng = StdRng::from_os_rng();
    let mut order = chain.order.clone();
    let mut draw = || {
        Shape::jitter(&mut order, &mut rng);
        order.clone()
    };
    let orders: Vec<Vec<u32>> = (0..ORDERS).map(|_| draw()).collect();
    let watched: Vec<bool> = chain.last.iter().map(|link| link.is_multiple_of(OPENED_EVERY)).collect();
    let mut watch = Watch {
        arrivals: vec![Vec::new(); watched.len()],
        watched,
        arrived: std::collections::VecDeque::with_capacity(ARRIVED_MAX),
        kept: Vec::with_capacity(KEPT_MAX),
        next: None,
        late: histogram(),
        taken: histogram(),
        lag_ns: 0,
        from,
        watched_until,
        kept_until,
    };
    let before: u64 = chain.workers.iter().map(missed).sum();
    let Chain { workers, outside, grid, .. } = chain;
    let stop = AtomicBool::new(false);
    let plan = Plan { load, begin, end, rest };
    std::thread::scope(|scope| {
        let stop = &stop;
        let mut threads: Vec<Vec<&mut Mix<C, S>>> = setting.worker_cores.iter().map(|_| Vec::new()).collect();
        for (at, worker) in workers.iter_mut().enumerate() {
            let thread = at % threads.len();
            threads[thread].push(worker);
        }
        let turning: Vec<_> = threads
            .into_iter()
            .zip(&setting.worker_cores)
            .filter(|(mixes, _)| !mixes.is_empty())
            .map(|(mut mixes, core)| {
                scope.spawn(move || {
                    pin::to(*core)?;
                    while !stop.load(Ordering::Relaxed) {
                        mixes.iter_mut().for_each(|mix| _ = mix.turn(now()));
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        let watch = &mut watch;
        let other = scope.spawn(move || {
            let pinned = pin::to(setting.other_core);
            attend(outside, watch, grid, &orders, plan);
            stop.store(true, Ordering::Relaxed);
            pinned
        });
        let other = other.join();
        stop.store(true, Ordering::Relaxed);
        for thread in turning {
            thread.join().unwrap_or_else(|_| Err("a worker panicked".to_owned()))?;
        }
        other.unwrap_or_else(|_| Err("the generator panicked".to_owned()))
    })?;
    let unread = chain.workers.last().map_or(0, |mix| mix.port.lost());
    let untold = chain.workers.first().map_or(0, |mix| mix.port.untold());
    if unread + untold > 0 {
        return Err(format!(
            "core {} could not follow the mixes ({unread} frames of the last one, {untold} bursts of the first one unread): \
             give a lower --rate, or fewer --mixes",
            setting.other_core
        ));
    }
    evaluate(chain, watch, before, round_ns)
}

/// Matches what left the last mix with what came to the first.
fn evaluate<C: Suite, const S: usize, W: Wire>(
    chain: &mut Chain<C, S, W>,
    watch: Watch,
    missed_before: u64,
    round_ns: u64,
) -> Result<Found, String> {
    let mut total = histogram();
    let mut came = 0;
    for (link, at, frame) in &watch.kept {
        let Some((way, place)) = chain.open(*link, frame)? else { continue };
        let arrived = watch.arrivals[way as usize].get(place as usize);
        let arrived = *arrived.ok_or_else(|| format!("cell {place} of way {way} came out and never went in"))?;
        if (watch.from..watch.watched_until).contains(&arrived) {
            record(&mut total, at.saturating_sub(arrived));
            came += 1;
        }
    }
    let is_counted = |at: &&u64| (watch.from..watch.watched_until).contains(*at);
    let offered = watch.arrivals.iter().flatten().filter(is_counted).count() as u64;
    let dropped = |reason: &DropReason| -> u64 {
        chain.workers.iter().map(|worker| worker.state.counters.dropped(*reason)).sum()
    };
    let drops = DropReason::ALL.iter().map(|reason| (reason.name(), dropped(reason))).filter(|drop| drop.1 > 0);
    let missed: u64 = chain.workers.iter().map(missed).sum();
    Ok(Found {
        total,
        late: watch.late,
        taken: W::IN_ORDER.then_some(watch.taken),
        watched: offered,
        watched_ns: watch.watched_until - watch.from,
        came,
        drops: drops.collect(),
        missed: missed - missed_before,
        round_ns,
        lag_ns: watch.lag_ns,
    })
}

fn missed<C: Suite, const S: usize>(worker: &Mix<C, S>) -> u64 {
    worker.state.counters.class_missed.iter().sum()
}

#[derive(Clone, Copy)]
struct Plan {
    load: f64,
    begin: u64,
    end: u64,
    rest: u64,
}

/// The other thread: offers cells at their instants, moves frames along the cables, watches.
fn attend<C: Suite, const S: usize, W: Wire>(
    outside: &mut Outside<C, S, W>,
    watch: &mut Watch,
    grid: &crate::live::Grid,
    orders: &[Vec<u32>],
    plan: Plan,
) {
    let Outside { wires, far, stamps, taken, unread, links } = outside;
    let mut cables = Cables { wires, stamps, taken, unread, links: *links };
    let mut coming = orders.iter().cycle().flatten().map(|way| Coming::Cell(*way));
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut offered = 0u64;
    'trial: loop {
        chunk.clear();
        chunk.extend(coming.by_ref().take(CHUNK));
        far.seal(&chunk, 0);
        for (arrival, frame) in far.arrivals.iter().zip(far.sealed()) {
            let due = plan.begin + (offered as f64 * 1e9 / plan.load) as u64;
            let at = loop {
                let at = now();
                if at >= plan.end {
                    break 'trial;
                }
                if at >= due {
                    break at;
                }
                cables.attend(watch, grid);
            };
            watch.lag_ns = watch.lag_ns.max(at - due);
            let first = &mut cables.wires[0];
            let delivered = first.offer(arrival.link, frame);
            first.push();
            if W::IN_ORDER && delivered && watch.arrived.len() < ARRIVED_MAX {
                watch.arrived.push_back(at);
            }
            offered += 1;
            if let Some(way) = arrival.way.filter(|way| watch.watched[*way as usize]) {
                watch.arrivals[way as usize].push(at);
            }
            if offered.is_multiple_of(BURST as u64) {
                cables.attend(watch, grid);
            }
        }
    }
    while now() < plan.rest {
        cables.attend(watch, grid);
    }
}

struct Cables<'o, W> {
    wires: &'o mut Vec<W>,
    stamps: &'o mut drover_nic::ring::Consumer<Stamp>,
    taken: &'o mut drover_nic::ring::Consumer<Taken>,
    unread: &'o mut Vec<drover_nic::ring::Consumer<Stamp>>,
    links: u32,
}

impl<W: Wire> Cables<'_, W> {
    /// Moves some frames along every cable, and takes some of what the last mix sent.
    fn attend(&mut self, watch: &mut Watch, grid: &crate::live::Grid) {
        let links = self.links;
        for at in 0..self.wires.len() - 1 {
            let (left, right) = self.wires.split_at_mut(at + 1);
            // What goes to the right is the next mix's from its left; what little goes to the left ends here.
            let moved = left[at].collect(BURST, |peer, data| {
                if let Some(link) = peer.checked_sub(links) {
                    right[0].offer(link, data);
                }
            });
            if moved > 0 {
                right[0].push();
            }
        }
        for stamps in &mut *self.unread {
            for _ in 0..BURST {
                if stamps.pop_with(|_| ()).is_none() {
                    break;
                }
            }
        }
        match W::IN_ORDER {
            true => self.watch_departures(watch, grid),
            false => self.watch_arrivals(watch, grid),
        }
        while let Some(taken) = self.taken.pop_with(|taken| *taken) {
            for _ in 0..taken.frames {
                let Some(arrived) = watch.arrived.pop_front() else { break };
                if arrived >= watch.from {
                    record(&mut watch.taken, taken.at.saturating_sub(arrived));
                }
            }
        }
    }

    /// Frames and stamps come in one order; a frame that the full wire refused has a stamp and is not there. So a frame's
    /// stamp is the next one of its address.
    fn watch_departures(&mut self, watch: &mut Watch, grid: &crate::live::Grid) {
        let links = self.links;
        let Some(wire) = self.wires.last_mut() else { return };
        for _ in 0..BURST {
            let Some(stamp) = self.stamps.pop_with(|stamp| *stamp) else { break };
            // A frame is on the wire before its stamp is made.
            if watch.next.is_none() {
                wire.collect(1, |peer, data| watch.next = Some((peer, watched(peer, links).map(|_| data.into()))));
            }
            let peer = watch.departed(&stamp, wire, links, grid);
            let Some((peer, data)) = watch.next.take_if(|(next, _)| Some(*next) == peer) else { continue };
            if let Some((link, data)) = watched(peer, links).zip(data) {
                watch.keep(link, stamp.at, data);
            }
        }
    }

    /// The kernel is between, which may lose frames and change the order of links: stamps tell lateness, and a frame's
    /// arrival is when it is found.
    fn watch_arrivals(&mut self, watch: &mut Watch, grid: &crate::live::Grid) {
        let links = self.links;
        let Some(wire) = self.wires.last_mut() else { return };
        for _ in 0..BURST {
            let Some(stamp) = self.stamps.pop_with(|stamp| *stamp) else { break };
            watch.departed(&stamp, wire, links, grid);
        }
        wire.collect(BURST, |peer, data| {
            if let Some(link) = watched(peer, links) {
                watch.keep(link, now(), data.into());
            }
        });
    }
}

/// The link to the right that a peer of the last mix is the end of, if it is one that is watched.
fn watched(peer: u32, links: u32) -> Option<u32> {
    peer.checked_sub(links).filter(|link| link.is_multiple_of(OPENED_EVERY))
}

impl Watch {
    /// Counts the lateness of a departure of the last mix; to which peer it went.
    fn departed<W: Wire>(&mut self, stamp: &Stamp, wire: &W, links: u32, grid: &crate::live::Grid) -> Option<u32> {
        let peer = wire.peer(stamp.to?);
        let link = peer.and_then(|peer| peer.checked_sub(links));
        if let Some(late) = link.and_then(|link| grid.lateness(link, stamp.at)).filter(|_| stamp.at >= self.from) {
            record(&mut self.late, late);
        }
        peer
    }

    fn keep(&mut self, link: u32, at: u64, frame: Box<[u8]>) {
        if at < self.kept_until && self.kept.len() < KEPT_MAX {
            self.kept.push((link, at, frame));
        }
    }
}
