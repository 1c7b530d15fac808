//! Huge pages for a while: reserved of the kernel, and given back, also when this process is killed. For tests and labs.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Pages of the default size (2 MiB on x86-64), of all NUMA nodes.
const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

/// The most that one reservation may be, pages: the kernel gives what it is asked for until nothing is left for anybody else.
const MOST: u64 = 4096;

/// Waits for the end of its input, which comes with ours, and gives the pages back. Ours may be a kill of the whole group or a
/// Ctrl-C: so it is in a group of its own. The file gives its number to the first read only, so `read`, which asks for a byte
/// at a time, is no use.
const WATCHER: &str = r#"cat >/dev/null
exec 9<"$1"
flock 9
now=$(cat "$1")
echo "$((now - $2))" >"$1""#;

/// Huge pages that are there for as long as this.
///
/// Others may do the same at the same time: each adds to what there is and takes away what it added, under a lock.
pub struct HugePages {
    watcher: Child,
}

impl HugePages {
    /// Has the kernel reserve `pages` more.
    ///
    /// # Errors
    /// `InvalidInput` for more than 4,096; `PermissionDenied` unless root; `OutOfMemory` when the kernel finds fewer: then none are kept.
    pub fn reserve(pages: u64) -> io::Result<HugePages> {
        if pages > MOST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{pages} huge pages: at most {MOST} at once"),
            ));
        }
        let mut setting = Setting::locked()?;
        let before = setting.read()?;
        let after = setting.write(before + pages)?;
        if after < before + pages {
            setting.write(before)?;
            let why = format!("{RESERVED}: the kernel has {} huge pages, not {pages}", after.saturating_sub(before));
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
        }
        match watch(pages) {
            Ok(watcher) => Ok(HugePages { watcher }),
            Err(error) => {
                setting.write(before)?;
                Err(error)
            }
        }
    }

    /// Whether a process may reserve pages here.
    pub fn allowed() -> bool {
        rustix::fs::access(Path::new(RESERVED), rustix::fs::Access::WRITE_OK).is_ok()
    }
}

/// The pages are given back when this returns.
impl Drop for HugePages {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // It has nothing to wait for but the lock.
        let _ = self.watcher.wait();
    }
}

fn watch(pages: u64) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHER, "sh", RESERVED, &pages.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The kernel's setting, locked against others that keep to this.
struct Setting(File);

impl Setting {
    fn locked() -> io::Result<Setting> {
        let file = File::options().read(true).write(true).open(RESERVED)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Setting(file))
    }

    fn read(&mut self) -> io::Result<u64> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        text.trim().parse().map_err(|error| io::Error::other(format!("{RESERVED}: {text:?}: {error}")))
    }

    /// Returns what it is then: the kernel does what it can.
    fn write(&mut self, pages: u64) -> io::Result<u64> {
        self.0.rewind()?;
        self.0.write_all(pages.to_string().as_bytes())?;
        self.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages, while nobody changes them.
    fn reserved() -> u64 {
        Setting::locked().and_then(|mut setting| setting.read()).expect("readable")
    }

    #[test]
    fn pages_come_and_go() {
        if !HugePages::allowed() {
            return crate::skip::skipped("huge pages cannot be reserved: not root");
        }
        let two = match HugePages::reserve(2) {
            Ok(two) => two,
            Err(error) => return crate::skip::skipped(error),
        };
        let three = HugePages::reserve(3).expect("three more");
        assert!(reserved() >= 5);
        let most = reserved();
        drop(two);
        drop(three);
        // Others do the same at the same time; but none of them takes just five.
        assert_ne!(reserved(), most, "nothing was given back");
        let error = HugePages::reserve(MOST + 1).map(|_| ()).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
