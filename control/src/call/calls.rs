//! One call at a time: its states at either side (`docs/wire.md`, W-CAL).
//!
//! ```text
//! caller:  looking up → calling → ringing ─┐
//!                                          ├→ joining → up ⇄ mending → ended
//! callee:  incoming ───────────────────────┘
//! ```

mod half;
mod signals;
mod view;

use super::choice::{below, secure};
use super::halves::Halves;
use super::handshake::{Answered, CallSecret, Introduction, Meeting, Offer, Reach};
use super::reach::{ReachEvent, Signalling};
use super::signal::{Kind, SignalKey};
use crate::circuit::builder::BuilderEvent;
use crate::message::hop;
use crate::plane::Now;
use crate::rendezvous::lookup::Asked;
use crate::rendezvous::messages::{Lookup, LookupAnswer, Mailbox, SIGNAL_BYTES, SignalIn, SignalOut};
use crate::zone::Zones;
use drover_dtls::certificate::{Certificate, Identity, NodeId, Role};
use half::Half;
use std::collections::VecDeque;
use std::sync::Arc;
use view::Recent;
pub use view::{CallCounters, CallEvent, CallState, CallView, EndReason, PeerView};
use zeroize::Zeroizing;

pub(super) const SECOND: u64 = 1_000_000_000;
/// How long the answer to a lookup may take.
const LOOKUP_PATIENCE: u64 = 6 * SECOND;
/// Lookups of one call, each at a mix drawn anew.
const LOOKUPS: u8 = 3;
/// A signal that waits for its answer is repeated after this, …
const REPEAT: u64 = 5 * SECOND;
/// … so often.
const REPEATS: u8 = 3;
/// How long the callee's client may ring.
const RING: u64 = 45 * SECOND;
/// The callee's client stops by itself a little later than the caller's gives up.
const RING_CALLEE: u64 = RING + 15 * SECOND;
/// How long a beginning call may take from the answer on.
const JOIN: u64 = 30 * SECOND;
/// How often the call's end is looked at.
const LOOK: u64 = 20_000_000;
/// Between the last word of a call and the end of its circuit: a few rounds, so that the word leaves.
const LINGER: u64 = 400_000_000;
/// The word that ends a call (W-CAL-9).
const HANG_UP: &[u8] = &[1];
/// Times that it is said: cells get lost.
const HANG_UPS: usize = 3;
/// Introductions a second that are looked at; the same number may come at once, four times over.
const INTRODUCTIONS: u64 = 4;
/// Events that wait to be taken.
const EVENTS_MAX: usize = 256;

/// How calls behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallConfig {
    /// Incoming calls are answered at once.
    pub auto_answer: bool,
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is a call already.
    Busy,
    /// There is no call that this could be said of.
    NoCall,
    /// Not registered yet: no circuit to the rendezvous mix.
    NotRegistered,
    /// The certificate is not of a client of a zone that is known here.
    Certificate,
    /// Oneself.
    Self_,
    /// The system gives no random bytes, or the like.
    System,
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CommandError::Busy => "there is a call already; hang up first",
            CommandError::NoCall => "there is no such call",
            CommandError::NotRegistered => "not registered at a rendezvous mix yet; see `status`, and try again",
            CommandError::Certificate => {
                "the certificate is not a valid one of a client whose zone's document is in `zones` of the configuration"
            }
            CommandError::Self_ => "this is our own certificate",
            CommandError::System => "the system gives no random bytes",
        })
    }
}

impl std::error::Error for CommandError {}

/// A call as this side has it.
struct Call {
    outgoing: bool,
    peer: Certificate,
    phase: Phase,
    /// When the phase is given up.
    until: u64,
    began: u64,
    up_at: Option<u64>,
    set_up: Option<u64>,
    circuit_ms: Option<f64>,
    /// Where we are reached by signals of this call.
    own_mailbox: Mailbox,
    /// Where the peer is; none before the lookup's answer.
    to: Option<Reach>,
    key: Option<SignalKey>,
    /// What is said again until its answer comes: the sealed signal, when next, how often yet.
    repeat: Option<(Vec<u8>, u64, u8)>,
    /// Signals of ours in this attempt: every attempt has two, repeats apart.
    said: u8,
    offer: Option<Offer>,
    introduction: Option<Introduction>,
    answered: Option<Answered>,
    /// What was said last as part of the handshake, to be said again when the peer repeats itself.
    answer: Option<Zeroizing<Vec<u8>>>,
    meeting: Option<Meeting>,
    secret: Option<CallSecret>,
    half: Half,
    attempt: u8,
    tries: u8,
    broken_at: Option<u64>,
    heard: (u64, u64),
}

