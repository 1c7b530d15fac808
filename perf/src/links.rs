//! What a cell costs against the number of links: the worker and its floor in worlds from few links to many.
//!
//! A worker's cost is for each due link, never for each link that there is; what remains is memory, which costs the bare
//! crypto as well. So the figure is the growth of the worker's cost over the growth of the floor's.

pub mod cli;
mod report;

pub use report::{Point, Report};

use crate::hop::{Bench, Shape, WARM_UP_ROUNDS};
use crate::probe::Probe;
use crate::progress::Progress;
use drover_crypto::Suite;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Batches of one visit to a world that count.
const COUNTED: usize = 16;
/// Batches before them that do not: the other worlds' visits have pushed this one out of the caches.
const UNCOUNTED: usize = 8;
/// How often each world is made anew where they do not fit into memory together.
const REPEATS: u32 = 3;

/// One batch: a line of `trials.csv`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trial {
    /// Links of the world.
    pub links: usize,
    /// The pass over all worlds.
    pub pass: u32,
    /// Cells relayed.
    pub cells: u64,
    /// Time of the worker's turns, ns.
    pub worker_ns: u64,
    /// Time of the floor, ns.
    pub floor_ns: u64,
}

/// What a run shall measure.
pub struct Plan {
    /// The worlds, fewest links first.
    pub shapes: Vec<Shape>,
    /// How long to measure each.
    pub time: Duration,
    /// The worlds fit into memory together.
    pub together: bool,
}

/// What a run measured.
pub struct Measured {
    /// All batches.
    pub trials: Vec<Trial>,
    /// Of each world: bytes of cache lines that a cell touches, of the pool, of the tables.
    pub memory: Vec<[usize; 3]>,
}

/// Measures: pass by pass, a visit to every world in each; forwards and backwards in turns, so that a drift of the machine
/// meets the first as it meets the last.
///
/// # Errors
/// What was lost or wrong, and where.
pub fn measure<C: Suite, const S: usize>(plan: &Plan, probe: &mut Probe) -> Result<Measured, String> {
    if plan.together { together::<C, S>(plan, probe) } else { back_to_back::<C, S>(plan, probe) }
}

fn together<C: Suite, const S: usize>(plan: &Plan, probe: &mut Probe) -> Result<Measured, String> {
    let mut worlds = plan.shapes.iter().map(world::<C, S>).collect::<Result<Vec<_>, _>>()?;
    let mut measured = Measured { trials: Vec::new(), memory: worlds.iter().map(memory_of).collect() };
    let time = plan.time * plan.shapes.len() as u32;
    let mut progress = Progress::begin("measuring all of them, in turns");
    let mut pass = 0;
    while pass < 2 || progress.elapsed() < time {
        let count = worlds.len();
        let order = (0..count).map(|at| if pass % 2 == 0 { at } else { count - 1 - at });
        for at in order {
            visit(&mut worlds[at], pass, &mut measured.trials)?;
            probe.now_and_then();
        }
        pass += 1;
        progress.tell(|| format!("{pass} passes"));
    }
    Ok(measured)
}

fn back_to_back<C: Suite, const S: usize>(plan: &Plan, probe: &mut Probe) -> Result<Measured, String> {
    let mut measured = Measured { trials: Vec::new(), memory: Vec::new() };
    for pass in 0..REPEATS {
        for shape in &plan.shapes {
            let mut world = world::<C, S>(shape)?;
            if pass == 0 {
                measured.memory.push(memory_of(&world));
            }
            let begin = Instant::now();
            let mut visits = 0;
            while visits == 0 || begin.elapsed() < plan.time / REPEATS {
                visit(&mut world, pass, &mut measured.trials)?;
                visits += 1;
                probe.now_and_then();
            }
        }
    }
    Ok(measured)
}

/// A world, warmed up.
fn world<C: Suite, const S: usize>(shape: &Shape) -> Result<Bench<C, S>, String> {
    eprintln!("{} links and {} circuits", shape.links, shape.circuits);
    let mut bench = Bench::new(shape.clone());
    for _ in 0..WARM_UP_ROUNDS * bench.batches_per_round() {
        bench.batch()?;
    }
    Ok(bench)
}

fn visit<C: Suite, const S: usize>(bench: &mut Bench<C, S>, pass: u32, trials: &mut Vec<Trial>) -> Result<(), String> {
    let links = bench.shape().links;
    if bench.is_spent() {
        return Err(format!("{links} links have used up their first ratchet step; measure for less time"));
    }
    for batch in 0..UNCOUNTED + COUNTED {
        let sample = bench.batch()?;
        if batch >= UNCOUNTED && sample.relayed > 0 {
            let (cells, worker_ns, floor_ns) = (sample.relayed, sample.worker_ns, sample.floor_ns);
            trials.push(Trial { links, pass, cells, worker_ns, floor_ns });
        }
    }
    Ok(())
}

fn memory_of<C: Suite, const S: usize>(bench: &Bench<C, S>) -> [usize; 3] {
    let (pool, tables) = bench.bytes();
    [bench.memory().relayed(), pool, tables]
}
