//! AF_XDP ports on a cable between two hosts of the test's own: network namespaces without names.
#![cfg(not(feature = "loom"))]

mod cable;
mod conform;
mod ends;
mod errors;
mod exact;
mod neighbours;
mod no_alloc;
mod odd_frames;
mod others;
mod raw;
mod stalls;
mod workers;

use drover_nic::alloc_gate::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
