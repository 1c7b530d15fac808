//! Between mixes.

use super::super::codec::{BadMessage, Fields};
use super::super::registration::REGISTRATION_MAX;
use super::{ANSWER_BYTES, DIGESTS_MAX, Digest, QUERY_BYTES, RELAYS_MAX, SIGNAL_BYTES, SealedMailbox, Token, node};
use crate::message;
use drover_dtls::certificate::NodeId;

fn relays(fields: &mut Fields<'_>) -> Result<u8, BadMessage> {
    fields.u8().and_then(|relays| (relays <= RELAYS_MAX).then_some(relays).ok_or(BadMessage))
}

fn digests(fields: Fields<'_>) -> Result<Vec<Digest>, BadMessage> {
    let (all, rest) = fields.0.as_chunks::<16>();
    (rest.is_empty() && all.len() <= DIGESTS_MAX).then(|| all.to_vec()).ok_or(BadMessage)
}

/// Among the mixes of a zone, from the mix that clients are registered at. | 1 form | registration or digests |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Form 0: a registration, whole ([`super::registration::Registration`]).
    Registration(Vec<u8>),
    /// Form 1: these are still good. At most [`DIGESTS_MAX`].
    Alive(Vec<Digest>),
}

impl News {
    /// [`message::link::REGISTRATION`].
    pub const KIND: u8 = message::link::REGISTRATION;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            News::Registration(bytes) => [&[0][..], bytes].concat(),
            News::Alive(digests) => [&[1][..], digests.as_flattened()].concat(),
        }
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<News, BadMessage> {
        let mut fields = Fields(bytes);
        match fields.u8()? {
            0 if fields.0.len() <= REGISTRATION_MAX => Ok(News::Registration(fields.0.to_vec())),
            1 => digests(fields).map(News::Alive),
            _ => Err(BadMessage),
        }
    }
}

/// Among the mixes of a zone: send me these, whole; none named: say which are alive. | digests |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(
    /// At most [`DIGESTS_MAX`].
    pub Vec<Digest>,
);

impl Wanted {
    /// [`message::link::REGISTRATIONS_WANTED`].
    pub const KIND: u8 = message::link::REGISTRATIONS_WANTED;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.0.as_flattened().to_vec()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Wanted, BadMessage> {
        digests(Fields(bytes)).map(Wanted)
    }
}

/// Mix to mix: a lookup on its way. | 16 mix | 8 number | 1 relays | 128 sealed query |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkLookup {
    /// Who is asked.
    pub mix: NodeId,
    /// The sender's number on this link.
    pub number: u64,
    /// How many mixes may still pass it on.
    pub relays: u8,
    /// The query.
    pub query: [u8; QUERY_BYTES],
}

impl LinkLookup {
    /// [`message::link::LOOKUP`].
    pub const KIND: u8 = message::link::LOOKUP;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.mix.0[..], &self.number.to_be_bytes(), &[self.relays], &self.query].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<LinkLookup, BadMessage> {
        let mut fields = Fields(bytes);
        let (mix, number, relays) = (node(&mut fields)?, fields.u64()?, relays(&mut fields)?);
        let lookup = LinkLookup { mix, number, relays, query: fields.array()? };
        fields.end().map(|()| lookup)
    }
}

/// Mix to mix, back the way the lookup came. | 8 number | 2560 sealed answer |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAnswer {
    /// The number of [`LinkLookup::number`].
    pub number: u64,
    /// Exactly [`ANSWER_BYTES`].
    pub answer: Vec<u8>,
}

impl LinkAnswer {
    /// [`message::link::LOOKUP_ANSWER`].
    pub const KIND: u8 = message::link::LOOKUP_ANSWER;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &self.answer].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<LinkAnswer, BadMessage> {
        let mut fields = Fields(bytes);
        Ok(LinkAnswer { number: fields.u64()?, answer: fields.rest(ANSWER_BYTES)?.to_vec() })
    }
}

/// Mix to mix: a signal on its way. | 16 mix | 66 sealed mailbox | 1 relays | 3840 sealed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSignal {
    /// The receiver's rendezvous mix.
    pub mix: NodeId,
    /// The mailbox there.
    pub mailbox: SealedMailbox,
    /// How many mixes may still pass it on.
    pub relays: u8,
    /// Exactly [`SIGNAL_BYTES`].
    pub sealed: Vec<u8>,
}

impl LinkSignal {
    /// [`message::link::SIGNAL`].
    pub const KIND: u8 = message::link::SIGNAL;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.mix.0[..], &self.mailbox.0, &[self.relays], &self.sealed].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<LinkSignal, BadMessage> {
        let mut fields = Fields(bytes);
        let (mix, mailbox, relays) = (node(&mut fields)?, SealedMailbox(fields.array()?), relays(&mut fields)?);
        Ok(LinkSignal { mix, mailbox, relays, sealed: fields.rest(SIGNAL_BYTES)?.to_vec() })
    }
}

/// From the rendezvous mix with the smaller id: join there what names this token, by this circuit. | 16 token | 4 id |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// As in [`Join`].
    pub token: Token,
    /// The circuit's id on this link, of the sender's half of the ids; not 0.
    pub id: u32,
}

impl Splice {
    /// [`message::link::SPLICE`].
    pub const KIND: u8 = message::link::SPLICE;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.token.0[..], &self.id.to_be_bytes()].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Splice, BadMessage> {
        let mut fields = Fields(bytes);
        let splice = Splice { token: Token(fields.array()?), id: fields.u32()? };
        fields.end()?;
        (splice.id != 0).then_some(splice).ok_or(BadMessage)
    }
}

/// The answer: joined there, or not. From the smaller side too, when it cannot do its part. | 16 token | 1 joined |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// As in [`Join`].
    pub token: Token,
    /// Whether it is.
    pub joined: bool,
}

impl Spliced {
    /// [`message::link::SPLICED`].
    pub const KIND: u8 = message::link::SPLICED;
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.token.0[..], &[u8::from(self.joined)]].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Spliced, BadMessage> {
        let mut fields = Fields(bytes);
        let (token, joined) = (Token(fields.array()?), fields.u8()?);
        fields.end()?;
        (joined <= 1).then_some(Spliced { token, joined: joined == 1 }).ok_or(BadMessage)
    }
}
