//! The floor: what no hop can do without for a hybrid set-up, by the same library, and nothing else.
//!
//! An X25519 key made with its public value, two agreements, an ML-KEM-768 encapsulation to a key that comes as bytes. No
//! message, no transcript, no key schedule, no table.

use super::BATCH;
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{DecapsulationKey, EncapsulationKey, ML_KEM_768};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a hop is given: its own short-term key, and clients' public values.
pub struct Floor {
    short_term: PrivateKey,
    clients: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Floor {
    /// Keys of as many clients as a batch has.
    ///
    /// # Errors
    /// The library fails.
    pub fn new() -> Result<Floor, String> {
        let make = || -> Result<Floor, Unspecified> {
            let mut clients = Vec::with_capacity(BATCH);
            for _ in 0..BATCH {
                let x = PrivateKey::generate(&X25519)?.compute_public_key()?;
                let encapsulation = DecapsulationKey::generate(&ML_KEM_768)?.encapsulation_key()?.key_bytes()?;
                clients.push((x.as_ref().to_vec(), encapsulation.as_ref().to_vec()));
            }
            Ok(Floor { short_term: PrivateKey::generate(&X25519)?, clients })
        };
        make().map_err(|_| "the cryptographic library makes no keys".to_owned())
    }

    /// The primitives of a batch of set-ups, and how long they took.
    ///
    /// # Errors
    /// The library fails.
    pub fn batch(&mut self) -> Result<Duration, String> {
        let begin = Instant::now();
        self.clients.iter().try_for_each(|client| self.one(client)).map_err(|_| "a primitive of the floor failed")?;
        Ok(begin.elapsed())
    }

    fn one(&self, (x, encapsulation): &(Vec<u8>, Vec<u8>)) -> Result<(), Unspecified> {
        let own = PrivateKey::generate(&X25519)?;
        black_box(own.compute_public_key()?);
        for key in [&self.short_term, &own] {
            let shared = agree(key, UnparsedPublicKey::new(&X25519, x), Unspecified, |shared| {
                let mut out = [0; 32];
                out.copy_from_slice(shared);
                Ok(out)
            })?;
            black_box(shared);
        }
        black_box(EncapsulationKey::new(&ML_KEM_768, encapsulation)?.encapsulate()?);
        Ok(())
    }
}
