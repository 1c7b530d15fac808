//! Tests of records: known answers, every first byte, and number reconstruction against a brute-force model.

use super::*;
use proptest::prelude::*;

fn datagram(first: u8, cell: usize) -> Vec<u8> {
    let mut bytes = vec![first, 0x12, 0x34];
    if first & WITH_LENGTH != 0 {
        bytes.extend(u16::try_from(cell).expect("small").to_be_bytes());
    }
    bytes.extend((0..cell).map(|n| n as u8));
    bytes
}

#[test]
fn our_first_byte_is_the_unified_header_of_epoch_3() {
    assert_eq!(FIRST_BYTE, CIPHERTEXT | NUMBER_16 | EPOCH);
    assert_eq!([256, 512, 1024].map(record_len), [259, 515, 1027]);
}

#[test]
fn every_first_byte_is_classified() {
    for first in 0..=255u8 {
        let kind = match first {
            0x20..=0x3f => Kind::Ciphertext,
            20 | 21 | 22 | 26 => Kind::Plaintext,
            _ => Kind::Unknown,
        };
        assert_eq!(classify(&[first, 0]), kind);
    }
    assert_eq!(classify(&[]), Kind::Unknown);
}

#[test]
fn every_first_byte_parses_or_not() {
    for first in 0..=255u8 {
        let ours = matches!(first, 0x28..=0x2f);
        let bytes = datagram(first, 256);
        match parse(&bytes, 256) {
            Ok(record) => {
                assert!(ours);
                assert_eq!(record.epoch_bits(), first & 3);
                assert_eq!(record.header.len(), if first & 4 == 0 { 3 } else { 5 });
                assert_eq!(record.body.len(), 256);
                assert_eq!(record.sample()[..], (0..16).collect::<Vec<u8>>());
                assert_eq!(record.number([0xff, 0x0f]), 0x1234 ^ 0xff0f);
            }
            Err(error) => {
                assert!(!ours);
                assert_eq!(error, RecordError::Header);
            }
        }
    }
}

#[test]
fn a_foreign_peers_epoch_is_in_the_first_byte() {
    assert_eq!([3, 4, 5, 6, 7].map(first_byte), [FIRST_BYTE, 0x28, 0x29, 0x2a, FIRST_BYTE]);
    for epoch in 0..300 {
        let bytes = datagram(first_byte(epoch), 256);
        assert_eq!(parse(&bytes, 256).map(|record| u32::from(record.epoch_bits())), Ok(epoch & 3));
    }
}

#[test]
fn short_records_are_whole_and_shorter_than_a_cell() {
    for first in [0x28, 0x2b, 0x2e] {
        for len in 0..300 {
            let bytes = datagram(first, len);
            let parsed = parse_short(&bytes, 256);
            match len {
                0..=16 => assert_eq!(parsed, Err(RecordError::Short)),
                256.. => assert_eq!(parsed, Err(RecordError::Length)),
                _ => assert_eq!(parsed.map(|record| record.body.len()), Ok(len)),
            }
        }
    }
    let mut odd = datagram(0x2f, 40);
    odd[4] -= 1;
    assert_eq!(parse_short(&odd, 256), Err(RecordError::Length), "another length, or two records");
    assert_eq!(parse_short(&datagram(0x23, 40), 256), Err(RecordError::Header));
    assert_eq!(parse_short(&[], 256), Err(RecordError::Short));
}

#[test]
fn one_record_a_datagram_no_more_no_less() {
    for first in [0x2b, 0x2f] {
        for cell in [256, 512, 1024] {
            let whole = datagram(first, cell);
            assert!(parse(&whole, cell).is_ok());
            for len in 0..whole.len() {
                assert_eq!(parse(&whole[..len], cell), Err(RecordError::Short), "{len}");
            }
            let mut long = whole.clone();
            long.push(0);
            assert_eq!(parse(&long, cell), Err(RecordError::Length));
            long.extend(whole);
            assert_eq!(parse(&long, cell), Err(RecordError::Length), "two records in a datagram");
        }
    }
    let mut odd = datagram(0x2f, 256);
    odd[4] ^= 1;
    assert_eq!(parse(&odd, 256), Err(RecordError::Length));
    assert_eq!(parse(&datagram(0x2b, 15), 15), Err(RecordError::Length), "no room for the sample");
}

#[test]
fn a_record_not_from_the_parser_does_not_panic() {
    let record = Record { header: &[], body: &[1] };
    assert_eq!((record.epoch_bits(), *record.sample(), record.number([1, 2])), (0, [0; 16], 0x0102));
}

#[test]
fn associated_data_is_the_header_with_its_number() {
    assert_eq!(Aad::new(&[0x2b, 0xaa, 0xbb], 0x0102).as_bytes(), [0x2b, 1, 2]);
    assert_eq!(Aad::new(&[0x2f, 0xaa, 0xbb, 1, 0], 0x0102).as_bytes(), [0x2f, 1, 2, 1, 0]);
    assert_eq!(Aad::sent(0xffff_0102), Aad::new(&[0x2b, 0, 0], 0x0102));
}

