//! The calls of bpf(2) that load a program, give it a map and attach it to an interface.
//!
//! All that is made here is a descriptor. The kernel takes maps, programs and attachments away with the last one, so
//! nothing is left behind by a process, however it ends.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

// Commands (linux/bpf.h, enum bpf_cmd).
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;

/// Run by the kernel's generic receive path (linux/if_link.h).
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// Run by the driver.
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Frames are sent on as the program says, not handed back (linux/bpf.h).
const TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

/// Room for what the verifier has to say about a program that it refuses.
const LOG: usize = 64 << 10;
/// How much of it, from its end, goes into an error: the reason stands last.
const LOG_TOLD: usize = 800;
/// Programs call no function that is only for GPL's (bpf(2)).
const LICENCE: &CStr = c"MIT OR Apache-2.0";

/// Makes one call. `attributes` are the command's part of `union bpf_attr`: the kernel takes what is behind as zero.
///
/// # Safety
/// Every address in `attributes` must be good for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: pointer and length are those of `attributes`; what is in it is the caller's promise.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc as RawFd) }
}

/// A descriptor that a call has just made.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel just opened it, close-on-exec, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An address as `union bpf_attr` has it.
fn address<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<u8>().addr() as u64
}

/// A map from receive queues to AF_XDP sockets. A socket that is closed leaves it by itself.
#[derive(Debug)]
pub(super) struct XskMap(OwnedFd);

impl XskMap {
    /// A map for queues 0 to `queues` - 1.
    pub(super) fn new(queues: u32) -> io::Result<XskMap> {
        #[repr(C)]
        struct Attributes {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        let mut attributes =
            Attributes { map_type: MAP_TYPE_XSKMAP, key_size: 4, value_size: 4, max_entries: queues.max(1) };
        // SAFETY: there is no address in it.
        unsafe { bpf(MAP_CREATE, &mut attributes) }.map(|fd| XskMap(own(fd)))
    }

    /// Has what arrives on `queue` go to `socket`.
    pub(super) fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map_fd: u32,
            // The next one is aligned to eight bytes.
            _pad: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let value = socket.as_raw_fd().cast_unsigned();
        let mut attributes = Attributes {
            map_fd: self.0.as_raw_fd().cast_unsigned(),
            _pad: 0,
            key: address(&queue),
            value: address(&value),
            flags: 0,
        };
        // SAFETY: key and value are four bytes each, as the map was made for, and are only read.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }
}

impl AsRawFd for XskMap {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An XDP program that the verifier has passed.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

/// What `BPF_PROG_LOAD` takes, up to the name.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

impl Program {
    /// Loads `instructions` under a name of at most 15 letters, which tools show.
    ///
    /// # Errors
    /// What the kernel says; where its verifier refuses the program, with the end of its log.
    pub(super) fn load(name: &str, instructions: &[u64]) -> io::Result<Program> {
        let refused = match Program::try_load(name, instructions, &mut []) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => error,
            done => return done,
        };
        // Once more, to be told why.
        let mut log = vec![0; LOG];
        let Err(error) = Program::try_load(name, instructions, &mut log) else {
            return Err(refused);
        };
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG);
        let told = String::from_utf8_lossy(&log[end.saturating_sub(LOG_TOLD)..end]).trim().replace('\n', " | ");
        if told.is_empty() { Err(error) } else { Err(io::Error::new(error.kind(), format!("{error}: {told}"))) }
    }

    fn try_load(name: &str, instructions: &[u64], log: &mut [u8]) -> io::Result<Program> {
        let mut prog_name = [0; 16];
        for (to, from) in prog_name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        let mut load = Load {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: instructions.len() as u32,
            insns: address(instructions),
            license: address(LICENCE),
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().addr() as u64 },
            kern_version: 0,
            prog_flags: 0,
            prog_name,
        };
        // SAFETY: the instructions are as many as stated, the licence ends with a zero, both are only read; the log is
        // writable and as long as stated, or there is none.
        unsafe { bpf(PROG_LOAD, &mut load) }.map(|fd| Program(own(fd)))
    }

    /// Attaches to an interface, in the way that one of the `XDP_FLAGS_…` says.
    ///
    /// # Errors
    /// What the kernel says: `EBUSY` or `EEXIST` when the interface has a program already, `EOPNOTSUPP` when its driver
    /// runs none.
    pub(super) fn attach(&self, interface: u32, flags: u32) -> io::Result<Link> {
        #[repr(C)]
        struct Attributes {
            prog_fd: u32,
            target_ifindex: u32,
            attach_type: u32,
            flags: u32,
        }
        let mut attributes = Attributes {
            prog_fd: self.0.as_raw_fd().cast_unsigned(),
            target_ifindex: interface,
            attach_type: ATTACH_TYPE_XDP,
            flags,
        };
        // SAFETY: there is no address in it.
        unsafe { bpf(LINK_CREATE, &mut attributes) }.map(|fd| Link { _fd: own(fd) })
    }

    /// Runs the program on `frame`, of at least 14 bytes, as if it came on queue 0 of this network's loopback. Returns
    /// the verdict; nothing else happens.
    #[cfg(test)]
    pub(super) fn verdict(&self, frame: &[u8]) -> io::Result<u32> {
        let mut run = self.test_run(frame);
        // SAFETY: the frame is only read, and is as long as stated; there is no room for answers.
        unsafe { bpf(PROG_TEST_RUN, &mut run) }?;
        Ok(run.retval)
    }

    /// Runs the program on `count` copies of `frame`, `batch` at a time, and does with them as it says.
    pub(super) fn run_live(&self, frame: &[u8], count: u32, batch: u32) -> io::Result<()> {
        let mut run = self.test_run(frame);
        run.repeat = count;
        run.flags = TEST_XDP_LIVE_FRAMES;
        run.batch_size = batch;
        // SAFETY: the frame is only read, and is as long as stated; there is no room for answers.
        unsafe { bpf(PROG_TEST_RUN, &mut run) }.map(drop)
    }

    fn test_run(&self, frame: &[u8]) -> TestRun {
        TestRun {
            prog_fd: self.0.as_raw_fd().cast_unsigned(),
            data_size_in: frame.len() as u32,
            data_in: address(frame),
            ..TestRun::default()
        }
    }
}

/// What `BPF_PROG_TEST_RUN` takes and, in `retval`, gives back.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

/// An attachment. The program leaves the interface with it.
#[derive(Debug)]
pub(super) struct Link {
    _fd: OwnedFd,
}

#[cfg(test)]
mod tests {
    use super::super::assembler::{Assembler, Register};
    use super::*;
    use crate::skip::skipped;

    #[test]
    fn a_program_that_the_verifier_refuses_says_why() {
        let mut code = Assembler::default();
        code.load(super::super::assembler::Width::U32, Register::R0, Register::R5, 0);
        code.exit();
        let error = Program::load("refused", &code.finish()).expect_err("R5 holds nothing");
        if error.kind() == io::ErrorKind::PermissionDenied && !error.to_string().contains("R5") {
            return skipped(format_args!("loading BPF programs: {error}"));
        }
        assert!(error.to_string().contains("R5 !read_ok"), "{error}");
    }

    #[test]
    fn a_program_runs_and_is_named() {
        let mut code = Assembler::default();
        code.set(Register::R0, 3);
        code.exit();
        match Program::load("a_name_that_is_too_long", &code.finish()) {
            Ok(program) => assert_eq!(program.verdict(&[0; 64]).expect("it runs"), 3),
            Err(error) => skipped(format_args!("loading BPF programs: {error}")),
        }
    }
}
