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
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
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
        self.headers.iter().zip(self.names.iter()).take(received).map(|(header, name)| Datagram {
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
        each_once(count, |from| {
            let rest = &mut self.headers[from..count];
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
            usize::try_from(rc).unwrap_or(0)
        })
    }

    /// Points message `index` at its name and its data.
    fn set(&mut self, index: usize, name: Name, name_len: usize, data: *mut u8, len: usize) {
        self.names[index] = name;
        self.parts[index] = libc::iovec { iov_base: data.cast(), iov_len: len };
        let header = &mut self.headers[index];
        header.msg_len = 0;
        header.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
        header.msg_hdr.msg_namelen = name_len as libc::socklen_t;
        header.msg_hdr.msg_iov = &raw mut self.parts[index];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_flags = 0;
    }
}

/// Gives each of `count` messages one try. `send` sends from a given one on, stops at the first that fails, as
/// sendmmsg(2) does, and returns how many it sent. Returns how many were sent in all.
fn each_once(count: usize, mut send: impl FnMut(usize) -> usize) -> usize {
    let (mut next, mut sent) = (0, 0);
    while next < count {
        let taken = send(next);
        sent += taken;
        // The one behind those failed: it has had its try.
        next += taken + 1;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Also where a second try would succeed.
        #[test]
        fn each_message_is_tried_once(fails in prop::collection::vec(any::<bool>(), 0..BURST)) {
            let mut tries = vec![0; fails.len()];
            let sent = each_once(fails.len(), |from| {
                let mut taken = 0;
                for at in from..fails.len() {
                    tries[at] += 1;
                    if fails[at] && tries[at] == 1 {
                        break;
                    }
                    taken += 1;
                }
                taken
            });
            prop_assert_eq!(sent, fails.iter().filter(|fails| !**fails).count());
            prop_assert!(tries.iter().all(|tries| *tries == 1), "{:?}", tries);
        }
    }
}
