//! The clients' end-to-end seal: what a body is inside all layers (`docs/wire.md`, clauses W-END-*).
//!
//! AES-128-GCM over the whole body, so that filler and a full payload cost the same work. The nonce is the IV with the
//! number XORed into it; the number as it travels is the associated data.

use std::fmt;
use std::ops::Range;

use aes_gcm::Tag;
use aes_gcm::aead::{AeadInOut, KeyInit};
pub use drover_wire::cell::end_body::Kind;
use drover_wire::cell::end_body::{LENGTH, PartsMut, SEALED_AT, read_inner, split_mut, write_kind};
pub use drover_wire::cell::{BodyError, TooLong};
use zeroize::ZeroizeOnDrop;

use crate::reference::{Gcm, nonce};

/// The key of one direction of one call. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
pub struct EndKey {
    gcm: Gcm,
    iv: [u8; 12],
}

/// Why a body does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndError {
    /// The tag is wrong, or the body is too short for one. The body is as it was.
    Tag,
    /// The tag is right, but what it covers is not length, payload and zeros.
    Inner(BodyError),
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndError::Tag => f.write_str("the body's tag is wrong"),
            EndError::Inner(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EndError {}

impl EndKey {
    /// Expands an AES-128 key; `iv` is what the number is XORed into.
    pub fn new(key: &[u8; 16], iv: &[u8; 12]) -> EndKey {
        EndKey { gcm: Gcm::new(key.into()), iv: *iv }
    }

    /// Seals `payload` (empty for filler) into the whole of `body`. A number is used once under a key: that is the
    /// caller's to ensure.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when the payload does not fit; then nothing is written.
    pub fn seal(&self, number: u64, payload: &[u8], body: &mut [u8]) -> Result<(), TooLong> {
        self.seal_kind(number, Kind::Media, payload, body)
    }

    /// Seals a payload of either kind, with the same work. Otherwise as [`EndKey::seal`].
    ///
    /// # Errors
    ///
    /// [`TooLong`] when the payload does not fit; then nothing is written.
    pub fn seal_kind(&self, number: u64, kind: Kind, payload: &[u8], body: &mut [u8]) -> Result<(), TooLong> {
        let no_room = TooLong { len: payload.len(), max: 0 };
        let PartsMut { number: explicit, sealed, tag } = split_mut(body).ok_or(no_room)?;
        write_kind(sealed, kind, payload)?;
        *explicit = number.to_be_bytes();
        *tag = self
            .gcm
            .encrypt_inout_detached(&nonce(&self.iv, number), explicit, sealed.into())
            .expect("a body is far below the cipher's limit of 64 GiB")
            .into();
        Ok(())
    }

    /// Opens a body in place: its number, what the payload is and where in the body it lies. Replays are the caller's to refuse.
    ///
    /// # Errors
    ///
    /// [`EndError`]: anything but a body that [`EndKey::seal`] made under this key.
    pub fn open(&self, body: &mut [u8]) -> Result<(u64, Kind, Range<usize>), EndError> {
        let PartsMut { number: explicit, sealed, tag } = split_mut(body).ok_or(EndError::Tag)?;
        let number = u64::from_be_bytes(*explicit);
        self.gcm
            .decrypt_inout_detached(&nonce(&self.iv, number), explicit, (&mut *sealed).into(), &Tag::from(*tag))
            .map_err(|_| EndError::Tag)?;
        let (kind, payload) = read_inner(sealed).map_err(EndError::Inner)?;
        let start = SEALED_AT + LENGTH;
        Ok((number, kind, start..start + payload.len()))
    }
}

#[cfg(test)]
mod tests {
    use drover_wire::cell::{CellSize, body_len, rtp_max};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::vectors::hex;

    const _: fn() = || {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<EndKey>();
    };

    fn key() -> EndKey {
        EndKey::new(&std::array::from_fn(|at| at as u8), &std::array::from_fn(|at| 0x40 + at as u8))
    }

    /// A G.711 packet's length in the body of a voice cell; SHA-256 of the body, made with an AES-128-GCM in plain
    /// Python that itself reproduces FIPS-197 C.1 and GCM test case 4.
    #[test]
    fn known_answer() {
        let payload: Vec<u8> = (1..=172).collect();
        let mut body = [0xff; 224];
        key().seal(0x0123_4567_89ab_cdef, &payload, &mut body).expect("fits");
        assert_eq!(body[..24], hex("0123456789abcdef47ccdc646162676e9de0cd73f254b830"));
        let digest = hex("6597be4ffb39ce73895a727bbe2521430f43d7c9cfb17c1f8d4a6a9ff803c0fa");
        assert_eq!(Sha256::digest(body)[..], digest);
    }

    #[test]
    fn a_full_payload_fits_and_no_more() {
        for size in CellSize::ALL {
            let (body, max) = (body_len(size.bytes()), rtp_max(size.bytes()));
            let mut body = vec![7; body];
            let payload = vec![1; max + 1];
            let refused = Err(TooLong { len: max + 1, max });
            assert_eq!(key().seal(1, &payload, &mut body), refused);
            assert!(body.iter().all(|&byte| byte == 7), "nothing was written");
            assert_eq!(key().seal(1, &payload[..max], &mut body), Ok(()));
            assert_eq!(key().open(&mut body), Ok((1, Kind::Media, 10..10 + max)));
        }
    }

    #[test]
    fn bodies_without_room() {
        for len in 0..26 {
            let mut body = [7; 26];
            assert!(key().seal(1, &[], &mut body[..len]).is_err());
            assert_eq!(body, [7; 26]);
            assert_eq!(key().open(&mut body[..len]), Err(EndError::Tag));
        }
        let mut body = [7; 26];
        assert_eq!(key().seal(1, &[], &mut body), Ok(()));
        assert_eq!(key().open(&mut body), Ok((1, Kind::Media, 10..10)));
    }

    /// A peer with the key but another idea of the format.
    #[test]
    fn a_lying_length_and_dirty_padding_are_refused() {
        for (length, dirty, expected) in [
            (198, None, Ok((9, Kind::Media, 10..208))),
            (199, None, Err(EndError::Inner(BodyError::Length))),
            (u16::MAX, None, Err(EndError::Inner(BodyError::Length))),
            (0x8000 | 198, None, Ok((9, Kind::Control, 10..208))),
            (0x8000 | 199, None, Err(EndError::Inner(BodyError::Length))),
            (0x8000, None, Err(EndError::Inner(BodyError::Length))),
            (0, Some(0), Err(EndError::Inner(BodyError::Padding))),
            (0, Some(197), Err(EndError::Inner(BodyError::Padding))),
            (5, Some(4), Ok((9, Kind::Media, 10..15))),
            (5, Some(5), Err(EndError::Inner(BodyError::Padding))),
        ] {
            let mut text = [0; 200];
            text[..2].copy_from_slice(&length.to_be_bytes());
            if let Some(at) = dirty {
                text[2 + at] = 1;
            }
            let key = key();
            let number = 9u64.to_be_bytes();
            let tag =
                key.gcm.encrypt_inout_detached(&nonce(&key.iv, 9), &number, text.as_mut_slice().into()).expect("short");
            let mut body = [&number[..], &text, &tag].concat();
            assert_eq!(key.open(&mut body), expected, "length {length}, dirty {dirty:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn opens_what_was_sealed(
            number: u64,
            payload in prop::collection::vec(any::<u8>(), 0..=198),
            dirt: u8,
            spare in 0usize..300,
            control: bool,
        ) {
            let mut body = vec![dirt; payload.len() + 26 + spare];
            let kind = if control && !payload.is_empty() { Kind::Control } else { Kind::Media };
            key().seal_kind(number, kind, &payload, &mut body).expect("fits");
            let (opened, said, at) = key().open(&mut body).expect("opens");
            prop_assert_eq!((opened, said), (number, kind));
            prop_assert_eq!(&body[at], &payload[..]);
        }

        #[test]
        fn one_changed_bit_is_refused(number: u64, at in 0usize..224, bit in 0u8..8) {
            let mut body = [0; 224];
            key().seal(number, b"voice", &mut body).expect("fits");
            body[at] ^= 1 << bit;
            let before = body;
            prop_assert_eq!(key().open(&mut body), Err(EndError::Tag));
            prop_assert_eq!(body, before);
        }

        #[test]
        fn any_bytes_may_come(mut body in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(key().open(&mut body).is_err());
        }
    }
}
