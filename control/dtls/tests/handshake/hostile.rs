//! Datagrams of anybody.

use crate::network::{Lossy, Random, Zone, shake};
use drover_dtls::handshake::{Context, Handshake, Progress, Side};
use proptest::prelude::*;
use std::sync::LazyLock;

/// What was sent: (from, datagram).
type Sent = Vec<(usize, Vec<u8>)>;

/// Every datagram of a handshake, and the two contexts. Making keys is slow, so all cases share one.
static RECORDED: LazyLock<(Context, Context, Sent)> = LazyLock::new(|| {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let mut link = Lossy::new(1, 0);
    shake(&a, &b, 500, &mut link);
    (a, b, link.sent)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever state, nobody panics, and what goes out stays in bounds.
    #[test]
    fn hostile_datagrams_are_errors_or_nothing(
        steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>(), any::<u64>()), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (a, b, recorded) = &*RECORDED;
        let mut ends = [
            Handshake::new(a, Side::Client, 500).expect("a handshake"),
            Handshake::new(b, Side::Server, 500).expect("a handshake"),
        ];
        for (what, which, seed) in steps {
            let mut random = Random(seed | 1);
            let to = random.below(2) as usize;
            let mut datagram = match what {
                // What the other side really says, or said in another handshake.
                0 | 1 => ends[1 - to].output().unwrap_or_else(|| which.get(recorded).1.clone()),
                2 => which.get(recorded).1.clone(),
                _ => noise.clone(),
            };
            if what != 0 && !datagram.is_empty() {
                for _ in 0..random.below(4) {
                    let at = random.below(datagram.len() as u64) as usize;
                    datagram[at] ^= 1 << random.below(8);
                }
                datagram.truncate(1 + random.below(datagram.len() as u64) as usize);
                // The first byte chooses the parser.
                if what == 3 {
                    datagram[0] = [20, 21, 22, 26, 0x2b, 0x2d, 0x2e, 0x2f, 0x3f][random.below(9) as usize];
                }
            }
            let _ = ends[to].input(&datagram);
            let _ = ends[to].on_timeout();
            let out: Vec<_> = std::iter::from_fn(|| ends[to].output()).collect();
            prop_assert!(out.len() <= 64 && out.iter().all(|datagram| datagram.len() <= 500));
            for datagram in out {
                let _ = ends[1 - to].input(&datagram);
            }
        }
    }

    /// Garbage that does not look like a plaintext record changes nothing.
    #[test]
    fn garbage_in_between_does_no_harm(
        garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
    ) {
        let (a, b, _) = &*RECORDED;
        let mut ends = [
            Handshake::new(a, Side::Client, 1400).expect("a handshake"),
            Handshake::new(b, Side::Server, 1400).expect("a handshake"),
        ];
        let mut progress = [Progress::More; 2];
        while progress != [Progress::Done; 2] {
            let before = progress;
            for from in [0, 1] {
                for datagram in std::iter::from_fn(|| ends[from].output()).collect::<Vec<_>>() {
                    for garbage in &garbage {
                        let mut garbage = garbage.clone();
                        if let Some(first) = garbage.first_mut() {
                            *first |= 0x20;
                        }
                        prop_assert_eq!(ends[1 - from].input(&garbage), Ok(progress[1 - from]));
                    }
                    let now = ends[1 - from].input(&datagram);
                    prop_assert!(now.is_ok());
                    progress[1 - from] = now.expect("checked");
                }
            }
            prop_assert!(progress != before || progress == [Progress::More; 2]);
        }
    }
}
