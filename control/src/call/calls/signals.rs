//! Signals of a call: introducing, ringing, answering, and what keeps their number the same.

use super::view::{RECENT_MAX, Recent};
use super::*;
use crate::call::handshake;
use crate::call::signal::{open_first, seal_first};
use crate::rendezvous::messages::{Failed, Reason, SealedMailbox};
use crate::rendezvous::registration::Registration;

/// Signals of ours in an attempt to call.
const SIGNALS: u8 = 2;

impl Calls {
    /// The callee is found: asks its client to ring.
    pub(super) fn introduce(&mut self, halves: &mut dyn Halves, now: Now, registration: &Registration) {
        let Some((_, rendezvous)) = self.signalling.circuit() else {
            return self.end(halves, now, EndReason::Unreachable, "our own circuit is gone".to_owned());
        };
        let Some(call) = &mut self.call else { return };
        let own = Reach { rendezvous, mailbox: call.own_mailbox };
        let made =
            handshake::introduce(&self.identity, call.peer.id(), own, now.unix_s).ok().and_then(|(offer, bytes)| {
                let (sealed, key) = seal_first(registration.prekeys(), Kind::Introduce, &bytes).ok()?;
                Some((offer, sealed, key))
            });
        let Some((offer, sealed, key)) = made else {
            return self.end(halves, now, EndReason::Unreachable, "the callee's keys are none".to_owned());
        };
        call.to = Some(Reach { rendezvous: registration.rendezvous(), mailbox: call.peer.id().0 });
        call.offer = Some(offer);
        call.key = Some(key);
        call.phase = Phase::Calling;
        call.until = now.mono_ns + REPEAT * u64::from(REPEATS + 1);
        self.send_sealed(halves, now, sealed, true);
        self.changed(now);
    }

    /// Sends a signal of the call; `again`: until its answer comes.
    pub(super) fn say(&mut self, halves: &mut dyn Halves, now: Now, kind: Kind, data: &[u8], again: bool) {
        let Some(call) = &self.call else { return };
        match &call.key {
            // Randomness that is not there now is not there for anything else either.
            Some(key) => {
                if let Ok(sealed) = key.seal(kind, data) {
                    self.send_sealed(halves, now, sealed, again);
                }
            }
            None => self.pretend(halves, now),
        }
    }

    fn send_sealed(&mut self, halves: &mut dyn Halves, now: Now, sealed: Vec<u8>, again: bool) {
        let Some(call) = &mut self.call else { return };
        call.repeat = again.then(|| (sealed.clone(), now.mono_ns + REPEAT, REPEATS));
        call.said = call.said.saturating_add(1);
        let Some(to) = call.to else { return };
        let reply = call.outgoing.then_some(call.own_mailbox);
        self.post(halves, now, to, reply, sealed);
    }

    fn post(&mut self, halves: &mut dyn Halves, now: Now, to: Reach, reply: Option<Mailbox>, sealed: Vec<u8>) {
        let Some((circuit, _)) = self.signalling.circuit() else { return };
        let Some((_, mix)) = self.zones.mix(to.rendezvous) else { return };
        let Ok(mailbox) = SealedMailbox::seal(&mix.certificate.static_key(), &to.mailbox) else { return };
        let out = SignalOut { mix: to.rendezvous, mailbox, reply, sealed };
        // A channel without room is one that gets nothing through: what waits for an answer is repeated.
        if halves.send(now, circuit, SignalOut::KIND, &out.encode()) {
            self.counters.signals_sent += 1;
        }
    }

    /// A call that cannot be made sends what one sends that is refused (W-CAL-4): to a mix of the callee's zone, every
    /// one equally likely, for a mailbox that is nobody's.
    pub(super) fn pretend(&mut self, halves: &mut dyn Halves, now: Now) {
        let Some(call) = &mut self.call else { return };
        let missing = SIGNALS.saturating_sub(call.said);
        call.said = SIGNALS;
        let own = call.own_mailbox;
        let Some(zone) = self.zones.zone(call.peer.zone()) else { return };
        let Some(at) = below(zone.mixes.len(), &mut secure) else { return };
        let rendezvous = zone.mixes[at].certificate.id();
        let mut mailbox = [0; 16];
        for _ in 0..missing {
            let mut sealed = vec![0; SIGNAL_BYTES];
            if secure(&mut mailbox) && secure(&mut sealed) {
                self.post(halves, now, Reach { rendezvous, mailbox }, Some(own), sealed);
            }
        }
    }

    pub(super) fn repeat(&mut self, halves: &mut dyn Halves, now: Now) {
        let Some(call) = &mut self.call else { return };
        let Some((sealed, at, left)) = &mut call.repeat else { return };
        if now.mono_ns < *at || *left == 0 {
            return;
        }
        *at = now.mono_ns + REPEAT;
        *left -= 1;
        let (sealed, to) = (sealed.clone(), call.to);
        let reply = call.outgoing.then_some(call.own_mailbox);
        if let Some(to) = to {
            self.post(halves, now, to, reply, sealed);
        }
    }

