//! The key schedule: DTLS 1.3 traffic secrets (RFC 9147, 5.9; RFC 8446, 7.1–7.3), the ratchet, and HKDF.
//!
//! Everything here is for set-up and for a ratchet step, a few microseconds a call; nothing allocates.

use crate::CHECK;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What DTLS 1.3 puts before every label, without a space at its end (RFC 9147, 5.9).
const PREFIX: &[u8] = b"dtls13";
/// Salt of [`LayerSecret::key_id`]: sets it apart from any other use of HKDF.
const LAYER_ID_SALT: &[u8] = b"drover layer key id";

/// Bytes of a key id.
pub const KEY_ID: usize = 8;

/// A key's public fingerprint, 8 bytes: repeats of a put are told by it without keeping the secret.
pub type KeyId = [u8; KEY_ID];

/// A traffic secret of one direction. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TrafficSecret(pub [u8; 32]);

/// AEAD key and IV of a record direction at one ratchet step.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecordSecret {
    /// AES-128 key.
    pub key: [u8; 16],
    /// The IV that the record number is XORed into.
    pub iv: [u8; 12],
}

/// AES-128 key that masks record numbers. It lives as long as its generation: the ratchet leaves it alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MaskSecret(pub [u8; 16]);

/// AES-128 key of a circuit's layer.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LayerSecret(pub [u8; 16]);

impl TrafficSecret {
    /// Key and IV of the records under this secret (RFC 8446, 7.3: labels "key" and "iv").
    pub fn record(&self) -> RecordSecret {
        let mut secret = RecordSecret { key: [0; 16], iv: [0; 12] };
        self.expand_label(b"key", &mut secret.key);
        self.expand_label(b"iv", &mut secret.iv);
        secret
    }

    /// The key that masks record numbers (RFC 9147, 4.2.3: label "sn"). Between our own nodes it is taken once, from
    /// a generation's first secret.
    pub fn mask(&self) -> MaskSecret {
        let mut secret = MaskSecret([0; 16]);
        self.expand_label(b"sn", &mut secret.0);
        secret
    }

    /// The secret of the next ratchet step (RFC 8446, 7.2: label "traffic upd").
    pub fn next(&self) -> TrafficSecret {
        let mut next = TrafficSecret([0; 32]);
        self.expand_label(b"traffic upd", &mut next.0);
        next
    }

    /// The secret `steps` ratchet steps on; this one for 0. About a microsecond a step: the caller bounds `steps`.
    pub fn advance(&self, steps: u64) -> TrafficSecret {
        let mut secret = self.clone();
        for _ in 0..steps {
            secret = secret.next();
        }
        secret
    }

    /// The public fingerprint of this secret (label "drover key id").
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; KEY_ID];
        self.expand_label(b"drover key id", &mut id);
        id
    }

    /// Whether two secrets are the same, in constant time.
    pub fn same(&self, other: &TrafficSecret) -> bool {
        equal(&self.0, &other.0)
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446, 7.1), DTLS's prefix before the label.
    fn expand_label(&self, label: &[u8], out: &mut [u8]) {
        let sizes = (u16::try_from(out.len()), u8::try_from(PREFIX.len() + label.len()));
        let (Ok(length), Ok(label_length)) = sizes else { unreachable!("labels and keys are constants of this file") };
        let info: [&[u8]; 5] = [&length.to_be_bytes(), &[label_length], PREFIX, label, &[0]];
        Hkdf::<Sha256>::from_prk(&self.0)
            .expect("a traffic secret is as long as the hash")
            .expand_multi_info(&info, out)
            .expect("a key is shorter than 255 hashes");
    }
}

impl LayerSecret {
    /// The public fingerprint of this key.
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; KEY_ID];
        hkdf_sha256(LAYER_ID_SALT, &self.0, &[], &mut id);
        id
    }
}

/// HKDF with SHA-256, extract and expand (RFC 5869): fills `out`; `info` is the concatenation of its parts.
///
/// # Panics
/// When `out` is longer than 8,160 bytes, which RFC 5869 does not define.
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, out).expect("at most 255 hashes of output");
}

