//! A gate for tests: the system's allocator, counting what each thread asks of it.
//!
//! Workers and ports promise not to allocate after start. A test makes [`Counting`] its global allocator and shows it:
//!
//! ```
//! use drover_nic::alloc_gate::{Counting, asked_during};
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//! assert_eq!(asked_during(|| drop(Box::new(1))), 2);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting.
pub struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often this thread asked the allocator for memory, or gave some back, while `work` ran. Zero, whatever is done,
/// where [`Counting`] is not the global allocator: let a test see it count first.
pub fn asked_during(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}
