//! Pools of mbufs.

use super::buffer::{self, Draft};
use super::{c_string, refused};
use crate::OpenError;
use drover_dpdk_sys as sys;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Mbufs that each thread keeps at hand: what a few bursts take.
pub(super) const CACHE: usize = 256;

/// A pool on one NUMA node.
pub(super) struct Pool {
    raw: Raw,
}

#[derive(Clone, Copy)]
struct Raw(NonNull<sys::Mempool>);

// SAFETY: DPDK's pools may be used by all threads at once.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

/// Pools that were given up while mbufs of theirs were in another device's rings. They are freed when the mbufs are back.
static GIVEN_UP: Mutex<Vec<Raw>> = Mutex::new(Vec::new());
/// Pools need names.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Pool {
    /// A pool of `count` mbufs for frames of up to `room` bytes on NUMA node `socket` (-1: any).
    pub(super) fn new(count: usize, room: u16, socket: i32) -> Result<Pool, OpenError> {
        sweep();
        let name = c_string(&format!("drover_{}", NUMBER.fetch_add(1, Ordering::Relaxed)))?;
        let mut error = 0;
        let count_32 = u32::try_from(count).unwrap_or(u32::MAX);
        // SAFETY: EAL is up; the name is a string and is copied; the error is written.
        let pool = unsafe { sys::ddp_pool_create(name.as_ptr(), count_32, CACHE as u32, room, socket, &raw mut error) };
        NonNull::new(pool).map(|pool| Pool { raw: Raw(pool) }).ok_or_else(|| {
            let mib = (count * (usize::from(room) + 384)) >> 20;
            refused(
                format!("a pool of {count} mbufs ({mib} MiB)"),
                error,
                "give DPDK more memory: more huge pages (sysctl vm.nr_hugepages), or a higher `memory_mib` without them",
            )
        })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::Mempool {
        self.raw.0.as_ptr()
    }

    /// Mbufs that are neither in the pool nor in a thread's cache.
    pub(super) fn in_use(&self) -> usize {
        self.raw.in_use()
    }

    /// Gives `each` up to `count` drafts of `len` bytes of payload, as [`buffer::allocate`]. They must not outlive the pool.
    #[inline]
    pub(super) fn allocate(&self, count: usize, headers: usize, len: usize, each: impl FnMut(Draft)) {
        // SAFETY: the pool is alive, and as long as its mbufs are out it is not freed (`sweep`).
        unsafe { buffer::allocate(self.as_ptr(), count, headers, len, each) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner).push(self.raw);
        sweep();
    }
}

impl Raw {
    fn in_use(self) -> usize {
        // SAFETY: the pool is alive, and only read.
        unsafe { sys::ddp_pool_in_use(self.0.as_ptr()) as usize }
    }
}

/// Frees the pools that were given up and have all their mbufs.
fn sweep() {
    GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner).retain(|raw| {
        let keep = raw.in_use() != 0;
        if !keep {
            // SAFETY: nobody has the pool, and no mbuf of it is out.
            unsafe { sys::ddp_pool_free(raw.0.as_ptr()) };
        }
        keep
    });
}

/// Pools that wait for mbufs.
#[cfg(test)]
pub(super) fn given_up() -> usize {
    sweep();
    GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner).len()
}
