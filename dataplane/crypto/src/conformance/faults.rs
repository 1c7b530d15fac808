//! The suite can fail: back ends with one fault each, and the check that catches it. So can the published vectors, and the
//! comparison of back ends on scripts.

use crate::fuzz::compare;
use crate::reference::{CtrLayers, LayerKey, MaskKey, RecordKey, Reference, ReferenceRecords};
use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::testing::NonInvolutive;
use crate::{Cell, LayerJob, Layers, MaskJob, OpenJob, Records, SealJob, Suite, vectors};

use super::{Draw, ctr_layers, layers, masks, non_involutive_layers, records};

/// The reference with the fault of that number.
struct Faulty<const FAULT: u8>;

const PART_OF_A_BATCH: u8 = 0;
const SHORT_NUMBER: u8 = 1;
const NO_TAG: u8 = 2;
const OLD_PLAINTEXT: u8 = 3;
const OTHERS_FAIL_TOO: u8 = 4;
const ONE_DIRECTION: u8 = 5;
const WRITES_BEHIND: u8 = 6;
const FIXED_EPOCH: u8 = 7;
const NO_PADDING: u8 = 8;
const NO_TAG_OF_SHORT: u8 = 9;

impl<const FAULT: u8> Suite for Faulty<FAULT> {
    const NAME: &'static str = "faulty";
    type Records = Self;
    type Layers = Self;
}

impl<const FAULT: u8> Records for Faulty<FAULT> {
    type Key = RecordKey;
    type MaskKey = MaskKey;

    fn key(secret: &RecordSecret) -> RecordKey {
        ReferenceRecords::key(secret)
    }

    fn mask_key(secret: &MaskSecret) -> MaskKey {
        ReferenceRecords::mask_key(secret)
    }

    fn masks(keys: &[MaskKey], jobs: &mut [MaskJob]) {
        let done = if FAULT == PART_OF_A_BATCH { jobs.len() / 8 * 8 } else { jobs.len() };
        ReferenceRecords::masks(keys, &mut jobs[..done]);
    }

