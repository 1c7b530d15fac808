//! `recvmmsg` and `sendmmsg`, with arguments made once.

use super::Datagram;
use super::name::Name;
use crate::{BURST, Endpoint, FRAME};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Room for the arguments of one system call: a header, a part and a name each message.
pub(super) struct Messages {
    headers: Box<[libc::mmsghdr; BURST]>,
    parts: Box<[libc::iovec; BURST]>,
    names: Box<[Name; BURST]>,
}

// SAFETY: the raw pointers inside are written and used within one call of `receive` or `send`, never across calls.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn new() -> Messages {
        // SAFETY: a C structure of pointers, lengths and flags: all zero is a valid value.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let part = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Messages {
            headers: Box::new([header; BURST]),
            parts: Box::new([part; BURST]),
            names: Box::new([Name::EMPTY; BURST]),
        }
    }

    /// Receives up to a datagram a buffer. On an error, none.
    pub(super) fn receive<'a>(
        &'a mut self,
        socket: BorrowedFd<'_>,
        buffers: &mut [[u8; FRAME]],
    ) -> impl Iterator<Item = Datagram> + use<'a> {
        let count = buffers.len().min(BURST);
        for (index, buffer) in buffers.iter_mut().enumerate().take(count) {
            self.set(index, Name::EMPTY, Name::ROOM, buffer.as_mut_ptr(), FRAME);
        }
        let received = if count == 0 {
            0
        } else {
            // SAFETY: the first `count` headers point at a name, a part and by that at a buffer each, which this call
            // borrows mutably, are as large as stated, and which nothing else touches until it returns.
            let rc = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    count as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            usize::try_from(rc).unwrap_or(0)
        };
        self.headers
            .iter()
            .zip(self.names.iter())
            .take(received)
            .map(|(header, name)| Datagram {
                len: header.msg_len as usize,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                from: name.endpoint(header.msg_hdr.msg_namelen as usize),
            })
    }

    /// Sends each frame once. Returns how many the system took.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        v4: bool,
        mut frames: impl Iterator<Item = (Endpoint, &'a [u8])>,
    ) -> usize {
        let mut sent = 0;
        loop {
            let mut count = 0;
            while count < BURST {
                let Some((to, data)) = frames.next() else {
                    break;
                };
                let Some((name, len)) = Name::of(to, v4) else {
                    continue;
                };
                // The kernel only reads the data of a message that is sent.
                self.set(count, name, len, data.as_ptr().cast_mut(), data.len());
                count += 1;
            }
            if count == 0 {
                return sent;
            }
            sent += self.send_batch(socket, count);
        }
    }

    /// Sends the first `count` messages, which `send` has just set.
    fn send_batch(&mut self, socket: BorrowedFd<'_>, count: usize) -> usize {
        let (mut next, mut sent) = (0, 0);
        while let Some(rest @ [_, ..]) = self.headers.get_mut(next..count) {
            // SAFETY: these headers point at a name, a part and by that at the data of a frame each; `send` holds the
            // frames borrowed, and the names and parts are ours. The kernel writes msg_len only.
            let rc = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            // The call stops at the first message that fails. That one has had its try: go on behind it.
            let taken = usize::try_from(rc).unwrap_or(0);
            sent += taken;
            next += taken + 1;
        }
        sent
    }

    /// Points message `index` at its name and its data.
    fn set(&mut self, index: usize, name: Name, name_len: usize, data: *mut u8, len: usize) {
        self.names[index] = name;
        self.parts[index] = libc::iovec {
            iov_base: data.cast(),
            iov_len: len,
        };
        let header = &mut self.headers[index];
        header.msg_len = 0;
        header.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
        header.msg_hdr.msg_namelen = name_len as libc::socklen_t;
        header.msg_hdr.msg_iov = &raw mut self.parts[index];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_flags = 0;
    }
}
