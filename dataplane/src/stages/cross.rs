//! Cross: what leaves by one end of a link of this mix to itself arrives at the other end, at its slot's instant.
//!
//! Where both rendezvous mixes of a call are one, the link between them is such a loop (`docs/wire.md`, W-CIR-9). It has
//! its class's rounds and owners, slots are given out for it as for any link, and a cell that a stall made late by a
//! whole slot is lost as a record would be: no test of timing or loss tells such a call from another. There are no
//! records: nothing is sealed, and nothing is on a wire.

use crate::drops::DropReason;
use crate::handoff::Handoff;
use crate::limits::SLOTS_PER_TURN;
use crate::pool::CHAFF;
use crate::stages::receive::{Opened, OpenedBurst};
use crate::state::State;
use crate::terminal::Terminal;
use drover_crypto::Suite;

impl<C: Suite, const S: usize> State<C, S> {
    /// Relays what is due by now. Bounded a turn; what is left has its turn next, or is too late.
    pub fn cross<T: Terminal>(&mut self, handoff: &mut Handoff<S>, terminal: &mut T) {
        let mut burst = OpenedBurst::new();
        for _ in 0..SLOTS_PER_TURN {
            let Some(crossing) = self.crossings.front().copied().filter(|c| c.due <= self.now) else { break };
            self.crossings.pop_front();
            let (real, class) = (crossing.cell != CHAFF, usize::from(crossing.class));
            let lost = self.now - crossing.due >= crossing.period;
            let counts = if lost { &mut self.counters.class_missed } else { &mut self.counters.class_sent };
            counts[class] += 1;
            #[cfg(feature = "lab")]
            self.count_crossing(crossing.from, crossing.to, lost, real);
            match (real, lost) {
                (false, _) => {}
                (true, true) => self.drop_cell(crossing.cell, DropReason::LateSlot),
                (true, false) => {
                    burst.push(Opened { cell: crossing.cell, link: crossing.to });
                    if burst.is_full() {
                        self.relay(std::mem::take(&mut burst), handoff, terminal);
                    }
                }
            }
        }
        if !burst.is_empty() {
            self.relay(burst, handoff, terminal);
        }
    }

    #[cfg(feature = "lab")]
    fn count_crossing(&mut self, from: u32, to: u32, lost: bool, real: bool) {
        let sent = &mut self.tx[from as usize].lab;
        if lost {
            sent.missed += 1;
            return;
        }
        sent.sent += 1;
        sent.sent_real += u64::from(real);
        self.tx[to as usize].lab.received += 1;
    }

    /// An end of a loop goes, and what crosses to or from it: whoever has its index next must not be given these cells.
    pub(crate) fn forget_crossings(&mut self, link: u32) {
        for _ in 0..self.crossings.len() {
            let Some(crossing) = self.crossings.pop_front() else { break };
            if crossing.from != link && crossing.to != link {
                self.crossings.push_back(crossing);
            } else if crossing.cell != CHAFF {
                self.drop_cell(crossing.cell, DropReason::CircuitGone);
            }
        }
    }
}
