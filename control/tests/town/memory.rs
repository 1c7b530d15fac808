//! What a process has in its memory: its writable mappings, searched for bytes.

use std::collections::BTreeSet;
use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

/// Bytes read at once, and how much of the last piece is looked at again.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 256;
/// More than this of one process is not read, bytes.
const MOST: u64 = 1 << 31;

/// Bytes to be found, with a name.
pub struct Needle {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Which needles are in `haystack`.
pub fn found(haystack: &[u8], needles: &[Needle]) -> BTreeSet<String> {
    let mut by_begin: Vec<Vec<&Needle>> = Vec::new();
    by_begin.resize_with(1 << 16, Vec::new);
    for needle in needles {
        by_begin[usize::from(u16::from_be_bytes([needle.bytes[0], needle.bytes[1]]))].push(needle);
    }
    let mut names = BTreeSet::new();
    search(haystack, &by_begin, &mut names);
    names
}

fn search(haystack: &[u8], by_begin: &[Vec<&Needle>], names: &mut BTreeSet<String>) {
    for (at, pair) in haystack.windows(2).enumerate() {
        let candidates = &by_begin[usize::from(u16::from_be_bytes([pair[0], pair[1]]))];
        for needle in candidates {
            if haystack[at..].starts_with(&needle.bytes) {
                names.insert(needle.name.clone());
            }
        }
    }
}

/// Which needles a process has in its writable memory, and how many bytes of it were read.
///
/// # Errors
/// The system does not let us.
pub fn known(pid: u32, needles: &[Needle]) -> std::io::Result<(BTreeSet<String>, u64)> {
    let maps = read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut by_begin: Vec<Vec<&Needle>> = Vec::new();
    by_begin.resize_with(1 << 16, Vec::new);
    for needle in needles {
        by_begin[usize::from(u16::from_be_bytes([needle.bytes[0], needle.bytes[1]]))].push(needle);
    }
    let (mut names, mut read, mut buffer) = (BTreeSet::new(), 0, vec![0; PIECE]);
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let ends = range.split_once('-').map(|(from, to)| [from, to].map(|hex| u64::from_str_radix(hex, 16)));
        let Some([Ok(mut from), Ok(to)]) = ends else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        while from < to && read < MOST {
            let length = buffer.len().min((to - from) as usize);
            // Guard pages and what is gone meanwhile cannot be read.
            let Ok(length) = memory.read_at(&mut buffer[..length], from) else { break };
            search(&buffer[..length], &by_begin, &mut names);
            read += length as u64;
            from +=
                if length > OVERLAP && from + (length as u64) < to { length - OVERLAP } else { length.max(1) } as u64;
        }
    }
    Ok((names, read))
}

/// Resident memory of a process, bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}
