//! The processor's part of the host sheet.

use super::read::{field_of_cpuinfo, line};
use serde::Serialize;

/// Features that the crypto's back ends ask for, by the kernel's names (x86, then Arm).
const FEATURES: &[&str] = &[
    "aes",
    "pclmulqdq",
    "ssse3",
    "avx",
    "avx2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512dq",
    "gfni",
    "pmull",
];

/// The processor.
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// Model, as Linux names it.
    pub model: String,
    /// Family number.
    pub family: Option<u32>,
    /// Model number.
    pub model_number: Option<u32>,
    /// Stepping.
    pub stepping: Option<u32>,
    /// Microcode's revision.
    pub microcode: Option<String>,
    /// Logical cores on line.
    pub cores: usize,
    /// Of these, cores that this process may use.
    pub cores_allowed: usize,
    /// Simultaneous multithreading.
    pub smt: Smt,
    /// The frequency governor of the first core; null where the system has none, as in most guests.
    pub governor: Option<String>,
    /// The first core's caches.
    pub caches: Vec<Cache>,
    /// Of the features that the crypto's back ends ask for, those that it has.
    pub features: Vec<&'static str>,
    /// It is a guest of a hypervisor: siblings, frequency and caches may be hidden or shared.
    pub guest: bool,
}

/// Simultaneous multithreading.
#[derive(Clone, Debug, Serialize)]
pub struct Smt {
    /// It is on, as far as the system knows. A guest's may not know.
    pub active: Option<bool>,
    /// Logical cores that share the first core's units, as a list.
    pub siblings: Option<String>,
}

/// One cache.
#[derive(Clone, Debug, Serialize)]
pub struct Cache {
    /// Level, 1 nearest.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Size, as the system says it: `48K`.
    pub size: String,
    /// Logical cores that share it, as a list.
    pub shared_by: String,
}

impl Cpu {
    /// Reads what the system says.
    pub fn read() -> Cpu {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let number = |name| field_of_cpuinfo(&info, name)?.parse().ok();
        let flags =
            field_of_cpuinfo(&info, "flags").or_else(|| field_of_cpuinfo(&info, "Features")).unwrap_or_default();
        let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
        let core = "/sys/devices/system/cpu/cpu0";
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        Cpu {
            model: model(&info),
            family: number("cpu family"),
            model_number: number("model"),
            stepping: number("stepping"),
            microcode: field_of_cpuinfo(&info, "microcode").map(str::to_owned),
            cores: info.lines().filter(|line| line.starts_with("processor")).count().max(allowed),
            cores_allowed: allowed,
            smt: Smt {
                active: line("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
                siblings: line(format!("{core}/topology/thread_siblings_list")),
            },
            governor: line(format!("{core}/cpufreq/scaling_governor")),
            caches: (0..).map_while(|index| Cache::read(&format!("{core}/cache/index{index}"))).collect(),
            features: FEATURES.iter().copied().filter(|flag| has(flag)).collect(),
            guest: has("hypervisor"),
        }
    }
}

impl Cache {
    fn read(folder: &str) -> Option<Cache> {
        let of = |name: &str| line(format!("{folder}/{name}"));
        let shared_by = of("shared_cpu_list").unwrap_or_default();
        Some(Cache { level: of("level")?.parse().ok()?, kind: of("type")?, size: of("size")?, shared_by })
    }
}

/// The model's name. Arm's Linux gives numbers instead.
fn model(info: &str) -> String {
    let numbers = || {
        Some(format!("Arm part {}:{}", field_of_cpuinfo(info, "CPU implementer")?, field_of_cpuinfo(info, "CPU part")?))
    };
    field_of_cpuinfo(info, "model name").map(str::to_owned).or_else(numbers).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn models_of_either_kind_are_named() {
        assert_eq!(super::model("processor : 0\nmodel name\t: Some CPU @ 3 GHz\n"), "Some CPU @ 3 GHz");
        assert_eq!(super::model("CPU implementer : 0x41\nCPU part : 0xd4f\n"), "Arm part 0x41:0xd4f");
        assert_eq!(super::model(""), "unknown");
    }
}
