//! A data plane on loopback, and a client of its control socket.
#![allow(dead_code, reason = "each test takes what it needs")]

use drover_crypto::reference::Reference;
use drover_dataplane::config::Config;
use drover_dataplane::process::{Running, launch_mix, launch_of};
use drover_dataplane::terminal::Terminal;
use drover_wire::control::{
    Address, BootId, ClassKind, Direction, Leg, LinkEnd, MAX_MESSAGE, Owner, Peer, Punt, PutCircuit, PutClass, PutLink,
    REQUEST_MAX, Refusal, Reply, Request, Secret, Welcome,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The round of all test classes.
pub const ROUND_NS: u64 = 20_000_000;

/// A data plane with a directory of its own.
pub struct Plane {
    pub running: Running,
    pub client: Client,
    pub dir: TempDir,
}

impl Plane {
    pub fn start(extra: &str) -> Plane {
        Plane::of_workers(extra, 1)
    }

    pub fn of_workers(extra: &str, workers: usize) -> Plane {
        let dir = tempfile::tempdir().expect("a directory");
        let running = launch_mix(&config(dir.path(), extra, workers)).expect("starts");
        let client = Client::connect(running.socket()).expect("connects");
        Plane { running, client, dir }
    }

    /// One worker with a client's side, the reference back end, cells of 256 bytes.
    pub fn with<T: Terminal + 'static>(terminals: impl FnMut(u8) -> T) -> Plane {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(dir.path(), "[crypto]\nbackend = \"reference\"", 1);
        let running = launch_of::<Reference, T, 256>(&config, terminals).expect("starts");
        let client = Client::connect(running.socket()).expect("connects");
        Plane { running, client, dir }
    }

    pub fn boot(&self) -> BootId {
        self.running.boot()
    }

    pub fn port(&self) -> u16 {
        self.running.listens()[0].port()
    }

    pub fn done(&mut self, request: Request) {
        let reply = self.client.ask(&request);
        assert!(matches!(reply, Answer::Done), "{reply:?}");
    }

    pub fn refused(&mut self, request: Request) -> (Refusal, String) {
        match self.client.ask(&request) {
            Answer::Refused(code, text) => (code, text),
            other => panic!("{other:?}"),
        }
    }

    pub fn status(&mut self) -> Value {
        match self.client.ask(&Request::QueryStatus) {
            Answer::Report(json) => json,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for status until `wanted`.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} did not come about: {status}");
            // Yields the core: the poll is bounded by the deadline, not by this.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn class(&self, slots: u32) -> PutClass {
        PutClass {
            boot: self.boot(),
            class: 1,
            kind: ClassKind::Zone,
            round_ns: ROUND_NS,
            slots,
            slots_max: 64,
            at_ns: 0,
        }
    }
}

/// A configuration of `workers` workers on any port of loopback.
pub fn config(dir: &Path, extra: &str, workers: usize) -> Config {
    let socket = dir.join("control.sock");
    let listens = "[[worker]]\nlisten = \"127.0.0.1:0\"\n".repeat(workers);
    let text = format!("{extra}\n[control]\nsocket = {socket:?}\n{listens}");
    Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A reply that owns what it says.
#[derive(Debug)]
pub enum Answer {
    Done,
    Refused(Refusal, String),
    Welcome(Box<Welcome>),
    Report(Value),
}

/// A message that hands something over.
pub struct Handed(Vec<u8>);

impl Handed {
    pub fn punt(&self) -> Punt<'_> {
        Punt::decode(&self.0).expect("was decoded before").1
    }
}

/// A connection to a control socket.
pub struct Client {
    fd: OwnedFd,
    next_id: u32,
}

