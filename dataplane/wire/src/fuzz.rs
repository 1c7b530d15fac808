//! One entry point for fuzzers: every parser on the same bytes, with what must hold whenever one accepts them.

use crate::cell::{CellSize, Header, end_body, hop};
use crate::control::{MAX_MESSAGE, Punt, Reply, Request, request_id_of};
use crate::record;

/// Runs every parser of this crate on `bytes`.
///
/// # Panics
///
/// When a parser contradicts itself: that is the finding. Not for use outside tests and fuzzers.
pub fn fuzz_parsers(bytes: &[u8]) {
    for size in CellSize::ALL {
        one_record(bytes, size.bytes());
    }
    one_record(bytes, bytes.len().saturating_sub(record::HEADER));
    one_record(bytes, bytes.len().saturating_sub(record::HEADER_WITH_LENGTH));
    for size in CellSize::ALL {
        if let Ok(short) = record::parse_short(bytes, size.bytes()) {
            assert!((17..size.bytes()).contains(&short.body.len()));
            assert_eq!(record::parse(bytes, short.body.len()), Ok(short));
        }
    }
    numbers(bytes);
    content_type(bytes);
    cell(bytes);
    bodies(bytes);
    messages(bytes);
    frames::frame(bytes);
}

fn one_record(bytes: &[u8], cell: usize) {
    let Ok(parsed) = record::parse(bytes, cell) else {
        return;
    };
    assert_eq!(record::classify(bytes), record::Kind::Ciphertext);
    assert_eq!(parsed.body.len(), cell);
    assert_eq!(bytes.split_at(parsed.header.len()), (parsed.header, parsed.body));
    assert_eq!(parsed.sample()[..], parsed.body[..16]);
    let aad = record::Aad::new(parsed.header, parsed.number([0, 0]));
    assert_eq!(aad.as_bytes(), parsed.header, "a mask of zeros leaves the header as it came");
    assert!(parsed.epoch_bits() < 4);
}

fn numbers(bytes: &[u8]) {
    let &[a, b, c, d, e, f, g, h, high, low, ..] = bytes else {
        return;
    };
    let expected = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let low = u16::from_be_bytes([high, low]);
    let number = record::reconstruct(low, expected);
    assert_eq!(number & 0xffff, u64::from(low));
    for other in record::neighbours(number).into_iter().flatten() {
        assert!(other.abs_diff(expected) >= number.abs_diff(expected), "a neighbour is nearer");
    }
}

fn content_type(bytes: &[u8]) {
    match record::inner_content_type(bytes) {
        None => assert!(bytes.iter().all(|byte| *byte == 0)),
        Some((kind, len)) => {
            assert_ne!(kind, 0);
            assert_eq!(bytes[len], kind);
            assert!(bytes[len + 1..].iter().all(|byte| *byte == 0));
        }
    }
}

fn cell(bytes: &[u8]) {
    for size in CellSize::ALL {
        let Some(plaintext) = bytes.get(..size.plaintext_len()) else {
            return;
        };
        let Ok(header) = Header::read(plaintext) else {
            continue;
        };
        let mut again = [0; CellSize::S1024.plaintext_len()];
        let again = &mut again[..plaintext.len()];
        again.copy_from_slice(plaintext);
        header.write(again);
        assert_eq!(again, plaintext);
    }
}

fn bodies(bytes: &[u8]) {
    let mut room = [0; CellSize::S1024.body_len()];
    let Some(again) = room.get_mut(..bytes.len()) else {
        return;
    };
    if let Ok(read) = hop::read(bytes) {
        let written = hop::write(again, read.check, read.kind, read.data);
        assert_eq!(written, Ok(()));
        assert_eq!(hop::covered(again), hop::covered(bytes));
    }
    if let Ok((kind, payload)) = end_body::read_inner(bytes) {
        let written = end_body::write_kind(again, kind, payload);
        assert_eq!(written, Ok(()));
        assert_eq!(again, bytes);
    }
    if let Some(parts) = end_body::split(bytes) {
        let len = parts.number.len() + parts.sealed.len() + parts.tag.len();
        assert_eq!(len, bytes.len());
    }
}

/// What decodes encodes to the same bytes; no bytes are two of a request, a reply and a punt.
fn messages(bytes: &[u8]) {
    let mut out = [0; MAX_MESSAGE];
    let request = Request::decode(bytes);
    let reply = Reply::decode(bytes);
    if let Ok((count, punt)) = Punt::decode(bytes) {
        assert!(reply.is_err() && request.is_err());
        assert_eq!(request_id_of(bytes), count);
        let len = punt.encode(count, &mut out).expect("what decodes fits");
        assert_eq!(&out[..len], bytes);
    }
    if let Ok((id, request)) = &request {
        assert!(reply.is_err());
        assert_eq!(request_id_of(bytes), *id);
        let len = request.encode(*id, &mut out).expect("what decodes fits");
        assert_eq!(&out[..len], bytes);
    }
    if let Ok((id, reply)) = &reply {
        assert_eq!(request_id_of(bytes), *id);
        let len = reply.encode(*id, &mut out).expect("what decodes fits");
        assert_eq!(&out[..len], bytes);
    }
}

mod frames;
#[cfg(test)]
mod tests;
