//! The counting itself: the same each time, and a stage that does more is seen to.

use drover_counts::baseline::{Baseline, RUSTC, Verdict};
use drover_counts::callgrind::{self, Counted, Failure};
use drover_counts::world::{Burden, Stage};
use std::path::Path;

fn count(burden: Burden) -> Option<Counted> {
    match callgrind::count(Path::new(env!("CARGO_BIN_EXE_drover-counts")), 1, burden) {
        Ok(counted) => Some(counted),
        Err(Failure::Lacking(why)) => {
            drover_nic::skip::skipped(format!("counting instructions: {why}"));
            None
        }
        Err(Failure::Wrong(why)) => panic!("{why}"),
    }
}

#[test]
fn counts_repeat_themselves_and_a_slower_stage_fails() {
    let Some(first) = count(Burden::default()) else { return };
    assert_eq!(count(Burden::default()), Some(first.clone()), "the same world, the same number");
    let baseline = Baseline::of(&first);
    assert!(baseline.compare(&first, RUSTC).passes());
    // Kernels are left out: half a thousand bytes are not sealed by so few instructions, whoever does it.
    assert!(first.of(Stage::Seal) > 10.0 && first.of(Stage::Seal) < 1_500.0, "{first:?}");
    let slower = count(Burden { stage: Some(Stage::Relay), loops: 5_000 }).expect("there was one");
    let compared = baseline.compare(&slower, RUSTC);
    assert!(!compared.passes());
    for line in compared.lines {
        let expected = if line.stage == Stage::Relay { Verdict::More } else { Verdict::Same };
        assert_eq!(line.verdict, expected, "{line:?}");
    }
}
