//! A lab network's nodes as processes of this machine: configurations, sockets and ports in a folder of their own, cores
//! assigned one after the other, everything ended and removed at the end.

use super::network::{Network, NodeKind};
use super::process::{Process, end_all, find};
use crate::demo::network::free_port;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time that all processes have to get ready.
const DEADLINE: Duration = Duration::from_secs(20);

/// The nodes of a network, running.
pub struct Host {
    /// By node, in the network's order.
    pub processes: Vec<Process>,
    /// Where each client takes RTP, by node; `None` for mixes.
    pub takes: Vec<Option<SocketAddr>>,
    configs: Vec<(PathBuf, PathBuf)>,
    // Removed last: fields are dropped in order.
    folder: RunFolder,
}

impl Host {
    /// Starts every node of `network`, whose socket paths are set here, with ticks of `tick_us`. `hears` says where a client
    /// sends what it hears.
    ///
    /// # Errors
    ///
    /// What could not be started and the mend. What was started is ended.
    pub fn start(
        network: &mut Network,
        tick_us: u64,
        hears: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Host, String> {
        let (mix, client) = (find("drover-dataplane")?, find("drover-client")?);
        let folder = RunFolder::make()?;
        for node in &mut network.nodes {
            node.socket = folder.0.join(format!("{}.sock", node.name));
        }
        let cores = cores();
        let mut next_core = 0;
        let mut host = Host { processes: Vec::new(), takes: Vec::new(), configs: Vec::new(), folder };
        for node in &network.nodes {
            let listens: Vec<_> = node
                .listen
                .iter()
                .map(|listen| {
                    next_core += 1;
                    (*listen, cores[(next_core - 1) % cores.len()])
                })
                .collect();
            let (program, takes, text) = match (node.kind, listens.first()) {
                (NodeKind::Mix, _) => (&mix, None, mix_config(network, &node.name, &node.socket, tick_us, &listens)),
                (NodeKind::Client, Some((listen, core))) => {
                    let takes = free_port(listen.ip())?;
                    let text =
                        client_config(network, &node.socket, tick_us, (*listen, *core), (takes, hears(&node.name)));
                    (&client, Some(takes), text)
                }
                (NodeKind::Client, None) => return Err(format!("node {}: listens nowhere", node.name)),
            };
            let path = host.folder.0.join(format!("{}.toml", node.name));
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            host.processes.push(Process::start(&node.name, program, &path)?);
            host.takes.push(takes);
            host.configs.push((program.clone(), path));
        }
        let deadline = Instant::now() + DEADLINE;
        host.processes.iter_mut().try_for_each(|process| process.wait_ready(deadline))?;
        Ok(host)
    }

    /// Starts a node again that has ended, on the same socket.
    ///
    /// # Errors
    ///
    /// As [`Host::start`].
    pub fn restart(&mut self, network: &Network, node: usize) -> Result<(), String> {
        let (program, config) = &self.configs[node];
        let mut process = Process::start(&network.nodes[node].name, program, config)?;
        process.wait_ready(Instant::now() + DEADLINE)?;
        self.processes[node] = process;
        Ok(())
    }

    /// Fails if a process has ended.
    ///
    /// # Errors
    ///
    /// Which, with its status and what it wrote.
    pub fn check(&mut self) -> Result<(), String> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// Ends all processes.
    pub fn end(&mut self) {
        end_all(&mut self.processes);
    }
}

/// A folder for sockets and configurations, removed at the end.
pub(crate) struct RunFolder(pub(crate) PathBuf);

impl RunFolder {
    /// A new one, for this user alone.
    pub(crate) fn make() -> Result<RunFolder, String> {
        let mut drawn = [0; 8];
        getrandom::fill(&mut drawn).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let path = std::env::temp_dir().join(format!("drover-lab-{:016x}", u64::from_le_bytes(drawn)));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            format!("{}: {error}; set TMPDIR to a folder that can be written, with a short path", path.display())
        })?;
        Ok(RunFolder(path))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The cores that this process may run on.
fn cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    let allowed =
        |set: rustix::thread::CpuSet| (0..rustix::thread::CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect();
    let cores: Vec<usize> = set.map(allowed).unwrap_or_default();
    if cores.is_empty() { vec![0] } else { cores }
}

fn mix_config(network: &Network, name: &str, socket: &Path, tick_us: u64, listens: &[(SocketAddr, usize)]) -> String {
    let (cell, socket) = (network.cell, quoted(socket));
    let crowd: u32 = network.crowds.iter().filter(|crowd| crowd.mix == name).map(|crowd| crowd.links).sum();
    let named = network.links.iter().filter(|link| link.a == name || link.b == name).count();
    let links = (named + crowd as usize + 8).max(64);
    let circuits = network.calls.len().max(64);
    let transmit = (4 * links).max(1024);
    let mut text = format!(
        "cell = {cell}\n\
         [control]\nsocket = {socket}\n\
         [pacing]\npolicy = \"tick\"\ntick_us = {tick_us}\n\
         [limits]\nlinks = {links}\ncircuits = {circuits}\ncells = 2048\ntransmit = {transmit}\n"
    );
    let mut taken = Vec::new();
    for (listen, core) in listens {
        text += &format!("[[worker]]\nlisten = \"{listen}\"\n");
        // A configuration names a core once: where there are fewer cores than workers, the system places the others.
        if !taken.contains(core) {
            taken.push(*core);
            text += &format!("core = {core}\n");
        }
    }
    text
}

fn client_config(
    network: &Network,
    socket: &Path,
    tick_us: u64,
    (listen, core): (SocketAddr, usize),
    (takes, hears): (SocketAddr, Option<SocketAddr>),
) -> String {
    let (cell, socket) = (network.cell, quoted(socket));
    let send_to = hears.map_or(String::new(), |hears| format!("rtp_send_to = \"{hears}\"\n"));
    format!(
        "cell = {cell}\ncontrol_socket = {socket}\nlisten = \"{listen}\"\ntick_us = {tick_us}\ncore = {core}\n\
         [[end]]\nend = 1\nrtp_listen = \"{takes}\"\n{send_to}"
    )
}

/// A path as TOML writes it.
pub(crate) fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::ClientConfig;
    use crate::lab::make::{Plan, network};
    use drover_dataplane::config::Config;

    #[test]
    fn configurations_are_what_the_programs_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("it's \"m1\".sock");
        let plan = Plan { mixes: 4, calls: 2, cell: 512, rate: 50, idle: 1000, workers: 2, ipv6: true };
        let network = network(&plan).expect("a network");
        let listens = [("[::1]:0".parse().expect("an address"), cores()[0]); 2];
        let config = Config::parse(&mix_config(&network, "m1", &socket, 500, &listens)).expect("sound");
        assert_eq!((config.socket, config.tick_us, config.workers.len()), (socket.clone(), 500, 2));
        assert!(config.sizes.links > 250 && config.workers[0].core.is_some());
        let takes = free_port(listens[0].0.ip()).expect("a port");
        let hears = free_port(listens[0].0.ip()).expect("a port");
        let text = client_config(&network, &socket, 500, listens[0], (takes, Some(hears)));
        let config = ClientConfig::parse(&text).expect("sound");
        let end = &config.ends[0];
        assert_eq!((config.data_plane.socket, end.listen, end.send_to), (socket, takes, Some(hears)));
    }

    #[test]
    fn the_run_folder_is_private_and_goes() {
        use std::os::unix::fs::MetadataExt;
        let folder = RunFolder::make().expect("made");
        let path = folder.0.clone();
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
