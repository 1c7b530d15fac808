//! The stored counts, and what a new count is beside them.

use crate::callgrind::Counted;
use crate::world::Stage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The compiler that built this, as `rustc --version` says.
pub const RUSTC: &str = env!("DROVER_RUSTC");
/// How far a count may be from the baseline: by as much, and by [`SLACK`] instructions, other code moves a stage's.
pub const TOLERANCE: f64 = 0.04;
/// The same with another compiler, which makes other code of the same source.
pub const TOLERANCE_OTHER_COMPILER: f64 = 0.25;
/// Instructions that are nothing, whatever part of a stage they are.
pub const SLACK: f64 = 2.0;

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler.
    pub rustc: String,
    /// The architecture.
    pub arch: String,
    /// Instructions of each stage for each of its units.
    pub instructions: BTreeMap<Stage, f64>,
}

/// What a stage's count is beside the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// About as many.
    Same,
    /// More: something became slower.
    More,
    /// Fewer: the baseline should be recorded anew, or it will hide what becomes slower after.
    Fewer,
    /// It has none.
    New,
}

/// One stage beside the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The stage.
    pub stage: Stage,
    /// Instructions that are recorded.
    pub recorded: Option<f64>,
    /// Instructions now.
    pub now: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// A comparison of all stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The stages.
    pub lines: Vec<Line>,
    /// The share by which each may differ.
    pub tolerance: f64,
    /// What the baseline was recorded with, when it is another compiler.
    pub other_compiler: Option<String>,
}

impl Baseline {
    /// A baseline of what was counted now.
    pub fn of(counted: &Counted) -> Baseline {
        // Hundredths: more would say more than tolerances leave.
        let rounded = |stage| (stage, (counted.of(stage) * 100.0).round() / 100.0);
        let instructions = Stage::ALL.into_iter().map(rounded).collect();
        Baseline { rustc: RUSTC.to_owned(), arch: std::env::consts::ARCH.to_owned(), instructions }
    }

    /// Compares a count with it, built by the compiler `rustc`.
    pub fn compare(&self, counted: &Counted, rustc: &str) -> Comparison {
        let other_compiler = (self.rustc != rustc).then(|| self.rustc.clone());
        let tolerance = if other_compiler.is_some() { TOLERANCE_OTHER_COMPILER } else { TOLERANCE };
        let line = |stage| {
            let (recorded, now) = (self.instructions.get(&stage).copied(), counted.of(stage));
            let verdict = match recorded {
                None => Verdict::New,
                Some(recorded) if now > recorded * (1.0 + tolerance) + SLACK => Verdict::More,
                Some(recorded) if now < recorded * (1.0 - tolerance) - SLACK => Verdict::Fewer,
                Some(_) => Verdict::Same,
            };
            Line { stage, recorded, now, verdict }
        };
        Comparison { lines: Stage::ALL.into_iter().map(line).collect(), tolerance, other_compiler }
    }
}

impl Comparison {
    /// No stage became slower, and all have a baseline.
    pub fn passes(&self) -> bool {
        self.lines.iter().all(|line| matches!(line.verdict, Verdict::Same | Verdict::Fewer))
    }

