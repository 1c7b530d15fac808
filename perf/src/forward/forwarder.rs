//! The loop that is timed.

use drover_nic::{BURST, Endpoint, FRAME, Port};
use drover_wire::record;

/// Receives bursts and sends them back.
pub struct Forwarder {
    /// Bytes of a cell.
    cell: usize,
    staged: Box<[Staged]>,
}

struct Staged {
    to: Endpoint,
    data: [u8; FRAME],
}

/// What a turn did, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Received.
    pub received: usize,
    /// Of these, those whose header is no record's: they go no further.
    pub foreign: usize,
    /// Taken by the port to be sent.
    pub sent: usize,
}

impl Forwarder {
    /// For records of cells of `cell` bytes.
    pub fn new(cell: usize) -> Forwarder {
        let staged = || Staged { to: Endpoint::NONE, data: [0; FRAME] };
        Forwarder { cell, staged: (0..BURST).map(|_| staged()).collect() }
    }

    /// One burst: received, headers read, sent back.
    #[inline]
    pub fn turn(&mut self, port: &mut impl Port) -> Moved {
        let burst = port.receive(BURST);
        let received = burst.len();
        if received == 0 {
            return Moved::default();
        }
        let len = record::record_len(self.cell);
        let mut count = 0;
        for frame in burst {
            // A record of a foreign peer may be two bytes longer; here there are none.
            if frame.data.len() != len || record::parse(frame.data, self.cell).is_err() {
                continue;
            }
            let staged = &mut self.staged[count];
            staged.to = frame.from;
            staged.data[..len].copy_from_slice(frame.data);
            count += 1;
        }
        let mut reserved = 0;
        for (frame, staged) in port.reserve(count, len).into_iter().zip(&self.staged) {
            *frame.to = staged.to;
            frame.data.copy_from_slice(&staged.data[..len]);
            reserved += 1;
        }
        let sent = port.commit(reserved);
        Moved { received, foreign: received - count, sent }
    }
}
