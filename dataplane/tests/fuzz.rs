//! The functions that cargo-fuzz runs without end, here on a bounded number of random scripts.
#![cfg(feature = "lab")]

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn stages(script in proptest::collection::vec(any::<u8>(), 0..6000)) {
        _ = drover_dataplane::fuzz::fuzz_stages(&script);
    }

    #[test]
    fn parsers(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        drover_wire::fuzz::fuzz_parsers(&bytes);
    }
}

/// Random scripts reach what they are meant to reach; otherwise the oracle has nothing to watch.
#[test]
fn scripts_reach_the_stages() {
    use drover_dataplane::drops::DropReason;
    use rand::{RngCore, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(3);
    let (mut drops, mut cells) = ([0u64; DropReason::COUNT], 0);
    for _ in 0..200 {
        let mut script = vec![0; 6000];
        rng.fill_bytes(&mut script);
        let counters = drover_dataplane::fuzz::fuzz_stages(&script);
        cells += counters.lab.cells_out;
        drops.iter_mut().zip(counters.drops).for_each(|(sum, n)| *sum += n);
    }
    let elsewhere = [
        DropReason::HopMac, // counted by the service thread
        DropReason::HandoffFull,
        DropReason::LinkFull, // the pool is smaller than its limit
        DropReason::LinkGone,
        DropReason::EndBroken,
        DropReason::EndReplay,
        DropReason::EndFull,
    ];
    assert!(cells > 300, "{cells} cells relayed");
    for reason in DropReason::ALL.iter().filter(|r| !elsewhere.contains(r)) {
        assert!(drops[*reason as usize] > 0, "no script reached {}: {drops:?}", reason.name());
    }
}

#[test]
fn the_oracle_sees_a_lost_frame() {
    use drover_dataplane::{rig::Rig, state::Sizes, terminal::NoTerminal, worker::Pace};
    let sizes = Sizes { links: 1, circuits: 1, pool: 8, transmit: 8 };
    let mut rig = Rig::<drover_crypto::reference::Reference, NoTerminal, 256>::new(NoTerminal, sizes, Pace::SPIN, 1);
    rig.turn(1);
    rig.worker.state.assert_conserved();
    rig.worker.state.pool.take();
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.worker.state.assert_conserved()));
    assert!(lost.is_err());
}
