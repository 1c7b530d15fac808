//! What clients, their rendezvous mixes and other mixes say to each other about calls (`docs/wire.md`, W-RDV).
//!
//! Each message is a struct with a kind, `encode` and `decode`; whatever decodes encodes to the same bytes. Registrations
//! have a module of their own, and so has what is inside a lookup.

mod between;
#[cfg(test)]
mod tests;

pub use super::codec::BadMessage;
pub use between::{LinkAnswer, LinkLookup, LinkSignal, News, Splice, Spliced, Wanted};

use super::codec::Fields;
use super::registration::REGISTRATION_MAX;
use super::sealed::{OpenError, REPLY_OVERHEAD, STATIC_OVERHEAD, SealError, open_static, seal_static};
use crate::message;
use drover_crypto::schedule::equal;
use drover_dtls::certificate::NodeId;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a sealed lookup.
pub const QUERY_BYTES: usize = 128;
/// Bytes of the sealed answer to a lookup, whether the client is known or not.
pub const ANSWER_BYTES: usize = 2560;
/// Bytes of every sealed signal, whatever it says.
pub const SIGNAL_BYTES: usize = 3840;
/// No message of this module is longer, in bytes: a channel must carry that much.
pub const MESSAGE_MAX: usize = 4096;
/// Registrations that one message names at most.
pub const DIGESTS_MAX: usize = 128;
/// Bytes of a mailbox sealed to a mix.
pub const SEALED_MAILBOX_BYTES: usize = STATIC_OVERHEAD + 16;
/// What the boxes with mailboxes are for.
const MAILBOX_LABEL: &[u8] = b"drover mailbox 1";
/// Mixes that a lookup or a signal passes at most between the two rendezvous mixes.
pub const RELAYS_MAX: u8 = 1;

const _: () = assert!(QUERY_BYTES >= STATIC_OVERHEAD + 16 + 32);
const _: () = assert!(ANSWER_BYTES >= REPLY_OVERHEAD + 1 + REGISTRATION_MAX);
const _: () = assert!(MESSAGE_MAX >= SIGNAL_BYTES + SEALED_MAILBOX_BYTES + 32 && MESSAGE_MAX >= REGISTRATION_MAX + 128);

/// Where signals for a client go at its rendezvous mix: its [`NodeId`], or 16 random bytes for one call. Never all zero.
pub type Mailbox = [u8; 16];
/// A registration's name among mixes: the first 16 bytes of SHA-256 over it.
pub type Digest = [u8; 16];

/// Names a call at the two rendezvous mixes: who knows it may join. Compared in constant time, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token(pub [u8; 16]);

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why something that was asked was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Malformed, or not to be said here.
    Malformed,
    /// More than one circuit may ask for, or more than fits.
    Limit,
    /// A certificate, signature or time that is not good.
    Untrusted,
    /// No way to that mix.
    NoRoute,
    /// The other half did not come in time.
    Timeout,
    /// The data plane has no room.
    NoRoom,
    /// A newer registration is known.
    Stale,
}

impl Reason {
    const ALL: [Reason; 7] = [
        Reason::Malformed,
        Reason::Limit,
        Reason::Untrusted,
        Reason::NoRoute,
        Reason::Timeout,
        Reason::NoRoom,
        Reason::Stale,
    ];

    /// The name in counts.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Limit => "limit",
            Reason::Untrusted => "untrusted",
            Reason::NoRoute => "no_route",
            Reason::Timeout => "timeout",
            Reason::NoRoom => "no_room",
            Reason::Stale => "stale",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Malformed => "the rendezvous mix does not understand it",
            Reason::Limit => "the rendezvous mix has taken as much as it takes",
            Reason::Untrusted => "the rendezvous mix does not trust the certificate, signature or time",
            Reason::NoRoute => "the rendezvous mix has no link that leads there",
            Reason::Timeout => "the other side did not come in time",
            Reason::NoRoom => "the rendezvous mix has no room for another call",
            Reason::Stale => "the rendezvous mix knows a newer registration",
        })
    }
}

fn node(fields: &mut Fields<'_>) -> Result<NodeId, BadMessage> {
    fields.array().map(NodeId)
}

/// Mix to client: this registration is noted. | 16 digest |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Which.
    pub digest: Digest,
}

impl Registered {
    /// [`message::hop::REGISTERED`].
    pub const KIND: u8 = message::hop::REGISTERED;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.digest.to_vec()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Registered, BadMessage> {
        Ok(Registered { digest: bytes.try_into().map_err(|_| BadMessage)? })
    }
}

/// Client to its rendezvous mix: ask that mix. | 16 mix | 4 request | 128 sealed query |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Who is asked: a mix of the wanted client's zone.
    pub mix: NodeId,
    /// The client's number for this lookup.
    pub request: u32,
    /// [`super::lookup::Query::seal`].
    pub query: [u8; QUERY_BYTES],
}

impl Lookup {
    /// [`message::hop::LOOKUP`].
    pub const KIND: u8 = message::hop::LOOKUP;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.mix.0[..], &self.request.to_be_bytes(), &self.query].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Lookup, BadMessage> {
        let mut fields = Fields(bytes);
        let lookup = Lookup { mix: node(&mut fields)?, request: fields.u32()?, query: fields.array()? };
        fields.end().map(|()| lookup)
    }
}

