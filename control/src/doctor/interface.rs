//! The interface: whether it is there and up, its MTU, queues, driver, XDP and zero copy.

use super::files::{Files, printable};
use super::{Check, Need, PortKind, System, finding};
use std::io::{self, ErrorKind};

/// Bytes of the longest name (IFNAMSIZ without its zero).
const NAME_MAX: usize = 15;

/// Whether this is an interface's name as they are given, which is a folder's name here, and stands in commands as it is.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !matches!(name, "." | "..")
        && !name.starts_with('-')
}

pub(super) fn checks(files: &Files, system: &dyn System, need: &Need) -> Vec<Check> {
    let Some(name) = need.interface.as_deref().filter(|name| is_name(name)) else { return vec![unnamed(need)] };
    let folder = format!("sys/class/net/{name}");
    if !files.exists(&folder) {
        let all = files.names("sys/class/net").join(", ");
        let finding =
            finding("interface", "there is none", name, format!("the port is on it; there are: {}", printable(&all)));
        return vec![finding.missing("ip -brief link shows all: choose one, or bring its driver up")];
    }
    let look = Look { files, system, need, name, folder };
    let mut checks = vec![look.state(), look.mtu()];
    if need.port != PortKind::Udp {
        checks.extend([look.queues(), look.driver(), look.xdp(), look.zero_copy()]);
    }
    checks
}

fn unnamed(need: &Need) -> Check {
    match need.port {
        PortKind::Udp => {
            finding("interface", "none is named", "none", "the port udp takes what the system routes").ok()
        }
        PortKind::Dpdk => {
            finding("interface", "none is named", "none", "DPDK takes devices by PCI address, or vdevs").ok()
        }
        PortKind::AfXdp => finding("interface", "none is named", "an interface", "the port af_xdp is on one")
            .unknown("drover doctor --interface NAME"),
    }
}

struct Look<'a> {
    files: &'a Files,
    system: &'a dyn System,
    need: &'a Need,
    name: &'a str,
    folder: String,
}

