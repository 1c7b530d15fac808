//! A port, its forwarder and its tester.

use super::Forwarder;
use super::report::{Place, places};
use crate::bed::Wire;
use crate::hop::far::draw_body;
use drover_nic::{BURST, Port, PortCounters, PortDetails};
use drover_wire::record::{FIRST_BYTE, record_len};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The port is idle for so long before what has not come counts as lost.
const PATIENCE: Duration = Duration::from_millis(20);
/// A datagram's number is behind a record's header.
const NUMBER: std::ops::Range<usize> = 3..11;

/// One batch: a line of `trials.csv`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Datagrams that the peers were to send.
    pub offered: u64,
    /// Of these, those that came back.
    pub forwarded: u64,
    /// Those that did not.
    pub lost: u64,
    /// Bursts of the port.
    pub turns: u64,
    /// Time of these, ns: of a receive that finds nothing it is not counted.
    pub ns: u64,
}

/// A port under test.
pub struct Bench<P, W> {
    /// The port.
    pub port: P,
    wire: W,
    peers: u32,
    forwarder: Forwarder,
    /// Datagrams of a batch.
    batch: usize,
    /// The next datagram's number.
    next: u64,
    seed: u64,
    /// Which of the batch came back.
    seen: Vec<bool>,
    frame: Vec<u8>,
    expected: Vec<u8>,
    totals: Totals,
    before: (PortCounters, PortDetails, u64),
}

/// What became of datagrams since [`Bench::begin`].
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    lost: u64,
    foreign: u64,
    /// Came back after their batch's end: they are among the lost.
    late: u64,
}

impl<P: Port, W: Wire> Bench<P, W> {
    /// Batches of `batch` datagrams of cells of `cell` bytes from `peers` peers, in turns.
    pub fn new(port: P, wire: W, peers: u32, cell: usize, batch: usize) -> Self {
        let len = record_len(cell);
        let before = (port.counters(), port.details(), wire.refused());
        Bench {
            port,
            wire,
            peers,
            forwarder: Forwarder::new(cell),
            batch,
            next: 0,
            seed: StdRng::from_os_rng().next_u64(),
            seen: vec![false; batch],
            frame: vec![0; len],
            expected: vec![0; len],
            totals: Totals::default(),
            before,
        }
    }

    /// Counts from now on.
    pub fn begin(&mut self) {
        self.totals = Totals::default();
        self.before = (self.port.counters(), self.port.details(), self.wire.refused());
    }

    /// One batch. Losses are counted.
    ///
    /// # Errors
    /// A datagram that came back wrong, twice or to another peer: then no figure counts.
    pub fn batch(&mut self) -> Result<Sample, String> {
        let base = self.next;
        self.seen.fill(false);
        for _ in 0..self.batch {
            write(self.seed, self.next, &mut self.frame);
            self.wire.offer((self.next % u64::from(self.peers)) as u32, &self.frame);
            self.next += 1;
        }
        self.wire.push();
        let (turns, ns, sent) = self.forward();
        self.collect(base, sent)?;
        let forwarded = self.seen.iter().filter(|seen| **seen).count() as u64;
        let offered = self.batch as u64;
        self.totals.lost += offered - forwarded;
        Ok(Sample { offered, forwarded, lost: offered - forwarded, turns, ns })
    }

    /// The port's part, timed: bursts, time and datagrams sent. To wait for what another process or the kernel has under way
    /// is no work of the port.
    fn forward(&mut self) -> (u64, u64, usize) {
        let (mut received, mut sent, mut turns, mut worked) = (0, 0, 0, Duration::ZERO);
        let mut begin = Instant::now();
        let mut last = begin;
        while received < self.batch {
            let moved = self.forwarder.turn(&mut self.port);
            let end = Instant::now();
            if moved.received > 0 {
                (received, sent, turns) = (received + moved.received, sent + moved.sent, turns + 1);
                (worked, last) = (worked + (end - begin), end);
                self.totals.foreign += moved.foreign as u64;
            } else if end - last > PATIENCE {
                break;
            }
            begin = end;
        }
        (turns, worked.as_nanos() as u64, sent)
    }

    fn collect(&mut self, base: u64, sent: usize) -> Result<(), String> {
        let Bench { wire, seen, expected, totals, seed, peers, next, .. } = self;
        let (mut came, mut wrong, mut last) = (0, None, Instant::now());
        while came < sent && last.elapsed() < PATIENCE {
            let taken = wire.collect(BURST, |peer, data| {
                let number = data.get(NUMBER).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
                let Some(number) = number.filter(|number| *number < *next) else {
                    return wrong = Some("a datagram came back that nobody sent".to_owned());
                };
                write(*seed, number, expected);
                if data != &expected[..] || number % u64::from(*peers) != u64::from(peer) {
                    return wrong = Some(format!("datagram {number} came back wrong, or to another peer"));
                }
                match number.checked_sub(base).map(|at| &mut seen[at as usize]) {
                    Some(true) => wrong = Some(format!("datagram {number} came back twice")),
                    Some(seen) => *seen = true,
                    None => totals.late += 1,
                }
            });
            if let Some(wrong) = wrong {
                return Err(wrong);
            }
            if taken > 0 {
                (came, last) = (came + taken, Instant::now());
            }
        }
        Ok(())
    }

    /// Where datagrams were lost since [`Bench::begin`], and all that the port counted for itself.
    pub fn places(&self) -> (Vec<Place>, Vec<Place>) {
        let (counters, details, refused) = &self.before;
        let (mut drops, noted) = places((counters, details), &self.port);
        let mut place = |name: &str, count: u64| {
            if count > 0 {
                drops.push(Place { place: name.to_owned(), packets: count });
            }
        };
        let unoffered = self.wire.refused() - refused;
        place("not sent: the peer's socket or ring refused it", unoffered);
        place("no record's header", self.totals.foreign);
        place("came back after its batch's end", self.totals.late);
        let known: u64 = drops.iter().map(|place| place.packets).sum();
        let rest = self.totals.lost.saturating_sub(known);
        if rest > 0 {
            drops
                .push(Place { place: "between the ports: the kernel's queues, or the wire".to_owned(), packets: rest });
        }
        (drops, noted)
    }
}

/// Datagram `number`: a record's first byte, a record number, the number, and bytes of its own.
fn write(seed: u64, number: u64, frame: &mut [u8]) {
    frame[0] = FIRST_BYTE;
    frame[1..3].copy_from_slice(&(number as u16).to_be_bytes());
    frame[NUMBER].copy_from_slice(&number.to_le_bytes());
    draw_body(seed, 0, number, &mut frame[NUMBER.end..]);
}
