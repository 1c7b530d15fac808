//! Two clients as they run for users, joined by one link without a mix: control sockets, real UDP, real RTP both ways.

use drover_control::client::config::ClientConfig;
use drover_control::client::run::{Client, Options};
use drover_control::media::rtp::Header;
use drover_control::socket::{ControlSocket, Fault};
use drover_wire::control::{
    Address, BootId, ClassKind, Direction, EndSecret, Layers, LinkEnd, Owner, Peer, PutClass, PutEnd, PutLink, Request,
    Secret,
};
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROUND_NS: u64 = 20_000_000;
/// How long a packet may take: one round, the horizon, the RTP threads, and a machine busy with other things.
const PATIENCE: Duration = Duration::from_secs(2);

fn config(folder: &Path, name: &str, cell: usize) -> String {
    let socket = folder.join(name);
    format!(
        "cell = {cell}\ncontrol_socket = {socket:?}\nlisten = \"127.0.0.1:0\"\n\
         [[end]]\nend = 1\nrtp_listen = \"127.0.0.1:0\"\n"
    )
}

/// A client, its control connection, and a local softphone.
struct Party {
    client: Client,
    control: ControlSocket,
    boot: BootId,
    phone: UdpSocket,
    rtp: SocketAddr,
}

impl Party {
    fn start(folder: &Path, name: &str, cell: usize) -> Party {
        let phone = UdpSocket::bind("127.0.0.1:0").expect("a port");
        phone.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let text = config(folder, name, cell) + &format!("rtp_send_to = \"{}\"\n", phone.local_addr().expect("bound"));
        let config = ClientConfig::parse(&text).expect("right");
        let client = Client::start(&config, Options::default(), |_| {}).expect("started");
        let control = ControlSocket::connect(client.data_plane().socket()).expect("it listens");
        let (boot, rtp) = (client.data_plane().boot(), client.rtp_ports()[0].1);
        Party { client, control, boot, phone, rtp }
    }

    fn at(&self) -> SocketAddr {
        self.client.data_plane().listens()[0]
    }

    /// `keys`: what is sent with, what is received with.
    fn join(&mut self, other: SocketAddr, keys: [u8; 2]) {
        let boot = self.boot;
        let class =
            PutClass { boot, class: 1, kind: ClassKind::Client, round_ns: ROUND_NS, slots: 2, slots_max: 2, at_ns: 0 };
        self.control.done("class", &Request::PutClass(class)).expect("done");
        let direction = |key: u8| Direction { secret: Secret([key; 32]), first: 0 };
        let link = PutLink {
            boot,
            link: 1,
            generation: 1,
            local_port: self.at().port(),
            remote: Address::from(other),
            class: 1,
            peer: Peer::Drover,
            ratchet_bits: 20,
            send: direction(keys[0]),
            receive: direction(keys[1]),
            owner: Owner::default(),
        };
        self.control.done("link", &Request::PutLink(link)).expect("done");
    }

    fn put_end(&self, call: u8, keys: [u8; 2]) -> Request {
        let secret = |n: u8| EndSecret { key: Secret([call ^ n; 16]), iv: Secret([n; 12]) };
        Request::PutEnd(PutEnd {
            boot: self.boot,
            end: 1,
            generation: 1,
            at: LinkEnd { link: 1, id: 9 },
            send_first: 100,
            receive_first: Some(100),
            layers: Layers::new(),
            seal: secret(keys[0]),
            open: secret(keys[1]),
        })
    }

    fn up(&mut self, call: u8, keys: [u8; 2]) {
        let put = self.put_end(call, keys);
        self.control.done("end", &put).expect("done");
        // Putting the same again changes nothing (W-CTL-5).
        self.control.done("end", &put).expect("done");
    }
}

fn rtp(sequence: u16, len: usize) -> Vec<u8> {
    let header = Header { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc: 5 };
    let mut packet = header.to_bytes().to_vec();
    packet.extend((0..len - packet.len()).map(|at| (at * 5) as u8 ^ sequence as u8));
    packet
}

