//! Many idle links from one process: each has a socket, a place on its class's grid and keys of its own, and sends chaff.
//!
//! What a mix with a thousand users does is seen without a thousand processes. A crowd is one life with one random boot id;
//! it programs its links at the mix, plays them for a while, and removes them.

use super::derive::{LinkKeys, Lives};
use super::network::{Crowd, Network};
use super::program::ProgramError;
use crate::socket::ControlSocket;
use drover_crypto::reference::ReferenceRecords;
use drover_crypto::schedule::TrafficSecret;
use drover_dataplane::rig::Far;
use drover_wire::cell::{Command, Header, plaintext_len};
use drover_wire::control::{
    Address, BootId, Direction, Owner, Peer, PutClass, PutLink, Request, SLOTS_MAX, Secret, Welcome,
};
use drover_wire::record::record_len;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Generation of a crowd's keys; another crowd is another life.
const GENERATION: u32 = 1;
/// Keys ratchet every 2^this records: often enough to be seen in a long run.
const RATCHET_BITS: u8 = 16;
/// Longest wait of the loop, so that it notices when it shall stop.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Errors of a socket passed over in one go: the kernel holds one a socket.
const ERRORS_MAX: u32 = 4;

/// What one crowd saw, both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CrowdReport {
    /// The crowd's name.
    pub name: String,
    /// The mix.
    pub mix: String,
    /// Links.
    pub links: u32,
    /// Time measured, s.
    pub seconds: f64,
    /// The class's rate, records a second of each link and direction.
    pub rate: f64,
    /// Records sent to the mix.
    pub sent: u64,
    /// Records a second and link sent to the mix.
    pub sent_rate: f64,
    /// Records from the mix that opened.
    pub received: u64,
    /// Records a second and link from the mix.
    pub received_rate: f64,
    /// The slowest link's records a second from the mix.
    pub received_rate_least: f64,
    /// The fastest link's.
    pub received_rate_most: f64,
    /// Slots that this process missed: it, not the mix, was late.
    pub missed: u64,
    /// Datagrams that did not open.
    pub broken: u64,
}

/// One idle link.
struct IdleLink<const S: usize> {
    socket: UdpSocket,
    far: Far<ReferenceRecords, S>,
    /// Number of the next record: one a slot, missed ones included (W-NUM-1).
    number: u64,
    received: u64,
}

/// A crowd with its links programmed at the mix.
struct Playing<const S: usize> {
    links: Vec<IdleLink<S>>,
    socket: ControlSocket,
    boot: BootId,
    first_id: u32,
}

/// Plays crowd `index` of the network for `time` or until `stop`.
///
/// # Errors
///
/// [`ProgramError`]: the mix does not answer or refuses, a socket cannot be made.
pub fn play(network: &Network, index: usize, time: Duration, stop: &AtomicBool) -> Result<CrowdReport, ProgramError> {
    match network.cell {
        256 => play_sized::<256>(network, index, time, stop),
        512 => play_sized::<512>(network, index, time, stop),
        _ => play_sized::<1024>(network, index, time, stop),
    }
}

fn play_sized<const S: usize>(
    network: &Network,
    index: usize,
    time: Duration,
    stop: &AtomicBool,
) -> Result<CrowdReport, ProgramError> {
    let crowd = &network.crowds[index];
    let mut playing = Playing::<S>::begin(network, index)?;
    let result = playing.run(network, crowd, time, stop);
    // Also after an error: a mix keeps nothing of a crowd that is gone.
    let end = playing.end(&crowd.mix);
    let report = result.map_err(|error| {
        ProgramError::Network(format!("crowd {:?}: {error}; raise `ulimit -n`, or have fewer links", crowd.name))
    })?;
    end.map(|()| report)
}

