//! Reading known answers.

/// The bytes of a string of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    assert!(digits.len().is_multiple_of(2));
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// As [`hex`], of a known length.
pub(crate) fn array<const N: usize>(digits: &str) -> [u8; N] {
    hex(digits).try_into().expect("N bytes")
}
