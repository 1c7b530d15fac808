//! Sealed boxes: one message for one holder of a key, of a size that says nothing (`docs/wire.md`, W-RDV-2, W-RDV-3).
//!
//! ```text
//! to a static X25519 key      | 32 ephemeral | AEAD |
//! to X25519 + ML-KEM-768      | 32 ephemeral | 1088 ciphertext | AEAD |
//! under a reply key           | 16 salt | AEAD |
//! AEAD                        AES-128-GCM( 2 length, message, zeros ) | 16 tag
//! ```
//!
//! Each box has a key and a nonce of its own: HKDF-SHA-256 of what was agreed, with the public values that were used in the
//! info. The label says what the box is for; a box opens under its label only. The caller gives the size of the whole box,
//! and all boxes of one use have one size.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use drover_crypto::schedule::hkdf_sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of an X25519 public key.
pub const X25519_BYTES: usize = 32;
/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203).
pub const ENCAPSULATION_KEY_BYTES: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext (FIPS 203).
pub const CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of a reply key.
pub const REPLY_KEY_BYTES: usize = 32;
/// Bytes of a box to a static key beyond its message and padding.
pub const STATIC_OVERHEAD: usize = X25519_BYTES + LENGTH + TAG;
/// Bytes of a box to prekeys beyond its message and padding.
pub const HYBRID_OVERHEAD: usize = X25519_BYTES + CIPHERTEXT_BYTES + LENGTH + TAG;
/// Bytes of a box under a reply key beyond its message and padding.
pub const REPLY_OVERHEAD: usize = SALT + LENGTH + TAG;

const LENGTH: usize = 2;
const TAG: usize = 16;
const SALT: usize = 16;
/// Salts that keep the three kinds of boxes apart, whatever label a caller chooses.
const STATIC_SALT: &[u8] = b"drover sealed to a static key 1";
const HYBRID_SALT: &[u8] = b"drover sealed to prekeys 1";
const REPLY_SALT: &[u8] = b"drover sealed under a reply key 1";

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The message does not fit into a box of this size.
    TooLong,
    /// The recipient's public key is none.
    Key,
    /// The system gives no random bytes.
    System,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealError::TooLong => "the message does not fit into its sealed box",
            SealError::Key => "the recipient's public key is not valid",
            SealError::System => "the system gives no random bytes",
        })
    }
}

impl std::error::Error for SealError {}

/// A box that does not open: not for this key or label, changed, of another size, or malformed inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed box does not open")
    }
}

impl std::error::Error for OpenError {}

/// Key and nonce of one box. Zeroized when dropped.
struct BoxKey(Zeroizing<[u8; 28]>);

impl BoxKey {
    fn new(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> BoxKey {
        let mut key = Zeroizing::new([0; 28]);
        hkdf_sha256(salt, secret, info, &mut *key);
        BoxKey(key)
    }

    fn parts(&self) -> (Aes128Gcm, Nonce<aes_gcm::aead::consts::U12>) {
        let (key, nonce) = self.0.split_at(16);
        let cipher = Aes128Gcm::new_from_slice(key).expect("16 bytes");
        (cipher, <[u8; 12]>::try_from(nonce).expect("28 less 16").into())
    }

    /// `head`, then the AEAD part, `size` bytes in all.
    fn seal(&self, head: &[&[u8]], message: &[u8], size: usize) -> Result<Vec<u8>, SealError> {
        let length = u16::try_from(message.len()).map_err(|_| SealError::TooLong)?;
        let mut out = head.concat();
        let at = out.len();
        if message.len() + LENGTH + TAG > size.saturating_sub(at) {
            return Err(SealError::TooLong);
        }
        // The whole box is there before secrets are written into it: it never moves.
        out.resize(size, 0);
        let (inner, tag) = out[at..].split_at_mut(size - at - TAG);
        inner[..LENGTH].copy_from_slice(&length.to_be_bytes());
        inner[LENGTH..LENGTH + message.len()].copy_from_slice(message);
        let (cipher, nonce) = self.parts();
        let made = cipher.encrypt_inout_detached(&nonce, &[], (&mut *inner).into()).map_err(|_| SealError::TooLong)?;
        tag.copy_from_slice(&made);
        Ok(out)
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (inner, tag) = sealed.split_last_chunk::<TAG>().ok_or(OpenError)?;
        let mut inner = Zeroizing::new(inner.to_vec());
        let (cipher, nonce) = self.parts();
        let opened = cipher.decrypt_inout_detached(&nonce, &[], inner.as_mut_slice().into(), &Tag::from(*tag));
        opened.map_err(|_| OpenError)?;
        let (length, rest) = inner.split_first_chunk::<LENGTH>().ok_or(OpenError)?;
        let (message, zeros) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(OpenError)?;
        // One message has one encoding: the padding carries nothing.
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(OpenError);
        }
        Ok(Zeroizing::new(message.to_vec()))
    }
}

