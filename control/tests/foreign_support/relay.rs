//! A relay between two mixes that keeps what passes, and a capture file of it (pcap).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks whether it is over.
const NAP: Duration = Duration::from_millis(20);

/// A datagram as it passed.
#[derive(Clone)]
pub struct Passed {
    pub after: Duration,
    /// From the first node to the second.
    pub onward: bool,
    pub bytes: Vec<u8>,
}

/// Two sockets: what comes to the one leaves by the other.
pub struct Relay {
    passed: Arc<Mutex<Vec<Passed>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    faces: [SocketAddr; 2],
}

impl Relay {
    /// Between two nodes: each sees the other at the face on its side.
    pub fn start(nodes: [SocketAddr; 2]) -> Relay {
        let sockets = nodes.map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let faces = [0, 1].map(|at| sockets[at].local_addr().expect("bound"));
        let (passed, stop, begin) = (Arc::default(), Arc::<AtomicBool>::default(), Instant::now());
        let thread = |from: usize| {
            let passed: Arc<Mutex<Vec<Passed>>> = Arc::clone(&passed);
            let stop = Arc::clone(&stop);
            let input = sockets[from].try_clone().expect("cloned");
            let output = sockets[1 - from].try_clone().expect("cloned");
            input.set_read_timeout(Some(NAP)).expect("set");
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let length = match input.recv_from(&mut buffer) {
                        Ok((length, sender)) if sender == nodes[from] => length,
                        Ok(_) => continue,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let (bytes, onward) = (buffer[..length].to_vec(), from == 0);
                    let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
                    passed.push(Passed { after: begin.elapsed(), onward, bytes });
                    output.send_to(&buffer[..length], nodes[1 - from]).expect("loopback takes it");
                }
            })
        };
        let threads = vec![thread(0), thread(1)];
        Relay { passed, stop, threads, faces }
    }

    /// Where the first node sees the second, and the second the first.
    pub fn faces(&self) -> [SocketAddr; 2] {
        self.faces
    }

    /// How many of a kind have passed.
    pub fn count(&self, kind: impl Fn(&Passed) -> bool) -> usize {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|passed| kind(passed)).count()
    }

    /// Ends it; what passed.
    pub fn end(mut self) -> Vec<Passed> {
        self.stop();
        std::mem::take(&mut *self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the relay's thread");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A pcap file (draft-ietf-opsawg-pcap), link type 101: IPv4 packets with UDP between the nodes.
pub fn pcap(passed: &[Passed], nodes: [SocketAddr; 2]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for Passed { after, onward, bytes } in passed {
        let [from, to] = if *onward { nodes } else { [nodes[1], nodes[0]] };
        let ip = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => panic!("these tests use IPv4"),
        };
        let udp = bytes.len() + 8;
        let mut packet = vec![0x45, 0];
        packet.extend(((udp + 20) as u16).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        packet.extend(ip(from).into_iter().chain(ip(to)));
        let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        packet[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        for half in [from.port(), to.port(), udp as u16, 0] {
            packet.extend(half.to_be_bytes());
        }
        packet.extend(bytes);
        let length = packet.len() as u32;
        // Seconds and microseconds; captured and original length.
        for word in [after.as_secs() as u32 + 1, after.subsec_micros(), length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}
