//! Layers: inverse, equality with the bare crates, and direction.

use aes::Aes128;
use ctr::Ctr64BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

use super::{Draw, KEYS, same};
use crate::schedule::LayerSecret;
use crate::{BATCH, Cell, LayerJob, Layers};

/// `peel` and `add` undo each other, touch bodies only, and give checks of key and counter alone; a batch equals its
/// jobs one by one.
pub fn layers<L: Layers>() {
    Fixture::<L>::new().sized::<256>();
    Fixture::<L>::new().sized::<512>();
    Fixture::<L>::new().sized::<1024>();
}

/// Both directions are AES-128-CTR, and the check is the keystream after the body, bit for bit.
pub fn ctr_layers<L: Layers>() {
    Fixture::<L>::new().ctr::<256>();
    Fixture::<L>::new().ctr::<512>();
    Fixture::<L>::new().ctr::<1024>();
}

/// `peel` and `add` differ, neither is its own inverse, and the order of layers matters.
pub fn non_involutive_layers<L: Layers>() {
    Fixture::<L>::new().non_involutive::<256>();
    Fixture::<L>::new().non_involutive::<512>();
    Fixture::<L>::new().non_involutive::<1024>();
}

/// What a job's check holds before a kernel sets it.
const UNSET: [u8; 8] = [0xa5; 8];

struct Fixture<L: Layers> {
    draw: Draw,
    secrets: [LayerSecret; KEYS],
    keys: [L::Key; KEYS],
}

impl<L: Layers> Fixture<L> {
    fn new() -> Self {
        let mut draw = Draw(3);
        let secrets = std::array::from_fn(|_| LayerSecret(draw.array()));
        let keys = secrets.each_ref().map(L::key);
        Fixture { draw, secrets, keys }
    }

    /// A pool with idle cells, and jobs on `n` of its cells in a drawn order.
    fn batch<const S: usize>(&mut self, n: usize) -> (Box<[Cell<S>]>, Vec<LayerJob>) {
        let pool = self.draw.pool(n + 3);
        let order = self.draw.order(n + 3);
        let jobs = order[..n]
            .iter()
            .map(|&cell| LayerJob { key: self.draw.key_index(), cell, counter: self.draw.number(), check: UNSET })
            .collect();
        (pool, jobs)
    }

    fn sized<const S: usize>(&mut self) {
        for n in 0..=BATCH {
            let (original, jobs) = self.batch::<S>(n);

            let (mut pool, mut there, mut back) = (original.clone(), jobs.clone(), jobs.clone());
            L::add(&self.keys, &mut pool, &mut there);
            assert!(there.iter().all(|job| job.check == UNSET), "add left the checks alone");
            only_bodies_differ(&pool, &original, &jobs);
            L::peel(&self.keys, &mut pool, &mut back);
            assert!(same(&pool, &original), "peel undoes add, a batch of {n}, S = {S}");

            let (mut pool, mut peeled, mut added) = (original.clone(), jobs.clone(), jobs.clone());
            L::peel(&self.keys, &mut pool, &mut peeled);
            only_bodies_differ(&pool, &original, &jobs);
            // The bodies of the first round were others: the check is of key and counter alone.
            assert!(peeled.iter().map(|job| job.check).eq(back.iter().map(|job| job.check)));
            let mut singles = original.clone();
            for (job, batched) in jobs.iter().zip(&peeled) {
                let mut single = [*job];
                L::peel(&self.keys, &mut singles, &mut single);
                assert_eq!(single[0].check, batched.check, "the check in a batch of {n}, S = {S}");
            }
            assert!(same(&pool, &singles), "peel in a batch of {n} and one by one, S = {S}");
            L::add(&self.keys, &mut pool, &mut added);
            assert!(same(&pool, &original), "add undoes peel, a batch of {n}, S = {S}");
        }
        self.key_and_counter_matter::<S>();
    }

