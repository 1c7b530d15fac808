//! Records after the handshake with foreign DTLS 1.3 peers: KeyUpdate, ACK, alerts (RFC 9147, 5.8.4, 7 and 8; `docs/wire.md`,
//! W-LNK-19 to W-LNK-21).

use super::LinkEvent;
use super::links::Links;
use super::table::{self, Link, Talk};
use crate::plane::{Now, Plane};
use drover_wire::control::{Bytes, Inject, Request};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const ACK: u8 = 26;
const KEY_UPDATE: u8 = 24;
/// Bytes of a handshake message's header (RFC 9147, 5.2).
const MESSAGE_HEADER: usize = 12;
/// The alert that ends nothing (RFC 8446, 6.1).
const USER_CANCELED: u8 = 90;
/// The first wait for an acknowledgement, and the longest, ns: it is doubled each time.
const FIRST_RETRANSMIT_NS: u64 = 1_000_000_000;
const RETRANSMIT_MAX_NS: u64 = 8_000_000_000;
/// A KeyUpdate sent so often without an ACK ends the link.
const TRIES_MAX: u32 = 10;
/// Record numbers of one acknowledgement that are looked at.
const ACKED_MAX: usize = 16;

/// A foreign peer's state beside its records.
pub(super) struct Foreign {
    /// The next handshake message read, and written.
    read: u16,
    written: u16,
    /// The epoch that is received.
    epoch: u32,
    pending: Option<Pending>,
    /// When keys of ours are next renewed.
    update_at: u64,
}

/// A KeyUpdate of ours that is not acknowledged yet.
struct Pending {
    message: u16,
    next: u64,
    wait: u64,
    tries: u32,
}

impl Foreign {
    /// After a handshake, or in another life of this process: the next messages read and written, the epoch that is
    /// received, and when to begin our KeyUpdate.
    pub(super) fn new((read, written): (u16, u16), epoch: u32, update_at: u64) -> Foreign {
        Foreign { read, written, epoch, pending: None, update_at }
    }
    /// The next messages read and written.
    #[cfg(all(test, feature = "lab"))]
    pub(super) fn messages(&self) -> (u16, u16) {
        (self.read, self.written)
    }
    pub(super) fn deadline(&self) -> u64 {
        self.pending.as_ref().map_or(self.update_at, |pending| pending.next)
    }
}

/// A handshake message in a record; fragments are not put together, for KeyUpdate has none.
struct Message<'d> {
    kind: u8,
    number: u16,
    whole: bool,
    last: bool,
    body: &'d [u8],
}

impl<'d> Message<'d> {
    fn take(data: &'d [u8]) -> Option<(Message<'d>, &'d [u8])> {
        let (header, rest) = data.split_first_chunk::<MESSAGE_HEADER>()?;
        let three = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize;
        let (length, from, part) = (three(1), three(6), three(9));
        if from + part > length {
            return None;
        }
        let (body, rest) = rest.split_at_checked(part)?;
        let number = u16::from_be_bytes([header[4], header[5]]);
        let message = Message { kind: header[0], number, whole: part == length, last: from + part == length, body };
        Some((message, rest))
    }
}

/// A KeyUpdate message (RFC 8446, 4.6.3) in one fragment.
fn key_update(number: u16) -> [u8; MESSAGE_HEADER + 1] {
    let [high, low] = number.to_be_bytes();
    [KEY_UPDATE, 0, 0, 1, high, low, 0, 0, 0, 0, 0, 1, 0]
}

/// An acknowledgement of one record (RFC 9147, 7).
fn ack(epoch: u32, number: u64) -> [u8; 18] {
    let mut out = [0; 18];
    out[1] = 16;
    out[2..10].copy_from_slice(&u64::from(epoch).to_be_bytes());
    out[10..].copy_from_slice(&number.to_be_bytes());
    out
}

/// Whether an acknowledgement names a record of this epoch.
fn acknowledges(data: &[u8], epoch: u32) -> bool {
    let Some((length, rest)) = data.split_first_chunk() else { return false };
    let list = rest.get(..usize::from(u16::from_be_bytes(*length))).unwrap_or_default();
    let of_epoch = |entry: &[u8]| entry[..8] == u64::from(epoch).to_be_bytes();
    list.chunks_exact(16).take(ACKED_MAX).any(of_epoch)
}

impl Links {
    /// Takes a record that is no application data.
    pub(super) fn on_record(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        number: u32,
        (epoch, record): (u32, u64),
        content_type: u8,
        data: &[u8],
    ) {
        let Some(Link { talk: Talk::Foreign(foreign), generation, .. }) = self.table.get_mut(number) else {
            return self.counters.refuse("record");
        };
        match content_type {
            ALERT => self.on_alert(plane, number, data),
            // The numbers of records that control injects are the data plane's: an acknowledgement under our epoch is of the
            // only message that waits for one.
            ACK if foreign.pending.is_some() && acknowledges(data, *generation) => {
                self.updated(plane, now, number);
            }
            ACK => {}
            HANDSHAKE => self.on_messages(plane, now, number, (epoch, record), data),
            _ => self.counters.refuse("record"),
        }
        self.table.schedule(number);
    }

    fn on_alert(&mut self, plane: &mut dyn Plane, number: u32, data: &[u8]) {
        match data {
            [_, USER_CANCELED] => {}
            // DTLS 1.3 has no other alert that is not the end (RFC 8446, 6).
            [_, _] => self.drop_link(plane, number),
            _ => self.counters.refuse("record"),
        }
    }

