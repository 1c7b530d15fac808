//! Our back ends: batches of 64, as a mix calls them.

use crate::Contender;
use crate::world::{CELL, Frames, Hop, World};
use drover_crypto::backend::WithSuite;
use drover_crypto::{BATCH, Cell, LayerJob, Layers, OpenJob, Records, SealJob, Suite, cells};
use drover_nic::huge;
use drover_wire::record::{Aad, FIRST_BYTE, HEADER};

/// Makes the contender of a back end.
pub struct Make<'w>(pub &'w World);

impl WithSuite for Make<'_> {
    type Out = Box<dyn Contender>;

    fn with<C: Suite>(self) -> Self::Out {
        let world = self.0;
        Box::new(Ours::<C> {
            open: slab(world.open.iter().map(C::Records::key)),
            seal: slab(world.seal.iter().map(C::Records::key)),
            layers: slab(world.layers.iter().map(C::Layers::key)),
            cells: cells(BATCH),
        })
    }
}

/// Keys side by side, on huge pages where there are any, as in a mix.
fn slab<K>(keys: impl ExactSizeIterator<Item = K>) -> Vec<K> {
    let mut slab = huge::vec(keys.len());
    slab.extend(keys);
    slab
}

struct Ours<C: Suite> {
    open: Vec<<C::Records as Records>::Key>,
    seal: Vec<<C::Records as Records>::Key>,
    layers: Vec<<C::Layers as Layers>::Key>,
    cells: Box<[Cell<CELL>]>,
}

impl<C: Suite> Contender for Ours<C> {
    fn name(&self) -> String {
        format!("drover-crypto, {}", C::NAME)
    }

    fn hops(&mut self, hops: &[Hop], came: &Frames, left: &mut Frames) -> bool {
        let (mut left, mut ok) = (left.iter_mut(), true);
        for (burst, hops) in hops.chunks(BATCH).enumerate() {
            let mut opens: Vec<OpenJob<'_>> = Vec::with_capacity(BATCH);
            let mut layers: Vec<LayerJob> = Vec::with_capacity(BATCH);
            let mut seals: Vec<SealJob<'_>> = Vec::with_capacity(BATCH);
            for (at, hop) in hops.iter().enumerate() {
                let Hop { from, to, circuit, number, counter } = *hop;
                let (cell, body) = (at as u32, &came.get(BATCH * burst + at)[HEADER..]);
                opens.push(OpenJob { key: from, cell, number, aad: Aad::sent(number), body, ok: false });
                layers.push(LayerJob { key: circuit, cell, counter, check: [0; 8] });
                let Some(frame) = left.next() else { return false };
                seals.push(SealJob { key: to, cell, number, first: FIRST_BYTE, frame });
            }
            C::Records::open(&self.open, &mut self.cells, &mut opens);
            ok &= opens.iter().all(|job| job.ok);
            C::Layers::peel(&self.layers, &mut self.cells, &mut layers);
            C::Records::seal(&self.seal, &self.cells, &mut seals);
        }
        ok
    }
}
