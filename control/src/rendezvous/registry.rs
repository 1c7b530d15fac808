//! The registrations that a mix knows: of its own clients, and by gossip of those of the zone's other mixes.
//!
//! A client has one: of two the one with the larger age counts. One that was not repeated for [`FORGET_S`] seconds, or whose
//! time is over, is forgotten.

use super::limits::{REGISTRATIONS, SECOND};
use super::messages::Digest;
use super::registration::{FORGET_S, Registration};
use drover_dtls::certificate::NodeId;
use std::collections::BTreeMap;

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Not known before.
    New,
    /// Known; it goes on.
    Same,
    /// The client has one that is newer.
    Stale,
    /// There are as many as may be.
    Full,
}

struct Entry {
    registration: Registration,
    digest: Digest,
    heard_ns: u64,
    /// The second of the client's last REGISTER; 0 when it came by gossip.
    said_s: u64,
}

/// The registrations.
#[derive(Default)]
pub struct Registry {
    clients: BTreeMap<NodeId, Entry>,
    digests: BTreeMap<Digest, NodeId>,
}

impl Registry {
    /// How many.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// A client's.
    pub fn get(&self, client: NodeId) -> Option<&Registration> {
        self.clients.get(&client).map(|entry| &entry.registration)
    }

    /// The second of a client's last REGISTER here; 0 when there was none.
    pub fn said_s(&self, client: NodeId) -> u64 {
        self.clients.get(&client).map_or(0, |entry| entry.said_s)
    }

    /// Whether exactly this one was found good before and is kept.
    pub fn knows(&self, registration: &Registration) -> bool {
        self.get(registration.client()).is_some_and(|known| known == registration)
    }

    /// Notes one whose signature is good. `said_s` is the second of the REGISTER, 0 for gossip.
    pub fn note(&mut self, registration: Registration, now_ns: u64, said_s: u64) -> Noted {
        let client = registration.client();
        let full = self.clients.len() >= REGISTRATIONS;
        match self.clients.get_mut(&client) {
            Some(known) if known.registration == registration => {
                known.heard_ns = now_ns;
                known.said_s = known.said_s.max(said_s);
                return Noted::Same;
            }
            Some(known) if known.registration.age() > registration.age() => return Noted::Stale,
            None if full => return Noted::Full,
            _ => {}
        }
        let digest = registration.digest();
        if let Some(old) = self.clients.insert(client, Entry { registration, digest, heard_ns: now_ns, said_s }) {
            self.digests.remove(&old.digest);
        }
        self.digests.insert(digest, client);
        Noted::New
    }

    /// The mix `home` says that the registration with this digest, at that mix, is good still; false when it is not known.
    pub fn alive(&mut self, digest: &Digest, home: NodeId, now_ns: u64) -> bool {
        let entry = self.digests.get(digest).and_then(|client| self.clients.get_mut(client));
        match entry {
            Some(entry) if entry.registration.rendezvous() == home => {
                entry.heard_ns = now_ns;
                true
            }
            // Another mix's, whatever it says: nothing to ask for.
            Some(_) => true,
            None => false,
        }
    }

    /// The registration with this digest.
    pub fn by_digest(&self, digest: &Digest) -> Option<&Registration> {
        self.digests.get(digest).and_then(|client| self.get(*client))
    }

    /// Digests of those that are registered at this mix.
    pub fn at(&self, home: NodeId) -> Vec<Digest> {
        let at_home = self.clients.values().filter(|entry| entry.registration.rendezvous() == home);
        at_home.map(|entry| entry.digest).collect()
    }

    /// Forgets what is over; how many.
    pub fn sweep(&mut self, now_ns: u64, unix_s: u64) -> usize {
        let before = self.clients.len();
        let Registry { clients, digests } = self;
        clients.retain(|_, entry| {
            let kept = now_ns.saturating_sub(entry.heard_ns) <= FORGET_S * SECOND
                && entry.registration.check_time(unix_s).is_ok();
            if !kept {
                digests.remove(&entry.digest);
            }
            kept
        });
        before - clients.len()
    }
}
