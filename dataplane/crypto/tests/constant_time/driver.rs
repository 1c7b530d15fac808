//! What runs under valgrind: every kernel of a back end on secret keys and plaintexts, and what must be noticed.

use crate::memcheck::{self, errors, here, is_secret, public};
use drover_crypto::aws_lc::AwsLc;
use drover_crypto::backend::{Backend, WithSuite};
use drover_crypto::reference::Reference;
use drover_crypto::schedule::{LayerSecret, MaskSecret, RecordSecret, TrafficSecret};
use drover_crypto::{Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite, cells};
use drover_wire::record::{Aad, FIRST_BYTE, HEADER, record_len};
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::process::ExitCode;

/// How this program is told that it is the driver.
pub(crate) const ARGUMENT: &str = "--driver-under-valgrind";

/// What is run.
pub(crate) struct Part {
    /// What the driver is told.
    pub(crate) name: &'static str,
    /// Features of the processor that AWS-LC is told to do without (its `OPENSSL_ia32cap`).
    pub(crate) without: Option<&'static str>,
    /// Whether nothing depends on a secret.
    pub(crate) good: bool,
}

/// AES (bit 57) and PCLMULQDQ (33): AWS-LC's vector permutations.
const NO_AES: &str = "~0x200000200000000";
/// SSSE3 too (41): AWS-LC's portable code.
const NO_SSSE3: &str = "~0x200020200000000";

/// The parts: back ends, and then what must be noticed.
pub(crate) const PARTS: [Part; 7] = [
    Part { name: "back ends", without: None, good: true },
    Part { name: "aws-lc without AES instructions", without: Some(NO_AES), good: true },
    Part { name: "aws-lc without SSSE3", without: Some(NO_SSSE3), good: true },
    Part { name: "key schedule", without: None, good: true },
    Part { name: "a branch", without: None, good: false },
    Part { name: "an index", without: None, good: false },
    Part { name: "a comparison", without: None, good: false },
];

/// Jobs of a batch: two groups of 8, and a remainder.
const JOBS: usize = 19;

