//! Watch: what a peer owes and did not send is counted as lost, also while nothing comes at all; silence is told; old keys go
//! in time.
//!
//! A record that comes tells what was lost before it (`receive.rs`). When a peer is dead nothing comes, but its numbers
//! would have followed time, so what it owes is known. A few links a turn: nothing here depends on how many there are.

use crate::limits::{LOST_AFTER_ROUNDS, SILENT_NS, WATCHED_PER_TURN};
use crate::link::{HOT_LINES, NIL, Told};
use crate::punt::What;
use crate::state::State;
use drover_crypto::{Suite, prefetch};
use drover_wire::control::Peer;

impl<C: Suite, const S: usize> State<C, S> {
    /// Looks at the next few links.
    pub fn watch(&mut self) {
        self.watch_few();
        // Those of the next turn are asked for now: there is no burst here whose misses would overlap.
        for next in 1..=WATCHED_PER_TURN {
            prefetch::prefetch_slice_element(&self.rx, self.watched + next);
            prefetch::prefetch_lines(&self.tx, self.watched + next, HOT_LINES);
        }
    }

    fn watch_few(&mut self) {
        for _ in 0..WATCHED_PER_TURN.min(self.rx.len()) {
            self.watched = if self.watched + 1 < self.rx.len() { self.watched + 1 } else { 0 };
            // Also of a link that has gone silent the old generation's keys are forgotten.
            if self.now >= self.rx[self.watched].retire_at {
                self.retire(self.watched as u32);
            }
            self.watch_silence(self.watched as u32);
            let rx = &mut self.rx[self.watched];
            let class = &self.classes[usize::from(rx.class)];
            let (peer, active) = (rx.peer, usize::from(rx.active));
            let Some(keys) = rx.keys[active].as_mut().filter(|keys| keys.heard) else { continue };
            if peer == Peer::Foreign {
                continue;
            }
            let patience = LOST_AFTER_ROUNDS * u64::from(class.rate().slots);
            let owed = keys.expected(peer, class.slot_at(self.now)).saturating_sub(patience);
            if let Some(gap) = owed.checked_sub(keys.counted).filter(|gap| *gap > 0) {
                self.counters.class_lost[usize::from(rx.class)] += gap;
                keys.counted = owed;
            }
        }
    }

    /// Tells control once that nothing has come for a while.
    fn watch_silence(&mut self, link: u32) {
        let rx = &self.rx[link as usize];
        let silent = self.now.saturating_sub(rx.last_at) >= SILENT_NS;
        // What crosses a link of this mix to itself is no record.
        let tx = &self.tx[link as usize];
        if silent && rx.told != Told::Silent && tx.live && tx.loop_to == NIL && self.punt_event(What::Silent { link }) {
            self.rx[link as usize].told = Told::Silent;
        }
    }
}
