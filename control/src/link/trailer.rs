//! What stands behind the DTLS records of a first datagram, and the cookie datagram (`docs/wire.md`, W-LNK-3 to W-LNK-6).
//!
//! ```text
//! | DTLS records | 0xd7 | 1 |                                       a drover node
//! | DTLS records | 0xd7 | 2 | 16 cookie |                           one that was given a cookie
//! | DTLS records | 0xd7 | 3 | 16 sender | 8 timestamp | 16 MAC |    a mix
//! | 0xd7 | 4 | 16 cookie |                                          a mix under load: say it again with this
//! ```

use drover_dtls::certificate::NodeId;

/// First byte of a trailer and of a cookie datagram: no DTLS record begins with it.
const MAGIC: u8 = 0xd7;
const PLAIN: u8 = 1;
const COOKIE: u8 = 2;
const MAC: u8 = 3;
const ASK: u8 = 4;

/// Bytes of a cookie, and of a MAC.
pub(super) const TAG: usize = 16;
/// Bytes of the longest trailer.
pub(super) const TRAILER_MAX: usize = 2 + 16 + 8 + TAG;

/// Bytes of a DTLS plaintext record's header and of a handshake message's (RFC 9147, 4 and 5.2).
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What a trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailer {
    /// There is none: a foreign peer.
    None,
    /// A drover node.
    Plain,
    /// One that was given a cookie.
    Cookie([u8; TAG]),
    /// A mix: who, when in ns since 1970, and the MAC over all before it.
    Mac { sender: NodeId, timestamp: u64, mac: [u8; TAG] },
}

/// A datagram that begins with the first fragment of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello<'d> {
    /// The records, without the trailer.
    pub records: &'d [u8],
    pub trailer: Trailer,
    /// All that a MAC covers.
    pub covered: &'d [u8],
    /// The client's random: tells a ClientHello that comes again from another.
    pub random: [u8; 32],
}

/// The client random of a datagram that begins with the first fragment of a plaintext ClientHello.
pub(super) fn client_random(datagram: &[u8]) -> Option<[u8; 32]> {
    let (header, rest) = datagram.split_first_chunk::<RECORD_HEADER>()?;
    let (message, body) = rest.split_first_chunk::<MESSAGE_HEADER>()?;
    // Epoch 0; fragment offset 0.
    let first = header[0] == HANDSHAKE && header[1] == 0xfe && header[3..5] == [0, 0];
    if !first || message[0] != CLIENT_HELLO || message[6..9] != [0, 0, 0] {
        return None;
    }
    body.get(2..34)?.try_into().ok()
}

/// Whether this is a plaintext ClientHello or a part of one.
pub(super) fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HANDSHAKE) && datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO)
}

