//! A bounded single-producer single-consumer ring of slots made once.

/// Makes a ring of `capacity` (rounded up to a power of two) slots, each made by `slot`.
pub fn ring<T: Send>(capacity: usize, slot: impl FnMut() -> T) -> (Producer<T>, Consumer<T>) {
    let _ = (capacity, slot);
    todo!()
}
/// The writing end.
pub struct Producer<T>(std::marker::PhantomData<T>);
/// The reading end.
pub struct Consumer<T>(std::marker::PhantomData<T>);
impl<T: Send> Producer<T> {
    /// Writes the next slot in place and publishes it; false, and `fill` not called, when the ring is full.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut T)) -> bool {
        let _ = fill;
        todo!()
    }
    /// Slots free now, at least.
    pub fn free(&mut self) -> usize {
        todo!()
    }
}
impl<T: Send> Consumer<T> {
    /// Reads the oldest slot in place and gives it back; `None` when the ring is empty.
    pub fn pop_with<R>(&mut self, read: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _ = read;
        todo!()
    }
    /// Slots waiting now, at least.
    pub fn waiting(&mut self) -> usize {
        todo!()
    }
}
