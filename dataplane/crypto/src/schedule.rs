//! The key schedule: DTLS 1.3 traffic secrets (RFC 9147, 5.9; RFC 8446, 7.1–7.3), the ratchet, and HKDF.
//!
//! Everything here is for set-up and for a ratchet step, a few microseconds a call; nothing allocates.

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
        let mut secret = RecordSecret {
            key: [0; 16],
            iv: [0; 12],
        };
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
        let sizes = (
            u16::try_from(out.len()),
            u8::try_from(PREFIX.len() + label.len()),
        );
        let (Ok(length), Ok(label_length)) = sizes else {
            unreachable!("labels and keys are constants of this file")
        };
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
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand_multi_info(info, out)
        .expect("at most 255 hashes of output");
}

/// Whether `a` and `b` are the same bytes, in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
