//! The note that control leaves with a link on the data plane (`docs/wire.md`, W-LNK-12): enough to take it up again.
//!
//! ```text
//! | 1 version = 1 | 1 flags | 16 peer | 32 binder | 2 next message read | 2 next message written |
//! ```

use super::PeerInfo;
use drover_dtls::certificate::{NodeId, Role};
use drover_wire::control::Owner;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const LENGTH: usize = 54;
const DIALLER: u8 = 1;
const FOREIGN: u8 = 2;
const CLIENT: u8 = 4;

/// What the note says.
pub(super) struct Note {
    /// We began the handshake.
    pub dialler: bool,
    pub peer: PeerInfo,
    pub binder: Zeroizing<[u8; 32]>,
    /// Handshake messages after the handshake, for foreign peers: the next read, the next written.
    pub messages: (u16, u16),
}

impl Note {
    pub(super) fn write(&self) -> Owner {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.dialler) * DIALLER
            + u8::from(self.peer.foreign) * FOREIGN
            + u8::from(self.peer.role == Role::Client) * CLIENT;
        bytes[2..18].copy_from_slice(&self.peer.id.0);
        bytes[18..50].copy_from_slice(&*self.binder);
        bytes[50..52].copy_from_slice(&self.messages.0.to_be_bytes());
        bytes[52..].copy_from_slice(&self.messages.1.to_be_bytes());
        Owner::new(&*bytes).unwrap_or_default()
    }

    /// Reads a note in hex, as a dump shows it; `None` when it is not ours.
    pub(super) fn read(hex: &str) -> Option<Note> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let digits = hex.as_bytes();
        if digits.len() != 2 * LENGTH {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
            *byte = (high? * 16 + low?) as u8;
        }
        let flags = bytes[1];
        if bytes[0] != VERSION || flags > DIALLER + FOREIGN + CLIENT {
            return None;
        }
        let role = if flags & CLIENT != 0 { Role::Client } else { Role::Mix };
        let mut id = NodeId::default();
        id.0.copy_from_slice(&bytes[2..18]);
        let mut binder = Zeroizing::new([0; 32]);
        binder.copy_from_slice(&bytes[18..50]);
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Note {
            dialler: flags & DIALLER != 0,
            peer: PeerInfo { id, role, foreign: flags & FOREIGN != 0 },
            binder,
            messages: (number(50), number(52)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_go_there_and_back() {
        for flags in 0..8u8 {
            let role = if flags & 1 == 0 { Role::Mix } else { Role::Client };
            let peer = PeerInfo { id: NodeId([flags; 16]), role, foreign: flags & 2 != 0 };
            let note = Note { dialler: flags & 4 != 0, peer, binder: Zeroizing::new([9; 32]), messages: (5, 700) };
            let hex: String = note.write().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let read = Note::read(&hex).expect("ours");
            assert_eq!((read.dialler, read.peer, read.messages), (note.dialler, peer, (5, 700)));
            assert_eq!(*read.binder, [9; 32]);
            assert!(Note::read(&hex[2..]).is_none() && Note::read(&hex.replace("01", "zz")).is_none());
        }
        assert!(Note::read("").is_none());
    }
}