/// Mix to client. | 4 request | 2560 sealed answer |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupAnswer {
    /// The number of [`Lookup::request`].
    pub request: u32,
    /// Exactly [`ANSWER_BYTES`]: for [`super::lookup::Asked::open`].
    pub answer: Vec<u8>,
}

impl LookupAnswer {
    /// [`message::hop::LOOKUP_ANSWER`].
    pub const KIND: u8 = message::hop::LOOKUP_ANSWER;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.request.to_be_bytes()[..], &self.answer].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<LookupAnswer, BadMessage> {
        let mut fields = Fields(bytes);
        Ok(LookupAnswer { request: fields.u32()?, answer: fields.rest(ANSWER_BYTES)?.to_vec() })
    }
}

/// A mailbox sealed to the static key of the mix that has it: the mixes on the way do not learn whose it is (I2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedMailbox(pub [u8; SEALED_MAILBOX_BYTES]);

impl SealedMailbox {
    /// Seals a mailbox to a mix.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(mix_static_key: &[u8; 32], mailbox: &Mailbox) -> Result<SealedMailbox, SealError> {
        let sealed = seal_static(mix_static_key, MAILBOX_LABEL, mailbox, SEALED_MAILBOX_BYTES)?;
        sealed.try_into().map(SealedMailbox).map_err(|_| SealError::TooLong)
    }
    /// The mailbox, for the mix that it was sealed to.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, static_secret: &[u8; 32]) -> Result<Mailbox, OpenError> {
        let opened = open_static(static_secret, MAILBOX_LABEL, &self.0)?;
        opened.as_slice().try_into().map_err(|_| OpenError)
    }
}

/// Client to its rendezvous mix: a signal for another client. | 16 mix | 66 sealed mailbox | 16 reply | 3840 sealed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalOut {
    /// The other client's rendezvous mix.
    pub mix: NodeId,
    /// Its mailbox there.
    pub mailbox: SealedMailbox,
    /// A mailbox of the sender's own that is opened, or kept open, on this circuit; zeros on the wire for none.
    pub reply: Option<Mailbox>,
    /// Exactly [`SIGNAL_BYTES`].
    pub sealed: Vec<u8>,
}

impl SignalOut {
    /// [`message::hop::SIGNAL`].
    pub const KIND: u8 = message::hop::SIGNAL;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.mix.0[..], &self.mailbox.0, &self.reply.unwrap_or_default(), &self.sealed].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<SignalOut, BadMessage> {
        let mut fields = Fields(bytes);
        let (mix, mailbox) = (node(&mut fields)?, SealedMailbox(fields.array()?));
        let reply = fields.array()?;
        let reply = (reply != [0; 16]).then_some(reply);
        Ok(SignalOut { mix, mailbox, reply, sealed: fields.rest(SIGNAL_BYTES)?.to_vec() })
    }
}

/// Mix to client: a signal came for one of its mailboxes. | 16 mailbox | 3840 sealed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalIn {
    /// Which mailbox.
    pub mailbox: Mailbox,
    /// Exactly [`SIGNAL_BYTES`].
    pub sealed: Vec<u8>,
}

impl SignalIn {
    /// [`message::hop::SIGNAL`].
    pub const KIND: u8 = message::hop::SIGNAL;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.mailbox[..], &self.sealed].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<SignalIn, BadMessage> {
        let mut fields = Fields(bytes);
        Ok(SignalIn { mailbox: fields.array()?, sealed: fields.rest(SIGNAL_BYTES)?.to_vec() })
    }
}

/// Client to its rendezvous mix: join this circuit with the other half. | 16 token | 16 mix |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// What both halves name.
    pub token: Token,
    /// The other half's rendezvous mix; may be this one.
    pub mix: NodeId,
}

impl Join {
    /// [`message::hop::JOIN`].
    pub const KIND: u8 = message::hop::JOIN;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.token.0, self.mix.0].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Join, BadMessage> {
        let mut fields = Fields(bytes);
        let join = Join { token: Token(fields.array()?), mix: node(&mut fields)? };
        fields.end().map(|()| join)
    }
}

/// Mix to client: the halves are joined; from now on the circuit carries the call. | 16 token |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// As in [`Join`].
    pub token: Token,
}

impl Joined {
    /// [`message::hop::JOINED`].
    pub const KIND: u8 = message::hop::JOINED;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.token.0.to_vec()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Joined, BadMessage> {
        Ok(Joined { token: Token(bytes.try_into().map_err(|_| BadMessage)?) })
    }
}

/// Mix to client: what was asked is not done. | 1 kind of what was asked | 4 request, 0 where there is none | 1 reason |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The kind of what was asked ([`message::hop`]).
    pub asked: u8,
    /// [`Lookup::request`], or 0.
    pub request: u32,
    /// Why.
    pub reason: Reason,
}

impl Failed {
    /// [`message::hop::FAILED`].
    pub const KIND: u8 = message::hop::FAILED;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let reason = Reason::ALL.iter().position(|reason| *reason == self.reason).unwrap_or(0) as u8 + 1;
        [&[self.asked][..], &self.request.to_be_bytes(), &[reason]].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Failed, BadMessage> {
        let mut fields = Fields(bytes);
        let (asked, request, reason) = (fields.u8()?, fields.u32()?, fields.u8()?);
        fields.end()?;
        let reason = usize::from(reason).checked_sub(1).and_then(|at| Reason::ALL.get(at)).ok_or(BadMessage)?;
        Ok(Failed { asked, request, reason: *reason })
    }
}
