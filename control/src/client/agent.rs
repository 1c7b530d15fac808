//! The agent: the thread that makes links, circuits and calls over the embedded data plane's control socket, and that
//! the user speaks to over a local socket (W-CAL-10).
//!
//! It is another thread than the pacing one, and asks it nothing: what a call costs here moves no departure (I9).

use super::brain::{Brain, CallEnd};
use super::config::AgentConfig;
use crate::call::calls::{CallConfig, CallEvent, Calls};
use crate::call::choice::{Choice, below, secure};
use crate::call::reach::Signalling;
use crate::circuit::builder::Builder;
use crate::link::{LinkConfig, Links};
use crate::local::{LocalSocket, Peer};
use crate::plane::socket::SocketPlane;
use crate::plane::{Now, Plane};
use crate::zone::{MixEntry, ZoneDocument, Zones};
use drover_dtls::certificate::{Certificate, Identity, Role};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The data plane's connection.
const PLANE: Token = Token(0);
/// The local socket's tokens begin here.
const LOCAL: usize = 1;
/// Things taken from the data plane before timers have their turn.
const PUNTS_A_TURN: usize = 256;
/// The longest sleep: an order to stop is noticed soon enough.
const NAP: Duration = Duration::from_millis(50);
/// After the order to stop: the last words leave, and their acknowledgements come.
const FAREWELL: Duration = Duration::from_millis(700);
/// Connections that take events.
const LISTENERS_MAX: usize = crate::local::CONNECTIONS_MAX;
/// The file in the state folder that keeps the mix that was drawn.
const MIX_FILE: &str = "mix";

/// The running agent. Dropping it hangs up, stops and joins it.
pub struct AgentThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the agent needs of its process.
pub struct Surroundings {
    /// The data plane's control socket.
    pub data_plane: std::path::PathBuf,
    /// The end that carries calls.
    pub end: CallEnd,
    /// The data plane's cell size, bytes.
    pub cell: usize,
}

impl AgentThread {
    /// Loads identity and documents, connects to the data plane, listens, and starts the thread. `notice` takes what the
    /// user should know, one line each.
    ///
    /// # Errors
    /// What is wrong and the mend.
    pub fn start(
        config: &AgentConfig,
        around: Surroundings,
        notice: impl FnMut(&str) + Send + 'static,
    ) -> Result<AgentThread, String> {
        let mut agent = Agent::prepare(config, around)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut notice = notice;
        let run = move || {
            if let Err(text) = agent.run(&stopped) {
                notice(&format!("calls stop: {text}"));
            }
        };
        let thread = thread::Builder::new().name("agent".to_owned()).spawn(run);
        Ok(AgentThread { stop, thread: Some(thread.map_err(|error| format!("agent thread: {error}"))?) })
    }

    /// True while it runs.
    pub fn alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed so.
            let _ = thread.join();
        }
    }
}

impl Drop for AgentThread {
    fn drop(&mut self) {
        self.halt();
    }
}

struct Agent {
    plane: SocketPlane,
    brain: Brain,
    local: LocalSocket,
    poll: Poll,
    listeners: Vec<Peer>,
}

