//! Short-term keys of mixes: made, signed, rotated; and the store of those of other mixes (`docs/wire.md`, W-CRT-8).

use super::limits::Bucket;
use super::messages::SignedKey;
use super::ntor::{SetupError, ShortTerm};
use crate::plane::Now;
use crate::zone::Zones;
use drover_dtls::certificate::{Identity, NodeId};
use std::collections::BTreeMap;

/// A mix makes a new key after this, s.
pub const PERIOD_S: u64 = 3600;
/// No key is good for longer, s: 31 days.
pub const LIFE_MAX_S: u64 = 31 * 86_400;
/// Clocks may differ by this, s.
pub const CLOCKS_S: u64 = 120;
/// A client takes no key that ends sooner, s.
const MARGIN_S: u64 = 30;
/// New keys of one mix that are taken: at once, and then one a minute. More would be a mix that floods its zone.
const NEW: (u64, u32) = (60_000_000_000, 4);

struct Own {
    secret: ShortTerm,
    signed: SignedKey,
    /// Its time is over, monotonic ns: another one is made, or it is wiped.
    until_ns: u64,
}

/// A mix's own short-term keys: the one that it announces, and the one before.
pub struct OwnKeys {
    period_s: u64,
    current: Own,
    old: Option<Own>,
}

impl OwnKeys {
    /// The first key, to be replaced every `period_s` seconds.
    ///
    /// # Errors
    /// [`SetupError::Library`].
    pub fn new(identity: &Identity, now: Now, period_s: u64) -> Result<OwnKeys, SetupError> {
        let period_s = period_s.clamp(1, LIFE_MAX_S / 2);
        Ok(OwnKeys { period_s, current: make(identity, now, period_s)?, old: None })
    }

    /// The key that is announced.
    pub fn announced(&self) -> &SignedKey {
        &self.current.signed
    }

    /// The key with this number, while it is accepted.
    pub fn get(&self, key: u32) -> Option<&ShortTerm> {
        let all = std::iter::once(&self.current).chain(&self.old);
        all.into_iter().find(|own| own.signed.key == key).map(|own| &own.secret)
    }

    /// Makes a new key when it is time, and drops the old one when that is over; true when there is one to announce.
    pub fn on_tick(&mut self, identity: &Identity, now: Now) -> bool {
        self.old.take_if(|old| old.until_ns <= now.mono_ns);
        if self.current.until_ns > now.mono_ns {
            return false;
        }
        // When the library fails the key stays a little longer; it says until when it is good.
        let Ok(made) = make(identity, now, self.period_s) else { return false };
        let mut old = std::mem::replace(&mut self.current, made);
        old.until_ns = self.current.until_ns;
        self.old = Some(old);
        true
    }

    /// When [`OwnKeys::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> u64 {
        self.old.as_ref().map_or(self.current.until_ns, |old| old.until_ns.min(self.current.until_ns))
    }
}

/// Announced for one period, accepted for one more.
fn make(identity: &Identity, now: Now, period_s: u64) -> Result<Own, SetupError> {
    let secret = ShortTerm::generate()?;
    let mut signed = SignedKey {
        mix: identity.certificate().id(),
        key: super::limits::random() as u32,
        public: *secret.public(),
        from: now.unix_s,
        until: now.unix_s.saturating_add(2 * period_s),
        signature: Vec::new(),
    };
    signed.signature = identity.sign(&signed.signed());
    let until_ns = now.mono_ns.saturating_add(period_s.saturating_mul(1_000_000_000));
    Ok(Own { secret, signed, until_ns })
}

/// What became of a key that somebody told us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is new here.
    New,
    /// It is known, or older than the one that is.
    Known,
    /// It is not good: not of a mix of the zone, its time not now, its signature wrong, or one too many.
    Refused,
}

struct Kept {
    key: Option<SignedKey>,
    news: Bucket,
}

/// The newest short-term key of each mix of the own zone: never more of them than the zone has mixes.
#[derive(Default)]
pub struct KeyStore {
    keys: BTreeMap<NodeId, Kept>,
}

impl KeyStore {
    /// Takes a key if it is good and newer.
    pub fn tell(&mut self, zones: &Zones, now: Now, key: &SignedKey) -> Told {
        let Some(mix) = zones.own().mixes.iter().find(|mix| mix.certificate.id() == key.mix) else {
            return Told::Refused;
        };
        let life = key.until.saturating_sub(key.from);
        let early = key.from > now.unix_s.saturating_add(CLOCKS_S);
        if early || key.until <= now.unix_s || life == 0 || life > LIFE_MAX_S {
            return Told::Refused;
        }
        let kept = self.keys.entry(key.mix).or_insert_with(|| Kept { key: None, news: Bucket::new(NEW.0, NEW.1) });
        if kept.key.as_ref().is_some_and(|known| known == key || known.from > key.from) {
            return Told::Known;
        }
        // The signature first: others must not use up what a mix may say.
        if !mix.certificate.verifies(&key.signed(), &key.signature) || !kept.news.take(now.mono_ns) {
            return Told::Refused;
        }
        kept.key = Some(key.clone());
        Told::New
    }

    /// The key to use with a mix now.
    pub fn get(&self, mix: NodeId, unix_s: u64) -> Option<&SignedKey> {
        let key = self.keys.get(&mix)?.key.as_ref()?;
        (key.until > unix_s.saturating_add(MARGIN_S)).then_some(key)
    }

    /// All keys that are good.
    pub fn all(&self, unix_s: u64) -> impl Iterator<Item = &SignedKey> {
        self.keys.values().filter_map(|kept| kept.key.as_ref()).filter(move |key| key.until > unix_s)
    }

    /// This key did not work: whatever is told next is taken.
    pub fn forget(&mut self, mix: NodeId) {
        if let Some(kept) = self.keys.get_mut(&mix) {
            kept.key = None;
        }
    }
}
