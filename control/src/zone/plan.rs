//! What an operator writes, and the document that follows from it: mixes with their addresses, peer zones, rates.
//!
//! ```toml
//! rate = 50                 # u: cells a second of one call
//! days = 90                 # how long the document is valid
//!
//! [slots]
//! within = 16               # links between mixes of this zone carry 15 calls
//!
//! [[mix]]
//! folder = "m1"             # made by `drover zone mix`: certificate.pem and mix.toml
//!
//! [[mix]]
//! certificate = "m2.pem"    # or a certificate that somebody sent, and where its mix is reached
//! address = "192.0.2.2:4001"
//!
//! [[peer]]
//! certificate = "south.pem" # another zone's certificate
//! ```

use super::read::ADDRESS_ALLOWED;
use super::table::{self, Reader, shown};
use super::*;
use drover_dtls::certificate::Role;
use std::path::PathBuf;

/// Days that a document is valid.
pub const DAYS: RangeInclusive<u64> = 1..=VALID_MAX_S / 86_400 - 1;
/// What `drover zone mix` leaves beside a certificate: `address = "ADDRESS:PORT"`.
pub const MIX_FILE: &str = "mix.toml";
/// Clocks of a zone differ by less than this, s: a document is valid from that much before it is made.
const BEFORE_S: u64 = 3600;
/// The only file name of a certificate in a folder.
const CERTIFICATE_FILE: &str = "certificate.pem";

/// A mix as the plan names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedMix {
    /// A folder that `drover zone mix` made.
    Folder(PathBuf),
    /// A certificate's file, and where its mix is reached.
    Certificate(PathBuf, SocketAddr),
}

/// A zone as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Cell size, bytes.
    pub cell: u16,
    /// u: cells a second of one call.
    pub rate: u32,
    /// r of every link.
    pub ratchet_bits: u8,
    /// Renewal of a link's keys, s.
    pub rekey_s: u32,
    /// How long a client keeps its rendezvous mix, s.
    pub epoch_s: u32,
    /// Slots of client links.
    pub client: u32,
    /// Slots of links within the zone.
    pub within: u32,
    /// Slots of links to other zones.
    pub pair: u32,
    /// Days of validity.
    pub days: u32,
    /// The document's serial number; seconds since 1970 when left out, which grows by itself.
    pub serial: Option<u64>,
    /// The mixes.
    pub mixes: Vec<PlannedMix>,
    /// Certificates of peer zones.
    pub peers: Vec<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            cell: 256,
            rate: 50,
            ratchet_bits: 24,
            rekey_s: 600,
            epoch_s: 86_400,
            client: 2,
            within: 8,
            pair: 8,
            days: 90,
            serial: None,
            mixes: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl Plan {
    /// Reads a plan; paths in it are relative to `folder`.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn parse(text: &str, folder: &Path) -> Result<Plan, ZoneError> {
        let mut problems = Vec::new();
        let plan = table::parse(text, &mut problems).map(|table| read(table, folder, &mut problems));
        match plan {
            Some(plan) if problems.is_empty() => Ok(plan),
            _ => Err(ZoneError::listed(&problems, "the plan")),
        }
    }

    /// The document, made at `unix_s`, yet to be signed. Reads the certificates that the plan names.
    ///
    /// # Errors
    /// Every problem there is: files that cannot be read, certificates of another zone or role, or that end before the
    /// document does.
    pub fn document(&self, authority: &Certificate, unix_s: u64) -> Result<ZoneDocument, ZoneError> {
        let mut faults = Vec::new();
        let until = unix_s + u64::from(self.days) * 86_400;
        let own = std::slice::from_ref(authority);
        if let Err(fault) = good(authority, own, Role::Zone, unix_s, until) {
            faults.push(format!("the zone's own certificate: {fault}"));
        }
        let mut mixes = Vec::new();
        for planned in &self.mixes {
            match mix(planned, own, unix_s, until) {
                Ok(mix) => mixes.push(mix),
                Err(fault) => faults.push(fault),
            }
        }
        let mut peers = Vec::new();
        for file in &self.peers {
            let loaded = load(file).and_then(|authority| {
                let itself = std::slice::from_ref(&authority);
                let checked = good(&authority, itself, Role::Zone, unix_s, until);
                checked.map_err(|fault| format!("{}: {fault}", file.display()))?;
                Ok(PeerZone { zone: authority.zone().to_owned(), authority })
            });
            match loaded {
                Ok(peer) => peers.push(peer),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(ZoneError(faults.join("\n")));
        }
        let slots = |slots| Slots { slots };
        Ok(ZoneDocument {
            zone: authority.zone().to_owned(),
            serial: self.serial.unwrap_or(unix_s.max(1)),
            validity: (unix_s.saturating_sub(BEFORE_S), until),
            cell: self.cell,
            rate: self.rate,
            ratchet_bits: self.ratchet_bits,
            rekey_s: self.rekey_s,
            epoch_s: self.epoch_s,
            client: slots(self.client),
            within: slots(self.within),
            pair: slots(self.pair),
            authority: authority.clone(),
            mixes,
            peers,
        })
    }
}

fn load(file: &Path) -> Result<Certificate, String> {
    // A folder stands for the certificate in it.
    let within = file.join(CERTIFICATE_FILE);
    let file = if file.is_dir() { &within } else { file };
    Certificate::load(file).map_err(|error| {
        let (path, text) = (file.display().to_string(), error.to_string());
        if text.contains(&path) { text } else { format!("{path}: {text}") }
    })
}

