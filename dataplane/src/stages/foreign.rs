//! Foreign peers: records that a DTLS 1.3 library makes and that are no cells (`docs/wire.md`, W-KEY-9).

use crate::drops::DropReason;
use crate::punt::What;
use crate::stages::receive::Parsed;
use crate::state::State;
use drover_crypto::{MaskJob, Records, Suite};
use drover_nic::RxFrame;
use drover_wire::cell::CONTENT_TYPE;
use drover_wire::control::Peer;
use drover_wire::record;

impl<C: Suite, const S: usize> State<C, S> {
    /// Hands over what a foreign peer's opened record holds when it is no application data; false when it is.
    pub(super) fn take_content(&mut self, p: &Parsed<'_>, cell: u32) -> bool {
        let content = record::inner_content_type(self.pool.plaintext(cell));
        let epoch = self.keys(p.link, p.set).map_or(0, |keys| keys.generation);
        match content {
            Some((CONTENT_TYPE, _)) => return false,
            // Nothing but padding: RFC 8446, 5.4 has an alert for it, and who sends it is no DTLS peer.
            None => self.drop_cell(cell, DropReason::BadCell),
            Some((content_type, len)) => {
                let what = What::Record { link: p.link, epoch, number: p.number, content_type };
                self.punt_range(what, cell, 0..len, DropReason::LinkControl);
            }
        }
        true
    }

    /// A foreign peer's record that is shorter than a cell's: a handshake message, an alert or an ACK of its library. Taken
    /// within the budget of second openings. False when it is none, or does not open.
    pub(super) fn open_short(&mut self, frame: &RxFrame<'_>) -> bool {
        let Some(link) = self.endpoints.get(&frame.from) else { return false };
        let Ok(record) = record::parse_short(frame.data, S) else { return false };
        let rx = &self.rx[link as usize];
        let Some(set) = rx.of_epoch(record.epoch_bits()).filter(|_| rx.peer == Peer::Foreign) else { return false };
        let Some(keys) = self.keys(link, set) else { return false };
        let mut mask = [MaskJob { key: keys.mask, sample: *record.sample(), mask: [0; 2] }];
        C::Records::masks(self.mask_keys.items(), &mut mask);
        let low = record.number(mask[0].mask);
        let number = record::reconstruct(low, self.expected(link, set));
        let Some(cell) = self.pool.take() else { return false };
        let p = Parsed { link, set, record, number };
        if !matches!(self.try_open(&p, set, number, low, cell), Ok(true)) {
            self.pool.give(cell);
            return false;
        }
        if !self.take_content(&p, cell) {
            // Application data comes in cells.
            self.drop_cell(cell, DropReason::RecordLength);
        }
        true
    }
}
