//! The secret that two ends of a lab network share.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 bytes of a lab network file: the input of every key of one link or call. Zeroized when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct FileSecret([u8; 32]);

impl FileSecret {
    /// A secret from the operating system's generator. There is no other way to make one: a seed never reaches a key
    /// (W-LAB-3).
    ///
    /// # Errors
    ///
    /// The generator failed.
    pub fn random() -> Result<FileSecret, String> {
        let mut secret = FileSecret([0; 32]);
        getrandom::fill(&mut secret.0).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        Ok(secret)
    }

    /// Reads 64 hex digits.
    ///
    /// # Errors
    ///
    /// Says what is wrong, never what was there.
    pub fn from_hex(text: &str) -> Result<FileSecret, String> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(format!("a secret has 64 hex digits (32 bytes), not {} characters", digits.len()));
        }
        let mut secret = FileSecret([0; 32]);
        for (byte, pair) in secret.0.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err("a secret has hex digits only (0-9, a-f)".to_owned());
            };
            *byte = (high << 4 | low) as u8;
        }
        if secret.0 == [0; 32] {
            return Err("a secret of zeros is none; make a new file with `drover lab keys`".to_owned());
        }
        Ok(secret)
    }

    /// Appends 64 hex digits to `out`, which the caller zeroizes.
    pub fn push_hex(&self, out: &mut String) {
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
    }

    /// The bytes, for key derivation.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether two secrets are the same, in constant time.
    pub fn same(&self, other: &FileSecret) -> bool {
        drover_crypto::schedule::equal(&self.0, &other.0)
    }
}

impl fmt::Debug for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSecret(..)")
    }
}

impl<'de> serde::Deserialize<'de> for FileSecret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<FileSecret, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(from)?);
        FileSecret::from_hex(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_secrets_differ_and_are_not_printed() {
        let (a, b) = (FileSecret::random().expect("random"), FileSecret::random().expect("random"));
        assert!(!a.same(&b) && a.same(&a.clone()));
        assert_eq!(format!("{a:?}"), "FileSecret(..)");
    }

    #[test]
    fn errors_do_not_show_the_secret() {
        for text in ["", "zz", &"0".repeat(64), &"g1".repeat(32), &"ab".repeat(33)] {
            let error = FileSecret::from_hex(text).expect_err("no secret");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn hex_goes_there_and_back(bytes in prop::array::uniform32(1u8..)) {
            let mut text = String::new();
            FileSecret(bytes).push_hex(&mut text);
            prop_assert_eq!(FileSecret::from_hex(&text).expect("ours").0, bytes);
        }
        #[test]
        fn any_text_is_a_secret_or_an_error(text in "\\PC{0,80}") {
            let _ = FileSecret::from_hex(&text);
        }
    }
}
