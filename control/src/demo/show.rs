//! The demo while it runs: readings are taken, failures of processes noticed and killed ones watched, whatever it waits for.

use super::cast::Cast;
use super::host::Host;
use super::kill::Kill;
use super::phone::{DaemonStatus, Phone};
use super::report::{Report, Times};
use super::sampler::Sampler;
use super::stage::EVERY;
use super::topology::Topology;
use crate::link::class;
use crate::report::text::Progress;
use crate::socket::ControlSocket;
use crate::socket::reports::Status;
use std::io::Stderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time that all links have to be heard, and clients to be registered.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time that a call has to be up on both sides, or down again.
const CALL: Duration = Duration::from_secs(45);
/// The processes are looked at this often.
const LOOK: Duration = Duration::from_millis(50);

/// A call that is up.
pub struct CallUp {
    /// From the caller's wish to the call, ms.
    pub set_up_ms: Option<f64>,
    /// How long the slower of the two halves' circuits took to build, ms.
    pub circuit_ms: Option<f64>,
    /// What both sides show.
    pub sas: String,
}

/// The demo while it runs.
pub struct Show<'s> {
    begin: Instant,
    stop: &'s AtomicBool,
    /// Who plays.
    pub cast: &'s Cast,
    /// All processes.
    pub host: Host,
    sockets: Vec<ControlSocket>,
    /// Caller, callee.
    phones: [Phone; 2],
    /// All readings of links.
    pub sampler: Sampler,
    /// All links, once they are there.
    pub topology: Topology,
    /// The control daemon that is killed, if any.
    pub kill: Kill,
    /// Handshakes of daemons that were killed meanwhile, and renewals that they had done.
    gone: (Vec<f64>, u64),
    progress: &'s mut Progress<Stderr>,
}

