//! The body of a relay cell between clients, its layers removed (`docs/wire.md`, clauses W-END-*).
//!
//! ```text
//! | 8 number | AEAD( 2 length, payload, zeros ) | 16 tag |
//! ```
//!
//! Sealing and opening is done elsewhere; here are the offsets and the *inner* part, what the AEAD takes and gives.

use super::{BodyError, END_NUMBER, TAG, TooLong, body_len, read_counted, write_counted};

/// Where the sealed part begins, after the number.
pub const SEALED_AT: usize = END_NUMBER;
/// Bytes of the length before the payload.
pub const LENGTH: usize = 2;

/// Where the tag begins in a body of a cell of size `s`; it ends the body.
pub const fn tag_at(s: usize) -> usize {
    body_len(s) - TAG
}
/// Bytes of the inner part of a cell of size `s`: length, payload and zeros.
pub const fn inner_len(s: usize) -> usize {
    tag_at(s) - SEALED_AT
}

/// The parts of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The number, as it travels: also the AEAD's associated data (W-END-2).
    pub number: &'a [u8; END_NUMBER],
    /// The ciphertext of the inner part.
    pub sealed: &'a [u8],
    /// The tag.
    pub tag: &'a [u8; TAG],
}

impl Parts<'_> {
    /// The number.
    pub const fn number(&self) -> u64 {
        u64::from_be_bytes(*self.number)
    }
}

/// Splits a whole body. `None` when it is too short for number and tag.
pub fn split(body: &[u8]) -> Option<Parts<'_>> {
    let (number, rest) = body.split_first_chunk::<END_NUMBER>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
    Some(Parts { number, sealed, tag })
}

/// The parts of a body, to write into.
#[derive(Debug)]
pub struct PartsMut<'a> {
    /// The number, as it travels.
    pub number: &'a mut [u8; END_NUMBER],
    /// The inner part, in the clear or sealed.
    pub sealed: &'a mut [u8],
    /// The tag.
    pub tag: &'a mut [u8; TAG],
}

/// Splits a whole body to write into. `None` when it is too short for number and tag.
pub fn split_mut(body: &mut [u8]) -> Option<PartsMut<'_>> {
    let (number, rest) = body.split_first_chunk_mut::<END_NUMBER>()?;
    let (sealed, tag) = rest.split_last_chunk_mut::<TAG>()?;
    Some(PartsMut { number, sealed, tag })
}

/// Writes length and payload into a whole `inner` part and zeroes the rest. An empty payload is filler.
///
/// # Errors
///
/// [`TooLong`] when the payload does not fit; then nothing is written.
pub fn write_inner(inner: &mut [u8], payload: &[u8]) -> Result<(), TooLong> {
    write_counted(inner, payload)
}

/// The payload of a whole `inner` part; empty for filler.
///
/// # Errors
///
/// [`BodyError`] when the length does not fit or the padding is not zero.
pub fn read_inner(inner: &[u8]) -> Result<&[u8], BodyError> {
    read_counted(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{CellSize, rtp_max};
    use proptest::prelude::*;

    #[test]
    fn known_answer() {
        let mut inner = [0xaa; inner_len(256)];
        write_inner(&mut inner, b"RTP").expect("fits");
        assert_eq!(inner[..5], *b"\x00\x03RTP");
        assert!(inner[5..].iter().all(|byte| *byte == 0));
        assert_eq!(read_inner(&inner), Ok(&b"RTP"[..]));
    }

    #[test]
    fn filler_is_all_zero() {
        let mut inner = [0xaa; inner_len(256)];
        write_inner(&mut inner, &[]).expect("fits");
        assert_eq!(inner, [0; inner_len(256)]);
        assert_eq!(read_inner(&inner), Ok(&[][..]));
    }

    #[test]
    fn the_largest_rtp_packet_fits_and_no_larger() {
        for size in CellSize::ALL {
            let (s, max) = (size.bytes(), size.rtp_max());
            assert_eq!(inner_len(s), LENGTH + rtp_max(s));
            let mut inner = vec![0; inner_len(s)];
            assert_eq!(write_inner(&mut inner, &vec![1; max]), Ok(()));
            assert_eq!(read_inner(&inner), Ok(&vec![1; max][..]));
            let error = write_inner(&mut inner, &vec![1; max + 1]);
            assert_eq!(error, Err(TooLong { len: max + 1, max }));
            inner[..2].copy_from_slice(&u16::try_from(max + 1).expect("small").to_be_bytes());
            assert_eq!(read_inner(&inner), Err(BodyError::Length));
        }
        assert_eq!(read_inner(&[0]), Err(BodyError::Short));
    }

    #[test]
    fn a_payload_longer_than_its_length_field_is_refused() {
        let mut inner = vec![0; 70_000];
        assert_eq!(write_inner(&mut inner, &vec![1; 65_535]), Ok(()));
        assert_eq!(write_inner(&mut inner, &vec![1; 65_536]), Err(TooLong { len: 65_536, max: 65_535 }));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_body(mut body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let before = body.clone();
            match split(&before) {
                None => prop_assert!(before.len() < SEALED_AT + TAG),
                Some(parts) => {
                    prop_assert_eq!(&[&parts.number[..], parts.sealed, &parts.tag[..]].concat(), &before);
                    prop_assert_eq!(parts.number().to_be_bytes(), *parts.number);
                }
            }
            match split_mut(&mut body) {
                None => prop_assert!(before.len() < SEALED_AT + TAG),
                Some(parts) => {
                    let whole = [&parts.number[..], &*parts.sealed, &parts.tag[..]].concat();
                    prop_assert_eq!(whole, before);
                }
            }
        }
    }
}
