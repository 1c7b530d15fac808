//! Identities: a certificate and the private keys of its holder.

use super::form::{self, Fields};
use super::{Certificate, CertificateError, Role, file};
use boring::ec::{EcGroup, EcKey, PointConversionForm};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{Id, PKey, PKeyRef, Private};
use boring::sign::Signer;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The file of the private keys: two PEM blocks, PKCS #8, P-256 and then X25519 (RFC 8410, 7).
const KEY_FILE: &str = "identity.key";
const CERTIFICATE_FILE: &str = "certificate.pem";
/// A certificate is valid this long before it is issued: clocks differ.
const EARLY_S: u64 = 3600;

/// A certificate with its private keys. Never printed; zeroized when dropped.
pub struct Identity {
    certificate: Certificate,
    /// P-256: the library zeroizes it.
    key: PKey<Private>,
    /// X25519.
    static_secret: Zeroizing<[u8; 32]>,
}

/// Fresh keys of a new identity, from BoringSSL's generator.
struct Keys {
    key: PKey<Private>,
    point: [u8; 65],
    static_secret: Zeroizing<[u8; 32]>,
    static_key: [u8; 32],
}

impl Identity {
    /// A new zone with a self-signed certificate, valid for `days` from `unix_s`.
    ///
    /// # Errors
    /// A bad name, or the library fails.
    pub fn new_zone(name: &str, unix_s: u64, days: u32) -> Result<Identity, CertificateError> {
        let keys = Keys::fresh().map_err(library)?;
        let fields = keys.fields(name, name, Role::Zone, name, unix_s, days)?;
        let certificate = sign(&fields, &keys.key)?;
        Ok(Identity { certificate, key: keys.key, static_secret: keys.static_secret })
    }

    /// Issues new keys and a certificate; this must be a zone's identity. Valid from `unix_s` (less an hour for clocks
    /// that differ) for `days`.
    ///
    /// # Errors
    /// A bad name, not a zone, or the library fails.
    pub fn issue(&self, name: &str, role: Role, unix_s: u64, days: u32) -> Result<Identity, CertificateError> {
        if self.certificate.role() != Role::Zone || role == Role::Zone {
            return Err(CertificateError::Malformed("only a zone issues, and only to mixes and clients".to_owned()));
        }
        let zone = self.certificate.zone().to_owned();
        self.issue_for(&zone, name, role, unix_s, days)
    }

    /// Issues for any zone, as only a faulty zone would.
    pub(super) fn issue_for(
        &self,
        zone: &str,
        name: &str,
        role: Role,
        unix_s: u64,
        days: u32,
    ) -> Result<Identity, CertificateError> {
        let keys = Keys::fresh().map_err(library)?;
        let fields = keys.fields(self.certificate.zone(), zone, role, name, unix_s, days)?;
        let certificate = sign(&fields, &self.key)?;
        Ok(Identity { certificate, key: keys.key, static_secret: keys.static_secret })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs: ECDSA P-256 with SHA-256, DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        // Fails only where there is no memory: the key is P-256 by construction, and BoringSSL ends the process when it
        // has no random bytes.
        ecdsa(&self.key, message).expect("ECDSA with a P-256 key")
    }

    /// The static X25519 private key.
    pub fn static_secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.static_secret
    }

    /// Lab: the P-256 private key as PKCS #8 (RFC 5958), DER, for a foreign implementation that shows our certificate.
    ///
    /// # Errors
    /// The library fails.
    #[cfg(feature = "lab")]
    pub fn private_key_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
        self.key.private_key_to_der_pkcs8().map(Zeroizing::new).map_err(library)
    }

    /// The P-256 private key, for the handshake.
    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }

    /// Reads `identity.key` and `certificate.pem` of a folder. The key file must be ours and readable by nobody else.
    ///
    /// # Errors
    /// [`CertificateError::File`] with the mend, [`CertificateError::Malformed`] when they do not belong together.
    pub fn load(folder: &Path) -> Result<Identity, CertificateError> {
        let path = folder.join(KEY_FILE);
        let pem = file::read(&path, true)?;
        let wrong = |text: &str| CertificateError::Malformed(format!("{}: {text}", path.display()));
        let (key, static_secret, static_key) = read_keys(&pem).map_err(wrong)?;
        let certificate = Certificate::load(&folder.join(CERTIFICATE_FILE))?;
        if point(&key).ok() != Some(certificate.point()) || static_key != certificate.static_key() {
            return Err(wrong("these are not the keys of the certificate beside it"));
        }
        Ok(Identity { certificate, key, static_secret })
    }

    /// Writes both files, `identity.key` with mode 0600; never over existing ones. The folder is made with mode 0700.
    ///
    /// # Errors
    /// [`CertificateError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), CertificateError> {
        let pem = Zeroizing::new(self.key.private_key_to_pem_pkcs8().map_err(library)?);
        let static_pem = static_secret_pem(&self.static_secret)?;
        let both = Zeroizing::new([&pem[..], &static_pem[..]].concat());
        file::make_folder(folder)?;
        let path = folder.join(CERTIFICATE_FILE);
        // The certificate first: a folder with a key is whole.
        file::write(&path, self.certificate.to_pem().as_bytes(), 0o644)?;
        file::write(&folder.join(KEY_FILE), &both, 0o600).inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })?;
        file::sync_folder(folder)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, ..)", self.certificate.id())
    }
}