/// Whether `a` and `b` are the same bytes, in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Whether two checks are the same, in constant time: one comparison of 64 bits.
#[inline]
pub fn same_check(a: &[u8; CHECK], b: &[u8; CHECK]) -> bool {
    u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b)).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{array, hex};

    const _: fn() = || {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<TrafficSecret>();
        wiped::<RecordSecret>();
        wiped::<MaskSecret>();
        wiped::<LayerSecret>();
    };

    /// 00, 01 … 1f.
    fn counting() -> TrafficSecret {
        TrafficSecret(std::array::from_fn(|at| at as u8))
    }

    /// RFC 5869, A.1 to A.3.
    #[test]
    fn hkdf_of_rfc_5869() {
        let long = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let cases = [
            (
                vec![0x0b; 22],
                long(0x00, 0x0c),
                long(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                long(0x00, 0x4f),
                long(0x60, 0xaf),
                long(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                 da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                vec![],
                vec![],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (ikm, salt, info, okm) in cases {
            let okm = hex(okm);
            let mut out = vec![0; okm.len()];
            hkdf_sha256(&salt, &ikm, &[&info], &mut out);
            assert_eq!(out, okm);
            // The parts of `info` are concatenated.
            let (a, b) = info.split_at(info.len() / 2);
            out.fill(0);
            hkdf_sha256(&salt, &ikm, &[a, b], &mut out);
            assert_eq!(out, okm);
        }
    }

    /// Made with Python's `hmac` and `hashlib`: HKDF-Expand by the letter of RFC 5869, 2.3, over
    /// `len(2) | len(label) | "dtls13" label | 00`.
    #[test]
    fn labels_of_dtls_13() {
        let secret = counting();
        assert_eq!(secret.record().key, array("cc95abc258d309424ddbf7cba68bd77e"));
        assert_eq!(secret.record().iv, array("6d3299305dd209fc865cf8f1"));
        assert_eq!(secret.mask().0, array("c5b1a0649ea4fdafbe7e256665068222"));
        assert_eq!(secret.next().0, array("ad8aa21a3d874bbebf9fdf442aafe175072af91c39af50b6ac26113e54981ae0"));
        assert_eq!(secret.key_id(), array("72370961f295adc6"));
        let fifth = secret.advance(5);
        assert_eq!(fifth.0, array("fb1cba2c2031bf8ac6de358465e4d97a21722f60c0b6bacbfa47ea1dcc119734"));
        assert_eq!(fifth.record().key, array("97e35420cf4f4064c6676f521a1d74e8"));
        let layer = LayerSecret(std::array::from_fn(|at| at as u8));
        assert_eq!(layer.key_id(), array("8ecd6bbffbaa7694"));
    }

    #[test]
    fn comparison_is_of_every_byte_and_of_the_length() {
        let secret = counting();
        assert!(secret.same(&secret.clone()));
        for at in 0..32 {
            let mut other = secret.clone();
            other.0[at] ^= 0x10;
            assert!(!secret.same(&other));
        }
        for at in 0..64 {
            assert!(!same_check(&7u64.to_le_bytes(), &(7u64 ^ 1 << at).to_le_bytes()));
        }
        assert!(same_check(&[9; 8], &[9; 8]));
        assert!(equal(b"", b""));
        assert!(!equal(b"ab", b"abc"));
    }

    #[test]
    fn a_wiped_secret_is_zero() {
        let mut secret = counting();
        secret.zeroize();
        assert_eq!(secret.0, [0; 32]);
    }

    #[test]
    #[should_panic(expected = "255 hashes")]
    fn hkdf_has_an_end() {
        hkdf_sha256(b"", b"", &[], &mut [0; 255 * 32 + 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn steps_add_up(secret: [u8; 32], a in 0u64..6, b in 0u64..6) {
            let secret = TrafficSecret(secret);
            prop_assert!(secret.advance(a).advance(b).same(&secret.advance(a + b)));
            prop_assert!(secret.advance(1).same(&secret.next()));
            prop_assert!(!secret.advance(a).same(&secret.advance(a + 1)));
        }

        #[test]
        fn different_secrets_have_different_ids(a: [u8; 32], b: [u8; 32]) {
            prop_assume!(a != b);
            prop_assert_ne!(TrafficSecret(a).key_id(), TrafficSecret(b).key_id());
        }
    }
}
