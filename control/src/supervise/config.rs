//! The file of `drover run-mix`: two configuration files, and how patient to be.
//!
//! ```toml
//! data_plane = "a1-data-plane.toml"   # of drover-dataplane
//! control = "a1-control.toml"         # of drover-control
//! restart_s = 1.0                     # the first pause before a restart; doubles up to longest_s
//! longest_s = 60.0
//! failures = 8                        # a data plane that fails more often in a row is given up
//! ```

use super::part::{Output, Part, daemon_answers, data_plane_answers};
use super::{Plan, Restart};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the longest file.
const FILE_MAX: u64 = 1 << 20;
/// Pauses, s.
const PAUSES: std::ops::RangeInclusive<f64> = 0.1..=3_600.0;

/// The file, paths resolved against its folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixFiles {
    /// Configuration of the data plane.
    pub data_plane: PathBuf,
    /// Configuration of the control daemon.
    pub control: PathBuf,
    /// The first pause, s.
    pub restart_s: Option<f64>,
    /// The longest pause, s.
    pub longest_s: Option<f64>,
    /// Failures in a row.
    pub failures: Option<u32>,
}

impl MixFiles {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn load(path: &Path) -> Result<MixFiles, String> {
        let at = path.display();
        let text = read(path)?;
        let mut files: MixFiles = toml::from_str(&text)
            .map_err(|error| format!("{at}: {error}; it takes data_plane, control, restart_s, longest_s, failures"))?;
        for (key, pause) in [("restart_s", files.restart_s), ("longest_s", files.longest_s)] {
            if let Some(pause) = pause.filter(|pause| !PAUSES.contains(pause)) {
                return Err(format!("{at}: {key} = {pause}: {} to {} s", PAUSES.start(), PAUSES.end()));
            }
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        files.data_plane = folder.join(&files.data_plane);
        files.control = folder.join(&files.control);
        Ok(files)
    }

    /// What is to be run: programs beside this one, sockets as both configurations name them.
    ///
    /// # Errors
    /// A program or a configuration lacks, or one names no socket.
    pub fn plan(&self, adopt: bool) -> Result<Plan, String> {
        let socket = |path: &Path, keys: &[&str]| socket_of(path, keys);
        let data_plane = Part {
            program: program("drover-dataplane")?,
            socket: socket(&self.data_plane, &["control", "socket"])?,
            config: self.data_plane.clone(),
            output: Output::Inherit,
            answers: data_plane_answers,
            inside: None,
        };
        // The control daemon's own folder is where relative paths in its configuration begin; the data plane's are
        // relative to where it is started.
        let folder = self.control.parent().unwrap_or(Path::new("."));
        let control = Part {
            program: program("drover-control")?,
            socket: folder.join(socket(&self.control, &["control_socket"])?),
            config: self.control.clone(),
            output: Output::Inherit,
            answers: daemon_answers,
            inside: None,
        };
        let mut restart = Restart::default();
        restart.first = self.restart_s.map_or(restart.first, Duration::from_secs_f64);
        restart.longest = self.longest_s.map_or(restart.longest, Duration::from_secs_f64).max(restart.first);
        restart.failures = self.failures.unwrap_or(restart.failures);
        let name = self.control.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let (data_plane_restart, control_restart) = (restart, restart);
        let all_end_with_parent = false;
        Ok(Plan { name, data_plane, control, data_plane_restart, control_restart, adopt, all_end_with_parent })
    }
}

/// A program of this build: beside this executable, or one folder above it (tests run in target/debug/deps).
///
/// # Errors
/// Names the folder and the mend.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let folder = here.parent().unwrap_or(Path::new("."));
    let found = [Some(folder), folder.parent()].into_iter().flatten().map(|place| place.join(name));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let folder = folder.display();
        format!("{name} is not beside this program in {folder}; build all programs: cargo build --workspace --bins")
    })
}

fn read(path: &Path) -> Result<String, String> {
    let at = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("{at}: {error}"))?.len();
    if size > FILE_MAX {
        return Err(format!("{at}: {size} bytes; a configuration has at most {FILE_MAX}"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("{at}: {error}"))
}

/// The path under `keys` of a configuration; whether the rest is sound, its own program says.
fn socket_of(path: &Path, keys: &[&str]) -> Result<PathBuf, String> {
    let at = path.display();
    let table: toml::Table = read(path)?.parse().map_err(|error| format!("{at}: {error}"))?;
    let mut value = Some(&toml::Value::Table(table));
    for key in keys {
        value = value.and_then(|value| value.get(key));
    }
    let name = keys.join(".");
    let path = value.and_then(toml::Value::as_str).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("{at}: has no {name}; it is the path of the program's socket"))
}