#[test]
fn reconstruction_at_the_ends() {
    assert_eq!(reconstruct(0, 0), 0);
    assert_eq!(reconstruct(0xffff, 0), 0xffff, "never below zero");
    assert_eq!(reconstruct(0xffff, 0x7fff), 0xffff, "a tie goes up, and here there is no below");
    assert_eq!(reconstruct(0, u64::MAX), u64::MAX - 0xffff, "never above the range");
    assert_eq!(reconstruct(0xffff, u64::MAX), u64::MAX);
    assert_eq!(reconstruct(0x8000, 0x1_0000), 0x1_8000, "a tie goes up");
    assert_eq!(reconstruct(0xfffe, 0x1_0001), 0xfffe, "an old one, across a wrap");
    assert_eq!(reconstruct(3, 0x1_fffe), 0x2_0003, "a new one, across a wrap");
}

#[test]
fn expectation_and_neighbours() {
    assert_eq!(expected(10, 5), 15);
    assert_eq!(expected(u64::MAX - 1, 5), u64::MAX);
    assert_eq!(neighbours(WRAP), [Some(0), Some(2 * WRAP)]);
    assert_eq!(neighbours(WRAP - 1), [None, Some(2 * WRAP - 1)]);
    assert_eq!(neighbours(u64::MAX), [Some(u64::MAX - WRAP), None]);
}

#[test]
fn a_ratchet_step_stays_within_the_key_limit() {
    for (s, bits) in [(256, 30), (512, 29), (1024, 28)] {
        assert_eq!(ratchet_bits_max(s), bits);
        // One block more a record, for the associated data; 2^34.5 = sqrt(2) * 2^34.
        let blocks = (s as f64 / 16.0 + 1.0) * f64::from(1u32 << bits);
        let limit = 2f64.powf(34.5);
        assert!(blocks <= limit && 2.0 * blocks > limit, "{s}");
    }
}

#[test]
fn inner_content_types() {
    assert_eq!(inner_content_type(&[]), None);
    assert_eq!(inner_content_type(&[0; 40]), None);
    assert_eq!(inner_content_type(&[23]), Some((23, 0)));
    assert_eq!(inner_content_type(&[1, 0, 23, 0, 0]), Some((23, 2)));
}

/// Numbers near the ends, near multiples of a wrap, and anywhere.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4 * WRAP,
        (0..4 * WRAP).prop_map(|n| u64::MAX - n),
        (any::<u64>(), 0u64..9).prop_map(|(n, d)| (n & !(WRAP - 1)).wrapping_add(d).wrapping_sub(4)),
        any::<u64>(),
    ]
}

/// The model: of all numbers within two wraps that end in `low`, the nearest, the higher of a tie.
fn model(low: u16, expected: u64) -> u64 {
    let (expected, wrap) = (i128::from(expected), i128::from(WRAP));
    let start = expected / wrap * wrap + i128::from(low);
    (-2..=2)
        .map(|n| start + n * wrap)
        .filter_map(|n| u64::try_from(n).ok())
        .min_by_key(|n| ((i128::from(*n) - expected).abs(), u64::MAX - n))
        .expect("one is in range")
}

proptest! {
    #[test]
    fn reconstruction_is_the_nearest(low: u16, expected in any_number()) {
        let number = reconstruct(low, expected);
        prop_assert_eq!(number as u16, low);
        prop_assert_eq!(number, model(low, expected));
    }

    #[test]
    fn a_number_survives_when_expected_within_half_a_wrap(number in any_number(), off in 1 - 32_768i64..32_768) {
        if let Some(expected) = number.checked_add_signed(off) {
            prop_assert_eq!(reconstruct(number as u16, expected), number);
        }
    }

    #[test]
    fn neighbours_are_one_wrap_away(number in any_number()) {
        let [below, above] = neighbours(number);
        prop_assert_eq!(below, u64::try_from(i128::from(number) - 65_536).ok());
        prop_assert_eq!(above, u64::try_from(i128::from(number) + 65_536).ok());
    }

    #[test]
    fn parsing_takes_the_datagram_apart(
        first in prop_oneof![0x28u8..0x30, any::<u8>()], tail in proptest::collection::vec(any::<u8>(), 0..64),
        cell in 0usize..64,
    ) {
        let bytes = [vec![first], tail].concat();
        if let Ok(record) = parse(&bytes, cell) {
            prop_assert_eq!(classify(&bytes), Kind::Ciphertext);
            prop_assert_eq!(&[record.header, record.body].concat(), &bytes);
            prop_assert_eq!(record.body.len(), cell);
            prop_assert_eq!(&record.sample()[..], &record.body[..16]);
            let mask = [record.header[1], record.header[2]];
            prop_assert_eq!(record.number(mask), 0);
            let aad = Aad::new(record.header, record.number([0, 0]));
            prop_assert_eq!(aad.as_bytes(), record.header);
        }
    }

    #[test]
    fn content_type_is_the_last_non_zero(content in proptest::collection::vec(any::<u8>(), 0..50), kind in 1u8.., pad in 0usize..20) {
        let mut plaintext = content.clone();
        plaintext.push(kind);
        plaintext.resize(plaintext.len() + pad, 0);
        prop_assert_eq!(inner_content_type(&plaintext), Some((kind, content.len())));
    }
}
