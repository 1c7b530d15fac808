//! A lab network of real data planes in this process: programmed, called through, restarted, rekeyed.
#![cfg(feature = "lab")]

use drover_control::client::config::ClientConfig;
use drover_control::client::run::{Client, Options};
use drover_control::lab::crowd;
use drover_control::lab::make::{Plan, network};
use drover_control::lab::network::{Network, NodeKind};
use drover_control::lab::program::{ProgramError, Programmer, Summary};
use drover_control::lab::secret::FileSecret;
use drover_control::media::rtp::{Packet, Sender};
use drover_control::socket::ControlSocket;
use drover_dataplane::config::Config;
use drover_dataplane::process::{Running, launch_mix};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mix; port 0 is any.
fn mix(socket: &Path, listen: SocketAddr) -> Running {
    let text = format!(
        "cell = 256\n[control]\nsocket = {socket:?}\n[pacing]\npolicy = \"tick\"\ntick_us = 1000\n\
         [limits]\nlinks = 64\ncircuits = 64\ncells = 1024\ntransmit = 1024\n[[worker]]\nlisten = \"{listen}\"\n"
    );
    launch_mix(&Config::parse(&text).expect("sound")).expect("started")
}

/// A client with a softphone.
struct Party {
    // Dropped with the chain: it stops the client.
    _client: Client,
    phone: UdpSocket,
    rtp: SocketAddr,
}

impl Party {
    fn start(socket: &Path) -> Party {
        let phone = UdpSocket::bind("127.0.0.1:0").expect("a port");
        phone.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        let text = format!(
            "cell = 256\ncontrol_socket = {socket:?}\nlisten = \"127.0.0.1:0\"\n\
             [[end]]\nend = 1\nrtp_listen = \"127.0.0.1:0\"\nrtp_send_to = \"{}\"\n",
            phone.local_addr().expect("bound")
        );
        let config = ClientConfig::parse(&text).expect("sound");
        let client = Client::start(&config, Options::default(), |_| {}).expect("started");
        let rtp = client.rtp_ports()[0].1;
        Party { _client: client, phone, rtp }
    }
}

/// The demo's network, running.
struct Chain {
    network: Network,
    mixes: Vec<Running>,
    caller: Party,
    callee: Party,
    voice: Sender,
    _dir: tempfile::TempDir,
}

impl Chain {
    fn start(idle: u32) -> Chain {
        let dir = tempfile::tempdir().expect("a folder");
        let plan = Plan { mixes: 4, calls: 1, cell: 256, rate: 50, idle, workers: 1, ipv6: false };
        let mut network = network(&plan).expect("a network");
        network.nodes.iter_mut().for_each(|node| node.socket = dir.path().join(&node.name));
        let socket = |name: &str| dir.path().join(name);
        let mixes =
            network.nodes.iter().filter(|n| n.kind == NodeKind::Mix).map(|n| mix(&n.socket, n.listen[0])).collect();
        let (caller, callee) = (Party::start(&socket("caller")), Party::start(&socket("callee")));
        Chain { network, mixes, caller, callee, voice: Sender::new(1, 2, 3), _dir: dir }
    }

    fn program(&self, generation: u32, switch: bool) -> Result<Summary, ProgramError> {
        Programmer::connect(&self.network, generation)?.all(switch)
    }

    /// Says something every 20 ms until three packets, said after each other, have come out at the other end bit for bit.
    fn talk(&mut self, back: bool) {
        let (from, to) = if back { (&self.callee, &self.caller) } else { (&self.caller, &self.callee) };
        let begin = Instant::now();
        let (mut said, mut heard) = (Vec::new(), 0);
        let mut bytes = [0; 2048];
        while heard < 3 {
            assert!(begin.elapsed() < PATIENCE, "{} packets said, {heard} heard", said.len());
            let packet = self.voice.packet(&[said.len() as i16; 160]);
            said.push(packet);
            from.phone.send_to(&packet, from.rtp).expect("sent");
            let due = Instant::now() + Duration::from_millis(20);
            to.phone.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
            while Instant::now() < due {
                let Ok(length) = to.phone.recv(&mut bytes) else { break };
                Packet::parse(&bytes[..length]).expect("RTP comes out");
                // What an earlier conversation still had on its way is another's.
                heard += usize::from(said.iter().any(|packet| packet[..] == bytes[..length]));
            }
        }
    }

    /// A mix dies and lives again, under the same address or another.
    fn restart(&mut self, at: usize, same_address: bool) {
        let (socket, mut listen) = (self.mixes[at].socket().to_owned(), self.mixes[at].listens()[0]);
        if !same_address {
            listen.set_port(0);
        }
        self.mixes.remove(at).stop();
        self.mixes.insert(at, mix(&socket, listen));
    }

    fn drops(&self, name: &str) -> std::collections::BTreeMap<String, u64> {
        let node = &self.network.nodes[self.network.node(name).expect("there")];
        ControlSocket::connect(&node.socket).expect("listens").status().expect("a status").drops()
    }
}

