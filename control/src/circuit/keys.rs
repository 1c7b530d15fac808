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

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    const S: u64 = 1_000_000_000;

    fn at(s: u64) -> Now {
        Now { mono_ns: s * S, unix_s: 1_800_000_000 + s }
    }

    #[test]
    fn a_key_is_accepted_for_one_period_after_the_next_is_announced() {
        let world = World::new(1, 0);
        let identity = &world.nodes[0].identity;
        let mut own = OwnKeys::new(identity, at(0), 100).expect("makes a key");
        let first = own.announced().clone();
        assert_eq!((first.from, first.until, own.deadline()), (at(0).unix_s, at(200).unix_s, 100 * S));
        assert!(identity.certificate().verifies(&first.signed(), &first.signature));
        assert!(!own.on_tick(identity, at(99)));
        assert!(own.on_tick(identity, at(100)));
        let second = own.announced().clone();
        assert!(second.key != first.key && second.public != first.public);
        assert!(own.get(first.key).is_some_and(|key| *key.public() == first.public));
        assert!(own.get(second.key).is_some_and(|key| *key.public() == second.public));
        assert_eq!(own.deadline(), 200 * S);
        assert!(own.on_tick(identity, at(205)), "later than it should be");
        assert!(own.get(first.key).is_none() && own.get(second.key).is_some());
        assert!(own.get(first.key ^ second.key).is_none() || first.key == 0);
        assert_eq!(own.deadline(), 305 * S);
    }

    #[test]
    fn only_good_keys_of_the_zones_mixes_are_taken() {
        let world = World::new(2, 1);
        let key_of = |node: usize, now| {
            OwnKeys::new(&world.nodes[node].identity, now, 100).expect("makes a key").announced().clone()
        };
        let (now, mut store) = (at(1000), KeyStore::default());
        let good = key_of(0, now);
        assert_eq!(store.tell(&world.zones, now, &good), Told::New);
        assert_eq!(store.tell(&world.zones, now, &good), Told::Known);
        assert_eq!(store.tell(&world.zones, now, &key_of(0, at(900))), Told::Known, "an older one");
        assert_eq!(store.tell(&world.zones, now, &key_of(2, now)), Told::Refused, "a client's");
        assert_eq!(store.tell(&world.zones, now, &key_of(1, at(700))), Told::Refused, "its time is over");
        assert_eq!(store.tell(&world.zones, now, &key_of(1, at(1000 + CLOCKS_S + 1))), Told::Refused, "not yet");
        let other = key_of(1, now);
        let mut bent = vec![other.clone(); 5];
        bent[0].public[3] ^= 1;
        bent[1].key ^= 1;
        bent[2].until += 1;
        bent[3].signature[9] ^= 1;
        bent[4].mix = good.mix;
        for bent in &bent {
            assert_ne!(store.tell(&world.zones, now, bent), Told::New);
        }
        let mut long = other.clone();
        long.until = long.from + LIFE_MAX_S + 1;
        long.signature = world.nodes[1].identity.sign(&long.signed());
        assert_eq!(store.tell(&world.zones, now, &long), Told::Refused);
        assert_eq!(store.tell(&world.zones, now, &other), Told::New);
        let known = |store: &KeyStore, s| store.all(at(s).unix_s).count();
        assert_eq!((known(&store, 1000), known(&store, 1199), known(&store, 1200)), (2, 2, 0));
        assert_eq!(store.get(good.mix, now.unix_s), Some(&good));
        assert_eq!(store.get(good.mix, at(1200 - MARGIN_S).unix_s), None, "it would end too soon");
        store.forget(good.mix);
        assert_eq!(store.get(good.mix, now.unix_s), None);
        assert_eq!(store.tell(&world.zones, now, &good), Told::New);
    }

    #[test]
    fn a_mix_that_floods_with_keys_is_not_listened_to() {
        let world = World::new(1, 0);
        let mut store = KeyStore::default();
        let taken = (0..20).filter(|n| {
            let key = OwnKeys::new(&world.nodes[0].identity, at(*n), 100).expect("makes a key").announced().clone();
            store.tell(&world.zones, at(*n), &key) == Told::New
        });
        assert_eq!(taken.count(), NEW.1 as usize);
    }
}
