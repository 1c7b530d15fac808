use super::*;
use drover_crypto::reference::CtrLayers;
use drover_crypto::testing::NonInvolutive;
use drover_wire::control::Secret;
use proptest::prelude::*;

/// A mix's part of a half circuit, written apart from the client: its kernels and its offsets.
struct Hop<L: Layers> {
    keys: [L::Key; 2],
    offsets: [u64; 2],
}

const FORWARD: usize = 0;
const BACKWARD: usize = 1;

impl<L: Layers> Hop<L> {
    fn new(layer: &EndLayer) -> Self {
        let key = |secret: &Secret<16>| L::key(&LayerSecret(secret.0));
        Hop {
            keys: [key(&layer.forward), key(&layer.backward)],
            offsets: [layer.forward_offset, layer.backward_offset],
        }
    }

    fn job(&self, direction: usize, counter: u64) -> [LayerJob; 1] {
        [LayerJob { key: direction as u32, cell: 0, counter, check: [0; 8] }]
    }

    /// Away from the client (W-CIR-5), the counter re-based (W-CIR-3).
    fn away<const S: usize>(&self, cell: &mut [Cell<S>; 1], counter: &mut u64) {
        L::peel(&self.keys, cell, &mut self.job(FORWARD, *counter));
        *counter = counter.wrapping_add(self.offsets[FORWARD]);
    }

    /// Towards the client.
    fn towards<const S: usize>(&self, cell: &mut [Cell<S>; 1], counter: &mut u64) {
        L::add(&self.keys, cell, &mut self.job(BACKWARD, *counter));
        *counter = counter.wrapping_add(self.offsets[BACKWARD]);
    }
}

fn layer(seed: u8, offsets: (u64, u64)) -> EndLayer {
    EndLayer {
        forward: Secret([seed; 16]),
        forward_offset: offsets.0,
        backward: Secret([seed ^ 0x80; 16]),
        backward_offset: offsets.1,
    }
}

/// Caller → its hops (peel) → the callee's hops, farthest first (add) → callee (W-CIR-8).
fn call<L: Layers, const S: usize>(caller: &[EndLayer], callee: &[EndLayer], first: u64, body: &[u8]) {
    let mut scratch = Scratch::default();
    let mut cell = [Cell::<S>::ZERO];
    cell[0].body_mut().copy_from_slice(body);
    EndLayers::<L>::new(caller).add(first, cell[0].body_mut(), &mut scratch);
    assert_eq!(cell[0].body() == body, caller.is_empty(), "every layer changes the body");
    let mut counter = first;
    caller.iter().for_each(|layer| Hop::<L>::new(layer).away(&mut cell, &mut counter));
    assert_eq!(cell[0].body(), body, "all the caller's layers are off");
    callee.iter().rev().for_each(|layer| Hop::<L>::new(layer).towards(&mut cell, &mut counter));
    assert_eq!(cell[0].body() == body, callee.is_empty());
    EndLayers::<L>::new(callee).peel(counter, cell[0].body_mut(), &mut scratch);
    assert_eq!(cell[0].body(), body);
    assert_eq!(cell[0].bytes[..16][..15], [0; 15], "the header is left alone");
}

fn call_all(caller: &[EndLayer], callee: &[EndLayer], first: u64, fill: u8) {
    let body: Vec<u8> = (0..992).map(|at: usize| fill.wrapping_add((at * 7) as u8)).collect();
    call::<CtrLayers, 256>(caller, callee, first, &body[..224]);
    call::<CtrLayers, 512>(caller, callee, first, &body[..480]);
    call::<CtrLayers, 1024>(caller, callee, first, &body);
    call::<NonInvolutive, 256>(caller, callee, first, &body[..224]);
    call::<NonInvolutive, 512>(caller, callee, first, &body[..480]);
    call::<NonInvolutive, 1024>(caller, callee, first, &body);
}

/// Two mixes a zone: M1, RV1 | RV2, M2. Counters and offsets wrap on the way.
#[test]
fn a_call_through_two_halves() {
    let caller = [layer(1, (u64::MAX - 3, 5)), layer(2, (1 << 63, u64::MAX))];
    let callee = [layer(3, (9, u64::MAX - 1)), layer(4, (0, (1 << 63) + 7))];
    for first in [0, 1, 1 << 63, u64::MAX] {
        call_all(&caller, &callee, first, 3);
    }
    call_all(&[], &[], 5, 9);
    call_all(&caller, &[], 5, 9);
}

