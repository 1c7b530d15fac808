//! A device: found or made, set up, started, and given back.

use super::buffer::{Buffers, Queue};
use super::pool::Pool;
use super::{c_string, eal, refused};
use crate::OpenError;
use drover_dpdk_sys as sys;
use std::ffi::CStr;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A started device and the pool that its frames come from.
pub(super) struct Device {
    number: Number,
    queues: u16,
    started: bool,
    about: About,
    /// Freed after the device is closed.
    pool: Pool,
}

/// What a device is and does, for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The driver's name.
    pub driver: String,
    /// The NUMA node of the device, if it has one.
    pub numa_node: Option<u32>,
    /// Queues, each way.
    pub queues: u16,
    /// MTU, bytes.
    pub mtu: u32,
    /// Whether the device checks sums of what arrives, as far as it says so of a frame; else we do.
    pub receive_checksums: bool,
    /// Whether the device makes the UDP sums of what leaves; else we do.
    pub transmit_checksums: bool,
    /// Whether the device spreads what arrives over its queues; else it arrives on whichever it chooses.
    pub spread: bool,
}

/// `net_ice, 4 queues, MTU 1500, node 0; sums by the device, spreads`.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { driver, numa_node, queues, mtu, .. } = self;
        write!(f, "{driver}, {queues} queue{}, MTU {mtu}", if *queues == 1 { "" } else { "s" })?;
        if let Some(node) = numa_node {
            write!(f, ", node {node}")?;
        }
        let sums = match (self.receive_checksums, self.transmit_checksums) {
            (true, true) => "by the device",
            (true, false) => "checked by the device, made by us",
            (false, true) => "made by the device, checked by us",
            (false, false) => "by us",
        };
        write!(f, "; sums {sums}{}", if self.spread { ", spreads" } else { "" })
    }
}

/// EAL's numbers of the devices that somebody here has. A device has one owner: it is set up, used and closed without a lock.
static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// EAL's number of a device, taken.
struct Number {
    port: u16,
    /// A virtual device's name: it goes when it is closed, and is made anew when it is asked for again.
    vdev: Option<String>,
}

/// What a device is to do.
pub(super) struct Plan {
    pub(super) setup: sys::Setup,
    pub(super) mbufs: usize,
    /// Largest frame, bytes.
    pub(super) room: u16,
}

/// A device that is not set up yet.
pub(super) struct Found {
    number: Number,
    name: String,
    pub(super) is: sys::Device,
}

impl Found {
    /// The device that `device` names: a PCI address, or a virtual device's name and arguments, which is made if EAL does not
    /// have it.
    pub(super) fn new(device: &str) -> Result<Found, OpenError> {
        // What was said about other things.
        let _ = eal::last_words();
        let name = device.split(',').next().unwrap_or_default().to_owned();
        let number = take(device, &name)?;
        let mut is = sys::Device::default();
        // SAFETY: EAL is up; the structure is written.
        let rc = unsafe { sys::ddp_device_info(number.port, &raw mut is) };
        if rc != 0 {
            return Err(refused(format!("device {name}"), rc, "look at what its driver says"));
        }
        Ok(Found { number, name, is })
    }

    /// The driver's name.
    pub(super) fn driver(&self) -> String {
        CStr::from_bytes_until_nul(&self.is.driver).unwrap_or_default().to_string_lossy().into_owned()
    }

    /// `device net_null0 (net_null)`.
    pub(super) fn title(&self) -> String {
        format!("device {} ({})", self.name, self.driver())
    }

    /// Gives the device the Ethernet address `mac`.
    pub(super) fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), OpenError> {
        // SAFETY: EAL has this device; the address is read.
        let rc = unsafe { sys::ddp_device_mac(self.number.port, &raw const mac) };
        if rc != 0 {
            return Err(refused(self.title(), rc, "leave `mac` out: the device does not take another address"));
        }
        self.is.mac = mac;
        Ok(())
    }

    fn about(&self, setup: &sys::Setup) -> About {
        About {
            driver: self.driver(),
            numa_node: u32::try_from(self.is.socket).ok(),
            queues: setup.queues,
            mtu: setup.mtu,
            receive_checksums: setup.rx_checksums != 0,
            transmit_checksums: setup.tx_checksums != 0,
            spread: setup.spread != 0,
        }
    }

    /// Sets it up and starts it.
    pub(super) fn start(self, plan: &Plan) -> Result<Device, OpenError> {
        let title = self.title();
        let pool = Pool::new(plan.mbufs, plan.room, self.is.socket)?;
        let port = self.number.port;
        let about = self.about(&plan.setup);
        let mut device = Device { number: self.number, queues: plan.setup.queues, started: false, about, pool };
        // SAFETY: EAL has this device, which nobody else uses; the pool lives until it is closed.
        let rc = unsafe { sys::ddp_device_configure(port, &raw const plan.setup, device.pool.as_ptr()) };
        if rc != 0 {
            let mend = "ask it for less: fewer queues, a smaller MTU, fewer descriptors";
            return Err(refused(format!("setting up {title}"), rc, mend));
        }
        // SAFETY: it is set up.
        let rc = unsafe { sys::ddp_device_start(port, &raw const plan.setup) };
        if rc != 0 {
            let mend = "see that its interface or peer is there and that this process may use it";
            return Err(refused(format!("starting {title}"), rc, mend));
        }
        device.started = true;
        Ok(device)
    }
}

