//! A source of frames inside the kernel, for measurements: faster than any sender on the same machine, and nobody's port.

use super::assembler::{Assembler, Register};
use super::bpf::Program;
use super::errors;
use crate::OpenError;
use std::io;

/// `bpf_redirect` (bpf-helpers(7)).
const REDIRECT: i32 = 23;
/// Frames that the kernel makes at once, at most 256.
const BATCH: u32 = 64;

/// Sends copies of a frame out of an interface, from within the kernel (BPF_PROG_TEST_RUN with live frames, Linux 5.18).
///
/// Where the other end of a virtual interface is to receive them it must run an XDP program itself, as a port's does.
pub struct Generator {
    program: Program,
}

impl Generator {
    /// A source on the interface with this index, of the calling thread's network.
    ///
    /// # Errors
    /// No permission (CAP_BPF, CAP_NET_ADMIN), or a kernel without BPF.
    pub fn new(interface: u32) -> Result<Generator, OpenError> {
        let mut code = Assembler::default();
        code.set(Register::R1, interface.cast_signed());
        code.set(Register::R2, 0);
        code.call(REDIRECT);
        code.exit();
        let program = Program::load("drover_source", &code.finish()).map_err(|error| errors::program(&error))?;
        Ok(Generator { program })
    }

    /// Sends `count` copies of `frame`, of at least 14 bytes: what the other end has no room for is lost there.
    ///
    /// # Errors
    /// What the kernel says: before Linux 5.18 it knows of no live frames, and it takes none much longer than a page.
    pub fn send(&self, frame: &[u8], count: u32) -> io::Result<()> {
        self.program.run_live(frame, count, BATCH)
    }
}
