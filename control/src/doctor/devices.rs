//! IOMMU and VFIO: how a process of ours drives a PCI device (Documentation/driver-api/vfio.rst).

use super::files::Files;
use super::interface::is_name;
use super::{Check, Need, PortKind, finding};

pub(super) fn checks(files: &Files, need: &Need) -> Vec<Check> {
    vec![iommu(files, need), vfio(files, need)]
}

/// The PCI address of the interface's device; none for what is no such device.
fn pci(files: &Files, need: &Need) -> Option<String> {
    let name = need.interface.as_deref().filter(|name| is_name(name))?;
    let folder = format!("sys/class/net/{name}/device");
    (files.link(format!("{folder}/subsystem")).as_deref() == Some("pci")).then(|| files.link(&folder)).flatten()
}

/// Why neither is needed, where that is so.
fn needless(files: &Files, need: &Need) -> Option<String> {
    if need.port != PortKind::Dpdk {
        return Some(format!("the port {} leaves the device to the kernel's driver", need.port.name()));
    }
    match &need.interface {
        Some(name) if pci(files, need).is_none() => Some(format!("{name} is no PCI device: DPDK takes it as a vdev")),
        _ => None,
    }
}

fn iommu(files: &Files, need: &Need) -> Check {
    let groups = files.names("sys/kernel/iommu_groups").len();
    let found =
        if groups == 0 { "no groups: it is off, or there is none".to_owned() } else { format!("{groups} groups") };
    if let Some(why) = needless(files, need) {
        return finding("iommu", found, "none", why).ok();
    }
    let why = "without it a device could write to any memory, and VFIO gives none away";
    finding("iommu", found, "on", why).ok_or(
        groups > 0,
        "intel_iommu=on iommu=pt (amd_iommu=on) on the kernel's command line, and VT-d or AMD-Vi in firmware",
    )
}

fn vfio(files: &Files, need: &Need) -> Check {
    let loaded = files.exists("sys/bus/pci/drivers/vfio-pci") && files.exists("dev/vfio/vfio");
    let state = if loaded { "vfio-pci is loaded" } else { "vfio-pci is not loaded" };
    if let Some(why) = needless(files, need) {
        return finding("vfio", state, "none", why).ok();
    }
    let why = "DPDK reaches a PCI device by it";
    let Some(device) = pci(files, need) else {
        return finding("vfio", state, "loaded", why).ok_or(loaded, "modprobe vfio-pci");
    };
    let group = files.link(format!("sys/bus/pci/devices/{device}/iommu_group"));
    let found = match &group {
        Some(group) => format!("{state}; {device} is in IOMMU group {group}"),
        None => format!("{state}; {device} is in no IOMMU group"),
    };
    let finding = finding("vfio", found, format!("{device} in a group, vfio-pci loaded"), why);
    match (loaded, group) {
        (true, Some(_)) => finding.ok(),
        (true, None) => finding.missing("as for iommu"),
        (false, _) => finding.missing("modprobe vfio-pci"),
    }
}
