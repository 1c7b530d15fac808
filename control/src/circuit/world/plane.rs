//! A data plane that keeps circuits, taps, loops and ends, and moves cells as W-CIR and W-HOP say, one after the other, with
//! the reference cipher. No slots and no links: what leaves is taken by the world.

use crate::client::layers::{EndLayers, Scratch};
use crate::plane::{Plane, PlaneError};
use drover_crypto::hop::HopMac;
use drover_crypto::reference::CtrLayers;
use drover_crypto::schedule::LayerSecret;
use drover_crypto::{Cell, LayerJob, Layers};
use drover_dataplane::window::CellWindow;
use drover_wire::control::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const CELL: u16 = 256;
pub const BODY: usize = drover_wire::cell::body_len(CELL as usize);

/// A relay cell on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub at: LinkEnd,
    pub counter: u64,
    pub body: Vec<u8>,
}

/// What a data plane hands to control.
#[derive(Clone, Debug)]
pub enum Handed {
    Hop(u32, u8, Vec<u8>),
    Relay(Relay),
}

impl Handed {
    pub fn punt(&self) -> Punt<'_> {
        match self {
            Handed::Hop(circuit, kind, data) => Punt::Hop { circuit: *circuit, kind: *kind, data },
            Handed::Relay(Relay { at, counter, body }) => {
                Punt::Relay { link: at.link, id: at.id, counter: *counter, body }
            }
        }
    }
}

/// A window that learns its first counter, or is told it.
struct Window {
    first: Option<u64>,
    seen: CellWindow,
}

impl Window {
    fn from(first: Option<u64>) -> Window {
        Window { first, seen: CellWindow::starting_at(0) }
    }
    fn accept(&mut self, counter: u64) -> bool {
        let relative = counter.wrapping_sub(*self.first.get_or_insert(counter));
        relative < self.seen.next() + 1000 && self.seen.commit(relative)
    }
}

struct Circuit {
    put: PutCircuit,
    forward: Window,
    stream: Window,
    others: Vec<Window>,
    made: u64,
}

struct End {
    put: PutEnd,
    layers: EndLayers<CtrLayers>,
    next: u64,
}

/// It.
pub struct FakePlane {
    welcome: Welcome,
    circuits: BTreeMap<u32, Circuit>,
    taps: BTreeSet<(u32, u32)>,
    ends: BTreeMap<u32, End>,
    pub loops: Vec<(u32, u32)>,
    keys: BTreeSet<[u8; 16]>,
    pub leaving: VecDeque<Relay>,
    pub handed: VecDeque<Handed>,
    /// What left by links that nobody is at the other end of.
    pub spliced: Vec<Relay>,
    /// What ends opened.
    pub opened: Vec<Vec<u8>>,
    pub drops: BTreeMap<&'static str, u32>,
    /// Refuses every PutCircuit, or every ExtendCircuit.
    pub refuse: (bool, bool),
}

fn refused<T>(code: Refusal) -> Result<T, PlaneError> {
    Err(PlaneError::Refused(code, "no".to_owned()))
}

/// One layer, peeled or added: in CTR the same. The check with it.
fn layer(key: &Secret<16>, counter: u64, body: &mut [u8]) -> [u8; 8] {
    let mut cell = [Cell::<{ CELL as usize }>::ZERO];
    cell[0].body_mut().copy_from_slice(body);
    let mut job = [LayerJob { key: 0, cell: 0, counter, check: [0; 8] }];
    CtrLayers::peel(&[CtrLayers::key(&LayerSecret(key.0))], &mut cell, &mut job);
    body.copy_from_slice(cell[0].body());
    job[0].check
}

impl FakePlane {
    pub fn new(boot: u8) -> FakePlane {
        let welcome =
            Welcome { boot: BootId([boot; 16]), cell: CELL, now_ns: 0, lab: false, ends: true, workers: List::new() };
        FakePlane {
            welcome,
            circuits: BTreeMap::new(),
            taps: BTreeSet::new(),
            ends: BTreeMap::new(),
            loops: Vec::new(),
            keys: BTreeSet::new(),
            leaving: VecDeque::new(),
            handed: VecDeque::new(),
            spliced: Vec::new(),
            opened: Vec::new(),
            drops: BTreeMap::new(),
            refuse: (false, false),
        }
    }

