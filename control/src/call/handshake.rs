//! The handshake of two clients (`docs/wire.md`, W-CAL-5 to W-CAL-7): pure functions of both sides.
//!
//! ```text
//! caller                                        callee
//! introduce: keys, H(nonce), signature  ──────→
//!                                       ←──────  answer: keys, nonce, signature
//! reveal: nonce                         ──────→
//! ```
//!
//! The certificates say who is who as far as the zones are honest. The short authentication string (SAS) is for people
//! who would rather not rely on that: they read it to each other. The caller is bound to its nonce before it sees the
//! callee's, and shows it when the callee is bound to everything; so whoever sits between them meets the right six
//! digits with a chance of one in a million, and has one try a call.

use super::fields::{Reader, put_counted};
use super::hybrid::{KEM_CIPHERTEXT, KEM_KEY, Publics, Refused, Secrets, Shared, X25519_KEY, agree_with};
use crate::rendezvous::registration::{CERTIFICATE_MAX, SIGNATURE_MAX};
use aws_lc_rs::digest::{SHA256, digest};
use drover_crypto::schedule::{equal, hkdf_sha256};
use drover_dtls::certificate::{Certificate, Identity, NodeId, Role};
use drover_wire::control::{EndSecret, Secret};
use std::fmt;
use zeroize::Zeroizing;

/// How far the caller's clock may be from ours, s.
pub const CLOCKS_S: u64 = 600;
/// No introduction is longer, bytes.
pub const INTRODUCTION_MAX: usize =
    1 + 16 + 2 + CERTIFICATE_MAX + 16 + 16 + X25519_KEY + KEM_KEY + 32 + 8 + 2 + SIGNATURE_MAX;
/// Bytes of a token that names a meeting of two halves.
pub const TOKEN: usize = 16;

const VERSION: u8 = 1;
const SIGN_INTRODUCTION: &[u8] = b"drover call introduction v1\0";
const SIGN_ANSWER: &[u8] = b"drover call answer v1\0";

// An introduction fits the first signal whatever its certificate's size.
const _: () = assert!(INTRODUCTION_MAX <= super::signal::FIRST_DATA_MAX);

/// Why a handshake message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a message of ours.
    Malformed,
    /// Meant for somebody else.
    NotForUs,
    /// Made too long ago, or too far ahead.
    Clock,
    /// No certificate of a client that a trusted zone issued.
    Certificate,
    /// The signature is not the peer's.
    Signature,
    /// The keys are none, or there is no randomness.
    Keys,
    /// The nonce is not the one that the caller is bound to.
    Commitment,
    /// The two sides have not agreed on one secret.
    Confirmation,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "a handshake message that is none",
            Refusal::NotForUs => "a handshake message for somebody else",
            Refusal::Clock => "the clocks of caller and callee differ by more than ten minutes",
            Refusal::Certificate => "the caller has no certificate of a zone that is trusted here",
            Refusal::Signature => "the signature is not the peer's",
            Refusal::Keys => "the peer's keys are none",
            Refusal::Commitment => "the caller shows another nonce than it is bound to: somebody may sit in between",
            Refusal::Confirmation => "the two sides have not agreed on one secret: somebody may sit in between",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refused> for Refusal {
    fn from(_: Refused) -> Self {
        Refusal::Keys
    }
}

/// Where one side is to be reached during the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Its rendezvous mix.
    pub rendezvous: NodeId,
    /// Its mailbox there.
    pub mailbox: [u8; 16],
}

/// The caller's side, waiting for the answer.
pub struct Offer {
    secrets: Secrets,
    nonce: Zeroizing<[u8; 32]>,
    introduction: Vec<u8>,
}

/// An introduction that was checked.
pub struct Introduction {
    /// Who calls.
    pub caller: Certificate,
    /// Where to reach the caller.
    pub reach: Reach,
    publics: Publics,
    commitment: [u8; 32],
    bytes: Vec<u8>,
}

/// The callee's side, waiting for the reveal. Halves may already be built: [`Answered::meeting`].
pub struct Answered {
    shared: Shared,
    transcript: [u8; 32],
    commitment: [u8; 32],
    meeting: Meeting,
}

/// What names the meetings of a call's halves, fresh for each attempt. Zeroized when dropped.
#[derive(Clone)]
pub struct Meeting(Zeroizing<[u8; 32]>);

/// Which side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Has called.
    Caller,
    /// Was called.
    Callee,
}

/// What both sides have in the end. Zeroized when dropped.
pub struct CallSecret {
    side: Side,
    master: Zeroizing<[u8; 32]>,
    sas: u32,
}