impl<const S: usize> Playing<S> {
    fn begin(network: &Network, index: usize) -> Result<Self, ProgramError> {
        let crowd = &network.crowds[index];
        let odd = |what: &str| ProgramError::Network(format!("crowd {:?}: {what}", crowd.name));
        let node = network.nodes.iter().find(|n| n.name == crowd.mix).ok_or_else(|| odd("no such mix"))?;
        let class = network.class(&crowd.class).ok_or_else(|| odd("no such class"))?;
        let fail = |error| ProgramError::Socket(crowd.mix.clone(), error);
        let mut socket = ControlSocket::connect(&node.socket).map_err(fail)?;
        let welcome = socket.hello().map_err(fail)?;
        if welcome.cell != network.cell {
            return Err(odd("the mix has another cell size than the file"));
        }
        let worker = welcome.workers.get(usize::from(crowd.worker)).ok_or_else(|| odd("the mix has no such worker"))?;
        let mix = SocketAddr::from(worker.listen);
        let listen = node.listen.get(usize::from(crowd.worker)).filter(|a| a.port() != 0 && !a.ip().is_unspecified());
        let mix_at = listen.copied().unwrap_or(mix);
        let put = PutClass {
            boot: welcome.boot,
            class: class.id,
            kind: class.kind.into(),
            round_ns: network.round_ns(class),
            slots: class.slots,
            slots_max: class.slots.saturating_mul(4).min(SLOTS_MAX),
            at_ns: 0,
        };
        socket.done(&format!("class {:?}", class.name), &Request::PutClass(put)).map_err(fail)?;

        let mut boot = BootId::default();
        getrandom::fill(&mut boot.0).map_err(|error| odd(&format!("the system gives no random bytes: {error}")))?;
        let first_id = network.crowd_first_id(index);
        let mut playing = Playing { links: Vec::new(), socket, boot: welcome.boot, first_id };
        for number in 0..crowd.links {
            if let Err(error) = playing.add(crowd, number, (boot, &welcome), (mix.port(), mix_at), class.id) {
                // What is there already goes again; the first error is the one to tell.
                let _ = playing.end(&crowd.mix);
                return Err(error);
            }
        }
        Ok(playing)
    }

    fn add(
        &mut self,
        crowd: &Crowd,
        number: u32,
        (boot, welcome): (BootId, &Welcome),
        (local_port, mix): (u16, SocketAddr),
        class: u16,
    ) -> Result<(), ProgramError> {
        let any = if mix.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let bound = any.parse().map_err(std::io::Error::other).and_then(UdpSocket::bind);
        let socket = bound.and_then(|socket| socket.connect(mix).map(|()| socket));
        let (socket, here) = socket.and_then(|s| s.local_addr().map(|here| (s, here))).map_err(|error| {
            let name = &crowd.name;
            ProgramError::Network(format!("crowd {name:?}: socket {number}: {error}; raise `ulimit -n`"))
        })?;
        let lives = Lives { first: welcome.boot, second: boot };
        let name = format!("{}/{number}", crowd.name);
        let keys = LinkKeys::named(&crowd.secret, &name, (&crowd.mix, "crowd"), lives, GENERATION);
        let direction = |secret: &Secret<32>| Direction { secret: secret.clone(), first: 0 };
        let link = self.first_id + number;
        let put = PutLink {
            boot: welcome.boot,
            link,
            generation: GENERATION,
            local_port,
            remote: Address::from(here),
            class,
            peer: Peer::Drover,
            ratchet_bits: RATCHET_BITS,
            send: direction(&keys.a_to_b),
            receive: direction(&keys.b_to_a),
            owner: Owner::default(),
        };
        let put = Request::PutLink(put);
        self.socket
            .done(&format!("idle link {link}"), &put)
            .map_err(|error| ProgramError::Socket(format!("{}, crowd {}", crowd.mix, crowd.name), error))?;
        let (ours, theirs) = (TrafficSecret(keys.b_to_a.0), TrafficSecret(keys.a_to_b.0));
        let far = Far::new(&ours, &theirs, RATCHET_BITS);
        self.links.push(IdleLink { socket, far, number: 0, received: 0 });
        Ok(())
    }

