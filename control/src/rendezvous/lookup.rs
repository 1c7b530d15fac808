//! What is inside a lookup: a question sealed to a mix of the wanted client's zone, and its answer, of one size whether the
//! client is known or not (`docs/wire.md`, W-RDV-7).

use super::messages::{ANSWER_BYTES, QUERY_BYTES};
use super::registration::Registration;
use super::sealed::{OpenError, REPLY_KEY_BYTES, ReplyKey, SealError, open_static, seal_static};
use drover_dtls::certificate::NodeId;
use zeroize::Zeroizing;

const QUERY_LABEL: &[u8] = b"drover lookup 1";
const ANSWER_LABEL: &[u8] = b"drover lookup answer 1";
const UNKNOWN: u8 = 0;
const FOUND: u8 = 1;

/// What the asker keeps to read the answer with.
pub struct Asked {
    wanted: NodeId,
    reply: ReplyKey,
}

impl Asked {
    /// Asks for `wanted` the mix with this static key: the sealed query and what to keep.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn new(wanted: NodeId, mix_static_key: &[u8; 32]) -> Result<(Asked, [u8; QUERY_BYTES]), SealError> {
        let reply = ReplyKey::generate()?;
        let mut inner = Zeroizing::new([0; 16 + REPLY_KEY_BYTES]);
        inner[..16].copy_from_slice(&wanted.0);
        inner[16..].copy_from_slice(reply.bytes());
        let sealed = seal_static(mix_static_key, QUERY_LABEL, &*inner, QUERY_BYTES)?;
        Ok((Asked { wanted, reply }, sealed.try_into().map_err(|_| SealError::TooLong)?))
    }

    /// Opens the answer: the registration, which is the wanted client's but is yet to be checked, or `None` when the mix
    /// does not know the client.
    ///
    /// # Errors
    /// [`OpenError`], also for somebody else's registration.
    pub fn open(&self, answer: &[u8]) -> Result<Option<Registration>, OpenError> {
        if answer.len() != ANSWER_BYTES {
            return Err(OpenError);
        }
        let inner = self.reply.open(ANSWER_LABEL, answer)?;
        match inner.split_first() {
            Some((&UNKNOWN, [])) => Ok(None),
            Some((&FOUND, bytes)) => {
                let found = Registration::decode(bytes).map_err(|_| OpenError)?;
                (found.client() == self.wanted).then_some(Some(found)).ok_or(OpenError)
            }
            _ => Err(OpenError),
        }
    }
}

/// A lookup as the asked mix sees it.
pub struct Query {
    /// Who is wanted.
    pub wanted: NodeId,
    reply: ReplyKey,
}

impl Query {
    /// Opens a query with the mix's static X25519 private key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(static_secret: &[u8; 32], sealed: &[u8; QUERY_BYTES]) -> Result<Query, OpenError> {
        let inner = open_static(static_secret, QUERY_LABEL, sealed)?;
        let (wanted, reply) = inner.split_first_chunk().ok_or(OpenError)?;
        let reply = <&[u8; REPLY_KEY_BYTES]>::try_from(reply).map_err(|_| OpenError)?;
        Ok(Query { wanted: NodeId(*wanted), reply: ReplyKey::from_bytes(reply) })
    }

    /// Seals the answer: [`ANSWER_BYTES`] either way.
    ///
    /// # Errors
    /// [`SealError::System`].
    pub fn answer(&self, found: Option<&Registration>) -> Result<Vec<u8>, SealError> {
        let inner = found.map_or_else(|| vec![UNKNOWN], |found| [&[FOUND][..], found.bytes()].concat());
        self.reply.seal(ANSWER_LABEL, &inner, ANSWER_BYTES)
    }
}
