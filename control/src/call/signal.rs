//! Sealed signals between clients (`docs/wire.md`, W-CAL-3): one size, whatever they say.
//!
//! The first of a call is sealed to the callee's prekeys and brings a key for those that follow, in either direction:
//!
//! ```text
//! first:   hybrid box( 1 kind | 32 key | data )
//! others:  box under the key( 1 kind | data )
//! ```

use crate::rendezvous::messages::SIGNAL_BYTES;
use crate::rendezvous::sealed::{
    HYBRID_OVERHEAD, Prekeys, PublicPrekeys, REPLY_KEY_BYTES, ReplyKey, SealError, seal_hybrid,
};
use zeroize::Zeroizing;

/// The longest data of a call's first signal, bytes.
pub const FIRST_DATA_MAX: usize = SIGNAL_BYTES - HYBRID_OVERHEAD - 1 - REPLY_KEY_BYTES;

const FIRST: &[u8] = b"drover call signal first 1";
const OF_CALLER: &[u8] = b"drover call signal caller 1";
const OF_CALLEE: &[u8] = b"drover call signal callee 1";

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Someone calls: the first handshake message. The first signal, and only that.
    Introduce = 1,
    /// The callee's client rings.
    Ringing = 2,
    /// Answered: the second handshake message.
    Answer = 3,
    /// The callee is in another call.
    Busy = 4,
    /// The callee does not want to.
    Reject = 5,
    /// The third handshake message.
    Reveal = 6,
    /// The call is over, or was given up.
    Bye = 7,
    /// The call broke; this side joins again under the attempt of this number.
    Mend = 8,
    /// Nothing: keeps the count of an attempt's signals.
    Nothing = 9,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Introduce, Ringing, Answer, Busy, Reject, Reveal, Bye, Mend, Nothing].into_iter().find(|k| *k as u8 == byte)
    }
}

/// One side's key of one call's signals. Zeroized when dropped.
#[derive(Clone)]
pub struct SignalKey {
    key: ReplyKey,
    caller: bool,
}

/// What a signal said: kind and data.
pub type Said = (Kind, Zeroizing<Vec<u8>>);

/// Seals a call's first signal to the callee's prekeys; `data` is at most [`FIRST_DATA_MAX`] bytes. The key is the
/// caller's.
///
/// # Errors
/// [`SealError`].
pub fn seal_first(prekeys: &PublicPrekeys, kind: Kind, data: &[u8]) -> Result<(Vec<u8>, SignalKey), SealError> {
    let key = ReplyKey::generate()?;
    let text = Zeroizing::new([&[kind as u8][..], key.bytes(), data].concat());
    let sealed = seal_hybrid(prekeys, FIRST, &text, SIGNAL_BYTES)?;
    Ok((sealed, SignalKey { key, caller: true }))
}

/// Opens a call's first signal: what it says, and the callee's key.
pub fn open_first(own: &Prekeys, sealed: &[u8]) -> Option<(Said, SignalKey)> {
    if sealed.len() != SIGNAL_BYTES {
        return None;
    }
    let text = own.open(FIRST, sealed).ok()?;
    let (kind, rest) = text.split_first()?;
    let (key, data) = rest.split_first_chunk()?;
    let said = (Kind::of(*kind)?, Zeroizing::new(data.to_vec()));
    Some((said, SignalKey { key: ReplyKey::from_bytes(key), caller: false }))
}

impl SignalKey {
    /// Seals a signal to the other side.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, kind: Kind, data: &[u8]) -> Result<Vec<u8>, SealError> {
        let text = Zeroizing::new([&[kind as u8][..], data].concat());
        self.key.seal(if self.caller { OF_CALLER } else { OF_CALLEE }, &text, SIGNAL_BYTES)
    }

    /// Opens a signal of the other side; `None` when it is none of this call.
    pub fn open(&self, sealed: &[u8]) -> Option<Said> {
        if sealed.len() != SIGNAL_BYTES {
            return None;
        }
        let text = self.key.open(if self.caller { OF_CALLEE } else { OF_CALLER }, sealed).ok()?;
        let (kind, data) = text.split_first()?;
        Some((Kind::of(*kind)?, Zeroizing::new(data.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signals_have_one_size_and_open_at_the_right_end() {
        let (own, other) = (Prekeys::generate().expect("random"), Prekeys::generate().expect("random"));
        let (first, caller) = seal_first(own.public(), Kind::Introduce, &[7; FIRST_DATA_MAX]).expect("fits");
        assert!(seal_first(own.public(), Kind::Introduce, &[7; FIRST_DATA_MAX + 1]).is_err());
        assert!(open_first(&other, &first).is_none());
        let ((kind, data), callee) = open_first(&own, &first).expect("ours");
        assert_eq!((kind, &data[..]), (Kind::Introduce, &[7; FIRST_DATA_MAX][..]));
        let ringing = callee.seal(Kind::Ringing, &[]).expect("fits");
        let reveal = caller.seal(Kind::Reveal, b"nonce").expect("fits");
        assert_eq!([first.len(), ringing.len(), reveal.len()], [SIGNAL_BYTES; 3]);
        assert_eq!(caller.open(&ringing).expect("ours").0, Kind::Ringing);
        assert_eq!(callee.open(&reveal).expect("ours").1[..], *b"nonce");
        assert!(callee.open(&ringing).is_none(), "reflected");
        assert!(caller.open(&first).is_none() && open_first(&own, &reveal).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..64), whole: bool) {
            let own = Prekeys::generate().expect("random");
            let (_, key) = seal_first(own.public(), Kind::Bye, b"").expect("fits");
            let mut bytes = bytes;
            if whole {
                bytes.resize(SIGNAL_BYTES, 3);
            }
            prop_assert!(open_first(&own, &bytes).is_none() && key.open(&bytes).is_none());
        }
    }
}
