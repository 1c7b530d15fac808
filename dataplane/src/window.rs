//! Replay windows: of a link's record numbers and of a circuit's counters.
//!
//! Check, then open, then commit (RFC 9147, 4.5.1): a forged record must not move a window.

/// A sliding window over the last `WORDS · 64 − 64` numbers: a ring of words indexed by number / 64, one of them slack
/// (RFC 6479), so that moving on clears whole words only.
#[derive(Clone, Debug)]
pub struct Window<const WORDS: usize> {
    next: u64,
    bits: [u64; WORDS],
}

/// Of record numbers: 1,024.
pub type RecordWindow = Window<17>;
/// Of a circuit's counters less its first, where a sequence neither begins elsewhere nor wraps: 128.
pub type CellWindow = Window<3>;

/// The last 128 of a circuit's counters, which begin anywhere and wrap. Behind the first one nothing is new.
#[derive(Clone, Copy, Debug)]
pub struct CounterWindow {
    /// One more than the furthest counter committed; the first one before that.
    next: u64,
    /// Which of the counters before it were seen, the nearest in the lowest bit of the first word.
    seen: [u64; 2],
}

/// Where a counter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// So far ahead of the next one.
    Ahead(u64),
    /// Behind, and new.
    Missed,
    /// Seen, or too far behind to know.
    Old,
}

impl CounterWindow {
    /// How far back the window reaches.
    pub const REACH: u64 = 128;

    /// A window that takes `first` and what follows it.
    pub const fn starting_at(first: u64) -> Self {
        CounterWindow { next: first, seen: [u64::MAX; 2] }
    }

    fn seen(&self) -> u128 {
        u128::from(self.seen[1]) << 64 | u128::from(self.seen[0])
    }

    /// Where `counter` lies. Half of all counters are ahead.
    #[inline]
    pub fn place(&self, counter: u64) -> Place {
        let ahead = counter.wrapping_sub(self.next);
        if ahead <= u64::MAX / 2 {
            return Place::Ahead(ahead);
        }
        // At least 1.
        let behind = self.next.wrapping_sub(counter);
        let old = behind > Self::REACH || self.seen() >> (behind - 1) & 1 == 1;
        if old { Place::Old } else { Place::Missed }
    }

    /// Commits `counter`, which is not [`Place::Old`].
    #[inline]
    pub fn commit(&mut self, counter: u64) {
        let ahead = counter.wrapping_sub(self.next);
        let seen = if ahead <= u64::MAX / 2 {
            self.next = counter.wrapping_add(1);
            let moved = if ahead < Self::REACH - 1 { self.seen() << (ahead + 1) } else { 0 };
            moved | 1
        } else {
            self.seen() | 1 << (self.next.wrapping_sub(counter) - 1).min(Self::REACH - 1)
        };
        self.seen = [seen as u64, (seen >> 64) as u64];
    }
}

impl<const WORDS: usize> Window<WORDS> {
    /// How far back the window reaches.
    pub const REACH: u64 = (WORDS as u64 - 1) * 64;

    /// A window that takes `first` and everything after it, and nothing before.
    pub fn starting_at(first: u64) -> Self {
        let mut window = Window { next: first, bits: [0; WORDS] };
        // Numbers below `first` in its own word and in the words behind count as seen.
        window.bits = [u64::MAX; WORDS];
        window.bits[Self::word(first)] = (1u64 << (first % 64)) - 1;
        window
    }

    fn word(number: u64) -> usize {
        ((number / 64) % WORDS as u64) as usize
    }

    /// One more than the highest number committed; the first number before that.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// True when `number` is new: beyond the highest, or within reach and not yet committed.
    #[inline]
    pub fn is_new(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        self.next - number <= Self::REACH && self.bits[Self::word(number)] >> (number % 64) & 1 == 0
    }