/// Splits a datagram of plaintext records from its trailer; `None` when it is neither whole records nor these and a trailer.
pub(super) fn split(datagram: &[u8]) -> Option<(&[u8], Trailer)> {
    let mut at = 0;
    while let Some(&first) = datagram.get(at) {
        if first == MAGIC {
            break;
        }
        let length = datagram.get(at + RECORD_HEADER - 2..at + RECORD_HEADER)?;
        at += RECORD_HEADER + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    let (records, trailer) = datagram.split_at_checked(at)?;
    let trailer = match trailer {
        [] => Trailer::None,
        [MAGIC, PLAIN] => Trailer::Plain,
        [MAGIC, COOKIE, cookie @ ..] => Trailer::Cookie(cookie.try_into().ok()?),
        [MAGIC, MAC, rest @ ..] => {
            let (sender, rest) = rest.split_first_chunk()?;
            let (timestamp, mac) = rest.split_first_chunk()?;
            let timestamp = u64::from_be_bytes(*timestamp);
            Trailer::Mac { sender: NodeId(*sender), timestamp, mac: mac.try_into().ok()? }
        }
        _ => return None,
    };
    Some((records, trailer))
}

impl<'d> Hello<'d> {
    /// Reads a first datagram.
    pub(super) fn read(datagram: &'d [u8]) -> Option<Hello<'d>> {
        let random = client_random(datagram)?;
        let (records, trailer) = split(datagram)?;
        let covered = match trailer {
            Trailer::Mac { .. } => datagram.split_at_checked(datagram.len().checked_sub(TAG)?)?.0,
            _ => datagram,
        };
        Some(Hello { records, trailer, covered, random })
    }
}

/// Appends the trailer of a node without a cookie, or with one.
pub(super) fn append(datagram: &mut Vec<u8>, cookie: Option<[u8; TAG]>) {
    match cookie {
        None => datagram.extend([MAGIC, PLAIN]),
        Some(cookie) => {
            datagram.extend([MAGIC, COOKIE]);
            datagram.extend(cookie);
        }
    }
}

/// Appends a mix's trailer; `mac` is given all before the MAC.
pub(super) fn append_mac(datagram: &mut Vec<u8>, sender: NodeId, timestamp: u64, mac: impl FnOnce(&[u8]) -> [u8; TAG]) {
    datagram.extend([MAGIC, MAC]);
    datagram.extend(sender.0);
    datagram.extend(timestamp.to_be_bytes());
    let mac = mac(datagram);
    datagram.extend(mac);
}

/// A cookie datagram.
pub(super) fn ask(cookie: [u8; TAG]) -> [u8; 2 + TAG] {
    let mut out = [0; 2 + TAG];
    out[..2].copy_from_slice(&[MAGIC, ASK]);
    out[2..].copy_from_slice(&cookie);
    out
}

/// The cookie of a cookie datagram.
pub(super) fn asked(datagram: &[u8]) -> Option<[u8; TAG]> {
    match datagram {
        [MAGIC, ASK, cookie @ ..] => cookie.try_into().ok(),
        _ => None,
    }
}

/// A plaintext record that begins a ClientHello, for tests.
#[cfg(test)]
pub(super) fn hello_for_tests(random: [u8; 32]) -> Vec<u8> {
    let mut body = vec![CLIENT_HELLO, 0, 0, 34, 0, 0, 0, 0, 0, 0, 0, 34, 0xfe, 0xfd];
    body.extend(random);
    let mut record = vec![HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8];
    record.extend(body);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trailers_go_there_and_back() {
        let hello = hello_for_tests([7; 32]);
        let read = |datagram: &[u8]| Hello::read(datagram).map(|hello| (hello.records.to_vec(), hello.trailer));
        assert_eq!(read(&hello), Some((hello.clone(), Trailer::None)));
        let mut plain = hello.clone();
        append(&mut plain, None);
        assert_eq!(read(&plain), Some((hello.clone(), Trailer::Plain)));
        let mut cookie = hello.clone();
        append(&mut cookie, Some([9; TAG]));
        assert_eq!(read(&cookie), Some((hello.clone(), Trailer::Cookie([9; TAG]))));
        let mut mac = hello.clone();
        append_mac(&mut mac, NodeId([3; 16]), 77, |covered| {
            assert_eq!(covered.len(), hello.len() + TRAILER_MAX - TAG);
            [5; TAG]
        });
        let expected = Trailer::Mac { sender: NodeId([3; 16]), timestamp: 77, mac: [5; TAG] };
        assert_eq!(read(&mac), Some((hello.clone(), expected)));
        let covered = Hello::read(&mac).map(|hello| hello.covered.len());
        assert_eq!((covered, mac.len()), (Some(mac.len() - TAG), hello.len() + TRAILER_MAX));
        for cut in 1..TRAILER_MAX {
            assert_eq!(read(&mac[..mac.len() - cut]), None, "cut by {cut}");
        }
        assert_eq!(asked(&ask([1; TAG])), Some([1; TAG]));
        assert_eq!(asked(&ask([1; TAG])[..17]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..200), hello: bool) {
            if hello {
                bytes.splice(0..0, hello_for_tests([1; 32]));
            }
            let _ = (Hello::read(&bytes), split(&bytes), asked(&bytes), is_client_hello(&bytes));
        }
    }
}
