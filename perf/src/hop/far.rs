//! The far ends of all links. They seal fresh cells for the worker, and check every frame that it sends.
//!
//! They use the same kernels as the worker, on keys of their own. None of this is timed.

use super::frames::Frames;
use super::shape::{Shape, Way, circuit_in, circuit_out, way_out};
use drover_crypto::schedule::{RecordSecret, TrafficSecret};
use drover_crypto::{BATCH, Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
use drover_wire::cell::{Command, Header};
use drover_wire::record::{self, Aad, FIRST_BYTE, record_len};

/// A way as its far ends see it.
pub struct FarWay {
    /// The link that its cells come by.
    pub from: u32,
    to: u32,
    peel: bool,
    first: u64,
    offset: u64,
    /// Cells sealed, and cells that came back.
    sealed: u64,
    opened: u64,
}

/// A record that shall be put on the wire to the worker.
#[derive(Clone, Copy)]
pub enum Coming {
    /// A fresh cell of a way.
    Cell(u32),
    /// Chaff on a link.
    Chaff(u32),
}

/// A record that was put on the wire to the worker.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// Its link.
    pub link: u32,
    /// Its number.
    pub number: u64,
    /// Its cell's way; `None` is chaff.
    pub way: Option<u32>,
    /// Its cell's counter.
    pub counter: u64,
}

/// A record that the worker sent.
#[derive(Clone, Copy)]
pub struct Sent {
    /// Its link.
    pub link: u32,
    /// Its number.
    pub number: u64,
    /// Its cell's way; `None` is chaff.
    pub way: Option<u32>,
}

/// The far ends.
pub struct Far<C: Suite, const S: usize> {
    /// Both directions of all circuits.
    pub ways: Vec<FarWay>,
    /// The batch's records to the worker, in order.
    pub arrivals: Vec<Arrival>,
    /// The records that the worker sent in this batch, in order.
    pub departures: Vec<Sent>,
    seal_keys: Vec<<C::Records as Records>::Key>,
    seal_masks: Vec<<C::Records as Records>::MaskKey>,
    open_keys: Vec<<C::Records as Records>::Key>,
    open_masks: Vec<<C::Records as Records>::MaskKey>,
    layers: Vec<<C::Layers as Layers>::Key>,
    /// Of each link: the next number to seal with, and the next to expect.
    next_seal: Vec<u64>,
    next_open: Vec<u64>,
    cells: Box<[Cell<S>]>,
    expected: Box<[Cell<S>]>,
    to_worker: Frames,
    from_worker: Frames,
    /// Bodies are drawn from it.
    seed: u64,
    /// Cells and records may be missing: others are looked at all the same. For trials that count loss.
    pub gaps: bool,
}

impl<C: Suite, const S: usize> Far<C, S> {
    /// Far ends of links with these secrets: to the worker, from the worker.
    pub fn new(secrets: &[(TrafficSecret, TrafficSecret)], ways: &[Way], shape: &Shape, seed: u64) -> Self {
        let far = |w: &Way| {
            let Way { from, to, peel, first, offset, .. } = *w;
            FarWay { from, to, peel, first, offset, sealed: 0, opened: 0 }
        };
        Far {
            ways: ways.iter().map(far).collect(),
            arrivals: Vec::new(),
            departures: Vec::new(),
            seal_keys: secrets.iter().map(|(to, _)| C::Records::key(&to.record())).collect(),
            seal_masks: secrets.iter().map(|(to, _)| C::Records::mask_key(&to.mask())).collect(),
            open_keys: secrets.iter().map(|(_, from)| C::Records::key(&from.record())).collect(),
            open_masks: secrets.iter().map(|(_, from)| C::Records::mask_key(&from.mask())).collect(),
            layers: ways.iter().map(|w| C::Layers::key(&w.secret)).collect(),
            next_seal: vec![0; secrets.len()],
            next_open: vec![0; secrets.len()],
            cells: drover_crypto::cells(BATCH),
            expected: drover_crypto::cells(1),
            to_worker: Frames::new(shape.wire(), record_len(S)),
            from_worker: Frames::new(shape.wire(), record_len(S)),
            seed,
            gaps: false,
        }
    }

