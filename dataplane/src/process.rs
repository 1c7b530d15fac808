//! From a configuration to running threads, and back to none.

use crate::command::{Command, Event};
use crate::config::{Config, Policy};
use crate::handoff::Handoff;
use crate::limits::{COMMAND_RING, HANDOFF_RING};
use crate::ports;
use crate::publish::{self, Publisher};
use crate::punt::{self, Punts};
use crate::run::{self, Rhythm};
use crate::service;
use crate::service::requests::{Service, WorkerEnds};
use crate::service::shadow::Shadow;
use crate::service::socket::{Allowed, Listener, Sockets};
use crate::state::State;
use crate::status::{Bound, Status};
use crate::terminal::Terminal;
use crate::worker::{ServiceEnds, Worker};
use drover_crypto::Suite;
use drover_crypto::backend::WithSuite;
use drover_nic::OpenError;
use drover_nic::any::AnyPort;
use drover_nic::ring::queue;
use drover_wire::cell::CellSize;
use drover_wire::control::BootId;
use mio::Waker;
use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

/// Why a data plane did not start.
#[derive(Debug)]
pub struct LaunchError {
    what: String,
    why: String,
    /// What a program ends with for this: 1, or what a port that cannot be opened says.
    pub exit_status: u8,
}

impl LaunchError {
    fn new(what: impl fmt::Display, why: impl fmt::Display) -> LaunchError {
        LaunchError { what: what.to_string(), why: why.to_string(), exit_status: 1 }
    }
}

impl From<OpenError> for LaunchError {
    fn from(error: OpenError) -> LaunchError {
        let OpenError { kind, what, why, mend } = error;
        LaunchError { what, why: format!("{why}; {mend}"), exit_status: kind.exit_status() }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for LaunchError {}

/// What the threads share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Keeps the first failure.
    fn fail(&self, text: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        self.failed.store(true, Ordering::Release);
    }
}

/// A running data plane. Dropping it stops it and removes its socket.
pub struct Running {
    boot: BootId,
    listens: Vec<SocketAddr>,
    socket: PathBuf,
    shared: Arc<Shared>,
    waker: Option<Arc<Waker>>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// This life.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Where each worker receives, with the ports that the system chose.
    pub fn listens(&self) -> &[SocketAddr] {
        &self.listens
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// True while every thread runs.
    pub fn alive(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    /// Why it is no longer alive.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops every thread, waits for them and removes the socket.
    pub fn stop(self) {}

    fn spawn(&mut self, name: String, body: impl FnOnce(&Shared) + Send + 'static) -> Result<(), LaunchError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.clone()).spawn({
            let name = name.clone();
            move || {
                // A thread that ends early, by a panic or else, is a failure of the process; it is for whoever owns
                // the process to say so, since the other threads' departures do not depend on it.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&shared))) {
                    shared.fail(format!("{name} panicked: {}", message_of(&*panic)));
                }
            }
        });
        self.threads.push(thread.map_err(|error| LaunchError::new(format!("thread {name}"), error))?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(waker) = &self.waker {
            // If it fails, the thread sees `stop` at the end of its patience.
            let _ = waker.wake();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Starts a mix's data plane: no circuit ends here.
///
/// Its code, a worker for each back end and cell size, is in this crate, once; [`launch`] has it made anew by whoever names
/// another terminal. Tests within this crate start none, and need not wait for it.
///
/// # Errors
/// As [`launch`].
#[cfg(not(test))]
#[inline(never)]
pub fn launch_mix(config: &Config) -> Result<Running, LaunchError> {
    launch(config, |_| crate::terminal::NoTerminal)
}

/// Starts a data plane. `terminals` makes the client's side of each worker, by its number; a mix's is
/// [`crate::terminal::NoTerminal`]. Returns when every worker turns and the socket answers.
///
/// # Errors
/// What could not be had: an address, a core, memory, the socket. Nothing is left running then.
pub fn launch<T: Terminal + 'static>(
    config: &Config,
    mut terminals: impl FnMut(u8) -> T,
) -> Result<Running, LaunchError> {
    config.crypto.backend.dispatch(Launch { config, terminals: &mut terminals })
}

/// [`launch`] with a back end and a cell size that the caller knows: code is made for these alone.
///
/// # Errors
/// As [`launch`], and when the configuration names another back end or cell size.
pub fn launch_of<C: Suite, T: Terminal + 'static, const S: usize>(
    config: &Config,
    mut terminals: impl FnMut(u8) -> T,
) -> Result<Running, LaunchError> {
    match (config.crypto.backend.name(), config.cell.bytes()) == (C::NAME, S) {
        true => start::<C, T, S>(config, &mut terminals),
        false => {
            Err(LaunchError::new("the configuration", format!("it is not for {} and cells of {S} bytes", C::NAME)))
        }
    }
}

/// [`launch`], with the back end.
struct Launch<'c, T> {
    config: &'c Config,
    /// Not generic: it is called once a worker, and code is made for each back end and cell size.
    terminals: &'c mut dyn FnMut(u8) -> T,
}

impl<T: Terminal + 'static> WithSuite for Launch<'_, T> {
    type Out = Result<Running, LaunchError>;
    fn with<C: Suite>(self) -> Self::Out {
        match self.config.cell {
            CellSize::S256 => start::<C, T, 256>(self.config, self.terminals),
            CellSize::S512 => start::<C, T, 512>(self.config, self.terminals),
            CellSize::S1024 => start::<C, T, 1024>(self.config, self.terminals),
        }
    }
}

fn start<C: Suite, T: Terminal + 'static, const S: usize>(
    config: &Config,
    terminals: &mut dyn FnMut(u8) -> T,
) -> Result<Running, LaunchError> {
    let mut boot = BootId::default();
    getrandom::fill(&mut boot.0).map_err(|error| LaunchError::new("random numbers of the system", error))?;
    let allowed = Allowed { own: rustix::process::geteuid().as_raw(), others: config.allow_uids.clone() };
    let socket_error = |error| LaunchError::new(format!("control.socket {}", config.socket.display()), error);
    let listener = Listener::bind(&config.socket, &allowed).map_err(socket_error)?;
    let (sockets, waker) = Sockets::new(listener, allowed).map_err(socket_error)?;

    let ports = ports::open(config)?;
    let listens: Vec<_> = ports.iter().map(AnyPort::local_addr).collect();
    let bound: Vec<_> = ports.iter().map(Bound::of).collect();
    let count = ports.len();
    let segment = publish::segment(count, config.sizes.links);
    let segment = Arc::new(segment.map_err(|error| LaunchError::new("shared memory for counters", error))?);

    let shared = Arc::default();
    let socket = config.socket.clone();
    let mut running =
        Running { boot, listens: listens.clone(), socket, shared, waker: Some(waker), threads: Vec::new() };
    let (ready, readies) = mpsc::channel();
    let mut ends = Vec::new();
    for (worker, (port, handoff)) in ports.into_iter().zip(Handoff::mesh(count, HANDOFF_RING)).enumerate() {
        let (commands, for_worker) = queue::<Command<C, T::End>>(COMMAND_RING);
        let (from_worker, events) = queue::<Event<C, T::End>>(COMMAND_RING);
        let (punts, punt_rings) = punt::rings();
        ends.push(WorkerEnds { commands, events, punts: punt_rings });
        let parts = Parts::<C, T, S> {
            worker: worker as u8,
            config: config.clone(),
            port,
            handoff,
            service: ServiceEnds { commands: for_worker, events: from_worker },
            punts,
            terminal: terminals(worker as u8),
            publisher: Publisher::new(Arc::clone(&segment), worker, count, config.sizes.links),
        };
        let ready = ready.clone();
        running.spawn(format!("drover-w{worker}"), move |shared| parts.run(shared, &ready))?;
    }
    drop(ready);
    let pool_bytes = wait_ready(&readies, count)?;

    let status = Status::new(boot, config, &listens, bound, pool_bytes, segment);
    let shadow = Shadow::new(config.sizes, config.window_ns(), listens);
    let service = Service::<C, T>::new(status, shadow, ends, config.horizon_ns());
    running.spawn("drover-service".to_owned(), move |shared| {
        if let Err(error) = service::run(service, sockets, &shared.stop) {
            shared.fail(format!("drover-service: {error}"));
        }
    })?;
    Ok(running)
}

