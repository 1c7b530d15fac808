//! Relay: an opened cell finds its circuit, loses or gains a layer, and goes to where it leaves.
//!
//! Chaff stops here. Header fields are written anew, never copied (I1).

use crate::circuit::CounterVerdict;
use crate::command::{LayerStep, Next};
use crate::drops::DropReason;
use crate::handoff::Handoff;
use crate::punt::What;
use crate::stages::receive::{Opened, OpenedBurst};
use crate::state::State;
use crate::table::Home;
use crate::terminal::Terminal;
use arrayvec::ArrayVec;
use drover_crypto::{BATCH, LayerJob, Layers, Suite, prefetch};
use drover_wire::cell::{Command, HEADER, Header, body_len};

/// A cell on its way through: its ingress, and the counter that it came in with.
#[derive(Clone, Copy)]
struct Passing {
    cell: u32,
    ingress: u32,
    counter: u64,
}

type PassingBurst = ArrayVec<Passing, BATCH>;

impl<C: Suite, const S: usize> State<C, S> {
    /// Relays a burst of opened cells.
    pub fn relay<T: Terminal>(&mut self, opened: OpenedBurst, handoff: &mut Handoff<S>, terminal: &mut T) {
        // Each pass asks for the memory that the next one reads.
        let mut cells: ArrayVec<(Opened, Header, Home), BATCH> = ArrayVec::new();
        for o in opened {
            match self.read(o) {
                Ok(None) => self.pool.give(o.cell),
                // The link's own control is control's.
                Ok(Some(header)) if header.command == Command::Control => {
                    self.punt_cell(What::Link { link: o.link }, o.cell, DropReason::LinkControl);
                }
                Ok(Some(header)) => cells.push((o, header, self.circuits.begin(&(o.link, header.circuit)))),
                Err(reason) => self.drop_cell(o.cell, reason),
            }
        }
        let mut found: ArrayVec<(Opened, u64, u32), BATCH> = ArrayVec::new();
        for (o, header, home) in cells {
            match self.circuits.get_from(home, &(o.link, header.circuit)) {
                Some(ingress) => {
                    prefetch::prefetch_slice_element(&self.ingress, ingress as usize);
                    found.push((o, header.counter, ingress));
                }
                None => self.drop_cell(o.cell, DropReason::UnknownCircuit),
            }
        }
        let (mut peel, mut add, mut end) = (PassingBurst::new(), PassingBurst::new(), PassingBurst::new());
        for (o, counter, ingress) in found {
            match self.accept(o, counter, ingress) {
                Ok(step) => {
                    let passing = Passing { cell: o.cell, ingress, counter };
                    match step {
                        LayerStep::Peel => peel.push(passing),
                        LayerStep::Add => add.push(passing),
                        LayerStep::End => end.push(passing),
                        LayerStep::Tap => self.tap(&passing),
                    }
                }
                Err(reason) => self.drop_cell(o.cell, reason),
            }
        }
        self.peel(&peel, handoff);
        self.add(&add, handoff);
        self.deliver(&end, terminal);
    }

    /// Reads the header; `None` is chaff.
    #[inline]
    fn read(&mut self, o: Opened) -> Result<Option<Header>, DropReason> {
        let header = Header::read(self.pool.plaintext(o.cell)).map_err(|_| DropReason::BadCell)?;
        match header.command {
            Command::Chaff => {
                #[cfg(feature = "lab")]
                {
                    self.counters.lab.chaff_in += 1;
                }
                Ok(None)
            }
            Command::Control | Command::Relay => Ok(Some(header)),
        }
    }

    /// The circuit's own replay window.
    #[inline]
    fn accept(&mut self, o: Opened, counter: u64, ingress: u32) -> Result<LayerStep, DropReason> {
        if self.ingress[ingress as usize].step == LayerStep::Tap {
            // Its replay window is whoever handles its layers.
            return Ok(LayerStep::Tap);
        }
        let class = self.rx[o.link as usize].class;
        let round = self.classes[usize::from(class)].rate().round_ns;
        let way = &mut self.ingress[ingress as usize];
        let verdict = match way.has_others {
            false => None,
            true => {
                let others = self.ingress_rest[ingress as usize].others;
                self.originators.get_mut(others).accept(counter, self.now, round)
            }
        };
        match verdict.unwrap_or_else(|| way.accept(counter, self.now, round)) {
            CounterVerdict::New => {
                if let Next::Egress { worker, index, .. } = way.next
                    && worker == self.worker
                {
                    prefetch::prefetch_slice_element(&self.egress, index as usize);
                }
            }
            CounterVerdict::Replay => return Err(DropReason::CellReplay),
            CounterVerdict::Jump => return Err(DropReason::CounterJump),
        }
        #[cfg(feature = "lab")]
        {
            self.tx[o.link as usize].lab.received_real += 1;
        }
        Ok(way.step)
    }

    fn jobs(&self, burst: &PassingBurst) -> ArrayVec<LayerJob, BATCH> {
        let key = |p: &Passing| self.ingress[p.ingress as usize].key;
        burst.iter().map(|p| LayerJob { key: key(p), cell: p.cell, counter: p.counter, check: [0; 8] }).collect()
    }

