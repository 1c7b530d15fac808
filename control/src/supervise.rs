//! One mix's two processes kept alive: data plane and control daemon, as `drover run-mix` and the demo run them.
//!
//! Who depends on whom:
//!
//! - The **data plane** depends on nobody. It is a process group of its own, gets no parent-death signal and writes to no
//!   pipe of the supervisor: when supervisor or control daemon die, its departures go on. When it ends, its links and keys
//!   are gone, so that the control daemon is ended too and started after it.
//! - The **control daemon** ends (SIGTERM) when its supervisor does, however that ends: without one nobody would start it
//!   again, and two on one data plane would work against each other.
//! - A **new supervisor** looks before it starts anything. A data plane that answers at the configured socket is refused,
//!   with its process id, unless it was told to adopt: then that one is kept with all its links, watched by a pidfd, and
//!   ended with the rest. A control daemon that answers is never adopted: one on its way out is waited for, else refused.
//!
//! What dies is started again after a pause that doubles while it keeps dying. A data plane that fails too often in a row
//! ends the supervisor, for the service manager to see. A control daemon never does: its data plane is worth keeping.

mod config;
mod part;

pub use config::MixFiles;
pub use part::{Output, Part, daemon_answers, data_plane_answers};

use part::{Child, Handle};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time that a process has from its start until its socket answers.
const READY: Duration = Duration::from_secs(20);
/// Time between two looks whether a socket answers.
const PROBE: Duration = Duration::from_millis(50);
/// Time that a process has to end when asked.
const GRACE: Duration = Duration::from_secs(3);
/// Time that a control daemon of an ended supervisor has to go.
const LEAVING: Duration = Duration::from_secs(5);

/// When what died is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The first pause.
    pub first: Duration,
    /// The longest: pauses double up to it.
    pub longest: Duration,
    /// Who lived this long did not fail at its start: pauses begin anew.
    pub steady: Duration,
    /// A data plane that fails more often than this in a row is given up.
    pub failures: u32,
}

impl Default for Restart {
    fn default() -> Restart {
        let (first, longest, steady) = (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(60));
        Restart { first, longest, steady, failures: 8 }
    }
}

impl Restart {
    /// The pause before the start that follows failure number `failures`, from 1.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(self.longest)
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The mix, for messages.
    pub name: String,
    /// Its data plane.
    pub data_plane: Part,
    /// Its control daemon.
    pub control: Part,
    /// Pauses and limits of the data plane.
    pub data_plane_restart: Restart,
    /// Pauses of the control daemon.
    pub control_restart: Restart,
    /// Keep a data plane that runs already.
    pub adopt: bool,
    /// The data plane too ends with this process: for demonstrations, whose processes must not stay behind.
    pub all_end_with_parent: bool,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The data plane.
    DataPlane,
    /// The control daemon.
    Control,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Which::DataPlane => "data plane",
            Which::Control => "control daemon",
        }
    }
}

/// How far a process is.
enum State {
    /// To be started then.
    Down(Instant),
    /// Its socket does not answer yet.
    Starting { handle: Handle, since: Instant, probe: Instant },
    /// It runs.
    Up { handle: Handle, since: Instant },
}

struct Watched {
    part: Part,
    restart: Restart,
    state: State,
    /// In a row.
    failures: u32,
    /// All restarts.
    restarts: u32,
}

/// The two processes. Dropping it ends both.
pub struct Supervisor {
    name: String,
    data_plane: Watched,
    control: Watched,
    all_end_with_parent: bool,
    say: Box<dyn FnMut(&str) + Send>,
}

