//! What runs under valgrind: every kernel of a back end on secret keys and plaintexts, and what must be noticed.

use crate::memcheck::{errors, here, is_secret, public, secret};
use drover_crypto::backend::{Backend, WithSuite};
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
        name if name.starts_with("aws-lc") => says(name, Backend::AwsLc.dispatch(Kernels)),
        "key schedule" => key_schedule(),
        "a branch" => a_branch(),
        "an index" => an_index(),
        "a comparison" => a_comparison(),
        _ => return ExitCode::from(2),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does `work`, in which nothing depends on a secret; whether so. Says so if not.
fn free(what: &str, work: impl FnOnce()) -> bool {
    depends(what, 0..=0, work)
}

/// Does `work`, which opens so many records and jumps on their verdicts: a verdict is public, and it is all that a back end
/// may jump on. That is one jump a record; in `reference` two, one in `aes-gcm` and one behind it. Nothing else that
/// `open` does is hidden by this: what it has in common with `seal` is seen there.
fn verdicts<C: Suite>(what: &str, records: u64, work: impl FnOnce()) -> bool {
    let most = if C::NAME == Backend::Reference.name() { 2 } else { 1 };
    depends(what, records..=most * records, work)
}

/// Does `work`; whether so many jumps and addresses depended on secrets. Says so if not.
fn depends(what: &str, expected: RangeInclusive<u64>, work: impl FnOnce()) -> bool {
    let before = errors();
    work();
    let found = errors() - before;
    if expected.contains(&found) {
        return true;
    }
    println!("constant time: {what}: {found} jumps and addresses depend on secrets, not {expected:?}");
    false
}

/// Whether what a kernel made depends on its key, as it must: otherwise valgrind was shown something else.
fn reached(what: &str, made: &mut [u8]) -> bool {
    let reached = is_secret(made);
    if !reached {
        println!("constant time: {what}: what it makes does not depend on secrets, as far as valgrind sees");
    }
    reached
}

/// Says how a part went.
fn says(what: &str, good: bool) -> bool {
    let verdict = if good { "nothing depends on a secret but what follows a tag's verdict" } else { "see above" };
    println!("constant time, {what}: {verdict}");
    good
}

fn a_branch() -> bool {
    let mut key = [7u8; 16];
    secret(&mut key);
    free("a branch on a key (this must be noticed)", || {
        if black_box(key)[3] & 1 == 1 {
            black_box(());
        }
    })
}

fn an_index() -> bool {
    let table: [u8; 256] = std::array::from_fn(|at| at as u8);
    let mut key = [7u8; 16];
    secret(&mut key);
    free("an index from a key (this must be noticed)", || {
        black_box(black_box(&table)[usize::from(black_box(key)[3])]);
    })
}

/// A verdict that is found byte by byte.
fn a_comparison() -> bool {
    let (mut tag, sent) = ([7u8; 16], [7u8; 16]);
    secret(&mut tag);
    depends("a comparison that ends at the first difference (this must be noticed)", 1..=1, || {
        black_box(black_box(&tag).iter().zip(black_box(&sent)).position(|(a, b)| a != b));
    })
}

/// What comes of a traffic secret.
fn key_schedule() -> bool {
    let mut first = TrafficSecret([9; 32]);
    secret(&mut first.0);
    let mut made = None;
    let mut good = free("the key schedule", || {
        let next = first.next();
        made = Some((next.record(), next.mask(), next.key_id()));
    });
    let (mut record, mut mask, mut id) = made.expect("just made");
    for bytes in [&mut record.key[..], &mut record.iv, &mut mask.0, &mut id] {
        good &= reached("the key schedule", bytes);
    }
    says("key schedule", good)
}

/// Every back end that valgrind can run.
fn back_ends() -> bool {
    let mut good = true;
    for backend in Backend::ALL {
        let missing = backend.missing();
        if missing.is_empty() {
            good &= says(&format!("back end {backend}"), backend.dispatch(Kernels));
        } else {
            let missing = missing.join(", ");
            println!("constant time, back end {backend}: not run, valgrind has no {missing}; aesni's source, wider");
        }
    }
    good
}

