//! A fixed-size hash index from keys to 32-bit slab indices.
//!
//! Keys are installed by control, looked up by whatever arrives. The hash (aHash: two multiplications a word) is keyed
//! with a secret drawn at start, so that nobody who chooses ids or addresses can make probes long. Capacity is fixed: no
//! allocation, no rehash, no tombstone (removal shifts the following entries back).

use ahash::RandomState;
use drover_crypto::prefetch;
use drover_nic::huge;
use rand::{Rng, RngCore, TryRngCore};
use std::hash::Hash;

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry<K> {
    key: K,
    value: u32,
}

/// Where the search for a key begins in its index.
#[derive(Clone, Copy, Debug)]
pub struct Home(usize);

/// An index of at most a fixed number of keys.
pub struct Index<K> {
    entries: Box<[Entry<K>]>,
    mask: usize,
    len: usize,
    capacity: usize,
    hasher: RandomState,
}

impl<K: Copy + Eq + Hash> Index<K> {
    /// An index for up to `capacity` keys; `filler` is any key. The hash's secret comes from the system.
    pub fn new(capacity: usize, filler: K) -> Self {
        Self::with_secret(capacity, filler, &mut rand::rngs::OsRng.unwrap_err())
    }

    /// As [`Index::new`], the hash's secret drawn from `rng`.
    pub fn with_secret(capacity: usize, filler: K, rng: &mut impl RngCore) -> Self {
        // At most half full: short probes also for keys that are not there.
        let slots = (capacity.max(4) * 2).next_power_of_two();
        let mut entries = huge::vec(slots);
        entries.resize(slots, Entry { key: filler, value: EMPTY });
        let entries = entries.into_boxed_slice();
        let hasher = RandomState::with_seeds(rng.random(), rng.random(), rng.random(), rng.random());
        Index { entries, mask: slots - 1, len: 0, capacity, hasher }
    }

    /// Removes every key.
    pub fn clear(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.value = EMPTY);
        self.len = 0;
    }

    /// How many keys are in.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no key is in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of the index, bytes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.entries)
    }

    fn home(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize & self.mask
    }

    /// Where the search for `key` begins, for [`Index::get_from`]; its cache line is asked for. A burst's keys are
    /// looked up in two passes, so that they wait for memory together and not one after the other.
    pub fn begin(&self, key: &K) -> Home {
        let home = self.home(key);
        prefetch::prefetch_slice_element(&self.entries, home);
        Home(home)
    }

    /// As [`Index::get`], from where [`Index::begin`] says.
    pub fn get_from(&self, home: Home, key: &K) -> Option<u32> {
        self.find_from(home.0 & self.mask, key).ok().map(|at| self.entries[at].value)
    }

    /// Where `key` is, or the empty place where it would go.
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.find_from(self.home(key), key)
    }

    /// The table is never more than half full, so this ends.
    fn find_from(&self, home: usize, key: &K) -> Result<usize, usize> {
        let mut at = home;
        loop {
            let entry = &self.entries[at];
            if entry.value == EMPTY {
                return Err(at);
            }
            if entry.key == *key {
                return Ok(at);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.find(key).ok().map(|at| self.entries[at].value)
    }

    /// Sets the value of `key`, which must not be `u32::MAX`; false when the index is full.
    pub fn insert(&mut self, key: K, value: u32) -> bool {
        debug_assert_ne!(value, EMPTY);
        match self.find(&key) {
            Ok(at) => self.entries[at].value = value,
            Err(_) if self.len == self.capacity => return false,
            Err(at) => {
                self.entries[at] = Entry { key, value };
                self.len += 1;
            }
        }
        true
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<u32> {
        let mut hole = self.find(key).ok()?;
        let value = self.entries[hole].value;
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            if self.entries[at].value == EMPTY {
                break;
            }
            // An entry may fill the hole when its home is not between the hole (exclusive) and itself.
            let home = self.home(&self.entries[at].key);
            let from_home = at.wrapping_sub(home) & self.mask;
            let from_hole = at.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.entries[hole] = self.entries[at];
                hole = at;
            }
        }
        self.entries[hole].value = EMPTY;
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn refuses_beyond_capacity() {
        let mut index = Index::new(3, 0u64);
        assert!((1..=3).all(|k| index.insert(k, 7)));
        assert!(!index.insert(4, 7));
        assert!(index.insert(2, 9));
        assert_eq!(index.remove(&1), Some(7));
        assert!(index.insert(4, 8));
        assert_eq!((index.get(&2), index.get(&4), index.len()), (Some(9), Some(8), 3));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((0u8..3, 0u64..60, 0u32..1000), 1..600)) {
            let mut index = Index::new(40, 0u64);
            let mut map = HashMap::new();
            for (op, key, value) in ops {
                match op {
                    0 => {
                        let fits = map.len() < 40 || map.contains_key(&key);
                        prop_assert_eq!(index.insert(key, value), fits);
                        if fits { map.insert(key, value); }
                    }
                    1 => prop_assert_eq!(index.remove(&key), map.remove(&key)),
                    _ => prop_assert_eq!(index.get(&key), map.get(&key).copied()),
                }
                prop_assert_eq!(index.len(), map.len());
            }
            for key in 0..60 {
                prop_assert_eq!(index.get(&key), map.get(&key).copied());
                prop_assert_eq!(index.get_from(index.begin(&key), &key), map.get(&key).copied());
            }
        }
    }
}
