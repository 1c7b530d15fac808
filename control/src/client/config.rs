//! The configuration file of `drover-client`, checked whole: every fault is told at once, with the mend.
//!
//! ```toml
//! cell = 256                              # bytes; as in the zone
//! control_socket = "/run/drover/client.sock"
//! listen = "0.0.0.0:0"                    # the link's UDP port; 0 draws one
//! tick_us = 1000                          # the pacing thread's grid
//! core = 1                                # pin the pacing thread; left out: not pinned
//!
//! [[end]]
//! end = 1                                 # the id in PutEnd
//! rtp_listen = "127.0.0.1:5004"           # a softphone or ffmpeg sends here
//! rtp_send_to = "127.0.0.1:6004"          # left out: to whoever sent last
//! ```

use super::rtp_io::RtpPorts;
use drover_wire::cell::{CellSize, CellSizeError};
use drover_wire::control::ID_LIMIT;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::{Table, Value};

/// Ends of one client.
pub const END_LIMIT: usize = 64;
/// Range of the tick, µs: above, a packet would wait longer for its tick than for its slot.
pub const TICK_US: std::ops::RangeInclusive<u64> = 100..=20_000;
/// Bytes of a path that a Unix socket can have (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The zone's cell size.
    pub cell: CellSize,
    /// Path of the data plane's control socket.
    pub control_socket: PathBuf,
    /// The link's UDP address.
    pub listen: SocketAddr,
    /// The pacing thread's grid, µs.
    pub tick_us: u64,
    /// The core that the pacing thread is pinned to.
    pub core: Option<u16>,
    /// RTP ports by end.
    pub ends: Vec<RtpPorts>,
}

/// Everything that is wrong with a file, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl ClientConfig {
    /// Reads a configuration from TOML text.
    ///
    /// # Errors
    /// Every fault found: unknown and missing keys, wrong types, values out of range, ports used twice.
    pub fn parse(text: &str) -> Result<ClientConfig, ConfigErrors> {
        let table = text.parse::<Table>().map_err(|e| ConfigErrors(vec![e.to_string().trim_end().to_owned()]))?;
        let mut fields = Fields { table, place: String::new(), errors: Vec::new() };
        let config = ClientConfig {
            cell: fields.cell(),
            control_socket: fields.socket_path(),
            listen: fields.address("listen").unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            tick_us: fields.tick(),
            core: fields.integer("core", 0, u64::from(u16::MAX) - 1).and_then(|core| u16::try_from(core).ok()),
            ends: fields.ends(),
        };
        fields.nothing_left();
        check_ports(&config, &mut fields.errors);
        if fields.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(fields.errors)) }
    }
}

/// A table from which keys are taken one by one; what is left at the end is unknown.
struct Fields {
    table: Table,
    place: String,
    errors: Vec<String>,
}

impl Fields {
    fn wrong(&mut self, key: &str, what: impl fmt::Display) {
        self.errors.push(format!("{}{key}: {what}", self.place));
    }

    fn string(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(key, format_args!("{} given, a string is read", other.type_str()));
                None
            }
        }
    }

    fn integer(&mut self, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = self.table.remove(key)?;
        let number = value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.wrong(key, format_args!("{value} given, an integer from {min} to {max} is read"));
        }
        number
    }

    fn address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.string(key)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.wrong(key, format_args!("{text:?} given, an IP address with a port is read, e.g. \"127.0.0.1:5004\""));
        }
        address
    }

    fn cell(&mut self) -> CellSize {
        let Some(bytes) = self.integer("cell", 0, u64::from(u16::MAX)) else { return CellSize::S256 };
        let size = u16::try_from(bytes).ok().and_then(|bytes| CellSize::try_from(bytes).ok());
        if size.is_none() {
            self.wrong("cell", format_args!("{bytes} given: {CellSizeError}"));
        }
        size.unwrap_or(CellSize::S256)
    }

    fn tick(&mut self) -> u64 {
        self.integer("tick_us", *TICK_US.start(), *TICK_US.end()).unwrap_or(1000)
    }

    fn socket_path(&mut self) -> PathBuf {
        let given = self.table.contains_key("control_socket");
        let path = self.string("control_socket");
        match &path {
            Some(path) if path.is_empty() || path.len() > SOCKET_PATH_MAX || path.contains('\0') => {
                self.wrong("control_socket", format_args!("a path of 1 to {SOCKET_PATH_MAX} bytes is read"));
            }
            None if !given => self.wrong("control_socket", "missing: the path of the socket that control connects to"),
            _ => {}
        }
        path.unwrap_or_default().into()
    }

    fn ends(&mut self) -> Vec<RtpPorts> {
        let list = match self.table.remove("end") {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.wrong("end", format_args!("{} given, tables [[end]] are read", other.type_str()));
                return Vec::new();
            }
        };
        if list.len() > END_LIMIT {
            self.wrong("end", format_args!("{} given, at most {END_LIMIT} are read", list.len()));
        }
        let mut ends = Vec::new();
        for (index, value) in list.into_iter().take(END_LIMIT).enumerate() {
            let place = format!("end[{index}]");
            match value {
                Value::Table(table) => {
                    let mut fields = Fields { table, place: place + ".", errors: Vec::new() };
                    ends.extend(fields.end());
                    self.errors.append(&mut fields.errors);
                }
                other => self.wrong(&place, format_args!("{} given, a table is read", other.type_str())),
            }
        }
        ends
    }

    fn end(&mut self) -> Option<RtpPorts> {
        for key in ["end", "rtp_listen"] {
            if !self.table.contains_key(key) {
                self.wrong(key, "missing");
            }
        }
        let end = self.integer("end", 0, u64::from(ID_LIMIT) - 1).and_then(|end| u32::try_from(end).ok());
        let listen = self.address("rtp_listen");
        let send_to = self.address("rtp_send_to");
        if send_to.is_some_and(|to| to.port() == 0 || to.ip().is_unspecified()) {
            self.wrong("rtp_send_to", "neither port 0 nor an unspecified address can be sent to");
        }
        self.nothing_left();
        Some(RtpPorts { end: end?, listen: listen?, send_to })
    }

    fn nothing_left(&mut self) {
        for key in self.table.keys().cloned().collect::<Vec<_>>() {
            self.wrong(&key, "unknown key");
        }
    }
}

