//! Every back end beside the reference, on scripts: the same keys, cells and jobs must give the same bytes.
//!
//! A script's bytes say what is done: cell size, kinds of keys, and steps, each a kernel, a batch's size, and its jobs'
//! damage. What they do not say, such as the contents of cells, is drawn from a seed in the script. The same function runs
//! bounded in `cargo test` and without end under cargo-fuzz (`make fuzz`).

use crate::backend::{Backend, WithSuite};
use crate::conformance::{Draw, naive, same};
use crate::reference::Reference;
use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{BATCH, Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite};
use drover_wire::cell::plaintext_len;
use drover_wire::record::{Aad, HEADER_WITH_LENGTH, first_byte, record_len};

/// Steps of one script.
const STEPS_MAX: usize = 16;
/// Keys of a slab.
const KEYS: usize = 5;
/// Cells of a pool: a whole batch, and idle ones.
const CELLS: usize = BATCH + 3;
/// What surrounds a frame.
const GUARD: u8 = 0xa5;
/// Frames begin anywhere in a cache line.
const ROOM: usize = 64 + record_len(1024) + 64;

/// What a script reached, so that it can be seen that scripts reach everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Masks compared.
    pub masks: usize,
    /// Records sealed.
    pub sealed: usize,
    /// Records opened, short ones among them.
    pub opened: usize,
    /// Records refused, short ones among them.
    pub refused: usize,
    /// Layers peeled or added.
    pub layers: usize,
}

/// Compares every back end that this processor has with the reference. What was reached by one of them.
///
/// # Panics
/// At the first difference: that is the finding. Not for use outside tests and fuzzers.
pub fn fuzz_backends(script: &[u8]) -> Reached {
    struct Against<'s>(&'s [u8]);
    impl WithSuite for Against<'_> {
        type Out = Reached;
        fn with<C: Suite>(self) -> Reached {
            compare::<Reference, C>(self.0)
        }
    }
    let mut reached = Reached::default();
    for backend in Backend::ALL.iter().filter(|&&backend| backend != Backend::Reference && backend.missing().is_empty())
    {
        reached = backend.dispatch(Against(script));
    }
    reached
}

/// Runs a script on two back ends.
///
/// # Panics
/// At the first difference.
pub fn compare<A: Suite, B: Suite>(script: &[u8]) -> Reached {
    let mut script = Script(script);
    match script.byte() % 3 {
        0 => Pair::<A, B, 256>::new(&mut script).run(&mut script),
        1 => Pair::<A, B, 512>::new(&mut script).run(&mut script),
        _ => Pair::<A, B, 1024>::new(&mut script).run(&mut script),
    }
}

/// A script's bytes, zero when it is over.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn place(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }
}

/// The expanded keys of one back end.
struct Keys<S: Suite> {
    record: Vec<<S::Records as Records>::Key>,
    mask: Vec<<S::Records as Records>::MaskKey>,
    layer: Vec<<S::Layers as Layers>::Key>,
}

impl<S: Suite> Keys<S> {
    fn new(secrets: &[RecordSecret]) -> Self {
        Keys {
            record: secrets.iter().map(S::Records::key).collect(),
            mask: secrets.iter().map(|secret| S::Records::mask_key(&MaskSecret(secret.key))).collect(),
            layer: secrets.iter().map(|secret| S::Layers::key(&LayerSecret(secret.key))).collect(),
        }
    }
}

/// Two back ends with the same keys, and a pool that is the same before every step.
struct Pair<A: Suite, B: Suite, const S: usize> {
    draw: Draw,
    secrets: Vec<RecordSecret>,
    a: Keys<A>,
    b: Keys<B>,
    pool: Box<[Cell<S>]>,
    reached: Reached,
}

impl<A: Suite, B: Suite, const S: usize> Pair<A, B, S> {
    fn new(script: &mut Script<'_>) -> Self {
        let mut draw = Draw(u64::from_be_bytes(std::array::from_fn(|_| script.byte())));
        let secrets: Vec<RecordSecret> = (0..KEYS)
            .map(|_| match script.byte() % 8 {
                0 => RecordSecret { key: [0; 16], iv: [0; 12] },
                1 => RecordSecret { key: [0xff; 16], iv: [0xff; 12] },
                _ => RecordSecret { key: draw.array(), iv: draw.array() },
            })
            .collect();
        let pool = draw.pool(CELLS);
        Pair { draw, a: Keys::new(&secrets), b: Keys::new(&secrets), secrets, pool, reached: Reached::default() }
    }