/// Takes the device `name`, made from `device` if EAL does not have it.
fn take(device: &str, name: &str) -> Result<Number, OpenError> {
    // Also so that no two make it at once.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = match lookup(name)? {
        Some(port) if taken.contains(&port) => {
            let mend = "close its ports first, or open all its workers' ports at once";
            return Err(OpenError::configuration(format!("device {name}"), "this process has it open already", mend));
        }
        Some(port) => port,
        None if eal::is_pci(name) => return Err(no_pci_device(name)),
        None => make(device, name)?,
    };
    taken.push(port);
    Ok(Number { port, vdev: (!eal::is_pci(name)).then(|| name.to_owned()) })
}

/// EAL's number of the device `name`, if it has it.
fn lookup(name: &str) -> Result<Option<u16>, OpenError> {
    let c_name = c_string(name)?;
    let mut port = 0;
    // SAFETY: EAL is up; the name is a string, the number is written.
    let rc = unsafe { sys::ddp_port_by_name(c_name.as_ptr(), &raw mut port) };
    Ok((rc == 0).then_some(port))
}

fn no_pci_device(name: &str) -> OpenError {
    let said = eal::last_words();
    let why = if said.is_empty() {
        String::from("DPDK has no such device: it is not there, not allowed, or has no driver that DPDK can use")
    } else {
        format!("DPDK has no such device; it said: {said}")
    };
    let mend = format!(
        "see that it is there (dpdk-devbind.py --status), bind it (dpdk-devbind.py --bind=vfio-pci {name}), and name it when EAL starts"
    );
    OpenError::environment(format!("device {name}"), why, mend)
}

/// Has EAL make the virtual device `device`.
fn make(device: &str, name: &str) -> Result<u16, OpenError> {
    let arguments = device.split_once(',').map_or("", |(_, arguments)| arguments);
    let (c_name, c_arguments) = (c_string(name)?, c_string(arguments)?);
    // SAFETY: EAL is up; both are strings, and are copied.
    let rc = unsafe { sys::ddp_vdev_add(c_name.as_ptr(), c_arguments.as_ptr()) };
    let mend = "see that its name begins with a driver's (net_null0, net_af_xdp0, …), that this driver is installed (Debian: \
                librte-net-*) or named as one to load, and that its arguments are right";
    if rc != 0 {
        return Err(refused(format!("device {device}"), rc, mend));
    }
    match lookup(name)? {
        Some(port) => Ok(port),
        None => {
            remove(name);
            Err(refused(format!("device {device}"), -libc::ENODEV, mend))
        }
    }
}

fn remove(name: &str) {
    if let Ok(name) = c_string(name) {
        // What cannot be removed stays until the process ends.
        // SAFETY: EAL is up; the name is a string.
        let _ = unsafe { sys::ddp_vdev_remove(name.as_ptr()) };
    }
}

impl Device {
    pub(super) fn about(&self) -> &About {
        &self.about
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A queue, for one thread at a time.
    ///
    /// # Safety
    /// Each queue is asked for once, and not used after the device is gone.
    pub(super) unsafe fn queue(&self, queue: u16) -> Queue {
        assert!(queue < self.queues, "a device of {} queues has none numbered {queue}", self.queues);
        // SAFETY: the device is started with this queue; the rest is the caller's promise.
        unsafe { Queue::new(self.number.port, queue) }
    }

    /// Whether the link is up; unknown counts as down.
    pub(super) fn link_up(&self) -> bool {
        // SAFETY: the device is there.
        unsafe { sys::ddp_link_up(self.number.port) == 1 }
    }

    /// Frames that the device lost: for want of room in a queue, for want of an mbuf.
    pub(super) fn missed(&self) -> (u64, u64) {
        let (mut missed, mut no_mbuf) = (0, 0);
        // Drivers without such counters leave 0.
        // SAFETY: the device is there; both numbers are written.
        let _ = unsafe { sys::ddp_missed(self.number.port, &raw mut missed, &raw mut no_mbuf) };
        (missed, no_mbuf)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|port| *port != self.port);
        // SAFETY: EAL has this device, and nobody uses it any more.
        unsafe { sys::ddp_device_close(self.port) };
        if let Some(name) = &self.vdev {
            remove(name);
        }
    }
}

/// Mbufs of a peer that wait in the device's queues go back to where they came from: rings of memory would keep them.
impl Drop for Device {
    fn drop(&mut self) {
        /// Bursts: more than a ring holds. Some devices never run dry.
        const MOST: usize = 256;
        for queue in 0..if self.started { self.queues } else { 0 } {
            // SAFETY: the device is started, and whoever had the queue is gone.
            let mut queue = unsafe { self.queue(queue) };
            let _ = (0..MOST).find(|_| queue.receive(&mut Buffers::new(), sys::BURST) == 0);
        }
    }
}
