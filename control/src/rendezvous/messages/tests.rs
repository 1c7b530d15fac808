use super::*;
use proptest::prelude::*;

/// Decodes with every decoder of this module; what decodes must encode to the same bytes.
fn all_decoders(bytes: &[u8]) -> usize {
    let mut decoded = 0;
    let mut same = |again: Option<Vec<u8>>| {
        if let Some(again) = again {
            assert_eq!(again, bytes);
            assert!(bytes.len() <= MESSAGE_MAX);
            decoded += 1;
        }
    };
    macro_rules! each {
        ($($message:ty),*) => { $(same(<$message>::decode(bytes).ok().map(|message| message.encode()));)* };
    }
    each!(Registered, Lookup, LookupAnswer, SignalOut, SignalIn, Join, Joined, Failed);
    each!(News, Wanted, LinkLookup, LinkAnswer, LinkSignal, Splice, Spliced);
    decoded
}

fn filled(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8 | 1).collect()
}

#[test]
fn known_answers() {
    let failed = Failed { asked: 34, request: 0x0102_0304, reason: Reason::NoRoute };
    assert_eq!(failed.encode(), [34, 1, 2, 3, 4, 4]);
    let splice = Splice { token: Token([7; 16]), id: 0x8000_0001 };
    assert_eq!(splice.encode(), [&[7; 16][..], &[0x80, 0, 0, 1]].concat());
    let signal = LinkSignal {
        mix: NodeId([1; 16]),
        mailbox: SealedMailbox([2; SEALED_MAILBOX_BYTES]),
        relays: 1,
        sealed: vec![3; SIGNAL_BYTES],
    };
    assert_eq!(signal.encode(), [&[1; 16][..], &[2; SEALED_MAILBOX_BYTES], &[1], &[3; SIGNAL_BYTES]].concat());
    assert_eq!(News::Alive(vec![[5; 16]]).encode(), [&[1][..], &[5; 16]].concat());
}

#[test]
fn all_lengths() {
    // A message of each kind decodes at its length, and at no other.
    let mut lengths = Vec::new();
    for length in 0..=MESSAGE_MAX + 300 {
        if all_decoders(&filled(length)) > 0 {
            lengths.push(length);
        }
    }
    for length in [16, 17, 20, 32, 4 + ANSWER_BYTES, 8 + ANSWER_BYTES, 16 + SIGNAL_BYTES, 98 + SIGNAL_BYTES] {
        assert!(lengths.contains(&length), "{length}");
    }
    assert!(!lengths.contains(&(99 + SIGNAL_BYTES)));
    assert_eq!(lengths.last(), Some(&(98 + SIGNAL_BYTES)));
    assert!(Wanted::decode(&filled(16 * DIGESTS_MAX)).is_ok());
    assert!(Wanted::decode(&filled(16 * DIGESTS_MAX + 16)).is_err());
}

#[test]
fn ranges() {
    assert!(Splice::decode(&[0; 20]).is_err(), "circuit id 0 is none");
    assert!(Spliced::decode(&[2; 17]).is_err(), "a flag is 0 or 1");
    for reason in [0, 8, 255] {
        assert!(Failed::decode(&[1, 0, 0, 0, 0, reason]).is_err());
    }
    let mut signal = vec![0; 83 + SIGNAL_BYTES];
    signal[82] = RELAYS_MAX + 1;
    assert!(LinkSignal::decode(&signal).is_err());
    assert_eq!(format!("{:?}", Token([0xab; 16])), "Token(..)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_decodes_encodes_to_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all_decoders(&bytes);
    }

    #[test]
    fn at_the_right_lengths_too(seed: u8, length in prop::sample::select(vec![
        6, 16, 17, 20, 32, 148, 153, 4 + ANSWER_BYTES, 8 + ANSWER_BYTES, 16 + SIGNAL_BYTES, 83 + SIGNAL_BYTES,
        98 + SIGNAL_BYTES,
    ])) {
        let bytes: Vec<u8> = (0..length).map(|at| seed.wrapping_mul(at as u8 | 1) & 1).collect();
        all_decoders(&bytes);
    }
}