    /// The table, and what to do.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{:<10}{:>12}{:>12}{:>9}  instructions for each\n", "stage", "recorded", "now", "change");
        for Line { stage, recorded, now, verdict } in &self.lines {
            let (was, change) = match recorded {
                Some(was) => (format!("{was:.1}"), format!("{:+.1} %", (now / was - 1.0) * 100.0)),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let mark = match verdict {
                Verdict::Same => "",
                Verdict::More => "  <- MORE",
                Verdict::Fewer => "  <- fewer",
                Verdict::New => "  <- not recorded",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:<10}{was:>12}{now:>12.1}{change:>9}  {}{mark}", stage.name(), stage.unit());
        }
        if let Some(rustc) = &self.other_compiler {
            let percent = 100.0 * self.tolerance;
            let _ = writeln!(
                text,
                "recorded with {rustc}, built with {RUSTC}: {percent:.0} % are allowed, not {:.0} %",
                100.0 * TOLERANCE
            );
        }
        let has = |verdict| self.lines.iter().any(|line| line.verdict == verdict);
        if has(Verdict::More) {
            text +=
                "A stage takes more instructions than it did: find out why, or record it (make counts) and say why.\n";
        }
        if has(Verdict::Fewer) {
            text += "A stage takes fewer instructions: record the new baseline (make counts), so that it stays so.\n";
        }
        if has(Verdict::New) {
            text += "A stage has no baseline: record it (make counts).\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callgrind::Instructions;
    use crate::world::Units;

    /// 1,000 instructions a unit in each stage but one.
    fn counted(other: Stage, instructions: u64) -> Counted {
        let all = |count: u64| Stage::ALL.into_iter().map(|stage| (stage, count)).collect::<Instructions>();
        let (mut counts, units): (_, Units) = (all(10_000), all(10));
        counts.insert(other, 10 * instructions);
        Counted { instructions: counts, units }
    }

    fn baseline() -> Baseline {
        Baseline::of(&counted(Stage::Mix, 1_000))
    }

    #[test]
    fn a_stage_that_became_slower_fails_and_no_other_does() {
        for stage in Stage::ALL {
            let slower = baseline().compare(&counted(stage, 1_050), RUSTC);
            assert!(!slower.passes());
            for line in &slower.lines {
                assert_eq!(line.verdict, if line.stage == stage { Verdict::More } else { Verdict::Same });
            }
            let text = slower.to_text();
            assert!(text.contains("+5.0 %") && text.contains("<- MORE") && text.contains("find out why"), "{text}");
        }
    }

    #[test]
    fn small_differences_are_none() {
        for now in [960, 1_000, 1_040] {
            let same = baseline().compare(&counted(Stage::Seal, now), RUSTC);
            assert!(same.passes() && same.lines.iter().all(|line| line.verdict == Verdict::Same), "{same:?}");
        }
        // One instruction in ten is not a slow-down by a tenth.
        let few = Baseline::of(&counted(Stage::Rest, 10));
        assert!(few.compare(&counted(Stage::Rest, 12), RUSTC).passes());
        assert!(!few.compare(&counted(Stage::Rest, 13), RUSTC).passes());
    }

    #[test]
    fn a_large_improvement_asks_for_a_new_baseline() {
        let better = baseline().compare(&counted(Stage::Relay, 800), RUSTC);
        assert!(better.passes());
        assert!(better.to_text().contains("record the new baseline (make counts)"));
        let kept = Baseline::of(&counted(Stage::Relay, 800));
        assert!(!kept.compare(&counted(Stage::Relay, 1_000), RUSTC).passes());
    }

    #[test]
    fn another_compiler_is_told_and_widens() {
        let other = baseline().compare(&counted(Stage::Seal, 1_200), "rustc 2.0.0");
        assert!(other.passes() && other.to_text().contains("25 % are allowed"), "{}", other.to_text());
        assert!(!baseline().compare(&counted(Stage::Seal, 1_300), "rustc 2.0.0").passes());
    }

    #[test]
    fn a_stage_without_a_baseline_fails() {
        let mut old = baseline();
        old.instructions.remove(&Stage::Mix);
        let compared = old.compare(&counted(Stage::Mix, 1_000), RUSTC);
        assert!(!compared.passes() && compared.to_text().contains("not recorded"));
    }

    #[test]
    fn it_is_read_back() {
        let text = serde_json::to_string_pretty(&baseline()).expect("writes");
        assert!(text.contains("\"transmit\": 1000.0") && text.contains("rustc"), "{text}");
        assert_eq!(serde_json::from_str::<Baseline>(&text).expect("reads"), baseline());
    }
}
