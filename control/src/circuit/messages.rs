//! What circuit messages look like (`docs/wire.md`, W-CRT-2 to W-CRT-4). All integers big-endian; every message has one
//! encoding, and nothing may follow it.

use drover_dtls::certificate::NodeId;

/// Bytes of an X25519 public value.
pub const X25519: usize = 32;
/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203).
pub const ENCAPSULATION_KEY: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext (FIPS 203).
pub const CIPHERTEXT: usize = 1088;
/// Bytes of the confirmation.
pub const CONFIRMATION: usize = 32;
/// Bytes of a [`SetupRequest`].
pub const REQUEST: usize = 1 + 4 + 8 + X25519 + ENCAPSULATION_KEY;
/// Bytes of a [`SetupReply`].
pub const REPLY: usize = X25519 + CIPHERTEXT + CONFIRMATION;
/// The type of cells for and from a hop: their data is a frame of the channel between client and hop.
pub const FRAME: u8 = 1;
/// The most keys of one KEYS message.
pub const KEYS_MAX: usize = 8;
/// Bytes of the longest signature of a short-term key: ECDSA P-256, DER.
pub const SIGNATURE_MAX: usize = 72;
/// Bytes of a short-term key before its signature.
const KEY: usize = 16 + 4 + X25519 + 8 + 8;

const ADMITTED: u8 = 1;

/// What a client says to a hop to agree keys with it: | 1 flags | 4 key | 8 first | 32 X | 1184 encapsulation key |.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupRequest {
    /// The circuit owns slots (flag 1; no other flag is known).
    pub admitted: bool,
    /// Which short-term key of the hop.
    pub key: u32,
    /// The first counter of the hop's own cells, as they leave towards the client.
    pub first: u64,
    /// The client's X25519 value.
    pub x: [u8; X25519],
    /// The client's ML-KEM-768 key.
    pub encapsulation: Box<[u8; ENCAPSULATION_KEY]>,
}

/// What the hop answers: | 32 Y | 1088 ciphertext | 32 confirmation |.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupReply {
    /// The hop's X25519 value.
    pub y: [u8; X25519],
    /// To the client's ML-KEM-768 key.
    pub ciphertext: Box<[u8; CIPHERTEXT]>,
    /// That the hop has the same keys.
    pub confirmation: [u8; CONFIRMATION],
}

/// Why a circuit is not made or not there any more. It travels as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The message does not parse.
    Malformed = 1,
    /// The mix has no such short-term key: ask for keys.
    WrongKey = 2,
    /// A public value is none.
    BadKey = 3,
    /// More than one may ask for.
    Limit = 4,
    /// The data plane has no room.
    NoRoom = 5,
    /// The circuit id is in use, or of the wrong half.
    Id = 6,
    /// No such mix in this zone, or no link to it.
    Unreachable = 7,
    /// Not from here: not this kind of neighbour, or not this place of a circuit.
    Forbidden = 8,
    /// The next mix did not answer in time.
    Timeout = 9,
    /// The link beyond went down.
    Down = 10,
    /// Ended by the other side.
    Ended = 11,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 11] = [
        Reason::Malformed,
        Reason::WrongKey,
        Reason::BadKey,
        Reason::Limit,
        Reason::NoRoom,
        Reason::Id,
        Reason::Unreachable,
        Reason::Forbidden,
        Reason::Timeout,
        Reason::Down,
        Reason::Ended,
    ];

    /// A name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::WrongKey => "wrong key",
            Reason::BadKey => "bad key",
            Reason::Limit => "limit",
            Reason::NoRoom => "no room",
            Reason::Id => "circuit id",
            Reason::Unreachable => "unreachable",
            Reason::Forbidden => "forbidden",
            Reason::Timeout => "timeout",
            Reason::Down => "link down",
            Reason::Ended => "ended",
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Reason, BadMessage> {
        let byte = reader.u8()?;
        Reason::ALL.into_iter().find(|reason| *reason as u8 == byte).ok_or(BadMessage)
    }
}

