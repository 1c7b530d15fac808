//! Hints that bring key state and cells into the cache before a kernel needs them.
//!
//! Past a few hundred links the wait for a key's cache lines costs more than its cipher; a kernel that asks for the
//! keys of the jobs a few ahead wins that back. Hints only: no result depends on them.

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// The most lines that one call asks for: the largest key state of any back end, and no more than a core can have
/// under way.
pub const LINES_MAX: usize = 24;

/// How many jobs ahead of the one at work a kernel asks for its keys and cells.
pub const AHEAD: usize = 4;

/// Asks for the cache lines of `value`, at most [`LINES_MAX`].
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    of::<T>(value, size_of::<T>());
}

/// Asks for the cache lines of `slice[index]`; nothing when `index` is out of range.
#[inline(always)]
pub fn prefetch_slice_element<T>(slice: &[T], index: usize) {
    if let Some(value) = slice.get(index) {
        prefetch(value);
    }
}

/// Asks for the first `count` cache lines of `slice[index]`; nothing when `index` is out of range.
#[inline(always)]
pub fn prefetch_lines<T>(slice: &[T], index: usize, count: usize) {
    if let Some(value) = slice.get(index) {
        of(value, size_of::<T>().min(count * LINE));
    }
}

/// Asks for the first cache line of `slice[index]`; nothing when `index` is out of range.
#[inline(always)]
pub fn prefetch_line<T>(slice: &[T], index: usize) {
    prefetch_lines(slice, index, 1);
}

/// Asks for the cache lines of `bytes`, at most [`LINES_MAX`].
#[inline(always)]
pub fn prefetch_bytes(bytes: &[u8]) {
    lines(bytes.as_ptr(), bytes.len());
}

/// Asks for the lines of the first `len` bytes of `value`. Where it begins a line, how many they are is known here.
#[inline(always)]
fn of<T>(value: &T, len: usize) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    if align_of::<T>() >= LINE {
        for line in 0..len.div_ceil(LINE).min(LINES_MAX) {
            hint(start.wrapping_add(line * LINE));
        }
    } else {
        lines(start, len);
    }
}

/// Asks for every line that holds one of the `len` bytes at `start`, at most [`LINES_MAX`].
#[inline(always)]
fn lines(start: *const u8, len: usize) {
    let within = start.addr() % LINE;
    let first = start.wrapping_sub(within);
    let count = if len == 0 { 0 } else { (within + len).div_ceil(LINE).min(LINES_MAX) };
    for line in 0..count {
        hint(first.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hint(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: PREFETCHT0 is in every x86-64, reads nothing architecturally and cannot fault, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn hint(_line: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_and_any_index_may_be_asked_for() {
        prefetch(&());
        prefetch(&7u8);
        prefetch(&[0u8; 63 * 1024]);
        let slice = [[1u64; 20], [2; 20]];
        for index in [0, 1, 2, usize::MAX] {
            prefetch_slice_element(&slice, index);
        }
        prefetch_slice_element::<u64>(&[], 0);
        for start in 0..70 {
            prefetch_bytes(&[0; 200][start..]);
        }
        prefetch_bytes(&[]);
        assert_eq!(slice, [[1; 20], [2; 20]]);
    }
}