    fn on_messages(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        number: u32,
        (epoch, record): (u32, u64),
        mut data: &[u8],
    ) {
        let Some(Link { talk: Talk::Foreign(foreign), .. }) = self.table.get_mut(number) else { return };
        // What is known is acknowledged, whatever it is, for else it would come again; what is ahead of its turn is not.
        if Message::take(data).is_some_and(|(first, _)| foreign.read.wrapping_sub(first.number) > u16::MAX / 2) {
            return self.counters.refuse("record_early");
        }
        self.inject(plane, number, ACK, &ack(epoch, record));
        while !data.is_empty() {
            let Some((message, rest)) = Message::take(data) else { return self.counters.refuse("record") };
            data = rest;
            let Some(Link { talk: Talk::Foreign(foreign), .. }) = self.table.get_mut(number) else { return };
            if message.number != foreign.read {
                continue;
            }
            if message.last {
                foreign.read = foreign.read.wrapping_add(1);
            }
            if message.kind != KEY_UPDATE || !message.whole {
                continue;
            }
            // A KeyUpdate under keys that are over is none of the peer's.
            if epoch != foreign.epoch || !matches!(message.body, [0 | 1]) {
                return self.counters.refuse("record");
            }
            foreign.epoch += 1;
            let (asked, busy) = (message.body == [1], foreign.pending.is_some());
            let boot = plane.welcome().boot;
            if plane.ask(&Request::AdvanceEpoch { boot, link: number, send: false }).is_err() {
                self.counters.refuse("plane");
                return self.drop_link(plane, number);
            }
            if asked && !busy {
                self.update(plane, now, number);
            }
        }
    }

    /// Time to our next KeyUpdate, with jitter, ns: as other links' keys are renewed, but before half of the 2^r records
    /// that a key seals (W-KEY-9).
    pub(super) fn key_update_wait(&mut self, class: u16, ratchet_bits: u8) -> u64 {
        let records_a_second = 1e9 / table::slot_ns(self.zones.own(), class);
        let half = (1u64 << ratchet_bits.min(62)) as f64 / 2.0 / records_a_second * 1e9;
        self.jittered(self.rekey_ns().min(half))
    }

    /// Timers of a foreign peer's link.
    pub(super) fn foreign_tick(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let Some(Link { talk: Talk::Foreign(foreign), .. }) = self.table.get_mut(number) else { return };
        let Some(pending) = &mut foreign.pending else {
            if foreign.update_at <= now.mono_ns {
                self.update(plane, now, number);
            }
            return;
        };
        if pending.next > now.mono_ns {
            return;
        }
        if pending.tries >= TRIES_MAX {
            self.counters.refuse("rekey_timeout");
            return self.drop_link(plane, number);
        }
        pending.tries += 1;
        pending.wait = (pending.wait * 2).min(RETRANSMIT_MAX_NS);
        pending.next = now.mono_ns.saturating_add(pending.wait);
        let message = key_update(pending.message);
        self.inject(plane, number, HANDSHAKE, &message);
    }

    /// Sends a KeyUpdate of ours. Our keys change when it is acknowledged (RFC 9147, 8).
    fn update(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let Some(Link { talk: Talk::Foreign(foreign), .. }) = self.table.get_mut(number) else { return };
        let message = foreign.written;
        foreign.written = message.wrapping_add(1);
        let (wait, tries) = (FIRST_RETRANSMIT_NS, 1);
        foreign.pending = Some(Pending { message, next: now.mono_ns.saturating_add(wait), wait, tries });
        self.inject(plane, number, HANDSHAKE, &key_update(message));
    }

    /// Our KeyUpdate was acknowledged.
    fn updated(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let boot = plane.welcome().boot;
        if plane.ask(&Request::AdvanceEpoch { boot, link: number, send: true }).is_err() {
            self.counters.refuse("plane");
            return self.drop_link(plane, number);
        }
        let Some(link) = self.table.get(number) else { return };
        let wait = self.key_update_wait(link.class, link.ratchet_bits);
        let Some(link) = self.table.get_mut(number) else { return };
        link.generation += 1;
        link.highest = link.generation;
        if let Talk::Foreign(foreign) = &mut link.talk {
            foreign.pending = None;
            foreign.update_at = now.mono_ns.saturating_add(wait);
        }
        self.counters.rekeys += 1;
        self.events.push_back(LinkEvent::Rekeyed { link: number });
    }

    fn inject(&mut self, plane: &mut dyn Plane, link: u32, content_type: u8, data: &[u8]) {
        let boot = plane.welcome().boot;
        let record = Bytes::new(data).map(|data| Inject::Record { boot, link, content_type, data });
        if record.is_none_or(|record| plane.ask(&Request::Inject(record)).is_err()) {
            self.counters.refuse("unsent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_laid_out_as_in_the_rfc() {
        let update = key_update(0x0102);
        let (message, rest) = Message::take(&update).map(|(m, r)| (m, r.len())).expect("whole");
        assert_eq!((message.kind, message.number, message.whole, message.last, rest), (24, 0x0102, true, true, 0));
        assert_eq!(message.body, [0]);
        assert_eq!(ack(3, 7), [0, 16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert!(acknowledges(&ack(3, 7), 3) && !acknowledges(&ack(3, 7), 4) && !acknowledges(&[0, 0], 3));
        assert!(!acknowledges(&ack(3, 7)[..17], 3), "cut");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_or_not(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut rest = &data[..];
            while let Some((_, next)) = Message::take(rest) {
                prop_assert!(next.len() < rest.len());
                rest = next;
            }
            let _ = acknowledges(&data, 3);
        }
    }
}
