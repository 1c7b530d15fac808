//! What clients, their rendezvous mixes and other mixes say to each other about calls (`docs/wire.md`, W-RDV).
//!
//! Each message is a struct with a kind, `encode` and `decode`; whatever decodes encodes to the same bytes. Registrations
//! have a module of their own, and so has what is inside a lookup.

pub use super::codec::BadMessage;
use super::codec::Fields;
use super::registration::REGISTRATION_MAX;
use super::sealed::{REPLY_OVERHEAD, STATIC_OVERHEAD};
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
/// Mixes that a lookup or a signal passes at most between the two rendezvous mixes.
pub const RELAYS_MAX: u8 = 1;

const _: () = assert!(QUERY_BYTES >= STATIC_OVERHEAD + 16 + 32);
const _: () = assert!(ANSWER_BYTES >= REPLY_OVERHEAD + 1 + REGISTRATION_MAX);
const _: () = assert!(MESSAGE_MAX >= SIGNAL_BYTES + 64 && MESSAGE_MAX >= REGISTRATION_MAX + 128);

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

fn relays(fields: &mut Fields<'_>) -> Result<u8, BadMessage> {
    fields.u8().and_then(|relays| (relays <= RELAYS_MAX).then_some(relays).ok_or(BadMessage))
}

fn digests(fields: Fields<'_>) -> Result<Vec<Digest>, BadMessage> {
    let (all, rest) = fields.0.as_chunks::<16>();
    (rest.is_empty() && all.len() <= DIGESTS_MAX).then(|| all.to_vec()).ok_or(BadMessage)
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

/// Client to its rendezvous mix: a signal for another client. | 16 mix | 16 mailbox | 16 reply | 3840 sealed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalOut {
    /// The other client's rendezvous mix.
    pub mix: NodeId,
    /// Its mailbox there.
    pub mailbox: Mailbox,
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
        [&self.mix.0[..], &self.mailbox, &self.reply.unwrap_or_default(), &self.sealed].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<SignalOut, BadMessage> {
        let mut fields = Fields(bytes);
        let (mix, mailbox, reply) = (node(&mut fields)?, fields.array()?, fields.array()?);
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

/// Mix to mix: a signal on its way. | 16 mix | 16 mailbox | 1 relays | 3840 sealed |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSignal {
    /// The receiver's rendezvous mix.
    pub mix: NodeId,
    /// The mailbox there.
    pub mailbox: Mailbox,
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
        [&self.mix.0[..], &self.mailbox, &[self.relays], &self.sealed].concat()
    }
    /// Reads it.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(bytes: &[u8]) -> Result<LinkSignal, BadMessage> {
        let mut fields = Fields(bytes);
        let (mix, mailbox, relays) = (node(&mut fields)?, fields.array()?, relays(&mut fields)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes with every decoder of this module; what decodes must encode to the same bytes.
    fn all_decoders(bytes: &[u8]) -> usize {
        let mut decoded = 0;
        let mut same = |again: Option<Vec<u8>>| {
            if let Some(again) = again {
                assert_eq!(again, bytes);
                assert!(bytes.len() <= MESSAGE_MAX);
                decoded += 1;
            }
        };
        macro_rules! each {
            ($($message:ty),*) => { $(same(<$message>::decode(bytes).ok().map(|message| message.encode()));)* };
        }
        each!(Registered, Lookup, LookupAnswer, SignalOut, SignalIn, Join, Joined, Failed);
        each!(News, Wanted, LinkLookup, LinkAnswer, LinkSignal, Splice, Spliced);
        decoded
    }

    fn filled(length: usize) -> Vec<u8> {
        (0..length).map(|at| at as u8 | 1).collect()
    }

    #[test]
    fn known_answers() {
        let failed = Failed { asked: 34, request: 0x0102_0304, reason: Reason::NoRoute };
        assert_eq!(failed.encode(), [34, 1, 2, 3, 4, 4]);
        let splice = Splice { token: Token([7; 16]), id: 0x8000_0001 };
        assert_eq!(splice.encode(), [&[7; 16][..], &[0x80, 0, 0, 1]].concat());
        let signal = LinkSignal { mix: NodeId([1; 16]), mailbox: [2; 16], relays: 1, sealed: vec![3; SIGNAL_BYTES] };
        assert_eq!(signal.encode(), [&[1; 16][..], &[2; 16], &[1], &[3; SIGNAL_BYTES]].concat());
        assert_eq!(News::Alive(vec![[5; 16]]).encode(), [&[1][..], &[5; 16]].concat());
    }

    #[test]
    fn all_lengths() {
        // A message of each kind decodes at its length, and at no other.
        let mut lengths = Vec::new();
        for length in 0..=MESSAGE_MAX + 300 {
            if all_decoders(&filled(length)) > 0 {
                lengths.push(length);
            }
        }
        for length in [16, 17, 20, 32, 4 + ANSWER_BYTES, 8 + ANSWER_BYTES, 16 + SIGNAL_BYTES, 48 + SIGNAL_BYTES] {
            assert!(lengths.contains(&length), "{length}");
        }
        assert!(!lengths.contains(&(49 + SIGNAL_BYTES)));
        assert_eq!(lengths.last(), Some(&(48 + SIGNAL_BYTES)));
        assert!(Wanted::decode(&filled(16 * DIGESTS_MAX)).is_ok());
        assert!(Wanted::decode(&filled(16 * DIGESTS_MAX + 16)).is_err());
    }

    #[test]
    fn ranges() {
        assert!(Splice::decode(&[0; 20]).is_err(), "circuit id 0 is none");
        assert!(Spliced::decode(&[2; 17]).is_err(), "a flag is 0 or 1");
        for reason in [0, 8, 255] {
            assert!(Failed::decode(&[1, 0, 0, 0, 0, reason]).is_err());
        }
        let mut signal = vec![0; 33 + SIGNAL_BYTES];
        signal[32] = RELAYS_MAX + 1;
        assert!(LinkSignal::decode(&signal).is_err());
        assert_eq!(format!("{:?}", Token([0xab; 16])), "Token(..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_decodes_encodes_to_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            all_decoders(&bytes);
        }

        #[test]
        fn at_the_right_lengths_too(seed: u8, length in prop::sample::select(vec![
            6, 16, 17, 20, 32, 148, 153, 4 + ANSWER_BYTES, 8 + ANSWER_BYTES, 16 + SIGNAL_BYTES, 33 + SIGNAL_BYTES,
            48 + SIGNAL_BYTES,
        ])) {
            let bytes: Vec<u8> = (0..length).map(|at| seed.wrapping_mul(at as u8 | 1) & 1).collect();
            all_decoders(&bytes);
        }
    }
}
