//! Mbufs, owned: each is freed once, whatever becomes of its frame.

use arrayvec::ArrayVec;
use drover_dpdk_sys as sys;

/// The shortest Ethernet frame without its check sequence, bytes (IEEE 802.3, 3.2.8). Ours are filled up with zeros: where
/// that is left to a device, it may fill them with what lies behind.
const SHORTEST: usize = 60;

/// A frame in an mbuf of its own. `data` and `len` always name bytes within the mbuf.
#[repr(transparent)]
pub(super) struct Buffer(sys::Frame);

/// As many as one call moves.
pub(super) type Buffers = ArrayVec<Buffer, { sys::BURST }>;

// SAFETY: the mbuf is reached by its owner only, and pools take mbufs back from any thread.
unsafe impl Send for Buffer {}
// SAFETY: a shared Buffer is only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The frame, of a frame in several mbufs the first part.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: these bytes are the mbuf's, which this owns; pools' memory is initialised.
        unsafe { std::slice::from_raw_parts(self.0.data, self.0.len as usize) }
    }

    /// As [`bytes`](Self::bytes), to be written.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and nobody else borrows them.
        unsafe { std::slice::from_raw_parts_mut(self.0.data, self.0.len as usize) }
    }

    /// Whether the device vouches for the frame's sums.
    #[inline]
    pub(super) fn sums_good(&self) -> bool {
        self.0.flags & sys::SUMS_GOOD != 0
    }

    /// Whether the device says that a sum is wrong.
    #[inline]
    pub(super) fn sums_bad(&self) -> bool {
        self.0.flags & sys::SUMS_BAD != 0
    }

    /// Whether the frame is in several mbufs.
    #[inline]
    pub(super) fn has_segments(&self) -> bool {
        self.0.flags & sys::SEGMENTS != 0
    }

    /// Hangs `second` behind this frame, so that it is one in two mbufs.
    #[cfg(test)]
    pub(super) fn chain(&mut self, second: Buffer) {
        // SAFETY: both mbufs are owned and single; the second becomes the first's.
        let rc = unsafe { sys::ddp_chain(&raw mut self.0, &raw const second.0) };
        assert_eq!(rc, 0, "two segments are few");
        std::mem::forget(second);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: this owns the mbuf, and is no more.
        unsafe { sys::ddp_free(&raw const self.0, 1) };
    }
}

/// Frees all at once.
#[inline]
pub(super) fn free(buffers: &mut Buffers) {
    let count = buffers.len() as u32;
    // SAFETY: that many frames, whose mbufs are owned; they are forgotten next.
    unsafe { sys::ddp_free(buffers.as_ptr().cast(), count) };
    forget(buffers);
}

/// Empties `buffers`, whose mbufs have another owner now.
#[inline]
fn forget(buffers: &mut Buffers) {
    // SAFETY: none are left over; what is cut off is not dropped, as it must not be.
    unsafe { buffers.set_len(0) };
}

/// Puts what `fill` writes behind what is in `buffers`: it gets the place for so many frames, and returns how many it wrote.
#[inline]
fn extend(buffers: &mut Buffers, limit: usize, fill: impl FnOnce(*mut sys::Frame, u32) -> u32) -> usize {
    let len = buffers.len();
    let room = limit.min(buffers.capacity() - len);
    let free = buffers.as_mut_ptr().wrapping_add(len);
    let count = (fill(free.cast(), room as u32) as usize).min(room);
    // SAFETY: `fill` wrote so many more, and there was room for them.
    unsafe { buffers.set_len(len + count) };
    count
}

/// One queue of a started device, each way. One thread at a time may use it.
#[derive(Clone, Copy)]
pub(super) struct Queue {
    port: u16,
    queue: u16,
}

impl Queue {
    /// # Safety
    /// The device `port` is started with this queue, stays so while this is used, and nobody else uses the queue.
    pub(super) unsafe fn new(port: u16, queue: u16) -> Queue {
        Queue { port, queue }
    }