    pub(super) fn on_failed(&mut self, halves: &mut dyn Halves, now: Now, bytes: &[u8]) {
        let Ok(Failed { asked, request, reason }) = Failed::decode(bytes) else { return };
        let Some(call) = &self.call else { return };
        match (asked, &call.phase) {
            (hop::LOOKUP, Phase::LookingUp { request: ours, .. }) if request == *ours => {
                self.look_up_again(halves, now);
            }
            (hop::SIGNAL, Phase::Calling) if reason == Reason::NoRoute => {
                self.pretend(halves, now);
                self.end(halves, now, EndReason::Unreachable, reason.to_string());
            }
            _ => {}
        }
    }

    pub(super) fn on_signal(&mut self, halves: &mut dyn Halves, now: Now, sealed: &[u8]) {
        let ours = self.call.as_ref().and_then(|call| call.key.as_ref()).and_then(|key| key.open(sealed));
        if let Some((kind, data)) = ours {
            self.counters.signals_received += 1;
            return self.on_said(halves, now, kind, &data);
        }
        if !self.allowed(now) {
            self.counters.flooded += 1;
            return;
        }
        let opened = self.signalling.prekeys().iter().find_map(|prekeys| open_first(prekeys, sealed));
        let read = opened.and_then(|((kind, data), key)| {
            let (own, zones) = (self.own(), self.zones.authorities());
            let introduction = Introduction::read(&data, own, &zones, now.unix_s).ok()?;
            (kind == Kind::Introduce).then_some((introduction, key))
        });
        match read {
            Some((introduction, key)) => {
                self.counters.signals_received += 1;
                self.on_introduction(halves, now, introduction, key);
            }
            // Also a late signal of a call that is over.
            None => self.counters.refused += 1,
        }
    }

    /// Each costs a few hundred microseconds: a flood must not hold up the call that is up.
    fn allowed(&mut self, now: Now) -> bool {
        let (left, at) = self.allowance;
        let grown = now.mono_ns.saturating_sub(at) / 1_000_000 * INTRODUCTIONS;
        let left = left.saturating_add(grown).min(INTRODUCTIONS * 4 * 1000);
        let allowed = left >= 1000;
        self.allowance = (left - if allowed { 1000 } else { 0 }, now.mono_ns);
        allowed
    }

    fn on_introduction(&mut self, halves: &mut dyn Halves, now: Now, introduction: Introduction, key: SignalKey) {
        let fingerprint = introduction.fingerprint();
        if let Some(recent) = self.recent.iter().find(|recent| recent.fingerprint == fingerprint) {
            let (outcome, reach) = (recent.outcome, recent.reach);
            let sealed = outcome.and_then(|kind| recent.key.seal(kind, &[]).ok());
            if let Some(sealed) = sealed {
                return self.post(halves, now, reach, None, sealed);
            }
            let current = self.call.as_ref().and_then(|call| call.introduction.as_ref());
            if current.is_some_and(|current| current.fingerprint() == fingerprint) {
                let answer = self.call.as_ref().and_then(|call| call.answer.clone());
                let (kind, data) =
                    answer.map_or((Kind::Ringing, Zeroizing::new(Vec::new())), |data| (Kind::Answer, data));
                // An answer is being repeated anyway; that goes on.
                let repeat = self.call.as_mut().and_then(|call| call.repeat.take());
                self.say(halves, now, kind, &data, false);
                if let Some(call) = &mut self.call {
                    call.repeat = repeat;
                }
            }
            return;
        }
        let reach = introduction.reach;
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front(Recent { fingerprint, outcome: None, key: key.clone(), reach });
        let mut accept = self.config.auto_answer;
        if let Some(call) = &self.call {
            let glare = call.outgoing
                && call.peer.id() == introduction.caller.id()
                && matches!(call.phase, Phase::LookingUp { .. } | Phase::Calling | Phase::Ringing);
            match glare {
                // Both call each other: the call of the smaller id goes on, and both want it.
                true if self.own() < introduction.caller.id() => return,
                true => {
                    self.pretend(halves, now);
                    self.call = None;
                    accept = true;
                }
                false => return self.busy(halves, now, reach, &key),
            }
        } else if !self.closing.is_empty() {
            return self.busy(halves, now, reach, &key);
        }
        let caller = introduction.caller.clone();
        let mut call = Call::new(false, caller, Phase::Incoming, self.own().0, now.mono_ns);
        call.until = now.mono_ns + RING_CALLEE;
        call.to = Some(reach);
        call.key = Some(key);
        call.introduction = Some(introduction);
        self.call = Some(Box::new(call));
        self.say(halves, now, Kind::Ringing, &[], false);
        self.changed(now);
        if accept {
            // It is there: nothing else can be wrong but randomness, and then the caller gives up.
            let _ = self.answer(halves, now);
        }
    }

