//! AES-128-GCM's known answers (NIST; McGrew and Viega; Wycheproof), on what of a back end takes them.
//!
//! A back end takes records: associated data of a header's few bytes, and a cell of text or less. So every vector is put to
//! three uses:
//!
//! - **as it is**, to the bare `aes-gcm`, with which the conformance suite compares every back end;
//! - **short**, to `open_short`, where its associated data have at most 5 bytes and its text fits a cell: it opens to its
//!   plaintext, or is refused where the vector is wrong;
//! - **as a cell**, where it is a right one: a cell that begins with its text, sealed under its key and nonce. The
//!   ciphertext begins with the vector's, the whole record is what `aes-gcm` makes of it, and it opens again.
//!
//! Vectors with another nonce than 12 bytes or another tag than 16 are for no record, and left out.

use super::{array, hex, lines};
use crate::conformance::naive;
use crate::schedule::RecordSecret;
use crate::{OpenJob, Records, SealJob, cells};
use drover_wire::cell::{TAG, plaintext_len};
use drover_wire::record::{Aad, FIRST_BYTE, HEADER, record_len};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

struct Vector {
    name: String,
    key: [u8; 16],
    nonce: [u8; 12],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
    right: bool,
}

/// How many vectors a back end was put to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Right ones, opened as short records.
    pub(crate) opened: usize,
    /// Wrong ones, refused as short records.
    pub(crate) refused: usize,
    /// Right ones, sealed and opened as cells.
    pub(crate) cells: usize,
}

/// Puts a back end to every vector that there is a use for.
///
/// # Panics
/// At the first that it gets wrong.
pub(crate) fn run<R: Records>() -> Counts {
    let mut counts = Counts::default();
    for vector in all() {
        let short = [vector.short::<R, 256>(), vector.short::<R, 512>(), vector.short::<R, 1024>()].contains(&true);
        counts.opened += usize::from(short && vector.right);
        counts.refused += usize::from(short && !vector.right);
        if vector.right {
            vector.cell::<R, 256>();
            vector.cell::<R, 512>();
            vector.cell::<R, 1024>();
            counts.cells += 1;
        }
    }
    counts
}

fn all() -> Vec<Vector> {
    let mut vectors = published("NIST", include_str!("gcm_nist.txt"));
    vectors.extend(published("McGrew and Viega", include_str!("gcm_mcgrew_viega.txt")));
    vectors.extend(wycheproof());
    vectors
}

fn published(whose: &str, file: &str) -> Vec<Vector> {
    let vector = |(at, [key, nonce, plaintext, aad, ciphertext, tag]): (usize, [&str; 6])| Vector {
        name: format!("{whose} {}", at + 1),
        key: array(key),
        nonce: array(nonce),
        aad: hex(aad),
        plaintext: hex(plaintext),
        ciphertext: hex(ciphertext),
        tag: hex(tag),
        right: true,
    };
    lines(file).enumerate().map(vector).collect()
}

fn wycheproof() -> Vec<Vector> {
    let set = TestSet::load(TestName::AesGcm).expect("the crate's own file");
    let groups = set.test_groups.into_iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (128, 96, 128));
    groups
        .flat_map(|group| group.tests)
        .map(|test| Vector {
            name: format!("Wycheproof {} ({})", test.tc_id, test.comment),
            key: test.key[..].try_into().expect("128 bits"),
            nonce: test.nonce[..].try_into().expect("96 bits"),
            aad: test.aad.to_vec(),
            plaintext: test.pt.to_vec(),
            ciphertext: test.ct.to_vec(),
            tag: test.tag.to_vec(),
            right: match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => unreachable!("a tag is right or wrong"),
            },
        })
        .collect()
}

impl Vector {
    /// The secret with which record `number` has the vector's nonce.
    fn secret(&self, number: u64) -> RecordSecret {
        let mut iv = self.nonce;
        iv[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        RecordSecret { key: self.key, iv }
    }

    /// A record number of the vector's own.
    fn number(&self) -> u64 {
        u64::from_be_bytes(*self.key.first_chunk().expect("16 bytes"))
    }

    /// As a short record. Whether it can be one in a zone of `S`.
    fn short<R: Records, const S: usize>(&self) -> bool {
        let Some(aad) = Aad::of_vector(&self.aad).filter(|_| self.ciphertext.len() <= plaintext_len(S)) else {
            return false;
        };
        let key = R::key(&self.secret(self.number()));
        let body = [&self.ciphertext[..], &self.tag].concat();
        let mut cell = cells::<S>(1)[0].clone();
        cell.bytes.fill(0xa5);
        let job = OpenJob { key: 0, cell: 0, number: self.number(), aad, body: &body, ok: false };
        let opened = R::open_short(&key, &mut cell, &job);
        assert_eq!(opened, self.right, "{} as a short record, S = {S}", self.name);
        if opened {
            let (text, rest) = cell.plaintext().split_at(self.plaintext.len());
            assert!(text == self.plaintext, "{}: plaintext, S = {S}", self.name);
            assert!(rest.iter().all(|&byte| byte == 0), "{}: zeros behind, S = {S}", self.name);
        } else {
            assert!(cell.bytes == [0; S], "{}: a refused cell, S = {S}", self.name);
        }
        true
    }

    /// As the beginning of a cell.
    fn cell<R: Records, const S: usize>(&self) {
        let secret = self.secret(self.number());
        let keys = [R::key(&secret)];
        let mut pool = cells::<S>(2);
        let room = pool[0].plaintext_mut();
        room.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
        let begin = self.plaintext.len().min(room.len());
        room[..begin].copy_from_slice(&self.plaintext[..begin]);
        let number = self.number();
        let mut frame = vec![0; record_len(S)];
        R::seal(&keys, &pool, &mut [SealJob { key: 0, cell: 0, number, first: FIRST_BYTE, frame: &mut frame }]);
        let (header, body) = frame.split_at(HEADER);
        assert!(body[..begin] == self.ciphertext[..begin], "{}: a cell's ciphertext, S = {S}", self.name);
        let whole = naive(&secret, number, header, pool[0].plaintext());
        assert!(body == whole, "{}: a cell's record, S = {S}", self.name);
        let mut jobs = [OpenJob { key: 0, cell: 1, number, aad: Aad::sent(number), body, ok: false }];
        R::open(&keys, &mut pool, &mut jobs);
        assert!(jobs[0].ok && pool[0].plaintext() == pool[1].plaintext(), "{}: a cell opened, S = {S}", self.name);
    }
}

#[test]
fn the_bare_crate_gives_the_published_answers() {
    let vectors = all();
    for vector in &vectors {
        let made = naive(&vector.secret(0), 0, &vector.aad, &vector.plaintext);
        let published = [&vector.ciphertext[..], &vector.tag].concat();
        // The only wrong ones here have wrong tags: a right one would be the only right tag of its text.
        assert_eq!(made == published, vector.right, "{}", vector.name);
        assert_eq!(vector.tag.len(), TAG);
    }
    let right = vectors.iter().filter(|vector| vector.right).count();
    assert_eq!((right, vectors.len() - right), (375 + 4 + 40, 27));
}

#[test]
#[should_panic(expected = "a cell's ciphertext")]
fn a_wrong_answer_is_seen() {
    let mut vector = all().into_iter().find(|vector| vector.right && !vector.plaintext.is_empty()).expect("many");
    vector.ciphertext[0] ^= 1;
    vector.cell::<crate::reference::ReferenceRecords, 256>();
}
