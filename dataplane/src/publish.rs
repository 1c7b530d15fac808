//! What a worker tells about itself: counters in shared memory, written by the worker alone, read without touching it.
//!
//! ```text
//! | block of worker 0 | block of worker 1 | … | links of worker 0 | links of worker 1 | … (lab builds)
//! ```
//!
//! A block and a link's row each begin with a sequence word, odd while the rest is being written: a reader that saw it
//! odd or changed reads again (a sequence lock). No address, circuit or client is in here (I10).

#[cfg(feature = "lab")]
use crate::class::Class;
use crate::counters::{Counters, LATENESS_BUCKETS};
use crate::drops::DropReason;
use crate::limits::CLASSES_MAX;
use crate::terminal::Terminal;
use crate::worker::Worker;
use drover_crypto::Suite;
use drover_nic::shm::Segment;
use drover_nic::{DETAILS, Port, PortCounters};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The shortest time between two publications of a worker, ns.
pub const EVERY_NS: u64 = 1_000_000;
/// The same of what a port counts for itself: it may ask the system.
const DETAILS_EVERY_NS: u64 = 1_000_000_000;
/// Words of a worker's block, without the lab's.
const BLOCK: usize = 1 + 1 + 4 + DropReason::COUNT + 3 * CLASSES_MAX + LATENESS_BUCKETS + 5 + DETAILS + 1;
/// Words of the lab's part of a block.
const LAB: usize = if cfg!(feature = "lab") { 8 } else { 0 };
/// Words of a block, whole cache lines.
const STRIDE: usize = (BLOCK + LAB).next_multiple_of(8);
/// Words of a link's row: one cache line.
#[cfg(feature = "lab")]
const ROW: usize = 8;
/// Links that all workers together can publish.
#[cfg(feature = "lab")]
pub const LINKS_PUBLISHED_MAX: usize = (drover_nic::shm::MAX_WORDS - crate::limits::WORKERS_MAX * STRIDE) / ROW;
/// The shortest time between two sweeps over links, ns.
#[cfg(feature = "lab")]
const SWEEP_EVERY_NS: u64 = 10_000_000;
/// Rows written in one sweep: the rest has its turn in the following ones.
#[cfg(feature = "lab")]
const SWEEP: usize = 4_096;

/// Readings that find the block half-written before a reader gives up: the writer may have lost its core.
const TRIES: usize = 10_000;

/// Shared memory for `workers` workers of up to `links` links.
///
/// # Errors
/// What the system says.
pub fn segment(workers: usize, links: usize) -> io::Result<Segment> {
    let rows = if cfg!(feature = "lab") { 8 * links } else { 0 };
    Segment::create("drover-counters", workers * (STRIDE + rows))
}

/// The writing end of one worker.
pub struct Publisher {
    segment: Arc<Segment>,
    worker: usize,
    next_at: u64,
    details: [u64; DETAILS],
    next_details_at: u64,
    #[cfg(feature = "lab")]
    rows: Rows,
}

/// Where a worker's rows are, and which is written next.
#[cfg(feature = "lab")]
struct Rows {
    first: usize,
    count: usize,
    next: usize,
    next_at: u64,
}

impl Publisher {
    /// The publisher of worker `worker` of `workers`, in what [`segment`] made.
    pub fn new(segment: Arc<Segment>, worker: usize, workers: usize, links: usize) -> Publisher {
        let _ = (workers, links);
        Publisher {
            #[cfg(feature = "lab")]
            rows: Rows { first: workers * STRIDE + worker * links * ROW, count: links, next: 0, next_at: 0 },
            segment,
            worker,
            next_at: 0,
            details: [0; DETAILS],
            next_details_at: 0,
        }
    }