/// Begins a call to `to`: the state and the introduction.
///
/// # Errors
/// [`Refusal::Keys`] without randomness, [`Refusal::Certificate`] when ours is too large.
pub fn introduce(identity: &Identity, to: NodeId, reach: Reach, unix_s: u64) -> Result<(Offer, Vec<u8>), Refusal> {
    let certificate = identity.certificate().der();
    if certificate.len() > CERTIFICATE_MAX {
        return Err(Refusal::Certificate);
    }
    let (secrets, publics) = Secrets::generate()?;
    let nonce = random()?;
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&to.0);
    put_counted(&mut bytes, certificate);
    bytes.extend_from_slice(&reach.rendezvous.0);
    bytes.extend_from_slice(&reach.mailbox);
    bytes.extend_from_slice(&publics.x25519);
    bytes.extend_from_slice(&publics.kem);
    bytes.extend_from_slice(&commitment(&nonce));
    bytes.extend_from_slice(&unix_s.to_be_bytes());
    let signature = identity.sign(&[SIGN_INTRODUCTION, &bytes].concat());
    put_counted(&mut bytes, &signature);
    let offer = Offer { secrets, nonce, introduction: bytes.clone() };
    Ok((offer, bytes))
}

impl Introduction {
    /// Checks an introduction for `own`: its caller's certificate is one of `zones`', the signature is the caller's.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn read(bytes: &[u8], own: NodeId, zones: &[Certificate], unix_s: u64) -> Result<Introduction, Refusal> {
        let (introduction, to, at_s, signed, signature) = parse(bytes).ok_or(Refusal::Malformed)?;
        if to != own {
            return Err(Refusal::NotForUs);
        }
        if at_s.abs_diff(unix_s) > CLOCKS_S {
            return Err(Refusal::Clock);
        }
        let caller = &introduction.caller;
        if caller.role() != Role::Client || caller.id() == own || caller.check(zones, unix_s).is_err() {
            return Err(Refusal::Certificate);
        }
        if !caller.verifies(&[SIGN_INTRODUCTION, signed].concat(), signature) {
            return Err(Refusal::Signature);
        }
        Ok(introduction)
    }

    /// What tells this introduction from all others.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[&self.bytes])
    }

    /// Answers: the state, and the message for the caller, who is to find us at `rendezvous`.
    ///
    /// # Errors
    /// [`Refusal::Keys`].
    pub fn answer(&self, identity: &Identity, rendezvous: NodeId) -> Result<(Answered, Vec<u8>), Refusal> {
        let (shared, x25519, ciphertext) = agree_with(&self.publics)?;
        let nonce = random()?;
        let mut bytes = [&rendezvous.0[..], &x25519, &ciphertext, &nonce[..]].concat();
        let signature = identity.sign(&[SIGN_ANSWER, &sha256(&[&self.bytes]), &bytes].concat());
        put_counted(&mut bytes, &signature);
        let transcript = transcript(&self.bytes, &bytes);
        let meeting = Meeting::of(&shared, &transcript);
        Ok((Answered { shared, transcript, commitment: self.commitment, meeting }, bytes))
    }
}

/// An introduction, whom it is for, when it was made, what is signed, the signature.
type Parsed<'a> = (Introduction, NodeId, u64, &'a [u8], &'a [u8]);

fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let mut fields = Reader(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let to = NodeId(fields.array()?);
    let caller = Certificate::from_der(fields.counted(CERTIFICATE_MAX)?).ok()?;
    let reach = Reach { rendezvous: NodeId(fields.array()?), mailbox: fields.array()? };
    let publics = Publics { x25519: fields.array()?, kem: fields.array()? };
    let (commitment, at_s) = (fields.array()?, fields.u64()?);
    let signed = &bytes[..bytes.len() - fields.0.len()];
    let signature = fields.counted(SIGNATURE_MAX)?;
    fields.end()?;
    Some((Introduction { caller, reach, publics, commitment, bytes: bytes.to_vec() }, to, at_s, signed, signature))
}

impl Offer {
    /// Takes the answer of `callee`: where it is to be found, the secret, and the reveal to be sent.
    ///
    /// # Errors
    /// [`Refusal`]; a wrong answer changes nothing, the right one may still come.
    pub fn finish(
        &self,
        answer: &[u8],
        callee: &Certificate,
    ) -> Result<(NodeId, Meeting, CallSecret, Vec<u8>), Refusal> {
        let mut fields = Reader(answer);
        let mut read = || {
            let (rendezvous, x25519) = (NodeId(fields.array()?), fields.array()?);
            let (ciphertext, _nonce): ([u8; KEM_CIPHERTEXT], [u8; 32]) = (fields.array()?, fields.array()?);
            let signed = &answer[..answer.len() - fields.0.len()];
            let signature = fields.counted(SIGNATURE_MAX)?;
            fields.end()?;
            Some((rendezvous, x25519, ciphertext, signed, signature))
        };
        let (rendezvous, x25519, ciphertext, signed, signature) = read().ok_or(Refusal::Malformed)?;
        if !callee.verifies(&[SIGN_ANSWER, &sha256(&[&self.introduction]), signed].concat(), signature) {
            return Err(Refusal::Signature);
        }
        let shared = self.secrets.agree(&x25519, &ciphertext)?;
        let transcript = transcript(&self.introduction, answer);
        let (secret, confirmation) = CallSecret::of(Side::Caller, &shared, &transcript, &self.nonce);
        let reveal = [&self.nonce[..], &confirmation[..]].concat();
        Ok((rendezvous, Meeting::of(&shared, &transcript), secret, reveal))
    }
}

