//! Programs of this build as processes: found beside this one, started, waited for, and ended whatever happens.

use drover_nic::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of a child's standard error kept for an error message.
const TAIL: usize = 40;
/// Longest line kept, bytes.
const LINE_MAX: u64 = 4096;
/// Time that a child has to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Finds a program of this build: beside this executable, or one folder above it (tests run in target/debug/deps).
///
/// # Errors
///
/// Names the places and the mend.
pub fn find(program: &str) -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let folder = here.parent().unwrap_or(Path::new("."));
    let places = [Some(folder), folder.parent()];
    let found = places.iter().flatten().map(|place| place.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let folder = folder.display();
        format!("{program} is not beside this program in {folder}; run: make demo, or: cargo build --workspace --bins --features lab")
    })
}

/// One running process. Dropping it ends the process.
pub struct Process {
    name: String,
    child: Child,
    ready: Receiver<String>,
    errors: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it at once, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts `program CONFIG`.
    ///
    /// # Errors
    ///
    /// The system does not start it.
    pub fn start(name: &str, program: &Path, config: &Path) -> Result<Process, String> {
        Process::start_inside(name, program, config, None)
    }

    /// As [`Process::start`], in a network of its own.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn start_inside(
        name: &str,
        program: &Path,
        config: &Path,
        inside: Option<&Namespace>,
    ) -> Result<Process, String> {
        let mut command = Command::new(program);
        if let Some(inside) = inside {
            inside.start_inside(&mut command).map_err(|error| format!("{}: {error}", program.display()))?;
        }
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A demonstration's processes do not stay behind, however it ends.
        drover_nic::child::end_with_parent(&mut command, Signal::TERM);
        let mut child =
            command.spawn().map_err(|error| format!("{}: cannot be started: {error}", program.display()))?;
        let (tell, ready) = channel();
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(out) = child.stdout.take() {
            // Read to the end: a full pipe would hold the child up.
            thread::spawn(move || {
                lines(out, |line| {
                    if line.starts_with("ready") {
                        let _ = tell.send(line);
                    }
                });
            });
        }
        if let Some(err) = child.stderr.take() {
            let errors = Arc::clone(&errors);
            thread::spawn(move || {
                lines(err, |line| {
                    let mut kept = errors.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() == TAIL {
                        kept.pop_front();
                    }
                    kept.push_back(line);
                });
            });
        }
        Ok(Process { name: name.to_owned(), child, ready, errors })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// It ended before, or `deadline` came; with what it wrote.
    pub fn wait_ready(&mut self, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.ready.recv_timeout(left) {
            Ok(_) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(self.fault("was not ready in time; is the machine overloaded?")),
            Err(RecvTimeoutError::Disconnected) => {
                // Its output has ended: so will it, and its last words are being read.
                let _ = self.ended_by(Instant::now() + GRACE);
                Err(self.fault("ended before it was ready"))
            }
        }
    }

    /// Fails if the process has ended.
    ///
    /// # Errors
    ///
    /// With its status and what it wrote.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.fault(&format!("ended by itself ({status})"))),
            Err(error) => Err(format!("{}: cannot be watched: {error}", self.name)),
        }
    }

    /// What it wrote to standard error, the last lines.
    pub fn words(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn fault(&self, what: &str) -> String {
        let kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<_> = kept.iter().map(|line| format!("\n  {line}")).collect();
        let said = if said.is_empty() { " and wrote nothing to standard error".to_owned() } else { said.concat() };
        format!("{} (process {}) {what}{said}", self.name, self.child.id())
    }

    fn ended_by(&mut self, deadline: Instant) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => return true,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => return false,
            }
        }
    }

    fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }
}

/// Asked first, then killed, by its id.
impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.ask_to_end();
        if !self.ended_by(Instant::now() + GRACE) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks all to end before it waits for the first.
pub fn end_all(processes: &mut Vec<Process>) {
    for process in processes.iter_mut() {
        if matches!(process.child.try_wait(), Ok(None)) {
            process.ask_to_end();
        }
    }
    processes.clear();
}

fn lines(from: impl Read, mut each: impl FnMut(String)) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match (&mut from).take(LINE_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => each(crate::report::text::clean(String::from_utf8_lossy(&bytes).trim_end())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A script in place of a data plane.
    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("set");
        (dir, path)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_process_is_waited_for_and_ended() {
        let (_dir, path) = script("echo noise; echo 'ready: x'; exec sleep 600");
        let mut process = Process::start("m1", &path, Path::new("config")).expect("starts");
        process.wait_ready(soon()).expect("ready");
        process.check().expect("runs");
        let pid = Pid::from_raw(process.child.id() as i32).expect("a pid");
        let mut all = vec![process];
        end_all(&mut all);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
    }

    #[test]
    fn one_that_does_not_listen_to_signals_is_killed() {
        let (_dir, path) = script("trap '' TERM; echo ready; while true; do sleep 0.05; done");
        let mut process = Process::start("m1", &path, Path::new("config")).expect("starts");
        process.wait_ready(soon()).expect("ready");
        let pid = Pid::from_raw(process.child.id() as i32).expect("a pid");
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
    }

    #[test]
    fn one_that_fails_tells_why() {
        let (_dir, path) = script("echo 'cores: there is no core 9' >&2; exit 3");
        let mut process = Process::start("m2", &path, Path::new("config")).expect("starts");
        let error = process.wait_ready(soon()).expect_err("it fails");
        assert!(error.contains("m2") && error.contains("before it was ready"), "{error}");
        assert!(process.check().expect_err("ended").contains("exit status: 3"));
        assert!(Process::start("x", Path::new("/nowhere"), Path::new("c")).is_err());
    }

    #[test]
    fn a_program_that_lacks_has_a_mend() {
        assert!(find("drover-nothing").expect_err("lacks").contains("make demo"));
    }
}
