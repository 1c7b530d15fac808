//! The two kinds of frames (W-CHN-2, W-CHN-3), written and read.

use super::BadFrame;

/// The most fragments of a message: the bits of an acknowledgement.
pub(super) const FRAGMENTS_MAX: usize = 64;
/// Bytes of a data frame before its data.
pub(super) const DATA_HEADER: usize = 14;
/// Bytes of an acknowledgement before its entries, and of each entry.
const ACK_HEADER: usize = 10;
const ACK_ENTRY: usize = 12;

const DATA: u8 = 1;
const ACK: u8 = 2;

/// A frame that parsed. What it says is the peer's word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'f> {
    Data(Fragment<'f>),
    Ack {
        /// The session of who acknowledges.
        from: u32,
        /// The session whose messages are meant.
        of: u32,
        entries: Entries<'f>,
    },
}

/// A fragment of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment<'f> {
    pub session: u32,
    pub message: u32,
    pub index: u8,
    /// 1 to 64, above `index`.
    pub count: u8,
    pub kind: u8,
    pub data: &'f [u8],
}

/// Message numbers and their fragments that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries<'f>(&'f [u8]);

impl Entries<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.chunks_exact(ACK_ENTRY).filter_map(|entry| {
            let (message, bits) = entry.split_first_chunk()?;
            Some((u32::from_be_bytes(*message), u64::from_be_bytes(bits.try_into().ok()?)))
        })
    }
}

/// Data bytes of a full fragment in frames of `frame` bytes.
pub(super) const fn chunk(frame: usize) -> usize {
    frame.saturating_sub(DATA_HEADER)
}

/// Entries that fit into a frame of `frame` bytes.
pub(super) const fn entries_max(frame: usize) -> usize {
    let fit = frame.saturating_sub(ACK_HEADER) / ACK_ENTRY;
    if fit < 255 { fit } else { 255 }
}

/// Reads a frame of exactly `frame` bytes.
pub(super) fn read(bytes: &[u8], frame: usize) -> Result<Frame<'_>, BadFrame> {
    if bytes.len() != frame {
        return Err(BadFrame);
    }
    parse(bytes, chunk(frame)).ok_or(BadFrame)
}

fn parse(bytes: &[u8], chunk: usize) -> Option<Frame<'_>> {
    let (&kind, rest) = bytes.split_first()?;
    let (session, rest) = take_u32(rest)?;
    let (second, rest) = take_u32(rest)?;
    match kind {
        DATA => {
            let (&[index, count, kind, high, low], rest) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes([high, low]));
            let last = index.checked_add(1)? == count;
            // All fragments but the last are full, and the last has something unless it is the only one.
            let whole = if last { length <= chunk && (length > 0 || count == 1) } else { length == chunk };
            if index >= count || usize::from(count) > FRAGMENTS_MAX || !whole {
                return None;
            }
            let data = rest.get(..length)?;
            Some(Frame::Data(Fragment { session, message: second, index, count, kind, data }))
        }
        ACK => {
            let (&n, rest) = rest.split_first()?;
            let entries = rest.get(..usize::from(n) * ACK_ENTRY)?;
            Some(Frame::Ack { from: session, of: second, entries: Entries(entries) })
        }
        _ => None,
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*four), rest))
}

/// Writes a data frame at the start of `out`, which is long enough; the rest stays as it is.
pub(super) fn write_data(fragment: &Fragment<'_>, out: &mut [u8]) -> Option<()> {
    let length = u16::try_from(fragment.data.len()).ok()?;
    let (header, rest) = out.split_first_chunk_mut::<DATA_HEADER>()?;
    header[0] = DATA;
    header[1..5].copy_from_slice(&fragment.session.to_be_bytes());
    header[5..9].copy_from_slice(&fragment.message.to_be_bytes());
    header[9..12].copy_from_slice(&[fragment.index, fragment.count, fragment.kind]);
    header[12..].copy_from_slice(&length.to_be_bytes());
    rest.get_mut(..fragment.data.len())?.copy_from_slice(fragment.data);
    Some(())
}

/// Writes an acknowledgement of `entries` at the start of `out`, which is long enough; the rest stays as it is.
pub(super) fn write_ack(from: u32, of: u32, entries: &[(u32, u64)], out: &mut [u8]) -> Option<()> {
    let (header, rest) = out.split_first_chunk_mut::<ACK_HEADER>()?;
    header[0] = ACK;
    header[1..5].copy_from_slice(&from.to_be_bytes());
    header[5..9].copy_from_slice(&of.to_be_bytes());
    header[9] = u8::try_from(entries.len()).ok()?;
    let places = rest.get_mut(..entries.len() * ACK_ENTRY)?.chunks_exact_mut(ACK_ENTRY);
    for (place, (message, bits)) in places.zip(entries) {
        place[..4].copy_from_slice(&message.to_be_bytes());
        place[4..].copy_from_slice(&bits.to_be_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: usize = 64;

    #[test]
    fn a_data_frame_is_laid_out_as_documented() {
        let mut out = [0xee; FRAME];
        let fragment = Fragment { session: 0x01020304, message: 5, index: 1, count: 2, kind: 9, data: b"ab" };
        write_data(&fragment, &mut out).expect("fits");
        assert_eq!(out[..16], [1, 1, 2, 3, 4, 0, 0, 0, 5, 1, 2, 9, 0, 2, b'a', b'b']);
        assert_eq!(out[16..], [0xee; FRAME - 16]);
        assert_eq!(read(&out, FRAME), Ok(Frame::Data(fragment)));
        write_ack(1, 2, &[(3, 4)], &mut out).expect("fits");
        assert_eq!(out[..22], [2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let good = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 7, 0, 1];
        let frame = |at: usize, byte: u8| {
            let mut bytes = [0; FRAME];
            bytes[..14].copy_from_slice(&good);
            bytes[at] = byte;
            bytes
        };
        assert!(read(&frame(0, 1), FRAME).is_ok());
        // Kind; index; count 0; a first fragment that is not full; longer than a frame.
        for (at, byte) in [(0, 0), (0, 3), (9, 1), (10, 0), (10, 2), (12, 1), (13, 51)] {
            assert_eq!(read(&frame(at, byte), FRAME), Err(BadFrame), "{at} {byte}");
        }
        assert_eq!(read(&frame(0, 1)[1..], FRAME), Err(BadFrame));
        let mut ack = [0; FRAME];
        (ack[0], ack[9]) = (2, 5);
        assert_eq!(read(&ack, FRAME), Err(BadFrame), "four entries fit");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), FRAME), kind in 0u8..4) {
            bytes[0] = kind;
            if let Ok(Frame::Data(fragment)) = read(&bytes, FRAME) {
                prop_assert!(fragment.index < fragment.count && fragment.data.len() <= chunk(FRAME));
            }
        }
        #[test]
        fn acknowledgements_go_there_and_back(entries in prop::collection::vec(any::<(u32, u64)>(), 0..=entries_max(FRAME))) {
            let mut out = [0; FRAME];
            write_ack(7, 8, &entries, &mut out).expect("fits");
            let Ok(Frame::Ack { from: 7, of: 8, entries: read }) = read(&out, FRAME) else { panic!("an ack") };
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), entries);
        }
    }
}