struct Kernels;

impl WithSuite for Kernels {
    type Out = bool;
    fn with<C: Suite>(self) -> bool {
        [kernels::<C, 256>(), kernels::<C, 512>(), kernels::<C, 1024>()] == [true; 3]
    }
}

fn kernels<C: Suite, const S: usize>() -> bool {
    let what = |kernel: &str| format!("{kernel} of {}, S = {S}", C::NAME);
    let mut good = true;
    let mut secrets = RecordSecret { key: [1; 16], iv: [2; 12] };
    secret(&mut secrets.key);
    secret(&mut secrets.iv);
    let mut keys = None;
    good &= free(&what("key expansion"), || {
        keys = Some((
            [C::Records::key(&secrets)],
            [C::Records::mask_key(&MaskSecret(secrets.key))],
            [C::Layers::key(&LayerSecret(secrets.key))],
        ));
    });
    let (record_keys, mask_keys, layer_keys) = keys.expect("just made");
    let mut pool = cells::<S>(JOBS);
    pool.iter_mut().for_each(|cell: &mut Cell<S>| secret(&mut cell.bytes));

    let mut frames = vec![vec![0; record_len(S)]; JOBS];
    good &= free(&what("seal"), || {
        let job = |(at, frame)| SealJob { key: 0, cell: at as u32, number: at as u64, first: FIRST_BYTE, frame };
        let mut jobs: Vec<SealJob<'_>> = frames.iter_mut().map(Vec::as_mut_slice).enumerate().map(job).collect();
        C::Records::seal(&record_keys, &pool, &mut jobs);
    });
    for frame in &mut frames {
        good &= reached(&what("seal"), &mut frame[HEADER..]);
        public(&mut frame[..]);
    }

    let mut jobs = [MaskJob { key: 0, sample: [3; 16], mask: [0; 2] }; JOBS];
    good &= free(&what("masks"), || C::Records::masks(&mask_keys, &mut jobs));
    good &= jobs.iter_mut().all(|job| reached(&what("masks"), &mut job.mask));

    // Every third record is damaged.
    frames.iter_mut().step_by(3).for_each(|frame| frame[HEADER + 5] ^= 1);
    let open = |at: usize, body| {
        let number = at as u64;
        OpenJob { key: 0, cell: at as u32, number, aad: Aad::sent(number), body, ok: false }
    };
    let mut jobs: Vec<OpenJob<'_>> = frames.iter().enumerate().map(|(at, frame)| open(at, &frame[HEADER..])).collect();
    good &= verdicts::<C>(&what("open"), JOBS as u64, || C::Records::open(&record_keys, &mut pool, &mut jobs));
    for (at, job) in jobs.iter_mut().enumerate() {
        public(&mut job.ok);
        assert_eq!(job.ok, at % 3 != 0, "record {at}");
        good &= !job.ok || reached(&what("open"), pool[at].plaintext_mut());
    }
    for frame in &frames[..2] {
        // Cut off: a record that is short, and whose tag is wrong.
        let job = open(0, &frame[HEADER..HEADER + 100]);
        good &= verdicts::<C>(&what("open_short"), 1, || {
            let mut ok = C::Records::open_short(&record_keys[0], &mut pool[0], &job);
            public(&mut ok);
            assert!(!ok);
        });
    }

    for run in [C::Layers::peel::<S>, C::Layers::add::<S>] {
        pool.iter_mut().for_each(|cell| public(&mut cell.bytes));
        let mut jobs: [LayerJob; JOBS] =
            std::array::from_fn(|at| LayerJob { key: 0, cell: at as u32, counter: at as u64, check: [0; 8] });
        good &= free(&what("layers"), || run(&layer_keys, &mut pool, &mut jobs));
        good &= pool.iter_mut().all(|cell| reached(&what("layers"), cell.body_mut()));
    }
    good &= free(&what("wiping"), || drop((record_keys, mask_keys, layer_keys)));
    good
}
