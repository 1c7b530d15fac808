//! What `shim/shim.h` declares.

use std::ffi::{c_char, c_int};
use std::mem::offset_of;

/// The most frames that one call moves: `DDP_BURST`.
pub const BURST: usize = 64;
/// In [`Frame::flags`]: the device vouches for the sums of IP and UDP.
pub const SUMS_GOOD: u32 = 1;
/// In [`Frame::flags`]: the device says that a sum is wrong.
pub const SUMS_BAD: u32 = 2;
/// In [`Frame::flags`]: the frame goes on in other mbufs, and `len` is the first one's.
pub const SEGMENTS: u32 = 4;

/// DPDK's buffer of a frame. Only C looks inside.
#[repr(C)]
pub struct Mbuf {
    _opaque: [u8; 0],
}

/// DPDK's pool of mbufs. Only C looks inside.
#[repr(C)]
pub struct Mempool {
    _opaque: [u8; 0],
}

/// An mbuf and where its bytes are: `struct ddp_frame`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The buffer.
    pub mbuf: *mut Mbuf,
    /// The frame's first byte, or, before it is sent, the payload's.
    pub data: *mut u8,
    /// Bytes at `data`.
    pub len: u32,
    /// Of [`SUMS_GOOD`], [`SUMS_BAD`], [`SEGMENTS`].
    pub flags: u32,
}

const _: () = assert!(size_of::<Frame>() == 24 && offset_of!(Frame, len) == 16);

/// What a device is and offers: `struct ddp_device`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    /// The driver's name, ended by a zero.
    pub driver: [u8; 32],
    /// NUMA node, or -1.
    pub socket: i32,
    /// Smallest MTU, bytes.
    pub min_mtu: u32,
    /// Largest MTU, bytes.
    pub max_mtu: u32,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Most descriptors of a receive queue.
    pub rx_descriptors_max: u16,
    /// Most descriptors of a transmit queue.
    pub tx_descriptors_max: u16,
    /// Its address; all zeros where it has none.
    pub mac: [u8; 6],
    /// Not 0: it can check sums of IPv4 and UDP.
    pub rx_checksums: u8,
    /// Not 0: it can make UDP's sums.
    pub tx_checksums: u8,
    /// Not 0: it can spread UDP over its queues.
    pub spreads: u8,
    /// Nothing.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<Device>() == 64 && offset_of!(Device, mac) == 52);

/// How a device is to be set up: `struct ddp_setup`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Bytes of an IP packet.
    pub mtu: u32,
    /// Receive queues, and as many transmit queues.
    pub queues: u16,
    /// Descriptors of each receive queue; the driver's limits are kept.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue; the driver's limits are kept.
    pub tx_descriptors: u16,
    /// Not 0: sums of IPv4 and UDP are checked by the device.
    pub rx_checksums: u8,
    /// Not 0: UDP's sums are made by the device.
    pub tx_checksums: u8,
    /// Not 0: what arrives is spread over the queues.
    pub spread: u8,
    /// Not 0: frames to any address are taken.
    pub all_frames: u8,
    /// Nothing.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<Setup>() == 16 && offset_of!(Setup, spread) == 12);

#[rustfmt::skip]
#[allow(missing_docs, reason = "shim/*.c says what each does")]
unsafe extern "C" {
    pub fn ddp_version() -> *const c_char;
    pub fn ddp_log_keep();
    pub fn ddp_log_last(text: *mut u8, room: usize) -> usize;
    pub fn ddp_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int;
    pub fn ddp_thread_register() -> c_int;
    pub fn ddp_thread_unregister();
    pub fn ddp_has_lcore() -> c_int;
    pub fn ddp_vdev_add(name: *const c_char, arguments: *const c_char) -> c_int;
    pub fn ddp_vdev_remove(name: *const c_char) -> c_int;

    pub fn ddp_port_by_name(name: *const c_char, port: *mut u16) -> c_int;
    pub fn ddp_device_info(port: u16, device: *mut Device) -> c_int;
    pub fn ddp_device_mac(port: u16, mac: *const [u8; 6]) -> c_int;
    pub fn ddp_device_configure(port: u16, setup: *const Setup, pool: *mut Mempool) -> c_int;
    pub fn ddp_device_start(port: u16, setup: *const Setup) -> c_int;
    pub fn ddp_device_close(port: u16);
    pub fn ddp_link_up(port: u16) -> c_int;
    pub fn ddp_missed(port: u16, missed: *mut u64, no_mbuf: *mut u64) -> c_int;
    pub fn ddp_pool_create(name: *const c_char, count: u32, cache: u32, room: u16, socket: c_int, error: *mut c_int) -> *mut Mempool;
    pub fn ddp_pool_free(pool: *mut Mempool);
    pub fn ddp_pool_in_use(pool: *const Mempool) -> u32;

    pub fn ddp_receive(port: u16, queue: u16, frames: *mut Frame, limit: u32) -> u32;
    pub fn ddp_allocate(pool: *mut Mempool, frames: *mut Frame, count: u32, headers: u32) -> u32;
    pub fn ddp_transmit(port: u16, queue: u16, frames: *const Frame, count: u32, l2_l3_len: u32) -> u32;
    pub fn ddp_forward(port: u16, queue: u16, frames: *const Frame, count: u32) -> u32;
    pub fn ddp_free(frames: *const Frame, count: u32);
    pub fn ddp_chain(first: *mut Frame, second: *const Frame) -> c_int;

    pub fn ddp_ring_pair(a: *const c_char, b: *const c_char, queues: u16, slots: u32, ports: *mut u16) -> c_int;
    pub fn ddp_ring_pair_free(a: *const c_char, b: *const c_char, queues: u16);
}
