//! The Internet checksum (RFC 1071).

/// A ones' complement sum of 16-bit words, not yet folded.
///
/// Words are summed in the processor's own byte order, which gives the same bytes on the wire (RFC 1071, 2 (B)), and
/// eight bytes at a time: the carries wait in the upper half of 64 bits (2 (A), (C)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that begin at an even place of what is summed. If they are odd in number nothing may follow them.
    #[inline]
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Sum {
        // Each step adds less than 2^33: no frame is long enough to fill 64 bits.
        let (words, rest) = bytes.as_chunks::<8>();
        let sum = words.iter().fold(self.0, |sum, word| sum + halves(u64::from_ne_bytes(*word)));
        let (halves_of_it, rest) = rest.as_chunks::<4>();
        let sum = halves_of_it.iter().fold(sum, |sum, half| sum + u64::from(u32::from_ne_bytes(*half)));
        Sum(match *rest {
            [a, b, c] => sum + u64::from(u32::from_ne_bytes([a, b, c, 0])),
            [a, b] => sum + u64::from(u16::from_ne_bytes([a, b])),
            [a] => sum + u64::from(u16::from_ne_bytes([a, 0])),
            _ => sum,
        })
    }

    /// Adds one 16-bit number.
    #[inline]
    #[must_use]
    pub const fn with_word(self, word: u16) -> Sum {
        Sum(self.0 + word.to_be() as u64)
    }

    /// The sum in 16 bits, as on the wire: 0xffff when it covers a right checksum.
    #[inline]
    pub const fn folded(self) -> [u8; 2] {
        let sum = halves(self.0);
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum as u16).to_ne_bytes()
    }

    /// The checksum, as on the wire: the sum's complement.
    #[inline]
    pub const fn checksum(self) -> [u8; 2] {
        let [a, b] = self.folded();
        [!a, !b]
    }

    /// Whether what was summed, its checksum with it, is right.
    #[inline]
    pub const fn is_right(self) -> bool {
        matches!(self.folded(), [0xff, 0xff])
    }
}

#[inline]
const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071, 1: word by word, each carry added at once.
    fn slow(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0u16;
        for pair in bytes.chunks(2) {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            let (low, carry) = sum.overflowing_add(word);
            sum = low + u16::from(carry);
        }
        sum.to_be_bytes()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        // RFC 1071, 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&bytes).folded(), [0xdd, 0xf2]);
        assert_eq!(Sum::default().with(&bytes).checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn the_longest_sums_do_not_overflow() {
        let ones = vec![0xff; 1 << 17];
        let mut sum = Sum::default();
        for _ in 0..100 {
            sum = sum.with(&ones);
        }
        assert_eq!(sum.folded(), [0xff, 0xff]);
        assert_eq!(Sum(u64::MAX).folded(), [0xff, 0xff]);
        assert_eq!(Sum(u64::MAX - 1).folded(), slow(&(u64::MAX - 1).to_ne_bytes()));
    }

    proptest! {
        #[test]
        fn all_ways_to_sum_agree(
            bytes in proptest::collection::vec(any::<u8>(), 0..600), at: prop::sample::Index, word: u16,
        ) {
            let at = at.index(bytes.len() + 1) & !1;
            let (a, b) = bytes.split_at(at);
            let whole = slow(&bytes);
            prop_assert_eq!(Sum::default().with(&bytes).folded(), whole);
            prop_assert_eq!(Sum::default().with(a).with(b).folded(), whole);
            let with_word = slow(&[&word.to_be_bytes()[..], &bytes].concat());
            prop_assert_eq!(Sum::default().with_word(word).with(&bytes).folded(), with_word);
            let checksum = with_word.map(|byte| !byte);
            prop_assert!(Sum::default().with(&checksum).with_word(word).with(&bytes).is_right());
        }

        #[test]
        fn every_state_folds(sum: u64) {
            prop_assert_eq!(Sum(sum).folded(), slow(&sum.to_ne_bytes()));
        }
    }
}
