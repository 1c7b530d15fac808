//! A worker's AF_XDP socket: its rings, and what it was bound as.

use super::config::{AfXdpConfig, ZeroCopy};
use super::errors;
use super::ring::{FromKernel, ToKernel};
use super::umem::Umem;
use crate::OpenError;
use crate::interface::Interface;
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpOptionsFlags, XdpStatistics, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Frames that one system call sends where the kernel lets us choose (XDP_MAX_TX_SKB_BUDGET, Linux 6.17; before: 32): a
/// worker's whole burst and its backlog, but not so many that the call takes a millisecond.
const TX_BUDGET: u32 = 256;
/// How long a queue may be busy. The kernel frees a queue some time after its socket is closed, once the last frame is
/// back: a process that is started again finds it busy.
const LEAVING: Duration = Duration::from_secs(1);
const LEAVING_STEP: Duration = Duration::from_millis(1);
/// linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// The chunks have transmit metadata before their frames (linux/if_xdp.h, XDP_UMEM_TX_METADATA_LEN).
const TX_METADATA_LEN: u32 = 1 << 2;
/// Bytes that the kernel counts against a sender for a frame of a chunk, at most: the frame and its `sk_buff`.
const SEND_BUFFER_A_FRAME: usize = 4096 + 1024;

/// What came of a call that wakes the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// It went on with its rings; it may have more to do.
    Went,
    /// The device dropped one frame (`EBUSY`, net/xdp/xsk.c: "completed but not sent").
    Dropped,
    /// It did nothing: the interface is down or gone.
    Not,
}

/// A bound socket. What is in its rings is the port's business.
pub(super) struct Socket {
    fd: OwnedFd,
    pub(super) fill: ToKernel<u64>,
    pub(super) completion: FromKernel<u64>,
    pub(super) receive: FromKernel<XdpDesc>,
    pub(super) transmit: ToKernel<XdpDesc>,
    zero_copy: bool,
    tx_budget: Option<u32>,
}

impl Socket {
    /// Opens a socket on `umem` and binds it to a queue. `metadata` bytes before each frame are transmit metadata.
    pub(super) fn open(
        config: &AfXdpConfig,
        interface: &Interface,
        queue: u32,
        umem: &Umem,
        metadata: u32,
    ) -> Result<Socket, OpenError> {
        let kind = SocketType::RAW;
        let fd = rustix::net::socket_with(AddressFamily::XDP, kind, SocketFlags::CLOEXEC, None)
            .map_err(|error| errors::socket(error.into()))?;
        register(&fd, umem, metadata).map_err(|error| errors::memory(error, umem.len()))?;
        let rings = |error: io::Error| errors::rings(error, config.wire);
        set_ring_sizes(&fd, config.wire).map_err(rings)?;
        let tx_budget = set_tx_budget(&fd, TX_BUDGET.min(config.wire));
        enlarge_send_buffer(&fd, config.wire);
        let offsets = sockopt::xdp_mmap_offsets(&fd).map_err(|error| rings(error.into()))?;
        let at = fd.as_fd();
        let fill = ToKernel::map(at, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, config.wire).map_err(rings)?;
        let completion =
            FromKernel::map(at, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, config.wire).map_err(rings)?;
        let receive = FromKernel::map(at, XDP_PGOFF_RX_RING, &offsets.rx, config.wire).map_err(rings)?;
        let transmit = ToKernel::map(at, XDP_PGOFF_TX_RING, &offsets.tx, config.wire).map_err(rings)?;
        bind(&fd, config.zero_copy, interface, queue)?;
        let options = sockopt::xdp_options(&fd).map_err(|error| rings(error.into()))?;
        let zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok(Socket { fd, fill, completion, receive, transmit, zero_copy, tx_budget })
    }

    /// Whether the device reads and writes the frames itself.
    pub(super) fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Frames that one call sends, where the kernel let us choose.
    pub(super) fn tx_budget(&self) -> Option<u32> {
        self.tx_budget
    }

    /// Has the kernel look at the transmit ring. Where it copies, the frames leave within the call, up to its budget.
    #[inline]
    pub(super) fn wake_transmit(&self) -> Woken {
        match rustix::net::send(&self.fd, &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // Budget used up, or no room in the send buffer or the completion ring.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Woken::Went,
            Err(Errno::BUSY) => Woken::Dropped,
            Err(_) => Woken::Not,
        }
    }

    /// Has the kernel look at the fill ring.
    #[inline]
    pub(super) fn wake_receive(&self) {
        // There is nothing to read: the call is the message, and what it says changes nothing.
        let mut nothing: [u8; 0] = [];
        let _ = rustix::net::recv(&self.fd, &mut nothing[..], RecvFlags::DONTWAIT);
    }

    /// What the kernel counted.
    pub(super) fn statistics(&self) -> io::Result<XdpStatistics> {
        Ok(sockopt::xdp_statistics(&self.fd)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn register(fd: &OwnedFd, umem: &Umem, metadata: u32) -> io::Result<()> {
    let flags = if metadata > 0 { TX_METADATA_LEN } else { 0 };
    let registration = XdpUmemReg {
        addr: umem.address(),
        len: umem.len(),
        chunk_size: umem.chunk_len() as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::from_bits_retain(flags),
        tx_metadata_len: metadata,
    };
    Ok(sockopt::set_xdp_umem_reg(fd, registration)?)
}

fn set_ring_sizes(fd: &OwnedFd, entries: u32) -> io::Result<()> {
    sockopt::set_xdp_umem_fill_ring_size(fd, entries)?;
    sockopt::set_xdp_umem_completion_ring_size(fd, entries)?;
    sockopt::set_xdp_rx_ring_size(fd, entries)?;
    Ok(sockopt::set_xdp_tx_ring_size(fd, entries)?)
}

/// `None` where the kernel does not know it.
fn set_tx_budget(fd: &OwnedFd, frames: u32) -> Option<u32> {
    let len = size_of_val(&frames) as libc::socklen_t;
    let value = (&raw const frames).cast();
    // SAFETY: the pointer and the length are those of `frames`, which the kernel only reads.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, value, len) };
    (rc == 0).then_some(frames)
}

/// As much as frames under way can take: beyond the machine's limit where we may, else up to it. With less, the kernel
/// says that it has no room, and the port tries again.
fn enlarge_send_buffer(fd: &OwnedFd, frames: u32) {
    let bytes = frames as usize * SEND_BUFFER_A_FRAME;
    let _ = sockopt::set_socket_send_buffer_size_force(fd, bytes)
        .or_else(|_| sockopt::set_socket_send_buffer_size(fd, bytes));
}

fn bind(fd: &OwnedFd, wanted: ZeroCopy, interface: &Interface, queue: u32) -> Result<(), OpenError> {
    let flags = match wanted {
        ZeroCopy::Require => SocketAddrXdpFlags::XDP_ZEROCOPY,
        // Neither: the kernel tries without copying first.
        ZeroCopy::Prefer => SocketAddrXdpFlags::empty(),
        ZeroCopy::Off => SocketAddrXdpFlags::XDP_COPY,
    };
    let address = SocketAddrXdp::new(flags | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, interface.index, queue);
    let deadline = Instant::now() + LEAVING;
    loop {
        match rustix::net::bind(fd, &address) {
            Err(Errno::BUSY) if Instant::now() < deadline => thread::sleep(LEAVING_STEP),
            done => return done.map_err(|error| errors::bind(error.into(), wanted, interface, queue)),
        }
    }
}
