//! Voices in both directions of every call, piece after piece. When a piece has been said there is a pause until its last
//! packets are out; then it is compared, and the next begins.

use super::report::VoiceReport;
use crate::demo::audio::{Arrival, Listener, Sent, compare, play};
use crate::lab::network::Network;
use crate::media::speech;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that the last packets of a piece have to come out.
const DRAIN: Duration = Duration::from_millis(800);

/// One direction of a call.
struct Way {
    takes: SocketAddr,
    ear: Listener,
}

/// A piece being played.
struct Piece {
    say: Arc<AtomicBool>,
    hear: Arc<AtomicBool>,
    says: Vec<JoinHandle<Vec<Sent>>>,
    hears: Vec<JoinHandle<Vec<Arrival>>>,
    /// All is said; heard until then.
    until: Option<Instant>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.say.store(true, Ordering::Relaxed);
        self.hear.store(true, Ordering::Relaxed);
    }
}

struct Call {
    ways: [Way; 2],
    piece: Option<Piece>,
    held: bool,
    report: VoiceReport,
}

/// The voices of all calls.
pub struct Voices {
    calls: Vec<Call>,
    length: f64,
}

impl Voices {
    /// Voices for the network's calls in pieces of `length` s; nothing is said yet.
    pub fn new(
        network: &Network,
        takes: &[Option<SocketAddr>],
        mut ears: BTreeMap<String, Listener>,
        length: f64,
    ) -> Result<Voices, String> {
        let mut calls = Vec::new();
        for call in &network.calls {
            let (Some(caller), Some(callee)) = (call.path.first(), call.path.last()) else { continue };
            let mut way = |from: &str, to: &str| {
                let takes = network.node(from).and_then(|node| takes[node]);
                let way = takes.zip(ears.remove(to)).map(|(takes, ear)| Way { takes, ear });
                way.ok_or_else(|| format!("call {:?}: {from} or {to} is no client", call.name))
            };
            let ways = [way(caller, callee)?, way(callee, caller)?];
            let report = VoiceReport { call: call.name.clone(), ..VoiceReport::default() };
            calls.push(Call { ways, piece: None, held: false, report });
        }
        Ok(Voices { calls, length })
    }

    /// Goes on: what is said is heard out, what is heard is compared, and then the next piece begins.
    pub fn turn(&mut self) -> Result<(), String> {
        for call in &mut self.calls {
            match &mut call.piece {
                None if call.held => {}
                None => call.piece = Some(Piece::begin(&call.ways, self.length)?),
                Some(piece) => match piece.until {
                    None if piece.says.iter().all(JoinHandle::is_finished) => {
                        piece.until = Some(Instant::now() + DRAIN);
                    }
                    Some(until) if Instant::now() >= until => {
                        piece.end(&mut call.report)?;
                        call.piece = None;
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// Ends the piece of a call early, and begins no other.
    pub fn hold(&mut self, call: usize) {
        let call = &mut self.calls[call];
        call.held = true;
        if let Some(piece) = &call.piece {
            piece.say.store(true, Ordering::Relaxed);
        }
    }

    /// Ends all.
    pub fn hold_all(&mut self) {
        (0..self.calls.len()).for_each(|call| self.hold(call));
    }

    /// Nothing is said or on its way.
    pub fn idle(&self, call: usize) -> bool {
        self.calls[call].piece.is_none()
    }

    /// Nothing is said or on its way in any call.
    pub fn all_idle(&self) -> bool {
        (0..self.calls.len()).all(|call| self.idle(call))
    }

    /// Lets pieces begin again.
    pub fn release(&mut self, call: usize) {
        self.calls[call].held = false;
    }

    /// Counts from now on; pieces that began before and end later count whole.
    pub fn begin_count(&mut self) {
        for VoiceReport { sent, received, intact, .. } in self.calls.iter_mut().map(|call| &mut call.report) {
            (*sent, *received, *intact) = (0, 0, 0);
        }
    }

    /// What became of the pieces that have ended.
    pub fn reports(&self) -> Vec<VoiceReport> {
        self.calls.iter().map(|call| call.report.clone()).collect()
    }
}

impl Piece {
    fn begin(ways: &[Way], seconds: f64) -> Result<Piece, String> {
        let (say, hear) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // Dropped with its flags set when something fails.
        let mut piece = Piece { say, hear, says: Vec::new(), hears: Vec::new(), until: None };
        let mut rng = StdRng::from_os_rng();
        for way in ways {
            piece.hears.push(way.ear.again()?.listen(&piece.hear));
        }
        for way in ways {
            let voice = speech::generate(rng.random(), seconds);
            piece.says.push(play(&voice, way.takes, rng.random(), &piece.say)?);
        }
        Ok(piece)
    }

    fn end(&mut self, report: &mut VoiceReport) -> Result<(), String> {
        const PANIC: &str = "a thread of a voice panicked; this is a fault of drover";
        self.hear.store(true, Ordering::Relaxed);
        for (says, hears) in self.says.drain(..).zip(self.hears.drain(..)) {
            let heard = compare(&says.join().map_err(|_| PANIC)?, &hears.join().map_err(|_| PANIC)?);
            report.sent += heard.sent;
            report.received += heard.received;
            report.intact += heard.intact;
        }
        Ok(())
    }
}
