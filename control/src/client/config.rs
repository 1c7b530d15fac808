//! The configuration file of `drover-client`, checked whole: every problem is told at once, with the mend.
//!
//! ```toml
//! cell = 256                              # bytes; as in the zone
//! control_socket = "run/client.sock"      # where control connects
//! listen = "0.0.0.0:0"                    # the link's UDP port; 0 draws one
//! tick_us = 1000                          # the pacing thread's grid
//! core = 1                                # pin the pacing thread; left out: not pinned
//! crypto = "auto"                         # the back end of the data plane, as its crypto.backend
//!
//! [[end]]
//! end = 1                                 # the id in PutEnd
//! rtp_listen = "127.0.0.1:5004"           # a softphone or ffmpeg sends here
//! rtp_send_to = "127.0.0.1:6004"          # left out: to whoever sent last
//! ```
//!
//! With an identity the client makes its link and calls itself; the first end carries them:
//!
//! ```toml
//! identity = "alice"                      # folder with identity.key and certificate.pem
//! zones = ["north.zone", "south.zone"]    # zone documents, the own zone's first
//! state = "alice-state"                   # folder that keeps what was drawn: mixes
//! socket = "run/alice.sock"               # the user's own: JSON, one object a line
//! mix = "n1"                              # left out: one of the zone's, drawn once
//! auto_answer = false                     # answer incoming calls at once
//! lab_rendezvous = "n2"                   # lab builds: this rendezvous mix, not one that is drawn
//! lab_key_log = "alice.keys"              # lab builds: takes traffic secrets
//! ```
//!
//! Paths are relative to the working directory.

use super::rtp_io::RtpPorts;
use drover_dataplane::config::{Config, Problem, Problems};
use drover_wire::control::ID_LIMIT;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::{Table, Value};

/// Ends of one client.
pub const END_LIMIT: usize = 64;
/// Where the link's socket is when nothing is said.
const LISTEN: &str = "0.0.0.0:0";
/// A client has one link, or few; calls, and what the least of tables has.
const LIMITS: [(&str, i64); 4] = [("links", 16), ("circuits", END_LIMIT as i64), ("cells", 512), ("transmit", 256)];
/// What a file may say.
const KNOWN: &str =
    "cell, control_socket, listen, tick_us, core, crypto, [[end]]; identity, zones, state, socket, mix, auto_answer";
/// Zone documents at most.
const ZONES_MAX: usize = 64;
/// Bytes of the longest path or name.
const TEXT_MAX: usize = 4096;
/// Keys here, and where the data plane has them.
const DATA_PLANE: [(&str, &str); 6] = [
    ("cell", "cell"),
    ("control_socket", "control.socket"),
    ("listen", "worker[0].listen"),
    ("tick_us", "pacing.tick_us"),
    ("core", "worker[0].core"),
    ("crypto", "crypto.backend"),
];

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// The embedded data plane's: one worker, paced by ticks.
    pub data_plane: Config,
    /// RTP ports by end.
    pub ends: Vec<RtpPorts>,
    /// Who makes calls; `None`: links and ends are programmed from outside.
    pub agent: Option<AgentConfig>,
}

/// What the client makes calls with. Files are looked at when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Folder of the identity.
    pub identity: PathBuf,
    /// Zone documents, the own zone's first.
    pub zones: Vec<PathBuf>,
    /// Folder that keeps what was drawn.
    pub state: PathBuf,
    /// The user's own socket.
    pub socket: PathBuf,
    /// The mix to have a link to; `None`: drawn once.
    pub mix: Option<String>,
    /// Incoming calls are answered at once.
    pub auto_answer: bool,
    /// Lab: a rendezvous mix that is not drawn.
    pub lab_rendezvous: Option<String>,
    /// Lab: a file that takes traffic secrets (`docs/wire.md`, W-LAB).
    pub lab_key_log: Option<PathBuf>,
}

impl ClientConfig {
    /// Reads and checks a configuration. Looks at this machine's cores and at the socket's directory.
    ///
    /// # Errors
    /// Every problem there is: unknown and missing keys, wrong types, values out of range, ports used twice.
    pub fn parse(text: &str) -> Result<ClientConfig, Problems> {
        // What is no TOML fails in the data plane's words.
        let Ok(mut table) = text.parse::<Table>() else {
            return Err(Config::parse(text).err().unwrap_or(Problems(Vec::new())));
        };
        let mut problems = Vec::new();
        let data_plane = data_plane(&mut table, &mut problems);
        let ends = ends(table.remove("end"), &mut problems);
        let agent = agent(&mut table, !ends.is_empty(), &mut problems);
        nothing_left(&table, "", KNOWN, &mut problems);
        if let Some(config) = &data_plane {
            ports_differ(&ends, config.workers.first().map(|worker| worker.listen), &mut problems);
        }
        match data_plane {
            Some(data_plane) if problems.is_empty() => Ok(ClientConfig { data_plane, ends, agent }),
            _ => Err(Problems(problems)),
        }
    }