impl Answered {
    /// What names the meetings of the halves.
    pub fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// Takes the reveal.
    ///
    /// # Errors
    /// [`Refusal`]; a wrong reveal changes nothing.
    pub fn finish(&self, reveal: &[u8]) -> Result<CallSecret, Refusal> {
        let mut fields = Reader(reveal);
        let mut read = || {
            let both: ([u8; 32], [u8; 32]) = (fields.array()?, fields.array()?);
            fields.end().map(|()| both)
        };
        let (nonce, shown) = read().ok_or(Refusal::Malformed)?;
        if !equal(&commitment(&nonce), &self.commitment) {
            return Err(Refusal::Commitment);
        }
        let (secret, confirmation) = CallSecret::of(Side::Callee, &self.shared, &self.transcript, &nonce);
        if !equal(&confirmation[..], &shown) {
            return Err(Refusal::Confirmation);
        }
        Ok(secret)
    }
}

impl Meeting {
    fn of(shared: &Shared, transcript: &[u8; 32]) -> Meeting {
        let mut meeting = Zeroizing::new([0; 32]);
        hkdf_sha256(transcript, &shared[..], &[b"drover call meeting"], &mut meeting[..]);
        Meeting(meeting)
    }

    /// The token that both sides show at their rendezvous mixes; 0 is the first attempt.
    pub fn token(&self, attempt: u8) -> [u8; TOKEN] {
        let mut token = [0; TOKEN];
        hkdf_sha256(b"drover call token", &self.0[..], &[&[attempt]], &mut token);
        token
    }
}

impl CallSecret {
    fn of(side: Side, shared: &Shared, transcript: &[u8; 32], nonce: &[u8; 32]) -> (CallSecret, Zeroizing<[u8; 32]>) {
        let whole = sha256(&[transcript, nonce]);
        let mut all = Zeroizing::new([0; 72]);
        hkdf_sha256(&whole, &shared[..], &[b"drover call secret"], &mut all[..]);
        let mut master = Zeroizing::new([0; 32]);
        let mut confirmation = Zeroizing::new([0; 32]);
        let mut digits = [0; 8];
        master.copy_from_slice(&all[..32]);
        confirmation.copy_from_slice(&all[32..64]);
        digits.copy_from_slice(&all[64..]);
        // Of 2^64 values: no six digits are likelier than others by more than 2^-44.
        let sas = u32::try_from(u64::from_be_bytes(digits) % 1_000_000).expect("below a million");
        (CallSecret { side, master, sas }, confirmation)
    }

    /// The short authentication string, six digits: alike at both ends when nobody sits in between.
    pub fn sas(&self) -> String {
        format!("{:06}", self.sas)
    }

    /// End-to-end keys of an attempt: what we seal with, what we open with. No two attempts share any.
    pub fn ends(&self, attempt: u8) -> (EndSecret, EndSecret) {
        let secret = |direction: &[u8]| {
            let mut all = Zeroizing::new([0; 28]);
            hkdf_sha256(b"drover call end", &self.master[..], &[direction, &[attempt]], &mut all[..]);
            let mut end = EndSecret { key: Secret([0; 16]), iv: Secret([0; 12]) };
            end.key.0.copy_from_slice(&all[..16]);
            end.iv.0.copy_from_slice(&all[16..]);
            end
        };
        let (caller, callee) = (secret(b"caller"), secret(b"callee"));
        match self.side {
            Side::Caller => (caller, callee),
            Side::Callee => (callee, caller),
        }
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..]).map_err(|_| Refusal::Keys)?;
    Ok(bytes)
}

fn commitment(nonce: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"drover call commitment v1", nonce])
}

fn transcript(introduction: &[u8], answer: &[u8]) -> [u8; 32] {
    // Each part has a fixed length: nothing can be moved from one to the other.
    sha256(&[b"drover call v1", &sha256(&[introduction]), &sha256(&[answer])])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = digest(&SHA256, &parts.concat());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
