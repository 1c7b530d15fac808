//! The configuration file of `drover-control`, checked whole: every problem is told at once, with the mend.
//!
//! ```toml
//! identity = "a1"                     # folder with identity.key and certificate.pem
//! zones = ["a.zone", "b.zone"]        # zone documents, the own zone's first
//! data_plane = "run/a1.sock"          # control socket of the data plane
//! control_socket = "run/a1-control.sock"  # this daemon's own, for status
//! clients = 4096                      # client links at most
//! foreign = true                      # take foreign DTLS 1.3 peers with certificates of our zones
//! rekey_s = 600                       # renew a link's keys this often; left out: as the zone document says
//! lab_key_log = "a1.keys"             # lab builds: takes traffic secrets (W-LAB-5)
//! lab_also_x25519 = true              # lab builds: take foreign peers without ML-KEM too
//! ```

use crate::link::LinkConfig;
use crate::zone::Zones;
use drover_dataplane::config::{Problem, Problems};
use drover_dtls::certificate::{Identity, Role};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::{Table, Value};

/// Bytes of the longest configuration file.
const CONFIG_MAX: u64 = 1 << 20;
/// Client links at most.
const CLIENTS: std::ops::RangeInclusive<i64> = 1..=100_000;
/// Renewal of keys, s.
const REKEY_S: std::ops::RangeInclusive<f64> = 1.0..=86_400.0;
/// Zone documents at most.
const ZONES_MAX: usize = 64;

/// A checked configuration.
pub struct MixConfig {
    /// Who this mix is.
    pub identity: Arc<Identity>,
    /// The documents that it goes by.
    pub zones: Arc<Zones>,
    /// The data plane's control socket.
    pub data_plane: PathBuf,
    /// This daemon's local socket.
    pub control_socket: PathBuf,
    /// How links behave.
    pub links: LinkConfig,
}

impl MixConfig {
    /// Reads and checks a file and what it names; paths in it are relative to its folder.
    ///
    /// # Errors
    /// Every problem, for people.
    pub fn load(path: &Path, unix_s: u64) -> Result<MixConfig, String> {
        let fail = |error: std::io::Error| format!("{error}; give drover-control's configuration file");
        let size = std::fs::metadata(path).map_err(fail)?.len();
        if size > CONFIG_MAX {
            return Err(format!("{size} bytes: a configuration has at most {CONFIG_MAX}"));
        }
        let text = std::fs::read_to_string(path).map_err(fail)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let table = text.parse::<Table>().map_err(|error| error.to_string())?;
        MixConfig::check(table, folder, unix_s).map_err(|problems| problems.to_string())
    }

    fn check(mut table: Table, folder: &Path, unix_s: u64) -> Result<MixConfig, Problems> {
        let mut problems = Vec::new();
        let mut found = Found { table: &mut table, problems: &mut problems };
        let identity = found.path("identity", folder, "the folder that `drover zone mix` made");
        let zones = found.paths("zones", folder);
        let data_plane = found.path("data_plane", folder, "the path in the data plane's [control] socket");
        let control_socket = found.path("control_socket", folder, "a path for this daemon's own socket");
        let mut links = LinkConfig::default();
        if let Some(clients) = found.integer("clients", &CLIENTS) {
            links.clients = clients as usize;
        }
        if let Some(foreign) = found.bool("foreign") {
            links.foreign = foreign;
        }
        links.rekey_s = found.number("rekey_s", &REKEY_S);
        #[cfg(feature = "lab")]
        {
            links.key_log = found.optional_path("lab_key_log", folder);
            links.also_x25519 = found.bool("lab_also_x25519").unwrap_or(false);
        }
        for (key, value) in &table {
            let known = "identity, zones, data_plane, control_socket, clients, foreign, rekey_s".to_owned();
            push(
                &mut problems,
                key,
                value.to_string(),
                format!("known here: {known}"),
                "remove it, or mend its spelling",
            );
        }
        let identity = identity.and_then(|folder| {
            let loaded = Identity::load(&folder).map_err(|error| error.to_string());
            let loaded = loaded.and_then(|identity| match identity.certificate().role() {
                Role::Mix => Ok(identity),
                other => Err(format!("this is the identity of a {other:?}, not of a mix")),
            });
            let mend = "make it with: drover zone mix";
            kept(loaded, &mut problems, ("identity", folder.display().to_string()), "a mix's identity", mend)
        });
        let zones = identity.as_ref().zip(zones).and_then(|(identity, files)| {
            let loaded = zones_for(identity, &files, unix_s);
            let value = format!("{files:?}");
            kept(loaded, &mut problems, ("zones", value), "zone documents", "make them with: drover zone document")
        });
        match (identity, zones, data_plane, control_socket) {
            (Some(identity), Some(zones), Some(data_plane), Some(control_socket)) if problems.is_empty() => {
                let (identity, zones) = (Arc::new(identity), Arc::new(zones));
                Ok(MixConfig { identity, zones, data_plane, control_socket, links })
            }
            _ => Err(Problems(problems)),
        }
    }

