//! Circuit ids on links (`docs/wire.md`, W-CELL-5, W-CRT-9): each end's half of the space, and ids that are being given back.

use super::limits::{DESTROY_AGAIN_NS, DESTROY_TRIES, random};
use std::collections::{BTreeMap, BTreeSet};

/// Where the upper half begins.
const UPPER: u32 = 1 << 31;
/// Random draws before the space is searched.
const DRAWS: usize = 32;
/// Ids looked at in a search.
const SEARCH: u32 = 65_536;

/// The halves of the id space, of `size` ids each; smaller than 2^31 in tests.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    size: u32,
}

impl Default for Space {
    fn default() -> Self {
        Space { size: UPPER }
    }
}

impl Space {
    /// Halves of `size` ids; the lower one's first is 0, which is no id.
    #[cfg(test)]
    pub fn of(size: u32) -> Space {
        Space { size: size.clamp(1, UPPER) }
    }

    /// An id of one half that is free, drawn at random; `None` when there is none to be found.
    pub fn draw(self, lower: bool, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        let id = |nth: u32| if lower { nth % self.size } else { UPPER + nth % self.size };
        let good = |id: &u32| *id != 0 && is_free(*id);
        let mut drawn = std::iter::repeat_with(|| id(random() as u32)).take(DRAWS);
        drawn.find(good).or_else(|| {
            let from = random() as u32 % self.size;
            (0..self.size.min(SEARCH)).map(|n| id(from.wrapping_add(n) % self.size)).find(good)
        })
    }
}

/// Whether `id` is of the lower half.
pub fn is_lower(id: u32) -> bool {
    id < UPPER
}

/// An id whose circuit is gone on our side.
struct Drain {
    /// When DESTROY is said, next.
    at_ns: u64,
    tries: u8,
}

/// Ids whose circuits ended here and perhaps not yet on the other side: not used again before DESTROYED has come.
#[derive(Default)]
pub struct Drains {
    ids: BTreeMap<(u32, u32), Drain>,
    order: BTreeSet<(u64, (u32, u32))>,
}

impl Drains {
    /// DESTROY is to be said at `at_ns`.
    pub fn begin(&mut self, link: u32, id: u32, at_ns: u64) {
        self.put((link, id), Drain { at_ns, tries: 0 });
    }
    /// Whether this id is being given back.
    pub fn contains(&self, link: u32, id: u32) -> bool {
        self.ids.contains_key(&(link, id))
    }
    /// The other side has ended it too. Before DESTROY was said this means nothing.
    pub fn destroyed(&mut self, link: u32, id: u32) {
        if self.ids.get(&(link, id)).is_some_and(|drain| drain.tries > 0) {
            self.take((link, id));
        }
    }
    /// The next id for which DESTROY is due; the caller says it. After the last try the id is forgotten: the neighbour has
    /// answered nothing for minutes, and ids are drawn at random.
    pub fn due(&mut self, now_ns: u64) -> Option<(u32, u32)> {
        loop {
            let (_, at) = *self.order.first().filter(|(at_ns, _)| *at_ns <= now_ns)?;
            let tries = self.take(at)?.tries + 1;
            if tries <= DESTROY_TRIES {
                self.put(at, Drain { at_ns: now_ns.saturating_add(DESTROY_AGAIN_NS), tries });
                return Some(at);
            }
        }
    }
    /// A DESTROY that was due found no room.
    pub fn again(&mut self, link: u32, id: u32, at_ns: u64) {
        if let Some(drain) = self.take((link, id)) {
            self.put((link, id), Drain { at_ns, tries: drain.tries.saturating_sub(1) });
        }
    }
    /// The link is gone, and its ids with it.
    pub fn link_down(&mut self, link: u32) {
        let ids: Vec<_> = self.ids.range((link, 0)..=(link, u32::MAX)).map(|(at, _)| *at).collect();
        for at in ids {
            self.take(at);
        }
    }
    /// When the next DESTROY is due.
    pub fn deadline(&self) -> Option<u64> {
        self.order.first().map(|(at_ns, _)| *at_ns)
    }

    fn put(&mut self, at: (u32, u32), drain: Drain) {
        self.take(at);
        self.order.insert((drain.at_ns, at));
        self.ids.insert(at, drain);
    }

    fn take(&mut self, at: (u32, u32)) -> Option<Drain> {
        let drain = self.ids.remove(&at)?;
        self.order.remove(&(drain.at_ns, at));
        Some(drain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn halves_are_apart_and_have_an_end() {
        for (lower, count) in [(true, 3), (false, 4)] {
            let used = RefCell::new(BTreeSet::new());
            let drawn = std::iter::from_fn(|| {
                let id = Space::of(4).draw(lower, |id| !used.borrow().contains(&id))?;
                used.borrow_mut().insert(id);
                Some(id)
            });
            assert_eq!(drawn.take(10).count(), count);
            assert!(used.borrow().iter().all(|id| *id != 0 && is_lower(*id) == lower && id % UPPER < 4));
        }
        assert_eq!(Space::default().draw(true, |_| false), None);
        let far: BTreeSet<_> = (0..64).filter_map(|_| Space::default().draw(false, |_| true)).collect();
        assert!(far.len() == 64 && far.iter().all(|id| !is_lower(*id)));
    }

    #[test]
    fn an_id_is_given_back_when_both_have_ended_it() {
        let mut drains = Drains::default();
        drains.begin(1, 7, 500);
        drains.destroyed(1, 7);
        assert!(drains.contains(1, 7), "DESTROYED before DESTROY");
        assert_eq!((drains.due(499), drains.deadline()), (None, Some(500)));
        assert_eq!(drains.due(500), Some((1, 7)));
        drains.again(1, 7, 550);
        assert_eq!((drains.due(549), drains.due(550), drains.due(550)), (None, Some((1, 7)), None));
        drains.destroyed(1, 8);
        drains.destroyed(2, 7);
        assert!(drains.contains(1, 7));
        drains.destroyed(1, 7);
        assert!(!drains.contains(1, 7));
        assert_eq!(drains.deadline(), None);
    }

    #[test]
    fn a_neighbour_that_never_answers_is_not_waited_for_for_ever() {
        let mut drains = Drains::default();
        drains.begin(1, 7, 0);
        drains.begin(2, 7, u64::MAX);
        let said = (0..20).filter(|n| drains.due(n * DESTROY_AGAIN_NS) == Some((1, 7))).count();
        assert_eq!((said, drains.contains(1, 7)), (usize::from(DESTROY_TRIES), false));
        drains.link_down(2);
        assert!(!drains.contains(2, 7));
    }
}
