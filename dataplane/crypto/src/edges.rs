//! Kernels at the ends of memory: frames, bodies, cells and keys that begin or end where a page without access is.

use crate::backend::WithSuite;
use crate::conformance::{Draw, naive};
use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
use drover_wire::cell::plaintext_len;
use drover_wire::record::{Aad, FIRST_BYTE, HEADER, record_len};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::os::unix::process::ExitStatusExt;
use std::ptr;

/// Memory between two pages without access, and where in it values are put.
struct Island {
    /// The page before.
    map: *mut u8,
    page: usize,
    /// Bytes with access.
    len: usize,
    /// Values end with the memory; otherwise they begin with it.
    at_end: bool,
}

impl Island {
    /// With room for `bytes` bytes.
    fn new(bytes: usize, at_end: bool) -> Self {
        let page = rustix::param::page_size();
        let len = bytes.next_multiple_of(page).max(page);
        // SAFETY: a new mapping at a place of the kernel's choice disturbs nothing.
        let map = unsafe { mmap_anonymous(ptr::null_mut(), len + 2 * page, ProtFlags::empty(), MapFlags::PRIVATE) };
        let map = map.expect("memory").cast::<u8>();
        let inner = map.wrapping_add(page);
        // SAFETY: these pages are of the mapping above, and nothing is in them yet.
        unsafe { mprotect(inner.cast(), len, MprotectFlags::READ | MprotectFlags::WRITE) }.expect("access");
        Island { map, page, len, at_end }
    }

    /// Puts values there; they are never dropped.
    fn put<T>(&mut self, values: Vec<T>) -> &mut [T] {
        let bytes = size_of::<T>() * values.len();
        assert!(bytes <= self.len);
        let before = if self.at_end { self.len - bytes } else { 0 };
        let start = self.map.wrapping_add(self.page + before).cast::<T>();
        assert!(start.is_aligned());
        let count = values.len();
        for (at, value) in values.into_iter().enumerate() {
            // SAFETY: within the pages with access, as asserted, aligned, and ours.
            unsafe { start.wrapping_add(at).write(value) };
        }
        // SAFETY: so many values were just written; the borrow is as long as that of the island.
        unsafe { std::slice::from_raw_parts_mut(start, count) }
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, to which no borrow is left.
        unsafe { munmap(self.map.cast(), self.len + 2 * self.page) }.expect("it is mapped");
    }
}

/// Every kernel of a back end, everything it touches at the beginning, then at the end of memory.
pub(crate) struct Edges;

impl WithSuite for Edges {
    type Out = String;
    fn with<C: Suite>(self) -> String {
        for at_end in [false, true] {
            edges::<C, 256>(at_end);
            edges::<C, 512>(at_end);
            edges::<C, 1024>(at_end);
        }
        "nothing touched before or behind frames, cells and keys".to_owned()
    }
}

fn edges<C: Suite, const S: usize>(at_end: bool) {
    let mut draw = Draw(5);
    let secret = RecordSecret { key: draw.array(), iv: draw.array() };
    let island = |bytes| Island::new(bytes, at_end);
    let (mut keys, mut mask_keys, mut layer_keys) = (island(4096), island(4096), island(4096));
    let keys = keys.put(vec![C::Records::key(&secret)]);
    let mask_keys = mask_keys.put(vec![C::Records::mask_key(&MaskSecret(secret.key))]);
    let layer_keys = layer_keys.put(vec![C::Layers::key(&LayerSecret(secret.key))]);
    let mut pool = island(2 * S);
    let pool = pool.put(draw.pool::<S>(2).into_vec());
    let text = pool[0].plaintext().to_vec();

    let mut frame = island(record_len(S));
    let frame = frame.put(vec![0; record_len(S)]);
    let number = draw.number();
    C::Records::seal(keys, pool, &mut [SealJob { key: 0, cell: 0, number, first: FIRST_BYTE, frame }]);
    let expected = naive(&secret, number, &frame[..HEADER], &text);
    assert!(frame[HEADER..] == expected, "sealed at an edge, S = {S}");

    let mut body = island(S);
    let body = &*body.put(expected);
    let mut jobs = [OpenJob { key: 0, cell: 1, number, aad: Aad::sent(number), body, ok: false }];
    C::Records::open(keys, pool, &mut jobs);
    assert!(jobs[0].ok && pool[1].plaintext() == text, "opened at an edge, S = {S}");

    for len in [0, 1, 15, 16, 17, plaintext_len(S) - 1] {
        let mut short = island(S);
        let short = short.put(naive(&secret, number, Aad::sent(number).as_bytes(), &text[..len]));
        let job = OpenJob { key: 0, cell: 1, number, aad: Aad::sent(number), body: short, ok: false };
        assert!(C::Records::open_short(&keys[0], &mut pool[1], &job), "{len} bytes opened at an edge, S = {S}");
        assert!(pool[1].plaintext()[..len] == text[..len]);
    }

    let mut masks = island(size_of::<MaskJob>());
    C::Records::masks(mask_keys, masks.put(vec![MaskJob { key: 0, sample: draw.array(), mask: [0; 2] }]));

    let before: Cell<S> = pool[0].clone();
    let mut jobs = [0, 1].map(|cell| LayerJob { key: 0, cell, counter: number, check: [0; 8] });
    C::Layers::peel(layer_keys, pool, &mut jobs);
    assert!(pool[0].body() != before.body(), "peeled at an edge, S = {S}");
    C::Layers::add(layer_keys, pool, &mut jobs);
    assert!(pool[0].bytes == before.bytes, "added at an edge, S = {S}");
}

/// A step over an edge ends the process: shown in another one.
#[test]
fn a_step_over_an_edge_is_seen() {
    for step in ["edges::steps_before_the_beginning", "edges::steps_behind_the_end"] {
        let program = std::env::current_exe().expect("this program");
        let run = std::process::Command::new(program).args(["--ignored", "--exact", step]).output().expect("runs");
        assert_eq!(run.status.signal(), Some(rustix::process::Signal::SEGV.as_raw()), "{step}: {run:?}");
    }
}

#[test]
#[ignore = "ends its process; `a_step_over_an_edge_is_seen` runs it"]
fn steps_before_the_beginning() {
    let mut island = Island::new(64, false);
    let before = island.put(vec![0u8; 64]).as_ptr().wrapping_sub(1);
    // SAFETY: none; the page there has no access, and this ends the process.
    unsafe { before.read_volatile() };
}

#[test]
#[ignore = "ends its process; `a_step_over_an_edge_is_seen` runs it"]
fn steps_behind_the_end() {
    let mut island = Island::new(64, true);
    let behind = island.put(vec![0u8; 64]).as_ptr().wrapping_add(64);
    // SAFETY: none; the page there has no access, and this ends the process.
    unsafe { behind.read_volatile() };
}
