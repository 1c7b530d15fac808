//! Keys that have sealed something in this process. An end's numbers begin at 0, so a key that comes back would use
//! them twice (`docs/wire.md`, W-END-2, W-END-3): the data plane refuses it, whatever control believes (W-CTL-3).

use drover_crypto::schedule::{KeyId, LayerSecret};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls of one life of a client, at most: 8 bytes of fingerprint each.
const SPENT_MAX: usize = 1 << 16;

static SPENT: Mutex<BTreeSet<KeyId>> = Mutex::new(BTreeSet::new());

/// The right to number cells under a key, from 0. Only the service thread makes and drops claims.
pub struct Claim {
    id: KeyId,
}

impl Claim {
    /// Claims a key. Refused when it is in use or was used.
    pub fn of(key: &[u8; 16]) -> Result<Claim, String> {
        let id = LayerSecret(*key).key_id();
        let mut spent = spent();
        if spent.len() >= SPENT_MAX {
            return Err(format!("{SPENT_MAX} calls in one life of the client: restart it"));
        }
        match spent.insert(id) {
            true => Ok(Claim { id }),
            false => Err("seal: this key is or was in use, and its numbers must not be used twice".to_owned()),
        }
    }

    /// Gives a claim up under which nothing was sealed: a put that was refused may come again.
    pub fn unused(&self) {
        spent().remove(&self.id);
    }
}

fn spent() -> MutexGuard<'static, BTreeSet<KeyId>> {
    // The set is whole between any two operations, so a panic elsewhere under the lock leaves it usable.
    SPENT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_claimed_once_unless_unused() {
        let key = *b"spent.rs test  1";
        let claim = Claim::of(&key).expect("new");
        assert!(Claim::of(&key).is_err());
        claim.unused();
        assert!(Claim::of(&key).is_ok(), "nothing was sealed");
        assert!(Claim::of(&key).is_err(), "dropped without a word: used");
    }
}