/// A fresh X25519 key and what it agrees with `to`.
fn ephemeral(to: &[u8; X25519_BYTES]) -> Result<([u8; X25519_BYTES], Zeroizing<[u8; 32]>), SealError> {
    let private = PrivateKey::generate(&X25519).map_err(|_| SealError::System)?;
    let public = private.compute_public_key().map_err(|_| SealError::System)?;
    let public = public.as_ref().try_into().map_err(|_| SealError::System)?;
    Ok((public, agree(&private, to).ok_or(SealError::Key)?))
}

/// X25519 (RFC 7748). `None` for a point of small order, whose outcome everybody knows.
fn agree(private: &PrivateKey, public: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let public = UnparsedPublicKey::new(&X25519, public);
    agreement::agree(private, public, (), |shared| {
        let mut out = Zeroizing::new([0; 32]);
        (shared.len() == 32).then(|| out.copy_from_slice(shared)).ok_or(())?;
        Ok(out)
    })
    .ok()
}

/// Seals `message` for the holder of a static X25519 key, `size` bytes in all.
///
/// # Errors
/// [`SealError`].
pub fn seal_static(to: &[u8; X25519_BYTES], label: &[u8], message: &[u8], size: usize) -> Result<Vec<u8>, SealError> {
    let (public, shared) = ephemeral(to)?;
    BoxKey::new(STATIC_SALT, &*shared, &[&public, to, label]).seal(&[&public], message, size)
}

/// Opens what [`seal_static`] made for the public key of `secret`.
///
/// # Errors
/// [`OpenError`].
pub fn open_static(secret: &[u8; 32], label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let private = PrivateKey::from_private_key(&X25519, secret).map_err(|_| OpenError)?;
    let own = private.compute_public_key().map_err(|_| OpenError)?;
    let (public, rest) = sealed.split_first_chunk::<X25519_BYTES>().ok_or(OpenError)?;
    let shared = agree(&private, public).ok_or(OpenError)?;
    BoxKey::new(STATIC_SALT, &*shared, &[public, own.as_ref(), label]).open(rest)
}

/// The public half of [`Prekeys`]: what a registration shows.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicPrekeys {
    /// X25519.
    pub x25519: [u8; X25519_BYTES],
    /// ML-KEM-768, as it travels (FIPS 203, encapsulation key).
    pub mlkem: Box<[u8; ENCAPSULATION_KEY_BYTES]>,
}

impl fmt::Debug for PublicPrekeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicPrekeys(..)")
    }
}

/// A client's keys for what is sealed to it before anything else was agreed. Never printed; the library zeroizes them.
pub struct Prekeys {
    x25519: PrivateKey,
    mlkem: DecapsulationKey,
    public: PublicPrekeys,
}

impl Prekeys {
    /// Fresh keys.
    ///
    /// # Errors
    /// [`SealError::System`].
    pub fn generate() -> Result<Prekeys, SealError> {
        let system = |_| SealError::System;
        let x25519 = PrivateKey::generate(&X25519).map_err(system)?;
        let mlkem = DecapsulationKey::generate(&ML_KEM_768).map_err(system)?;
        let shown = x25519.compute_public_key().map_err(system)?;
        let encapsulation = mlkem.encapsulation_key().and_then(|key| key.key_bytes()).map_err(system)?;
        let encapsulation = Box::<[u8]>::from(encapsulation.as_ref());
        let public = PublicPrekeys {
            x25519: shown.as_ref().try_into().map_err(|_| SealError::System)?,
            mlkem: encapsulation.try_into().map_err(|_| SealError::System)?,
        };
        Ok(Prekeys { x25519, mlkem, public })
    }

