//! Identities: an ECDSA P-256 key, a static X25519 key beside it, and the certificate that a zone issued for both.

mod file;
mod form;
mod identity;

use boring::bn::BigNumContext;
use boring::ec::{EcGroup, EcKey, EcPoint};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Public};
use boring::sign::Verifier;
use boring::x509::X509;
use form::Fields;
use std::fmt;
use std::path::Path;

pub use identity::Identity;

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

impl Role {
    /// As a subject's OU says it.
    fn word(self) -> &'static str {
        match self {
            Role::Zone => "zone",
            Role::Mix => "mix",
            Role::Client => "client",
        }
    }

    fn from_word(word: &str) -> Option<Role> {
        [Role::Zone, Role::Mix, Role::Client].into_iter().find(|role| role.word() == word)
    }
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

/// A checked X.509 certificate of ours (W-IDT-1): subject O = zone, OU = role, CN = name; the static X25519 key in an
/// extension. Checked means that it has the form; [`Certificate::check`] says whether to trust it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    fields: Fields,
    signature: Vec<u8>,
    id: NodeId,
}

impl Certificate {
    /// Reads DER, at most 1,024 bytes.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let (fields, signature) = form::read(der).map_err(CertificateError::Malformed)?;
        if public_key(&fields.point).is_err() {
            return Err(CertificateError::Malformed("a public key that is no point of P-256".to_owned()));
        }
        let hash = boring::sha::sha256(&form::spki(&fields.point));
        let mut id = NodeId::default();
        id.0.copy_from_slice(&hash[..16]);
        Ok(Certificate { der: der.to_vec(), fields, signature, id })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_pem(pem: &[u8]) -> Result<Certificate, CertificateError> {
        let malformed = |error: ErrorStack| CertificateError::Malformed(format!("no PEM certificate: {error}"));
        Certificate::from_der(&X509::from_pem(pem).and_then(|x509| x509.to_der()).map_err(malformed)?)
    }

    /// Reads a PEM file of at most 64 KiB.
    ///
    /// # Errors
    /// [`CertificateError::File`], [`CertificateError::Malformed`].
    pub fn load(path: &Path) -> Result<Certificate, CertificateError> {
        Certificate::from_pem(&file::read(path, false)?).map_err(|error| match error {
            CertificateError::Malformed(text) => CertificateError::Malformed(format!("{}: {text}", path.display())),
            other => other,
        })
    }

    /// PEM.
    pub fn to_pem(&self) -> String {
        let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
        // 48 bytes are a line of 64 digits.
        for line in self.der.chunks(48) {
            text += &boring::base64::encode_block(line);
            text.push('\n');
        }
        text + "-----END CERTIFICATE-----\n"
    }

    /// DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The holder's public name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The holder's name for people: at most 64 bytes of `a-z0-9.-`.
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// The zone: at most 64 bytes of `a-z0-9.-`.
    pub fn zone(&self) -> &str {
        &self.fields.zone
    }

    /// What the holder is.
    pub fn role(&self) -> Role {
        self.fields.role
    }

    /// The static X25519 public key.
    pub fn static_key(&self) -> [u8; 32] {
        self.fields.static_key
    }

    /// Begin and end of validity, s since 1970. Both seconds belong to it.
    pub fn validity(&self) -> (u64, u64) {
        (self.fields.begin, self.fields.end)
    }

    /// Whether `signature` (ECDSA P-256, SHA-256, DER) over `message` is the holder's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verify = || {
            let key = public_key(&self.fields.point)?;
            let mut verifier = Verifier::new(MessageDigest::sha256(), &key)?;
            verifier.update(message)?;
            verifier.verify(signature)
        };
        verify().unwrap_or(false)
    }

    /// Checks that one of `zones` issued this certificate, and that it is valid at `unix_s` (W-IDT-3). A zone's own is
    /// good when it is among them.
    ///
    /// # Errors
    /// [`CertificateError::Untrusted`], [`CertificateError::Expired`].
    pub fn check(&self, zones: &[Certificate], unix_s: u64) -> Result<(), CertificateError> {
        let untrusted = |text: String| Err(CertificateError::Untrusted(text));
        let Fields { issuer, zone, name, .. } = &self.fields;
        if issuer != zone {
            return untrusted(format!(
                "zone {issuer} has issued {name} of zone {zone}; a zone issues names of its own only"
            ));
        }
        if self.role() == Role::Zone {
            return match zones.contains(self) {
                true => self.check_time(unix_s),
                false => {
                    untrusted(format!("{zone} is not a trusted zone, or this is not the certificate that is trusted"))
                }
            };
        }
        // A zone that renews its own certificate is there twice for a while.
        let mut known = zones.iter().filter(|other| other.role() == Role::Zone && other.zone() == zone).peekable();
        if known.peek().is_none() {
            return untrusted(format!("zone {zone} is not trusted"));
        }
        let signed = self.fields.to_sign();
        let Some(issuer) = known.find(|other| other.verifies(&signed, &self.signature)) else {
            return untrusted(format!("zone {zone} has not signed the certificate of {name}"));
        };
        issuer.check_time(unix_s)?;
        self.check_time(unix_s)
    }

    fn check_time(&self, unix_s: u64) -> Result<(), CertificateError> {
        let (begin, end) = self.validity();
        let (name, zone) = (self.name(), self.zone());
        if unix_s < begin {
            let text =
                format!("the certificate of {name} of zone {zone} is not valid for another {} s", begin - unix_s);
            return Err(CertificateError::Expired(text));
        }
        if unix_s > end {
            let text = format!("the certificate of {name} of zone {zone} has expired {} s ago", unix_s - end);
            return Err(CertificateError::Expired(text));
        }
        Ok(())
    }

    fn point(&self) -> [u8; 65] {
        self.fields.point
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// The key of a point, when it is one of P-256.
fn public_key(point: &[u8; 65]) -> Result<PKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, point, &mut context)?;
    PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)
}

#[cfg(test)]
mod tests;
