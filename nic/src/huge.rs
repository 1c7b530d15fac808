//! Memory of large tables: on huge pages where the system gives them, and touched before it is used.
//!
//! A worker's tables are far larger than what the processor translates addresses for at once; with 4 KiB pages a lookup
//! costs a page walk as well as a cache miss. Nothing has to be reserved: these are transparent huge pages, and where
//! they are switched off nothing is lost.

use rustix::mm::Advice;

/// What a page's size divides everywhere.
const PAGE: usize = 4096;
/// Less than this is not worth a system call.
const LEAST: usize = 256 * 1024;

/// An empty vector of `capacity`, its memory on huge pages where possible, and touched: using it faults no page in.
pub fn vec<T>(capacity: usize) -> Vec<T> {
    let vec = Vec::with_capacity(capacity);
    let begin = (vec.as_ptr() as usize).next_multiple_of(PAGE);
    let end = vec.as_ptr() as usize + capacity * size_of::<T>();
    let len = end.saturating_sub(begin) / PAGE * PAGE;
    if len >= LEAST {
        let pages = begin as *mut std::ffi::c_void;
        // Advice that is refused costs speed, nothing else.
        // SAFETY: the whole pages lie within the vector's own allocation; this advice leaves what they hold alone.
        let _ = unsafe { rustix::mm::madvise(pages, len, Advice::LinuxHugepage) };
        // SAFETY: as above; pages are made present, their contents stay.
        let _ = unsafe { rustix::mm::madvise(pages, len, Advice::LinuxPopulateWrite) };
    }
    vec
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_size_is_an_ordinary_vector() {
        for capacity in [0, 1, 1000, 100_000, 1 << 20] {
            let mut vec = super::vec::<[u64; 3]>(capacity);
            assert!(vec.is_empty() && vec.capacity() >= capacity);
            vec.extend((0..capacity as u64).map(|n| [n; 3]));
            assert!(vec.iter().enumerate().all(|(n, value)| *value == [n as u64; 3]));
        }
    }
}
