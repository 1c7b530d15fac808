//! The body of a relay cell for a hop, its layers removed (`docs/wire.md`, clauses W-HOP-*).
//!
//! ```text
//! | 8 check | 1 type | 2 length | data, zeros | 16 MAC |
//! ```
//!
//! The MAC is computed and compared elsewhere, over [`covered`].

use super::{BodyError, TAG, TooLong, body_len, read_counted, write_counted};

/// Bytes of the check, the body's first: equal to what the layer's peel returns when the cell is for this hop.
pub const CHECK: usize = 8;
/// Where the type lies: one byte.
pub const TYPE_AT: usize = 8;
/// Where the length of the data lies: two bytes.
pub const LENGTH_AT: usize = 9;
/// Where the data begins.
pub const DATA_AT: usize = 11;

/// Where the MAC begins in a body of a cell of size `s`; it ends the body.
pub const fn mac_at(s: usize) -> usize {
    body_len(s) - TAG
}
/// The most data bytes that a body of a cell of size `s` carries: 197, 453, 965.
pub const fn data_max(s: usize) -> usize {
    mac_at(s) - DATA_AT
}

/// A hop's body, its MAC not yet compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// What the body begins with.
    pub check: [u8; CHECK],
    /// What the data is.
    pub kind: u8,
    /// The data.
    pub data: &'a [u8],
    /// The MAC over [`covered`].
    pub mac: &'a [u8; TAG],
}

/// The bytes under the MAC: all before it. `None` when the body is shorter than a MAC.
pub fn covered(body: &[u8]) -> Option<&[u8]> {
    body.split_last_chunk::<TAG>().map(|(covered, _)| covered)
}

/// Reads a whole body. The data is worth nothing before the MAC was compared.
pub fn read(body: &[u8]) -> Result<Hop<'_>, BodyError> {
    let (covered, mac) = body.split_last_chunk::<TAG>().ok_or(BodyError::Short)?;
    let (check, rest) = covered.split_first_chunk::<CHECK>().ok_or(BodyError::Short)?;
    let (kind, counted) = rest.split_first().ok_or(BodyError::Short)?;
    Ok(Hop { check: *check, kind: *kind, data: read_counted(counted)?, mac })
}

/// Writes a whole body; the MAC's bytes are zeroed, to be filled in.
///
/// # Errors
///
/// [`TooLong`] when `data` does not fit, or when `body` has no room for the fixed fields. Then nothing is written.
pub fn write(body: &mut [u8], check: [u8; CHECK], kind: u8, data: &[u8]) -> Result<(), TooLong> {
    let none = TooLong { len: data.len(), max: 0 };
    let (covered, mac) = body.split_last_chunk_mut::<TAG>().ok_or(none)?;
    let (head, counted) = covered.split_first_chunk_mut::<LENGTH_AT>().ok_or(none)?;
    write_counted(counted, data)?;
    head[..TYPE_AT].copy_from_slice(&check);
    head[TYPE_AT] = kind;
    mac.fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::CellSize;
    use proptest::prelude::*;

    #[test]
    fn known_answer() {
        let mut body = [0xaa; body_len(256)];
        write(&mut body, *b"12345678", 7, b"abc").expect("fits");
        assert_eq!(body[..14], *b"12345678\x07\x00\x03abc");
        assert!(body[14..].iter().all(|byte| *byte == 0));
        assert_eq!(covered(&body).map(<[u8]>::len), Some(mac_at(256)));
        body[mac_at(256)..].copy_from_slice(&[9; TAG]);
        let hop = Hop { check: *b"12345678", kind: 7, data: b"abc", mac: &[9; TAG] };
        assert_eq!(read(&body), Ok(hop));
    }

    #[test]
    fn limits() {
        for size in CellSize::ALL {
            let (s, mut body) = (size.bytes(), vec![0xaa; size.body_len()]);
            assert_eq!(DATA_AT + data_max(s) + TAG, body.len());
            assert_eq!(write(&mut body, [1; CHECK], 1, &vec![5; data_max(s)]), Ok(()));
            assert_eq!(read(&body).map(|hop| hop.data.len()), Ok(data_max(s)));
            let before = body.clone();
            let len = data_max(s) + 1;
            assert_eq!(write(&mut body, [2; CHECK], 2, &vec![5; len]), Err(TooLong { len, max: data_max(s) }));
            assert_eq!(body, before);
            body[LENGTH_AT..DATA_AT].copy_from_slice(&u16::try_from(len).expect("small").to_be_bytes());
            assert_eq!(read(&body), Err(BodyError::Length));
        }
        for len in 0..DATA_AT + TAG {
            assert_eq!(read(&vec![0; len]), Err(BodyError::Short));
            assert!(write(&mut vec![0; len], [0; CHECK], 0, &[]).is_err());
        }
    }

    proptest! {
        #[test]
        fn round_trip(check: [u8; CHECK], kind: u8, data in proptest::collection::vec(any::<u8>(), 0..=data_max(512))) {
            let mut body = [0xaa; body_len(512)];
            write(&mut body, check, kind, &data).expect("fits");
            let hop = read(&body).expect("reads");
            prop_assert_eq!((hop.check, hop.kind, hop.data), (check, kind, &data[..]));
        }
    }
}
