//! A relay before a mix: what its neighbours dial. Each sender keeps an address of its own behind it, as with a NAT; on
//! demand it loses, repeats and reorders.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Of a hundred datagrams while there is trouble: lost, sent twice, sent after the next one.
const TROUBLE: [u32; 3] = [20, 5, 10];
/// Senders of a relay.
const FLOWS_MAX: usize = 32;
/// A stop is noticed within this.
const NAP: Duration = Duration::from_millis(200);
const DATAGRAM: usize = 4096;

#[derive(Default)]
struct Shared {
    trouble: AtomicBool,
    stop: AtomicBool,
    lost: AtomicU64,
    /// The first datagram of each sender, and the socket that stands for it.
    firsts: Mutex<Vec<(Vec<u8>, Arc<UdpSocket>)>>,
}

/// One mix's relay.
pub struct Relay {
    pub front: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Begins, with trouble.
    pub fn start(target: SocketAddr, seed: u64) -> std::io::Result<Relay> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
        front.set_read_timeout(Some(NAP))?;
        let shared = Arc::new(Shared::default());
        shared.trouble.store(true, Ordering::Relaxed);
        let relay = Relay { front: front.local_addr()?, shared: Arc::clone(&shared) };
        std::thread::spawn(move || forth(&front, target, &shared, seed));
        Ok(relay)
    }

    pub fn trouble(&self, on: bool) {
        self.shared.trouble.store(on, Ordering::Relaxed);
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Sends every sender's first datagram again.
    pub fn replay(&self) -> usize {
        self.each(|first, socket| socket.send(first).is_ok())
    }

    /// Sends this as if it came from every sender.
    pub fn inject(&self, datagram: &[u8]) -> usize {
        self.each(|_, socket| socket.send(datagram).is_ok())
    }

    fn each(&self, send: impl Fn(&[u8], &UdpSocket) -> bool) -> usize {
        let firsts = self.shared.firsts.lock().unwrap_or_else(PoisonError::into_inner);
        firsts.iter().filter(|(first, socket)| send(first, socket)).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// From senders to the mix.
fn forth(front: &Arc<UdpSocket>, target: SocketAddr, shared: &Arc<Shared>, seed: u64) {
    let mut flows: HashMap<SocketAddr, (Arc<UdpSocket>, Way)> = HashMap::new();
    let mut buffer = [0; DATAGRAM];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = front.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        if !flows.contains_key(&from) {
            let number = flows.len() as u64;
            let made = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
                socket.connect(target)?;
                socket.set_read_timeout(Some(NAP))?;
                Ok(Arc::new(socket))
            });
            let Some(socket) = made.ok().filter(|_| flows.len() < FLOWS_MAX) else { continue };
            let mut firsts = shared.firsts.lock().unwrap_or_else(PoisonError::into_inner);
            firsts.push((datagram.to_vec(), Arc::clone(&socket)));
            let (back_socket, back_front, back_shared) = (Arc::clone(&socket), Arc::clone(front), Arc::clone(shared));
            let way = Way::new(seed ^ (2 * number));
            std::thread::spawn(move || back(&back_socket, &back_front, from, &back_shared, way));
            flows.insert(from, (socket, Way::new(seed ^ (2 * number + 1))));
        }
        let Some((socket, way)) = flows.get_mut(&from) else { continue };
        // The mix may be away.
        way.pass(shared, datagram, |datagram| drop(socket.send(datagram)));
    }
}

/// From the mix to one sender.
fn back(socket: &UdpSocket, front: &UdpSocket, to: SocketAddr, shared: &Shared, mut way: Way) {
    let mut buffer = [0; DATAGRAM];
    while !shared.stop.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            way.pass(shared, &buffer[..length], |datagram| drop(front.send_to(datagram, to)));
        }
    }
}

/// One direction of one sender.
struct Way {
    rng: StdRng,
    held: Option<Vec<u8>>,
}

impl Way {
    fn new(seed: u64) -> Way {
        Way { rng: StdRng::seed_from_u64(seed), held: None }
    }

    fn pass(&mut self, shared: &Shared, datagram: &[u8], send: impl Fn(&[u8])) {
        let mut happens =
            |of_hundred| shared.trouble.load(Ordering::Relaxed) && self.rng.random_range(0..100) < of_hundred;
        let [lose, twice, later] = TROUBLE;
        if happens(lose) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.held.is_none() && happens(later) {
            self.held = Some(datagram.to_vec());
            return;
        }
        send(datagram);
        if happens(twice) {
            send(datagram);
        }
        if let Some(held) = self.held.take() {
            send(&held);
        }
    }
}
