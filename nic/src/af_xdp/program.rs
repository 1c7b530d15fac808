//! The XDP program of a port group: it takes the mix's datagrams and passes all else to the kernel.
//!
//! It looks only at what tells the two apart. Whether a datagram is well formed is for the port to judge, which counts what
//! is not (`drover_wire::frame::parse`).

use super::assembler::{Assembler, Label, Register, When, Width};
use drover_wire::frame::{ETHERNET, Family, IPV4, IPV6, TAG, UDP};

/// "The kernel's" (linux/bpf.h, enum xdp_action).
pub(super) const XDP_PASS: u32 = 2;
/// "A socket's".
#[cfg(test)]
pub(super) const XDP_REDIRECT: u32 = 4;

/// `bpf_redirect_map` (bpf-helpers(7)).
const REDIRECT_MAP: i32 = 51;

// `struct xdp_md` (linux/bpf.h).
const CONTEXT_DATA: usize = 0;
const CONTEXT_DATA_END: usize = 4;
const CONTEXT_QUEUE: usize = 16;

const TYPE_VLAN: u16 = 0x8100;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_UDP: u32 = 17;

/// What the program takes: UDP datagrams to one address and some ports.
///
/// IPv4 without options, whole; IPv6 without extension headers. In a VLAN: with its tag; in none: without a tag, or with
/// one that says only a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The VLAN, if the mix is in one.
    pub(super) vlan: Option<u16>,
    /// The address, IPv4 mapped.
    pub(super) ip: [u8; 16],
    /// The UDP ports.
    pub(super) ports: Vec<u16>,
}

impl Filter {
    /// The program: what it takes goes to the socket of the receive queue in `map`, to the kernel where there is none.
    pub(super) fn assemble(&self, map: i32) -> Vec<u64> {
        let mut code = Assembler::default();
        let (pass, ours) = (code.label(), code.label());
        code.copy(CONTEXT, Register::R1);
        code.load(Width::U32, AT, CONTEXT, CONTEXT_DATA);
        code.load(Width::U32, END, CONTEXT, CONTEXT_DATA_END);
        self.ethernet(&mut code, pass);
        match Family::of(&self.ip) {
            Family::V4 => self.ipv4(&mut code, pass),
            Family::V6 => self.ipv6(&mut code, pass),
        }
        for port in &self.ports {
            code.jump_if_value(VALUE, When::Equal, loaded16(*port), ours);
        }
        code.place(pass);
        code.set(Register::R0, XDP_PASS.cast_signed());
        code.exit();
        code.place(ours);
        code.load(Width::U32, Register::R2, CONTEXT, CONTEXT_QUEUE);
        code.load_map(Register::R1, map);
        code.set(Register::R3, XDP_PASS.cast_signed());
        code.call(REDIRECT_MAP);
        code.exit();
        code.finish()
    }

    /// Leaves `AT` at the IP header.
    fn ethernet(&self, code: &mut Assembler, pass: Label) {
        let network = code.label();
        // Whatever is ours is longer than a header and a tag.
        demand_bytes(code, ETHERNET + TAG, pass);
        code.load(Width::U16, VALUE, AT, 12);
        let tagged = code.label();
        if self.vlan.is_none() {
            code.jump_if_value(VALUE, When::Equal, loaded16(TYPE_VLAN), tagged);
            code.add(AT, ETHERNET as i32);
            code.jump(network);
        } else {
            code.jump_if_value(VALUE, When::NotEqual, loaded16(TYPE_VLAN), pass);
        }
        code.place(tagged);
        code.load(Width::U16, VALUE, AT, 14);
        code.and(VALUE, loaded16(0x0fff).cast_signed());
        // In no VLAN: 0, which says that there is none (IEEE 802.1Q, 6.9.1).
        code.jump_if_value(VALUE, When::NotEqual, loaded16(self.vlan.unwrap_or(0)), pass);
        code.load(Width::U16, VALUE, AT, 16);
        code.add(AT, (ETHERNET + TAG) as i32);
        code.place(network);
        let kind = if Family::of(&self.ip) == Family::V4 { TYPE_IPV4 } else { TYPE_IPV6 };
        code.jump_if_value(VALUE, When::NotEqual, loaded16(kind), pass);
    }

    /// Leaves the UDP destination port in `VALUE`.
    fn ipv4(&self, code: &mut Assembler, pass: Label) {
        demand_bytes(code, IPV4 + UDP, pass);
        // Version 4, five words of header.
        code.load(Width::U8, VALUE, AT, 0);
        code.jump_if_value(VALUE, When::NotEqual, 0x45, pass);
        // More fragments, or an offset.
        code.load(Width::U16, VALUE, AT, 6);
        code.and(VALUE, loaded16(0x3fff).cast_signed());
        code.jump_if_value(VALUE, When::NotEqual, 0, pass);
        code.load(Width::U8, VALUE, AT, 9);
        code.jump_if_value(VALUE, When::NotEqual, PROTOCOL_UDP, pass);
        demand_address(code, &self.ip[12..], 16, pass);
        code.load(Width::U16, VALUE, AT, IPV4 + 2);
    }

    /// Leaves the UDP destination port in `VALUE`.
    fn ipv6(&self, code: &mut Assembler, pass: Label) {
        demand_bytes(code, IPV6 + UDP, pass);
        code.load(Width::U8, VALUE, AT, 0);
        code.and(VALUE, 0xf0);
        code.jump_if_value(VALUE, When::NotEqual, 0x60, pass);
        code.load(Width::U8, VALUE, AT, 6);
        code.jump_if_value(VALUE, When::NotEqual, PROTOCOL_UDP, pass);
        demand_address(code, &self.ip, 24, pass);
        code.load(Width::U16, VALUE, AT, IPV6 + 2);
    }
}

/// Where the program is in the frame.
const AT: Register = Register::R2;
/// Behind the frame's last byte.
const END: Register = Register::R3;
const SCRATCH: Register = Register::R4;
const VALUE: Register = Register::R5;
/// `struct xdp_md`.
const CONTEXT: Register = Register::R6;

/// Goes to `pass` unless there are `count` bytes from `AT`.
fn demand_bytes(code: &mut Assembler, count: usize, pass: Label) {
    code.copy(SCRATCH, AT);
    code.add(SCRATCH, count as i32);
    code.jump_if(SCRATCH, When::Greater, END, pass);
}

/// Goes to `pass` unless `address` is at `offset`.
fn demand_address(code: &mut Assembler, address: &[u8], offset: usize, pass: Label) {
    for (index, word) in address.as_chunks::<4>().0.iter().enumerate() {
        code.load(Width::U32, VALUE, AT, offset + index * 4);
        code.jump_if_value(VALUE, When::NotEqual, u32::from_ne_bytes(*word), pass);
    }
}

/// What a load makes of `value` in a frame.
const fn loaded16(value: u16) -> u32 {
    value.to_be() as u32
}

#[cfg(test)]
#[path = "program/tests.rs"]
mod tests;