/// One packet after the other, each sent when the last has come. What comes is what was sent, bit for bit. A machine
/// that stalls loses slots, and with them packets: a few may be lost, none may change.
fn speak(from: &Party, to: &Party, cell: usize) {
    const PACKETS: u16 = 40;
    let max = cell - 58;
    let (mut said, mut heard) = (HashSet::new(), 0);
    let mut buffer = [0; 2_000];
    for sequence in 0..PACKETS {
        let packet = rtp(sequence, 12 + usize::from(sequence) * 31 % (max - 11));
        said.insert(packet.clone());
        from.phone.send_to(&packet, from.rtp).expect("sent");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let Ok(len) = to.phone.recv(&mut buffer) else { break };
            assert!(said.remove(&buffer[..len]), "a packet that nobody sent, or twice");
            heard += 1;
            if buffer[..len] == packet {
                break;
            }
        }
    }
    assert!(heard >= PACKETS - 4, "{heard} of {PACKETS} arrived");
}

#[test]
fn two_clients_talk_over_udp() {
    for cell in [256, 1024] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut alice = Party::start(folder.path(), "a.sock", cell);
        let mut bob = Party::start(folder.path(), "b.sock", cell);
        let (at_alice, at_bob) = (alice.at(), bob.at());
        alice.join(at_bob, [1, 2]);
        bob.join(at_alice, [2, 1]);
        let call = 0x20 + (cell / 256) as u8 * 0x10;
        alice.up(call, [3, 4]);
        bob.up(call, [4, 3]);
        // The data plane answers before its worker has the end.
        for party in [&alice, &bob] {
            let begin = Instant::now();
            let counters = &party.client.counters().ends()[0].1;
            while counters.fillers_sent.get() == 0 || counters.fillers_received.get() == 0 {
                assert!(begin.elapsed() < Duration::from_secs(20), "no cells: {}", party.client.counters().to_text());
                std::thread::yield_now();
            }
        }
        speak(&alice, &bob, cell);
        speak(&bob, &alice, cell);

        // The same keys again would begin the same numbers again.
        alice.control.done("end", &Request::RemoveEnd { boot: alice.boot, end: 1 }).expect("done");
        let again = alice.put_end(call, [3, 4]);
        let refusal = alice.control.done("end", &again).expect_err("spent");
        assert!(matches!(refusal.fault, Fault::Refused { .. }), "{refusal}");
        assert!(alice.client.alive() && alice.client.failure().is_none());
        let counters = alice.client.stop();
        assert!(counters.ends()[0].1.rtp_sent.get() >= 36 && counters.ends()[0].1.end_broken.get() == 0);
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover-client"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn first_line(out: &mut ChildStdout) -> String {
    use std::io::Read;
    let (mut line, mut byte) = (Vec::new(), [0]);
    while out.read_exact(&mut byte).is_ok() && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

fn terminate(child: Child) -> Output {
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_program_says_ready_and_ends_with_its_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("client.toml");
    std::fs::write(&file, config(folder.path(), "c.sock", 256)).expect("written");
    for json in [true, false] {
        let mut child = program().args(json.then_some("--json")).arg(&file).spawn().expect("started");
        let ready = first_line(child.stdout.as_mut().expect("piped"));
        let mut control = ControlSocket::connect(folder.path().join("c.sock")).expect("ready means that it answers");
        let welcome = control.hello().expect("a data plane");
        assert!(ready.contains(&welcome.boot.to_string()), "{ready}");
        assert!(ready.contains("c.sock") && ready.contains("127.0.0.1:"), "{ready}");
        let output = terminate(child);
        let rest = String::from_utf8(output.stdout).expect("text");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
        if json {
            assert!(
                serde_json::from_str::<serde_json::Value>(&ready).expect("JSON")["ends"][0]["rtp_listen"].is_string()
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&rest).expect("JSON")["ends"][0]["rtp_sent"], 0);
        } else {
            assert_eq!(rest, "end 1: nothing\n");
        }
        assert!(!folder.path().join("c.sock").exists(), "its socket is gone");
    }
}

#[test]
fn the_program_checks_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("client.toml");
    std::fs::write(&file, config(folder.path(), "c.sock", 512)).expect("written");
    let output = program().arg("--check").arg(&file).output().expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("512 bytes") && text.contains("end 1"), "{text}");
    assert!(!folder.path().join("c.sock").exists());

    std::fs::write(&file, "cell = 7\nloud = 1\n[[end]]\nend = 1\n").expect("written");
    let output = program().arg(&file).output().expect("it ran");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    for key in ["cell", "loud", "control_socket", "end[0].rtp_listen"] {
        assert!(text.contains(key), "{key} is not in {text}");
    }
    let output = program().arg(folder.path().join("none.toml")).output().expect("it ran");
    assert_eq!(output.status.code(), Some(2));
}