impl Agent {
    fn prepare(config: &AgentConfig, around: Surroundings) -> Result<Agent, String> {
        let now = Now::read();
        let (identity, zones) = load(config, now.unix_s)?;
        let own = zones.own();
        if usize::from(own.cell) != around.cell {
            return Err(format!(
                "cell: {} bytes here, {} in zone {}: set cell = {}",
                around.cell, own.cell, own.zone, own.cell
            ));
        }
        make_folder(&config.state)?;
        let mix = choose_mix(config, own)?;
        let forced = match &config.lab_rendezvous {
            Some(name) => Some(named(own, name).map_err(|text| format!("lab_rendezvous: {text}"))?.certificate.id()),
            None => None,
        };
        let choice = Choice::load(&config.state)?;
        let links = LinkConfig { key_log: config.lab_key_log.clone(), ..LinkConfig::default() };
        let links = Links::new(Arc::clone(&identity), Arc::clone(&zones), links, now)?;
        let builder = Builder::new(identity.certificate().id(), Arc::clone(&zones), now);
        let signalling = Signalling::new(Arc::clone(&identity), Arc::clone(&zones), choice, forced);
        let calls = CallConfig { auto_answer: config.auto_answer };
        let calls = Calls::new(identity, Arc::clone(&zones), signalling, calls);
        let poll = Poll::new().map_err(|error| format!("cannot poll: {error}"))?;
        let local = LocalSocket::bind(&config.socket, poll.registry(), LOCAL)
            .map_err(|error| format!("socket {}: {error}", config.socket.display()))?;
        let mut plane = SocketPlane::connect(&around.data_plane).map_err(|error| error.to_string())?;
        let fd = plane.raw_fd();
        let registered = poll.registry().register(&mut SourceFd(&fd), PLANE, Interest::READABLE);
        registered.map_err(|error| format!("cannot poll: {error}"))?;
        let brain = Brain::begin(links, builder, calls, around.end, &mix, &mut plane.split().0, now);
        let brain = brain.map_err(|error| error.to_string())?;
        Ok(Agent { plane, brain, local, poll, listeners: Vec::new() })
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<(), String> {
        let Agent { plane, brain, local, poll, listeners } = self;
        let mut events = Events::with_capacity(64);
        let (mut requests, punts) = plane.split();
        let mut stop_at: Option<Instant> = None;
        while stop_at.is_none_or(|at| Instant::now() < at) {
            if stop.load(Ordering::Acquire) && stop_at.is_none() {
                stop_at = Some(Instant::now() + FAREWELL);
                let now = Now::read();
                brain.with(&mut requests, |calls, port| calls.stop(port, now));
            }
            let mut more = true;
            for _ in 0..PUNTS_A_TURN {
                match punts.take().map_err(|error| error.to_string())? {
                    Some(punt) => brain.on_punt(&mut requests, Now::read(), &punt),
                    None => {
                        more = false;
                        break;
                    }
                }
            }
            let now = Now::read();
            if punts.lost_more(now) {
                brain.on_loss(&mut requests, now).map_err(|error| error.to_string())?;
            }
            if more || brain.deadline().is_some_and(|due| due <= now.mono_ns) {
                brain.on_tick(&mut requests, now);
            }
            if let Some(error) = requests.gone() {
                return Err(error.to_string());
            }
            local.serve(poll.registry(), |peer, line| {
                Some(answer(line, peer, brain, &mut requests, listeners).to_string())
            });
            brain.settle(&mut requests, Now::read());
            while let Some(event) = brain.poll() {
                tell(local, listeners, &event);
            }
            let now = Now::read().mono_ns;
            let due = brain.deadline().map_or(NAP, |due| Duration::from_nanos(due.saturating_sub(now)));
            match poll.poll(&mut events, Some(if more { Duration::ZERO } else { due.min(NAP) })) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(format!("cannot poll: {error}")),
                _ => {}
            }
        }
        Ok(())
    }
}

fn tell(local: &mut LocalSocket, listeners: &[Peer], event: &CallEvent) {
    // Every event is plain data: it has a JSON form.
    let Ok(line) = serde_json::to_string(event) else { return };
    for peer in listeners {
        local.send(*peer, &line);
    }
}

