//! DPDK's environment: memory, drivers and PCI of the process, started once.

use super::c_string;
use crate::{OpenError, OpenErrorKind};
use drover_dpdk_sys as sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

/// Where DPDK's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// On huge pages, taken as they are needed, without any file: they go with the process, however it ends.
    Huge,
    /// On ordinary pages, so many MiB. For tests and trials: no NIC reaches them without an IOMMU, and each access costs more.
    Plain {
        /// All that DPDK will have, pools and rings, MiB.
        mib: u32,
    },
}

/// The least of [`Memory::Plain`], MiB: EAL's own tables and one small pool.
const PLAIN_MIN: u32 = 64;
/// The last words that an error repeats, bytes.
const LAST_WORDS: usize = 600;

/// What EAL is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EalConfig {
    /// Where its memory is.
    pub memory: Memory,
    /// Tells this process's files and shared memory from those of others (`--file-prefix`); none are made on huge pages.
    pub file_prefix: Option<String>,
    /// The cores that EAL's own threads may use (`--lcores`); empty: those of the calling thread. Workers choose their own.
    pub cpus: Vec<u16>,
    /// Devices, as in [`super::DpdkConfig::device`]: PCI addresses are allowed and no others (`-a`, or `--no-pci`), virtual
    /// devices are made (`--vdev`).
    pub devices: Vec<String>,
    /// Drivers that EAL would not find by itself (`-d`): files, or folders of them.
    pub drivers: Vec<PathBuf>,
    /// Arguments that go behind, as they are.
    pub raw: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> EalConfig {
        EalConfig {
            memory: Memory::Huge,
            file_prefix: None,
            cpus: Vec::new(),
            devices: Vec::new(),
            drivers: Vec::new(),
            raw: Vec::new(),
        }
    }
}

impl EalConfig {
    /// EAL's arguments, the program's name first.
    ///
    /// # Errors
    /// `Configuration`, when they contradict each other or cannot be arguments.
    pub fn arguments(&self) -> Result<Vec<String>, OpenError> {
        let mut arguments = vec![String::from("drover")];
        self.memory_arguments(&mut arguments)?;
        // No socket in the file system, and nobody to ask through it.
        arguments.push(String::from("--no-telemetry"));
        arguments.push(format!("--lcores=0@({})", self.cpu_list()));
        self.device_arguments(&mut arguments);
        for driver in &self.drivers {
            arguments.push(String::from("-d"));
            arguments.push(driver_path(driver)?);
        }
        arguments.extend(self.raw.iter().cloned());
        self.check(&arguments)?;
        Ok(arguments)
    }

    fn memory_arguments(&self, arguments: &mut Vec<String>) -> Result<(), OpenError> {
        match self.memory {
            Memory::Huge => arguments.push(String::from("--in-memory")),
            Memory::Plain { mib } if mib < PLAIN_MIN => {
                return Err(OpenError::configuration(
                    format!("memory of {mib} MiB"),
                    "DPDK does not start with so little",
                    format!("give it at least {PLAIN_MIN}"),
                ));
            }
            // Together with --in-memory 22.11 refuses it; without a shared configuration it leaves no files either.
            Memory::Plain { mib } => {
                arguments.extend(["--no-huge", "--no-shconf", "-m"].map(String::from));
                arguments.push(mib.to_string());
            }
        }
        arguments.extend(self.file_prefix.iter().map(|prefix| format!("--file-prefix={prefix}")));
        Ok(())
    }

    fn device_arguments(&self, arguments: &mut Vec<String>) {
        let (pci, vdevs): (Vec<&String>, Vec<&String>) = self.devices.iter().partition(|device| is_pci(device));
        if pci.is_empty() {
            arguments.push(String::from("--no-pci"));
        }
        for device in pci {
            arguments.extend([String::from("-a"), device.clone()]);
        }
        arguments.extend(vdevs.iter().map(|device| format!("--vdev={device}")));
    }

    fn cpu_list(&self) -> String {
        let cpus = if self.cpus.is_empty() { own_cpus() } else { self.cpus.clone() };
        cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
    }

    fn check(&self, arguments: &[String]) -> Result<(), OpenError> {
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        if has("--no-huge") && has("--in-memory") {
            return Err(OpenError::configuration(
                "EAL's arguments",
                "--no-huge and --in-memory exclude each other",
                "choose memory on huge pages or not by `memory`, not by an argument",
            ));
        }
        if let Some(argument) = arguments.iter().find(|argument| argument.contains('\0') || *argument == "--") {
            return Err(OpenError::configuration(
                "EAL's arguments",
                format!("{argument:?} is none"),
                "behind the first -- come EAL's arguments only",
            ));
        }
        Ok(())
    }
}

