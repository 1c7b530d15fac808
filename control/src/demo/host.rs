//! The demo's processes: four mixes, each under a supervisor of its own, and two clients. Whatever becomes of the demo,
//! all end with it.

use super::cast::{Cast, ClientFiles, MIXES, MixFiles};
use super::network::Network;
use crate::lab::process::{Process, end_all, find};
use crate::socket::ControlSocket;
use crate::supervise::{Output, Part, Plan, Restart, Supervisor, Which, daemon_answers, data_plane_answers};
use drover_nic::netns::Namespace;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time that all processes have to get ready.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a killed control daemon stays away.
pub const AWAY: Duration = Duration::from_secs(5);
/// Time in which a process that fails has ended.
const CAUSE: Duration = Duration::from_millis(500);
/// Lines of supervisors kept for an error message.
const TAIL: usize = 12;

/// All processes, running.
pub struct Host {
    mixes: Vec<(String, Supervisor)>,
    /// Restarts that the demo itself asked for, by mix: data plane, control daemon.
    asked: Vec<[u32; 2]>,
    clients: Vec<Process>,
    said: Arc<Mutex<Vec<String>>>,
    /// The network of each node that has one of its own.
    inside: Vec<Option<Arc<Namespace>>>,
}

impl Host {
    /// Starts the mixes and waits until they answer, then the clients likewise.
    ///
    /// # Errors
    /// What could not be started, with what it wrote. What was started is ended.
    pub fn start(cast: &Cast, network: &Network) -> Result<Host, String> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (data_plane, control) = (find("drover-dataplane")?, find("drover-control")?);
        let inside = (0..MIXES + cast.clients.len()).map(|node| network.host(node)).collect();
        let mut host = Host { mixes: Vec::new(), asked: Vec::new(), clients: Vec::new(), said, inside };
        for (node, mix) in cast.mixes.iter().enumerate() {
            let plan = plan(mix, network.host(node), data_plane.clone(), control.clone());
            let said = Arc::clone(&host.said);
            let supervisor = Supervisor::new(plan, move |line| {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push(line.to_owned());
            })?;
            host.mixes.push((mix.name.clone(), supervisor));
            host.asked.push([0; 2]);
        }
        let deadline = Instant::now() + DEADLINE;
        while !host.mixes.iter().all(|(_, mix)| mix.ready()) {
            host.turn()?;
            if Instant::now() > deadline {
                return Err(host.fault("the mixes were not ready in time; is the machine overloaded?"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let program = find("drover-client")?;
        for (client, ClientFiles { name, config, .. }) in cast.clients.iter().enumerate() {
            let inside = network.host(MIXES + client);
            host.clients.push(Process::start_inside(name, &program, config, inside.as_deref())?);
        }
        host.clients.iter_mut().try_for_each(|client| client.wait_ready(deadline))?;
        Ok(host)
    }

    /// Connections to all data planes: mixes, then clients, in the cast's order.
    ///
    /// # Errors
    /// One does not answer.
    pub fn connect(cast: &Cast) -> Result<Vec<ControlSocket>, String> {
        let paths = cast.mixes.iter().map(|mix| &mix.data_plane_socket);
        let paths = paths.chain(cast.clients.iter().map(|client| &client.data_plane_socket));
        paths.map(|path| ControlSocket::connect(path).map_err(|error| error.to_string())).collect()
    }

    /// Lets supervisors do their work; call it every 50 ms or so.
    ///
    /// # Errors
    /// A process ended that was not told to, with what it wrote.
    pub fn turn(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for at in 0..self.mixes.len() {
            let (name, mix) = &mut self.mixes[at];
            let turned = mix.turn(now);
            let asked = self.asked[at];
            let unasked =
                [Which::DataPlane, Which::Control].into_iter().zip(asked).find(|(w, n)| mix.restarts(*w) > *n);
            let fault = match (turned, unasked) {
                (Err(error), _) => error,
                (Ok(()), Some((which, _))) => format!("a process of {name} ended by itself{}", mix.last_words(which)),
                (Ok(()), None) => continue,
            };
            return Err(self.fault(&fault));
        }
        self.clients.iter_mut().try_for_each(Process::check)
    }

    /// Kills one of a mix's processes; its supervisor starts it again.
    pub fn kill(&mut self, mix: usize, which: Which) {
        self.asked[mix][usize::from(which == Which::Control)] += 1;
        if which == Which::DataPlane {
            // Its control daemon is started anew with it.
            self.asked[mix][1] += 1;
        }
        self.mixes[mix].1.kill(which);
    }

    /// Whether both processes of a mix are there.
    pub fn ready(&self, mix: usize) -> bool {
        self.mixes[mix].1.ready()
    }

    /// A process id of a mix, if that process is there.
    pub fn pid(&self, mix: usize, which: Which) -> Option<u32> {
        self.mixes[mix].1.pid(which)
    }

    /// Ends a client and starts it again; waits until it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_client(&mut self, cast: &Cast, client: usize) -> Result<(), String> {
        let files = &cast.clients[client];
        let old = self.clients.remove(client);
        drop(old);
        let inside = self.inside[MIXES + client].as_deref();
        let mut new = Process::start_inside(&files.name, &find("drover-client")?, &files.config, inside)?;
        let ready = new.wait_ready(Instant::now() + DEADLINE);
        self.clients.insert(client, new);
        ready
    }

    /// What supervisors said, and the clients' last words to standard error.
    pub fn words(&self) -> Vec<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().cloned().chain(self.clients.iter().flat_map(Process::words)).collect()
    }

    /// Ends all processes, clients first.
    pub fn end(&mut self) {
        end_all(&mut self.clients);
        self.mixes.clear();
    }

    /// Which process has ended, when something failed: it may take a moment.
    pub fn cause(&mut self) -> Option<String> {
        let deadline = Instant::now() + CAUSE;
        while Instant::now() < deadline {
            if let Err(error) = self.turn() {
                return Some(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// A failure, with what happened to processes before.
    pub fn fault(&self, what: &str) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let last = said.iter().rev().take(TAIL).rev();
        last.fold(what.to_owned(), |text, line| text + "\n  " + line)
    }
}

/// Clients before mixes, so that nobody sees a neighbour go.
impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

fn plan(mix: &MixFiles, inside: Option<Arc<Namespace>>, data_plane: PathBuf, control: PathBuf) -> Plan {
    let steady = Duration::from_secs(1);
    let away = Restart { first: AWAY, longest: AWAY, steady, failures: 0 };
    // What fails before it was ready would fail again: the demo ends at the first restart that it did not ask for.
    let at_once = Restart { first: Duration::from_millis(100), longest: AWAY, steady, failures: 1 };
    Plan {
        name: mix.name.clone(),
        data_plane: Part {
            program: data_plane,
            config: mix.data_plane.clone(),
            socket: mix.data_plane_socket.clone(),
            output: Output::File(mix.data_plane.with_extension("log")),
            answers: data_plane_answers,
            inside,
        },
        control: Part {
            program: control,
            config: mix.control.clone(),
            socket: mix.control_socket.clone(),
            output: Output::File(mix.control.with_extension("log")),
            answers: daemon_answers,
            inside: None,
        },
        data_plane_restart: at_once,
        control_restart: away,
        adopt: false,
        all_end_with_parent: true,
    }
}
