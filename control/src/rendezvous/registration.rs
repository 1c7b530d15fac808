//! Registrations: where a client is to be reached and what to seal to, signed by it (`docs/wire.md`, W-RDV-4, W-RDV-5).

use super::codec::{BadMessage, Fields};
use super::messages::Digest;
use super::sealed::{ENCAPSULATION_KEY_BYTES, PublicPrekeys, X25519_BYTES};
use crate::message;
use drover_dtls::certificate::{Certificate, Identity, NodeId, Role};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Bytes of the longest certificate in a registration.
pub const CERTIFICATE_MAX: usize = 1024;
/// Bytes of the longest signature: two numbers of 32 bytes in DER (RFC 3279, 2.2.3).
pub const SIGNATURE_MAX: usize = 72;
/// Bytes of the longest registration.
pub const REGISTRATION_MAX: usize = FIXED + CERTIFICATE_MAX + 1 + SIGNATURE_MAX;
/// A client repeats its registration this often, s.
pub const REFRESH_S: u64 = 30;
/// A registration that was not repeated for this long is forgotten, s: three are missed, and a little patience.
pub const FORGET_S: u64 = 3 * REFRESH_S + 10;
/// A registration is valid for at most this long, s: prekeys are to change.
pub const LIFE_MAX_S: u64 = 48 * 3600;
/// Clocks of a client and of its mix differ by at most this, s.
pub const SKEW_S: u64 = 120;

const VERSION: u8 = 1;
const FIXED: usize = 1 + 16 + 4 + 8 + X25519_BYTES + ENCAPSULATION_KEY_BYTES + 2;
/// What a registration's signature covers begins with this, so that it is good for nothing else.
const LABEL: &[u8] = b"drover registration 1\0";
/// The same for what says that it is registered now, by this circuit.
const PROOF_LABEL: &[u8] = b"drover register 1\0";

/// Why a registration is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationError {
    /// It does not parse.
    Malformed,
    /// The certificate is no client's of this zone.
    Certificate(String),
    /// Too old, or valid for longer than may be.
    Time,
    /// Not signed by the certificate's holder.
    Signature,
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistrationError::Malformed => f.write_str("the registration is malformed"),
            RegistrationError::Certificate(why) => write!(f, "the registration's certificate: {why}"),
            RegistrationError::Time => f.write_str("the registration's time of validity is over, or too long"),
            RegistrationError::Signature => f.write_str("the registration's signature is not its holder's"),
        }
    }
}

impl std::error::Error for RegistrationError {}

impl From<BadMessage> for RegistrationError {
    fn from(_: BadMessage) -> Self {
        RegistrationError::Malformed
    }
}

/// A client's signed registration. Having one says nothing about its signature: see [`Registration::check`].
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    bytes: Vec<u8>,
    /// Where the signature's length lies in `bytes`: what comes before is signed.
    signed: usize,
    certificate: Certificate,
    rendezvous: NodeId,
    epoch: u32,
    valid_until: u64,
    prekeys: PublicPrekeys,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration(..)")
    }
}

impl Registration {
    /// A client's registration at the mix `rendezvous`, good until `valid_until` (s since 1970).
    ///
    /// # Errors
    /// [`RegistrationError::Malformed`] when the certificate is longer than [`CERTIFICATE_MAX`].
    pub fn make(
        identity: &Identity,
        rendezvous: NodeId,
        epoch: u32,
        valid_until: u64,
        prekeys: &PublicPrekeys,
    ) -> Result<Registration, RegistrationError> {
        let certificate = identity.certificate().der();
        let length = u16::try_from(certificate.len()).map_err(|_| RegistrationError::Malformed)?;
        let mut bytes = [
            &[VERSION][..],
            &rendezvous.0,
            &epoch.to_be_bytes(),
            &valid_until.to_be_bytes(),
            &prekeys.x25519,
            &prekeys.mlkem[..],
            &length.to_be_bytes(),
            certificate,
        ]
        .concat();
        let signature = identity.sign(&[LABEL, &bytes].concat());
        bytes.push(u8::try_from(signature.len()).map_err(|_| RegistrationError::Malformed)?);
        bytes.extend_from_slice(&signature);
        Registration::decode(&bytes)
    }

