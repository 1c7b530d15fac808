//! To be reached: one signalling circuit to the rendezvous mix, registered there and renewed (`docs/wire.md`, W-CAL-2).

use super::choice::{self, Choice, below, secure};
use super::halves::Halves;
use crate::circuit::builder::{BuilderEvent, CircuitHandle};
use crate::message::hop;
use crate::plane::Now;
use crate::rendezvous::messages::{Failed, Registered};
use crate::rendezvous::registration::{FORGET_S, REFRESH_S, Register, Registration};
use crate::rendezvous::sealed::Prekeys;
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
/// A signalling circuit is replaced after this, with a quarter of jitter either way.
const RENEW: u64 = 30 * 60 * SECOND;
/// How long a circuit may take to be built, and then a registration to be confirmed.
const PATIENCE: u64 = 20 * SECOND;
/// Circuits that fail one after the other before the rendezvous mix is taken to have failed.
const FAILURES: u32 = 5;
/// Between two attempts: this, doubled each time up to 32 times this.
const RETRY: u64 = SECOND;
/// Prekeys are made anew after this, s; those before them open what was sealed to them until the next.
const PREKEYS_S: u64 = 6 * 3600;
/// A registration is good for this long, s.
const LIFE_S: u64 = 12 * 3600;

/// What became of the way to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReachEvent {
    /// Registered at this mix, by a circuit that is new.
    Registered {
        /// The rendezvous mix.
        rendezvous: NodeId,
    },
    /// Not reached any more, or still not; why, for people.
    Lost {
        /// Why.
        why: String,
    },
}

struct Line {
    circuit: CircuitHandle,
    rendezvous: NodeId,
    /// When it was begun, became ready, or was last confirmed.
    since: u64,
    ready: bool,
}

/// The signalling circuit and what is registered.
pub struct Signalling {
    identity: Arc<Identity>,
    zones: Arc<Zones>,
    choice: Choice,
    /// Lab: this mix, whatever chance says.
    forced: Option<NodeId>,
    /// Registered.
    current: Option<Line>,
    /// To become so.
    next: Option<Line>,
    failures: u32,
    try_at: u64,
    renew_at: u64,
    refresh_at: u64,
    prekeys: Vec<Prekeys>,
    prekeys_s: u64,
    registration: Option<Registration>,
    /// End of validity of the last registration that was made.
    until_s: u64,
    /// When the last was said.
    said_s: u64,
}

impl Signalling {
    /// Not registered yet. `forced` is for labs: a rendezvous mix that is not drawn.
    pub fn new(identity: Arc<Identity>, zones: Arc<Zones>, choice: Choice, forced: Option<NodeId>) -> Signalling {
        Signalling {
            identity,
            zones,
            choice,
            forced,
            current: None,
            next: None,
            failures: 0,
            try_at: 0,
            renew_at: u64::MAX,
            refresh_at: u64::MAX,
            prekeys: Vec::new(),
            prekeys_s: 0,
            registration: None,
            until_s: 0,
            said_s: 0,
        }
    }

    /// The circuit that signals go by, and where it leads; `None` while not registered.
    pub fn circuit(&self) -> Option<(CircuitHandle, NodeId)> {
        self.current.as_ref().map(|line| (line.circuit, line.rendezvous))
    }

    /// The prekeys that signals may be sealed to, newest first.
    pub fn prekeys(&self) -> &[Prekeys] {
        &self.prekeys
    }