    /// Publishes what the worker has done, if the last time is long enough ago.
    #[inline]
    pub fn publish<P: Port, C: Suite, T: Terminal, const S: usize>(&mut self, now: u64, worker: &Worker<P, C, T, S>) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + EVERY_NS;
        if now >= self.next_details_at {
            self.next_details_at = now + DETAILS_EVERY_NS;
            self.details.iter_mut().zip(worker.port.details()).for_each(|(word, (_, value))| *word = value);
        }
        let details = &self.details;
        let state = &worker.state;
        let Some(words) = self.segment.words().get(self.worker * STRIDE..) else { return };
        write(words, |w| {
            w.put(now);
            put_counters(w, &state.counters);
            let PortCounters { received, sent, refused, discarded, oversized } = worker.port.counters();
            w.put_all(&[received, sent, refused, discarded, oversized]);
            w.put_all(details);
            w.put(state.classes.iter().map(|class| class.len() as u64).sum());
            #[cfg(feature = "lab")]
            put_lab(w, &state.counters.lab, state.waiting());
        });
        #[cfg(feature = "lab")]
        self.publish_links(now, &state.tx, &state.classes);
    }

    #[cfg(feature = "lab")]
    fn publish_links(&mut self, now: u64, links: &[crate::link::LinkTx], classes: &[Box<Class>]) {
        let rows = &mut self.rows;
        if now < rows.next_at {
            return;
        }
        rows.next_at = now + SWEEP_EVERY_NS;
        let count = rows.count.min(links.len());
        for _ in 0..count.min(SWEEP) {
            rows.next = if rows.next + 1 < count { rows.next + 1 } else { 0 };
            let (Some(link), Some(words)) =
                (links.get(rows.next), self.segment.words().get(rows.first + rows.next * ROW..))
            else {
                return;
            };
            let sweeps = classes.get(usize::from(link.class)).map_or(0, |class| class.sweeps_missed());
            let c = &link.lab;
            write(words, |w| {
                w.put(if link.live { u64::from(link.id) + 1 } else { 0 });
                w.put(now);
                let missed = c.missed + sweeps.saturating_sub(c.sweeps_at_join);
                w.put_all(&[c.received, c.received_real, c.sent, c.sent_real, missed]);
            });
        }
    }
}

/// What a worker last published.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// When, monotonic ns; 0 is never.
    pub at_ns: u64,
    /// What it counted.
    pub counters: Counters,
    /// What its port counted.
    pub port: PortCounters,
    /// What its port counts for itself, in the port's own order.
    pub details: [u64; DETAILS],
    /// Its links.
    pub links: u64,
    /// Cells waiting.
    #[cfg(feature = "lab")]
    pub waiting: u64,
}

/// What was last published of a link.
#[cfg(feature = "lab")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishedLink {
    /// When, monotonic ns.
    pub at_ns: u64,
    /// Records that opened.
    pub received: u64,
    /// Of these, cells.
    pub received_real: u64,
    /// Records sent.
    pub sent: u64,
    /// Of these, cells.
    pub sent_real: u64,
    /// Slots lost.
    pub missed: u64,
}

/// Reads the block of `worker`; `None` when it was being written all the time.
pub fn read(segment: &Segment, worker: usize) -> Option<Published> {
    let words = segment.words().get(worker * STRIDE..)?;
    read_whole(words, |r| {
        let mut p = Published { at_ns: r.take(), ..Published::default() };
        take_counters(r, &mut p.counters);
        let port = &mut p.port;
        for count in [&mut port.received, &mut port.sent, &mut port.refused, &mut port.discarded, &mut port.oversized] {
            *count = r.take();
        }
        p.details.iter_mut().for_each(|count| *count = r.take());
        p.links = r.take();
        #[cfg(feature = "lab")]
        take_lab(r, &mut p);
        p
    })
}

/// Reads the row at `index` of `worker`; `None` when it is not that of link `id`.
#[cfg(feature = "lab")]
pub fn read_link(
    segment: &Segment,
    (worker, workers, links): (usize, usize, usize),
    index: u32,
    id: u32,
) -> Option<PublishedLink> {
    let row = workers * STRIDE + (worker * links + index as usize) * ROW;
    let words = segment.words().get(row..)?;
    let (found, link) = read_whole(words, |r| {
        let found = r.take();
        let mut next = || r.take();
        let (at_ns, received, received_real) = (next(), next(), next());
        (found, PublishedLink { at_ns, received, received_real, sent: next(), sent_real: next(), missed: next() })
    })?;
    (found == u64::from(id) + 1).then_some(link)
}

fn put_counters(w: &mut Writer<'_>, c: &Counters) {
    w.put_all(&[c.turns, c.received, c.sent, c.trials]);
    for counts in [&c.drops[..], &c.class_sent, &c.class_missed, &c.class_lost, &c.lateness] {
        w.put_all(counts);
    }
}

fn take_counters(r: &mut Reader<'_>, c: &mut Counters) {
    for count in [&mut c.turns, &mut c.received, &mut c.sent, &mut c.trials] {
        *count = r.take();
    }
    let classes = c.class_sent.iter_mut().chain(&mut c.class_missed).chain(&mut c.class_lost);
    let all = c.drops.iter_mut().chain(classes).chain(&mut c.lateness);
    all.for_each(|count| *count = r.take());
}

#[cfg(feature = "lab")]
fn put_lab(w: &mut Writer<'_>, lab: &crate::counters::LabCounters, waiting: u64) {
    let c = lab;
    w.put_all(&[c.chaff_in, c.cells_out, c.chaff_out, c.handed_in, c.handed_out, c.filled, c.delivered, waiting]);
}