    /// Reads one; its signature is not looked at.
    ///
    /// # Errors
    /// [`RegistrationError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Registration, RegistrationError> {
        if bytes.len() > REGISTRATION_MAX {
            return Err(RegistrationError::Malformed);
        }
        let mut fields = Fields(bytes);
        if fields.u8()? != VERSION {
            return Err(RegistrationError::Malformed);
        }
        let (rendezvous, epoch, valid_until) = (NodeId(fields.array()?), fields.u32()?, fields.u64()?);
        let x25519 = fields.array()?;
        let mlkem: Box<[u8]> = fields.bytes(ENCAPSULATION_KEY_BYTES)?.into();
        let mlkem = mlkem.try_into().map_err(|_| RegistrationError::Malformed)?;
        let length = usize::from(fields.u16()?);
        if length > CERTIFICATE_MAX {
            return Err(RegistrationError::Malformed);
        }
        let der = fields.bytes(length)?;
        let signed = bytes.len() - fields.0.len();
        let length = usize::from(fields.u8()?);
        if length > SIGNATURE_MAX {
            return Err(RegistrationError::Malformed);
        }
        fields.rest(length)?;
        let certificate = Certificate::from_der(der).map_err(|_| RegistrationError::Malformed)?;
        let prekeys = PublicPrekeys { x25519, mlkem };
        Ok(Registration { bytes: bytes.to_vec(), signed, certificate, rendezvous, epoch, valid_until, prekeys })
    }

    /// Checks that a client of the zone with this authority has signed it, and its time of validity.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn check(&self, authority: &Certificate, unix_s: u64) -> Result<(), RegistrationError> {
        self.check_time(unix_s)?;
        if self.certificate.role() != Role::Client {
            return Err(RegistrationError::Certificate("it is no client's".to_owned()));
        }
        let zones = std::slice::from_ref(authority);
        self.certificate.check(zones, unix_s).map_err(|why| RegistrationError::Certificate(why.to_string()))?;
        let (signed, signature) = self.bytes.split_at(self.signed);
        let good = self.certificate.verifies(&[LABEL, signed].concat(), &signature[1..]);
        good.then_some(()).ok_or(RegistrationError::Signature)
    }

    /// Checks the time of validity only: for one whose signature was found good before.
    ///
    /// # Errors
    /// [`RegistrationError::Time`].
    pub fn check_time(&self, unix_s: u64) -> Result<(), RegistrationError> {
        let begins = self.valid_until.saturating_sub(LIFE_MAX_S + SKEW_S);
        (begins <= unix_s && unix_s < self.valid_until).then_some(()).ok_or(RegistrationError::Time)
    }

    /// As it travels.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its name among mixes.
    pub fn digest(&self) -> Digest {
        let hash = Sha256::digest(&self.bytes);
        std::array::from_fn(|at| hash[at])
    }

    /// Who is registered.
    pub fn client(&self) -> NodeId {
        self.certificate.id()
    }

    /// The client's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its rendezvous mix.
    pub fn rendezvous(&self) -> NodeId {
        self.rendezvous
    }

    /// The epoch in which the client drew it.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// End of validity, s since 1970.
    pub fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// What to seal an introduction to.
    pub fn prekeys(&self) -> &PublicPrekeys {
        &self.prekeys
    }

    /// Of two registrations of a client the one with the larger age counts: epoch first, then end of validity.
    pub fn age(&self) -> (u32, u64) {
        (self.epoch, self.valid_until)
    }
}

/// Client to its rendezvous mix: I am reached by this circuit. | 8 unix s | 1 length | signature | registration |
///
/// Others see registrations, in answers to lookups; the signature over the time, which only the rendezvous mix sees, keeps
/// them from being registered again by somebody else's circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// When it was said, s since 1970; grows with every one.
    pub unix_s: u64,
    /// What is registered.
    pub registration: Registration,
    signature: Vec<u8>,
}

impl Register {
    /// [`message::hop::REGISTER`].
    pub const KIND: u8 = message::hop::REGISTER;

    /// Says at `unix_s` that `registration`, of the same identity, is good here. Call it with a later second each time.
    pub fn make(identity: &Identity, registration: &Registration, unix_s: u64) -> Register {
        let signature = identity.sign(&Register::signed(unix_s, registration));
        Register { unix_s, registration: registration.clone(), signature }
    }

    fn signed(unix_s: u64, registration: &Registration) -> Vec<u8> {
        [PROOF_LABEL, &unix_s.to_be_bytes(), registration.bytes()].concat()
    }

    /// Whether the registration's holder said so, about now. The registration itself is checked apart.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn check(&self, unix_s: u64) -> Result<(), RegistrationError> {
        if self.unix_s.abs_diff(unix_s) > SKEW_S {
            return Err(RegistrationError::Time);
        }
        let signed = Register::signed(self.unix_s, &self.registration);
        let good = self.registration.certificate.verifies(&signed, &self.signature);
        good.then_some(()).ok_or(RegistrationError::Signature)
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        // `make` and `decode` see to it that the length fits; a signature of ECDSA P-256 has at most 72 bytes.
        let length = u8::try_from(self.signature.len()).unwrap_or(u8::MAX);
        [&self.unix_s.to_be_bytes()[..], &[length], &self.signature, self.registration.bytes()].concat()
    }

    /// Reads it; no signature is looked at.
    ///
    /// # Errors
    /// [`RegistrationError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Register, RegistrationError> {
        let mut fields = Fields(bytes);
        let (unix_s, length) = (fields.u64()?, usize::from(fields.u8()?));
        if length > SIGNATURE_MAX {
            return Err(RegistrationError::Malformed);
        }
        let signature = fields.bytes(length)?.to_vec();
        Ok(Register { unix_s, signature, registration: Registration::decode(fields.0)? })
    }
}
