//! The floor: the kernel calls of the worker's batch, and nothing else.
//!
//! The same back end, key values, frames, numbers and counters, and the same order: in each turn a burst is opened, its
//! layers are peeled and added, and as many records are sealed as the worker sent in that turn, from the cells that it
//! sent them from and from the chaff cell. All that a worker decides (which link, which key, which cell, which number)
//! is decided before the clock starts. Keys, cells and frames are copies of the floor's own, laid out like the
//! worker's, so that they are as cold.

use super::far::{Arrival, Sent, apply, mask_job};
use super::frames::Frames;
use super::shape::{Shape, Way};
use arrayvec::ArrayVec;
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::{BATCH, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
use drover_dataplane::pool::{CHAFF, Pool};
use drover_nic::huge;
use drover_wire::cell::{HEADER, plaintext_len};
use drover_wire::record::{self, Aad, FIRST_BYTE, record_len};
use std::collections::VecDeque;

type Burst<T> = ArrayVec<T, BATCH>;

/// A record to open or to seal.
#[derive(Clone, Copy)]
struct Job {
    link: u32,
    cell: u32,
    number: u64,
}

/// What a batch's work is: the same for a worker and for every floor.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    /// Records that came, a burst a turn.
    pub arrivals: &'w [Arrival],
    /// Records that were sent.
    pub departures: &'w [Sent],
    /// How many of these in each turn.
    pub sent: &'w [u32],
}

/// A part of a hop's crypto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Masks and opening.
    Open,
    /// Layers, peeled and added.
    Layer,
    /// Sealing and masks.
    Seal,
}

/// Jobs of one turn: where those of each kind end.
#[derive(Clone, Copy, Default)]
struct Turn {
    opens: usize,
    peels: usize,
    adds: usize,
    seals: usize,
}

/// The floor's keys, cells and frames.
pub struct Floor<C: Suite, const S: usize> {
    keys: Vec<<C::Records as Records>::Key>,
    masks: Vec<<C::Records as Records>::MaskKey>,
    layers: Vec<<C::Layers as Layers>::Key>,
    /// Whether a way's layer is peeled.
    peel: Vec<bool>,
    pool: Pool<S>,
    /// Of each way: the cells that wait in the worker.
    queues: Vec<VecDeque<u32>>,
    turns: Vec<Turn>,
    opens: Vec<Job>,
    peels: Vec<LayerJob>,
    adds: Vec<LayerJob>,
    seals: Vec<Job>,
    arrived: Frames,
    /// Where records are sealed to: a ring, like the port's.
    out: Frames,
    out_at: usize,
    ok: bool,
}

/// Keys of a link in the worker's slab: two ratchet steps of the peer's direction, then two of ours.
const KEYS_OF_LINK: u32 = 4;
/// Mask keys of a link in the worker's slab: the peer's, then ours.
const MASKS_OF_LINK: u32 = 2;

impl<C: Suite, const S: usize> Floor<C, S> {
    /// A floor for links with these secrets: to the worker, from the worker.
    pub fn new(secrets: &[(TrafficSecret, TrafficSecret)], ways: &[Way], shape: &Shape) -> Self {
        let steps = |s: &TrafficSecret| [C::Records::key(&s.record()), C::Records::key(&s.next().record())];
        let mut keys = huge::vec(secrets.len() * KEYS_OF_LINK as usize);
        let mut layers = huge::vec(ways.len());
        layers.extend(ways.iter().map(|w| C::Layers::key(&w.secret)));
        let mut masks = huge::vec(secrets.len() * MASKS_OF_LINK as usize);
        for (to, from) in secrets {
            keys.extend(steps(to));
            keys.extend(steps(from));
            masks.extend([C::Records::mask_key(&to.mask()), C::Records::mask_key(&from.mask())]);
        }
        Floor {
            keys,
            masks,
            layers,
            peel: ways.iter().map(|w| w.peel).collect(),
            // Cells that the worker has sealed and not yet sent still lie in the floor's pool.
            pool: Pool::new(shape.pool() + shape.transmit()),
            queues: vec![VecDeque::with_capacity(4); ways.len()],
            turns: Vec::new(),
            opens: Vec::new(),
            peels: Vec::new(),
            adds: Vec::new(),
            seals: Vec::new(),
            arrived: Frames::new(shape.wire(), record_len(S)),
            // As many as the worker's port and wire have under way.
            out: Frames::new(shape.transmit() + shape.wire(), record_len(S)),
            out_at: 0,
            ok: true,
        }
    }

