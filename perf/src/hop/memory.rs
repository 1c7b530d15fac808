//! How much memory a cell's way through the worker touches: the figure beside every rate.
//!
//! Counted are the distinct cache lines that a worker must touch for one cell, from the layout of its own types, each
//! rounded up to whole lines; a line that two steps touch counts once, also when it has left the caches between them. Keys,
//! cells and circuits count whole. Not counted: what stays in the first-level cache whatever the world's size (counters,
//! the class, the batch's own arrays, the top of the pool's free list, the code), and page tables.

use super::frames::LABEL;
use drover_crypto::{Cell, Layers, Records, Suite};
use drover_dataplane::link::{HOT_LINES, LinkRx, ReadKeys};
use drover_dataplane::state::State;
use drover_wire::record::record_len;
use serde::Serialize;
use std::mem::offset_of;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of distinct cache lines, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The frame that a record comes in, as the memory port places it.
    pub arrival_frame: usize,
    /// The line of the index from the sender's address to the link.
    pub address_index: usize,
    /// The link's receiving half: what says which keys to try, those keys, and of their window the number that it has got
    /// to and a word.
    pub link_rx: usize,
    /// Keys that open: mask and record.
    pub open_keys: usize,
    /// The cell in the pool.
    pub cell: usize,
    /// The line of the index from link and circuit id to the circuit.
    pub circuit_index: usize,
    /// The way in.
    pub ingress: usize,
    /// The layer's key.
    pub layer_key: usize,
    /// The way out, with its queue.
    pub egress: usize,
    /// Of the link's sending half what every record needs, and the line of the slots' owners.
    pub link_tx: usize,
    /// Keys that seal: mask and record.
    pub seal_keys: usize,
    /// The frame that a record is sealed into, and its note of when it is due.
    pub departure_frame: usize,
}

impl Memory {
    /// Of a worker with this state.
    pub fn of<C: Suite, const S: usize>(state: &State<C, S>) -> Memory {
        let keys = size_of::<<C::Records as Records>::Key>();
        let masks = size_of::<<C::Records as Records>::MaskKey>();
        let frame = lines(LABEL + record_len(S));
        Memory {
            arrival_frame: frame,
            address_index: LINE,
            link_rx: offset_of!(LinkRx, keys) + offset_of!(ReadKeys, counted) + 2 * LINE,
            open_keys: lines(masks) + lines(keys),
            cell: lines(size_of::<Cell<S>>()),
            circuit_index: LINE,
            ingress: lines(element(&state.ingress)),
            layer_key: lines(size_of::<<C::Layers as Layers>::Key>()),
            egress: lines(element(&state.egress)),
            link_tx: HOT_LINES * LINE + LINE,
            seal_keys: lines(masks) + lines(keys),
            departure_frame: frame + LINE,
        }
    }

    /// Of the bare crypto of a cell: keys, the cell, and the frames that it comes in and leaves in.
    pub fn of_floor<C: Suite, const S: usize>() -> usize {
        let keys = lines(size_of::<<C::Records as Records>::Key>());
        let masks = lines(size_of::<<C::Records as Records>::MaskKey>());
        let layer = lines(size_of::<<C::Layers as Layers>::Key>());
        2 * (keys + masks + lines(LABEL + record_len(S))) + layer + lines(size_of::<Cell<S>>())
    }

    /// Of a relayed cell: its record in and its record out.
    pub fn relayed(&self) -> usize {
        let Memory {
            arrival_frame, address_index, link_rx, open_keys, cell, circuit_index, ingress, layer_key, ..
        } = self;
        arrival_frame + address_index + link_rx + open_keys + cell + circuit_index + ingress + layer_key + self.sent()
    }

    /// Of a record sent in an owned slot without a cell: chaff. The chaff cell stays in the first-level cache.
    pub fn sent(&self) -> usize {
        let Memory { egress, link_tx, seal_keys, departure_frame, .. } = self;
        egress + link_tx + seal_keys + departure_frame
    }

    /// Of a record sent in a slot that nobody owns, without a cell.
    pub fn sent_unowned(&self) -> usize {
        let Memory { link_tx, seal_keys, departure_frame, .. } = self;
        link_tx + seal_keys + departure_frame
    }

    /// Of a record of chaff that came: its cell stays in the first-level cache.
    pub fn chaff_received(&self) -> usize {
        let Memory { arrival_frame, address_index, link_rx, open_keys, .. } = self;
        arrival_frame + address_index + link_rx + open_keys
    }
}

/// Bytes in whole lines.
fn lines(bytes: usize) -> usize {
    bytes.next_multiple_of(LINE)
}

/// Size of a table's elements.
fn element<T>(_: &[T]) -> usize {
    size_of::<T>()
}