fn mix(planned: &PlannedMix, zones: &[Certificate], unix_s: u64, until: u64) -> Result<MixEntry, String> {
    let (file, address) = match planned {
        PlannedMix::Folder(folder) => (folder.clone(), address_in(folder)?),
        PlannedMix::Certificate(file, address) => (file.clone(), *address),
    };
    let certificate = load(&file)?;
    good(&certificate, zones, Role::Mix, unix_s, until).map_err(|fault| format!("{}: {fault}", file.display()))?;
    Ok(MixEntry { name: certificate.name().to_owned(), address, certificate })
}

/// The address that `drover zone mix` noted in a folder.
fn address_in(folder: &Path) -> Result<SocketAddr, String> {
    let file = folder.join(MIX_FILE);
    let text = read_file(&file).map_err(|error| format!("{error}, or give CERTIFICATE@ADDRESS:PORT"))?;
    let table: toml::Table = text.parse().unwrap_or_default();
    let found = table.get("address").and_then(toml::Value::as_str).and_then(address);
    found.ok_or_else(|| format!("{}: wants a line address = {ADDRESS_ALLOWED}", file.display()))
}

/// What [`Plan::document`] asks of a certificate.
fn good(certificate: &Certificate, zones: &[Certificate], role: Role, unix_s: u64, until: u64) -> Result<(), String> {
    if certificate.role() != role {
        let (is, wanted) = (certificate.role(), role);
        return Err(format!("this is the certificate of a {is:?}; give that of a {wanted:?}").to_lowercase());
    }
    certificate.check(zones, unix_s).map_err(|error| format!("{error}; have the zone issue another"))?;
    let end = certificate.validity().1;
    if end < until {
        let (end, until) = (utc(end), utc(until));
        return Err(format!("it ends {end}, before the document would ({until}); give fewer --days, or issue another"));
    }
    Ok(())
}

fn read(table: toml::Table, folder: &Path, problems: &mut Vec<Problem>) -> Plan {
    let Plan { cell, rate, ratchet_bits, rekey_s, epoch_s, client, within, pair, days, .. } = Plan::default();
    let mut root = Reader::new("", table, problems);
    let leave = "leave it out for the default, or choose within the range";
    let mut number = |key, range, default: u64| root.number(key, range, Some(default), leave);
    let cell = number("cell", 256..=1024, cell.into()) as u16;
    let rate = number("rate", RATE, rate.into()) as u32;
    let ratchet_bits = number("ratchet_bits", RATCHET_BITS, ratchet_bits.into()) as u8;
    let rekey_s = number("rekey_s", REKEY_S, rekey_s.into()) as u32;
    let epoch_s = number("epoch_s", EPOCH_S, epoch_s.into()) as u32;
    let days = number("days", DAYS, days.into()) as u32;
    // 0 stands for none and is no serial.
    let serial = Some(number("serial", 0..=*SERIAL.end(), 0)).filter(|serial| *serial != 0);
    if !matches!(cell, 256 | 512 | 1024) {
        root.problem("cell", cell, "256, 512 or 1024 (bytes)", "256 is for voice");
    }
    let slots = root.section("slots");
    let (mix_tables, peer_tables) = (root.list("mix", MIXES_MAX), root.list("peer", PEERS_MAX));
    root.finish();

    let mut reader = Reader::new("slots.", slots, problems);
    let mut number = |key, default: u32| reader.number(key, SLOTS, Some(default.into()), leave) as u32;
    let (client, within, pair) = (number("client", client), number("within", within), number("pair", pair));
    reader.finish();

    let mut mixes = Vec::new();
    for (at, table) in mix_tables.into_iter().enumerate() {
        let by_folder = table.contains_key("folder");
        let mut reader = Reader::new(&format!("mix[{at}]."), table, problems);
        if by_folder {
            let path = reader.text("folder", "a folder that `drover zone mix` made", "name it in quotes");
            mixes.extend(path.map(|path| PlannedMix::Folder(folder.join(path))));
        } else {
            let mend = "name it in quotes, or give folder = \"...\" in place of certificate and address";
            let file = reader.text("certificate", "the file of a mix's certificate", mend);
            let text = reader.text("address", ADDRESS_ALLOWED, mend);
            let address = text.as_deref().and_then(address);
            if let (Some(text), None) = (&text, address) {
                reader.problem("address", format!("{text:?}"), ADDRESS_ALLOWED, "name where the mix is reached");
            }
            mixes.extend(file.zip(address).map(|(file, at)| PlannedMix::Certificate(folder.join(file), at)));
        }
        reader.finish();
    }
    let mut peers = Vec::new();
    for (at, table) in peer_tables.into_iter().enumerate() {
        let mut reader = Reader::new(&format!("peer[{at}]."), table, problems);
        let file = reader.text("certificate", "the file of a zone's certificate", "name it in quotes");
        peers.extend(file.map(|file| folder.join(file)));
        reader.finish();
    }
    Plan { cell, rate, ratchet_bits, rekey_s, epoch_s, client, within, pair, days, serial, mixes, peers }
}

impl std::str::FromStr for PlannedMix {
    type Err = String;

    /// `FOLDER`, or `CERTIFICATE@ADDRESS:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((file, at)) = text.rsplit_once('@') else {
            return Ok(PlannedMix::Folder(text.into()));
        };
        match address(at) {
            Some(address) if !file.is_empty() => Ok(PlannedMix::Certificate(file.into(), address)),
            _ => Err(format!("{}: give a folder, or CERTIFICATE@ADDRESS:PORT with {ADDRESS_ALLOWED}", shown(text))),
        }
    }
}
