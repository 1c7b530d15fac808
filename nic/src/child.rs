//! Children that must not outlive their parent.

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the child sent `signal` when the thread that spawns it ends, however it ends (PR_SET_PDEATHSIG(2const)): call it
/// where the spawning thread lives as long as the process.
///
/// A program with privileges of its own file (set-user-ID, capabilities) loses this at its `execve`.
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    let parent = getpid();
    let hook = move || -> io::Result<()> { before_program(parent, signal) };
    // SAFETY: between fork and exec only async-signal-safe work is allowed: the hook makes two system calls by rustix,
    // which takes no lock and allocates nothing, and compares two numbers.
    unsafe { command.pre_exec(hook) };
}

fn before_program(parent: Pid, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    // The parent may have ended before the system knew what we want.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    #[test]
    fn a_child_ends_with_the_thread_that_spawned_it() {
        let (mut child, mut out) = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("600").stdout(Stdio::piped());
            end_with_parent(&mut command, Signal::KILL);
            let mut child = command.spawn().expect("starts");
            let out = child.stdout.take().expect("a pipe");
            (child, out)
        })
        .join()
        .expect("no panic");
        // The pipe ends with the child.
        assert_eq!(out.read(&mut [0]).expect("ends"), 0);
        assert!(!child.wait().expect("waited").success());
    }
}