    /// Lays the batch's work out: what arrived (`frames`, as many as arrivals), in bursts as the worker takes them, and
    /// what the worker sent in each turn. Not timed.
    pub fn prepare<'f>(&mut self, work: &Work<'_>, frames: impl Iterator<Item = &'f [u8]>) {
        for (frame, to) in frames.zip(self.arrived.iter_mut()) {
            to.copy_from_slice(frame);
        }
        self.turns.clear();
        self.opens.clear();
        self.peels.clear();
        self.adds.clear();
        self.seals.clear();
        let mut arrivals = work.arrivals.chunks(BATCH);
        let mut departures = work.departures.iter();
        for sent in work.sent {
            let mut chaff: Burst<u32> = Burst::new();
            for a in arrivals.next().unwrap_or_default() {
                let cell = self.pool.take().expect("the worker's own pool had room");
                self.opens.push(Job { link: a.link, cell, number: a.number });
                let Some(way) = a.way else {
                    chaff.push(cell);
                    continue;
                };
                let job = LayerJob { key: way, cell, counter: a.counter, check: [0; 8] };
                match self.peel[way as usize] {
                    true => self.peels.push(job),
                    false => self.adds.push(job),
                }
                self.queues[way as usize].push_back(cell);
            }
            chaff.into_iter().for_each(|cell| self.pool.give(cell));
            for d in departures.by_ref().take(*sent as usize) {
                let waiting = |way: u32| self.queues[way as usize].pop_front().expect("what was sent had arrived");
                let cell = d.way.map_or(CHAFF, waiting);
                self.seals.push(Job { link: d.link, cell, number: d.number });
                if cell != CHAFF {
                    self.pool.give(cell);
                }
            }
            let [opens, seals] = [&self.opens, &self.seals].map(Vec::len);
            self.turns.push(Turn { opens, peels: self.peels.len(), adds: self.adds.len(), seals });
        }
    }

    /// Does the work. This alone is timed.
    pub fn run(&mut self) {
        self.run_in_parts(|_| ());
    }

    /// Does the work; `done` is called after each part of each turn.
    pub fn run_in_parts(&mut self, mut done: impl FnMut(Part)) {
        let mut from = Turn::default();
        self.ok = true;
        for at in 0..self.turns.len() {
            let to = self.turns[at];
            self.open(from.opens, to.opens);
            done(Part::Open);
            // One call each, as the worker's.
            C::Layers::peel(&self.layers, &mut self.pool.cells, &mut self.peels[from.peels..to.peels]);
            C::Layers::add(&self.layers, &mut self.pool.cells, &mut self.adds[from.adds..to.adds]);
            done(Part::Layer);
            for seals in (from.seals..to.seals).step_by(BATCH) {
                self.seal(seals, to.seals.min(seals + BATCH));
            }
            done(Part::Seal);
            from = to;
        }
    }

    fn open(&mut self, from: usize, to: usize) {
        let mut masks: Burst<MaskJob> = Burst::new();
        for (at, job) in self.opens[from..to].iter().enumerate() {
            masks.push(mask_job(MASKS_OF_LINK * job.link, self.arrived.get(from + at)));
        }
        C::Records::masks(&self.masks, &mut masks);
        let mut jobs: Burst<OpenJob<'_>> = Burst::new();
        for (at, job) in self.opens[from..to].iter().enumerate() {
            let body = &self.arrived.get(from + at)[record::HEADER..];
            let (key, aad) = (KEYS_OF_LINK * job.link, Aad::sent(job.number));
            jobs.push(OpenJob { key, cell: job.cell, number: job.number, aad, body, ok: false });
        }
        C::Records::open(&self.keys, &mut self.pool.cells, &mut jobs);
        self.ok &= jobs.iter().all(|job| job.ok);
    }

    fn seal(&mut self, from: usize, to: usize) {
        let count = self.out.count();
        let mut jobs: Burst<SealJob<'_>> = Burst::new();
        for (job, frame) in self.seals[from..to].iter().zip(self.out.ring_mut(self.out_at)) {
            let key = KEYS_OF_LINK * job.link + KEYS_OF_LINK / 2;
            jobs.push(SealJob { key, cell: job.cell, number: job.number, first: FIRST_BYTE, frame });
        }
        C::Records::seal(&self.keys, &self.pool.cells, &mut jobs);
        let mut masks: Burst<MaskJob> = Burst::new();
        for (sealed, job) in jobs.iter().zip(&self.seals[from..to]) {
            masks.push(mask_job(MASKS_OF_LINK * job.link + 1, sealed.frame));
        }
        C::Records::masks(&self.masks, &mut masks);
        for (sealed, mask) in jobs.iter_mut().zip(masks.iter()) {
            apply(sealed.frame, mask);
        }
        drop(jobs);
        self.out_at = (self.out_at + to - from) % count;
    }

    /// Checks that the floor did the worker's work: all tags were right, and what it sealed is what the worker sent
    /// (`taken`), bodies byte for byte (headers differ: the worker rewrites them, the floor does not). Not timed.
    pub fn check<'f>(&self, departures: &[Sent], taken: impl Iterator<Item = &'f [u8]>) -> Result<(), String> {
        let body = record::HEADER + HEADER..record::HEADER + plaintext_len(S);
        self.tags_were_right()?;
        for ((ours, sent), departure) in self.sealed().zip(taken).zip(departures) {
            if ours[body.clone()] != sent[body.clone()] {
                let link = departure.link;
                return Err(format!("the floor's work is not the worker's: a record of link {link} differs"));
            }
        }
        Ok(())
    }

    /// Checks that all tags of the batch were right.
    pub fn tags_were_right(&self) -> Result<(), String> {
        if self.ok { Ok(()) } else { Err("the floor found a wrong tag".to_owned()) }
    }

    /// What the batch sealed, in order.
    pub fn sealed(&self) -> impl Iterator<Item = &[u8]> {
        let (count, sealed) = (self.out.count(), self.seals.len());
        let first = self.out_at + count - sealed;
        (first..first + sealed).map(move |at| self.out.get(at % count))
    }

    /// A wrong layer key.
    pub fn break_layer(&mut self, way: u32) {
        self.layers[way as usize] = C::Layers::key(&LayerSecret([1; 16]));
    }
}
