//! Limits of circuits: nothing that a client, a mix or a wire sends grows without bound.

use crate::channel;
use drover_wire::cell::hop;

/// CREATEs that may wait on a client's link.
pub const CREATES_CLIENT: usize = 2;
/// CREATEs that may wait on a mix's link; also EXTENDs under way over it.
pub const CREATES_MIX: usize = 64;
/// CREATEs that may wait in all.
pub const CREATES_ALL: usize = 1024;
/// Handshakes answered in one turn: about a tenth of a millisecond each.
pub const SETUPS_A_TURN: usize = 4;
/// Circuits that begin on a client's link.
pub const CIRCUITS_CLIENT: usize = 8;
/// Circuits that come over a mix's link.
pub const CIRCUITS_MIX: usize = 16_384;
/// EXTENDs of a client's link: a second, and at once.
pub const EXTENDS: (u32, u32) = (1, 4);
/// EXTENDs of a client's link that are under way.
pub const EXTENDS_CLIENT: usize = 2;
/// KEYS_WANTED of a link: in ten seconds, and at once.
pub const ASKS: (u32, u32) = (2, 4);
/// The next mix has this long to answer a CREATE, ns.
pub const CREATE_NS: u64 = 10_000_000_000;
/// A circuit that the client does not make longer ends after this, ns.
pub const SHORT_NS: u64 = 60_000_000_000;
/// A circuit that ends here and has said nothing for this long ends, ns. Clients say something every half a minute.
pub const IDLE_NS: u64 = 600_000_000_000;
/// A circuit's end is passed on after at most this, ns.
pub const DESTROY_DELAY_NS: u64 = 1_000_000_000;
/// A DESTROY without an answer is said again after this, ns: longer than any channel's patience, so that no two are under
/// way at once.
pub const DESTROY_AGAIN_NS: u64 = 90_000_000_000;
/// And so often.
pub const DESTROY_TRIES: u8 = 3;
/// A circuit id that was handed out and not used is free again after this, ns.
pub const RESERVED_NS: u64 = 60_000_000_000;
/// Ids handed out and not used yet.
pub const RESERVED: usize = 4096;
/// Messages that wait for room in a link's channel.
pub const OUTBOX: usize = 1024;
/// A message that found no room is tried again after this, ns.
pub const AGAIN_NS: u64 = 50_000_000;
/// A client gives up building a circuit after this, ns.
pub const BUILD_NS: u64 = 20_000_000_000;
/// Circuits of a client.
pub const CIRCUITS_BUILT: usize = 16;
/// A client asks for keys again after this, ns.
pub const KEYS_AGAIN_NS: u64 = 3_000_000_000;
/// Wrong short-term keys that a client puts up with while it builds one circuit.
pub const WRONG_KEYS: u8 = 2;

/// The limits of a channel between a client and a hop: one cell a round at most.
pub fn hop_channel(cell: u16, round_ns: u64) -> channel::Limits {
    channel::Limits {
        frame: hop::data_max(usize::from(cell)),
        pace_ns: round_ns,
        outgoing: 16,
        incoming: 4,
        message: 8192,
        // There and back through two mixes, a round in each, and the frames before.
        retransmit_ns: (25 * round_ns).max(400_000_000),
        patience_ns: 20_000_000_000,
    }
}

/// Nanoseconds of a round at `rate` cells a second.
pub fn round_ns(rate: u32) -> u64 {
    1_000_000_000 / u64::from(rate.max(1))
}

/// A random number below 2^64.
///
/// # Panics
/// When the system gives no random bytes: nothing can be done securely then.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u64::from_be_bytes(bytes)
}

/// So many at once, and then at a rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Nanoseconds of one.
    every_ns: u64,
    burst: u32,
    /// When it would be full.
    full_at: u64,
}

impl Bucket {
    /// `burst` at once, and one every `every_ns`.
    pub fn new(every_ns: u64, burst: u32) -> Bucket {
        Bucket { every_ns, burst, full_at: 0 }
    }
    /// Takes one; false when there is none.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let full_at = self.full_at.max(now_ns).saturating_add(self.every_ns);
        if full_at - now_ns > self.every_ns.saturating_mul(u64::from(self.burst)) {
            return false;
        }
        self.full_at = full_at;
        true
    }
    /// Nothing was taken for so long that this is as good as a new one.
    pub fn is_full(&self, now_ns: u64) -> bool {
        self.full_at <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(1000, 4);
        let taken = |bucket: &mut Bucket, at| (0..10).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, 0), 4);
        assert_eq!(taken(&mut bucket, 999), 0);
        assert_eq!(taken(&mut bucket, 1000), 1);
        assert_eq!(taken(&mut bucket, 3500), 2);
        assert!(!bucket.is_full(3500));
        assert!(bucket.is_full(1_000_000));
        assert_eq!(taken(&mut bucket, 1_000_000), 4);
    }

    #[test]
    fn a_round_is_what_one_cell_takes() {
        assert_eq!(round_ns(50), 20_000_000);
        assert_eq!(round_ns(0), 1_000_000_000);
        let limits = hop_channel(256, 20_000_000);
        assert_eq!((limits.frame, limits.retransmit_ns), (197, 500_000_000));
    }
}
