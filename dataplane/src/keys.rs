//! From traffic secrets to expanded keys, and along the ratchet. Runs off the workers.

use crate::command::{DirectionKeys, Generation};
use drover_crypto::Records;
use drover_crypto::schedule::TrafficSecret;

/// The furthest that a ratchet is turned in one go: at 200 records/s and the smallest step, 87 minutes of outage.
pub const STEPS_AHEAD_MAX: u64 = 1 << 16;

/// One direction's ratchet: it only goes on, and forgets what lies behind (`docs/wire.md`, W-KEY).
pub struct Ratchet {
    secret: TrafficSecret,
    step: u64,
}

impl Ratchet {
    /// A ratchet at step 0 of a generation.
    pub fn new(secret: TrafficSecret) -> Self {
        Ratchet { secret, step: 0 }
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

    /// The mask key of the whole generation, and the keys of the step that covers record `first` and of the next.
    fn begin<R: Records>(&mut self, first: u64, ratchet_bits: u8) -> Option<DirectionKeys<R>> {
        let mask = R::mask_key(&self.secret.mask());
        let step = first >> ratchet_bits;
        let keys = [self.key_at::<R>(step)?, self.key_at::<R>(step + 1)?];
        Some(DirectionKeys { mask, keys, first })
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

/// Expands a generation for a worker, and keeps its ratchets. `None` when a first number is unreasonably many steps
/// into its generation ([`STEPS_AHEAD_MAX`]).
pub fn expand<R: Records>(secrets: GenerationSecrets) -> Option<(Generation<R>, Ratchets)> {
    let GenerationSecrets { generation, ratchet_bits, send, receive } = secrets;
    let mut ratchets = Ratchets { generation, send: Ratchet::new(send.0), receive: Ratchet::new(receive.0) };
    let keys = Generation {
        generation,
        ratchet_bits,
        send: ratchets.send.begin(send.1, ratchet_bits)?,
        receive: ratchets.receive.begin(receive.1, ratchet_bits)?,
    };
    Some((keys, ratchets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_crypto::reference::ReferenceRecords;

    #[test]
    fn a_ratchet_goes_on_and_never_back() {
        let mut r = Ratchet::new(TrafficSecret([7; 32]));
        assert!(r.key_at::<ReferenceRecords>(3).is_some());
        assert!(r.key_at::<ReferenceRecords>(3).is_some());
        assert!(r.key_at::<ReferenceRecords>(2).is_none());
        assert!(r.key_at::<ReferenceRecords>(3 + STEPS_AHEAD_MAX + 1).is_none());
        assert!(r.secret.same(&TrafficSecret([7; 32]).advance(3)));
    }

    #[test]
    fn a_first_number_far_into_a_generation_is_refused() {
        let secrets = |first| GenerationSecrets {
            generation: 1,
            ratchet_bits: 4,
            send: (TrafficSecret([1; 32]), first),
            receive: (TrafficSecret([2; 32]), 0),
        };
        assert!(expand::<ReferenceRecords>(secrets(1000)).is_some());
        assert!(expand::<ReferenceRecords>(secrets(1 << 40)).is_none());
    }
}
