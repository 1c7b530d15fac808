//! The body of a relay cell between clients, its layers removed (`docs/wire.md`, clauses W-END-*).
//!
//! ```text
//! | 8 number | AEAD( 1 bit control, 15 bits length, payload, zeros ) | 16 tag |
//! ```
//!
//! Sealing and opening is done elsewhere; here are the offsets and the *inner* part, what the AEAD takes and gives.

use super::{BodyError, END_NUMBER, TAG, TooLong, body_len};

/// Where the sealed part begins, after the number.
pub const SEALED_AT: usize = END_NUMBER;
/// Bytes of the length before the payload.
pub const LENGTH: usize = 2;
/// The bit of the length that marks call control (W-END-6).
const CONTROL: u16 = 1 << 15;
/// The longest payload that the length can say, in bytes; cells hold less.
pub const PAYLOAD_MAX: usize = (CONTROL - 1) as usize;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An RTP packet, or filler when empty.
    Media,
    /// The clients' own word about their call; never empty (W-END-6).
    Control,
}

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
#[inline]
pub fn write_inner(inner: &mut [u8], payload: &[u8]) -> Result<(), TooLong> {
    write_kind(inner, Kind::Media, payload)
}

/// Writes kind, length and payload into a whole `inner` part and zeroes the rest. Empty control is written as filler:
/// the two have one encoding.
///
/// # Errors
///
/// [`TooLong`] when the payload does not fit; then nothing is written.
#[inline]
pub fn write_kind(inner: &mut [u8], kind: Kind, payload: &[u8]) -> Result<(), TooLong> {
    let too_long = TooLong { len: payload.len(), max: inner.len().saturating_sub(LENGTH).min(PAYLOAD_MAX) };
    let len = u16::try_from(payload.len()).ok().filter(|len| *len < CONTROL).ok_or(too_long)?;
    let mark = if kind == Kind::Control && len > 0 { CONTROL } else { 0 };
    let (length, rest) = inner.split_first_chunk_mut::<LENGTH>().ok_or(too_long)?;
    let (data, zeros) = rest.split_at_mut_checked(payload.len()).ok_or(too_long)?;
    *length = (mark | len).to_be_bytes();
    data.copy_from_slice(payload);
    zeros.fill(0);
    Ok(())
}

/// What a whole `inner` part holds: its kind and payload; empty for filler.
///
/// # Errors
///
/// [`BodyError`] when the length does not fit, the padding is not zero, or control is empty.
#[inline]
pub fn read_inner(inner: &[u8]) -> Result<(Kind, &[u8]), BodyError> {
    let (length, rest) = inner.split_first_chunk::<LENGTH>().ok_or(BodyError::Short)?;
    let length = u16::from_be_bytes(*length);
    let kind = if length & CONTROL == 0 { Kind::Media } else { Kind::Control };
    let (data, zeros) = rest.split_at_checked(usize::from(length & !CONTROL)).ok_or(BodyError::Length)?;
    // All of it, always: where the first odd byte lies is nobody's business.
    if zeros.iter().fold(0, |odd, byte| odd | byte) != 0 {
        return Err(BodyError::Padding);
    }
    if kind == Kind::Control && data.is_empty() {
        return Err(BodyError::Length);
    }
    Ok((kind, data))
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
        assert_eq!(read_inner(&inner), Ok((Kind::Media, &b"RTP"[..])));
    }

    #[test]
    fn filler_is_all_zero() {
        let mut inner = [0xaa; inner_len(256)];
        write_inner(&mut inner, &[]).expect("fits");
        assert_eq!(inner, [0; inner_len(256)]);
        assert_eq!(read_inner(&inner), Ok((Kind::Media, &[][..])));
    }

    #[test]
    fn the_largest_rtp_packet_fits_and_no_larger() {
        for size in CellSize::ALL {
            let (s, max) = (size.bytes(), size.rtp_max());
            assert_eq!(inner_len(s), LENGTH + rtp_max(s));
            let mut inner = vec![0; inner_len(s)];
            assert_eq!(write_inner(&mut inner, &vec![1; max]), Ok(()));
            assert_eq!(read_inner(&inner), Ok((Kind::Media, &vec![1; max][..])));
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
        assert_eq!(write_inner(&mut inner, &vec![1; PAYLOAD_MAX]), Ok(()));
        for len in [PAYLOAD_MAX + 1, 65_535, 65_536] {
            assert_eq!(write_inner(&mut inner, &vec![1; len]), Err(TooLong { len, max: PAYLOAD_MAX }));
        }
    }

    #[test]
    fn control_is_marked_and_never_empty() {
        let mut inner = [0xaa; inner_len(256)];
        write_kind(&mut inner, Kind::Control, b"bye").expect("fits");
        assert_eq!(inner[..5], *b"\x80\x03bye");
        assert_eq!(read_inner(&inner), Ok((Kind::Control, &b"bye"[..])));
        write_kind(&mut inner, Kind::Control, &[]).expect("fits");
        assert_eq!(inner, [0; inner_len(256)]);
        inner[0] = 0x80;
        assert_eq!(read_inner(&inner), Err(BodyError::Length));
    }

    proptest! {
        /// One encoding: what reads writes to the same bytes.
        #[test]
        fn inner_is_canonical(
            control: bool, length in 0u16..0x120, dirt in proptest::option::of(0usize..200), fill: u8,
        ) {
            let mut inner = vec![0; inner_len(256)];
            inner[..2].copy_from_slice(&(length | u16::from(control) << 15).to_be_bytes());
            inner[2..].iter_mut().take(length.into()).for_each(|byte| *byte = fill);
            if let Some(byte) = dirt.and_then(|at| inner.get_mut(at)) {
                *byte ^= 1;
            }
            if let Ok((kind, payload)) = read_inner(&inner) {
                let mut again = vec![0xaa; inner.len()];
                prop_assert_eq!(write_kind(&mut again, kind, payload), Ok(()));
                prop_assert_eq!(again, inner);
            } else {
                prop_assert!(usize::from(length) > 198 || dirt.is_some() || control && length == 0);
            }
        }

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