    fn peel(&mut self, burst: &PassingBurst, handoff: &mut Handoff<S>) {
        let mut jobs = self.jobs(burst);
        C::Layers::peel(self.layer_keys.items(), &mut self.pool.cells, &mut jobs);
        for (p, job) in burst.iter().zip(&jobs) {
            // A body that begins with the expected check is this hop's: it goes to the control daemon, by the punt
            // ring, as soon as there is one.
            let begins = self.pool.plaintext(p.cell)[HEADER..].first_chunk();
            if begins.is_some_and(|begins| drover_crypto::schedule::same_check(begins, &job.check)) {
                self.recognised(p);
            } else {
                self.forward(p, handoff);
            }
        }
    }

    /// A cell for this hop: its MAC is checked off the fast path.
    fn recognised(&mut self, p: &Passing) {
        self.punt_cell(What::Hop { ingress: p.ingress }, p.cell, DropReason::ForThisHop);
    }

    /// A cell of a circuit that control handles itself.
    fn tap(&mut self, p: &Passing) {
        let way = &self.ingress_rest[p.ingress as usize];
        let what = What::Relay { link: way.link, id: way.circuit, counter: p.counter };
        self.punt_cell(what, p.cell, DropReason::ForThisHop);
    }

    fn add(&mut self, burst: &PassingBurst, handoff: &mut Handoff<S>) {
        let mut jobs = self.jobs(burst);
        C::Layers::add(self.layer_keys.items(), &mut self.pool.cells, &mut jobs);
        for p in burst {
            self.forward(p, handoff);
        }
    }

    /// Writes the header of the next link and takes the cell to where it leaves.
    #[inline]
    fn forward(&mut self, p: &Passing, handoff: &mut Handoff<S>) {
        let way = &self.ingress[p.ingress as usize];
        let (next, offset) = (way.next, way.offset);
        let Next::Egress { worker, index, tag, circuit } = next else {
            let reason = if next == Next::Nowhere { DropReason::CircuitEnd } else { DropReason::CircuitGone };
            return self.drop_cell(p.cell, reason);
        };
        let header = Header { circuit, command: Command::Relay, counter: p.counter.wrapping_add(offset) };
        if !self.copies_header() {
            header.write(self.pool.plaintext_mut(p.cell));
        }
        if worker == self.worker {
            self.queue(p.cell, index, tag);
        } else if handoff.give(worker, index, tag, &self.pool.cells[p.cell as usize]) {
            #[cfg(feature = "lab")]
            {
                self.counters.lab.handed_out += 1;
            }
            self.pool.give(p.cell);
        } else {
            self.drop_cell(p.cell, DropReason::HandoffFull);
        }
    }

    /// Queues a cell where it leaves: with its circuit when that owns a slot, else among the link's best effort.
    #[inline]
    pub fn queue(&mut self, cell: u32, index: u32, tag: u32) {
        let Some(egress) = self.egress.get_mut(index as usize).filter(|e| e.live && e.tag == tag) else {
            return self.drop_cell(cell, DropReason::CircuitGone);
        };
        #[cfg(feature = "lab")]
        if self.broken == Some(crate::lab::Break::NumberAtArrival) {
            let keys = &mut self.tx[egress.link as usize].keys;
            keys.base = keys.base.wrapping_add(1);
        }
        if egress.admitted {
            if !egress.push(cell, self.now) {
                self.drop_cell(cell, DropReason::CircuitFull);
            }
        } else {
            let link = egress.link;
            self.arrive_best_effort(link, cell, index);
        }
    }

    /// Takes cells that other workers handed over.
    pub fn take_handed(&mut self, handoff: &mut Handoff<S>) {
        handoff.take(|index, tag, cell| {
            #[cfg(feature = "lab")]
            {
                self.counters.lab.handed_in += 1;
            }
            match self.pool.take() {
                Some(place) => {
                    // Whole cells, so that no byte of an earlier cell stays.
                    self.pool.cells[place as usize].bytes = cell.bytes;
                    self.queue(place, index, tag);
                }
                None => self.counters.drop(DropReason::PoolFull),
            }
        });
    }

    fn deliver<T: Terminal>(&mut self, burst: &PassingBurst, terminal: &mut T) {
        for p in burst {
            let Next::End { end } = self.ingress[p.ingress as usize].next else {
                self.drop_cell(p.cell, DropReason::CircuitGone);
                continue;
            };
            let body = &mut self.pool.plaintext_mut(p.cell)[HEADER..HEADER + body_len(S)];
            let verdict = terminal.deliver(end, self.now, p.counter, body);
            // What was said does not stay in the pool.
            body.fill(0);
            self.ingress[p.ingress as usize].vouch(verdict != Err(DropReason::EndBroken));
            match verdict {
                Ok(()) => {
                    #[cfg(feature = "lab")]
                    {
                        self.counters.lab.delivered += 1;
                    }
                    self.pool.give(p.cell);
                }
                Err(reason) => self.drop_cell(p.cell, reason),
            }
        }
    }

    fn copies_header(&self) -> bool {
        #[cfg(feature = "lab")]
        return self.broken(crate::lab::Break::CopyHeader);
        #[cfg(not(feature = "lab"))]
        false
    }
}
