//! Which rendezvous mix a client uses (`docs/wire.md`, W-CAL-1; Herd 3.3, invariant I5).
//!
//! At an epoch's start the client draws an order of all mixes of its zone, every order equally likely, and uses the first.
//! What fails moves it to the next, [`RECHOICES`] times an epoch and no more. The order is drawn before anything can
//! fail, so whoever makes mixes fail chooses among [`RECHOICES`] + 1 that chance picked, and of n mixes k of which are
//! bad meets a bad one with a probability of at most (1 + [`RECHOICES`]) · k / n.

use crate::zone::ZoneDocument;
use drover_dtls::certificate::NodeId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Moves to another mix within an epoch, at most.
pub const RECHOICES: usize = 2;
/// The file's name in the client's state folder.
pub const FILE: &str = "rendezvous.json";
/// Bytes of the longest file.
const FILE_MAX: u64 = 64 * 1024;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    zone: String,
    epoch: u64,
    /// The first of the order, as many as may be used: ids in hexadecimal.
    order: Vec<String>,
    /// Which of them is in use.
    at: usize,
}

/// A client's rendezvous mix, kept over restarts.
pub struct Choice {
    path: PathBuf,
    kept: Option<Kept>,
}

impl Choice {
    /// What is kept in `folder`, which is made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// The folder or file cannot be read, or the file is not one that was written here; the text has the mend.
    pub fn load(folder: &Path) -> Result<Choice, String> {
        let named = |what: &dyn std::fmt::Display| format!("{}: {what}", folder.join(FILE).display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| named(&error))?;
        let path = folder.join(FILE);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Choice { path, kept: None }),
            Err(error) => return Err(named(&error)),
        };
        if file.metadata().map_err(|error| named(&error))?.permissions().mode() & 0o077 != 0 {
            return Err(named(&"others can read or write it; chmod 600"));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| named(&error))?;
        let odd = "not a file that this program wrote; remove it, and the rendezvous mix is drawn anew";
        let kept: Kept = serde_json::from_str(&text).map_err(|_| named(&odd))?;
        let right = !kept.order.is_empty() && kept.order.len() <= RECHOICES + 1 && kept.at < kept.order.len();
        match right && kept.order.iter().all(|id| parse_id(id).is_some()) {
            true => Ok(Choice { path, kept: Some(kept) }),
            false => Err(named(&odd)),
        }
    }

    /// The rendezvous mix of now: drawn when an epoch begins, else as it was. `random` fills with secure randomness.
    ///
    /// # Errors
    /// No mix in the zone, no randomness, or the file cannot be written: nothing changed.
    pub fn current(
        &mut self,
        document: &ZoneDocument,
        unix_s: u64,
        random: &mut dyn FnMut(&mut [u8]) -> bool,
    ) -> Result<NodeId, String> {
        let epoch = epoch(document, unix_s);
        if self.kept.as_ref().is_none_or(|kept| kept.epoch != epoch || kept.zone != document.zone) {
            let ids: Vec<_> = document.mixes.iter().map(|mix| mix.certificate.id()).collect();
            let order = draw(ids, random).ok_or("no secure randomness")?;
            if order.is_empty() {
                return Err(format!("zone {} has no mix", document.zone));
            }
            let order = order.iter().map(ToString::to_string).collect();
            self.keep(Kept { zone: document.zone.clone(), epoch, order, at: 0 })?;
        }
        // A mix that left the zone has failed.
        while !document.mixes.iter().any(|mix| Some(mix.certificate.id()) == self.chosen()) {
            if !self.failed()? {
                return Err(format!(
                    "zone {} has lost the rendezvous mixes of this epoch; wait for the next",
                    document.zone
                ));
            }
        }
        self.chosen().ok_or_else(|| "no rendezvous mix is chosen".to_owned())
    }

    /// The mix in use does not work: moves to the next of the order; false when there is none left in this epoch.
    ///
    /// # Errors
    /// The file cannot be written: nothing changed.
    pub fn failed(&mut self) -> Result<bool, String> {
        match &self.kept {
            Some(kept) if kept.at + 1 < kept.order.len() => {
                let kept = Kept { at: kept.at + 1, ..kept.clone() };
                self.keep(kept).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn chosen(&self) -> Option<NodeId> {
        self.kept.as_ref().and_then(|kept| kept.order.get(kept.at)).and_then(|id| parse_id(id))
    }

    /// Writes beside and renames: the file is whole at any time.
    fn keep(&mut self, kept: Kept) -> Result<(), String> {
        let text = serde_json::to_string_pretty(&kept).map_err(|error| error.to_string())?;
        let beside = self.path.with_extension("new");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        write().map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.kept = Some(kept);
        Ok(())
    }
}

/// The number of the epoch at an instant.
pub fn epoch(document: &ZoneDocument, unix_s: u64) -> u64 {
    unix_s / u64::from(document.epoch_s.max(1))
}

/// The first [`RECHOICES`] + 1 of a random order of `ids`; `None` without randomness.
fn draw(mut ids: Vec<NodeId>, random: &mut dyn FnMut(&mut [u8]) -> bool) -> Option<Vec<NodeId>> {
    let count = ids.len().min(RECHOICES + 1);
    for at in 0..count {
        let other = at + below(ids.len() - at, random)?;
        ids.swap(at, other);
    }
    ids.truncate(count);
    Some(ids)
}

/// A number below `limit`, all equally likely.
pub(crate) fn below(limit: usize, random: &mut dyn FnMut(&mut [u8]) -> bool) -> Option<usize> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    // Below the greatest multiple of `limit` nothing is favoured; what is beyond is drawn again.
    let fair = u64::MAX - u64::MAX % limit;
    loop {
        let mut bytes = [0; 8];
        if !random(&mut bytes) {
            return None;
        }
        let number = u64::from_be_bytes(bytes);
        if number < fair {
            return usize::try_from(number % limit).ok();
        }
    }
}

/// The system's randomness.
pub fn secure(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

fn parse_id(text: &str) -> Option<NodeId> {
    let mut id = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(NodeId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: u8) -> Vec<NodeId> {
        (0..n).map(|id| NodeId([id; 16])).collect()
    }

    /// Pearson's statistic of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum()
    }

    /// Each place of the order is uniform over the mixes: a test with 6 degrees of freedom, of level 1e-9.
    #[test]
    fn every_mix_is_equally_likely() {
        let mut places = vec![[0u32; 7]; RECHOICES + 1];
        for _ in 0..21_000 {
            for (place, id) in draw(ids(7), &mut secure).expect("random").iter().enumerate() {
                places[place][usize::from(id.0[0])] += 1;
            }
        }
        for counts in places {
            assert!(chi_square(&counts) < 53.0, "{counts:?}");
        }
    }

    /// The test above does see a bias: without rejection, of a byte modulo 7, it fails.
    #[test]
    fn the_test_sees_a_bias() {
        let mut counts = [0u32; 7];
        for n in 0..21_000u32 {
            counts[(n % 256 % 7) as usize] += 1;
        }
        // 256 = 36 · 7 + 4: four values are likelier by one in 36.
        assert!(chi_square(&counts) > 1.0);
        let mut biased = [3000u32; 7];
        biased[0] += 600;
        assert!(chi_square(&biased) > 53.0);
    }

    /// I5: of 10 mixes 2 are bad, and all good ones fail at the attacker's will. It gets no more than its share of the
    /// three that chance picked: 1 − (8·7·6)/(10·9·8) = 53 %, and without failures 20 %.
    #[test]
    fn failing_mixes_gain_no_more_than_the_cap() {
        let (runs, mut met, mut first) = (20_000, 0, 0);
        for _ in 0..runs {
            let order = draw(ids(10), &mut secure).expect("random");
            assert_eq!(order.len(), RECHOICES + 1);
            met += u32::from(order.iter().any(|id| id.0[0] < 2));
            first += u32::from(order[0].0[0] < 2);
        }
        let share = |n: u32| f64::from(n) / f64::from(runs);
        assert!((share(met) - 0.5333).abs() < 0.025, "{}", share(met));
        assert!((share(first) - 0.2).abs() < 0.02, "{}", share(first));
        assert!(share(met) <= (1.0 + RECHOICES as f64) * 0.2);
    }

    #[test]
    fn below_rejects_what_would_favour() {
        let mut first = true;
        // 2^64 − 1 is no part of a whole turn of 10.
        let mut random = |bytes: &mut [u8]| {
            bytes.fill(if std::mem::take(&mut first) { 0xff } else { 0 });
            true
        };
        assert_eq!(below(10, &mut random), Some(0));
        assert!(!first, "drawn again");
        assert_eq!(below(0, &mut secure), None);
        assert_eq!(below(3, &mut |_: &mut [u8]| false), None);
    }

    #[test]
    fn what_is_kept_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let mut choice = Choice::load(&state).expect("none yet");
        assert!(!choice.failed().expect("nothing chosen"));
        let order = ids(3).iter().map(ToString::to_string).collect();
        choice.keep(Kept { zone: "north".into(), epoch: 7, order, at: 0 }).expect("written");
        let file = state.join(FILE);
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        let mut again = Choice::load(&state).expect("whole");
        assert_eq!(again.kept, choice.kept);
        assert_eq!([again.failed(), again.failed(), again.failed()], [Ok(true), Ok(true), Ok(false)], "the cap");
        assert_eq!(Choice::load(&state).expect("whole").chosen(), Some(NodeId([2; 16])), "kept over a restart");
        for odd in [
            "",
            "{}",
            "null",
            r#"{"zone":"a","epoch":1,"order":[],"at":0}"#,
            r#"{"zone":"a","epoch":1,"order":["é1"],"at":0}"#,
        ] {
            fs::write(&file, odd).expect("written");
            let text = Choice::load(&state).err().expect("odd");
            assert!(text.contains("remove it"), "{text}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(Choice::load(&state).err().expect("open to others").contains("chmod 600"));
    }
}
