//! A test that cannot run on this machine says so past the test runner's capture, and is counted by `make test`.

use std::fmt::Display;
use std::io::Write;

/// Names the file to which each skip is added as a line; `make test` sets it, and tells the count.
pub const LOG: &str = "DROVER_SKIPPED";

/// Says on standard error, whatever the test runner captures, that a test is skipped and why.
pub fn skipped(why: impl Display) {
    let line = format!("SKIPPED: {why}\n");
    // A test cannot do more about it than to say it.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let log = std::env::var_os(LOG).and_then(|path| std::fs::File::options().create(true).append(true).open(path).ok());
    if let Some(mut log) = log {
        let _ = log.write_all(line.as_bytes());
    }
}