    /// Takes what happened on a circuit of ours; `None` when it is not.
    pub fn on_circuit(
        &mut self,
        halves: &mut dyn Halves,
        now: Now,
        event: &BuilderEvent,
        out: &mut Vec<ReachEvent>,
    ) -> Option<()> {
        let (BuilderEvent::Ready { circuit, .. }
        | BuilderEvent::Message { circuit, .. }
        | BuilderEvent::Gone { circuit, .. }) = event;
        let is = |line: &Option<Line>| line.as_ref().is_some_and(|line| line.circuit == *circuit);
        let (current, next) = (is(&self.current), is(&self.next));
        if !current && !next {
            return None;
        }
        match event {
            BuilderEvent::Ready { .. } => {
                if let Some(line) = self.next.as_mut().filter(|_| next) {
                    line.ready = true;
                    line.since = now.mono_ns;
                    let (circuit, rendezvous) = (line.circuit, line.rendezvous);
                    if let Err(why) = self.register(halves, now, circuit, rendezvous) {
                        self.failed(halves, now, why, out);
                    }
                }
            }
            BuilderEvent::Gone { why, .. } if next => {
                self.next = None;
                self.failed(halves, now, why.clone(), out);
            }
            BuilderEvent::Gone { why, .. } => {
                self.current = None;
                self.try_at = now.mono_ns;
                out.push(ReachEvent::Lost { why: why.clone() });
            }
            BuilderEvent::Message { kind: hop::REGISTERED, bytes, .. } => {
                let digest = self.registration.as_ref().map(Registration::digest);
                // The answer to a registration that is no more ours says nothing.
                if Registered::decode(bytes).ok().map(|said| said.digest) == digest && digest.is_some() {
                    self.confirmed(halves, now, next, out);
                }
            }
            BuilderEvent::Message { kind: hop::FAILED, bytes, .. } => match Failed::decode(bytes) {
                Ok(Failed { asked: hop::REGISTER, reason, .. }) if next => {
                    self.failed(halves, now, reason.to_string(), out);
                }
                // The registration of before is still good, or will be missed in time.
                Ok(Failed { asked: hop::REGISTER, .. }) => self.registration = None,
                _ => return None,
            },
            BuilderEvent::Message { .. } => return None,
        }
        Some(())
    }

    fn confirmed(&mut self, halves: &mut dyn Halves, now: Now, next: bool, out: &mut Vec<ReachEvent>) {
        self.failures = 0;
        if next && let Some(line) = self.next.take() {
            let rendezvous = line.rendezvous;
            if let Some(old) = self.current.replace(line) {
                halves.close(now, old.circuit);
            }
            self.renew_at = now.mono_ns + jitter(RENEW);
            self.refresh_at = now.mono_ns + REFRESH_S * SECOND;
            out.push(ReachEvent::Registered { rendezvous });
        }
        if let Some(line) = &mut self.current {
            line.since = now.mono_ns;
        }
    }

    /// Does what is due.
    pub fn on_tick(&mut self, halves: &mut dyn Halves, now: Now, out: &mut Vec<ReachEvent>) {
        let at = now.mono_ns;
        if let Some(line) = &self.next
            && at >= line.since + PATIENCE
        {
            let what = if line.ready { "confirms no registration" } else { "is not reached" };
            let why = format!("the rendezvous mix {what} within {} s", PATIENCE / SECOND);
            self.failed(halves, now, why, out);
        }
        if let Some(line) = &self.current
            && at >= line.since + FORGET_S * SECOND
        {
            let why = format!("the rendezvous mix has confirmed nothing for {FORGET_S} s");
            halves.close(now, line.circuit);
            self.current = None;
            self.try_at = at;
            out.push(ReachEvent::Lost { why });
        }
        if at >= self.refresh_at
            && let Some(line) = &self.current
        {
            self.refresh_at = at + REFRESH_S * SECOND;
            let (circuit, rendezvous) = (line.circuit, line.rendezvous);
            // What cannot be sent now is tried at the next refresh; three may be missed.
            let _ = self.register(halves, now, circuit, rendezvous);
            // A new epoch may have another mix.
            if self.wanted(now).is_ok_and(|wanted| wanted != rendezvous) {
                self.renew_at = at;
            }
        }
        let wanted = self.current.is_none() || at >= self.renew_at;
        if wanted && self.next.is_none() && at >= self.try_at {
            self.begin(halves, now, out);
        }
    }

