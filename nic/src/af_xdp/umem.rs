//! A socket's frames: memory that it shares with the kernel, in chunks that one of the two owns.

use super::mapping::Mapping;
use rustix::fs::MemfdFlags;
use rustix::mm::Advice;
use std::os::fd::AsFd;
use std::{fmt, io};

/// What the kernel puts aside at the front of a chunk that it receives into (XDP_PACKET_HEADROOM).
pub(super) const RECEIVE_HEADROOM: usize = 256;

/// Bytes of a huge page, the size that all machines with 4 KiB pages have first.
const HUGE_PAGE: usize = 2 << 20;

/// Which pages a port's frames shall lie on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Reserved huge pages (hugetlbfs), or the port is not opened.
    Require,
    /// Reserved huge pages where there are enough, else transparent ones.
    #[default]
    Prefer,
    /// Ordinary pages.
    Off,
}

/// Which pages a port's frames lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved huge pages, so many of 2 MiB each.
    Huge(usize),
    /// Pages that the kernel makes huge as it can.
    Transparent,
    /// Ordinary pages.
    Small,
}

/// `4 huge pages`, `transparent huge pages`, `small pages`.
impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pages::Huge(1) => f.write_str("1 huge page"),
            Pages::Huge(count) => write!(f, "{count} huge pages"),
            Pages::Transparent => f.write_str("transparent huge pages"),
            Pages::Small => f.write_str("small pages"),
        }
    }
}

/// How many reserved huge pages `bytes` need.
pub(super) fn huge_pages_for(bytes: usize) -> usize {
    bytes.div_ceil(HUGE_PAGE)
}

/// The sole right to a chunk of the port's [`Umem`]. There is one of each: who gives a chunk to the kernel gives this away
/// and makes it again from the address that comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk(u32);

/// Memory that a socket and the kernel share.
#[derive(Debug)]
pub(super) struct Umem {
    memory: Mapping,
    pages: Pages,
    /// Bytes of a chunk, a power of two.
    chunk: usize,
    count: u32,
}

impl Umem {
    /// `count` chunks of `chunk` bytes, a power of two, and the right to each.
    ///
    /// # Errors
    /// What the system says: `OutOfMemory` where reserved huge pages are required and too few.
    pub(super) fn new(chunk: usize, count: u32, wanted: HugePages) -> io::Result<(Umem, Vec<Chunk>)> {
        assert!(chunk.is_power_of_two());
        let (memory, pages) = memory(chunk * count as usize, wanted)?;
        Ok((Umem { memory, pages, chunk, count }, (0..count).map(Chunk).collect()))
    }

    /// Which pages it lies on.
    pub(super) fn pages(&self) -> Pages {
        self.pages
    }

    /// Where it begins, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.memory.start().addr().get() as u64
    }

    /// Bytes of all chunks.
    pub(super) fn len(&self) -> u64 {
        self.chunk as u64 * u64::from(self.count)
    }

    /// Bytes of a chunk.
    pub(super) fn chunk_len(&self) -> usize {
        self.chunk
    }

    /// What is in a chunk.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, chunk: &'a Chunk) -> &'a [u8] {
        let start = self.start_of(chunk);
        // SAFETY: the chunk lies within the mapping, which is initialised (zero at first) and lives as long as `self`. Its
        // right is borrowed, so that neither the kernel nor anybody else writes it meanwhile.
        unsafe { std::slice::from_raw_parts(start, self.chunk) }
    }

    /// What is in a chunk, for writing.
    #[inline]
    pub(super) fn bytes_mut<'a>(&'a self, chunk: &'a mut Chunk) -> &'a mut [u8] {
        let start = self.start_of(chunk);
        // SAFETY: as above; and the right is borrowed mutably, so that nobody reads it meanwhile.
        unsafe { std::slice::from_raw_parts_mut(start, self.chunk) }
    }

    #[inline]
    fn start_of(&self, chunk: &Chunk) -> *mut u8 {
        // A port has one Umem and no other chunks; the comparison keeps a mistake from leaving the mapping.
        assert!(chunk.0 < self.count);
        let offset = chunk.0 as usize * self.chunk;
        // SAFETY: the chunk's number is below the count, so its first byte is within the mapping.
        unsafe { self.memory.start().as_ptr().add(offset) }
    }

    /// Gives the right to a chunk away. Returns the address by which the kernel knows its byte `offset`.
    #[inline]
    pub(super) fn give(&self, chunk: Chunk, offset: usize) -> u64 {
        (chunk.0 as usize * self.chunk + offset) as u64
    }

    /// Takes the right to a chunk back, by an address in it that the kernel gave. Also the offset of that address in the
    /// chunk. `None` for an address that is in none. The kernel does not do that, and is trusted not to give one twice: it can
    /// write all of our memory anyway.
    #[inline]
    pub(super) fn take(&self, address: u64) -> Option<(Chunk, usize)> {
        let number = address >> self.chunk.trailing_zeros();
        let offset = address as usize & (self.chunk - 1);
        (number < u64::from(self.count)).then_some((Chunk(number as u32), offset))
    }

    /// Asks for two cache lines from byte `offset` of a chunk: headers, and the begin of what they carry.
    #[inline]
    pub(super) fn prefetch(&self, chunk: &Chunk, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = self.start_of(chunk).wrapping_add(offset).cast_const().cast();
            // SAFETY: PREFETCHT0 is in every x86-64, reads nothing architecturally and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(64)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (chunk, offset);
    }
}

