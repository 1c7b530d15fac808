//! What calls tell: events, the state now, counts. For the user of this client alone (invariant I10).

use super::{Calls, Phase, SECOND};
use crate::call::handshake::Reach;
use crate::call::signal::{Kind, SignalKey};
use crate::plane::Now;
use drover_dtls::certificate::Certificate;
use serde::Serialize;

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// One side hung up.
    HungUp,
    /// The callee is in another call.
    Busy,
    /// The callee does not want to.
    Rejected,
    /// Nobody answered: as the caller sees it.
    NoAnswer,
    /// Nobody answered: as the callee sees it.
    Missed,
    /// No mix of the callee's zone knows the callee.
    Unknown,
    /// The callee's zone, mix or client does not answer.
    Unreachable,
    /// The call could not be joined, or broke and could not be mended.
    Broken,
}

impl EndReason {
    /// The same, as a program reads it.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::HungUp => "hung_up",
            EndReason::Busy => "busy",
            EndReason::Rejected => "rejected",
            EndReason::NoAnswer => "no_answer",
            EndReason::Missed => "missed",
            EndReason::Unknown => "unknown",
            EndReason::Unreachable => "unreachable",
            EndReason::Broken => "broken",
        }
    }
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// No call.
    Idle,
    /// Asking where the callee is.
    LookingUp,
    /// The callee's client is asked to ring.
    Calling,
    /// It rings.
    Ringing,
    /// It rings here.
    Incoming,
    /// Answered; the two halves are being joined.
    Joining,
    /// Voices pass.
    Up,
    /// It broke; both sides are joining it anew.
    Mending,
}

impl CallState {
    /// The state, for people.
    pub const fn name(self) -> &'static str {
        match self {
            CallState::Idle => "no call",
            CallState::LookingUp => "looking up",
            CallState::Calling => "calling",
            CallState::Ringing => "ringing",
            CallState::Incoming => "incoming call",
            CallState::Joining => "joining",
            CallState::Up => "up",
            CallState::Mending => "mending",
        }
    }
}

/// The other side of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerView {
    /// Its name for people.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its id, hexadecimal.
    pub id: String,
}

/// The state now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallView {
    /// The rendezvous mix's zone and name while registered.
    pub registered: Option<String>,
    /// Where the call is.
    pub state: CallState,
    /// The other side.
    pub peer: Option<PeerView>,
    /// We have called.
    pub outgoing: Option<bool>,
    /// Six digits to compare by voice, once they are agreed.
    pub sas: Option<String>,
    /// How long the call has been up, s.
    pub up_s: Option<u64>,
    /// From the command (or the first ring) to the first time up, ms.
    pub set_up_ms: Option<f64>,
    /// How long our half's circuit took to build, the last time, ms.
    pub circuit_ms: Option<f64>,
    /// Times that it was joined anew.
    pub mended: u8,
    /// How the last call ended.
    pub last: Option<EndReason>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CallEvent {
    /// To be reached at this mix.
    Registered {
        /// Its zone and name.
        rendezvous: String,
    },
    /// Not to be reached; tried again by itself.
    Unregistered {
        /// Why, for people.
        why: String,
    },
    /// The call is in another state.
    State(CallView),
    /// The call broke and is being joined anew.
    Mending {
        /// Why, for people.
        why: String,
        /// The attempt's number in this call.
        attempt: u8,
    },
    /// The call is up again.
    Mended {
        /// How long it was broken, ms.
        gap_ms: f64,
    },
    /// The call is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// Why, for people.
        why: String,
        /// As it was at its end.
        call: CallView,
    },
}

/// Counts of this client: totals, no names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallCounters {
    /// Signals sent, dummies among them.
    pub signals_sent: u64,
    /// Signals received that opened.
    pub signals_received: u64,
    /// Signals and messages received that are none of ours.
    pub refused: u64,
    /// Introductions not looked at, for there were too many.
    pub flooded: u64,
}

/// An introduction that came lately: repeats of it are answered as it was.
pub(super) struct Recent {
    pub fingerprint: [u8; 32],
    pub outcome: Option<Kind>,
    pub key: SignalKey,
    pub reach: Reach,
}

/// Introductions remembered.
pub(super) const RECENT_MAX: usize = 1024;

impl PeerView {
    pub(super) fn of(peer: &Certificate) -> PeerView {
        PeerView { name: peer.name().to_owned(), zone: peer.zone().to_owned(), id: peer.id().to_string() }
    }
}

impl CallView {
    pub(super) fn of(calls: &Calls, now: Now) -> CallView {
        let call = calls.call.as_deref();
        let state = call.map_or(CallState::Idle, |call| match call.phase {
            Phase::LookingUp { .. } => CallState::LookingUp,
            Phase::Calling => CallState::Calling,
            Phase::Ringing => CallState::Ringing,
            Phase::Incoming => CallState::Incoming,
            Phase::Joining => CallState::Joining,
            Phase::Up => CallState::Up,
            Phase::Mending => CallState::Mending,
        });
        CallView {
            registered: calls.signalling.circuit().map(|(_, mix)| calls.mix_name(mix)),
            state,
            peer: call.map(|call| PeerView::of(&call.peer)),
            outgoing: call.map(|call| call.outgoing),
            sas: call.and_then(|call| call.secret.as_ref()).map(|secret| secret.sas()),
            up_s: call.and_then(|call| call.up_at).map(|at| now.mono_ns.saturating_sub(at) / SECOND),
            set_up_ms: call.and_then(|call| call.set_up).map(|ns| ns as f64 / 1e6),
            circuit_ms: call.and_then(|call| call.circuit_ms),
            mended: call.map_or(0, |call| call.attempt),
            last: calls.last,
        }
    }
}
