//! From traffic secrets to expanded keys, and along the ratchet. Runs off the workers.

use crate::command::{DirectionKeys, Generation};
use drover_crypto::Records;
use drover_crypto::schedule::{KeyId, RecordSecret, TrafficSecret};
use drover_wire::control::Peer;

/// The furthest that a ratchet is turned in one go: at 200 records/s and the smallest step, 87 minutes of outage.
pub const STEPS_AHEAD_MAX: u64 = 1 << 16;

/// One direction's ratchet: it only goes on, and forgets what lies behind (`docs/wire.md`, W-KEY).
pub struct Ratchet {
    secret: TrafficSecret,
    step: u64,
}

impl Ratchet {
    /// A ratchet whose `secret` is that of the step that covers record `first` (`docs/wire.md`, W-KEY-3).
    pub fn new(secret: TrafficSecret, first: u64, ratchet_bits: u8) -> Self {
        Ratchet { secret, step: first >> ratchet_bits }
    }

    /// The key of `step`; `None` when the ratchet is past it or it is unreasonably far ahead. The ratchet is then at
    /// `step`, and no earlier key can be made any more.
    pub fn key_at<R: Records>(&mut self, step: u64) -> Option<R::Key> {
        let ahead = step.checked_sub(self.step)?;
        if ahead > STEPS_AHEAD_MAX {
            return None;
        }
        if ahead > 0 {
            self.secret = self.secret.advance(ahead);
            self.step = step;
        }
        Some(R::key(&self.secret.record()))
    }

    /// A foreign peer's next epoch: "traffic upd", its own keys and mask, numbers from 0 (RFC 9147, 6.1 and 8).
    pub fn next_epoch<R: Records>(&mut self) -> DirectionKeys<R> {
        self.secret = self.secret.next();
        self.step = 0;
        self.epoch(0)
    }

    /// The fingerprint of the next epoch's secret.
    pub fn next_key_id(&self) -> KeyId {
        self.secret.next().key_id()
    }

    /// The keys of a foreign peer's epoch, which has one step only: the second key is never used.
    fn epoch<R: Records>(&self, first: u64) -> DirectionKeys<R> {
        let unused = RecordSecret { key: [0; 16], iv: [0; 12] };
        let keys = [R::key(&self.secret.record()), R::key(&unused)];
        DirectionKeys { mask: R::mask_key(&self.secret.mask()), keys, first }
    }

    /// Forgets its secret: no key can be made any more.
    pub fn forget(&mut self) {
        self.secret = TrafficSecret([0; 32]);
        self.step = u64::MAX;
    }

    fn keys<R: Records>(&mut self, first: u64, peer: Peer) -> DirectionKeys<R> {
        match peer {
            Peer::Drover => self.begin(first),
            Peer::Foreign => self.epoch(first),
        }
    }

    /// The mask key of the whole generation, and the keys of this step and of the next, where the ratchet is then.
    fn begin<R: Records>(&mut self, first: u64) -> DirectionKeys<R> {
        let mask = R::mask_key(&self.secret.mask());
        let now = R::key(&self.secret.record());
        self.secret = self.secret.next();
        self.step += 1;
        let next = R::key(&self.secret.record());
        DirectionKeys { mask, keys: [now, next], first }
    }
}

/// A generation's secrets, as control puts them.
pub struct GenerationSecrets {
    /// Its number.
    pub generation: u32,
    /// A ratchet step covers 2^this records.
    pub ratchet_bits: u8,
    /// Our direction: the secret and the first record number.
    pub send: (TrafficSecret, u64),
    /// The peer's.
    pub receive: (TrafficSecret, u64),
}

/// What the service thread keeps of a generation: both ratchets, past the keys it has given out.
pub struct Ratchets {
    /// The generation.
    pub generation: u32,
    /// Ours.
    pub send: Ratchet,
    /// The peer's.
    pub receive: Ratchet,
}

/// Expands a generation for a worker, and keeps its ratchets. A foreign peer's generation is an epoch.
pub fn expand<R: Records>(secrets: GenerationSecrets, peer: Peer) -> (Generation<R>, Ratchets) {
    let GenerationSecrets { generation, ratchet_bits, send, receive } = secrets;
    let mut ratchets = Ratchets {
        generation,
        send: Ratchet::new(send.0, send.1, ratchet_bits),
        receive: Ratchet::new(receive.0, receive.1, ratchet_bits),
    };
    let keys = Generation {
        generation,
        ratchet_bits,
        send: ratchets.send.keys(send.1, peer),
        receive: ratchets.receive.keys(receive.1, peer),
    };
    (keys, ratchets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_crypto::reference::ReferenceRecords;

    #[test]
    fn an_epoch_is_one_update_on() {
        let mut r = Ratchet::new(TrafficSecret([7; 32]), 9, 24);
        let id = r.next_key_id();
        let keys = r.next_epoch::<ReferenceRecords>();
        assert_eq!((id, keys.first), (TrafficSecret([7; 32]).next().key_id(), 0));
        assert!(r.secret.same(&TrafficSecret([7; 32]).next()));
    }

    #[test]
    fn a_ratchet_goes_on_and_never_back() {
        let mut r = Ratchet::new(TrafficSecret([7; 32]), 0, 4);
        assert!(r.key_at::<ReferenceRecords>(3).is_some());
        assert!(r.key_at::<ReferenceRecords>(3).is_some());
        assert!(r.key_at::<ReferenceRecords>(2).is_none());
        assert!(r.key_at::<ReferenceRecords>(3 + STEPS_AHEAD_MAX + 1).is_none());
        assert!(r.secret.same(&TrafficSecret([7; 32]).advance(3)));
        r.forget();
        assert!(r.key_at::<ReferenceRecords>(4).is_none() && r.secret.same(&TrafficSecret([0; 32])));
    }
}
