//! Tests of [`super`]: every format, every refusal, hostile files.

use super::*;
use proptest::prelude::*;

/// A file of one `fmt ` and one `data` chunk.
fn file(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let mut format = Vec::new();
    let align = channels * (bits / 8);
    let real_tag = if tag >= 0x100 { FORMAT_EXTENSIBLE } else { tag };
    format.extend_from_slice(&real_tag.to_le_bytes());
    format.extend_from_slice(&channels.to_le_bytes());
    format.extend_from_slice(&rate.to_le_bytes());
    format.extend_from_slice(&(rate.wrapping_mul(align as u32)).to_le_bytes());
    format.extend_from_slice(&align.to_le_bytes());
    format.extend_from_slice(&bits.to_le_bytes());
    if tag >= 0x100 {
        format.extend_from_slice(&22u16.to_le_bytes());
        format.extend_from_slice(&bits.to_le_bytes());
        format.extend_from_slice(&0u32.to_le_bytes());
        format.extend_from_slice(&(tag & 0xff).to_le_bytes());
        format.extend_from_slice(&GUID_TAIL);
    }
    riff(&[(b"fmt ", &format), (b"data", data)])
}

fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut out = b"RIFF\0\0\0\0WAVE".to_vec();
    for (id, content) in chunks {
        out.extend_from_slice(*id);
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        out.extend_from_slice(content);
        out.extend(std::iter::repeat_n(0, content.len() % 2));
    }
    out
}

