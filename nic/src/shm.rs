//! Shared memory of 64-bit words: one process writes, others read, and a reader never reaches the writer.
//!
//! Both sides see atomics, so a torn word cannot be read. What a group of words means, and how a reader tells a
//! half-written group, is up to the two.

use rustix::fs::{FileType, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest segment, words (128 MiB).
pub const MAX_WORDS: usize = 1 << 24;

const WORD: usize = size_of::<u64>();

/// Shared memory that this process writes: a memfd, sealed so that its size is fixed and nobody else can write.
pub struct Segment {
    memory: Mapping,
    fd: OwnedFd,
}

impl Segment {
    /// Makes a segment of `words` words, all zero, page-aligned. `name` shows in /proc/*/maps.
    ///
    /// # Errors
    /// `InvalidInput` when `words` is 0 or above [`MAX_WORDS`]; else what the system says: `name` longer than 249 bytes
    /// or with a zero byte, no memory, a kernel before Linux 5.1.
    pub fn create(name: &str, words: usize) -> io::Result<Segment> {
        if !(1..=MAX_WORDS).contains(&words) {
            let message = format!("a segment of {words} words: allowed are 1 to {MAX_WORDS}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, (words * WORD) as u64)?;
        let memory = Mapping::new(fd.as_fd(), words, ProtFlags::READ | ProtFlags::WRITE)?;
        // FUTURE_WRITE spares the mapping just made: only this one can ever write.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok(Segment { memory, fd })
    }

    /// Maps what another process made with [`Segment::create`], for reading. The descriptor may be closed afterwards.
    ///
    /// # Errors
    /// `InvalidData` when `fd` is no segment: not a memfd, not sealed against shrinking and growing (its owner could
    /// make us fault), or of a wrong size; else what the system says.
    pub fn map_read_only(fd: impl AsFd) -> io::Result<ReadSegment> {
        let fd = fd.as_fd();
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("no shared segment: {what}"));
        // First, since it fails on all but a memfd.
        let seals = rustix::fs::fcntl_get_seals(fd).map_err(|error| wrong(format!("no seals: {error}")))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(wrong(String::from("its size is not sealed")));
        }
        let stat = rustix::fs::fstat(fd)?;
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || !size.is_multiple_of(WORD)
            || !(1..=MAX_WORDS).contains(&(size / WORD))
        {
            return Err(wrong(format!("{size} bytes")));
        }
        Ok(ReadSegment { memory: Mapping::new(fd, size / WORD, ProtFlags::READ)? })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is readable and writable, of that many words, initialised (zero at first), page-aligned,
        // never shrinks (sealed), and lives as long as `self`. All access everywhere is atomic.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.memory.words) }
    }

    /// The descriptor to pass to readers, who cannot write through it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Shared memory that another process writes.
///
/// The words can change at any time and the writer is not trusted: check what they say.
pub struct ReadSegment {
    memory: Mapping,
}

impl ReadSegment {
    /// Words in all.
    #[expect(clippy::len_without_is_empty, reason = "a segment has at least one word")]
    pub fn len(&self) -> usize {
        self.memory.words
    }

    /// Word `index`, by an acquire load: what was stored before its release store is visible. `None` beyond the end.
    #[inline]
    pub fn load(&self, index: usize) -> Option<u64> {
        if index >= self.memory.words {
            return None;
        }
        // SAFETY: the index is within the mapping.
        let word = unsafe { self.memory.start.add(index) };
        // SAFETY: the mapping is readable, page-aligned, never shrinks (sealed), and lives as long as `self`. All access
        // is atomic, and an atomic load of a word needs no write permission. The reference does not leave this function,
        // so that nobody can store through it.
        let word = unsafe { word.as_ref() };
        Some(word.load(Ordering::Acquire))
    }
}

/// Words mapped shared, unmapped on drop.
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone and may be unmapped by any thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared mapping is reached through atomics only.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, words: usize, protection: ProtFlags) -> io::Result<Mapping> {
        // SAFETY: no address is asked for, so no memory in use is replaced.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), words * WORD, protection, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, words })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of `new`, and no borrow of the mapping outlives it. It can fail only for
        // want of memory to split a mapping, which this does not; then it would stay mapped, harmlessly.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.words * WORD) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::thread;

    #[test]
    fn a_segment_is_zero_and_page_aligned() {
        let segment = Segment::create("drover-test", 1000).expect("a segment");
        assert_eq!(segment.words().len(), 1000);
        assert!(segment.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        assert_eq!(segment.words().as_ptr().addr() % 4096, 0);
    }

    #[test]
    fn another_mapping_sees_what_a_thread_writes() {
        const ROUNDS: u64 = 10_000;
        let segment = Segment::create("drover-test", 2).expect("a segment");
        let reader = Segment::map_read_only(segment.fd()).expect("a mapping");
        assert_eq!((reader.len(), reader.load(1), reader.load(2)), (2, Some(0), None));
        thread::scope(|scope| {
            scope.spawn(|| {
                let [value, published] = segment.words() else { panic!("two words") };
                for round in 1..=ROUNDS {
                    value.store(round * 3, Ordering::Relaxed);
                    published.store(round, Ordering::Release);
                }
            });
            let mut last = 0;
            while last < ROUNDS {
                let published = reader.load(1).expect("two words");
                let value = reader.load(0).expect("two words");
                assert!(published >= last, "words went backwards");
                assert!(value >= published * 3, "a word was seen before what was stored ahead of it");
                last = published;
            }
        });
        drop(segment);
        assert_eq!(reader.load(1), Some(ROUNDS), "a reader's mapping outlives the writer's");
    }

    #[test]
    fn a_reader_can_neither_write_nor_resize() {
        let segment = Segment::create("drover-test", 512).expect("a segment");
        let fd = segment.fd();
        assert!(rustix::fs::ftruncate(fd, 0).is_err());
        assert!(rustix::fs::ftruncate(fd, 1 << 20).is_err());
        assert!(rustix::io::write(fd, &[1]).is_err());
        assert!(Mapping::new(fd, 512, ProtFlags::READ | ProtFlags::WRITE).is_err());
        assert!(rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE).is_err());
        segment.words()[511].store(7, Ordering::Relaxed);
        assert_eq!(Segment::map_read_only(fd).expect("a mapping").load(511), Some(7));
    }

    #[test]
    fn sizes_and_names_are_checked() {
        for words in [0, MAX_WORDS + 1, usize::MAX] {
            let error = Segment::create("drover-test", words).err().expect("a wrong size");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert!(Segment::create("zero\0byte", 1).is_err());
        assert!(Segment::create(&"long".repeat(100), 1).is_err());
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        let kind = |fd: BorrowedFd<'_>| Segment::map_read_only(fd).err().expect("no segment").kind();
        let file = File::open("/proc/self/exe").expect("our own program");
        assert_eq!(kind(file.as_fd()), io::ErrorKind::InvalidData);
        let memfd = |size: u64, seals| {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = rustix::fs::memfd_create("drover-test", flags).expect("a memfd");
            rustix::fs::ftruncate(&fd, size).expect("a size");
            rustix::fs::fcntl_add_seals(&fd, seals).expect("seals");
            fd
        };
        let both = SealFlags::SHRINK | SealFlags::GROW;
        assert!(Segment::map_read_only(memfd(4096, both)).is_ok());
        let too_long = (MAX_WORDS as u64 + 1) * WORD as u64;
        for (size, seals) in
            [(4096, SealFlags::GROW), (4096, SealFlags::SHRINK), (0, both), (4095, both), (too_long, both)]
        {
            assert_eq!(kind(memfd(size, seals).as_fd()), io::ErrorKind::InvalidData, "{size} bytes, {seals:?}");
        }
    }
}