impl Keys {
    fn fresh() -> Result<Keys, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let static_pkey = PKey::generate(Id::X25519)?;
        let (static_secret, static_key) = static_pair(&static_pkey)?;
        Ok(Keys { point: point(&key)?, key, static_secret, static_key })
    }

    /// What their certificate says.
    fn fields(
        &self,
        issuer: &str,
        zone: &str,
        role: Role,
        name: &str,
        unix_s: u64,
        days: u32,
    ) -> Result<Fields, CertificateError> {
        let malformed = |text: String| Err(CertificateError::Malformed(text));
        if !form::is_name(name) {
            return malformed(format!("a name has 1 to {} bytes of a-z, 0-9, '.' and '-'", form::MAX_NAME));
        }
        let Some(end) = unix_s.checked_add(u64::from(days) * 86_400).filter(|end| *end <= form::LAST_SECOND) else {
            return malformed("a certificate cannot be valid beyond the year 9999".to_owned());
        };
        let mut serial = [0; 16];
        boring::rand::rand_bytes(&mut serial).map_err(library)?;
        // Positive, and of 16 bytes in its one encoding.
        serial[0] = serial[0] & 0x7f | 0x40;
        Ok(Fields {
            serial,
            issuer: issuer.to_owned(),
            begin: unix_s.saturating_sub(EARLY_S),
            end,
            zone: zone.to_owned(),
            role,
            name: name.to_owned(),
            point: self.point,
            static_key: self.static_key,
        })
    }
}

fn sign(fields: &Fields, key: &PKeyRef<Private>) -> Result<Certificate, CertificateError> {
    let signed = fields.to_sign();
    Certificate::from_der(&form::certificate(&signed, &ecdsa(key, &signed).map_err(library)?))
}

fn ecdsa(key: &PKeyRef<Private>, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut signer = Signer::new(MessageDigest::sha256(), key)?;
    signer.update(message)?;
    signer.sign_to_vec()
}

/// The uncompressed point of a P-256 key; an error for any other.
fn point(key: &PKeyRef<Private>) -> Result<[u8; 65], ErrorStack> {
    let key = key.ec_key()?;
    let mut context = boring::bn::BigNumContext::new()?;
    let bytes = key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)?;
    bytes.try_into().map_err(|_| ErrorStack::get())
}

/// Private and public half of an X25519 key.
fn static_pair(key: &PKeyRef<Private>) -> Result<(Zeroizing<[u8; 32]>, [u8; 32]), ErrorStack> {
    let (mut secret, mut public) = (Zeroizing::new([0; 32]), [0; 32]);
    key.raw_private_key(&mut secret[..])?;
    key.raw_public_key(&mut public)?;
    Ok((secret, public))
}

type KeyPairs = (PKey<Private>, Zeroizing<[u8; 32]>, [u8; 32]);

/// Reads both blocks of the key file. The error never holds what was there.
fn read_keys(pem: &[u8]) -> Result<KeyPairs, &'static str> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let starts: Vec<usize> = (0..pem.len()).filter(|at| pem[*at..].starts_with(BEGIN)).take(3).collect();
    let [first, second] = starts[..] else { return Err("a key file holds two private keys") };
    let key = PKey::private_key_from_pem(&pem[first..second]).map_err(|_| "the first private key does not parse")?;
    let static_key = PKey::private_key_from_pem(&pem[second..]).map_err(|_| "the second private key does not parse")?;
    let p256 = key.ec_key().is_ok_and(|key| key.group().curve_name() == Some(Nid::X9_62_PRIME256V1));
    if !p256 {
        return Err("the first private key is not P-256");
    }
    if static_key.id() != Id::X25519 {
        return Err("the second private key is not X25519");
    }
    let (secret, public) = static_pair(&static_key).map_err(|_| "the second private key is not X25519")?;
    Ok((key, secret, public))
}

/// The PEM block of an X25519 private key (RFC 8410, 7).
fn static_secret_pem(secret: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    const PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20];
    let der = Zeroizing::new([&PREFIX[..], secret].concat());
    let key = PKey::private_key_from_der(&der).map_err(library)?;
    key.private_key_to_pem_pkcs8().map(Zeroizing::new).map_err(library)
}

fn library(error: ErrorStack) -> CertificateError {
    CertificateError::Malformed(format!("BoringSSL refuses: {error}"))
}
