//! The loop of `drover-control`: one data plane, one local socket, one thread.
//!
//! A data plane that is gone takes its links with it: the daemon waits for the next life and begins anew. Its own end
//! takes nothing with it.

use super::brain::Brain;
use super::config::MixConfig;
use crate::local::LocalSocket;
use crate::plane::socket::SocketPlane;
use crate::plane::{Now, Plane, PlaneError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The data plane's connection.
const PLANE: Token = Token(0);
/// The local socket's tokens begin here.
const LOCAL: usize = 1;
/// Things taken from the data plane before timers have their turn.
const PUNTS_A_TURN: usize = 256;
/// The longest sleep: a signal is noticed soon enough.
const NAP: Duration = Duration::from_millis(50);
/// Between two attempts to reach the data plane.
const RETRY: Duration = Duration::from_millis(200);
/// How often waiting for the data plane is mentioned.
const MENTION: Duration = Duration::from_secs(5);

/// Runs until `stop`. `say` takes what the operator should know, one line each; the first line that begins with "ready"
/// comes once the data plane was reached.
///
/// # Errors
/// What cannot be had and the mend: the local socket, or an identity that the handshake library refuses.
pub fn run(config: &MixConfig, stop: &AtomicBool, mut say: impl FnMut(&str)) -> Result<(), String> {
    let poll = Poll::new().map_err(|error| format!("cannot poll: {error}"))?;
    let mut local = LocalSocket::bind(&config.control_socket, poll.registry(), LOCAL)
        .map_err(|error| format!("control_socket {}: {error}", config.control_socket.display()))?;
    let mut daemon = Daemon { config, poll, events: Events::with_capacity(64), since: Instant::now(), lives: 0 };
    while !stop.load(Ordering::Relaxed) {
        let Some(mut plane) = daemon.reach(&mut local, stop, &mut say)? else { break };
        match daemon.live(&mut plane, &mut local, stop, &mut say) {
            Ok(()) => break,
            Err(Ended::Plane(error)) => say(&format!("the data plane is gone: {error}; waiting for its next life")),
            Err(Ended::Fault(text)) => return Err(text),
        }
    }
    Ok(())
}

/// Why a life of the data plane is over for us.
enum Ended {
    Plane(PlaneError),
    Fault(String),
}

struct Daemon<'c> {
    config: &'c MixConfig,
    poll: Poll,
    events: Events,
    since: Instant,
    /// Lives of the data plane that were seen.
    lives: u64,
}

impl Daemon<'_> {
    /// Tries until the data plane answers; `None` when stopped first.
    fn reach(
        &mut self,
        local: &mut LocalSocket,
        stop: &AtomicBool,
        say: &mut impl FnMut(&str),
    ) -> Result<Option<SocketPlane>, String> {
        let mut mentioned: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            let error = match SocketPlane::connect(&self.config.data_plane) {
                Ok(plane) => return self.fits(plane).map(Some),
                Err(error) => error,
            };
            if mentioned.is_none_or(|at| at.elapsed() > MENTION) {
                mentioned = Some(Instant::now());
                say(&format!("waiting for the data plane: {error}"));
            }
            self.nap(RETRY).map_err(|error| error.to_string())?;
            local.serve(self.poll.registry(), |_, line| Some(answer(line, || json!({ "data_plane": null }))));
        }
        Ok(None)
    }

    fn fits(&self, mut plane: SocketPlane) -> Result<SocketPlane, String> {
        let cell = self.config.zones.own().cell;
        let has = plane.split().0.welcome().cell;
        if has != cell {
            let path = self.config.data_plane.display();
            return Err(format!("{path}: its cells have {has} bytes, the zone's {cell}; set `cell = {cell}` there"));
        }
        Ok(plane)
    }

    fn nap(&mut self, at_most: Duration) -> std::io::Result<()> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Serves one life of the data plane.
    fn live(
        &mut self,
        plane: &mut SocketPlane,
        local: &mut LocalSocket,
        stop: &AtomicBool,
        say: &mut impl FnMut(&str),
    ) -> Result<(), Ended> {
        let fd = plane.raw_fd();
        let fault = |error: std::io::Error| Ended::Fault(format!("cannot poll: {error}"));
        self.poll.registry().register(&mut SourceFd(&fd), PLANE, Interest::READABLE).map_err(fault)?;
        self.lives += 1;
        let (mut requests, punts) = plane.split();
        let boot = requests.welcome().boot;
        let MixConfig { identity, zones, links, .. } = self.config;
        let mut brain =
            Brain::begin(identity, zones, links.clone(), &mut requests, Now::read()).map_err(Ended::Fault)?;
        let adopted = brain.status().adopted_links;
        let socket = self.config.control_socket.display();
        say(&format!("ready: data plane boot {boot}, {adopted} links adopted, socket {socket}"));
        while !stop.load(Ordering::Relaxed) {
            let mut more = true;
            for _ in 0..PUNTS_A_TURN {
                match punts.take().map_err(Ended::Plane)? {
                    Some(punt) => brain.on_punt(&mut requests, Now::read(), &punt),
                    None => {
                        more = false;
                        break;
                    }
                }
            }
            let now = Now::read();
            if punts.lost_more(now) {
                brain.on_loss(&mut requests, now).map_err(Ended::Plane)?;
            }
            if more || brain.deadline().is_some_and(|due| due <= now.mono_ns) {
                brain.on_tick(&mut requests, now);
            }
            if let Some(error) = requests.gone() {
                return Err(Ended::Plane(error));
            }
            let uptime_s = self.since.elapsed().as_secs();
            let (lives, lost) = (self.lives, punts.lost());
            local.serve(self.poll.registry(), |_, line| {
                Some(answer(line, || {
                    json!({
                        "data_plane": boot.to_string(),
                        "data_plane_lives": lives,
                        "uptime_s": uptime_s,
                        "punts_lost": lost,
                        "totals": brain.status(),
                        "neighbours": brain.neighbours(),
                    })
                }))
            });
            let now = Now::read().mono_ns;
            let due = brain.deadline().map_or(NAP, |due| Duration::from_nanos(due.saturating_sub(now)));
            self.nap(if more { Duration::ZERO } else { due.min(NAP) }).map_err(fault)?;
        }
        Ok(())
    }
}

/// Answers one line of the local socket: `{"do":"status"}`.
fn answer(line: &str, status: impl FnOnce() -> serde_json::Value) -> String {
    let request: Result<serde_json::Value, _> = serde_json::from_str(line);
    let answer = match request.as_ref().ok().and_then(|request| request["do"].as_str()) {
        Some("status") => status(),
        _ => json!({ "error": "no such request", "known": [{ "do": "status" }] }),
    };
    answer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_an_answer() {
        let status = || json!({ "uptime_s": 7 });
        assert_eq!(answer("{\"do\":\"status\"}", status), "{\"uptime_s\":7}");
        for odd in ["", "{", "{\"do\":\"stop\"}", "[1]", "null"] {
            assert!(answer(odd, status).contains("no such request"), "{odd}");
        }
    }
}