impl Supervisor {
    /// Looks who is there, and begins: the first processes start in [`Supervisor::turn`]. `say` takes what happens, a line
    /// each.
    ///
    /// # Errors
    /// Who is in the way, and the mend.
    pub fn new(plan: Plan, say: impl FnMut(&str) + Send + 'static) -> Result<Supervisor, String> {
        let now = Instant::now();
        let Plan { name, data_plane, control, data_plane_restart, control_restart, adopt, all_end_with_parent } = plan;
        let adopted = match (data_plane.answers(), adopt) {
            (None, _) => None,
            (Some(pid), true) => Some((pid, Handle::adopt(pid)?)),
            (Some(pid), false) => {
                let socket = data_plane.socket.display();
                return Err(format!(
                    "{name}: a data plane (process {pid}) answers at {socket} already; end it (kill {pid}), or keep it and its \
                     links with --adopt"
                ));
            }
        };
        wait_until_gone(&name, &control, now + LEAVING)?;
        let down = |part, restart| Watched { part, restart, state: State::Down(now), failures: 0, restarts: 0 };
        let mut all = Supervisor {
            name,
            data_plane: down(data_plane, data_plane_restart),
            control: down(control, control_restart),
            all_end_with_parent,
            say: Box::new(say),
        };
        if let Some((pid, handle)) = adopted {
            all.data_plane.state = State::Up { handle, since: now };
            all.tell(&format!("the data plane that runs already, process {pid}, is adopted with all its links"));
        }
        Ok(all)
    }

    /// Notices who ended, starts who is due; call it every 50 ms or so.
    ///
    /// # Errors
    /// The data plane failed too often; the control daemon is ended.
    pub fn turn(&mut self, now: Instant) -> Result<(), String> {
        if let Some(why) = self.ended(Which::DataPlane, now) {
            // Links and keys are gone: what the control daemon knows is of another life.
            if self.stop(Which::Control) {
                self.tell("the control daemon is ended: the data plane that it served is gone");
            }
            self.control.state = State::Down(now);
            let Watched { failures, restart, .. } = &self.data_plane;
            if *failures > restart.failures {
                let (name, failures) = (&self.name, *failures);
                return Err(format!("{name}: the data plane failed {failures} times in a row, at last: {why}"));
            }
        }
        self.ended(Which::Control, now);
        self.go_on(Which::DataPlane, now);
        if matches!(self.data_plane.state, State::Up { .. }) {
            self.go_on(Which::Control, now);
        }
        Ok(())
    }

    /// Whether both run and answer.
    pub fn ready(&self) -> bool {
        [&self.data_plane, &self.control].iter().all(|watched| matches!(watched.state, State::Up { .. }))
    }

    /// How often one was started again.
    pub fn restarts(&self, which: Which) -> u32 {
        self.watched(which).restarts
    }

    /// The process id of one, if there is one.
    pub fn pid(&self, which: Which) -> Option<u32> {
        match &self.watched(which).state {
            State::Down(_) => None,
            State::Starting { handle, .. } | State::Up { handle, .. } => Some(handle.pid()),
        }
    }

    /// Kills one as a crash would; the next [`Supervisor::turn`]s notice and mend it.
    pub fn kill(&mut self, which: Which) {
        if let State::Starting { handle, .. } | State::Up { handle, .. } = &self.watched(which).state {
            handle.signal(Signal::KILL);
        }
    }

    /// Ends both: the control daemon first, so that it sees no data plane go.
    pub fn end(&mut self) {
        self.stop(Which::Control);
        self.stop(Which::DataPlane);
    }

    /// What one wrote last, where it writes to a file.
    pub fn last_words(&self, which: Which) -> String {
        self.watched(which).part.last_words()
    }

    fn watched(&self, which: Which) -> &Watched {
        match which {
            Which::DataPlane => &self.data_plane,
            Which::Control => &self.control,
        }
    }

    fn watched_mut(&mut self, which: Which) -> &mut Watched {
        match which {
            Which::DataPlane => &mut self.data_plane,
            Which::Control => &mut self.control,
        }
    }

    fn tell(&mut self, text: &str) {
        let line = format!("{}: {text}", self.name);
        (self.say)(&line);
    }

