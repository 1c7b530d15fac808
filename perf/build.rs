//! Says what a binary was built from, for the host sheet: commit, compiler, profile. A tree without git builds too.

use std::io::Write;
use std::process::{Command, Stdio};

/// What a figure depends on besides the commit: a change here makes the commit be looked at again.
const SOURCES: &[&str] = &[
    "src",
    "benches",
    "../dataplane/src",
    "../dataplane/crypto/src",
    "../dataplane/wire/src",
    "../nic/src",
    "../control/src",
    "../control/dtls/src",
    "../Cargo.lock",
    "../Cargo.toml",
    "build.rs",
];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // What moves with every commit. Not the index: looking at the tree's status writes it.
    for name in ["HEAD", "logs/HEAD"] {
        let path = output("git", &["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rustc-env=DROVER_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=DROVER_RUSTC={rustc}");
    for (name, variable) in [("DROVER_OPT_LEVEL", "OPT_LEVEL"), ("DROVER_TARGET", "TARGET")] {
        println!("cargo::rustc-env={name}={}", std::env::var(variable).unwrap_or_default());
    }
}

/// The commit; of a tree with changes, `-dirty-` and a hash of them, so that two builds of equal trees are equal.
fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    let diff =
        Command::new("git").args(["diff", "HEAD", "--", ".."]).output().ok().filter(|done| done.status.success())?;
    if diff.stdout.is_empty() {
        return Some(commit);
    }
    let mut hash = Command::new("git")
        .args(["hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    hash.stdin.take()?.write_all(&diff.stdout).ok()?;
    let hash = String::from_utf8(hash.wait_with_output().ok()?.stdout).ok()?;
    Some(format!("{commit}-dirty-{}", hash.get(..8)?))
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
