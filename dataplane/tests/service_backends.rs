//! Every crypto back end that this processor has, over real sockets: what one seals the others open, and what one peels
//! or adds is what the others do.

mod service_support;

use drover_crypto::backend::Backend;
use drover_dataplane::drops::DropReason;
use drover_dataplane::process::launch;
use drover_dataplane::terminal::Terminal;
use drover_wire::control::{EndLayer, EndSecret, LinkEnd, PutEnd, Request, Secret};
use service_support::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// Cells that each end is to hear before they are compared.
const CELLS: usize = 20;

/// By end and counter, what came.
type Heard = Arc<Mutex<HashMap<u32, BTreeMap<u64, Vec<u8>>>>>;

/// A client's side that says the same in every cell, and keeps what it hears.
struct Speaker {
    /// The ids and the next counters of the ends, by their indices.
    ends: HashMap<u32, (u32, u64)>,
    heard: Heard,
}

impl Terminal for Speaker {
    type End = u32;
    const SERVES: bool = true;

    fn expand(put: &PutEnd, _: usize) -> Result<Box<u32>, String> {
        Ok(Box::new(put.end))
    }

    fn add(&mut self, end: u32, id: Box<u32>) {
        self.ends.insert(end, (*id, 0));
    }

    fn remove(&mut self, end: u32) -> Option<Box<u32>> {
        self.ends.remove(&end).map(|(id, _)| Box::new(id))
    }

    fn fill(&mut self, end: u32, _: u64, body: &mut [u8]) -> u64 {
        body.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        let (_, next) = self.ends.get_mut(&end).expect("was added");
        *next += 1;
        *next - 1
    }

    fn deliver(&mut self, end: u32, _: u64, counter: u64, body: &mut [u8]) -> Result<(), DropReason> {
        let mut heard = self.heard.lock().expect("nobody panicked");
        heard.entry(self.ends[&end].0).or_default().insert(counter, body.to_vec());
        Ok(())
    }
}

fn plane(backend: Backend) -> (Plane, Heard) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), &format!("[crypto]\nbackend = \"{backend}\""), 1);
    let heard = Heard::default();
    let speaker = |_| Speaker { ends: HashMap::new(), heard: Arc::clone(&heard) };
    let running = launch(&config, speaker).expect("starts");
    let client = Client::connect(running.socket()).expect("connects");
    (Plane { running, client, dir }, heard)
}

/// The end of the circuit through mix `through`, on the link to it.
fn end(plane: &Plane, through: u32) -> PutEnd {
    let secret = |direction: u8| EndSecret { key: Secret([10 * direction + through as u8; 16]), iv: Secret::default() };
    let key = |direction: u8| Secret([10 * direction + through as u8; 16]);
    let layer = EndLayer { forward: key(1), backward: key(2), ..Default::default() };
    PutEnd {
        boot: plane.boot(),
        end: through,
        generation: 1,
        at: LinkEnd { link: through, id: through },
        send_first: 0,
        // The mix adds 7 to each counter.
        receive_first: Some(7),
        layers: drover_wire::control::Layers::from_slice(&[layer]).expect("fits"),
        seal: secret(3),
        open: secret(4),
    }
}

#[test]
fn all_back_ends_give_the_same_bytes() {
    let (run, lacking): (Vec<_>, Vec<_>) = Backend::ALL.iter().copied().partition(|b| b.missing().is_empty());
    for backend in lacking {
        eprintln!("{backend}: not on this processor, which lacks {}", backend.missing().join(", "));
    }
    // One plane for each back end, three at least, each with a link to each other.
    let count = run.len().max(3);
    let backends: Vec<_> = run.iter().copied().cycle().take(count).collect();
    let mut planes: Vec<_> = backends.iter().map(|backend| plane(*backend)).collect();
    for (plane, _) in &mut planes {
        let class = plane.class(4);
        plane.done(Request::PutClass(class));
    }
    for (at, to) in (0..count).flat_map(|at| (0..count).map(move |to| (at, to))).filter(|(at, to)| at != to) {
        let put = link(&planes[at].0, &planes[to].0, to as u32 + 1, 1, 24);
        planes[at].0.done(Request::PutLink(put));
    }
    // Through each plane a circuit between the next two. All circuits have the same keys.
    for mix in 0..count {
        let id = mix as u32 + 1;
        let ends = [(mix + 1) % count, (mix + 2) % count];
        let [near, far] = ends.map(|end| (end as u32 + 1, id));
        let put = circuit(&planes[mix].0, 1, near, far, true);
        planes[mix].0.done(Request::PutCircuit(put));
        for at in ends {
            let put = end(&planes[at].0, id);
            planes[at].0.done(Request::PutEnd(put));
        }
    }

    // What each circuit delivers, both ways.
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for (mix, backend) in backends.iter().enumerate() {
        let id = mix as u32 + 1;
        for (all, at) in [(&mut forward, (mix + 2) % count), (&mut backward, (mix + 1) % count)] {
            let (plane, heard) = &mut planes[at];
            let cells = || heard.lock().expect("nobody panicked").get(&id).cloned().unwrap_or_default();
            plane.until(&format!("cells through {backend}"), |_| cells().len() >= CELLS);
            all.push(cells());
        }
    }
    for circuits in [&forward, &backward] {
        for (cells, backend) in circuits.iter().zip(&backends) {
            let both = circuits[0].iter().filter_map(|(counter, body)| cells.get(counter).map(|other| (body, other)));
            let mut compared = 0;
            for (body, other) in both {
                assert_eq!(body, other, "{} and {backend} differ", backends[0]);
                compared += 1;
            }
            assert!(compared >= CELLS / 2, "{compared} cells with the same counters");
        }
    }
    assert_ne!(forward[0].values().next(), backward[0].values().next(), "each direction has its own key");

    for ((plane, _), backend) in planes.iter_mut().zip(&backends) {
        let status = plane.status();
        assert_eq!((&status["crypto"], &status["crypto_reason"]), (&backend.name().into(), &"as configured".into()));
        for reason in [DropReason::RecordKey, DropReason::RecordTag, DropReason::RecordReplay, DropReason::BadCell] {
            assert_eq!(drops(&status, reason.name()), 0, "{backend}, {reason:?}: {status}");
        }
        assert!(plane.running.alive(), "{:?}", plane.running.failure());
    }
}