    /// Notices that one has ended, or never got ready: why. Then it is down until its next start.
    fn ended(&mut self, which: Which, now: Instant) -> Option<String> {
        let watched = self.watched_mut(which);
        let (handle, since, starting) = match &mut watched.state {
            State::Down(_) => return None,
            State::Starting { handle, since, .. } => (handle, *since, true),
            State::Up { handle, since } => (handle, *since, false),
        };
        let why = match handle.ended() {
            Some(why) => why,
            None if starting && now.saturating_duration_since(since) > READY => {
                handle.stop(Duration::ZERO);
                format!("its socket did not answer within {} s", READY.as_secs())
            }
            None => return None,
        };
        let lived = now.saturating_duration_since(since);
        watched.failures = if lived >= watched.restart.steady { 1 } else { watched.failures + 1 };
        let pause = watched.restart.pause(watched.failures);
        watched.state = State::Down(now + pause);
        let words = watched.part.last_words();
        let (lived, pause, name) = (lived.as_secs_f64(), pause.as_secs_f64(), which.name());
        self.tell(&format!("the {name} ended after {lived:.1} s: {why}; it starts again in {pause:.1} s{words}"));
        Some(why)
    }

    /// Starts one that is due, and looks whether one that starts answers.
    fn go_on(&mut self, which: Which, now: Instant) {
        let with_parent = which == Which::Control || self.all_end_with_parent;
        let watched = self.watched_mut(which);
        match &mut watched.state {
            State::Down(due) if *due <= now => {
                let again = watched.failures > 0;
                match Child::start(&watched.part, with_parent) {
                    Ok(child) => {
                        watched.restarts += u32::from(again);
                        let pid = child.id();
                        watched.state = State::Starting { handle: Handle::Own(child), since: now, probe: now };
                        self.tell(&format!("the {} starts, process {pid}", which.name()));
                    }
                    Err(error) => {
                        watched.failures += 1;
                        let pause = watched.restart.pause(watched.failures);
                        watched.state = State::Down(now + pause);
                        let pause = pause.as_secs_f64();
                        self.tell(&format!("the {} cannot start: {error}; again in {pause:.1} s", which.name()));
                    }
                }
            }
            State::Starting { handle, since, probe } if *probe <= now => {
                *probe = now + PROBE;
                if watched.part.answers() != Some(handle.pid()) {
                    return;
                }
                let (since, pid) = (*since, handle.pid());
                let down = State::Down(now);
                if let State::Starting { handle, .. } = std::mem::replace(&mut watched.state, down) {
                    watched.state = State::Up { handle, since };
                }
                self.tell(&format!("the {} is ready, process {pid}", which.name()));
            }
            _ => {}
        }
    }

    /// Ends one and waits for it; false when there was none.
    fn stop(&mut self, which: Which) -> bool {
        let watched = self.watched_mut(which);
        match std::mem::replace(&mut watched.state, State::Down(Instant::now())) {
            State::Down(_) => false,
            State::Starting { mut handle, .. } | State::Up { mut handle, .. } => {
                handle.stop(GRACE);
                true
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

/// A control daemon that an ended supervisor left behind has been told to end: it has a moment.
fn wait_until_gone(name: &str, control: &Part, deadline: Instant) -> Result<(), String> {
    while let Some(pid) = control.answers() {
        if Instant::now() >= deadline {
            let socket = control.socket.display();
            return Err(format!(
                "{name}: a control daemon (process {pid}) answers at {socket} already; end it (kill {pid}): two would work \
                 against each other"
            ));
        }
        std::thread::sleep(PROBE);
    }
    Ok(())
}

/// Runs the mix that a file names until `stop` says so; then both processes are ended.
///
/// # Errors
/// What is wrong with the file, who is in the way, or that the data plane failed too often.
pub fn run(
    config: &Path,
    adopt: bool,
    stop: impl Fn() -> bool,
    say: impl FnMut(&str) + Send + 'static,
) -> Result<(), String> {
    let plan = MixFiles::load(config)?.plan(adopt)?;
    let mut supervisor = Supervisor::new(plan, say)?;
    while !stop() {
        supervisor.turn(Instant::now())?;
        std::thread::sleep(PROBE);
    }
    supervisor.end();
    Ok(())
}

#[cfg(test)]
mod tests;