/// A mix's short-term X25519 key, as it travels:
/// | 16 mix | 4 key | 32 public | 8 from | 8 until | 1 length | signature |.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedKey {
    /// Whose.
    pub mix: NodeId,
    /// Its number.
    pub key: u32,
    /// The public value.
    pub public: [u8; X25519],
    /// Begin of validity, s since 1970.
    pub from: u64,
    /// End of validity, s since 1970.
    pub until: u64,
    /// ECDSA P-256 with SHA-256, DER, over [`SignedKey::signed`].
    pub signature: Vec<u8>,
}

/// A message of circuits on a link ([`crate::message::link`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// | 4 id | request |
    Create(u32, SetupRequest),
    /// | 4 id | reply |
    Created(u32, SetupReply),
    /// | 4 id | 1 reason |
    CreateFailed(u32, Reason),
    /// | 4 id |
    Destroy(u32),
    /// | 4 id |
    Destroyed(u32),
    /// Empty.
    KeysWanted,
    /// | 1 count | keys |, 1 to 8.
    Keys(Vec<SignedKey>),
}

/// A message of circuits between a client and a hop ([`crate::message::hop`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopMessage {
    /// | 16 next mix | request |
    Extend(NodeId, SetupRequest),
    /// | reply |
    Extended(SetupReply),
    /// | 1 reason |
    ExtendFailed(Reason),
    /// | 1 reason |
    Truncated(Reason),
}

/// Bytes that are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], BadMessage> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(BadMessage)?;
        self.0 = rest;
        Ok(head)
    }
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadMessage> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(BadMessage)?;
        self.0 = rest;
        Ok(head)
    }
    fn u8(&mut self) -> Result<u8, BadMessage> {
        self.array::<1>().map(|[byte]| *byte)
    }
    fn u32(&mut self) -> Result<u32, BadMessage> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }
    fn u64(&mut self) -> Result<u64, BadMessage> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }
    fn id(&mut self) -> Result<u32, BadMessage> {
        self.u32().and_then(|id| if id == 0 { Err(BadMessage) } else { Ok(id) })
    }
    fn boxed<const N: usize>(&mut self) -> Result<Box<[u8; N]>, BadMessage> {
        Box::<[u8]>::from(self.bytes(N)?).try_into().map_err(|_| BadMessage)
    }
    fn end(&self) -> Result<(), BadMessage> {
        if self.0.is_empty() { Ok(()) } else { Err(BadMessage) }
    }
}

impl SetupRequest {
    /// Appends its bytes, [`REQUEST`] of them.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(if self.admitted { ADMITTED } else { 0 });
        out.extend_from_slice(&self.key.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.x);
        out.extend_from_slice(&self.encapsulation[..]);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST);
        self.put(&mut out);
        out
    }

    fn take(reader: &mut Reader<'_>) -> Result<SetupRequest, BadMessage> {
        let admitted = match reader.u8()? {
            0 => false,
            ADMITTED => true,
            _ => return Err(BadMessage),
        };
        let (key, first) = (reader.u32()?, reader.u64()?);
        Ok(SetupRequest { admitted, key, first, x: *reader.array()?, encapsulation: reader.boxed()? })
    }
}

impl SetupReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.y);
        out.extend_from_slice(&self.ciphertext[..]);
        out.extend_from_slice(&self.confirmation);
    }

    fn take(reader: &mut Reader<'_>) -> Result<SetupReply, BadMessage> {
        Ok(SetupReply { y: *reader.array()?, ciphertext: reader.boxed()?, confirmation: *reader.array()? })
    }
}

