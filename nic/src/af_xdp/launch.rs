//! Launch time: the device holds a frame back until its instant (Documentation/networking/xsk-tx-metadata.rst).

use rustix::net::xdp::XdpDescOptions;
use std::fmt;

/// Bytes of `struct xsk_tx_metadata` with a launch time (linux/if_xdp.h): flags, checksum's places and padding, instant.
pub(super) const METADATA: u32 = 24;
/// The frame has metadata before it (linux/if_xdp.h, XDP_TX_METADATA).
const TX_METADATA: u32 = 1 << 1;
/// The metadata has a launch time (linux/if_xdp.h, XDP_TXMD_FLAGS_LAUNCH_TIME, Linux 6.14).
const LAUNCH_TIME: u64 = 1 << 2;

/// Whether frames can have a launch time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchTime {
    /// They can.
    On,
    /// It was not asked for.
    Off,
    /// It was, and kernel or driver do not offer it.
    NotOffered,
}

impl LaunchTime {
    /// Bytes of metadata before each frame.
    pub(super) fn metadata(self) -> u32 {
        if self.is_on() { METADATA } else { 0 }
    }

    #[inline]
    pub(super) fn is_on(self) -> bool {
        self == LaunchTime::On
    }

    /// Writes metadata to the end of `before`, which lies before the frame: it is to leave at `instant`, ns of the device's
    /// clock. Returns what the descriptor must say.
    #[inline]
    pub(super) fn write(self, before: &mut [u8], instant: u64) -> XdpDescOptions {
        let at = before.len() - METADATA as usize;
        let metadata = &mut before[at..];
        metadata[..8].copy_from_slice(&LAUNCH_TIME.to_ne_bytes());
        metadata[8..16].fill(0);
        metadata[16..].copy_from_slice(&instant.to_ne_bytes());
        XdpDescOptions::from_bits_retain(TX_METADATA)
    }
}

impl fmt::Display for LaunchTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LaunchTime::On => "launch time",
            LaunchTime::Off => "no launch time",
            LaunchTime::NotOffered => "no launch time (not offered)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_laid_out_as_the_kernel_reads_it() {
        let mut before = [0xff; 64];
        assert_eq!(LaunchTime::On.write(&mut before, 0x0102_0304_0506_0708).bits(), 2);
        assert_eq!(before[..40], [0xff; 40]);
        assert_eq!(before[40..48], 4u64.to_ne_bytes());
        assert_eq!(before[48..56], [0; 8]);
        assert_eq!(before[56..], 0x0102_0304_0506_0708u64.to_ne_bytes());
        assert_eq!(
            [LaunchTime::On.metadata(), LaunchTime::Off.metadata(), LaunchTime::NotOffered.metadata()],
            [24, 0, 0]
        );
    }
}
