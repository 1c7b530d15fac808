//! Limits of the rendezvous service: nothing that a client, a mix or a wire sends grows without bound.

use crate::circuit::limits::Bucket;

/// A second, ns.
pub const SECOND: u64 = 1_000_000_000;
/// Registrations that a mix knows.
pub const REGISTRATIONS: usize = 16_384;
/// Mailboxes of a circuit beside its client's own; a new one takes the oldest's place.
pub const MAILBOXES: usize = 8;
/// Lookups of a circuit that wait for an answer.
pub const LOOKUPS_CIRCUIT: usize = 4;
/// Lookups that wait for an answer.
pub const LOOKUPS: usize = 4096;
/// A lookup waits this long, ns.
pub const LOOKUP_NS: u64 = 20 * SECOND;
/// Halves of calls that wait for the other half.
pub const HALVES: usize = 1024;
/// SPLICEs that wait for a JOIN, in all and of one neighbour.
pub const OFFERS: usize = 1024;
/// The same, of one neighbour.
pub const OFFERS_PEER: usize = 256;
/// A half waits this long for the other, ns.
pub const JOIN_NS: u64 = 20 * SECOND;
/// What was joined can be taken back by the other mix for this long, ns.
pub const TAKE_BACK_NS: u64 = 60 * SECOND;
/// Messages that wait to be sent to a neighbour of the zone.
pub const OUTBOX: usize = 1024;
/// So many of these leave at once …
pub const OUTBOX_BATCH: usize = 4;
/// … and the next after this, ns: gossip leaves most of a link's channel to others.
pub const OUTBOX_NS: u64 = 50_000_000;
/// What is over is looked for this often, ns.
pub const SWEEP_NS: u64 = SECOND;

/// What one circuit may ask for.
pub struct CircuitLimits {
    /// REGISTER: one each 5 s. Two signatures are verified for each.
    pub register: Bucket,
    /// LOOKUP.
    pub lookup: Bucket,
    /// SIGNAL, from the client.
    pub signal: Bucket,
    /// JOIN: circuits carry one; what is refused counts too.
    pub join: Bucket,
    /// SIGNAL, to the client.
    pub deliver: Bucket,
}

impl CircuitLimits {
    pub fn new() -> CircuitLimits {
        CircuitLimits {
            register: Bucket::new(5 * SECOND, 4),
            lookup: Bucket::new(SECOND, 8),
            signal: Bucket::new(SECOND / 2, 16),
            join: Bucket::new(SECOND, 2),
            deliver: Bucket::new(SECOND / 4, 16),
        }
    }
}

/// What one neighbour may ask for, on behalf of many clients.
pub struct PeerLimits {
    /// LOOKUP: about a tenth of a millisecond each.
    pub lookup: Bucket,
    /// SIGNAL.
    pub signal: Bucket,
    /// SPLICE.
    pub splice: Bucket,
    /// REGISTRATION with one whole: two signatures are verified for each.
    pub registration: Bucket,
    /// REGISTRATION with digests.
    pub alive: Bucket,
    /// REGISTRATIONS_WANTED.
    pub wanted: Bucket,
}

impl PeerLimits {
    pub fn new() -> PeerLimits {
        PeerLimits {
            lookup: Bucket::new(SECOND / 100, 200),
            signal: Bucket::new(SECOND / 200, 400),
            splice: Bucket::new(SECOND / 50, 100),
            registration: Bucket::new(SECOND / 200, 1000),
            alive: Bucket::new(SECOND / 10, 256),
            wanted: Bucket::new(SECOND / 10, 256),
        }
    }
}
