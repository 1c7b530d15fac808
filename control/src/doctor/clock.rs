//! What the clock is made of, and whether it is right.

use super::files::Files;
use super::{Check, System, finding};

const SOURCE: &str = "sys/devices/system/clocksource/clocksource0";
/// How far a clock may be off, µs: certificates and documents are judged by it to a minute (docs/operations.md); half of it.
const ERROR_MAX_US: u64 = 30_000_000;

pub(super) fn checks(files: &Files, system: &dyn System) -> Vec<Check> {
    vec![source(files), synchronised(system)]
}

fn source(files: &Files) -> Check {
    let id = "clock_source";
    // Of other architectures the clock that every core reads without a system call.
    let good = ["tsc", "arch_sys_counter", "riscv_clocksource"];
    let (needed, why) = ("tsc", "a worker reads the clock every turn: others cost a system call or a trip to a device");
    let Some(current) = files.word(format!("{SOURCE}/current_clocksource")) else {
        return finding(id, "the kernel does not tell", needed, why).unknown("mount -t sysfs sysfs /sys");
    };
    let fit = good.contains(&current.as_str());
    let there = files.text(format!("{SOURCE}/available_clocksource")).unwrap_or_default();
    let mend = if there.split_whitespace().any(|name| name == needed) {
        format!("echo tsc > /{SOURCE}/current_clocksource")
    } else {
        "tsc=reliable on the kernel's command line, if the processor's TSC is invariant, and a restart".to_owned()
    };
    finding(id, current, needed, why).ok_or(fit, mend)
}

fn synchronised(system: &dyn System) -> Check {
    let id = "time_sync";
    let (needed, why) =
        ("kept by NTP, PTP or the host", "clocks decide which certificates and documents are valid, to a minute");
    let mend = "systemctl enable --now systemd-timesyncd (or chronyd)";
    match system.clock_state() {
        Ok(state) if state.synchronised => {
            let found = format!("kept, off by at most {} ms", state.max_error_us.div_ceil(1000));
            finding(id, found, needed, why).ok_or(state.max_error_us <= ERROR_MAX_US, mend)
        }
        Ok(_) => finding(id, "nobody keeps the clock", needed, why).missing(mend),
        Err(error) => finding(id, format!("the kernel does not tell: {error}"), needed, why).unknown("timedatectl"),
    }
}
