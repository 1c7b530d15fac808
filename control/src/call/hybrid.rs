//! X25519 and ML-KEM-768 (FIPS 203) side by side: what is agreed is secret while either holds.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use zeroize::Zeroizing;

/// Bytes of an ML-KEM-768 encapsulation key.
pub const KEM_KEY: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
pub const KEM_CIPHERTEXT: usize = 1088;
/// Bytes of an X25519 public key.
pub const X25519_KEY: usize = 32;

/// Both shared secrets, X25519's first. Zeroized when dropped.
pub type Shared = Zeroizing<[u8; 64]>;

/// The private halves. The library zeroizes them when it frees them.
pub struct Secrets {
    x25519: PrivateKey,
    kem: DecapsulationKey,
}

/// The public halves.
#[derive(Clone, PartialEq, Eq)]
pub struct Publics {
    /// X25519.
    pub x25519: [u8; X25519_KEY],
    /// ML-KEM-768 encapsulation key.
    pub kem: [u8; KEM_KEY],
}

/// The library refuses: no randomness, or a public key or ciphertext that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Secrets {
    /// New keys and their public halves.
    ///
    /// # Errors
    /// [`Refused`]: no randomness.
    pub fn generate() -> Result<(Secrets, Publics), Refused> {
        let x25519 = PrivateKey::generate(&X25519).map_err(|_| Refused)?;
        let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| Refused)?;
        let key = kem.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| Refused)?;
        let publics = Publics { x25519: public(&x25519)?, kem: key.as_ref().try_into().map_err(|_| Refused)? };
        Ok((Secrets { x25519, kem }, publics))
    }

    /// What the other side agreed with [`agree_with`].
    ///
    /// # Errors
    /// [`Refused`]: a public key of small order, a ciphertext of a wrong length.
    pub fn agree(&self, x25519: &[u8; X25519_KEY], ciphertext: &[u8; KEM_CIPHERTEXT]) -> Result<Shared, Refused> {
        let mut shared = Zeroizing::new([0; 64]);
        dh(&self.x25519, x25519, &mut shared)?;
        let secret = self.kem.decapsulate(Ciphertext::from(&ciphertext[..])).map_err(|_| Refused)?;
        shared[32..].copy_from_slice(secret.as_ref());
        Ok(shared)
    }
}

/// Agrees with the holder of `publics`: the shared secrets, our X25519 key and the ciphertext.
///
/// # Errors
/// [`Refused`]: public keys that are none.
pub fn agree_with(publics: &Publics) -> Result<(Shared, [u8; X25519_KEY], [u8; KEM_CIPHERTEXT]), Refused> {
    let ephemeral = PrivateKey::generate(&X25519).map_err(|_| Refused)?;
    let mut shared = Zeroizing::new([0; 64]);
    dh(&ephemeral, &publics.x25519, &mut shared)?;
    let key = EncapsulationKey::new(&ML_KEM_768, &publics.kem).map_err(|_| Refused)?;
    let (ciphertext, secret) = key.encapsulate().map_err(|_| Refused)?;
    shared[32..].copy_from_slice(secret.as_ref());
    Ok((shared, public(&ephemeral)?, ciphertext.as_ref().try_into().map_err(|_| Refused)?))
}

fn public(key: &PrivateKey) -> Result<[u8; X25519_KEY], Refused> {
    let public = key.compute_public_key().map_err(|_| Refused)?;
    public.as_ref().try_into().map_err(|_| Refused)
}

/// The library refuses an outcome of zeros (RFC 7748, 6.1).
fn dh(own: &PrivateKey, peer: &[u8; X25519_KEY], shared: &mut Shared) -> Result<(), Refused> {
    agree(own, UnparsedPublicKey::new(&X25519, peer), Refused, |secret| {
        shared[..32].copy_from_slice(secret);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_no_other() {
        let (secrets, publics) = Secrets::generate().expect("random");
        let (shared, x25519, ciphertext) = agree_with(&publics).expect("right keys");
        assert_eq!(secrets.agree(&x25519, &ciphertext), Ok(shared.clone()));
        let (other, _) = Secrets::generate().expect("random");
        assert_ne!(other.agree(&x25519, &ciphertext), Ok(shared.clone()));
        let mut odd = ciphertext;
        odd[7] ^= 1;
        assert_ne!(secrets.agree(&x25519, &odd), Ok(shared));
        assert_eq!(secrets.agree(&[0; 32], &ciphertext), Err(Refused), "small order");
        assert!(agree_with(&Publics { kem: [0xff; KEM_KEY], ..publics }).is_err(), "coefficients beyond q");
    }
}
