//! The crypto of a hop by our back ends and by the libraries that one would take otherwise, in one run:
//! `cargo bench -p drover-perf --bench libraries`.
//!
//! A hop: a record is opened under its link's key, its cell loses one layer under its circuit's key, and the cell is
//! sealed under another link's key. Links and circuits are drawn at random for each hop. Every contender does every batch,
//! one after the other, in an order that changes from batch to batch, and all must give the same bytes. The masks of
//! record numbers are left out: they are none of an AEAD library's business.
//!
//! The libraries are used the ordinary way, one hop after the other: expanded keys are kept, as many as there are links
//! and circuits; a record is copied to a buffer where the library opens in place. `ring` has no counter mode: its layer is
//! that of the `ctr` crate.
#![forbid(unsafe_code)]

mod ours;
mod theirs;
mod world;

use drover_crypto::backend::Backend;
use drover_perf::host::HostSheet;
use drover_perf::probe::Probe;
use drover_perf::stats::quartiles;
use std::time::{Duration, Instant};
use world::{Frames, HOPS, Hop, World};

/// Numbers of links; ten times as many circuits.
const LINKS: [usize; 2] = [1_000, 10_000];
/// Time for each of them.
const TIME: Duration = Duration::from_secs(5);
/// Batches that are not counted.
const WARM_UP: usize = 4;

/// Something that does the crypto of hops.
pub trait Contender {
    /// Its name.
    fn name(&self) -> String;
    /// Does a batch of hops, from the records that came to those that leave; false when one did not open.
    fn hops(&mut self, hops: &[Hop], came: &Frames, left: &mut Frames) -> bool;
}

fn main() {
    let sheet = HostSheet::read();
    println!("The crypto of a hop, 512-byte cells: open, one layer, seal; one core; distinct keys; ns a hop");
    println!("{}, {}, {} build", sheet.cpu.model, sheet.build.rustc, sheet.build.profile);
    let mut probe = Probe::start();
    for links in LINKS {
        match measure(links, &mut probe) {
            Ok(rows) => print(links, &rows),
            Err(error) => {
                eprintln!("libraries: {error}");
                std::process::exit(1);
            }
        }
    }
    println!("probe: {}", probe.report(None));
}

/// A contender's batches, ns a hop.
struct Row {
    name: String,
    ns: Vec<f64>,
}

fn measure(links: usize, probe: &mut Probe) -> Result<Vec<Row>, String> {
    let mut world = World::draw(links, 10 * links);
    eprintln!("{links} links: keys of all contenders");
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(theirs::RustCrypto::new(&world)),
        Box::new(theirs::Ring::new(&world)),
        Box::new(theirs::AwsLc::new(&world)),
    ];
    let runs = |backend: &&Backend| backend.missing().is_empty();
    contenders.extend(Backend::ALL.iter().filter(runs).map(|backend| backend.dispatch(ours::Make(&world))));
    let mut rows: Vec<Row> = contenders.iter().map(|c| Row { name: c.name(), ns: Vec::new() }).collect();
    let (mut expected, mut left) = (Frames::new(), Frames::new());
    let begin = Instant::now();
    let mut batch = 0;
    while batch < 2 * WARM_UP || begin.elapsed() < TIME {
        world.next_batch();
        for turn in 0..contenders.len() {
            let at = (turn + batch) % contenders.len();
            let start = Instant::now();
            let opened = contenders[at].hops(&world.hops, &world.came, &mut left);
            let ns = start.elapsed().as_nanos() as f64 / HOPS as f64;
            if turn == 0 {
                std::mem::swap(&mut expected, &mut left);
            }
            if !opened || (turn > 0 && left != expected) {
                return Err(format!("{} does not do what the others do", rows[at].name));
            }
            if batch >= WARM_UP {
                rows[at].ns.push(ns);
            }
        }
        batch += 1;
        probe.now_and_then();
    }
    Ok(rows)
}

fn print(links: usize, rows: &[Row]) {
    let reference = rows.iter().find(|row| row.name.contains("reference")).map_or(f64::NAN, median);
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|a, b| median(a).total_cmp(&median(b)));
    println!("\n{links} links, {} circuits, {} batches of {HOPS}", 10 * links, rows[0].ns.len());
    println!("  {:<36} {:>8}  {:<14} {:>10} {:>12}", "", "ns a hop", "(half in)", "million/s", "x reference");
    for row in sorted {
        let [low, ns, high] = quartiles(row.ns.clone());
        let iqr = format!("{low:.0}..{high:.0}");
        println!("  {:<36} {ns:>8.0}  {iqr:<14} {:>10.2} {:>12.2}", row.name, 1e3 / ns, reference / ns);
    }
}

fn median(row: &Row) -> f64 {
    quartiles(row.ns.clone())[1]
}
