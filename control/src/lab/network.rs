//! The lab network file: who there is, how they are linked, and the secrets that they share.
//!
//! TOML, unknown fields refused, all that is wrong said at once. The file holds secrets: it is written with mode 0600 and
//! not read when others may read it.

mod check;
mod file;

pub use file::{read, write};

use super::secret::FileSecret;
use drover_wire::control::ClassKind;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Largest file read, bytes.
pub const FILE_MAX: u64 = 16 << 20;
/// Most links between named nodes.
pub const LINKS_MAX: usize = 10_000;
/// Most calls.
pub const CALLS_MAX: usize = 1_000;
/// Most links of one crowd: each is a socket of the process that plays it.
pub const CROWD_MAX: u32 = 1_000;
/// Nodes of a call's path: two clients and two mixes of each side (invariant I4).
pub const PATH: usize = 6;

/// A whole lab network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Cell size of every node, bytes: 256, 512 or 1024.
    pub cell: u16,
    /// u, the rate of one call: rounds a second, 1 to 1,000.
    pub rate: u32,
    /// Mixes and clients.
    #[serde(default, rename = "node")]
    pub nodes: Vec<Node>,
    /// Classes of links.
    #[serde(default, rename = "class")]
    pub classes: Vec<Class>,
    /// Links.
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
    /// Calls.
    #[serde(default, rename = "call")]
    pub calls: Vec<Call>,
    /// Idle links to mixes, played by `drover lab crowd`.
    #[serde(default, rename = "crowd")]
    pub crowds: Vec<Crowd>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Relays.
    Mix,
    /// An end of calls.
    Client,
}

/// A mix or a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name in this file.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Path of its control socket; a relative one is relative to this file's folder.
    pub socket: PathBuf,
    /// Where each of its workers receives. Port 0 or an unspecified address: what the node says of itself is taken.
    pub listen: Vec<SocketAddr>,
}

/// A class of links: all have one rate (invariant I7).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its number in control messages.
    pub id: u16,
    /// Its name in this file.
    pub name: String,
    /// What its links join.
    pub kind: Kind,
    /// Slots of a round: the rate is this times the rounds.
    pub slots: u32,
    /// Rounds a second where it is not u.
    pub rounds: Option<u32>,
}

/// What a class's links join, as the file writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Client and mix.
    Client,
    /// Superpeer and mix.
    Superpeer,
    /// Mixes within a zone.
    Zone,
    /// Mixes of a pair of zones.
    Pair,
}

/// A link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its name, such as "m1=m2".
    pub name: String,
    /// One end.
    pub a: String,
    /// The other.
    pub b: String,
    /// Its class.
    pub class: String,
    /// The worker at a.
    #[serde(default)]
    pub a_worker: u16,
    /// The worker at b.
    #[serde(default)]
    pub b_worker: u16,
    /// Keys ratchet every 2^this records.
    #[serde(default = "ratchet_default")]
    pub ratchet_bits: u8,
    /// What its keys come from.
    pub secret: FileSecret,
}

/// A call between two clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Caller, its mix, its rendezvous mix, the callee's rendezvous mix, the callee's mix, callee.
    pub path: Vec<String>,
    /// The end's number in the caller's configuration.
    #[serde(default = "one")]
    pub caller_end: u32,
    /// The end's number in the callee's configuration.
    #[serde(default = "one")]
    pub callee_end: u32,
    /// What its keys come from.
    pub secret: FileSecret,
}

/// Idle links to one worker of a mix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// Its name.
    pub name: String,
    /// The mix.
    pub mix: String,
    /// The mix's worker.
    #[serde(default)]
    pub worker: u16,
    /// The links' class.
    pub class: String,
    /// How many links.
    pub links: u32,
    /// What their keys come from.
    pub secret: FileSecret,
}

const fn ratchet_default() -> u8 {
    24
}

const fn one() -> u32 {
    1
}

impl From<Kind> for ClassKind {
    fn from(kind: Kind) -> ClassKind {
        match kind {
            Kind::Client => ClassKind::Client,
            Kind::Superpeer => ClassKind::Superpeer,
            Kind::Zone => ClassKind::Zone,
            Kind::Pair => ClassKind::Pair,
        }
    }
}

impl Kind {
    /// As the file writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Client => "client",
            Kind::Superpeer => "superpeer",
            Kind::Zone => "zone",
            Kind::Pair => "pair",
        }
    }
}

impl Network {
    /// The index of the node called `name`.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name)
    }

    /// The class called `name`.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|c| c.name == name)
    }

    /// A round of the class, ns.
    pub fn round_ns(&self, class: &Class) -> u64 {
        1_000_000_000 / u64::from(class.rounds.unwrap_or(self.rate).max(1))
    }

    /// Records a second of each link and direction of the class.
    pub fn rate_of(&self, class: &Class) -> f64 {
        f64::from(class.slots) * 1e9 / self.round_ns(class) as f64
    }

    /// The index of the first link between two nodes.
    pub fn link_between(&self, x: &str, y: &str) -> Option<usize> {
        self.links.iter().position(|l| (l.a == x && l.b == y) || (l.a == y && l.b == x))
    }

    /// The id of a link at both its ends: its place in the file, from 1.
    pub fn link_id(index: usize) -> u32 {
        index as u32 + 1
    }

    /// The id of the first link of crowd `index`; the others follow.
    pub fn crowd_first_id(&self, index: usize) -> u32 {
        let before: u32 = self.crowds[..index].iter().map(|c| c.links).sum();
        Network::link_id(self.links.len()) + before
    }
}

/// Why there is no network. Every text says what, where and how to mend it.
#[derive(Debug)]
pub struct NetworkError {
    /// The file.
    pub path: PathBuf,
    /// All that is wrong.
    pub problems: Vec<String>,
}

impl NetworkError {
    fn new(path: &Path, problem: String) -> NetworkError {
        NetworkError { path: path.to_owned(), problems: vec![problem] }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [one] => write!(f, "{}: {one}", self.path.display()),
            many => {
                write!(f, "{}: {} faults:", self.path.display(), many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
#[path = "network/tests.rs"]
mod tests;