    /// The user's own socket in a configuration, whatever else it says: for who speaks to a running client.
    ///
    /// # Errors
    /// What is missing and the mend.
    pub fn socket_of(text: &str) -> Result<PathBuf, String> {
        let table = text.parse::<Table>().map_err(|error| error.to_string())?;
        let socket = table.get("socket").and_then(Value::as_str);
        socket.map(PathBuf::from).ok_or_else(|| {
            "it has no `socket`: a client makes calls with identity, zones, state and socket in its configuration"
                .to_owned()
        })
    }

    /// What will run, for people.
    pub fn describe(&self) -> String {
        let mut text = self.data_plane.describe();
        for RtpPorts { end, listen, send_to } in &self.ends {
            let to = send_to.map_or_else(|| "whoever sent last".to_owned(), |to| to.to_string());
            text += &format!("\nend {end:<9} RTP from {listen}, to {to}");
        }
        if let Some(agent) = &self.agent {
            let (identity, socket) = (agent.identity.display(), agent.socket.display());
            let mix = agent.mix.as_deref().unwrap_or("drawn once");
            text += &format!("\nidentity      {identity}\nmix           {mix}\nsocket        {socket}");
        }
        text
    }
}

/// The data plane checks its part itself; its problems are told under the names that the keys have here.
fn data_plane(table: &mut Table, problems: &mut Vec<Problem>) -> Option<Config> {
    let mut pacing = Table::from_iter([("policy".to_owned(), Value::from("tick"))]);
    let mut worker = Table::from_iter([("listen".to_owned(), Value::from(LISTEN))]);
    let limits = LIMITS.map(|(key, value)| (key.to_owned(), Value::from(value)));
    let (mut control, mut crypto) = (Table::new(), Table::new());
    let mut root = Table::from_iter([("limits".to_owned(), Value::Table(limits.into_iter().collect()))]);
    for (key, there) in DATA_PLANE {
        let Some(value) = table.remove(key) else { continue };
        let (section, name) = there.rsplit_once('.').unwrap_or(("", there));
        let to = match section {
            "control" => &mut control,
            "crypto" => &mut crypto,
            "pacing" => &mut pacing,
            "worker[0]" => &mut worker,
            _ => &mut root,
        };
        to.insert(name.to_owned(), value);
    }
    root.insert("control".to_owned(), Value::Table(control));
    root.insert("crypto".to_owned(), Value::Table(crypto));
    root.insert("pacing".to_owned(), Value::Table(pacing));
    root.insert("worker".to_owned(), Value::Array(vec![Value::Table(worker)]));
    match Config::parse(&root.to_string()) {
        Ok(config) => Some(config),
        Err(found) => {
            problems.extend(found.0.into_iter().map(|problem| {
                let here = DATA_PLANE.iter().find(|(_, there)| *there == problem.key);
                Problem { key: here.map_or(problem.key, |(here, _)| (*here).to_owned()), ..problem }
            }));
            None
        }
    }
}

/// What the client makes calls with, if it has an identity.
fn agent(table: &mut Table, has_end: bool, problems: &mut Vec<Problem>) -> Option<AgentConfig> {
    let mut text = |key: &str, must: bool, mend: &str| {
        let value = table.remove(key);
        let fits = |text: &&str| (1..=TEXT_MAX).contains(&text.len());
        let found = value.as_ref().and_then(Value::as_str).filter(fits).map(str::to_owned);
        if found.is_none() && (must || value.is_some()) {
            problem(problems, key, shown(value.as_ref()), "a text in quotes".to_owned(), mend);
        }
        found
    };
    let identity = text("identity", false, "the folder that `drover zone client` made")?;
    let state = text("state", true, "a folder of this client's own, which is made if it is not there");
    let socket = text("socket", true, "a path for the socket that `drover-client call` speaks to");
    let mix = text("mix", false, "a mix's name in the own zone's document; leave it out to have one drawn");
    #[cfg(feature = "lab")]
    let lab_rendezvous = text("lab_rendezvous", false, "a mix's name in the own zone's document");
    #[cfg(feature = "lab")]
    let lab_key_log = text("lab_key_log", false, "a file for traffic secrets").map(PathBuf::from);
    #[cfg(not(feature = "lab"))]
    let (lab_rendezvous, lab_key_log) = (None, None);
    let value = table.remove("zones");
    let list = value.as_ref().and_then(Value::as_array).filter(|list| (1..=ZONES_MAX).contains(&list.len()));
    let zones = list.and_then(|list| list.iter().map(|v| v.as_str().map(PathBuf::from)).collect::<Option<Vec<_>>>());
    if zones.is_none() {
        let allowed = format!("1 to {ZONES_MAX} paths, [\"own.zone\", \"other.zone\"]");
        problem(problems, "zones", shown(value.as_ref()), allowed, "the own zone's document first");
    }
    let value = table.remove("auto_answer");
    let auto_answer = value.as_ref().map_or(Some(false), Value::as_bool);
    if auto_answer.is_none() {
        problem(problems, "auto_answer", shown(value.as_ref()), "true or false".to_owned(), "leave it out to be asked");
    }
    if !has_end {
        let mend = "add an [[end]] with end = 1 and rtp_listen: calls are heard and spoken there";
        problem(problems, "end", "(missing)".to_owned(), "one [[end]] at least beside an identity".to_owned(), mend);
    }
    let (state, socket) = (PathBuf::from(state?), PathBuf::from(socket?));
    let mix = mix.filter(|name| name != "any");
    let (identity, zones, auto_answer) = (PathBuf::from(identity), zones?, auto_answer?);
    Some(AgentConfig { identity, zones, state, socket, mix, auto_answer, lab_rendezvous, lab_key_log })
}