enum Phase {
    LookingUp { asked: Asked, request: u32, lookups: u8 },
    Calling,
    Ringing,
    Incoming,
    Joining,
    Up,
    Mending,
}

/// A client's calls.
pub struct Calls {
    identity: Arc<Identity>,
    zones: Arc<Zones>,
    signalling: Signalling,
    config: CallConfig,
    call: Option<Box<Call>>,
    /// Halves whose last word is on its way.
    closing: Vec<(crate::circuit::builder::CircuitHandle, u64)>,
    recent: VecDeque<Recent>,
    events: VecDeque<CallEvent>,
    counters: CallCounters,
    next_request: u32,
    /// Introductions that may be looked at, in thousandths, and when that was so.
    allowance: (u64, u64),
    last: Option<EndReason>,
    /// When [`Calls::on_tick`] was last called.
    looked: u64,
}

impl Calls {
    /// No call, not registered.
    pub fn new(identity: Arc<Identity>, zones: Arc<Zones>, signalling: Signalling, config: CallConfig) -> Calls {
        Calls {
            identity,
            zones,
            signalling,
            config,
            call: None,
            closing: Vec::new(),
            recent: VecDeque::new(),
            events: VecDeque::new(),
            counters: CallCounters::default(),
            next_request: 1,
            allowance: (INTRODUCTIONS * 4 * 1000, 0),
            last: None,
            looked: 0,
        }
    }

    fn own(&self) -> NodeId {
        self.identity.certificate().id()
    }

    /// Calls the holder of a certificate.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was begun.
    pub fn call(&mut self, halves: &mut dyn Halves, now: Now, callee: &Certificate) -> Result<(), CommandError> {
        if self.call.is_some() || !self.closing.is_empty() {
            return Err(CommandError::Busy);
        }
        if callee.id() == self.own() {
            return Err(CommandError::Self_);
        }
        let authorities = self.zones.authorities();
        if callee.role() != Role::Client || callee.check(&authorities, now.unix_s).is_err() {
            return Err(CommandError::Certificate);
        }
        let (circuit, _) = self.signalling.circuit().ok_or(CommandError::NotRegistered)?;
        let (asked, request, bytes) = self.lookup(callee)?;
        if !halves.send(now, circuit, Lookup::KIND, &bytes) {
            return Err(CommandError::NotRegistered);
        }
        let mut own_mailbox = [0; 16];
        // All zeros would mean that there is none.
        while own_mailbox == [0; 16] {
            if !secure(&mut own_mailbox) {
                return Err(CommandError::System);
            }
        }
        let phase = Phase::LookingUp { asked, request, lookups: 1 };
        let mut call = Call::new(true, callee.clone(), phase, own_mailbox, now.mono_ns);
        call.until = now.mono_ns + LOOKUP_PATIENCE;
        self.call = Some(Box::new(call));
        self.changed(now);
        Ok(())
    }

    /// A lookup sealed to a mix of the callee's zone, every one equally likely (W-CAL-4).
    fn lookup(&mut self, callee: &Certificate) -> Result<(Asked, u32, Vec<u8>), CommandError> {
        let zone = self.zones.zone(callee.zone()).ok_or(CommandError::Certificate)?;
        let at = below(zone.mixes.len(), &mut secure).ok_or(CommandError::Certificate)?;
        let mix = &zone.mixes[at].certificate;
        let (asked, query) = Asked::new(callee.id(), &mix.static_key()).map_err(|_| CommandError::System)?;
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        Ok((asked, request, Lookup { mix: mix.id(), request, query }.encode()))
    }

