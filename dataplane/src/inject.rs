//! What control gives a worker to send: cells, which take slots that are there anyway, and datagrams outside slots.

use crate::drops::DropReason;
use crate::limits::{CONTROL_PER_LINK, RAW_WAITING_MAX};
use crate::link::NIL;
use crate::state::{Departure, State};
use drover_crypto::Suite;
use drover_nic::{Endpoint, Port};
use drover_wire::cell::{HEADER, Header};
use drover_wire::control::{Bytes, CELL_BYTES_MAX, DATAGRAM_MAX};

/// Where an injected cell waits for its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Among the link's own control: a slot that no circuit owns, before best effort.
    Link {
        /// The link's index.
        link: u32,
    },
    /// Among the link's best effort, mixed with it.
    BestEffort {
        /// The link's index.
        link: u32,
    },
    /// With a circuit's cells: in the slot that it owns, or among best effort where it owns none.
    Egress {
        /// The index of the way out.
        index: u32,
        /// Which use of the index is meant.
        tag: u32,
    },
}

/// What the plaintext is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A cell with this header; the bytes are its body.
    Cell(Header),
    /// A foreign peer's record of this inner content type; the bytes are its content, padded with zeros.
    Record(u8),
}

/// A cell from control.
pub struct Injected {
    /// Where it waits.
    pub target: Target,
    /// What its bytes are.
    pub form: Form,
    /// Body or content.
    pub bytes: Bytes<CELL_BYTES_MAX>,
}

/// A datagram from control.
pub struct RawDatagram {
    /// Where it goes.
    pub to: Endpoint,
    /// The UDP payload.
    pub bytes: Bytes<DATAGRAM_MAX>,
}

/// The class of a [`Departure`] that belongs to no slot.
pub const NO_CLASS: u8 = u8::MAX;

impl<C: Suite, const S: usize> State<C, S> {
    /// Queues an injected cell. It never makes a slot: it leaves in one, or is dropped and counted.
    pub(crate) fn inject(&mut self, injected: &Injected) {
        #[cfg(feature = "lab")]
        {
            self.counters.lab.injected += 1;
        }
        let Some(cell) = self.pool.take() else {
            self.tell_left(injected.target);
            return self.counters.drop(DropReason::PoolFull);
        };
        self.write_injected(cell, injected);
        match injected.target {
            Target::Link { link } => {
                let tx = &mut self.tx[link as usize];
                if !tx.live || tx.control.len >= CONTROL_PER_LINK {
                    self.tell_left(injected.target);
                    return self.drop_cell(cell, DropReason::LinkFull);
                }
                tx.control.push(&mut self.next, cell);
                tx.controlled = true;
            }
            Target::BestEffort { link } if self.tx[link as usize].live => self.arrive_best_effort(link, cell, NIL),
            Target::BestEffort { .. } => self.drop_cell(cell, DropReason::LinkGone),
            Target::Egress { index, tag } => self.queue(cell, index, tag),
        }
    }

    /// Overwrites the whole plaintext, so that no byte of an earlier cell shows.
    fn write_injected(&mut self, cell: u32, injected: &Injected) {
        let plaintext = self.pool.plaintext_mut(cell);
        plaintext.fill(0);
        let bytes = injected.bytes.as_bytes();
        // The service thread has checked lengths; what is too long is cut, never out of bounds.
        match injected.form {
            Form::Cell(header) => {
                let body = &mut plaintext[HEADER..HEADER + drover_wire::cell::body_len(S)];
                let len = bytes.len().min(body.len());
                body[..len].copy_from_slice(&bytes[..len]);
                header.write(plaintext);
            }
            Form::Record(content_type) => {
                let len = bytes.len().min(plaintext.len() - 1);
                plaintext[..len].copy_from_slice(&bytes[..len]);
                plaintext[len] = content_type;
            }
        }
    }

    /// The next cell of the link's own control, for a slot that no circuit owns.
    pub(crate) fn next_control(&mut self, link: u32) -> Option<u32> {
        let tx = &mut self.tx[link as usize];
        if !tx.controlled {
            return None;
        }
        let cell = tx.control.pop(&self.next)?;
        tx.controlled = tx.control.len > 0;
        self.tell_left(Target::Link { link });
        Some(cell)
    }

    /// A control cell of the link has left, or never waited: the service thread may let another one in.
    fn tell_left(&mut self, target: Target) {
        let Target::Link { link } = target else { return };
        let tx = &mut self.tx[link as usize];
        tx.left += 1;
        if tx.left == 1 {
            self.left.push_back(link);
        }
    }

    /// Drops the cells that control gave to a link that goes.
    pub(crate) fn drop_injected(&mut self, link: u32) {
        while let Some(cell) = self.tx[link as usize].control.pop(&self.next) {
            self.drop_cell(cell, DropReason::LinkGone);
        }
        self.tx[link as usize].controlled = false;
        self.drop_best_effort(link, NIL);
        self.tx[link as usize].left = 0;
        self.left.retain(|told| *told != link);
    }

    /// Puts a datagram behind everything that is sealed: it leaves when that has left, and is never a slot, so nothing
    /// is missed by it and nothing moves. Beyond a few that wait it is dropped and counted.
    pub(crate) fn send_raw(&mut self, raw: &RawDatagram, port: &mut impl Port) {
        #[cfg(feature = "lab")]
        {
            self.counters.lab.injected += 1;
        }
        // Frames beyond those that slots may take.
        let most = port.capabilities().tx_ring.saturating_sub(self.departures_max).min(RAW_WAITING_MAX);
        if self.raw_waiting >= most {
            return self.counters.drop(DropReason::RawFull);
        }
        let bytes = raw.bytes.as_bytes();
        let mut frames = port.reserve(1, bytes.len());
        let Some(frame) = frames.pop() else { return self.counters.drop(DropReason::RawFull) };
        *frame.to = raw.to;
        frame.data.copy_from_slice(bytes);
        self.raw_waiting += 1;
        let due = self.departures.back().map_or(self.now, |last| last.due);
        self.departures.push_back(Departure { due, period: u64::MAX, class: NO_CLASS, link: NIL, real: true });
    }
}
