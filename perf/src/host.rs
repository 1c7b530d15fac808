//! The host sheet: what machine, system and build a figure comes from. No machine name, no serial number.
//!
//! Everything is read from `/proc` and `/sys`; what the system does not say is null.

mod cpu;
mod read;

pub use cpu::{Cache, Cpu, Smt};

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The commit that this binary was built from: 12 hex digits, `-dirty-` and a hash of the changes where there were any;
/// `unknown` without git.
pub const COMMIT: &str = env!("DROVER_COMMIT");

/// What a figure depends on besides flags.
#[derive(Clone, Debug, Serialize)]
pub struct HostSheet {
    /// Tells machines apart: see [`HostSheet::id`].
    pub id: String,
    /// The processor.
    pub cpu: Cpu,
    /// Kernel release.
    pub kernel: Option<String>,
    /// What the kernel does about each of the processor's flaws.
    pub mitigations: BTreeMap<String, String>,
    /// The clock that the kernel reads time by.
    pub clock_source: Option<String>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Huge pages.
    pub huge_pages: HugePages,
    /// Runnable processes over 1, 5 and 15 minutes, at the run's start.
    pub load_average: Option<[f64; 3]>,
    /// The build.
    pub build: Build,
}

/// Huge pages of the system.
#[derive(Clone, Debug, Serialize)]
pub struct HugePages {
    /// Transparent ones: `always`, `madvise` or `never`.
    pub transparent: Option<String>,
    /// Size of a reserved one, bytes.
    pub size_bytes: Option<u64>,
    /// Reserved ones.
    pub reserved: Option<u64>,
    /// Of these not in use.
    pub free: Option<u64>,
}

/// What the binary was built from and how.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Build {
    /// [`COMMIT`].
    pub commit: &'static str,
    /// Version of this crate.
    pub version: &'static str,
    /// `release` or `debug`: whether overflow checks and debug assertions are out.
    pub profile: &'static str,
    /// The compiler's optimisation level.
    pub opt_level: &'static str,
    /// The target triple.
    pub target: &'static str,
    /// The compiler.
    pub rustc: &'static str,
    /// Built with the feature `lab`, which release binaries lack.
    pub lab: bool,
}

impl Build {
    /// Of this binary.
    pub const THIS: Build = Build {
        commit: COMMIT,
        version: env!("CARGO_PKG_VERSION"),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        opt_level: env!("DROVER_OPT_LEVEL"),
        target: env!("DROVER_TARGET"),
        rustc: env!("DROVER_RUSTC"),
        lab: drover_dataplane::LAB,
    };
}

/// Memory that new programs may have without swapping, bytes; `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    read::meminfo("MemAvailable")
}

impl HostSheet {
    /// Reads the sheet of this machine.
    pub fn read() -> HostSheet {
        let cpu = Cpu::read();
        let kernel = read::line("/proc/sys/kernel/osrelease");
        let memory_bytes = read::meminfo("MemTotal");
        HostSheet {
            id: id(&cpu, kernel.as_deref(), memory_bytes),
            cpu,
            kernel,
            mitigations: mitigations(),
            clock_source: read::line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memory_bytes,
            huge_pages: HugePages {
                transparent: read::line("/sys/kernel/mm/transparent_hugepage/enabled")
                    .as_deref()
                    .and_then(read::chosen),
                size_bytes: read::meminfo("Hugepagesize"),
                reserved: read::meminfo("HugePages_Total"),
                free: read::meminfo("HugePages_Free"),
            },
            load_average: load_average(),
            build: Build::THIS,
        }
    }

    /// The machine's id: hosts with equal ids may be compared. 16 hex digits of SHA-256 over processor model, family,
    /// model number and stepping, its cores, the kernel's release, and memory in GiB. The same for equal machines, the
    /// same after a restart, and it names nobody.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn id(cpu: &Cpu, kernel: Option<&str>, memory: Option<u64>) -> String {
    let memory = memory.map(|bytes| bytes.div_ceil(1 << 30));
    let Cpu { model, family, model_number, stepping, cores, .. } = cpu;
    let text = format!("{model}\n{family:?}\n{model_number:?}\n{stepping:?}\n{cores}\n{kernel:?}\n{memory:?}");
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(flaws) = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return BTreeMap::new() };
    let of = |flaw: std::fs::DirEntry| Some((flaw.file_name().into_string().ok()?, read::line(flaw.path())?));
    flaws.flatten().filter_map(of).collect()
}

fn load_average() -> Option<[f64; 3]> {
    let line = read::line("/proc/loadavg")?;
    let mut loads = line.split_whitespace().map(|load| load.parse().ok());
    Some([loads.next()??, loads.next()??, loads.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_of_this_machine_has_what_linux_always_says() {
        let sheet = HostSheet::read();
        assert!(!sheet.cpu.model.is_empty() && sheet.cpu.cores >= sheet.cpu.cores_allowed);
        assert!(sheet.cpu.cores_allowed > 0 && sheet.memory_bytes > Some(1 << 20));
        assert!(sheet.kernel.is_some() && sheet.load_average.is_some());
        assert!(!sheet.build.rustc.is_empty() && !COMMIT.is_empty());
    }

    #[test]
    fn ids_are_stable_and_tell_machines_apart() {
        let sheet = HostSheet::read();
        assert_eq!(sheet.id(), HostSheet::read().id());
        assert!(sheet.id().len() == 16 && sheet.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Cpu { cores, .. } = sheet.cpu;
        let other = Cpu { cores: cores + 1, ..sheet.cpu.clone() };
        let kernel = sheet.kernel.as_deref();
        assert_eq!(id(&sheet.cpu, kernel, sheet.memory_bytes), sheet.id);
        assert_ne!(id(&other, kernel, sheet.memory_bytes), sheet.id);
        assert_ne!(id(&sheet.cpu, Some("another"), sheet.memory_bytes), sheet.id);
        assert_ne!(id(&sheet.cpu, kernel, Some(3 << 30)), id(&sheet.cpu, kernel, Some(4 << 30)));
    }
}