    /// What others need.
    pub fn public(&self) -> &PublicPrekeys {
        &self.public
    }

    /// Opens what [`seal_hybrid`] made for these keys.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (public, rest) = sealed.split_first_chunk::<X25519_BYTES>().ok_or(OpenError)?;
        let (ciphertext, rest) = rest.split_first_chunk::<CIPHERTEXT_BYTES>().ok_or(OpenError)?;
        let shared = agree(&self.x25519, public).ok_or(OpenError)?;
        // ML-KEM rejects implicitly: a wrong ciphertext gives a secret that nobody knows, and the box does not open.
        let inner = self.mlkem.decapsulate(Ciphertext::from(&ciphertext[..])).map_err(|_| OpenError)?;
        hybrid_key(&shared, inner.as_ref(), public, ciphertext, &self.public, label).open(rest)
    }
}

/// Seals `message` to prekeys, `size` bytes in all: secret as long as X25519 or ML-KEM-768 holds.
///
/// # Errors
/// [`SealError`].
pub fn seal_hybrid(to: &PublicPrekeys, label: &[u8], message: &[u8], size: usize) -> Result<Vec<u8>, SealError> {
    let (public, shared) = ephemeral(&to.x25519)?;
    let encapsulation = EncapsulationKey::new(&ML_KEM_768, &to.mlkem[..]).map_err(|_| SealError::Key)?;
    let (ciphertext, inner) = encapsulation.encapsulate().map_err(|_| SealError::Key)?;
    let key = hybrid_key(&shared, inner.as_ref(), &public, ciphertext.as_ref(), to, label);
    key.seal(&[&public, ciphertext.as_ref()], message, size)
}

fn hybrid_key(
    shared: &[u8; 32],
    inner: &[u8],
    public: &[u8],
    ciphertext: &[u8],
    to: &PublicPrekeys,
    label: &[u8],
) -> BoxKey {
    let secret = Zeroizing::new([&shared[..], inner].concat());
    BoxKey::new(HYBRID_SALT, &secret, &[public, ciphertext, &to.x25519, &to.mlkem[..], label])
}

/// A symmetric key that one side gave the other for its answers. Zeroized when dropped, never printed.
#[derive(Clone)]
pub struct ReplyKey(Zeroizing<[u8; REPLY_KEY_BYTES]>);