    /// Adds up to `limit` frames that have arrived. Returns how many.
    #[inline]
    pub(super) fn receive(&mut self, buffers: &mut Buffers, limit: usize) -> usize {
        extend(buffers, limit, |frames, room| {
            // SAFETY: there is room for so many frames; the queue is ours, as `new` demands.
            unsafe { sys::ddp_receive(self.port, self.queue, frames, room) }
        })
    }

    /// Sends frames, each tried once; all are gone after that. `checksums` says, where the device makes them, where they are
    /// ([`checksum_place`]). Returns how many the device took.
    #[inline]
    pub(super) fn transmit(&mut self, buffers: &mut Buffers, checksums: u32) -> usize {
        let count = buffers.len() as u32;
        // SAFETY: that many frames whose mbufs are owned and which `Pool::allocate` made; they are forgotten next.
        let sent = unsafe { sys::ddp_transmit(self.port, self.queue, buffers.as_ptr().cast(), count, checksums) };
        forget(buffers);
        sent as usize
    }

    /// Sends frames as they were received, each tried once; all are gone after that. Returns how many the device took.
    #[inline]
    pub(super) fn forward(&mut self, buffers: &mut Buffers) -> usize {
        let count = buffers.len() as u32;
        // SAFETY: that many frames whose mbufs are owned; they are forgotten next.
        let sent = unsafe { sys::ddp_forward(self.port, self.queue, buffers.as_ptr().cast(), count) };
        forget(buffers);
        sent as usize
    }
}

/// Where a device finds the sum to make: bytes of the Ethernet header, of IP's, and whether that is IPv6.
pub(super) const fn checksum_place(ethernet: usize, ip: usize, v6: bool) -> u32 {
    ethernet as u32 | (ip as u32) << 8 | (v6 as u32) << 16
}

/// A frame to be sent: its payload so far, and room for headers before it.
pub(super) struct Draft {
    payload: Buffer,
    headers: usize,
}

impl Draft {
    /// # Safety
    /// Of its mbuf, `headers` bytes are ahead of `payload`'s, and [`SHORTEST`] from where those begin.
    #[inline]
    unsafe fn new(payload: Buffer, headers: usize) -> Draft {
        Draft { payload, headers }
    }

    #[inline]
    pub(super) fn payload_mut(&mut self) -> &mut [u8] {
        self.payload.bytes_mut()
    }

    /// The whole frame, once `write` has written the headers, which it gets with the payload.
    #[inline]
    pub(super) fn finish(self, write: impl FnOnce(&mut [u8], &[u8])) -> Buffer {
        let Draft { payload: mut buffer, headers } = self;
        let used = headers + buffer.0.len as usize;
        // SAFETY: so many bytes of the mbuf are ahead of the payload: `new` demands it, and that the shortest frame fits.
        buffer.0.data = unsafe { buffer.0.data.sub(headers) };
        buffer.0.len = used.max(SHORTEST) as u32;
        let (frame, padding) = buffer.bytes_mut().split_at_mut(used);
        padding.fill(0);
        let (headers, payload) = frame.split_at_mut(headers);
        write(headers, payload);
        buffer
    }

    /// The payload as a frame, without headers.
    #[cfg(test)]
    pub(super) fn whole(self) -> Buffer {
        self.payload
    }
}

/// Adds up to `count` drafts to `drafts`, of `len` bytes of payload behind room for `headers`; fewer when the pool is
/// empty, none when so much does not fit an mbuf.
///
/// # Safety
/// `pool` is alive, and stays so while there are drafts.
#[inline]
pub(super) unsafe fn allocate(
    pool: *mut sys::Mempool,
    count: usize,
    headers: usize,
    len: usize,
    mut each: impl FnMut(Draft),
) {
    let mut buffers = Buffers::new();
    extend(&mut buffers, count, |frames, room| {
        // SAFETY: there is room for so many frames; the pool is alive.
        unsafe { sys::ddp_allocate(pool, frames, room, headers as u32) }
    });
    for mut buffer in buffers {
        if buffer.0.len as usize >= len.max(SHORTEST) {
            buffer.0.len = len as u32;
            // SAFETY: `ddp_allocate` left so much room ahead, and behind was enough.
            each(unsafe { Draft::new(buffer, headers) });
        }
    }
}
