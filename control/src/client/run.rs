//! From a configuration to a running client, and back to none.

use super::agent::{AgentThread, Surroundings};
use super::brain::CallEnd;
use super::config::ClientConfig;
use super::counters::ClientCounters;
use super::line::controlled_line;
use super::rtp_io::{RtpIo, RtpRules, RtpThread};
use super::terminal::ClientTerminal;
use drover_crypto::reference::CtrLayers;
use drover_dataplane::process::Running;
#[cfg(not(test))]
use drover_dataplane::process::launch;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What the command line adds to the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// RTP from any address; otherwise from this host only.
    pub allow_any: bool,
    /// Any datagram that fits; otherwise RTP version 2 only.
    pub raw: bool,
}

/// A running client: data plane and RTP thread. Dropping it stops both.
pub struct Client {
    // Fields are dropped in this order: nobody speaks into a data plane that is gone.
    agent: Option<(AgentThread, PathBuf)>,
    rtp: RtpThread,
    running: Running,
    rtp_ports: Vec<(u32, SocketAddr)>,
    counters: ClientCounters,
}

/// A function of its own, without a type to be filled in: what it calls is a worker for each back end and cell size, made here
/// and not by everybody who starts a client.
#[cfg(not(test))]
#[inline(never)]
fn start_data_plane(
    config: &ClientConfig,
    terminal: &mut dyn FnMut(u8) -> ClientTerminal<CtrLayers>,
) -> Result<Running, String> {
    launch(&config.data_plane, terminal).map_err(|error| error.to_string())
}

/// Tests within this crate start no client, and need not wait for its workers to be compiled; those in `tests/` do.
#[cfg(test)]
fn start_data_plane(_: &ClientConfig, _: &mut dyn FnMut(u8) -> ClientTerminal<CtrLayers>) -> Result<Running, String> {
    Err("a client within this crate's own tests".to_owned())
}

impl Client {
    /// Binds the RTP ports, then starts the data plane, and the agent where there is an identity. `notice` takes what the user should know, one line each.
    ///
    /// # Errors
    /// What could not be had: an address, a core, memory, the socket. Nothing is left running then.
    pub fn start(
        config: &ClientConfig,
        options: Options,
        notice: impl FnMut(&str) + Send + 'static,
    ) -> Result<Client, String> {
        let (mut inside, mut outside, mut control) = (Vec::new(), Vec::new(), Vec::new());
        for ports in &config.ends {
            let (pacing, rtp, words) = controlled_line(ports.end);
            control.push(CallEnd { control: words, counters: Arc::clone(pacing.counters()) });
            inside.push(pacing);
            outside.push((rtp, *ports));
        }
        let notice = Arc::new(Mutex::new(notice));
        let notices = || {
            let notice = Arc::clone(&notice);
            move |text: &str| notice.lock().unwrap_or_else(PoisonError::into_inner)(text)
        };
        let counters = inside.iter().map(|line| (line.id(), Arc::clone(line.counters()))).collect();
        let counters = ClientCounters::new(counters);
        let rules = RtpRules { cell: config.data_plane.cell, allow_any: options.allow_any, raw: options.raw };
        let io = RtpIo::bind(outside, rules, notices()).map_err(|error| error.to_string())?;
        let rtp_ports = io.listening();
        // One worker: it takes all lines.
        let mut lines = Some(inside);
        let mut terminal = |_| ClientTerminal::<CtrLayers>::new(lines.take().unwrap_or_default(), &counters);
        let running = start_data_plane(config, &mut terminal)?;
        let rtp = io.spawn().map_err(|error| format!("RTP thread: {error}"))?;
        let agent = match &config.agent {
            // The first end carries calls; the configuration is checked to have one.
            Some(agent) if !control.is_empty() => {
                let (data_plane, cell) = (running.socket().to_owned(), config.data_plane.cell.bytes());
                let around = Surroundings { data_plane, end: control.swap_remove(0), cell };
                Some((AgentThread::start(agent, around, notices())?, agent.socket.clone()))
            }
            _ => None,
        };
        Ok(Client { agent, rtp, running, rtp_ports, counters })
    }

    /// The embedded data plane.
    pub fn data_plane(&self) -> &Running {
        &self.running
    }

    /// Where each end takes RTP: its id and the bound address.
    pub fn rtp_ports(&self) -> &[(u32, SocketAddr)] {
        &self.rtp_ports
    }

    /// The counts so far.
    pub fn counters(&self) -> &ClientCounters {
        &self.counters
    }

    /// True while every thread runs.
    pub fn alive(&self) -> bool {
        self.running.alive() && self.rtp.alive() && self.agent.as_ref().is_none_or(|(agent, _)| agent.alive())
    }

    /// Why it is no longer alive.
    pub fn failure(&self) -> Option<String> {
        let rtp = || (!self.rtp.alive()).then(|| "the RTP thread ended".to_owned());
        let dead = self.agent.as_ref().is_some_and(|(agent, _)| !agent.alive());
        let agent = || dead.then(|| "the thread that makes calls ended".to_owned());
        self.running.failure().or_else(rtp).or_else(agent)
    }

    /// Stops everything and returns the counts.
    pub fn stop(self) -> ClientCounters {
        let Client { agent, rtp, running, counters, .. } = self;
        drop(agent);
        rtp.stop();
        running.stop();
        counters
    }

    /// One line for people: boot id, addresses, control socket.
    pub fn ready(&self) -> String {
        let (boot, socket) = (self.running.boot(), self.running.socket().display());
        let listens: Vec<_> = self.running.listens().iter().map(ToString::to_string).collect();
        let ports: Vec<_> = self.rtp_ports.iter().map(|(end, at)| format!("{end} on {at}")).collect();
        let rtp = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        let calls = self.agent.as_ref().map_or_else(String::new, |(_, at)| format!(", calls over {}", at.display()));
        format!("ready: boot {boot}, listening {}, control socket {socket}, RTP of end {rtp}{calls}", listens.join(" "))
    }

    /// The same for programs.
    pub fn ready_json(&self) -> serde_json::Value {
        let ports: Vec<_> =
            self.rtp_ports.iter().map(|(end, at)| serde_json::json!({ "end": end, "rtp_listen": at })).collect();
        serde_json::json!({
            "ready": true,
            "boot": self.running.boot().to_string(),
            "listens": self.running.listens(),
            "control_socket": self.running.socket().to_string_lossy(),
            "ends": ports,
            "socket": self.agent.as_ref().map(|(_, at)| at.to_string_lossy()),
        })
    }
}
