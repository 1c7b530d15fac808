//! The clients' end-to-end seal: what a body is inside all layers (`docs/wire.md`, clauses W-END-*).
//!
//! ```text
//! | 8 number | AEAD( 2 length, payload, zeros ) | 16 tag |
//! ```
//!
//! AES-128-GCM over the whole body, so that filler and a full payload cost the same work; associated data: the number.

use std::ops::Range;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Nonce, Tag};
use drover_wire::cell::{END_NUMBER, TAG};
use zeroize::ZeroizeOnDrop;

use crate::reference::{Gcm, nonce};

/// Bytes of the length before the payload.
const LENGTH: usize = 2;

/// Bytes of the largest payload in a body of `body` bytes; none when the body has no room for a length.
pub const fn capacity(body: usize) -> Option<usize> {
    body.checked_sub(END_NUMBER + LENGTH + TAG)
}

/// The key of one direction of one call. Zeroized when dropped.
#[derive(ZeroizeOnDrop)]
pub struct EndKey {
    gcm: Gcm,
    iv: [u8; 12],
}

/// The payload is longer than the body's [`capacity`]. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the payload does not fit into the body")
    }
}

impl std::error::Error for TooLong {}

/// Why a body does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndError {
    /// Shorter than number, length and tag.
    Short,
    /// The tag is wrong: another key, or changed on the way. The body is as it was.
    Tag,
    /// The tag is right, but the length is beyond the body, or what follows the payload is not zero.
    Padding,
}

impl std::fmt::Display for EndError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EndError::Short => "the body is shorter than number, length and tag",
            EndError::Tag => "the tag is wrong",
            EndError::Padding => "the length is beyond the body, or the padding is not zero",
        })
    }
}

impl std::error::Error for EndError {}

impl EndKey {
    /// Expands an AES-128 key; `iv` is what the number is XORed into.
    pub fn new(key: &[u8; 16], iv: &[u8; 12]) -> EndKey {
        EndKey {
            gcm: Gcm::new(key.into()),
            iv: *iv,
        }
    }

    /// Seals `payload` (empty for filler) into the whole of `body`. A number is used once under a key: the caller's
    /// to ensure.
    pub fn seal(&self, number: u64, payload: &[u8], body: &mut [u8]) -> Result<(), TooLong> {
        let length = u16::try_from(payload.len()).map_err(|_| TooLong)?;
        let capacity = capacity(body.len()).ok_or(TooLong)?;
        if payload.len() > capacity {
            return Err(TooLong);
        }
        let (explicit, rest) = body.split_at_mut(END_NUMBER);
        let (text, tag) = rest.split_at_mut(LENGTH + capacity);
        explicit.copy_from_slice(&number.to_be_bytes());
        text[..LENGTH].copy_from_slice(&length.to_be_bytes());
        text[LENGTH..LENGTH + payload.len()].copy_from_slice(payload);
        text[LENGTH + payload.len()..].fill(0);
        let sealed = self
            .gcm
            .encrypt_inout_detached(&self.nonce(number), explicit, text.into())
            .map_err(|_| TooLong)?;
        tag.copy_from_slice(&sealed);
        Ok(())
    }

    /// Opens a body in place: its number, and where in it the payload lies. Replays are the caller's to refuse.
    pub fn open(&self, body: &mut [u8]) -> Result<(u64, Range<usize>), EndError> {
        let capacity = capacity(body.len()).ok_or(EndError::Short)?;
        let (explicit, rest) = body
            .split_first_chunk_mut::<END_NUMBER>()
            .ok_or(EndError::Short)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(EndError::Short)?;
        let number = u64::from_be_bytes(*explicit);
        let tag = Tag::from(*tag);
        self.gcm
            .decrypt_inout_detached(&self.nonce(number), explicit, (&mut *text).into(), &tag)
            .map_err(|_| EndError::Tag)?;
        let (length, rest) = text.split_first_chunk::<LENGTH>().ok_or(EndError::Short)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let zeros = rest.get(length..).ok_or(EndError::Padding)?;
        // Every byte is looked at, wherever the first wrong one is.
        if length > capacity || zeros.iter().fold(0, |all, byte| all | byte) != 0 {
            return Err(EndError::Padding);
        }
        let start = END_NUMBER + LENGTH;
        Ok((number, start..start + length))
    }

    fn nonce(&self, number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
        nonce(&self.iv, number)
    }
}
