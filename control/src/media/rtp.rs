//! RTP (RFC 3550): reads and writes packets; [`Sender`] makes a G.711 stream, [`Recorder`] takes one down.

use std::fmt;

use super::g711::Law;

pub use super::rtp_record::{MAX_PACKETS, MAX_SAMPLES, Outcome, Reception, Recorder, Refusal};

/// Bytes of an RTP header without CSRCs and extension.
pub const HEADER_BYTES: usize = 12;
/// Samples, and with G.711 bytes, in one 20 ms packet.
pub const FRAME_SAMPLES: usize = 160;
/// Bytes of one 20 ms G.711 packet, header and payload.
pub const PACKET_BYTES: usize = HEADER_BYTES + FRAME_SAMPLES;
/// Milliseconds between packets.
pub const FRAME_MS: u64 = 20;

/// The fixed header's fields (RFC 3550 section 5.1). Writing makes version 2 without padding, extension and CSRCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Start of a talkspurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Rises by one a packet, wraps.
    pub sequence: u16,
    /// Instant of the first sample, in samples, wraps.
    pub timestamp: u32,
    /// The stream's source.
    pub ssrc: u32,
}

impl Header {
    /// The 12 bytes of the header. Of `payload_type` the low seven bits travel.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = 2 << 6;
        out[1] = (self.marker as u8) << 7 | self.payload_type & 0x7f;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out
    }
}

/// A parsed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// What follows header, CSRCs and extension, its padding removed.
    pub payload: &'a [u8],
}

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Shorter than its header, CSRCs and extension say.
    Short {
        /// Bytes there.
        length: usize,
        /// Bytes needed to go on reading.
        needed: usize,
    },
    /// The version is not 2.
    Version(u8),
    /// The last byte's padding count is 0 or more than the payload.
    Padding(u8),
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RtpError::Short { length, needed } => {
                write!(f, "RTP packet of {length} bytes, {needed} needed")
            }
            RtpError::Version(version) => write!(f, "RTP version {version}, 2 is read"),
            RtpError::Padding(count) => {
                write!(f, "RTP padding of {count} bytes does not fit the payload")
            }
        }
    }
}

impl std::error::Error for RtpError {}

impl<'a> Packet<'a> {
    /// Parses a packet; CSRCs, extension and padding are checked and skipped.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let short = |needed| RtpError::Short { length: bytes.len(), needed };
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short(HEADER_BYTES))?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != 2 {
            return Err(RtpError::Version(flags >> 6));
        }
        let csrc_bytes = (flags & 0x0f) as usize * 4;
        let mut payload = rest.get(csrc_bytes..).ok_or(short(HEADER_BYTES + csrc_bytes))?;
        if flags & 0x10 != 0 {
            // Extension: 2 bytes of profile, 2 of length in words.
            let (head, rest) = payload.split_first_chunk::<4>().ok_or(short(HEADER_BYTES + csrc_bytes + 4))?;
            let extension_bytes = u16::from_be_bytes([head[2], head[3]]) as usize * 4;
            payload = rest.get(extension_bytes..).ok_or(short(HEADER_BYTES + csrc_bytes + 4 + extension_bytes))?;
        }
        if flags & 0x20 != 0 {
            let count = payload.last().copied().unwrap_or(0);
            let keep = payload.len().checked_sub(count as usize).filter(|_| count > 0);
            payload = &payload[..keep.ok_or(RtpError::Padding(count))?];
        }
        let header = Header {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Ok(Packet { header, payload })
    }
}

/// Makes a PCMU stream: one packet of [`PACKET_BYTES`] for each 20 ms, silence included (a call sends at a constant
/// rate). Only the first packet bears the marker.
#[derive(Clone, Debug)]
pub struct Sender {
    next: Header,
}

impl Sender {
    /// A stream. RFC 3550 asks for all three to be random.
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        let next = Header { marker: true, payload_type: Law::Mu.payload_type(), sequence, timestamp, ssrc };
        Sender { next }
    }

    /// The next 20 ms. Never fails; sequence and timestamp wrap.
    pub fn packet(&mut self, frame: &[i16; FRAME_SAMPLES]) -> [u8; PACKET_BYTES] {
        let mut out = [0; PACKET_BYTES];
        let (header, payload) = out.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&self.next.to_bytes());
        for (code, sample) in payload.iter_mut().zip(frame) {
            *code = Law::Mu.encode(*sample);
        }
        self.next.marker = false;
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        out
    }
}