    pub fn circuits(&self) -> Vec<(u32, LinkEnd, Option<LinkEnd>)> {
        self.circuits.iter().map(|(number, circuit)| (*number, circuit.put.near, circuit.put.far)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.circuits.is_empty() && self.taps.is_empty() && self.ends.is_empty()
    }

    pub fn admitted(&self) -> Vec<(bool, bool)> {
        self.circuits.values().map(|circuit| (circuit.put.forward.admitted, circuit.put.backward.admitted)).collect()
    }

    /// A circuit becomes somebody else's.
    pub fn forget_owner(&mut self, circuit: u32) {
        self.circuits.get_mut(&circuit).expect("it is there").put.owner = Owner::default();
    }

    /// Sends a body by an end.
    pub fn speak(&mut self, end: u32, body: &[u8]) {
        let end = self.ends.get_mut(&end).expect("the end is there");
        let (counter, mut body) = (end.next, body.to_vec());
        end.next = counter.wrapping_add(1);
        end.layers.add(counter, &mut body, &mut Scratch::default());
        self.leaving.push_back(Relay { at: end.put.at, counter, body });
    }

    /// A cell has come.
    pub fn arrive(&mut self, cell: Relay) {
        let Relay { at, counter, mut body } = cell;
        if self.taps.contains(&(at.link, at.id)) {
            return self.handed.push_back(Handed::Relay(Relay { at, counter, body }));
        }
        if let Some(end) = self.ends.values().find(|end| end.put.at == at) {
            end.layers.peel(counter, &mut body, &mut Scratch::default());
            return self.opened.push(body);
        }
        let found = self.circuits.iter_mut().find(|(_, circuit)| circuit.put.near == at || circuit.put.far == Some(at));
        let Some((number, circuit)) = found else { return *self.drops.entry("unknown").or_default() += 1 };
        if circuit.put.near == at {
            if !circuit.forward.accept(counter) {
                return *self.drops.entry("replay").or_default() += 1;
            }
            let check = layer(&circuit.put.forward.key, counter, &mut body);
            if check == body[..8] {
                let hop = circuit.put.hop.as_ref().expect("our circuits have keys for their own cells");
                match HopMac(hop.forward_mac.0).open(&body) {
                    Some((kind, data)) => self.handed.push_back(Handed::Hop(*number, kind, data.to_vec())),
                    None => *self.drops.entry("mac").or_default() += 1,
                }
            } else if let Some(far) = circuit.put.far {
                let counter = counter.wrapping_add(circuit.put.forward.offset);
                self.leaving.push_back(Relay { at: far, counter, body });
            } else {
                *self.drops.entry("circuit_end").or_default() += 1;
            }
        } else {
            let other = circuit
                .others
                .iter_mut()
                .find(|window| counter.wrapping_sub(window.first.unwrap_or(0).wrapping_sub(128)) < 100_000);
            if !other.unwrap_or(&mut circuit.stream).accept(counter) {
                return *self.drops.entry("replay").or_default() += 1;
            }
            layer(&circuit.put.backward.key, counter, &mut body);
            let counter = counter.wrapping_add(circuit.put.backward.offset);
            self.leaving.push_back(Relay { at: circuit.put.near, counter, body });
        }
    }

    fn free(&self, at: LinkEnd) -> bool {
        !self.taps.contains(&(at.link, at.id))
            && self.ends.values().all(|end| end.put.at != at)
            && self.circuits.values().all(|circuit| circuit.put.near != at && circuit.put.far != Some(at))
    }

    fn put_circuit(&mut self, put: &PutCircuit) -> Result<(), PlaneError> {
        if self.refuse.0 {
            return refused(Refusal::NoRoom);
        }
        if self.circuits.contains_key(&put.circuit) || !self.free(put.near) {
            return refused(Refusal::Exists);
        }
        if !self.keys.insert(put.forward.key.0) || !self.keys.insert(put.backward.key.0) {
            return refused(Refusal::Forbidden);
        }
        let window = || Window::from(None);
        let (forward, stream) = (window(), window());
        let circuit = Circuit { put: put.clone(), forward, stream, others: Vec::new(), made: 0 };
        self.circuits.insert(put.circuit, circuit);
        Ok(())
    }

    fn inject(&mut self, inject: &Inject) -> Result<(), PlaneError> {
        match inject {
            Inject::Relay { at, counter, body, .. } => {
                let body = body.as_bytes().to_vec();
                assert_eq!(body.len(), BODY, "a whole body");
                self.leaving.push_back(Relay { at: *at, counter: *counter, body });
                Ok(())
            }
            Inject::Hop { circuit, kind, data, .. } => {
                let Some(circuit) = self.circuits.get_mut(circuit) else { return refused(Refusal::Unknown) };
                let hop = circuit.put.hop.as_ref().expect("our circuits have keys for their own cells");
                let counter = hop.first.wrapping_add(circuit.made);
                circuit.made += 1;
                let mut body = vec![0; BODY];
                HopMac(hop.backward_mac.0).seal(&mut body, [0; 8], *kind, data.as_bytes()).expect("fits");
                layer(&circuit.put.backward.key, counter.wrapping_sub(circuit.put.backward.offset), &mut body);
                self.leaving.push_back(Relay { at: circuit.put.near, counter, body });
                Ok(())
            }
            Inject::Link { .. } | Inject::Record { .. } => panic!("not of circuits"),
        }
    }
}

impl Plane for FakePlane {
    fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    fn ask(&mut self, request: &Request) -> Result<(), PlaneError> {
        let unless = |wrong, code| if wrong { refused(code) } else { Ok(()) };
        // What it decodes is what it would get over its socket.
        let mut bytes = [0; REQUEST_MAX];
        let len = request.encode(1, &mut bytes).expect("a request fits");
        Request::decode(&bytes[..len]).expect("a request is well-formed");
        match request {
            Request::PutCircuit(put) => self.put_circuit(put),
            Request::ExtendCircuit(put) => {
                let free = self.free(put.far);
                let Some(circuit) = self.circuits.get_mut(&put.circuit) else { return refused(Refusal::Unknown) };
                if self.refuse.1 || !free || circuit.put.far.is_some() {
                    return refused(Refusal::NoRoom);
                }
                circuit.put.far = Some(put.far);
                circuit.others = put.others.iter().map(|first| Window::from(Some(*first))).collect();
                Ok(())
            }
            Request::RemoveCircuit { circuit, .. } => unless(self.circuits.remove(circuit).is_none(), Refusal::Unknown),
            Request::PutTap { at, .. } => {
                unless(!self.free(*at), Refusal::Exists)?;
                self.taps.insert((at.link, at.id));
                Ok(())
            }
            Request::RemoveTap { at, .. } => unless(!self.taps.remove(&(at.link, at.id)), Refusal::Unknown),
            Request::PutEnd(put) => {
                unless(!self.free(put.at), Refusal::Exists)?;
                let layers = EndLayers::new(&put.layers);
                self.ends.insert(put.end, End { put: put.clone(), layers, next: put.send_first });
                Ok(())
            }
            Request::RemoveEnd { end, .. } => unless(self.ends.remove(end).is_none(), Refusal::Unknown),
            Request::PutLoop(put) => {
                if !self.loops.contains(&(put.a, put.b)) {
                    self.loops.push((put.a, put.b));
                }
                Ok(())
            }
            Request::Inject(inject) => self.inject(inject),
            other => panic!("not of circuits: {:?}", other.kind()),
        }
    }

    /// Pages of two.
    fn report(&mut self, request: &Request) -> Result<String, PlaneError> {
        let Request::Dump { what: Dump::Circuits, from } = *request else { panic!("only circuits are asked for") };
        let end = |end: LinkEnd| serde_json::json!({ "link": end.link, "id": end.id });
        let row = |circuit: &Circuit| {
            let put = &circuit.put;
            let owner: String = put.owner.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::json!({
                "circuit": put.circuit, "generation": put.generation, "near": end(put.near), "far": put.far.map(end),
                "admitted": [put.forward.admitted, put.backward.admitted], "hop": put.hop.is_some(), "owner": owner,
            })
        };
        let mut rest = self.circuits.range(from..);
        let rows: Vec<_> = rest.by_ref().take(2).map(|(_, circuit)| row(circuit)).collect();
        Ok(serde_json::json!({ "next": rest.next().map(|(number, _)| number), "circuits": rows }).to_string())
    }
}