    fn run(mut self, script: &mut Script<'_>) -> Reached {
        for _ in 0..STEPS_MAX {
            if script.0.is_empty() {
                break;
            }
            let kind = script.byte() % 6;
            let jobs = usize::from(script.byte()) % (BATCH + 1);
            match kind {
                0 => self.masks(jobs),
                1 => self.seal(script, jobs),
                2 => self.open(script, jobs),
                3 => self.open_short(script),
                4 => self.layers(jobs, true),
                _ => self.layers(jobs, false),
            }
        }
        self.reached
    }

    fn key(&mut self) -> u32 {
        self.draw.below(KEYS) as u32
    }

    /// `n` distinct cells.
    fn cells(&mut self, n: usize) -> Vec<u32> {
        let mut order = self.draw.order(CELLS);
        order.truncate(n);
        order
    }

    fn masks(&mut self, n: usize) {
        let mut jobs: Vec<MaskJob> =
            (0..n).map(|_| MaskJob { key: self.key(), sample: self.draw.array(), mask: [0; 2] }).collect();
        let mut others = jobs.clone();
        A::Records::masks(&self.a.mask, &mut jobs);
        B::Records::masks(&self.b.mask, &mut others);
        assert!(
            jobs.iter().map(|job| job.mask).eq(others.iter().map(|job| job.mask)),
            "masks of a batch of {n} differ"
        );
        self.reached.masks += n;
    }

    fn layers(&mut self, n: usize, peel: bool) {
        let mut jobs: Vec<LayerJob> = self
            .cells(n)
            .into_iter()
            .map(|cell| LayerJob { key: self.key(), cell, counter: self.draw.number(), check: [GUARD; 8] })
            .collect();
        let (mut others, mut pool) = (jobs.clone(), self.pool.clone());
        if peel {
            A::Layers::peel(&self.a.layer, &mut self.pool, &mut jobs);
            B::Layers::peel(&self.b.layer, &mut pool, &mut others);
        } else {
            A::Layers::add(&self.a.layer, &mut self.pool, &mut jobs);
            B::Layers::add(&self.b.layer, &mut pool, &mut others);
        }
        assert!(same(&self.pool, &pool), "layers of a batch of {n} differ, S = {S}");
        let checks = jobs.iter().map(|job| job.check).eq(others.iter().map(|job| job.check));
        assert!(checks, "checks of a batch of {n} differ, S = {S}");
        self.reached.layers += n;
    }

    fn seal(&mut self, script: &mut Script<'_>, n: usize) {
        let named: Vec<Sealing> = (0..n)
            .map(|_| Sealing {
                key: self.key(),
                cell: self.draw.below(CELLS) as u32,
                number: self.draw.number(),
                first: first_byte(script.byte().into()),
                at: self.draw.below(64),
            })
            .collect();
        let before = self.pool.clone();
        let mut a = vec![[GUARD; ROOM]; n];
        A::Records::seal(&self.a.record, &self.pool, &mut jobs::<S>(&named, &mut a));
        let mut b = vec![[GUARD; ROOM]; n];
        B::Records::seal(&self.b.record, &self.pool, &mut jobs::<S>(&named, &mut b));
        assert!(same(&self.pool, &before), "sealing changed a cell, S = {S}");
        assert!(a == b, "records of a batch of {n}, or what is around them, differ, S = {S}");
        self.reached.sealed += n;
    }

    /// A record of a peer's, `len` bytes of text, and damage as the script says.
    fn record(&mut self, script: &mut Script<'_>, len: usize) -> Opening {
        let (key, number) = (self.key(), self.draw.number());
        let [.., high, low] = number.to_be_bytes();
        let mut header = vec![first_byte(0), high, low];
        if self.draw.below(4) == 0 {
            header[0] |= 0x04;
            header.extend_from_slice(&(S as u16).to_be_bytes());
            debug_assert_eq!(header.len(), HEADER_WITH_LENGTH);
        }
        let mut text = vec![0; len];
        self.draw.fill(&mut text);
        let body = naive(&self.secrets[key as usize], number, &header, &text);
        let mut record = Opening { key, number, header, body, at: self.draw.below(64) };
        match script.byte() % 12 {
            0 => record.body[script.place() % (len + 16)] ^= 1 << self.draw.below(8),
            1 => record.body.truncate(script.place() % (len + 16)),
            2 => record.body.push(script.byte()),
            3 => record.number ^= 1 << self.draw.below(64),
            4 => record.header[0] ^= 1 << self.draw.below(3),
            5 => record.key = self.key(),
            _ => {}
        }
        record
    }

