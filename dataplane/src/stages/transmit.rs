//! Transmit: what is due now leaves, before anything else is done.

use crate::drops::DropReason;
use crate::inject::NO_CLASS;
use crate::state::State;
use drover_crypto::Suite;
use drover_nic::Port;

impl<C: Suite, const S: usize> State<C, S> {
    /// Gives the port what is due by now. Late by less than a slot: sent once. Later: discarded, cell or chaff alike,
    /// and counted; never a burst that catches up (`docs/architecture.md`, slot rules).
    pub fn transmit(&mut self, port: &mut impl Port) {
        // Runs of one verdict go to the port in one call.
        let (mut run, mut run_late) = (0usize, false);
        while let Some(departure) = self.departures.front().copied().filter(|d| d.due <= self.now) {
            let late = self.now - departure.due;
            let lost = late >= departure.period && !self.catches_up();
            if lost != run_late && run > 0 {
                give(port, run, run_late);
                run = 0;
            }
            (run, run_late) = (run + 1, lost);
            self.departures.pop_front();
            self.account(&departure, late, lost);
        }
        give(port, run, run_late);
    }

    #[inline]
    fn account(&mut self, departure: &crate::state::Departure, late: u64, lost: bool) {
        if departure.class == NO_CLASS {
            return self.account_raw();
        }
        let class = usize::from(departure.class);
        if lost {
            self.counters.class_missed[class] += 1;
            if departure.real {
                self.counters.drop(DropReason::LateSlot);
            }
        } else {
            self.counters.late(late);
            self.counters.sent += 1;
            self.counters.class_sent[class] += 1;
        }
        #[cfg(feature = "lab")]
        {
            let link = &mut self.tx[departure.link as usize].lab;
            let (lab, real) = (&mut self.counters.lab, u64::from(departure.real));
            if lost {
                link.missed += 1;
            } else {
                link.sent += 1;
                link.sent_real += real;
                lab.cells_out += real;
                lab.chaff_out += 1 - real;
            }
        }
    }

    /// A datagram of control has no slot to be late for.
    fn account_raw(&mut self) {
        self.raw_waiting -= 1;
        #[cfg(feature = "lab")]
        {
            self.counters.lab.raw_out += 1;
        }
    }

    fn catches_up(&self) -> bool {
        #[cfg(feature = "lab")]
        return self.broken(crate::lab::Break::CatchUp);
        #[cfg(not(feature = "lab"))]
        false
    }
}

fn give(port: &mut impl Port, run: usize, lost: bool) {
    match (run, lost) {
        (0, _) => {}
        (_, true) => port.discard(run),
        // What the wire refuses, the port counts: the slot was used all the same.
        (_, false) => _ = port.commit(run),
    }
}
