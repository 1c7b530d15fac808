//! The handshake between a client and a hop: X25519 and ML-KEM-768, and the keys that come of it (`docs/wire.md`,
//! W-CRT-5 to W-CRT-7).
//!
//! The hop is authenticated by its short-term X25519 key, which its identity has signed; the client is not. Who records
//! everything must break both X25519 and ML-KEM, and who learns the short-term key later learns no circuit's keys.

use super::messages::{CIPHERTEXT, CONFIRMATION, SetupReply, SetupRequest, X25519 as PUBLIC};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use drover_crypto::schedule::equal;
use drover_dtls::certificate::NodeId;
use drover_wire::control::{EndLayer, Secret};
use std::fmt;
use zeroize::Zeroizing;

/// What the transcript begins with.
const LABEL: &[u8] = b"drover circuit 1\0";
/// Bytes of what the keys come from: two X25519 results and ML-KEM's.
const SECRETS: usize = 32 + 32 + 32;

/// Whom a handshake joins, in the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Over whose link the request reaches the hop: the client, or the hop before.
    pub previous: NodeId,
    /// The hop.
    pub hop: NodeId,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// A public value of the other side is none.
    BadKey,
    /// The hop does not have the short-term key's private half, or something was changed on the way.
    Confirmation,
    /// The cryptographic library fails.
    Library,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetupError::BadKey => "a public value of the handshake is none",
            SetupError::Confirmation => "the hop's confirmation is wrong",
            SetupError::Library => "the cryptographic library fails",
        })
    }
}

impl std::error::Error for SetupError {}

/// The keys of one hop. Zeroized when dropped, never printed.
#[derive(Clone)]
pub struct HopSecrets {
    /// Both directions' layers.
    pub layer: EndLayer,
    /// MAC key of cells for the hop.
    pub forward_mac: Secret<32>,
    /// MAC key of cells that the hop makes.
    pub backward_mac: Secret<32>,
    confirmation: Secret<CONFIRMATION>,
}

/// A hop's short-term key: what proves that it is the hop. The library wipes it when dropped.
pub struct ShortTerm {
    private: PrivateKey,
    public: [u8; PUBLIC],
}

impl ShortTerm {
    /// A new one.
    ///
    /// # Errors
    /// [`SetupError::Library`].
    pub fn generate() -> Result<ShortTerm, SetupError> {
        let private = PrivateKey::generate(&X25519).map_err(|_| SetupError::Library)?;
        let public = public_of(&private)?;
        Ok(ShortTerm { private, public })
    }
    /// The public half.
    pub fn public(&self) -> &[u8; PUBLIC] {
        &self.public
    }
}

/// A client's handshake under way.
pub struct Client {
    parties: Parties,
    short_term: [u8; PUBLIC],
    request: SetupRequest,
    private: PrivateKey,
    decapsulation: DecapsulationKey,
}

impl Client {
    /// Begins: towards the hop with the short-term key `short_term`, of number `key`. `first` is the first counter of the
    /// hop's own cells.
    ///
    /// # Errors
    /// [`SetupError::Library`].
    pub fn begin(
        parties: Parties,
        (key, short_term): (u32, [u8; PUBLIC]),
        admitted: bool,
        first: u64,
    ) -> Result<Client, SetupError> {
        let library = |_| SetupError::Library;
        let private = PrivateKey::generate(&X25519).map_err(library)?;
        let decapsulation = DecapsulationKey::generate(&ML_KEM_768).map_err(library)?;
        let encapsulation = decapsulation.encapsulation_key().and_then(|key| key.key_bytes()).map_err(library)?;
        let encapsulation = Box::<[u8]>::from(encapsulation.as_ref()).try_into().map_err(|_| SetupError::Library)?;
        let request = SetupRequest { admitted, key, first, x: public_of(&private)?, encapsulation };
        Ok(Client { parties, short_term, request, private, decapsulation })
    }

