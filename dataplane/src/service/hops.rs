//! Cells for a hop, and cells that it makes (`docs/wire.md`, W-HOP): what is too slow for a worker, and what control must
//! not know.
//!
//! A worker hands over what its layer's check recognised; MAC and padding are checked here. Control says what a cell of
//! ours shall hold; body, MAC and layer are made here, and the worker queues the cell as it is.

use crate::drops::DropReason;
use crate::inject::{Form, Injected, Target};
use crate::service::requests::Service;
use crate::service::shadow::{Place, Refused, refuse};
use crate::terminal::Terminal;
use drover_crypto::hop::HopMac;
use drover_crypto::schedule::LayerSecret;
use drover_crypto::{Cell, LayerJob, Layers, Suite};
use drover_wire::cell::hop::CHECK;
use drover_wire::cell::{CellSize, Command, Header, body_len};
use drover_wire::control::{Bytes, CELL_BYTES_MAX, HopKeys, Punt};
use zeroize::Zeroizing;

/// What is kept of a circuit that may get a far side later, or whose hop makes cells of its own.
pub struct Hop<L: Layers> {
    /// The backward layer: a far side that comes later needs it, and this hop's own cells do.
    pub backward: LayerSecret,
    /// The same, expanded.
    pub layer: Box<[L::Key; 1]>,
    /// What the backward direction adds to counters.
    pub offset: u64,
    /// Keys and counter of cells of this hop's own.
    pub own: Option<OwnCells>,
}

/// What a hop's own cells need.
pub struct OwnCells {
    /// Of cells for this hop.
    pub forward: HopMac,
    /// Of cells that it makes.
    pub backward: HopMac,
    /// The counter, as it leaves by the near side, of the next cell that it makes.
    pub next: u64,
}

impl OwnCells {
    /// Of what was put.
    pub fn new(keys: &HopKeys) -> Self {
        OwnCells { forward: HopMac(keys.forward_mac.0), backward: HopMac(keys.backward_mac.0), next: keys.first }
    }
}

impl<C: Suite, T: Terminal> Service<C, T> {
    /// A cell that came in at `place` and was recognised there. Of a circuit that was removed meanwhile it is left out.
    pub(super) fn hop_cell(&mut self, place: Place, body: &[u8], sink: &mut impl FnMut(&Punt<'_>)) {
        let Some(circuit) = self.shadow.circuit_in(place) else { return };
        let own = self.hops.get(&circuit).and_then(|hop| hop.own.as_ref());
        let reason = match own.map(|own| own.forward.open(body)) {
            Some(Some((kind, data))) => return sink(&Punt::Hop { circuit, kind, data }),
            Some(None) => DropReason::HopMac,
            None => DropReason::ForThisHop,
        };
        self.status.drop_of(place.worker, reason);
    }

    /// Makes a cell of this hop's own for the client of a circuit, and queues it where the circuit's cells leave. Its
    /// counter is used up, whatever becomes of the cell.
    pub(super) fn make_hop_cell(&mut self, circuit: u32, kind: u8, data: &[u8]) -> Result<(), Refused> {
        let Some(entry) = self.shadow.circuit(circuit) else { refuse!(Unknown, "there is no circuit {circuit}") };
        let (near, id) = (entry.near, entry.spec.near.id);
        let hop = self.hops.get(&circuit).and_then(|hop| Some((hop, hop.own.as_ref()?)));
        let Some((hop, own)) = hop else {
            refuse!(Unsupported, "circuit {circuit} was put without keys for cells of this hop");
        };
        let size = self.status.cell;
        let mut room = Zeroizing::new([0; CELL_BYTES_MAX]);
        let body = &mut room[..body_len(size.bytes())];
        if let Err(error) = own.backward.seal(body, [0; CHECK], kind, data) {
            refuse!(Malformed, "circuit {circuit}: {error}");
        }
        let counter = own.next;
        // As the cell leaves; the layer's is that before the offset is added, as for a cell that came in.
        add_layer::<C::Layers>(size, &hop.layer, counter.wrapping_sub(hop.offset), body);
        let header = Header { circuit: id, command: Command::Relay, counter };
        let target = Target::Egress { index: near.egress.index, tag: near.tag };
        let Some(bytes) = Bytes::new(body) else { refuse!(Malformed, "circuit {circuit}: a cell is too long") };
        self.push_cell(near.egress.worker, Injected { target, form: Form::Cell(header), bytes })?;
        if let Some(own) = self.hops.get_mut(&circuit).and_then(|hop| hop.own.as_mut()) {
            own.next = counter.wrapping_add(1);
        }
        Ok(())
    }
}

/// Adds a layer to a body off the fast path, by the same kernel.
fn add_layer<L: Layers>(size: CellSize, key: &[L::Key; 1], counter: u64, body: &mut [u8]) {
    match size {
        CellSize::S256 => add_layer_of::<L, 256>(key, counter, body),
        CellSize::S512 => add_layer_of::<L, 512>(key, counter, body),
        CellSize::S1024 => add_layer_of::<L, 1024>(key, counter, body),
    }
}

fn add_layer_of<L: Layers, const S: usize>(key: &[L::Key; 1], counter: u64, body: &mut [u8]) {
    let mut cells = [Cell::<S>::ZERO];
    cells[0].body_mut().copy_from_slice(body);
    L::add(key, &mut cells, &mut [LayerJob { key: 0, cell: 0, counter, check: [0; CHECK] }]);
    body.copy_from_slice(cells[0].body());
}
