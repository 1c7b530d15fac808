//! Identities: an ECDSA P-256 key, a static X25519 key beside it, and the certificate that a zone issued for both.

use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// A node's public name: the first 16 bytes of SHA-256 over its certificate's SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a certificate's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A zone: issues the others, signs its document.
    Zone,
    /// A mix.
    Mix,
    /// A client.
    Client,
}

/// Why a certificate or a key is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// It does not parse, or lacks what ours have.
    Malformed(String),
    /// Before or after the time of its validity.
    Expired(String),
    /// No trusted zone has issued it.
    Untrusted(String),
    /// A file: unreadable, too open, too large. Names the path and the mend.
    File(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) | Self::Expired(text) | Self::Untrusted(text) | Self::File(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CertificateError {}

/// A checked X.509 certificate of ours: subject O = zone, OU = role, CN = name; the static X25519 key in an extension.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
}

/// A certificate with its private keys. Never printed; zeroized when dropped.
pub struct Identity {
    certificate: Certificate,
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_der(_der: &[u8]) -> Result<Certificate, CertificateError> {
        todo!()
    }
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_pem(_pem: &[u8]) -> Result<Certificate, CertificateError> {
        todo!()
    }
    /// Reads a PEM file of at most 64 KiB.
    ///
    /// # Errors
    /// [`CertificateError::File`], [`CertificateError::Malformed`].
    pub fn load(_path: &Path) -> Result<Certificate, CertificateError> {
        todo!()
    }
    /// PEM.
    pub fn to_pem(&self) -> String {
        todo!()
    }
    /// DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// The holder's public name.
    pub fn id(&self) -> NodeId {
        todo!()
    }
    /// The holder's name for people: at most 64 bytes of `a-z0-9.-`.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// The zone: at most 64 bytes of `a-z0-9.-`.
    pub fn zone(&self) -> &str {
        todo!()
    }
    /// What the holder is.
    pub fn role(&self) -> Role {
        todo!()
    }
    /// The static X25519 public key.
    pub fn static_key(&self) -> [u8; 32] {
        todo!()
    }
    /// Begin and end of validity, s since 1970.
    pub fn validity(&self) -> (u64, u64) {
        todo!()
    }
    /// Whether `signature` (ECDSA P-256, SHA-256, DER) over `message` is the holder's.
    pub fn verifies(&self, _message: &[u8], _signature: &[u8]) -> bool {
        todo!()
    }
    /// Checks that one of `zones` issued this certificate, and that it is valid at `unix_s`.
    ///
    /// # Errors
    /// [`CertificateError::Untrusted`], [`CertificateError::Expired`].
    pub fn check(&self, _zones: &[Certificate], _unix_s: u64) -> Result<(), CertificateError> {
        todo!()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

impl Identity {
    /// A new zone with a self-signed certificate, valid for `days` from `unix_s`.
    ///
    /// # Errors
    /// A bad name, or the library fails.
    pub fn new_zone(_name: &str, _unix_s: u64, _days: u32) -> Result<Identity, CertificateError> {
        todo!()
    }
    /// Issues new keys and a certificate; this must be a zone's identity. Valid from `unix_s` (less an hour for clocks
    /// that differ) for `days`.
    ///
    /// # Errors
    /// A bad name, not a zone, or the library fails.
    pub fn issue(&self, _name: &str, _role: Role, _unix_s: u64, _days: u32) -> Result<Identity, CertificateError> {
        todo!()
    }
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
    /// Signs: ECDSA P-256 with SHA-256, DER.
    pub fn sign(&self, _message: &[u8]) -> Vec<u8> {
        todo!()
    }
    /// The static X25519 private key.
    pub fn static_secret(&self) -> &Zeroizing<[u8; 32]> {
        todo!()
    }
    /// Reads `identity.key` and `certificate.pem` of a folder. The key file must be ours and readable by nobody else.
    ///
    /// # Errors
    /// [`CertificateError::File`] with the mend, [`CertificateError::Malformed`] when they do not belong together.
    pub fn load(_folder: &Path) -> Result<Identity, CertificateError> {
        todo!()
    }
    /// Writes both files, `identity.key` with mode 0600; never over existing ones. The folder is made with mode 0700.
    ///
    /// # Errors
    /// [`CertificateError::File`].
    pub fn save(&self, _folder: &Path) -> Result<(), CertificateError> {
        todo!()
    }
}
