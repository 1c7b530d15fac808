//! Tests of [`super`].

use super::super::rtp::{FRAME_SAMPLES, Header, Sender, frames};
use super::*;
use proptest::prelude::*;

fn at(packet: usize) -> Duration {
    Duration::from_millis(1_000 + 20 * packet as u64)
}

/// `count` packets of distinct levels that G.711 carries exactly, and the samples in them.
fn stream(count: usize, sequence: u16, timestamp: u32) -> (Vec<Vec<u8>>, Vec<i16>) {
    let samples: Vec<i16> =
        (0..count * FRAME_SAMPLES).map(|n| Law::Mu.decode((n / FRAME_SAMPLES * 7 + n % 50) as u8)).collect();
    let mut sender = Sender::new(1, sequence, timestamp);
    (frames(&samples).map(|f| sender.packet(&f).to_vec()).collect(), samples)
}

#[test]
fn a_clean_stream_is_taken_down_whole() {
    let (packets, samples) = stream(50, 65_530, u32::MAX - 1_000);
    let mut recorder = Recorder::new();
    for (n, packet) in packets.iter().enumerate() {
        assert_eq!(recorder.push(at(n), packet), Outcome::Stored);
    }
    assert_eq!(recorder.samples(), samples);
    let want = Reception { received: 50, expected: 50, ..Reception::default() };
    let got = recorder.reception();
    assert!(got.jitter_ms < 1e-6);
    assert_eq!(Reception { jitter_ms: 0.0, ..got }, want);
    assert_eq!((recorder.late(0.001), recorder.unheard(50, 60.0)), (0, 0.0));
}

#[test]
fn loss_is_silence_and_repeats_and_strangers_are_ignored() {
    let (packets, samples) = stream(4, 9, 9);
    let mut recorder = Recorder::new();
    // The second packet arrives first; the third is lost.
    for (n, &which) in [1, 0, 3, 3].iter().enumerate() {
        recorder.push(at(n), &packets[which]);
    }
    let stranger = Sender::new(2, 9, 9).packet(&[1; 160]);
    assert_eq!(recorder.push(at(4), &stranger), Outcome::Refused(Refusal::Source));
    let mut video = packets[2].clone();
    video[1] = 96;
    assert_eq!(recorder.push(at(4), &video), Outcome::Refused(Refusal::PayloadType(96)));
    let error = RtpError::Short { length: 3, needed: 12 };
    assert_eq!(recorder.push(at(4), b"rtp"), Outcome::Refused(Refusal::Malformed(error)));

    let mut want = samples;
    want[320..480].fill(0);
    assert_eq!(recorder.samples(), want);
    let got = recorder.reception();
    assert_eq!((got.received, got.expected, got.lost), (3, 4, 1));
    assert_eq!((got.duplicates, got.reordered, got.refused), (1, 1, 3));
    assert_eq!(recorder.unheard(4, 1_000.0), 0.25);
    assert_eq!(recorder.unheard(6, 1_000.0), 0.5);
}

#[test]
fn late_packets_and_jitter_are_counted() {
    let (packets, _) = stream(3, 0, 0);
    let mut recorder = Recorder::new();
    for (packet, ms) in packets.iter().zip([100, 200, 140]) {
        recorder.push(Duration::from_millis(ms), packet);
    }
    // Transits 100, 180, 100 ms: differences of 80 and 80 ms.
    assert_eq!((recorder.late(60.0), recorder.late(81.0)), (1, 0));
    assert!((recorder.unheard(3, 60.0) - 1.0 / 3.0).abs() < 1e-12);
    let want = 5.0 + (80.0 - 5.0) / 16.0;
    assert!((recorder.reception().jitter_ms - want).abs() < 1e-9);
}

#[test]
fn a_wild_timestamp_costs_no_memory() {
    let (packets, _) = stream(2, 0, 50_000);
    let mut recorder = Recorder::new();
    recorder.push(at(0), &packets[0]);
    let header = Packet::parse(&packets[1]).expect("ours").header;
    let beyond = 50_000u32.wrapping_add(MAX_SAMPLES as u32);
    for timestamp in [50_000 - LEAD_SAMPLES as u32 - 1, beyond, u32::MAX / 2] {
        let mut wild = Header { timestamp, ..header }.to_bytes().to_vec();
        wild.extend_from_slice(&[0; 160]);
        assert_eq!(recorder.push(at(1), &wild), Outcome::Refused(Refusal::Timestamp), "{timestamp}");
    }
    assert_eq!(recorder.samples().len(), 160);
    // The stream goes on as if they had not come.
    assert_eq!(recorder.push(at(1), &packets[1]), Outcome::Stored);
    assert_eq!(recorder.samples().len(), 320);
}

#[test]
fn nothing_received_is_an_empty_recording() {
    let recorder = Recorder::new();
    assert!(recorder.samples().is_empty());
    assert_eq!(recorder.reception(), Reception::default());
    assert_eq!((recorder.late(60.0), recorder.unheard(0, 60.0), recorder.unheard(9, 60.0)), (0, 0.0, 1.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_with_repeats_gives_the_same_recording(
        order in prop::collection::vec(0usize..40, 1..120), sequence in any::<u16>(), timestamp in any::<u32>(),
    ) {
        let (packets, samples) = stream(40, sequence, timestamp);
        let mut recorder = Recorder::new();
        let mut want = vec![0; samples.len()];
        for (n, &which) in order.iter().enumerate() {
            recorder.push(at(n), &packets[which]);
            want[which * 160..][..160].copy_from_slice(&samples[which * 160..][..160]);
        }
        let (first, last) = (*order.iter().min().unwrap(), *order.iter().max().unwrap());
        prop_assert_eq!(recorder.samples(), &want[first * 160..(last + 1) * 160]);
        let got = recorder.reception();
        prop_assert_eq!(got.received + got.duplicates, order.len() as u64);
        prop_assert_eq!(got.expected, (last - first + 1) as u64);
    }

    #[test]
    fn any_packets_are_bounded_and_accounted_for(
        packets in prop::collection::vec(
            (any::<u16>(), prop_oneof![any::<u32>(), 0u32..20_000], 0u8..2, 0usize..400), 0..40),
    ) {
        let mut recorder = Recorder::new();
        let count = packets.len() as u64;
        for (n, (sequence, timestamp, payload_type, length)) in packets.into_iter().enumerate() {
            let header = Header { marker: false, payload_type: payload_type * 8, sequence, timestamp, ssrc: 5 };
            let mut bytes = header.to_bytes().to_vec();
            bytes.resize(12 + length, 0x55);
            recorder.push(at(n), &bytes);
        }
        let got = recorder.reception();
        prop_assert_eq!(got.received + got.duplicates + got.refused, count);
        prop_assert_eq!(got.lost + got.received, got.expected);
        prop_assert!(recorder.samples().len() <= MAX_SAMPLES + LEAD_SAMPLES);
    }
}