impl Client {
    pub fn connect(path: &Path) -> rustix::io::Result<Client> {
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        // A reply that never comes is a failure, not a hang.
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&fd, timeout, Some(PATIENCE))?;
        Ok(Client { fd, next_id: 1 })
    }

    pub fn send(&self, message: &[u8]) -> rustix::io::Result<()> {
        rustix::net::send(&self.fd, message, SendFlags::NOSIGNAL).map(|_| ())
    }

    /// The next message; `None` when the other side has closed.
    pub fn receive(&self) -> rustix::io::Result<Option<(u32, Answer)>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (_, len) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
        if len == 0 {
            return Ok(None);
        }
        let (id, reply) = Reply::decode(&buffer[..len]).expect("a reply");
        let answer = match reply {
            Reply::Done => Answer::Done,
            Reply::Refused { code, text } => Answer::Refused(code, text.to_owned()),
            Reply::Welcome(welcome) => Answer::Welcome(Box::new(welcome)),
            Reply::Report(json) => Answer::Report(serde_json::from_slice(json).expect("JSON")),
        };
        Ok(Some((id, answer)))
    }

    /// The next thing handed over: its count and what it is, encoded anew; `None` when the other side has closed.
    pub fn punt(&self) -> Option<(u32, Handed)> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (_, len) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()).expect("receives");
        buffer.truncate(len);
        (len > 0).then(|| (Punt::decode(&buffer).expect("a punt").0, Handed(buffer)))
    }

    /// As [`Client::punt`], without waiting.
    pub fn punt_now(&self) -> Option<(u32, Handed)> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (_, len) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT).ok()?;
        buffer.truncate(len);
        Some((Punt::decode(&buffer).expect("a punt").0, Handed(buffer)))
    }

    pub fn ask(&mut self, request: &Request) -> Answer {
        let id = self.next_id;
        self.next_id += 1;
        let mut buffer = [0; REQUEST_MAX];
        let len = request.encode(id, &mut buffer).expect("fits");
        self.send(&buffer[..len]).expect("sends");
        let (replied, answer) = self.receive().expect("receives").expect("an answer");
        assert_eq!(replied, id);
        answer
    }
}

/// A traffic secret for tests, by what it is for.
pub fn secret(from: &Plane, to: &Plane, generation: u32) -> Secret<32> {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&from.boot().0);
    bytes[16..28].copy_from_slice(&to.boot().0[..12]);
    bytes[28..].copy_from_slice(&generation.to_be_bytes());
    Secret(bytes)
}

/// Link `link` of `here` towards `there`.
pub fn link(here: &Plane, there: &Plane, link: u32, generation: u32, ratchet_bits: u8) -> PutLink {
    PutLink {
        boot: here.boot(),
        link,
        generation,
        local_port: here.port(),
        remote: Address::from(there.running.listens()[0]),
        class: 1,
        peer: Peer::Drover,
        ratchet_bits,
        send: Direction { secret: secret(here, there, generation), first: 0 },
        receive: Direction { secret: secret(there, here, generation), first: 0 },
        owner: Owner::default(),
    }
}

/// A secret of a link to nobody.
fn lone_secret(link: u32, direction: u8) -> Secret<32> {
    let mut bytes = [direction; 32];
    bytes[..4].copy_from_slice(&link.to_be_bytes());
    Secret(bytes)
}

/// A link to nobody: an address of loopback where nothing listens.
pub fn lone_link(here: &Plane, link: u32, port: u16) -> PutLink {
    PutLink {
        boot: here.boot(),
        link,
        generation: 1,
        local_port: here.port(),
        remote: Address::from(std::net::SocketAddr::from(([127, 0, 0, 2], port))),
        class: 1,
        peer: Peer::Drover,
        ratchet_bits: 24,
        send: Direction { secret: lone_secret(link, 1), first: 0 },
        receive: Direction { secret: lone_secret(link, 2), first: 0 },
        owner: Owner::default(),
    }
}

pub fn circuit(here: &Plane, circuit: u32, near: (u32, u32), far: (u32, u32), admitted: bool) -> PutCircuit {
    let key = |direction: u8| {
        let mut bytes = [direction; 16];
        bytes[..4].copy_from_slice(&circuit.to_be_bytes());
        Secret(bytes)
    };
    let leg = |direction| Leg { key: key(direction), first: Some(0), offset: 7, admitted };
    PutCircuit {
        boot: here.boot(),
        circuit,
        generation: 1,
        near: LinkEnd { link: near.0, id: near.1 },
        far: Some(LinkEnd { link: far.0, id: far.1 }),
        forward: leg(1),
        backward: leg(2),
        hop: None,
        owner: Owner::default(),
    }
}

/// Drops of the first worker for `reason`.
pub fn drops(status: &Value, reason: &str) -> u64 {
    status["workers"][0]["drops"][reason].as_u64().unwrap_or(0)
}

/// A count of the first worker.
pub fn count(status: &Value, name: &str) -> u64 {
    status["workers"][0][name].as_u64().unwrap_or_else(|| panic!("no {name}: {status}"))
}