    /// What is sent to the hop.
    pub fn request(&self) -> &SetupRequest {
        &self.request
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// [`SetupError`]. Nothing of the circuit may be used then.
    pub fn finish(&self, reply: &SetupReply) -> Result<HopSecrets, SetupError> {
        let mut secrets = Zeroizing::new([0; SECRETS]);
        agree(&self.private, &self.short_term, &mut secrets[..32])?;
        agree(&self.private, &reply.y, &mut secrets[32..64])?;
        let shared = self.decapsulation.decapsulate(Ciphertext::from(&reply.ciphertext[..]));
        secrets[64..].copy_from_slice(shared.map_err(|_| SetupError::BadKey)?.as_ref());
        let transcript = transcript(self.parties, &self.request, &self.short_term, &reply.y, &reply.ciphertext[..]);
        let keys = expand(&transcript, &secrets);
        if !equal(&keys.confirmation.0, &reply.confirmation) {
            return Err(SetupError::Confirmation);
        }
        Ok(keys)
    }
}

/// The hop's side, whole.
///
/// # Errors
/// [`SetupError::BadKey`] for values of the client that are none; [`SetupError::Library`].
pub fn respond(
    parties: Parties,
    short_term: &ShortTerm,
    request: &SetupRequest,
) -> Result<(HopSecrets, SetupReply), SetupError> {
    let private = PrivateKey::generate(&X25519).map_err(|_| SetupError::Library)?;
    let y = public_of(&private)?;
    let mut secrets = Zeroizing::new([0; SECRETS]);
    agree(&short_term.private, &request.x, &mut secrets[..32])?;
    agree(&private, &request.x, &mut secrets[32..64])?;
    let encapsulation =
        EncapsulationKey::new(&ML_KEM_768, &request.encapsulation[..]).map_err(|_| SetupError::BadKey)?;
    let (ciphertext, shared) = encapsulation.encapsulate().map_err(|_| SetupError::BadKey)?;
    secrets[64..].copy_from_slice(shared.as_ref());
    let ciphertext: Box<[u8; CIPHERTEXT]> =
        Box::<[u8]>::from(ciphertext.as_ref()).try_into().map_err(|_| SetupError::Library)?;
    let transcript = transcript(parties, request, &short_term.public, &y, &ciphertext[..]);
    let keys = expand(&transcript, &secrets);
    let confirmation = keys.confirmation.0;
    Ok((keys, SetupReply { y, ciphertext, confirmation }))
}

fn public_of(private: &PrivateKey) -> Result<[u8; PUBLIC], SetupError> {
    let public = private.compute_public_key().map_err(|_| SetupError::Library)?;
    public.as_ref().try_into().map_err(|_| SetupError::Library)
}

/// X25519 into `out`. A peer's value of small order is refused by the library: the result would be zero (RFC 7748, 6.1).
fn agree(private: &PrivateKey, public: &[u8; PUBLIC], out: &mut [u8]) -> Result<(), SetupError> {
    agreement::agree(private, UnparsedPublicKey::new(&X25519, public), SetupError::BadKey, |shared| {
        out.copy_from_slice(shared);
        Ok(())
    })
}

/// SHA-256 over everything that both sides know, each part of fixed length: no two handshakes share one.
fn transcript(parties: Parties, request: &SetupRequest, short_term: &[u8], y: &[u8], ciphertext: &[u8]) -> [u8; 32] {
    let mut hash = digest::Context::new(&SHA256);
    for part in [LABEL, &parties.previous.0, &parties.hop.0, &request.encode(), short_term, y, ciphertext] {
        hash.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(hash.finish().as_ref());
    out
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA-256 with the transcript as salt, and a label for each use and direction (RFC 5869).
fn expand(transcript: &[u8; 32], secrets: &[u8; SECRETS]) -> HopSecrets {
    let prk = Salt::new(HKDF_SHA256, transcript).extract(secrets);
    HopSecrets {
        layer: EndLayer {
            forward: Secret(label(&prk, b"forward layer")),
            forward_offset: u64::from_be_bytes(label(&prk, b"forward offset")),
            backward: Secret(label(&prk, b"backward layer")),
            backward_offset: u64::from_be_bytes(label(&prk, b"backward offset")),
        },
        forward_mac: Secret(label(&prk, b"forward mac")),
        backward_mac: Secret(label(&prk, b"backward mac")),
        confirmation: Secret(label(&prk, b"confirmation")),
    }
}

fn label<const N: usize>(prk: &Prk, label: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let info: [&[u8]; 2] = [b"drover circuit ", label];
    prk.expand(&info, Length(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("less than 255 hashes, of the length asked for");
    out
}

#[cfg(test)]
mod tests {
    use super::super::messages::ENCAPSULATION_KEY;
    use super::*;

    const PARTIES: Parties = Parties { previous: NodeId([1; 16]), hop: NodeId([2; 16]) };

    fn handshake(hop: &ShortTerm) -> (Client, SetupRequest) {
        let client = Client::begin(PARTIES, (7, *hop.public()), true, 99).expect("begins");
        let request = client.request().clone();
        (client, request)
    }

    fn same(a: &HopSecrets, b: &HopSecrets) -> bool {
        let all = |keys: &HopSecrets| {
            let layer = &keys.layer;
            let offsets = [layer.forward_offset.to_be_bytes(), layer.backward_offset.to_be_bytes()].concat();
            [&layer.forward.0[..], &layer.backward.0, &offsets, &keys.forward_mac.0, &keys.backward_mac.0].concat()
        };
        all(a) == all(b)
    }

    #[test]
    fn both_sides_have_the_same_keys_and_no_two_circuits_do() {
        let hop = ShortTerm::generate().expect("makes a key");
        let mut before: Option<HopSecrets> = None;
        for _ in 0..3 {
            let (client, request) = handshake(&hop);
            let (theirs, reply) = respond(PARTIES, &hop, &request).expect("answers");
            let ours = client.finish(&reply).expect("agrees");
            assert!(same(&ours, &theirs));
            assert!(!before.replace(ours).is_some_and(|before| same(&before, &theirs)));
        }
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let hop = ShortTerm::generate().expect("makes a key");
        let (client, request) = handshake(&hop);
        let failed = |parties, hop: &ShortTerm, request: &SetupRequest| {
            respond(parties, hop, request).map_or(true, |(_, reply)| client.finish(&reply).is_err())
        };
        assert!(!failed(PARTIES, &hop, &request));
        assert!(failed(Parties { previous: NodeId([3; 16]), ..PARTIES }, &hop, &request), "the node before");
        assert!(failed(Parties { hop: NodeId([3; 16]), ..PARTIES }, &hop, &request), "the hop");
        assert!(failed(PARTIES, &ShortTerm::generate().expect("makes a key"), &request), "the short-term key");
        let bent = |bend: fn(&mut SetupRequest)| {
            let mut request = request.clone();
            bend(&mut request);
            request
        };
        assert!(failed(PARTIES, &hop, &bent(|request| request.admitted = false)));
        assert!(failed(PARTIES, &hop, &bent(|request| request.key ^= 1)));
        assert!(failed(PARTIES, &hop, &bent(|request| request.first ^= 1)));
        assert!(failed(PARTIES, &hop, &bent(|request| request.x[0] ^= 1)));
        assert!(failed(PARTIES, &hop, &bent(|request| request.encapsulation[1183] ^= 1)));
        let (_, reply) = respond(PARTIES, &hop, &request).expect("answers");
        let bent = |bend: fn(&mut SetupReply)| {
            let mut reply = reply.clone();
            bend(&mut reply);
            client.finish(&reply).err()
        };
        assert_eq!(bent(|_| ()), None);
        assert_eq!(bent(|reply| reply.y[5] ^= 1), Some(SetupError::Confirmation));
        assert_eq!(bent(|reply| reply.ciphertext[5] ^= 1), Some(SetupError::Confirmation));
        assert_eq!(bent(|reply| reply.confirmation[31] ^= 1), Some(SetupError::Confirmation));
    }

    #[test]
    fn values_that_are_none_are_refused() {
        let hop = ShortTerm::generate().expect("makes a key");
        let (client, request) = handshake(&hop);
        // Small order: the results would be zero (RFC 7748, 6.1).
        for x in [[0; 32], std::array::from_fn(|at| u8::from(at == 0))] {
            let odd = SetupRequest { x, ..request.clone() };
            assert_eq!(respond(PARTIES, &hop, &odd).err(), Some(SetupError::BadKey));
            let (_, reply) = respond(PARTIES, &hop, &request).expect("answers");
            assert_eq!(client.finish(&SetupReply { y: x, ..reply }).err(), Some(SetupError::BadKey));
        }
        // Coefficients of 4095 are above q = 3329 (FIPS 203, 7.2).
        let odd = SetupRequest { encapsulation: Box::new([0xff; ENCAPSULATION_KEY]), ..request };
        assert_eq!(respond(PARTIES, &hop, &odd).err(), Some(SetupError::BadKey));
    }

    /// Made with Python's `hashlib` and `hmac`: the transcript's SHA-256, then HKDF by the letter of RFC 5869.
    #[test]
    fn known_answer_of_the_key_schedule() {
        let counting = |from: usize| std::array::from_fn::<u8, 32, _>(|at| (from + at) as u8);
        let request = SetupRequest {
            admitted: true,
            key: 0x0102_0304,
            first: 0x1112_1314_1516_1718,
            x: counting(0),
            encapsulation: Box::new(std::array::from_fn(|at| (at % 251) as u8)),
        };
        let ciphertext: [u8; CIPHERTEXT] = std::array::from_fn(|at| (at % 241) as u8);
        let transcript = transcript(PARTIES, &request, &counting(32), &counting(64), &ciphertext);
        let secrets: [u8; SECRETS] = std::array::from_fn(|at| (at + 100) as u8);
        let keys = expand(&transcript, &secrets);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&transcript), "d0ab73420c3e69148a1c9c9b72a6243aae8e6fcc388fcf640bd0b4ca23a1d26b");
        assert_eq!(hex(&keys.layer.forward.0), "acf4d0c01e66a460d5c8064f7241c181");
        assert_eq!(hex(&keys.layer.backward.0), "5cd052cb23db1873d2b11e7fdffc03ac");
        assert_eq!(hex(&keys.layer.forward_offset.to_be_bytes()), "11b79761f97d729b");
        assert_eq!(hex(&keys.layer.backward_offset.to_be_bytes()), "c79e97adc2844e0c");
        assert_eq!(hex(&keys.forward_mac.0), "b077d8f0b879f0b287206725b37ef7aad330d8d5529c152bd85840618cf9d338");
        assert_eq!(hex(&keys.backward_mac.0), "2d94891ddcecaec1f96df1899b318a16ed0630cd776900fca4536376dfd9393f");
        assert_eq!(hex(&keys.confirmation.0), "a340e69647a5ec44dadc6cee1662700948a8bda8ed3afa73c9842ed9927581d3");
    }
}
