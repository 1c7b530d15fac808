//! Two devices joined by rings of memory.

use super::{Eal, c_string, refused};
use crate::OpenError;
use drover_dpdk_sys as sys;
use std::ffi::CString;

/// A pair of `net_ring` devices: what one sends on a queue the other receives on the same. Within one process, for tests and
/// measurements.
///
/// The rings go with this, once the devices' ports are gone; before that they stay.
pub struct RingPair {
    names: [CString; 2],
    queues: u16,
}

impl RingPair {
    /// Makes the devices [`device`](Self::device) of `name`, with `queues` queues each (16 at most) whose rings have `slots`
    /// frames.
    ///
    /// # Errors
    /// `Environment`, with DPDK's words, when it cannot: a name that is taken or too long, no memory.
    pub fn new(_: &Eal, name: &str, queues: u16, slots: u32) -> Result<RingPair, OpenError> {
        let names = [c_string(&format!("{name}_a"))?, c_string(&format!("{name}_b"))?];
        let mut ports = [0u16; 2];
        let [a, b] = &names;
        // SAFETY: EAL is up; the names are strings and are copied; two numbers are written.
        let rc = unsafe { sys::ddp_ring_pair(a.as_ptr(), b.as_ptr(), queues, slots, ports.as_mut_ptr()) };
        if rc == 0 {
            Ok(RingPair { names, queues })
        } else {
            Err(refused(format!("a pair of rings {name}"), rc, "choose another name, fewer queues or fewer slots"))
        }
    }

    /// Device 0 or 1, as [`super::DpdkConfig::device`] names it.
    pub fn device(&self, end: usize) -> String {
        format!("net_ring_{}", self.names[end % 2].to_string_lossy())
    }
}

impl Drop for RingPair {
    fn drop(&mut self) {
        let [a, b] = &self.names;
        // SAFETY: both names are strings; rings that a device has are left alone.
        unsafe { sys::ddp_ring_pair_free(a.as_ptr(), b.as_ptr(), self.queues) };
    }
}