fn refusal(file: &[u8]) -> (usize, String) {
    match decode(file) {
        Err(WavError::Format { offset, what, mend }) => {
            assert!(!mend.is_empty());
            (offset, what)
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_format_reads_the_same_three_values() {
    let want = [0.5, -1.0, 0.0];
    let float: Vec<u8> = want.iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
    let cases: [(u16, u16, Vec<u8>); 5] = [
        (FORMAT_PCM, 8, vec![192, 0, 128]),
        (FORMAT_PCM, 16, vec![0, 0x40, 0, 0x80, 0, 0]),
        (FORMAT_PCM, 24, vec![0, 0, 0x40, 0, 0, 0x80, 0, 0, 0]),
        (FORMAT_PCM, 32, vec![0, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 0, 0, 0]),
        (FORMAT_FLOAT, 32, float),
    ];
    for (tag, bits, data) in cases {
        for tag in [tag, tag | 0x100] {
            let wav = decode(&file(tag, 1, 16_000, bits, &data)).expect("reads");
            assert_eq!((wav.rate, wav.channels, wav.samples.as_slice()), (16_000, 1, &want[..]), "{tag:#x} {bits}");
        }
    }
}

#[test]
fn channels_are_averaged_and_floats_are_clamped() {
    let data: Vec<u8> = [4.0f32, -0.5, f32::MIN_POSITIVE, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
    let wav = decode(&file(FORMAT_FLOAT, 2, 8_000, 32, &data)).expect("reads");
    assert_eq!(wav.samples, [0.25, 0.125]);
}

#[test]
fn chunks_may_come_in_any_order_and_odd_lengths() {
    let plain = file(FORMAT_PCM, 1, 8_000, 8, &[128, 255, 0]);
    let format = plain[20..36].to_vec();
    let file = riff(&[(b"LIST", b"abc"), (b"data", &[128, 255, 0]), (b"junk", b""), (b"fmt ", &format)]);
    assert_eq!(decode(&file).expect("reads"), decode(&plain).expect("reads"));
}

#[test]
fn a_streamed_file_without_a_size_is_read_to_its_end() {
    let mut file = file(FORMAT_PCM, 1, 8_000, 16, &[1, 0, 2, 0, 3]);
    file[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    // Three whole samples: the odd byte and its padding happen to make the third.
    assert_eq!(decode(&file).expect("reads").to_8k(), [1, 2, 3]);
    file.pop();
    assert_eq!(decode(&file).expect("reads").to_8k(), [1, 2]);
}

#[test]
fn refusals_name_the_byte() {
    let good = file(FORMAT_PCM, 1, 8_000, 16, &[0; 8]);
    assert_eq!(refusal(b"").0, 0);
    assert_eq!(refusal(b"RF64\0\0\0\0WAVE").0, 0);
    assert_eq!(refusal(&good[..good.len() - 1]), (36, "chunk \"data\" says 8 bytes, 7 are there".into()));
    assert_eq!(refusal(&good[..36]), (36, "the file ends without a \"data\" chunk".into()));
    assert_eq!(refusal(&riff(&[(b"data", b"ab")])), (22, "the file ends without a \"fmt \" chunk".into()));
    assert_eq!(refusal(&file(FORMAT_PCM, 0, 8_000, 16, b"")).0, 22);
    assert_eq!(refusal(&file(FORMAT_PCM, 9, 8_000, 16, b"")).0, 22);
    assert_eq!(refusal(&file(FORMAT_PCM, 1, 7_999, 16, b"")).0, 24);
    assert_eq!(refusal(&file(FORMAT_PCM, 1, 192_001, 16, b"")).0, 24);
    assert_eq!(refusal(&file(FORMAT_PCM, 1, 8_000, 12, b"")).0, 20);
    assert_eq!(refusal(&file(FORMAT_FLOAT, 1, 8_000, 64, b"")).0, 20);
    assert_eq!(refusal(&file(7, 1, 8_000, 8, b"")).0, 20);
    let mut bad_align = good.clone();
    bad_align[32] = 4;
    assert_eq!(refusal(&bad_align).0, 32);
    let mut bad_guid = file(FORMAT_PCM | 0x100, 1, 8_000, 16, b"");
    bad_guid[50] = 1;
    assert_eq!(refusal(&bad_guid).0, 44);
    let nan: Vec<u8> = [0.0, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(refusal(&file(FORMAT_FLOAT, 1, 8_000, 32, &nan)).0, 48);
    let error = decode(&bad_align).unwrap_err().to_string();
    assert!(error.contains("byte 32") && error.contains("ffmpeg"), "{error}");
}

#[test]
fn a_file_on_disk_round_trips_and_a_missing_one_is_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("call.wav");
    let samples: Vec<i16> = (i16::MIN..=i16::MAX).step_by(7).collect();
    save(&path, &samples).expect("saved");
    assert_eq!(load(&path).expect("loaded"), samples);
    assert!(matches!(load(&dir.path().join("none.wav")), Err(WavError::Io(_))));
}

#[test]
fn the_header_written_is_the_canonical_one() {
    let bytes = encode(&[1, -2]).expect("short");
    assert_eq!(bytes.len(), 48);
    assert_eq!(&bytes[..4], b"RIFF");
    assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().unwrap()), 40);
    assert_eq!(&bytes[8..16], b"WAVEfmt ");
    assert_eq!(
        &bytes[16..40],
        [16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0, b'd', b'a', b't', b'a']
    );
    assert_eq!(&bytes[40..], [4, 0, 0, 0, 1, 0, 0xfe, 0xff]);
}

#[test]
fn a_tone_survives_from_cd_rate() {
    let data: Vec<u8> = (0..44_100)
        .flat_map(|n| {
            let x = (n as f64 * 1_000.0 / 44_100.0 * std::f64::consts::TAU).sin() * 16_000.0;
            let x = (x.round() as i16).to_le_bytes();
            [x[0], x[1], x[0], x[1]]
        })
        .collect();
    let got = decode(&file(FORMAT_PCM, 2, 44_100, 16, &data)).expect("reads").to_8k();
    assert_eq!(got.len(), 8_000);
    for (n, &x) in got.iter().enumerate().skip(400).take(7_200) {
        let want = (n as f64 / 8.0 * std::f64::consts::TAU).sin() * 16_000.0;
        assert!((x as f64 - want).abs() < 20.0, "sample {n}: {x}, {want}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_inside_itself(
        damage in prop::collection::vec((0usize..80, any::<u8>()), 1..6),
        cut in 0usize..100,
        channels in 1u16..=8,
        format in 0usize..5,
    ) {
        let (tag, bits) = [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32)][format];
        let mut bytes = file(tag | 0x100, channels, 48_000, bits, &[0; 96]);
        for (at, value) in damage {
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut);
        match decode(&bytes) {
            Ok(wav) => {
                prop_assert!(wav.samples.iter().all(|x| x.abs() <= 1.0));
                prop_assert!(wav.samples.len() <= bytes.len());
            }
            Err(WavError::Format { offset, .. }) => prop_assert!(offset <= bytes.len()),
            Err(WavError::Io(error)) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn written_files_read_back_bit_for_bit(samples in prop::collection::vec(any::<i16>(), 0..500)) {
        let wav = decode(&encode(&samples).expect("short")).expect("reads");
        prop_assert_eq!((wav.rate, wav.channels), (8_000, 1));
        prop_assert_eq!(wav.to_8k(), samples);
    }
}
