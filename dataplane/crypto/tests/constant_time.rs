//! No branch and no index of a back end depends on a secret, shown by valgrind's memory checker.
//!
//! Memcheck follows which bytes were never given a value, through registers and memory, and reports a jump or an address
//! that depends on one; it lets such values be copied and computed with. So the bytes of keys and plaintexts are marked as
//! never given a value, and every kernel is run on them: what memcheck reports then is a jump or an address that depends on
//! a secret. (A. Langley, "ctgrind", 2010.)
//!
//! Valgrind knows neither VAES nor AVX-512. The wider instances of our kernel are the same source as `aesni`
//! (`src/kernel/mod.rs`), which runs here.
//!
//! A program of its own without a test runner: it starts itself under valgrind as a driver (`driver.rs`).

#[cfg(target_arch = "x86_64")]
#[path = "constant_time/driver.rs"]
mod driver;
#[cfg(target_arch = "x86_64")]
#[path = "constant_time/memcheck.rs"]
mod memcheck;

/// What `cargo test FILTER` is matched against.
const NAME: &str = "constant_time";

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [driver::ARGUMENT, part] => driver::run(part),
        _ if wanted(&arguments) => parent::run(),
        _ => std::process::ExitCode::SUCCESS,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    if wanted(&std::env::args().skip(1).collect::<Vec<_>>()) {
        drover_nic::skip::skipped("constant time: valgrind's requests are written for x86-64 only");
    }
}

/// Options of a test runner that have a value behind them.
const WITH_VALUE: [&str; 6] = ["--test-threads", "--skip", "--format", "--color", "--logfile", "-Z"];

/// Whether the arguments of a test runner ask for this.
fn wanted(arguments: &[String]) -> bool {
    let (mut filters, mut wanted, mut rest) = (0, 0, arguments.iter());
    while let Some(argument) = rest.next().map(String::as_str) {
        match argument {
            "--list" | "--ignored" => return false,
            _ if WITH_VALUE.contains(&argument) => _ = rest.next(),
            _ if argument.starts_with('-') => (),
            filter => {
                filters += 1;
                wanted += usize::from(NAME.contains(filter));
            }
        }
    }
    filters == 0 || wanted > 0
}

#[cfg(target_arch = "x86_64")]
mod parent {
    use crate::driver;
    use std::process::{Command, ExitCode, Stdio};

    /// Runs every part of the driver under valgrind: the back ends must pass, and what depends on secrets must not.
    pub(crate) fn run() -> ExitCode {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            drover_nic::skip::skipped(
                "constant time of the back ends: there is no valgrind here; `make deps` installs it",
            );
            return ExitCode::SUCCESS;
        }
        let mut good = true;
        for part in driver::PARTS {
            let program = std::env::current_exe().expect("this program");
            let output = Command::new("valgrind")
                .args(["--tool=memcheck", "--quiet", "--error-limit=no"])
                .arg(program)
                .args([driver::ARGUMENT, part.name])
                .envs(part.without.map(|features| ("OPENSSL_ia32cap", features)))
                .output()
                .expect("valgrind starts");
            let (says, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            print!("{says}");
            let expected = i32::from(!part.good);
            if output.status.code() != Some(expected) {
                good = false;
                println!("constant time, {}: {} instead of exit code {expected}\n{log}", part.name, output.status);
            }
        }
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
