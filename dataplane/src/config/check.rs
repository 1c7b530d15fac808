//! From text to a checked configuration: a table is read key by key, and whatever is left over is unknown.

use super::cores::{self, Host};
use super::port::{self, PortConfig};
use super::*;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use toml::{Table, Value};

/// Reads one table and collects what is wrong with it.
pub(super) struct Reader<'p> {
    /// What comes before a key's name.
    path: String,
    table: Table,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(path: &str, table: Table, problems: &'p mut Vec<Problem>) -> Self {
        Reader { path: path.to_owned(), table, known: Vec::new(), problems }
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn problem(
        &mut self,
        key: &str,
        value: impl fmt::Display,
        allowed: impl fmt::Display,
        mend: impl fmt::Display,
    ) {
        self.problems.push(Problem {
            key: format!("{}{key}", self.path),
            value: value.to_string(),
            allowed: allowed.to_string(),
            mend: mend.to_string(),
        });
    }

    /// A number, or nothing, which means `otherwise`.
    pub(super) fn maybe_number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        otherwise: &str,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            let allowed = format!("a whole number, {} to {}: {otherwise}", range.start(), range.end());
            self.problem(key, &value, allowed, "choose within the range, or leave it out");
        }
        number
    }

    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.take(key) else { return default };
        match value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n)) {
            Some(number) => number,
            None => {
                let allowed = format!("a whole number, {} to {}", range.start(), range.end());
                self.problem(key, &value, allowed, format!("leave it out for {default}, or choose within the range"));
                default
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str, allowed: &str, mend: &str) -> Option<String> {
        match self.take(key) {
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.problem(key, other, allowed, mend);
                None
            }
            None => None,
        }
    }

    fn section(&mut self, key: &'static str) -> Table {
        self.maybe_section(key).unwrap_or_default()
    }

    fn maybe_section(&mut self, key: &'static str) -> Option<Table> {
        match self.take(key)? {
            Value::Table(table) => Some(table),
            other => {
                self.problem(key, other, format!("a table, [{key}]"), format!("write its keys below a line [{key}]"));
                None
            }
        }
    }

    /// Whatever nobody took is unknown.
    pub(super) fn finish(mut self) {
        let known = self.known.join(", ");
        for (key, value) in std::mem::take(&mut self.table) {
            self.problem(&key, value, format!("known here: {known}"), "remove it, or mend its spelling");
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Config, Problems> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let (line, found) = place(text, error.span().map_or(0, |span| span.start));
        let mend = "mend the syntax (https://toml.io)".to_owned();
        let problem =
            Problem { key: format!("line {line}"), value: found, allowed: error.message().trim().to_owned(), mend };
        Problems(vec![problem])
    })?;
    let mut problems = Vec::new();
    let config = read(table, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// The number and the text of the line that holds byte `at`.
fn place(text: &str, at: usize) -> (usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    (number, text.lines().nth(number - 1).unwrap_or("").trim().to_owned())
}

fn read(table: Table, problems: &mut Vec<Problem>) -> Config {
    let mut root = Reader::new("", table, problems);
    let cell = cell_size(&mut root);
    let (control, pacing, mixing) = (root.section("control"), root.section("pacing"), root.section("mixing"));
    let (limits, crypto) = (root.section("limits"), root.section("crypto"));
    let (port, capture) = (root.section("port"), root.maybe_section("capture"));
    #[cfg(feature = "lab")]
    let fault = root.maybe_section("fault");
    let workers = root.take("worker");
    root.finish();

    let (socket, allow_uids) = read_control(control, problems);
    let (policy, tick_us) = read_pacing(pacing, problems);
    let mixing = read_mixing(mixing, problems);
    let sizes = read_limits(limits, problems);
    let crypto = Crypto::read(crypto, problems);
    let host = Host::read();
    let port = port::read(port, problems);
    let capture = port::read_capture(capture, problems);
    let workers = read_workers(workers, &host, port != PortConfig::Udp, problems);
    port::addresses_fit(&port, &workers, problems);
    let pacings = host.decide(policy, &workers);
    #[cfg(feature = "lab")]
    published_links_fit(&sizes, workers.len(), problems);
    Config {
        cell,
        socket,
        allow_uids,
        policy,
        tick_us,
        mixing,
        sizes,
        crypto,
        port,
        capture,
        workers,
        pacings,
        #[cfg(feature = "lab")]
        fault: port::read_fault(fault, problems),
        #[cfg(feature = "lab")]
        lab_break: None,
    }
}

fn cell_size(root: &mut Reader<'_>) -> CellSize {
    let Some(value) = root.take("cell") else { return CellSize::S256 };
    let size = value.as_integer().and_then(|n| u16::try_from(n).ok()).and_then(|n| CellSize::try_from(n).ok());
    size.unwrap_or_else(|| {
        root.problem("cell", value, "256, 512 or 1024 (bytes)", "all nodes of a zone have one size; 256 is for voice");
        CellSize::S256
    })
}

fn read_control(table: Table, problems: &mut Vec<Problem>) -> (PathBuf, Vec<u32>) {
    let mut control = Reader::new("control.", table, problems);
    let allowed = "the path of a Unix socket to be made, such as \"run/m1.sock\"";
    let had = control.table.contains_key("socket");
    let socket = control.text("socket", allowed, "name a path as a text in quotes").map(PathBuf::from);
    match &socket {
        Some(path) => socket_path(&mut control, path),
        None if had => {}
        None => control.problem("socket", "(missing)", allowed, "name a path in a directory that exists"),
    }
    let uids = control.take("allow_uids").unwrap_or(Value::Array(Vec::new()));
    let read = |values: &Vec<Value>| -> Option<Vec<u32>> {
        values.iter().map(|v| v.as_integer().and_then(|n| u32::try_from(n).ok())).collect()
    };
    let allow_uids = uids.as_array().and_then(read).filter(|uids| uids.len() <= ALLOW_UIDS_MAX);
    if allow_uids.is_none() {
        let allowed = format!("a list of at most {ALLOW_UIDS_MAX} user ids (0 to 4294967295)");
        control.problem("allow_uids", uids, allowed, "list numeric user ids (`id -u NAME`), or leave it out");
    }
    control.finish();
    (socket.unwrap_or_default(), allow_uids.unwrap_or_default())
}

fn socket_path(control: &mut Reader<'_>, path: &Path) {
    let shown = format!("{path:?}");
    let bytes = path.as_os_str().len();
    if bytes == 0 || bytes > SOCKET_PATH_MAX || path.as_os_str().as_encoded_bytes().contains(&0) {
        let allowed = format!("1 to {SOCKET_PATH_MAX} bytes, none of them zero");
        return control.problem("socket", shown, allowed, "choose a shorter path, relative to the working directory");
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    if !parent.is_dir() {
        let mend = format!("mkdir -p {}", parent.display());
        return control.problem("socket", shown, "a path in a directory that exists", mend);
    }
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        let mend = "what is there is no socket and will not be replaced: choose another path, or move it away";
        control.problem("socket", shown, "a path where there is nothing, or an old socket", mend);
    }
}

fn read_pacing(table: Table, problems: &mut Vec<Problem>) -> (Policy, u64) {
    let mut pacing = Reader::new("pacing.", table, problems);
    let tick_us = pacing.number("tick_us", TICK_US, 1_000);
    let allowed = "\"tick\", \"spin\" or \"auto\"";
    let mend = "\"tick\" shares cores; \"spin\" takes one for each worker; \"auto\" spins on those that are exclusive";
    let policy = match pacing.text("policy", allowed, mend).as_deref() {
        None | Some("tick") => Policy::Tick,
        Some("spin") => Policy::Spin,
        Some("auto") => Policy::Auto,
        Some(other) => {
            pacing.problem("policy", format!("{other:?}"), allowed, mend);
            Policy::Tick
        }
    };
    pacing.finish();
    (policy, tick_us)
}

fn read_mixing(table: Table, problems: &mut Vec<Problem>) -> Mixing {
    let mut mixing = Reader::new("mixing.", table, problems);
    let allowed = "\"interval\" or \"threshold\"";
    let mend = "\"interval\" has interval_ms; \"threshold\" has threshold (circuits) and cap_ms";
    let mode = mixing.text("mode", allowed, mend);
    let threshold = match mode.as_deref() {
        None | Some("interval") => false,
        Some("threshold") => true,
        Some(other) => {
            mixing.problem("mode", format!("{other:?}"), allowed, mend);
            false
        }
    };
    // What would do nothing is told, not passed over.
    let (others, mode): (&[&'static str], _) =
        if threshold { (&["interval_ms"], "interval") } else { (&["threshold", "cap_ms"], "threshold") };
    for key in others {
        if let Some(value) = mixing.take(key) {
            let allowed = format!("nothing: it is for mode = \"{mode}\"");
            mixing.problem(key, value, allowed, format!("remove it, or write mode = \"{mode}\""));
        }
    }
    let read = if threshold {
        let circuits = mixing.number("threshold", THRESHOLD, 4) as u8;
        Mixing::Threshold { circuits, cap_ns: mixing.number("cap_ms", CAP_MS, 100) * 1_000_000 }
    } else {
        Mixing::Interval { ns: mixing.number("interval_ms", INTERVAL_MS, 20) * 1_000_000 }
    };
    mixing.finish();
    read
}

fn read_limits(table: Table, problems: &mut Vec<Problem>) -> Sizes {
    let mut limits = Reader::new("limits.", table, problems);
    let links = limits.number("links", LINKS, 1_024) as usize;
    let circuits = limits.number("circuits", CIRCUITS, 4_096) as usize;
    let pool = limits.number("cells", CELLS, 8_192) as usize;
    let transmit = limits.number("transmit", TRANSMIT, 4_096) as usize;
    let least = circuits + CELLS_SPARE;
    if pool < least {
        let allowed = format!("at least limits.circuits + {CELLS_SPARE} = {least}: one waiting cell a circuit");
        limits.problem("cells", pool, allowed, format!("raise limits.cells to {least} or lower limits.circuits"));
    }
    limits.finish();
    Sizes { links, circuits, pool, transmit }
}

fn read_workers(value: Option<Value>, host: &Host, has_queues: bool, problems: &mut Vec<Problem>) -> Vec<WorkerConfig> {
    let mut bad = |value: String, allowed: &str, mend: &str| {
        let (allowed, mend) = (allowed.to_owned(), mend.to_owned());
        problems.push(Problem { key: "worker".to_owned(), value, allowed, mend });
    };
    let one = "add a line [[worker]] with listen = \"ADDRESS:PORT\" below it";
    let tables: Vec<Table> = match value {
        Some(Value::Array(values)) if values.iter().all(Value::is_table) => {
            values.into_iter().filter_map(|v| v.try_into().ok()).collect()
        }
        Some(other) => {
            bad(other.to_string(), "tables, [[worker]]", one);
            return Vec::new();
        }
        None => Vec::new(),
    };
    if !(1..=WORKERS_MAX).contains(&tables.len()) {
        let allowed = format!("1 to {WORKERS_MAX} workers");
        bad(format!("({} workers)", tables.len()), &allowed, if tables.is_empty() { one } else { "remove some" });
    }
    let (mut ports, mut pinned, mut queues) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut workers = Vec::new();
    for (at, table) in tables.into_iter().enumerate() {
        let mut reader = Reader::new(&format!("worker[{at}]."), table, problems);
        let listen = listen(&mut reader, at, &mut ports);
        let core = core(&mut reader, at, host, &mut pinned);
        let queue = port::queue(&mut reader, at, has_queues, &mut queues);
        reader.finish();
        workers.extend(listen.map(|listen| WorkerConfig { listen, core, queue: queue.unwrap_or_default() }));
    }
    workers
}

fn listen(reader: &mut Reader<'_>, at: usize, ports: &mut HashMap<u16, usize>) -> Option<SocketAddr> {
    let allowed = "\"ADDRESS:PORT\", such as \"127.0.0.1:4001\" or \"[::1]:4001\"; port 0 is any";
    let mend = "name the address to receive on, as a text in quotes";
    let had = reader.table.contains_key("listen");
    let Some(text) = reader.text("listen", allowed, mend) else {
        if !had {
            reader.problem("listen", "(missing)", allowed, mend);
        }
        return None;
    };
    let Ok(listen) = text.parse::<SocketAddr>() else {
        reader.problem("listen", format!("{text:?}"), allowed, mend);
        return None;
    };
    // A put of a link names its worker by the port alone.
    if listen.port() != 0
        && let Some(other) = ports.insert(listen.port(), at)
    {
        let mend = format!("worker[{other}] has this port: choose another");
        reader.problem("listen", format!("{text:?}"), "a port of its own for each worker, whatever the address", mend);
    }
    Some(listen)
}

fn core(reader: &mut Reader<'_>, at: usize, host: &Host, pinned: &mut HashMap<u16, usize>) -> Option<u16> {
    let value = reader.take("core")?;
    let there = |n: &u16| host.allowed.contains(n);
    let core = value.as_integer().and_then(|n| u16::try_from(n).ok()).filter(|n| *n < u16::MAX).filter(there);
    let Some(core) = core else {
        let allowed = format!("a core that this process may use: {}", cores::show(&host.allowed));
        reader.problem("core", value, allowed, "choose one of these, or leave it out");
        return None;
    };
    if let Some(other) = pinned.insert(core, at) {
        let mend = format!("worker[{other}] is pinned there: choose another, or leave it out");
        reader.problem("core", core, "a core of its own for each pinned worker", mend);
    }
    Some(core)
}

/// The counts of single links are published by lab builds only, and what is published has a size.
#[cfg(feature = "lab")]
fn published_links_fit(sizes: &Sizes, workers: usize, problems: &mut Vec<Problem>) {
    let most = crate::publish::LINKS_PUBLISHED_MAX / workers.max(1);
    if sizes.links > most {
        problems.push(Problem {
            key: "limits.links".to_owned(),
            value: sizes.links.to_string(),
            allowed: format!("at most {most} with {workers} workers, in a build with the feature lab"),
            mend: "lower it, or use a build without the feature lab".to_owned(),
        });
    }
}
