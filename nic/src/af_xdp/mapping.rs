//! Memory mapped by the process, unmapped on drop.

use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// Pages that belong to this value. What they hold is reached through pointers only: others may write it too.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and may be used and unmapped by any thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared Mapping gives away its address and nothing else.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset` for reading and writing, shared with whoever else has them, present at once.
    pub(super) fn of(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Mapping> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: no address is asked for, so no memory in use is replaced.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags, fd, offset) }?;
        Mapping::made(start.cast(), len)
    }

    /// Maps `len` bytes of the process's own, zero, not present yet.
    pub(super) fn anonymous(len: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no memory in use is replaced.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) }?;
        Mapping::made(start.cast(), len)
    }

    fn made(start: *mut u8, len: usize) -> io::Result<Mapping> {
        Ok(Mapping { start: NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    /// Its first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its bytes in number.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and no borrow of it outlives this value. It can fail only for
        // want of memory to split a mapping, which this does not; then it would stay mapped, harmlessly.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