/// Runs a part. Ends with 1 when something depended on a secret, with 2 when nothing can be told.
pub(crate) fn run(part: &str) -> ExitCode {
    if !here() {
        eprintln!("the driver runs under valgrind only");
        return ExitCode::from(2);
    }
    let good = match part {
        "back ends" => back_ends(),
        name if name.starts_with("aws-lc") => judge(name, kernels::<AwsLc>),
        "key schedule" => judge(part, key_schedule),
        "a branch" => judge(part, a_branch),
        "an index" => judge(part, an_index),
        "a comparison" => judge(part, a_comparison),
        _ => return ExitCode::from(2),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every back end that valgrind can run.
fn back_ends() -> bool {
    struct Judge;
    impl WithSuite for Judge {
        type Out = bool;
        fn with<C: Suite>(self) -> bool {
            judge(&format!("back end {}", C::NAME), kernels::<C>)
        }
    }
    let mut good = true;
    for backend in Backend::ALL {
        let missing = backend.missing();
        if missing.is_empty() {
            good &= backend.dispatch(Judge);
        } else {
            let missing = missing.join(", ");
            println!("constant time, back end {backend}: not run, valgrind has no {missing}; aesni's source, wider");
        }
    }
    good
}

/// Does all of a part twice, first without a secret, and says how it went. What memcheck reports the first time is the
/// compiler's doing, which may test what was never written where the outcome does not matter; it is there the second time
/// too. What is more then depends on secrets.
fn judge(what: &str, part: fn(&mut Steps)) -> bool {
    let [plain, marked] = [false, true].map(|secrets| {
        let mut steps = Steps { secrets, done: Vec::new(), reached: true };
        part(&mut steps);
        steps
    });
    let mut good = marked.reached && plain.done.len() == marked.done.len();
    for (plain, marked) in plain.done.iter().zip(&marked.done) {
        let depend = marked.errors.saturating_sub(plain.errors);
        if !marked.verdicts.contains(&depend) {
            good = false;
            let (step, verdicts) = (&marked.name, &marked.verdicts);
            println!("constant time, {step}: {depend} jumps and addresses depend on secrets, not {verdicts:?}");
        }
    }
    let verdict =
        if good { "nothing depends on a secret but what follows a tag's verdict" } else { "it depends on secrets" };
    println!("constant time, {what}: {verdict}");
    good
}

/// What was done, step by step.
struct Steps {
    /// Whether what is secret is marked.
    secrets: bool,
    done: Vec<Step>,
    /// Whether all that kernels made depended on their keys.
    reached: bool,
}

struct Step {
    name: String,
    /// How often memcheck reported something.
    errors: u64,
    /// How many jumps on verdicts there may be.
    verdicts: RangeInclusive<u64>,
}

impl Steps {
    /// Makes `value` secret.
    fn secret<T: ?Sized>(&self, value: &mut T) {
        if self.secrets {
            memcheck::secret(value);
        }
    }

    /// Does `work`, in which nothing may depend on a secret.
    fn free(&mut self, name: &str, work: impl FnOnce()) {
        self.step(name, 0..=0, work);
    }

    /// Does `work` of a back end, which opens so many records and jumps on their verdicts: a verdict is public, and it is all
    /// that a back end may jump on. That is one jump a record; in `reference` two, one in `aes-gcm` and one behind it.
    /// Little is hidden by this: what `open` has in common with `seal` is seen there.
    fn verdicts<C: Suite>(&mut self, name: &str, records: u64, work: impl FnOnce()) {
        let most = if C::NAME == Reference::NAME { 2 } else { 1 };
        self.step(name, records..=most * records, work);
    }

    fn step(&mut self, name: &str, verdicts: RangeInclusive<u64>, work: impl FnOnce()) {
        let before = errors();
        work();
        self.done.push(Step { name: name.to_owned(), errors: errors() - before, verdicts });
    }

    /// What a kernel made depends on its key, as it must: otherwise valgrind was shown something else.
    fn reaches(&mut self, name: &str, made: &mut [u8]) {
        if self.secrets && !is_secret(made) {
            self.reached = false;
            println!("constant time, {name}: what it makes does not depend on secrets, as far as valgrind sees");
        }
    }
}

fn a_branch(steps: &mut Steps) {
    let mut key = [7u8; 16];
    steps.secret(&mut key);
    steps.free("a branch on a key (this must be noticed)", || {
        if black_box(key)[3] & 1 == 1 {
            black_box(());
        }
    });
}

fn an_index(steps: &mut Steps) {
    let table: [u8; 256] = std::array::from_fn(|at| at as u8);
    let mut key = [7u8; 16];
    steps.secret(&mut key);
    steps.free("an index from a key (this must be noticed)", || {
        black_box(black_box(&table)[usize::from(black_box(key)[3])]);
    });
}

/// A verdict that is found byte by byte.
fn a_comparison(steps: &mut Steps) {
    let (mut tag, sent) = ([7u8; 16], [7u8; 16]);
    steps.secret(&mut tag);
    steps.step("a comparison that ends at the first difference (this must be noticed)", 1..=1, || {
        black_box(black_box(&tag).iter().zip(black_box(&sent)).position(|(a, b)| a != b));
    });
}

/// What comes of a traffic secret.
fn key_schedule(steps: &mut Steps) {
    let mut first = TrafficSecret([9; 32]);
    steps.secret(&mut first.0);
    let mut made = None;
    steps.free("the key schedule", || {
        let next = first.next();
        made = Some((next.record(), next.mask(), next.key_id()));
    });
    let (mut record, mut mask, mut id) = made.expect("just made");
    for bytes in [&mut record.key[..], &mut record.iv, &mut mask.0, &mut id] {
        steps.reaches("the key schedule", bytes);
    }
}

/// All of a back end.
fn kernels<C: Suite>(steps: &mut Steps) {
    sized::<C, 256>(steps);
    sized::<C, 512>(steps);
    sized::<C, 1024>(steps);
}

fn sized<C: Suite, const S: usize>(steps: &mut Steps) {
    let name = |kernel: &str| format!("{kernel} of {}, S = {S}", C::NAME);
    let mut secrets = RecordSecret { key: [1; 16], iv: [2; 12] };
    steps.secret(&mut secrets.key);
    steps.secret(&mut secrets.iv);
    let mut keys = None;
    steps.free(&name("key expansion"), || {
        keys = Some((
            [C::Records::key(&secrets)],
            [C::Records::mask_key(&MaskSecret(secrets.key))],
            [C::Layers::key(&LayerSecret(secrets.key))],
        ));
    });
    let (record_keys, mask_keys, layer_keys) = keys.expect("just made");
    let mut pool = cells::<S>(JOBS);
    pool.iter_mut().for_each(|cell: &mut Cell<S>| steps.secret(&mut cell.bytes));

    let mut frames = vec![vec![0; record_len(S)]; JOBS];
    steps.free(&name("seal"), || {
        let job = |(at, frame)| SealJob { key: 0, cell: at as u32, number: at as u64, first: FIRST_BYTE, frame };
        let mut jobs: Vec<SealJob<'_>> = frames.iter_mut().map(Vec::as_mut_slice).enumerate().map(job).collect();
        C::Records::seal(&record_keys, &pool, &mut jobs);
    });
    for frame in &mut frames {
        steps.reaches(&name("seal"), &mut frame[HEADER..]);
        public(&mut frame[..]);
    }

    let mut jobs = [MaskJob { key: 0, sample: [3; 16], mask: [0; 2] }; JOBS];
    steps.free(&name("masks"), || C::Records::masks(&mask_keys, &mut jobs));
    jobs.iter_mut().for_each(|job| steps.reaches(&name("masks"), &mut job.mask));

    // Every third record is damaged.
    frames.iter_mut().step_by(3).for_each(|frame| frame[HEADER + 5] ^= 1);
    let open = |at: usize, body| {
        let number = at as u64;
        OpenJob { key: 0, cell: at as u32, number, aad: Aad::sent(number), body, ok: false }
    };
    let mut jobs: Vec<OpenJob<'_>> = frames.iter().enumerate().map(|(at, frame)| open(at, &frame[HEADER..])).collect();
    steps.verdicts::<C>(&name("open"), JOBS as u64, || C::Records::open(&record_keys, &mut pool, &mut jobs));
    for (at, job) in jobs.iter_mut().enumerate() {
        public(&mut job.ok);
        assert_eq!(job.ok, at % 3 != 0, "record {at}");
        if job.ok {
            steps.reaches(&name("open"), pool[at].plaintext_mut());
        }
    }
    // Cut off: a record that is short, and whose tag is wrong.
    let job = open(0, &frames[0][HEADER..HEADER + 100]);
    let mut ok = true;
    let (key, cell) = (&record_keys[0], &mut pool[0]);
    steps.verdicts::<C>(&name("open_short"), 1, || ok = C::Records::open_short(key, cell, &job));
    public(&mut ok);
    assert!(!ok);

    for run in [C::Layers::peel::<S>, C::Layers::add::<S>] {
        pool.iter_mut().for_each(|cell| public(&mut cell.bytes));
        let mut jobs: [LayerJob; JOBS] =
            std::array::from_fn(|at| LayerJob { key: 0, cell: at as u32, counter: at as u64, check: [0; 8] });
        steps.free(&name("layers"), || run(&layer_keys, &mut pool, &mut jobs));
        pool.iter_mut().for_each(|cell| steps.reaches(&name("layers"), cell.body_mut()));
    }
    steps.free(&name("wiping"), || drop((record_keys, mask_keys, layer_keys)));
}
