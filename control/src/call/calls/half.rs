//! A call's half: built, joined with the other, handed over; and mended when it breaks (W-CAL-8).

use super::*;
use crate::circuit::builder::CircuitHandle;
use crate::rendezvous::messages::{Failed, Join, Joined, Token};

/// How long a half may take from its beginning to JOINED.
const MEET: u64 = 9 * SECOND;
/// Attempts to mend a call, …
const MENDS: u8 = 3;
/// … all within this.
const MEND: u64 = 20 * SECOND;
/// A call whose peer is not heard for this long is broken.
const SILENCE: u64 = 5 * SECOND;
/// From JOINED to the handing over: the rendezvous mix hears that JOINED came, a few rounds.
const SETTLE: u64 = SECOND / 10;
/// While there is no link, a half is begun this often.
const RETRY: u64 = SECOND / 2;
/// Attempts of one call at most: their number is a byte.
const ATTEMPTS_MAX: u8 = 200;

/// Our half of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// None yet, or none any more; to be begun at this instant where it is wanted.
    None,
    /// Wanted, without a link to build it over.
    Wanted(u64),
    /// Being built; to be joined by then.
    Building(CircuitHandle, u64),
    /// JOIN is said.
    Joining(CircuitHandle, u64),
    /// JOINED: handed over from this instant on, once the keys are agreed.
    Joined(CircuitHandle, u64),
    /// Handed over.
    Up(CircuitHandle),
}

impl Half {
    pub(super) fn circuit(self) -> Option<CircuitHandle> {
        match self {
            Half::None | Half::Wanted(_) => None,
            Half::Building(circuit, _) | Half::Joining(circuit, _) | Half::Joined(circuit, _) | Half::Up(circuit) => {
                Some(circuit)
            }
        }
    }
}

impl Calls {
    pub(super) fn start_half(&mut self, halves: &mut dyn Halves, now: Now) {
        let rendezvous = self.signalling.circuit().map(|(_, rendezvous)| rendezvous);
        let Some(call) = &mut self.call else { return };
        let begun = rendezvous.and_then(|rendezvous| halves.open(now, rendezvous, true));
        call.half = match begun {
            Some(circuit) => Half::Building(circuit, now.mono_ns + MEET),
            None => Half::Wanted(now.mono_ns + RETRY),
        };
    }

    /// Takes what happened on the half's circuit; false when it is another.
    pub(super) fn on_half(&mut self, halves: &mut dyn Halves, now: Now, event: &BuilderEvent) -> bool {
        let (BuilderEvent::Ready { circuit, .. }
        | BuilderEvent::Message { circuit, .. }
        | BuilderEvent::Gone { circuit, .. }) = event;
        let circuit = *circuit;
        if matches!(event, BuilderEvent::Gone { .. }) {
            self.closing.retain(|(closing, _)| *closing != circuit);
        }
        let Some(call) = self.call.as_mut().filter(|call| call.half.circuit() == Some(circuit)) else { return false };
        match (event, call.half) {
            (BuilderEvent::Ready { took_ms, .. }, Half::Building(_, until)) => {
                call.circuit_ms = Some(*took_ms);
                let (Some(meeting), Some(to)) = (&call.meeting, call.to) else { return true };
                let join = Join { token: Token(meeting.token(call.attempt)), mix: to.rendezvous };
                call.half = Half::Joining(circuit, until);
                if !halves.send(now, circuit, Join::KIND, &join.encode()) {
                    self.broke(halves, now, "the call's circuit takes no message");
                }
            }
            (BuilderEvent::Message { kind: hop::JOINED, bytes, .. }, Half::Joining(..)) => {
                let ours = call.meeting.as_ref().map(|meeting| Token(meeting.token(call.attempt)));
                if Joined::decode(bytes).is_ok_and(|said| Some(said.token) == ours) {
                    call.half = Half::Joined(circuit, now.mono_ns + SETTLE);
                }
            }
            (BuilderEvent::Message { kind: hop::FAILED, bytes, .. }, Half::Joining(..)) => {
                if let Ok(Failed { asked: hop::JOIN, reason, .. }) = Failed::decode(bytes) {
                    self.broke(halves, now, &reason.to_string());
                }
            }
            (BuilderEvent::Gone { why, .. }, _) => {
                call.half = Half::None;
                self.broke(halves, now, why);
            }
            _ => {}
        }
        true
    }