/// The chain can fail: a wrong order, counter or offset shows.
#[test]
fn mistakes_show() {
    let hops = [layer(1, (10, 20)), layer(2, (30, 40))];
    let swapped = [hops[1].clone(), hops[0].clone()];
    let mut off = hops.clone();
    off[0].forward_offset += 1;
    let body = [7; 224];
    let mut scratch = Scratch::default();
    for (wrong, counter) in [(&swapped, 100), (&off, 100), (&hops, 101)] {
        let mut cell = [Cell::<256>::ZERO];
        cell[0].body_mut().copy_from_slice(&body);
        EndLayers::<NonInvolutive>::new(wrong).add(counter, cell[0].body_mut(), &mut scratch);
        let mut counter = 100;
        hops.iter().for_each(|layer| Hop::<NonInvolutive>::new(layer).away(&mut cell, &mut counter));
        assert_ne!(cell[0].body(), body);
    }
}

/// Each hop recognises what is for it, the hops before it do not; and what a hop makes is peeled up to it.
fn hop_cells<L: Layers, const S: usize>(hops: &[EndLayer], first: u64) {
    let (end, mut scratch) = (EndLayers::<L>::new(hops), Scratch::default());
    for at in 0..hops.len() {
        let mut cell = [Cell::<S>::ZERO];
        let len = cell[0].body().len();
        cell[0].body_mut().fill(9);
        let check = end.check(at, first, len, &mut scratch);
        cell[0].body_mut()[..8].copy_from_slice(&check);
        end.add_to(at, first, cell[0].body_mut(), &mut scratch);
        let mut counter = first;
        for (hop, layer) in hops[..=at].iter().enumerate() {
            let of_hop = Hop::<L>::new(layer);
            let mut job = of_hop.job(FORWARD, counter);
            L::peel(&of_hop.keys, &mut cell, &mut job);
            assert_eq!(job[0].check == cell[0].body()[..8], hop == at, "hop {hop}, cell for {at}");
            counter = counter.wrapping_add(layer.forward_offset);
        }
        assert!(cell[0].body()[8..].iter().all(|byte| *byte == 9));

        let mut counter = first;
        hops[..=at].iter().rev().for_each(|layer| Hop::<L>::new(layer).towards(&mut cell, &mut counter));
        end.peel_to(at, counter, cell[0].body_mut(), &mut scratch);
        assert!(cell[0].body()[8..].iter().all(|byte| *byte == 9));
    }
    assert_eq!(end.check(0, first, 225, &mut scratch), [0; 8], "no cell's length");
}

#[test]
fn cells_for_and_of_each_hop() {
    let hops = [layer(1, (u64::MAX - 3, 5)), layer(2, (1 << 63, u64::MAX)), layer(3, (9, 9))];
    for first in [0, 1 << 63, u64::MAX] {
        hop_cells::<CtrLayers, 256>(&hops, first);
        hop_cells::<CtrLayers, 512>(&hops, first);
        hop_cells::<NonInvolutive, 256>(&hops, first);
        hop_cells::<NonInvolutive, 1024>(&hops, first);
    }
}

#[test]
fn a_body_of_no_cell_is_zeroed() {
    let mut body = [7; 225];
    EndLayers::<CtrLayers>::new(&[]).add(0, &mut body, &mut Scratch::default());
    assert_eq!(body, [0; 225]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_call(
        caller in prop::collection::vec((any::<u8>(), any::<(u64, u64)>()), 0..=LAYERS_MAX),
        callee in prop::collection::vec((any::<u8>(), any::<(u64, u64)>()), 0..=LAYERS_MAX),
        first: u64, fill: u8,
    ) {
        // Distinct keys: two CTR layers under one key and counter would cancel out.
        let layers = |list: &[(u8, (u64, u64))], half: u8| -> Vec<EndLayer> {
            list.iter().zip(0u8..).map(|((seed, offsets), hop)| layer(seed & 7 | hop << 3 | half << 6, *offsets)).collect()
        };
        call_all(&layers(&caller, 0), &layers(&callee, 1), first, fill);
    }
}
