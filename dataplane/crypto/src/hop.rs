//! Cells for a hop: their body, and the MAC that ends it (`docs/wire.md`, W-HOP-1, W-HOP-2).
//!
//! ```text
//! | 8 check | 1 type | 2 length | data, zeros | 16 MAC |
//! ```
//!
//! The MAC is HMAC-SHA-256 (RFC 2104) over all before it, its first 16 bytes. Used by the data plane's service thread
//! and by whoever holds the client's side; never on a worker.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::schedule::{KEY_ID, KeyId, equal, hkdf_sha256};
use drover_wire::cell::hop::{CHECK, covered, read, write};
use drover_wire::cell::{TAG, TooLong};

/// Salt of [`HopMac::key_id`].
const ID_SALT: &[u8] = b"drover hop mac key id";

/// The MAC key of one direction of a hop's own cells. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HopMac(pub [u8; 32]);

impl HopMac {
    /// The public fingerprint of this key.
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; KEY_ID];
        hkdf_sha256(ID_SALT, &self.0, &[], &mut id);
        id
    }

    fn mac(&self, covered: &[u8]) -> [u8; TAG] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(covered);
        let whole = mac.finalize().into_bytes();
        let mut first = [0; TAG];
        first.copy_from_slice(&whole[..TAG]);
        first
    }

    /// Writes a whole body (S − 32 bytes), layers not yet on. `check` is what the layer's peel returns for the counter
    /// under which the hop will see it, or zeros towards the client, who needs no recognition.
    ///
    /// # Errors
    /// [`TooLong`] when `data` does not fit; then nothing is written.
    pub fn seal(&self, body: &mut [u8], check: [u8; CHECK], kind: u8, data: &[u8]) -> Result<(), TooLong> {
        write(body, check, kind, data)?;
        if let Some((covered, mac)) = body.split_last_chunk_mut::<TAG>() {
            *mac = self.mac(covered);
        }
        Ok(())
    }

    /// The type and the data of a body whose layers are off. `None` when the MAC is wrong, or when what it covers is
    /// not length, data and zeros: nothing of a body is looked at before its MAC was compared.
    pub fn open<'b>(&self, body: &'b [u8]) -> Option<(u8, &'b [u8])> {
        let (_, mac) = body.split_last_chunk::<TAG>()?;
        if !equal(&self.mac(covered(body)?), mac) {
            return None;
        }
        let hop = read(body).ok()?;
        Some((hop.kind, hop.data))
    }
}

#[cfg(test)]
mod tests {
    use drover_wire::cell::hop::{DATA_AT, LENGTH_AT, data_max};
    use drover_wire::cell::{CellSize, body_len};
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::hex;

    const _: fn() = || {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<HopMac>();
    };

    fn key() -> HopMac {
        HopMac(std::array::from_fn(|at| at as u8))
    }

    /// The MAC was made with Python's `hmac` and `hashlib` over `12345678 07 0003 abc` and zeros, 208 bytes; the
    /// fingerprint with HKDF by the letter of RFC 5869.
    #[test]
    fn known_answer() {
        let mut body = [0xaa; body_len(256)];
        key().seal(&mut body, *b"12345678", 7, b"abc").expect("fits");
        assert_eq!(body[..14], *b"12345678\x07\x00\x03abc");
        assert_eq!(body[14..208], [0; 194]);
        assert_eq!(body[208..], hex("ffb06e4af26cb6cd5408c0f37d5f0dff"));
        assert_eq!(key().key_id()[..], hex("e09a336543e175c4"));
        assert_eq!(key().open(&body), Some((7, &b"abc"[..])));
    }

    #[test]
    fn every_bit_is_covered() {
        let mut body = [0; body_len(256)];
        key().seal(&mut body, [9; CHECK], 1, &[5; 20]).expect("fits");
        for at in 0..body.len() {
            let mut odd = body;
            odd[at] ^= 1 << (at % 8);
            assert_eq!(key().open(&odd), None, "byte {at}");
        }
        assert_eq!(HopMac([0; 32]).open(&body), None, "another key");
    }

    #[test]
    fn padding_and_length_are_checked_under_a_right_mac() {
        let sealed = |change: fn(&mut [u8])| {
            let mut body = [0; body_len(256)];
            key().seal(&mut body, [9; CHECK], 1, b"abc").expect("fits");
            change(&mut body);
            let mac = key().mac(covered(&body).expect("whole"));
            body[208..].copy_from_slice(&mac);
            key().open(&body).is_some()
        };
        assert!(sealed(|_| ()));
        assert!(!sealed(|body| body[207] = 1), "padding");
        assert!(!sealed(|body| body[LENGTH_AT] = 1), "a length beyond the body");
        assert!(!sealed(|body| body[DATA_AT - 1] = 2), "what is then padding is not zero");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn round_trip(key: [u8; 32], check: [u8; CHECK], kind: u8, data in proptest::collection::vec(any::<u8>(), 0..500)) {
            for size in CellSize::ALL {
                let mut body = vec![0xaa; size.body_len()];
                match HopMac(key).seal(&mut body, check, kind, &data) {
                    Ok(()) => prop_assert_eq!(HopMac(key).open(&body), Some((kind, &data[..]))),
                    Err(error) => prop_assert_eq!(error, TooLong { len: data.len(), max: data_max(size.bytes()) }),
                }
            }
        }

        #[test]
        fn any_bytes_are_no_cell(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(key().open(&bytes), None);
        }
    }
}