fn memory(len: usize, wanted: HugePages) -> io::Result<(Mapping, Pages)> {
    match wanted {
        HugePages::Off => Ok((Mapping::anonymous(len)?, Pages::Small)),
        HugePages::Require => reserved(len),
        HugePages::Prefer => reserved(len).or_else(|_| transparent(len)),
    }
}

/// Of the pages reserved for hugetlbfs: a file without a name, so that they are free again whatever happens to us.
fn reserved(len: usize) -> io::Result<(Mapping, Pages)> {
    let pages = huge_pages_for(len);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = rustix::fs::memfd_create("drover-umem", flags)?;
    rustix::fs::ftruncate(&file, (pages * HUGE_PAGE) as u64)?;
    Ok((Mapping::of(file.as_fd(), 0, pages * HUGE_PAGE)?, Pages::Huge(pages)))
}

fn transparent(len: usize) -> io::Result<(Mapping, Pages)> {
    // Whole huge pages: what is mapped of that size is put where one can lie.
    let len = len.next_multiple_of(HUGE_PAGE);
    let memory = Mapping::anonymous(len)?;
    let start = memory.start().as_ptr().cast();
    // SAFETY: these are the mapping's own pages; this advice leaves what they hold alone.
    let advised = unsafe { rustix::mm::madvise(start, len, Advice::LinuxHugepage) };
    // Refused where the kernel has none.
    Ok((memory, if advised.is_ok() { Pages::Transparent } else { Pages::Small }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_are_apart() {
        for wanted in [HugePages::Prefer, HugePages::Off] {
            let (umem, mut chunks) = Umem::new(2048, 300, wanted).expect("memory");
            for (number, chunk) in chunks.iter_mut().enumerate() {
                umem.bytes_mut(chunk).fill(number as u8);
                umem.prefetch(chunk, 2000);
            }
            for (number, chunk) in chunks.iter().enumerate() {
                assert!(umem.bytes(chunk).iter().all(|byte| *byte == number as u8));
            }
            assert_eq!((umem.len(), umem.address() % 4096), (300 * 2048, 0));
        }
    }

    #[test]
    fn pages_are_counted_in_whole_ones() {
        assert_eq!([1, HUGE_PAGE, HUGE_PAGE + 1].map(huge_pages_for), [1, 1, 2]);
        assert_eq!(Pages::Huge(4).to_string(), "4 huge pages");
    }

    proptest! {
        #[test]
        fn a_right_comes_back_by_any_address_of_its_chunk(number in 0..300u32, offset in 0..2048usize) {
            let (umem, _chunks) = Umem::new(2048, 300, HugePages::Off).expect("memory");
            let address = umem.give(Chunk(number), offset);
            prop_assert_eq!(umem.take(address), Some((Chunk(number), offset)));
            prop_assert_eq!(umem.take(address + 300 * 2048), None);
        }

        #[test]
        fn no_address_is_taken_beyond_the_end(address: u64) {
            let (umem, _chunks) = Umem::new(4096, 3, HugePages::Off).expect("memory");
            prop_assert_eq!(umem.take(address).is_some(), address < 3 * 4096);
        }
    }
}
