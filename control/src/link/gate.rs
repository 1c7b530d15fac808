//! Who may begin a handshake: MACs between mixes, cookies under load, pace (`docs/wire.md`, W-LNK-4 to W-LNK-7).

use super::trailer::{self, Hello, TAG};
use crate::plane::Now;
use aws_lc_rs::{agreement, hmac};
use drover_crypto::schedule::{equal, hkdf_sha256};
use drover_dtls::certificate::{Certificate, Identity, NodeId};
use drover_wire::control::Address;
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A timestamp may differ this much from the clock, s.
const CLOCKS_DIFFER_S: u64 = 120;
/// A cookie's secret is used this long, and taken as long again, ns.
const COOKIE_SECRET_NS: u64 = 60_000_000_000;
/// Handshakes with senders that showed nothing, a second, and at once.
const STARTS: (u64, u64) = (200, 64);
/// Between two handshakes that a mix begins, ns.
const MIX_NS: u64 = 100_000_000;
/// Cookie datagrams a second, and at once.
const COOKIES: (u64, u64) = (1000, 256);

/// State for first datagrams: two secrets, two buckets, and a timestamp for each mix of the zone documents.
pub(super) struct Gate {
    identity: Arc<Identity>,
    mixes: HashMap<NodeId, Known>,
    cookie_keys: [hmac::Key; 2],
    turned: u64,
    starts: Bucket,
    cookies: Bucket,
    last_sent: u64,
}

/// What is kept of a mix.
struct Known {
    key: hmac::Key,
    /// The latest timestamp taken, and when.
    latest: u64,
    at: Option<u64>,
}

/// Tokens that come at a constant rate.
struct Bucket {
    /// ns of one token.
    each: u64,
    most: u64,
    /// What is there, ns.
    has: u64,
    at: u64,
}

impl Bucket {
    fn new((rate, most): (u64, u64), now: u64) -> Bucket {
        let each = 1_000_000_000 / rate;
        Bucket { each, most: most * each, has: most * each, at: now }
    }
    fn take(&mut self, now: u64) -> bool {
        self.has = (self.has + now.saturating_sub(self.at)).min(self.most);
        self.at = self.at.max(now);
        let ok = self.has >= self.each;
        self.has -= if ok { self.each } else { 0 };
        ok
    }
}

fn fresh_key() -> Result<hmac::Key, String> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(|error| format!("no randomness: {error}"))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*secret))
}

impl Gate {
    pub(super) fn new(identity: Arc<Identity>, now: Now) -> Result<Gate, String> {
        let (starts, cookies) = (Bucket::new(STARTS, now.mono_ns), Bucket::new(COOKIES, now.mono_ns));
        let cookie_keys = [fresh_key()?, fresh_key()?];
        Ok(Gate { identity, mixes: HashMap::new(), cookie_keys, turned: now.mono_ns, starts, cookies, last_sent: 0 })
    }

    /// Whether a handshake may begin for a sender that showed nothing.
    pub(super) fn may_start(&mut self, now: Now) -> bool {
        self.starts.take(now.mono_ns)
    }
    /// Whether a cookie datagram may be sent.
    pub(super) fn may_ask(&mut self, now: Now) -> bool {
        self.cookies.take(now.mono_ns)
    }

    /// The cookie of an address.
    pub(super) fn cookie(&mut self, now: Now, from: Address) -> [u8; TAG] {
        if now.mono_ns.saturating_sub(self.turned) >= COOKIE_SECRET_NS {
            // Without randomness the old secret goes on.
            if let Ok(key) = fresh_key() {
                self.cookie_keys.rotate_right(1);
                self.cookie_keys[0] = key;
                self.turned = now.mono_ns;
            }
        }
        cookie(&self.cookie_keys[0], from)
    }
    /// Whether a cookie was given to this address not long ago.
    pub(super) fn takes_cookie(&mut self, now: Now, from: Address, shown: [u8; TAG]) -> bool {
        let current = self.cookie(now, from);
        equal(&current, &shown) | equal(&cookie(&self.cookie_keys[1], from), &shown)
    }

    /// The key of first datagrams between us and a mix.
    fn known(&mut self, mix: &Certificate) -> Option<&mut Known> {
        let id = mix.id();
        if !self.mixes.contains_key(&id) {
            let own = self.identity.certificate().id();
            let private =
                agreement::PrivateKey::from_private_key(&agreement::X25519, &self.identity.static_secret()[..]).ok()?;
            let public = agreement::UnparsedPublicKey::new(&agreement::X25519, mix.static_key());
            let key = agreement::agree(&private, public, (), |shared| {
                let (low, high) = if own < id { (own, id) } else { (id, own) };
                let mut key = Zeroizing::new([0; 32]);
                hkdf_sha256(&[], shared, &[b"drover first datagram", &low.0, &high.0], &mut key[..]);
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
            });
            self.mixes.insert(id, Known { key: key.ok()?, latest: 0, at: None });
        }
        self.mixes.get_mut(&id)
    }

    /// Appends our MAC for a mix; false when its static key is no good.
    pub(super) fn seal(&mut self, now: Now, mix: &Certificate, datagram: &mut Vec<u8>) -> bool {
        // It must grow, also where the clock does not.
        let clock = now.unix_s.saturating_mul(1_000_000_000).saturating_add(now.mono_ns % 1_000_000_000);
        let timestamp = clock.max(self.last_sent + 1);
        let own = self.identity.certificate().id();
        let Some(known) = self.known(mix) else { return false };
        trailer::append_mac(datagram, own, timestamp, |covered| mac(&known.key, covered));
        self.last_sent = timestamp;
        true
    }

    /// Checks the MAC of a mix and that its timestamp is new.
    ///
    /// # Errors
    /// What it is counted as.
    pub(super) fn open(
        &mut self,
        now: Now,
        mix: &Certificate,
        hello: &Hello<'_>,
        timestamp: u64,
        shown: [u8; TAG],
    ) -> Result<(), &'static str> {
        let known = self.known(mix).ok_or("mac")?;
        if !equal(&mac(&known.key, hello.covered), &shown) {
            return Err("mac");
        }
        if (timestamp / 1_000_000_000).abs_diff(now.unix_s) > CLOCKS_DIFFER_S || timestamp <= known.latest {
            return Err("replay");
        }
        known.latest = timestamp;
        if known.at.is_some_and(|at| now.mono_ns.saturating_sub(at) < MIX_NS) {
            return Err("pace");
        }
        known.at = Some(now.mono_ns);
        Ok(())
    }
}

fn mac(key: &hmac::Key, covered: &[u8]) -> [u8; TAG] {
    first_16(hmac::sign(key, covered))
}

fn cookie(key: &hmac::Key, from: Address) -> [u8; TAG] {
    let mut context = hmac::Context::with_key(key);
    context.update(&from.ip);
    context.update(&from.port.to_be_bytes());
    first_16(context.sign())
}

fn first_16(tag: hmac::Tag) -> [u8; TAG] {
    let mut out = [0; TAG];
    out.copy_from_slice(&tag.as_ref()[..TAG]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fill_at_their_rate_and_no_higher_than_they_are() {
        let mut bucket = Bucket::new((10, 3), 0);
        let mut takes = |now| std::iter::from_fn(|| bucket.take(now).then_some(())).count();
        assert_eq!(
            [takes(0), takes(99_999_999), takes(100_000_000), takes(50), takes(100_000_000_000)],
            [3, 0, 1, 0, 3]
        );
    }
}
