//! The layers of a client's end: all of them on before a cell leaves, all of them off when one arrives.

use drover_crypto::schedule::LayerSecret;
use drover_crypto::{Cell, LayerJob, Layers};
use drover_wire::cell::CellSize;
use drover_wire::control::{EndLayer, LAYERS_MAX};

/// A cell of each size for the kernels to work on. Made once.
pub struct Scratch {
    voice: [Cell<256>; 1],
    middle: [Cell<512>; 1],
    large: [Cell<1024>; 1],
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { voice: [Cell::ZERO], middle: [Cell::ZERO], large: [Cell::ZERO] }
    }
}

const VOICE: usize = CellSize::S256.body_len();
const MIDDLE: usize = CellSize::S512.body_len();
const LARGE: usize = CellSize::S1024.body_len();

/// A layer key of each hop and direction, nearest hop first.
pub struct EndLayers<L: Layers> {
    forward: Box<[L::Key]>,
    backward: Box<[L::Key]>,
    forward_offsets: [u64; LAYERS_MAX],
    backward_offsets: [u64; LAYERS_MAX],
}

impl<L: Layers> EndLayers<L> {
    /// Expands the keys of `layers`, nearest hop first; of more than [`LAYERS_MAX`] the nearest. Allocates.
    pub fn new(layers: &[EndLayer]) -> Self {
        let layers = &layers[..layers.len().min(LAYERS_MAX)];
        let offsets = |of: fn(&EndLayer) -> u64| std::array::from_fn(|hop| layers.get(hop).map_or(0, of));
        EndLayers {
            forward: layers.iter().map(|layer| L::key(&LayerSecret(layer.forward.0))).collect(),
            backward: layers.iter().map(|layer| L::key(&LayerSecret(layer.backward.0))).collect(),
            forward_offsets: offsets(|layer| layer.forward_offset),
            backward_offsets: offsets(|layer| layer.backward_offset),
        }
    }

    /// Adds every layer, farthest hop first, to a body that leaves with `counter` (W-CIR-6): each hop's `peel` then
    /// takes its own off. Hop i sees `counter` plus the offsets of the hops before it.
    ///
    /// A body of no cell's size is zeroed.
    pub fn add(&self, counter: u64, body: &mut [u8], scratch: &mut Scratch) {
        self.each_sized(body, scratch, Way::Add, self.forward.len(), &self.away(counter));
    }

    /// As [`EndLayers::add`], for a cell that hop number `hop` is to recognise: the layers up to and with its own.
    pub fn add_to(&self, hop: usize, counter: u64, body: &mut [u8], scratch: &mut Scratch) {
        self.each_sized(body, scratch, Way::Add, self.forward.len().min(hop + 1), &self.away(counter));
    }

    /// The check (W-CIR-4) of hop number `hop` for a body of `len` bytes that leaves with `counter`: what its peel will
    /// return. Zeros for a length of no cell.
    pub fn check(&self, hop: usize, counter: u64, len: usize, scratch: &mut Scratch) -> [u8; 8] {
        match len {
            VOICE => self.check_sized(&mut scratch.voice, hop, counter),
            MIDDLE => self.check_sized(&mut scratch.middle, hop, counter),
            LARGE => self.check_sized(&mut scratch.large, hop, counter),
            _ => [0; 8],
        }
    }

    fn check_sized<const S: usize>(&self, cell: &mut [Cell<S>; 1], hop: usize, counter: u64) -> [u8; 8] {
        let mut job = [LayerJob { key: hop as u32, cell: 0, counter: self.away(counter)[hop], check: [0; 8] }];
        L::peel(&self.forward, cell, &mut job);
        job[0].check
    }

    /// What each hop sees of a counter on its way from the client.
    fn away(&self, counter: u64) -> [u64; LAYERS_MAX] {
        let mut counters = [counter; LAYERS_MAX];
        for hop in 1..LAYERS_MAX {
            counters[hop] = counters[hop - 1].wrapping_add(self.forward_offsets[hop - 1]);
        }
        counters
    }

    /// Peels every layer, nearest hop first, from a body that came with `counter` (W-CIR-7): the nearest hop added its
    /// own last, under `counter` less its offset, the next one under that less its own.
    ///
    /// A body of no cell's size is zeroed.
    pub fn peel(&self, counter: u64, body: &mut [u8], scratch: &mut Scratch) {
        self.each_sized(body, scratch, Way::Peel, self.backward.len(), &self.towards(counter));
    }

    /// As [`EndLayers::peel`], for a cell that hop number `hop` has made: the layers up to and with its own.
    pub fn peel_to(&self, hop: usize, counter: u64, body: &mut [u8], scratch: &mut Scratch) {
        self.each_sized(body, scratch, Way::Peel, self.backward.len().min(hop + 1), &self.towards(counter));
    }

    /// What each hop saw of a counter that arrived at the client.
    fn towards(&self, counter: u64) -> [u64; LAYERS_MAX] {
        let mut counters = [0; LAYERS_MAX];
        let mut before = counter;
        for (hop, came_in) in counters.iter_mut().enumerate() {
            before = before.wrapping_sub(self.backward_offsets[hop]);
            *came_in = before;
        }
        counters
    }

    fn each_sized(&self, body: &mut [u8], scratch: &mut Scratch, way: Way, hops: usize, counters: &[u64; LAYERS_MAX]) {
        match body.len() {
            VOICE => self.each(body, &mut scratch.voice, way, hops, counters),
            MIDDLE => self.each(body, &mut scratch.middle, way, hops, counters),
            LARGE => self.each(body, &mut scratch.large, way, hops, counters),
            // `expand` refuses other sizes; nothing in the clear must leave if it did not.
            _ => body.fill(0),
        }
    }

    fn each<const S: usize>(
        &self,
        body: &mut [u8],
        cell: &mut [Cell<S>; 1],
        way: Way,
        hops: usize,
        counters: &[u64; LAYERS_MAX],
    ) {
        cell[0].body_mut().copy_from_slice(body);
        let job = |hop: usize| [LayerJob { key: hop as u32, cell: 0, counter: counters[hop], check: [0; 8] }];
        match way {
            Way::Add => (0..hops).rev().for_each(|hop| L::add(&self.forward, cell, &mut job(hop))),
            Way::Peel => (0..hops).for_each(|hop| L::peel(&self.backward, cell, &mut job(hop))),
        }
        body.copy_from_slice(cell[0].body());
    }
}

#[derive(Clone, Copy)]
enum Way {
    Add,
    Peel,
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
