//! The receiving end of what was generated under keys of our own.

use super::keys::LinkKeys;
use crate::bed::Wire;
use crate::hop::far::draw_body;
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{Cell, Suite};
use drover_dataplane::rig;
use drover_nic::BURST;
use drover_wire::cell::{Command, Header};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What was sent is here by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// What came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// Records that opened and held the cell that was sealed, each once.
    pub opened: u64,
    /// Records that did not, or held another one, or one again.
    pub wrong: u64,
    /// The first of these, in words.
    pub first_wrong: Option<String>,
}

/// A link's far end, and of each of its circuits the counter of the next cell.
type End<R, const S: usize> = (rig::Far<R, S>, HashMap<u32, u64>);

/// Opens records.
pub struct Opener<C: Suite, const S: usize> {
    links: Vec<End<C::Records, S>>,
    expected: Box<[Cell<S>]>,
    seed: u64,
    /// What was found.
    pub checked: Checked,
}

impl<C: Suite, const S: usize> Opener<C, S> {
    /// Of links whose numbers begin at 0.
    pub fn new(links: &[LinkKeys], seed: u64) -> Self {
        let link = |link: &LinkKeys| {
            let counters = link.circuits.iter().map(|circuit| (circuit.id, circuit.counter)).collect();
            (rig::Far::new(&TrafficSecret([0; 32]), &link.secret, link.ratchet_bits), counters)
        };
        let (links, expected) = (links.iter().map(link).collect(), drover_crypto::cells(1));
        Opener { links, expected, seed, checked: Checked::default() }
    }

    /// Links.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Opens what comes until `done` and for a moment more.
    pub fn receive(&mut self, wire: &mut impl Wire, done: &AtomicBool) {
        let mut last = Instant::now();
        while !done.load(Ordering::Acquire) || last.elapsed() < PATIENCE {
            if wire.collect(BURST, |link, record| self.take(link, record)) > 0 {
                last = Instant::now();
            }
        }
    }

    /// Opens one.
    pub fn take(&mut self, link: u32, record: &[u8]) {
        match self.open(link, record) {
            Ok(()) => self.checked.opened += 1,
            Err(what) => {
                self.checked.wrong += 1;
                self.checked.first_wrong.get_or_insert(what);
            }
        }
    }

    fn open(&mut self, link: u32, record: &[u8]) -> Result<(), String> {
        let Some((far, counters)) = self.links.get_mut(link as usize) else { return Err(format!("no link {link}")) };
        let Some((number, plaintext)) = far.open(record) else {
            return Err(format!("a record of link {link} did not open"));
        };
        let header = Header::read(plaintext).map_err(|error| format!("record {number} of link {link}: {error}"))?;
        if counters.is_empty() && header.command == Command::Chaff {
            return Ok(());
        }
        let Some(next) = counters.get_mut(&header.circuit).filter(|_| header.command == Command::Relay) else {
            return Err(format!("record {number} of link {link} holds no cell of its circuits: {header:?}"));
        };
        if header.counter < *next {
            return Err(format!("cell {} of circuit {} on link {link} came again", header.counter, header.circuit));
        }
        *next = header.counter.wrapping_add(1);
        let expected = &mut self.expected[0];
        header.write(expected.plaintext_mut());
        draw_body(self.seed ^ u64::from(header.circuit), link, header.counter, expected.body_mut());
        match expected.plaintext()[..] == *plaintext {
            true => Ok(()),
            false => Err(format!("record {number} of link {link} holds another body than was sealed")),
        }
    }
}