impl<'s> Show<'s> {
    /// The show of a cast whose processes run.
    ///
    /// # Errors
    /// A data plane does not answer.
    pub fn new(
        cast: &'s Cast,
        host: Host,
        stop: &'s AtomicBool,
        progress: &'s mut Progress<Stderr>,
    ) -> Result<Show<'s>, String> {
        let [caller, callee] = [0, 1].map(|place| &cast.clients[place]);
        Ok(Show {
            begin: Instant::now(),
            stop,
            cast,
            host,
            sockets: Host::connect(cast)?,
            phones: [caller, callee].map(|client| Phone::new(&client.name, &client.socket)),
            sampler: Sampler::default(),
            topology: Topology { nodes: Vec::new(), links: Vec::new() },
            kill: Kill::default(),
            gone: (Vec::new(), 0),
            progress,
        })
    }

    /// Seconds since the show began.
    pub fn now(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Reads the links every half second until `until`, and at that instant.
    ///
    /// # Errors
    /// A process ended, a data plane does not answer, or a signal came.
    pub fn play_until(&mut self, until: f64, what: &str) -> Result<(), String> {
        loop {
            let at = self.now();
            self.read_links(at)?;
            let next = (at + EVERY).min(until);
            self.progress.update(&format!("{at:5.1} s  {what}, {:.0} s to go", (until - at).max(0.0).ceil()));
            while self.now() < next {
                self.look()?;
                let left = Duration::from_secs_f64((next - self.now()).max(0.0));
                thread::sleep(left.min(LOOK));
            }
            if self.now() >= until {
                let at = self.now();
                return self.read_links(at);
            }
        }
    }

    /// Notices what happened, and does what is due.
    fn look(&mut self) -> Result<(), String> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("stopped by a signal; the processes of the demo are ended".to_owned());
        }
        self.host.turn()?;
        let now = self.now();
        if let Some(mix) = self.kill.due(now) {
            // What the daemon has counted dies with it.
            if let Ok(status) = DaemonStatus::of(&self.cast.mixes[mix].control_socket) {
                self.gone.0.extend(status.handshakes_ms());
                self.gone.1 += status.rekeys();
            }
        }
        self.kill.turn(now, &mut self.host, self.cast);
        Ok(())
    }

    fn read_links(&mut self, at: f64) -> Result<(), String> {
        self.sampler.take(at, &mut self.sockets)?;
        if let Some(mix) = self.kill.watched() {
            let status = self.sockets[mix].status().map_err(|error| error.to_string())?;
            self.kill.read(at, &status);
        }
        Ok(())
    }

    fn find_links(&mut self) -> Result<Topology, String> {
        let dumps = self.sockets.iter_mut().map(|socket| socket.dump_links().map_err(|error| error.to_string()));
        let dumps = dumps.collect::<Result<Vec<_>, _>>()?;
        let class_name = |class: u16| match class {
            class::CLIENT => "client".to_owned(),
            class::ZONE => "zone".to_owned(),
            class::PAIR => "pair".to_owned(),
            other => other.to_string(),
        };
        Ok(Topology::of(&self.cast.known, &dumps, class_name))
    }

    /// Waits until all links are there and something has arrived over each in both directions.
    ///
    /// # Errors
    /// Which do not come.
    pub fn wait_for_links(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        let wanted = self.wanted_links();
        loop {
            self.look()?;
            let topology = self.find_links()?;
            let missing: Vec<_> =
                wanted.iter().filter(|(a, b)| !topology.linked(a, b)).map(|(a, b)| format!("{a}={b}")).collect();
            let at = self.now();
            self.sampler.take(at, &mut self.sockets)?;
            let silent = self.sampler.silent(&topology).join(", ");
            if missing.is_empty() && silent.is_empty() {
                self.sampler.samples.clear();
                self.topology = topology;
                return Ok(());
            }
            let (there, all) = (wanted.len() - missing.len(), wanted.len());
            let missing = if missing.is_empty() { silent } else { missing.join(", ") };
            if Instant::now() > deadline {
                let text = format!("no records over {missing}; does a packet filter drop UDP on loopback?");
                return Err(self.host.fault(&text));
            }
            self.progress.update(&format!("{at:5.1} s  links by handshake: {there} of {all}; waiting for {missing}"));
            thread::sleep(LOOK);
        }
    }

    /// Every pair of mixes, and each client with its first mix.
    fn wanted_links(&self) -> Vec<(String, String)> {
        let mixes = &self.cast.mixes;
        let mut wanted = Vec::new();
        for (at, mix) in mixes.iter().enumerate() {
            wanted.extend(mixes[at + 1..].iter().map(|other| (mix.name.clone(), other.name.clone())));
        }
        for (client, [first, _]) in self.cast.clients.iter().zip(self.cast.choices) {
            wanted.push((client.name.clone(), mixes[first].name.clone()));
        }
        wanted
    }

    /// Waits until both clients can be reached.
    ///
    /// # Errors
    /// Who cannot.
    pub fn wait_for_registrations(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.look()?;
            let mut missing = Vec::new();
            for (phone, client) in self.phones.iter().zip(&self.cast.clients) {
                if phone.status()?.registered().is_none() {
                    missing.push(client.name.as_str());
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            let missing = missing.join(" and ");
            if Instant::now() > deadline {
                return Err(self.host.fault(&format!("{missing}: not registered at a rendezvous mix in time")));
            }
            let at = self.now();
            self.progress.update(&format!("{at:5.1} s  {missing}: registering at a rendezvous mix"));
            thread::sleep(LOOK);
        }
    }

    /// The caller calls the callee, who answers by itself; waits until both are in the call and voices pass.
    ///
    /// # Errors
    /// The call does not come, or the two show different digits.
    pub fn call(&mut self) -> Result<CallUp, String> {
        self.phones[0].call(&self.cast.callee_certificate())?;
        let deadline = Instant::now() + CALL;
        loop {
            let [caller, callee] = [self.phones[0].status()?, self.phones[1].status()?];
            if [&caller, &callee].iter().all(|status| status.state() == "up") && self.hear_each_other()? {
                let sas = |status: &super::phone::PhoneStatus| status.sas().unwrap_or("none").to_owned();
                let (here, there) = (sas(&caller), sas(&callee));
                if here != there {
                    return Err(format!("the caller shows {here}, the callee {there}: somebody is between them"));
                }
                let circuits = [&caller, &callee].map(|status| status.circuit_ms());
                let circuit_ms = circuits.into_iter().flatten().reduce(f64::max);
                return Ok(CallUp { set_up_ms: caller.set_up_ms(), circuit_ms, sas: here });
            }
            let state = format!("caller: {}, callee: {}", caller.state(), callee.state());
            let over = caller.last().filter(|_| caller.state() == "idle").map(str::to_owned);
            if over.is_some() || Instant::now() > deadline {
                let why = over.map_or_else(String::new, |last| format!("; it ended: {last}"));
                return Err(self.host.fault(&format!("the call is not up ({state}){why}")));
            }
            self.play_until(self.now() + 0.05, &format!("the call goes up ({state})"))?;
        }
    }

    /// Who speaks before the other's cells come has not been connected yet.
    fn hear_each_other(&mut self) -> Result<bool, String> {
        let hears = |status: &Status| status.workers.iter().filter_map(|w| w.lab.as_ref()).any(|lab| lab.delivered > 0);
        Ok(self.statuses()?.iter().filter(|status| status.ends > 0).filter(|status| hears(status)).count() == 2)
    }

    /// The caller hangs up; waits until neither is in the call.
    ///
    /// # Errors
    /// The call does not end.
    pub fn hang_up(&mut self) -> Result<(), String> {
        self.phones[0].hang_up()?;
        let deadline = Instant::now() + CALL;
        while [self.phones[0].status()?, self.phones[1].status()?].iter().any(|status| status.state() != "idle") {
            if Instant::now() > deadline {
                return Err(self.host.fault("the call does not end"));
            }
            self.play_until(self.now() + 0.05, "the call goes down")?;
        }
        Ok(())
    }

    /// What links tell of themselves: handshakes and renewals.
    ///
    /// # Errors
    /// A daemon or a client does not answer.
    pub fn links_told(&mut self, report: &mut Report) -> Result<(), String> {
        let (mut times, mut rekeys) = self.gone.clone();
        for mix in &self.cast.mixes {
            let status = DaemonStatus::of(&mix.control_socket)?;
            times.extend(status.handshakes_ms());
            rekeys += status.rekeys();
        }
        for phone in &self.phones {
            let status = phone.status()?;
            times.extend(status.handshakes_ms());
            rekeys += status.rekeys();
        }
        (report.handshakes_ms, report.rekeys) = (Times::of(&times), rekeys);
        Ok(())
    }

    /// All data planes' totals: mixes, then clients.
    ///
    /// # Errors
    /// One does not answer.
    pub fn statuses(&mut self) -> Result<Vec<Status>, String> {
        self.sockets.iter_mut().map(|socket| socket.status().map_err(|error| error.to_string())).collect()
    }
}