    /// One body under other keys and counters gives other bodies and other checks.
    fn key_and_counter_matter<const S: usize>(&mut self) {
        let cell = self.draw.pool::<S>(1);
        let mut seen: Vec<([u8; 8], Box<[Cell<S>]>)> = Vec::new();
        for (key, counter) in [(0, 0), (1, 0), (0, 1), (0, 1 << 32), (0, 1 << 63), (0, u64::MAX)] {
            let mut pool = cell.clone();
            let mut jobs = [LayerJob { key, cell: 0, counter, check: UNSET }];
            L::peel(&self.keys, &mut pool, &mut jobs);
            let check = jobs[0].check;
            assert!(seen.iter().all(|(c, p)| *c != check && p[0].body() != pool[0].body()));
            seen.push((check, pool));
        }
    }

    fn ctr<const S: usize>(&mut self) {
        for n in 0..=BATCH {
            let (original, jobs) = self.batch::<S>(n);
            let mut expected = original.clone();
            let mut checks = Vec::new();
            for job in &jobs {
                let mut first = [0; 16];
                first[..8].copy_from_slice(&job.counter.to_be_bytes());
                let key = &self.secrets[job.key as usize].0;
                let mut cipher = Ctr64BE::<Aes128>::new(key.into(), &first.into());
                cipher.apply_keystream(expected[job.cell as usize].body_mut());
                let mut check = [0; 8];
                cipher.apply_keystream(&mut check);
                checks.push(check);
            }
            let (mut pool, mut peeled) = (original.clone(), jobs.clone());
            L::peel(&self.keys, &mut pool, &mut peeled);
            assert!(same(&pool, &expected), "peel is CTR, a batch of {n}, S = {S}");
            assert!(peeled.iter().map(|job| job.check).eq(checks), "checks of a batch of {n}, S = {S}");
            let (mut pool, mut added) = (original.clone(), jobs.clone());
            L::add(&self.keys, &mut pool, &mut added);
            assert!(same(&pool, &expected), "add is CTR, a batch of {n}, S = {S}");
        }
    }

    fn non_involutive<const S: usize>(&mut self) {
        let original = self.draw.pool::<S>(1);
        let run = |steps: &[(bool, u32)]| {
            let mut pool = original.clone();
            for &(peel, key) in steps {
                let mut jobs = [LayerJob { key, cell: 0, counter: 7, check: UNSET }];
                if peel {
                    L::peel(&self.keys, &mut pool, &mut jobs);
                } else {
                    L::add(&self.keys, &mut pool, &mut jobs);
                }
            }
            pool[0].body().to_vec()
        };
        let (peel, add) = (true, false);
        assert_ne!(run(&[(peel, 0)]), run(&[(add, 0)]), "directions differ");
        assert_ne!(run(&[(peel, 0), (peel, 0)]), run(&[]), "peel is no involution");
        assert_ne!(run(&[(add, 0), (add, 0)]), run(&[]), "add is no involution");
        assert_ne!(run(&[(peel, 0), (peel, 1)]), run(&[(peel, 1), (peel, 0)]), "peeling has an order");
        assert_ne!(run(&[(add, 0), (add, 1)]), run(&[(add, 1), (add, 0)]), "adding has an order");
    }
}

/// The cells of jobs differ in their bodies and nowhere else; the other cells are as they were.
fn only_bodies_differ<const S: usize>(now: &[Cell<S>], before: &[Cell<S>], jobs: &[LayerJob]) {
    for (at, (now, before)) in now.iter().zip(before).enumerate() {
        let named = jobs.iter().any(|job| job.cell as usize == at);
        assert_eq!(now.body() != before.body(), named, "bodies of jobs change, and no others, S = {S}");
        let mut patched = now.clone();
        patched.body_mut().copy_from_slice(before.body());
        assert!(patched.bytes == before.bytes, "bytes outside a body, S = {S}");
    }
}