    fn open<const S: usize>(keys: &[RecordKey], cells: &mut [Cell<S>], jobs: &mut [OpenJob<'_>]) {
        ReferenceRecords::open(keys, cells, jobs);
        match FAULT {
            NO_TAG => jobs.iter_mut().for_each(|job| job.ok = true),
            OLD_PLAINTEXT => {
                for job in jobs.iter().filter(|job| !job.ok) {
                    cells[job.cell as usize].bytes[S - 1] = 23;
                }
            }
            OTHERS_FAIL_TOO => {
                let ok = jobs.iter().all(|job| job.ok);
                jobs.iter_mut().for_each(|job| job.ok = ok);
            }
            _ => {}
        }
    }

    fn open_short<const S: usize>(key: &RecordKey, cell: &mut Cell<S>, job: &OpenJob<'_>) -> bool {
        let before = cell.clone();
        let opened = ReferenceRecords::open_short(key, cell, job);
        if FAULT == NO_PADDING {
            let len = job.body.len().saturating_sub(16);
            cell.plaintext_mut()[len..].copy_from_slice(&before.plaintext()[len..]);
        }
        opened || FAULT == NO_TAG_OF_SHORT
    }

    fn seal<const S: usize>(keys: &[RecordKey], cells: &[Cell<S>], jobs: &mut [SealJob<'_>]) {
        if FAULT == SHORT_NUMBER {
            jobs.iter_mut().for_each(|job| job.number &= 0xffff_ffff);
        }
        if FAULT == FIXED_EPOCH {
            jobs.iter_mut().for_each(|job| job.first = 0x2b);
        }
        ReferenceRecords::seal(keys, cells, jobs);
    }
}

impl<const FAULT: u8> Layers for Faulty<FAULT> {
    type Key = LayerKey;

    fn key(secret: &LayerSecret) -> LayerKey {
        CtrLayers::key(secret)
    }

    fn peel<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        match FAULT {
            // One direction for both, under a cipher that has two.
            ONE_DIRECTION => NonInvolutive::add(keys, cells, jobs),
            PART_OF_A_BATCH => {
                CtrLayers::peel(keys, cells, jobs);
                jobs.iter_mut().skip(8).for_each(|job| job.check = [0; 8]);
            }
            _ => CtrLayers::peel(keys, cells, jobs),
        }
    }

    fn add<const S: usize>(keys: &[LayerKey], cells: &mut [Cell<S>], jobs: &mut [LayerJob]) {
        match FAULT {
            ONE_DIRECTION => NonInvolutive::add(keys, cells, jobs),
            SHORT_NUMBER => {
                jobs.iter_mut().for_each(|job| job.counter &= 0xffff_ffff);
                CtrLayers::add(keys, cells, jobs);
            }
            WRITES_BEHIND => {
                CtrLayers::add(keys, cells, jobs);
                jobs.iter().for_each(|job| cells[job.cell as usize].bytes[S - 1] = 0);
            }
            _ => CtrLayers::add(keys, cells, jobs),
        }
    }
}

#[test]
#[should_panic(expected = "mask in a batch of 1")]
fn masks_left_at_the_end_of_a_batch() {
    masks::<Faulty<PART_OF_A_BATCH>>();
}

#[test]
#[should_panic(expected = "record in a batch")]
fn numbers_cut_to_32_bits() {
    records::<Faulty<SHORT_NUMBER>>();
}

#[test]
#[should_panic(expected = "record in a batch")]
fn one_epoch_for_all() {
    records::<Faulty<FIXED_EPOCH>>();
}

#[test]
#[should_panic(expected = "zeros behind a short record")]
fn old_bytes_behind_a_short_record() {
    records::<Faulty<NO_PADDING>>();
}

#[test]
#[should_panic(expected = "a batch of 3")]
fn tags_not_checked() {
    records::<Faulty<NO_TAG>>();
}

#[test]
#[should_panic(expected = "a failed cell is zeroed")]
fn plaintext_left_by_a_failure() {
    records::<Faulty<OLD_PLAINTEXT>>();
}

#[test]
#[should_panic(expected = "a batch of 3")]
fn neighbours_of_a_failure_lost() {
    records::<Faulty<OTHERS_FAIL_TOO>>();
}

#[test]
#[should_panic(expected = "peel undoes add, a batch of 1")]
fn one_direction_for_both() {
    layers::<Faulty<ONE_DIRECTION>>();
}

#[test]
#[should_panic(expected = "peel undoes add")]
fn counters_cut_to_32_bits() {
    layers::<Faulty<SHORT_NUMBER>>();
}

#[test]
#[should_panic(expected = "the check in a batch of 9")]
fn checks_left_at_the_end_of_a_batch() {
    layers::<Faulty<PART_OF_A_BATCH>>();
}

#[test]
#[should_panic(expected = "checks of a batch of 9")]
fn checks_that_are_not_keystream() {
    ctr_layers::<Faulty<PART_OF_A_BATCH>>();
}

#[test]
#[should_panic(expected = "bytes outside a body")]
fn bytes_behind_a_body_written() {
    layers::<Faulty<WRITES_BEHIND>>();
}

#[test]
#[should_panic(expected = "directions differ")]
fn a_cipher_without_directions() {
    non_involutive_layers::<Faulty<ONE_DIRECTION>>();
}

#[test]
#[should_panic(expected = "as a short record")]
fn vectors_of_wrong_tags_taken() {
    vectors::gcm::run::<Faulty<NO_TAG_OF_SHORT>>();
}

#[test]
#[should_panic(expected = "a cell's record")]
fn vectors_under_a_wrong_nonce() {
    vectors::gcm::run::<Faulty<SHORT_NUMBER>>();
}

#[test]
#[should_panic(expected = "as a mask")]
fn vectors_of_masks_left_out() {
    vectors::aes::masks::<Faulty<PART_OF_A_BATCH>>();
}

#[test]
#[should_panic(expected = "as keystream")]
fn vectors_of_layers_with_short_counters() {
    vectors::aes::layers::<Faulty<SHORT_NUMBER>>();
}

/// Compares with the reference on drawn scripts until a difference is found.
fn compared<const FAULT: u8>() {
    let mut draw = Draw(4);
    for _ in 0..200 {
        let mut script = vec![0; 400];
        draw.fill(&mut script);
        compare::<Reference, Faulty<FAULT>>(&script);
    }
}

#[test]
#[should_panic(expected = "of a batch of")]
fn scripts_see_a_part_of_a_batch() {
    compared::<PART_OF_A_BATCH>();
}

#[test]
#[should_panic(expected = "differ")]
fn scripts_see_short_numbers() {
    compared::<SHORT_NUMBER>();
}

#[test]
#[should_panic(expected = "verdicts differ")]
fn scripts_see_tags_not_checked() {
    compared::<NO_TAG>();
}

#[test]
#[should_panic(expected = "verdicts of a short record differ")]
fn scripts_see_tags_of_short_records_not_checked() {
    compared::<NO_TAG_OF_SHORT>();
}

#[test]
#[should_panic(expected = "a failed cell is zeroed")]
fn scripts_see_plaintext_left() {
    compared::<OLD_PLAINTEXT>();
}

#[test]
#[should_panic(expected = "layers of a batch of")]
fn scripts_see_bytes_behind_a_body() {
    compared::<WRITES_BEHIND>();
}

#[test]
#[should_panic(expected = "plaintexts differ")]
fn scripts_see_old_bytes_behind_a_short_record() {
    compared::<NO_PADDING>();
}

#[test]
#[should_panic(expected = "records of a batch of")]
fn scripts_see_one_epoch_for_all() {
    compared::<FIXED_EPOCH>();
}
