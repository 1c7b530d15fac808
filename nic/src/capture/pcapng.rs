//! The four blocks of pcapng that a capture needs (draft-ietf-opsawg-pcapng), little-endian.

use super::{Books, WARNING};

/// Block types.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

/// A packet begins with its IP header (LINKTYPE_RAW, tcpdump.org/linktypes.html).
const RAW: u16 = 101;

/// Options: of every block, and of one kind each.
const END: u16 = 0;
const COMMENT: u16 = 1;
const SECTION_PROGRAM: u16 = 4;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const STATISTICS_START: u16 = 2;
const STATISTICS_END: u16 = 3;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 5;
const STATISTICS_ACCEPTED: u16 = 6;
const STATISTICS_DELIVERED: u16 = 8;

/// Bytes of all blocks but packets.
pub(super) const FRAMEWORK: u64 = (SECTION_LEN + INTERFACE_LEN + STATISTICS_LEN) as u64;
const PROGRAM: &str = "drover";
const SECTION_LEN: usize = 28 + option_len(WARNING.len()) + option_len(PROGRAM.len()) + option_len(0);
const INTERFACE_LEN: usize = 20 + option_len(1) + option_len(0);
const STATISTICS_LEN: usize = 24 + 6 * option_len(8) + option_len(0);

const fn option_len(value: usize) -> usize {
    4 + value.next_multiple_of(4)
}

/// Bytes of the block of a packet of `len` bytes.
pub(super) const fn packet_len(len: usize) -> usize {
    32 + len.next_multiple_of(4) + option_len(4) + option_len(0)
}

/// The file's beginning: a section, and the one interface in it.
pub(super) fn begin(out: &mut Vec<u8>) {
    block(out, SECTION, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        // Version 1.0, a section of unknown length.
        out.extend([1, 0, 0, 0]);
        out.extend(u64::MAX.to_le_bytes());
        option(out, COMMENT, WARNING.as_bytes());
        option(out, SECTION_PROGRAM, PROGRAM.as_bytes());
        option(out, END, &[]);
    });
    block(out, INTERFACE, |out| {
        out.extend(RAW.to_le_bytes());
        // Reserved; packets are whole.
        out.extend([0; 6]);
        // Timestamps in units of 10^-9 s.
        option(out, INTERFACE_RESOLUTION, &[9]);
        option(out, END, &[]);
    });
}

/// A packet of `headers` and `payload`, seen `at_ns` after 1970.
pub(super) fn packet(out: &mut Vec<u8>, at_ns: u64, outbound: bool, headers: &[u8], payload: &[u8]) {
    let len = (headers.len() + payload.len()) as u32;
    block(out, PACKET, |out| {
        out.extend(0u32.to_le_bytes());
        out.extend(timestamp(at_ns));
        out.extend([len, len].map(u32::to_le_bytes).as_flattened());
        out.extend(headers);
        out.extend(payload);
        pad(out);
        let direction: u32 = if outbound { 2 } else { 1 };
        option(out, PACKET_FLAGS, &direction.to_le_bytes());
        option(out, END, &[]);
    });
}

/// The file's end: what is in it, and what is not. Packets beyond a bound were received, and accepted by no filter.
pub(super) fn statistics(out: &mut Vec<u8>, start_ns: u64, end_ns: u64, books: &Books) {
    let accepted = books.captured + books.dropped;
    block(out, STATISTICS, |out| {
        out.extend(0u32.to_le_bytes());
        out.extend(timestamp(end_ns));
        option(out, STATISTICS_START, &timestamp(start_ns));
        option(out, STATISTICS_END, &timestamp(end_ns));
        option(out, STATISTICS_RECEIVED, &(accepted + books.beyond).to_le_bytes());
        option(out, STATISTICS_DROPPED, &books.dropped.to_le_bytes());
        option(out, STATISTICS_ACCEPTED, &accepted.to_le_bytes());
        option(out, STATISTICS_DELIVERED, &books.captured.to_le_bytes());
        option(out, END, &[]);
    });
}

/// The upper half is first.
fn timestamp(ns: u64) -> [u8; 8] {
    ns.rotate_left(32).to_le_bytes()
}

/// A block has its length at both ends.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = ((out.len() - begin + 4) as u32).to_le_bytes();
    out.extend(len);
    out[begin + 4..begin + 8].copy_from_slice(&len);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    pad(out);
}

/// Blocks are whole words, and so is what is before them.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_foretold() {
        let mut out = Vec::new();
        begin(&mut out);
        statistics(&mut out, 1, 2, &Books::default());
        assert_eq!(out.len() as u64, FRAMEWORK);
        for len in 0..9 {
            out.clear();
            packet(&mut out, 0, false, &[1; 28], &vec![2; len]);
            assert_eq!(out.len(), packet_len(28 + len));
        }
    }
}
