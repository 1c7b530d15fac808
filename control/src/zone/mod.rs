//! Zones: the signed document that lists a zone's mixes, and the set of documents that a node goes by.
//!
//! ```text
//! read.rs   from hostile text to a checked document
//! write.rs  from a document to signed text
//! plan.rs   what an operator writes: mixes, peers, rates
//! table.rs  TOML tables, read key by key
//! ```

mod read;
mod table;
mod write;

pub mod plan;

pub use drover_dataplane::config::Problem;
use drover_dtls::certificate::{Certificate, Identity, NodeId};
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

/// Bytes of the longest document.
pub const DOCUMENT_MAX: usize = 512 * 1024;
/// Mixes of a zone.
pub const MIXES_MAX: usize = 64;
/// Zones that a zone has links with.
pub const PEERS_MAX: usize = 64;
/// Bytes of the longest name of a zone, mix or client.
pub const NAME_MAX: usize = 64;
/// Serial numbers.
pub const SERIAL: RangeInclusive<u64> = 1..=i64::MAX as u64;
/// u, cells a second.
pub const RATE: RangeInclusive<u64> = 1..=1000;
/// r (`docs/wire.md`, W-KEY-3, W-KEY-5).
pub const RATCHET_BITS: RangeInclusive<u64> = 4..=28;
/// Time between renewals of a link's keys, s.
pub const REKEY_S: RangeInclusive<u64> = 1..=86_400;
/// A client's epoch, s.
pub const EPOCH_S: RangeInclusive<u64> = 10..=31 * 86_400;
/// Slots of a link's round: one at least is for control.
pub const SLOTS: RangeInclusive<u64> = 2..=4096;
/// A document is valid for at most this long, s.
pub const VALID_MAX_S: u64 = 400 * 86_400;
/// Instants, s since 1970: up to the year 9999.
const INSTANT: RangeInclusive<u64> = 0..=253_402_300_799;

/// The rate of a class of links: k slots of a round of 1/u.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Slots of a round.
    pub slots: u32,
}

/// One mix of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixEntry {
    /// Its name for people.
    pub name: String,
    /// Where its data plane listens.
    pub address: SocketAddr,
    /// Its certificate: identity and static key.
    pub certificate: Certificate,
}

/// Another zone that this one has links with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerZone {
    /// Its name.
    pub zone: String,
    /// What it signs with.
    pub authority: Certificate,
}

/// A zone's document, its signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneDocument {
    /// The zone's name.
    pub zone: String,
    /// Larger is newer.
    pub serial: u64,
    /// Begin and end of validity, s since 1970.
    pub validity: (u64, u64),
    /// Cell size, bytes.
    pub cell: u16,
    /// u: cells a second of one call.
    pub rate: u32,
    /// r of every link (`docs/wire.md`, W-KEY-3).
    pub ratchet_bits: u8,
    /// A link's keys are agreed anew after this, with jitter, s.
    pub rekey_s: u32,
    /// A client keeps its rendezvous mix this long, s.
    pub epoch_s: u32,
    /// Client links.
    pub client: Slots,
    /// Links between mixes of this zone.
    pub within: Slots,
    /// Links to mixes of other zones.
    pub pair: Slots,
    /// What the zone signs with.
    pub authority: Certificate,
    /// Its mixes.
    pub mixes: Vec<MixEntry>,
    /// Other zones.
    pub peers: Vec<PeerZone>,
}

impl ZoneDocument {
    /// Reads and checks a document: its signature, by `authority` where one is given and else by whom it names itself; its
    /// time; and every value.
    ///
    /// # Errors
    /// [`ZoneError`] with every problem there is: key, value, what is allowed, the mend.
    pub fn parse(text: &str, authority: Option<&Certificate>, unix_s: u64) -> Result<ZoneDocument, ZoneError> {
        ZoneDocument::check(text, authority, unix_s).map_err(|problems| ZoneError::of(&problems))
    }

    /// The same, the problems one by one.
    ///
    /// # Errors
    /// Every problem there is, at least one.
    pub fn check(text: &str, authority: Option<&Certificate>, unix_s: u64) -> Result<ZoneDocument, Vec<Problem>> {
        read::document(text, authority, unix_s)
    }

