//! Strangers: datagrams that no link sent to every mix's port, and status clients that come, ask and go, or just go.

use crate::lab::network::{Network, NodeKind};
use crate::socket::ControlSocket;
use drover_wire::record::record_len;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time between two datagrams to each mix.
const EVERY: Duration = Duration::from_millis(25);
/// Time between two status clients.
const CLIENT_EVERY: Duration = Duration::from_millis(700);
/// Longest datagram, bytes.
const DATAGRAM_MAX: usize = 1_600;

/// Both kinds. Datagrams end when it is dropped.
pub struct Pest {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
    next: Instant,
    node: usize,
    /// Clients that came and went.
    pub status_clients: u64,
}

impl Pest {
    /// Begins to send datagrams.
    pub fn start(network: &Network) -> Result<Pest, String> {
        let mut targets = Vec::new();
        for node in network.nodes.iter().filter(|node| node.kind == NodeKind::Mix) {
            let mut socket = ControlSocket::connect(&node.socket).map_err(|error| error.to_string())?;
            let welcome = socket.hello().map_err(|error| error.to_string())?;
            targets.extend(welcome.workers.iter().map(|worker| SocketAddr::from(worker.listen)));
        }
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("no UDP port: {error}"))?;
        let (stop, cell) = (Arc::new(AtomicBool::new(false)), usize::from(network.cell));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut rng = StdRng::from_os_rng();
            let (mut sent, mut datagram) = (0, [0; DATAGRAM_MAX]);
            while !stopped.load(Ordering::Relaxed) {
                for target in &targets {
                    let length = draw(&mut rng, cell, &mut datagram);
                    sent += u64::from(socket.send_to(&datagram[..length], target).is_ok());
                }
                thread::sleep(EVERY);
            }
            sent
        });
        Ok(Pest { stop, thread: Some(thread), next: Instant::now(), node: 0, status_clients: 0 })
    }

    /// Lets a status client come and go when it is time.
    pub fn turn(&mut self, network: &Network) -> Result<(), String> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + CLIENT_EVERY;
        let node = &network.nodes[self.node % network.nodes.len()];
        self.node += 1;
        let mut socket = ControlSocket::connect(&node.socket).map_err(|error| error.to_string())?;
        // Every third leaves without a word.
        if !self.status_clients.is_multiple_of(3) {
            socket.hello().map_err(|error| error.to_string())?;
            socket.status().map_err(|error| error.to_string())?;
        }
        self.status_clients += 1;
        Ok(())
    }

    /// Ends, and says how many datagrams were sent.
    pub fn end(&mut self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.take().map_or(Ok(0), JoinHandle::join);
        sent.map_err(|_| "the thread of hostile datagrams panicked; this is a fault of drover".to_owned())
    }
}

impl Drop for Pest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A datagram and its length: noise, a record of the right length, a piece of one, or a first byte that means something.
fn draw(rng: &mut StdRng, cell: usize, datagram: &mut [u8; DATAGRAM_MAX]) -> usize {
    rng.fill_bytes(datagram);
    let record = record_len(cell);
    match rng.random_range(0..4) {
        0 => rng.random_range(0..=DATAGRAM_MAX),
        1 => {
            // As a link's own looks (W-REC-2): only that no link has this address stops it.
            datagram[0] = rng.random_range(0x28..0x30);
            record
        }
        2 => {
            datagram[0] = rng.random_range(0x20..0x40);
            rng.random_range(0..record)
        }
        _ => {
            datagram[0] = [20, 21, 22, 26, 0x2c, 0x3f][rng.random_range(0..6)];
            rng.random_range(1..=record + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_of_every_kind() {
        let (mut rng, mut datagram) = (StdRng::seed_from_u64(5), [0; DATAGRAM_MAX]);
        let mut seen = [false; 4];
        for _ in 0..1_000 {
            let length = draw(&mut rng, 256, &mut datagram);
            let ciphertext = (0x20..0x40).contains(&datagram[0]);
            seen[0] |= length > record_len(256) + 1;
            seen[1] |= ciphertext && length == record_len(256);
            seen[2] |= ciphertext && length < record_len(256);
            seen[3] |= datagram[0] == 22;
        }
        assert_eq!(seen, [true; 4]);
    }
}
