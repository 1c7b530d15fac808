//! What a test has to say past the test runner's capture: that it cannot run on this machine, and how a port's suite ended.
//! `make test` counts and repeats it.

use std::fmt::Display;
use std::io::Write;

/// Names the file to which each skip is added as a line; `make test` sets it, and tells the count.
pub const LOG: &str = "DROVER_SKIPPED";

/// Names the file to which each port's verdict is added as a line; `make test` sets it, and prints them at its end.
pub const PORTS: &str = "DROVER_PORTS";

/// Says on standard error, whatever the test runner captures, that a test is skipped and why.
pub fn skipped(why: impl Display) {
    say(LOG, &format!("SKIPPED: {why}\n"));
}

/// Says likewise how the suite of the port `name` ended: `PORT name PASS`, or, for an error, that it could not run here:
/// `PORT name SKIPPED why`, which also counts as a skip. To be called once all of the suite has passed: a check that fails
/// panics, and there is no verdict.
pub fn port_verdict(name: &str, verdict: Result<(), impl Display>) {
    match verdict {
        Ok(()) => say(PORTS, &format!("PORT {name} PASS\n")),
        Err(why) => {
            skipped(format_args!("port {name}: {why}"));
            say(PORTS, &format!("PORT {name} SKIPPED {why}\n"));
        }
    }
}

fn say(log: &str, line: &str) {
    // A test cannot do more about it than to say it.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let log = std::env::var_os(log).and_then(|path| std::fs::File::options().create(true).append(true).open(path).ok());
    if let Some(mut log) = log {
        let _ = log.write_all(line.as_bytes());
    }
}
