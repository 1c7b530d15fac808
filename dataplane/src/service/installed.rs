//! Keys that were installed in this life. A key that came back would begin its numbers, or its replay window, anew:
//! the same nonce or key stream twice, or a replayed cell that leaves as it left before (`docs/wire.md`, W-CTL-9).
//!
//! Tables forget what is removed, so this is kept apart from them, for as long as the process lives: fingerprints only.
//! Keys of links are remembered for ever. Circuits come and go as clients please: of their keys the newest are remembered,
//! so that no client's circuits use up the room and end the data plane's service to all.

use super::shadow::{Refused, refuse};
use drover_crypto::schedule::KeyId;
use std::collections::BTreeSet;

/// Keys of links in one life, at most: about 60 MB of fingerprints. 1,024 links that change keys every ten minutes take
/// two weeks to get there. Nothing is forgotten to make room.
pub const INSTALLED_MAX: usize = 1 << 22;
/// Keys of circuits and ends that are remembered at least; of older ones up to as many again.
pub const CIRCUIT_KEYS: usize = 1 << 20;

/// What a key does. One key may have two uses only where both ends of something are in this process, as with a link
/// from one worker to another; a second time in one use is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A traffic secret that seals.
    Send,
    /// A traffic secret that opens.
    Receive,
    /// A layer that a mix peels or adds.
    Layer,
    /// A MAC of a hop's own cells.
    HopMac,
    /// A layer that a client adds or peels.
    EndLayer,
    /// End to end, sealing.
    EndSeal,
    /// End to end, opening.
    EndOpen,
}

impl Use {
    /// Of a link; others are of circuits and ends.
    const fn of_link(self) -> bool {
        matches!(self, Use::Send | Use::Receive)
    }
}

/// A key and what it does.
pub type Installation = (Use, KeyId);

/// What was installed.
pub struct Installed {
    links: BTreeSet<Installation>,
    most: usize,
    /// Newest first; the older ones go when the newer are as many as are to be remembered.
    circuits: [BTreeSet<Installation>; 2],
    circuits_least: usize,
}

impl Default for Installed {
    fn default() -> Self {
        Installed::up_to(INSTALLED_MAX, CIRCUIT_KEYS)
    }
}

impl Installed {
    /// Nothing, and room for `most` keys of links, and for the newest `circuits_least` of circuits.
    fn up_to(most: usize, circuits_least: usize) -> Self {
        Installed { links: BTreeSet::new(), most, circuits: Default::default(), circuits_least }
    }

    fn contains(&self, key: &Installation) -> bool {
        match key.0.of_link() {
            true => self.links.contains(key),
            false => self.circuits.iter().any(|keys| keys.contains(key)),
        }
    }

    /// Whether all of these may be installed. `what` is the object, for the text.
    ///
    /// # Errors
    /// `Forbidden` when one was installed before, or is there twice; `Limit` when there is no room to remember them.
    pub fn check(&self, what: &str, keys: &[Installation]) -> Result<(), Refused> {
        let twice = |(at, key): (usize, &Installation)| keys[..at].contains(key) || self.contains(key);
        if keys.iter().enumerate().any(twice) {
            refuse!(
                Forbidden,
                "{what}: a key of it was installed before, and its numbers must not begin anew: keys are used once in a \
                 life, derive new ones or restart the data plane"
            );
        }
        let of_links = keys.iter().filter(|key| key.0.of_link()).count();
        if of_links > 0 && self.links.len() + of_links > self.most {
            refuse!(
                Limit,
                "{what}: {} keys of links were installed in this life, and no more than {} can be remembered: restart the \
                 data plane",
                self.links.len(),
                self.most
            );
        }
        Ok(())
    }

    /// Remembers keys that [`Self::check`] let through.
    pub fn add(&mut self, keys: &[Installation]) {
        for key in keys {
            if key.0.of_link() {
                self.links.insert(*key);
                continue;
            }
            if self.circuits[0].len() >= self.circuits_least {
                self.circuits.swap(0, 1);
                self.circuits[0].clear();
            }
            self.circuits[0].insert(*key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_wire::control::Refusal;

    fn code(result: Result<(), Refused>) -> Option<Refusal> {
        result.err().map(|Refused(code, _)| code)
    }

    #[test]
    fn a_key_is_installed_once_in_one_use() {
        let mut installed = Installed::default();
        let (send, receive) = ((Use::Send, [1; 8]), (Use::Receive, [1; 8]));
        assert_eq!(installed.check("link 1", &[send]), Ok(()));
        assert_eq!(installed.check("link 1", &[send]), Ok(()), "a check installs nothing");
        installed.add(&[send]);
        assert_eq!(code(installed.check("link 2", &[(Use::Send, [2; 8]), send])), Some(Refusal::Forbidden));
        assert_eq!(installed.check("link 2", &[receive]), Ok(()), "the other end of the same link");
        let layer = (Use::Layer, [3; 8]);
        assert_eq!(code(installed.check("circuit 1", &[layer, layer])), Some(Refusal::Forbidden));
    }

    #[test]
    fn what_cannot_be_remembered_is_refused() {
        let mut installed = Installed::up_to(3, 3);
        installed.add(&[(Use::Send, [1; 8]), (Use::Receive, [2; 8])]);
        assert_eq!(
            code(installed.check("link 2", &[(Use::Send, [3; 8]), (Use::Receive, [4; 8])])),
            Some(Refusal::Limit)
        );
        assert_eq!(installed.check("end 1", &[(Use::EndSeal, [3; 8])]), Ok(()));
        installed.add(&[(Use::EndSeal, [3; 8])]);
        assert_eq!(
            code(installed.check("link 3", &[(Use::Send, [1; 8])])),
            Some(Refusal::Forbidden),
            "none is forgotten"
        );
    }

    #[test]
    fn circuits_without_end_are_let_in_and_the_newest_keys_are_remembered() {
        let mut installed = Installed::up_to(2, 100);
        installed.add(&[(Use::Send, [1; 8]), (Use::Receive, [2; 8])]);
        let of = |n: u64| [(Use::Layer, n.to_be_bytes()), (Use::HopMac, n.to_be_bytes())];
        for n in 0..1000 {
            assert_eq!(installed.check("circuit", &of(n)), Ok(()), "{n}");
            installed.add(&of(n));
            for old in n.saturating_sub(49)..=n {
                assert_eq!(code(installed.check("circuit", &of(old))), Some(Refusal::Forbidden), "{old} after {n}");
            }
            assert!(installed.circuits.iter().map(BTreeSet::len).sum::<usize>() <= 200);
        }
        assert_eq!(code(installed.check("link 1", &[(Use::Send, [1; 8])])), Some(Refusal::Forbidden));
    }
}