    /// Sends one record a slot on every link and takes what comes.
    fn run(
        &mut self,
        network: &Network,
        crowd: &Crowd,
        time: Duration,
        stop: &AtomicBool,
    ) -> std::io::Result<CrowdReport> {
        let class = network.class(&crowd.class).ok_or_else(|| std::io::Error::other("no such class"))?;
        let period = Duration::from_nanos(network.round_ns(class) / u64::from(class.slots.max(1)));
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        for (at, link) in self.links.iter_mut().enumerate() {
            poll.registry().register(&mut link.socket, Token(at), Interest::READABLE)?;
        }
        let begin = Instant::now();
        let mut rng = StdRng::from_os_rng();
        let mut phase = || period.mul_f64(rng.random_range(0.0..1.0));
        let mut due: BinaryHeap<_> = (0..self.links.len()).map(|at| Reverse((begin + phase(), at))).collect();
        let mut chaff = vec![0; plaintext_len(S)];
        Header { circuit: 0, command: Command::Chaff, counter: 0 }.write(&mut chaff);
        let mut frame = vec![0; record_len(S)];
        let mut report = CrowdReport {
            name: crowd.name.clone(),
            mix: crowd.mix.clone(),
            links: crowd.links,
            rate: network.rate_of(class),
            ..CrowdReport::default()
        };
        while begin.elapsed() < time && !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            while let Some(&Reverse((at, index))) = due.peek().filter(|Reverse((at, _))| *at <= now) {
                due.pop();
                due.push(Reverse((at + period, index)));
                let link = &mut self.links[index];
                let number = link.number;
                link.number += 1;
                // Later than a slot: its number is burned and nothing is made up, as at every node.
                if at + period <= now {
                    report.missed += 1;
                    continue;
                }
                link.far.seal(number, &chaff, &mut frame);
                match link.socket.send(&frame) {
                    Ok(_) => report.sent += 1,
                    Err(_) => report.missed += 1,
                }
            }
            let next = due.peek().map_or(WAIT_MAX, |Reverse((at, _))| at.saturating_duration_since(Instant::now()));
            match poll.poll(&mut events, Some(next.min(WAIT_MAX))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                self.links[event.token().0].take(&mut report);
            }
        }
        let seconds = begin.elapsed().as_secs_f64().max(1e-3);
        let links = self.links.len().max(1) as f64;
        let rates = self.links.iter().map(|link| link.received as f64 / seconds);
        report.received_rate_least = rates.clone().fold(f64::INFINITY, f64::min);
        report.received_rate_most = rates.fold(0.0, f64::max);
        report.seconds = seconds;
        report.sent_rate = report.sent as f64 / seconds / links;
        report.received_rate = report.received as f64 / seconds / links;
        Ok(report)
    }

    /// Removes the links at the mix.
    fn end(&mut self, mix: &str) -> Result<(), ProgramError> {
        for number in 0..self.links.len() as u32 {
            let link = self.first_id + number;
            let remove = Request::RemoveLink { boot: self.boot, link };
            self.socket
                .done(&format!("idle link {link}"), &remove)
                .map_err(|error| ProgramError::Socket(mix.to_owned(), error))?;
        }
        Ok(())
    }
}

impl<const S: usize> IdleLink<S> {
    /// Takes all that has come: mio tells of it once.
    fn take(&mut self, report: &mut CrowdReport) {
        let mut datagram = [0; 2048];
        let mut errors = 0;
        while errors < ERRORS_MAX {
            match self.socket.recv(&mut datagram) {
                Ok(length) if self.far.open(&datagram[..length]).is_some() => {
                    self.received += 1;
                    report.received += 1;
                }
                Ok(_) => report.broken += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The mix went away: the kernel tells by an error for what was sent. The rates will show it.
                Err(_) => errors += 1,
            }
        }
    }
}
