//! Making a run's folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folders of one name in one second.
const SAME_NAME_MAX: u32 = 1000;

/// A folder that was asked for: made, or empty already.
pub fn given(dir: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("--out {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    match std::fs::read_dir(dir).map_err(failed)?.next() {
        None => Ok(dir.to_owned()),
        Some(_) => Err(format!("--out {} is not empty; name a new folder", dir.display())),
    }
}

/// A new folder `base/name`, or `base/name-2` and so on when that is taken.
pub fn named(base: &Path, name: &str) -> Result<PathBuf, String> {
    let failed = |path: &Path, error: std::io::Error| {
        format!("{}: {error}; name a folder that can be written with --out", path.display())
    };
    std::fs::create_dir_all(base).map_err(|error| failed(base, error))?;
    for attempt in 1..=SAME_NAME_MAX {
        let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let dir = base.join(format!("{name}{suffix}"));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&dir, error)),
        }
    }
    Err(format!("{} has {SAME_NAME_MAX} folders {name}; name one with --out", base.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_number() {
        let base = tempfile::tempdir().unwrap();
        let names = [(); 3].map(|()| named(base.path(), "hop-x").unwrap());
        let names = names.map(|dir| dir.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(names, ["hop-x", "hop-x-2", "hop-x-3"]);
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let base = tempfile::NamedTempFile::new().unwrap();
        let error = named(base.path(), "hop").unwrap_err();
        assert!(error.contains(base.path().to_str().unwrap()) && error.contains("--out"), "{error}");
        let error = given(&base.path().join("x")).unwrap_err();
        assert!(error.starts_with("--out /"), "{error}");
    }
}
