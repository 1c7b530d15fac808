//! Expanded keys inline in one slab, named by index; a freed place is overwritten at once.

use crate::huge;

/// A slab of at most a fixed number of values.
pub struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
    capacity: usize,
    blank: fn() -> T,
    /// A bit for each place that is freed: no place is freed twice.
    #[cfg(debug_assertions)]
    freed: Box<[u64]>,
}

impl<T> Slab<T> {
    /// A slab for `capacity` values; `blank` makes what stands in a freed place.
    pub fn new(capacity: usize, blank: fn() -> T) -> Self {
        Slab {
            items: huge::vec(capacity),
            free: huge::vec(capacity),
            capacity,
            blank,
            #[cfg(debug_assertions)]
            freed: vec![0; capacity.div_ceil(64)].into_boxed_slice(),
        }
    }

    /// All values, for the kernels.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// A value.
    pub fn get_mut(&mut self, at: u32) -> &mut T {
        &mut self.items[at as usize]
    }

    /// Puts a value in by exchange with a blank, so that no copy of a key stays where it came from. `None`, and nothing
    /// is exchanged, when the slab is full. Never allocates.
    pub fn insert(&mut self, value: &mut T) -> Option<u32> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.items.len() == self.capacity => return None,
            None => {
                self.items.push((self.blank)());
                self.items.len() as u32 - 1
            }
        };
        #[cfg(debug_assertions)]
        self.mark(at, false);
        self.exchange(at, value);
        Some(at)
    }

    /// Exchanges a value.
    pub fn exchange(&mut self, at: u32, value: &mut T) {
        std::mem::swap(&mut self.items[at as usize], value);
    }

    /// Frees a place.
    pub fn remove(&mut self, at: u32) {
        #[cfg(debug_assertions)]
        self.mark(at, true);
        self.items[at as usize] = (self.blank)();
        self.free.push(at);
    }

    /// Notes that a place becomes free, or stops being so.
    #[cfg(debug_assertions)]
    fn mark(&mut self, at: u32, free: bool) {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        assert!(!free || self.freed[word] & bit == 0, "place {at} is freed twice");
        self.freed[word] = if free { self.freed[word] | bit } else { self.freed[word] & !bit };
    }

    /// Memory, bytes.
    pub fn bytes(&self) -> usize {
        self.capacity * (size_of::<T>() + size_of::<u32>())
    }

    /// Values in.
    pub fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// True when no value is in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_reused_and_blanked() {
        let mut slab = Slab::new(2, || 0u8);
        let (mut seven, mut eight, mut nine) = (7, 8, 9);
        let (a, b) = (slab.insert(&mut seven).unwrap(), slab.insert(&mut eight).unwrap());
        assert_eq!((seven, eight, slab.insert(&mut nine), nine), (0, 0, None, 9));
        slab.remove(a);
        assert_eq!(slab.items(), [0, 8]);
        assert_eq!((slab.insert(&mut nine), nine), (Some(a), 0));
        let mut five = 5;
        slab.exchange(b, &mut five);
        assert_eq!((slab.items(), slab.len(), five), (&[9, 5][..], 2, 8));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "place 70 is freed twice")]
    fn a_place_freed_twice_is_noticed() {
        let mut slab = Slab::new(100, || 0u8);
        (0..100u8).for_each(|n| _ = slab.insert(&mut n.clone()));
        for at in [70, 69, 71] {
            slab.remove(at);
        }
        assert_eq!(slab.insert(&mut 1), Some(71));
        slab.remove(71);
        slab.remove(70);
    }
}
