//! The cell pool of one worker: cells in whole cache lines, named by index, and the indices that are free.

use drover_crypto::Cell;
use drover_nic::huge;

/// Index of the cell that every chaff record is sealed from.
pub const CHAFF: u32 = 0;

/// Cells of size `S`.
pub struct Pool<const S: usize> {
    /// The cells, for the kernels.
    pub cells: Box<[Cell<S>]>,
    free: Vec<u32>,
}

impl<const S: usize> Pool<S> {
    /// A pool of `capacity` cells beside the chaff cell. All memory is touched now, never on the hot path.
    pub fn new(capacity: usize) -> Self {
        let mut cells: Vec<Cell<S>> = huge::vec(capacity + 1);
        cells.resize_with(capacity + 1, Cell::default);
        let mut cells = cells.into_boxed_slice();
        let chaff = drover_wire::cell::Header { circuit: 0, command: drover_wire::cell::Command::Chaff, counter: 0 };
        chaff.write(cells[CHAFF as usize].plaintext_mut());
        let mut free = huge::vec(capacity);
        free.extend((1..=capacity as u32).rev());
        Pool { cells, free }
    }

    /// A free cell, its bytes those of its last use: whoever takes it overwrites the whole cell.
    #[inline]
    pub fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Gives a cell back.
    #[inline]
    pub fn give(&mut self, cell: u32) {
        debug_assert!(cell != CHAFF && self.free.len() + 1 < self.cells.len());
        self.free.push(cell);
    }

    /// Cells in use.
    pub fn used(&self) -> usize {
        self.cells.len() - 1 - self.free.len()
    }

    /// Memory of the pool, bytes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.cells) + self.free.capacity() * size_of::<u32>()
    }

    /// The plaintext of a cell.
    #[inline]
    pub fn plaintext(&self, cell: u32) -> &[u8] {
        self.cells[cell as usize].plaintext()
    }

    /// The plaintext of a cell, to write.
    #[inline]
    pub fn plaintext_mut(&mut self, cell: u32) -> &mut [u8] {
        self.cells[cell as usize].plaintext_mut()
    }
}