#[cfg(feature = "lab")]
fn take_lab(r: &mut Reader<'_>, p: &mut Published) {
    let c = &mut p.counters.lab;
    for count in [
        &mut c.chaff_in,
        &mut c.cells_out,
        &mut c.chaff_out,
        &mut c.handed_in,
        &mut c.handed_out,
        &mut c.filled,
        &mut c.delivered,
        &mut p.waiting,
    ] {
        *count = r.take();
    }
}

/// Writes words one after another. What has no room is left out: the sizes above are too small then, which the tests
/// show.
struct Writer<'w>(std::slice::Iter<'w, AtomicU64>);

impl Writer<'_> {
    fn put(&mut self, value: u64) {
        let word = self.0.next();
        debug_assert!(word.is_some());
        if let Some(word) = word {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn put_all(&mut self, values: &[u64]) {
        values.iter().for_each(|value| self.put(*value));
    }
}

struct Reader<'w>(std::slice::Iter<'w, AtomicU64>);

impl Reader<'_> {
    fn take(&mut self) -> u64 {
        self.0.next().map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Writes a group whose first word is its sequence. One thread writes a group.
fn write(words: &[AtomicU64], fill: impl FnOnce(&mut Writer<'_>)) {
    let Some((sequence, rest)) = words.split_first() else { return };
    let even = sequence.load(Ordering::Relaxed);
    sequence.store(even.wrapping_add(1), Ordering::Relaxed);
    // No store of the group may be seen before the odd sequence.
    fence(Ordering::Release);
    fill(&mut Writer(rest.iter()));
    sequence.store(even.wrapping_add(2), Ordering::Release);
}

fn read_whole<R>(words: &[AtomicU64], read: impl Fn(&mut Reader<'_>) -> R) -> Option<R> {
    let (sequence, rest) = words.split_first()?;
    for attempt in 0..TRIES {
        let before = sequence.load(Ordering::Acquire);
        if before.is_multiple_of(2) {
            let result = read(&mut Reader(rest.iter()));
            // No load of the group may come after this one.
            fence(Ordering::Acquire);
            if sequence.load(Ordering::Relaxed) == before {
                return Some(result);
            }
        }
        match attempt % 64 {
            63 => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Every counter distinct.
    fn counted() -> Counters {
        let mut n = 0;
        let mut next = || {
            n += 1;
            n
        };
        Counters {
            turns: next(),
            received: next(),
            sent: next(),
            trials: next(),
            drops: std::array::from_fn(|_| next()),
            class_sent: std::array::from_fn(|_| next()),
            class_missed: std::array::from_fn(|_| next()),
            class_lost: std::array::from_fn(|_| next()),
            lateness: std::array::from_fn(|_| next()),
            #[cfg(feature = "lab")]
            lab: Default::default(),
        }
    }

    #[test]
    fn counters_are_read_as_they_were_written() {
        let words: Vec<_> = (0..STRIDE).map(|_| AtomicU64::new(0)).collect();
        let counters = counted();
        write(&words, |w| put_counters(w, &counters));
        let read = read_whole(&words, |r| {
            let mut counters = Counters::default();
            take_counters(r, &mut counters);
            counters
        });
        assert_eq!(read, Some(counters));
        // The block holds all of it: beside the counters there are a sequence, an instant, the port's, the links.
        let used = 4 + DropReason::COUNT + 3 * CLASSES_MAX + LATENESS_BUCKETS + 1 + 1 + 5 + DETAILS + 1;
        assert!((used + LAB..used + LAB + 8).contains(&STRIDE), "{STRIDE}");
    }

    #[test]
    fn what_is_half_written_is_not_read() {
        let words: Vec<_> = (0..STRIDE).map(|_| AtomicU64::new(0)).collect();
        words[0].store(3, Ordering::Relaxed);
        assert_eq!(read_whole(&words, |r| r.take()), None);
        words[0].store(4, Ordering::Relaxed);
        assert_eq!(read_whole(&words, |r| r.take()), Some(0));
    }

    #[test]
    fn a_reader_sees_one_writing_as_a_whole() {
        let words: Vec<_> = (0..64).map(|_| AtomicU64::new(0)).collect();
        let (done, read) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut value = 0;
                while !done.load(Ordering::Relaxed) {
                    value += 1;
                    write(&words, |w| (1..64).for_each(|_| w.put(value)));
                }
            });
            let mut last = 0;
            while read.load(Ordering::Relaxed) < 20_000 {
                let Some(all) = read_whole(&words, |r| std::array::from_fn::<u64, 63, _>(|_| r.take())) else {
                    continue;
                };
                assert!(all.iter().all(|value| *value == all[0]), "{all:?}");
                assert!(all[0] >= last);
                last = all[0];
                read.fetch_add(1, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
