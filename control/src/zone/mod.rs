//! Zones: the signed document that lists a zone's mixes, and the set of documents that a node goes by.

use drover_dtls::certificate::{Certificate, NodeId};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

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
    /// The authority that a document file names, nothing else checked: who holds a certificate of it has reason to trust it.
    ///
    /// # Errors
    /// [`ZoneError`] names the file.
    pub fn authority_of(_file: &Path) -> Result<Certificate, ZoneError> {
        todo!()
    }
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError(pub String);

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
    /// Checks that the others are those that `own` names, by their authority, and share its cell size and u.
    ///
    /// # Errors
    /// Which does not fit, and the mend.
    pub fn new(own: ZoneDocument, others: Vec<ZoneDocument>) -> Result<Zones, ZoneError> {
        Ok(Zones { own, others })
    }
    /// Loads documents from files; the first is the own zone's, whose authority must be `authority`.
    ///
    /// # Errors
    /// [`ZoneError`] names the file.
    pub fn load(_files: &[impl AsRef<Path>], _authority: &Certificate, _unix_s: u64) -> Result<Zones, ZoneError> {
        todo!()
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