/// `0000:03:00.0`, `03:00.0`, with arguments behind a comma or not.
pub(super) fn is_pci(device: &str) -> bool {
    let address = device.split(',').next().unwrap_or_default();
    let hexadecimal = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    let Some((buses, function)) = address.rsplit_once('.') else { return false };
    let parts: Vec<&str> = buses.split(':').collect();
    let known = match parts[..] {
        [domain, bus, slot] => hexadecimal(domain, 8) && hexadecimal(bus, 2) && hexadecimal(slot, 2),
        [bus, slot] => hexadecimal(bus, 2) && hexadecimal(slot, 2),
        _ => false,
    };
    known && hexadecimal(function, 1)
}

fn driver_path(path: &Path) -> Result<String, OpenError> {
    let what = || format!("DPDK driver {}", path.display());
    if let Err(error) = path.metadata() {
        return Err(OpenError::configuration(
            what(),
            error.to_string(),
            "name a driver's file or a folder of them, or leave it out: EAL loads those that it was installed with",
        ));
    }
    path.to_str().map(String::from).ok_or_else(|| OpenError::configuration(what(), "is not UTF-8", "rename it"))
}

fn own_cpus() -> Vec<u16> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let cpus: Vec<u16> = (0..1024).filter(|cpu| set.is_set(usize::from(*cpu))).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// DPDK's environment, which is up from [`Eal::start`] to the process's end.
#[derive(Clone, Debug)]
pub struct Eal {
    line: String,
}

static STARTED: Mutex<Option<Eal>> = Mutex::new(None);

impl Eal {
    /// Starts it, the first time in a process. Again with the same configuration it is the same.
    ///
    /// DPDK's log is kept, and what it says at level warning or worse goes to standard error too.
    ///
    /// # Errors
    /// `Environment` when there are no huge pages, or with DPDK's own last words; after that DPDK cannot be started in this
    /// process any more. `Configuration` for arguments that contradict each other or that EAL does not take, and for a
    /// second, different start.
    pub fn start(config: &EalConfig) -> Result<Eal, OpenError> {
        let arguments = config.arguments()?;
        let line = shown(&arguments);
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*started {
            Some(eal) if eal.line == line => return Ok(eal.clone()),
            Some(eal) => {
                return Err(OpenError::configuration(
                    "DPDK",
                    format!("it runs in this process already, started as `{}`", eal.line),
                    "give all ports of a process the same EAL arguments",
                ));
            }
            None => {}
        }
        if config.memory == Memory::Huge {
            demand_huge_pages(Path::new("/sys/kernel/mm/hugepages"))?;
        }
        initialise(&arguments)?;
        let eal = Eal { line };
        *started = Some(eal.clone());
        Ok(eal)
    }

    /// The line that EAL was started with, for a log.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// DPDK's version: `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: takes nothing, and returns a string.
        let version = unsafe { sys::ddp_version() };
        // SAFETY: DPDK's version is a constant string.
        unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
    }
}

/// Arguments as one line, quoted where a shell would need it.
fn shown(arguments: &[String]) -> String {
    let mut line = String::new();
    for argument in arguments {
        let plain = argument.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.,:/@+".contains(&byte));
        let space = if line.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = if plain { write!(line, "{space}{argument}") } else { write!(line, "{space}'{argument}'") };
    }
    line
}

/// EAL says "cannot init memory"; this says why.
fn demand_huge_pages(sizes: &Path) -> Result<(), OpenError> {
    let free = std::fs::read_dir(sizes).into_iter().flatten().flatten().any(|size| {
        let free = std::fs::read_to_string(size.path().join("free_hugepages")).unwrap_or_default();
        free.trim().parse::<u64>().is_ok_and(|free| free > 0)
    });
    if free {
        return Ok(());
    }
    Err(OpenError::environment(
        "DPDK's memory",
        "no huge page is free on this machine",
        "reserve some (sysctl -w vm.nr_hugepages=512, that is 1 GiB), or do without them: `port.plain_memory_mib` of a configuration, `--memory plain` of a tool",
    ))
}

/// Starts EAL on a thread of its own, which stays: EAL pins the thread that starts it, and takes it for its main one.
fn initialise(arguments: &[String]) -> Result<(), OpenError> {
    let arguments = arguments.iter().map(|argument| c_string(argument)).collect::<Result<Vec<_>, _>>()?;
    let (done, result) = mpsc::sync_channel(1);
    let start = move || {
        let _ = done.send(start_here(arguments));
        loop {
            std::thread::park();
        }
    };
    let what = || String::from("DPDK");
    let mend = "look at EAL's line and at what it said; `drover doctor` shows what the machine lacks";
    std::thread::Builder::new()
        .name(String::from("drover-eal"))
        .spawn(start)
        .map_err(|error| OpenError::environment(what(), error.to_string(), "allow this process more threads"))?;
    match result.recv() {
        Ok(0) => Ok(()),
        // What EAL says of arguments that it does not take.
        Ok(rc) if rc == -libc::EINVAL => {
            let mend = "look at EAL's line, and at the arguments of the configuration and behind --";
            Err(OpenError { kind: OpenErrorKind::Configuration, ..super::refused(what(), rc, mend) })
        }
        Ok(rc) => Err(super::refused(what(), rc, mend)),
        Err(_) => Err(OpenError::environment(what(), "its thread ended", mend)),
    }
}