    fn open(&mut self, script: &mut Script<'_>, n: usize) {
        let records: Vec<Opening> = (0..n).map(|_| self.record(script, plaintext_len(S))).collect();
        let cells = self.cells(n);
        let frames: Vec<Vec<u8>> = records.iter().map(Opening::frame).collect();
        let each = || records.iter().zip(&cells).zip(&frames);
        let jobs = || each().map(|((record, &cell), frame)| record.job(cell, frame)).collect::<Vec<_>>();
        let (mut of_a, mut of_b) = (jobs(), jobs());
        let mut pool = self.pool.clone();
        A::Records::open(&self.a.record, &mut self.pool, &mut of_a);
        B::Records::open(&self.b.record, &mut pool, &mut of_b);
        assert!(of_a.iter().map(|job| job.ok).eq(of_b.iter().map(|job| job.ok)), "verdicts differ, S = {S}");
        for job in &of_a {
            self.verdict(job.ok, &self.pool[job.cell as usize], &mut pool[job.cell as usize]);
            self.reached.opened += usize::from(job.ok);
            self.reached.refused += usize::from(!job.ok);
        }
        assert!(same(&self.pool, &pool), "a cell of no job differs, S = {S}");
    }

    fn open_short(&mut self, script: &mut Script<'_>) {
        let len = script.place() % (plaintext_len(S) + 1);
        let record = self.record(script, len);
        let frame = record.frame();
        let job = record.job(0, &frame);
        let mut cell = self.pool[0].clone();
        let key = job.key as usize;
        let ok = A::Records::open_short(&self.a.record[key], &mut self.pool[0], &job);
        let other = B::Records::open_short(&self.b.record[key], &mut cell, &job);
        assert_eq!(ok, other, "verdicts of a short record differ, S = {S}");
        self.verdict(ok, &self.pool[0], &mut cell);
        self.reached.opened += usize::from(ok);
        self.reached.refused += usize::from(!ok);
    }

    /// A cell that was opened is the same; of one that was not, nothing is left. What is before a plaintext is nobody's.
    fn verdict(&self, ok: bool, a: &Cell<S>, b: &mut Cell<S>) {
        if ok {
            assert!(a.plaintext() == b.plaintext(), "plaintexts differ, S = {S}");
            b.copy_from(a);
        } else {
            assert!(a.bytes == [0; S] && b.bytes == [0; S], "a failed cell is zeroed, S = {S}");
        }
    }
}

/// What a record is sealed from, and where in its room the frame begins.
struct Sealing {
    key: u32,
    cell: u32,
    number: u64,
    first: u8,
    at: usize,
}

/// The jobs of `named`, each with a frame in its room.
fn jobs<'r, const S: usize>(named: &[Sealing], rooms: &'r mut [[u8; ROOM]]) -> Vec<SealJob<'r>> {
    let job = |(named, room): (&Sealing, &'r mut [u8; ROOM])| {
        let &Sealing { key, cell, number, first, at } = named;
        SealJob { key, cell, number, first, frame: &mut room[at..at + record_len(S)] }
    };
    named.iter().zip(rooms).map(job).collect()
}

/// A record that came, and where in memory its body begins.
struct Opening {
    key: u32,
    number: u64,
    header: Vec<u8>,
    body: Vec<u8>,
    at: usize,
}

impl Opening {
    fn frame(&self) -> Vec<u8> {
        [&[GUARD; 64][..self.at], &self.body].concat()
    }

    fn job<'f>(&self, cell: u32, frame: &'f [u8]) -> OpenJob<'f> {
        let aad = Aad::new(&self.header, self.number as u16);
        OpenJob { key: self.key, cell, number: self.number, aad, body: &frame[self.at..], ok: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn back_ends_agree(script in prop::collection::vec(any::<u8>(), 0..1500)) {
            fuzz_backends(&script);
        }
    }

    /// Random scripts reach what they are meant to reach; otherwise the comparison has nothing to compare.
    #[test]
    fn scripts_reach_every_kernel() {
        let mut draw = Draw(9);
        let mut sum = Reached::default();
        for _ in 0..30 {
            let mut script = vec![0; 1500];
            draw.fill(&mut script);
            let reached = fuzz_backends(&script);
            sum.masks += reached.masks;
            sum.sealed += reached.sealed;
            sum.opened += reached.opened;
            sum.refused += reached.refused;
            sum.layers += reached.layers;
        }
        let least = [sum.masks, sum.sealed, sum.opened, sum.refused, sum.layers].into_iter().min();
        assert!(least > Some(300), "{sum:?}");
    }
}