fn check_ports(config: &ClientConfig, errors: &mut Vec<String>) {
    for (index, ports) in config.ends.iter().enumerate() {
        let before = &config.ends[..index];
        if before.iter().any(|other| other.end == ports.end) {
            errors.push(format!("end {}: given twice", ports.end));
        }
        if ports.listen.port() == 0 {
            continue;
        }
        let taken = before.iter().map(|other| other.listen).chain([config.listen]);
        if taken.into_iter().any(|other| other == ports.listen) {
            errors.push(format!("end {}: rtp_listen {} is used twice", ports.end, ports.listen));
        }
        if ports.send_to == Some(ports.listen) {
            errors.push(format!("end {}: rtp_send_to is its own rtp_listen: the call would hear itself", ports.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = r#"
        cell = 512
        control_socket = "/run/c.sock"
        listen = "[::1]:7000"
        tick_us = 500
        core = 1
        [[end]]
        end = 1
        rtp_listen = "127.0.0.1:5004"
        rtp_send_to = "127.0.0.1:6004"
        [[end]]
        end = 2
        rtp_listen = "127.0.0.1:0"
    "#;

    #[test]
    fn a_whole_file() {
        let config = ClientConfig::parse(WHOLE).expect("right");
        let address = |text: &str| text.parse::<SocketAddr>().expect("a literal address");
        let (first, second) = (address("127.0.0.1:5004"), address("127.0.0.1:0"));
        assert_eq!(
            config,
            ClientConfig {
                cell: CellSize::S512,
                control_socket: "/run/c.sock".into(),
                listen: address("[::1]:7000"),
                tick_us: 500,
                core: Some(1),
                ends: vec![
                    RtpPorts { end: 1, listen: first, send_to: Some(address("127.0.0.1:6004")) },
                    RtpPorts { end: 2, listen: second, send_to: None },
                ],
            }
        );
    }

    #[test]
    fn the_least_file_has_defaults() {
        let config = ClientConfig::parse("control_socket = 'x'").expect("right");
        assert_eq!((config.cell, config.tick_us, config.core), (CellSize::S256, 1000, None));
        assert_eq!((config.listen.to_string().as_str(), config.ends.len()), ("0.0.0.0:0", 0));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = r#"
            cell = 300
            listen = "localhost:1"
            tick_us = 99
            core = "one"
            colour = 3
            [[end]]
            end = -1
            rtp_listen = "127.0.0.1:1"
            rtp_send_to = "0.0.0.0:5"
            loud = true
            [[end]]
            end = 4
            rtp_listen = "127.0.0.1:9"
            rtp_send_to = "127.0.0.1:9"
            [[end]]
            end = 4
            rtp_listen = "127.0.0.1:9"
            [[end]]
        "#;
        let errors = ClientConfig::parse(text).expect_err("wrong").0;
        let expected = [
            "cell: 300 given: a cell size is 256, 512 or 1024 (bytes)",
            "control_socket: missing",
            "listen: \"localhost:1\" given, an IP address",
            "tick_us: 99 given, an integer from 100 to 20000",
            "core: \"one\" given, an integer",
            "end[0].end: -1 given, an integer from 0 to 2147483647",
            "end[0].rtp_send_to: neither port 0",
            "end[0].loud: unknown key",
            "end[3].end: missing",
            "end[3].rtp_listen: missing",
            "colour: unknown key",
            "end 4: rtp_send_to is its own rtp_listen",
            "end 4: given twice",
            "end 4: rtp_listen 127.0.0.1:9 is used twice",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, beginning) in errors.iter().zip(expected) {
            assert!(error.starts_with(beginning), "{error:?} begins not with {beginning:?}");
        }
    }

    #[test]
    fn what_is_no_toml_or_of_another_shape() {
        for text in ["=", "end = 3\ncontrol_socket = 'x'", "end = [3]\ncontrol_socket = 'x'", "control_socket = 3"] {
            let errors = ClientConfig::parse(text).expect_err(text);
            assert_eq!(errors.0.len(), 1, "{errors}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not(text in "\\PC{0,80}", cut in 0..WHOLE.len()) {
            let _ = ClientConfig::parse(&text);
            let _ = ClientConfig::parse(&WHOLE[..cut]);
        }
    }
}
