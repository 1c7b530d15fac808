//! Seals cells of links in turn.

use super::keys::{Circuit, LinkKeys};
use crate::hop::far::{apply, draw_body, mask_job};
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{BATCH, Cell, MaskJob, Records, SealJob, Suite};
use drover_wire::cell::{Command, Header};
use drover_wire::record::{FIRST_BYTE, record_len};

/// Links with their keys, and a batch's records.
pub struct Sealer<C: Suite, const S: usize> {
    links: Vec<Link>,
    keys: Vec<<C::Records as Records>::Key>,
    masks: Vec<<C::Records as Records>::MaskKey>,
    cells: Box<[Cell<S>]>,
    frames: Vec<u8>,
    of: Vec<u32>,
    /// The next record's link.
    turn: usize,
    seed: u64,
}

struct Link {
    /// Of its step.
    secret: TrafficSecret,
    ratchet_bits: u8,
    /// The ratchet step that it has got to.
    step: u64,
    next: u64,
    circuits: Vec<Circuit>,
    /// The next cell's circuit.
    at: usize,
}

impl<C: Suite, const S: usize> Sealer<C, S> {
    /// Of these links. Bodies are drawn from `seed`.
    pub fn new(links: &[LinkKeys], seed: u64) -> Self {
        let key = |link: &LinkKeys| {
            let step = link.next >> link.ratchet_bits;
            C::Records::key(&link.secret.advance(step).record())
        };
        let link = |link: &LinkKeys| Link {
            secret: link.secret.advance(link.next >> link.ratchet_bits),
            ratchet_bits: link.ratchet_bits,
            step: link.next >> link.ratchet_bits,
            next: link.next,
            circuits: link.circuits.clone(),
            at: 0,
        };
        Sealer {
            keys: links.iter().map(key).collect(),
            masks: links.iter().map(|link| C::Records::mask_key(&link.secret.mask())).collect(),
            links: links.iter().map(link).collect(),
            cells: drover_crypto::cells(BATCH),
            frames: vec![0; BATCH * record_len(S)],
            of: Vec::with_capacity(BATCH),
            turn: 0,
            seed,
        }
    }

    /// Seals the next `count` records, at most [`BATCH`], one a link in turn.
    pub fn seal(&mut self, count: usize) {
        self.of.clear();
        let mut jobs = Vec::with_capacity(BATCH);
        let frames = self.frames.chunks_exact_mut(record_len(S)).take(count.min(BATCH));
        for ((at, frame), cell) in frames.enumerate().zip(&mut self.cells) {
            let index = self.turn;
            self.turn = (self.turn + 1) % self.links.len();
            let link = &mut self.links[index];
            let number = link.next;
            // A batch seals under one key a link: what would be of the next step waits for the next batch.
            if number >> link.ratchet_bits != link.step {
                if self.of.contains(&(index as u32)) {
                    self.turn = index;
                    break;
                }
                link.secret = link.secret.next();
                link.step += 1;
                self.keys[index] = C::Records::key(&link.secret.record());
            }
            link.next += 1;
            link.write(self.seed, index as u32, cell);
            self.of.push(index as u32);
            jobs.push(SealJob { key: index as u32, cell: at as u32, number, first: FIRST_BYTE, frame });
        }
        C::Records::seal(&self.keys, &self.cells, &mut jobs);
        let mut masks: Vec<MaskJob> = jobs.iter().map(|job| mask_job(job.key, job.frame)).collect();
        C::Records::masks(&self.masks, &mut masks);
        for (job, mask) in jobs.iter_mut().zip(&masks) {
            apply(job.frame, mask);
        }
    }

    /// What was sealed last: links and records, in order.
    pub fn sealed(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        self.of.iter().copied().zip(self.frames.chunks_exact(record_len(S)))
    }
}

impl Link {
    /// The next cell, in the clear.
    fn write<const S: usize>(&mut self, seed: u64, link: u32, cell: &mut Cell<S>) {
        let Some(circuit) = self.circuits.get_mut(self.at) else {
            Header { circuit: 0, command: Command::Chaff, counter: 0 }.write(cell.plaintext_mut());
            return cell.body_mut().fill(0);
        };
        Header { circuit: circuit.id, command: Command::Relay, counter: circuit.counter }.write(cell.plaintext_mut());
        draw_body(seed ^ u64::from(circuit.id), link, circuit.counter, cell.body_mut());
        circuit.counter = circuit.counter.wrapping_add(1);
        self.at = (self.at + 1) % self.circuits.len();
    }
}
