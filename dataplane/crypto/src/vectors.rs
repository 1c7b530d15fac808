//! Known answers, and reading them.

pub(crate) mod aes;
pub(crate) mod gcm;

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

/// The lines of a file of vectors: `N` strings of digits each, `-` for an empty one; `#` begins a comment.
fn lines<const N: usize>(file: &str) -> impl Iterator<Item = [&str; N]> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split(' ').map(|field| field.trim_matches('-')).collect();
        fields.try_into().expect("a line has a field for each of its kind")
    })
}