/// Cuts samples into frames for [`Sender::packet`]; the last is filled up with silence.
pub fn frames(samples: &[i16]) -> impl ExactSizeIterator<Item = [i16; FRAME_SAMPLES]> + '_ {
    samples.chunks(FRAME_SAMPLES).map(|chunk| {
        let mut frame = [0; FRAME_SAMPLES];
        frame[..chunk.len()].copy_from_slice(chunk);
        frame
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header =
        Header { marker: true, payload_type: 8, sequence: 0x1234, timestamp: 0x5678_9abc, ssrc: 0xdef0_1122 };

    #[test]
    fn known_header() {
        let bytes = [0x80, 0x88, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11, 0x22];
        assert_eq!(HEADER.to_bytes(), bytes);
        assert_eq!(Packet::parse(&bytes), Ok(Packet { header: HEADER, payload: &[] }));
    }

    #[test]
    fn csrcs_extension_and_padding_are_skipped() {
        let mut bytes = HEADER.to_bytes().to_vec();
        bytes[0] = 0x80 | 0x20 | 0x10 | 2;
        bytes.extend_from_slice(&[1; 8]); // two CSRCs
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 9, 9, 9, 9]); // extension of one word
        bytes.extend_from_slice(b"voice");
        bytes.extend_from_slice(&[0, 0, 3]);
        assert_eq!(Packet::parse(&bytes), Ok(Packet { header: HEADER, payload: b"voice" }));
        // Every cut is refused, or has a shorter payload once the padding's count is another byte.
        for cut in 0..bytes.len() {
            if let Ok(packet) = Packet::parse(&bytes[..cut]) {
                assert!(packet.payload.len() < 5);
            }
        }
        assert_eq!(Packet::parse(&bytes[..11]), Err(RtpError::Short { length: 11, needed: 12 }));
        assert_eq!(Packet::parse(&bytes[..19]), Err(RtpError::Short { length: 19, needed: 20 }));
        assert_eq!(Packet::parse(&bytes[..23]), Err(RtpError::Short { length: 23, needed: 24 }));
        assert_eq!(Packet::parse(&bytes[..27]), Err(RtpError::Short { length: 27, needed: 28 }));
        assert_eq!(Packet::parse(&bytes[..28]), Err(RtpError::Padding(0)));
        let last = bytes.len() - 1;
        for count in [0, 9] {
            bytes[last] = count;
            assert_eq!(Packet::parse(&bytes), Err(RtpError::Padding(count)));
        }
        bytes[0] = 0x40;
        assert_eq!(Packet::parse(&bytes), Err(RtpError::Version(1)));
    }

    #[test]
    fn sender_makes_172_byte_packets_and_wraps() {
        let mut sender = Sender::new(7, u16::MAX, u32::MAX - 100);
        let (first, second) = (sender.packet(&[0; 160]), sender.packet(&[1_000; 160]));
        assert_eq!(first.len(), 172);
        let first = Packet::parse(&first).expect("ours");
        let second = Packet::parse(&second).expect("ours");
        assert_eq!(first.payload, [0xff; 160]);
        assert_eq!(second.payload, [Law::Mu.encode(1_000); 160]);
        let header = Header { marker: true, payload_type: 0, sequence: u16::MAX, timestamp: u32::MAX - 100, ssrc: 7 };
        assert_eq!(first.header, header);
        assert_eq!(second.header, Header { marker: false, sequence: 0, timestamp: 59, ..header });
    }

    #[test]
    fn frames_fill_up_the_last() {
        let all: Vec<_> = frames(&[5; 161]).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1][0], all[1][1], frames(&[]).len()), (5, 0, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(bytes in prop::collection::vec(any::<u8>(), 0..120), version2 in any::<bool>()) {
            let mut bytes = bytes;
            if version2 && let Some(first) = bytes.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_BYTES <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_parses(
            marker in any::<bool>(), payload_type in 0u8..128, sequence in any::<u16>(), timestamp in any::<u32>(),
            ssrc in any::<u32>(), payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(Packet::parse(&bytes), Ok(Packet { header, payload: &payload }));
        }
    }
}
