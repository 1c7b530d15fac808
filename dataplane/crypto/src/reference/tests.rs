//! The reference against published vectors: every other back end is compared with it.

use drover_wire::record::Aad;
use sha2::{Digest, Sha256};

use super::*;
use crate::vectors::{array, hex};
use crate::{cells, conformance};

const _: fn() = || {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Aes128Enc>();
    wiped::<Gcm>();
    wiped::<RecordKey>();
    wiped::<MaskKey>();
    wiped::<LayerKey>();
};

#[test]
fn conforms() {
    conformance::suite::<Reference>();
}

#[test]
fn layers_are_ctr() {
    conformance::ctr_layers::<CtrLayers>();
}

#[test]
#[should_panic(expected = "directions differ")]
fn ctr_is_an_involution() {
    conformance::non_involutive_layers::<CtrLayers>();
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4 (also in NIST's submission).
#[test]
fn gcm_test_case_4() {
    let gcm = Gcm::new(&array("feffe9928665731c6d6a8f9467308308").into());
    let nonce = Nonce::from(array("cafebabefacedbaddecaf888"));
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let mut text = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    let tag = gcm.encrypt_inout_detached(&nonce, &aad, text.as_mut_slice().into()).expect("short");
    let ciphertext = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                      21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091";
    assert_eq!(text, hex(ciphertext));
    assert_eq!(tag[..], hex("5bc94fbc3221a5db94fae95ae7121a47"));
}

/// A whole record: key 00 … 0f, IV 40 … 4b, number 0123456789abcdef, plaintext byte i = 7·i mod 256. SHA-256 of the
/// record, made with an AES-128-GCM in plain Python that itself reproduces FIPS-197 C.1 and GCM test case 4.
fn record<const S: usize>(digest: &str) {
    let key = std::array::from_fn(|at| at as u8);
    let iv = std::array::from_fn(|at| 0x40 + at as u8);
    let keys = [ReferenceRecords::key(&RecordSecret { key, iv })];
    let number = 0x0123_4567_89ab_cdef;
    let mut pool = cells::<S>(2);
    for (at, byte) in pool[0].plaintext_mut().iter_mut().enumerate() {
        *byte = (7 * at) as u8;
    }
    let mut frame = vec![0; record_len(S)];
    ReferenceRecords::seal(&keys, &pool, &mut [SealJob { key: 0, cell: 0, number, first: 0x2b, frame: &mut frame }]);
    assert_eq!(frame[..19], hex("2bcdef4767d3737e454859a2d78234ad03d757"));
    assert_eq!(Sha256::digest(&frame)[..], hex(digest));

    let aad = Aad::new(&frame[..HEADER], 0xcdef);
    let mut jobs = [OpenJob { key: 0, cell: 1, number, aad, body: &frame[HEADER..], ok: false }];
    ReferenceRecords::open(&keys, &mut pool, &mut jobs);
    assert!(jobs[0].ok);
    assert_eq!(pool[1].plaintext(), pool[0].plaintext());

    let sample = array("4767d3737e454859a2d78234ad03d757");
    let mut masks = [MaskJob { key: 0, sample, mask: [0; 2] }];
    ReferenceRecords::masks(&[ReferenceRecords::mask_key(&MaskSecret(key))], &mut masks);
    assert_eq!(masks[0].mask, [0x18, 0x78]);
}

#[test]
fn whole_records() {
    record::<256>("da268635e8e8cf4a3f634157e8004c6a23a3ee98a2597a18f027bedb6f43a53b");
    record::<512>("f741f7e5b5b7103a8fdca19df22fdff4d2b487e51dd27ba74ebdc54de55661d8");
    record::<1024>("f3c89f6aee00ebf8143e07e98c363a3074dbd8b5b496c1c4987ff4fb09be11d0");
}

/// FIPS-197, C.1, as a mask (RFC 9147, 4.2.3).
#[test]
fn mask_of_fips_197() {
    let keys = [ReferenceRecords::mask_key(&MaskSecret(std::array::from_fn(|at| at as u8)))];
    let mut jobs = [MaskJob { key: 0, sample: array("00112233445566778899aabbccddeeff"), mask: [0; 2] }];
    ReferenceRecords::masks(&keys, &mut jobs);
    assert_eq!(jobs[0].mask, [0x69, 0xc4]);
}

/// Peels a body of zeros under the key of zeros: the keystream, and the check.
fn keystream<const S: usize>(counter: u64) -> (Vec<u8>, [u8; CHECK]) {
    let keys = [CtrLayers::key(&LayerSecret([0; 16]))];
    let mut pool = cells::<S>(1);
    let mut jobs = [LayerJob { key: 0, cell: 0, counter, check: [0; CHECK] }];
    CtrLayers::peel(&keys, &mut pool, &mut jobs);
    (pool[0].body().to_vec(), jobs[0].check)
}

/// AES under the key of zeros: blocks 0, 1 and 2 are in GCM test cases 1 and 2, block 80 00 … 00 is in NIST's AESAVS
/// (VarTxt); the checks, blocks 14, 30 and 62, are of the Python of [`record`].
#[test]
fn keystream_blocks() {
    let (stream, check) = keystream::<256>(0);
    let first = "66e94bd4ef8a2c3b884cfa59ca342b2e58e2fccefa7e3061367f1d57a4e7455a0388dace60b6a392f328c2b971b2fe78";
    assert_eq!(stream[..48], hex(first));
    assert_eq!(check, array("6002496db63fa4b9"));
    assert_eq!(keystream::<512>(0).1, array("48a836a7de205cfe"));
    assert_eq!(keystream::<1024>(0).1, array("be0938f59da3d970"));

    let (stream, check) = keystream::<256>(1 << 63);
    assert_eq!(stream[..16], hex("3ad78e726c1ec02b7ebfe92b23d9ec34"));
    assert_eq!(check, array("10f42b3c8efb1114"));
}

#[test]
#[should_panic]
fn a_key_out_of_range_is_a_bug() {
    let keys = [CtrLayers::key(&LayerSecret([0; 16]))];
    let mut jobs = [LayerJob { key: 1, cell: 0, counter: 0, check: [0; CHECK] }];
    CtrLayers::add(&keys, &mut cells::<256>(1), &mut jobs);
}

#[test]
#[should_panic(expected = "a frame holds one record")]
fn a_frame_of_another_size_is_a_bug() {
    let keys = [ReferenceRecords::key(&RecordSecret { key: [0; 16], iv: [0; 12] })];
    let mut frame = [0; 258];
    ReferenceRecords::seal(
        &keys,
        &cells::<256>(1),
        &mut [SealJob { key: 0, cell: 0, number: 0, first: 0x2b, frame: &mut frame }],
    );
}

/// Keys fill whole lines, so that no two share one, and fit what one prefetch asks for.
#[test]
fn keys_are_whole_lines() {
    use crate::prefetch::{LINE, LINES_MAX};
    for (align, size) in [
        (align_of::<RecordKey>(), size_of::<RecordKey>()),
        (align_of::<MaskKey>(), size_of::<MaskKey>()),
        (align_of::<LayerKey>(), size_of::<LayerKey>()),
    ] {
        assert_eq!((align, size % LINE), (LINE, 0));
        assert!(size <= LINE * LINES_MAX, "{size}");
    }
}
