//! Who sends what nobody asked for: real ClientHellos of a certified client, from many addresses, and garbage.

use drover_dtls::certificate::Identity;
use drover_dtls::handshake::{Context, Groups, Handshake, Side};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// ClientHellos a second: ten times what handshakes with strangers may begin (W-LNK-7).
const RATE: u32 = 2_000;
/// Loopback addresses and ports of each.
const SENDERS: (u8, usize) = (16, 16);
/// Bytes of garbage as long as a cell's record (S = 256 and 31 of header and tag).
const RECORD: usize = 287;

pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// A real first flight of whoever has this folder.
pub fn hello(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let identity = Identity::load(folder).map_err(|error| error.to_string())?;
    let context = Context::new(&identity, std::slice::from_ref(identity.certificate()), Groups::PostQuantum)
        .map_err(|e| e.to_string())?;
    let mut client = Handshake::new(&context, Side::Client, 1400).map_err(|error| error.to_string())?;
    Ok(std::iter::from_fn(|| client.output()).collect())
}

impl Flood {
    pub fn start(target: SocketAddr, flight: Vec<Vec<u8>>) -> Result<Flood, String> {
        let mut senders = Vec::new();
        for host in 2..2 + SENDERS.0 {
            for _ in 0..SENDERS.1 {
                let socket =
                    UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).map_err(|error| error.to_string())?;
                socket.set_nonblocking(true).map_err(|error| error.to_string())?;
                senders.push(socket);
            }
        }
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            let mut garbage = [0xa5; RECORD];
            for (number, socket) in (0_u32..).zip(senders.iter().cycle()) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                for datagram in &flight {
                    let _ = socket.send_to(datagram, target);
                }
                // A plaintext record that is none, and what looks like a cell.
                for first in [22, 0x2f] {
                    garbage[0] = first;
                    garbage[1..5].copy_from_slice(&number.to_be_bytes());
                    let _ = socket.send_to(&garbage, target);
                }
                count.fetch_add(1, Ordering::Relaxed);
                let due = begin + Duration::from_secs(1) * number / RATE;
                if let Some(early) =
                    due.checked_duration_since(Instant::now()).filter(|d| *d > Duration::from_millis(1))
                {
                    std::thread::sleep(early);
                }
            }
        });
        Ok(Flood { stop, sent, thread: Some(thread) })
    }

    /// ClientHellos sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
