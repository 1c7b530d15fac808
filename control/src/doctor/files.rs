//! The kernel's files, which are small and say what they like.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of the longest file that is read: those of interest have at most a few kilobytes.
const FILE_MAX: u64 = 1 << 16;
/// Entries of a folder that are looked at: a large machine has some thousand cores or devices.
const NAMES_MAX: usize = 1 << 14;
/// Characters of the kernel's that are shown: it is for a line of a terminal.
const WORD_MAX: usize = 64;

/// `/sys`, `/proc` and `/dev` below a root.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Those below `root`; a machine's own are below `/`.
    pub fn under(root: impl Into<PathBuf>) -> Files {
        Files { root: root.into() }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file, which need not be UTF-8; none where it cannot be read.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = self.at(path);
        // A pipe or device in its place would keep us waiting.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file's first line, fit to be shown.
    pub(super) fn word(&self, path: impl AsRef<Path>) -> Option<String> {
        self.text(path).map(|text| printable(&text)).filter(|word| !word.is_empty())
    }

    /// The number that a file consists of.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// The list of processors or nodes that a file consists of.
    pub(super) fn list(&self, path: impl AsRef<Path>) -> Option<drover_dataplane::config::Cpus> {
        drover_dataplane::config::parse_cpus(&self.text(path)?)
    }

    /// What a folder holds, sorted; nothing where there is none.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(path)) else { return Vec::new() };
        let names = entries.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    /// The last part of what a link points at.
    pub(super) fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        Some(printable(target.file_name()?.to_str()?)).filter(|name| !name.is_empty())
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).exists()
    }
}

/// The first line, without what a terminal would act on, and not too long.
pub(super) fn printable(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(WORD_MAX).collect::<String>().trim().to_owned()
}

/// The number behind `key` in a file of lines `key value …`.
pub(super) fn after_key<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// A size as the kernel writes caches': `480K`, `32M`, bytes without a letter. In bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes for people: of the largest unit of which there is one.
pub(super) fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..0x400 => return format!("{count} bytes"),
        0x400..0x10_0000 => (0x400, "KiB"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000, "GiB"),
    };
    let tenths = (u128::from(count) * 10).div_ceil(unit);
    if tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}