    /// What will run, for people.
    pub fn describe(&self) -> String {
        let certificate = self.identity.certificate();
        let zones: Vec<_> =
            self.zones.all().map(|zone| format!("{} ({} mixes)", zone.zone, zone.mixes.len())).collect();
        format!(
            "mix           {} of zone {}, id {}\nzones         {}\ndata plane    {}\nsocket        {}\nclients       at most {}",
            certificate.name(),
            certificate.zone(),
            certificate.id(),
            zones.join(", "),
            self.data_plane.display(),
            self.control_socket.display(),
            self.links.clients,
        )
    }
}

/// The documents, checked against the zone that issued `identity`, in which it must be listed.
fn zones_for(identity: &Identity, files: &[PathBuf], unix_s: u64) -> Result<Zones, String> {
    let certificate = identity.certificate();
    let first = files.first().ok_or("no document: the own zone's comes first")?;
    let authority = crate::zone::ZoneDocument::authority_of(first).map_err(|error| error.to_string())?;
    certificate.check(std::slice::from_ref(&authority), unix_s).map_err(|error| {
        format!("{}: this identity's certificate does not belong to that zone: {error}", first.display())
    })?;
    let zones = Zones::load(files, &authority, unix_s).map_err(|error| error.to_string())?;
    match zones.own().mixes.iter().any(|mix| mix.certificate.id() == certificate.id()) {
        true => Ok(zones),
        false => Err(format!("{}: it does not list this mix ({})", first.display(), certificate.name())),
    }
}

fn kept<T>(
    loaded: Result<T, String>,
    problems: &mut Vec<Problem>,
    (key, value): (&str, String),
    allowed: &str,
    mend: &str,
) -> Option<T> {
    loaded.map_err(|error| push(problems, key, format!("{value} ({error})"), allowed.to_owned(), mend)).ok()
}

fn push(problems: &mut Vec<Problem>, key: &str, value: String, allowed: String, mend: &str) {
    problems.push(Problem { key: key.to_owned(), value, allowed, mend: mend.to_owned() });
}

/// Takes keys out of a table and notes what is wrong with them.
struct Found<'t> {
    table: &'t mut Table,
    problems: &'t mut Vec<Problem>,
}

