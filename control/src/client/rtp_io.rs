//! The RTP thread: local UDP on one side, lines on the other. A softphone or ffmpeg speaks plain RTP to it (RFC 3550).
//!
//! The pacing thread never wakes this one: that would be a system call whose instant depends on speech. While a call is
//! up the thread looks every few milliseconds by itself.

use super::line::Outside;
use crate::media::rtp::Packet;
use drover_wire::cell::CellSize;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often what arrived for the local receiver is looked for while a call is up.
const POLL_UP: Duration = Duration::from_millis(3);
/// How often a beginning call is looked for.
const POLL_IDLE: Duration = Duration::from_millis(50);
/// Datagrams taken from one socket before the others have their turn.
const PER_TURN: usize = 64;
/// Errors of a socket in one turn after which the next datagram is waited for.
const FAULTS_MAX: usize = 8;
/// Between two notices about the same fault.
const NOTICE_EVERY: Duration = Duration::from_secs(10);
/// Bytes of the largest UDP payload, so that a notice can tell a packet's true size.
const DATAGRAM_MAX: usize = 65_535;
const WAKE: Token = Token(usize::MAX);

/// One end's RTP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPorts {
    /// The end's id, as in PutEnd.
    pub end: u32,
    /// Where RTP from the local source arrives; port 0 draws one.
    pub listen: SocketAddr,
    /// Where RTP from the network goes; `None`: to whoever sent last.
    pub send_to: Option<SocketAddr>,
}

/// What is let in.
#[derive(Clone, Copy, Debug)]
pub struct RtpRules {
    /// The zone's cell size: it limits packets.
    pub cell: CellSize,
    /// From any address; otherwise from loopback addresses only.
    pub allow_any: bool,
    /// Anything of a fitting length; otherwise RTP version 2 only.
    pub raw: bool,
}

/// Bound sockets and their lines. [`RtpIo::spawn`] starts the thread.
pub struct RtpIo {
    poll: Poll,
    waker: Arc<Waker>,
    rules: RtpRules,
    lines: Vec<Line>,
    notice: Box<dyn FnMut(&str) + Send>,
}

/// The running thread. Dropping it stops and joins it.
pub struct RtpThread {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

struct Line {
    outside: Outside,
    socket: UdpSocket,
    local: SocketAddr,
    send_to: Option<SocketAddr>,
    /// Fixed by the configuration, not learned.
    fixed: bool,
    readable: bool,
    too_large: Throttle,
    not_rtp: Throttle,
    foreign: Throttle,
}

impl RtpIo {
    /// Binds the ports of each line. `notice` takes what the user should know, one line each, a few a minute at most.
    ///
    /// # Errors
    /// What the system says, with the address.
    pub fn bind(
        lines: Vec<(Outside, RtpPorts)>,
        rules: RtpRules,
        notice: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<RtpIo> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let bound = lines.into_iter().enumerate().map(|(index, (outside, ports))| {
            let named =
                |e: io::Error| io::Error::new(e.kind(), format!("end {}: rtp_listen {}: {e}", ports.end, ports.listen));
            let mut socket = UdpSocket::bind(ports.listen).map_err(named)?;
            poll.registry().register(&mut socket, Token(index), Interest::READABLE).map_err(named)?;
            Ok(Line {
                outside,
                local: socket.local_addr().map_err(named)?,
                socket,
                send_to: ports.send_to,
                fixed: ports.send_to.is_some(),
                readable: true,
                too_large: Throttle::default(),
                not_rtp: Throttle::default(),
                foreign: Throttle::default(),
            })
        });
        let lines = bound.collect::<io::Result<Vec<_>>>()?;
        Ok(RtpIo { poll, waker, rules, lines, notice: Box::new(notice) })
    }

