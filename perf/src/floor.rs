//! The bare crypto of a hop, for several back ends in one run: what each costs, and how many times faster than the
//! reference it is.
//!
//! Every back end has its own copy of one world: keys of all links and circuits, a pool of cells, frames. One plan says
//! what comes and what leaves; batch by batch, each back end does the same work, one after the other, in an order that
//! changes from batch to batch. The work has two phases, as in a mix: masks, opening and layers when a cell comes;
//! sealing and masks when it leaves, a round later.

pub mod cli;
mod plan;
mod report;

pub use report::{Lacking, Report, Row};

use crate::hop::far::{Coming, Far};
use crate::hop::floor::{Floor, Work};
use crate::hop::shape::{Shape, Way};
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::Suite;
use drover_crypto::backend::{Backend, WithSuite};
use drover_crypto::schedule::TrafficSecret;
use plan::Plan;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Of every so many batches one is timed part by part, and is not in the figures of the whole.
const IN_PARTS: u64 = 8;

/// One back end's batch: a line of `trials.csv`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// The batch.
    pub batch: u64,
    /// The back end.
    pub backend: &'static str,
    /// Cells opened, and as many sealed.
    pub cells: u64,
    /// Time of all, ns; null when it was timed part by part.
    pub ns: Option<u64>,
    /// Masks and opening, ns.
    pub open_ns: Option<u64>,
    /// Layers, ns.
    pub layer_ns: Option<u64>,
    /// Sealing and masks, ns.
    pub seal_ns: Option<u64>,
}

/// A back end's floor, whichever back end.
trait AnyFloor<const S: usize> {
    fn prepare(&mut self, work: &Work<'_>, frames: &mut dyn Iterator<Item = &[u8]>);
    fn run(&mut self);
    /// Time of each part, ns.
    fn run_in_parts(&mut self) -> [u64; 3];
    /// What was sealed, one record after the other; an error when a tag was wrong.
    fn sealed(&self, into: &mut Vec<u8>) -> Result<(), String>;
    fn break_layer(&mut self, way: u32);
}

impl<C: Suite, const S: usize> AnyFloor<S> for Floor<C, S> {
    fn prepare(&mut self, work: &Work<'_>, frames: &mut dyn Iterator<Item = &[u8]>) {
        Floor::prepare(self, work, frames);
    }

    fn run(&mut self) {
        Floor::run(self);
    }

    fn run_in_parts(&mut self) -> [u64; 3] {
        let (mut parts, mut last) = ([Duration::ZERO; 3], Instant::now());
        Floor::run_in_parts(self, |part| {
            let now = Instant::now();
            parts[part as usize] += now - last;
            last = now;
        });
        parts.map(|part| part.as_nanos() as u64)
    }

    fn sealed(&self, into: &mut Vec<u8>) -> Result<(), String> {
        self.tags_were_right()?;
        into.clear();
        Floor::sealed(self).for_each(|record| into.extend_from_slice(record));
        Ok(())
    }

    fn break_layer(&mut self, way: u32) {
        Floor::break_layer(self, way);
    }
}

/// What a floor is made of.
struct World {
    secrets: Vec<(TrafficSecret, TrafficSecret)>,
    ways: Vec<Way>,
    shape: Shape,
}

impl World {
    fn draw(shape: Shape, rng: &mut StdRng) -> World {
        let mut draw = || {
            let mut secret = TrafficSecret([0; 32]);
            rng.fill_bytes(&mut secret.0);
            secret
        };
        let secrets = (0..shape.links).map(|_| (draw(), draw())).collect();
        let ways = shape.ways(rng);
        World { secrets, ways, shape }
    }
}

/// Makes the floor of a back end.
struct Make<'w, const S: usize>(&'w World);

impl<const S: usize> WithSuite for Make<'_, S> {
    type Out = Box<dyn AnyFloor<S>>;

    fn with<C: Suite>(self) -> Self::Out {
        Box::new(Floor::<C, S>::new(&self.0.secrets, &self.0.ways, &self.0.shape))
    }
}

/// Floors of several back ends in one world. `F` seals what comes.
pub struct Bench<F: Suite, const S: usize> {
    floors: Vec<(Backend, Box<dyn AnyFloor<S>>)>,
    far: Far<F, S>,
    plan: Plan,
    batches: u64,
    expected: Vec<u8>,
    found: Vec<u8>,
}

