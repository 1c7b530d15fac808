//! What the handshakes of one node share, and its rules for peers' certificates.

use super::{Groups, HandshakeError, Side};
use crate::certificate::{Certificate, CertificateError, Identity, Role};
use crate::engine::system;
use crate::library;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{
    AlpnError, Ssl, SslAlert, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslOptions, SslRef,
    SslSessionCacheMode, SslSignatureAlgorithm, SslVerifyError, SslVerifyMode, SslVersion,
};
use boring::x509::X509;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};
#[cfg(feature = "lab")]
use {std::sync::Mutex, zeroize::Zeroizing};

/// What handshakes of one node share: its identity and the zones that it trusts.
pub struct Context {
    ssl: SslContext,
    /// For checks of validity, s since 1970; 0: the system's.
    unix_s: Arc<AtomicU64>,
}

/// What drover nodes call their protocol (ALPN, RFC 7301): what a peer is belongs to what the handshake authenticates, so
/// that nobody on the way makes a drover peer look foreign.
pub(super) const PROTOCOL: &[u8] = b"drover/1";
/// The same as it is offered: with its length.
pub(super) const OFFER: &[u8] = b"\x08drover/1";

/// What became of the peer's certificate.
type Verdict = Result<Certificate, CertificateError>;

/// Where an object keeps the verdict; none when the library has no memory.
static VERDICT: LazyLock<Option<Index<Ssl, Verdict>>> = LazyLock::new(|| Ssl::new_ex_index().ok());
#[cfg(feature = "lab")]
static KEY_LOG: LazyLock<Option<Index<Ssl, Mutex<Zeroizing<String>>>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

impl Context {
    /// A context that takes peers with certificates of `zones` and shows `identity`'s.
    ///
    /// # Errors
    /// The library refuses something.
    pub fn new(identity: &Identity, zones: &[Certificate], groups: Groups) -> Result<Context, HandshakeError> {
        let unix_s = Arc::new(AtomicU64::new(0));
        let ssl = build(identity, zones, groups, unix_s.clone()).map_err(system)?;
        Ok(Context { ssl, unix_s })
    }

    /// Sets the time for checks of validity, s since 1970. Without it the system's clock is asked.
    pub fn set_unix_time(&self, unix_s: u64) {
        self.unix_s.store(unix_s, Ordering::Relaxed);
    }

    pub(crate) fn ssl(&self) -> &SslContextRef {
        &self.ssl
    }

    /// What a new object of this context needs.
    pub(crate) fn prepare(&self, ssl: &mut SslRef, side: Side) -> Result<(), ErrorStack> {
        #[cfg(feature = "lab")]
        if let Some(index) = *KEY_LOG {
            // Room for all lines at once, so that no copy stays behind when the text grows.
            ssl.set_ex_data(index, Mutex::new(Zeroizing::new(String::with_capacity(2048))));
        }
        if side == Side::Client { library::use_one_share(ssl) } else { Ok(()) }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context(..)")
    }
}

/// W-IDT-4.
fn build(
    identity: &Identity,
    zones: &[Certificate],
    groups: Groups,
    unix_s: Arc<AtomicU64>,
) -> Result<SslContext, ErrorStack> {
    let mut builder = base(Some(identity))?;
    builder.set_min_proto_version(Some(SslVersion::DTLS1_3))?;
    builder.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
    library::use_one_suite(&mut builder)?;
    builder.set_curves_list(match groups {
        Groups::PostQuantum => "X25519MLKEM768",
        #[cfg(feature = "lab")]
        Groups::AlsoX25519 => "X25519MLKEM768:X25519",
    })?;
    // Who does not offer it is a foreign peer, and is served as one.
    builder.set_alpn_select_callback(|_, offered| match offered {
        OFFER => Ok(&OFFER[1..]),
        _ => Err(AlpnError::NOACK),
    });
    builder.set_verify_algorithm_prefs(&[SslSignatureAlgorithm::ECDSA_SECP256R1_SHA256])?;
    let zones = zones.to_vec();
    builder.set_custom_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |ssl| {
        let verdict = check(ssl, &zones, now(&unix_s));
        let alert = match &verdict {
            Ok(_) => None,
            Err(CertificateError::Expired(_)) => Some(SslAlert::CERTIFICATE_EXPIRED),
            Err(CertificateError::Untrusted(_)) => Some(SslAlert::UNKNOWN_CA),
            Err(CertificateError::Malformed(_) | CertificateError::File(_)) => Some(SslAlert::BAD_CERTIFICATE),
        };
        let index = VERDICT.ok_or(SslVerifyError::Invalid(SslAlert::INTERNAL_ERROR))?;
        ssl.set_ex_data(index, verdict);
        alert.map_or(Ok(()), |alert| Err(SslVerifyError::Invalid(alert)))
    });
    #[cfg(feature = "lab")]
    builder.set_keylog_callback(|ssl, line| {
        let Some(lines) = KEY_LOG.and_then(|index| ssl.ex_data(index)) else { return };
        let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lines.push_str(line);
        lines.push('\n');
    });
    Ok(builder.build())
}

/// What our contexts and those of tests have in common: DTLS, our certificate alone, no sessions, our clock.
pub(crate) fn base(identity: Option<&Identity>) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::dtls())?;
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_QUERY_MTU);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    if let Some(identity) = identity {
        builder.set_certificate(&*X509::from_der(identity.certificate().der())?)?;
        builder.set_private_key(identity.key())?;
    }
    library::use_clock(&mut builder);
    Ok(builder)
}

fn now(unix_s: &AtomicU64) -> u64 {
    match unix_s.load(Ordering::Relaxed) {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        set => set,
    }
}

/// W-IDT-3. Only the leaf is looked at, whatever else the peer sends.
fn check(ssl: &SslRef, zones: &[Certificate], unix_s: u64) -> Verdict {
    let malformed = |text: &str| CertificateError::Malformed(text.to_owned());
    let leaf = ssl.peer_certificate().ok_or_else(|| malformed("none was sent"))?;
    let certificate = Certificate::from_der(&leaf.to_der().map_err(|_| malformed("it has no DER"))?)?;
    certificate.check(zones, unix_s)?;
    if certificate.role() == Role::Zone {
        return Err(CertificateError::Untrusted(format!("zone {} is not a node", certificate.zone())));
    }
    Ok(certificate)
}

/// What became of the peer's certificate; none before it came.
pub(super) fn verdict(ssl: &SslRef) -> Option<Verdict> {
    VERDICT.and_then(|index| ssl.ex_data(index)).cloned()
}

/// The secrets so far, in lines.
#[cfg(feature = "lab")]
pub(super) fn key_log(ssl: &SslRef) -> Zeroizing<String> {
    let lines = KEY_LOG.and_then(|index| ssl.ex_data(index));
    lines.map_or_else(Zeroizing::default, |lines| {
        lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    })
}