    /// Commits `number`; false, and nothing changes, when it is not new.
    pub fn commit(&mut self, number: u64) -> bool {
        if !self.is_new(number) {
            return false;
        }
        if number >= self.next {
            // `next`'s own word is already clear above `next`; every later word up to `number`'s is entered anew.
            let entered = number / 64 - self.next / 64;
            if entered >= WORDS as u64 {
                self.bits = [0; WORDS];
            } else {
                for i in 1..=entered {
                    self.bits[Self::word(self.next + 64 * i)] = 0;
                }
            }
            self.next = number.saturating_add(1);
            // Entering a word early (at `next` rather than at the number itself) keeps the slack word's promise.
            if self.next.is_multiple_of(64) {
                self.bits[Self::word(self.next)] = 0;
            }
        }
        self.bits[Self::word(number)] |= 1 << (number % 64);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn starts_where_told() {
        for first in [0, 1, 63, 64, 65, 1000, 1 << 40] {
            let mut w = RecordWindow::starting_at(first);
            for back in 1..=first.min(2000) {
                assert!(!w.is_new(first - back), "{first} - {back}");
            }
            assert!(w.commit(first));
            assert!(!w.commit(first));
            assert!(w.commit(first + 1100));
            assert!(w.is_new(first + 1099));
            assert!(!w.is_new(first));
        }
    }

    #[test]
    fn the_last_number_does_not_wrap() {
        let mut w = RecordWindow::starting_at(u64::MAX - 2);
        assert!(w.commit(u64::MAX));
        assert!(w.commit(u64::MAX - 1));
        assert!(!w.commit(u64::MAX - 1));
    }

    proptest! {
        /// Against a set of what was seen, relative to the first; also where counters wrap.
        #[test]
        fn a_circuits_window_agrees_with_a_set(first in any::<u64>(), near_the_end in any::<bool>(), steps in
            proptest::collection::vec(prop_oneof![4 => -20i64..20, 2 => -140i64..200, 1 => 0i64..5000], 1..400)) {
            let first = if near_the_end { u64::MAX - first % 300 } else { first };
            let mut window = CounterWindow::starting_at(first);
            let (mut seen, mut next) = (HashSet::new(), 0u64);
            for step in steps {
                let Some(relative) = next.checked_add_signed(step) else {
                    // Behind the first.
                    let counter = first.wrapping_add(next).wrapping_add_signed(step);
                    prop_assert_eq!(window.place(counter), Place::Old);
                    continue;
                };
                let counter = first.wrapping_add(relative);
                let expected = match relative.checked_sub(next) {
                    Some(ahead) => Place::Ahead(ahead),
                    None if next - relative > CounterWindow::REACH || seen.contains(&relative) => Place::Old,
                    None => Place::Missed,
                };
                prop_assert_eq!(window.place(counter), expected);
                if expected != Place::Old {
                    window.commit(counter);
                    prop_assert_eq!(window.place(counter), Place::Old);
                    seen.insert(relative);
                    next = next.max(relative + 1);
                }
            }
        }
    }

    fn against_a_set<const W: usize>(first: u64, steps: &[i64]) {
        let mut window = Window::<W>::starting_at(first);
        let (mut seen, mut next) = (HashSet::new(), first);
        for step in steps {
            let number = next.saturating_add_signed(*step);
            let reach = Window::<W>::REACH;
            let new = number >= next || (number >= first && next - number <= reach && !seen.contains(&number));
            assert_eq!(window.is_new(number), new, "number {number}, next {next}");
            assert_eq!(window.commit(number), new);
            assert!(!window.commit(number));
            if new {
                seen.insert(number);
                next = next.max(number + 1);
            }
            assert_eq!(window.next(), next);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(first in 0u64..5000, steps in proptest::collection::vec(
            prop_oneof![4 => -20i64..20, 2 => -1300i64..200, 1 => 0i64..5000], 1..400)) {
            against_a_set::<17>(first, &steps);
            against_a_set::<3>(first, &steps);
        }
    }
}