    /// When [`Signalling::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let next = self.next.as_ref().map(|line| line.since + PATIENCE);
        let begin = match (&self.next, &self.current) {
            (Some(_), _) => None,
            (None, None) => Some(self.try_at),
            (None, Some(_)) => Some(self.renew_at.max(self.try_at)),
        };
        let current = self.current.as_ref().map(|line| self.refresh_at.min(line.since + FORGET_S * SECOND));
        [next, begin, current].into_iter().flatten().min()
    }

    fn wanted(&mut self, now: Now) -> Result<NodeId, String> {
        match self.forced {
            Some(forced) => Ok(forced),
            None => self.choice.current(self.zones.own(), now.unix_s, &mut secure),
        }
    }

    fn begin(&mut self, halves: &mut dyn Halves, now: Now, out: &mut Vec<ReachEvent>) {
        match self.wanted(now) {
            Err(why) => self.failed(halves, now, why, out),
            Ok(rendezvous) => match halves.open(now, rendezvous, false) {
                Some(circuit) => {
                    self.next = Some(Line { circuit, rendezvous, since: now.mono_ns, ready: false });
                }
                // Without a link nothing has failed but the link, whose own affair that is.
                None => self.try_at = now.mono_ns + RETRY,
            },
        }
    }

    /// An attempt came to nothing: the next one later, at another mix when it was one too many.
    fn failed(&mut self, halves: &mut dyn Halves, now: Now, why: String, out: &mut Vec<ReachEvent>) {
        if let Some(line) = self.next.take() {
            halves.close(now, line.circuit);
        }
        self.try_at = now.mono_ns + (RETRY << self.failures.min(5));
        self.failures += 1;
        if self.current.is_none() {
            if self.failures.is_multiple_of(FAILURES) && self.forced.is_none() {
                // When the file cannot be written the choice stays as it is.
                let _ = self.choice.failed();
            }
            out.push(ReachEvent::Lost { why });
        }
    }

    fn register(
        &mut self,
        halves: &mut dyn Halves,
        now: Now,
        circuit: CircuitHandle,
        rendezvous: NodeId,
    ) -> Result<(), String> {
        let epoch = u32::try_from(choice::epoch(self.zones.own(), now.unix_s)).unwrap_or(u32::MAX);
        let old = self.prekeys.is_empty() || now.unix_s >= self.prekeys_s + PREKEYS_S;
        if old {
            self.prekeys.insert(0, Prekeys::generate().map_err(|error| error.to_string())?);
            self.prekeys.truncate(2);
            self.prekeys_s = now.unix_s;
        }
        let good = |made: &Registration| made.rendezvous() == rendezvous && made.epoch() == epoch && !old;
        if !self.registration.as_ref().is_some_and(good) {
            // Of two registrations of an epoch the one that is valid for longer counts.
            self.until_s = (now.unix_s + LIFE_S).max(self.until_s + 1);
            let prekeys = self.prekeys[0].public();
            let made = Registration::make(&self.identity, rendezvous, epoch, self.until_s, prekeys);
            self.registration = Some(made.map_err(|error| error.to_string())?);
        }
        let Some(registration) = &self.registration else { return Ok(()) };
        self.said_s = now.unix_s.max(self.said_s + 1);
        let register = Register::make(&self.identity, registration, self.said_s);
        match halves.send(now, circuit, Register::KIND, &register.encode()) {
            true => Ok(()),
            false => Err("the circuit to the rendezvous mix takes no message".to_owned()),
        }
    }
}

/// A quarter more or less.
fn jitter(ns: u64) -> u64 {
    let span = usize::try_from(ns / 2).unwrap_or(usize::MAX);
    let part = below(span, &mut secure).and_then(|part| u64::try_from(part).ok()).unwrap_or(ns / 4);
    ns - ns / 4 + part
}
