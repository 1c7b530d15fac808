//! Runs the world under callgrind and reads what was counted.
//!
//! Counting is on inside functions `measured_*` and off again inside functions `omitted_*`: callgrind toggles it where one
//! of either begins and ends. So a function's own instructions and those of what it calls are its stage's, kernels left out,
//! and all of them together are the total that callgrind tells, which is checked.

use crate::world::{Burden, Stage, Units, WARM_UP_FUNCTION};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// Instructions of each stage.
pub type Instructions = BTreeMap<Stage, u64>;

/// Why nothing was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no valgrind.
    Lacking(String),
    /// Something is wrong.
    Wrong(String),
}

/// What one run counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Instructions.
    pub instructions: Instructions,
    /// What they are divided by.
    pub units: Units,
}

impl Counted {
    /// Instructions of a stage for each of its units.
    pub fn of(&self, stage: Stage) -> f64 {
        let of = |all: &BTreeMap<Stage, u64>| all.get(&stage).copied().unwrap_or(0) as f64;
        of(&self.instructions) / of(&self.units)
    }
}

/// Runs `program run` (this crate's) under callgrind.
///
/// # Errors
/// No valgrind; or a run that failed, or whose counts do not add up.
pub fn count(program: &Path, rounds: u64, burden: Burden) -> Result<Counted, Failure> {
    let wrong = |what: &str, why: &dyn std::fmt::Display| Failure::Wrong(format!("{what}: {why}"));
    let folder = tempfile::tempdir().map_err(|error| wrong("a folder for callgrind's output", &error))?;
    let out = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--compress-strings=no", "--compress-pos=no", "--dump-line=no"]);
    command.args([
        "--toggle-collect=drover_counts::world::measured_*",
        "--toggle-collect=drover_counts::suite::omitted_*",
    ]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
    command.args(["run", "--rounds", &rounds.to_string()]);
    if let Some(stage) = burden.stage {
        command.args(["--burden", stage.name(), "--loops", &burden.loops.to_string()]);
    }
    // The C library copies memory by what the processor has: the same way on every machine.
    command.env(
        "GLIBC_TUNABLES",
        "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2_Usable,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM",
    );
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Lacking("valgrind is not installed (make deps)".to_owned()));
        }
        Err(error) => return Err(wrong("valgrind", &error)),
    };
    let units = units(&output).map_err(|why| wrong("the world under valgrind", &why))?;
    let text = std::fs::read_to_string(&out).map_err(|error| wrong("callgrind's output", &error))?;
    let instructions = read(&text).map_err(|why| wrong("callgrind's output", &why))?;
    Ok(Counted { instructions, units })
}

fn units(output: &Output) -> Result<Units, String> {
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// Reads a profile: the cost of each stage's function with what it calls, which with the warm-up add up to the total.
///
/// The format is in valgrind's manual, "Callgrind Format Specification": `fn=` begins a function's costs, a line each of
/// position and cost; after `calls=` the next such line is what the called function cost, with what it calls itself.
///
/// # Errors
/// A stage that was not called, a line that is none, or costs that do not add up.
pub fn read(text: &str) -> Result<Instructions, String> {
    let (mut costs, mut warm_up) = (Instructions::new(), 0);
    let (mut stage, mut warms_up, mut total) = (None, false, None);
    for (at, line) in text.lines().enumerate() {
        let number = |text: Option<&str>| -> Result<u64, String> {
            let number = text.and_then(|text| text.trim().parse().ok());
            number.ok_or_else(|| format!("line {}: {line:?} has no count", at + 1))
        };
        if let Some(name) = line.strip_prefix("fn=") {
            stage = Stage::ALL.into_iter().find(|stage| is_function(name, stage.function()));
            warms_up = is_function(name, WARM_UP_FUNCTION);
        } else if let Some(all) = line.strip_prefix("totals:") {
            total = Some(number(Some(all))?);
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = number(line.split(' ').nth(1))?;
            if let Some(stage) = stage {
                *costs.entry(stage).or_insert(0) += cost;
            }
            warm_up += if warms_up { cost } else { 0 };
        }
    }
    if let Some(stage) = Stage::ALL.iter().find(|stage| !costs.contains_key(stage)) {
        return Err(format!("{} was not seen: was it inlined, or are there no symbols?", stage.function()));
    }
    let (sum, total) = (costs.values().sum::<u64>() + warm_up, total.ok_or("it tells no total")?);
    if sum == total { Ok(costs) } else { Err(format!("stages add up to {sum} instructions, but {total} were counted")) }
}

/// Whether a name is a function's; a hash of the compiler's may follow.
fn is_function(name: &str, function: &str) -> bool {
    name.strip_prefix(function).is_some_and(|rest| rest.is_empty() || rest.starts_with("::h"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile(total: u64) -> String {
        let mut text =
            "version: 1\ncmd: x\npositions: line\nevents: Ir\nsummary: 9\n\nfl=a.rs\nfn=main\n0 0\n".to_owned();
        for (at, stage) in (1..).zip(Stage::ALL) {
            text += &format!(
                "fl=w.rs\nfn={}::h0123456789abcdef\n0 {at}\ncfi=r.rs\ncfn=inner\ncalls=7 0\n0 {}\n0 1\n\n",
                stage.function(),
                10 * at
            );
        }
        text += &format!("fn={WARM_UP_FUNCTION}\n0 5\n\n");
        // What is called has costs of its own, which its callers' lines hold already.
        text + &format!("fn=inner\n0 280\n\ntotals: {total}\n")
    }

    #[test]
    fn a_stage_is_its_own_cost_and_that_of_what_it_calls() {
        let total: u64 = (1..=7).map(|at| 11 * at + 1).sum::<u64>() + 5;
        let costs = read(&profile(total)).expect("is one");
        assert_eq!(costs[&Stage::Transmit], 12);
        assert_eq!(costs[&Stage::Turn], 78);
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        assert!(read(&profile(1)).expect_err("is wrong").contains("add up to 320 instructions, but 1"));
        let lacking = profile(320).replace("measured_mix", "elsewhere");
        assert!(read(&lacking).expect_err("is wrong").contains("measured_mix was not seen"));
        let cut = profile(320).replace("0 70", "0 x");
        assert!(read(&cut).expect_err("is wrong").contains("has no count"));
        assert!(read("").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(lines in proptest::collection::vec("(fn=|cfn=|totals: |calls=|[0-9]{1,3} )?\\PC{0,12}", 0..20)) {
            let _ = read(&lines.join("\n"));
        }
    }
}