impl SignedKey {
    /// What the mix signs: a label that no other signature of a mix begins with, then all fields before the signature.
    pub fn signed(&self) -> Vec<u8> {
        let mut out = b"drover short-term key\0".to_vec();
        self.put_fields(&mut out);
        out
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.mix.0);
        out.extend_from_slice(&self.key.to_be_bytes());
        out.extend_from_slice(&self.public);
        out.extend_from_slice(&self.from.to_be_bytes());
        out.extend_from_slice(&self.until.to_be_bytes());
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.put_fields(out);
        let signature = &self.signature[..self.signature.len().min(SIGNATURE_MAX)];
        out.push(signature.len() as u8);
        out.extend_from_slice(signature);
    }

    fn take(reader: &mut Reader<'_>) -> Result<SignedKey, BadMessage> {
        let (mix, key, public) = (NodeId(*reader.array()?), reader.u32()?, *reader.array()?);
        let (from, until) = (reader.u64()?, reader.u64()?);
        let len = usize::from(reader.u8()?);
        if len > SIGNATURE_MAX {
            return Err(BadMessage);
        }
        Ok(SignedKey { mix, key, public, from, until, signature: reader.bytes(len)?.to_vec() })
    }
}

impl LinkMessage {
    /// The kind and the bytes. Of more than [`KEYS_MAX`] keys the first.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        use crate::message::link;
        let mut out = Vec::new();
        let mut id = |id: &u32| out.extend_from_slice(&id.to_be_bytes());
        let kind = match self {
            LinkMessage::Create(at, request) => {
                id(at);
                request.put(&mut out);
                link::CREATE
            }
            LinkMessage::Created(at, reply) => {
                id(at);
                reply.put(&mut out);
                link::CREATED
            }
            LinkMessage::CreateFailed(at, reason) => {
                id(at);
                out.push(*reason as u8);
                link::CREATE_FAILED
            }
            LinkMessage::Destroy(at) => {
                id(at);
                link::DESTROY
            }
            LinkMessage::Destroyed(at) => {
                id(at);
                link::DESTROYED
            }
            LinkMessage::KeysWanted => link::KEYS_WANTED,
            LinkMessage::Keys(keys) => {
                let keys = &keys[..keys.len().min(KEYS_MAX)];
                out.reserve(1 + keys.len() * (KEY + 1 + SIGNATURE_MAX));
                out.push(keys.len() as u8);
                keys.iter().for_each(|key| key.put(&mut out));
                link::KEYS
            }
        };
        (kind, out)
    }

    /// Reads a message; `None` when the kind is not of circuits.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(kind: u8, bytes: &[u8]) -> Option<Result<LinkMessage, BadMessage>> {
        use crate::message::link;
        if !matches!(kind, link::CREATE..=link::DESTROYED) {
            return None;
        }
        Some(LinkMessage::take(kind, &mut Reader(bytes)))
    }

    fn take(kind: u8, r: &mut Reader<'_>) -> Result<LinkMessage, BadMessage> {
        use crate::message::link;
        let message = match kind {
            link::CREATE => LinkMessage::Create(r.id()?, SetupRequest::take(r)?),
            link::CREATED => LinkMessage::Created(r.id()?, SetupReply::take(r)?),
            link::CREATE_FAILED => LinkMessage::CreateFailed(r.id()?, Reason::take(r)?),
            link::DESTROY => LinkMessage::Destroy(r.id()?),
            link::DESTROYED => LinkMessage::Destroyed(r.id()?),
            link::KEYS_WANTED => LinkMessage::KeysWanted,
            link::KEYS => {
                let count = usize::from(r.u8()?);
                if count == 0 || count > KEYS_MAX {
                    return Err(BadMessage);
                }
                LinkMessage::Keys((0..count).map(|_| SignedKey::take(r)).collect::<Result<_, _>>()?)
            }
            _ => return Err(BadMessage),
        };
        r.end().map(|()| message)
    }
}

