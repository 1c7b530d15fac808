//! One process: how it is started, whether it answers, and how it ends.

use crate::socket::ControlSocket;
use drover_nic::netns::Namespace;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that a process has to answer on its socket, for a look.
const ANSWER: Duration = Duration::from_millis(500);
/// Bytes of a process's output that are told when it ended.
const WORDS: u64 = 2_000;
/// Lines of these.
const LINES: usize = 8;

/// Where a process writes. Never to a pipe: its reader's end would be the writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Where the supervisor writes: a terminal, or the journal.
    Inherit,
    /// To the end of this file.
    File(PathBuf),
}

/// A program with its configuration, and where it answers.
#[derive(Clone, Debug)]
pub struct Part {
    /// The program.
    pub program: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
    /// Where it writes.
    pub output: Output,
    /// The process id of who answers at the socket, if anybody does.
    pub answers: fn(&Path) -> Option<u32>,
    /// The network that it runs in; `None`: the supervisor's.
    pub inside: Option<Arc<Namespace>>,
}

/// Who answers at a data plane's control socket.
pub fn data_plane_answers(socket: &Path) -> Option<u32> {
    let mut asked = ControlSocket::connect(socket).ok()?;
    asked.set_timeout(ANSWER).ok()?;
    let pid = asked.peer()?;
    asked.hello().ok().map(|_| pid)
}

/// Who answers at a control daemon's own socket.
pub fn daemon_answers(socket: &Path) -> Option<u32> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let pid = socket_peercred(&stream).ok()?.pid;
    stream.write_all(b"{\"do\":\"status\"}\n").ok()?;
    let mut line = Vec::new();
    // Any line is an answer; what it says is for others.
    BufReader::new(stream).take(crate::local::UNREAD_MAX as u64).read_until(b'\n', &mut line).ok()?;
    line.ends_with(b"\n").then_some(pid.as_raw_pid() as u32)
}

impl Part {
    /// The process id of who answers at its socket.
    pub fn answers(&self) -> Option<u32> {
        (self.answers)(&self.socket)
    }

    /// The last lines that it wrote, where they can be had.
    pub fn last_words(&self) -> String {
        let Output::File(path) = &self.output else { return String::new() };
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(WORDS)))?;
            let mut bytes = Vec::new();
            file.take(WORDS).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().rev().take(LINES).map(crate::report::text::clean).collect();
        lines.iter().rev().map(|line| format!("\n  {line}")).collect()
    }
}

/// A process that we started.
pub(super) struct Child(std::process::Child);

impl Child {
    /// Starts a part; with `with_parent` it ends (SIGTERM) when this thread does.
    pub(super) fn start(part: &Part, with_parent: bool) -> Result<Child, String> {
        let mut command = Command::new(&part.program);
        command.arg(&part.config).stdin(Stdio::null());
        if let Output::File(path) = &part.output {
            let open = || File::options().create(true).append(true).open(path);
            let fail = |error| format!("{}: {error}", path.display());
            command.stdout(open().map_err(fail)?).stderr(open().map_err(fail)?);
        }
        if let Some(inside) = &part.inside {
            inside.start_inside(&mut command).map_err(|error| format!("{}: {error}", part.program.display()))?;
        }
        // A terminal's Ctrl-C is for the supervisor, which ends them in order.
        command.process_group(0);
        if with_parent {
            drover_nic::child::end_with_parent(&mut command, Signal::TERM);
        }
        command.spawn().map(Child).map_err(|error| format!("{}: {error}", part.program.display()))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

/// A process that is watched.
pub(super) enum Handle {
    /// Our child.
    Own(Child),
    /// Another's, or nobody's.
    Adopted(u32, OwnedFd),
}

impl Handle {
    /// A process that is no child of ours.
    pub(super) fn adopt(pid: u32) -> Result<Handle, String> {
        let fail = |error| format!("process {pid} cannot be watched: {error}");
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| fail("no process id".to_owned()))?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| fail(error.to_string()))?;
        Ok(Handle::Adopted(pid, fd))
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Handle::Own(child) => child.id(),
            Handle::Adopted(pid, _) => *pid,
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = match self {
            Handle::Own(child) => match i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                Some(pid) => kill_process(pid, signal),
                None => Ok(()),
            },
            Handle::Adopted(_, fd) => pidfd_send_signal(fd, signal),
        };
    }

    /// How it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self {
            Handle::Own(child) => match child.0.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(status.to_string()),
                Err(error) => Some(format!("it cannot be watched: {error}")),
            },
            Handle::Adopted(_, fd) => {
                use rustix::event::{PollFd, PollFlags, Timespec, poll};
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                // A pidfd can be read when its process has ended (pidfd_open(2)).
                let ready = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0);
                ready.then(|| "no child of ours, so that its status is not known".to_owned())
            }
        }
    }

    /// Asks it to end, waits for `grace`, then kills it.
    pub(super) fn stop(&mut self, grace: Duration) {
        if self.ended().is_some() {
            return;
        }
        if !grace.is_zero() {
            self.signal(Signal::TERM);
        }
        let deadline = Instant::now() + grace;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                self.signal(Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