fn ends(value: Option<Value>, problems: &mut Vec<Problem>) -> Vec<RtpPorts> {
    let list = match value {
        None => return Vec::new(),
        Some(Value::Array(list)) if list.len() <= END_LIMIT && list.iter().all(Value::is_table) => list,
        Some(other) => {
            let value = other.as_array().map_or_else(|| other.to_string(), |list| format!("({} values)", list.len()));
            let allowed = format!("at most {END_LIMIT} tables, [[end]]");
            problem(problems, "end", value, allowed, "write each end's keys below a line [[end]]");
            return Vec::new();
        }
    };
    let tables = list.into_iter().filter_map(|value| value.try_into::<Table>().ok()).enumerate();
    tables.filter_map(|(at, mut table)| end(&mut table, &format!("end[{at}]."), problems)).collect()
}

fn end(table: &mut Table, path: &str, problems: &mut Vec<Problem>) -> Option<RtpPorts> {
    let id = table.remove("end");
    let end = id.as_ref().and_then(Value::as_integer).and_then(|n| u32::try_from(n).ok()).filter(|n| *n < ID_LIMIT);
    if end.is_none() {
        let allowed = format!("a whole number, 0 to {}", ID_LIMIT - 1);
        problem(problems, &format!("{path}end"), shown(id.as_ref()), allowed, "the end's id, as control puts it");
    }
    let mut address = |key: &str, must: bool, fits: fn(&SocketAddr) -> bool, allowed: &str| {
        let value = table.remove(key);
        let address = value.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok()).filter(fits);
        if address.is_none() && (must || value.is_some()) {
            let mend = "name an address as a text in quotes";
            problem(problems, &format!("{path}{key}"), shown(value.as_ref()), allowed.to_owned(), mend);
        }
        address
    };
    let listen = address("rtp_listen", true, |_| true, "\"ADDRESS:PORT\", such as \"127.0.0.1:5004\"; port 0 is any");
    let can_be_sent_to = |to: &SocketAddr| to.port() != 0 && !to.ip().is_unspecified();
    let allowed = "\"ADDRESS:PORT\", neither port 0 nor an unspecified address";
    let send_to = address("rtp_send_to", false, can_be_sent_to, allowed);
    nothing_left(table, path, "end, rtp_listen, rtp_send_to", problems);
    Some(RtpPorts { end: end?, listen: listen?, send_to })
}

fn nothing_left(table: &Table, path: &str, known: &str, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        let allowed = format!("known here: {known}");
        problem(problems, &format!("{path}{key}"), value.to_string(), allowed, "remove it, or mend its spelling");
    }
}

fn ports_differ(ends: &[RtpPorts], link: Option<SocketAddr>, problems: &mut Vec<Problem>) {
    for (at, ports) in ends.iter().enumerate() {
        let before = &ends[..at];
        if before.iter().any(|other| other.end == ports.end) {
            let allowed = "an id of its own for each end".to_owned();
            problem(problems, &format!("end[{at}].end"), ports.end.to_string(), allowed, "choose another");
        }
        let mut taken = before.iter().map(|other| other.listen).chain(link);
        if ports.listen.port() != 0 && taken.any(|other| other == ports.listen) {
            let allowed = "a port of its own for each end and for the link".to_owned();
            problem(problems, &format!("end[{at}].rtp_listen"), ports.listen.to_string(), allowed, "choose another");
        }
        if ports.send_to == Some(ports.listen) {
            let allowed = "another address than rtp_listen: the call would hear itself".to_owned();
            problem(problems, &format!("end[{at}].rtp_send_to"), ports.listen.to_string(), allowed, "choose another");
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "(missing)".to_owned(), Value::to_string)
}

fn problem(problems: &mut Vec<Problem>, key: &str, value: String, allowed: String, mend: &str) {
    problems.push(Problem { key: key.to_owned(), value, allowed, mend: mend.to_owned() });
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
