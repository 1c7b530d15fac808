//! Files of identities: read with care, written once.

use super::CertificateError;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a file at most.
const MAX_FILE: u64 = 64 * 1024;

/// Reads a regular file of at most 64 KiB; a secret one must be ours and readable by nobody else.
pub(super) fn read(path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let wrong = |text: String| CertificateError::File(format!("{}: {text}", path.display()));
    // Without blocking: a pipe in its place must not hold us up.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
    let file = file.map_err(|error| wrong(format!("cannot open: {error}")))?;
    let metadata = file.metadata().map_err(|error| wrong(format!("cannot look at it: {error}")))?;
    if !metadata.is_file() {
        return Err(wrong("not a regular file".to_owned()));
    }
    if secret && metadata.mode() & 0o077 != 0 {
        let mend = format!("run: chmod 600 {}", path.display());
        return Err(wrong(format!("others may read or write it (mode {:03o}); {mend}", metadata.mode() & 0o777)));
    }
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if secret && owner != us {
        return Err(wrong(format!(
            "it belongs to user {owner}, and this runs as {us}; run: chown {us} {}",
            path.display()
        )));
    }
    let too_large = || wrong(format!("larger than {MAX_FILE} bytes"));
    if metadata.len() > MAX_FILE {
        return Err(too_large());
    }
    // Room for all of it at once, so that no copy of a secret stays behind when the buffer grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("cannot read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE { Err(too_large()) } else { Ok(bytes) }
}

/// Makes a folder for ourselves; an existing one stays as it is.
pub(super) fn make_folder(path: &Path) -> Result<(), CertificateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| CertificateError::File(format!("{}: cannot make the folder: {error}", path.display())))
}

/// Writes a new file to disk, never over an existing one.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let wrong = |text: String| CertificateError::File(format!("{}: {text}", path.display()));
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => wrong("it is there already; move it away, or name another folder".to_owned()),
        _ => wrong(format!("cannot make it: {error}")),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a file would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        wrong(format!("cannot write: {error}"))
    })
}

/// Writes a folder's entries to disk.
pub(super) fn sync_folder(path: &Path) -> Result<(), CertificateError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| CertificateError::File(format!("{}: cannot write to disk: {error}", path.display())))
}