    /// Seals what is coming, in this order. `slot` slots of every link have gone by: numbers advance one a slot
    /// (W-NUM-1), or one a record where several follow each other within a slot.
    pub fn seal(&mut self, coming: &[Coming], slot: u64) {
        self.arrivals.clear();
        for coming in coming {
            let (link, way, counter) = match *coming {
                Coming::Chaff(link) => (link, None, 0),
                Coming::Cell(index) => {
                    let way = &mut self.ways[index as usize];
                    let counter = way.first.wrapping_add(way.sealed);
                    way.sealed += 1;
                    (way.from, Some(index), counter)
                }
            };
            let next = &mut self.next_seal[link as usize];
            let number = slot.max(*next);
            *next = number + 1;
            self.arrivals.push(Arrival { link, number, way, counter });
        }
        let mut frames = self.to_worker.iter_mut();
        for chunk in self.arrivals.chunks(BATCH) {
            let mut jobs = Vec::with_capacity(BATCH);
            for (at, (arrival, frame)) in chunk.iter().zip(&mut frames).enumerate() {
                let cell = &mut self.cells[at];
                write_cell(self.seed, arrival, cell);
                let &Arrival { link, number, .. } = arrival;
                jobs.push(SealJob { key: link, cell: at as u32, number, first: FIRST_BYTE, frame });
            }
            C::Records::seal(&self.seal_keys, &self.cells, &mut jobs);
            let mut masks: Vec<MaskJob> = jobs.iter().map(|j| mask_job(j.key, j.frame)).collect();
            C::Records::masks(&self.seal_masks, &mut masks);
            for (job, mask) in jobs.iter_mut().zip(&masks) {
                apply(job.frame, mask);
            }
        }
    }

    /// The batch's frames to the worker, as many as there are arrivals.
    pub fn sealed(&self) -> impl Iterator<Item = &[u8]> {
        self.to_worker.iter().take(self.arrivals.len())
    }

    /// The frames that the worker sent, as many as there are departures.
    pub fn taken(&self) -> impl Iterator<Item = &[u8]> {
        self.from_worker.iter().take(self.departures.len())
    }

    /// Begins to take a batch's frames from the wire.
    pub fn begin_take(&mut self) {
        self.departures.clear();
    }

    /// Takes a frame. One that is no record at all fails in [`Far::open`], as zeros.
    pub fn take(&mut self, link: u32, data: &[u8]) {
        let frame = self.from_worker.get_mut(self.departures.len());
        match data.len() == frame.len() {
            true => frame.copy_from_slice(data),
            false => frame.fill(0),
        }
        self.departures.push(Sent { link, number: 0, way: None });
    }

    /// Opens what was taken: every tag, circuit, counter and body is checked.
    pub fn open(&mut self) -> Result<(), String> {
        for from in (0..self.departures.len()).step_by(BATCH) {
            let to = self.departures.len().min(from + BATCH);
            self.open_chunk(from, to)?;
        }
        Ok(())
    }