impl HopMessage {
    /// The kind and the bytes.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        use crate::message::hop;
        let mut out = Vec::new();
        let kind = match self {
            HopMessage::Extend(next, request) => {
                out.extend_from_slice(&next.0);
                request.put(&mut out);
                hop::EXTEND
            }
            HopMessage::Extended(reply) => {
                reply.put(&mut out);
                hop::EXTENDED
            }
            HopMessage::ExtendFailed(reason) => {
                out.push(*reason as u8);
                hop::EXTEND_FAILED
            }
            HopMessage::Truncated(reason) => {
                out.push(*reason as u8);
                hop::TRUNCATED
            }
        };
        (kind, out)
    }

    /// Reads a message; `None` when the kind is not of circuits.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn decode(kind: u8, bytes: &[u8]) -> Option<Result<HopMessage, BadMessage>> {
        use crate::message::hop;
        if !matches!(kind, hop::EXTEND..=hop::TRUNCATED) {
            return None;
        }
        Some(HopMessage::take(kind, &mut Reader(bytes)))
    }

    fn take(kind: u8, r: &mut Reader<'_>) -> Result<HopMessage, BadMessage> {
        use crate::message::hop;
        let message = match kind {
            hop::EXTEND => HopMessage::Extend(NodeId(*r.array()?), SetupRequest::take(r)?),
            hop::EXTENDED => HopMessage::Extended(SetupReply::take(r)?),
            hop::EXTEND_FAILED => HopMessage::ExtendFailed(Reason::take(r)?),
            hop::TRUNCATED => HopMessage::Truncated(Reason::take(r)?),
            _ => return Err(BadMessage),
        };
        r.end().map(|()| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{hop, link};
    use proptest::prelude::*;

    fn request() -> SetupRequest {
        let encapsulation = Box::new([0xee; ENCAPSULATION_KEY]);
        SetupRequest { admitted: true, key: 0x0102_0304, first: 0x1112_1314_1516_1718, x: [0xaa; 32], encapsulation }
    }

    fn key(signature: usize) -> SignedKey {
        let signature = vec![5; signature];
        SignedKey { mix: NodeId([1; 16]), key: 7, public: [2; 32], from: 3, until: 4, signature }
    }

    #[test]
    fn known_answers() {
        let (kind, bytes) = LinkMessage::Create(0x8000_0001, request()).encode();
        assert_eq!((kind, bytes.len()), (link::CREATE, 4 + REQUEST));
        assert_eq!(REQUEST, 1229);
        assert_eq!(bytes[..17], [0x80, 0, 0, 1, 1, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(bytes[17..49], [0xaa; 32]);
        assert_eq!(bytes[49..], [0xee; ENCAPSULATION_KEY]);
        let (kind, bytes) = HopMessage::Extend(NodeId([9; 16]), request()).encode();
        assert_eq!(
            (kind, bytes.len(), &bytes[..17]),
            (hop::EXTEND, 16 + REQUEST, &[9; 17][..16].iter().copied().chain([1]).collect::<Vec<_>>()[..])
        );
        let reply = SetupReply { y: [1; 32], ciphertext: Box::new([2; CIPHERTEXT]), confirmation: [3; CONFIRMATION] };
        let (kind, bytes) = HopMessage::Extended(reply.clone()).encode();
        assert_eq!((kind, bytes.len(), REPLY), (hop::EXTENDED, REPLY, 1152));
        assert_eq!((bytes[0], bytes[32], bytes[1120]), (1, 2, 3));
        assert_eq!(LinkMessage::Created(1, reply).encode().1[..5], [0, 0, 0, 1, 1]);
        assert_eq!(LinkMessage::CreateFailed(2, Reason::WrongKey).encode(), (link::CREATE_FAILED, vec![0, 0, 0, 2, 2]));
        assert_eq!(LinkMessage::Keys(vec![key(2)]).encode().1.len(), 1 + KEY + 1 + 2);
        assert_eq!(key(0).signed()[..22], *b"drover short-term key\0");
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(LinkMessage::decode(link::SPLICE, &[]), None);
        assert_eq!(HopMessage::decode(hop::REGISTER, &[]), None);
        let bad = |kind, bytes: &[u8]| assert_eq!(LinkMessage::decode(kind, bytes), Some(Err(BadMessage)), "{bytes:?}");
        bad(link::DESTROY, &[0, 0, 0, 0]);
        bad(link::DESTROY, &[0, 0, 0]);
        bad(link::DESTROY, &[0, 0, 0, 1, 0]);
        bad(link::CREATE_FAILED, &[0, 0, 0, 1, 0]);
        bad(link::CREATE_FAILED, &[0, 0, 0, 1, 12]);
        bad(link::KEYS_WANTED, &[0]);
        bad(link::KEYS, &[0]);
        let (_, mut create) = LinkMessage::Create(1, request()).encode();
        create[4] = 2;
        bad(link::CREATE, &create);
        let (kind, mut keys) = LinkMessage::Keys(vec![key(SIGNATURE_MAX); KEYS_MAX]).encode();
        assert!(LinkMessage::decode(kind, &keys).is_some_and(|read| read.is_ok()));
        keys[0] += 1;
        keys.extend_from_within(1..KEY + 2 + SIGNATURE_MAX);
        bad(kind, &keys);
        let (kind, mut keys) = LinkMessage::Keys(vec![key(SIGNATURE_MAX)]).encode();
        keys[KEY + 1] += 1;
        keys.push(0);
        bad(kind, &keys);
    }

    fn bytes_near_messages() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let whole = prop_oneof![
            Just(LinkMessage::Create(1, request()).encode()),
            Just(LinkMessage::Keys(vec![key(70), key(0)]).encode()),
            Just(LinkMessage::CreateFailed(3, Reason::Id).encode()),
            Just(LinkMessage::KeysWanted.encode()),
        ];
        let bent = (whole, any::<prop::sample::Index>(), any::<u8>(), -2..3i32).prop_map(
            |((kind, mut bytes), at, value, longer)| {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
                bytes.resize((bytes.len() as i32 + longer).max(0) as usize, value);
                (kind, bytes)
            },
        );
        prop_oneof![bent, (14u8..26, prop::collection::vec(any::<u8>(), 0..200))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_reads_is_what_would_be_written((kind, bytes) in bytes_near_messages()) {
            if let Some(Ok(message)) = LinkMessage::decode(kind, &bytes) {
                prop_assert_eq!(message.encode(), (kind, bytes.clone()));
            }
            if let Some(Ok(message)) = HopMessage::decode(kind, &bytes) {
                prop_assert_eq!(message.encode(), (kind, bytes));
            }
        }

        #[test]
        fn round_trip(id in 1u32.., admitted: bool, key_id: u32, first: u64, x: [u8; 32], fill: u8, reason in 0..11usize) {
            let request = SetupRequest { admitted, key: key_id, first, x, encapsulation: Box::new([fill; ENCAPSULATION_KEY]) };
            let reply = SetupReply { y: x, ciphertext: Box::new([fill; CIPHERTEXT]), confirmation: x };
            let reason = Reason::ALL[reason];
            for message in [
                LinkMessage::Create(id, request.clone()), LinkMessage::Created(id, reply.clone()),
                LinkMessage::CreateFailed(id, reason), LinkMessage::Destroy(id), LinkMessage::Destroyed(id),
                LinkMessage::KeysWanted, LinkMessage::Keys(vec![key(usize::from(fill) % 73); 1 + reason as usize % 8]),
            ] {
                let (kind, bytes) = message.encode();
                prop_assert_eq!(LinkMessage::decode(kind, &bytes), Some(Ok(message)));
            }
            for message in [
                HopMessage::Extend(NodeId([fill; 16]), request), HopMessage::Extended(reply),
                HopMessage::ExtendFailed(reason), HopMessage::Truncated(reason),
            ] {
                let (kind, bytes) = message.encode();
                prop_assert_eq!(HopMessage::decode(kind, &bytes), Some(Ok(message)));
            }
        }
    }
}
