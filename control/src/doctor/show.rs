//! Checks, for people and for programs.

use super::{Check, State};
use std::fmt::Write;

/// A line a check; why and the mend below those that are not OK.
pub fn text(checks: &[Check]) -> String {
    lines(checks.iter()) + &summary(checks) + "\n"
}

/// How many checks ended how, and below it all that is missing.
pub fn lacking(checks: &[Check]) -> String {
    summary(checks) + "\n" + &lines(checks.iter().filter(|check| check.state == State::Missing))
}

fn lines<'c>(checks: impl Iterator<Item = &'c Check> + Clone) -> String {
    let width = checks.clone().map(|check| check.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { id, state, found, needed, why, mend } in checks {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<8} {id:<width$}  {found}", state.name());
        if *state != State::Ok {
            let _ = writeln!(text, "{:9}needed  {needed}: {why}", "");
            if let Some(mend) = mend {
                let _ = writeln!(text, "{:9}mend    {mend}", "");
            }
        }
    }
    text
}

/// How many checks ended how.
fn summary(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    format!("{} OK, {} MISSING, {} UNKNOWN", count(State::Ok), count(State::Missing), count(State::Unknown))
}

/// The list of checks as JSON, with a line feed at its end.
pub fn json(checks: &[Check]) -> String {
    // Texts, a choice of three and an option serialize.
    serde_json::to_string_pretty(checks).expect("checks are plain texts") + "\n"
}