/// Waits until every worker has its memory; the bytes of all pools.
fn wait_ready(readies: &mpsc::Receiver<Result<usize, LaunchError>>, workers: usize) -> Result<usize, LaunchError> {
    let mut bytes = 0;
    for _ in 0..workers {
        // A worker that panics drops its sender.
        bytes += readies.recv().unwrap_or_else(|_| Err(LaunchError::new("a worker", "it ended while it started")))?;
    }
    Ok(bytes)
}

/// What a worker's thread is started with. Its memory it makes itself, on its own core.
struct Parts<C: Suite, T: Terminal, const S: usize> {
    worker: u8,
    config: Config,
    port: AnyPort,
    handoff: Handoff<S>,
    service: ServiceEnds<C, T>,
    punts: Punts,
    terminal: T,
    publisher: Publisher,
}

impl<C: Suite, T: Terminal, const S: usize> Parts<C, T, S> {
    fn run(self, shared: &Shared, ready: &mpsc::Sender<Result<usize, LaunchError>>) {
        let Parts { worker, config, port, handoff, service, punts, terminal, mut publisher } = self;
        if let Err(error) = settle(&config, worker) {
            // Nobody listens any more when another worker failed first.
            let _ = ready.send(Err(error));
            return;
        }
        let state = State::<C, S>::new(worker, config.sizes, config.mixing, punts);
        #[cfg(feature = "lab")]
        let state = State { broken: config.lab_break, ..state };
        let _ = ready.send(Ok(state.bytes().0));
        let pacing = &config.pacings[usize::from(worker)];
        let rhythm = match pacing.policy {
            Policy::Spin => Rhythm::Spin,
            _ => Rhythm::Tick(config.tick_us * 1_000),
        };
        let mut worker = Worker::new(port, state, terminal, handoff, service, config.pace(pacing));
        run::run(&mut worker, rhythm, &shared.stop, &mut publisher);
    }
}

/// Takes the worker's core, and timers as exact as they come.
fn settle(config: &Config, worker: u8) -> Result<(), LaunchError> {
    if let Some(core) = config.workers[usize::from(worker)].core {
        let id = core_affinity::CoreId { id: usize::from(core) };
        if !core_affinity::set_for_current(id) {
            return Err(LaunchError::new(format!("worker[{worker}].core {core}"), "this process may not run there"));
        }
    }
    drover_nic::net::set_timer_slack(1).map_err(|error| LaunchError::new(format!("timers of worker {worker}"), error))
}