impl Found<'_> {
    fn wrong(&mut self, key: &str, value: Option<&Value>, allowed: String, mend: &str) {
        let value = value.map_or_else(|| "(missing)".to_owned(), Value::to_string);
        push(self.problems, key, value, allowed, mend);
    }

    fn path(&mut self, key: &str, folder: &Path, mend: &str) -> Option<PathBuf> {
        let value = self.table.remove(key);
        let path = value.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()).map(|text| folder.join(text));
        if path.is_none() {
            self.wrong(key, value.as_ref(), "a path, in quotes".to_owned(), mend);
        }
        path
    }

    #[cfg(feature = "lab")]
    fn optional_path(&mut self, key: &str, folder: &Path) -> Option<PathBuf> {
        self.table.contains_key(key).then(|| self.path(key, folder, "a file")).flatten()
    }

    fn paths(&mut self, key: &str, folder: &Path) -> Option<Vec<PathBuf>> {
        let value = self.table.remove(key);
        let list = value.as_ref().and_then(Value::as_array).filter(|list| (1..=ZONES_MAX).contains(&list.len()));
        let paths = list.and_then(|list| list.iter().map(|v| v.as_str().map(|text| folder.join(text))).collect());
        if paths.is_none() {
            let allowed = format!("1 to {ZONES_MAX} paths, [\"own.zone\", \"other.zone\"]");
            self.wrong(key, value.as_ref(), allowed, "the own zone's document first");
        }
        paths
    }

    fn integer(&mut self, key: &str, range: &std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.table.remove(key)?;
        let number = value.as_integer().filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(
                key,
                Some(&value),
                format!("{} to {}", range.start(), range.end()),
                "leave it out for the default",
            );
        }
        number
    }

    fn number(&mut self, key: &str, range: &std::ops::RangeInclusive<f64>) -> Option<f64> {
        let value = self.table.remove(key)?;
        let number = value.as_float().or(value.as_integer().map(|n| n as f64)).filter(|number| range.contains(number));
        if number.is_none() {
            let allowed = format!("{} to {} seconds", range.start(), range.end());
            self.wrong(key, Some(&value), allowed, "leave it out for the zone document's");
        }
        number
    }

    fn bool(&mut self, key: &str) -> Option<bool> {
        let value = self.table.remove(key)?;
        if value.as_bool().is_none() {
            self.wrong(key, Some(&value), "true or false".to_owned(), "leave it out for the default");
        }
        value.as_bool()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{MixEntry, Slots, ZoneDocument};

    const NOW: u64 = 1_800_000_000;

    /// A folder with a zone of one mix, the mix's identity in `m`, and another zone's mix in `x`.
    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        let zone = Identity::new_zone("a", NOW, 30).expect("a zone");
        let mix = zone.issue("m", Role::Mix, NOW, 30).expect("a mix");
        let document = ZoneDocument {
            zone: "a".to_owned(),
            serial: 1,
            validity: (NOW - 10, NOW + 86_400),
            cell: 256,
            rate: 50,
            ratchet_bits: 24,
            rekey_s: 600,
            epoch_s: 86_400,
            client: Slots { slots: 2 },
            within: Slots { slots: 4 },
            pair: Slots { slots: 4 },
            authority: zone.certificate().clone(),
            mixes: vec![MixEntry {
                name: "m".to_owned(),
                address: "127.0.0.1:4001".parse().expect("an address"),
                certificate: mix.certificate().clone(),
            }],
            peers: Vec::new(),
        };
        mix.save(&dir.path().join("m")).expect("saved");
        zone.issue("client", Role::Client, NOW, 30).and_then(|c| c.save(&dir.path().join("c"))).expect("saved");
        let other = Identity::new_zone("b", NOW, 30).and_then(|zone| zone.issue("x", Role::Mix, NOW, 30));
        other.and_then(|x| x.save(&dir.path().join("x"))).expect("saved");
        std::fs::write(dir.path().join("a.zone"), document.sign(&zone).expect("signed")).expect("written");
        dir
    }

    fn load(dir: &tempfile::TempDir, text: &str) -> Result<MixConfig, String> {
        let path = dir.path().join("control.toml");
        std::fs::write(&path, text).expect("written");
        MixConfig::load(&path, NOW)
    }

    const GOOD: &str =
        "identity = \"m\"\nzones = [\"a.zone\"]\ndata_plane = \"dp.sock\"\ncontrol_socket = \"c.sock\"\n";

    #[test]
    fn a_sound_file_is_described() {
        let dir = world();
        let config = load(&dir, &format!("{GOOD}clients = 7\nrekey_s = 2.5\nforeign = false\n")).expect("sound");
        assert_eq!((config.links.clients, config.links.rekey_s, config.links.foreign), (7, Some(2.5), false));
        assert_eq!(config.data_plane, dir.path().join("dp.sock"));
        assert!(config.describe().contains("m of zone a"));
    }

    #[test]
    fn every_problem_is_told_with_its_mend() {
        let dir = world();
        let text = "zones = []\ndata_plane = 3\nclients = 0\nforeign = 1\nrekey_s = \"x\"\nidentiy = \"m\"\n";
        let problems = load(&dir, text).err().expect("problems");
        for key in ["identity", "zones", "data_plane", "control_socket", "clients", "foreign", "rekey_s", "identiy"] {
            assert!(problems.contains(&format!("\n  {key} = ")), "{key} lacks in {problems}");
        }
        // A client, a mix of another zone, a zone that cannot be read, a file too open.
        for (from, to, says) in [
            ("\"m\"", "\"c\"", "not of a mix"),
            ("\"m\"", "\"x\"", "does not belong to that zone"),
            ("\"m\"", "\"nobody\"", "nobody"),
            ("a.zone", "b.zone", "b.zone"),
        ] {
            let problems = load(&dir, &GOOD.replace(from, to)).err().expect("a problem");
            assert!(problems.contains(says), "{says} lacks in {problems}");
        }
        let key = dir.path().join("m/identity.key");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
        assert!(load(&dir, GOOD).err().expect("a problem").contains("identity.key"));
    }
}