    /// Hands the half over once it is joined and the keys are agreed.
    pub(super) fn try_up(&mut self, halves: &mut dyn Halves, now: Now) {
        let Some(call) = &mut self.call else { return };
        let (Half::Joined(circuit, at), Some(secret)) = (call.half, &call.secret) else { return };
        if now.mono_ns < at {
            return;
        }
        let (seal, open) = secret.ends(call.attempt);
        if let Err(why) = halves.hand_over(circuit, seal, open) {
            return self.broke(halves, now, &why);
        }
        call.half = Half::Up(circuit);
        call.phase = Phase::Up;
        call.until = u64::MAX;
        call.tries = 0;
        call.heard = (halves.heard(), now.mono_ns);
        let broken_at = call.broken_at.take();
        if call.up_at.is_none() {
            call.up_at = Some(now.mono_ns);
            call.set_up = Some(now.mono_ns - call.began);
        } else if let Some(at) = broken_at {
            self.push(CallEvent::Mended { gap_ms: (now.mono_ns - at) as f64 / 1e6 });
        }
        self.changed(now);
    }

    /// Looks whether the half is in time, and whether the peer is heard.
    pub(super) fn watch_half(&mut self, halves: &mut dyn Halves, now: Now) {
        let Some(call) = &mut self.call else { return };
        match call.half {
            Half::Wanted(at) if now.mono_ns >= at => self.start_half(halves, now),
            Half::Building(_, until) | Half::Joining(_, until) if now.mono_ns >= until => {
                self.broke(halves, now, "the two halves did not meet in time");
            }
            Half::Joined(..) => self.try_up(halves, now),
            Half::Up(_) => {
                let heard = halves.heard();
                if heard != call.heard.0 {
                    call.heard = (heard, now.mono_ns);
                } else if now.mono_ns >= call.heard.1 + SILENCE {
                    self.broke(halves, now, &format!("nothing came from the other side for {} s", SILENCE / SECOND));
                }
            }
            _ => {}
        }
    }

    /// The half is of no use any more: another attempt, which the other side is told of.
    fn broke(&mut self, halves: &mut dyn Halves, now: Now, why: &str) {
        let Some(call) = &mut self.call else { return };
        let attempt = call.attempt.saturating_add(1);
        if !self.again(halves, now, attempt, why) {
            return;
        }
        self.say(halves, now, Kind::Mend, &[attempt], false);
    }

    /// The other side joins under a new attempt.
    pub(super) fn on_mend(&mut self, halves: &mut dyn Halves, now: Now, attempt: u8) {
        let Some(call) = &mut self.call else { return };
        if call.meeting.is_none() || !matches!(call.phase, Phase::Joining | Phase::Up | Phase::Mending) {
            return;
        }
        let own = call.attempt;
        if attempt > own {
            self.again(halves, now, attempt, "the other side lost the call");
        } else if attempt < own {
            // It has not heard of ours.
            self.say(halves, now, Kind::Mend, &[own], false);
        }
    }

    /// Begins an attempt; false when the call is given up.
    fn again(&mut self, halves: &mut dyn Halves, now: Now, attempt: u8, why: &str) -> bool {
        let Some(call) = &mut self.call else { return false };
        if let Some(circuit) = call.half.circuit() {
            halves.close(now, circuit);
        }
        call.half = Half::None;
        call.tries += 1;
        let broken_at = *call.broken_at.get_or_insert(now.mono_ns);
        if call.tries > MENDS || now.mono_ns >= broken_at + MEND || attempt > ATTEMPTS_MAX {
            let why = format!("{why}; mending failed");
            self.say(halves, now, Kind::Bye, &[], false);
            self.end(halves, now, EndReason::Broken, why);
            return false;
        }
        call.attempt = attempt;
        // A call that was never up keeps its own limit.
        if call.up_at.is_some() {
            call.phase = Phase::Mending;
            call.until = broken_at + MEND;
        }
        self.push(CallEvent::Mending { why: why.to_owned(), attempt });
        self.start_half(halves, now);
        self.changed(now);
        true
    }
}
