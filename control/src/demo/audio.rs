//! One direction of the call's voice: a thread that plays G.711 RTP on an absolute schedule, and one that takes down what
//! comes out at the other client.

use super::report::OneWay;
use crate::media::rtp::{FRAME_MS, PACKET_BYTES, Packet, Recorder, Sender, frames};
use crate::media::{emodel, g711::Law};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the receiving thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);
/// Packets taken at most: more than an hour's; nobody else should send here, but anybody can.
const ARRIVALS_MAX: usize = 400_000;

/// A packet that was sent, and when.
pub struct Sent {
    at: Instant,
    packet: [u8; PACKET_BYTES],
}

/// A packet that arrived, and when.
pub struct Arrival {
    at: Instant,
    packet: Vec<u8>,
}

/// Plays `voice` to `to` from now on.
///
/// # Errors
///
/// No socket.
pub fn play(
    voice: &[i16],
    to: SocketAddr,
    stream: (u32, u16, u32),
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Vec<Sent>>, String> {
    let any = SocketAddr::new(to.ip(), 0);
    let socket = UdpSocket::bind(any).and_then(|socket| socket.connect(to).map(|()| socket));
    let socket = socket.map_err(|error| format!("RTP towards {to}: {error}"))?;
    let mut sender = Sender::new(stream.0, stream.1, stream.2);
    let packets: Vec<_> = frames(voice).map(|frame| sender.packet(&frame)).collect();
    let stop = Arc::clone(stop);
    Ok(thread::spawn(move || {
        let begin = Instant::now();
        let mut sent = Vec::with_capacity(packets.len());
        for (number, packet) in packets.into_iter().enumerate() {
            let due = begin + Duration::from_millis(FRAME_MS * number as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let at = Instant::now();
            // What is not sent counts as sent and lost: the call's quality is what the far end hears.
            let _ = socket.send(&packet);
            sent.push(Sent { at, packet });
        }
        sent
    }))
}

/// A socket where a client's RTP comes out.
pub struct Listener {
    socket: UdpSocket,
    /// Its address.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds a port of the system's choice.
    ///
    /// # Errors
    ///
    /// No socket.
    pub fn bind(ip: std::net::IpAddr) -> Result<Listener, String> {
        let fail = |error| format!("RTP socket on {ip}: {error}");
        let socket = UdpSocket::bind((ip, 0)).map_err(fail)?;
        socket.set_read_timeout(Some(LOOK)).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        Ok(Listener { socket, address })
    }

    /// The same port once more, for another [`Listener::listen`] after the first has ended: two at a time would take
    /// packets from each other.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn again(&self) -> Result<Listener, String> {
        let socket = self.socket.try_clone().map_err(|error| format!("RTP socket at {}: {error}", self.address))?;
        Ok(Listener { socket, address: self.address })
    }

    /// Takes down all that comes until `stop`.
    pub fn listen(self, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Arrival>> {
        let stop = Arc::clone(stop);
        thread::spawn(move || {
            let mut arrivals = Vec::new();
            let mut bytes = [0; 2048];
            while arrivals.len() < ARRIVALS_MAX {
                let stopping = stop.load(Ordering::Relaxed);
                match self.socket.recv(&mut bytes) {
                    // Also after `stop`, as long as something is there.
                    Ok(length) => arrivals.push(Arrival { at: Instant::now(), packet: bytes[..length].to_vec() }),
                    Err(_) if stopping => break,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => thread::sleep(LOOK),
                }
            }
            arrivals
        })
    }
}

/// What became of one direction.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Packets sent.
    pub sent: u64,
    /// Of these, that arrived, each once.
    pub received: u64,
    /// Of these, with every byte as it was sent.
    pub intact: u64,
    /// From sending to arrival, ms; none when nothing arrived.
    pub one_way: Option<OneWay>,
    /// The call's rating: median delay, a packet's length and the jitter buffer; what is later than that counts as lost.
    pub rating: Option<emodel::Rating>,
    /// What was said, after G.711.
    pub said: Vec<i16>,
    /// What was heard.
    pub heard: Vec<i16>,
}

/// Compares what was sent with what arrived, packet by packet.
pub fn compare(sent: &[Sent], arrivals: &[Arrival]) -> Heard {
    let mut by_number = HashMap::new();
    for sent in sent {
        if let Ok(packet) = Packet::parse(&sent.packet) {
            // More than 65,536 packets (22 minutes) share numbers: the timestamp tells them apart.
            by_number.insert((packet.header.sequence, packet.header.timestamp), (sent, false));
        }
    }
    let (mut recorder, mut delays, mut intact) = (Recorder::new(), Vec::new(), 0);
    let begin = sent.first().map_or_else(Instant::now, |first| first.at);
    for arrival in arrivals {
        recorder.push(arrival.at.saturating_duration_since(begin), &arrival.packet);
        let Ok(packet) = Packet::parse(&arrival.packet) else { continue };
        let Some((sent, seen)) = by_number.get_mut(&(packet.header.sequence, packet.header.timestamp)) else {
            continue;
        };
        if *seen {
            continue;
        }
        *seen = true;
        delays.push(arrival.at.saturating_duration_since(sent.at).as_secs_f64() * 1e3);
        intact += u64::from(arrival.packet == sent.packet);
    }
    let one_way = one_way(&delays);
    let rating = one_way.map(|OneWay { p50, .. }| {
        let heard = delays.iter().filter(|ms| **ms <= p50 + emodel::JITTER_BUFFER_MS).count();
        let unheard = 1.0 - heard as f64 / sent.len().max(1) as f64;
        emodel::rate(p50 + emodel::JITTER_BUFFER_MS + FRAME_MS as f64, unheard)
    });
    let payloads = sent.iter().flat_map(|s| Packet::parse(&s.packet).map_or(&[][..], |p| p.payload));
    Heard {
        sent: sent.len() as u64,
        received: delays.len() as u64,
        intact,
        one_way,
        rating,
        said: payloads.map(|code| Law::Mu.decode(*code)).collect(),
        heard: recorder.samples().to_vec(),
    }
}

/// Median and 99th percentile (nearest rank).
fn one_way(delays: &[f64]) -> Option<OneWay> {
    let mut sorted = delays.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |q: f64| sorted.get(((q * sorted.len() as f64).ceil() as usize).saturating_sub(1)).copied();
    Some(OneWay { p50: rank(0.5)?, p99: rank(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: usize, begin: Instant) -> Vec<Sent> {
        let mut sender = Sender::new(7, 65_530, 0);
        let at = |n: usize| begin + Duration::from_millis(20 * n as u64);
        (0..count).map(|n| Sent { at: at(n), packet: sender.packet(&[n as i16 * 10; 160]) }).collect()
    }

    fn arrive(sent: &Sent, ms: u64) -> Arrival {
        Arrival { at: sent.at + Duration::from_millis(ms), packet: sent.packet.to_vec() }
    }

    #[test]
    fn every_packet_is_accounted_for() {
        let sent = sent(100, Instant::now());
        let mut arrivals: Vec<_> = sent.iter().skip(2).map(|s| arrive(s, 30)).collect();
        arrivals.push(arrive(&sent[50], 31)); // again
        arrivals[10].packet[100] ^= 1;
        arrivals[20].at = sent[22].at + Duration::from_millis(200); // too late to be played
        arrivals.push(Arrival { at: Instant::now(), packet: vec![1, 2, 3] });
        let heard = compare(&sent, &arrivals);
        assert_eq!((heard.sent, heard.received, heard.intact), (100, 98, 97));
        assert_eq!(heard.one_way, Some(OneWay { p50: 30.0, p99: 200.0 }));
        let rating = heard.rating.expect("a rating");
        assert!((rating.r_factor - emodel::rate(110.0, 0.03).r_factor).abs() < 1e-9);
        assert_eq!((heard.said.len(), heard.heard.len()), (16_000, 98 * 160));
    }

    #[test]
    fn silence_has_no_delay_and_no_rating() {
        let heard = compare(&sent(3, Instant::now()), &[]);
        assert_eq!((heard.sent, heard.received, heard.one_way.is_none(), heard.rating.is_none()), (3, 0, true, true));
        assert_eq!(compare(&[], &[]).sent, 0);
    }

    #[test]
    fn what_is_played_is_heard() {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = Listener::bind([127, 0, 0, 1].into()).expect("a socket");
        let voice: Vec<i16> = (0..1600).map(|n| (n % 50) * 100).collect();
        let address = listener.address;
        let listening = listener.listen(&stop);
        let sent = play(&voice, address, (1, 2, 3), &stop).expect("plays").join().expect("ends");
        // The loopback has delivered what `send` took.
        stop.store(true, Ordering::Relaxed);
        let heard = compare(&sent, &listening.join().expect("ends"));
        assert_eq!((heard.sent, heard.received, heard.intact), (10, 10, 10));
        assert_eq!(heard.said, heard.heard);
    }
}