    /// As many signals as ringing and rejecting are.
    fn busy(&mut self, halves: &mut dyn Halves, now: Now, to: Reach, key: &SignalKey) {
        if let Some(recent) = self.recent.front_mut() {
            recent.outcome = Some(Kind::Busy);
        }
        for kind in [Kind::Busy, Kind::Nothing] {
            if let Ok(sealed) = key.seal(kind, &[]) {
                self.post(halves, now, to, None, sealed);
            }
        }
    }

    /// Repeats of the introduction are answered so from now on.
    pub(super) fn remember_outcome(&mut self, outcome: Kind) {
        let current = self.call.as_ref().and_then(|call| call.introduction.as_ref()).map(Introduction::fingerprint);
        if let Some(recent) = self.recent.iter_mut().find(|recent| Some(recent.fingerprint) == current) {
            recent.outcome = Some(outcome);
        }
    }

    fn on_said(&mut self, halves: &mut dyn Halves, now: Now, kind: Kind, data: &[u8]) {
        let Some(call) = &mut self.call else { return };
        let waiting = matches!(call.phase, Phase::Calling | Phase::Ringing) && call.outgoing;
        match kind {
            Kind::Ringing if matches!(call.phase, Phase::Calling) => {
                call.repeat = None;
                call.phase = Phase::Ringing;
                call.until = now.mono_ns + RING;
                self.changed(now);
            }
            Kind::Answer if call.outgoing => self.on_answer(halves, now, data, waiting),
            Kind::Busy | Kind::Reject if waiting => {
                let (reason, why) = match kind {
                    Kind::Busy => (EndReason::Busy, "the callee is in another call"),
                    _ => (EndReason::Rejected, "the callee does not take the call"),
                };
                self.say(halves, now, Kind::Nothing, &[], false);
                self.end(halves, now, reason, why.to_owned());
            }
            Kind::Reveal if !call.outgoing => {
                let Some(answered) = &call.answered else { return };
                match (answered.finish(data), &call.secret) {
                    (_, Some(_)) => {}
                    (Ok(secret), None) => {
                        call.secret = Some(secret);
                        call.repeat = None;
                        self.changed(now);
                        self.try_up(halves, now);
                    }
                    (Err(refusal), None) => {
                        self.say(halves, now, Kind::Bye, &[], false);
                        self.end(halves, now, EndReason::Broken, refusal.to_string());
                    }
                }
            }
            Kind::Bye => match call.phase {
                Phase::Ringing => self.end(halves, now, EndReason::NoAnswer, "nobody answered".to_owned()),
                Phase::Incoming => self.end(halves, now, EndReason::Missed, "the caller gave up".to_owned()),
                _ => self.remember_peer_gone(halves, now, "the other side ended the call"),
            },
            Kind::Mend => {
                if let [attempt] = data {
                    self.on_mend(halves, now, *attempt);
                }
            }
            _ => {}
        }
    }

    fn on_answer(&mut self, halves: &mut dyn Halves, now: Now, data: &[u8], waiting: bool) {
        let Some(call) = &mut self.call else { return };
        if !waiting {
            // The callee has not heard the reveal yet.
            if let Some(reveal) = call.answer.clone().filter(|_| matches!(call.phase, Phase::Joining | Phase::Up)) {
                self.say(halves, now, Kind::Reveal, &reveal, false);
            }
            return;
        }
        let Some(offer) = &call.offer else { return };
        match offer.finish(data, &call.peer) {
            Ok((rendezvous, meeting, secret, reveal)) => {
                // The callee may have moved since it registered; it stays within its zone.
                let zone = self.zones.zone(call.peer.zone());
                if !zone.is_some_and(|zone| zone.mixes.iter().any(|mix| mix.certificate.id() == rendezvous)) {
                    self.say(halves, now, Kind::Bye, &[], false);
                    let why = "the callee names a rendezvous mix that its zone does not have".to_owned();
                    return self.end(halves, now, EndReason::Broken, why);
                }
                call.to = Some(Reach { rendezvous, mailbox: call.peer.id().0 });
                call.meeting = Some(meeting);
                call.secret = Some(secret);
                call.phase = Phase::Joining;
                call.until = now.mono_ns + JOIN;
                let reveal = Zeroizing::new(reveal);
                call.answer = Some(reveal.clone());
                self.say(halves, now, Kind::Reveal, &reveal, false);
                self.start_half(halves, now);
                self.changed(now);
            }
            Err(refusal) => {
                self.say(halves, now, Kind::Bye, &[], false);
                self.end(halves, now, EndReason::Broken, refusal.to_string());
            }
        }
    }

    /// The other side has ended the call.
    pub(super) fn remember_peer_gone(&mut self, halves: &mut dyn Halves, now: Now, why: &str) {
        self.end(halves, now, EndReason::HungUp, why.to_owned());
    }
}