/// Answers one line of the user's: `{"do":…}`.
fn answer(line: &str, peer: Peer, brain: &mut Brain, plane: &mut dyn Plane, listeners: &mut Vec<Peer>) -> Value {
    let request: Value = serde_json::from_str(line).unwrap_or(Value::Null);
    let now = Now::read();
    let done = match request["do"].as_str() {
        Some("status") => {
            return serde_json::to_value(brain.status(now)).unwrap_or_else(|error| refused(&error.to_string()));
        }
        Some("events") => {
            // Connections come and go: the oldest were the first to go.
            if listeners.len() >= LISTENERS_MAX {
                listeners.remove(0);
            }
            listeners.push(peer);
            Ok(())
        }
        Some("call") => match certificate(&request["certificate"]) {
            Ok(callee) => brain.with(plane, |calls, port| calls.call(port, now, &callee)),
            Err(text) => return refused(&text),
        },
        Some("answer") => brain.with(plane, |calls, port| calls.answer(port, now)),
        Some("reject") => brain.with(plane, |calls, port| calls.reject(port, now)),
        Some("hang_up") => brain.with(plane, |calls, port| calls.hang_up(port, now)),
        _ => {
            let known = ["status", "events", "call", "answer", "reject", "hang_up"];
            return json!({ "error": "no such request", "known": known.map(|name| json!({ "do": name })) });
        }
    };
    match done {
        Ok(()) => json!({ "ok": true }),
        Err(error) => refused(&error.to_string()),
    }
}

fn refused(text: &str) -> Value {
    json!({ "error": text })
}

/// PEM, or the path of a PEM file.
fn certificate(value: &Value) -> Result<Certificate, String> {
    let text = value.as_str().ok_or("certificate: a path or PEM, as a text")?;
    let read = match text.trim_start().starts_with("-----BEGIN") {
        true => Certificate::from_pem(text.as_bytes()),
        false => Certificate::load(Path::new(text)),
    };
    read.map_err(|error| format!("certificate: {error}"))
}

/// The identity and the documents, which must belong together.
fn load(config: &AgentConfig, unix_s: u64) -> Result<(Arc<Identity>, Arc<Zones>), String> {
    let identity = Identity::load(&config.identity).map_err(|error| format!("identity: {error}"))?;
    let certificate = identity.certificate();
    if certificate.role() != Role::Client {
        return Err(format!(
            "identity {}: this is no client's; make one with: drover zone client",
            config.identity.display()
        ));
    }
    let first = config.zones.first().ok_or("zones: the own zone's document comes first")?;
    let authority = ZoneDocument::authority_of(first).map_err(|error| format!("zones: {error}"))?;
    certificate.check(std::slice::from_ref(&authority), unix_s).map_err(|error| {
        format!("zones: {}: our certificate does not belong to that zone: {error}", first.display())
    })?;
    let zones = Zones::load(&config.zones, &authority, unix_s).map_err(|error| format!("zones: {error}"))?;
    Ok((Arc::new(identity), Arc::new(zones)))
}

fn named<'z>(zone: &'z ZoneDocument, name: &str) -> Result<&'z MixEntry, String> {
    zone.mixes.iter().find(|mix| mix.name == name).ok_or_else(|| {
        let names: Vec<_> = zone.mixes.iter().map(|mix| mix.name.as_str()).collect();
        format!("zone {} has no mix {name}; it has {}", zone.zone, names.join(", "))
    })
}

/// The mix of the configuration, or one drawn once and kept: a client that moved about would meet every mix in time.
fn choose_mix(config: &AgentConfig, zone: &ZoneDocument) -> Result<MixEntry, String> {
    if let Some(name) = &config.mix {
        return named(zone, name).cloned().map_err(|text| format!("mix: {text}"));
    }
    let file = config.state.join(MIX_FILE);
    let fail = |error: std::io::Error| format!("{}: {error}", file.display());
    let kept = match std::fs::read_to_string(&file) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    // A mix that left the zone is replaced.
    if let Some(mix) = kept.and_then(|id| zone.mixes.iter().find(|mix| mix.certificate.id().to_string() == id)) {
        return Ok(mix.clone());
    }
    let at = below(zone.mixes.len(), &mut secure).ok_or("the zone has no mix, or the system no randomness")?;
    let mix = zone.mixes[at].clone();
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&file).map_err(fail)?;
    writeln!(out, "{}", mix.certificate.id()).map_err(fail)?;
    Ok(mix)
}

fn make_folder(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("state {}: {error}", folder.display()))
}
