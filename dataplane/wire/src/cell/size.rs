//! The three cell sizes (`docs/wire.md`, W-CELL-1).

use super::{body_len, plaintext_len, rtp_max};
use crate::record;
use core::fmt;
use core::str::FromStr;

/// A zone's cell size: the length of a record's encrypted part, tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellSize {
    /// Voice, the default.
    S256,
    /// The benchmark size.
    S512,
    /// The CloudProxy size.
    S1024,
}

impl CellSize {
    /// All sizes, smallest first.
    pub const ALL: [CellSize; 3] = [CellSize::S256, CellSize::S512, CellSize::S1024];
    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            CellSize::S256 => 256,
            CellSize::S512 => 512,
            CellSize::S1024 => 1024,
        }
    }
    /// Bytes of a cell as plaintext: 240, 496, 1008.
    pub const fn plaintext_len(self) -> usize {
        plaintext_len(self.bytes())
    }
    /// Bytes of a cell's body: 224, 480, 992.
    pub const fn body_len(self) -> usize {
        body_len(self.bytes())
    }
    /// Bytes of a record, a UDP payload: 259, 515, 1027.
    pub const fn record_len(self) -> usize {
        record::record_len(self.bytes())
    }
    /// Bytes of the largest RTP packet that fits: 198, 454, 966.
    pub const fn rtp_max(self) -> usize {
        rtp_max(self.bytes())
    }
}

/// A number or text that is no cell size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellSizeError;

impl fmt::Display for CellSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell size is 256, 512 or 1024 (bytes)")
    }
}

impl core::error::Error for CellSizeError {}

impl TryFrom<usize> for CellSize {
    type Error = CellSizeError;
    fn try_from(bytes: usize) -> Result<CellSize, CellSizeError> {
        let known = CellSize::ALL.into_iter().find(|size| size.bytes() == bytes);
        known.ok_or(CellSizeError)
    }
}

impl TryFrom<u16> for CellSize {
    type Error = CellSizeError;
    fn try_from(bytes: u16) -> Result<CellSize, CellSizeError> {
        CellSize::try_from(usize::from(bytes))
    }
}

impl From<CellSize> for u16 {
    fn from(size: CellSize) -> u16 {
        match size {
            CellSize::S256 => 256,
            CellSize::S512 => 512,
            CellSize::S1024 => 1024,
        }
    }
}

impl FromStr for CellSize {
    type Err = CellSizeError;
    fn from_str(text: &str) -> Result<CellSize, CellSizeError> {
        match text {
            "256" => Ok(CellSize::S256),
            "512" => Ok(CellSize::S512),
            "1024" => Ok(CellSize::S1024),
            _ => Err(CellSizeError),
        }
    }
}

impl fmt::Display for CellSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bytes(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{end_body, hop};

    /// The table of `docs/wire.md`, W-CELL-1.
    #[test]
    fn size_table() {
        let row = |size: CellSize| {
            let s = size.bytes();
            [
                s,
                size.record_len(),
                size.plaintext_len(),
                size.body_len(),
                size.rtp_max(),
                hop::data_max(s),
                end_body::inner_len(s),
            ]
        };
        assert_eq!(
            CellSize::ALL.map(row),
            [
                [256, 259, 240, 224, 198, 197, 200],
                [512, 515, 496, 480, 454, 453, 456],
                [1024, 1027, 1008, 992, 966, 965, 968]
            ]
        );
    }

    /// The layer's check is the keystream block after the body's last (W-CIR-4): bodies are whole blocks.
    #[test]
    fn bodies_are_whole_blocks() {
        assert!(CellSize::ALL.iter().all(|size| size.body_len() % 16 == 0));
    }

    #[test]
    fn conversions_agree() {
        for size in CellSize::ALL {
            assert_eq!(size.to_string().parse(), Ok(size));
            assert_eq!(CellSize::try_from(size.bytes()), Ok(size));
            assert_eq!(CellSize::try_from(u16::from(size)), Ok(size));
        }
        let known = (0..=u16::MAX).filter(|n| CellSize::try_from(*n).is_ok());
        assert!(known.eq([256, 512, 1024]));
        assert_eq!(format!("{:>5}", CellSize::S256), "  256");
    }

    #[test]
    fn errors_name_the_allowed_values() {
        for text in ["", "0256", "256 ", "+256", "128", "S256", "2048"] {
            let error = text.parse::<CellSize>().expect_err(text).to_string();
            assert!(["256", "512", "1024"].iter().all(|size| error.contains(size)), "{error}");
        }
        assert_eq!(CellSize::try_from(usize::MAX), Err(CellSizeError));
    }
}
