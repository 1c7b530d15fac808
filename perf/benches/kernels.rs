//! The pieces of a hop, one by one: `cargo bench -p drover-perf`. Batches of 64 over 1,000 links' keys, 512-byte cells,
//! the reference back end; and the table that finds a circuit. For comparisons on one machine, not to be quoted.
#![forbid(unsafe_code)]

use criterion::{Criterion, Throughput};
use drover_crypto::reference::{CtrLayers, RecordKey, ReferenceRecords};
use drover_crypto::schedule::{LayerSecret, RecordSecret};
use drover_crypto::{BATCH, Cell, LayerJob, Layers, OpenJob, Records, SealJob, cells};
use drover_dataplane::table::Index;
use drover_wire::record::{Aad, HEADER, record_len};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::time::Duration;

const CELL: usize = 512;
const LINKS: usize = 1000;
const CIRCUITS: usize = 20_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    records(&mut criterion);
    layers(&mut criterion);
    table(&mut criterion);
    criterion.final_summary();
}

/// Keys of all links in an order drawn at random, a batch at a time.
fn batches(rng: &mut StdRng) -> Vec<Vec<u32>> {
    let mut links: Vec<u32> = (0..LINKS as u32).collect();
    links.shuffle(rng);
    links.chunks_exact(BATCH).map(<[u32]>::to_vec).collect()
}

fn records(criterion: &mut Criterion) {
    let mut rng = StdRng::from_os_rng();
    let keys: Vec<_> =
        (0..LINKS).map(|_| ReferenceRecords::key(&RecordSecret { key: rng.random(), iv: rng.random() })).collect();
    let batches = batches(&mut rng);
    let mut pool = cells::<CELL>(BATCH);
    pool.iter_mut().for_each(|cell| rng.fill(cell.plaintext_mut()));
    let mut frames = vec![vec![0; record_len(CELL)]; batches.len() * BATCH];
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Elements(BATCH as u64));

    let mut number = 0;
    group.bench_function("seal", |bench| {
        bench.iter(|| {
            let at = number as usize % batches.len();
            seal(&keys, &pool, &batches[at], number, &mut frames[at * BATCH..][..BATCH]);
            number += 1;
        });
    });

    for (links, frames) in batches.iter().zip(frames.chunks_mut(BATCH)) {
        seal(&keys, &pool, links, 7, frames);
    }
    let mut at = 0;
    group.bench_function("open", |bench| {
        bench.iter(|| {
            let frames = &frames[at * BATCH..][..BATCH];
            let jobs = (0..BATCH as u32).zip(&batches[at]).zip(frames);
            let mut jobs: Vec<_> = jobs
                .map(|((cell, key), frame)| OpenJob {
                    key: *key,
                    cell,
                    number: 7,
                    aad: Aad::sent(7),
                    body: &frame[HEADER..],
                    ok: false,
                })
                .collect();
            ReferenceRecords::open(&keys, &mut pool, &mut jobs);
            assert!(jobs.iter().all(|job| job.ok));
            at = (at + 1) % batches.len();
        });
    });
}

fn seal(keys: &[RecordKey], pool: &[Cell<CELL>], links: &[u32], number: u64, frames: &mut [Vec<u8>]) {
    let jobs = (0..BATCH as u32).zip(links).zip(frames);
    let mut jobs: Vec<_> =
        jobs.map(|((cell, key), frame)| SealJob { key: *key, cell, number, first: 0x2b, frame }).collect();
    ReferenceRecords::seal(keys, pool, &mut jobs);
}

fn layers(criterion: &mut Criterion) {
    let mut rng = StdRng::from_os_rng();
    let keys: Vec<_> = (0..CIRCUITS).map(|_| CtrLayers::key(&LayerSecret(rng.random()))).collect();
    let mut pool = cells::<CELL>(BATCH);
    let mut group = criterion.benchmark_group("layers");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("peel", |bench| {
        bench.iter(|| {
            let key = |_| rng.random_range(0..CIRCUITS as u32);
            let job = |(cell, key)| LayerJob { key, cell, counter: 7, check: [0; 8] };
            let mut jobs: Vec<_> = (0..BATCH as u32).zip((0..BATCH).map(key)).map(job).collect();
            CtrLayers::peel(&keys, &mut pool, &mut jobs);
            black_box(jobs);
        });
    });
}

fn table(criterion: &mut Criterion) {
    let mut rng = StdRng::from_os_rng();
    let mut index = Index::new(2 * CIRCUITS, (0u32, 0u32));
    let mut keys: Vec<_> = (0..2 * CIRCUITS as u32).map(|way| (way % LINKS as u32, way + 1)).collect();
    for (value, key) in keys.iter().enumerate() {
        assert!(index.insert(*key, value as u32));
    }
    keys.shuffle(&mut rng);
    let mut group = criterion.benchmark_group("circuits");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut at = 0;
    group.bench_function("find", |bench| {
        bench.iter(|| {
            let burst = &keys[at..at + BATCH];
            let mut homes = [None; BATCH];
            for (home, key) in homes.iter_mut().zip(burst) {
                *home = Some(index.begin(key));
            }
            for (home, key) in homes.iter().zip(burst) {
                assert!(home.and_then(|home| index.get_from(home, key)).is_some());
            }
            at = (at + BATCH) % (keys.len() - BATCH);
        });
    });
}
