//! Expanded keys inline in one slab, named by index; a freed place is overwritten at once.

/// A slab of at most a fixed number of values.
pub struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
    capacity: usize,
    blank: fn() -> T,
}

impl<T> Slab<T> {
    /// A slab for `capacity` values; `blank` makes what stands in a freed place.
    pub fn new(capacity: usize, blank: fn() -> T) -> Self {
        Slab { items: Vec::with_capacity(capacity), free: Vec::with_capacity(capacity), capacity, blank }
    }

    /// All values, for the kernels.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// Puts a value in; `None` when the slab is full. Never allocates.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(at) = self.free.pop() {
            self.items[at as usize] = value;
            return Some(at);
        }
        if self.items.len() == self.capacity {
            return None;
        }
        self.items.push(value);
        Some(self.items.len() as u32 - 1)
    }

    /// Replaces a value; the old one is dropped, which zeroizes a key.
    pub fn replace(&mut self, at: u32, value: T) {
        self.items[at as usize] = value;
    }

    /// Frees a place.
    pub fn remove(&mut self, at: u32) {
        debug_assert!(!self.free.contains(&at));
        self.items[at as usize] = (self.blank)();
        self.free.push(at);
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
        let (a, b) = (slab.insert(7).unwrap(), slab.insert(8).unwrap());
        assert_eq!(slab.insert(9), None);
        slab.remove(a);
        assert_eq!(slab.items(), [0, 8]);
        assert_eq!(slab.insert(9), Some(a));
        slab.replace(b, 5);
        assert_eq!((slab.items(), slab.len()), (&[9, 5][..], 2));
    }
}