#[test]
fn a_call_through_four_mixes_and_a_second_run_changes_nothing() {
    let mut chain = Chain::start(0);
    let first = chain.program(1, false).expect("programmed");
    assert_eq!(first, Summary { links_put: 5, calls: 1, ..Summary::default() });
    chain.talk(false);
    chain.talk(true);
    let second = chain.program(1, false).expect("again");
    assert_eq!(second, Summary { links_kept: 5, calls: 1, ..Summary::default() });
    chain.talk(false);
    // Nothing was refused as replayed or broken: numbers and windows were not touched.
    for name in ["caller", "m1", "m2", "m3", "m4", "callee"] {
        let drops = chain.drops(name);
        let bad: Vec<_> = drops.keys().filter(|r| ["record_tag", "end_broken", "bad_cell"].contains(&&***r)).collect();
        assert!(bad.is_empty(), "{name}: {drops:?}");
    }
}

#[test]
fn restarted_nodes_get_what_they_lack_and_their_peers_forget_dead_keys() {
    let mut chain = Chain::start(0);
    chain.program(1, false).expect("programmed");
    chain.talk(false);

    // m2 dies and lives again: both its links are put, both its peers give up the old ones, the call is made anew.
    chain.restart(1, true);
    let summary = chain.program(1, false).expect("programmed again");
    let want = Summary { links_put: 2, links_kept: 3, links_removed: 2, calls: 1, calls_removed: 1 };
    assert_eq!(summary, want);
    chain.talk(false);
    chain.talk(true);

    // The callee restarts, then two neighbours at once: their link is gone at both ends.
    let socket = chain.network.nodes[chain.network.node("callee").expect("there")].socket.clone();
    let Chain { callee, .. } = chain;
    drop(callee);
    let mut chain = Chain { callee: Party::start(&socket), ..chain };
    let summary = chain.program(1, false).expect("programmed again");
    assert_eq!((summary.links_put, summary.links_removed), (1, 1));
    chain.talk(false);
    chain.restart(2, true);
    chain.restart(3, false);
    let summary = chain.program(1, false).expect("programmed again");
    assert_eq!((summary.links_put, summary.links_removed, summary.links_kept), (3, 2, 2));
    chain.talk(true);
    assert_eq!(chain.program(1, false).expect("again").links_kept, 5);
}

#[test]
fn a_newer_generation_takes_over_without_a_break() {
    let mut chain = Chain::start(0);
    chain.program(1, false).expect("programmed");
    chain.talk(false);
    chain.program(2, false).expect("installed");
    chain.talk(false);
    chain.program(2, true).expect("switched");
    chain.talk(false);
    chain.talk(true);
    // A restart under the newer generation, programmed with a still newer one that survivors take for a rekey.
    chain.restart(0, true);
    chain.program(3, false).expect("programmed again");
    chain.talk(false);
    chain.talk(true);
    assert!(chain.drops("m2").get("record_tag").is_none_or(|n| *n < 50), "{:?}", chain.drops("m2"));
}

#[test]
fn a_file_changed_under_running_nodes_is_refused() {
    let mut chain = Chain::start(0);
    chain.program(1, false).expect("programmed");
    chain.talk(false);
    let secret = std::mem::replace(&mut chain.network.links[2].secret, FileSecret::random().expect("random"));
    let error = chain.program(1, false).expect_err("other keys").to_string();
    assert!(error.contains("m2=m3") && error.contains("neither end has restarted"), "{error}");
    // Nothing of it was touched: with the right file all is as it was.
    chain.network.links[2].secret = secret;
    assert_eq!(chain.program(1, false).expect("again").links_kept, 5);
    chain.talk(false);
}

#[test]
fn nodes_that_do_not_fit_the_file_are_told() {
    let mut chain = Chain::start(0);
    let told = |chain: &Chain| chain.program(1, false).expect_err("does not fit").to_string();
    chain.network.cell = 512;
    assert!(told(&chain).contains("256 bytes, the file says 512"));
    chain.network.cell = 256;
    let listen = chain.network.nodes[0].listen[0];
    chain.network.nodes[0].listen.push(listen);
    assert!(told(&chain).contains("it has 1 workers, the file says 2"));
    chain.network.nodes[0].listen.pop();
    let (mix, caller) = (chain.network.nodes[0].socket.clone(), chain.network.node("caller").expect("there"));
    let socket = std::mem::replace(&mut chain.network.nodes[caller].socket, mix);
    assert!(told(&chain).contains("this is a mix"));
    chain.network.nodes[caller].socket = socket;
    chain.network.nodes[1].socket = "/nowhere/m2".into();
    let error = told(&chain);
    assert!(error.contains("\"m2\"") && error.contains("/nowhere/m2"), "{error}");
}

#[test]
fn a_crowd_is_heard_and_goes() {
    let chain = Chain::start(80);
    chain.program(1, false).expect("programmed");
    let stop = AtomicBool::new(false);
    let report = crowd::play(&chain.network, 0, Duration::from_secs(2), &stop).expect("played");
    assert_eq!((report.links, report.broken), (20, 0));
    // 10 a second each way; a busy machine misses some.
    for rate in [report.received_rate, report.sent_rate] {
        assert!((5.0..=10.6).contains(&rate), "{report:?}");
    }
    assert!(report.received_rate_least > 0.0, "{report:?}");
    let mut socket = ControlSocket::connect(&chain.network.nodes[0].socket).expect("listens");
    assert_eq!(socket.status().expect("a status").links, 2, "the crowd's links are removed");
    // Another crowd is another life: its keys are new and nothing is a replay.
    let report = crowd::play(&chain.network, 0, Duration::from_millis(500), &stop).expect("played again");
    assert!(report.received > 0 && report.broken == 0, "{report:?}");
}
