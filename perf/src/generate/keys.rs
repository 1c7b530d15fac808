//! Links' keys as a file, and drawn anew.
//!
//! ```toml
//! cell = 512
//!
//! [[link]]
//! from = "127.0.0.1:5001"     # where records come from: a mix knows a link by it
//! to = "127.0.0.1:4433"       # where they go
//! secret = "00112233..."      # the direction's traffic secret, 64 hex digits (docs/wire.md, W-KEY)
//! next = 0                    # the number of the first record
//! ratchet_bits = 24           # a ratchet step covers 2^this records
//! circuits = [{ id = 7, counter = 100 }]   # cells of these in turn; without: chaff
//! ```

use drover_crypto::schedule::TrafficSecret;
use drover_wire::cell::CellSize;
use rand::RngCore;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use zeroize::Zeroizing;

/// Most links of a file: a key's tables take some kB.
const LINKS_MAX: usize = 10_000;
/// Most circuits of a link.
const CIRCUITS_MAX: usize = 10_000;
/// Largest file, bytes.
const FILE_MAX: u64 = 64 << 20;
/// Ratchet steps that a sender may have behind it: each is a hash away.
const STEPS_MAX: u64 = 1 << 16;

/// A file of keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Bytes of a cell.
    pub cell: usize,
    /// Links.
    pub link: Vec<LinkKeys>,
}

/// What one direction of a link is sealed with.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkKeys {
    /// Where its records come from.
    pub from: SocketAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// The direction's traffic secret.
    #[serde(deserialize_with = "hex")]
    pub secret: TrafficSecret,
    /// The first number.
    #[serde(default)]
    pub next: u64,
    /// A ratchet step covers 2^this records.
    pub ratchet_bits: u8,
    /// Whose cells come in turn; none: chaff.
    #[serde(default)]
    pub circuits: Vec<Circuit>,
}

/// A circuit of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    /// Its id on this link.
    pub id: u32,
    /// The next cell's counter.
    pub counter: u64,
}

/// A secret is shown to nobody.
impl std::fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkKeys").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or what is wrong in it.
    pub fn read(path: &Path) -> Result<KeyFile, String> {
        let about = |error: &dyn std::fmt::Display| format!("--keys {}: {error}", path.display());
        if path.metadata().map_err(|error| about(&error))?.len() > FILE_MAX {
            return Err(about(&format!("it is longer than {FILE_MAX} bytes")));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| about(&error))?);
        KeyFile::parse(&text).map_err(|error| about(&error))
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn parse(text: &str) -> Result<KeyFile, String> {
        // The parser's own words would show the line, and with it the secret.
        let file: KeyFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            format!("line {line}: {}", error.message())
        })?;
        if !CellSize::ALL.iter().any(|size| size.bytes() == file.cell) {
            return Err(format!("cell = {}: there are cells of 256, 512 and 1024 bytes", file.cell));
        }
        if !(1..=LINKS_MAX).contains(&file.link.len()) {
            return Err(format!("{} links: 1 to {LINKS_MAX} can be given", file.link.len()));
        }
        for (at, link) in file.link.iter().enumerate() {
            link.check().map_err(|error| format!("link {at} (to {}): {error}", link.to))?;
        }
        Ok(file)
    }
}

impl LinkKeys {
    /// A link of `circuits` circuits with a secret of its own.
    pub fn draw(rng: &mut impl RngCore, from: SocketAddr, to: SocketAddr, circuits: u32) -> LinkKeys {
        let mut secret = TrafficSecret([0; 32]);
        rng.fill_bytes(&mut secret.0);
        // The upper half stays free: counters count up.
        let circuits = (1..=circuits).map(|id| Circuit { id, counter: rng.next_u64() >> 1 }).collect();
        LinkKeys { from, to, secret, next: 0, ratchet_bits: 24, circuits }
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=40).contains(&self.ratchet_bits) {
            return Err(format!("ratchet_bits = {} is not in 1..=40", self.ratchet_bits));
        }
        if self.next >> self.ratchet_bits > STEPS_MAX {
            return Err(format!("next = {} is more than {STEPS_MAX} ratchet steps ahead", self.next));
        }
        if self.from.is_ipv4() != self.to.is_ipv4() {
            return Err(format!("from {} is of another family", self.from));
        }
        if self.to.port() == 0 || self.to.ip().is_unspecified() || self.to.ip().is_multicast() {
            return Err("no one host's address".to_owned());
        }
        if self.circuits.len() > CIRCUITS_MAX {
            return Err(format!("{} circuits: at most {CIRCUITS_MAX} can be given", self.circuits.len()));
        }
        match self.circuits.iter().find(|circuit| circuit.id == 0) {
            Some(_) => Err("circuit 0 is chaff's".to_owned()),
            None => Ok(()),
        }
    }
}

fn hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TrafficSecret, D::Error> {
    use serde::de::Error;
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    let digits = text.as_bytes().as_chunks::<2>().0;
    if text.len() != 64 {
        return Err(D::Error::custom(format!("a secret has 64 hex digits, not {}", text.len())));
    }
    let mut secret = TrafficSecret([0; 32]);
    for (byte, digits) in secret.0.iter_mut().zip(digits) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = digits.map(value);
        let (Some(high), Some(low)) = (high, low) else { return Err(D::Error::custom("a secret has hex digits only")) };
        *byte = (high << 4 | low) as u8;
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

    fn file(change: impl Fn(&str) -> String) -> Result<KeyFile, String> {
        KeyFile::parse(&change(&format!(
            "cell = 512\n[[link]]\nfrom = \"127.0.0.1:5001\"\nto = \"127.0.0.1:4433\"\nsecret = \"{SECRET}\"\n\
             ratchet_bits = 24\ncircuits = [{{ id = 7, counter = 100 }}]\n"
        )))
    }

    #[test]
    fn a_file_is_read() {
        let file = file(str::to_owned).expect("right");
        assert_eq!((file.cell, file.link.len()), (512, 1));
        let link = &file.link[0];
        assert_eq!((link.secret.0[1], link.secret.0[31], link.next), (0x11, 0xff, 0));
        assert_eq!(link.circuits, [Circuit { id: 7, counter: 100 }]);
        assert!(!format!("{link:?}").contains("secret"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (old, new, words) in [
            ("512", "513", "cell = 513"),
            ("[[link]]", "[[links]]", "line"),
            ("= 24", "= 0", "ratchet_bits = 0"),
            ("ratchet_bits = 24", "ratchet_bits = 24\nnext = 9000000000000", "ratchet steps ahead"),
            ("0011", "001g", "hex digits only"),
            ("0011", "001", "64 hex digits, not 62"),
            ("id = 7", "id = 0", "circuit 0 is chaff's"),
            ("127.0.0.1:4433", "127.0.0.1:0", "no one host's"),
            ("127.0.0.1:4433", "[::1]:4433", "another family"),
            ("127.0.0.1:4433", "somewhere", "line 4"),
            ("counter", "count", "line"),
        ] {
            let error = file(|text| text.replace(old, new)).expect_err(new);
            assert!(error.contains(words) && !error.contains("8899aabb"), "{new}: {error}");
        }
        assert!(KeyFile::parse("cell = 512\nlink = []").is_err_and(|error| error.contains("0 links")));
    }

    proptest! {
        #[test]
        fn nonsense_is_an_error(text in ".{0,300}") {
            prop_assert!(KeyFile::parse(&text).is_err());
        }
    }
}