    /// Answers the call that comes in.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn answer(&mut self, halves: &mut dyn Halves, now: Now) -> Result<(), CommandError> {
        let (_, rendezvous) = self.signalling.circuit().ok_or(CommandError::NotRegistered)?;
        let incoming = self.call.as_mut().filter(|call| matches!(call.phase, Phase::Incoming));
        let call = incoming.ok_or(CommandError::NoCall)?;
        let introduction = call.introduction.as_ref().ok_or(CommandError::NoCall)?;
        let (answered, bytes) = introduction.answer(&self.identity, rendezvous).map_err(|_| CommandError::System)?;
        call.meeting = Some(answered.meeting().clone());
        call.answered = Some(answered);
        let bytes = Zeroizing::new(bytes);
        call.answer = Some(bytes.clone());
        call.phase = Phase::Joining;
        call.until = now.mono_ns + JOIN;
        self.say(halves, now, Kind::Answer, &bytes, true);
        self.start_half(halves, now);
        self.changed(now);
        Ok(())
    }

    /// Refuses the call that comes in.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn reject(&mut self, halves: &mut dyn Halves, now: Now) -> Result<(), CommandError> {
        if !self.call.as_ref().is_some_and(|call| matches!(call.phase, Phase::Incoming)) {
            return Err(CommandError::NoCall);
        }
        self.say(halves, now, Kind::Reject, &[], false);
        self.remember_outcome(Kind::Reject);
        self.end(halves, now, EndReason::Rejected, "rejected here".to_owned());
        Ok(())
    }

    /// Ends the call, whatever its state.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn hang_up(&mut self, halves: &mut dyn Halves, now: Now) -> Result<(), CommandError> {
        let call = self.call.as_ref().ok_or(CommandError::NoCall)?;
        if matches!(call.phase, Phase::Incoming) {
            return self.reject(halves, now);
        }
        if let (Phase::Up, Half::Up(circuit)) = (&call.phase, call.half) {
            for _ in 0..HANG_UPS {
                // Without room the signal below says the same.
                let _ = halves.say(HANG_UP);
            }
            self.closing.push((circuit, now.mono_ns + LINGER));
            if let Some(call) = &mut self.call {
                call.half = Half::None;
            }
        }
        self.say(halves, now, Kind::Bye, &[], false);
        self.end(halves, now, EndReason::HungUp, "hung up here".to_owned());
        Ok(())
    }

    /// Takes what happened on a circuit.
    pub fn on_circuit(&mut self, halves: &mut dyn Halves, now: Now, event: &BuilderEvent) {
        let mut out = Vec::new();
        let taken = self.signalling.on_circuit(halves, now, event, &mut out);
        self.on_reach(halves, now, out);
        if taken.is_some() || self.on_half(halves, now, event) {
            return;
        }
        let BuilderEvent::Message { circuit, kind, bytes, .. } = event else { return };
        // An old signalling circuit is as good as its successor until it is closed; no other has signals.
        if self.signalling.circuit().is_none_or(|(current, _)| current != *circuit) {
            return;
        }
        match *kind {
            hop::LOOKUP_ANSWER => self.on_lookup_answer(halves, now, bytes),
            hop::SIGNAL => {
                if let Ok(SignalIn { sealed, .. }) = SignalIn::decode(bytes) {
                    self.on_signal(halves, now, &sealed);
                }
            }
            hop::FAILED => self.on_failed(halves, now, bytes),
            _ => self.counters.refused += 1,
        }
    }

    fn on_reach(&mut self, halves: &mut dyn Halves, now: Now, events: Vec<ReachEvent>) {
        for event in events {
            let fresh = matches!(event, ReachEvent::Registered { .. });
            self.push(match event {
                ReachEvent::Registered { rendezvous } => {
                    CallEvent::Registered { rendezvous: self.mix_name(rendezvous) }
                }
                ReachEvent::Lost { why } => CallEvent::Unregistered { why },
            });
            // The mailbox of an outgoing call is open on the circuit of before: it is opened on the new one.
            if fresh && self.call.as_ref().is_some_and(|call| call.outgoing && call.key.is_some()) {
                self.say(halves, now, Kind::Nothing, &[], false);
            }
        }
    }

    fn mix_name(&self, id: NodeId) -> String {
        self.zones.mix(id).map_or_else(|| id.to_string(), |(zone, mix)| format!("{}/{}", zone.zone, mix.name))
    }

    fn on_lookup_answer(&mut self, halves: &mut dyn Halves, now: Now, bytes: &[u8]) {
        let Ok(LookupAnswer { request, answer }) = LookupAnswer::decode(bytes) else { return };
        let Some(call) = &self.call else { return };
        let Phase::LookingUp { asked, request: ours, .. } = &call.phase else { return };
        if request != *ours {
            return;
        }
        let found = asked.open(&answer);
        match found {
            // A mix that answers nonsense is no reason to believe that the callee is unknown.
            Err(_) => self.look_up_again(halves, now),
            Ok(None) => {
                self.pretend(halves, now);
                let why =
                    "no mix of the callee's zone knows it: its client is not running, or not registered".to_owned();
                self.end(halves, now, EndReason::Unknown, why);
            }
            Ok(Some(registration)) => {
                let zone = self.zones.zone(call.peer.zone());
                let good = zone.is_some_and(|zone| {
                    registration.check(&zone.authority, now.unix_s).is_ok()
                        && zone.mixes.iter().any(|mix| mix.certificate.id() == registration.rendezvous())
                });
                match good {
                    true => self.introduce(halves, now, &registration),
                    false => self.look_up_again(halves, now),
                }
            }
        }
    }

    fn look_up_again(&mut self, halves: &mut dyn Halves, now: Now) {
        let Some(call) = &self.call else { return };
        let Phase::LookingUp { lookups, .. } = call.phase else { return };
        let peer = call.peer.clone();
        let again = match (lookups < LOOKUPS, self.signalling.circuit()) {
            (true, Some((circuit, _))) => self.lookup(&peer).ok().map(|made| (circuit, made)),
            _ => None,
        };
        match again {
            Some((circuit, (asked, request, bytes))) => {
                // What cannot be sent now counts as one that nobody answers.
                let _ = halves.send(now, circuit, Lookup::KIND, &bytes);
                if let Some(call) = &mut self.call {
                    call.phase = Phase::LookingUp { asked, request, lookups: lookups + 1 };
                    call.until = now.mono_ns + LOOKUP_PATIENCE;
                }
            }
            None => {
                self.pretend(halves, now);
                let why = "no mix of the callee's zone answers".to_owned();
                self.end(halves, now, EndReason::Unreachable, why);
            }
        }
    }

    /// Does what is due.
    pub fn on_tick(&mut self, halves: &mut dyn Halves, now: Now) {
        self.looked = now.mono_ns;
        let mut out = Vec::new();
        self.signalling.on_tick(halves, now, &mut out);
        self.on_reach(halves, now, out);
        self.closing.retain(|(circuit, at)| {
            if now.mono_ns >= *at {
                halves.close(now, *circuit);
            }
            now.mono_ns < *at
        });
        while let Some(word) = halves.hear() {
            let up = self.call.as_ref().is_some_and(|call| matches!(call.phase, Phase::Up));
            if up && word == HANG_UP {
                self.remember_peer_gone(halves, now, "the other side hung up");
            }
        }
        self.repeat(halves, now);
        self.watch_half(halves, now);
        let Some(call) = &self.call else { return };
        if now.mono_ns < call.until {
            return;
        }
        match call.phase {
            Phase::LookingUp { .. } => self.look_up_again(halves, now),
            Phase::Calling => {
                self.say(halves, now, Kind::Bye, &[], false);
                let why = "the callee's client does not answer: it may have gone".to_owned();
                self.end(halves, now, EndReason::Unreachable, why);
            }
            Phase::Ringing => {
                self.say(halves, now, Kind::Bye, &[], false);
                let why = format!("nobody answered within {} s", RING / SECOND);
                self.end(halves, now, EndReason::NoAnswer, why);
            }
            Phase::Incoming => {
                self.say(halves, now, Kind::Bye, &[], false);
                self.end(halves, now, EndReason::Missed, "nobody answered here".to_owned());
            }
            Phase::Joining | Phase::Mending => {
                self.say(halves, now, Kind::Bye, &[], false);
                let why = "the two halves of the call did not meet in time".to_owned();
                self.end(halves, now, EndReason::Broken, why);
            }
            Phase::Up => {}
        }
    }

    /// When [`Calls::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let call = self.call.as_ref().map(|_| self.looked + LOOK);
        let closing = self.closing.iter().map(|(_, at)| *at).min();
        [call, closing, self.signalling.deadline()].into_iter().flatten().min()
    }

    /// What happened.
    pub fn poll(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    /// The state now, for people and programs.
    pub fn view(&self, now: Now) -> CallView {
        CallView::of(self, now)
    }

    /// The counts.
    pub fn counters(&self) -> &CallCounters {
        &self.counters
    }

    /// Ends everything: the process stops. Words that were said need [`Halves`] for a little while yet.
    pub fn stop(&mut self, halves: &mut dyn Halves, now: Now) {
        // Without a call there is none to end.
        let _ = self.hang_up(halves, now);
    }

    fn changed(&mut self, now: Now) {
        let view = self.view(now);
        self.push(CallEvent::State(view));
    }

    fn push(&mut self, event: CallEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The call is over at this side: its half is closed, everything it kept is gone.
    fn end(&mut self, halves: &mut dyn Halves, now: Now, reason: EndReason, why: String) {
        let view = self.view(now);
        let Some(call) = self.call.take() else { return };
        if let Some(circuit) = call.half.circuit() {
            halves.close(now, circuit);
        }
        self.last = Some(reason);
        self.push(CallEvent::Ended { reason, why, call: view });
    }
}

impl Call {
    fn new(outgoing: bool, peer: Certificate, phase: Phase, own_mailbox: Mailbox, now_ns: u64) -> Call {
        Call {
            outgoing,
            peer,
            phase,
            until: u64::MAX,
            began: now_ns,
            up_at: None,
            set_up: None,
            circuit_ms: None,
            own_mailbox,
            to: None,
            key: None,
            repeat: None,
            said: 0,
            offer: None,
            introduction: None,
            answered: None,
            answer: None,
            meeting: None,
            secret: None,
            half: Half::None,
            attempt: 0,
            tries: 0,
            broken_at: None,
            heard: (0, 0),
        }
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