    /// Reads and checks a file of at most [`DOCUMENT_MAX`] bytes.
    ///
    /// # Errors
    /// [`ZoneError`] names the file.
    pub fn load(file: &Path, authority: Option<&Certificate>, unix_s: u64) -> Result<ZoneDocument, ZoneError> {
        ZoneDocument::parse(&read_file(file)?, authority, unix_s).map_err(|error| error.at(file))
    }

    /// The authority that a document file names, nothing else checked: who holds a certificate of it has reason to trust it.
    ///
    /// # Errors
    /// [`ZoneError`] names the file.
    pub fn authority_of(file: &Path) -> Result<Certificate, ZoneError> {
        read::authority(&read_file(file)?).map_err(|problems| ZoneError::of(&problems).at(file))
    }

    /// The document as signed text (W-ZON-1). `identity` must be the document's authority.
    ///
    /// # Errors
    /// [`ZoneError`] when the document is none that [`ZoneDocument::parse`] would take.
    pub fn sign(&self, identity: &Identity) -> Result<String, ZoneError> {
        write::signed(self, identity)
    }

    /// The mix with this name.
    pub fn mix_named(&self, name: &str) -> Option<&MixEntry> {
        self.mixes.iter().find(|mix| mix.name == name)
    }
}

/// Reads a text file of at most [`DOCUMENT_MAX`] bytes, whatever it really is.
///
/// # Errors
/// [`ZoneError`] names the file.
pub fn read_file(file: &Path) -> Result<String, ZoneError> {
    use std::io::Read;
    let fail = |what: &dyn fmt::Display, mend: &str| ZoneError(format!("{}: {what}; {mend}", file.display()));
    let io = |error: std::io::Error| fail(&error, "name a file that exists and may be read");
    if !std::fs::metadata(file).map_err(io)?.is_file() {
        return Err(fail(&"this is no file", "name a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(io)?.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > DOCUMENT_MAX {
        return Err(fail(&format!("more than {DOCUMENT_MAX} bytes"), "this is no zone document"));
    }
    String::from_utf8(bytes).map_err(|_| fail(&"no UTF-8 text", "this is no zone document"))
}

/// An address of one host and port; `None` for port 0, unspecified, multicast and broadcast addresses too.
pub fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(read::one_host)
}

/// An instant for people: `2026-11-20 14:00:00 UTC`. Days to a date as in Hinnant's "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
pub fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Why a document is refused, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError(pub String);

impl ZoneError {
    fn of(problems: &[Problem]) -> ZoneError {
        ZoneError::listed(problems, "the zone document")
    }

    fn listed(problems: &[Problem], place: &str) -> ZoneError {
        use fmt::Write;
        let count = problems.len();
        let mut text = format!("{count} problem{} in {place}:", if count == 1 { "" } else { "s" });
        for Problem { key, value, allowed, mend } in problems {
            let _ = write!(text, "\n  {key} = {value}\n    allowed: {allowed}\n    mend:    {mend}");
        }
        ZoneError(text)
    }

    fn at(self, file: &Path) -> ZoneError {
        ZoneError(format!("{}: {}", file.display(), self.0))
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ZoneError {}

/// The documents that a node goes by: its own zone's, and those of zones that it vouches for.
#[derive(Clone, Debug)]
pub struct Zones {
    own: ZoneDocument,
    others: Vec<ZoneDocument>,
}

impl Zones {
    /// Checks that the others are those that `own` names, by their authority, that they name `own` too, and that they share
    /// what both ends of a link between them must have alike: cell size, u, slots of such links, ratchet.
    ///
    /// # Errors
    /// Which does not fit, and the mend.
    pub fn new(own: ZoneDocument, others: Vec<ZoneDocument>) -> Result<Zones, ZoneError> {
        let mut faults = Vec::new();
        let (mut names, mut ids, mut addresses) = (HashSet::new(), HashSet::new(), HashSet::new());
        for other in std::iter::once(&own).chain(&others) {
            let zone = &other.zone;
            if !names.insert(zone) {
                faults.push(format!("zone {zone} is there twice; give each document once"));
            }
            for mix in &other.mixes {
                if !ids.insert(mix.certificate.id()) || !addresses.insert(mix.address) {
                    let name = &mix.name;
                    faults.push(format!("mix {name} of zone {zone}: another mix has its key or address; change one"));
                }
            }
        }
        for other in &others {
            pair(&own, other, &mut faults);
        }
        match faults.is_empty() {
            true => Ok(Zones { own, others }),
            false => Err(ZoneError(format!("the zone documents do not fit together:\n  {}", faults.join("\n  ")))),
        }
    }
    /// Loads documents from files; the first is the own zone's, whose authority must be `authority`.
    ///
    /// # Errors
    /// [`ZoneError`] names the file.
    pub fn load(files: &[impl AsRef<Path>], authority: &Certificate, unix_s: u64) -> Result<Zones, ZoneError> {
        let Some((first, others)) = files.split_first() else {
            return Err(ZoneError("no zone document was named; name the own zone's first".to_owned()));
        };
        if others.len() > PEERS_MAX {
            return Err(ZoneError(format!("{} zone documents: at most {}", files.len(), PEERS_MAX + 1)));
        }
        let own = ZoneDocument::load(first.as_ref(), Some(authority), unix_s)?;
        let load = |file: &Path| {
            // Which of the peers it claims to be says whose signature it must have.
            let claimed = ZoneDocument::authority_of(file)?;
            let Some(peer) = own.peers.iter().find(|peer| peer.authority == claimed) else {
                let (own, other) = (&own.zone, claimed.zone());
                let mend = "remove the file, or make the own document anew with --peer";
                return Err(
                    ZoneError(format!("zone {own} does not name this zone {other} as its peer; {mend}")).at(file)
                );
            };
            ZoneDocument::load(file, Some(&peer.authority), unix_s)
        };
        let others = others.iter().map(|file| load(file.as_ref())).collect::<Result<_, _>>()?;
        Zones::new(own, others)
    }
    /// The own zone's document.
    pub fn own(&self) -> &ZoneDocument {
        &self.own
    }
    /// All documents, the own first.
    pub fn all(&self) -> impl Iterator<Item = &ZoneDocument> {
        std::iter::once(&self.own).chain(&self.others)
    }
    /// The document of a zone.
    pub fn zone(&self, name: &str) -> Option<&ZoneDocument> {
        self.all().find(|document| document.zone == name)
    }
    /// The mix with this id, and its zone's document.
    pub fn mix(&self, id: NodeId) -> Option<(&ZoneDocument, &MixEntry)> {
        self.all().find_map(|zone| zone.mixes.iter().find(|mix| mix.certificate.id() == id).map(|mix| (zone, mix)))
    }
    /// What issues certificates that are good here: all zones' authorities, the own first.
    pub fn authorities(&self) -> Vec<Certificate> {
        self.all().map(|document| document.authority.clone()).collect()
    }
}

/// What two zones with links between them must agree on.
fn pair(own: &ZoneDocument, other: &ZoneDocument, faults: &mut Vec<String>) {
    let (a, b) = (&own.zone, &other.zone);
    for (from, to) in [(own, other), (other, own)] {
        if !from.peers.iter().any(|peer| peer.zone == to.zone && peer.authority == to.authority) {
            let (from, to) = (&from.zone, &to.zone);
            faults.push(format!(
                "zone {from} does not name zone {to}, with its authority, as its peer; make it anew with --peer"
            ));
        }
    }
    let alike = [
        ("cell", u64::from(own.cell), u64::from(other.cell)),
        ("rate", own.rate.into(), other.rate.into()),
        ("slots.pair", own.pair.slots.into(), other.pair.slots.into()),
        ("ratchet_bits", own.ratchet_bits.into(), other.ratchet_bits.into()),
    ];
    for (key, ours, theirs) in alike {
        if ours != theirs {
            faults.push(format!(
                "{key} is {ours} in zone {a} and {theirs} in zone {b}; make one of them anew with the other's"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