    fn open_chunk(&mut self, from: usize, to: usize) -> Result<(), String> {
        let frames = || (from..to).map(|at| self.from_worker.get(at));
        let sent = &mut self.departures[from..to];
        let mut masks: Vec<MaskJob> = sent.iter().zip(frames()).map(|(s, f)| mask_job(s.link, f)).collect();
        C::Records::masks(&self.open_masks, &mut masks);
        let mut jobs = Vec::with_capacity(BATCH);
        for (at, ((sent, frame), mask)) in sent.iter_mut().zip(frames()).zip(&masks).enumerate() {
            let link = sent.link;
            let record =
                record::parse(frame, S).map_err(|e| format!("the worker sent no record on link {link}: {e}"))?;
            let low = record.number(mask.mask);
            let next = &mut self.next_open[link as usize];
            sent.number = record::reconstruct(low, *next);
            if sent.number < *next {
                return Err(format!("a record number on link {link} was used twice, or a tag is wrong"));
            }
            *next = sent.number + 1;
            let aad = Aad::new(record.header, low);
            jobs.push(OpenJob { key: link, cell: at as u32, number: sent.number, aad, body: record.body, ok: false });
        }
        C::Records::open(&self.open_keys, &mut self.cells, &mut jobs);
        if let Some(job) = jobs.iter().find(|job| !job.ok) {
            return Err(format!("the tag of record {} on link {} is wrong", job.number, job.key));
        }
        let (mut adds, mut peels) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        for (at, sent) in sent.iter_mut().enumerate() {
            let header =
                Header::read(self.cells[at].plaintext()).map_err(|e| format!("a record holds no cell: {e}"))?;
            if header.command == Command::Chaff {
                continue;
            }
            let index = way_out(header.circuit).filter(|way| (*way as usize) < self.ways.len());
            let Some(index) = index.filter(|_| header.command == Command::Relay) else {
                return Err(format!("a cell left with command or circuit of no way: {header:?}"));
            };
            let way = &mut self.ways[index as usize];
            if self.gaps {
                // Cells may be missing, and none comes twice or after a later one.
                let seen = header.counter.wrapping_sub(way.offset).wrapping_sub(way.first);
                way.opened = if seen < way.sealed { way.opened.max(seen) } else { way.opened };
            }
            let counter = way.first.wrapping_add(way.opened);
            way.opened += 1;
            if (way.to, circuit_out(index), counter.wrapping_add(way.offset))
                != (sent.link, header.circuit, header.counter)
            {
                return Err(format!("a cell of way {index} left by another link or out of order"));
            }
            let job = LayerJob { key: index, cell: at as u32, counter, check: [0; 8] };
            if way.peel { &mut adds } else { &mut peels }.push(job);
            sent.way = Some(index);
        }
        // The far ends undo the worker's layers and find the bodies that were sealed.
        C::Layers::add(&self.layers, &mut self.cells, &mut adds);
        C::Layers::peel(&self.layers, &mut self.cells, &mut peels);
        for LayerJob { key: index, cell, counter, .. } in adds.into_iter().chain(peels) {
            draw_body(self.seed, index, counter, self.expected[0].body_mut());
            if self.cells[cell as usize].body() != self.expected[0].body() {
                return Err(format!("the body of a cell of way {index} is not what was sealed"));
            }
        }
        Ok(())
    }

    /// Slots have gone by without a record: the next one's number on `link` is about this one.
    pub fn expect(&mut self, link: u32, number: u64) {
        let next = &mut self.next_open[link as usize];
        // Some of the slots before may still have theirs.
        *next = (*next).max(number.saturating_sub(1 << 10));
    }

    /// A wrong key to open with.
    pub fn break_open(&mut self, link: u32) {
        self.open_keys[link as usize] = C::Records::key(&RecordSecret { key: [1; 16], iv: [1; 12] });
    }

    /// A wrong key to seal with.
    pub fn break_seal(&mut self, link: u32) {
        self.seal_keys[link as usize] = C::Records::key(&RecordSecret { key: [1; 16], iv: [1; 12] });
    }
}

/// The cell of a record to the worker, as its far end wrote it.
fn write_cell<const S: usize>(seed: u64, arrival: &Arrival, cell: &mut Cell<S>) {
    let (circuit, command) = match arrival.way {
        Some(way) => (circuit_in(way), Command::Relay),
        None => (0, Command::Chaff),
    };
    Header { circuit, command, counter: arrival.counter }.write(cell.plaintext_mut());
    match arrival.way {
        Some(way) => draw_body(seed, way, arrival.counter, cell.body_mut()),
        None => cell.body_mut().fill(0),
    }
}

/// The mask of a sealed record's number.
pub fn mask_job(key: u32, frame: &[u8]) -> MaskJob {
    let mut sample = [0; 16];
    sample.copy_from_slice(&frame[record::HEADER..record::HEADER + 16]);
    MaskJob { key, sample, mask: [0; 2] }
}

/// Masks a record's number.
pub fn apply(frame: &mut [u8], mask: &MaskJob) {
    frame[1] ^= mask.mask[0];
    frame[2] ^= mask.mask[1];
}

/// The body of a way's cell, which both far ends can draw (SplitMix64: bytes to tell cells apart, nothing secret).
pub fn draw_body(seed: u64, way: u32, counter: u64, body: &mut [u8]) {
    let mut state = seed ^ (u64::from(way) << 32) ^ counter;
    for word in body.as_chunks_mut::<8>().0 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = (z ^ (z >> 31)).to_le_bytes();
    }
}