impl ReplyKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`SealError::System`].
    pub fn generate() -> Result<ReplyKey, SealError> {
        let mut key = Zeroizing::new([0; REPLY_KEY_BYTES]);
        getrandom::fill(&mut *key).map_err(|_| SealError::System)?;
        Ok(ReplyKey(key))
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; REPLY_KEY_BYTES]) -> ReplyKey {
        ReplyKey(Zeroizing::new(*bytes))
    }

    /// The bytes, to be sealed for who is to answer.
    pub fn bytes(&self) -> &[u8; REPLY_KEY_BYTES] {
        &self.0
    }

    /// Seals `message`, `size` bytes in all. As many boxes as are wanted: each draws a salt.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, label: &[u8], message: &[u8], size: usize) -> Result<Vec<u8>, SealError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|_| SealError::System)?;
        BoxKey::new(REPLY_SALT, &*self.0, &[&salt, label]).seal(&[&salt], message, size)
    }

    /// Opens what [`ReplyKey::seal`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (salt, rest) = sealed.split_first_chunk::<SALT>().ok_or(OpenError)?;
        BoxKey::new(REPLY_SALT, &*self.0, &[salt, label]).open(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: &[u8] = b"a test";

    fn pair() -> ([u8; 32], [u8; 32]) {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("random");
        let private = PrivateKey::from_private_key(&X25519, &secret).expect("a key");
        (secret, private.compute_public_key().expect("a key").as_ref().try_into().expect("32 bytes"))
    }

    /// All three kinds: seals into a box of this size; opens.
    type Seal<'a> = Box<dyn Fn(&[u8], &[u8], usize) -> Result<Vec<u8>, SealError> + 'a>;
    type Open<'a> = Box<dyn Fn(&[u8], &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> + 'a>;

    struct Keys {
        secret: [u8; 32],
        public: [u8; 32],
        prekeys: Prekeys,
        reply: ReplyKey,
    }

    impl Keys {
        fn new() -> Keys {
            let (secret, public) = pair();
            let (prekeys, reply) = (Prekeys::generate().expect("keys"), ReplyKey::generate().expect("a key"));
            Keys { secret, public, prekeys, reply }
        }

        fn kinds(&self) -> [(usize, Seal<'_>, Open<'_>); 3] {
            [
                (
                    STATIC_OVERHEAD,
                    Box::new(|label, message, size| seal_static(&self.public, label, message, size)),
                    Box::new(|label, sealed| open_static(&self.secret, label, sealed)),
                ),
                (
                    HYBRID_OVERHEAD,
                    Box::new(|label, message, size| seal_hybrid(self.prekeys.public(), label, message, size)),
                    Box::new(|label, sealed| self.prekeys.open(label, sealed)),
                ),
                (
                    REPLY_OVERHEAD,
                    Box::new(|label, message, size| self.reply.seal(label, message, size)),
                    Box::new(|label, sealed| self.reply.open(label, sealed)),
                ),
            ]
        }
    }

    #[test]
    fn boxes_of_one_size_open_under_their_key_and_label() {
        let (keys, others) = (Keys::new(), Keys::new());
        for ((overhead, seal, open), (_, _, other)) in keys.kinds().iter().zip(others.kinds()) {
            let size = overhead + 100;
            for length in [0, 1, 99, 100] {
                let message = vec![7; length];
                let sealed = seal(LABEL, &message, size).expect("fits");
                assert_eq!(sealed.len(), size);
                assert_eq!(*open(LABEL, &sealed).expect("opens"), message);
                assert_eq!(open(b"another use", &sealed), Err(OpenError));
                assert_eq!(other(LABEL, &sealed), Err(OpenError));
                assert_ne!(seal(LABEL, &message, size).expect("fits"), sealed, "each box is fresh");
            }
            assert_eq!(seal(LABEL, &[7; 101], size), Err(SealError::TooLong));
            assert_eq!(seal(LABEL, &[], overhead - 1), Err(SealError::TooLong));
            assert_eq!(seal(LABEL, &vec![0; 70_000], 80_000), Err(SealError::TooLong));
        }
    }

    #[test]
    fn a_changed_box_does_not_open() {
        let keys = Keys::new();
        for (overhead, seal, open) in keys.kinds() {
            let sealed = seal(LABEL, b"words", overhead + 10).expect("fits");
            for at in (0..sealed.len()).step_by(7).chain([sealed.len() - 1]) {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(open(LABEL, &changed), Err(OpenError), "byte {at}");
            }
            for length in [0, 1, 31, 32, overhead - 1, sealed.len() - 1] {
                assert_eq!(open(LABEL, &sealed[..length]), Err(OpenError), "{length} bytes");
            }
        }
    }

    #[test]
    fn padding_is_checked() {
        let key = BoxKey::new(b"salt", b"secret", &[]);
        for (inner, good) in [(*b"\0\x02abz", false), (*b"\0\x02ab\0", true), (*b"\0\x04abz", false)] {
            let mut text = inner.to_vec();
            let (cipher, nonce) = key.parts();
            let tag = cipher.encrypt_inout_detached(&nonce, &[], text.as_mut_slice().into()).expect("short");
            text.extend_from_slice(&tag);
            assert_eq!(key.open(&text).is_ok(), good, "{inner:?}");
        }
    }

    #[test]
    fn points_of_small_order_are_no_keys() {
        assert_eq!(seal_static(&[0; 32], LABEL, b"", 100), Err(SealError::Key));
        let (secret, _) = pair();
        assert_eq!(open_static(&secret, LABEL, &[0; 100]), Err(OpenError));
        let bad = PublicPrekeys { x25519: pair().1, mlkem: Box::new([0xff; ENCAPSULATION_KEY_BYTES]) };
        assert_eq!(seal_hybrid(&bad, LABEL, b"", 2000), Err(SealError::Key));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let keys = Keys::new();
            for (_, _, open) in keys.kinds() {
                prop_assert_eq!(open(LABEL, &bytes), Err(OpenError));
            }
        }
    }
}