fn start_here(arguments: Vec<CString>) -> c_int {
    // EAL keeps pointers to its arguments, and reorders their list: both stay.
    let mut list: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let count = list.len() as c_int;
    list.push(std::ptr::null_mut());
    let list = Box::leak(list.into_boxed_slice());
    // SAFETY: EAL is not up, so nothing logs.
    unsafe { sys::ddp_log_keep() };
    // SAFETY: the list has so many strings and a null, and all live as long as the process.
    unsafe { sys::ddp_eal_init(count, list.as_mut_ptr()) }
}

/// What DPDK logged last, in one line.
pub(super) fn last_words() -> String {
    let mut text = [0; LAST_WORDS];
    // SAFETY: at most that many bytes are written to the array.
    let len = unsafe { sys::ddp_log_last(text.as_mut_ptr(), text.len()) };
    let text = String::from_utf8_lossy(&text[..len.min(LAST_WORDS)]).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // The first line may be cut.
    let from = lines.len().saturating_sub(4);
    lines[from..].join("; ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::error_text;
    use super::*;

    fn line(config: &EalConfig) -> String {
        shown(&config.arguments().expect("arguments"))
    }

    #[test]
    fn arguments_follow_the_configuration() {
        let config = EalConfig { cpus: vec![0, 2], ..EalConfig::default() };
        assert_eq!(line(&config), "drover --in-memory --no-telemetry '--lcores=0@(0,2)' --no-pci");
        let config = EalConfig {
            memory: Memory::Plain { mib: 128 },
            file_prefix: Some(String::from("mix1")),
            cpus: vec![1],
            devices: ["0000:03:00.1", "net_null0,size=512", "04:00.0"].map(String::from).into(),
            drivers: vec![PathBuf::from("/")],
            raw: vec![String::from("--log-level=debug")],
        };
        assert_eq!(
            line(&config),
            "drover --no-huge --no-shconf -m 128 --file-prefix=mix1 --no-telemetry '--lcores=0@(1)' -a 0000:03:00.1 -a \
             04:00.0 --vdev=net_null0,size=512 -d / --log-level=debug"
        );
        assert!(line(&EalConfig::default()).contains("--lcores=0@("), "some core");
    }

    #[test]
    fn wrong_arguments_are_the_configurations() {
        let plain = EalConfig { memory: Memory::Plain { mib: 128 }, ..EalConfig::default() };
        let wrong = [
            EalConfig { memory: Memory::Plain { mib: 63 }, ..EalConfig::default() },
            EalConfig { raw: vec![String::from("--in-memory")], ..plain.clone() },
            EalConfig { raw: vec![String::from("--no-huge")], ..EalConfig::default() },
            EalConfig { raw: vec![String::from("--")], ..plain.clone() },
            EalConfig { raw: vec![String::from("a\0b")], ..plain.clone() },
            EalConfig { drivers: vec![PathBuf::from("/nonexistent/librte_net_x.so")], ..plain },
        ];
        for config in wrong {
            let error = config.arguments().expect_err("wrong");
            assert_eq!(error.kind, OpenErrorKind::Configuration, "{error}");
        }
    }

    #[test]
    fn pci_addresses_are_told_from_names() {
        for address in ["0000:03:00.0", "03:00.1", "10000:ff:1f.7", "0000:03:00.0,mprq_en=1"] {
            assert!(is_pci(address), "{address}");
        }
        for name in
            ["net_null0", "net_af_xdp0,iface=a:b.c", "", "03:00", "g3:00.0", "1:2:3:4.0", "03:00.00", "net_tap0.1"]
        {
            assert!(!is_pci(name), "{name}");
        }
    }

    #[test]
    fn huge_pages_are_looked_for() {
        let sizes = tempfile::tempdir().expect("a folder");
        let error = demand_huge_pages(sizes.path()).expect_err("none");
        assert_eq!(error.kind, OpenErrorKind::Environment);
        assert!(error.to_string().contains("vm.nr_hugepages"), "{error}");
        let size = sizes.path().join("hugepages-2048kB");
        std::fs::create_dir(&size).expect("a folder");
        for (free, enough) in [("0\n", false), ("x", false), ("3\n", true)] {
            std::fs::write(size.join("free_hugepages"), free).expect("written");
            assert_eq!(demand_huge_pages(sizes.path()).is_ok(), enough, "{free}");
        }
    }

    #[test]
    fn an_error_number_has_words() {
        assert_eq!(error_text(-libc::EACCES), "Permission denied (os error 13)");
    }
}