impl<F: Suite, const S: usize> Bench<F, S> {
    /// Floors of `backends`, all of which this processor runs; the first is what the others are checked against.
    pub fn new(backends: &[Backend], shape: Shape) -> Self {
        let mut rng = StdRng::from_os_rng();
        let world = World::draw(shape, &mut rng);
        let make = |backend: &Backend| (*backend, backend.dispatch(Make::<S>(&world)));
        let floors = backends.iter().map(make).collect();
        let far = Far::new(&world.secrets, &world.ways, &world.shape, rng.random());
        let plan = Plan::new(&world.ways, &world.shape, &mut rng);
        Bench { floors, far, plan, batches: 0, expected: Vec::new(), found: Vec::new() }
    }

    /// Batches of one round.
    pub fn batches_per_round(&self) -> u64 {
        self.plan.parts()
    }

    /// Takes one batch through every floor. An error when a tag was wrong or what two back ends sealed differs: then no
    /// figure counts.
    pub fn batch(&mut self) -> Result<Vec<Sample>, String> {
        let batch = self.batches;
        self.batches += 1;
        let coming: Vec<Coming> = self.plan.coming(batch).iter().map(|way| Coming::Cell(*way)).collect();
        self.far.seal(&coming, 0);
        let (departures, sent) = self.plan.leaving(batch);
        let work = Work { arrivals: &self.far.arrivals, departures: &departures, sent: &sent };
        let cells = departures.len() as u64;
        let mut samples = Vec::with_capacity(self.floors.len());
        for turn in 0..self.floors.len() {
            let at = (turn + batch as usize) % self.floors.len();
            let (backend, floor) = &mut self.floors[at];
            floor.prepare(&work, &mut self.far.sealed());
            let backend = backend.name();
            let whole = Sample { batch, backend, cells, ns: None, open_ns: None, layer_ns: None, seal_ns: None };
            samples.push(match batch % IN_PARTS {
                0 => {
                    let [open, layer, seal] = floor.run_in_parts().map(Some);
                    Sample { open_ns: open, layer_ns: layer, seal_ns: seal, ..whole }
                }
                _ => {
                    let start = Instant::now();
                    floor.run();
                    Sample { ns: Some(start.elapsed().as_nanos() as u64), ..whole }
                }
            });
        }
        self.check()?;
        Ok(samples)
    }

    /// All back ends sealed the same bytes.
    fn check(&mut self) -> Result<(), String> {
        let Some(((first, floor), others)) = self.floors.split_first() else { return Ok(()) };
        floor.sealed(&mut self.expected).map_err(|error| format!("{first}: {error}"))?;
        for (backend, floor) in others {
            floor.sealed(&mut self.found).map_err(|error| format!("{backend}: {error}"))?;
            if self.found != self.expected {
                return Err(format!("{backend} and {first} sealed different records of the same cells"));
            }
        }
        Ok(())
    }

    /// Gives the `at`-th floor a wrong layer key for way `way`. For tests: a later batch must fail.
    pub fn break_layer(&mut self, at: usize, way: u32) {
        self.floors[at].1.break_layer(way);
    }
}

/// Warms up, and measures for `time`: the batches of every back end.
///
/// # Errors
/// A wrong tag, or back ends that differ.
pub fn measure<F: Suite, const S: usize>(
    bench: &mut Bench<F, S>,
    time: Duration,
    probe: &mut Probe,
) -> Result<Vec<Sample>, String> {
    eprintln!("{} back ends are up; {} rounds to warm up", bench.floors.len(), plan::WARM_UP_ROUNDS);
    for _ in 0..plan::WARM_UP_ROUNDS * bench.batches_per_round() {
        bench.batch()?;
    }
    let mut progress = Progress::begin("measuring");
    let (mut samples, mut batches) = (Vec::new(), 0);
    while progress.elapsed() < time || batches < 2 * IN_PARTS {
        samples.extend(bench.batch()?);
        batches += 1;
        probe.now_and_then();
        progress.tell(|| format!("{batches} batches"));
    }
    Ok(samples)
}