impl Look<'_> {
    fn state(&self) -> Check {
        let name = self.name;
        let (needed, why) = ("up", format!("{name} carries the mix's packets"));
        // Loopback and some others are up and say unknown (Documentation/networking/operstates.rst).
        match self.files.word(format!("{}/operstate", self.folder)) {
            Some(state) => {
                let up = matches!(state.as_str(), "up" | "unknown");
                finding("interface", format!("{name} is {state}"), needed, why)
                    .ok_or(up, format!("ip link set dev {name} up"))
            }
            None => finding("interface", "the kernel does not tell", needed, why)
                .unknown(format!("ip link show dev {name}")),
        }
    }

    fn mtu(&self) -> Check {
        let (name, wanted) = (self.name, self.need.mtu);
        let why = "records with IPv6 and UDP headers, and datagrams of handshakes, go unfragmented";
        match self.files.number(format!("{}/mtu", self.folder)) {
            Some(mtu) => finding("mtu", mtu.to_string(), wanted.to_string(), why)
                .ok_or(mtu >= wanted, format!("ip link set dev {name} mtu {}", wanted.max(1500))),
            None => finding("mtu", "the kernel does not tell", wanted.to_string(), why)
                .unknown(format!("ip link show dev {name}")),
        }
    }

    /// Active queues are those that the kernel shows; how many could be set the driver tells.
    fn queues(&self) -> Check {
        let (name, workers) = (self.name, self.need.workers());
        let queues = self.files.names(format!("{}/queues", self.folder));
        let count = |kind: &str| queues.iter().filter(|queue| queue.starts_with(kind)).count() as u64;
        let (rx, tx) = (count("rx-"), count("tx-"));
        let channels = self.system.channels(name).ok();
        let most = channels.map(|channels| u64::from(channels.max_rx.min(channels.max_tx)));
        let could = most.map_or_else(String::new, |most| format!("; at most {most} can be set"));
        let found = format!("{rx} receiving and {tx} sending are active{could}");
        let needed = format!("{workers}, one a worker");
        let why = "what a NIC spreads to a queue without a worker is lost to the mix";
        let finding = finding("queues", found, needed, why);
        let how = match channels {
            Some(channels) if !channels.combined => format!("ethtool -L {name} rx {workers} tx {workers}"),
            _ => format!("ethtool -L {name} combined {workers}"),
        };
        match (rx, most) {
            (0, _) => finding.unknown(format!("ethtool -l {name}")),
            _ if rx == workers && tx >= workers => finding.ok(),
            // DPDK takes the whole device, and sets up the queues itself.
            _ if self.need.port == PortKind::Dpdk && most.is_some_and(|most| most >= workers) => finding.ok(),
            (_, Some(most)) if most < workers => finding
                .missing(format!("no more than {most} times [[worker]] in the configuration; then ethtool -L {name}")),
            _ => finding.missing(how),
        }
    }

    fn driver(&self) -> Check {
        let name = self.name;
        let (needed, why) = ("one that is known", "what the port can do is the driver's matter");
        match self.system.driver(name) {
            Ok(driver) if driver.bus.is_empty() => finding("driver", printable(&driver.name), needed, why).ok(),
            Ok(driver) => {
                let found = format!("{} at {}", printable(&driver.name), printable(&driver.bus));
                finding("driver", found, needed, why).ok()
            }
            Err(error) => match self.files.link(format!("{}/device/driver", self.folder)) {
                Some(driver) => finding("driver", driver, needed, why).ok(),
                None => finding("driver", told(&error), needed, why).unknown(format!("ethtool -i {name}")),
            },
        }
    }

    fn features(&self) -> io::Result<drover_nic::host::XdpFeatures> {
        let index = self.files.number(format!("{}/ifindex", self.folder)).and_then(|index| u32::try_from(index).ok());
        let index = index.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the interface has no index"))?;
        self.system.xdp_features(index)
    }

    fn xdp(&self) -> Check {
        if self.need.port == PortKind::Dpdk {
            return finding("xdp", "not looked at", "none", "DPDK drives the device itself").ok();
        }
        if !self.need.driver_mode {
            return finding("xdp", "not looked at", "none", "the configuration has generic mode").ok();
        }
        let (needed, why) = ("driver mode", "in generic mode the kernel makes a packet of its own of each one first");
        match self.features() {
            Ok(features) if features.driver_mode() => {
                let launch = if features.launch_time() { ", launch time" } else { "" };
                finding("xdp", format!("driver mode{launch}"), needed, why).ok()
            }
            Ok(_) => finding("xdp", "generic mode only", needed, why)
                .missing(format!("a NIC whose driver has it; until then mode = \"generic\" for {}", self.name)),
            Err(error) => finding("xdp", told(&error), needed, why).unknown(ask_for_features(self.name)),
        }
    }

    fn zero_copy(&self) -> Check {
        let needed = if self.need.zero_copy && self.need.port == PortKind::AfXdp { "required" } else { "none" };
        let features = match self.need.port {
            PortKind::Dpdk => {
                return finding("zero_copy", "always", needed, "DPDK gives its own buffers to the device").ok();
            }
            _ => self.features(),
        };
        let without = "packets are copied once each way where the driver has it not";
        match features {
            Ok(features) if features.zero_copy() => {
                finding("zero_copy", "the driver has it", needed, "no packet is copied").ok()
            }
            Ok(_) => finding("zero_copy", "the driver has it not", needed, without)
                .ok_or(needed == "none", "a NIC whose driver has it; or zero_copy = \"prefer\""),
            Err(error) => finding("zero_copy", told(&error), needed, without).unknown(ask_for_features(self.name)),
        }
    }
}

fn ask_for_features(name: &str) -> String {
    format!("a kernel from 6.3 on; until then `ethtool -i {name}` and the driver's documentation")
}

fn told(error: &io::Error) -> String {
    printable(&error.to_string())
}