    /// Where each end listens: its id and the bound address.
    pub fn listening(&self) -> Vec<(u32, SocketAddr)> {
        self.lines.iter().map(|line| (line.outside.id(), line.local)).collect()
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(mut self) -> io::Result<RtpThread> {
        let stop = Arc::new(AtomicBool::new(false));
        let (waker, stopped) = (Arc::clone(&self.waker), Arc::clone(&stop));
        let thread = thread::Builder::new().name("rtp".to_owned()).spawn(move || {
            if let Err(e) = self.run(&stopped) {
                (self.notice)(&format!("RTP stops: {e}"));
            }
        })?;
        Ok(RtpThread { stop, waker, thread: Some(thread) })
    }

    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut buffer = vec![0; DATAGRAM_MAX];
        while !stop.load(Ordering::Acquire) {
            let timeout = match (self.lines.iter().any(|l| l.readable), self.lines.iter().any(|l| l.outside.is_up())) {
                (true, _) => Duration::ZERO,
                (false, true) => POLL_UP,
                (false, false) => POLL_IDLE,
            };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            for event in &events {
                if let Some(line) = self.lines.get_mut(event.token().0) {
                    line.readable = true;
                }
            }
            for line in &mut self.lines {
                line.listen(&mut buffer, &self.rules, &mut self.notice);
                line.speak();
            }
        }
        Ok(())
    }
}

impl RtpThread {
    /// True while it runs.
    pub fn alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops the thread and waits for it.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A waker that fails costs one idle timeout; a thread that panicked has printed so.
            let _ = self.waker.wake();
            let _ = thread.join();
        }
    }
}

impl Drop for RtpThread {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Line {
    /// From the local source to the network.
    fn listen(&mut self, buffer: &mut [u8], rules: &RtpRules, notice: &mut dyn FnMut(&str)) {
        let mut faults = 0;
        for _ in 0..PER_TURN {
            if !self.readable {
                return;
            }
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => self.hear(&buffer[..len], from, rules, notice),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                // An error may be about one datagram, with more behind it; errors without end wait for the next one.
                Err(_) => {
                    faults += 1;
                    self.readable = faults < FAULTS_MAX;
                }
            }
        }
    }

    fn hear(&mut self, packet: &[u8], from: SocketAddr, rules: &RtpRules, notice: &mut dyn FnMut(&str)) {
        let counters = Arc::clone(self.outside.counters());
        let end = self.outside.id();
        let now = Instant::now();
        if !rules.allow_any && !from.ip().to_canonical().is_loopback() {
            counters.rtp_foreign.add(1);
            if self.foreign.opens(now) {
                notice(&format!("end {end}: a datagram from {from} is ignored: only this host may speak here"));
            }
            return;
        }
        // An empty payload would be filler.
        let fault = match Packet::parse(packet) {
            _ if packet.is_empty() => Some("an empty datagram".to_owned()),
            Err(e) if !rules.raw => Some(e.to_string()),
            _ => None,
        };
        if let Some(fault) = fault {
            counters.rtp_not_rtp.add(1);
            if self.not_rtp.opens(now) {
                notice(&format!("end {end}: dropped what is no RTP packet: {fault}"));
            }
            return;
        }
        counters.rtp_in.add(1);
        if !self.fixed {
            self.send_to = Some(from);
        }
        if packet.len() > rules.cell.rtp_max() {
            counters.rtp_too_large.add(1);
            if self.too_large.opens(now) {
                notice(&too_large(end, packet.len(), rules.cell, self.local));
            }
        } else if !self.outside.is_up() {
            counters.rtp_no_call.add(1);
        } else if !self.outside.give(packet) {
            counters.rtp_ring_full.add(1);
        }
    }

    /// From the network to the local receiver.
    fn speak(&mut self) {
        let Line { outside, socket, send_to, .. } = self;
        let send = |packet: &[u8]| send_to.is_some_and(|to| socket.send_to(packet, to).is_ok());
        while let Some(sent) = outside.take_with(send) {
            let counters = outside.counters();
            counters.rtp_out.add(sent.into());
            counters.rtp_out_failed.add((!sent).into());
        }
    }
}

/// What a user can do about packets that are too large.
fn too_large(end: u32, len: usize, cell: CellSize, local: SocketAddr) -> String {
    let max = cell.rtp_max();
    let mut text =
        format!("end {end}: RTP packet of {len} bytes does not fit a {cell}-byte cell (at most {max}), dropped: ");
    // 20 ms of G.711 fit every cell.
    let _ = write!(
        text,
        "use 20 ms packets, e.g. `ffmpeg … -af aresample=8000,asetnsamples=160 -c:a pcm_mulaw -f rtp -pkt_size 172 \
         rtp://{local}`"
    );
    text
}

/// Lets the first through, then one each [`NOTICE_EVERY`].
#[derive(Default)]
struct Throttle {
    last: Option<Instant>,
}

impl Throttle {
    fn opens(&mut self, now: Instant) -> bool {
        let opens = self.last.is_none_or(|last| now.saturating_duration_since(last) >= NOTICE_EVERY);
        if opens {
            self.last = Some(now);
        }
        opens
    }
}

#[cfg(test)]
#[path = "rtp_io_tests.rs"]
mod tests;
