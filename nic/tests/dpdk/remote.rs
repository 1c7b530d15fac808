//! A port in another process, driven through a socket: so that the suite, which has both ports in its hands, can have two
//! processes between them.
//!
//! A message is a byte and what belongs to it; frames are a count, and of each its peer, its length and its bytes.

use drover_nic::{BURST, Capabilities, Endpoint, FRAME, Port, PortCounters, RxBurst, RxFrame, TxBurst, TxFrame};
use std::collections::VecDeque;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

const OPEN: u8 = b'o';
const CLOSE: u8 = b'c';
const DRAIN: u8 = b'd';
const LINK: u8 = b'l';
const SEND: u8 = b's';
const RECEIVE: u8 = b'r';

type Frames = Vec<(Endpoint, Vec<u8>)>;

/// One end of the socket.
struct Wire(BufReader<UnixStream>);

impl Wire {
    fn new(stream: UnixStream) -> Wire {
        Wire(BufReader::new(stream))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the other process is there");
    }

    /// `None` at the end.
    fn read<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    fn byte(&mut self) -> u8 {
        self.read::<1>().expect("the other process is there")[0]
    }

    fn write_frames<'a>(&mut self, frames: impl ExactSizeIterator<Item = (Endpoint, &'a [u8])>) {
        let mut bytes = vec![frames.len() as u8];
        for (peer, data) in frames {
            bytes.extend(peer.ip);
            bytes.extend(peer.port.to_le_bytes());
            bytes.extend((data.len() as u16).to_le_bytes());
            bytes.extend(data);
        }
        self.write(&bytes);
    }

    fn read_frames(&mut self) -> Frames {
        (0..self.byte())
            .map(|_| {
                let ip = self.read::<16>().expect("an address");
                let [port, len] = [(); 2].map(|()| u16::from_le_bytes(self.read::<2>().expect("a number")));
                let mut data = vec![0; usize::from(len)];
                self.0.read_exact(&mut data).expect("a payload");
                (Endpoint { ip, port }, data)
            })
            .collect()
    }
}

/// In the other process: opens ports as it is told, by a side's name and whether on IPv6, and does with them what it is told,
/// until the socket ends.
pub fn serve<P: Port + LinkUp>(folder: &Path, mut open: impl FnMut(&str, bool) -> P) {
    let mut wire = Wire::new(UnixStream::connect(folder.join("control")).expect("the first process listens"));
    let mut port: Option<P> = None;
    while let Some([what]) = wire.read::<1>() {
        match what {
            OPEN => {
                let side = if wire.byte() == 0 { "server" } else { "client" };
                port = Some(open(side, wire.byte() != 0));
                wire.write(&[1]);
            }
            CLOSE => {
                port = None;
                wire.write(&[1]);
            }
            DRAIN => {
                let port = port.as_mut().expect("open");
                while !port.receive(BURST).is_empty() {}
                wire.write(&[1]);
            }
            LINK => wire.write(&[u8::from(port.as_ref().expect("open").link_up())]),
            SEND => {
                let frames = wire.read_frames();
                let sent = send(port.as_mut().expect("open"), &frames);
                wire.write(&[sent as u8]);
            }
            RECEIVE => {
                let limit = usize::from(wire.byte());
                let burst = port.as_mut().expect("open").receive(limit);
                wire.write_frames(burst.iter().map(|frame| (frame.from, frame.data)));
            }
            other => panic!("no message: {other}"),
        }
    }
}

fn send(port: &mut impl Port, frames: &Frames) -> usize {
    for (to, data) in frames {
        let mut burst = port.reserve(1, data.len());
        assert_eq!(burst.len(), 1, "no frame");
        *burst[0].to = *to;
        burst[0].data.copy_from_slice(data);
    }
    port.commit(frames.len())
}

/// A port that knows of its link.
pub trait LinkUp {
    fn link_up(&self) -> bool;
}

impl LinkUp for drover_nic::dpdk::DpdkPort {
    fn link_up(&self) -> bool {
        self.link_up()
    }
}

/// The other process, seen from the first.
pub struct Remote {
    child: Child,
    wire: Arc<Mutex<Wire>>,
}

impl Remote {
    pub fn start(mut command: Command, memory: &str, folder: &Path) -> Remote {
        let listener = UnixListener::bind(folder.join("control")).expect("a socket");
        let child = command.args(["net_vhost", memory, "remote"]).arg(folder).spawn().expect("starts");
        let (stream, _) = listener.accept().expect("it comes");
        Remote { child, wire: Arc::new(Mutex::new(Wire::new(stream))) }
    }

    /// Opens a port over there: the `server` or the `client` of the socket between them.
    pub fn open(&mut self, side: &str, v6: bool) {
        self.ask(&[OPEN, u8::from(side == "client"), u8::from(v6)]);
    }

    /// Closes it.
    pub fn close(&mut self) {
        self.ask(&[CLOSE]);
    }

    /// Whether its link is up.
    pub fn link_up(&self) -> bool {
        self.ask(&[LINK]) == 1
    }

    /// The open port, as new.
    pub fn lend(&self) -> RemotePort {
        RemotePort {
            wire: Arc::clone(&self.wire),
            reserved: VecDeque::new(),
            received: Frames::new(),
            counters: PortCounters::default(),
        }
    }

    fn ask(&self, message: &[u8]) -> u8 {
        let mut wire = self.wire.lock().expect("no panic");
        wire.write(message);
        wire.byte()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

/// A port of the other process. Frames are reserved here, and there when they are committed.
pub struct RemotePort {
    wire: Arc<Mutex<Wire>>,
    reserved: VecDeque<(Endpoint, Vec<u8>)>,
    received: Frames,
    counters: PortCounters,
}

/// As the real one is configured.
const TX_RING: usize = 256;

impl Drop for RemotePort {
    fn drop(&mut self) {
        let mut wire = self.wire.lock().expect("no panic");
        wire.write(&[DRAIN]);
        assert_eq!(wire.byte(), 1);
    }
}

impl Port for RemotePort {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "dpdk", tx_ring: TX_RING, max_payload: FRAME }
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let mut wire = self.wire.lock().expect("no panic");
        wire.write(&[RECEIVE, limit.min(BURST) as u8]);
        self.received = wire.read_frames();
        self.counters.received += self.received.len() as u64;
        self.received.iter().map(|(from, data)| RxFrame { from: *from, data }).collect()
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        let count = if len > FRAME { 0 } else { count.min(BURST).min(TX_RING - self.reserved.len()) };
        let first = self.reserved.len();
        self.reserved.extend((0..count).map(|_| (Endpoint::NONE, vec![0; len])));
        self.reserved.range_mut(first..).map(|(to, data)| TxFrame { to, data }).collect()
    }

    fn commit(&mut self, count: usize) -> usize {
        let frames: Vec<_> = self.reserved.drain(..count.min(self.reserved.len())).collect();
        let mut wire = self.wire.lock().expect("no panic");
        let mut sent = 0;
        for chunk in frames.chunks(BURST) {
            wire.write(&[SEND]);
            wire.write_frames(chunk.iter().map(|(to, data)| (*to, &data[..])));
            sent += usize::from(wire.byte());
        }
        self.counters.sent += sent as u64;
        self.counters.refused += (frames.len() - sent) as u64;
        sent
    }

    fn discard(&mut self, count: usize) {
        let count = count.min(self.reserved.len());
        self.reserved.drain(..count);
        self.counters.discarded += count as u64;
    }

    fn reserved(&self) -> usize {
        self.reserved.len()
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}
